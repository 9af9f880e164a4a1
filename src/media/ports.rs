//! Ports: which pairs of RTP and RTCP ports are free, taken, or resting after a call.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::base::Tick;

/// How long a released port rests, so that late packets of an ended call never enter a new one.
pub const REST: Duration = Duration::from_secs(30);

/// How long a port rests at least when no other is free. Whoever spoke on it is then kept out of
/// the new call by its address ([`Command::Shun`](crate::media::Command::Shun)).
pub const REST_MIN: Duration = Duration::from_secs(5);

/// How far apart pairs are released that rest together, until the last of them has rested.
const TOGETHER: Duration = Duration::from_millis(100);

/// Hands out even ports, each with the odd port above it for RTCP (RFC 3550 §11), in turn.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    /// Those that are free, and behind them those that rest; the first to be released at the front.
    unused: VecDeque<u16>,
    /// How many of these are free.
    free: usize,
    /// The others; a burst of them takes little room, as those of a tenth of a second are one entry.
    resting: VecDeque<Resting>,
    taken: Vec<bool>,
    /// Pairs that are never handed out.
    barred: usize,
}

/// Pairs that were released within [`TOGETHER`].
#[derive(Debug)]
struct Resting {
    first: Tick,
    last: Tick,
    count: usize,
}

/// Pairs of ports by what they are doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PortsGauges {
    /// May be handed out.
    pub free: usize,
    /// In use by a leg.
    pub taken: usize,
    /// Released less than [`REST`] ago.
    pub resting: usize,
}

impl Ports {
    /// All pairs whose both ports lie in the range, but not that of `barred`, where this process
    /// itself listens.
    pub fn new(range: RangeInclusive<u16>, barred: u16) -> Self {
        // Port 0 means "no stream" in SDP, so the lowest pair is 2 and 3.
        let first = range.start().max(&2).checked_next_multiple_of(2).unwrap_or(u16::MAX);
        let mut unused: VecDeque<u16> = (first..*range.end()).step_by(2).collect();
        let taken = vec![false; unused.len()];
        unused.retain(|port| ![*port, port + 1].contains(&barred));
        let barred = taken.len() - unused.len();
        Self { first, free: unused.len(), unused, resting: VecDeque::new(), taken, barred }
    }

    /// The even port of a pair that has been unused for longest, and for [`REST`] where there is
    /// one; `None` when all are taken or have rested for less than [`REST_MIN`].
    pub fn allocate(&mut self, now: Tick) -> Option<u16> {
        self.wake(now);
        if let Some(free) = self.free.checked_sub(1) {
            self.free = free;
        } else {
            let oldest = self.resting.front_mut()?;
            if now.since(oldest.last) < REST_MIN {
                return None;
            }
            oldest.count -= 1;
            if oldest.count == 0 {
                self.resting.pop_front();
            }
        }
        let port = self.unused.pop_front()?;
        let place = self.place(port)?;
        self.taken[place] = true;
        Some(port)
    }

    /// Gives a pair back to rest; a port that is not taken is left alone.
    pub fn release(&mut self, port: u16, now: Tick) {
        let Some(place) = self.place(port).filter(|place| self.taken[*place]) else { return };
        self.taken[place] = false;
        self.unused.push_back(port);
        match self.resting.back_mut().filter(|latest| now.since(latest.first) < TOGETHER) {
            Some(latest) => (latest.last, latest.count) = (now, latest.count + 1),
            None => self.resting.push_back(Resting { first: now, last: now, count: 1 }),
        }
    }

    /// How many pairs are free, taken and resting at this moment.
    pub fn gauges(&mut self, now: Tick) -> PortsGauges {
        self.wake(now);
        let (free, taken) = (self.free, self.taken());
        PortsGauges { free, taken, resting: self.unused.len() - free }
    }

    /// How many pairs are taken: what is zero again when all calls are gone.
    pub fn taken(&self) -> usize {
        self.taken.len() - self.barred - self.unused.len()
    }

    fn wake(&mut self, now: Tick) {
        while let Some(oldest) = self.resting.front()
            && now.since(oldest.last) >= REST
        {
            self.free += oldest.count;
            self.resting.pop_front();
        }
    }

