//! The jitter buffer: sound that comes unevenly, late, twice or not at all, taken out evenly.
//!
//! Decoded samples lie in a ring at the place that their timestamp names; so order, duplicates and
//! packets of any length need no rules of their own. A sample is played `target` after the time at
//! which the fastest packets come. The target follows how late the slower ones are; the playback
//! gets there by leaving out or repeating a few milliseconds of sound where it resembles itself,
//! which also takes up the drift between the clocks of both sides.
//!
//! ```text
//!        taken out here               newest
//!   ───────────┼─────────────────────────┼──────▶ timestamp
//!   played     │ known │ missing │ known │
//! ```

use std::time::Duration;

use crate::base::Tick;
use crate::media::conceal::{Conceal, likeness};
use crate::media::rtp::Header;
use crate::media::{FRAME, samples_in};

/// Samples that the ring holds: 512 ms. What comes further ahead begins a new time line.
const RING: usize = 4096;

/// The delay is kept within these: 20 ms and 120 ms.
const TARGET_MIN: u32 = 160;
const TARGET_MAX: u32 = 960;

/// The delay before anything is known about the sender: 40 ms.
const TARGET_START: u32 = 320;

/// Steps in which lateness is counted: 2.5 ms, up to 200 ms.
const STEP: u32 = 20;
const STEPS: usize = 81;

/// How much of the past counts with each packet: after four seconds a third is left.
const MEMORY: f32 = 0.995;

/// The part of the packets that shall come in time.
const IN_TIME: f32 = 0.97;

/// How long the fastest packet stands for the way: ten seconds, in two halves.
const FASTEST: Duration = Duration::from_secs(5);

/// How far the playback may be behind its place before it is moved: 10 ms.
const TOLERANCE: i32 = 80;

/// How far it may be ahead of its place, where packets come too late for it: 2.5 ms.
const TOLERANCE_AHEAD: i32 = 20;

/// How far it may be before it is moved whatever that sounds like: 60 ms.
const PATIENCE: i32 = 480;

/// The shortest and longest piece left out or repeated at once: 4 to 10 ms.
const PIECE_MIN: usize = 32;
const PIECE_MAX: usize = 80;

/// How alike two pieces must be for one to take the other's place.
const ALIKE: f32 = 0.6;

/// Missing samples after which the sender is taken to pause: 60 ms.
const PAUSE: u32 = 480;

/// What a jitter buffer met and did. Counts are of packets unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// Taken in.
    pub(super) received: u64,
    /// Came after the time of some or all of their sound.
    pub(super) late: u64,
    /// Came twice.
    pub(super) duplicate: u64,
    /// New time lines: SSRC changes, jumps, restarts.
    pub(super) restarts: u64,
    /// Samples invented where sound was missing.
    pub(super) concealed: u64,
    /// Samples taken out while the sender spoke.
    pub(super) played: u64,
    /// Sum over `played` of the delay, in samples; the way of the fastest packet not included.
    pub(super) delay: u64,
}

/// One sender's sound on its way to a listener of ours.
#[derive(Debug)]
pub(super) struct Jitter {
    ring: [i16; RING],
    known: [u64; RING / 64],
    line: Option<Line>,
    lateness: Lateness,
    conceal: Conceal,
    noise: Noise,
    counts: Counts,
}

/// A time line of the sender.
#[derive(Clone, Copy, Debug)]
struct Line {
    ssrc: u32,
    /// The timestamp that is taken out next.
    next: u32,
    /// After the newest sample.
    end: u32,
    /// Samples missing in a row.
    missing: u32,
}

impl Jitter {
    /// An empty buffer.
    pub(super) const fn new() -> Self {
        Self {
            ring: [0; RING],
            known: [0; RING / 64],
            line: None,
            lateness: Lateness::new(),
            conceal: Conceal::new(),
            noise: Noise { level: None, seed: 1 },
            counts: Counts {
                received: 0,
                late: 0,
                duplicate: 0,
                restarts: 0,
                concealed: 0,
                played: 0,
                delay: 0,
            },
        }
    }

