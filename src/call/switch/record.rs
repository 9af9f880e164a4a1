//! Recordings of legs: begun, paused, ended, and brought to where they belong.
//!
//! ```text
//!  begin_recording ─▶ Keep::Begin ─▶ owner opens the file
//!                  ─▶ Command::Record ─▶ media thread ─▶ frames ─▶ owner
//!  end_recording   ─▶ Command::StopRecorder ─▶ RecorderDone ─▶ Keep::End ─▶ handle_kept
//! ```
//!
//! A recording is known from `begin_recording` until `handle_kept`; what then happens is its
//! [`Purpose`]'s. Keeping that fails ends the recording, and never the call.

use std::time::Duration;

use serde_json::{Value, json};

use crate::base::Tick;
use crate::call::leg::{LegRef, leg_text};
use crate::call::node::operation::words;
use crate::call::switch::ask::{Ask, seconds};
use crate::call::switch::control::media_leg;
use crate::call::switch::media_wait::Over;
use crate::call::switch::play::first_digit;
use crate::call::switch::{AskRef, Fact, Output, Pending, Remote, Switch};
use crate::media::{Command, Loudness, PlayerEnd, RECORDERS_MAX, Recorded, TapeFormat};

/// Bytes of a recording that goes to an item or another server; it ends when it has so many.
const MEMORY_OCTETS_MAX: u64 = 16 * 1024 * 1024;

/// What the owner of the switch is to do with a recording, known by its number.
#[derive(Clone, Debug, PartialEq)]
pub enum Keep {
    /// Keep the frames that come under this number.
    Begin {
        /// The number.
        recording: u64,
        /// How they are written.
        format: TapeFormat,
        /// Where they go.
        keeping: Keeping,
    },
    /// No more will come: [`Switch::handle_kept`] is due.
    End {
        /// The number.
        recording: u64,
    },
}

/// Where a recording goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keeping {
    /// Into this file beneath the directory of recordings.
    File(String),
    /// To whoever asked for it, as Base64.
    Memory,
    /// To another server, when it is whole.
    Upload(Remote),
}

impl Keeping {
    /// What a log calls it.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.clone(),
            Self::Memory => "memory".to_owned(),
            Self::Upload(remote) => remote.place(),
        }
    }
}

/// A recording that is where it belongs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The file that it is in.
    pub path: Option<String>,
    /// Itself as Base64, for [`Keeping::Memory`].
    pub data: Option<String>,
    /// How much was recorded, in milliseconds.
    pub duration_ms: u64,
    /// Bytes of the file.
    pub octets: u64,
}

/// What is to be recorded.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) what: Recorded,
    pub(super) format: TapeFormat,
    pub(super) keeping: Keeping,
    /// At most; what the format and the keeping allow is the limit of it.
    pub(super) duration_max: Duration,
    pub(super) purpose: Purpose,
}

/// Who is told when a recording is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A `media.recordAudio`.
    Node {
        /// The run that waits; nobody does for one in background.
        ask: Option<AskRef>,
        /// The key that it is attached by.
        attached: Option<String>,
    },
    /// A recording of the whole call.
    Call {
        /// The run that waits, if one does.
        ask: Option<AskRef>,
        /// The request that it answers.
        request: Option<u64>,
    },
}

