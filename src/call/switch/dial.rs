//! `dial.make` and `dial.break`: attempts that go out, and what becomes of them.

use std::collections::VecDeque;

use serde_json::{Value, json};

use crate::base::{Bounded, Tick};
use crate::call::dial::{
    Caller, Dial, DialEvent, DialRef, EVENTS_MAX, Status, Strategy, dial_text, parse_dial,
};
use crate::call::leg::{self, EndReason, FREE_TTL, Leg, LegRef, OriginKind, leg_text};
use crate::call::node::operation::{items, words};
use crate::call::record::CallKey;
use crate::call::site::Target;
use crate::call::switch::ask::{Ask, Failed, seconds};
use crate::call::switch::control::body_of;
use crate::call::switch::{Switch, Wake};
use crate::call::trigger::{AudioRules, Trigger};
use crate::dispatch::OfferId;
use crate::promise::{PromiseId, Refused};
use crate::sdp;
use crate::sip::{self, Body, Outgoing, Party};

/// What a dial is made for.
pub(super) struct Whose {
    /// The call that its legs belong to.
    pub(super) call: CallKey,
    /// The workflow that it belongs to.
    pub(super) workflow: usize,
    /// The offer of a queue.
    pub(super) offer: Option<OfferId>,
    /// The promise that it is to keep, and the number of the attempt.
    pub(super) promise: Option<(PromiseId, u32)>,
}

/// What a dial holds until it is final.
struct Held {
    attempts: Vec<LegRef>,
    offer: Option<OfferId>,
    promise: Option<(PromiseId, u32)>,
}

impl Switch {
    /// `dial.make`.
    pub(super) fn make_dial(&mut self, ask: Ask, now: Tick) {
        let workflow = self.workflow_of(&ask);
        let found = match ask.text("callMode").as_str() {
            "extension" => Ok(self.free_extensions(&ask, workflow)),
            "trunk" => self.trunk_targets(&ask, workflow, now),
            "direct" => self.direct_targets(&ask, now),
            _ => Err(Failed::DialMode),
        };
        let mut targets = match found {
            Ok(targets) => targets,
            Err(failed) => return self.fail(&ask, failed),
        };
        if targets.is_empty() && ask.text("callMode") == "extension" {
            let numbers = words(ask.parameter("extensionNumbers"));
            let payload = json!({
                "reason": "no_available_endpoints",
                "message": "no registered and free endpoint",
                "extensionNumbers": numbers,
            });
            return self.answer(&ask, ask.branch("Unavailable"), payload, None);
        }
        let is_single = targets.len() == 1;
        let number = ask.text("destination");
        if self.is_withdrawn(&ask, number.trim()) {
            return self.fail(&ask, Failed::Promise(Refused::Unknown));
        }
        if let (true, Some(promise)) = (is_single, self.promise_of_run(&ask, number.trim())) {
            if self.is_on_line(number.trim()) {
                // He may be in a menu still; who is on the line is never dialled (A10, A11).
                return self.fail(&ask, Failed::Promise(Refused::Live));
            }
            if self.is_called_back(number.trim()) {
                // For another queue: he is not rung while he talks there (A1, I3).
                return self.fail(&ask, Failed::Promise(Refused::NumberBusy));
            }
            let target = targets.remove(0);
            let (strategy, caller) = (strategy(&ask), self.caller(&ask));
            return self.plan_attempt(ask, promise, target, strategy, caller, now);
        }
        let call = self.call_of_run(ask.key.run, now);
        let whose = Whose { call, workflow, offer: None, promise: None };
        let dial = self.begin_dial(whose, targets, strategy(&ask), self.caller(&ask), now);
        self.end_call_if_over(call);
        let Some(dial) = dial else { return self.fail(&ask, Failed::TooManyDials) };
        let mut payload = json!({ "dialId": dial_text(dial) });
        let attempt = self.dials.get(dial).and_then(|dial| dial.attempts.first().copied());
        if let (true, Some(leg)) = (is_single, attempt) {
            payload["legId"] = leg_text(leg).into();
        }
        self.answer(&ask, ask.branch("Result"), payload, None);
    }

