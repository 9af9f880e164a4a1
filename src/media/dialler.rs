//! Digits that a leg sends as telephone-events (RFC 4733 §2.5.1), one packet a tick.
//!
//! ```text
//!  tick    0    1    2   …   n  n+1  n+2
//!  packet  M    ─    ─       E    E    E    then the rest of the gap
//! ```
//!
//! All packets of a press have the timestamp at which it began; the audio clock advances over it.

use std::time::Duration;

use crate::base::{Bounded, Tick};
use crate::media::digits::{Digits, Event};
use crate::media::outbound::{Outbound, Stamp};
use crate::media::{FRAME, PTIME};

/// Commands and relayed digits that may wait on one leg.
const JOBS_MAX: usize = 16;

/// How often the end of a press is sent again (§2.5.1.4).
const END_REPEATS: u16 = 2;

/// The digits that a leg has still to send.
#[derive(Debug)]
pub(super) struct Dialler {
    jobs: Bounded<Job>,
    state: State,
}

/// Digits to be sent in one go.
#[derive(Debug)]
pub(super) struct Job {
    digits: Digits,
    origin: Origin,
    /// Of a press and of a gap, in ticks.
    press: u16,
    gap: u16,
}

/// Who wants a job done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A command, which wants to hear of its end.
    Command,
    /// The bridged leg.
    Relay,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Idle { digit: usize },
    Pressing { digit: usize, timestamp: u32, ticks: u16 },
    Released { digit: usize, timestamp: u32, ticks: u16 },
}

/// What a tick of the dialler came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialled {
    /// Nothing to send.
    Nothing,
    /// This event.
    Event(Event, Stamp),
    /// The last gap of a command's digits is over.
    CommandDone,
}

impl Job {
    /// 40 ms to 8 s for a press, so that its duration fits into 16 bits; at least 40 ms for a gap,
    /// so that its end can be repeated.
    pub(super) fn new(digits: Digits, origin: Origin, press: Duration, gap: Duration) -> Self {
        let ticks = |time: Duration| {
            let ticks = time.as_micros().div_ceil(PTIME.as_micros());
            ticks.clamp(2, 400) as u16
        };
        Self { digits, origin, press: ticks(press), gap: ticks(gap) }
    }
}

impl Dialler {
    /// Nothing to send.
    pub(super) const fn new() -> Self {
        Self { jobs: Bounded::with_max(JOBS_MAX), state: State::Idle { digit: 0 } }
    }

    /// Appends digits; false when too many wait.
    pub(super) fn enqueue(&mut self, job: Job) -> bool {
        self.jobs.push(job).is_ok()
    }

    /// Whether digits are being sent or wait.
    pub(super) fn is_busy(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// Whether a key is down, so that no audio may be sent.
    pub(super) const fn is_pressing(&self) -> bool {
        matches!(self.state, State::Pressing { .. })
    }

    /// Advances by one tick.
    pub(super) fn tick(&mut self, outbound: &mut Outbound, now: Tick) -> Dialled {
        let Some(job) = self.jobs.front() else { return Dialled::Nothing };
        let event = |digit: usize, ticks: u16, is_end: bool| Event {
            code: job.digits.codes()[digit],
            is_end,
            duration: ticks * FRAME as u16,
        };
        match self.state {
            State::Idle { digit } => {
                let stamp = outbound.begin(FRAME as u32, now);
                self.state = State::Pressing { digit, timestamp: stamp.timestamp, ticks: 1 };
                // §2.5.1.1: the marker stands on the first packet of every event.
                Dialled::Event(event(digit, 1, false), Stamp { marker: true, ..stamp })
            }
            State::Pressing { digit, timestamp, ticks } => {
                outbound.begin(FRAME as u32, now);
                let ticks = ticks + 1;
                let is_end = ticks >= job.press;
                self.state = if is_end {
                    State::Released { digit, timestamp, ticks: 0 }
                } else {
                    State::Pressing { digit, timestamp, ticks }
                };
                let stamp = Stamp { timestamp, marker: false };
                Dialled::Event(event(digit, ticks, is_end), stamp)
            }
            State::Released { digit, timestamp, ticks } if ticks < END_REPEATS => {
                self.state = State::Released { digit, timestamp, ticks: ticks + 1 };
                let stamp = Stamp { timestamp, marker: false };
                Dialled::Event(event(digit, job.press, true), stamp)
            }
            State::Released { digit, timestamp, ticks } if ticks < job.gap => {
                self.state = State::Released { digit, timestamp, ticks: ticks + 1 };
                Dialled::Nothing
            }
            State::Released { digit, .. } => self.next(digit + 1),
        }
    }

    fn next(&mut self, digit: usize) -> Dialled {
        let job = self.jobs.front().expect("a digit was released, so its job is still there");
        if digit < job.digits.codes().len() {
            self.state = State::Idle { digit };
            return Dialled::Nothing;
        }
        let origin = job.origin;
        self.state = State::Idle { digit: 0 };
        self.jobs.pop();
        match origin {
            Origin::Command => Dialled::CommandDone,
            Origin::Relay => Dialled::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;

    #[test]
    fn two_digits_are_pressed_ended_three_times_and_paused_after() {
        let mut outbound = Outbound::new(&mut Rng::new(1));
        let mut dialler = Dialler::new();
        let (press, gap) = (Duration::from_millis(55), Duration::from_millis(60));
        let digits = Digits::parse("1#").unwrap();
        assert!(dialler.enqueue(Job::new(digits, Origin::Command, press, gap)));

        let start = outbound.timestamp_at(Tick::ZERO);
        let mut story = Vec::new();
        for tick in 0..20 {
            let now = Tick::from_millis(20 * tick);
            story.push(match dialler.tick(&mut outbound, now) {
                Dialled::Nothing => "-".to_owned(),
                Dialled::CommandDone => "done".to_owned(),
                Dialled::Event(event, stamp) => format!(
                    "{}{}{}@{}{}",
                    if stamp.marker { "M" } else { "" },
                    event.key(),
                    if event.is_end { "E" } else { "" },
                    stamp.timestamp.wrapping_sub(start),
                    format_args!("+{}", event.duration),
                ),
            });
        }
        assert_eq!(
            story.join(" "),
            "M1@0+160 1@0+320 1E@0+480 1E@0+480 1E@0+480 - - \
             M#@1120+160 #@1120+320 #E@1120+480 #E@1120+480 #E@1120+480 - done - - - - - -"
        );
    }
}
