//! One message read in place: start line, fields and body point into the bytes it came in.
//!
//! Reading is lenient and judging is strict: [`Message::parse`] refuses only what cannot be
//! answered at all and remembers the first flaw of the rest; [`Message::validate`] says that flaw
//! or the next one, with the status to answer (RFC 3261 8.2.6, 21.4.1).

use std::borrow::Cow;
use std::fmt;
use std::str;

use super::limits::{BODY_MAX, FIELDS_MAX, HEAD_MAX};
use super::name::{Method, Name};
use super::set::CALL_ID;
use super::text::{Split, is_token, number, trim};
use super::typed::{CSeq, Contact, MediaType, NameAddr, RAck, SessionExpires, Via, seconds};
use super::uri::Uri;
use super::validate::Flaw;

/// A request or response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What is asked or answered.
    pub start: Start<'a>,
    /// The header fields in order of appearance.
    pub fields: Vec<Field<'a>>,
    /// The body, as long as Content-Length says; without it, the rest of the datagram.
    pub body: &'a [u8],
    /// What was wrong with it on first reading.
    pub(super) flaw: Option<Flaw>,
}

/// The start line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// RFC 3261 7.1.
    Request {
        /// What to do.
        method: Method,
        /// To whom, as raw bytes: digest signs these, not what was understood of them.
        uri: &'a [u8],
    },
    /// RFC 3261 7.2.
    Response {
        /// 100 to 699.
        status: u16,
        /// For people; may be empty and need not be UTF-8.
        reason: &'a [u8],
    },
}

/// One header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Which it is.
    pub name: Name,
    /// How that was spelled.
    pub raw_name: &'a [u8],
    /// The value without blanks around it and with folds undone; holds neither CR nor LF.
    pub value: Cow<'a, [u8]>,
}

/// Why bytes are no message that could be answered: drop them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParseError {
    /// Nothing but line breaks: a keep-alive (RFC 5626 4.4.1).
    Empty,
    /// The first line is no start line of SIP in any version.
    NotSip,
    /// A response whose status is not within 100 to 699.
    Status,
}