    /// `dial.break`. A dial that is final stays as it is.
    pub(super) fn break_dial(&mut self, ask: &Ask, now: Tick) {
        let named = [ask.option("dialId"), ask.item.json.get("dialId"), context(ask, "dialId")];
        let is_named = |value: &&Value| value.as_str().is_some_and(|text| !text.is_empty());
        let Some(named) = named.into_iter().flatten().find(is_named) else {
            return self.fail(ask, Failed::DialMissing);
        };
        let id = parse_dial(named);
        let Some((id, dial)) = id.and_then(|id| Some((id, self.dials.get_mut(id)?))) else {
            return self.fail(ask, Failed::DialUnknown);
        };
        if dial.is_dialing() {
            let reason = ask.option("dialBreakReason").and_then(Value::as_str);
            dial.break_reason = reason.filter(|reason| !reason.is_empty()).map(str::to_owned);
        }
        self.fail_dial(id, "broken", EndReason::Broken, now);
        self.answer(ask, 0, json!({ "dialId": dial_text(id) }), None);
    }

    /// Starts a dial; `None` when there is no room. Without targets it fails at once.
    pub(super) fn begin_dial(
        &mut self,
        whose: Whose,
        targets: Vec<Target>,
        strategy: Strategy,
        caller: Caller,
        now: Tick,
    ) -> Option<DialRef> {
        let Whose { call, workflow, offer, promise } = whose;
        let id = self.dials.insert(Dial {
            call,
            workflow,
            status: Status::Dialing,
            strategy,
            targets: VecDeque::from(targets),
            attempts: Vec::new(),
            events: Bounded::with_max(EVENTS_MAX),
            waiting: None,
            retained: 0,
            free: None,
            step: None,
            caller,
            break_reason: None,
            last_reason: "no_targets",
            offer,
            promise,
        })?;
        self.touch_dial(id, now);
        self.attempt_all(id, now);
        self.fail_if_nothing_left(id, now);
        Some(id)
    }

    /// Tries every target that may ring now.
    fn attempt_all(&mut self, id: DialRef, now: Tick) {
        let Some(strategy) = self.dials.get(id).map(|dial| dial.strategy) else { return };
        match strategy {
            Strategy::Parallel => while self.attempt_next(id, now) {},
            Strategy::Sequential { attempt, .. } => {
                self.attempt_next(id, now);
                self.arm_dial_step(id, now + attempt);
            }
            Strategy::OneAgent { attempt } => {
                while self.attempt_next(id, now) {}
                self.arm_dial_step(id, now + attempt);
            }
        }
    }

    /// Whatever rings now rings until `at`.
    fn arm_dial_step(&mut self, id: DialRef, at: Tick) {
        if let Some(dial) = self.dials.get_mut(id)
            && !dial.attempts.is_empty()
        {
            self.timers.clear_slot(&mut dial.step);
            dial.step = Some(self.timers.arm(at, Wake::DialStep(id)));
        }
    }

    /// An attempt rings or has early media.
    pub(super) fn on_attempt_progress(&mut self, id: LegRef, status: u16, body: &[u8], now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let has_media = !body.is_empty();
        if status == 180 {
            leg.status = leg::Status::Ringing;
            leg.rang.get_or_insert(now);
        }
        let dial = leg.dial;
        if has_media {
            self.on_answer(id, body, now);
        }
        self.relay_progress(id, status, has_media, now);
        if let Some(dial) = dial {
            let event =
                if status == 180 { DialEvent::Ringing(id) } else { DialEvent::Progress(id) };
            self.dial_event(dial, event, now);
        }
    }

    /// An outgoing leg was answered.
    pub(super) fn on_attempt_answered(&mut self, id: LegRef, response: &[u8], now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.status = leg::Status::Answered;
        leg.answered = Some(now);
        // What a provisional response has answered already is not said again (RFC 3261 §13.2.1).
        let body = body_of(response);
        let is_settled = leg.audio.agreed.is_some() && body.is_empty();
        self.tell(crate::call::Fact::Answered { leg: id });
        self.on_call_answered(id, now);
        if !is_settled {
            self.on_answer(id, &body, now);
        }
        if self.legs.get(id).is_none_or(|leg| leg.end().is_some()) {
            return; // What it answered with could not be had.
        }
        if !self.hold_answer(id, response, now) {
            self.on_attempt_won(id, now);
        }
    }

    /// An outgoing leg was answered, and everybody may act on it.
    pub(super) fn on_attempt_won(&mut self, id: LegRef, now: Tick) {
        self.ask_about_recording(id, now);
        self.relay_answer(id, now);
        if let Some(dial) = self.legs.get(id).and_then(|leg| leg.dial) {
            self.win_dial(dial, id, now);
        } else if let Some(dial) = self.legs.get_mut(id).and_then(|leg| leg.won.take()) {
            self.dial_event(dial, DialEvent::Answered(id), now);
        }
    }

