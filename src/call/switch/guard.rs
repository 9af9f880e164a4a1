//! A panic at one input ends the call that the input was about, and no other (contract sentence 7).
//!
//! While an input is handled, [`Suspect`] says whom it is about. After a panic the suspect's call
//! is ended as if somebody had hung up; where even that panics, it is taken out of every table
//! by force. Its last messages go to the log as a ladder.

use crate::base::{Tick, caught, take_out};
use crate::call::dial::DialRef;
use crate::call::leg::{EndReason, LegRef, Status};
use crate::call::switch::control::media_leg;
use crate::call::switch::{AskRef, Fact, Output, Pending, Switch, Wake};
use crate::flow::{Fault, Input, RunId};
use crate::media::{Command, PlayerEnd};
use crate::sip::{DialogId, Event};

/// Whom the input is about that is being handled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Suspect {
    /// Nobody in particular: a queue's timer, a sound file.
    #[default]
    Nobody,
    /// Whoever the message that came in last is from.
    Message,
    /// Whoever the SIP timer belongs to that was due last.
    SipTimer,
    /// A dialog.
    Dialog(DialogId),
    /// A leg.
    Leg(LegRef),
    /// A run, and the leg that it asks something of.
    Run(RunId, Option<LegRef>),
    /// What a run waits for.
    Ask(AskRef),
    /// A dial.
    Dial(DialRef),
}

impl Suspect {
    /// Whom an event of the endpoint is about.
    pub(super) const fn of_event(event: &Event) -> Self {
        match event {
            Event::Invite { dialog, .. }
            | Event::Provisional { dialog, .. }
            | Event::Answered { dialog, .. }
            | Event::Acknowledged { dialog, .. }
            | Event::Offer { dialog, .. }
            | Event::OfferAnswered { dialog, .. }
            | Event::Info { dialog, .. }
            | Event::Ended { dialog, .. }
            | Event::Closed { dialog, .. }
            | Event::RefreshDue { dialog, .. }
            | Event::Request { dialog: Some(dialog), .. } => Self::Dialog(*dialog),
            Event::Request { dialog: None, .. } => Self::Message,
            Event::BadInput { .. } | Event::ClosedOut { .. } | Event::Response { .. } => {
                Self::Nobody
            }
        }
    }

    /// Whom a timer of the switch is about.
    pub(super) const fn of_wake(wake: Wake) -> Self {
        match wake {
            Wake::Free(leg) => Self::Leg(leg),
            Wake::Wait(ask) => Self::Ask(ask),
            Wake::DialFree(dial) | Wake::DialStep(dial) => Self::Dial(dial),
            Wake::Info(leg) => Self::Leg(leg),
            Wake::MediaForget(_) | Wake::Place(_) | Wake::Inquiry(_) | Wake::RecordRequest(_) => {
                Self::Nobody
            }
        }
    }
}

impl Pending {
    /// The legs that it is about.
    fn legs(&self) -> Vec<LegRef> {
        match self {
            Self::Wait(wait) => wait.legs().collect(),
            Self::MediaWait(wait) => wait.legs().to_vec(),
            Self::DialWait(wait) => wait.master.into_iter().collect(),
            Self::Play { leg, .. }
            | Self::Clip { leg }
            | Self::Record { leg, .. }
            | Self::CallRecording { leg, .. }
            | Self::Promise { leg, .. } => vec![*leg],
            Self::Attempt(_) => Vec::new(),
        }
    }
}

/// What is to be ended.
#[derive(Debug, Default)]
struct Victims {
    legs: Vec<LegRef>,
    dialog: Option<DialogId>,
    run: Option<RunId>,
    dial: Option<DialRef>,
}

impl Switch {
    /// Handles one input; what it is about does not survive a panic, everything else does.
    pub fn guarded(&mut self, now: Tick, input: impl FnOnce(&mut Self)) {
        self.recent.begin(now);
        self.suspect = Suspect::Nobody;
        let mut outcome = caught(|| input(self));
        // What the same input had to say to other calls is still told, and each may fail again.
        while let Err(why) = outcome {
            self.bury(why, now);
            self.suspect = Suspect::Nobody;
            outcome = caught(|| self.drain_endpoint(now));
        }
    }

