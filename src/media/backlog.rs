//! What a bridged peer said while its leg is played to: kept for a few frames and mixed in ticks.

use crate::media::{Codec, FRAME};

/// Samples kept: 80 ms, of which half is the delay aimed at.
const SAMPLES_MAX: usize = 4 * FRAME;

/// How much must be there before the first frame is taken, against the jitter of the peer.
const START: usize = 2 * FRAME;

/// A short line of decoded samples.
#[derive(Debug)]
pub(super) struct Backlog {
    samples: [i16; SAMPLES_MAX],
    length: usize,
    is_running: bool,
}

impl Backlog {
    /// Nothing said.
    pub(super) const fn new() -> Self {
        Self { samples: [0; SAMPLES_MAX], length: 0, is_running: false }
    }

    /// Appends a payload; what is too much pushes out the oldest.
    pub(super) fn push(&mut self, codec: Codec, payload: &[u8]) {
        let payload = &payload[payload.len().saturating_sub(SAMPLES_MAX)..];
        let excess = (self.length + payload.len()).saturating_sub(SAMPLES_MAX);
        self.drop_front(excess);
        codec.decode(payload, &mut self.samples[self.length..]);
        self.length += payload.len();
    }

    /// Takes the oldest frame; `None` while nothing, or too little to begin with, is there. What
    /// is missing at its end is silence.
    pub(super) fn take(&mut self) -> Option<[i16; FRAME]> {
        self.is_running = self.length >= if self.is_running { 1 } else { START };
        if !self.is_running {
            return None;
        }
        let mut frame = [0; FRAME];
        let taken = self.length.min(FRAME);
        frame[..taken].copy_from_slice(&self.samples[..taken]);
        self.drop_front(taken);
        Some(frame)
    }

    /// Forgets everything.
    pub(super) const fn clear(&mut self) {
        self.length = 0;
        self.is_running = false;
    }

    fn drop_front(&mut self, count: usize) {
        self.samples.copy_within(count..self.length, 0);
        self.length -= count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_starts_with_two_frames_and_never_keeps_more_than_four() {
        let silence = [Codec::Pcmu.silence(); FRAME];
        let mut backlog = Backlog::new();
        backlog.push(Codec::Pcmu, &silence);
        assert_eq!(backlog.take(), None);
        for _ in 0..9 {
            backlog.push(Codec::Pcmu, &silence);
        }
        backlog.push(Codec::Pcmu, &[0x80; FRAME]);
        let heard: Vec<i16> = std::iter::from_fn(|| backlog.take()).map(|f| f[0]).collect();
        assert_eq!(heard, [0, 0, 0, 32_124]);
        assert_eq!(backlog.take(), None);
    }
}
