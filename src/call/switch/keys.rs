//! Digits on their way: out of INFO, by `media.sendDtmf`, and from one leg of a bridge to the other.

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::Tick;
use crate::call::info;
use crate::call::leg::{DtmfRelay, LegRef};
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::control::media_leg;
use crate::call::switch::{Output, Switch, Wake};
use crate::media::{Command, Digits, Source, Tone};

/// How long a digit of an INFO is pressed for the bridged leg, and the pause after it.
const RELAYED_PRESS: Duration = Duration::from_millis(100);
/// Digits that may wait to leave as INFO; more are refused.
const INFO_MAX: usize = 128;

impl Switch {
    /// A digit came by INFO.
    pub(super) fn on_info_digit(&mut self, id: LegRef, digit: char, now: Tick) {
        if self.legs.get(id).is_some_and(|leg| leg.audio.takes_info) {
            self.on_digit(id, digit, Came::Info, now);
        }
    }

    /// How a digit came that the media thread has found: a leg with events is believed to send
    /// all its digits so.
    pub(super) fn came(&self, id: LegRef) -> Came {
        let agreed = self.legs.get(id).and_then(|leg| leg.audio.agreed);
        let has_events = agreed.is_some_and(|agreed| agreed.event_payload_type.is_some());
        if has_events { Came::Event } else { Came::Sound }
    }

    /// A digit of a bridged leg goes to the other one, as the bridge says; what the media thread
    /// passes on by itself is left to it.
    pub(super) fn relay_digit(&mut self, id: LegRef, digit: char, came: Came, now: Tick) {
        let Some((leg, peer)) = self.legs.get(id).and_then(|leg| Some((leg, leg.peer?))) else {
            return;
        };
        let is_passed = came == Came::Event && self.came(peer) == Came::Event;
        let way = match (leg.relays, came) {
            (DtmfRelay::Disabled, _) => return,
            // The other side hears it.
            (DtmfRelay::Auto | DtmfRelay::Sound, Came::Sound) => return,
            (DtmfRelay::Auto | DtmfRelay::Events, _) if is_passed => return,
            (DtmfRelay::Auto, Came::Event | Came::Info) => Way::Auto,
            (DtmfRelay::Events, _) => Way::Events,
            (DtmfRelay::Info, _) => Way::Info,
            (DtmfRelay::Sound, Came::Event | Came::Info) => Way::Sound,
        };
        if let Some(digits) = Digits::parse(&digit.to_string()) {
            // A far side that takes no such digits does not hear them.
            let _ = self.press(peer, digits, way, RELAYED_PRESS, RELAYED_PRESS, now);
        }
    }

    /// Sends the next digit that waits to leave by INFO.
    pub(super) fn send_info_digit(&mut self, id: LegRef, now: Tick) {
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.info.timer = None;
        let Some((digit, press, gap)) = leg.info.waiting.pop_front() else { return };
        leg.info.timer = Some(self.timers.arm(now + press + gap, Wake::Info(id)));
        let body = info::body(digit, press);
        self.endpoint.info(leg.dialog, body, now);
    }

    /// `media.sendDtmf`. It does not wait until the digits are out.
    pub(super) fn send_dtmf(&mut self, ask: &Ask, now: Tick) -> Result<LegRef, Failed> {
        let (id, _) = self.live_leg_of(ask)?;
        let digits = Digits::parse(ask.text("dtmfDigits").trim()).ok_or(Failed::DtmfDigits)?;
        let method = ask.option("dtmfMethod").and_then(serde_json::Value::as_str);
        let way = match method {
            None | Some("" | "auto") => Way::Auto,
            Some("rfc2833") => Way::Events,
            Some("info") => Way::Info,
            Some("inband") => Way::Sound,
            Some(_) => return Err(Failed::DtmfMethod),
        };
        let millis = |key: &str, default: u64| {
            let millis = ask.option(key).and_then(serde_json::Value::as_u64).unwrap_or(default);
            Duration::from_millis(millis.clamp(40, 5000))
        };
        let (press, gap) = (millis("dtmfDurationMs", 200), millis("dtmfGapMs", 100));
        self.press(id, digits, way, press, gap, now)?;
        self.touch(id, now);
        Ok(id)
    }

    /// Presses digits towards the far side of a leg.
    fn press(
        &mut self,
        id: LegRef,
        digits: Digits,
        way: Way,
        press: Duration,
        gap: Duration,
        now: Tick,
    ) -> Result<(), Failed> {
        let leg = self.legs.get_mut(id).ok_or(Failed::LegUnknown)?;
        if way == Way::Info {
            if !leg.is_answered() {
                return Err(Failed::DtmfMethod);
            }
            if leg.info.waiting.len() + digits.keys().count() > INFO_MAX {
                return Err(Failed::DtmfDigits);
            }
            leg.info.waiting.extend(digits.keys().map(|key| (key, press, gap)));
            if leg.info.timer.is_none() {
                self.send_info_digit(id, now);
            }
            return Ok(());
        }
        let has_events = leg.audio.agreed.is_some_and(|one| one.event_payload_type.is_some());
        let to = media_leg(id);
        let command = match way {
            Way::Auto | Way::Events if has_events => {
                Command::SendDigits { leg: to, digits, duration: press, gap }
            }
            Way::Events | Way::Info => return Err(Failed::DtmfMethod),
            Way::Auto | Way::Sound => {
                let source = Source::Tone(sound(&digits, press, gap)?);
                self.players_begun += 1;
                let player = self.players_begun;
                Command::Play { leg: to, player, source, repeat: false, ducking: 1.0 }
            }
        };
        self.outputs.push_back(Output::Media(command));
        Ok(())
    }
}

/// How digits are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// As events where both sides agreed on them, else in the sound.
    Auto,
    /// As events (RFC 4733).
    Events,
    /// By INFO, one request a digit.
    Info,
    /// As tones (ITU-T Q.23).
    Sound,
}

/// How a digit came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// As an event (RFC 4733).
    Event,
    /// By INFO.
    Info,
    /// In the sound.
    Sound,
}

/// The tones of digits, with pauses.
fn sound(digits: &Digits, press: Duration, gap: Duration) -> Result<Tone, Failed> {
    let mut pattern = String::new();
    for key in digits.keys() {
        let (low, high) = frequencies(key);
        let (press, gap) = (press.as_millis(), gap.as_millis());
        let comma = if pattern.is_empty() { "" } else { "," };
        write!(pattern, "{comma}{low}+{high}/{press},0/{gap}")
            .expect("writing to a String never fails");
    }
    Tone::parse(&pattern).map_err(|_| Failed::DtmfDigits)
}

/// Low and high tone of a key (Q.23), in hertz.
const fn frequencies(key: char) -> (u16, u16) {
    let low = match key {
        '1' | '2' | '3' | 'A' => 697,
        '4' | '5' | '6' | 'B' => 770,
        '7' | '8' | '9' | 'C' => 852,
        _ => 941,
    };
    let high = match key {
        '1' | '4' | '7' | '*' => 1209,
        '2' | '5' | '8' | '0' => 1336,
        '3' | '6' | '9' | '#' => 1477,
        _ => 1633,
    };
    (low, high)
}
