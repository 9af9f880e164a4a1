//! The dispatcher: what is reported to it, and what it says to that.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use crate::base::{Armed, Id, Rng, Slab, Tick, Timers};

use super::roster::{Place, Roster};
use super::types::{
    AgentId, AgentStanding, Answered, BreakReason, CallRef, Ended, EntryId, Event, Gone, Mode,
    NotQueued, OfferId, OrderKey, Party, Placement, Policy, QueueId, Refused, Request, Retry,
    Stale, Standing, Stats, Strategy,
};

/// Every queue of one owner, with the agents that they share.
///
/// An agent is reserved for at most one offer, across all queues; so agents that only one workflow
/// may reserve are numbered apart by the owner.
#[derive(Debug)]
pub struct Dispatcher {
    pub(super) roster: Roster,
    pub(super) entries: Slab<Entry>,
    pub(super) callers: HashMap<CallRef, EntryId>,
    /// Places held for callers who left, to be found again by number and trunk.
    pub(super) left_behind: BTreeMap<(QueueId, Party), BTreeSet<Place>>,
    pub(super) timers: Timers<Wake>,
    /// At most a handful per entry: the owner takes them all after each report.
    pub(super) events: VecDeque<Event>,
    pub(super) offers: u64,
    pub(super) rng: Rng,
    sequence: u64,
    started_us: u64,
}

/// Why a timer fires.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wake {
    /// The cooldown after an unanswered offer is over.
    Cooldown(EntryId),
    /// A callback's place is held no longer.
    Expiry(EntryId),
    /// The agent has rested, and may be rung again.
    Rested(AgentId),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) queue: QueueId,
    pub(super) key: OrderKey,
    pub(super) party: Party,
    /// The leg on the line; `None` is a callback.
    pub(super) caller: Option<CallRef>,
    pub(super) state: State,
    pub(super) is_callback_enabled: bool,
    pub(super) is_placed_said: bool,
    pub(super) is_offline_said: bool,
    pub(super) is_expired: bool,
    /// Offers that nobody answered.
    pub(super) failed: u32,
    pub(super) retry: Retry,
    pub(super) strategy: Strategy,
    pub(super) expiry: Option<Armed>,
}

#[derive(Debug)]
pub(super) enum State {
    /// For the next free agent.
    Ready,
    /// Not to be offered before the timer.
    Cooling(Armed),
    /// Agents are being rung; those of [`Strategy::OneByOne`] who let the offer pass are not.
    Dispatching { number: u64, agents: Vec<AgentId>, passed: Vec<AgentId> },
}

impl Entry {
    pub(super) const fn place(&self, id: EntryId) -> Place {
        (self.key, id)
    }
}

impl Dispatcher {
    /// No queues. `started_us`: the wall clock at `Tick::ZERO` in microseconds since the Unix
    /// epoch, which makes order keys comparable with those of an earlier process. `rng` chooses
    /// agents where the choice is to be random.
    pub fn new(entries_max: usize, started_us: u64, rng: Rng) -> Self {
        Self {
            roster: Roster::default(),
            entries: Slab::with_max(entries_max),
            callers: HashMap::new(),
            left_behind: BTreeMap::new(),
            timers: Timers::new(),
            events: VecDeque::new(),
            offers: 0,
            rng,
            sequence: 0,
            started_us,
        }
    }

    /// Adds a queue, or gives it other agents and limits. Sequential offers ring the agents in
    /// this order; offers under way stay as they are.
    pub fn set_queue(
        &mut self,
        queue: QueueId,
        agents: Vec<AgentId>,
        policy: Policy,
    ) -> Result<(), Refused> {
        self.roster.set_queue(queue, agents, policy)?;
        self.settle();
        Ok(())
    }

    /// Takes a queue away; its entries end as cancelled.
    pub fn remove_queue(&mut self, queue: QueueId) {
        let Some(known) = self.roster.queues.get(&queue) else { return };
        let entries: Vec<EntryId> = known.line.iter().map(|(_, entry)| *entry).collect();
        for entry in entries {
            self.end(entry, Ended::Cancelled, Some(BreakReason::Cancelled));
        }
        self.roster.remove_queue(queue);
        self.settle();
    }

