//! What is said to the endpoint and what it says back: plain values.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::base::Id;
use crate::sip::Method;
use crate::sip::transaction::Timing;
use crate::sip::transport::Flow;

/// Names one dialog from its INVITE to its [`Event::Ended`]; all forks of an INVITE share one.
pub type DialogId = Id<super::leg::Leg>;
/// Names a request of ours outside dialogs, until its [`Event::Response`].
pub type RequestId = Id<super::request::Asked>;
/// Names a call of an earlier process that is being taken back, until its [`Event::ClosedOut`].
pub type CloseOutId = Id<super::close_out::CloseOut>;
/// Names a request of a peer that waits for [`super::Endpoint::respond`].
pub type TransactionId = Id<super::table::Entry>;

/// How a user agent presents itself, and what it may hold.
#[derive(Clone, Debug)]
pub struct Config {
    /// Goes into User-Agent and Server.
    pub user_agent: String,
    /// `host` or `host:port` for Via and Contact; `None` takes each flow's local address.
    pub advertised: Option<String>,
    /// Dialogs at a time; the next INVITE gets 503, the next [`super::Endpoint::invite`] [`NotSent::Full`].
    pub dialogs_max: usize,
    /// Transactions at a time, those that only absorb copies included.
    pub transactions_max: usize,
    /// T1, T2 and T4.
    pub timing: Timing,
    /// Methods whose requests become [`Event::Request`], on top of what the endpoint serves by
    /// itself. Every other known method gets 405, and Allow says which ones do not (RFC 3261 §20.5).
    pub serves: Vec<Method>,
    /// How long a session lasts unless it is refreshed (RFC 4028 §4), 90 s to a day; `None`: only
    /// where the peer asks for it.
    pub session_expires: Option<Duration>,
}

/// Who is named in From or To.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Party {
    /// Display name, unquoted; may be empty.
    pub display: String,
    /// User part of the URI, unescaped; may be empty.
    pub user: String,
    /// Host and perhaps port of the URI.
    pub host: String,
}

/// A body and its Content-Type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Such as `application/sdp`.
    pub content_type: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Body {
    /// A session description.
    pub fn sdp(bytes: impl Into<Vec<u8>>) -> Self {
        Self { content_type: "application/sdp".to_owned(), bytes: bytes.into() }
    }
}

/// What a challenge is answered with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub username: String,
    /// The password; never printed.
    pub password: String,
    /// The one realm whose challenges are answered; `None`: those of whoever is asked.
    pub realm: Option<String>,
}

impl Credentials {
    /// Of a user and password that are good for whichever realm asks for them.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self { username: username.into(), password: password.into(), realm: None }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({})", self.username)
    }
}

/// Identifiers that the caller chose, so that an attempt written to disk before its INVITE left
/// is the same attempt after a restart. Tokens (RFC 3261 §25.1); the branch with its magic cookie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derived {
    /// Call-ID.
    pub call_id: String,
    /// Tag of the From header.
    pub from_tag: String,
    /// Branch of the first request; `None`: a random one.
    pub branch: Option<String>,
    /// Number of its CSeq: 1, or more than the last REGISTER's of this Call-ID (RFC 3261 §10.2).
    pub cseq: u32,
}

/// A request of ours that begins something.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Where it is sent.
    pub flow: Flow,
    /// The Request-URI.
    pub request_uri: String,
    /// Who asks.
    pub from: Party,
    /// Who is asked.
    pub to: Party,
    /// Further headers, as they are; a Contact here replaces ours.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Option<Body>,
    /// What a 401 or 407 is answered with, once; `None`: it is the outcome.
    pub credentials: Option<Credentials>,
    /// Identifiers of the caller's choice; `None`: random ones.
    pub derived: Option<Derived>,
    /// How many hops are left to it: 70, or what is left of the call that it continues, so that a
    /// loop over us ends (RFC 7332 §4).
    pub max_forwards: u8,
}

/// Where Max-Forwards of a new request begins (RFC 3261 §8.1.1.6).
pub const MAX_FORWARDS: u8 = 70;

/// The far side of an INVITE of ours, as its response told it: enough for a later process to send
/// it a BYE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FarSide {
    /// Whether it has answered; otherwise it rings.
    pub is_answered: bool,
    /// The value of To, with its tag.
    pub to: String,
    /// The URI of its Contact.
    pub target: String,
    /// Route values, in the order our requests carry them.
    pub routes: Vec<String>,
    /// The number of the INVITE.
    pub cseq: u32,
}

/// Why a request of ours did not leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// There is no room for another dialog, request or transaction: try again later.
    Full,
    /// A value handed in cannot stand in a message, such as one with a line break: never try again.
    Unprintable,
}

impl fmt::Display for NotSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "E-SIP-FULL: no room for another dialog or transaction",
            Self::Unprintable => "E-SIP-UNPRINTABLE: a value that cannot stand in a message",
        })
    }
}

impl std::error::Error for NotSent {}

