//! SDP: offer and answer as values (RFC 8866, RFC 3264); no SIP, no sockets.
//!
//! [`Description`] is what a body says; [`Local`] is what we can do; [`answer`] and [`settle`]
//! turn the two into [`Negotiated`], the one thing that the media leg is told. We keep one audio
//! stream and refuse every other `m=` line with port 0, in its place, as RFC 3264 §6 asks.

mod negotiate;
mod parse;

pub use negotiate::{Local, Negotiated, Unacceptable, answer, offer, settle};
pub use parse::{
    ATTRIBUTES_MAX, Audio, BODY_MAX, Description, FORMATS_MAX, Format, LINES_MAX, MEDIA_MAX,
    Rejected, Section,
};

use std::fmt;

/// An audio encoding that we can negotiate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Encoding {
    /// G.711 mu-law, static payload type 0 (RFC 3551 §4.5.14).
    Pcmu,
    /// G.711 A-law, static payload type 8 (RFC 3551 §4.5.14).
    Pcma,
    /// G.722 at 64 kbit/s, static payload type 9 (RFC 3551 §4.5.2).
    G722,
    /// Linear, 16 bits, 8 kHz, mono (RFC 3551 §4.5.11); a dynamic payload type.
    L16,
}

impl Encoding {
    /// Every encoding, in our order of preference.
    pub const ALL: [Self; 4] = [Self::G722, Self::Pcma, Self::Pcmu, Self::L16];

    /// What is offered and taken unless a list says otherwise: L16 takes twice the bandwidth.
    pub const STANDARD: [Self; 3] = [Self::G722, Self::Pcma, Self::Pcmu];

    /// The name in `a=rtpmap` (RFC 3551 table 4).
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::L16 => "L16",
        }
    }

    /// The encoding that a list of codecs means by this word: as in SDP, or as flows write it.
    pub fn parse(word: &str) -> Option<Self> {
        match word.trim().to_ascii_lowercase().as_str() {
            "pcmu" | "mulaw" | "ulaw" => Some(Self::Pcmu),
            "pcma" | "alaw" => Some(Self::Pcma),
            "g722" => Some(Self::G722),
            "l16" => Some(Self::L16),
            _ => None,
        }
    }

    /// The payload type that we offer: the static one (RFC 3551 table 4), or a dynamic one.
    pub const fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::L16 => 96,
        }
    }

    /// RTP clock rate in hertz; that of G.722 is half its sampling rate, by an old mistake that
    /// RFC 3551 §4.5.2 keeps.
    pub const fn clock_rate(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 | Self::L16 => 8000,
        }
    }

    /// Whether the payload type has this meaning without `a=rtpmap`.
    pub const fn is_static(self) -> bool {
        !matches!(self, Self::L16)
    }
}

/// Who sends, seen from the side that wrote it (RFC 3264 §5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Both ways; what a silent description means.
    #[default]
    SendRecv,
    /// The writer only sends: it has put us on hold.
    SendOnly,
    /// The writer only listens.
    RecvOnly,
    /// Nobody sends.
    Inactive,
}

impl Direction {
    /// Whether the writer sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the writer listens.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The direction with these two properties.
    pub const fn of(sends: bool, receives: bool) -> Self {
        match (sends, receives) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// The attribute's name (RFC 8866 §6.7).
    pub const fn name(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }
}

/// Packet duration of an audio stream: 10, 20, 30, 40 or 60 ms, nothing else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ptime(u8);

impl Ptime {
    /// What both sides use unless told otherwise (RFC 3551 §4.2).
    pub const DEFAULT: Self = Self(20);

    /// The packet duration of this many milliseconds, if it is one we can do.
    pub const fn parse(millis: u32) -> Option<Self> {
        match millis {
            10 | 20 | 30 | 40 | 60 => Some(Self(millis as u8)),
            _ => None,
        }
    }

    /// Milliseconds.
    pub const fn millis(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Ptime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
