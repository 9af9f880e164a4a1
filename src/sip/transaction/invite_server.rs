//! The server side of an INVITE: kept alive while it rings, its final answer resent until the ACK.

use std::time::Duration;

use super::{Due, Resend, Timing, earlier, step};
use crate::base::Tick;
use crate::sip::transport::Transport;

/// How long the user may think before a 100 keeps the caller from resending (RFC 3261 §17.2.1).
const TRYING_AFTER: Duration = Duration::from_millis(200);
/// How often the last provisional response is repeated, so that no proxy gives up
/// (RFC 3261 §13.3.1.1).
const REFRESH_EVERY: Duration = Duration::from_secs(60);

/// The INVITE server transaction (RFC 3261 §17.2.1, RFC 6026 §8.6). It also repeats the 2xx, which
/// §13.3.1.4 leaves to the UAS core on the very same schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InviteServer {
    /// No final response yet. Lasts as long as the user lets it ring.
    Proceeding {
        /// When the last provisional response, or a first 100, goes out by itself.
        refresh: Tick,
    },
    /// A 2xx was sent.
    Accepted {
        /// The 2xx again, until the ACK; on every transport (§13.3.1.4).
        resend: Option<Resend>,
        /// Timer L.
        until: Tick,
    },
    /// A failure was sent.
    Completed {
        /// Timer G.
        resend: Option<Resend>,
        /// Timer H.
        give_up: Tick,
    },
    /// The failure was acknowledged; further ACKs are absorbed.
    Confirmed {
        /// Timer I.
        until: Tick,
    },
    /// Over.
    Terminated,
}

impl InviteServer {
    /// The machine of an INVITE that came right now.
    pub fn start(now: Tick) -> Self {
        Self::Proceeding { refresh: now + TRYING_AFTER }
    }

    /// Whether no final response was sent yet.
    pub const fn is_proceeding(&self) -> bool {
        matches!(self, Self::Proceeding { .. })
    }

    /// Whether a 2xx was sent: then an ACK belongs to the dialog, whatever its branch says.
    pub const fn is_accepted(&self) -> bool {
        matches!(self, Self::Accepted { .. })
    }

    /// Whether a copy of the INVITE gets the last response again.
    pub const fn answers_copies(&self) -> bool {
        match self {
            Self::Proceeding { .. } | Self::Completed { .. } => true,
            Self::Accepted { resend, .. } => resend.is_some(),
            Self::Confirmed { .. } | Self::Terminated => false,
        }
    }

    /// The user answers with this status; whether that may be sent.
    pub fn handle_response(
        &mut self,
        status: u16,
        transport: Transport,
        timing: &Timing,
        now: Tick,
    ) -> bool {
        if !self.is_proceeding() {
            return false;
        }
        let end = now + timing.give_up();
        *self = match status {
            ..200 => Self::Proceeding { refresh: now + REFRESH_EVERY },
            200..300 => Self::Accepted { resend: Some(Resend::start(timing, now)), until: end },
            300.. => Self::Completed {
                resend: Resend::unless_reliable(transport, timing, now),
                give_up: end,
            },
        };
        true
    }

    /// The ACK came; whether it is the first.
    pub fn handle_ack(&mut self, transport: Transport, timing: &Timing, now: Tick) -> bool {
        match self {
            Self::Accepted { resend, .. } => resend.take().is_some(),
            Self::Completed { .. } => {
                *self = if transport.is_reliable() {
                    Self::Terminated
                } else {
                    Self::Confirmed { until: now + timing.t4 }
                };
                true
            }
            Self::Proceeding { .. } | Self::Confirmed { .. } | Self::Terminated => false,
        }
    }

    /// A timer may be due. [`Due::GiveUp`] means that a 2xx was never acknowledged.
    pub fn handle_timeout(&mut self, timing: &Timing, now: Tick) -> Due {
        match self {
            Self::Proceeding { refresh } if now >= *refresh => {
                *refresh = now + REFRESH_EVERY;
                Due::Resend
            }
            Self::Accepted { resend, until } if now >= *until => {
                let due = if resend.is_some() { Due::GiveUp } else { Due::Nothing };
                *self = Self::Terminated;
                due
            }
            Self::Completed { give_up: end, .. } | Self::Confirmed { until: end }
                if now >= *end =>
            {
                *self = Self::Terminated;
                Due::Nothing
            }
            Self::Accepted { resend, .. } | Self::Completed { resend, .. } => {
                step(resend, timing.t2, now)
            }
            Self::Proceeding { .. } | Self::Confirmed { .. } | Self::Terminated => Due::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] is due; `None` when the transaction is over.
    pub fn poll_timeout(&self) -> Option<Tick> {
        match self {
            Self::Proceeding { refresh } => Some(*refresh),
            Self::Accepted { resend, until: end } | Self::Completed { resend, give_up: end } => {
                Some(earlier(resend, *end))
            }
            Self::Confirmed { until } => Some(*until),
            Self::Terminated => None,
        }
    }
}
