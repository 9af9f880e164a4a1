//! The beat of the media thread: a tick every 5 ms. Between ticks it looks four times while it looks for
//! the audio of bridges; while nothing but packets needs the thread, four ticks come together.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

use crate::base::Tick;

/// A quarter of the packet duration: each tick serves a quarter of the legs.
const TICK: Duration = Duration::from_millis(5);

/// How often the thread is woken by its timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// Every 20 ms, for four ticks: on small virtual machines a wake-up takes up to 50 microseconds. What
    /// others post wakes the thread too.
    Rest,
    /// The same, while so much is posted that it waits for the next beat.
    Idle,
    /// With each tick.
    Tick,
    /// Every millisecond.
    Look,
}

impl Pace {
    const fn period(self) -> Duration {
        match self {
            Self::Rest | Self::Idle => Duration::from_millis(20),
            Self::Tick => TICK,
            Self::Look => Duration::from_millis(1),
        }
    }
}

/// A timer to wait on, and the ticks since it began.
#[derive(Debug)]
pub(super) struct Beat {
    timer: OwnedFd,
    pace: Pace,
    began: Tick,
    /// Ticks that were told of.
    told: u64,
    /// How long after its time the last beat was taken.
    late: Duration,
}

impl Beat {
    pub(super) fn new(now: Tick) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let beat = Self { timer, pace: Pace::Tick, began: now, told: 0, late: Duration::ZERO };
        beat.set(Pace::Tick, now)?;
        Ok(beat)
    }

    pub(super) const fn pace(&self) -> Pace {
        self.pace
    }

    /// How long after its time the last beat was taken.
    pub(super) const fn late(&self) -> Duration {
        self.late
    }

    /// To be called when the timer is ready: how many ticks are due now, none when this is a look in
    /// between.
    pub(super) fn take(&mut self, now: Tick) -> u64 {
        let mut beats = [0_u8; 8];
        let _ = rustix::io::read(&self.timer, &mut beats);
        let since = now.since(self.began);
        self.late = late(since, self.pace.period(), u64::from_ne_bytes(beats));
        let ticks = (since.as_micros() / TICK.as_micros()) as u64;
        let due = ticks - self.told;
        self.told = ticks;
        due
    }

    /// Changes the pace. Ticks stay where they are in time; those that are due already come with the
    /// next beat.
    pub(super) fn adapt(&mut self, pace: Pace, now: Tick) {
        if pace != self.pace && self.set(pace, now).is_ok() {
            self.pace = pace;
        }
    }

    fn set(&self, pace: Pace, now: Tick) -> io::Result<()> {
        let time = |span: Duration| Timespec {
            tv_sec: span.as_secs() as i64,
            tv_nsec: i64::from(span.subsec_nanos()),
        };
        let first = until_next(now.since(self.began), pace.period());
        let times = Itimerspec { it_interval: time(pace.period()), it_value: time(first) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(())
    }
}

impl AsFd for Beat {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// How long it is from `since` the beginning to the next multiple of `period`; never zero, which would
/// turn a timer off.
fn until_next(since: Duration, period: Duration) -> Duration {
    period - over(since, period)
}

/// How late the first of so many beats is, `since` the beginning.
fn late(since: Duration, period: Duration, beats: u64) -> Duration {
    let missed = u32::try_from(beats.saturating_sub(1)).unwrap_or(u32::MAX);
    period.saturating_mul(missed) + over(since, period)
}

/// What of the time `since` the beginning is over its last multiple of `period`.
fn over(since: Duration, period: Duration) -> Duration {
    Duration::from_nanos((since.as_nanos() % period.as_nanos()) as u64)
}

#[cfg(test)]
mod tests {
    use rustix::time::timerfd_gettime;

    use super::*;

    #[test]
    fn ticks_stay_where_they_are_whatever_the_pace() {
        let at = |micros| Tick::ZERO + Duration::from_micros(micros);
        let mut beat = Beat::new(at(700)).unwrap();
        assert_eq!(beat.take(at(5_699)), 0);
        assert_eq!(beat.take(at(5_700)), 1);
        beat.adapt(Pace::Look, at(5_900));
        let seen = [6_701, 7_705, 8_704, 9_702, 10_701, 11_700].map(|micros| beat.take(at(micros)));
        assert_eq!(seen, [0, 0, 0, 0, 1, 0]);
        beat.adapt(Pace::Rest, at(11_800));
        assert_eq!([20_700, 40_700, 60_700].map(|micros| beat.take(at(micros))), [2, 4, 4]);
        // What was due while it rested comes with the first beat of the other pace.
        beat.adapt(Pace::Tick, at(74_000));
        assert_eq!([75_700, 80_700].map(|micros| beat.take(at(micros))), [3, 1]);
    }

    #[test]
    fn the_next_beat_is_a_multiple_of_its_period() {
        for micros in 0..=20_000 {
            let since = Duration::from_micros(micros);
            for period in [Pace::Rest, Pace::Tick, Pace::Look].map(Pace::period) {
                let first = until_next(since, period);
                assert!(!first.is_zero() && first <= period);
                assert_eq!((since + first).as_nanos() % period.as_nanos(), 0);
            }
        }
    }

    #[test]
    fn a_beat_is_late_by_what_is_over_and_by_each_beat_that_was_missed() {
        let (period, since) = (Duration::from_millis(20), Duration::from_micros(60_300));
        let late = |beats| late(since, period, beats).as_micros();
        assert_eq!([0, 1, 2, 4].map(late), [300, 300, 20_300, 60_300]);
    }

    #[test]
    fn the_timer_goes_on_at_its_pace() {
        let mut beat = Beat::new(Tick::ZERO).unwrap();
        for (pace, nanos) in [(Pace::Look, 1_000_000), (Pace::Rest, 20_000_000)] {
            beat.adapt(pace, Tick::ZERO);
            let timer = timerfd_gettime(&beat.timer).unwrap();
            assert_eq!((beat.pace(), timer.it_interval.tv_nsec), (pace, nanos));
            assert!(timer.it_value.tv_nsec > 0, "it is on");
        }
    }
}
