//! Queues: `queue.putLeg`, `queue.setCallback`, `queue.getStats`, and what the dispatcher decides
//! as triggers, dials and interrupts (contract §9).

mod agents;
mod look;
mod payload;
mod reload;
mod request;
mod trail;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::base::{Rng, Tick};
use crate::call::dial::{Caller, DialRef, Strategy};
use crate::call::guard::{QueueSettings, is_dialable};
use crate::call::leg::{EndReason, LegRef, leg_text};
use crate::call::record::CallKey;
use crate::call::switch::ask::{Ask, Failed, seconds};
use crate::call::switch::dial::{Whose, caller, strategy};

use crate::call::switch::{RunCard, Switch};
use crate::dispatch::{
    self, AgentId, BreakReason, CallRef, Choice, Dispatcher, Ended, EntryId, Event, Gone, Mode,
    OfferId, OrderKey, Party, Placement, QueueId, Request, Retry,
};
use crate::flow::{Graph, Item, NodeIndex};
use crate::promise::{Place, PromiseId, Wanted};

pub use look::{Withdrawal, promise_value};
pub use request::{NotPromised, PromiseMade, PromiseRequest};
pub use trail::{QueueCounts, QueueFigures};

use payload::with_leg;
use trail::{Log, Pasts, Trail};

/// Entries of all queues together.
const ENTRIES_MAX: usize = 100_000;

/// The queues of all workflows, with what the dispatcher does not know.
#[derive(Debug)]
pub(super) struct Queues {
    dispatcher: Dispatcher,
    /// Agents by their id: workflow and extension.
    agents: Vec<(usize, String)>,
    /// And back: the agents of each extension, one for each workflow that has it.
    by_extension: HashMap<String, Vec<(usize, AgentId)>>,
    /// Queues by number: workflow, public name and trigger.
    queues: Vec<Queue>,
    cards: BTreeMap<EntryId, Card>,
    offers: BTreeMap<OfferId, DialRef>,
    pasts: Pasts,
}

#[derive(Debug)]
struct Queue {
    workflow: usize,
    reference: String,
    graph: Arc<Graph>,
    node: NodeIndex,
    /// Whether an active workflow has it; otherwise it takes nobody new, and serves whoever is on
    /// the line in it.
    is_active: bool,
    log: Log,
}

/// What an entry shows to agents and to flows.
#[derive(Clone, Debug)]
struct Card {
    queue: QueueId,
    caller: Caller,
    /// The ref of the trunk that the caller came by.
    trunk: String,
    /// The caller's leg, while he is on the line.
    leg: Option<LegRef>,
    /// The queue's trigger in the flow that the caller's call goes on under, while he is on the
    /// line.
    flow: Option<(Arc<Graph>, NodeIndex)>,
    /// Whether the caller asked to be called back.
    is_callback_enabled: bool,
    /// The call that it came by; its dials and runs belong to it while it goes on.
    call: CallKey,
    /// The best position that the caller was told. A promise that comes back to its old place
    /// before him does not take that away (A7).
    told: Option<usize>,
    /// Where it stands in the order.
    key: OrderKey,
    trail: Trail,
}

impl Queues {
    pub(super) fn new(started_us: u64, rng: Rng) -> Self {
        Self {
            dispatcher: Dispatcher::new(ENTRIES_MAX, started_us, rng),
            agents: Vec::new(),
            by_extension: HashMap::new(),
            queues: Vec::new(),
            cards: BTreeMap::new(),
            offers: BTreeMap::new(),
            pasts: Pasts::default(),
        }
    }

    /// When the dispatcher wants to be woken.
    pub(super) fn poll_timeout(&self) -> Option<Tick> {
        self.dispatcher.poll_timeout()
    }

    /// Entries of all queues, live and callbacks.
    pub(super) fn len(&self) -> usize {
        self.cards.len()
    }

