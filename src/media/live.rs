//! Live sound: a stream that one thread writes and any number of players hear at the same place.
//!
//! A ring of samples with one writer. Readers take no lock; one that falls behind the ring, or
//! catches up with the writer, goes on where the stream is now.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI16, AtomicU64, Ordering};
use std::time::Duration;

use crate::media::{FRAME, duration_of, samples_in};

/// Samples that are kept: 8 s, more than a writer is ahead of its slowest reader.
const RING: usize = 1 << 16;
/// How far behind the writer a player begins, so that it does not run dry at once.
const BEHIND: Duration = Duration::from_secs(1);
/// How far behind it may fall.
const LAG_MAX: Duration = Duration::from_secs(6);

/// A stream of 8 kHz, mono. Share it by `Arc`.
pub struct Live {
    ring: Box<[AtomicI16]>,
    /// Samples written since the beginning.
    written: AtomicU64,
    is_over: AtomicBool,
}

impl Live {
    /// A stream that has not begun.
    #[expect(clippy::new_without_default, reason = "a stream is made where it is written")]
    pub fn new() -> Self {
        let ring = (0..RING).map(|_| AtomicI16::new(0)).collect();
        Self { ring, written: AtomicU64::new(0), is_over: AtomicBool::new(false) }
    }

    /// Appends sound; of one writer, and not faster than it is heard, or players lose some of it.
    pub fn push(&self, samples: &[i16]) {
        let written = self.written.load(Ordering::Relaxed);
        for (index, sample) in (written..).zip(samples) {
            self.ring[index as usize % RING].store(*sample, Ordering::Relaxed);
        }
        self.written.store(written + samples.len() as u64, Ordering::Release);
    }

    /// No more will come: players end when they have heard the rest.
    pub fn end(&self) {
        self.is_over.store(true, Ordering::Release);
    }

    /// How much has been written since the beginning.
    pub fn written(&self) -> Duration {
        duration_of(self.written.load(Ordering::Acquire))
    }

    /// Where a player begins.
    pub fn position(&self) -> u64 {
        self.written.load(Ordering::Acquire).saturating_sub(samples_in(BEHIND))
    }

    /// Whether a player at this position has heard all there will ever be.
    pub fn is_done(&self, position: u64) -> bool {
        self.is_over.load(Ordering::Acquire) && position >= self.written.load(Ordering::Acquire)
    }

    /// The next frame of a player, and its position after it; silence where nothing has come.
    pub fn read(&self, position: u64) -> ([i16; FRAME], u64) {
        let written = self.written.load(Ordering::Acquire);
        let is_behind = written.saturating_sub(position) > samples_in(LAG_MAX);
        let position = if is_behind { self.position() } else { position };
        let is_over = self.is_over.load(Ordering::Acquire);
        let ready = written.saturating_sub(position);
        // Half a frame is heard at the end only: in between the rest of it is still to come.
        if ready < FRAME as u64 && !is_over {
            return ([0; FRAME], position);
        }
        let sample = |n: usize| match n as u64 {
            n if n < ready => self.ring[(position + n) as usize % RING].load(Ordering::Relaxed),
            _ => 0,
        };
        (std::array::from_fn(sample), position + ready.min(FRAME as u64))
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Live({:?})", self.written())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_that_runs_dry_waits_and_one_that_falls_behind_goes_on_where_the_stream_is() {
        let live = Live::new();
        assert_eq!(live.read(0), ([0; FRAME], 0), "nothing has come");
        live.push(&[7; FRAME + 40]);
        assert_eq!(live.read(0), ([7; FRAME], FRAME as u64));
        assert_eq!(live.read(FRAME as u64), ([0; FRAME], FRAME as u64), "not half a frame");
        live.push(&[8; 120]);
        let (frame, position) = live.read(FRAME as u64);
        assert_eq!((frame[39], frame[40], position), (7, 8, 2 * FRAME as u64));
        for second in 0..20 {
            live.push(&[second; 8000]);
        }
        let (frame, position) = live.read(position);
        assert_eq!(frame, [19; FRAME], "a second behind the writer");
        assert_eq!(position, live.position() + FRAME as u64);
    }

    #[test]
    fn the_end_is_heard_to_the_last_sample() {
        let live = Live::new();
        live.push(&[5; 200]);
        live.end();
        let (_, position) = live.read(0);
        assert!(!live.is_done(position));
        let (frame, position) = live.read(position);
        assert_eq!((frame[39], frame[40], position), (5, 0, 200));
        assert!(live.is_done(position));
    }
}