    fn place(&self, port: u16) -> Option<usize> {
        let offset = port.checked_sub(self.first)?;
        let place = usize::from(offset / 2);
        (offset % 2 == 0 && place < self.taken.len()).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_released_pair_rests_before_it_is_handed_out_again() {
        let at = Tick::from_millis;
        let mut ports = Ports::new(10_001..=10_006, 0);
        assert_eq!(ports.allocate(at(0)), Some(10_002));
        assert_eq!(ports.allocate(at(0)), Some(10_004));
        assert_eq!(ports.allocate(at(0)), None, "10006 has no odd port above it in the range");

        ports.release(10_004, at(1000));
        ports.release(10_004, at(1000));
        ports.release(10_003, at(1000));
        ports.release(9, at(1000));
        assert_eq!(ports.gauges(at(1000)), PortsGauges { free: 0, taken: 1, resting: 1 });
        assert_eq!(ports.allocate(at(5_999)), None);
        assert_eq!(ports.allocate(at(6_000)), Some(10_004), "no other was free");
    }

    #[test]
    fn a_pair_that_has_rested_whole_goes_before_one_that_has_not() {
        let at = Tick::from_millis;
        let mut ports = Ports::new(10_000..=10_005, 0);
        let order: Vec<_> = std::iter::from_fn(|| ports.allocate(at(0))).collect();
        ports.release(order[1], at(0));
        ports.release(order[0], at(20_000));
        assert_eq!(ports.gauges(at(30_000)), PortsGauges { free: 1, taken: 1, resting: 1 });
        assert_eq!(ports.allocate(at(30_000)), Some(order[1]));
        assert_eq!(ports.allocate(at(30_000)), Some(order[0]));
        assert_eq!(ports.allocate(at(30_000)), None);
        assert_eq!(ports.taken(), 3);
    }

    #[test]
    fn pairs_are_handed_out_in_turn() {
        let mut ports = Ports::new(20_000..=20_005, 0);
        let first = ports.allocate(Tick::ZERO).unwrap();
        ports.release(first, Tick::ZERO);
        let later = Tick::from_millis(60_000);
        let order: Vec<_> = std::iter::from_fn(|| ports.allocate(later)).collect();
        assert_eq!((first, order), (20_000, vec![20_002, 20_004, 20_000]));
    }

    /// A burst is a few entries, and each of its pairs rests for long enough.
    #[test]
    fn pairs_that_are_released_together_rest_together() {
        let at = Tick::from_millis;
        let mut ports = Ports::new(10_000..=10_399, 0);
        let all: Vec<_> = std::iter::from_fn(|| ports.allocate(at(0))).collect();
        for (port, ms) in all.iter().zip(0..) {
            ports.release(*port, at(ms));
        }
        assert_eq!((all.len(), ports.resting.len()), (200, 2));
        let free = |ports: &mut Ports, ms| ports.gauges(at(ms)).free;
        assert_eq!((free(&mut ports, 30_098), free(&mut ports, 30_099)), (0, 100));
        assert_eq!((free(&mut ports, 30_198), free(&mut ports, 30_199)), (100, 200));
        assert_eq!(std::iter::from_fn(|| ports.allocate(at(30_199))).collect::<Vec<_>>(), all);
    }

    #[test]
    fn odd_ends_of_the_port_space_are_no_trouble() {
        for range in [0..=3, 0..=0, 65_534..=65_535, 65_535..=65_535, 9..=9] {
            let mut ports = Ports::new(range.clone(), 0);
            let all: Vec<_> = std::iter::from_fn(|| ports.allocate(Tick::ZERO)).collect();
            assert!(all.iter().all(|port| *port != 0 && range.contains(&(port + 1))), "{all:?}");
            assert_eq!(ports.gauges(Tick::ZERO).taken, all.len());
        }
    }

    #[test]
    fn the_pair_at_which_sip_is_served_is_nobody_s() {
        for sip in [10_004, 10_005] {
            let mut ports = Ports::new(10_002..=10_007, sip);
            assert_eq!(ports.taken(), 0);
            let handed = std::iter::from_fn(|| ports.allocate(Tick::ZERO)).collect::<Vec<_>>();
            assert_eq!(handed, [10_002, 10_006]);
            assert_eq!(ports.taken(), 2);
        }
    }
}