    fn agent(&self, workflow: usize, number: &str) -> Option<AgentId> {
        let known = self.by_extension.get(number)?;
        known.iter().find(|(of, _)| *of == workflow).map(|(_, agent)| *agent)
    }

    fn extension(&self, agent: AgentId) -> &str {
        &self.agents[agent.0 as usize].1
    }

    /// The active queue of this name.
    fn find(&self, workflow: usize, reference: &str) -> Option<QueueId> {
        self.place_of(workflow, reference).filter(|id| self.queues[id.0 as usize].is_active)
    }

    /// The queue of this name, active or not.
    fn place_of(&self, workflow: usize, reference: &str) -> Option<QueueId> {
        let named = |queue: &Queue| queue.workflow == workflow && queue.reference == reference;
        self.queues.iter().position(named).map(|place| QueueId(place as u64))
    }

    /// The queues that operators see: those that are active, and those that still serve somebody.
    fn shown(&self) -> impl Iterator<Item = QueueId> {
        let all = (0..self.queues.len() as u64).map(QueueId);
        all.filter(|queue| {
            self.is_active(*queue) || self.dispatcher.entries_of(*queue).next().is_some()
        })
    }

    fn is_active(&self, queue: QueueId) -> bool {
        self.queues[queue.0 as usize].is_active
    }
}

impl Switch {
    /// `queue.putLeg`.
    pub(super) fn put_leg(&mut self, ask: &Ask, now: Tick) -> Result<LegRef, Failed> {
        let workflow = self.workflow_of(ask);
        let reference = self.queue_ref(ask)?;
        let queue = self.queues.find(workflow, &reference).ok_or(Failed::QueueUnknown)?;
        let flow = self.flow_of_run(ask, &reference);
        let (id, leg) = self.live_leg_of(ask)?;
        if !leg.is_inbound || leg.origin.extension.is_some() {
            return Err(Failed::QueueLeg);
        }
        let mut shown = caller(ask);
        if shown.number.is_empty() {
            shown.number.clone_from(&leg.caller_number);
        }
        if shown.name.is_empty() {
            shown.name.clone_from(&leg.caller_name);
        }
        let call = leg.call;
        let number = Some(shown.number.clone()).filter(|number| is_dialable(number));
        let trunk = leg.origin.trigger_ref.clone();
        let party = Party { number, trunk: trunk.clone() };
        let placement = match ask.option("queuePlacement").and_then(Value::as_str) {
            Some("front") => Placement::Front,
            Some(_) | None => Placement::Back,
        };
        let request = Request {
            placement,
            rejoin: ask.option("rejoinExisting") != Some(&Value::Bool(false)),
            retry: Retry {
                attempts: ask.option("retryAttempts").and_then(Value::as_u64).unwrap_or(3) as u32,
                pause: seconds(ask.option("retryPauseSeconds"), 30.0),
            },
            strategy: strategy_of(ask)?,
            ..Request::live(CallRef(id.as_u64()), party)
        };
        let joined = self.queues.dispatcher.enqueue(queue, request, now);
        let entry = joined.map_err(Failed::Queue)?;
        // One that found nobody online has ended already; its end is in the events.
        let enqueued_us = self.config.epoch_ms.saturating_mul(1000).saturating_add(now.as_micros());
        let ended = OrderKey { placement, enqueued_us, sequence: 0 };
        let key = self.queues.dispatcher.key_of(entry).unwrap_or(ended);
        let before = self.queues.cards.remove(&entry);
        if before.is_none() {
            self.queues.count(queue, |counts| counts.joined += 1);
        }
        let what = if before.is_some() { "its caller is back on the line" } else { "joined" };
        self.queues.cards.insert(
            entry,
            Card {
                queue,
                caller: shown,
                trunk,
                leg: Some(id),
                flow,
                is_callback_enabled: false,
                call,
                told: None,
                key,
                trail: before.map(|card| card.trail).unwrap_or_default(),
            },
        );
        self.queues.note(entry, what, now);
        if let Some(leg) = self.legs.get_mut(id) {
            leg.entry = Some(entry.0);
        }
        self.retain(id, now);
        self.resume_promise(id, entry, now);
        self.drain_queues(now);
        Ok(id)
    }

