//! Messages printed in one piece: start line, fields, Content-Length, body, in one allocation.
//!
//! *Invariant:* no value brings its own line break, so nobody's input becomes a header.

use std::fmt::{self, Display};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use super::message::{Field, Message, next_control};
use super::name::{Method, Name};
use super::reason::reason_phrase;
use super::text::find_bare;
use super::typed::Via;
use super::uri::Host;
use crate::base::Dotted;

/// A message on its way out. The first mistake is remembered and told by [`Printer::finish`] or
/// [`Printer::body`], so that the calls can be chained.
#[derive(Clone, Debug)]
pub struct Printer {
    bytes: Vec<u8>,
    mistake: Option<PrintError>,
}

/// What was handed in cannot be printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrintError {
    /// A control character in the start line.
    StartLine,
    /// A control character, a line break foremost, in a value of this header.
    Value(Name),
    /// The name of a header is no token.
    Name,
}

impl Printer {
    /// Begins a request.
    pub fn request(method: &Method, uri: impl Display) -> Self {
        let mut printer = Self::with_capacity(REQUEST_USUAL);
        printer.write(PrintError::StartLine, format_args!("{method} {uri}"));
        printer.bytes.extend_from_slice(b" SIP/2.0\r\n");
        printer
    }

    /// Begins a response with nothing copied, under the usual reason phrase.
    pub fn response(status: u16) -> Self {
        Self::response_with_reason(status, reason_phrase(status))
    }

    /// Begins a response with nothing copied, under a reason phrase of one's own.
    pub fn response_with_reason(status: u16, reason: impl Display) -> Self {
        let mut printer = Self::with_capacity(REQUEST_USUAL);
        printer.status_line(status, reason);
        printer
    }

    /// Begins the response to a request (RFC 3261 8.2.6.2): every Via in order, From, To with
    /// `to_tag` where it has none (empty: no tag, as for 100), Call-ID, CSeq. The top Via is told
    /// where the request came from, `source` (18.2.1; RFC 3581 4).
    pub fn answer(request: &Message<'_>, status: u16, to_tag: &str, source: SocketAddr) -> Self {
        Self::answer_with_reason(request, status, reason_phrase(status), to_tag, source)
    }

