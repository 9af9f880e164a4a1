//! The audio thread goes before all others: packets leave on time, whatever else is computed.

use std::num::NonZero;
use std::thread;

use thread_priority::{
    RealtimeThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
    set_thread_priority_and_policy, thread_native_id,
};

/// Among real-time threads of the system a low place: drivers go first.
const PRIORITY: u8 = 5;

/// Puts this thread first, and tells the log.
pub(super) fn begin() {
    match take() {
        Ok(()) => tracing::info!("the audio thread has real-time priority"),
        Err(why) => tracing::info!(
            %why,
            "the audio thread has no real-time priority; a server that may have it (CAP_SYS_NICE, or \
             LimitRTPRIO in its unit of systemd) keeps its pace on a busy machine too"
        ),
    }
}

/// Puts this thread before all ordinary ones (`SCHED_RR`), or says why not.
///
/// A machine of one processor is left as it is: whoever sends audio without end there would keep
/// signalling from ending the call. The kernel gives ordinary threads 5 % of the time in any case
/// (`sched_rt_runtime_us`).
fn take() -> Result<(), String> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    if processors < 2 {
        return Err("there is one processor only".to_owned());
    }
    let priority = PRIORITY.try_into().map(ThreadPriority::Crossplatform);
    let priority = priority.expect("a priority is below 100");
    let policy = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
    set_thread_priority_and_policy(thread_native_id(), priority, policy)
        .map_err(|error| format!("the system says: {error:?}"))
}

#[cfg(test)]
mod tests {
    use thread_priority::thread_schedule_policy;

    use super::*;

    /// Where the system refuses, the thread stays what it was.
    #[test]
    fn a_thread_goes_first_or_says_why_not() {
        let normal = thread_schedule_policy().unwrap();
        let round_robin = ThreadSchedulePolicy::Realtime(RealtimeThreadSchedulePolicy::RoundRobin);
        let expected = if take().is_ok() { round_robin } else { normal };
        assert_eq!(thread_schedule_policy().unwrap(), expected);
    }
}
