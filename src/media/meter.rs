//! Meters: whether a leg has been loud, or quiet, for long enough. Each tells once.

use std::time::Duration;

use crate::media::{FRAME, Loudness, PTIME};

/// Meters that a leg may have at once.
pub const METERS_MAX: usize = 8;

/// One question about the loudness of a leg.
#[derive(Debug)]
pub(super) struct Meter {
    number: u64,
    loudness: Loudness,
    /// Frames that it must hold, and has held.
    needed: u64,
    held: u64,
}

impl Meter {
    /// A meter that has heard nothing yet.
    pub(super) fn new(number: u64, loudness: Loudness, duration: Duration) -> Self {
        let needed = duration.as_micros().div_ceil(PTIME.as_micros()).max(1);
        Self { number, loudness, needed: needed as u64, held: 0 }
    }

    /// The caller's number.
    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// Hears a frame; true when it has now held for long enough.
    pub(super) fn hear(&mut self, frame: &[i16; FRAME]) -> bool {
        let sum: f32 = frame.iter().map(|sample| f32::from(*sample).powi(2)).sum();
        let effective = (sum / FRAME as f32).sqrt() / 32_768.0;
        match self.loudness {
            Loudness::Above(threshold) if effective > threshold => self.held += 1,
            // Between two syllables a voice is still a voice.
            Loudness::Above(_) => self.held = self.held.saturating_sub(1),
            Loudness::Below(threshold) if effective <= threshold => self.held += 1,
            Loudness::Below(_) => self.held = 0,
        }
        self.held >= self.needed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After how many milliseconds a meter tells, when the frames are this loud.
    fn told(loudness: Loudness, millis: u64, frames: &[i16]) -> Option<usize> {
        let mut meter = Meter::new(1, loudness, Duration::from_millis(millis));
        frames.iter().position(|value| meter.hear(&[*value; FRAME])).map(|frame| (frame + 1) * 20)
    }

    #[test]
    fn a_voice_holds_through_the_gaps_between_syllables() {
        let (voice, click) = ([2000; 8], [2000, 0, 0, 0, 2000, 0, 0, 0, 0]);
        assert_eq!(told(Loudness::Above(0.02), 150, &voice), Some(160));
        assert_eq!(told(Loudness::Above(0.02), 150, &click), None);
        let syllables = [2000, 2000, 2000, 0, 2000, 2000, 2000, 0, 2000, 2000, 2000, 2000];
        assert_eq!(told(Loudness::Above(0.02), 150, &syllables), Some(240));
    }

    #[test]
    fn silence_begins_anew_with_every_sound() {
        let silence = [[100; 10].as_slice(), &[2000], &[100; 20]].concat();
        assert_eq!(told(Loudness::Below(0.01), 300, &silence), Some(26 * 20));
        assert_eq!(told(Loudness::Below(0.01), 300, &[2000; 50]), None);
    }
}
