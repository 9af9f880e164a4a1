//! Calls: which legs and runs belong together, what they said and where they have been, and the
//! records that are left of them.

use std::collections::HashMap;

use serde_json::Value;

use crate::base::{BoxMap, Tick, take_out};
use crate::call::leg::{Leg, LegRef};
use crate::call::record::{
    Call, CallKey, CallRecord, Epoch, Heading, LegRecord, Record, Trace, Visit, leg_json,
};
use crate::call::switch::{Output, Switch};
use crate::flow::{RunId, Visited};
use crate::sip::{self, Label};

/// Every call that is not over.
#[derive(Debug, Default)]
pub(super) struct Calls {
    begun: u64,
    open: BoxMap<CallKey, Call>,
    /// Legs by Call-ID, for the messages that come and go.
    by_call_id: HashMap<Box<str>, LegRef>,
}

impl Calls {
    /// Calls that are not over.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

impl Switch {
    /// A call begins: nobody has counted it yet.
    pub(super) fn begin_call(
        &mut self,
        workflow: usize,
        continues: Option<CallKey>,
        now: Tick,
    ) -> CallKey {
        self.calls.begun += 1;
        let key = CallKey(self.calls.begun);
        let flow = self.workflows.get(workflow).cloned().unwrap_or_default();
        let version = self.versions.get(workflow).cloned().unwrap_or_default();
        let call = Call::new(now, flow, version, continues);
        self.calls.open.insert(key, call);
        key
    }

    /// The same call if it goes on, or a new one that continues it.
    pub(super) fn continue_call(&mut self, key: CallKey, workflow: usize, now: Tick) -> CallKey {
        if self.calls.open.contains_key(&key) {
            return key;
        }
        // Calls are numbered from 1: a promise of an earlier process continues none of these.
        self.begin_call(workflow, (key.0 > 0).then_some(key), now)
    }

    /// The call that a run belongs to; a run that no call started has one of its own.
    pub(super) fn call_of_run(&mut self, run: RunId, now: Tick) -> CallKey {
        match self.runs.get(&run) {
            Some(card) => card.call,
            None => self.begin_call(usize::MAX, None, now),
        }
    }

    /// A leg has come into being. What it has said so far is looked for among the last messages.
    pub(super) fn add_leg_to_call(&mut self, id: LegRef, key: CallKey, call_id: &str) {
        let mut trace = Trace::new(call_id);
        for (at, heading, bytes) in self.recent.of_call(call_id) {
            trace.push(at, heading, Label::of(bytes));
        }
        let workflow = self.legs.get(id).map_or(usize::MAX, |leg| leg.origin.workflow);
        let key = self.continue_call(key, workflow, self.recent.now());
        if let Some(call) = self.calls.open.get_mut(&key) {
            call.add_leg(id);
        }
        self.calls.by_call_id.insert(call_id.into(), id);
        if let Some(leg) = self.legs.get_mut(id) {
            leg.call = key;
            leg.trace = trace;
        }
    }

    /// A message has come or is about to leave: it is remembered, and named in the ladder of its leg.
    pub(super) fn remember(&mut self, heading: Heading, flow: sip::Flow, bytes: &[u8]) {
        let call_id = sip::call_id(bytes);
        self.recent.push(heading, flow, call_id, bytes);
        let known = call_id.and_then(|call_id| self.calls.by_call_id.get(call_id));
        if let Some(leg) = known.and_then(|leg| self.legs.get_mut(*leg)) {
            leg.trace.push(self.recent.now(), heading, Label::of(bytes));
        }
    }

    /// A leg was answered.
    pub(super) fn on_call_answered(&mut self, id: LegRef, now: Tick) {
        let call = self.legs.get(id).map(|leg| leg.call);
        if let Some(call) = call.and_then(|key| self.calls.open.get_mut(&key)) {
            call.answered.get_or_insert(now);
        }
    }

    /// A run was started for a call.
    pub(super) fn add_run_to_call(&mut self, key: CallKey) {
        if let Some(call) = self.calls.open.get_mut(&key) {
            call.runs_open += 1;
            call.runs += 1;
        }
    }

    /// A run of a call is over.
    pub(super) fn end_run_of_call(&mut self, key: CallKey, fault: Option<&str>) {
        let Some(call) = self.calls.open.get_mut(&key) else { return };
        call.runs_open -= 1;
        if call.legs.is_empty() {
            call.ended = Some(self.recent.now());
        }
        call.faults.extend(fault.map(str::to_owned));
        self.end_call_if_over(key);
    }

