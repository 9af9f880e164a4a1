//! SIP: messages, transactions, dialogs and one user agent over bytes and ticks; no sockets, no SDP, no calls.

pub mod transaction;
pub mod transport;
