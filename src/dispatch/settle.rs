//! How entries change: join, wait, are offered, cool down, leave a callback behind, and end.

use crate::base::{Id, Tick, take_out};

use super::dispatcher::{Dispatcher, Entry, State, Wake};
use super::types::{
    AgentId, BreakReason, CallRef, Ended, EntryId, Event, OfferId, Party, QueueId, Request,
    Strategy,
};

impl Dispatcher {
    /// Stores a new entry, not evaluated yet; `None` when there are too many of all queues.
    pub(super) fn insert(
        &mut self,
        queue: QueueId,
        request: Request,
        now: Tick,
    ) -> Option<EntryId> {
        let next = self.next_key(request.placement, now);
        let key = request.key.unwrap_or(next);
        let is_callback = request.caller.is_none();
        let id = EntryId(
            self.entries
                .insert(Entry {
                    queue,
                    key,
                    party: request.party,
                    caller: request.caller,
                    state: State::Ready,
                    is_callback_enabled: is_callback,
                    // A callback of an earlier life was told then.
                    is_placed_said: is_callback,
                    is_offline_said: false,
                    is_expired: false,
                    failed: 0,
                    retry: request.retry,
                    strategy: request.strategy,
                    expiry: None,
                })?
                .as_u64(),
        );
        self.roster.queue_mut(queue).line.insert((key, id));
        match request.caller {
            Some(caller) => {
                self.callers.insert(caller, id);
                self.events.push_back(Event::QueuePlaced { entry: id, caller });
            }
            None => self.hold_place(id),
        }
        Some(id)
    }

    /// Rule 3: looks for agents now, and says `Placed` when an entry has to wait for one. Entries
    /// that may be offered again at one tick are looked at together, so that their order holds.
    pub(super) fn evaluate(&mut self, ids: &[EntryId]) {
        for id in ids {
            let Some(entry) = self.entries.get_mut(Id::from_u64(id.0)) else { continue };
            entry.state = State::Ready;
            let (queue, place, is_told) = (entry.queue, entry.place(*id), entry.is_offline_said);
            let known = self.roster.queue_mut(queue);
            known.ready.insert(place);
            if !is_told {
                known.untold.insert(place);
            }
            self.roster.touched.insert(queue);
        }
        self.settle();
        for id in ids {
            let still = self.entries.get(Id::from_u64(id.0));
            let waits = |entry: &Entry| matches!(entry.state, State::Ready);
            if still.is_some_and(|entry| waits(entry) && !entry.is_offline_said) {
                self.say_placed(*id);
            }
        }
    }

    /// Gives free agents to the first entries of the queues that a change touched, and ends the
    /// waiting where nobody is online any more.
    pub(super) fn settle(&mut self) {
        while let Some(id) = self.next_match() {
            self.dispatch(id);
        }
        while let Some(queue) = self.roster.touched.pop_first() {
            self.say_offline(queue);
        }
    }

    /// Among touched queues with a free agent, the entry that waits longest.
    fn next_match(&self) -> Option<EntryId> {
        let heads = self.roster.touched.iter().filter_map(|queue| {
            let queue = self.roster.queues.get(queue)?;
            if queue.free.is_empty() { None } else { queue.ready.first() }
        });
        heads.min().map(|(_, entry)| *entry)
    }

    fn dispatch(&mut self, id: EntryId) {
        self.offers += 1;
        let number = self.offers;
        let entry = self.entry(id);
        let (queue, place) = (entry.queue, entry.place(id));
        let agents = match entry.strategy {
            Strategy::Parallel | Strategy::Sequential { .. } => self.roster.free_agents(queue),
            Strategy::OneByOne { choice, .. } => {
                Vec::from_iter(self.roster.choose(queue, choice, &[], &mut self.rng))
            }
        };
        for agent in &agents {
            self.roster.change(*agent, |agent| agent.reserved_for = Some(id));
        }
        self.roster.queue_mut(queue).unready(place);
        let entry = self.entry_mut(id);
        entry.state = State::Dispatching { number, agents: agents.clone(), passed: Vec::new() };
        let event = Event::Dispatch {
            offer: OfferId { entry: id, number },
            queue,
            caller: entry.caller,
            agents,
            strategy: entry.strategy,
            attempt: entry.failed + 1,
        };
        self.events.push_back(event);
    }

