//! What operators see of queues and promises, and how they take a promise back (A12).

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::Tick;
use crate::call::leg;
use crate::call::switch::Switch;
use crate::dispatch::{AgentStanding, EntryId, Mode, QueueId, Standing};
use crate::promise::{Cancelled, PromiseId, State, View};

/// Entries of one queue that a list shows; the rest is only counted.
const ENTRIES_SHOWN_MAX: usize = 1000;

/// What came of the wish to take a promise back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Withdrawal {
    /// It has ended, and [`crate::call::Fact::PromiseEnded`] follows when that is on disk.
    Ended,
    /// The customer is being dialled: the dial is broken, and the promise ends with it.
    Breaking,
    /// The customer has answered.
    TooLate,
    /// No such promise is open.
    Unknown,
    /// The journal has failed, so that nothing could be written down.
    JournalFailed,
}

impl Switch {
    /// Every queue with its agents and entries.
    pub fn look_at_queues(&self, now: Tick) -> Value {
        self.queues.shown().map(|queue| self.look_at_queue(queue, now)).collect()
    }

    fn look_at_queue(&self, id: QueueId, now: Tick) -> Value {
        let queue = &self.queues.queues[id.0 as usize];
        let dispatcher = &self.queues.dispatcher;
        let agents = dispatcher.agents_of(id).map(|(agent, standing)| {
            let state = agent_word(standing);
            json!({ "extension": self.queues.extension(agent), "state": state })
        });
        let agents = agents.collect::<Vec<_>>();
        let live = dispatcher
            .entries_of(id)
            .filter(|entry| self.queues.cards.get(entry).is_some_and(|card| card.leg.is_some()));
        let live = live.count();
        let entries = dispatcher.entries_of(id).take(ENTRIES_SHOWN_MAX).enumerate();
        let entries =
            entries.filter_map(|(place, entry)| self.look_at_entry(entry, place + 1, now));
        json!({
            "queue": queue.reference,
            "flow": queue.graph.name(),
            "flowVersion": &**queue.graph.version(),
            "live": live,
            "callbacks": dispatcher.entries_of(id).count() - live,
            "agents": agents,
            "entries": entries.collect::<Vec<_>>(),
        })
    }

    fn look_at_entry(&self, entry: EntryId, position: usize, now: Tick) -> Option<Value> {
        let dispatcher = &self.queues.dispatcher;
        let card = self.queues.cards.get(&entry)?;
        let mode = match dispatcher.mode_of(entry)? {
            Mode::Live => "live",
            Mode::Callback => "callback",
        };
        let mut shown = json!({
            "entry": entry_text(entry),
            "position": position,
            "mode": mode,
            "number": card.caller.number,
            "name": card.caller.name,
            "waitedMs": millis(dispatcher.waited(entry, now)?),
            "callbackEnabled": card.is_callback_enabled,
            "promise": self.promises.by_entry.get(&entry).map(|promise| promise.0),
        });
        match dispatcher.standing_of(entry)? {
            Standing::Ready => shown["state"] = "ready".into(),
            Standing::Cooling { until } => {
                shown["state"] = "cooling".into();
                shown["readyInMs"] = millis(until.since(now)).into();
            }
            Standing::Offered { agents } => {
                let numbers = agents.iter().map(|agent| self.queues.extension(*agent));
                shown["state"] = "offered".into();
                shown["agents"] = numbers.collect();
            }
        }
        Some(shown)
    }

    /// At most so many open promises behind this one, oldest first.
    pub fn look_at_promises(&self, after: u64, count_max: usize) -> Value {
        let promises = self.promises.book.after(PromiseId(after)).take(count_max);
        promises.filter_map(|promise| self.look_at_promise(promise.0)).collect()
    }

