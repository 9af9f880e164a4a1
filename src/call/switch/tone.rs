//! `media.playTone` and `media.stopMedia`.

use serde_json::{Value, json};

use crate::base::Tick;
use crate::call::leg::{LegRef, leg_text, parse, text};
use crate::call::switch::Output;
use crate::call::switch::Switch;
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::control::media_leg;
use crate::call::switch::dial::context;
use crate::call::switch::record::{End, Recording};
use crate::media::{Command, PlayerEnd, Source, Tone};

impl Switch {
    /// `media.playTone`.
    pub(super) fn start_tone(&mut self, ask: Ask, now: Tick) {
        let Some(leg) = self.leg_to_hear(&ask) else { return };
        let country = self.config.tones;
        let tone = match ask.text("tone").as_str() {
            "busy" => Ok(Tone::busy(country)),
            "congestion" => Ok(Tone::congestion(country)),
            "custom" => Tone::parse(&ask.text("customTone")).map_err(|_| Failed::TonePattern),
            "ringback" | "" => Ok(Tone::ringback(country)),
            _ => Err(Failed::ToneUnknown),
        };
        match tone {
            Ok(tone) => {
                let repeat = ask.parameter("repeatInfinite") == Some(&Value::Bool(true));
                self.play(ask, leg, Source::Tone(tone), repeat, now);
            }
            Err(failed) => self.fail(&ask, failed),
        }
    }

    /// `media.stopMedia`. Success even if nothing plays.
    pub(super) fn stop_media(&mut self, ask: &Ask, now: Tick) {
        if ask.text("stopMediaTarget") == "legId" {
            match self.leg_of(ask) {
                Ok(leg) => {
                    self.stop_media_of(leg, "media_stopped", now);
                    self.touch(leg, now);
                    self.answer(ask, 0, json!({ "legId": leg_text(leg) }), None);
                }
                Err(failed) => self.fail(ask, failed),
            }
            return;
        }
        let named = [ask.option("mediaId"), ask.item.json.get("mediaId"), context(ask, "mediaId")];
        let number = named.into_iter().flatten().find_map(|value| parse("media", value.as_str()?));
        let Some(player) = number else { return self.fail(ask, Failed::MediaMissing) };
        let leg = self.stop_player(player, now);
        let payload = json!({ "legId": leg.map(leg_text), "mediaId": text("media", player) });
        self.answer(ask, 0, payload, None);
    }

    /// Stops one playback or recording; whoever waits for it is told.
    fn stop_player(&mut self, player: u64, now: Tick) -> Option<LegRef> {
        if let Some(leg) = self.recordings.get(&player).map(Recording::leg) {
            self.end_recording(player, End::Interrupted("media_stopped", None));
            return Some(leg);
        }
        let leg = self.players.get(&player)?.leg();
        let command = Command::Stop { leg: media_leg(leg), player };
        self.outputs.push_back(Output::Media(command));
        self.on_player_done(player, PlayerEnd::Stopped, now);
        Some(leg)
    }
}