impl<'a> Message<'a> {
    /// Reads one message from a datagram or from a frame of a stream.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        // RFC 3261 7.5: line breaks before the start line are ignored.
        let breaks = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        let bytes = &bytes[breaks..];
        if bytes.is_empty() {
            return Err(ParseError::Empty);
        }
        let mut lines = Lines { rest: bytes, left: HEAD_MAX };
        let line = lines.next_single();
        let (start, flaw) = Start::parse(line.text)?;
        let mut message = Self { start, fields: Vec::with_capacity(FIELDS_USUAL), body: &[], flaw };
        if line.is_ragged {
            message.blame(Flaw::LineBreak);
        }
        message.read_fields(&mut lines);
        message.read_body(lines.rest);
        Ok(message)
    }

    /// Whether it asks.
    pub const fn is_request(&self) -> bool {
        matches!(self.start, Start::Request { .. })
    }

    /// The method of a request.
    pub const fn method(&self) -> Option<&Method> {
        match &self.start {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The status of a response.
    pub const fn status(&self) -> Option<u16> {
        match self.start {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// The Request-URI; `Flaw::RequestUri` when it is none, or this is a response.
    pub fn request_uri(&self) -> Result<Uri<'a>, Flaw> {
        let uri = match self.start {
            Start::Request { uri, .. } => str::from_utf8(uri).ok().and_then(Uri::parse),
            Start::Response { .. } => None,
        };
        uri.ok_or(Flaw::RequestUri)
    }

    /// The first field of this name.
    pub fn field(&self, name: Name) -> Option<&Field<'a>> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Every field of this name, in order.
    pub fn fields_of(&self, name: Name) -> impl Iterator<Item = &Field<'a>> {
        self.fields.iter().filter(move |field| field.name == name)
    }

    /// The value of the first field of this name, when it is there and is UTF-8.
    pub fn text(&self, name: Name) -> Option<&str> {
        self.field(name).and_then(Field::text)
    }

    /// The values of all fields of this name, lists taken apart (RFC 3261 7.3.1): `Require`,
    /// `Supported`, `Allow` … Values that are no UTF-8 are left out.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.fields_of(name).filter_map(Field::text).flat_map(Split::list)
    }

    /// Whether a list header names this token, in whichever case.
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.values(name).any(|value| value.eq_ignore_ascii_case(token))
    }

    /// The top Via.
    pub fn via(&self) -> Result<Via<'_>, Flaw> {
        self.vias().next().unwrap_or(Err(Flaw::Missing(Name::Via)))
    }

    /// Every Via, top first.
    pub fn vias(&self) -> impl Iterator<Item = Result<Via<'_>, Flaw>> {
        self.list(Name::Via, Via::parse)
    }

    /// From.
    pub fn from(&self) -> Result<NameAddr<'_>, Flaw> {
        self.need(Name::From, NameAddr::parse)
    }

    /// To.
    pub fn to(&self) -> Result<NameAddr<'_>, Flaw> {
        self.need(Name::To, NameAddr::parse)
    }

    /// Call-ID: compared byte by byte (RFC 3261 20.8).
    pub fn call_id(&self) -> Result<&str, Flaw> {
        self.need(Name::CallId, |text| CALL_ID.spells(text.as_bytes()).then_some(text))
    }

    /// CSeq.
    pub fn cseq(&self) -> Result<CSeq, Flaw> {
        self.need(Name::CSeq, CSeq::parse)
    }

    /// The first Contact, when there is one.
    pub fn contact(&self) -> Result<Option<Contact<'_>>, Flaw> {
        self.contacts().next().transpose()
    }

    /// Every Contact.
    pub fn contacts(&self) -> impl Iterator<Item = Result<Contact<'_>, Flaw>> {
        self.list(Name::Contact, Contact::parse)
    }

    /// Every Route, next hop first.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Flaw>> {
        self.list(Name::Route, NameAddr::parse)
    }

    /// Every Path, the one nearest to us first (RFC 3327).
    pub fn path(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Flaw>> {
        self.list(Name::Path, NameAddr::parse)
    }

    /// Every Record-Route, as they stand: a UAC reverses them (RFC 3261 12.1.2).
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Flaw>> {
        self.list(Name::RecordRoute, NameAddr::parse)
    }

    /// Max-Forwards, 0 to 255; RFC 2543 knew none.
    pub fn max_forwards(&self) -> Result<Option<u8>, Flaw> {
        self.want(Name::MaxForwards, number)
    }

    /// Expires, in seconds, `u32::MAX` for anything longer.
    pub fn expires(&self) -> Result<Option<u32>, Flaw> {
        self.want(Name::Expires, seconds)
    }

    /// Min-Expires, in seconds.
    pub fn min_expires(&self) -> Result<Option<u32>, Flaw> {
        self.want(Name::MinExpires, seconds)
    }

    /// What the body is.
    pub fn content_type(&self) -> Result<Option<MediaType<'_>>, Flaw> {
        self.want(Name::ContentType, MediaType::parse)
    }

    /// Session-Expires (RFC 4028 4).
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, Flaw> {
        self.want(Name::SessionExpires, SessionExpires::parse)
    }

    /// Min-SE, in seconds (RFC 4028 5).
    pub fn min_se(&self) -> Result<Option<u32>, Flaw> {
        self.want(Name::MinSe, SessionExpires::parse).map(|min| min.map(|min| min.interval))
    }

    /// RSeq of a reliable provisional response (RFC 3262 7.1).
    pub fn rseq(&self) -> Result<Option<u32>, Flaw> {
        self.want(Name::RSeq, number)
    }

    /// RAck of a PRACK (RFC 3262 7.2).
    pub fn rack(&self) -> Result<Option<RAck>, Flaw> {
        self.want(Name::RAck, RAck::parse)
    }

    /// Content-Length, when it is there: digits only, and where it is said twice, the same
    /// (RFC 4475 3.3.9). Streams are cut by it, so it is read in one place.
    pub fn content_length(&self) -> Result<Option<usize>, Flaw> {
        let mut lengths = self.fields_of(Name::ContentLength).map(|field| {
            field.text().and_then(number::<usize>).ok_or(Flaw::Malformed(Name::ContentLength))
        });
        let Some(first) = lengths.next().transpose()? else { return Ok(None) };
        for other in lengths {
            if other? != first {
                return Err(Flaw::Repeated(Name::ContentLength));
            }
        }
        Ok(Some(first))
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
        // A value that is no UTF-8 is read as an empty one, which no header of addresses allows.
        self.fields_of(name)
            .flat_map(|field| Split::list(field.text().unwrap_or_default()))
            .map(move |value| parse(value).ok_or(Flaw::Malformed(name)))
    }

    /// Reads lines up to the empty one.
    fn read_fields(&mut self, lines: &mut Lines<'a>) {
        loop {
            let line = lines.next_folded();
            match line.end {
                LineEnd::Break => {}
                LineEnd::Bytes => self.blame(Flaw::HeadUnterminated),
                LineEnd::Limit => return self.blame(Flaw::HeadTooLong),
            }
            if line.is_ragged {
                self.blame(Flaw::LineBreak);
            }
            if line.text.is_empty() {
                return;
            }
            if self.fields.len() == FIELDS_MAX {
                lines.rest = &[];
                return self.blame(Flaw::FieldsTooMany);
            }
            match Field::parse(&line) {
                Ok((field, flaw)) => {
                    self.fields.push(field);
                    flaw.into_iter().for_each(|flaw| self.blame(flaw));
                }
                Err(flaw) => self.blame(flaw),
            }
        }
    }

    /// RFC 3261 18.3: on a datagram, bytes beyond Content-Length are ignored and too few are an
    /// error.
    fn read_body(&mut self, rest: &'a [u8]) {
        let announced = self.content_length().unwrap_or_else(|flaw| {
            self.blame(flaw);
            None
        });
        let length = announced.unwrap_or(rest.len());
        if length > BODY_MAX {
            return self.blame(Flaw::BodyTooLong);
        }
        self.body = rest.get(..length).unwrap_or_else(|| {
            self.blame(Flaw::BodyTruncated);
            rest
        });
    }

    /// Remembers the first flaw only: later ones often follow from it.
    fn blame(&mut self, flaw: Flaw) {
        self.flaw.get_or_insert(flaw);
    }
}

