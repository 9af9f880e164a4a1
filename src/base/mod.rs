//! Base: ticks, timers, ids, slabs, seeded randomness, bounded queues, caught panics; no word of telephony.
//!
//! Every other room may name this one, and this one names only the standard library.

mod boxed;
mod caught;
mod few;
mod queue;
mod rng;
mod slab;
mod spare;
mod text;
mod tick;
mod timers;

pub use boxed::BoxMap;
pub use caught::caught;
pub use few::push_few;
pub use queue::Bounded;
pub use rng::Rng;
pub use slab::{Id, Slab};
pub use spare::take_out;
pub use text::{Dotted, hexadecimal};
pub use tick::Tick;
pub use timers::{Armed, Timers};