/// A recording that runs, or is being brought to its end.
#[derive(Debug)]
pub(super) struct Recording {
    leg: LegRef,
    purpose: Purpose,
    target: String,
    /// Why it ended; none while it runs.
    end: Option<End>,
    /// Whether the owner was told that no more will come.
    is_closing: bool,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It had as much as was wanted.
    Completed,
    /// This interrupted it, with a digit where it was one (contract §4).
    Interrupted(&'static str, Option<char>),
}

impl Recording {
    /// The leg that is recorded.
    pub(super) const fn leg(&self) -> LegRef {
        self.leg
    }
}

impl Switch {
    /// `media.recordAudio`.
    pub(super) fn start_record(&mut self, ask: Ask, now: Tick) {
        let Some(leg) = self.leg_to_hear(&ask) else { return };
        if ask.option("stopOtherMedia") == Some(&Value::Bool(true)) {
            self.stop_media_of(leg, "media_replaced", now);
        }
        let is_background =
            ask.option("mediaExecutionMode").and_then(Value::as_str) == Some("background");
        let begun = wanted(&ask, is_background).and_then(|wanted| {
            let path = match &wanted.keeping {
                Keeping::File(path) => Some(path.clone()),
                Keeping::Memory | Keeping::Upload(_) => None,
            };
            Ok((self.begin_recording(leg, wanted)?, path))
        });
        let (recording, path) = match begun {
            Ok(begun) => begun,
            Err(why) => {
                let target = ask.text("recordOutputType");
                self.tell(Fact::RecordingFailed { leg, target, why });
                let payload = json!({ "legId": leg_text(leg), "failed": true });
                let branch = if is_background { 0 } else { ask.branch("Completed") };
                self.touch(leg, now);
                return self.answer(&ask, branch, payload, None);
            }
        };
        if is_background {
            let mut payload = json!({ "legId": leg_text(leg) });
            if let Some(path) = path {
                payload["filePath"] = path.into();
            }
            self.touch(leg, now);
            return self.answer(&ask, 0, payload, Some(recording));
        }
        let interrupts = words(ask.parameter("interruptOn"));
        let interrupts = |on: &str| interrupts.iter().any(|word| word == on);
        if interrupts("silence") {
            let (leg, meter) = (media_leg(leg), recording);
            let (loudness, duration) = silence(&ask);
            let command = Command::Watch { leg, meter, loudness, duration };
            self.outputs.push_back(Output::Media(command));
        }
        let digits_interrupt = interrupts("dtmf");
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.waiting.push(ask.key);
        }
        self.retain(leg, now);
        self.suspend(ask, Pending::Record { leg, recording, digits_interrupt });
        let dialled_ahead = self.legs.get(leg).and_then(|leg| first_digit(leg));
        if let (true, Some(digit)) = (digits_interrupt, dialled_ahead) {
            self.end_recording(recording, End::Interrupted("call_dtmf", Some(digit)));
        }
    }

    /// Begins a recording of a live leg, and says its number; an error says why there is none.
    pub(super) fn begin_recording(&mut self, id: LegRef, wanted: Wanted) -> Result<u64, String> {
        let Wanted { what, format, keeping, duration_max, purpose } = wanted;
        let Some(leg) = self.legs.get_mut(id).filter(|leg| leg.audio.is_open) else {
            return Err("the leg has no audio yet: answer it first".to_owned());
        };
        if leg.recordings.len() >= RECORDERS_MAX {
            return Err(format!("the leg has {RECORDERS_MAX} recordings already"));
        }
        self.players_begun += 1;
        let recording = self.players_begun;
        leg.recordings.push(recording);
        let limit = match &keeping {
            Keeping::File(_) => format.duration_max(),
            Keeping::Memory | Keeping::Upload(_) => format.duration_in(MEMORY_OCTETS_MAX),
        };
        let target = keeping.name();
        let known = Recording { leg: id, purpose, target, end: None, is_closing: false };
        self.recordings.insert(recording, known);
        // The owner has to know the number before the first frame comes under it.
        self.outputs.push_back(Output::Keep(Keep::Begin { recording, format, keeping }));
        let (leg, duration_max) = (media_leg(id), duration_max.min(limit));
        let command = Command::Record { leg, recorder: recording, what, duration_max };
        self.outputs.push_back(Output::Media(command));
        Ok(recording)
    }

    /// Lets time pass unrecorded, or goes on.
    pub(super) fn pause_recording(&mut self, recording: u64, is_paused: bool) {
        if let Some(known) = self.recordings.get(&recording) {
            let (leg, recorder) = (media_leg(known.leg), recording);
            let command = Command::PauseRecorder { leg, recorder, is_paused };
            self.outputs.push_back(Output::Media(command));
        }
    }