/// Fields for which a message makes room at once: a usual INVITE has about fourteen.
const FIELDS_USUAL: usize = 20;

impl<'a> Start<'a> {
    /// Takes the line apart at its outer blanks, so that a crooked one can still be answered.
    pub(super) fn parse(line: &'a [u8]) -> Result<(Self, Option<Flaw>), ParseError> {
        if names_sip(line) {
            return Self::parse_status(line).map(|start| (start, None));
        }
        let trimmed = trim(line);
        let is_space = |byte: &u8| *byte == b' ';
        let first = trimmed.iter().position(is_space).ok_or(ParseError::NotSip)?;
        let last = trimmed.iter().rposition(is_space).ok_or(ParseError::NotSip)?;
        let version = &trimmed[last + 1..];
        let method = Method::parse(&trimmed[..first]).filter(|_| names_sip(version));
        let method = method.ok_or(ParseError::NotSip)?;
        let uri = trimmed.get(first + 1..last).unwrap_or_default();
        let flaw = if &version[4..] != b"2.0" {
            Some(Flaw::Version)
        } else if trimmed.len() != line.len() || uri.is_empty() || uri.contains(&b' ') {
            Some(Flaw::StartLine)
        } else {
            None
        };
        Ok((Self::Request { method, uri: trim(uri) }, flaw))
    }

    fn parse_status(line: &'a [u8]) -> Result<Self, ParseError> {
        let rest = line[4..].strip_prefix(b"2.0 ").ok_or(ParseError::NotSip)?;
        let end = rest.iter().position(|byte| *byte == b' ').unwrap_or(rest.len());
        match str::from_utf8(&rest[..end]).ok().and_then(number::<u16>) {
            Some(status @ 100..=699) if end == 3 => {
                Ok(Self::Response { status, reason: rest.get(end + 1..).unwrap_or_default() })
            }
            Some(_) | None => Err(ParseError::Status),
        }
    }
}

fn names_sip(bytes: &[u8]) -> bool {
    bytes.get(..4).is_some_and(|name| name.eq_ignore_ascii_case(b"SIP/"))
}

impl<'a> Field<'a> {
    /// The value as text; `None` when it is no UTF-8.
    pub fn text(&self) -> Option<&str> {
        str::from_utf8(&self.value).ok()
    }

    fn parse(line: &Line<'a>) -> Result<(Self, Option<Flaw>), Flaw> {
        let colon = find(line.text, b':').ok_or(Flaw::FieldLine)?;
        // RFC 3261 7.3.1: blanks may stand before the colon, and belong to no name.
        let (raw_name, value) = (line.text[..colon].trim_ascii_end(), &line.text[colon + 1..]);
        let name = Name::parse(raw_name);
        if name == Name::Other && !is_token(raw_name) {
            return Err(Flaw::FieldLine);
        }
        let value = trim(value);
        let (value, flaw) =
            if line.is_plain { (Cow::Borrowed(value), None) } else { unfold(value) };
        Ok((Self { name, raw_name, value }, flaw))
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "nothing but line breaks",
            Self::NotSip => "no start line of SIP",
            Self::Status => "a response status outside 100 to 699",
        })
    }
}

impl std::error::Error for ParseError {}

/// Undoes folds (RFC 3261 7.3.1): a line break and the blanks around it are one space. Control
/// characters are a flaw unless a backslash stands before them, as NUL may in a quoted string.
fn unfold(value: &[u8]) -> (Cow<'_, [u8]>, Option<Flaw>) {
    let mut flat = Vec::with_capacity(value.len());
    let mut flaw = None;
    let mut rest = value;
    while let [byte, after @ ..] = rest {
        match byte {
            b'\r' | b'\n' => {
                if !matches!(rest, [b'\r', b'\n', b' ' | b'\t', ..]) {
                    flaw.get_or_insert(Flaw::LineBreak);
                }
                flat.truncate(flat.trim_ascii_end().len());
                flat.push(b' ');
                rest = after.trim_ascii_start();
            }
            0..b' ' if *byte != b'\t' && flat.last() != Some(&b'\\') => {
                flaw.get_or_insert(Flaw::Control);
                flat.push(b' ');
                rest = after;
            }
            _ => {
                flat.push(*byte);
                rest = after;
            }
        }
    }
    (Cow::Owned(trim(&flat).to_vec()), flaw)
}

