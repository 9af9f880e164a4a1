//! Recorders of a leg: which of its sound they take, how much, and when they have enough.

use std::time::Duration;

use crate::media::{FRAME, LegId, PTIME, PlayerEnd, Recorded, Report, Wire};

/// Recorders that a leg may have at once.
pub const RECORDERS_MAX: usize = 4;

/// One recording that runs.
#[derive(Debug)]
pub(super) struct Recorder {
    number: u64,
    what: Recorded,
    is_paused: bool,
    frames: u64,
    frames_max: u64,
}

impl Recorder {
    /// A recorder that has nothing yet.
    pub(super) fn new(number: u64, what: Recorded, duration_max: Duration) -> Self {
        let frames_max = duration_max.as_micros().div_ceil(PTIME.as_micros()) as u64;
        Self { number, what, is_paused: false, frames: 0, frames_max }
    }

    /// The caller's number.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Lets time pass without being recorded, or goes on.
    pub(super) const fn pause(&mut self, is_paused: bool) {
        self.is_paused = is_paused;
    }

    /// Records a frame of what was heard and said; true when it has enough.
    pub(super) fn tick(
        &mut self,
        heard: &[i16; FRAME],
        said: &[i16; FRAME],
        wire: &mut impl Wire,
    ) -> bool {
        if !self.is_paused && self.frames < self.frames_max {
            let index = self.frames;
            self.frames += 1;
            match self.what {
                Recorded::Heard => wire.record(self.number, index, &[heard]),
                Recorded::Mixed => {
                    let both = |n: usize| heard[n].saturating_add(said[n]);
                    wire.record(self.number, index, &[&std::array::from_fn(both)]);
                }
                Recorded::Split => wire.record(self.number, index, &[heard, said]),
            }
        }
        self.frames >= self.frames_max
    }

    /// What is told at its end.
    pub(super) fn report(&self, leg: LegId, end: PlayerEnd) -> Report {
        let recorded = PTIME.saturating_mul(u32::try_from(self.frames).unwrap_or(u32::MAX));
        Report::RecorderDone { leg, recorder: self.number, recorded, end }
    }
}