    /// What was met and done so far.
    pub(super) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Takes in the decoded sound of a packet; what is longer than 120 ms is cut.
    pub(super) fn push(&mut self, header: &Header, samples: &[i16], now: Tick) {
        let samples = &samples[..samples.len().min(TARGET_MAX as usize)];
        self.counts.received += 1;
        self.noise.level = None;
        let timestamp = header.timestamp;
        let line = self.line.filter(|line| line.ssrc == header.ssrc && line.is_near(timestamp));
        let mut line = match line {
            // The sender pauses, so nobody hears that the delay changes.
            Some(line) if line.missing >= PAUSE && line.is_ahead(timestamp) => {
                Line { next: self.lateness.place(timestamp, now), missing: 0, ..line }
            }
            Some(line) => line,
            None => {
                self.counts.restarts += u64::from(self.line.is_some());
                self.known = [0; RING / 64];
                self.lateness.forget_way();
                let next = timestamp.wrapping_sub(self.lateness.target);
                Line { ssrc: header.ssrc, next, end: timestamp, missing: PAUSE }
            }
        };
        self.lateness.note(timestamp, now);
        let ahead = timestamp.wrapping_sub(line.next) as i32;
        let passed = usize::try_from(-ahead).unwrap_or(0);
        self.counts.late += u64::from(passed > 0);
        if passed >= samples.len() {
            // Nothing of it can be played any more.
        } else if self.is_known(timestamp.wrapping_add(passed as u32)) {
            self.counts.duplicate += 1;
        } else {
            for (place, sample) in samples.iter().enumerate().skip(passed) {
                self.put(timestamp.wrapping_add(place as u32), *sample);
            }
            let end = timestamp.wrapping_add(samples.len() as u32);
            if end.wrapping_sub(line.end) as i32 > 0 {
                line.end = end;
            }
        }
        self.line = Some(line);
    }

    /// Takes in comfort noise (RFC 3389): what is missing from now on is a noise of this level, in
    /// dB below full scale.
    pub(super) const fn push_noise(&mut self, level: u8) {
        self.noise.level = Some(level);
    }

    /// Takes out the next 20 ms; false when there is nothing but silence.
    pub(super) fn pull(&mut self, frame: &mut [i16; FRAME], now: Tick) -> bool {
        let Some(mut line) = self.line else {
            frame.fill(0);
            return self.noise.fill(frame);
        };
        let behind = self.lateness.behind(line.next, now);
        let is_starved =
            behind < -TOLERANCE_AHEAD && line.missing < PAUSE && self.has_nothing(&line);
        let step = self.move_by(&line, behind).unwrap_or(0);
        // Ahead of its place and nothing there: time passes, and the sound is waited for.
        let step = if is_starved { -(FRAME as i32) } else { step };
        let is_audible = if step == 0 || is_starved {
            self.take(&mut line, frame)
        } else {
            self.stretch(&line, step, frame);
            true
        };
        let taken = (FRAME as i32 + step) as u32;
        for place in 0..taken {
            self.clear(line.next.wrapping_add(place));
        }
        if line.missing < PAUSE {
            let delay = i64::from(self.lateness.target) + i64::from(behind);
            self.counts.played += FRAME as u64;
            self.counts.delay += u64::try_from(delay).unwrap_or(0) * FRAME as u64;
        }
        line.next = line.next.wrapping_add(taken);
        if line.end.wrapping_sub(line.next) as i32 <= 0 {
            line.end = line.next;
        }
        self.line = Some(line);
        is_audible
    }

    /// Takes a frame as it lies there; what is missing is invented, or the noise of a pause.
    fn take(&mut self, line: &mut Line, frame: &mut [i16; FRAME]) -> bool {
        let (mut place, mut is_audible) = (0, false);
        while place < FRAME {
            let is_known = self.is_known(line.next.wrapping_add(place as u32));
            let run = (place..FRAME)
                .take_while(|at| self.is_known(line.next.wrapping_add(*at as u32)) == is_known)
                .count();
            let piece = &mut frame[place..place + run];
            if is_known {
                for (offset, sample) in piece.iter_mut().enumerate() {
                    *sample = self.ring[slot(line.next.wrapping_add((place + offset) as u32))];
                }
                self.conceal.hear(piece);
                (line.missing, is_audible) = (0, true);
            } else {
                let is_filled = self.conceal.fill(piece);
                if is_filled && line.missing < PAUSE {
                    self.counts.concealed += run as u64;
                }
                is_audible |= is_filled;
                is_audible |= self.noise.fill(piece);
                line.missing = line.missing.saturating_add(run as u32);
            }
            place += run;
        }
        is_audible
    }