    /// As [`Printer::answer`], under a reason phrase of one's own.
    pub fn answer_with_reason(
        request: &Message<'_>,
        status: u16,
        reason: impl Display,
        to_tag: &str,
        source: SocketAddr,
    ) -> Self {
        let copied: usize = request.fields.iter().map(|field| field.value.len() + 20).sum();
        let mut printer = Self::with_capacity(copied + RESPONSE_ADDED);
        printer.status_line(status, reason);
        for (number, via) in request.fields_of(Name::Via).enumerate() {
            match via.text().filter(|_| number == 0) {
                Some(text) => printer.top_via(text, source),
                None => printer.value(Name::Via, &via.value),
            }
        }
        for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
            let Some(field) = request.field(name) else { continue };
            let is_tagged = name != Name::To || to_tag.is_empty() || has_tag(request);
            if is_tagged {
                printer.value(name, &field.value);
            } else {
                printer.value_with_tag(field, to_tag);
            }
        }
        printer
    }

    /// Appends a field.
    pub fn field(mut self, name: Name, value: impl Display) -> Self {
        self.bytes.extend_from_slice(name.as_str().as_bytes());
        if name == Name::Other {
            self.mistake.get_or_insert(PrintError::Name);
        }
        self.end_line(name, format_args!("{value}"));
        self
    }

    /// Appends a field whose value is a text already.
    pub fn text(mut self, name: Name, value: &str) -> Self {
        if name == Name::Other {
            self.mistake.get_or_insert(PrintError::Name);
        }
        self.value(name, value.as_bytes());
        self
    }

    /// Appends a field of a name this room has no rule for.
    pub fn field_named(mut self, name: &str, value: impl Display) -> Self {
        if !super::text::is_token(name.as_bytes()) {
            self.mistake.get_or_insert(PrintError::Name);
            return self;
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.end_line(Name::Other, format_args!("{value}"));
        self
    }

    /// Appends every field of this name that `message` has: Record-Route into the answer that
    /// begins a dialog (RFC 3261 12.1.1), Timestamp into a 100 (8.2.6.1).
    pub fn copy(mut self, message: &Message<'_>, name: Name) -> Self {
        for field in message.fields_of(name) {
            self.field_bytes(field);
        }
        self
    }

    /// The message without body.
    pub fn finish(mut self) -> Result<Vec<u8>, PrintError> {
        self.bytes.extend_from_slice(b"Content-Length: 0\r\n\r\n");
        self.mistake.map_or(Ok(self.bytes), Err)
    }

    /// The message with this body.
    pub fn body(self, content_type: impl Display, body: &[u8]) -> Result<Vec<u8>, PrintError> {
        let mut printer = self.field(Name::ContentType, content_type);
        printer.bytes.reserve(body.len() + 40);
        printer = printer.field(Name::ContentLength, body.len());
        printer.bytes.extend_from_slice(b"\r\n");
        printer.bytes.extend_from_slice(body);
        printer.mistake.map_or(Ok(printer.bytes), Err)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), mistake: None }
    }

    fn status_line(&mut self, status: u16, reason: impl Display) {
        self.write(PrintError::StartLine, format_args!("SIP/2.0 {status} {reason}"));
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The top Via, its `received` and `rport` replaced by what is so.
    fn top_via(&mut self, text: &str, source: SocketAddr) {
        let (top, below) = text.split_at(find_bare(text, b',').unwrap_or(text.len()));
        let Some(Via { host, params, .. }) = Via::parse(top.trim()) else {
            return self.value(Name::Via, text.as_bytes());
        };
        self.bytes.extend_from_slice(b"Via: ");
        let from = self.bytes.len();
        let sent = top.split(';').next().unwrap_or_default().trim();
        self.bytes.extend_from_slice(sent.as_bytes());
        let mut asks_port = false;
        for (name, value) in params.iter() {
            asks_port |= name.eq_ignore_ascii_case("rport");
            if ["received", "rport"].iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
                continue;
            }
            for part in [";", name, if value.is_empty() { "" } else { "=" }, value] {
                self.bytes.extend_from_slice(part.as_bytes());
            }
        }
        let mut add = |said: fmt::Arguments<'_>| {
            self.bytes.write_fmt(said).expect("a vector takes every byte")
        };
        if asks_port || !host.is_equivalent(&host_of(source)) {
            add(format_args!(";received={}", Dotted(source.ip().to_canonical())));
        }
        if asks_port {
            add(format_args!(";rport={}", source.port()));
        }
        self.bytes.extend_from_slice(below.as_bytes());
        self.check(from, PrintError::Value(Name::Via));
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn value_with_tag(&mut self, field: &Field<'_>, tag: &str) {
        self.bytes.extend_from_slice(field.name.as_str().as_bytes());
        self.bytes.extend_from_slice(b": ");
        self.bytes.extend_from_slice(&field.value);
        self.write(PrintError::Value(field.name), format_args!(";tag={tag}"));
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn value(&mut self, name: Name, value: &[u8]) {
        self.line(name.as_str().as_bytes(), name, value);
    }

    fn field_bytes(&mut self, field: &Field<'_>) {
        let known = field.name.as_str().as_bytes();
        self.line(if known.is_empty() { field.raw_name } else { known }, field.name, &field.value);
    }

    fn line(&mut self, spelled: &[u8], name: Name, value: &[u8]) {
        self.bytes.extend_from_slice(spelled);
        self.bytes.extend_from_slice(b": ");
        let from = self.bytes.len();
        self.bytes.extend_from_slice(value);
        self.check(from, PrintError::Value(name));
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn end_line(&mut self, name: Name, value: fmt::Arguments<'_>) {
        self.bytes.extend_from_slice(b": ");
        self.write(PrintError::Value(name), value);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn write(&mut self, blame: PrintError, value: fmt::Arguments<'_>) {
        let from = self.bytes.len();
        self.bytes.write_fmt(value).expect("a vector takes every byte");
        self.check(from, blame);
    }

    /// RFC 3261 25.1: of control characters only the tab, and those behind a backslash; line breaks
    /// never.
    fn check(&mut self, from: usize, blame: PrintError) {
        let value = &self.bytes[from..];
        if next_control(value) == value.len() {
            return;
        }
        let is_bad = |at: usize, byte: u8| match byte {
            b'\r' | b'\n' => true,
            b'\t' | b' '.. => false,
            _ => at == 0 || value[at - 1] != b'\\',
        };
        if value.iter().enumerate().any(|(at, byte)| is_bad(at, *byte)) {
            self.mistake.get_or_insert(blame);
        }
    }
}

/// Room for a request of ours with its SDP.
const REQUEST_USUAL: usize = 1800;

/// Room for what an answer adds to the fields it copies.
const RESPONSE_ADDED: usize = 900;

impl Display for PrintError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StartLine => f.write_str("a control character in the start line"),
            Self::Value(name) => write!(f, "a control character in {name}"),
            Self::Name => f.write_str("a header name that is no token"),
        }
    }
}

impl std::error::Error for PrintError {}

fn has_tag(request: &Message<'_>) -> bool {
    // A To that cannot be read is copied as it is: a tag might end up inside a quote.
    request.to().map_or(true, |to| to.tag().is_some())
}

fn host_of(source: SocketAddr) -> Host<'static> {
    match source.ip().to_canonical() {
        IpAddr::V4(address) => Host::V4(address),
        IpAddr::V6(address) => Host::V6(address),
    }
}
