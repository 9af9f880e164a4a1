//! Playing sound files: loading them once, blocking and in background, and what interrupts them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::Tick;
use crate::call::leg::{LegRef, leg_text};
use crate::call::node::operation::words;
use crate::call::switch::ask::Ask;
use crate::call::switch::control::media_leg;
use crate::call::switch::record::End;
use crate::call::switch::{AskRef, Fact, Output, Pending, Switch};
use crate::media::{Clip, Command, Loudness, PlayerEnd, Source};

/// Sound files that are kept; one more is loaded for each use and not kept.
const CLIPS_MAX: usize = 1000;

/// A playback that runs.
#[derive(Debug)]
pub(super) struct Player {
    leg: LegRef,
    /// The run that waits for its end; nobody does for one in background.
    ask: Option<AskRef>,
}

impl Player {
    /// The leg that hears it.
    pub(super) const fn leg(&self) -> LegRef {
        self.leg
    }
}

/// Sound files by the name that flows give them.
#[derive(Debug, Default)]
pub(super) struct Clips {
    known: BTreeMap<String, Known>,
}

#[derive(Debug)]
enum Known {
    Ready(Arc<Clip>),
    Loading(Vec<AskRef>),
}

impl Switch {
    /// The leg that is to hear something; a run whose leg is gone is told so at once.
    pub(super) fn leg_to_hear(&mut self, ask: &Ask) -> Option<LegRef> {
        match self.leg_of(ask) {
            Ok(id) if self.legs.get(id).is_some_and(|leg| leg.end().is_none()) => Some(id),
            Ok(id) => {
                let payload = json!({ "legId": leg_text(id), "interruptReason": "call_ended" });
                self.answer(ask, ask.branch("Interrupted"), payload, None);
                None
            }
            Err(failed) => {
                self.fail(ask, failed);
                None
            }
        }
    }

    /// `media.playAudio`.
    pub(super) fn start_play(&mut self, ask: Ask, now: Tick) {
        let Some(leg) = self.leg_to_hear(&ask) else { return };
        let path = ask.text("filePath");
        if ask.text("sourceType") != "file" || path.is_empty() {
            return self.answer_unplayable(&ask, leg);
        }
        match self.clips.known.get_mut(&path) {
            Some(Known::Ready(clip)) => {
                let source = Source::Clip(clip.clone());
                self.play(ask, leg, source, false, now);
            }
            Some(Known::Loading(waiting)) => {
                waiting.push(ask.key);
                self.wait_for_clip(ask, leg, now);
            }
            None => {
                self.clips.known.insert(path.clone(), Known::Loading(vec![ask.key]));
                self.outputs.push_back(Output::Load(path));
                self.wait_for_clip(ask, leg, now);
            }
        }
    }

    /// A file is there, or is not.
    pub(super) fn on_clip(&mut self, path: &str, clip: Result<Arc<Clip>, String>, now: Tick) {
        let waiting = match self.clips.known.remove(path) {
            Some(Known::Loading(waiting)) => waiting,
            Some(Known::Ready(_)) | None => Vec::new(),
        };
        match &clip {
            Ok(clip) if self.clips.known.len() < CLIPS_MAX => {
                self.clips.known.insert(path.to_owned(), Known::Ready(clip.clone()));
            }
            Ok(_) => {}
            Err(why) => {
                let (path, why) = (path.to_owned(), why.clone());
                self.tell(Fact::ClipFailed { path, why });
            }
        }
        for key in waiting {
            let Some((ask, pending)) = self.pending.remove(&key) else { continue };
            let Pending::Clip { leg } = pending else {
                unreachable!("only playbacks wait for files");
            };
            self.leave_leg(leg, key);
            match &clip {
                Ok(clip) => self.play(ask, leg, Source::Clip(clip.clone()), false, now),
                Err(_) => self.answer_unplayable(&ask, leg),
            }
            self.release(leg, now);
        }
    }

