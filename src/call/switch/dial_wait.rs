//! `dial.wait`: the next event of a dial that the flow wants, or the end of the caller's patience.

use serde_json::{Map, Value};

use crate::base::{Armed, Tick};
use crate::call::dial::{DialEvent, DialRef, Status, dial_text, parse_dial};
use crate::call::leg::{LegRef, leg_text, parse_leg};
use crate::call::node::operation::{items, words};
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::dial::context;
use crate::call::switch::{AskRef, Pending, Switch, Wake};

/// Dials that one wait may name; more are an `invalid_dial_wait`.
const DIALS_MAX: usize = 16;

/// A `dial.wait` that is going on.
#[derive(Debug)]
pub(super) struct DialWait {
    dials: Vec<DialRef>,
    /// The caller who waits with us: his end interrupts the wait, never the dial.
    pub(super) master: Option<LegRef>,
    /// Whether his digits do so too; otherwise they are lost.
    pub(super) digits_interrupt: bool,
    timer: Armed,
}

impl Switch {
    /// `dial.wait`.
    pub(super) fn start_dial_wait(&mut self, ask: Ask, now: Tick) {
        let dials = match self.dials_of(&ask) {
            Ok(dials) => dials,
            Err(failed) => return self.fail(&ask, failed),
        };
        let named = ask.parameter("legId").filter(|value| value.as_str() != Some(""));
        let master = named.and_then(parse_leg);
        if named.is_some_and(|value| !value.is_null()) && master.is_none() {
            return self.fail(&ask, Failed::LegUnknown);
        }
        if let Some(leg) = master
            && self.legs.get(leg).is_none_or(|leg| leg.end().is_some())
        {
            return self.answer_master_ended(&ask, &dials, leg);
        }
        let key = ask.key;
        for id in &dials {
            if let Some(dial) = self.dials.get_mut(*id) {
                dial.retained += 1;
                dial.waiting = Some(key);
            }
            self.touch_dial(*id, now);
        }
        if let Some(leg) = master {
            if let Some(leg) = self.legs.get_mut(leg) {
                leg.waiting.push(key);
            }
            self.retain(leg, now);
        }
        let digits_interrupt = words(ask.parameter("interruptOn")).iter().any(|on| on == "dtmf");
        let deadline = now + ask.seconds("dialTimeoutSeconds", 30.0);
        let timer = self.timers.arm(deadline, Wake::Wait(key));
        let wait = DialWait { dials: dials.clone(), master, digits_interrupt, timer };
        self.suspend(ask, Pending::DialWait(wait));
        for id in dials {
            self.feed_dial(id, key, now);
        }
    }

    /// Something happened to a dial: a wait has it, or it is kept.
    pub(super) fn dial_event(&mut self, id: DialRef, event: DialEvent, now: Tick) {
        let Some(dial) = self.dials.get_mut(id) else { return };
        // A dial that nobody waits for drops what is beyond its limit; its status tells the end.
        let _ = dial.events.push(event);
        if let Some(key) = dial.waiting {
            self.feed_dial(id, key, now);
        }
    }

    /// The wait has lasted for as long as it may; the dial goes on.
    pub(super) fn on_dial_wait_expired(&mut self, key: AskRef, now: Tick) {
        let Some((ask, Pending::DialWait(wait))) = self.take_pending(key) else { return };
        self.leave_dial_wait(&wait, key, now);
        let first = wait.dials.first().copied();
        let payload = self.dial_payload(first, None);
        self.answer(&ask, ask.branch("Timeout"), payload, None);
    }

    /// The master leg of a wait has ended, or pressed a digit.
    pub(super) fn interrupt_dial_wait(
        &mut self,
        key: AskRef,
        why: &'static str,
        digit: Option<char>,
        now: Tick,
    ) {
        let Some((ask, Pending::DialWait(wait))) = self.take_pending(key) else { return };
        self.leave_dial_wait(&wait, key, now);
        let mut payload = self.dial_payload(wait.dials.first().copied(), wait.master);
        payload["interruptReason"] = why.into();
        if let Some(digit) = digit {
            payload["digit"] = digit.to_string().into();
            payload["digits"] = digit.to_string().into();
        }
        self.answer(&ask, ask.branch("Interrupted"), payload, None);
    }

