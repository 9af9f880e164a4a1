//! Dispatch: who gets whom, and when; queues, agents, offers, retries and callback places.
//!
//! Speaks ids only: never legs, SIP or flows, and it has no side effects. The owner reports what
//! became of callers, agents and dials, and takes every [`Event`] before the next report.
//!
//! ```text
//!               agent free             agent answers
//!   enqueue ─▶ Ready ─────▶ Dispatching ─────────────▶ ended (completed)
//!               ▲  │             │ nobody answers, or the caller leaves a callback behind
//!    retry pause│  │nobody       ▼
//!               │  │online     Cooling ── attempts used up ──▶ ended (Offline)
//!               └──┼─────────────┘
//!                  └▶ live: ended (Offline); callback: Offline is said once, the place is kept
//! ```
//!
//! An offer rings all free agents, or, by choice of the entry, one at a time: then it goes from one
//! to the next while any is free, and an agent who lets it pass rests before the next offer.
//!
//! *Invariant:* an entry that is ready means that its queue has no free agent, so no change needs
//! to look at more than the heads of the queues that it touches.

mod types;
mod line;
mod free;
mod roster;
mod dispatcher;
mod settle;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod model;

pub use dispatcher::Dispatcher;
pub use types::{
    AGENTS_MAX, AgentId, AgentStanding, Answered, BreakReason, CallRef, Choice, Ended, EntryId,
    Event, Gone, Mode, NotQueued, OfferId, OrderKey, Party, Placement, Policy, QUEUES_MAX, QueueId,
    Refused, Request, Retry, Stale, Standing, Stats, Strategy,
};
