//! Transactions: machines that decide what is sent again, what is absorbed and when to give up.
//!
//! RFC 3261 §17 with the corrections of RFC 6026, and RFC 3262. The machines see statuses and ticks, never bytes:
//! their owner keeps the message and sends it when told to. Invariant: every state but `Terminated`
//! has a deadline, so a machine whose `poll_timeout` is `None` is over and can be forgotten.
//!
//! ```text
//!            client                                     server
//!  INVITE    Calling ─1xx─▶ Proceeding                  Proceeding ─2xx─▶ Accepted ─L─▶ ∎
//!               └──┬────────────┘ ├─2xx─▶ Accepted ─M─▶ ∎    └─3xx+─▶ Completed ─ACK─▶ Confirmed ─I─▶ ∎
//!                  └─3xx+─▶ Completed ─D─▶ ∎                             └─H─▶ ∎
//!  other     Trying ─1xx─▶ Proceeding                   Trying ─1xx─▶ Proceeding
//!               └─2xx+─▶ Completed ─K─▶ ∎                  └─2xx+─▶ Completed ─J─▶ ∎
//! ```

mod client;
mod invite_client;
mod invite_server;
mod reliable;
mod server;

use std::time::Duration;

pub use client::Client;
pub use invite_client::InviteClient;
pub use invite_server::InviteServer;
pub use reliable::Reliable;
pub use server::Server;

use crate::base::Tick;
use crate::sip::transport::Transport;

/// The three times that all others are made of (RFC 3261 §17.1.1.1, table 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// T1: the estimated round trip.
    pub t1: Duration,
    /// T2: the longest interval between two copies of a non-INVITE request or an INVITE response.
    pub t2: Duration,
    /// T4: how long a message may stay in the network.
    pub t4: Duration,
}

impl Timing {
    /// The values of RFC 3261: 500 ms, 4 s, 5 s.
    pub const RFC: Self = Self {
        t1: Duration::from_millis(500),
        t2: Duration::from_secs(4),
        t4: Duration::from_secs(5),
    };

    /// 64·T1: timers B, F, H, J, L and M; after it nobody waits any more.
    pub const fn give_up(&self) -> Duration {
        self.t1.saturating_mul(64)
    }
}

/// What a client machine says to a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// News: hand it to the user; a failure of an INVITE is acknowledged first.
    Deliver,
    /// A final response to an INVITE that came before: send its ACK again.
    Repeated,
    /// Nothing new.
    Absorb,
}

/// What a machine's timer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// It was not time yet, or a state ended that nobody waits for.
    Nothing,
    /// Send the message again.
    Resend,
    /// The peer stayed silent: tell the user.
    GiveUp,
}

/// A message that is sent again and again, with growing pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resend {
    at: Tick,
    interval: Duration,
}

impl Resend {
    fn start(timing: &Timing, now: Tick) -> Self {
        Self { at: now + timing.t1, interval: timing.t1 }
    }

    /// On reliable transports nothing is sent again (timers A, E and G are not set there).
    fn unless_reliable(transport: Transport, timing: &Timing, now: Tick) -> Option<Self> {
        (!transport.is_reliable()).then(|| Self::start(timing, now))
    }

    /// The copy after the one due now, twice as far away but never further than `interval_max`.
    fn again(&mut self, interval_max: Duration, now: Tick) {
        self.interval = (self.interval * 2).min(interval_max);
        self.at = now + self.interval;
    }
}

/// The earlier of a copy's time and the state's end.
fn earlier(resend: &Option<Resend>, end: Tick) -> Tick {
    resend.map_or(end, |resend| resend.at.min(end))
}

/// Steps a pending copy: whether it is to be sent now.
fn step(resend: &mut Option<Resend>, interval_max: Duration, now: Tick) -> Due {
    match resend {
        Some(resend) if now >= resend.at => {
            resend.again(interval_max, now);
            Due::Resend
        }
        Some(_) | None => Due::Nothing,
    }
}

#[cfg(test)]
mod tests;