    /// The one agent who rings lets the offer pass: his turn is over, and he rests for as long as
    /// an entry does, so that a telephone that nobody hears does not meet one caller after another.
    pub(super) fn let_pass(&mut self, id: EntryId, now: Tick) {
        let entry = self.entry_mut(id);
        let pause = entry.retry.pause;
        let (Strategy::OneByOne { .. }, State::Dispatching { agents, passed, .. }) =
            (entry.strategy, &mut entry.state)
        else {
            return;
        };
        let Some(agent) = agents.pop() else { return };
        passed.push(agent);
        self.rest(agent, now + pause);
        self.roster.change(agent, |agent| {
            agent.reserved_for = None;
            agent.turn.calls += 1;
        });
        self.roster.end_turn(agent);
    }

    /// Reserves the next agent of an offer that rings one at a time.
    pub(super) fn next_agent(&mut self, id: EntryId) -> Option<AgentId> {
        let Self { entries, roster, rng, .. } = self;
        let entry = entries.get_mut(Id::from_u64(id.0))?;
        let (Strategy::OneByOne { choice, .. }, State::Dispatching { agents, passed, .. }) =
            (entry.strategy, &mut entry.state)
        else {
            return None;
        };
        let next = roster.choose(entry.queue, choice, passed, rng)?;
        roster.change(next, |agent| agent.reserved_for = Some(id));
        agents.push(next);
        Some(next)
    }

    /// Rule 3, nobody online: a live entry ends; a callback hears it once and keeps its place.
    fn say_offline(&mut self, queue: QueueId) {
        let Some(known) = self.roster.queues.get_mut(&queue) else { return };
        if known.online > 0 {
            return;
        }
        for (_, id) in std::mem::take(&mut known.untold) {
            let entry = self.entry_mut(id);
            if entry.caller.is_some() {
                self.end(id, Ended::Offline, None);
            } else {
                entry.is_offline_said = true;
                self.events.push_back(Event::Offline { entry: id, caller: None });
            }
        }
    }

    pub(super) fn say_placed(&mut self, id: EntryId) {
        let entry = self.entry_mut(id);
        if !std::mem::replace(&mut entry.is_placed_said, true) {
            self.events.push_back(Event::Placed { entry: id });
        }
    }

    /// The entry is not offered again before its pause is over.
    pub(super) fn cool_down(&mut self, id: EntryId, now: Tick) {
        self.withdraw(id, None);
        let pause = self.entry(id).retry.pause;
        let armed = self.timers.arm(now + pause, Wake::Cooldown(id));
        self.entry_mut(id).state = State::Cooling(armed);
    }

    /// Rule 8: the caller left, the place stays.
    pub(super) fn leave_behind(&mut self, id: EntryId, now: Tick) {
        let caller = self.entry_mut(id).caller.take().expect("a caller leaves once");
        take_out(&mut self.callers, &caller);
        self.withdraw(id, Some(BreakReason::Callback));
        self.cool_down(id, now);
        self.hold_place(id);
    }

    /// Rule 11: the oldest place held for this number.
    pub(super) fn place_of(&self, queue: QueueId, party: &Party) -> Option<EntryId> {
        party.number.as_ref()?;
        let places = self.left_behind.get(&(queue, party.clone()))?;
        places.first().map(|(_, entry)| *entry)
    }

