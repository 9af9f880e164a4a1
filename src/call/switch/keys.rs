//! Digits that do not come and go as telephone-events: INFO in, `media.sendDtmf` out.

use std::fmt::Write as _;
use std::time::Duration;

use crate::base::Tick;
use crate::call::leg::LegRef;
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::control::media_leg;
use crate::call::switch::{Output, Switch};
use crate::media::{Command, Digits, Source, Tone};

/// How long a digit of an INFO is pressed for the bridged leg, and the pause after it.
const RELAYED_PRESS: Duration = Duration::from_millis(100);

impl Switch {
    /// A digit came by INFO: the leg's own waits have it, and the leg that it is bridged with.
    pub(super) fn on_info_digit(&mut self, id: LegRef, digit: char, now: Tick) {
        let Some(leg) = self.legs.get(id).filter(|leg| leg.audio.takes_info) else { return };
        if let (Some(peer), Some(digits)) = (leg.peer, Digits::parse(&digit.to_string())) {
            let _ = self.press(peer, digits, Way::Auto, RELAYED_PRESS, RELAYED_PRESS);
        }
        self.on_digit(id, digit, now);
    }

    /// `media.sendDtmf`. It does not wait until the digits are out.
    pub(super) fn send_dtmf(&mut self, ask: &Ask, now: Tick) -> Result<LegRef, Failed> {
        let (id, _) = self.live_leg_of(ask)?;
        let digits = Digits::parse(ask.text("dtmfDigits").trim()).ok_or(Failed::DtmfDigits)?;
        let method = ask.option("dtmfMethod").and_then(serde_json::Value::as_str);
        let way = match method {
            None | Some("" | "auto") => Way::Auto,
            Some("rfc2833") => Way::Events,
            Some("inband") => Way::Sound,
            Some(_) => return Err(Failed::DtmfMethod),
        };
        let millis = |key: &str, default: u64| {
            let millis = ask.option(key).and_then(serde_json::Value::as_u64).unwrap_or(default);
            Duration::from_millis(millis.clamp(40, 5000))
        };
        let (press, gap) = (millis("dtmfDurationMs", 200), millis("dtmfGapMs", 100));
        self.press(id, digits, way, press, gap)?;
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
    ) -> Result<(), Failed> {
        let leg = self.legs.get(id).ok_or(Failed::LegUnknown)?;
        let has_events = leg.audio.agreed.is_some_and(|one| one.event_payload_type.is_some());
        let to = media_leg(id);
        let command = match way {
            Way::Auto | Way::Events if has_events => {
                Command::SendDigits { leg: to, digits, duration: press, gap }
            }
            Way::Events => return Err(Failed::DtmfMethod),
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
    /// As tones (ITU-T Q.23).
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
