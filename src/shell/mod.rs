//! Shell: the only room with sockets, threads, files and clocks; it moves the others and decides
//! nothing about telephony.
//!
//! Threads: `signalling` owns the switch; `media` owns the audio legs; `flows` owns the runs;
//! `files` loads sound; `recordings` keeps it; `call records` writes what is left of calls; `log` says
//! what happens to them; `http` serves health and metrics. They share bounded channels of values.

pub mod check;
pub mod cli;
pub mod demo;
pub mod serve;

mod admin;
mod beat;
mod bounded;
mod calls;
mod client;
mod clock;
mod coalesce;
mod credentials;
mod deadline;
mod files;
mod flows;
mod history;
mod http;
mod log;
mod media;
mod outbound;
mod owed;
mod phone;
mod poller;
mod quota;
mod quick;
mod realtime;
mod recordings;
mod reload;
mod run;
mod runs;
mod scripts;
mod server;
mod signalling;
mod sim;
mod sockets;
mod sounds;
mod statics;
mod store;
mod stream;
#[cfg(test)]
mod testing;
mod thrift;
mod trim;
mod wake;
mod webhooks;

pub use clock::Clock;
pub use server::{Server, StartError, Summary};
pub use store::{Refused, Report, Store, StoreError};
