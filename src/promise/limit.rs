//! How many promises a number and a queue had within a day.

use std::collections::{BTreeMap, VecDeque};

use super::record::Made;
use super::types::{DAY, Policy, Refused};

/// The promises of the last day. Each queue is held to its limit, so that it bounds what is here.
#[derive(Debug, Default)]
pub(super) struct Limits {
    /// When, in milliseconds since the Unix epoch, by queue; oldest first.
    queues: BTreeMap<u64, VecDeque<(u64, String)>>,
    numbers: BTreeMap<(u64, String), u32>,
}

impl Limits {
    /// Whether the queue may promise this number one more.
    pub(super) fn check(
        &mut self,
        queue: u64,
        number: &str,
        policy: &Policy,
        now_ms: u64,
    ) -> Result<(), Refused> {
        self.forget(queue, now_ms);
        let of_queue = self.queues.get(&queue).map_or(0, VecDeque::len);
        if of_queue >= policy.queue_day_max as usize {
            return Err(Refused::QueueLimit);
        }
        let of_number = self.numbers.get(&(queue, number.to_owned())).copied().unwrap_or(0);
        if of_number >= policy.number_day_max { Err(Refused::NumberLimit) } else { Ok(()) }
    }

    /// Notes one more.
    pub(super) fn note(&mut self, made: Made) {
        let Made { queue, number, at_ms } = made;
        *self.numbers.entry((queue, number.clone())).or_default() += 1;
        self.queues.entry(queue).or_default().push_back((at_ms, number));
    }

    fn forget(&mut self, queue: u64, now_ms: u64) {
        let Some(made) = self.queues.get_mut(&queue) else { return };
        let oldest = now_ms.saturating_sub(DAY.as_millis() as u64);
        while made.front().is_some_and(|(at_ms, _)| *at_ms < oldest) {
            let Some((_, number)) = made.pop_front() else { return };
            let key = (queue, number);
            if let Some(count) = self.numbers.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.numbers.remove(&key);
                }
            }
        }
    }
}
