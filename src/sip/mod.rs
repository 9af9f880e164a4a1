//! SIP over bytes and ticks: messages read without copying, printed in one piece, framed, signed.
//!
//! *Invariant:* a [`Field`] value holds no CR or LF, so what was received can be printed again
//! without becoming a second header. *Absent:* sockets, SDP content, calls, flows.

mod limits;
mod message;
mod name;
mod print;
mod reason;
mod text;
mod typed;
mod uri;
mod validate;
mod framing;
mod ladder;

pub mod dialog;
pub mod endpoint;
pub mod transaction;
pub mod transport;

pub use endpoint::{
    Body, Cause, Config, Counters, Credentials, Derived, DialogId, Endpoint, Event, Gauges,
    NotSent, Outgoing, Party, RequestId, TransactionId,
};
pub use framing::{Framed, Framer, FramingError};
pub use ladder::{Ladder, ROWS_MAX};
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
pub use validate::Flaw;
