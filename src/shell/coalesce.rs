//! When the signalling thread looks for messages: as soon as there is one, or, when many come, every few
//! milliseconds for all that came meanwhile.
//!
//! A processor that has rested has to fetch the program again, so that ten messages at once take little
//! more of it than three that come alone. Network drivers coalesce interrupts for the same reason. SIP can
//! wait: its first retransmission comes after 500 ms (RFC 3261 §17.1.1.1), and here it waits no longer than
//! sound does until its packet is full.

use std::time::Duration;

use crate::base::Tick;

/// Messages that one look is to find, and how long it is put off for that at most.
const WANTED: u32 = 60;
const LOOK_MAX: Duration = Duration::from_millis(20);
/// Messages are counted so long. From so many on the thread rests, and with fewer it is woken by each:
/// some 330 and 160 calls a second.
const WINDOW: Duration = Duration::from_millis(100);
const MANY: u32 = 100;
const FEW: u32 = 50;
/// Datagrams that one look takes at most, before the channels have their turn; after so many messages the
/// next follows at once, because there are more.
pub(super) const BURST_MAX: u32 = 128;

/// When the last look was, and how many messages come.
#[derive(Debug)]
pub(super) struct Coalescer {
    /// From the beginning of one look to the next; none where each message wakes the thread.
    look: Option<Duration>,
    /// When the last look began.
    looked: Tick,
    /// Messages of this look.
    found: u32,
    /// When the count began, and what has come since.
    began: Tick,
    counted: u32,
}

impl Coalescer {
    pub(super) const fn new() -> Self {
        Self { look: None, looked: Tick::ZERO, found: 0, began: Tick::ZERO, counted: 0 }
    }

    /// A message has come.
    pub(super) const fn count_message(&mut self) {
        self.found += 1;
    }

    /// A look is over: how long to rest before the next one.
    pub(super) fn rest(&mut self, now: Tick) -> Option<Duration> {
        let found = std::mem::take(&mut self.found);
        self.counted += found;
        if now.since(self.began) >= WINDOW {
            self.judge(now.since(self.began));
            (self.began, self.counted) = (now, 0);
        }
        // Whoever was woken for nothing waits to be woken again.
        let look = self.look.filter(|_| (1..BURST_MAX).contains(&found));
        let due = look.map_or(now, |look| self.looked + look);
        self.looked = now.max(due);
        Some(due.since(now)).filter(|rest| !rest.is_zero())
    }

    /// So long it took for as many messages as were counted.
    fn judge(&mut self, took: Duration) {
        let enough = if self.look.is_some() { FEW } else { MANY };
        self.look = (self.counted >= enough).then(|| (took * WANTED / self.counted).min(LOOK_MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages that come one by one, so many microseconds apart, for a second: looks that were taken,
    /// and the longest that one of the messages of its second half waited.
    fn second(coalescer: &mut Coalescer, from: Tick, apart_us: u64) -> (u32, Duration) {
        let message = |number: u64| from + Duration::from_micros(number * apart_us);
        let (mut now, mut next, mut looks, mut longest) = (from, 0, 0, Duration::ZERO);
        while now < from + Duration::from_secs(1) {
            // Woken by the next message, unless it came meanwhile.
            now = now.max(message(next));
            looks += 1;
            while message(next) <= now {
                if now > from + Duration::from_millis(500) {
                    longest = longest.max(now.since(message(next)));
                }
                coalescer.count_message();
                next += 1;
            }
            now += Duration::from_micros(20);
            now += coalescer.rest(now).unwrap_or_default();
        }
        (looks, longest)
    }

    #[test]
    fn few_messages_are_taken_as_they_come() {
        let (looks, longest) = second(&mut Coalescer::new(), Tick::from_millis(5), 1100);
        assert_eq!((looks, longest), (911, Duration::ZERO));
    }

    #[test]
    fn many_wait_for_the_next_look_until_they_are_few_again() {
        let mut coalescer = Coalescer::new();
        let (looks, longest) = second(&mut coalescer, Tick::from_millis(5), 300);
        assert!((50..500).contains(&looks), "{looks} looks");
        assert!(longest <= LOOK_MAX, "{longest:?}");
        // 3,333 messages, 60 of them a look.
        let (looks, _) = second(&mut coalescer, Tick::from_millis(1005), 300);
        assert!((55..58).contains(&looks), "{looks} looks");
        let (looks, longest) = second(&mut coalescer, Tick::from_millis(2005), 2500);
        assert!(looks > 350 && longest.is_zero(), "{looks} looks, {longest:?}");
    }

    #[test]
    fn the_more_there_are_the_shorter_they_wait() {
        let mut coalescer = Coalescer::new();
        second(&mut coalescer, Tick::from_millis(5), 450);
        let (_, longest) = second(&mut coalescer, Tick::from_millis(1005), 450);
        assert!(longest > Duration::from_millis(19) && longest <= LOOK_MAX, "{longest:?}");
        second(&mut coalescer, Tick::from_millis(2005), 100);
        let (looks, longest) = second(&mut coalescer, Tick::from_millis(3005), 100);
        assert!((160..170).contains(&looks), "{looks} looks");
        assert!(longest < Duration::from_millis(7), "{longest:?}");
    }

    #[test]
    fn a_thread_that_falls_behind_does_not_rest() {
        let mut coalescer = Coalescer::new();
        second(&mut coalescer, Tick::from_millis(5), 300);
        let now = Tick::from_millis(1006);
        (0..BURST_MAX).for_each(|_| coalescer.count_message());
        assert_eq!(coalescer.rest(now), None);
        coalescer.count_message();
        assert!(coalescer.rest(now).is_some());
        // Woken for what is no message, it waits in its usual way.
        assert_eq!(coalescer.rest(now), None);
    }
}
