//! One dialog as the endpoint holds it: where it goes, and how far it came.

use super::reliable::Progress;
use super::session::{Session, Wanted};
use super::table::Key;
use super::types::{Body, Outgoing, TransactionId};
use crate::base::Armed;
use crate::sip::dialog::Dialog;
use crate::sip::transport::Flow;
use crate::sip::{Message, Method, Name};

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
    pub(super) session: Session,
}

/// How far the dialog came.
#[derive(Debug)]
pub(super) enum State {
    /// Our INVITE waits for its final response; each callee that rings is a fork.
    Calling { invite: TransactionId, attempt: Box<Attempt>, is_heard: bool, forks: Vec<Fork> },
    /// We hung up on our INVITE; the CANCEL leaves as soon as the peer is known to have it.
    Cancelling { invite: TransactionId, is_sent: bool, reason: Option<Box<str>> },
    /// The peer's INVITE waits for our answer.
    Ringing {
        invite: TransactionId,
        dialog: Box<Dialog>,
        talk: Talk,
        /// For a caller that confirms provisional responses.
        progress: Option<Box<Progress>>,
    },
    /// Confirmed.
    Talking { dialog: Box<Dialog>, talk: Talk },
    /// We hung up before the ACK of our 2xx came; RFC 3261 §15 has the BYE wait for it.
    Leaving { dialog: Box<Dialog>, unacked: Vec<Unacked>, reason: Option<Box<str>> },
    /// Our BYE waits for its response.
    Closing,
}

/// An early dialog of our INVITE (RFC 3261 §12.1.2).
#[derive(Debug)]
pub(super) struct Fork {
    pub(super) dialog: Dialog,
    pub(super) talk: Talk,
    /// RSeq of its last reliable provisional response (RFC 3262 §4).
    pub(super) rseq: Option<u32>,
}

/// What a dialog negotiates, early or confirmed.
#[derive(Debug, Default)]
pub(super) struct Talk {
    /// Whether the offer and answer that the INVITE began are done, as far as both sides know.
    pub(super) is_settled: bool,
    pub(super) unacked: Vec<Unacked>,
    /// Our offer, sent or waiting after a glare.
    pub(super) ours: Option<OurOffer>,
    /// The peer's offer that the user has not answered yet.
    pub(super) theirs: Option<TransactionId>,
    /// A 2xx that brought an offer, whose ACK waits for the user's answer.
    pub(super) owed: Option<OwedAck>,
    /// Whether the peer's Allow names UPDATE (RFC 3311 §4).
    pub(super) allows_update: bool,
}

impl Fork {
    /// Whether this To tag is its callee's.
    pub(super) fn is(&self, tag: &str) -> bool {
        *self.dialog.remote_tag == *tag
    }
}

impl Talk {
    /// Remembers what the peer says that it can do; a message without Allow says nothing new.
    pub(super) fn note_abilities(&mut self, message: &Message<'_>) {
        if message.field(Name::Allow).is_some() {
            self.allows_update = message.lists(Name::Allow, "UPDATE");
        }
    }

    /// Whether an offer of ours waits for its answer (RFC 3264 §4): on its way, or in a 2xx.
    pub(super) fn has_open_offer(&self) -> bool {
        self.ours.as_ref().is_some_and(|ours| ours.back_off.is_none())
            || self.unacked.iter().any(|one| one.has_offer)
    }
}

/// A 2xx of ours that waits for the ACK with this CSeq number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unacked {
    pub(super) cseq: u32,
    pub(super) invite: TransactionId,
    /// Whether the ACK has to bring an answer.
    pub(super) has_offer: bool,
}

/// The ACK that we owe for a 2xx with an offer.
#[derive(Clone, Debug)]
pub(super) struct OwedAck {
    pub(super) invite: TransactionId,
    pub(super) cseq: u32,
    pub(super) to_tag: Box<str>,
}

/// A re-INVITE or UPDATE of ours.
#[derive(Debug)]
pub(super) struct OurOffer {
    pub(super) method: Method,
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
    /// What it says about the session, when it is an INVITE.
    pub(super) session: Wanted,
}

/// How often a challenge was answered: once, and once more if only the nonce was stale.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tries {
    pub(super) is_answered: bool,
    pub(super) is_stale_answered: bool,
    /// Whether a 422 was answered with a longer session.
    pub(super) is_longer: bool,
}

impl Leg {
    /// Whether it waits for the answer to our INVITE.
    pub(super) const fn is_calling(&self) -> bool {
        matches!(self.state, State::Calling { .. })
    }

    /// The dialogs of the leg in which something can be negotiated, with what is: every fork, or
    /// the one that there is.
    pub(super) fn talks(&mut self) -> Vec<(&mut Dialog, &mut Talk)> {
        match &mut self.state {
            State::Calling { forks, .. } => {
                forks.iter_mut().map(|fork| (&mut fork.dialog, &mut fork.talk)).collect()
            }
            State::Ringing { dialog, talk, .. } | State::Talking { dialog, talk } => {
                vec![(&mut **dialog, talk)]
            }
            State::Cancelling { .. } | State::Leaving { .. } | State::Closing => Vec::new(),
        }
    }
}
