//! What is heard of a leg by ourselves: its digits, its loudness, its recordings, and what its peer
//! needs of it in frames.

use std::time::Duration;

use crate::base::{Bounded, Tick};
use crate::media::hearing::Hearing;
use crate::media::inband::Inband;
use crate::media::leg::{Content, Leg};
use crate::media::meter::{METERS_MAX, Meter};
use crate::media::recorder::{RECORDERS_MAX, Recorder};
use crate::media::rtp::Header;
use crate::media::{FRAME, Loudness, PlayerEnd, Recorded, Refusal, Report, Wire, duration_of};

impl Leg {
    /// Looks for digits in the leg's sound, or no longer.
    pub(in crate::media) const fn find_digits(&mut self, is_on: bool) {
        self.finds_digits = is_on;
    }

    /// Adds a meter, in place of one with the same number.
    pub(in crate::media) fn watch(
        &mut self,
        number: u64,
        loudness: Loudness,
        duration: Duration,
    ) -> Result<(), Refusal> {
        self.unwatch(number);
        if self.meters.len() >= METERS_MAX {
            return Err(Refusal::TooManyMeters);
        }
        self.meters.push(Meter::new(number, loudness, duration));
        Ok(())
    }

    /// Forgets a meter.
    pub(in crate::media) fn unwatch(&mut self, number: u64) {
        self.meters.retain(|meter| meter.number() != number);
    }

    /// Starts a recorder, in place of one with the same number.
    pub(in crate::media) fn record(
        &mut self,
        number: u64,
        what: Recorded,
        duration_max: Duration,
        reports: &mut Bounded<Report>,
    ) -> Result<(), Refusal> {
        self.stop_recorder(number, reports);
        if self.recorders.len() >= RECORDERS_MAX {
            return Err(Refusal::TooManyRecorders);
        }
        self.recorders.push(Recorder::new(number, what, duration_max));
        Ok(())
    }

    /// Pauses a recorder, or lets it go on.
    pub(in crate::media) fn pause_recorder(&mut self, number: u64, is_paused: bool) {
        for recorder in self.recorders.iter_mut().filter(|one| one.number() == number) {
            recorder.pause(is_paused);
        }
    }

    /// Stops a recorder.
    pub(in crate::media) fn stop_recorder(&mut self, number: u64, reports: &mut Bounded<Report>) {
        if let Some(place) = self.recorders.iter().position(|one| one.number() == number) {
            let recorder = self.recorders.remove(place);
            let _ = reports.push(recorder.report(self.id, PlayerEnd::Stopped));
        }
    }

    /// Stops every recorder.
    pub(in crate::media) fn stop_recorders(&mut self, reports: &mut Bounded<Report>) {
        while let Some(recorder) = self.recorders.pop() {
            let _ = reports.push(recorder.report(self.id, PlayerEnd::Stopped));
        }
    }

    /// Whether this leg needs what its peer says in frames.
    pub(in crate::media) const fn takes_frames(&self) -> bool {
        self.recodes || !self.players.is_empty() || !self.recorders.is_empty()
    }

    /// Whether nothing happens on it by itself but reports, and silence.
    pub(in crate::media) fn rests(&self) -> bool {
        !self.takes_frames()
            && !self.is_heard()
            && !self.dialler.is_busy()
            && self.backlog.is_empty()
    }

    /// Whether the leg's sound is decoded.
    pub(in crate::media) const fn is_heard(&self) -> bool {
        self.hearing.is_some()
    }

    /// Decodes the leg's sound from now on, if its peer or anything of its own needs it.
    pub(in crate::media) fn settle(&mut self, peer_takes_frames: bool) {
        self.backlog.keep(self.peer.is_some() && self.takes_frames());
        let is_needed = peer_takes_frames
            || self.finds_digits
            || !self.meters.is_empty()
            || !self.recorders.is_empty();
        match (&self.hearing, &self.line) {
            (None, Some(line)) if is_needed => {
                self.hearing = Some(Box::new(Hearing::new(line.stream.codec)));
            }
            (Some(_), _) if !is_needed => {
                self.faults_before = self.faults();
                self.hearing = None;
            }
            (None | Some(_), _) => {}
        }
    }

    /// The frame of this tick, for the peer.
    pub(in crate::media) fn frame(&self) -> Option<&[i16; FRAME]> {
        self.hearing.as_ref().map(|hearing| hearing.frame())
    }

    /// Takes a frame of what the peer said.
    pub(in crate::media) fn take_frame(&mut self, frame: &[i16; FRAME]) {
        self.backlog.push(frame);
    }

    /// Late packets and invented samples, over the leg's life.
    pub(super) fn faults(&self) -> (u64, u64) {
        let (late, invented) = self.hearing.as_ref().map_or((0, 0), |hearing| hearing.faults());
        (self.faults_before.0 + late, self.faults_before.1 + invented)
    }

    /// Hears a packet that the leg has taken in.
    pub(super) fn listen(
        &mut self,
        header: &Header,
        payload: &[u8],
        content: Content,
        reports: &mut Bounded<Report>,
        now: Tick,
    ) {
        match content {
            Content::Event { event, is_first } => {
                self.has_sent_events = true;
                if is_first {
                    let (leg, digit) = (self.id, event.key());
                    let duration = duration_of(u64::from(event.duration));
                    // A full queue counts the drop.
                    let _ = reports.push(Report::Digit { leg, digit, duration });
                }
            }
            Content::Sound(codec) => {
                if let Some(hearing) = &mut self.hearing {
                    hearing.push(codec, header, payload, now);
                }
            }
            Content::Noise { level } => {
                if let Some(hearing) = &mut self.hearing {
                    hearing.push_noise(level);
                }
            }
        }
    }

    /// Goes on by a frame of the leg's sound.
    pub(super) fn tick_hearing(&mut self, reports: &mut Bounded<Report>, now: Tick) {
        let Some(hearing) = &mut self.hearing else { return };
        let found = hearing.tick(self.finds_digits, now);
        let leg = self.id;
        if let Some(digit) = found.filter(|_| !self.has_sent_events) {
            let _ = reports.push(Report::Digit { leg, digit, duration: Inband::proof() });
        }
        self.meters.retain_mut(|meter| {
            let is_told = meter.hear(hearing.frame());
            if is_told {
                let _ = reports.push(Report::Watched { leg, meter: meter.number() });
            }
            !is_told
        });
    }

    /// Records a frame of what was heard, and of what was said.
    pub(super) fn tick_recorders(
        &mut self,
        said: Option<&[i16; FRAME]>,
        wire: &mut impl Wire,
        reports: &mut Bounded<Report>,
    ) {
        const SILENCE: &[i16; FRAME] = &[0; FRAME];
        let heard = self.hearing.as_ref().map_or(SILENCE, |hearing| hearing.frame());
        let (leg, said) = (self.id, said.unwrap_or(SILENCE));
        self.recorders.retain_mut(|recorder| {
            let is_done = recorder.tick(heard, said, wire);
            if is_done {
                let _ = reports.push(recorder.report(leg, PlayerEnd::Completed));
            }
            !is_done
        });
    }
}
