//! Playing sound files: loading them once, blocking and in background, and what interrupts them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::Tick;
use crate::call::leg::{Leg, LegEvent, LegRef, leg_text};
use crate::call::node::operation::words;
use crate::call::switch::ask::Ask;
use crate::call::switch::control::media_leg;
use crate::call::switch::media_wait::Over;
use crate::call::switch::record::End;
use crate::call::switch::{AskRef, Output, Pending, Switch};
use crate::media::{Command, Loudness, PlayerEnd, Source};

/// A playback that runs.
#[derive(Debug)]
pub(super) struct Player {
    leg: LegRef,
    /// The run that waits for its end; nobody does for one in background.
    ask: Option<AskRef>,
    digits_interrupt: bool,
    voice_interrupts: bool,
}

impl Player {
    /// The leg that hears it.
    pub(super) const fn leg(&self) -> LegRef {
        self.leg
    }
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

    /// A player has come to its end, or was stopped by the media thread.
    pub(super) fn on_player_done(&mut self, player: u64, end: PlayerEnd, now: Tick) {
        let end = match end {
            PlayerEnd::Completed => End::Completed,
            PlayerEnd::Stopped => End::Interrupted("media_stopped", None),
        };
        self.finish_player(player, end, now);
    }

    /// A digit meets what plays and records on a leg: it interrupts the oldest that listens for
    /// digits and that somebody waits for, and stays queued for the next wait; where nothing
    /// listens, the digit is lost (contract §3). Says whether the digit may be queued.
    pub(super) fn digit_meets_media(&mut self, id: LegRef, digit: char, now: Tick) -> bool {
        let Some(leg) = self.legs.get(id) else { return false };
        let mut is_swallowed = false;
        for key in leg.waiting.clone() {
            match self.pending.get(&key) {
                Some((_, Pending::Play { player, .. })) => {
                    let player = *player;
                    if self.players.get(&player).is_some_and(|known| known.digits_interrupt) {
                        self.interrupt_player(player, "call_dtmf", Some(digit), now);
                        return true;
                    }
                    is_swallowed = true;
                }
                Some((_, Pending::Record { recording, digits_interrupt: true, .. })) => {
                    let end = End::Interrupted("call_dtmf", Some(digit));
                    let recording = *recording;
                    self.end_recording(recording, end);
                    return true;
                }
                Some((_, Pending::Record { .. } | Pending::MediaWait(_))) => is_swallowed = true,
                // While its sound is loaded a digit is kept for it, if it wants any.
                Some((ask, Pending::Clip { .. })) => {
                    is_swallowed |= !interrupts(ask, "dtmf");
                }
                Some((
                    _,
                    Pending::Wait(_)
                    | Pending::DialWait(_)
                    | Pending::Promise { .. }
                    | Pending::CallRecording { .. }
                    | Pending::Attempt(_),
                ))
                | None => {}
            }
        }
        !is_swallowed
    }

    /// A digit interrupts what plays in background and listens for digits; whoever waits for the
    /// digit has it nevertheless.
    pub(super) fn digit_meets_background(&mut self, id: LegRef, digit: char, now: Tick) {
        let Some(leg) = self.legs.get(id) else { return };
        for player in leg.players.clone() {
            let known = self.players.get(&player);
            if known.is_some_and(|known| known.ask.is_none() && known.digits_interrupt) {
                self.interrupt_player(player, "call_dtmf", Some(digit), now);
            }
        }
    }

    /// A leg has been loud for as long as a playback with this number asked, or quiet for as long
    /// as a recording did: that one is interrupted.
    pub(super) fn on_watched(&mut self, number: u64, now: Tick) {
        if self.recordings.contains_key(&number) {
            return self.on_silence(number);
        }
        if let Some(player) = self.players.get_mut(&number) {
            player.voice_interrupts = false;
            self.interrupt_player(number, "media_voice", None, now);
        }
    }

    fn interrupt_player(&mut self, player: u64, why: &'static str, digit: Option<char>, now: Tick) {
        let Some(leg) = self.players.get(&player).map(Player::leg) else { return };
        self.outputs.push_back(Output::Media(Command::Stop { leg: media_leg(leg), player }));
        self.finish_player(player, End::Interrupted(why, digit), now);
    }

