//! One dialog as the endpoint holds it: where it goes, and how far it came.

use super::table::Key;
use super::types::{Body, Outgoing, TransactionId};
use crate::base::Armed;
use crate::sip::Method;
use crate::sip::dialog::Dialog;
use crate::sip::transport::Flow;

/// 2xx of one dialog that may wait for their ACK at a time; a re-INVITE beyond is refused.
pub(super) const UNACKED_MAX: usize = 4;

/// Our side of one dialog, from its INVITE to the end of its BYE.
///
/// ```text
///  UAC  Calling ──2xx──▶ Talking ──hang-up──▶ Closing ──▶ ∎
///          └──hang-up──▶ Cancelling ──2xx──────▲  └─final─▶ ∎
///  UAS  Ringing ──2xx──▶ Talking ──hang-up before the ACK──▶ Leaving ──ACK──▶ Closing
/// ```
#[derive(Debug)]
pub struct Leg {
    /// Of Call-ID and our tag.
    pub(super) key: Key,
    /// The flow it came by: requests inside it go there.
    pub(super) flow: Flow,
    /// Our Contact value.
    pub(super) contact: Box<str>,
    pub(super) state: State,
}

/// How far the dialog came.
#[derive(Debug)]
pub(super) enum State {
    /// Our INVITE waits for its final response.
    Calling { invite: TransactionId, attempt: Box<Attempt>, is_heard: bool },
    /// We hung up on our INVITE; the CANCEL leaves as soon as the peer is known to have it.
    Cancelling { invite: TransactionId, is_sent: bool },
    /// The peer's INVITE waits for our answer.
    Ringing { invite: TransactionId, dialog: Box<Dialog> },
    /// Confirmed.
    Talking { dialog: Box<Dialog>, talk: Talk },
    /// We hung up before the ACK of our 2xx came; RFC 3261 §15 has the BYE wait for it.
    Leaving { dialog: Box<Dialog>, unacked: Vec<Unacked> },
    /// Our BYE waits for its response.
    Closing,
}

/// What a confirmed dialog negotiates.
#[derive(Debug, Default)]
pub(super) struct Talk {
    pub(super) unacked: Vec<Unacked>,
    /// Our re-INVITE, sent or waiting after a glare.
    pub(super) ours: Option<OurOffer>,
    /// The peer's offer that the user has not answered yet.
    pub(super) theirs: Option<TransactionId>,
}

/// A 2xx of ours that waits for the ACK with this CSeq number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unacked {
    pub(super) cseq: u32,
    pub(super) invite: TransactionId,
}

/// A re-INVITE of ours.
#[derive(Debug)]
pub(super) struct OurOffer {
    pub(super) body: Option<Body>,
    /// How often it met the peer's own offer.
    pub(super) glares: u8,
    /// Set while it waits to be sent again (RFC 3261 §14.1).
    pub(super) back_off: Option<Armed>,
}

/// What a request of ours needs to be repeated with credentials.
#[derive(Clone, Debug)]
pub(super) struct Attempt {
    pub(super) method: Method,
    pub(super) outgoing: Outgoing,
    pub(super) call_id: String,
    pub(super) from_tag: String,
    pub(super) branch: String,
    pub(super) cseq: u32,
    pub(super) tries: Tries,
}

/// How often a challenge was answered: once, and once more if only the nonce was stale.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    pub(super) is_answered: bool,
    pub(super) is_stale_answered: bool,
}