    fn bury(&mut self, why: String, now: Tick) {
        self.panics += 1;
        let suspect = self.suspect;
        let found = caught(|| self.victims(suspect, now));
        let victims = found.unwrap_or_default();
        let ladder = caught(|| self.ladder_of(&victims));
        self.tell(Fact::Panicked { why, ladder: ladder.unwrap_or_default() });
        // One that was ending already has been left half-way, and cannot end once more.
        let is_half = |leg: &LegRef| self.legs.get(*leg).is_some_and(|leg| leg.end().is_some());
        let is_half = victims.legs.iter().any(is_half);
        let ended = if is_half { Err(String::new()) } else { caught(|| self.end(&victims, now)) };
        if ended.is_err() {
            self.panics += u64::from(!is_half);
            self.purge(&victims, now);
        }
    }

    /// The audio of a leg met a bug: the media thread has dropped it, and the call ends.
    pub(super) fn on_audio_panicked(&mut self, leg: LegRef, why: String, now: Tick) {
        self.panics += 1;
        let ladder = self.ladder_of(&Victims { legs: vec![leg], ..Victims::default() });
        self.tell(Fact::Panicked { why, ladder });
        // What was recorded is kept; the media thread has nothing more of it.
        for recording in self.legs.get(leg).map_or_else(Vec::new, |leg| leg.recordings.clone()) {
            self.on_recorder_done(recording, PlayerEnd::Stopped, now);
        }
        self.refuse_leg(leg, 500, EndReason::Panicked, now);
    }

    /// Everything that hangs together with the suspect as one call.
    fn victims(&mut self, suspect: Suspect, now: Tick) -> Victims {
        let mut victims = Victims::default();
        match suspect {
            Suspect::Nobody => {}
            Suspect::Message => {
                let last = self.recent.last_in().map(|(flow, bytes)| (flow, bytes.to_vec()));
                victims.dialog =
                    last.and_then(|(flow, bytes)| self.endpoint.abandon_message(flow, &bytes, now));
            }
            Suspect::SipTimer => victims.dialog = self.endpoint.abandon_timer(),
            Suspect::Dialog(dialog) => victims.dialog = Some(dialog),
            Suspect::Leg(leg) => victims.legs.push(leg),
            Suspect::Run(run, leg) => {
                victims.run = Some(run);
                victims.legs.extend(leg);
            }
            Suspect::Ask(key) => {
                victims.run = Some(key.run);
                let waits = |leg: &LegRef| {
                    self.legs.get(*leg).is_some_and(|leg| leg.waiting.contains(&key))
                };
                victims.legs.extend(self.legs.iter().map(|(id, _)| id).filter(waits));
            }
            Suspect::Dial(dial) => victims.dial = Some(dial),
        }
        if let Some(dial) = victims.dial {
            victims.legs.extend(self.dials.get(dial).into_iter().flat_map(|dial| &dial.attempts));
        }
        if let Some(dialog) = victims.dialog {
            // The table by dialog may be what was being changed.
            let its = self.legs.iter().find(|(_, leg)| leg.dialog == dialog);
            victims.legs.extend(its.map(|(id, _)| id));
        }
        victims
    }

    fn ladder_of(&self, victims: &Victims) -> String {
        let of_leg = victims.legs.first().and_then(|leg| self.legs.get(*leg));
        let dialog = of_leg.map(|leg| leg.dialog).or(victims.dialog);
        let call_id = dialog.and_then(|dialog| self.endpoint.call_id(dialog));
        // A dialog that the message itself has ended is not known any more.
        let call_id = call_id.map(str::to_owned).or_else(|| self.recent.heard_now());
        call_id.map(|call_id| self.recent.ladder(&call_id)).unwrap_or_default()
    }

    /// Ends them as they would end if somebody had hung up.
    fn end(&mut self, victims: &Victims, now: Tick) {
        for leg in &victims.legs {
            self.refuse_leg(*leg, 500, EndReason::Panicked, now);
        }
        if let Some(dialog) = victims.dialog {
            // Without a leg: the panic came before there was one.
            self.endpoint.reject(dialog, 500, None, &[], now);
            self.endpoint.hangup(dialog, None, now);
        }
        if let Some(dial) = victims.dial {
            self.fail_dial(dial, "broken", EndReason::Panicked, now);
        }
        self.cancel(victims.run);
        self.drain_queues(now);
    }