    /// Ends a recording that runs; whoever waits for it is told when it is kept.
    pub(super) fn end_recording(&mut self, recording: u64, end: End) {
        let Some(known) = self.recordings.get_mut(&recording) else { return };
        if known.end.is_none() {
            known.end = Some(end);
            let leg = media_leg(known.leg);
            let stop = Command::StopRecorder { leg, recorder: recording };
            let forget = Command::Unwatch { leg, meter: recording };
            self.outputs.extend([Output::Media(stop), Output::Media(forget)]);
        }
    }

    /// Ends what `media.recordAudio` records of a leg.
    pub(super) fn stop_recordings(&mut self, id: LegRef, why: &'static str) {
        for recording in self.legs.get(id).map_or_else(Vec::new, |leg| leg.recordings.clone()) {
            let known = self.recordings.get(&recording);
            if known.is_some_and(|known| matches!(known.purpose, Purpose::Node { .. })) {
                self.end_recording(recording, End::Interrupted(why, None));
            }
        }
    }

    /// The leg is gone, and so is the audio of its recordings: what there is of them is kept.
    pub(super) fn on_recorded_leg_ended(&mut self, recordings: &[u64]) {
        for recording in recordings {
            if let Some(known) = self.recordings.get_mut(recording) {
                known.end.get_or_insert(End::Interrupted("call_ended", None));
            }
        }
    }

    /// The media thread gives no more of a recording.
    pub(super) fn on_recorder_done(&mut self, recording: u64, end: PlayerEnd, _now: Tick) {
        let Some(known) = self.recordings.get_mut(&recording) else { return };
        known.end.get_or_insert(match end {
            PlayerEnd::Completed => End::Completed,
            PlayerEnd::Stopped => End::Interrupted("media_stopped", None),
        });
        if !std::mem::replace(&mut known.is_closing, true) {
            self.outputs.push_back(Output::Keep(Keep::End { recording }));
        }
    }

    /// A recording is where it belongs, or could not be kept.
    pub(super) fn on_kept(&mut self, recording: u64, kept: Result<Kept, String>, now: Tick) {
        let Some(known) = self.recordings.remove(&recording) else { return };
        let leg = known.leg;
        if let Some(leg) = self.legs.get_mut(leg) {
            leg.recordings.retain(|other| *other != recording);
            leg.recorded = leg.recorded.filter(|own| *own != recording);
        }
        if !known.is_closing {
            let leg = media_leg(leg);
            let stop = Command::StopRecorder { leg, recorder: recording };
            let forget = Command::Unwatch { leg, meter: recording };
            self.outputs.extend([Output::Media(stop), Output::Media(forget)]);
        }
        if let Err(why) = &kept {
            let (target, why) = (known.target.clone(), why.clone());
            self.tell(Fact::RecordingFailed { leg, target, why });
        }
        match known.purpose {
            Purpose::Node { ask, attached } => {
                let (end, has_failed) = (known.end.unwrap_or(End::Completed), kept.is_err());
                let kept = kept.unwrap_or_default();
                let over = Over { leg, end, has_failed, kept, attached };
                self.finish_recording(recording, ask, over, now);
            }
            Purpose::Call { ask, request } => {
                self.on_call_recorded(known.leg, ask, request, kept.ok());
            }
        }
    }

    /// A leg has been silent for as long as a recording with this number asked.
    pub(super) fn on_silence(&mut self, recording: u64) {
        self.end_recording(recording, End::Interrupted("media_silence", None));
    }

    /// The run that waits for a recording of a call is gone; the recording goes on.
    pub(super) fn leave_call_recording(&mut self, recording: u64) {
        if let Some(Recording { purpose: Purpose::Call { ask, .. }, .. }) =
            self.recordings.get_mut(&recording)
        {
            *ask = None;
        }
    }