    /// A queue's trigger in the flow that a run runs.
    fn flow_of_run(&self, ask: &Ask, reference: &str) -> Option<(Arc<Graph>, NodeIndex)> {
        let graph = &self.runs.get(&ask.key.run)?.graph;
        let (node, _) = reload::queue_triggers(graph).find(|(_, name)| *name == reference)?;
        Some((graph.clone(), node))
    }

    /// `queue.setCallback`. It only marks the entry: the caller stays where he is (QC-14).
    ///
    /// What it promises is on disk before the run goes on, and so before the caller hears it.
    pub(super) fn set_callback(&mut self, ask: Ask, now: Tick) {
        let is_enabled = ask.parameter("callbackEnabled") != Some(&Value::Bool(false));
        match self.mark(&ask, is_enabled, now) {
            Ok((leg, entry)) if is_enabled => self.promise_callback(ask, leg, entry, now),
            Ok((leg, entry)) => {
                self.unpromise(leg, entry, now);
                self.answer(&ask, 0, json!({ "legId": leg_text(leg) }), None);
            }
            Err(failed) => self.fail(&ask, failed),
        }
    }

    fn mark(
        &mut self,
        ask: &Ask,
        is_enabled: bool,
        now: Tick,
    ) -> Result<(LegRef, EntryId), Failed> {
        let (id, leg) = self.live_leg_of(ask)?;
        let entry = leg.entry.map(EntryId).ok_or(Failed::QueueEntry)?;
        let party = self.queues.dispatcher.party_of(entry);
        if is_enabled && party.is_some_and(|party| party.number.is_none()) {
            return Err(Failed::NumberWithheld);
        }
        if let (true, Some(queue)) = (is_enabled, self.queues.dispatcher.queue_of(entry)) {
            let number = party.and_then(|party| party.number.as_ref());
            if number.is_some_and(|number| !self.may_call_back(queue, number)) {
                return Err(Failed::NumberForbidden);
            }
        }
        let set = self.queues.dispatcher.set_callback(entry, is_enabled);
        set.map_err(|_| Failed::QueueEntry)?;
        if let Some(card) = self.queues.cards.get_mut(&entry) {
            card.is_callback_enabled = is_enabled;
        }
        self.touch(id, now);
        Ok((id, entry))
    }

    /// What `ringback.toml` says about a queue.
    fn queue_settings(&self, reference: &str) -> &QueueSettings {
        self.config.queues.get(reference).unwrap_or(&self.config.queue_standard)
    }

    /// Whether a queue calls this number back (A5).
    pub(super) fn may_call_back(&self, queue: QueueId, number: &str) -> bool {
        let reference = &self.queues.queues[queue.0 as usize].reference;
        !self.config.blocked.has(number) && self.queue_settings(reference).guard.permits(number)
    }

    /// The leg of an entry has ended; says whether his place is kept.
    pub(super) fn on_caller_gone(&mut self, entry: u64, now: Tick) -> bool {
        if let Some(card) = self.queues.cards.get_mut(&EntryId(entry)) {
            (card.leg, card.flow) = (None, None);
        }
        let gone = self.queues.dispatcher.caller_gone(EntryId(entry), now);
        if gone == Ok(Gone::Callback) {
            self.queues.note(EntryId(entry), "its caller hung up: a callback from now on", now);
            self.queues.note_waiting(EntryId(entry), now);
            self.shelve_if_retired(EntryId(entry));
        }
        self.drain_queues(now);
        gone == Ok(Gone::Callback)
    }