    /// Takes them out of every table, and tells only those who would wait for ever.
    fn purge(&mut self, victims: &Victims, now: Tick) {
        for id in &victims.legs {
            let careful: [fn(&mut Self, LegRef, Tick); 4] =
                [Self::purge_audio, Self::purge_waits, Self::purge_ties, Self::purge_places];
            for step in careful {
                let _ = caught(|| step(self, *id, now));
            }
            if let Some(mut leg) = self.legs.remove(*id) {
                self.timers.clear_slot(&mut leg.free);
                self.timers.clear_slot(&mut leg.info.timer);
                take_out(&mut self.by_dialog, &leg.dialog);
                self.endpoint.purge(leg.dialog);
                leg.status = Status::Ended(EndReason::Panicked);
                leg.ended = leg.ended.or(Some(now));
                let _ = caught(|| self.record_leg(*id, leg));
            }
        }
        if let Some(dialog) = victims.dialog {
            take_out(&mut self.by_dialog, &dialog);
            self.endpoint.purge(dialog);
        }
        self.cancel(victims.run);
        if let Some(mut dial) = victims.dial.and_then(|dial| self.dials.remove(dial)) {
            self.timers.clear_slot(&mut dial.free);
            self.timers.clear_slot(&mut dial.step);
        }
    }

    fn cancel(&mut self, run: Option<RunId>) {
        if let Some(run) = run {
            self.outputs.push_back(Output::Flow(Input::Cancel { run }));
        }
    }

    fn purge_audio(&mut self, id: LegRef, now: Tick) {
        let Some(leg) = self.legs.get(id) else { return };
        let port = leg.audio.local.address.port();
        if let (None, Some(trunk)) = (leg.end(), leg.trunk().map(str::to_owned)) {
            self.give_channel(&trunk);
        }
        // One that was released before is left alone.
        self.ports.release(port, now);
        self.players.retain(|_, player| player.leg() != id);
        self.drop_record_request(id);
        self.purge_recordings(id);
        self.outputs.push_back(Output::Media(Command::Close { leg: media_leg(id) }));
    }

    fn purge_waits(&mut self, id: LegRef, now: Tick) {
        let is_its = |pending: &Pending| pending.legs().contains(&id);
        let its = self.pending.iter().filter(|(_, (_, pending))| is_its(pending));
        for key in its.map(|(key, _)| *key).collect::<Vec<_>>() {
            let _ = caught(|| self.withdraw(key, now));
            self.pending.remove(&key);
            let fault = Fault::new("internal_error", "the call met a bug of the server");
            let answer = Input::Answer { run: key.run, ask: key.ask, answer: Err(fault) };
            self.outputs.push_back(Output::Flow(answer));
        }
    }

    fn purge_ties(&mut self, id: LegRef, now: Tick) {
        let others = self.legs.iter().filter(|(_, leg)| leg.peer == Some(id));
        for other in others.map(|(other, _)| other).collect::<Vec<_>>() {
            if let Some(leg) = self.legs.get_mut(other) {
                leg.peer = None;
                leg.retained = leg.retained.saturating_sub(1);
            }
            self.touch(other, now);
        }
        if let Some(dial) = self.legs.get_mut(id).and_then(|leg| leg.dial.take()) {
            self.on_attempt_ended(dial, id, "broken", now);
        }
    }

    fn purge_places(&mut self, id: LegRef, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        let (entry, promise) = (leg.entry.take(), leg.promise.take());
        let number = leg.origin.extension.clone().filter(|_| leg.end().is_none());
        let workflow = leg.origin.workflow;
        let has_place = entry.is_some_and(|entry| self.on_caller_gone(entry, now));
        if let Some(promise) = promise {
            self.on_promised_caller_gone(promise, has_place, now);
        }
        if let Some(number) = number {
            self.on_extension_leg_ended(workflow, &number, now);
        }
    }

    /// A place where a test makes the switch panic; no input of a server that runs can.
    #[cfg(test)]
    pub(super) fn fault(&mut self, place: &'static str) {
        if self.faults.first() == Some(&place) {
            self.faults.remove(0);
            panic!("a fault at {place}");
        }
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "only tests have faults")]
    pub(super) const fn fault(&self, _place: &'static str) {}

    /// Makes the switch panic at each of these places, one after the other.
    #[cfg(test)]
    pub(crate) fn set_faults(&mut self, places: &[&'static str]) {
        self.faults = places.to_vec();
    }
}