/// What happened. Messages are whole and well-formed; the reader parses what it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A call comes in: answer with `provisional`, `accept`, `reject` or `hangup`.
    Invite {
        /// The new dialog.
        dialog: DialogId,
        /// The INVITE.
        request: Arc<[u8]>,
        /// Where it came from.
        flow: Flow,
    },
    /// Our INVITE rings, or is being worked on.
    Provisional {
        /// The dialog.
        dialog: DialogId,
        /// 101 to 199; 100 says nothing that a user wants to know.
        status: u16,
        /// The response.
        message: Arc<[u8]>,
    },
    /// Our INVITE was answered. The ACK has been sent; but if our INVITE had no offer, then the
    /// answer to the one that came now goes with `acknowledge`.
    Answered {
        /// The dialog.
        dialog: DialogId,
        /// The 2xx.
        message: Arc<[u8]>,
    },
    /// The ACK to our 2xx came; it may carry an SDP answer. So may the PRACK of a provisional
    /// response that had an offer.
    Acknowledged {
        /// The dialog.
        dialog: DialogId,
        /// The ACK or PRACK.
        message: Arc<[u8]>,
        /// Whether it has a body; hardly any has.
        has_body: bool,
    },
    /// A re-INVITE, with or without SDP, or an UPDATE with SDP: answer with `answer_offer`. May
    /// come in an early dialog, once what the INVITE offered has been answered (RFC 3311 §5.2).
    Offer {
        /// The dialog.
        dialog: DialogId,
        /// The request.
        message: Arc<[u8]>,
    },
    /// How our own `offer` went.
    OfferAnswered {
        /// The dialog.
        dialog: DialogId,
        /// 2xx: `message` holds the answer, or an offer if ours asked for one: `acknowledge` then
        /// takes the answer. 491 without message: it was not the time for an offer.
        /// 408: nobody answered. 503: the connection was lost.
        status: u16,
        /// The response, when there is one.
        message: Option<Arc<[u8]>>,
    },
    /// The session is to be refreshed and the peer knows no UPDATE: call `offer` with the
    /// description as it stands (RFC 4028 §7.4). Without a refresh the dialog ends.
    RefreshDue {
        /// The dialog.
        dialog: DialogId,
    },
    /// An INFO came and was answered 200.
    Info {
        /// The dialog.
        dialog: DialogId,
        /// The INFO.
        message: Arc<[u8]>,
    },
    /// The dialog is over. Said exactly once, and last but for [`Event::Closed`].
    Ended {
        /// The dialog.
        dialog: DialogId,
        /// Why.
        cause: Cause,
        /// The message that ended it, when there is one.
        message: Option<Arc<[u8]>>,
    },
    /// The peer of a dialog that we hung up knows it too, or was given up: our BYE or CANCEL has
    /// had its effect, and the peer's telephone is free. Until then [`super::Endpoint::holds`] it.
    Closed {
        /// The dialog, which has ended.
        dialog: DialogId,
        /// Whether the peer said so. One that was silent to the end may not have heard us: it may
        /// ring on, or think that it talks.
        is_certain: bool,
    },
    /// A request of one of the methods that its user serves. Answer with `respond` within 64·T1.
    Request {
        /// What `respond` wants to know.
        request: TransactionId,
        /// The dialog it came in, if it came in one.
        dialog: Option<DialogId>,
        /// The request.
        message: Arc<[u8]>,
        /// Where it came from.
        flow: Flow,
    },
    /// Something came that broke a rule. It was answered, or dropped, without state.
    BadInput {
        /// Where it came from.
        source: Flow,
        /// Its method; empty when it was no request.
        method: Box<str>,
        /// What it was answered; 0: it was dropped.
        status: u16,
        /// The rule.
        rule: Box<str>,
    },
    /// The outcome of our `request`; the last that is said about it.
    Response {
        /// The request.
        request: RequestId,
        /// Its final status; 408 without message: nobody answered, 503: the connection was lost.
        status: u16,
        /// The response, when there is one.
        message: Option<Arc<[u8]>>,
        /// The way it came.
        flow: Option<Flow>,
    },
    /// What an earlier process left behind is taken back; the last that is said about it.
    ClosedOut {
        /// What [`super::Endpoint::close_out`] gave.
        id: CloseOutId,
        /// Whether the peer has spoken about all of it. Otherwise it was silent for 64·T1, and a
        /// phone may still ring.
        is_certain: bool,
    },
}

/// Why a dialog ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The caller withdrew its INVITE before we answered (487 was sent).
    Cancelled,
    /// The peer hung up.
    Bye,
    /// We hung up.
    Local,
    /// The INVITE was refused, by the peer or by us; redirections count as refusals.
    Rejected {
        /// The final status, 300 to 699.
        status: u16,
    },
    /// Nobody acknowledged our 2xx for 64·T1, and a BYE was sent; or nobody our reliable provisional
    /// response, and a 504 was.
    NoAck,
    /// Our INVITE was never answered. The peer may have it all the same, and ring.
    Timeout,
    /// The peer no longer knows the dialog (481) or did not react (408) inside it.
    Gone,
    /// The connection was lost.
    Transport,
    /// Nobody refreshed the session in time (RFC 4028 §10); a BYE was sent.
    Expired,
}

/// How much is held right now. All return to zero when the last call is gone for 64·T1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Dialogs, those that only wait for the end of their BYE or CANCEL included.
    pub dialogs: usize,
    /// Requests of ours outside dialogs.
    pub requests: usize,
    /// Transactions, those that only absorb copies included.
    pub transactions: usize,
    /// Armed timers.
    pub timers: usize,
}

/// What was not served, since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Requests that broke a rule, answered 4xx or 5xx without state.
    pub requests_refused: u64,
    /// Bytes that were no message that could be answered.
    pub malformed_dropped: u64,
    /// Responses that no transaction waited for.
    pub responses_stray: u64,
    /// ACKs that nothing waited for.
    pub acks_stray: u64,
    /// Requests answered 503 because something was full.
    pub overloaded: u64,
    /// Messages that could not be printed because a value handed in held a line break.
    pub unprintable: u64,
}