    /// A player has come to its end, or was stopped by the media thread.
    pub(super) fn on_player_done(&mut self, player: u64, end: PlayerEnd, now: Tick) {
        let Some(leg) = self.forget_player(player) else { return };
        let Player { leg, ask } = leg;
        let Some(key) = ask else { return };
        let Some((ask, pending)) = self.pending.remove(&key) else { return };
        self.stop_watching(leg, player, &pending);
        self.leave_leg(leg, key);
        let branch = match end {
            PlayerEnd::Completed => ask.branch("Completed"),
            PlayerEnd::Stopped => ask.branch("Interrupted"),
        };
        let mut payload = json!({ "legId": leg_text(leg) });
        if end == PlayerEnd::Stopped {
            payload["interruptReason"] = "media_stopped".into();
        }
        self.answer(&ask, branch, payload, Some(player));
        self.release(leg, now);
    }

    /// A digit interrupts the oldest blocking playback of the leg that listens for digits, and
    /// stays queued for the next wait; where one plays that does not listen, the digit is lost
    /// (contract §3). Says whether the digit may be queued.
    pub(super) fn digit_meets_playback(&mut self, id: LegRef, digit: char, now: Tick) -> bool {
        let Some(leg) = self.legs.get(id) else { return false };
        let mut is_swallowed = false;
        for key in leg.waiting.clone() {
            match self.pending.get(&key) {
                Some((_, Pending::Play { player, digits_interrupt: true, .. })) => {
                    let player = *player;
                    self.interrupt_play(key, player, digit, now);
                    return true;
                }
                Some((_, Pending::Record { recording, digits_interrupt: true, .. })) => {
                    let end = End::Interrupted("call_dtmf", Some(digit));
                    let recording = *recording;
                    self.end_recording(recording, end);
                    return true;
                }
                Some((_, Pending::Play { .. } | Pending::Record { .. })) => is_swallowed = true,
                Some(_) | None => {}
            }
        }
        !is_swallowed
    }

    /// A leg has been loud for as long as a playback with this number asked, or quiet for as long
    /// as a recording did: that one is interrupted.
    pub(super) fn on_watched(&mut self, player: u64, now: Tick) {
        if self.recordings.contains_key(&player) {
            return self.on_silence(player);
        }
        let Some(key) = self.players.get(&player).and_then(|player| player.ask) else { return };
        let Some((ask, _)) = self.pending.remove(&key) else { return };
        let Some(Player { leg, .. }) = self.forget_player(player) else { return };
        self.leave_leg(leg, key);
        self.outputs.push_back(Output::Media(Command::Stop { leg: media_leg(leg), player }));
        let payload = json!({ "legId": leg_text(leg), "interruptReason": "media_voice" });
        self.answer(&ask, ask.branch("Interrupted"), payload, Some(player));
        self.release(leg, now);
    }

    /// Nobody needs to know any more whether the leg speaks.
    fn stop_watching(&mut self, leg: LegRef, player: u64, pending: &Pending) {
        if let Pending::Play { voice_interrupts: true, .. } = pending {
            let command = Command::Unwatch { leg: media_leg(leg), meter: player };
            self.outputs.push_back(Output::Media(command));
        }
    }

    fn interrupt_play(&mut self, key: AskRef, player: u64, digit: char, now: Tick) {
        let Some((ask, pending)) = self.pending.remove(&key) else { return };
        let Some(Player { leg, .. }) = self.forget_player(player) else { return };
        self.stop_watching(leg, player, &pending);
        self.leave_leg(leg, key);
        let command = Command::Stop { leg: media_leg(leg), player };
        self.outputs.push_back(Output::Media(command));
        let payload = json!({
            "legId": leg_text(leg), "interruptReason": "call_dtmf", "digit": digit.to_string(),
        });
        self.answer(&ask, ask.branch("Interrupted"), payload, Some(player));
        self.release(leg, now);
    }

