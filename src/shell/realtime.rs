//! When the audio thread goes before all others: packets leave on time, whatever else is computed.
//!
//! While somebody is played to it does. A relay has no time of its own to keep: there the priority would
//! only interrupt whoever sends a bunch of packets at each of them, which takes up to half again as much
//! of the processor. So a thread that only relays is an ordinary one, for as long as the machine lets it
//! run when its time has come.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use rustix::process::getpriority_process;
use thread_priority::{
    NormalThreadSchedulePolicy, RealtimeThreadSchedulePolicy, ThreadPriority, ThreadPriorityValue,
    ThreadSchedulePolicy, set_thread_priority_and_policy, thread_native_id,
};

use crate::base::Tick;

/// Among real-time threads of the system a low place: drivers go first.
const PRIORITY: u8 = 5;
/// A beat that comes so late, a quarter of a packet, tells that something kept the thread from running.
/// Once, that may be the machine beneath a virtual one, against which no priority helps; so many in so
/// short a time are other threads. Then it goes first for a minute, and is seen again as an ordinary one.
const LATE: Duration = Duration::from_millis(5);
const LATE_MAX: u32 = 3;
const WINDOW: Duration = Duration::from_secs(5);
const HELD: Duration = Duration::from_secs(60);

const REALTIME: ThreadSchedulePolicy =
    ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
const ORDINARY: ThreadSchedulePolicy =
    ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Other);

/// Which of the two priorities the thread has.
#[derive(Debug)]
pub(super) struct Priority {
    /// What an ordinary thread is set to; none where this one may not go first.
    ordinary: Option<ThreadPriority>,
    is_realtime: bool,
    need: Need,
}

/// Whether the thread needs to go first.
#[derive(Debug)]
struct Need {
    /// Beats that came late while it was an ordinary thread, since when they are counted.
    late: u32,
    since: Tick,
    /// Until when it goes first for that.
    until: Tick,
}

impl Priority {
    /// Puts this thread first if that is wished, and tells the log.
    pub(super) fn begin(is_wished: bool) -> Self {
        let need = Need { late: 0, since: Tick::ZERO, until: Tick::ZERO };
        let ordinary = if is_wished { first_of_all() } else { None };
        Self { is_realtime: ordinary.is_some(), ordinary, need }
    }

    /// To be told at each beat whether somebody is played to, and how late the beat came.
    pub(super) fn beat(&mut self, is_paced: bool, late: Duration, now: Tick) {
        let Some(ordinary) = self.ordinary else { return };
        let late = if self.is_realtime { Duration::ZERO } else { late };
        let is_needed = self.need.beat(is_paced, late, now);
        if is_needed == self.is_realtime {
            return;
        }
        let changed = if is_needed { go_realtime() } else { go(ORDINARY, ordinary) };
        match changed {
            Ok(()) => self.is_realtime = is_needed,
            Err(why) => {
                tracing::info!(%why, "the audio thread stays at the priority that it has");
                self.ordinary = None;
            }
        }
    }
}

impl Need {
    /// Whether it is to go first until the next beat.
    fn beat(&mut self, is_paced: bool, late: Duration, now: Tick) -> bool {
        if late >= LATE {
            if now.since(self.since) > WINDOW {
                (self.since, self.late) = (now, 0);
            }
            self.late += 1;
            if self.late == LATE_MAX {
                (self.until, self.late) = (now + HELD, 0);
            }
        }
        is_paced || now < self.until
    }
}

/// Puts this thread first and tells the log; gives what it has to be set to for an ordinary one again.
fn first_of_all() -> Option<ThreadPriority> {
    match ordinary().and_then(|ordinary| go_realtime().map(|()| ordinary)) {
        Ok(ordinary) => {
            tracing::info!("the audio thread has real-time priority while it plays");
            Some(ordinary)
        }
        Err(why) => {
            tracing::info!(
                %why,
                "the audio thread has no real-time priority; a server that may have it (CAP_SYS_NICE, \
                 or LimitRTPRIO in its unit of systemd) keeps its pace on a busy machine too"
            );
            None
        }
    }
}

/// The priority of this thread as an ordinary one: the scale of `thread_priority` for its nice value.
fn ordinary() -> Result<ThreadPriority, String> {
    let nice = getpriority_process(None).map_err(|error| format!("the system says: {error}"))?;
    (0..=u8::from(ThreadPriorityValue::MAX))
        .filter_map(|value| value.try_into().ok().map(ThreadPriority::Crossplatform))
        .find(|priority| priority.to_posix(ORDINARY) == Ok(nice))
        .ok_or_else(|| format!("nothing is known of a nice value of {nice}"))
}

/// Puts this thread before all ordinary ones (`SCHED_RR`), or says why not.
///
/// A machine of one processor is left as it is: whoever sends audio without end there would keep
/// signalling from ending the call. The kernel gives ordinary threads 5 % of the time in any case
/// (`sched_rt_runtime_us`).
fn go_realtime() -> Result<(), String> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    if processors < 2 {
        return Err("there is one processor only".to_owned());
    }
    let priority = PRIORITY.try_into().map(ThreadPriority::Crossplatform);
    go(REALTIME, priority.expect("a priority is below 100"))
}

fn go(policy: ThreadSchedulePolicy, priority: ThreadPriority) -> Result<(), String> {
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
        .map_err(|error| format!("the system says: {error:?}"))
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    /// Where the system refuses, the thread stays what it was.
    #[test]
    fn a_thread_goes_first_while_it_plays_where_it_may() {
        assert_eq!(thread_schedule_policy().unwrap(), ORDINARY);
        let nice = getpriority_process(None).unwrap();
        let mut priority = Priority::begin(true);
        let first = if priority.is_realtime { REALTIME } else { ORDINARY };
        for (is_paced, expected) in [(true, first), (false, ORDINARY), (true, first)] {
            priority.beat(is_paced, Duration::ZERO, Tick::ZERO);
            assert_eq!(thread_schedule_policy().unwrap(), expected);
            assert_eq!(getpriority_process(None).unwrap(), nice);
        }
    }

    #[test]
    fn who_does_not_wish_it_stays_ordinary() {
        let mut priority = Priority::begin(false);
        priority.beat(true, Duration::from_secs(1), Tick::ZERO);
        assert_eq!(thread_schedule_policy().unwrap(), ORDINARY);
    }

    #[test]
    fn a_relay_that_is_kept_waiting_goes_first_for_a_minute() {
        let mut need = Need { late: 0, since: Tick::ZERO, until: Tick::ZERO };
        let mut beat = |late_ms, at_ms| {
            need.beat(false, Duration::from_millis(late_ms), Tick::from_millis(at_ms))
        };
        // Now and then a beat is late on any machine.
        let seldom = [(4, 7_000), (5, 7_020), (30, 7_040), (5, 12_100), (4, 12_120), (6, 14_000)];
        assert_eq!(seldom.map(|(late, at)| beat(late, at)), [false; 6]);
        assert!(beat(5, 17_000), "the third in five seconds");
        assert!(beat(0, 76_999));
        assert!(!beat(0, 77_000));
    }
}