    /// A node was visited.
    pub(super) fn on_visited(&mut self, run: RunId, visited: &Visited, now: Tick) {
        let Some(card) = self.runs.get(&run) else { return };
        let Some(call) = self.calls.open.get_mut(&card.call) else { return };
        // The outputs of a workflow that this one executes go by number.
        let labels = match visited.workflow {
            None => card.graph.node(visited.node).outputs.as_slice(),
            Some(_) => &[],
        };
        let given = visited.outputs.iter().enumerate().filter(|(_, items)| !items.is_empty());
        let label = |place: usize| match labels.get(place) {
            Some(label) => label.as_str().into(),
            None => place.to_string().into(),
        };
        // Room for as many as there are: to give back the rest of it costs more than to count.
        let mut outputs = Vec::with_capacity(given.clone().count());
        outputs.extend(given.map(|(place, _)| label(place)));
        call.path.push(Visit {
            at: now,
            run: card.number,
            node: match &visited.workflow {
                None => visited.name.clone(),
                Some(workflow) => format!("{workflow}: {}", visited.name).into(),
            },
            outputs: outputs.into(),
            fault: visited.fault.as_ref().map(|fault| (&*fault.code).into()),
        });
    }

    /// How many runs its call has had, this one included.
    pub(super) fn run_number(&self, key: CallKey) -> u64 {
        self.calls.open.get(&key).map_or(1, |call| call.runs + 1)
    }

    /// A leg is forgotten: its record is complete, and perhaps its call is over.
    pub(super) fn record_leg(&mut self, id: LegRef, leg: Box<Leg>) {
        take_out(&mut self.calls.by_call_id, &leg.trace.call_id);
        let key = leg.call;
        if let Some(call) = self.calls.open.get_mut(&key) {
            call.legs_open -= 1;
            call.ended = call.ended.max(leg.ended);
        }
        let flow = self.workflows.get(leg.origin.workflow).cloned().unwrap_or_default();
        let record = LegRecord { id, leg, flow, epoch: self.epoch() };
        self.outputs.push_back(Output::CallRecord(Record::Leg(Box::new(record))));
        self.end_call_if_over(key);
    }

    /// Writes a call down of which nothing goes on.
    pub(super) fn end_call_if_over(&mut self, key: CallKey) {
        if self.calls.open.get(&key).is_some_and(|call| call.is_over())
            && let Some(call) = self.calls.open.remove(&key)
        {
            self.record_call(key, call.ended, call);
        }
    }

    fn record_call(&mut self, key: CallKey, ended: Option<Tick>, call: Call) {
        let record = CallRecord { key, call, ended, epoch: self.epoch() };
        self.outputs.push_back(Output::CallRecord(Record::Call(Box::new(record))));
    }

    /// Writes down what there is of every call: the server ends.
    pub fn record_all(&mut self) {
        let legs = self.legs.iter().map(|(id, _)| id).collect::<Vec<_>>();
        for id in legs {
            if let Some(mut leg) = self.legs.remove(id) {
                self.timers.clear_slot(&mut leg.free);
                self.record_leg(id, leg);
            }
        }
        for (key, call) in std::mem::take(&mut self.calls.open) {
            let ended = call.ended.filter(|_| call.is_over());
            self.record_call(key, ended, call);
        }
    }

    /// When a call ended that is only kept for late messages: no leg of it goes on, and no run that may
    /// dial another.
    fn ended(&self, call: &Call) -> Option<Tick> {
        let kept = call.legs.iter().filter_map(|id| self.legs.get(*id));
        let ends = kept.map(|leg| leg.ended).collect::<Vec<_>>();
        // The legs of a long call are not all named.
        if call.runs_open > 0 || ends.len() < call.legs_open || ends.contains(&None) {
            return None;
        }
        ends.into_iter().chain([call.ended]).max().flatten()
    }

    /// The calls that are not written down, the oldest first.
    pub fn live_calls(&self, calls_max: usize) -> Vec<Value> {
        let open = self.calls.open.iter().take(calls_max);
        open.map(|(key, call)| self.summary_of(*key, call)).collect()
    }

    /// Everything about a call that is not written down: its record as it would be now, and those of
    /// its legs.
    pub fn live_call(&self, name: &str) -> Option<Vec<Value>> {
        let is_it = |key: &CallKey| self.epoch().call_text(*key) == name;
        let (key, call) = self.calls.open.iter().find(|(key, _)| is_it(key))?;
        let mut records = vec![call.to_json(*key, self.ended(call), self.epoch())];
        let legs = call.legs.iter().filter_map(|id| Some((*id, self.legs.get(*id)?)));
        records.extend(legs.map(|(id, leg)| leg_json(id, leg, self.flow_of(leg), self.epoch())));
        Some(records)
    }

    /// A line of the list: with who calls whom, as the first leg knows it.
    fn summary_of(&self, key: CallKey, call: &Call) -> Value {
        let mut summary = call.summary(key, self.ended(call), self.epoch());
        if let Some(leg) = call.legs.first().and_then(|leg| self.legs.get(*leg)) {
            summary["from"] = leg.caller_number.as_str().into();
            summary["to"] = leg.called_number.as_str().into();
        }
        summary
    }

    fn flow_of(&self, leg: &Leg) -> &str {
        self.workflows.get(leg.origin.workflow).map_or("", |name| name)
    }

    const fn epoch(&self) -> Epoch {
        Epoch { ms: self.config.epoch_ms }
    }
}
