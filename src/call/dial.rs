//! A dial: one outbound session of one or more attempts, of which at most one wins (contract §7).
//!
//! ```text
//!             an attempt answers, or is bridged
//!   Dialing ─────────────────────────────────────▶ Answered { winner }
//!      │ last attempt refused, broken off,
//!      │ or nobody waits for five seconds
//!      ▼
//!   Failed { reason }
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use crate::base::{Armed, Bounded, Id};
use crate::call::leg::{self, LegRef};
use crate::call::record::CallKey;
use crate::call::site::Target;
use crate::call::switch::AskRef;
use crate::dispatch::OfferId;
use crate::promise::PromiseId;

/// Events that a dial keeps for a wait to come (contract §3).
pub const EVENTS_MAX: usize = 64;
/// Targets that one dial may have.
pub const TARGETS_MAX: usize = 64;

/// The id of a dial; flows see it as text, as `dial-3-0`.
pub type DialRef = Id<Dial>;

/// One dial.
#[derive(Debug)]
pub struct Dial {
    /// The call that its legs belong to.
    pub call: CallKey,
    /// The workflow that it belongs to.
    pub workflow: usize,
    /// Where it stands.
    pub status: Status,
    /// Whether targets are tried together or one after another.
    pub strategy: Strategy,
    /// Targets that have not been tried.
    pub targets: VecDeque<Target>,
    /// Attempts that have neither answered nor ended.
    pub attempts: Vec<LegRef>,
    /// What happened, until a wait consumes it.
    pub events: Bounded<DialEvent>,
    /// The wait that is going on.
    pub waiting: Option<AskRef>,
    /// What keeps the dial: waits, and the queue that started it until somebody waits.
    pub retained: u32,
    /// Ends the dial when nothing retains it; forgets one that is final.
    pub free: Option<Armed>,
    /// The next attempt of a sequence, or the end of the one that rings.
    pub step: Option<Armed>,
    /// Who calls, and with which headers.
    pub caller: Caller,
    /// What the flow that broke it off calls its reason.
    pub break_reason: Option<String>,
    /// Why the last attempt ended.
    pub last_reason: &'static str,
    /// The promise that it is to keep, and the number of the attempt.
    pub promise: Option<(PromiseId, u32)>,
    /// The offer of a queue that it was made for.
    pub offer: Option<OfferId>,
}

/// Who an outgoing call says that it is.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// Number of the From.
    pub number: String,
    /// Display name of the From.
    pub name: String,
    /// Further headers.
    pub headers: Vec<(String, String)>,
    /// Hops left to it, when it continues a call: one less than that had (RFC 7332 §4).
    pub max_forwards: Option<u8>,
}

/// Where a dial stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Attempts are under way, or are still to come.
    Dialing,
    /// This leg answered, or was bridged.
    Answered(LegRef),
    /// Nobody answered.
    Failed(&'static str),
}

/// How several targets are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// All at once.
    Parallel,
    /// One after another.
    Sequential {
        /// How long each may ring.
        attempt: Duration,
        /// Pause before the next.
        gap: Duration,
    },
    /// All telephones of one agent at once; the queue then names the next agent.
    OneAgent {
        /// How long an agent's telephones ring.
        attempt: Duration,
    },
}

/// What a `dial.wait` may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialEvent {
    /// An attempt rings.
    Ringing(LegRef),
    /// An attempt has early media.
    Progress(LegRef),
    /// An attempt was refused.
    Rejected(LegRef),
    /// An attempt answered.
    Answered(LegRef),
    /// The dial is over.
    Failed(&'static str),
}

impl Dial {
    /// Whether attempts are under way, or are still to come.
    pub const fn is_dialing(&self) -> bool {
        matches!(self.status, Status::Dialing)
    }
}

/// The text that flows carry for a dial.
pub fn dial_text(dial: DialRef) -> String {
    leg::text("dial", dial.as_u64())
}

/// The dial that a text of a flow names.
pub fn parse_dial(value: &Value) -> Option<DialRef> {
    leg::parse("dial", value.as_str()?).map(DialRef::from_u64)
}