    /// The run that asked for a recording is gone.
    pub(super) fn withdraw_record(&mut self, recording: u64) {
        if let Some(Recording { purpose: Purpose::Node { ask, .. }, .. }) =
            self.recordings.get_mut(&recording)
        {
            *ask = None;
        }
        self.end_recording(recording, End::Interrupted("request_cancelled", None));
    }

    /// Forgets the recordings of a leg that is taken out by force; what was recorded stays.
    pub(super) fn purge_recordings(&mut self, id: LegRef) {
        let its = self.recordings.iter().filter(|(_, known)| known.leg() == id);
        for recording in its.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.recordings.remove(&recording);
            self.outputs.push_back(Output::Keep(Keep::End { recording }));
        }
    }

    fn finish_recording(&mut self, recording: u64, ask: Option<AskRef>, over: Over, now: Tick) {
        if let Some((ask, pending)) = ask.and_then(|key| self.pending.remove(&key)) {
            let Pending::Record { leg, .. } = pending else {
                unreachable!("only a recording waits for its end");
            };
            self.leave_leg(leg, ask.key);
            self.answer_over(&ask, recording, over.clone());
            self.release(leg, now);
        }
        self.on_media_over(recording, over, now);
    }
}

/// What the parameters of a `media.recordAudio` ask for.
fn wanted(ask: &Ask, is_background: bool) -> Result<Wanted, String> {
    let format = tape_format(ask, 1)?;
    let (keeping, attached) = match ask.text("recordOutputType").as_str() {
        "file" => match ask.text("recordFilePath") {
            path if path.is_empty() => return Err("recordFilePath is required".to_owned()),
            path => (Keeping::File(path), None),
        },
        "http" => (Keeping::Upload(Remote::read(ask, "record", "PUT")?), None),
        _ => {
            let key = ask.text("recordBinaryProperty");
            let key = if key.is_empty() { "data".to_owned() } else { key };
            (Keeping::Memory, Some(key))
        }
    };
    let ask_ref = (!is_background).then_some(ask.key);
    Ok(Wanted {
        what: Recorded::Heard,
        format,
        keeping,
        duration_max: seconds(ask.parameter("maxDurationSeconds"), 30.0),
        purpose: Purpose::Node { ask: ask_ref, attached },
    })
}

/// The format that a node asks for: WAV at one of the rates and depths there are.
pub(super) fn tape_format(ask: &Ask, channels: u16) -> Result<TapeFormat, String> {
    let kind = ask.text("recordFileFormat");
    if !matches!(kind.as_str(), "" | "wav") {
        return Err(format!("recordFileFormat {kind}: this server records WAV only"));
    }
    let number = |key: &str, usual: u64| {
        let value = ask.option(key).map(|value| match value.as_str() {
            Some(text) => text.trim().parse().ok(),
            None => value.as_u64(),
        });
        value.unwrap_or(Some(usual)).unwrap_or_default()
    };
    let (rate, bits) = (number("recordWavSampleRate", 8000), number("recordWavBitDepth", 16));
    let format = u32::try_from(rate).ok().zip(u16::try_from(bits).ok());
    format.and_then(|(rate, bits)| TapeFormat::new(rate, bits, channels)).ok_or_else(|| {
        format!(
            "recordWavSampleRate {rate} and recordWavBitDepth {bits}: the rate is one of {:?}, \
             the depth one of {:?}",
            TapeFormat::RATES,
            TapeFormat::BITS
        )
    })
}

/// How quiet a leg has to be, 1 being full scale, and for how long (contract §8.3).
fn silence(ask: &Ask) -> (Loudness, Duration) {
    let threshold = ask.option("silenceThreshold").and_then(Value::as_f64).unwrap_or(0.01);
    let millis = ask.option("silenceDurationMs").and_then(Value::as_u64).unwrap_or(300);
    let loudness = Loudness::Below(threshold.clamp(0.0, 1.0) as f32);
    (loudness, Duration::from_millis(millis.min(600_000)))
}
