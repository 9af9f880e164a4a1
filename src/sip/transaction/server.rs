//! The server side of every request but INVITE and ACK: copies of the request get the same answer.

use super::{Due, Timing};
use crate::base::Tick;
use crate::sip::transport::Transport;

/// The non-INVITE server transaction (RFC 3261 §17.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Server {
    /// Not answered yet.
    Trying {
        /// The client's timer F: later nobody waits for an answer, and none may be sent
        /// (RFC 4320 §4.2).
        give_up: Tick,
    },
    /// Answered provisionally.
    Proceeding {
        /// As above.
        give_up: Tick,
    },
    /// Answered; copies get the answer again.
    Completed {
        /// Timer J.
        until: Tick,
    },
    /// Over.
    Terminated,
}

impl Server {
    /// The machine of a request that came right now.
    pub fn start(timing: &Timing, now: Tick) -> Self {
        Self::Trying { give_up: now + timing.give_up() }
    }

    /// Whether a copy of the request gets the last response again.
    pub const fn answers_copies(&self) -> bool {
        match self {
            Self::Proceeding { .. } | Self::Completed { .. } => true,
            Self::Trying { .. } | Self::Terminated => false,
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
        match *self {
            Self::Trying { give_up } | Self::Proceeding { give_up } => {
                *self = if status < 200 {
                    Self::Proceeding { give_up }
                } else if transport.is_reliable() {
                    Self::Terminated
                } else {
                    Self::Completed { until: now + timing.give_up() }
                };
                true
            }
            Self::Completed { .. } | Self::Terminated => false,
        }
    }

    /// A timer may be due. [`Due::GiveUp`] means that the user never answered.
    pub fn handle_timeout(&mut self, now: Tick) -> Due {
        match self {
            Self::Trying { give_up } | Self::Proceeding { give_up } if now >= *give_up => {
                *self = Self::Terminated;
                Due::GiveUp
            }
            Self::Completed { until } if now >= *until => {
                *self = Self::Terminated;
                Due::Nothing
            }
            Self::Trying { .. }
            | Self::Proceeding { .. }
            | Self::Completed { .. }
            | Self::Terminated => Due::Nothing,
        }
    }

    /// When [`Self::handle_timeout`] is due; `None` when the transaction is over.
    pub fn poll_timeout(&self) -> Option<Tick> {
        match self {
            Self::Trying { give_up: end }
            | Self::Proceeding { give_up: end }
            | Self::Completed { until: end } => Some(*end),
            Self::Terminated => None,
        }
    }
}
