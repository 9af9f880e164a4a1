//! A provisional response that is sent again until its PRACK comes.

use std::time::Duration;

use super::{Due, Resend, Timing, earlier, step};
use crate::base::Tick;

/// The reliable provisional response of a UAS (RFC 3262 §3). It is over when its owner forgets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reliable {
    resend: Option<Resend>,
    give_up: Tick,
}

impl Reliable {
    /// The machine of a response that is sent right now. It is sent again on every transport.
    pub fn start(timing: &Timing, now: Tick) -> Self {
        Self { resend: Some(Resend::start(timing, now)), give_up: now + timing.give_up() }
    }

    /// A timer may be due. [`Due::GiveUp`] means that no PRACK came for 64·T1.
    pub fn handle_timeout(&mut self, now: Tick) -> Due {
        // The interval doubles without a ceiling.
        if now >= self.give_up { Due::GiveUp } else { step(&mut self.resend, Duration::MAX, now) }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Tick {
        earlier(&self.resend, self.give_up)
    }
}
