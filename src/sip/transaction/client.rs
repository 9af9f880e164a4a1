//! The client side of every request but INVITE and ACK: resent until a final response comes.

use super::{Due, Heard, Resend, Timing, earlier, step};
use crate::base::Tick;
use crate::sip::transport::Transport;

/// The non-INVITE client transaction (RFC 3261 §17.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// Nothing heard yet.
    Trying {
        /// Timer E, doubling up to T2.
        resend: Option<Resend>,
        /// Timer F.
        give_up: Tick,
    },
    /// A provisional response came: copies go out every T2 only.
    Proceeding {
        /// Timer E at T2.
        resend: Option<Resend>,
        /// Timer F, still running.
        give_up: Tick,
    },
    /// The final response came; copies of it are absorbed.
    Completed {
        /// Timer K.
        until: Tick,
    },
    /// Over.
    Terminated,
}

impl Client {
    /// The machine of a request that is sent right now.
    pub fn start(transport: Transport, timing: &Timing, now: Tick) -> Self {
        Self::Trying {
            resend: Resend::unless_reliable(transport, timing, now),
            give_up: now + timing.give_up(),
        }
    }

    /// A response with this status came.
    pub fn handle_response(
        &mut self,
        status: u16,
        transport: Transport,
        timing: &Timing,
        now: Tick,
    ) -> Heard {
        match *self {
            Self::Trying { resend, give_up } | Self::Proceeding { resend, give_up } => {
                *self = if status < 200 {
                    let resend = resend.map(|resend| Resend { interval: timing.t2, ..resend });
                    Self::Proceeding { resend, give_up }
                } else if transport.is_reliable() {
                    Self::Terminated
                } else {
                    Self::Completed { until: now + timing.t4 }
                };
                Heard::Deliver
            }
            Self::Completed { .. } | Self::Terminated => Heard::Absorb,
        }
    }

    /// The connection broke: a request that waits for its final response fails (RFC 3261 §17.1.4).
    pub fn handle_transport_error(&mut self) -> Due {
        match self {
            Self::Trying { .. } | Self::Proceeding { .. } => {
                *self = Self::Terminated;
                Due::GiveUp
            }
            Self::Completed { .. } | Self::Terminated => Due::Nothing,
        }
    }

    /// A timer may be due.
    pub fn handle_timeout(&mut self, timing: &Timing, now: Tick) -> Due {
        match self {
            Self::Trying { give_up, .. } | Self::Proceeding { give_up, .. } if now >= *give_up => {
                *self = Self::Terminated;
                Due::GiveUp
            }
            Self::Trying { resend, .. } | Self::Proceeding { resend, .. } => {
                step(resend, timing.t2, now)
            }
            Self::Completed { until } if now >= *until => {
                *self = Self::Terminated;
                Due::Nothing
            }
            Self::Completed { .. } | Self::Terminated => Due::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] is due; `None` when the transaction is over.
    pub fn poll_timeout(&self) -> Option<Tick> {
        match self {
            Self::Trying { resend, give_up } | Self::Proceeding { resend, give_up } => {
                Some(earlier(resend, *give_up))
            }
            Self::Completed { until } => Some(*until),
            Self::Terminated => None,
        }
    }
}
