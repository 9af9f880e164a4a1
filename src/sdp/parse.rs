//! Reads a session description within limits; what it does not understand it keeps out.

use std::fmt;
use std::net::IpAddr;

use crate::sdp::{Direction, Encoding, Ptime};

/// Bytes of a description; a longer one is refused.
pub const BODY_MAX: usize = 64 * 1024;
/// Lines of a description.
pub const LINES_MAX: usize = 1000;
/// `m=` lines of a description.
pub const MEDIA_MAX: usize = 32;
/// Payload types of one `m=` line.
pub const FORMATS_MAX: usize = 64;
/// `a=rtpmap` lines of one `m=` line that are remembered.
pub const ATTRIBUTES_MAX: usize = 128;

/// A session description: its origin and its media sections, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Session id of the `o=` line.
    pub session_id: u64,
    /// Version of the `o=` line; it rises by one with every change (RFC 3264 §8).
    pub version: u64,
    /// The `m=` lines, in order; an answer has as many, in the same order.
    pub sections: Vec<Section>,
}

/// One `m=` line with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Section {
    /// RTP/AVP audio.
    Audio(Audio),
    /// Anything else; kept as written, to be refused in its place.
    Other {
        /// Media type, as `video`.
        media: String,
        /// Transport, as `RTP/SAVP`.
        transport: String,
        /// Formats, as written.
        formats: String,
    },
}

/// An RTP/AVP audio section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audio {
    /// Where the writer wants to receive; `None` for the address 0.0.0.0 of an old-style hold.
    pub address: Option<IpAddr>,
    /// Port; 0 is a refused or ended stream.
    pub port: u16,
    /// Formats in the writer's order of preference, as far as we know them.
    pub formats: Vec<Format>,
    /// Payload types as written, for refusing the section in its place.
    pub payload_types: Vec<u8>,
    /// Packet duration that the writer wants to receive; the default where it asks for the odd.
    pub ptime: Ptime,
    /// Who sends.
    pub direction: Direction,
}

/// A payload type with its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An encoding that we can do.
    Audio {
        /// RTP payload type.
        payload_type: u8,
        /// What it carries.
        encoding: Encoding,
    },
    /// telephone-event at 8000 Hz (RFC 4733).
    Event {
        /// RTP payload type.
        payload_type: u8,
    },
}

/// Why a body is not a session description that we accept; the sender is told 400 or 488.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// Longer than [`BODY_MAX`], or more than [`LINES_MAX`] lines.
    TooLong,
    /// More than [`MEDIA_MAX`] sections, [`FORMATS_MAX`] formats or [`ATTRIBUTES_MAX`] maps.
    TooMany,
    /// The body is not text.
    NotText,
    /// A line that is not `x=value`, or that breaks its own grammar; counted from 1.
    Line(u16),
    /// No `v=0` or no `o=` line.
    NoOrigin,
    /// An audio section without an address of its own or of the session.
    NoAddress,
    /// A multicast or broadcast address, one of this machine for a call from elsewhere, or our own
    /// port: media is never sent there.
    Address(IpAddr),
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => write!(f, "SDP longer than {BODY_MAX} bytes or {LINES_MAX} lines"),
            Self::TooMany => f.write_str("SDP with too many media lines or formats"),
            Self::NotText => f.write_str("SDP is not UTF-8 text"),
            Self::Line(number) => write!(f, "SDP line {number} is malformed"),
            Self::NoOrigin => f.write_str("SDP without v=0 or o= line"),
            Self::NoAddress => f.write_str("SDP audio without c= line"),
            Self::Address(address) => write!(f, "SDP address {address} is none to send audio to"),
        }
    }
}

impl std::error::Error for Rejected {}

impl Description {
    /// Reads a body of type `application/sdp`.
    pub fn parse(body: &[u8]) -> Result<Self, Rejected> {
        if body.len() > BODY_MAX {
            return Err(Rejected::TooLong);
        }
        let text = std::str::from_utf8(body).map_err(|_| Rejected::NotText)?;
        let mut reader = Reader::default();
        for (number, line) in text.lines().enumerate() {
            if number >= LINES_MAX {
                return Err(Rejected::TooLong);
            }
            let malformed = Rejected::Line((number + 1) as u16);
            if line.is_empty() {
                continue;
            }
            let [kind, b'=', ..] = *line.as_bytes() else { return Err(malformed) };
            reader.line(kind, line[2..].trim_end(), malformed)?;
        }
        reader.finish()
    }