    /// A leg wins its dial: it answered, or was bridged while it rang. The others are hung up.
    pub(super) fn win_dial(&mut self, id: DialRef, winner: LegRef, now: Tick) {
        let Some(held) = self.conclude(id, Status::Answered(winner)) else { return };
        for loser in held.attempts.into_iter().filter(|loser| *loser != winner) {
            self.detach_attempt(loser, now);
            self.hangup_leg(loser, EndReason::ParallelLoser, now);
        }
        let is_answered = self.legs.get(winner).is_some_and(|leg| leg.is_answered());
        self.detach_attempt(winner, now);
        if is_answered {
            self.dial_event(id, DialEvent::Answered(winner), now);
        } else if let Some(leg) = self.legs.get_mut(winner) {
            leg.won = Some(id);
        }
        self.touch_dial(id, now);
        if let Some(offer) = held.offer {
            self.on_offer_answered(offer, winner, now);
        }
        if let Some(fence) = held.promise {
            self.hand_to_leg(winner, fence);
        }
    }

    /// An attempt has ended without an answer.
    pub(super) fn on_attempt_ended(
        &mut self,
        id: DialRef,
        leg: LegRef,
        why: &'static str,
        now: Tick,
    ) {
        let Some(dial) = self.dials.get_mut(id) else { return };
        dial.attempts.retain(|attempt| *attempt != leg);
        dial.last_reason = why;
        if !dial.is_dialing() {
            return;
        }
        if dial.attempts.is_empty() {
            self.timers.clear_slot(&mut dial.step);
        }
        self.dial_event(id, DialEvent::Rejected(leg), now);
        let Some(dial) = self.dials.get_mut(id) else { return };
        match dial.strategy {
            Strategy::Sequential { gap, .. } if !dial.targets.is_empty() => {
                dial.step = Some(self.timers.arm(now + gap, Wake::DialStep(id)));
            }
            Strategy::Sequential { .. } | Strategy::Parallel | Strategy::OneAgent { .. } => {
                self.fail_if_nothing_left(id, now);
            }
        }
    }

    /// The time of a step is up: whoever rings has rung for long enough, or the gap is over.
    pub(super) fn on_dial_step(&mut self, id: DialRef, now: Tick) {
        let Some(dial) = self.dials.get_mut(id) else { return };
        dial.step = None;
        let ringing = dial.attempts.clone();
        if ringing.is_empty() {
            self.attempt_all(id, now);
            self.fail_if_nothing_left(id, now);
        }
        for leg in ringing {
            self.hangup_leg(leg, EndReason::RangOut, now);
        }
    }

    /// Ends a dial that has no winner; its attempts are hung up.
    pub(super) fn fail_dial(&mut self, id: DialRef, why: &'static str, end: EndReason, now: Tick) {
        let Some(held) = self.conclude(id, Status::Failed(why)) else { return };
        for attempt in held.attempts {
            self.detach_attempt(attempt, now);
            self.hangup_leg(attempt, end, now);
        }
        self.dial_event(id, DialEvent::Failed(why), now);
        self.touch_dial(id, now);
        if let Some(offer) = held.offer {
            self.on_offer_failed(offer, now);
        }
        if let Some(attempt) = held.promise {
            self.on_attempt_over(attempt, why, now);
        }
    }

    /// Makes a dial final, once; what it held is the caller's to end.
    fn conclude(&mut self, id: DialRef, status: Status) -> Option<Held> {
        let dial = self.dials.get_mut(id).filter(|dial| dial.is_dialing())?;
        dial.status = status;
        dial.targets.clear();
        self.timers.clear_slot(&mut dial.step);
        let attempts = std::mem::take(&mut dial.attempts);
        Some(Held { attempts, offer: dial.offer.take(), promise: dial.promise.take() })
    }

    /// Nothing has retained the dial for its time-to-live.
    pub(super) fn on_dial_free(&mut self, id: DialRef, now: Tick) {
        let Some(dial) = self.dials.get_mut(id) else { return };
        dial.free = None;
        if dial.is_dialing() {
            self.fail_dial(id, "free_ttl", EndReason::FreeTtl, now);
        } else {
            self.dials.remove(id);
        }
    }

    /// Something has touched the dial: its free time begins anew.
    pub(super) fn touch_dial(&mut self, id: DialRef, now: Tick) {
        let Some(dial) = self.dials.get_mut(id) else { return };
        self.timers.clear_slot(&mut dial.free);
        if dial.retained == 0 {
            dial.free = Some(self.timers.arm(now + FREE_TTL, Wake::DialFree(id)));
        }
    }