    /// Puts a promise back into its queue at its old place; `None` when the queue refuses.
    pub(super) fn put_callback(
        &mut self,
        queue: QueueId,
        party: Party,
        key: OrderKey,
        caller: Caller,
        now: Tick,
    ) -> Option<EntryId> {
        let trunk = party.trunk.clone();
        let request = Request::callback(party, key);
        let entry = self.queues.dispatcher.enqueue(queue, request, now).ok()?;
        self.queues.cards.insert(
            entry,
            Card {
                queue,
                caller,
                trunk,
                leg: None,
                flow: None,
                is_callback_enabled: true,
                call: CallKey::default(),
                told: None,
                key,
                trail: Trail::default(),
            },
        );
        self.queues.note(entry, "its promise is due: back at its place, as a callback", now);
        Some(entry)
    }

    /// Takes callbacks out of their queues: no attempt could be written down.
    pub(super) fn shelve_callbacks(&mut self, now: Tick) {
        let callbacks = self.queues.cards.iter().filter(|(_, card)| card.leg.is_none());
        for entry in callbacks.map(|(entry, _)| *entry).collect::<Vec<_>>() {
            // One that an agent has just taken is no entry any more.
            let _ = self.queues.dispatcher.cancel(entry);
        }
        self.drain_queues(now);
    }

    /// Nobody may be called for a promise now: agents are for those who may be served (A5).
    pub(super) fn shelve_promise(&mut self, promise: PromiseId, now: Tick) {
        let why = self.why_not_offered(promise).unwrap_or_default();
        self.take_out(promise, &format!("not offered: {why}"), now);
    }

    /// Takes the callbacks of a promise out of their queues; callers on the line stay.
    pub(super) fn take_out(&mut self, promise: PromiseId, why: &str, now: Tick) {
        let held = self.promises.by_entry.iter().filter(|(_, of)| **of == promise);
        for entry in held.map(|(entry, _)| *entry).collect::<Vec<_>>() {
            if self.queues.cards.get(&entry).is_some_and(|card| card.leg.is_none()) {
                self.queues.note(entry, why, now);
                // One that an agent has just taken is no entry any more.
                let _ = self.queues.dispatcher.cancel(entry);
            }
        }
        self.drain_queues(now);
    }

    /// The entry's caller has a promise already.
    pub(super) fn mark_callback(&mut self, entry: EntryId) {
        if self.queues.dispatcher.set_callback(entry, true).is_ok()
            && let Some(card) = self.queues.cards.get_mut(&entry)
        {
            card.is_callback_enabled = true;
        }
    }

    /// Whether the entry is in its queue.
    pub(super) fn has_entry(&self, entry: EntryId) -> bool {
        self.queues.cards.contains_key(&entry)
    }

    /// The queue with this lasting number.
    pub(super) fn queue_by_key(&self, key: u64) -> Option<QueueId> {
        let is_it = |queue: &Queue| {
            queue.is_active && queue_key(queue.graph.name(), &queue.reference) == key
        };
        self.queues.queues.iter().position(is_it).map(|place| QueueId(place as u64))
    }

    /// What a promise to the caller of an entry would hold.
    pub(super) fn wanted(&self, entry: EntryId) -> Option<Wanted> {
        let card = self.queues.cards.get(&entry)?;
        let queue = &self.queues.queues[card.queue.0 as usize];
        let party = self.queues.dispatcher.party_of(entry)?;
        let key = self.queues.dispatcher.key_of(entry)?;
        Some(Wanted {
            queue: queue_key(queue.graph.name(), &queue.reference),
            number: party.number.clone()?,
            name: Some(card.caller.name.clone()).filter(|name| !name.is_empty()),
            trunk: party.trunk.clone(),
            place: place_of(key),
            override_hours: None,
        })
    }

    /// The dispatcher's own timers.
    pub(super) fn on_queue_timeout(&mut self, now: Tick) {
        self.queues.dispatcher.handle_timeout(now);
        self.drain_queues(now);
    }