    /// By how many samples more (or fewer) than a frame the playback goes on; `None` to go on
    /// evenly. Only where all that is needed is there.
    fn move_by(&self, line: &Line, behind: i32) -> Option<i32> {
        if (-TOLERANCE_AHEAD..=TOLERANCE).contains(&behind) || line.missing > 0 {
            return None;
        }
        let needed = if behind > 0 { FRAME + PIECE_MAX } else { FRAME };
        if !(0..needed).all(|place| self.is_known(line.next.wrapping_add(place as u32))) {
            return None;
        }
        let history = self.conceal.history();
        let at = |place: usize| self.ring[slot(line.next.wrapping_add(place as u32))];
        let now: [i16; PIECE_MAX] = std::array::from_fn(at);
        let likeness_of = |piece: usize| {
            let other: [i16; PIECE_MAX] = std::array::from_fn(|place| {
                if behind > 0 {
                    at(place + piece)
                } else if place < piece {
                    history[history.len() - piece + place]
                } else {
                    at(place - piece)
                }
            });
            // Silence is like silence, whatever noise it is made of.
            let is_faint = now.iter().chain(&other).all(|sample| sample.unsigned_abs() < 64);
            if is_faint { 1.0 } else { likeness(&now, &other) }
        };
        let pieces = (PIECE_MIN..=PIECE_MAX).step_by(2).map(|piece| (piece, likeness_of(piece)));
        let (piece, likeness) = pieces.max_by(|a, b| a.1.total_cmp(&b.1))?;
        if likeness < ALIKE && behind.abs() < PATIENCE {
            return None;
        }
        Some(if behind > 0 { piece as i32 } else { -(piece as i32) })
    }

    /// A frame in which the sound as it goes on fades over into the sound `step` samples later, or
    /// earlier.
    fn stretch(&mut self, line: &Line, step: i32, frame: &mut [i16; FRAME]) {
        let history = *self.conceal.history();
        let at = |place: i32| match usize::try_from(-place) {
            Ok(before) if before > 0 => history[history.len() - before],
            Ok(_) | Err(_) => self.ring[slot(line.next.wrapping_add(place as u32))],
        };
        for (place, sample) in frame.iter_mut().enumerate() {
            let (here, there) = (place as i32, place as i32 + step);
            let share = here.min(PIECE_MAX as i32);
            let rest = PIECE_MAX as i32 - share;
            let mixed = i32::from(at(here)) * rest + i32::from(at(there)) * share;
            *sample = (mixed / PIECE_MAX as i32) as i16;
        }
        self.conceal.hear(frame);
    }

    fn has_nothing(&self, line: &Line) -> bool {
        !(0..FRAME).any(|place| self.is_known(line.next.wrapping_add(place as u32)))
    }

    const fn is_known(&self, timestamp: u32) -> bool {
        let slot = slot(timestamp);
        self.known[slot / 64] >> (slot % 64) & 1 == 1
    }

    const fn put(&mut self, timestamp: u32, sample: i16) {
        let slot = slot(timestamp);
        self.ring[slot] = sample;
        self.known[slot / 64] |= 1 << (slot % 64);
    }

    const fn clear(&mut self, timestamp: u32) {
        let slot = slot(timestamp);
        self.known[slot / 64] &= !(1 << (slot % 64));
    }
}

/// Where a sample lies in the ring, whose length divides the range of timestamps.
const fn slot(timestamp: u32) -> usize {
    timestamp as usize % RING
}

impl Line {
    /// Whether a packet of this time fits beside what the ring holds, or was in it just before.
    const fn is_near(&self, timestamp: u32) -> bool {
        let ahead = timestamp.wrapping_sub(self.next) as i32;
        let room = RING as i32 - TARGET_MAX as i32;
        // A sender that paused for long comes back far ahead: that is a new beginning anyway.
        -room < ahead && ahead < room
    }