/// The lines that are left, and how many bytes of them may still belong to the head.
struct Lines<'a> {
    rest: &'a [u8],
    left: usize,
}

#[derive(Debug, PartialEq)]
struct Line<'a> {
    /// Without the line break at its end; folds are still inside.
    text: &'a [u8],
    /// Whether there is neither fold nor control character inside.
    is_plain: bool,
    /// Whether it ended in LF alone.
    is_ragged: bool,
    end: LineEnd,
}

/// What a line ended in: its break, the last of the bytes, or the limit.
#[derive(Debug, PartialEq)]
enum LineEnd {
    Break,
    Bytes,
    Limit,
}

impl<'a> Lines<'a> {
    fn next_single(&mut self) -> Line<'a> {
        let end = next_break(self.rest);
        self.take(end)
    }

    /// A line with those that continue it because they begin with a blank.
    fn next_folded(&mut self) -> Line<'a> {
        let plain = next_control(self.rest);
        match &self.rest[plain..] {
            // Nearly every line ends at its first control character.
            [b'\r', b'\n', next, ..]
                if plain + 2 <= self.left && (plain == 0 || !matches!(next, b' ' | b'\t')) =>
            {
                let text = &self.rest[..plain];
                self.rest = &self.rest[plain + 2..];
                self.left -= plain + 2;
                Line { text, is_plain: true, is_ragged: false, end: LineEnd::Break }
            }
            _ => self.next_odd(),
        }
    }

    /// [`Self::next_folded`] for the lines that are folded, ragged, cut off or hold controls.
    fn next_odd(&mut self) -> Line<'a> {
        let mut end = next_break(self.rest);
        let is_empty = matches!(self.rest, [b'\n', ..] | [b'\r', b'\n', ..]);
        while !is_empty
            && let Some(at) = end
            && matches!(self.rest[at + 1..], [b' ' | b'\t', ..])
        {
            end = next_break(&self.rest[at + 1..]).map(|more| at + 1 + more);
        }
        self.take(end)
    }

    fn take(&mut self, end: Option<usize>) -> Line<'a> {
        let length = end.map_or(self.rest.len(), |end| end + 1);
        if length > self.left {
            self.rest = &[];
            return Line { text: &[], is_plain: true, is_ragged: false, end: LineEnd::Limit };
        }
        self.left -= length;
        let (line, rest) = self.rest.split_at(length);
        self.rest = rest;
        let is_ragged = end.is_some() && !line.ends_with(b"\r\n");
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let end = if end.is_some() { LineEnd::Break } else { LineEnd::Bytes };
        Line { text, is_plain: next_control(text) == text.len(), is_ragged, end }
    }
}

fn next_break(bytes: &[u8]) -> Option<usize> {
    find(bytes, b'\n')
}

/// The top bit of each byte of a word.
const TOPS: u64 = u64::from_ne_bytes([1 << 7; 8]);
/// A one in each byte of a word.
const ONES: u64 = u64::from_ne_bytes([1; 8]);

/// Where this byte stands first: eight at a time, because every name of every field is looked for.
pub(super) fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word) ^ (ONES * wanted as u64);
        // The top bit of each byte that is zero; a borrow can only mark a byte above such a one.
        let found = word.wrapping_sub(ONES) & !word & TOPS;
        if found != 0 {
            return Some(number * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let at = words.len() * 8;
    rest.iter().position(|byte| *byte == wanted).map(|found| at + found)
}

/// Bytes before the first control character other than a tab: eight at a time, because every byte
/// of every header is looked at here.
pub(super) fn next_control(bytes: &[u8]) -> usize {
    let is_control = |byte: u8| byte < b' ' && byte != b'\t';
    let (words, rest) = bytes.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        // The top bit of each byte that is less than a space; a borrow can only mark a byte too
        // many above one that is marked rightly.
        let word = u64::from_le_bytes(*word);
        let mut found = word.wrapping_sub(ONES * b' ' as u64) & !word & TOPS;
        while found != 0 {
            let at = number * 8 + found.trailing_zeros() as usize / 8;
            if is_control(bytes[at]) {
                return at;
            }
            found &= found - 1;
        }
    }
    let at = words.len() * 8;
    at + rest.iter().position(|byte| is_control(*byte)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests;