    /// Whether the agent's telephone is registered at all.
    pub fn set_online(&mut self, agent: AgentId, is_online: bool) {
        let mut rest = None;
        self.roster.change(agent, |agent| {
            if is_online && !agent.is_online {
                rest = agent.rest.take(); // Who comes anew is there.
            }
            agent.is_online = is_online;
        });
        self.timers.clear_slot(&mut rest);
        self.settle();
    }

    /// Whether the agent has a leg, whatever for. A leg that an offer brought about counts too:
    /// it may ring on for a moment after its offer was taken back.
    pub fn set_busy(&mut self, agent: AgentId, is_busy: bool) {
        let mut has_called = false;
        self.roster.change(agent, |agent| {
            has_called = !is_busy && agent.is_calling;
            agent.is_calling = is_busy && (agent.is_calling || agent.reserved_for.is_none());
            agent.is_busy = is_busy;
        });
        if has_called {
            self.roster.end_turn(agent);
        }
        self.settle();
    }

    /// The agent is not rung before this, unless he comes online anew; a longer rest stays.
    pub fn rest(&mut self, agent: AgentId, until: Tick) {
        let armed = self.timers.arm(until, Wake::Rested(agent));
        let mut shorter = Some(armed);
        self.roster.change(agent, |agent| {
            if agent.rest.is_none_or(|rest| rest.at() < until) {
                shorter = agent.rest.replace(armed);
            }
        });
        self.timers.clear_slot(&mut shorter);
    }

    /// Puts a caller, or a callback of an earlier life, into a queue and looks for an agent.
    pub fn enqueue(
        &mut self,
        queue: QueueId,
        request: Request,
        now: Tick,
    ) -> Result<EntryId, Refused> {
        let known = self.roster.queues.get(&queue).ok_or(Refused::UnknownQueue)?;
        let is_full = known.line.len() >= known.policy.entries_max;
        match request.caller {
            Some(caller) if self.callers.contains_key(&caller) => {
                return Err(Refused::AlreadyQueued);
            }
            Some(caller) if request.rejoin => {
                if let Some(entry) = self.place_of(queue, &request.party) {
                    self.rejoin(entry, caller, &request);
                    return Ok(entry);
                }
            }
            None if request.party.number.is_none() => return Err(Refused::NumberMissing),
            Some(_) | None => {}
        }
        if is_full {
            return Err(Refused::QueueFull);
        }
        let entry = self.insert(queue, request, now).ok_or(Refused::QueueFull)?;
        self.evaluate(&[entry]);
        Ok(entry)
    }

    /// Marks the entry: if the caller leaves, the place is kept and the caller is called back.
    /// Changes nothing while the caller waits.
    pub fn set_callback(&mut self, entry: EntryId, is_enabled: bool) -> Result<(), NotQueued> {
        let entry = self.entries.get_mut(Id::from_u64(entry.0)).ok_or(NotQueued)?;
        entry.is_callback_enabled = is_enabled;
        Ok(())
    }

    /// The caller's leg has ended.
    pub fn caller_gone(&mut self, id: EntryId, now: Tick) -> Result<Gone, NotQueued> {
        let entry = self.entries.get_mut(Id::from_u64(id.0)).ok_or(NotQueued)?;
        if entry.caller.is_none() {
            return Err(NotQueued);
        }
        if !entry.is_callback_enabled || entry.party.number.is_none() {
            self.end(id, Ended::Abandoned, Some(BreakReason::CallerGone));
            self.settle();
            return Ok(Gone::Abandoned);
        }
        self.leave_behind(id, now);
        self.settle();
        Ok(Gone::Callback)
    }

    /// Takes an entry out, whatever it is doing.
    pub fn cancel(&mut self, entry: EntryId) -> Result<(), NotQueued> {
        self.entries.get(Id::from_u64(entry.0)).ok_or(NotQueued)?;
        self.end(entry, Ended::Cancelled, Some(BreakReason::Cancelled));
        self.settle();
        Ok(())
    }

