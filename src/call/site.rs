//! What is configured and registered: where extensions and trunks can be reached.

use crate::sip::{Credentials, Flow};

/// Where an outgoing call can be sent, and as whom.
#[derive(Clone, Debug)]
pub struct Target {
    /// The Request-URI.
    pub request_uri: String,
    /// The way to it.
    pub flow: Flow,
    /// What its challenge is answered with.
    pub credentials: Option<Credentials>,
    /// Host of our From.
    pub from_host: String,
    /// The extension that it is.
    pub extension: Option<String>,
    /// Public name of the trunk that it goes by.
    pub trunk: Option<String>,
}

/// Why a trunk cannot be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTarget {
    /// No active trunk has this name.
    UnknownTrunk,
    /// The trunk has no address at this moment.
    NotRegistered,
    /// The destination is no number or user that may be dialled.
    BadNumber,
}