    /// The first audio section that is not refused.
    pub fn audio(&self) -> Option<&Audio> {
        self.sections.iter().find_map(|section| match section {
            Section::Audio(audio) if audio.port != 0 => Some(audio),
            Section::Audio(_) | Section::Other { .. } => None,
        })
    }
}

#[derive(Default)]
struct Reader {
    has_version: bool,
    origin: Option<(u64, u64)>,
    session_address: Option<IpAddr>,
    session_direction: Direction,
    raw: Vec<RawSection>,
}

struct RawSection {
    media: String,
    port: u16,
    transport: String,
    formats: String,
    address: Option<IpAddr>,
    direction: Option<Direction>,
    ptime: Ptime,
    maps: Vec<(u8, Option<Format>)>,
}

impl Reader {
    fn line(&mut self, kind: u8, value: &str, malformed: Rejected) -> Result<(), Rejected> {
        match kind {
            b'v' if value == "0" => self.has_version = true,
            b'v' => return Err(malformed),
            b'o' => self.origin = Some(origin(value).ok_or(malformed)?),
            b'c' => {
                let address = connection(value).ok_or(malformed)?;
                match self.raw.last_mut() {
                    Some(section) => section.address = Some(address),
                    None => self.session_address = Some(address),
                }
            }
            b'm' => {
                if self.raw.len() >= MEDIA_MAX {
                    return Err(Rejected::TooMany);
                }
                self.raw.push(media(value).ok_or(malformed)?);
            }
            b'a' => self.attribute(value, malformed)?,
            _ => {} // s= t= b= k= and the rest say nothing that we use.
        }
        Ok(())
    }

