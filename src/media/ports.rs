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

/// Hands out even ports, each with the odd port above it for RTCP (RFC 3550 §11), in turn.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    free: VecDeque<u16>,
    resting: VecDeque<(Tick, u16)>,
    taken: Vec<bool>,
    /// Pairs that are never handed out.
    barred: usize,
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
        let mut free: VecDeque<u16> = (first..*range.end()).step_by(2).collect();
        let taken = vec![false; free.len()];
        free.retain(|port| ![*port, port + 1].contains(&barred));
        let barred = taken.len() - free.len();
        Self { first, free, resting: VecDeque::new(), taken, barred }
    }

    /// The even port of a pair that has been unused for longest, and for [`REST`] where there is
    /// one; `None` when all are taken or have rested for less than [`REST_MIN`].
    pub fn allocate(&mut self, now: Tick) -> Option<u16> {
        self.wake(now);
        let port = self.free.pop_front().or_else(|| self.wake_early(now))?;
        let place = self.place(port)?;
        self.taken[place] = true;
        Some(port)
    }

    /// Gives a pair back to rest; a port that is not taken is left alone.
    pub fn release(&mut self, port: u16, now: Tick) {
        let Some(place) = self.place(port).filter(|place| self.taken[*place]) else { return };
        self.taken[place] = false;
        self.resting.push_back((now, port));
    }

    /// How many pairs are free, taken and resting at this moment.
    pub fn gauges(&mut self, now: Tick) -> PortsGauges {
        self.wake(now);
        let (free, taken, resting) = (self.free.len(), self.taken(), self.resting.len());
        PortsGauges { free, taken, resting }
    }

    /// How many pairs are taken: what is zero again when all calls are gone.
    pub fn taken(&self) -> usize {
        self.taken.len() - self.barred - self.free.len() - self.resting.len()
    }

    fn wake(&mut self, now: Tick) {
        while let Some((since, port)) = self.resting.front().copied() {
            if now.since(since) < REST {
                return;
            }
            self.resting.pop_front();
            self.free.push_back(port);
        }
    }

    fn wake_early(&mut self, now: Tick) -> Option<u16> {
        let (since, port) = self.resting.front().copied()?;
        if now.since(since) < REST_MIN {
            return None;
        }
        self.resting.pop_front();
        Some(port)
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
