//! `call.wait`: digits by rule, interrupts, time-out and end, on one leg or the first of several.

use serde_json::{Value, json};

use crate::base::{Armed, Tick};
use crate::call::digits::{Collected, Collector, Fallback, Rules, is_digit};
use crate::call::leg::{LegEvent, LegRef, leg_text};
use crate::call::node::operation::{items, wait_rules, words};
use crate::call::switch::ask::{Ask, Failed, seconds};
use crate::call::switch::keys::Came;
use crate::call::switch::{AskRef, Pending, Switch, Wake};

/// Legs that one wait may name; more are an `invalid_leg_wait`.
const LEGS_MAX: usize = 16;

/// A `call.wait` that is going on.
#[derive(Debug)]
pub(super) struct Wait {
    legs: Vec<(LegRef, Collector)>,
    interrupts: Vec<String>,
    timer: Armed,
}

impl Wait {
    /// The legs that it listens to.
    pub(super) fn legs(&self) -> impl Iterator<Item = LegRef> {
        self.legs.iter().map(|(leg, _)| *leg)
    }
}

impl Switch {
    /// `call.wait`.
    pub(super) fn start_wait(&mut self, ask: Ask, now: Tick) {
        let legs = match self.legs_of_wait(&ask) {
            Ok(legs) => legs,
            Err(failed) => return self.fail(&ask, failed),
        };
        let ended = legs.iter().find_map(|id| Some((*id, self.legs.get(*id)?.end()?)));
        if let Some((id, reason)) = ended {
            return self.answer_ended(&ask, id, reason);
        }
        if ask.option("clearDtmfBuffer") == Some(&Value::Bool(true)) {
            for id in &legs {
                self.clear_digits(*id);
            }
        }
        let deadline = now + ask.seconds("timeoutSeconds", 30.0);
        let rules = rules(&ask);
        let key = ask.key;
        let collectors =
            legs.iter().map(|id| (*id, Collector::new(rules.clone(), deadline))).collect();
        let options = words(ask.option("interruptReasons"));
        let timer = self.timers.arm(deadline, Wake::Wait(key));
        for id in &legs {
            if let Some(leg) = self.legs.get_mut(*id) {
                leg.waiting.push(key);
            }
            self.retain(*id, now);
        }
        let wait = Wait { legs: collectors, interrupts: options, timer };
        self.suspend(ask, Pending::Wait(wait));
        for id in legs {
            self.feed_queued_events(id, key, now);
        }
    }

    /// A digit has come in on a leg: a wait has it, or a playback, or it is kept.
    pub(super) fn on_digit(&mut self, id: LegRef, digit: char, came: Came, now: Tick) {
        self.fault("digit");
        let Some(leg) = self.legs.get(id) else { return };
        if !is_digit(digit) || leg.end().is_some() {
            return;
        }
        let is_heard = leg.peer.is_none() || leg.emits_digits;
        self.relay_digit(id, digit, came, now);
        self.digit_meets_background(id, digit, now);
        let Some(leg) = self.legs.get(id).filter(|_| is_heard) else { return };
        let waiting = leg.waiting.iter().copied();
        let wait = waiting
            .filter(|key| matches!(self.pending.get(key), Some((_, Pending::Wait(_)))))
            .min();
        if let Some(key) = wait {
            return self.feed_digit(id, key, digit, now);
        }
        if self.digit_meets_dial_wait(id, digit, now)
            && self.digit_meets_media(id, digit, now)
            && let Some(leg) = self.legs.get_mut(id)
        {
            // A caller who leans on the keys loses the digits beyond the limit, nothing else.
            let _ = leg.events.push(LegEvent::Digit(digit));
        }
    }

    /// A digit of a caller who waits for a dial: it interrupts the wait and stays queued, or is
    /// lost (contract §7.3). Says whether it may go on.
    fn digit_meets_dial_wait(&mut self, id: LegRef, digit: char, now: Tick) -> bool {
        let Some(leg) = self.legs.get_mut(id) else { return false };
        let waits = leg.waiting.iter().filter_map(|key| match self.pending.get(key) {
            Some((_, Pending::DialWait(wait))) => Some((*key, wait.digits_interrupt)),
            Some(_) | None => None,
        });
        let Some((key, interrupts)) = waits.min() else { return true };
        if interrupts {
            let _ = leg.events.push(LegEvent::Digit(digit));
            self.interrupt_dial_wait(key, "call_dtmf", Some(digit), now);
        }
        false
    }

    /// The deadline of a wait, or of the digits in it, has passed.
    pub(super) fn on_wait_expired(&mut self, key: AskRef, now: Tick) {
        if matches!(self.pending.get(&key), Some((_, Pending::DialWait(_)))) {
            return self.on_dial_wait_expired(key, now);
        }
        if matches!(self.pending.get(&key), Some((_, Pending::MediaWait(_)))) {
            return self.on_media_wait_expired(key, now);
        }
        let Some((_, Pending::Wait(wait))) = self.pending.get_mut(&key) else { return };
        // The leg whose caller is in the middle of dialling decides, not the first of the list.
        let due = wait.legs.iter_mut().filter(|(_, collector)| collector.deadline() <= now);
        let ends = due.map(|(id, collector)| (*id, collector.expire())).collect::<Vec<_>>();
        let dialled = ends.iter().find(|(_, end)| *end != Collected::Timeout);
        if let Some((id, end)) = dialled.or(ends.first()).cloned() {
            self.finish_wait(key, id, &end, now);
        }
    }

