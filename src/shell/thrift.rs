//! Whether the audio of bridges wakes the media thread, or is looked for every millisecond: whichever
//! takes less of the processor just now.
//!
//! From many telephones packets come one by one, and each would wake the thread; from another server
//! they come in bunches, and looking costs more than one wake-up a bunch. Nobody can tell beforehand, so
//! the thread tries the other way for a moment every now and then, and weighs its processor time. Network
//! drivers choose between interrupts and polling for the same reason.

use std::time::Duration;

/// Bridged legs from which on looking is tried, and below which it is not: at 50 packets a second,
/// some 1,600 and 1,200 packets.
const MANY: usize = 32;
const FEW: usize = 24;
/// Ticks that a way is weighed for: 200 ms, in which every leg was looked after once.
const WEIGHED: u32 = 40;
/// Ticks until the other way is tried, at first and at most: 260 ms, doubled up to 16 s each time that
/// nothing changes. All are multiples of four, the ticks that come together at rest.
const HELD: u32 = 52;
const HELD_MAX: u32 = 3_200;

/// What is done about the audio of bridges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Each packet wakes the thread: it goes on at once.
    Wake,
    /// What came is read every millisecond.
    Look,
}

/// The way that is gone, and the trial of the other one.
#[derive(Debug)]
pub(super) struct Thrift {
    kept: Way,
    stage: Stage,
    /// Ticks until the next stage.
    left: u32,
    /// Ticks that the next way is held for.
    held: u32,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// Too few legs for a choice.
    Few,
    Held,
    /// The kept way is weighed; the processor time when that began.
    Kept(Duration),
    /// The other way is weighed: when that began, and what the kept one took.
    Other(Duration, Duration),
}

impl Way {
    const fn other(self) -> Self {
        match self {
            Self::Wake => Self::Look,
            Self::Look => Self::Wake,
        }
    }
}

impl Thrift {
    pub(super) const fn new() -> Self {
        Self { kept: Way::Wake, stage: Stage::Few, left: 0, held: HELD }
    }

    /// The way to go until the next tick. To be told after so many ticks how many legs are bridged;
    /// `used` is the processor time of this thread so far, and is asked for at the ends of weighings
    /// only.
    pub(super) fn tick(
        &mut self,
        ticks: u32,
        bridged: usize,
        used: impl FnOnce() -> Duration,
    ) -> Way {
        let is_few = bridged < if matches!(self.stage, Stage::Few) { MANY } else { FEW };
        if is_few {
            *self = Self::new();
            return self.kept;
        }
        if let Stage::Few = self.stage {
            (self.stage, self.left) = (Stage::Held, self.held);
        }
        self.left = self.left.saturating_sub(ticks);
        if self.left == 0 {
            self.next_stage(used());
        }
        if matches!(self.stage, Stage::Other(..)) { self.kept.other() } else { self.kept }
    }

    fn next_stage(&mut self, used: Duration) {
        (self.stage, self.left) = match self.stage {
            Stage::Few | Stage::Held => (Stage::Kept(used), WEIGHED),
            Stage::Kept(began) => (Stage::Other(used, used.saturating_sub(began)), WEIGHED),
            Stage::Other(began, kept) => {
                self.judge(kept, used.saturating_sub(began));
                (Stage::Held, self.held)
            }
        };
    }

    /// Goes the other way if that takes less; a tenth less if it is to look, for what is looked for
    /// comes later.
    fn judge(&mut self, kept: Duration, other: Duration) {
        let is_less = match self.kept.other() {
            Way::Wake => 10 * other < 11 * kept,
            Way::Look => 10 * other < 9 * kept,
        };
        self.held = if is_less { HELD } else { (2 * self.held).min(HELD_MAX) };
        if is_less {
            self.kept = self.kept.other();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A thread whose ticks take so long of the processor, by the way that is gone.
    struct Thread {
        thrift: Thrift,
        used: Duration,
        wake_us: u64,
        look_us: u64,
    }

    impl Thread {
        fn new(wake_us: u64, look_us: u64) -> Self {
            Self { thrift: Thrift::new(), used: Duration::ZERO, wake_us, look_us }
        }

        /// Ticks that were spent looking.
        fn looked(&mut self, ticks: u32, bridged: usize) -> u32 {
            let mut looked = 0;
            for _ in 0..ticks {
                let way = self.thrift.tick(1, bridged, || self.used);
                looked += u32::from(way == Way::Look);
                let took = if way == Way::Look { self.look_us } else { self.wake_us };
                self.used += Duration::from_micros(took);
            }
            looked
        }
    }

    #[test]
    fn looks_are_tried_with_many_legs_and_end_with_few() {
        let mut thread = Thread::new(1000, 100);
        assert_eq!(thread.looked(10_000, MANY - 1), 0);
        assert_eq!(thread.looked(200, MANY), 200 - HELD - WEIGHED + 1);
        assert_eq!(thread.looked(10, FEW), 10);
        assert_eq!(thread.looked(10_000, FEW - 1), 0);
    }

    #[test]
    fn what_takes_less_is_kept_and_the_other_tried_ever_more_seldom() {
        let (mut one_by_one, mut bunches) = (Thread::new(200, 100), Thread::new(100, 130));
        // In the first minute, and in an hour.
        assert!(one_by_one.looked(12_000, 400) > 11_000);
        assert!(one_by_one.looked(720_000, 400) > 700_000);
        assert!(bunches.looked(12_000, 400) < 500);
        assert!(bunches.looked(720_000, 400) < 20_000);
    }

    #[test]
    fn who_looks_later_must_take_a_tenth_less() {
        assert!(Thread::new(100, 95).looked(12_000, 400) < 500);
        assert!(Thread::new(100, 85).looked(12_000, 400) > 11_000);
    }

    #[test]
    fn other_traffic_is_another_choice_within_seconds() {
        let mut thread = Thread::new(200, 100);
        thread.looked(200_000, 400);
        (thread.wake_us, thread.look_us) = (100, 130);
        thread.looked(HELD_MAX + 2 * WEIGHED, 400);
        assert_eq!(thread.looked(HELD, 400), 0);
    }
}