    /// An agent took the offer: the entry ends, the other agents are free again, and this one is
    /// busy until [`Self::set_busy`] says otherwise.
    pub fn offer_answered(
        &mut self,
        offer: OfferId,
        agent: AgentId,
        now: Tick,
    ) -> Result<Answered, Stale> {
        if !self.offered(offer).is_some_and(|agents| agents.contains(&agent)) {
            return Err(Stale);
        }
        self.roster.change(agent, |agent| {
            agent.is_busy = true;
            agent.is_calling = true;
            agent.turn.calls += 1;
        });
        let waited_from = self.entry(offer.entry).key.enqueued_us;
        let entry = self.end(offer.entry, Ended::Answered(agent), None);
        let waited_us = self.wall_us(now).saturating_sub(waited_from);
        let queue = self.roster.queue_mut(entry.queue);
        queue.completed += 1;
        queue.waited_us = queue.waited_us.saturating_add(waited_us);
        self.settle();
        let Entry { queue, caller, party, key, .. } = entry;
        Ok(Answered { queue, caller, party, key })
    }

    /// The agent who rings does not take the offer: he refused, did not answer, or was not reached.
    /// With [`Strategy::OneByOne`] the next one is reserved, to be rung for the same offer. `None`:
    /// nobody is left, and the offer has failed once [`Self::offer_failed`] says so.
    pub fn offer_passed(&mut self, offer: OfferId, now: Tick) -> Result<Option<AgentId>, Stale> {
        self.offered(offer).ok_or(Stale)?;
        self.let_pass(offer.entry, now);
        Ok(self.next_agent(offer.entry))
    }

    /// No agent took the offer. The entry is offered again after its cooldown, or ends.
    pub fn offer_failed(&mut self, offer: OfferId, now: Tick) -> Result<(), Stale> {
        self.offered(offer).ok_or(Stale)?;
        let id = offer.entry;
        self.let_pass(id, now);
        let entry = self.entry_mut(id);
        entry.failed += 1;
        if entry.is_expired {
            self.end(id, Ended::Expired, None);
        } else if entry.failed > entry.retry.attempts {
            self.end(id, Ended::Exhausted, None);
        } else {
            self.cool_down(id, now);
            self.say_placed(id);
        }
        self.settle();
        Ok(())
    }

    /// Lets every timer fire that is due.
    pub fn handle_timeout(&mut self, now: Tick) {
        let mut rested = Vec::new();
        while let Some(wake) = self.timers.take_due(now) {
            match wake {
                Wake::Cooldown(entry) => rested.push(entry),
                Wake::Expiry(entry) => self.expire(entry),
                Wake::Rested(agent) => self.roster.change(agent, |agent| agent.rest = None),
            }
        }
        self.evaluate(&rested);
    }