    /// Forgets a player; whoever waits for it is told why it ended.
    pub(super) fn finish_player(&mut self, number: u64, end: End, now: Tick) {
        let Some(player) = self.players.remove(&number) else { return };
        let Player { leg: id, ask, voice_interrupts, .. } = player;
        if let Some(leg) = self.legs.get_mut(id) {
            leg.players.retain(|other| *other != number);
        }
        if voice_interrupts {
            let command = Command::Unwatch { leg: media_leg(id), meter: number };
            self.outputs.push_back(Output::Media(command));
        }
        let over = Over::of(id, end);
        let waiting = ask.filter(|key| {
            matches!(self.pending.get(key), Some((_, Pending::Play { player, .. })) if *player == number)
        });
        if let Some((ask, _)) = waiting.and_then(|key| self.pending.remove(&key)) {
            self.leave_leg(id, ask.key);
            self.answer_over(&ask, number, over.clone());
            self.release(id, now);
        }
        self.on_media_over(number, over, now);
    }

    /// Starts a player on a live leg.
    pub(super) fn play(&mut self, ask: Ask, id: LegRef, source: Source, repeat: bool, now: Tick) {
        let (digits_interrupt, voice_interrupts) =
            (interrupts(&ask, "dtmf"), interrupts(&ask, "voice"));
        let is_blocking =
            ask.option("mediaExecutionMode").and_then(Value::as_str) != Some("background");
        if ask.option("stopOtherMedia") == Some(&Value::Bool(true)) {
            self.stop_media_of(id, "media_replaced", now);
        }
        let ducking = ask.option("duckingFactor").and_then(Value::as_f64).unwrap_or(1.0) as f32;
        self.players_begun += 1;
        let player = self.players_begun;
        let waiting = is_blocking.then_some(ask.key);
        let known = Player { leg: id, ask: waiting, digits_interrupt, voice_interrupts };
        self.players.insert(player, known);
        let Some(leg) = self.legs.get_mut(id) else { return };
        leg.players.push(player);
        let dialled_ahead = first_digit(leg).filter(|_| digits_interrupt);
        let command = Command::Play { leg: media_leg(id), player, source, repeat, ducking };
        self.outputs.push_back(Output::Media(command));
        if voice_interrupts {
            let command = Command::Watch {
                leg: media_leg(id),
                meter: player,
                loudness: Loudness::Above(voice_threshold(&ask)),
                duration: voice_duration(&ask),
            };
            self.outputs.push_back(Output::Media(command));
        }
        if is_blocking {
            leg.waiting.push(ask.key);
            self.retain(id, now);
            self.suspend(ask, Pending::Play { leg: id, player });
        } else {
            self.touch(id, now);
            self.answer(&ask, 0, json!({ "legId": leg_text(id) }), Some(player));
        }
        if let Some(digit) = dialled_ahead {
            // The caller knows what the prompt would say.
            self.interrupt_player(player, "call_dtmf", Some(digit), now);
        }
    }

    /// Stops what plays and what nodes record on a leg; whoever waits is told why.
    pub(super) fn stop_media_of(&mut self, id: LegRef, why: &'static str, now: Tick) {
        let Some(leg) = self.legs.get(id) else { return };
        for player in leg.players.clone() {
            self.interrupt_player(player, why, None, now);
        }
        self.stop_recordings(id, why);
    }

    /// The operation no longer waits for this leg.
    pub(super) fn leave_leg(&mut self, id: LegRef, key: AskRef) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg.waiting.retain(|other| *other != key);
        }
    }
}

/// Whether a node wants to be interrupted by this.
fn interrupts(ask: &Ask, by: &str) -> bool {
    words(ask.parameter("interruptOn")).iter().any(|on| on == by)
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

/// The oldest digit that was pressed and that nobody has had.
pub(super) fn first_digit(leg: &Leg) -> Option<char> {
    leg.events.iter().find_map(|event| match event {
        LegEvent::Digit(digit) => Some(*digit),
        LegEvent::Interrupt(_) => None,
    })
}