    /// One open promise.
    pub fn look_at_promise(&self, promise: u64) -> Option<Value> {
        let view = self.promises.book.view(PromiseId(promise))?;
        let mut shown = promise_value(promise, &view);
        if let Some(queue) = self.queue_by_key(view.wanted.queue) {
            let queue = &self.queues.queues[queue.0 as usize];
            shown["queue"] = queue.reference.clone().into();
            shown["flow"] = queue.graph.name().into();
        }
        let mut held = self.promises.by_entry.iter();
        let held = held.find(|(entry, of)| of.0 == promise && self.has_entry(**entry));
        if let Some((entry, _)) = held {
            shown["entry"] = entry_text(*entry).into();
            shown["position"] = self.queues.dispatcher.position(*entry).into();
        }
        Some(shown)
    }

    /// Takes a promise back: its place is given up, and no run dials its customer any more.
    pub fn withdraw_promise(&mut self, promise: u64, now: Tick) -> Withdrawal {
        let id = PromiseId(promise);
        if self.promises.book.is_journal_failed() {
            return Withdrawal::JournalFailed;
        }
        let Some(number) = self.promises.book.wanted(id).map(|wanted| wanted.number.clone()) else {
            return Withdrawal::Unknown;
        };
        let cancelled = match self.promises.book.cancel(id, now) {
            Ok(cancelled) => cancelled,
            Err(crate::promise::Unknown) => return Withdrawal::Unknown,
        };
        let come_to = match cancelled {
            Cancelled::TooLate => return Withdrawal::TooLate,
            Cancelled::Breaking => Withdrawal::Breaking,
            Cancelled::Done => Withdrawal::Ended,
        };
        let held = self.promises.by_entry.iter().filter(|(_, of)| **of == id);
        for entry in held.map(|(entry, _)| *entry).collect::<Vec<_>>() {
            if self.runs.values().any(|run| run.entry == Some(entry)) {
                self.promises.withdrawn.insert(entry, number.clone());
            }
            self.give_up_place(entry);
        }
        self.drain_queues(now);
        self.drain_promises(now);
        self.drain_endpoint(now);
        come_to
    }

    /// A caller on the line stays where he is; a callback leaves its queue.
    fn give_up_place(&mut self, entry: EntryId) {
        let Some(card) = self.queues.cards.get_mut(&entry) else { return };
        card.is_callback_enabled = false;
        match card.leg {
            Some(leg) => {
                let _ = self.queues.dispatcher.set_callback(entry, false);
                if let Some(leg) = self.legs.get_mut(leg) {
                    leg.promise = None;
                }
            }
            // One that an agent has just taken is no entry any more.
            None => drop(self.queues.dispatcher.cancel(entry)),
        }
    }
}

/// What an agent is doing, in a word.
pub(super) const fn agent_word(standing: AgentStanding) -> &'static str {
    match standing {
        AgentStanding::Offline => "offline",
        AgentStanding::Offered => "offered",
        AgentStanding::Busy => "busy",
        AgentStanding::Resting => "resting",
        AgentStanding::Free => "free",
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The text that names an entry.
pub(in crate::call::switch) fn entry_text(entry: EntryId) -> String {
    leg::text("entry", entry.0)
}

/// A promise as lists show it. Times are milliseconds since the Unix epoch; `queue` is the number
/// that the journal knows the queue by.
pub fn promise_value(promise: u64, view: &View) -> Value {
    let state = match view.state {
        State::Live => "live",
        State::Queued => "queued",
        State::Armed { .. } => "armed",
        State::Closed { .. } => "closed",
        State::Planned { .. } | State::Dialling { .. } => "dialling",
        State::Answered { .. } => "answered",
    };
    json!({
        "promise": promise,
        "queue": format!("{:016x}", view.wanted.queue),
        "number": view.wanted.number,
        "name": view.wanted.name,
        "trunk": view.wanted.trunk,
        "state": state,
        "attempts": view.attempts,
        "attemptsThatCount": view.counted,
        "attemptsMax": view.attempts_max,
        "joinedMs": view.wanted.place.enqueued_us / 1000,
        "dueMs": view.due_ms,
        "outsideHoursUntil": view.outside_hours,
        "overrideHours": view.wanted.override_hours,
        "expiresMs": view.expires_ms,
    })
}
