//! Shell: the only room with sockets, threads, files and clocks; it moves the others and decides
//! nothing about telephony.
//!
//! Threads: `signalling` owns the switch; `media` owns the audio legs; `flows` owns the runs;
//! `files` loads sound; `call records` writes them; `http` serves health and metrics. They share bounded channels of values.

pub mod check;
pub mod cli;
pub mod demo;
pub mod serve;

mod calls;
mod clock;
mod credentials;
mod files;
mod flows;
mod http;
mod media;
mod outbound;
mod phone;
mod poller;
mod quota;
mod run;
mod server;
mod signalling;
mod sim;
mod store;
mod stream;
mod wake;
mod webhooks;

pub use clock::Clock;
pub use server::{Server, StartError, Summary};
pub use store::{Refused, Report, Store, StoreError};
