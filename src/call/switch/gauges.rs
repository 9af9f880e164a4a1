//! What the switch holds and has counted, for metrics and for tests that nothing is left over.

use crate::sip;

/// What is in use at this moment; everything but the counters and registrations is zero when all
/// calls are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Legs, with those that have just ended.
    pub legs: usize,
    /// Operations that flows wait for.
    pub asks: usize,
    /// Playbacks.
    pub players: usize,
    /// Recordings that run or are being brought to their end.
    pub recordings: usize,
    /// Dials, with those that have just ended.
    pub dials: usize,
    /// Queue entries, live and callbacks.
    pub entries: usize,
    /// Open promises; they may outlive all calls.
    pub promises: usize,
    /// Whether the journal has failed: nothing is promised any more.
    pub is_journal_failed: bool,
    /// Timers of the switch itself.
    pub timers: usize,
    /// Media ports in use.
    pub ports: usize,
    /// Requests about which a flow is asked.
    pub inquiries: usize,
    /// Legs about which a flow is asked whether to record them.
    pub record_requests: usize,
    /// Live calls by trunks.
    pub channels: usize,
    /// Runs of flows.
    pub runs: usize,
    /// Calls: their legs, with those that have just ended, and their runs.
    pub calls: usize,
    /// Registered contacts; these outlive calls.
    pub registrations: usize,
    /// Trunks where this server is registered.
    pub trunks: usize,
    /// The SIP endpoint's own.
    pub sip: sip::Gauges,
    /// Counter: calls that a flow got.
    pub calls_accepted: u64,
    /// Counter: calls that were refused.
    pub calls_refused: u64,
    /// Counter: inputs that met a bug; each ended the call that it was about.
    pub panics: u64,
}

impl Gauges {
    /// Whether nothing is left over (A9, I10).
    pub const fn is_idle(&self) -> bool {
        let own = self.legs
            + self.asks
            + self.players
            + self.recordings
            + self.dials
            + self.entries
            + self.timers
            + self.ports
            + self.channels
            + self.inquiries
            + self.record_requests
            + self.runs
            + self.calls;
        own + self.sip.dialogs + self.sip.transactions + self.sip.timers == 0
    }
}
