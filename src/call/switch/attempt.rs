//! Attempts: a dial that keeps a promise. Written down before its INVITE leaves, again before its
//! answer is acted on, and taken back when the process that made it has died.

use serde_json::json;

use crate::base::Tick;
use crate::call::dial::{Caller, Dial, DialRef, Strategy, dial_text};
use crate::call::leg::{EndReason, LegRef, leg_text};
use crate::call::record::CallKey;
use crate::call::site::Target;
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::dial::{Whose, attempt_reason, outgoing_to};
use crate::call::switch::{Fact, Pending, Switch};
use crate::call::way::{Way, far_side, far_text};
use crate::promise::{Attempt, LeftBehind, Outcome, PromiseId, Refused};
use crate::sip::{CloseOutId, Derived};

/// A dial that waits until its attempt is on disk.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) attempt: Attempt,
    pub(super) target: Target,
    pub(super) strategy: Strategy,
    pub(super) caller: Caller,
    pub(super) workflow: usize,
    pub(super) call: CallKey,
}

impl Switch {
    /// The promise that a run's dial would keep: its run was started for an entry with one, and
    /// it dials the number that was promised.
    pub(super) fn promise_of_run(&self, ask: &Ask, number: &str) -> Option<PromiseId> {
        let entry = self.runs.get(&ask.key.run)?.entry?;
        let promise = *self.promises.by_entry.get(&entry)?;
        let wanted = self.promises.book.wanted(promise)?;
        (wanted.number == number).then_some(promise)
    }

    /// Whether a run would dial a customer whose promise was taken back after it began.
    pub(super) fn is_withdrawn(&self, ask: &Ask, number: &str) -> bool {
        let entry = self.runs.get(&ask.key.run).and_then(|run| run.entry);
        let withdrawn = entry.and_then(|entry| self.promises.withdrawn.get(&entry));
        withdrawn.is_some_and(|withdrawn| withdrawn == number)
    }

    /// Plans the attempt that a dial is; its INVITE leaves when that is on disk (I4).
    pub(super) fn plan_attempt(
        &mut self,
        ask: Ask,
        promise: PromiseId,
        target: Target,
        strategy: Strategy,
        caller: Caller,
        now: Tick,
    ) {
        let workflow = self.workflow_of(&ask);
        let call = self.call_of_run(ask.key.run, now);
        let way = Way::of(&outgoing_to(&target, &caller)).print();
        match self.promises.book.begin_attempt(promise, Some(way), now) {
            Ok(attempt) => {
                let planned = Planned { attempt, target, strategy, caller, workflow, call };
                self.suspend(ask, Pending::Attempt(Box::new(planned)));
                self.drain_promises(now);
            }
            // At most one live attempt (A1), and nobody is dialled who is on the line (A10).
            Err(refused) => {
                self.fail(&ask, Failed::Promise(refused));
                self.drain_promises(now);
            }
        }
    }

    /// The attempt is on disk: its INVITE leaves, unless the customer is on the line meanwhile.
    pub(super) fn on_attempt_ready(&mut self, promise: PromiseId, number: u32, now: Tick) {
        self.take_from_run(promise);
        let Some((ask, planned)) = self.take_planned(promise, number) else {
            // Its run is gone: nobody would hear the customer.
            return self.on_attempt_over((promise, number), NOBODY_WAITS, now);
        };
        if self.is_on_line(&planned.attempt.number) {
            // He has phoned in while the disk took its time (A10).
            self.on_attempt_over((promise, number), CALLED_IN, now);
            return self.fail(&ask, Failed::Promise(Refused::Live));
        }
        match self.begin_attempt_dial(planned, now) {
            Some(dial) => {
                let mut payload = json!({ "dialId": dial_text(dial) });
                let leg = self.dials.get(dial).and_then(|dial| dial.attempts.first().copied());
                if let Some(leg) = leg {
                    payload["legId"] = leg_text(leg).into();
                }
                self.answer(&ask, ask.branch("Result"), payload, None);
            }
            None => {
                self.on_attempt_over((promise, number), "network_error", now);
                self.fail(&ask, Failed::TooManyDials);
            }
        }
    }

    /// The attempt has ended before it was on disk: no INVITE leaves, and its run is told why.
    pub(super) fn on_attempt_dropped(&mut self, promise: PromiseId, number: u32, why: Refused) {
        if let Some((ask, _)) = self.take_planned(promise, number) {
            self.fail(&ask, Failed::Promise(why));
        }
    }

