//! Promise: the book of every callback that was promised to a customer, and of every attempt.
//!
//! Speaks ids and numbers only, and has no side effects. What must outlive the process comes out
//! as a [`Record`] with a sequence number; the owner writes it and reports how far the disk is;
//! what had to wait for that comes out as an [`Event`] then: a confirmation may be played, an
//! INVITE may leave, an end may be acted on.
//!
//! ```text
//! state        input                         next state
//! ───────────  ────────────────────────────  ─────────────────────────────────────────────────
//! (none)       promise                       Live
//! (none)       request                       Armed, and due at once
//! Live         caller_gone                   Queued; Armed while the number rests; Closed outside
//!                                            hours; ended (expired)
//! Live         postpone                      Armed
//! Queued       begin_attempt                 Planned; Closed outside hours
//! Queued       closing                       Closed
//! Queued       postpone                      Armed
//! Queued       expiry                        ended (expired)
//! Queued       resume_live, promise          Live
//! Armed        due                           Queued, and says so; Closed outside hours
//! Closed       opening                       Queued, and says so
//! Closed       resume_live, promise          Live
//! Closed       request that overrides hours  Armed, and due at once
//! Armed, Closed  expiry                      ended (expired)
//! Armed        resume_live, promise          Live
//! Planned      durable                       Dialling: the INVITE may leave; Armed outside hours
//! Planned      resume_live, promise          Live: the INVITE never leaves
//! Dialling     attempt_answered              Answered: once it is durable an agent may be attached
//! Dialling     resume_live, promise, cancel  Dialling, and the dial is to be broken
//! Planned, Dialling, Answered  attempt_ended Armed, Live (phoned in again) or ended
//! any          cancel                        ended (cancelled); Dialling, Answered: with the dial
//! ```
//!
//! *Invariants:* at most one attempt of a promise, and one of a number, is unfinished (A1, I3);
//! attempt numbers never repeat; every promise ends in exactly one [`End`] (A2, I1); no attempt is
//! planned, and none leaves, outside the hours of its queue unless its promise says why (A5).

mod hours;
mod types;
mod record;
mod request;
mod derive;
mod book;
mod limit;
mod change;
mod rest;
mod restore;

#[cfg(test)]
mod tests;

pub use book::Book;
pub use derive::Secret;
pub use hours::{Hours, WINDOWS_MAX, WindowError};
pub use record::{Journal, Made, Next, Record, RecordError};
pub use request::{KEYS_MAX, Keyed, RequestKey, Requested};
pub use restore::RestoreError;
pub use types::{
    Attempt, BROKEN_FREE_MAX, Cancelled, DAY, End, Event, LeftBehind, Outcome, PROMISES_MAX,
    Pauses, Place, Policies, Policy, PromiseId, Promised, REST_MAX, Refused, Stale, State,
    TEXT_MAX, Unknown, View, WAY_MAX, Wanted,
};
