//! Where a leg's packets come from, and so where its own are sent: symmetric RTP (RFC 4961).
//!
//! ```text
//!            from the signalled address
//!  Waiting ──────────────────────────────────────▶ Locked
//!     │ from another                                 ▲ │ silent for `relearn_after`,
//!     ▼             signalled address speaks, or     │ │ then another speaks
//!  Learning ──── `learning_window` is over ──────────┘ └──▶ Waiting
//! ```
//!
//! The signalled address is preferred because an attacker who sprays packets at our ports does not
//! have it; another is believed because of NAT, where the signalled one never speaks.

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::Tick;

/// The source of one leg.
#[derive(Debug)]
pub(super) struct Latch {
    signalled: SocketAddr,
    state: State,
    heard: Tick,
    learning_window: Duration,
    relearn_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Learning { source: SocketAddr, until: Tick },
    Locked { source: SocketAddr },
}

impl Latch {
    /// Nothing heard yet.
    pub(super) const fn new(
        signalled: SocketAddr,
        learning_window: Duration,
        relearn_after: Duration,
    ) -> Self {
        let (state, heard) = (State::Waiting, Tick::ZERO);
        Self { signalled, state, heard, learning_window, relearn_after }
    }

    /// A re-INVITE named an address: the same one leaves everything as it is, another is learnt
    /// anew.
    pub(super) fn signal(&mut self, signalled: SocketAddr) {
        if self.signalled != signalled {
            self.signalled = signalled;
            self.state = State::Waiting;
        }
    }

    /// Whether a packet from this address belongs to the leg.
    pub(super) fn accept(&mut self, from: SocketAddr, now: Tick) -> bool {
        let is_silent = now.since(self.heard) >= self.relearn_after;
        let next = match self.state {
            State::Locked { source } if from == source => self.state,
            State::Learning { source, until } if from == source && now > until => {
                State::Locked { source }
            }
            State::Learning { source, .. } if from == source => self.state,
            State::Learning { until, .. } if from == self.signalled && now <= until => {
                State::Locked { source: from }
            }
            State::Locked { .. } | State::Learning { .. } if !is_silent => return false,
            State::Waiting | State::Locked { .. } | State::Learning { .. } => self.learn(from, now),
        };
        self.state = next;
        self.heard = now;
        true
    }

    fn learn(&self, from: SocketAddr, now: Tick) -> State {
        if from == self.signalled {
            State::Locked { source: from }
        } else {
            State::Learning { source: from, until: now + self.learning_window }
        }
    }

    /// Where the leg's packets come from, once one came.
    pub(super) const fn source(&self) -> Option<SocketAddr> {
        match self.state {
            State::Waiting => None,
            State::Learning { source, .. } | State::Locked { source } => Some(source),
        }
    }

    /// Where the leg's packets go.
    pub(super) const fn remote(&self) -> SocketAddr {
        match self.state {
            State::Waiting => self.signalled,
            State::Learning { source, .. } | State::Locked { source } => source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNALLED: u8 = 1;
    const NAT: u8 = 2;
    const STRANGER: u8 = 3;

    fn address(host: u8) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, host], 4000))
    }

    /// Packets as (millisecond, from); and which hosts were accepted.
    fn accepted(packets: &[(u64, u8)]) -> (Vec<u8>, SocketAddr) {
        let second = Duration::from_secs(1);
        let mut latch = Latch::new(address(SIGNALLED), second, 2 * second);
        let arrive = |(millis, from): &(u64, u8)| {
            latch.accept(address(*from), Tick::from_millis(*millis)).then_some(*from)
        };
        (packets.iter().filter_map(arrive).collect(), latch.remote())
    }

    #[test]
    fn the_signalled_address_locks_at_once() {
        let (heard, remote) = accepted(&[(5000, SIGNALLED), (5020, STRANGER), (5040, SIGNALLED)]);
        assert_eq!((heard, remote), (vec![SIGNALLED, SIGNALLED], address(SIGNALLED)));
    }

    #[test]
    fn inside_the_window_the_signalled_address_displaces_a_stranger() {
        let (heard, remote) = accepted(&[(0, STRANGER), (900, SIGNALLED), (920, STRANGER)]);
        assert_eq!((heard, remote), (vec![STRANGER, SIGNALLED], address(SIGNALLED)));
    }

    #[test]
    fn behind_a_nat_the_source_that_speaks_is_locked() {
        let (heard, remote) =
            accepted(&[(0, NAT), (500, STRANGER), (1020, NAT), (1040, SIGNALLED)]);
        assert_eq!((heard, remote), (vec![NAT, NAT], address(NAT)));
    }

    #[test]
    fn another_source_is_heard_only_after_the_old_one_fell_silent() {
        let (heard, remote) = accepted(&[(0, SIGNALLED), (1999, NAT), (2000, NAT), (2020, NAT)]);
        assert_eq!((heard, remote), (vec![SIGNALLED, NAT, NAT], address(NAT)));
    }
}
