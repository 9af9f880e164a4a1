//! Recordings of whole calls: `recording.start`, `recording.control`, and what a flow answers to the
//! branch `Recording` by `respond.toRecord` (contract §5.5, §10).
//!
//! A recording of a call never holds the call up: it retains no leg, and ends with it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::{Armed, Tick};
use crate::call::leg::{Leg, LegRef, OriginKind, leg_text, parse, text};
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::inquiry::{request_id, with_handle};
use crate::call::switch::record::{End, Purpose, Wanted, tape_format};
use crate::call::switch::{AskRef, Fact, Keeping, Kept, Pending, RunCard, Switch, Wake};
use crate::flow::Item;
use crate::media::Recorded;

/// Legs about which flows are asked whether to record them.
#[derive(Debug, Default)]
pub(super) struct RecordRequests {
    begun: u64,
    open: BTreeMap<u64, RecordRequest>,
}

#[derive(Debug)]
struct RecordRequest {
    leg: LegRef,
    /// Place of the trigger whose flow is asked.
    trigger: usize,
    deadline: Armed,
}

impl RecordRequests {
    /// Legs about which a flow is asked.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }
}

impl Switch {
    /// A leg was answered: its flow is asked whether to record it, where its trigger says so.
    pub(super) fn ask_about_recording(&mut self, id: LegRef, now: Tick) {
        let Some(leg) = self.legs.get(id) else { return };
        let is_its = |trigger: &&crate::call::trigger::Trigger| {
            trigger.workflow == leg.origin.workflow
                && match (leg.origin.kind, leg.is_inbound, &leg.origin.extension) {
                    (OriginKind::Extension, false, Some(number)) => trigger.has_extension(number),
                    (kind, ..) => {
                        trigger.reference == leg.origin.trigger_ref
                            && trigger.is_trunk() == (kind == OriginKind::Trunk)
                    }
                }
        };
        let Some(place) = self.triggers.iter().position(|one| is_its(&one)) else { return };
        let trigger = self.triggers[place].clone();
        let Some((output, timeout)) = trigger.records else { return };
        self.drop_record_request(id);
        self.record_requests.begun += 1;
        let request = self.record_requests.begun;
        let name = text("record", request);
        let Some(leg) = self.legs.get(id) else { return };
        let item =
            with_handle(Item::new(payload(id, leg, &trigger.reference, &name)), "record", &name);
        let call = leg.call;
        let deadline = self.timers.arm(now + timeout, Wake::RecordRequest(request));
        let asked = RecordRequest { leg: id, trigger: place, deadline };
        self.record_requests.open.insert(request, asked);
        let mut outputs = vec![Vec::new(); output];
        outputs.push(vec![item]);
        let number = self.run_number(call);
        let (workflow, graph) = (trigger.workflow, trigger.graph.clone());
        let card = RunCard { workflow, graph, entry: None, call, number };
        self.start_run_at(card, trigger.node, outputs);
    }

    /// Other triggers are active: what one that has gone asked is asked by nobody (contract §3).
    pub(super) fn move_record_requests(&mut self, places: &[Option<usize>]) {
        let mut lost = Vec::new();
        for (request, open) in &mut self.record_requests.open {
            match places.get(open.trigger).copied().flatten() {
                Some(place) => open.trigger = place,
                None => lost.push(*request),
            }
        }
        for request in lost {
            self.on_record_request_over(request);
        }
    }

    /// Nobody has answered in time, or the leg is gone: it is not recorded.
    pub(super) fn on_record_request_over(&mut self, request: u64) {
        if let Some(open) = self.record_requests.open.remove(&request) {
            self.timers.clear(open.deadline);
        }
    }

    /// A leg is gone, or asked about anew.
    pub(super) fn drop_record_request(&mut self, id: LegRef) {
        let found = self.record_requests.open.iter().find(|(_, open)| open.leg == id);
        if let Some(request) = found.map(|(request, _)| *request) {
            self.on_record_request_over(request);
        }
    }

    /// `recording.start`.
    pub(super) fn start_recording(&mut self, ask: Ask, now: Tick) {
        match self.live_leg_of(&ask).map(|(id, _)| id) {
            Ok(leg) => self.record_leg_for(ask, leg, None, now),
            Err(failed) => self.fail(&ask, failed),
        }
    }