    /// The dial that waits until this attempt is on disk.
    fn take_planned(&mut self, promise: PromiseId, number: u32) -> Option<(Ask, Planned)> {
        let waits = |pending: &Pending| match pending {
            Pending::Attempt(planned) => {
                planned.attempt.promise == promise && planned.attempt.attempt == number
            }
            Pending::Wait(_)
            | Pending::DialWait(_)
            | Pending::Play { .. }
            | Pending::Clip { .. }
            | Pending::Record { .. }
            | Pending::CallRecording { .. }
            | Pending::MediaWait(_)
            | Pending::Promise { .. } => false,
        };
        let found = self.pending.iter().find(|(_, (_, pending))| waits(pending));
        let key = *found?.0;
        match self.pending.remove(&key)? {
            (ask, Pending::Attempt(planned)) => Some((ask, *planned)),
            other => {
                self.pending.insert(key, other);
                None
            }
        }
    }

    fn begin_attempt_dial(&mut self, planned: Planned, now: Tick) -> Option<DialRef> {
        let Planned { attempt, mut target, strategy, caller, workflow, call } = planned;
        let fence = (attempt.promise, attempt.attempt);
        target.derived = Some(derived(&attempt));
        let whose = Whose { call, workflow, offer: None, promise: Some(fence) };
        let dial = self.begin_dial(whose, vec![target], strategy, caller, now)?;
        let leg = self.dials.get(dial).and_then(|dial| dial.attempts.first().copied());
        if let (Some(leg), Some(wanted)) = (leg, self.promises.book.wanted(attempt.promise)) {
            self.on_called_back(leg, wanted.number.clone());
        }
        Some(dial)
    }

    /// The customer of an attempt rings: a later process would have to know where.
    pub(super) fn on_attempt_heard(&mut self, id: LegRef, response: &[u8], now: Tick) {
        let Some((promise, attempt)) = self.fence_of(id) else { return };
        if let Some(far_side) = far_text(response) {
            self.promises.book.attempt_ringing(promise, attempt, far_side, now);
            self.drain_promises(now);
        }
    }

    /// The customer of an attempt has answered. Whether the dial has to wait for the disk before
    /// anybody acts on it (contract sentence 8).
    pub(super) fn hold_answer(&mut self, id: LegRef, response: &[u8], now: Tick) -> bool {
        let Some((promise, attempt)) = self.fence_of(id) else { return false };
        let far_side = far_text(response);
        if self.promises.book.attempt_answered(promise, attempt, far_side, now).is_err() {
            return false;
        }
        self.hand_to_leg(id, (promise, attempt));
        self.drain_promises(now);
        true
    }

