//! Scaffold.
use super::name::{Method, Name};
use super::text::{Split, is_token, number, trim};
use super::typed::{CSeq, Contact, MediaType, NameAddr, Via, seconds};
use super::uri::Uri;
use super::validate::Flaw;
use std::borrow::Cow;
use std::str;
/// x
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// x
    pub start: Start<'a>,
    /// x
    pub fields: Vec<Field<'a>>,
    /// x
    pub body: &'a [u8],
    pub(super) flaw: Option<Flaw>,
}
/// x
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// x
    Request {
        /// x
        method: Method,
        /// x
        uri: &'a [u8],
    },
    /// x
    Response {
        /// x
        status: u16,
        /// x
        reason: &'a [u8],
    },
}
/// x
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// x
    pub name: Name,
    /// x
    pub raw_name: &'a [u8],
    /// x
    pub value: Cow<'a, [u8]>,
}
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// x
    Empty,
    /// x
    NotSip,
    /// x
    Status,
}
impl<'a> Message<'a> {
    /// x
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let breaks = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
        let mut rest = &bytes[breaks..];
        let mut next = || -> Option<&'a [u8]> {
            let at = rest.windows(2).position(|w| w == b"\r\n")?;
            let line = &rest[..at];
            rest = &rest[at + 2..];
            Some(line)
        };
        let start = Start::parse(next().ok_or(ParseError::Empty)?)?;
        let mut message =
            Self { start: start.0, fields: Vec::with_capacity(20), body: &[], flaw: start.1 };
        loop {
            match next() {
                None => {
                    message.flaw.get_or_insert(Flaw::HeadUnterminated);
                    break;
                }
                Some(b"") => break,
                Some(line) => match line.iter().position(|b| *b == b':') {
                    Some(colon) if is_token(line[..colon].trim_ascii_end()) => {
                        let raw_name = line[..colon].trim_ascii_end();
                        let value = trim(&line[colon + 1..]);
                        message.fields.push(Field {
                            name: Name::parse(raw_name),
                            raw_name,
                            value: Cow::Borrowed(value),
                        });
                    }
                    _ => {
                        message.flaw.get_or_insert(Flaw::FieldLine);
                    }
                },
            }
        }
        message.body = rest;
        Ok(message)
    }
    /// x
    pub const fn method(&self) -> Option<&Method> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }
    /// x
    pub const fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }
    /// x
    pub fn request_uri(&self) -> Result<Uri<'a>, Flaw> {
        let uri = match self.start {
            Start::Request { uri, .. } => str::from_utf8(uri).ok().and_then(Uri::parse),
            Start::Response { .. } => None,
        };
        uri.ok_or(Flaw::RequestUri)
    }
    /// x
    pub fn field(&self, name: Name) -> Option<&Field<'a>> {
        self.fields.iter().find(|f| f.name == name)
    }
    /// x
    pub fn fields_of(&self, name: Name) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(move |f| f.name == name)
    }
    /// x
    pub fn text(&self, name: Name) -> Option<&str> {
        self.field(name).and_then(Field::text)
    }
    /// x
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.fields_of(name).filter_map(Field::text).flat_map(Split::list)
    }
    /// x
    pub fn via(&self) -> Result<Via<'_>, Flaw> {
        self.vias().next().unwrap_or(Err(Flaw::Missing(Name::Via)))
    }
    /// x
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, Flaw>> {
        self.list(Name::Via, Via::parse)
    }
    /// x
    pub fn from(&self) -> Result<NameAddr<'_>, Flaw> {
        self.need(Name::From, NameAddr::parse)
    }
    /// x
    pub fn to(&self) -> Result<NameAddr<'_>, Flaw> {
        self.need(Name::To, NameAddr::parse)
    }
    /// x
    pub fn call_id(&self) -> Result<&str, Flaw> {
        self.need(Name::CallId, Some)
    }
    /// x
    pub fn cseq(&self) -> Result<CSeq, Flaw> {
        self.need(Name::CSeq, CSeq::parse)
    }
    /// x
    pub fn contact(&self) -> Result<Option<Contact<'_>>, Flaw> {
        self.contacts().next().transpose()
    }
    /// x
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact<'_>, Flaw>> {
        self.list(Name::Contact, Contact::parse)
    }
    /// x
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Flaw>> {
        self.list(Name::Route, NameAddr::parse)
    }
    /// x
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Flaw>> {
        self.list(Name::RecordRoute, NameAddr::parse)
    }
    /// x
    pub fn max_forwards(&self) -> Result<Option<u8>, Flaw> {
        self.want(Name::MaxForwards, number)
    }
    /// x
    pub fn expires(&self) -> Result<Option<u32>, Flaw> {
        self.want(Name::Expires, seconds)
    }
    /// x
    pub fn content_type(&self) -> Result<Option<MediaType<'_>>, Flaw> {
        self.want(Name::ContentType, MediaType::parse)
    }
    fn need<'m, T>(&'m self, name: Name, parse: fn(&'m str) -> Option<T>) -> Result<T, Flaw> {
        self.want(name, parse)?.ok_or(Flaw::Missing(name))
    }
    fn want<'m, T>(
        &'m self,
        name: Name,
        parse: fn(&'m str) -> Option<T>,
    ) -> Result<Option<T>, Flaw> {
        let Some(field) = self.field(name) else { return Ok(None) };
        field.text().and_then(parse).map(Some).ok_or(Flaw::Malformed(name))
    }
    fn list<'m, T>(
        &'m self,
        name: Name,
        parse: fn(&'m str) -> Option<T>,
    ) -> impl Iterator<Item = Result<T, Flaw>> {
        self.fields_of(name)
            .flat_map(|field| Split::list(field.text().unwrap_or_default()))
            .map(move |value| parse(value).ok_or(Flaw::Malformed(name)))
    }
}
impl<'a> Start<'a> {
    fn parse(line: &'a [u8]) -> Result<(Self, Option<Flaw>), ParseError> {
        let text = str::from_utf8(line).map_err(|_| ParseError::NotSip)?;
        if let Some(rest) = text.strip_prefix("SIP/2.0 ") {
            let status = rest
                .get(..3)
                .and_then(number::<u16>)
                .filter(|s| (100..700).contains(s))
                .ok_or(ParseError::Status)?;
            return Ok((Self::Response { status, reason: b"" }, None));
        }
        let mut parts = text.split(' ');
        let (Some(m), Some(u), Some(v), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(ParseError::NotSip);
        };
        if !v.starts_with("SIP/") {
            return Err(ParseError::NotSip);
        }
        let flaw = (v != "SIP/2.0").then_some(Flaw::Version);
        Ok((
            Self::Request {
                method: Method::parse(m.as_bytes()).ok_or(ParseError::NotSip)?,
                uri: u.as_bytes(),
            },
            flaw,
        ))
    }
}
impl Field<'_> {
    /// x
    pub fn text(&self) -> Option<&str> {
        str::from_utf8(&self.value).ok()
    }
}