    /// Takes a wait off its dials, its master leg and its timer.
    pub(super) fn leave_dial_wait(&mut self, wait: &DialWait, key: AskRef, now: Tick) {
        self.timers.clear(wait.timer);
        for id in &wait.dials {
            if let Some(dial) = self.dials.get_mut(*id) {
                dial.retained = dial.retained.saturating_sub(1);
                dial.waiting.take_if(|waiting| *waiting == key);
            }
            self.touch_dial(*id, now);
        }
        if let Some(leg) = wait.master {
            self.leave_leg(leg, key);
            self.release(leg, now);
        }
    }

    fn feed_dial(&mut self, id: DialRef, key: AskRef, now: Tick) {
        while let Some((ask, Pending::DialWait(_))) = self.pending.get(&key) {
            let wanted = words(ask.parameter("waitEventOutputs"));
            let Some(dial) = self.dials.get_mut(id) else { return };
            let event = dial.events.pop().or(match dial.status {
                // A wait on a final dial resolves from what it ended with.
                Status::Answered(leg)
                    if self.legs.get(leg).is_some_and(|leg| leg.is_answered()) =>
                {
                    Some(DialEvent::Answered(leg))
                }
                Status::Failed(why) => Some(DialEvent::Failed(why)),
                Status::Answered(_) | Status::Dialing => None,
            });
            let Some(event) = event else { return };
            let (label, word, leg) = match event {
                DialEvent::Ringing(leg) => ("Ringing", Some("ringing"), Some(leg)),
                DialEvent::Progress(leg) => ("Progress", Some("progress"), Some(leg)),
                DialEvent::Rejected(leg) => ("Rejected", Some("rejected"), Some(leg)),
                DialEvent::Answered(leg) => ("Answered", None, Some(leg)),
                DialEvent::Failed(_) => ("Failed", None, None),
            };
            if word.is_some_and(|word| !wanted.iter().any(|chosen| chosen == word)) {
                continue;
            }
            let Some((ask, Pending::DialWait(wait))) = self.take_pending(key) else { return };
            self.leave_dial_wait(&wait, key, now);
            let mut payload = self.dial_payload(Some(id), leg);
            if let DialEvent::Failed(why) = event {
                let said = self.dials.get(id).and_then(|dial| dial.break_reason.clone());
                payload["reason"] = said.map_or_else(|| why.into(), Value::from);
            }
            self.answer(&ask, ask.branch(label), payload, None);
        }
    }

    fn answer_master_ended(&mut self, ask: &Ask, dials: &[DialRef], leg: LegRef) {
        let mut payload = self.dial_payload(dials.first().copied(), Some(leg));
        payload["interruptReason"] = "call_ended".into();
        self.answer(ask, ask.branch("Interrupted"), payload, None);
    }

    fn dial_payload(&self, dial: Option<DialRef>, leg: Option<LegRef>) -> Value {
        let mut payload = Map::new();
        let known = dial.and_then(|id| self.dials.get(id));
        let count = known.map_or(0, |dial| dial.attempts.len());
        payload.insert("dialId".to_owned(), dial.map(dial_text).into());
        payload.insert("stillDialingLegCount".to_owned(), count.into());
        if let Some(leg) = leg {
            payload.insert("legId".to_owned(), leg_text(leg).into());
        }
        Value::Object(payload)
    }

    fn dials_of(&self, ask: &Ask) -> Result<Vec<DialRef>, Failed> {
        let listed = items(ask.parameter("dialIds")).iter().filter_map(|item| item.get("dialId"));
        let mut named = listed.collect::<Vec<_>>();
        if named.is_empty() {
            named.extend(ask.item.json.get("dialId").or_else(|| context(ask, "dialId")));
        }
        if named.is_empty() {
            return Err(Failed::DialMissing);
        }
        if named.len() > DIALS_MAX {
            return Err(Failed::DialsTooMany);
        }
        let known = |value: &&Value| {
            let id = parse_dial(value).ok_or(Failed::DialUnknown)?;
            let dial = self.dials.get(id).ok_or(Failed::DialUnknown)?;
            if dial.waiting.is_some() { Err(Failed::DialTaken) } else { Ok(id) }
        };
        named.iter().map(known).collect()
    }

    /// Takes what a run waits for, if it still does; any other kind of wait stays.
    fn take_pending(&mut self, key: AskRef) -> Option<(Ask, Pending)> {
        let is_dial = matches!(self.pending.get(&key), Some((_, Pending::DialWait(_))));
        if is_dial { self.pending.remove(&key) } else { None }
    }
}