    /// Takes everything that the dispatcher has to say.
    pub(super) fn drain_queues(&mut self, now: Tick) {
        while let Some(event) = self.queues.dispatcher.poll_event() {
            self.on_queue_event(event, now);
        }
    }

    fn on_queue_event(&mut self, event: Event, now: Tick) {
        match event {
            Event::QueuePlaced { caller, .. } => {
                self.interrupt(LegRef::from_u64(caller.0), "call_queue_placed", now);
            }
            Event::QueueRemoved { caller, .. } => {
                let leg = LegRef::from_u64(caller.0);
                if self.legs.get_mut(leg).is_some_and(|leg| leg.entry.take().is_some()) {
                    self.interrupt(leg, "call_queue_removed", now);
                    self.release(leg, now);
                }
            }
            Event::Placed { entry } => {
                self.queues.note_waiting(entry, now);
                let payload = self.entry_payload(entry, None, None);
                self.emit(entry, 0, payload, now);
            }
            Event::Dispatch { offer, caller, agents, strategy, .. } => {
                self.on_dispatch(offer, caller, &agents, strategy, now);
            }
            Event::Offline { entry, caller } => {
                self.queues.note(
                    entry,
                    "not offered: no agent is online, or offers are used up",
                    now,
                );
                let mode = if caller.is_some() { Mode::Live } else { Mode::Callback };
                let payload = self.entry_payload(entry, Some(mode), None);
                let payload = with_leg(payload, caller);
                self.emit(entry, 2, payload, now);
            }
            Event::BreakOffer { offer, reason } => {
                let why = match reason {
                    BreakReason::Callback => "queue_callback",
                    BreakReason::CallerGone => "queue_caller_gone",
                    BreakReason::Rejoined => "queue_rejoined",
                    BreakReason::Cancelled => "queue_cancelled",
                };
                self.queues.note(offer.entry, format!("no longer offered: {why}"), now);
                if let Some(dial) = self.queues.offers.remove(&offer) {
                    if let Some(dial) = self.dials.get_mut(dial) {
                        dial.offer = None;
                    }
                    self.fail_dial(dial, why, EndReason::Broken, now);
                }
            }
            Event::Ended { entry, reason } => {
                let why = match reason {
                    Ended::Answered(agent) => format!("{} took it", self.queues.extension(agent)),
                    Ended::Abandoned => "its caller hung up without a callback".to_owned(),
                    Ended::Offline => "no agent is online".to_owned(),
                    Ended::Exhausted => "nobody took any of its offers".to_owned(),
                    Ended::Expired => "its time ran out".to_owned(),
                    Ended::Cancelled => "it was taken out".to_owned(),
                };
                let card = self.queues.bury(entry, &why, now);
                if let (Some(card), Ended::Abandoned) = (card, reason) {
                    self.queues.count(card.queue, |counts| counts.abandoned += 1);
                }
                self.on_callback_entry_ended(entry, now);
            }
        }
    }

    fn on_dispatch(
        &mut self,
        offer: OfferId,
        on_line: Option<CallRef>,
        agents: &[AgentId],
        strategy: dispatch::Strategy,
        now: Tick,
    ) {
        let Some(card) = self.queues.cards.get(&offer.entry).cloned() else { return };
        let workflow = self.queues.queues[card.queue.0 as usize].workflow;
        let number = |agent: &AgentId| self.queues.agents[agent.0 as usize].1.clone();
        let numbers = agents.iter().map(number).collect::<Vec<_>>();
        self.queues.note_offer(offer, &numbers, now);
        let targets = self.extensions_to_ring(workflow, &numbers, true);
        let strategy = match strategy {
            dispatch::Strategy::Parallel => Strategy::Parallel,
            dispatch::Strategy::Sequential { attempt_timeout: attempt, gap } => {
                Strategy::Sequential { attempt, gap }
            }
            dispatch::Strategy::OneByOne { attempt_timeout: attempt, .. } => {
                Strategy::OneAgent { attempt }
            }
        };
        let call = self.call_of_entry(offer.entry, now);
        let whose = Whose { call, workflow, offer: Some(offer), promise: None };
        let dial = self.begin_dial(whose, targets, strategy, card.caller, now);
        let Some(dial) = dial else {
            self.end_call_if_over(call);
            return self.on_offer_failed(offer, now);
        };
        if self.dials.get(dial).is_some_and(|dial| dial.is_dialing()) {
            self.queues.offers.insert(offer, dial);
        }
        let mode = if on_line.is_some() { Mode::Live } else { Mode::Callback };
        let payload = self.entry_payload(offer.entry, Some(mode), Some(dial));
        self.emit(offer.entry, 1, with_leg(payload, on_line), now);
    }

