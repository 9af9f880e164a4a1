//! Digits as the tones themselves (ITU-T Q.23): found by Goertzel's filter, judged as Q.24 asks.
//!
//! Every 10 ms the last 15 ms are looked at. A window shows a digit when one tone of each group
//! stands out of its group, the two differ by no more than the permitted twist, and together they
//! are most of all that is heard: speech and music always have more. Three windows in a row that
//! show one digit are a press, so that 40 ms are always seen and 23 ms never; two that do not show
//! it are its release.

use std::time::Duration;

use crate::media::FRAME;

/// Samples looked at together.
const WINDOW: usize = 120;

/// Samples between two looks.
const HOP: usize = 80;

/// What the crossings of low and high group mean.
const KEYS: [[char; 4]; 4] =
    [['1', '2', '3', 'A'], ['4', '5', '6', 'B'], ['7', '8', '9', 'C'], ['*', '0', '#', 'D']];

/// Peak of the weakest tone that counts: -30 dBm0, where full scale is 3.14 dBm0.
const PEAK_MIN: f32 = 720.0;

/// How much stronger the low group may be: 9 dB.
const TWIST_NORMAL: f32 = 7.94;

/// How much stronger the high group may be: 5 dB.
const TWIST_REVERSE: f32 = 3.16;

/// How far a tone stands above the others of its group: 8 dB.
const DOMINANCE: f32 = 6.3;

/// The least part of all energy that both tones have together. White noise 10 dB below them
/// leaves them 0.9, tones 1.5 % off their frequency lose a quarter at worst.
const SHARE_MIN: f32 = 0.68;

/// Looks in a row that make a press.
const PRESS: u8 = 3;

/// Looks in a row that make a release.
const RELEASE: u8 = 2;

/// Listens to one leg.
#[derive(Clone, Debug)]
pub(super) struct Inband {
    /// The end of the frame before, which the first window begins with.
    before: [i16; WINDOW - HOP],
    /// What the looks show, and how many in a row.
    candidate: Option<char>,
    looks: u8,
    /// The key that is down.
    pressed: Option<char>,
}

impl Inband {
    /// Nothing heard.
    pub(super) const fn new() -> Self {
        Self { before: [0; WINDOW - HOP], candidate: None, looks: 0, pressed: None }
    }

    /// Hears a frame; gives the digit whose press it proves, once a press.
    pub(super) fn hear(&mut self, frame: &[i16; FRAME]) -> Option<char> {
        let mut window = [0; WINDOW];
        let (old, new) = window.split_at_mut(WINDOW - HOP);
        old.copy_from_slice(&self.before);
        new.copy_from_slice(&frame[..HOP]);
        let first = self.look(&window);
        let second = self.look(frame.last_chunk().expect("a frame is longer than a window"));
        self.before.copy_from_slice(&frame[FRAME - (WINDOW - HOP)..]);
        // A press and its release take longer than a frame, so there is at most one.
        first.or(second)
    }

    /// How long a press has lasted when it is told.
    pub(super) fn proof() -> Duration {
        let samples = WINDOW + usize::from(PRESS - 1) * HOP;
        crate::media::duration_of(samples as u64)
    }

    fn look(&mut self, window: &[i16; WINDOW]) -> Option<char> {
        let shown = digit(window);
        if shown == self.candidate {
            self.looks = self.looks.saturating_add(1);
        } else {
            (self.candidate, self.looks) = (shown, 1);
        }
        let enough = if shown.is_some() { PRESS } else { RELEASE };
        if self.looks < enough || self.pressed == shown {
            return None;
        }
        self.pressed = shown;
        shown
    }
}

/// The digit that a window shows.
fn digit(window: &[i16; WINDOW]) -> Option<char> {
    let total: f32 = window.iter().map(|sample| f32::from(*sample) * f32::from(*sample)).sum();
    let floor = PEAK_MIN * WINDOW as f32 / 2.0;
    let floor = floor * floor;
    // Two tones at the floor have this much energy; most windows of speech's pauses end here.
    if total < 4.0 * floor / WINDOW as f32 {
        return None;
    }
    let powers = goertzel(window);
    let row = strongest(&powers, 0)?;
    let column = strongest(&powers, 4)?;
    let (low, high) = (powers[row], powers[4 + column]);
    let is_loud = low >= floor && high >= floor;
    let is_level = low <= high * TWIST_NORMAL && high <= low * TWIST_REVERSE;
    let share = 2.0 * (low + high) / (WINDOW as f32 * total);
    (is_loud && is_level && share >= SHARE_MIN).then_some(KEYS[row][column])
}

/// The tone of the group at `from` that stands out of it.
fn strongest(powers: &[f32; 8], from: usize) -> Option<usize> {
    let group = &powers[from..from + 4];
    let (place, power) = group.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1))?;
    let others = group.iter().enumerate().filter(|(other, _)| *other != place);
    others.map(|(_, other)| other * DOMINANCE).all(|other| other <= *power).then_some(place)
}

/// Squared magnitude of all eight tones, side by side so that they fill one vector.
fn goertzel(window: &[i16; WINDOW]) -> [f32; 8] {
    let (mut one, mut two) = ([0.0_f32; 8], [0.0_f32; 8]);
    for sample in window {
        let sample = f32::from(*sample);
        for tone in 0..8 {
            let next = sample + COEFFICIENTS[tone] * one[tone] - two[tone];
            two[tone] = one[tone];
            one[tone] = next;
        }
    }
    std::array::from_fn(|tone| {
        one[tone] * one[tone] + two[tone] * two[tone] - COEFFICIENTS[tone] * one[tone] * two[tone]
    })
}

/// Twice the cosine of each tone's turn in one sample, low group and high group (Q.23): 697, 770,
/// 852, 941, 1209, 1336, 1477 and 1633 Hz.
const COEFFICIENTS: [f32; 8] =
    [1.707_738, 1.645_281, 1.568_687, 1.478_205, 1.164_104, 0.996_370, 0.798_618, 0.568_533];

#[cfg(test)]
mod tests;
