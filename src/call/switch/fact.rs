//! What the switch tells an operator: facts, for logs and metrics.

use std::net::SocketAddr;

use crate::call::guard::Denied;
use crate::call::leg::{EndReason, LegRef};

/// Something that happened, for logs and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A call came in and a flow has it.
    Arrived {
        /// The leg.
        leg: LegRef,
        /// User part of the caller's address.
        from: String,
        /// User part of the called address.
        to: String,
        /// Where it came from.
        source: SocketAddr,
        /// Name of the flow.
        flow: String,
    },
    /// A call came in and was refused.
    Refused {
        /// Where it came from.
        source: SocketAddr,
        /// What the caller was told.
        status: u16,
        /// Why.
        why: String,
    },
    /// A number was to be dialled by a trunk, and is not.
    DialDenied {
        /// Public name of the trunk.
        trunk: String,
        /// The number; empty when it is not about one.
        number: String,
        /// Why.
        why: Denied,
    },
    /// A message broke a rule of SIP and was answered so, or dropped.
    BadInput {
        /// Where it came from.
        source: SocketAddr,
        /// Its method; empty when it was no request. Not to be trusted in a log as it is.
        method: String,
        /// What it was answered; 0: it was dropped.
        status: u16,
        /// The rule.
        rule: String,
    },
    /// This server is registered at a trunk, or has moved to another of its servers.
    TrunkUp {
        /// Public name.
        trunk: String,
        /// The server.
        server: SocketAddr,
        /// For how long, in seconds, unless it is renewed.
        expires_s: u64,
    },
    /// No server of a trunk took the registration.
    TrunkFailed {
        /// Public name.
        trunk: String,
        /// The last status; 0: our contact was not among those that were bound.
        status: u16,
        /// Seconds until it is tried again.
        retry_s: u64,
    },
    /// This server is no longer registered at a trunk.
    TrunkDown {
        /// Public name.
        trunk: String,
    },
    /// A leg was answered.
    Answered {
        /// The leg.
        leg: LegRef,
    },
    /// A leg ended.
    Ended {
        /// The leg.
        leg: LegRef,
        /// Why.
        reason: EndReason,
        /// From its beginning, in milliseconds.
        lasted_ms: u64,
    },
    /// A promise is on disk.
    Promised {
        /// Its number.
        promise: u64,
    },
    /// A promise was kept, or ended otherwise.
    PromiseEnded {
        /// Its number.
        promise: u64,
        /// How.
        end: String,
    },
    /// An earlier process died while it dialled this.
    AttemptLeftBehind {
        /// The promise.
        promise: u64,
        /// The attempt.
        attempt: u32,
        /// Whether it is known where it went, so that CANCEL or BYE have left.
        is_taken_back: bool,
    },
    /// What an earlier process left behind is taken back.
    AttemptTakenBack {
        /// The promise.
        promise: u64,
        /// Whether nothing rings there any more; otherwise nobody answered.
        is_certain: bool,
    },
    /// A run of a flow ended in an error.
    RunFailed {
        /// Name of the flow.
        flow: String,
        /// Node, code and message.
        error: String,
    },
    /// An input met a bug of ours. The call that it was about is ended, the others go on.
    Panicked {
        /// What the bug says of itself.
        why: String,
        /// The last messages of the call, as a drawing; empty when it was about no call.
        ladder: String,
    },
    /// A sound file could not be loaded.
    ClipFailed {
        /// The file, as the flow names it.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A recording could not be kept, or not all of it.
    RecordingFailed {
        /// The leg.
        leg: LegRef,
        /// The file or host.
        target: String,
        /// What is wrong.
        why: String,
    },
    /// Audio could not do what was asked of it.
    MediaRefused {
        /// The leg.
        leg: LegRef,
        /// Why.
        why: String,
    },
}