    /// Rule 11: the caller is back on the line, at the old place. A dial to agents that was to
    /// end in a callback is broken; a cooldown goes on.
    pub(super) fn rejoin(&mut self, id: EntryId, caller: CallRef, request: &Request) {
        self.let_go_of_place(id);
        let entry = self.entry_mut(id);
        entry.caller = Some(caller);
        entry.retry = request.retry;
        entry.strategy = request.strategy;
        entry.is_placed_said = false;
        entry.is_offline_said = false;
        entry.is_expired = false;
        let is_cooling = matches!(entry.state, State::Cooling(_));
        self.callers.insert(caller, id);
        self.events.push_back(Event::QueuePlaced { entry: id, caller });
        if is_cooling {
            self.say_placed(id);
        } else {
            self.withdraw(id, Some(BreakReason::Rejoined));
            self.evaluate(&[id]);
        }
    }

    /// A callback whose agents are being rung may still be answered; it ends when they do not.
    pub(super) fn expire(&mut self, id: EntryId) {
        let entry = self.entry_mut(id);
        entry.expiry = None;
        entry.is_expired = true;
        if !matches!(entry.state, State::Dispatching { .. }) {
            self.end(id, Ended::Expired, None);
        }
    }

    /// Takes the entry out of every table and says the last words about it.
    pub(super) fn end(&mut self, id: EntryId, reason: Ended, broken: Option<BreakReason>) -> Entry {
        self.withdraw(id, broken);
        self.let_go_of_place(id);
        let entry = self.entries.remove(Id::from_u64(id.0)).expect("an entry ends once");
        self.roster.queue_mut(entry.queue).line.remove(&entry.place(id));
        if let Some(caller) = entry.caller {
            take_out(&mut self.callers, &caller);
            if reason != Ended::Abandoned {
                self.events.push_back(Event::QueueRemoved { entry: id, caller });
            }
        }
        // Rule 3: the queue's hold on the leg is released before Offline is said.
        if matches!(reason, Ended::Offline | Ended::Exhausted) {
            self.events.push_back(Event::Offline { entry: id, caller: entry.caller });
        }
        self.events.push_back(Event::Ended { entry: id, reason });
        entry
    }

    /// Stops whatever the entry is doing: its agents are free again, its cooldown is cleared. It
    /// is then in no set; the caller says what it does next.
    fn withdraw(&mut self, id: EntryId, broken: Option<BreakReason>) {
        let entry = self.entry_mut(id);
        let (queue, place) = (entry.queue, entry.place(id));
        match std::mem::replace(&mut entry.state, State::Ready) {
            State::Ready => {}
            State::Cooling(armed) => self.timers.clear(armed),
            State::Dispatching { number, agents, .. } => {
                for agent in agents {
                    self.roster.change(agent, |agent| agent.reserved_for = None);
                }
                if let Some(reason) = broken {
                    let offer = OfferId { entry: id, number };
                    self.events.push_back(Event::BreakOffer { offer, reason });
                }
            }
        }
        self.roster.queue_mut(queue).unready(place);
    }

    /// Makes a place without a caller findable by number, until it expires.
    fn hold_place(&mut self, id: EntryId) {
        let entry = self.entry(id);
        let known = self.roster.queue(entry.queue);
        let expiry_us = u64::try_from(known.policy.callback_expiry.as_micros()).unwrap_or(u64::MAX);
        let due = self.tick_at(entry.key.enqueued_us.saturating_add(expiry_us));
        let (party, place) = ((entry.queue, entry.party.clone()), entry.place(id));
        let armed = self.timers.arm(due, Wake::Expiry(id));
        self.entry_mut(id).expiry = Some(armed);
        self.left_behind.entry(party).or_default().insert(place);
    }

    fn let_go_of_place(&mut self, id: EntryId) {
        let entry = self.entries.get_mut(Id::from_u64(id.0)).expect("callers pass entries there");
        self.timers.clear_slot(&mut entry.expiry);
        if entry.caller.is_some() {
            return;
        }
        let (party, place) = ((entry.queue, entry.party.clone()), entry.place(id));
        if let Some(places) = self.left_behind.get_mut(&party) {
            places.remove(&place);
            if places.is_empty() {
                self.left_behind.remove(&party);
            }
        }
    }
}