    fn attribute(&mut self, value: &str, malformed: Rejected) -> Result<(), Rejected> {
        let (name, value) = value.split_once(':').unwrap_or((value, ""));
        if let Some(direction) = direction(name) {
            match self.raw.last_mut() {
                Some(section) => section.direction = Some(direction),
                None => self.session_direction = direction,
            }
            return Ok(());
        }
        let Some(section) = self.raw.last_mut() else { return Ok(()) };
        match name {
            "ptime" => {
                let millis = value.trim().parse::<u32>().map_err(|_| malformed)?;
                section.ptime = Ptime::parse(millis).unwrap_or(Ptime::DEFAULT);
            }
            "rtpmap" => {
                if section.maps.len() >= ATTRIBUTES_MAX {
                    return Err(Rejected::TooMany);
                }
                // A map without clock rate, as RFC 4475 has one, describes a format that we cannot do.
                section.maps.extend(rtpmap(value));
            }
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Description, Rejected> {
        let (true, Some((session_id, version))) = (self.has_version, self.origin) else {
            return Err(Rejected::NoOrigin);
        };
        let (address, direction) = (self.session_address, self.session_direction);
        let sections = self.raw.into_iter().map(|raw| raw.finish(address, direction));
        Ok(Description { session_id, version, sections: sections.collect::<Result<_, _>>()? })
    }
}

impl RawSection {
    fn finish(self, address: Option<IpAddr>, direction: Direction) -> Result<Section, Rejected> {
        let is_audio = self.media == "audio" && self.transport == "RTP/AVP";
        if !is_audio {
            let Self { media, transport, formats, .. } = self;
            return Ok(Section::Other { media, transport, formats });
        }
        let payload_types = payload_types(&self.formats)?;
        let formats = payload_types.iter().filter_map(|&number| self.format(number)).collect();
        let address = self.address.or(address).ok_or(Rejected::NoAddress)?;
        Ok(Section::Audio(Audio {
            address: unicast(address)?,
            port: self.port,
            formats,
            payload_types,
            ptime: self.ptime,
            direction: self.direction.unwrap_or(direction),
        }))
    }

    /// A map given by `a=rtpmap` wins over the static meaning (RFC 3551 §3).
    fn format(&self, payload_type: u8) -> Option<Format> {
        if let Some((_, format)) = self.maps.iter().find(|(number, _)| *number == payload_type) {
            return *format;
        }
        let is_meant = |one: &Encoding| one.is_static() && one.payload_type() == payload_type;
        let encoding = Encoding::ALL.into_iter().find(is_meant)?;
        Some(Format::Audio { payload_type, encoding })
    }
}

fn origin(value: &str) -> Option<(u64, u64)> {
    let mut words = value.split_ascii_whitespace();
    let (_user, id, version) = (words.next()?, words.next()?, words.next()?);
    // Numbers beyond 64 bits occur in the field; only "did it change" matters to us.
    Some((number_or_hash(id)?, number_or_hash(version)?))
}

fn number_or_hash(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.bytes().fold(0, |sum, digit| {
        u64::wrapping_add(u64::wrapping_mul(sum, 10), u64::from(digit - b'0'))
    }))
}

fn connection(value: &str) -> Option<IpAddr> {
    let mut words = value.split_ascii_whitespace();
    let (net, family, address) = (words.next()?, words.next()?, words.next()?);
    let address = address.split('/').next()?.parse::<IpAddr>().ok()?;
    let fits = matches!((family, address), ("IP4", IpAddr::V4(_)) | ("IP6", IpAddr::V6(_)));
    (net == "IN" && fits).then_some(address)
}

fn media(value: &str) -> Option<RawSection> {
    let mut words = value.splitn(4, ' ');
    let (media, port, transport) = (words.next()?, words.next()?, words.next()?);
    Some(RawSection {
        media: media.to_owned(),
        port: port.split('/').next()?.parse().ok()?,
        transport: transport.to_owned(),
        formats: words.next()?.to_owned(),
        address: None,
        direction: None,
        ptime: Ptime::DEFAULT,
        maps: Vec::new(),
    })
}

fn payload_types(formats: &str) -> Result<Vec<u8>, Rejected> {
    let mut numbers = Vec::new();
    for word in formats.split_ascii_whitespace() {
        if numbers.len() >= FORMATS_MAX {
            return Err(Rejected::TooMany);
        }
        // A payload type has seven bits (RFC 3550 §5.1); what is none names no format.
        if let Some(number) = word.parse::<u8>().ok().filter(|number| *number < 128) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}

fn rtpmap(value: &str) -> Option<(u8, Option<Format>)> {
    let (number, encoding) = value.trim().split_once(' ')?;
    let Ok(payload_type) = number.parse::<u8>() else {
        return number.bytes().all(|byte| byte.is_ascii_digit()).then_some((u8::MAX, None));
    };
    let mut parts = encoding.trim().split('/');
    let (name, rate) = (parts.next()?, parts.next());
    // Every codec of ours has this clock rate, and digits have that of their codec (RFC 4733
    // §2.1); none of them has a second channel.
    if rate != Some("8000") || parts.next().is_some_and(|channels| channels != "1") {
        return Some((payload_type, None));
    }
    if name.eq_ignore_ascii_case("telephone-event") {
        return Some((payload_type, Some(Format::Event { payload_type })));
    }
    let encoding = Encoding::ALL.into_iter().find(|e| e.name().eq_ignore_ascii_case(name));
    Some((payload_type, encoding.map(|encoding| Format::Audio { payload_type, encoding })))
}

fn direction(name: &str) -> Option<Direction> {
    [Direction::SendRecv, Direction::SendOnly, Direction::RecvOnly, Direction::Inactive]
        .into_iter()
        .find(|direction| direction.name() == name)
}

/// The address to send to; `None` for "nowhere", the hold of RFC 2543.
fn unicast(address: IpAddr) -> Result<Option<IpAddr>, Rejected> {
    let is_broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
    if address.is_multicast() || is_broadcast {
        return Err(Rejected::Address(address));
    }
    Ok((!address.is_unspecified()).then_some(address))
}
