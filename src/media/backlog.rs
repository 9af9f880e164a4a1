//! What a bridged peer said, for a leg that is played to or recorded: a few frames, taken in ticks.

use crate::media::FRAME;

/// Frames kept. Both legs tick every 20 ms, so more than one waits only when a tick was late.
const FRAMES_MAX: usize = 3;

/// A short line of frames; the jitter of the peer is behind them.
#[derive(Debug)]
pub(super) struct Backlog {
    /// While somebody takes frames.
    frames: Option<Box<[[i16; FRAME]; FRAMES_MAX]>>,
    length: usize,
}

impl Backlog {
    /// Nothing said.
    pub(super) const fn new() -> Self {
        Self { frames: None, length: 0 }
    }

    /// Makes room for frames, or gives it back.
    pub(super) fn keep(&mut self, is_needed: bool) {
        if !is_needed {
            *self = Self::new();
        } else if self.frames.is_none() {
            self.frames = Some(Box::new([[0; FRAME]; FRAMES_MAX]));
        }
    }

    /// Whether nothing was said.
    pub(super) const fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Appends a frame, if there is room for any; one too many pushes out the oldest.
    pub(super) fn push(&mut self, frame: &[i16; FRAME]) {
        if self.length == FRAMES_MAX {
            self.take();
        }
        if let Some(frames) = &mut self.frames {
            frames[self.length] = *frame;
            self.length += 1;
        }
    }

    /// Takes the oldest frame.
    pub(super) fn take(&mut self) -> Option<[i16; FRAME]> {
        self.length = self.length.checked_sub(1)?;
        let frames = self.frames.as_mut()?;
        let frame = frames[0];
        frames.rotate_left(1);
        Some(frame)
    }

    /// Forgets everything.
    pub(super) const fn clear(&mut self) {
        self.length = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_keeps_the_newest_three_frames_in_order() {
        let mut backlog = Backlog::new();
        backlog.push(&[1; FRAME]);
        assert_eq!(backlog.take(), None, "nobody takes any");
        backlog.keep(true);
        for value in 1..=5 {
            backlog.push(&[value; FRAME]);
        }
        let heard: Vec<i16> = std::iter::from_fn(|| backlog.take()).map(|f| f[0]).collect();
        assert_eq!(heard, [3, 4, 5]);
        backlog.push(&[6; FRAME]);
        backlog.clear();
        assert_eq!(backlog.take(), None);
    }
}