    /// `respond.toRecord`.
    pub(super) fn respond_record(&mut self, ask: Ask, now: Tick) {
        let named = request_id(&ask, "record", "recordRequestId");
        let Some(named) = named else { return self.fail(&ask, Failed::RecordMissing) };
        let request = parse("record", &named);
        let open = request.and_then(|one| Some((one, self.record_requests.open.get(&one)?.leg)));
        let Some((request, leg)) = open else { return self.fail(&ask, Failed::RecordUnknown) };
        self.on_record_request_over(request);
        if ask.parameter("active") == Some(&Value::Bool(false)) {
            let payload =
                json!({ "recordRequestId": named, "active": false, "legId": leg_text(leg) });
            return self.answer(&ask, 0, payload, None);
        }
        self.record_leg_for(ask, leg, Some(request), now);
    }

    /// `recording.control`.
    pub(super) fn control_recording(&mut self, ask: &Ask, now: Tick) -> Result<LegRef, Failed> {
        let (id, leg) = self.live_leg_of(ask)?;
        let recording = leg.recorded.ok_or(Failed::NotRecorded)?;
        let is_paused = match ask.text("recordingControlAction").as_str() {
            "pause" | "" => true,
            "resume" => false,
            _ => return Err(Failed::RecordingAction),
        };
        self.pause_recording(recording, is_paused);
        self.touch(id, now);
        Ok(id)
    }

    fn record_leg_for(&mut self, ask: Ask, leg: LegRef, request: Option<u64>, now: Tick) {
        let is_waited_for = ask.parameter("waitForRecordingCompletion") == Some(&Value::Bool(true));
        let path = ask.text("recordFilePath");
        if path.is_empty() {
            return self.fail(&ask, Failed::RecordPath);
        }
        if let Some(running) = self.legs.get(leg).and_then(|leg| leg.recorded) {
            self.end_recording(running, End::Interrupted("recording_restart", None));
        }
        let is_split = ask.parameter("recordSplitChannels") == Some(&Value::Bool(true));
        let waiting = is_waited_for.then_some(ask.key);
        let begun = tape_format(&ask, if is_split { 2 } else { 1 }).and_then(|format| {
            let wanted = Wanted {
                what: if is_split { Recorded::Split } else { Recorded::Mixed },
                format,
                keeping: Keeping::File(path.clone()),
                duration_max: Duration::MAX,
                purpose: Purpose::Call { ask: waiting, request },
            };
            self.begin_recording(leg, wanted)
        });
        let recording = match begun {
            Ok(recording) => recording,
            Err(why) => {
                self.tell(Fact::RecordingFailed { leg, target: path, why });
                return self.fail(&ask, Failed::Unrecordable);
            }
        };
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.recorded = Some(recording);
        }
        self.touch(leg, now);
        if is_waited_for {
            return self.suspend(ask, Pending::CallRecording { leg, recording });
        }
        let mut payload = json!({ "legId": leg_text(leg), "filePath": path });
        describe(&mut payload, request);
        self.answer(&ask, 0, payload, None);
    }

    /// A recording of a call is in its file, or could not be kept.
    pub(super) fn on_call_recorded(
        &mut self,
        leg: LegRef,
        ask: Option<AskRef>,
        request: Option<u64>,
        kept: Option<Kept>,
    ) {
        let Some((ask, _)) = ask.and_then(|key| self.pending.remove(&key)) else { return };
        let Some(kept) = kept else { return self.fail(&ask, Failed::Unrecordable) };
        let mut payload = json!({
            "legId": leg_text(leg),
            "filePath": kept.path,
            "durationMs": kept.duration_ms,
            "bytesProduced": kept.octets,
        });
        describe(&mut payload, request);
        self.answer(&ask, 0, payload, None);
    }
}

/// What an answer to a request says besides.
fn describe(payload: &mut Value, request: Option<u64>) {
    if let Some(request) = request {
        payload["recordRequestId"] = text("record", request).into();
        payload["active"] = true.into();
    }
}

/// The item of the branch `Recording`.
fn payload(id: LegRef, leg: &Leg, reference: &str, request: &str) -> crate::flow::Object {
    let kind = match leg.origin.kind {
        OriginKind::Trunk => "trunk",
        OriginKind::Extension => "extensions",
    };
    let payload = json!({
        "eventType": "record",
        "recordRequestId": request,
        "kind": kind,
        "ref": reference,
        "legId": leg_text(id),
        "callId": &*leg.trace.call_id,
        "direction": if leg.is_inbound { "inbound" } else { "outbound" },
        "from": if leg.is_inbound { &leg.shown.from } else { &leg.caller_number },
        "callerNumber": leg.caller_number,
        "callerName": leg.caller_name,
        "to": leg.shown.to,
        "calledNumber": leg.called_number,
        "calledName": leg.shown.called_name,
        "extension": leg.origin.extension.clone().unwrap_or_default(),
        "sipPbx": { "ref": reference, "legId": leg_text(id), "recordRequestId": request },
    });
    payload.as_object().cloned().unwrap_or_default()
}