    /// Whether a number of this workflow has a live leg.
    pub(super) fn is_extension_busy(&self, workflow: usize, number: &str) -> bool {
        self.busy.get(number).is_some_and(|legs| legs.contains_key(&workflow))
    }

    /// Tries the next target; says whether there was one.
    fn attempt_next(&mut self, id: DialRef, now: Tick) -> bool {
        let Some(dial) = self.dials.get_mut(id) else { return false };
        let Some(target) = dial.targets.pop_front() else { return false };
        let (workflow, caller) = (dial.workflow, dial.caller.clone());
        let leg = self.attempt(workflow, &target, &caller, id, now);
        if let Some(dial) = self.dials.get_mut(id) {
            match leg {
                Some(leg) => dial.attempts.push(leg),
                None => dial.last_reason = "network_error",
            }
        }
        true
    }

    /// Sends the INVITE of one attempt; `None` when there is no leg, port or transaction left.
    fn attempt(
        &mut self,
        workflow: usize,
        target: &Target,
        caller: &Caller,
        dial: DialRef,
        now: Tick,
    ) -> Option<LegRef> {
        if target.trunk.as_deref().is_some_and(|trunk| !self.has_channel(trunk, 1)) {
            return None;
        }
        let port = self.ports.allocate(now)?;
        let audio = self.audio_to(workflow, target);
        let mut local = self.local_description(&audio);
        local.address.set_port(port);
        let outgoing =
            Outgoing { body: Some(Body::sdp(sdp::offer(&local))), ..outgoing_to(target, caller) };
        let (from, called) = (outgoing.from.user.clone(), outgoing.to.user.clone());
        let Ok(dialog) = self.endpoint.invite(outgoing, now) else {
            self.ports.release(port, now);
            return None;
        };
        let mut leg = Leg::new(dialog, target.flow, local, now);
        leg.audio.finds_digits = audio.finds_digits;
        leg.audio.takes_info = audio.takes_info;
        leg.origin.workflow = workflow;
        leg.origin.trigger_ref = target.trunk.clone().unwrap_or_default();
        leg.origin.extension.clone_from(&target.extension);
        if target.extension.is_some() {
            leg.origin.kind = OriginKind::Extension;
        }
        leg.caller_number = from;
        leg.shown.to.clone_from(&target.request_uri);
        leg.caller_name.clone_from(&caller.name);
        leg.called_number = called;
        leg.dial = Some(dial);
        leg.is_inbound = false;
        let Some(id) = self.legs.insert(Box::new(leg)) else {
            self.endpoint.hangup(dialog, None, now);
            self.ports.release(port, now);
            return None;
        };
        self.by_dialog.insert(dialog, id);
        self.retain(id, now);
        self.take_channel(id);
        let call = self.dials.get(dial).map(|dial| dial.call).unwrap_or_default();
        let call_id = self.endpoint.call_id(dialog).unwrap_or_default().to_owned();
        self.add_leg_to_call(id, call, &call_id);
        self.open_media(id);
        if let Some(number) = &target.extension {
            self.on_extension_leg_begun(workflow, number, now);
        }
        Some(id)
    }

    /// What a call to this target may speak: its own rules, or those of its trunk or extensions
    /// group.
    fn audio_to(&self, workflow: usize, target: &Target) -> AudioRules {
        if let Some(audio) = &target.audio {
            return audio.clone();
        }
        let is_meant = |trigger: &&Trigger| match (&target.trunk, &target.extension) {
            (Some(trunk), _) => trigger.is_trunk() && trigger.reference == *trunk,
            (None, Some(extension)) => trigger.has_extension(extension),
            (None, None) => false,
        };
        let mut of_workflow = self.triggers.iter().filter(|one| one.workflow == workflow);
        let trigger = of_workflow.find(is_meant);
        trigger.map_or_else(AudioRules::default, |trigger| self.audio_of(trigger))
    }

    /// The leg is no attempt any more: the dial retains it no longer.
    fn detach_attempt(&mut self, id: LegRef, now: Tick) {
        if let Some(leg) = self.legs.get_mut(id)
            && leg.dial.take().is_some()
            && leg.end().is_none()
        {
            self.release(id, now);
        }
    }

    /// A dial without attempts goes on with the next agent of its queue, or fails.
    fn fail_if_nothing_left(&mut self, id: DialRef, now: Tick) {
        while let Some(dial) = self.dials.get_mut(id) {
            if !dial.is_dialing() || !dial.attempts.is_empty() || !dial.targets.is_empty() {
                return;
            }
            let (offer, why) = (dial.offer, dial.last_reason);
            let Some(next) = offer.and_then(|offer| self.on_offer_passed(offer, now)) else {
                return self.fail_dial(id, why, EndReason::Broken, now);
            };
            if let Some(dial) = self.dials.get_mut(id) {
                dial.targets.extend(next);
            }
            self.attempt_all(id, now);
        }
    }

