//! The beat of the media thread: a tick every 5 ms, and four looks between two ticks while many
//! legs are bridged.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_gettime, timerfd_settime,
};

/// A quarter of the packet duration: each tick serves a quarter of the legs.
const TICK: Duration = Duration::from_millis(5);
/// From one look to the next, and to the tick.
const LOOK: Duration = Duration::from_millis(1);
/// Looks of a tick, itself included.
const BEATS: u64 = 5;
/// Bridged legs from which on looking is cheaper than being woken by each packet, and below which
/// it is no longer: at 50 packets a second, some 1,600 and 1,200 packets.
const MANY: usize = 32;
const FEW: usize = 24;

/// A timer to wait on.
#[derive(Debug)]
pub(super) struct Beat {
    timer: OwnedFd,
    is_fast: bool,
    /// Looks since the last tick.
    beats: u64,
}

impl Beat {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let beat = Self { timer, is_fast: false, beats: 0 };
        beat.set(TICK, TICK)?;
        Ok(beat)
    }

    /// Whether there are looks between ticks.
    pub(super) const fn is_fast(&self) -> bool {
        self.is_fast
    }

    /// How many ticks are due now: none when this is a look in between, `None` when it is nothing.
    pub(super) fn take(&mut self) -> Option<u64> {
        let mut expired = [0_u8; 8];
        rustix::io::read(&self.timer, &mut expired).ok()?;
        let expired = u64::from_ne_bytes(expired);
        if !self.is_fast {
            return Some(expired);
        }
        self.beats += expired;
        let ticks = self.beats / BEATS;
        self.beats %= BEATS;
        Some(ticks)
    }

    /// To be told after each tick how many legs are bridged. Ticks stay where they are in time.
    pub(super) fn adapt(&mut self, bridged: usize) {
        let is_fast = bridged >= if self.is_fast { FEW } else { MANY };
        // After a tick that came late a look may be over already: the next tick will do.
        if is_fast == self.is_fast || self.beats > 0 {
            return;
        }
        let Ok(Itimerspec { it_value: left, .. }) = timerfd_gettime(&self.timer) else { return };
        let left = Duration::new(left.tv_sec.unsigned_abs(), left.tv_nsec.unsigned_abs() as u32);
        let (first, beats) = if is_fast { faster(left) } else { (left + TICK - LOOK, 0) };
        if self.set(first, if is_fast { LOOK } else { TICK }).is_ok() {
            (self.is_fast, self.beats) = (is_fast, beats);
        }
    }

    fn set(&self, first: Duration, period: Duration) -> io::Result<()> {
        let time = |span: Duration| Timespec {
            tv_sec: span.as_secs() as i64,
            tv_nsec: i64::from(span.subsec_nanos()),
        };
        // A timer of zero is one that is off.
        let first = first.max(Duration::from_nanos(1));
        let times = Itimerspec { it_interval: time(period), it_value: time(first) };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &times)?;
        Ok(())
    }
}

impl AsFd for Beat {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}

/// When the first look is due, and how many would be over, so that the fifth is the tick that is due
/// in `left`.
fn faster(left: Duration) -> (Duration, u64) {
    let over = TICK.saturating_sub(left).as_millis() as u32;
    (left.saturating_sub(TICK - LOOK * (over + 1)), u64::from(over))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fifth_look_is_the_tick_that_was_due() {
        for micros in 1..=5_000 {
            let left = Duration::from_micros(micros);
            let (first, over) = faster(left);
            assert!(over < BEATS && first <= LOOK, "{left:?}: {first:?}, {over}");
            assert_eq!(first + LOOK * (BEATS - over - 1) as u32, left, "{over}");
        }
    }

    #[test]
    fn looks_begin_with_many_and_end_with_few() {
        let mut beat = Beat::new().unwrap();
        let seen = [MANY - 1, MANY, FEW, FEW - 1, MANY - 1].map(|bridged| {
            beat.beats = 0;
            beat.adapt(bridged);
            beat.is_fast()
        });
        assert_eq!(seen, [false, true, true, false, false]);
        let period = timerfd_gettime(&beat.timer).unwrap();
        assert_eq!(period.it_interval.tv_nsec, 5_000_000);
        assert!(period.it_value.tv_nsec > 0, "it is on");
    }
}
