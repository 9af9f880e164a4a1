//! Offer and answer (RFC 3264): what we write, and what both sides have agreed on.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use crate::base::Dotted;
use crate::sdp::{Audio, Description, Direction, Encoding, Format, Ptime, Rejected, Section};

/// Payload type that we offer for telephone-event.
const EVENT_PAYLOAD_TYPE: u8 = 101;

/// What our side of one leg can do and where it listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// Where we want to receive RTP; RTCP is one port above.
    pub address: SocketAddr,
    /// Encodings that we allow, in order of preference.
    pub encodings: Vec<Encoding>,
    /// Whether digits as telephone-event are allowed.
    pub events: bool,
    /// What we want to do ourselves.
    pub direction: Direction,
    /// Session id of our `o=` line; stays for the life of the leg.
    pub session_id: u64,
    /// Version of our `o=` line; the caller raises it with every new description.
    pub version: u64,
}

/// What both sides have agreed on, seen from us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// Where to send RTP; `None` while the far side has nowhere to receive.
    pub remote: Option<SocketAddr>,
    /// The encoding, both ways.
    pub encoding: Encoding,
    /// Payload type of the encoding.
    pub payload_type: u8,
    /// Payload type of telephone-event, if both sides have it.
    pub event_payload_type: Option<u8>,
    /// Packet duration that the far side wants.
    pub ptime: Ptime,
    /// Our side of the agreed direction.
    pub direction: Direction,
}

/// Why an offer or answer ends in nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unacceptable {
    /// The body is not a description.
    Malformed(Rejected),
    /// No audio section over RTP/AVP.
    NoAudio,
    /// Audio, but no encoding that both sides have.
    NoCommonEncoding,
}

impl Unacceptable {
    /// What the other side is told: 400 for what cannot be read, 488 for what cannot be done
    /// (RFC 3261 §21.4.26).
    pub const fn status(self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::NoAudio | Self::NoCommonEncoding => 488,
        }
    }
}

impl fmt::Display for Unacceptable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(rejected) => rejected.fmt(f),
            Self::NoAudio => f.write_str("no audio over RTP/AVP in the SDP"),
            Self::NoCommonEncoding => f.write_str("no common audio codec"),
        }
    }
}

impl std::error::Error for Unacceptable {}

impl From<Rejected> for Unacceptable {
    fn from(rejected: Rejected) -> Self {
        Self::Malformed(rejected)
    }
}

/// The body of an offer of ours.
pub fn offer(local: &Local) -> Vec<u8> {
    let mut text = preamble(local);
    let event = local.events.then_some(EVENT_PAYLOAD_TYPE);
    let formats = local.encodings.iter().map(|e| (e.payload_type(), *e)).collect::<Vec<_>>();
    write_audio(&mut text, local, &formats, event, Ptime::DEFAULT, local.direction);
    text.into_bytes()
}

/// Answers an offer: our body and what has been agreed on.
pub fn answer(offer: &[u8], local: &Local) -> Result<(Vec<u8>, Negotiated), Unacceptable> {
    Description::parse(offer)?.answer(local)
}

/// What the answer to an offer of ours has settled.
pub fn settle(answer: &[u8], local: &Local) -> Result<Negotiated, Unacceptable> {
    Description::parse(answer)?.settle(local)
}

impl Description {
    /// What both sides agree on if this is their offer, or their answer to ours.
    ///
    /// The first of their encodings that we allow is taken (RFC 3264 §6.1 asks to follow the
    /// offerer's preference); the direction is what both sides want.
    pub fn settle(&self, local: &Local) -> Result<Negotiated, Unacceptable> {
        agree(self.audio().ok_or(Unacceptable::NoAudio)?, local)
    }