    /// Who a dial calls as: what continues a call has one hop less than that, so that a loop through
    /// this server ends.
    fn caller(&self, ask: &Ask) -> Caller {
        let leg = self.leg_of(ask).ok().and_then(|leg| self.legs.get(leg));
        let max_forwards = leg.map(|leg| leg.max_forwards.saturating_sub(1));
        Caller { max_forwards, ..caller(ask) }
    }

    /// The workflow of a run, be it one that no call started.
    pub(super) fn workflow_of(&self, ask: &Ask) -> usize {
        let of_call = self.runs.get(&ask.key.run).map(|run| run.workflow);
        let own = || self.workflows.iter().position(|name| *name == ask.workflow);
        of_call.or_else(own).unwrap_or(0)
    }
}

/// The INVITE to a target, without its body.
pub(super) fn outgoing_to(target: &Target, caller: &Caller) -> Outgoing {
    let user = target.request_uri.split(['@', ';']).next().unwrap_or_default();
    let user = user.rsplit(':').next().unwrap_or_default().to_owned();
    // Who calls: as the flow says, or as the trunk knows us (contract §5.5).
    let own = target.credentials.as_ref().map_or("n8n", |own| &own.username);
    let from_user = if caller.number.is_empty() { own } else { &caller.number };
    let routes = target.routes.iter().map(|route| ("Route".to_owned(), route.clone()));
    Outgoing {
        flow: target.flow,
        request_uri: target.request_uri.clone(),
        from: Party {
            display: caller.name.clone(),
            user: from_user.to_owned(),
            host: target.from_host.clone(),
        },
        to: Party {
            display: String::new(),
            user: target.extension.clone().unwrap_or(user),
            host: target.from_host.clone(),
        },
        headers: routes.chain(caller.headers.iter().cloned()).collect(),
        body: None,
        credentials: target.credentials.clone(),
        derived: target.derived.clone(),
        max_forwards: caller.max_forwards.unwrap_or(sip::MAX_FORWARDS),
    }
}

/// How the targets of an operation are tried.
pub(super) fn strategy(ask: &Ask) -> Strategy {
    if ask.option("callStrategy").and_then(Value::as_str) == Some("sequential") {
        let attempt = seconds(ask.option("sequentialAttemptTimeoutSeconds"), 30.0);
        let gap = seconds(ask.option("sequentialGapSeconds"), 0.0);
        return Strategy::Sequential { attempt, gap };
    }
    Strategy::Parallel
}

/// Who an operation calls as.
pub(super) fn caller(ask: &Ask) -> Caller {
    let text = |key: &str| match ask.option(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        Some(_) | None => String::new(),
    };
    let header = |item: &Value| {
        let field = |key: &str| item.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = field("name").filter(|name| !name.is_empty())?;
        Some((name, field("value").unwrap_or_default()))
    };
    let headers = items(ask.option("customSipHeaders")).iter().filter_map(header).collect();
    let (number, name) = (text("callerNumber"), text("callerName"));
    Caller { number, name, headers, max_forwards: None }
}

/// A value of the item's `sipPbx`.
pub(super) fn context<'a>(ask: &'a Ask, key: &str) -> Option<&'a Value> {
    ask.item.json.get("sipPbx").and_then(|context| context.get(key))
}

/// Why an attempt ended, in the words that flows and retry policies read.
pub(super) const fn attempt_reason(end: EndReason) -> &'static str {
    match end {
        EndReason::Rejected(486 | 600) => "busy",
        EndReason::Rejected(408 | 480 | 487) => "no_answer",
        EndReason::Rejected(603 | 607) => "declined",
        EndReason::Rejected(404 | 410 | 484 | 604) => "invalid_number",
        // A trunk's 401, 403 and 407 are about the trunk and us, not about the customer's wish.
        EndReason::Rejected(401 | 403 | 407 | 500..=599) | EndReason::Lost => "network_error",
        EndReason::Rejected(_) | EndReason::PeerRejected(_) => "rejected",
        EndReason::RangOut => "timeout",
        EndReason::Broken | EndReason::Panicked | EndReason::NoAudio => "broken",
        EndReason::ParallelLoser => "parallel_loser",
        EndReason::FreeTtl => "free_ttl",
        EndReason::Cancelled | EndReason::LocalHangup | EndReason::RemoteHangup => "ended",
    }
}
