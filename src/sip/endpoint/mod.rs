//! The user agent, both roles: messages and commands go in, messages and events come out.
//!
//! It decides protocol, never policy: whom to call, when to answer and what to say is the room
//! `call`'s business. After every `handle_*` or command the owner drains `poll_transmit` and
//! `poll_event`; `poll_timeout` says when `handle_timeout` is due. One file per thing that a user
//! agent does; [`Endpoint`] is what they share.
//!
//! ```text
//!  bytes ─▶ receive ─┬─▶ table (transactions) ─▶ invite, offer, hangup, request ─▶ Event
//!                    └─▶ answer, offer, hangup, request ─────────────────────────▶ Event
//!  command ─▶ invite, answer, offer, hangup, request ─▶ compose ─▶ table ─▶ Transmit
//! ```
//!
//! *Absent:* SDP content, registrations, trunks. Requests above 1300 bytes stay on UDP when their
//! flow is UDP; choosing a stream for them (RFC 3261 §18.1.1) is left to who chooses the flow.

mod abandon;
mod address;
mod answer;
mod auth;
mod close_out;
mod compose;
mod hangup;
mod invite;
mod leg;
mod offer;
mod receive;
mod reliable;
mod request;
mod session;
mod table;
mod timeout;
mod types;

use std::collections::VecDeque;
use std::sync::Arc;

use close_out::CloseOut;
pub use close_out::TRIES_MAX;
use compose::Abilities;
use leg::Leg;
use request::Asked;
use table::{ByKey, Keys, Table};
pub use types::{
    Body, Cause, CloseOutId, Config, Counters, Credentials, Derived, DialogId, Event, FarSide,
    Gauges, MAX_FORWARDS, NotSent, Outgoing, Party, RequestId, TransactionId,
};

use crate::base::{Rng, Slab, Tick, Timers};
use crate::sip::transport::{Flow, Transmit};

/// Why a dialog wakes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// The pause after a glare is over.
    BackOff(DialogId),
    /// The session is to be refreshed, or has expired.
    Session(DialogId),
    /// A reliable provisional response still waits for its PRACK.
    Prack(DialogId),
}

/// A whole user agent without sockets, clock or policy.
///
/// The two output queues hold what one input or command caused, which is bounded; they are to be
/// drained before the next one.
#[derive(Debug)]
pub struct Endpoint {
    config: Config,
    abilities: Abilities,
    rng: Rng,
    keys: Keys,
    table: Table,
    legs: Slab<Leg>,
    /// Dialogs by Call-ID and our tag.
    by_tag: ByKey<DialogId>,
    asked: Slab<Asked>,
    close_outs: Slab<CloseOut>,
    /// What dialogs wait for, their transactions apart.
    timers: Timers<Wake>,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
    counters: Counters,
}

impl Endpoint {
    /// An endpoint without calls. `rng` makes tags, branches and back-off times: equal seeds and
    /// inputs give equal bytes.
    pub fn new(config: Config, mut rng: Rng) -> Self {
        let keys = Keys::new(&mut rng);
        Self {
            keys,
            rng,
            table: Table::with_max(config.transactions_max),
            legs: Slab::with_max(config.dialogs_max),
            by_tag: ByKey::default(),
            asked: Slab::with_max(config.transactions_max),
            close_outs: Slab::with_max(config.transactions_max),
            timers: Timers::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: Counters::default(),
            abilities: Abilities::with(&config.serves),
            config,
        }
    }

    /// The next message to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next thing that happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When `handle_timeout` is due; `None` while nothing is held.
    pub fn poll_timeout(&self) -> Option<Tick> {
        match (self.table.next_timeout(), self.timers.next()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }

    /// How much is held.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            dialogs: self.legs.len(),
            requests: self.asked.len() + self.close_outs.len(),
            transactions: self.table.len(),
            timers: self.table.timers() + self.timers.len(),
        }
    }

    /// Whether the wire still needs the dialog, if only for the end of our BYE or CANCEL.
    pub fn holds(&self, dialog: DialogId) -> bool {
        self.legs.get(dialog).is_some()
    }

    /// What was not served since the start.
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    fn transmit(&mut self, flow: Flow, bytes: Arc<[u8]>) {
        self.transmits.push_back(Transmit { flow, bytes });
    }
}

#[cfg(test)]
mod tests;