    const fn is_ahead(&self, timestamp: u32) -> bool {
        timestamp.wrapping_sub(self.next) as i32 >= 0
    }
}

/// How late packets come, measured against the fastest of the last seconds.
#[derive(Debug)]
struct Lateness {
    /// Arrival less timestamp of the fastest packet: of the half that runs and of the one before.
    fastest: Option<u32>,
    fastest_before: Option<u32>,
    half_since: Tick,
    /// How often which lateness was met, less and less with time.
    counts: [f32; STEPS],
    total: f32,
    target: u32,
}

impl Lateness {
    const fn new() -> Self {
        Self {
            fastest: None,
            fastest_before: None,
            half_since: Tick::ZERO,
            counts: [0.0; STEPS],
            total: 0.0,
            target: TARGET_START,
        }
    }

    /// A new time line: what the old one's timestamps meant says nothing about the new one's.
    const fn forget_way(&mut self) {
        (self.fastest, self.fastest_before) = (None, None);
    }

    fn way(&self) -> Option<u32> {
        match (self.fastest, self.fastest_before) {
            (Some(a), Some(b)) => Some(if a.wrapping_sub(b) as i32 > 0 { b } else { a }),
            (one, other) => one.or(other),
        }
    }

    fn note(&mut self, timestamp: u32, now: Tick) {
        let transit = (samples_in(now.since(Tick::ZERO)) as u32).wrapping_sub(timestamp);
        if now.since(self.half_since) >= FASTEST {
            (self.fastest_before, self.fastest) = (self.fastest, None);
            self.half_since = now;
        }
        let is_faster = |than: u32| (transit.wrapping_sub(than) as i32) < 0;
        if self.fastest.is_none_or(is_faster) {
            self.fastest = Some(transit);
        }
        let way = self.way().unwrap_or(transit);
        let late = transit.wrapping_sub(way).min(STEP * (STEPS as u32 - 1));
        for count in &mut self.counts {
            *count *= MEMORY;
        }
        self.total = self.total * MEMORY + 1.0;
        self.counts[(late / STEP) as usize] += 1.0;
        self.target = self.aim();
    }

    /// The delay at which [`IN_TIME`] of the packets come in time, and a frame more, since a frame
    /// is taken out whole.
    fn aim(&self) -> u32 {
        let mut sum = 0.0;
        let is_enough = |count: &f32| {
            sum += count;
            sum >= self.total * IN_TIME
        };
        let steps = self.counts.iter().position(is_enough).unwrap_or(STEPS - 1) as u32;
        ((steps + 1) * STEP + FRAME as u32).clamp(TARGET_MIN, TARGET_MAX)
    }

    /// How many samples the playback is behind the place at which it should be now.
    fn behind(&self, next: u32, now: Tick) -> i32 {
        let Some(way) = self.way() else { return 0 };
        let arriving = (samples_in(now.since(Tick::ZERO)) as u32).wrapping_sub(way);
        arriving.wrapping_sub(self.target).wrapping_sub(next) as i32
    }

    /// The place of the playback when sound of this time has just come after a pause.
    fn place(&self, timestamp: u32, now: Tick) -> u32 {
        let Some(way) = self.way() else { return timestamp.wrapping_sub(self.target) };
        let arriving = (samples_in(now.since(Tick::ZERO)) as u32).wrapping_sub(way);
        arriving.wrapping_sub(self.target)
    }
}

/// The noise of a pause, so that the line does not sound dead.
#[derive(Debug)]
struct Noise {
    /// In dB below full scale.
    level: Option<u8>,
    seed: u32,
}

impl Noise {
    fn fill(&mut self, samples: &mut [i16]) -> bool {
        let Some(level) = self.level.filter(|level| *level < 90) else { return false };
        // An even distribution's effective value is its end by the root of three.
        let end = 32_768.0 * 10_f32.powf(-f32::from(level) / 20.0) * 3_f32.sqrt();
        for sample in samples {
            self.seed = self.seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let even = (self.seed >> 8) as f32 / 8_388_608.0 - 1.0;
            *sample = sample.saturating_add((even * end) as i16);
        }
        true
    }
}

#[cfg(test)]
mod tests;