    /// Answers this offer: our body and what has been agreed on.
    pub fn answer(&self, local: &Local) -> Result<(Vec<u8>, Negotiated), Unacceptable> {
        let agreed = self.settle(local)?;
        let mut text = preamble(local);
        let mut is_taken = false;
        for section in &self.sections {
            match section {
                Section::Audio(theirs) if theirs.port != 0 && !is_taken => {
                    is_taken = true;
                    let formats = [(agreed.payload_type, agreed.encoding)];
                    let event = agreed.event_payload_type;
                    write_audio(&mut text, local, &formats, event, agreed.ptime, agreed.direction);
                }
                Section::Audio(theirs) => {
                    let formats = theirs.payload_types.iter().map(u8::to_string);
                    let mut formats = formats.collect::<Vec<_>>().join(" ");
                    if formats.is_empty() {
                        // An m= line has at least one format (RFC 8866 §9), whatever was offered.
                        formats.push('0');
                    }
                    write_refused(&mut text, "audio", "RTP/AVP", &formats);
                }
                Section::Other { media, transport, formats } => {
                    write_refused(&mut text, media, transport, formats);
                }
            }
        }
        Ok((text.into_bytes(), agreed))
    }
}

fn agree(theirs: &Audio, local: &Local) -> Result<Negotiated, Unacceptable> {
    let common = theirs.formats.iter().find_map(|format| match *format {
        Format::Audio { payload_type, encoding } if local.encodings.contains(&encoding) => {
            Some((payload_type, encoding))
        }
        Format::Audio { .. } | Format::Event { .. } => None,
    });
    let (payload_type, encoding) = common.ok_or(Unacceptable::NoCommonEncoding)?;
    let event = theirs.formats.iter().find_map(|format| match *format {
        Format::Event { payload_type } if local.events => Some(payload_type),
        Format::Event { .. } | Format::Audio { .. } => None,
    });
    if let Some(address) = theirs.address {
        let is_ours = SocketAddr::new(address, theirs.port) == local.address;
        let is_inside = address.to_canonical().is_loopback() && !local.address.ip().is_loopback();
        if is_ours || is_inside {
            return Err(Unacceptable::Malformed(Rejected::Address(address)));
        }
    }
    let can_reach = theirs.address.is_some();
    let direction = Direction::of(
        local.direction.sends() && theirs.direction.receives() && can_reach,
        local.direction.receives() && theirs.direction.sends(),
    );
    Ok(Negotiated {
        remote: theirs.address.map(|address| SocketAddr::new(address, theirs.port)),
        encoding,
        payload_type,
        event_payload_type: event,
        ptime: theirs.ptime,
        direction,
    })
}

fn preamble(local: &Local) -> String {
    let address = local.address.ip();
    let family = if address.is_ipv4() { "IP4" } else { "IP6" };
    let mut text = String::with_capacity(320);
    let Local { session_id, version, .. } = local;
    text.write_fmt(format_args!("v=0\r\no=- {session_id} {version} ")).expect(WRITES);
    let begin = text.len();
    write_line(&mut text, format_args!("IN {family} {}", Dotted(address)));
    let connection = begin..text.len();
    text.push_str("s=-\r\nc=");
    text.extend_from_within(connection);
    text.push_str("t=0 0\r\n");
    text
}

fn write_audio(
    text: &mut String,
    local: &Local,
    formats: &[(u8, Encoding)],
    event: Option<u8>,
    ptime: Ptime,
    direction: Direction,
) {
    text.write_fmt(format_args!("m=audio {} RTP/AVP", local.address.port())).expect(WRITES);
    for number in formats.iter().map(|(number, _)| *number).chain(event) {
        text.write_fmt(format_args!(" {number}")).expect(WRITES);
    }
    text.push_str("\r\n");
    for (number, encoding) in formats {
        let (name, rate) = (encoding.name(), encoding.clock_rate());
        write_line(text, format_args!("a=rtpmap:{number} {name}/{rate}"));
    }
    if let Some(number) = event {
        write_line(text, format_args!("a=rtpmap:{number} telephone-event/8000"));
        write_line(text, format_args!("a=fmtp:{number} 0-15"));
    }
    write_line(text, format_args!("a=ptime:{ptime}"));
    write_line(text, format_args!("a={}", direction.name()));
}

fn write_refused(text: &mut String, media: &str, transport: &str, formats: &str) {
    write_line(text, format_args!("m={media} 0 {transport} {formats}"));
}

const WRITES: &str = "writing to a String never fails";

fn write_line(text: &mut String, line: fmt::Arguments<'_>) {
    text.write_fmt(line).expect(WRITES);
    text.push_str("\r\n");
}

#[cfg(test)]
mod tests;