    /// From now on the leg reports how the attempt ends, and its dial does not.
    pub(super) fn hand_to_leg(&mut self, id: LegRef, fence: (PromiseId, u32)) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.attempt = Some(fence);
        self.promises.legs.insert(fence.0, id);
        if let Some(dial) = leg.dial.and_then(|dial| self.dials.get_mut(dial)) {
            dial.promise = None;
        }
    }

    /// The answer is on disk: the dial is won.
    pub(super) fn on_answer_ready(&mut self, promise: PromiseId, attempt: u32, now: Tick) {
        let leg = self.promises.legs.get(&promise).copied();
        let is_it = |leg: &LegRef| {
            self.legs.get(*leg).is_some_and(|leg| leg.attempt == Some((promise, attempt)))
        };
        if let Some(leg) = leg.filter(is_it) {
            self.on_attempt_won(leg, now);
        }
    }

    /// Two legs hear each other, and both have answered: whatever was promised to either is kept.
    pub(super) fn on_connected(&mut self, id: LegRef, now: Tick) {
        let Some(peer) = self.legs.get(id).and_then(|leg| leg.peer) else { return };
        let is_answered = |id| self.legs.get(id).is_some_and(|leg| leg.is_answered());
        if !is_answered(id) || !is_answered(peer) {
            return;
        }
        for id in [id, peer] {
            let Some(leg) = self.legs.get_mut(id) else { continue };
            let (promise, attempt) = (leg.promise.take(), leg.attempt.take());
            if let Some(promise) = promise {
                self.on_promise_served(promise, now);
            }
            if let Some(fence) = attempt {
                self.end_attempt(fence, Outcome::Reached, now);
            }
        }
    }

    /// The leg of an attempt has ended without having been connected.
    pub(super) fn on_attempt_leg_ended(
        &mut self,
        fence: (PromiseId, u32),
        was_answered: bool,
        reason: EndReason,
        now: Tick,
    ) {
        if was_answered {
            self.end_attempt(fence, Outcome::Unconnected, now);
        } else {
            self.on_attempt_over(fence, attempt_reason(reason), now);
        }
    }

    /// The dial of an attempt is over without an answer.
    pub(super) fn on_attempt_over(
        &mut self,
        fence: (PromiseId, u32),
        why: &'static str,
        now: Tick,
    ) {
        let outcome = match why {
            "busy" => Outcome::Busy,
            "declined" => Outcome::Refused,
            "invalid_number" => Outcome::Invalid,
            "network_error" | "no_targets" => Outcome::Network,
            CALLED_IN | NOBODY_WAITS => Outcome::Broken,
            // The flow took the dial back: because the customer did not answer, unless the agent who
            // would have talked to him is gone.
            "broken" if self.has_lost_agent(fence.0) => Outcome::Broken,
            _ => Outcome::NoAnswer,
        };
        self.end_attempt(fence, outcome, now);
    }

    /// Whether an agent took the offer of this promise, and has hung up.
    fn has_lost_agent(&self, promise: PromiseId) -> bool {
        let agent = self.promises.agents.get(&promise);
        agent.is_some_and(|agent| self.legs.get(*agent).is_none_or(|leg| leg.ended.is_some()))
    }

    fn end_attempt(&mut self, (promise, attempt): (PromiseId, u32), outcome: Outcome, now: Tick) {
        self.promises.legs.remove(&promise);
        // A report about an attempt that is over already says nothing new.
        let _ = self.promises.book.attempt_ended(promise, attempt, outcome, now);
        self.drain_promises(now);
    }

    /// The customer is on the line by himself, or the promise is taken back: the dial ends.
    pub(super) fn break_attempt(&mut self, promise: PromiseId, attempt: u32, now: Tick) {
        let fence = (promise, attempt);
        let is_it = |dial: &Dial| dial.promise == Some(fence);
        let found = self.dials.iter().find(|(_, dial)| is_it(dial)).map(|(id, _)| id);
        if let Some(dial) = found {
            return self.fail_dial(dial, CALLED_IN, EndReason::Broken, now);
        }
        if let Some(leg) = self.promises.legs.get(&promise).copied() {
            self.end_attempt(fence, Outcome::Broken, now);
            self.hangup_leg(leg, EndReason::Broken, now);
        }
    }

    /// An earlier process died during this attempt: whatever rings or talks there is taken back.
    pub(super) fn take_back(&mut self, left: LeftBehind, now: Tick) {
        let LeftBehind { attempt, way, far_side: far } = left;
        let way = way.as_deref().and_then(Way::parse);
        let far = far.as_deref().and_then(far_side);
        let close_out = way.and_then(|way| {
            let (outgoing, tries) = way.to_take_back(derived(&attempt), self.config.sip_local);
            self.endpoint.close_out(outgoing, tries, far.as_ref(), now).ok()
        });
        let is_taken_back = close_out.is_some();
        if let Some(id) = close_out {
            self.promises.close_outs.insert(id, (attempt.promise, attempt.number));
        }
        let (promise, attempt) = (attempt.promise.0, attempt.attempt);
        self.tell(Fact::AttemptLeftBehind { promise, attempt, is_taken_back });
    }

    /// What an earlier process left behind is taken back, or nobody answers for it.
    pub(super) fn on_closed_out(&mut self, id: CloseOutId, is_certain: bool, now: Tick) {
        let Some((promise, number)) = self.promises.close_outs.remove(&id) else { return };
        if is_certain {
            self.promises.book.rings_no_more(&number, now);
        }
        self.tell(Fact::AttemptTakenBack { promise: promise.0, is_certain });
    }

    fn fence_of(&self, id: LegRef) -> Option<(PromiseId, u32)> {
        let leg = self.legs.get(id)?;
        leg.attempt.or_else(|| self.dials.get(leg.dial?)?.promise)
    }
}

fn derived(attempt: &Attempt) -> Derived {
    Derived {
        call_id: attempt.call_id.clone(),
        from_tag: attempt.from_tag.clone(),
        branch: Some(attempt.branch.clone()),
        cseq: 1,
    }
}

/// Why an attempt was never made: the run that wanted it is gone.
pub(super) const NOBODY_WAITS: &str = "nobody_waits";
/// Why a dial to a customer was broken who is on the line by himself.
const CALLED_IN: &str = "customer_called_in";
