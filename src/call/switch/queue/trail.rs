//! Why an entry was or was not offered: what happened to it, who was served before it, and what
//! each queue has counted.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use super::look::{agent_word, entry_text};
use super::{Card, Queues};
use crate::base::Tick;
use crate::call::leg;
use crate::call::switch::Switch;
use crate::dispatch::{AgentStanding, EntryId, OfferId, OrderKey, QueueId, Standing};
use crate::promise::{PromiseId, State};

/// Steps that are kept of one entry; of more, the first and the last are.
const STEPS_MAX: usize = 64;
/// Offers of a queue that are remembered, to say who was served before whom.
const OFFERS_MAX: usize = 256;
/// Entries that are remembered after their end.
const PAST_MAX: usize = 1000;
/// Whoever is answered within this counts for the service level.
const IN_TIME: Duration = Duration::from_secs(20);

/// What happened to one entry, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Trail(VecDeque<(Tick, String)>);

impl Trail {
    fn note(&mut self, what: String, now: Tick) {
        if self.0.len() >= STEPS_MAX {
            // How it began is worth more than what came next.
            self.0.remove(1);
        }
        self.0.push_back((now, what));
    }
}

/// An offer of a queue, for those who were not offered.
#[derive(Debug)]
struct Offered {
    at: Tick,
    entry: EntryId,
    key: OrderKey,
    agents: String,
}

/// An entry that has ended.
#[derive(Debug)]
struct Past {
    entry: EntryId,
    queue: QueueId,
    key: OrderKey,
    trail: Trail,
}

/// What a queue remembers and has counted.
#[derive(Debug, Default)]
pub(super) struct Log {
    offers: VecDeque<Offered>,
    counts: QueueCounts,
}

/// Entries that have ended, of all queues.
#[derive(Debug, Default)]
pub(super) struct Pasts(VecDeque<Past>);

/// Counters of one queue, since the process began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounts {
    /// Callers who joined; one who comes back to his place is no other.
    pub joined: u64,
    /// Offers to agents.
    pub offered: u64,
    /// Offers that an agent took.
    pub accepted: u64,
    /// Of them, those of callers on the line.
    pub accepted_live: u64,
    /// Of these, those within 20 seconds of joining.
    pub accepted_in_time: u64,
    /// Callers who hung up without a callback.
    pub abandoned: u64,
}

/// A queue in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Its public name.
    pub queue: String,
    /// The name of its flow.
    pub flow: String,
    /// Entries, live and callbacks.
    pub entries: usize,
    /// How long the longest has waited.
    pub longest_wait: Duration,
    /// What was counted.
    pub counts: QueueCounts,
}

impl Queues {
    /// Something happened to an entry.
    pub(super) fn note(&mut self, entry: EntryId, what: impl Into<String>, now: Tick) {
        if let Some(card) = self.cards.get_mut(&entry) {
            card.trail.note(what.into(), now);
        }
    }

    pub(super) fn count(&mut self, queue: QueueId, count: impl FnOnce(&mut QueueCounts)) {
        count(&mut self.queues[queue.0 as usize].log.counts);
    }

    /// These agents ring for an entry.
    pub(super) fn note_offer(&mut self, offer: OfferId, agents: &[String], now: Tick) {
        let (entry, agents) = (offer.entry, agents.join(", "));
        self.note(entry, format!("offered: {agents} ring"), now);
        let (Some(card), Some(key)) = (self.cards.get(&entry), self.dispatcher.key_of(entry))
        else {
            return;
        };
        let log = &mut self.queues[card.queue.0 as usize].log;
        log.counts.offered += 1;
        if log.offers.len() >= OFFERS_MAX {
            log.offers.pop_front();
        }
        log.offers.push_back(Offered { at: now, entry, key, agents });
    }

    /// An agent took an offer.
    pub(super) fn note_taken(&mut self, queue: QueueId, waited: Duration, is_live: bool) {
        self.count(queue, |counts| {
            counts.accepted += 1;
            counts.accepted_live += u64::from(is_live);
            counts.accepted_in_time += u64::from(is_live && waited <= IN_TIME);
        });
    }

    /// An entry has waited, and why it goes on.
    pub(super) fn note_waiting(&mut self, entry: EntryId, now: Tick) {
        let Some(card) = self.cards.get(&entry) else { return };
        let why = match self.dispatcher.standing_of(entry) {
            Some(Standing::Cooling { until }) => {
                let rest = until.since(now).as_secs_f64();
                format!("not offered: nobody took it, or its caller left; again in {rest:.0} s")
            }
            Some(Standing::Ready) => format!("not offered: {}", self.agents_in_words(card.queue)),
            Some(Standing::Offered { .. }) | None => return,
        };
        self.note(entry, why, now);
    }

    /// An entry has ended; what is known of it is kept for a while.
    pub(super) fn bury(&mut self, entry: EntryId, why: &str, now: Tick) -> Option<Card> {
        self.note(entry, format!("ended: {why}"), now);
        let mut card = self.cards.remove(&entry)?;
        if self.pasts.0.len() >= PAST_MAX {
            self.pasts.0.pop_front();
        }
        let (queue, key) = (card.queue, card.key);
        let trail = std::mem::take(&mut card.trail);
        self.pasts.0.push_back(Past { entry, queue, key, trail });
        Some(card)
    }

