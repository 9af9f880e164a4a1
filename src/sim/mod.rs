//! Sim: a simulated world: the server, phones, the link between them, a seed and a clock at zero.
//!
//! The parties run the very code that real calls run; only sockets, threads and clocks are
//! replaced. Equal seeds and equal stories give equal ladders, byte for byte.

mod audio;
#[cfg(test)]
mod bugs;
mod exchange;
mod link;
mod own_runs;
mod phone;
mod server;
mod silence;
mod sounds;
mod tapes;
mod traffic;
mod world;

pub use exchange::Exchange;
pub use link::{Link, Meddling, Packet, Payload};
pub use phone::{Answering, Challenge, EVENTS_MAX, HEARD_MAX, Phone, PhoneEvent};
pub use server::{FACTS_MAX, Server, standard_config};
pub use silence::Sound;
pub use traffic::{Habits, Report, Traffic};
pub use world::{MESSAGES_MAX, Party, PartyIndex, STEPS_MAX, Seen, World};