    /// The call of an entry; one that is over is continued by a new one.
    fn call_of_entry(&mut self, entry: EntryId, now: Tick) -> CallKey {
        let Some(card) = self.queues.cards.get(&entry) else { return CallKey::default() };
        let (call, workflow) = (card.call, self.queues.queues[card.queue.0 as usize].workflow);
        let call = self.continue_call(call, workflow, now);
        if let Some(card) = self.queues.cards.get_mut(&entry) {
            card.call = call;
        }
        call
    }

    fn emit(&mut self, entry: EntryId, branch: usize, payload: Map<String, Value>, now: Tick) {
        let call = self.call_of_entry(entry, now);
        let Some(card) = self.queues.cards.get(&entry) else { return };
        let queue = &self.queues.queues[card.queue.0 as usize];
        let workflow = queue.workflow;
        let (graph, node) = card.flow.clone().unwrap_or_else(|| (queue.graph.clone(), queue.node));
        let mut outputs = vec![Vec::new(), Vec::new(), Vec::new()];
        outputs[branch].push(Item::new(payload));
        let number = self.run_number(call);
        let card = RunCard { workflow, graph, entry: Some(entry), call, number };
        self.start_run_at(card, node, outputs);
    }

    fn queue_ref(&self, ask: &Ask) -> Result<String, Failed> {
        let context = ask.item.json.get("sipPbx").and_then(|context| context.get("ref"));
        let named = [ask.parameter("ref"), ask.item.json.get("ref"), context];
        let named = named.into_iter().flatten().filter_map(Value::as_str);
        named.map(str::to_owned).find(|name| !name.is_empty()).ok_or(Failed::RefMissing)
    }
}

/// How the agents of an entry are to be rung.
fn strategy_of(ask: &Ask) -> Result<dispatch::Strategy, Failed> {
    let word = ask.option("callStrategy").and_then(Value::as_str).unwrap_or("parallel");
    let choice = match word {
        "parallel" | "" => return Ok(dispatch::Strategy::Parallel),
        "sequential" => {
            let Strategy::Sequential { attempt: attempt_timeout, gap } = strategy(ask) else {
                return Ok(dispatch::Strategy::Parallel);
            };
            return Ok(dispatch::Strategy::Sequential { attempt_timeout, gap });
        }
        "longestIdle" => Choice::LongestIdle,
        "roundRobin" => Choice::RoundRobin,
        "fewestCalls" => Choice::FewestCalls,
        "random" => Choice::Random,
        _ => return Err(Failed::StrategyUnknown),
    };
    let attempt_timeout = seconds(ask.option("sequentialAttemptTimeoutSeconds"), 30.0);
    Ok(dispatch::Strategy::OneByOne { choice, attempt_timeout })
}

/// A place as the journal keeps it.
const fn place_of(key: OrderKey) -> Place {
    let class = match key.placement {
        Placement::Front => 0,
        Placement::Back => 1,
    };
    Place { class, enqueued_us: key.enqueued_us, sequence: key.sequence }
}

/// A number for a queue that outlives the process and the order of the flows (FNV-1a, 64 bit).
pub fn queue_key(workflow: &str, reference: &str) -> u64 {
    let bytes = workflow.bytes().chain([0]).chain(reference.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
