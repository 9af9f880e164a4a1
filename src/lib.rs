//! Ringback: a softswitch that imports call flows and runs them as a SIP and RTP media server.
//!
//! Telephony is decided in plain state machines without sockets, clocks or threads: bytes, ticks
//! and results go in; bytes, effects and events come out. One room, [`shell`], owns every socket,
//! thread, file and clock. After each input the owner takes every output before it hands in the
//! next input; the same seed and the same inputs give the same outputs, byte for byte.
//!
//! The rooms, lowest first; the layer test in `sip-test` holds who may name whom.

pub mod base;
pub mod sip;
pub mod sdp;
pub mod media;
pub mod flow;
pub mod dispatch;
pub mod promise;
pub mod call;
pub mod config;
pub mod sim;
pub mod shell;
