//! The link between parties: what it loses, delays, doubles and reorders, by a seed or on request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What travels between two parties.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Where it comes from.
    pub from: SocketAddr,
    /// Where it goes.
    pub to: SocketAddr,
    /// What it carries.
    pub payload: Payload,
}

/// What a packet carries.
#[derive(Clone, Debug)]
pub enum Payload {
    /// A SIP message.
    Sip(Arc<[u8]>),
    /// RTP or RTCP; the destination port says which.
    Media(Vec<u8>),
    /// Keys that were pressed, between parties without sound.
    Keys(String),
}

/// How good the link is, both ways. Reordering comes from jitter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// One-way delay.
    pub delay: Duration,
    /// Added to the delay, evenly between zero and this.
    pub jitter: Duration,
    /// Packets of a hundred that are lost.
    pub loss_percent: u8,
    /// Packets of a hundred that arrive twice.
    pub duplicate_percent: u8,
}

impl Link {
    /// Twenty milliseconds, nothing lost.
    pub const CLEAN: Self = Self {
        delay: Duration::from_millis(20),
        jitter: Duration::ZERO,
        loss_percent: 0,
        duplicate_percent: 0,
    };
}

/// What is done to one message of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meddling {
    /// It never arrives.
    Lose,
    /// It takes this long instead.
    Take(Duration),
    /// It arrives twice, the second time this much later.
    Double(Duration),
}

/// A rule of a story: the next message that fits is meddled with.
#[derive(Clone, Debug)]
pub(super) struct Rule {
    /// Who sends it.
    pub(super) from: usize,
    /// Its method or status, as `INVITE` or `200`; the status with its method as `200 BYE`.
    pub(super) what: String,
    /// How many messages are left to meddle with.
    pub(super) left: u32,
    /// What is done.
    pub(super) meddling: Meddling,
}
