//! What is wrong with a message, and the status that says so.

use std::fmt;

use super::limits::VIAS_MAX;
use super::message::{Message, Start};
use super::name::{Method, Name};
use super::typed::{CSeq, NameAddr, Via};
use super::uri::Uri;

/// The first rule that a message broke. A request with a flaw is answered with [`Flaw::status`]; a
/// response with one is dropped (RFC 3261 8.1.3 and 18.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// Blanks where the request line has none (RFC 4475 3.1.2.8 to 3.1.2.10).
    StartLine,
    /// Not SIP/2.0.
    Version,
    /// The Request-URI is none, or carries headers (RFC 3261 19.1.1).
    RequestUri,
    /// A line of the header section without name or colon.
    FieldLine,
    /// CR or LF that is no line break.
    LineBreak,
    /// A control character that no backslash quotes.
    Control,
    /// The bytes ended before the empty line.
    HeadUnterminated,
    /// More than [`super::HEAD_MAX`] bytes of header section.
    HeadTooLong,
    /// More than [`super::FIELDS_MAX`] fields.
    FieldsTooMany,
    /// More than [`super::VIAS_MAX`] Via values.
    ViasTooMany,
    /// More than [`super::BODY_MAX`] bytes of body.
    BodyTooLong,
    /// Content-Length announces more than there is.
    BodyTruncated,
    /// A header that this message must have.
    Missing(Name),
    /// A header of one value that came twice, or twice with different values.
    Repeated(Name),
    /// A header that cannot be read.
    Malformed(Name),
    /// CSeq names another method than the request line.
    CSeqMethod,
}

impl Flaw {
    /// The status that tells a client of it.
    pub const fn status(self) -> u16 {
        match self {
            Self::Version => 505,
            Self::HeadTooLong | Self::FieldsTooMany | Self::ViasTooMany => 513,
            Self::BodyTooLong => 413,
            Self::StartLine
            | Self::RequestUri
            | Self::FieldLine
            | Self::LineBreak
            | Self::Control
            | Self::HeadUnterminated
            | Self::BodyTruncated
            | Self::Missing(_)
            | Self::Repeated(_)
            | Self::Malformed(_)
            | Self::CSeqMethod => 400,
        }
    }
}

/// Fit for a reason phrase: RFC 3261 21.4.1 wants it to name the problem.
impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartLine => f.write_str("Malformed Request Line"),
            Self::Version => f.write_str("Version Not Supported"),
            Self::RequestUri => f.write_str("Malformed Request-URI"),
            Self::FieldLine => f.write_str("Malformed Header Line"),
            Self::LineBreak => f.write_str("Stray CR or LF"),
            Self::Control => f.write_str("Control Character in Header"),
            Self::HeadUnterminated => f.write_str("Unterminated Header Section"),
            Self::HeadTooLong => f.write_str("Header Section Too Large"),
            Self::FieldsTooMany => f.write_str("Too Many Header Fields"),
            Self::ViasTooMany => f.write_str("Too Many Via Values"),
            Self::BodyTooLong => f.write_str("Request Entity Too Large"),
            Self::BodyTruncated => f.write_str("Body Shorter Than Content-Length"),
            Self::Missing(name) => write!(f, "Missing {name} Header"),
            Self::Repeated(name) => write!(f, "Repeated {name} Header"),
            Self::Malformed(name) => write!(f, "Malformed {name} Header"),
            Self::CSeqMethod => f.write_str("CSeq Method Mismatch"),
        }
    }
}

impl std::error::Error for Flaw {}

/// The headers that every message has (RFC 3261 8.1.1), as they were read when it was validated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mandatory<'m> {
    /// The top Via.
    pub via: Via<'m>,
    /// From.
    pub from: NameAddr<'m>,
    /// To.
    pub to: NameAddr<'m>,
    /// Call-ID.
    pub call_id: &'m str,
    /// CSeq.
    pub cseq: CSeq,
}

impl Message<'_> {
    /// Whether everything holds that every element relies on: the framing, the headers each message
    /// has (RFC 3261 8.1.1), once each, and the shape of the headers by which messages are routed.
    /// Scheme (416), extensions (420) and body (415) are for the one who is asked.
    pub fn validate(&self) -> Result<Mandatory<'_>, Flaw> {
        self.flaw.map_or(Ok(()), Err)?;
        // In one pass: every message is asked this, and has a dozen fields.
        let (mut seen, mut repeated) = (0, 0);
        for field in &self.fields {
            repeated |= seen & set_of(field.name);
            seen |= set_of(field.name);
        }
        if let Some(name) = ONCE.into_iter().find(|name| repeated & set_of(*name) != 0) {
            return Err(Flaw::Repeated(name));
        }
        let via = self.validate_path()?;
        let (from, to, call_id) = (self.from()?, self.to()?, self.call_id()?);
        self.max_forwards()?;
        self.content_type()?;
        self.expires()?;
        let cseq = self.cseq()?;
        self.validate_start(&cseq)?;
        Ok(Mandatory { via, from, to, call_id, cseq })
    }

    /// Gives the top Via.
    fn validate_path(&self) -> Result<Via<'_>, Flaw> {
        let mut vias = self.vias();
        let top = vias.next().unwrap_or(Err(Flaw::Missing(Name::Via)))?;
        for (number, via) in vias.enumerate() {
            via?;
            if number + 1 == VIAS_MAX {
                return Err(Flaw::ViasTooMany);
            }
        }
        self.contacts().try_for_each(|contact| contact.map(drop))?;
        self.routes().try_for_each(|route| route.map(drop))?;
        self.record_routes().try_for_each(|route| route.map(drop))?;
        Ok(top)
    }

    fn validate_start(&self, cseq: &CSeq) -> Result<(), Flaw> {
        match &self.start {
            Start::Request { method, .. } => {
                let has_headers = match self.request_uri()? {
                    Uri::Sip(sip) => !sip.headers.is_empty(),
                    Uri::Tel { .. } | Uri::Other { .. } => false,
                };
                if has_headers {
                    return Err(Flaw::RequestUri);
                }
                // RFC 4475 3.1.2.18: an unknown method is 501 first, whatever its CSeq says.
                let is_known = !matches!(method, Method::Other(_));
                if is_known && cseq.method != *method { Err(Flaw::CSeqMethod) } else { Ok(()) }
            }
            Start::Response { .. } => Ok(()),
        }
    }
}

/// The set of this name alone, one bit for each name.
const fn set_of(name: Name) -> u128 {
    const { assert!((Name::Other as u32) < u128::BITS, "every name has its bit") };
    1 << name as u32
}

/// Headers of which a message has at most one. Content-Length is not among them: said twice the
/// same it is harmless.
const ONCE: [Name; 6] =
    [Name::From, Name::To, Name::CallId, Name::CSeq, Name::MaxForwards, Name::ContentType];
