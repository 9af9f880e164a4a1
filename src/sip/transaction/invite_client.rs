//! The client side of an INVITE: resent until something is heard, its final answers acknowledged.

use std::time::Duration;

use super::{Due, Heard, Resend, Timing, earlier, step};
use crate::base::Tick;
use crate::sip::transport::Transport;

/// How long a peer may stay silent after a provisional response. RFC 3261 §13.3.1.1 has it repeat
/// one every minute, and a proxy gives up after three (timer C, §16.6).
const PROVISIONAL_SILENCE_MAX: Duration = Duration::from_secs(181);

/// Timer D on unreliable transports: at least 32 s, whatever T1 is (RFC 3261 §17.1.1.2).
const ABSORB_FAILURE: Duration = Duration::from_secs(32);

/// The INVITE client transaction (RFC 3261 §17.1.1, RFC 6026 §8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteClient {
    /// Nothing heard yet.
    Calling {
        /// Timer A.
        resend: Option<Resend>,
        /// Timer B.
        give_up: Tick,
    },
    /// A provisional response came.
    Proceeding {
        /// The peer's last chance to say something.
        give_up: Tick,
    },
    /// We cancelled it: only a final response counts now.
    Cancelled {
        /// The peer's last chance to send one.
        give_up: Tick,
    },
    /// A 2xx came; copies of it, and those of other forks, still may (RFC 6026 §7.2).
    Accepted {
        /// Timer M.
        until: Tick,
    },
    /// A failure came and was acknowledged; copies get the ACK again.
    Completed {
        /// Timer D.
        until: Tick,
    },
    /// Over.
    Terminated,
}

impl InviteClient {
    /// The machine of an INVITE that is sent right now.
    pub fn start(transport: Transport, timing: &Timing, now: Tick) -> Self {
        Self::Calling {
            resend: Resend::unless_reliable(transport, timing, now),
            give_up: now + timing.give_up(),
        }
    }

    /// The machine of an INVITE that an earlier process sent, and that is cancelled right now.
    pub fn taken_up(timing: &Timing, now: Tick) -> Self {
        Self::Proceeding { give_up: now + timing.give_up() }
    }

    /// A response with this status came.
    pub fn handle_response(
        &mut self,
        status: u16,
        transport: Transport,
        timing: &Timing,
        now: Tick,
    ) -> Heard {
        match (*self, status) {
            (Self::Calling { .. } | Self::Proceeding { .. }, ..200) => {
                *self = Self::Proceeding { give_up: now + PROVISIONAL_SILENCE_MAX };
                Heard::Deliver
            }
            (Self::Cancelled { .. }, ..200) => Heard::Absorb,
            (Self::Calling { .. } | Self::Proceeding { .. } | Self::Cancelled { .. }, 200..300) => {
                *self = Self::Accepted { until: now + timing.give_up() };
                Heard::Deliver
            }
            (Self::Calling { .. } | Self::Proceeding { .. } | Self::Cancelled { .. }, 300..) => {
                *self = if transport.is_reliable() {
                    Self::Terminated
                } else {
                    Self::Completed { until: now + ABSORB_FAILURE }
                };
                Heard::Deliver
            }
            (Self::Accepted { .. }, 200..300) | (Self::Completed { .. }, 300..) => Heard::Repeated,
            (Self::Accepted { .. } | Self::Completed { .. } | Self::Terminated, _) => Heard::Absorb,
        }
    }

    /// A CANCEL was sent: a peer that then sends no final response within 64·T1 is given up
    /// (RFC 3261 §9.1), however often it rings.
    pub fn handle_cancel(&mut self, timing: &Timing, now: Tick) {
        if matches!(self, Self::Proceeding { .. }) {
            *self = Self::Cancelled { give_up: now + timing.give_up() };
        }
    }

    /// The connection broke: an INVITE that waits for its final response fails (RFC 3261 §17.1.4).
    pub fn handle_transport_error(&mut self) -> Due {
        match self {
            Self::Calling { .. } | Self::Proceeding { .. } | Self::Cancelled { .. } => {
                *self = Self::Terminated;
                Due::GiveUp
            }
            Self::Accepted { .. } | Self::Completed { .. } | Self::Terminated => Due::Nothing,
        }
    }

    /// A timer may be due.
    pub fn handle_timeout(&mut self, now: Tick) -> Due {
        match self {
            Self::Calling { give_up, .. }
            | Self::Proceeding { give_up }
            | Self::Cancelled { give_up }
                if now >= *give_up =>
            {
                *self = Self::Terminated;
                Due::GiveUp
            }
            // Timer A doubles without a ceiling (§17.1.1.2).
            Self::Calling { resend, .. } => step(resend, Duration::MAX, now),
            Self::Accepted { until } | Self::Completed { until } if now >= *until => {
                *self = Self::Terminated;
                Due::Nothing
            }
            Self::Proceeding { .. }
            | Self::Cancelled { .. }
            | Self::Accepted { .. }
            | Self::Completed { .. }
            | Self::Terminated => Due::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] is due; `None` when the transaction is over.
    pub fn poll_timeout(&self) -> Option<Tick> {
        match self {
            Self::Calling { resend, give_up } => Some(earlier(resend, *give_up)),
            Self::Proceeding { give_up: end }
            | Self::Cancelled { give_up: end }
            | Self::Accepted { until: end }
            | Self::Completed { until: end } => Some(*end),
            Self::Terminated => None,
        }
    }
}