    /// Starts a player on a live leg.
    pub(super) fn play(&mut self, ask: Ask, id: LegRef, source: Source, repeat: bool, now: Tick) {
        let digits_interrupt = words(ask.parameter("interruptOn")).iter().any(|on| on == "dtmf");
        let voice_interrupts = words(ask.parameter("interruptOn")).iter().any(|on| on == "voice");
        let is_blocking =
            ask.option("mediaExecutionMode").and_then(Value::as_str) != Some("background");
        if ask.option("stopOtherMedia") == Some(&Value::Bool(true)) {
            self.stop_players(id, now);
            self.stop_recordings(id);
        }
        let ducking = ask.option("duckingFactor").and_then(Value::as_f64).unwrap_or(1.0) as f32;
        self.players_begun += 1;
        let player = self.players_begun;
        let waiting = is_blocking.then_some(ask.key);
        self.players.insert(player, Player { leg: id, ask: waiting });
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.players.push(player);
        let queued_digit =
            leg.events.iter().any(|event| matches!(event, crate::call::leg::LegEvent::Digit(_)));
        let command = Command::Play { leg: media_leg(id), player, source, repeat, ducking };
        self.outputs.push_back(Output::Media(command));
        if !is_blocking {
            self.touch(id, now);
            return self.answer(&ask, 0, json!({ "legId": leg_text(id) }), Some(player));
        }
        leg_waits(leg, ask.key);
        let key = ask.key;
        self.retain(id, now);
        if voice_interrupts {
            let command = Command::Watch {
                leg: media_leg(id),
                meter: player,
                loudness: Loudness::Above(voice_threshold(&ask)),
                duration: voice_duration(&ask),
            };
            self.outputs.push_back(Output::Media(command));
        }
        self.suspend(ask, Pending::Play { leg: id, player, digits_interrupt, voice_interrupts });
        if digits_interrupt && queued_digit {
            // Dialled ahead: the caller knows what the prompt would say.
            let digit = self.legs.get(id).and_then(first_digit);
            self.interrupt_play(key, player, digit.unwrap_or('0'), now);
        }
    }

    /// Stops every playback of a leg.
    pub(super) fn stop_players(&mut self, id: LegRef, now: Tick) {
        let Some(leg) = self.legs.get(id) else { return };
        for player in leg.players.clone() {
            let command = Command::Stop { leg: media_leg(id), player };
            self.outputs.push_back(Output::Media(command));
            self.on_player_done(player, PlayerEnd::Stopped, now);
        }
    }

    fn wait_for_clip(&mut self, ask: Ask, id: LegRef, now: Tick) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg_waits(leg, ask.key);
        }
        self.retain(id, now);
        self.suspend(ask, Pending::Clip { leg: id });
    }

    /// A source that cannot be played leaves by the regular branch and says so (contract §8.4).
    fn answer_unplayable(&mut self, ask: &Ask, leg: LegRef) {
        let payload = json!({ "legId": leg_text(leg), "failed": true });
        self.answer(ask, ask.branch("Completed"), payload, None);
    }

    /// The leg of a playback that runs.
    pub(super) fn leg_of_player(&self, player: u64) -> Option<LegRef> {
        self.players.get(&player).map(|player| player.leg)
    }

    fn forget_player(&mut self, player: u64) -> Option<Player> {
        let known = self.players.remove(&player)?;
        if let Some(leg) = self.legs.get_mut(known.leg) {
            leg.players.retain(|other| *other != player);
        }
        Some(known)
    }

    /// The operation no longer waits for this leg.
    pub(super) fn leave_leg(&mut self, id: LegRef, key: AskRef) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg.waiting.retain(|other| *other != key);
        }
    }
}

/// The effective value above which a caller speaks, 1 being full scale (contract §8.1).
fn voice_threshold(ask: &Ask) -> f32 {
    let threshold = ask.option("voiceThreshold").and_then(Value::as_f64).unwrap_or(0.02);
    threshold.clamp(0.0, 1.0) as f32
}

/// How long a caller has to speak.
fn voice_duration(ask: &Ask) -> Duration {
    let millis = ask.option("voiceDurationMs").and_then(Value::as_u64).unwrap_or(150);
    Duration::from_millis(millis.min(60_000))
}

fn leg_waits(leg: &mut crate::call::leg::Leg, key: AskRef) {
    leg.waiting.push(key);
}

/// The oldest digit that was pressed and that nobody has had.
pub(super) fn first_digit(leg: &crate::call::leg::Leg) -> Option<char> {
    leg.events.iter().find_map(|event| match event {
        crate::call::leg::LegEvent::Digit(digit) => Some(*digit),
        crate::call::leg::LegEvent::Interrupt(_) => None,
    })
}