    /// Takes a wait off its legs and its timer.
    pub(super) fn leave_wait(&mut self, wait: &Wait, key: AskRef, now: Tick) {
        self.timers.clear(wait.timer);
        for (id, _) in &wait.legs {
            self.leave_leg(*id, key);
            self.release(*id, now);
        }
    }

    fn feed_queued_events(&mut self, id: LegRef, key: AskRef, now: Tick) {
        while self.pending.contains_key(&key) {
            let Some(event) = self.legs.get_mut(id).and_then(|leg| leg.events.pop()) else {
                return;
            };
            match event {
                LegEvent::Digit(digit) => self.feed_digit(id, key, digit, now),
                LegEvent::Interrupt(reason) => self.feed_interrupt(id, key, reason, now),
            }
        }
    }

    fn feed_digit(&mut self, id: LegRef, key: AskRef, digit: char, now: Tick) {
        let Some((_, Pending::Wait(wait))) = self.pending.get_mut(&key) else { return };
        let Some((_, collector)) = wait.legs.iter_mut().find(|(leg, _)| *leg == id) else { return };
        if let Some(end) = collector.push(digit, now) {
            return self.finish_wait(key, id, &end, now);
        }
        let deadline = wait.legs.iter().map(|(_, collector)| collector.deadline()).min();
        self.timers.clear(wait.timer);
        wait.timer = self.timers.arm(deadline.unwrap_or(now), Wake::Wait(key));
    }

    /// An interrupt for a wait that may want it.
    pub(super) fn feed_interrupt(&mut self, id: LegRef, key: AskRef, reason: &str, now: Tick) {
        let Some((_, Pending::Wait(wait))) = self.pending.get(&key) else { return };
        if !wait.interrupts.iter().any(|wanted| wanted == reason) {
            return;
        }
        let Some((ask, Pending::Wait(wait))) = self.pending.remove(&key) else { return };
        self.leave_wait(&wait, key, now);
        let payload = json!({ "legId": leg_text(id), "eventType": "interrupt", "reason": reason });
        self.answer(&ask, ask.branch("Interrupted"), payload, None);
    }

    fn finish_wait(&mut self, key: AskRef, id: LegRef, end: &Collected, now: Tick) {
        let Some((ask, Pending::Wait(wait))) = self.pending.remove(&key) else { return };
        self.leave_wait(&wait, key, now);
        let leg = leg_text(id);
        let (branch, payload) = match end {
            Collected::Rule(rule) => (*rule, json!({ "legId": leg, "eventType": "dtmf" })),
            Collected::Fallback(digits) => (
                ask.branch("DTMF Fallback"),
                json!({ "legId": leg, "eventType": "dtmf", "digits": digits }),
            ),
            Collected::Timeout => {
                let first = wait.legs.first().map_or(id, |(leg, _)| *leg);
                let payload = json!({ "legId": leg_text(first), "eventType": "timeout" });
                (ask.branch("Timeout"), payload)
            }
        };
        self.answer(&ask, branch, payload, None);
    }

    fn legs_of_wait(&self, ask: &Ask) -> Result<Vec<LegRef>, Failed> {
        let listed = items(ask.parameter("legIds")).iter().filter_map(|item| item.get("legId"));
        let listed = listed.collect::<Vec<_>>();
        if listed.is_empty() {
            let leg = self.leg_of(ask).map_err(|failed| {
                if failed == Failed::LegMissing { Failed::LegsMissing } else { failed }
            });
            return Ok(vec![leg?]);
        }
        if listed.len() > LEGS_MAX {
            return Err(Failed::LegsTooMany);
        }
        listed.into_iter().map(|value| self.known_leg(value)).collect()
    }

    fn clear_digits(&mut self, id: LegRef) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg.events.retain(|event| !matches!(event, LegEvent::Digit(_)));
        }
    }
}

fn rules(ask: &Ask) -> Rules {
    let is_on = |key: &str| ask.parameter(key) == Some(&Value::Bool(true));
    let terminator = ask.text("dtmfTerminatorDigit").chars().next().unwrap_or('#');
    let fallback =
        match (is_on("waitDtmfFallbackEnabled"), is_on("waitDtmfMultiDigitFallbackEnabled")) {
            (false, _) => Fallback::Forget,
            (true, false) => Fallback::AtOnce,
            (true, true) => Fallback::Until(terminator),
        };
    Rules {
        patterns: wait_rules(&ask.parameters).into_iter().map(|(pattern, _)| pattern).collect(),
        fallback,
        interdigit: seconds(ask.option("interdigitTimeoutSeconds"), 1.0),
    }
}
