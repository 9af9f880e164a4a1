//! SIP over bytes and ticks: messages read without copying, printed, framed, signed and drawn.
//!
//! *Invariant:* a [`Field`] value holds no CR or LF, so what was received can be printed again
//! without becoming a second header. *Absent:* sockets, SDP content, calls, flows.

// Words, then values, then messages, then what is done with them.
mod limits;
mod set;
mod name;
mod text;
mod uri;
mod typed;
mod message;
mod validate;
#[cfg(test)]
mod reference;
mod reason;
mod print;
mod framing;
mod ladder;
mod challenger;
pub mod digest;
pub mod registrar;
pub mod registration;

// The upper storey: what a user agent remembers and does.
pub mod transport;
pub mod transaction;
pub mod dialog;
pub mod endpoint;

pub use challenger::{Account, Challenger, DigestConfig, NONCE_LIFE, NONCES_MAX, Secret, Verdict};
pub use endpoint::{
    Body, Cause, CloseOutId, Config, Counters, Credentials, Derived, DialogId, Endpoint, Event,
    FarSide, Gauges, MAX_FORWARDS, NotSent, Outgoing, Party, RequestId, TRIES_MAX, TransactionId,
};
pub use framing::{Frame, Framer, FramingError, FramingFlaw, STREAM_MAX};
pub use ladder::{Label, Ladder, ROWS_MAX, call_id};
pub use limits::{BODY_MAX, FIELDS_MAX, HEAD_MAX, VIAS_MAX};
pub use message::{Field, Message, ParseError, Start};
pub use name::{Method, Name};
pub use print::{PrintError, Printer};
pub use reason::reason_phrase;
pub use text::{Params, unquote};
pub use transaction::Timing;
pub use transport::{Flow, Transmit, Transport};
pub use typed::{CSeq, Contact, MediaType, NameAddr, RAck, Refresher, SessionExpires, Via};
pub use uri::{Host, SipUri, Uri};
pub use validate::{Flaw, Mandatory};