    /// Each agent with what he is doing.
    fn agents_in_words(&self, queue: QueueId) -> String {
        let agents = self
            .dispatcher
            .agents_of(queue)
            .map(|(agent, standing)| format!("{} {}", self.extension(agent), agent_word(standing)));
        let words = agents.take(20).collect::<Vec<_>>().join(", ");
        if self.dispatcher.agents_of(queue).any(|(_, is)| is == AgentStanding::Free) {
            return format!("others are before it ({words})");
        }
        format!("no agent is free ({words})")
    }
}

impl Switch {
    /// Every queue in figures.
    pub fn queue_figures(&self, now: Tick) -> Vec<QueueFigures> {
        let figures = self.queues.shown().map(|id| {
            let queue = &self.queues.queues[id.0 as usize];
            QueueFigures {
                queue: queue.reference.clone(),
                flow: queue.graph.name().to_owned(),
                entries: self.queues.dispatcher.stats(id).map_or(0, |stats| stats.size),
                longest_wait: self.queues.dispatcher.longest_wait(id, now),
                counts: queue.log.counts,
            }
        });
        figures.collect()
    }

    /// The reasons why an entry was or was not offered, in order; `named` is an entry, also one
    /// that has ended, or the number of a promise.
    pub fn why(&self, named: &str, now: Tick) -> Option<Value> {
        let entry = match leg::parse("entry", named) {
            Some(entry) => EntryId(entry),
            None => {
                let promise = PromiseId(named.parse().ok()?);
                let held = self.promises.by_entry.iter().filter(|(_, of)| **of == promise);
                match held.map(|(entry, _)| entry).max_by_key(|entry| self.has_entry(**entry)) {
                    Some(entry) => *entry,
                    None => return self.why_no_place(promise, now),
                }
            }
        };
        let past = self.queues.pasts.0.iter().rev().find(|past| past.entry == entry);
        let (queue, key, trail) = match (self.queues.cards.get(&entry), past) {
            (Some(card), _) => (card.queue, card.key, &card.trail),
            (None, Some(past)) => (past.queue, past.key, &past.trail),
            (None, None) => return None,
        };
        let mut steps = trail.0.iter().map(|(at, why)| (*at, why.clone())).collect::<Vec<_>>();
        let (began, ended) = (steps.first()?.0, steps.last()?.0);
        let is_there = self.queues.cards.contains_key(&entry);
        let offers = self.queues.queues[queue.0 as usize].log.offers.iter();
        let passed_by = offers.filter(|offer| {
            offer.entry != entry && offer.at >= began && (is_there || offer.at <= ended)
        });
        steps.extend(passed_by.map(|offer| {
            let why = if offer.key < key {
                "which stands before it"
            } else {
                "which stands behind it, while it was not ready"
            };
            (
                offer.at,
                format!(
                    "not offered: {} ring for {}, {why}",
                    offer.agents,
                    entry_text(offer.entry)
                ),
            )
        }));
        steps.sort_by_key(|(at, _)| *at);
        let promise = self.promises.by_entry.get(&entry).copied();
        if is_there {
            steps.push((now, self.why_now(entry, queue)?));
        } else if let Some(why) = promise.and_then(|promise| self.why_not_offered(promise)) {
            steps.push((now, format!("now not offered: {why}")));
        }
        let shown = steps.iter().map(|(at, why)| {
            json!({ "atMs": self.config.epoch_ms.saturating_add(at.as_millis()), "why": why })
        });
        let reference = &self.queues.queues[queue.0 as usize].reference;
        let steps = shown.collect::<Vec<_>>();
        Some(json!({ "entry": entry_text(entry), "queue": reference, "steps": steps }))
    }

    /// Of a promise that has not had a place in this process.
    fn why_no_place(&self, promise: PromiseId, now: Tick) -> Option<Value> {
        let why = format!("now not offered: {}", self.why_not_offered(promise)?);
        let queue = self.promises.book.wanted(promise)?.queue;
        let queue = self.queue_by_key(queue).map(|queue| &self.queues.queues[queue.0 as usize]);
        let at_ms = self.config.epoch_ms.saturating_add(now.as_millis());
        Some(json!({
            "entry": null,
            "promise": promise.0,
            "queue": queue.map(|queue| queue.reference.clone()),
            "steps": [{ "atMs": at_ms, "why": why }],
        }))
    }

    /// Why a promise has no place in its queue.
    pub(super) fn why_not_offered(&self, promise: PromiseId) -> Option<String> {
        let view = self.promises.book.view(promise)?;
        match (view.outside_hours, view.state) {
            (Some(opens), _) => Some(format!("outside hours until {opens}")),
            (None, State::Armed { .. }) => Some("its next attempt is not due yet".to_owned()),
            (None, _) => None,
        }
    }

    fn why_now(&self, entry: EntryId, queue: QueueId) -> Option<String> {
        let position = self.queues.dispatcher.position(entry)?;
        let standing = match self.queues.dispatcher.standing_of(entry)? {
            Standing::Ready => format!("ready: {}", self.queues.agents_in_words(queue)),
            Standing::Cooling { .. } => "not to be offered before its pause is over".to_owned(),
            Standing::Offered { .. } => "offered".to_owned(),
        };
        Some(format!("now at position {position}, {standing}"))
    }
}