    /// When [`Self::handle_timeout`] has something to do.
    pub fn poll_timeout(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// The next event, oldest first.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The entry that this leg owns.
    pub fn entry_of(&self, caller: CallRef) -> Option<EntryId> {
        self.callers.get(&caller).copied()
    }

    /// 1 for the head of the queue; counts dispatching and callback entries too.
    pub fn position(&self, id: EntryId) -> Option<usize> {
        let entry = self.entries.get(Id::from_u64(id.0))?;
        let rank = self.roster.queue(entry.queue).line.rank(&entry.place(id));
        Some(rank.expect("an entry stands in its queue's line") + 1)
    }

    /// Average wait times position; zero while nobody was answered yet.
    pub fn estimated_answer(&self, id: EntryId) -> Option<Duration> {
        let position = u32::try_from(self.position(id)?).unwrap_or(u32::MAX);
        let queue = self.queue_of(id)?;
        Some(self.stats(queue)?.average_wait.saturating_mul(position))
    }

    /// The queue in figures.
    pub fn stats(&self, queue: QueueId) -> Option<Stats> {
        let queue = self.roster.queues.get(&queue)?;
        let average_us = queue.waited_us.checked_div(queue.completed).unwrap_or(0);
        Some(Stats {
            size: queue.line.len(),
            average_wait: Duration::from_micros(average_us),
            completed: queue.completed,
        })
    }

    /// The entries of a queue in their order, the first of them at position 1.
    pub fn entries_of(&self, queue: QueueId) -> impl Iterator<Item = EntryId> {
        let known = self.roster.queues.get(&queue);
        known.into_iter().flat_map(|known| known.line.iter().map(|(_, entry)| *entry))
    }

    /// What an entry is doing.
    pub fn standing_of(&self, id: EntryId) -> Option<Standing> {
        let entry = self.entries.get(Id::from_u64(id.0))?;
        Some(match &entry.state {
            State::Ready => Standing::Ready,
            State::Cooling(armed) => Standing::Cooling { until: armed.at() },
            State::Dispatching { agents, .. } => Standing::Offered { agents: agents.clone() },
        })
    }

    /// What the agents of a queue are doing, in the queue's order.
    pub fn agents_of(&self, queue: QueueId) -> impl Iterator<Item = (AgentId, AgentStanding)> {
        let agents = self.roster.queues.get(&queue).into_iter().flat_map(|known| &known.agents);
        agents.map(|agent| (*agent, self.roster.standing(*agent)))
    }

    /// How long the first of the front and the first of the back have waited at most.
    pub fn longest_wait(&self, queue: QueueId, now: Tick) -> Duration {
        let first = self.entries_of(queue).next();
        let is_back = |entry: &EntryId| {
            self.key_of(*entry).is_some_and(|key| key.placement == Placement::Back)
        };
        let back = self.entries_of(queue).find(is_back);
        let waited = [first, back].into_iter().flatten().filter_map(|id| self.waited(id, now));
        waited.max().unwrap_or_default()
    }

    /// How long an entry has waited since it joined, also in an earlier life.
    pub fn waited(&self, entry: EntryId, now: Tick) -> Option<Duration> {
        let joined_us = self.key_of(entry)?.enqueued_us;
        Some(Duration::from_micros(self.wall_us(now).saturating_sub(joined_us)))
    }

    /// The queue that an entry stands in.
    pub fn queue_of(&self, entry: EntryId) -> Option<QueueId> {
        self.entries.get(Id::from_u64(entry.0)).map(|entry| entry.queue)
    }

    /// Whether the entry's caller is on the line.
    pub fn mode_of(&self, entry: EntryId) -> Option<Mode> {
        let entry = self.entries.get(Id::from_u64(entry.0))?;
        Some(if entry.caller.is_some() { Mode::Live } else { Mode::Callback })
    }

    /// The place to keep, should the entry have to outlive the process.
    pub fn key_of(&self, entry: EntryId) -> Option<OrderKey> {
        self.entries.get(Id::from_u64(entry.0)).map(|entry| entry.key)
    }

    /// Number and trunk of an entry.
    pub fn party_of(&self, entry: EntryId) -> Option<&Party> {
        self.entries.get(Id::from_u64(entry.0)).map(|entry| &entry.party)
    }

    pub(super) fn entry(&self, id: EntryId) -> &Entry {
        self.entries.get(Id::from_u64(id.0)).expect("callers pass entries that stand")
    }

    pub(super) fn entry_mut(&mut self, id: EntryId) -> &mut Entry {
        self.entries.get_mut(Id::from_u64(id.0)).expect("callers pass entries that stand")
    }

    pub(super) fn wall_us(&self, now: Tick) -> u64 {
        self.started_us.saturating_add(now.as_micros())
    }

    /// When the wall clock will show this; now, when it is past.
    pub(super) fn tick_at(&self, wall_us: u64) -> Tick {
        Tick::from_micros(wall_us.saturating_sub(self.started_us))
    }

    /// The place of somebody who joins now.
    pub fn next_key(&mut self, placement: Placement, now: Tick) -> OrderKey {
        self.sequence += 1;
        let (enqueued_us, sequence) = (self.wall_us(now), self.sequence);
        OrderKey { placement, enqueued_us, sequence }
    }

    /// The agents of an offer that still stands.
    fn offered(&self, offer: OfferId) -> Option<&[AgentId]> {
        match &self.entries.get(Id::from_u64(offer.entry.0))?.state {
            State::Dispatching { number, agents, .. } if *number == offer.number => Some(agents),
            State::Dispatching { .. } | State::Ready | State::Cooling(_) => None,
        }
    }
}
