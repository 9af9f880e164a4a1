//! The small grammar that header values share: tokens, quotes, lists and parameters.

use std::borrow::Cow;
use std::fmt;

use super::set::{PARAM_NAME, PLAIN, TOKEN, WORD};

/// The `;name=value` part of a header or URI. Checked when it was parsed, read on demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Reads `;a;b=c`, or nothing at all; `None` when a parameter is empty or half a quote.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = trim_text(text);
        if text.is_empty() {
            return Some(Self(""));
        }
        let text = trim_text(text.strip_prefix(';')?);
        let mut rest = Some(text);
        while let Some(params) = rest {
            (_, rest) = cut_param(params)?;
        }
        Some(Self(text))
    }

    /// Name and value in order; the value is empty when there was none, and keeps its quotes.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = Some(self.0);
        std::iter::from_fn(move || {
            let (param, after) = cut_param(rest?)?;
            rest = after;
            Some(param)
        })
    }

    /// The value of the first parameter of this name, in whichever case; empty for a bare name.
    pub fn value(self, name: &str) -> Option<&'a str> {
        self.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Whether there is a parameter of this name.
    pub fn has(self, name: &str) -> bool {
        self.value(name).is_some()
    }
}

/// With the leading semicolon, ready to be appended; nothing when there are none.
impl fmt::Display for Params<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ";{}", self.0) }
    }
}

/// A quoted string without its quotes and backslashes; any other text as it is
/// (RFC 3261 25.1, `quoted-pair`).
pub fn unquote(text: &str) -> Cow<'_, str> {
    let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Cow::Borrowed(text);
    };
    if !inner.contains('\\') {
        return Cow::Borrowed(inner);
    }
    let mut plain = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        plain.extend(if character == '\\' { characters.next() } else { Some(character) });
    }
    Cow::Owned(plain)
}

/// A parameter, and the parameters after the semicolon behind it.
type Cut<'a> = ((&'a str, &'a str), Option<&'a str>);

/// Takes the first of `a;b=c`: its name, and its value, which is one word or one whole quoted
/// string, empty when there is none. `None` when it has no name, or anything else stands there.
fn cut_param(text: &str) -> Option<Cut<'_>> {
    let text = trim_start(text);
    let (name, rest) = text.split_at(PARAM_NAME.span(text.as_bytes()));
    let (mut value, mut rest) = ("", trim_start(rest));
    if let Some(after) = rest.strip_prefix('=') {
        let after = trim_start(after);
        let is_quoted = after.starts_with('"');
        let length = if is_quoted { quoted_len(after)? } else { WORD.span(after.as_bytes()) };
        (value, rest) = after.split_at(length);
        rest = trim_start(rest);
    }
    let rest = if rest.is_empty() { None } else { Some(rest.strip_prefix(';')?) };
    (!name.is_empty()).then_some(((name, value), rest))
}

/// The values of a header that may carry several (RFC 3261 7.3.1), cut at commas, but not inside
/// quotes or angle brackets.
#[derive(Clone, Debug)]
pub(super) struct Split<'a>(Option<&'a str>);

impl<'a> Split<'a> {
    /// The values in order.
    pub(super) const fn list(text: &'a str) -> Self {
        Self(Some(text))
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0.take()?;
        // Most values are alone: a comma is looked for by the widest steps before quotes are read.
        let comma = if rest.as_bytes().contains(&b',') { find_bare(rest, b',') } else { None };
        let Some(end) = comma else { return Some(trim_text(rest)) };
        self.0 = Some(&rest[end + 1..]);
        Some(trim_text(&rest[..end]))
    }
}

/// Where the separator or bracket `wanted` first stands outside quotes and angle brackets.
pub(super) fn find_bare(text: &str, wanted: u8) -> Option<usize> {
    debug_assert!(!PLAIN.has(wanted), "a separator");
    let bytes = text.as_bytes();
    let mut at = 0;
    loop {
        at += PLAIN.span(&bytes[at..]);
        let byte = *bytes.get(at)?;
        if byte == wanted {
            return Some(at);
        }
        at += match byte {
            b'"' => quoted_len(&text[at..])?,
            b'<' => bytes[at..].iter().position(|byte| *byte == b'>')? + 1,
            _ => 1,
        };
    }
}

/// Bytes of the quoted string that `text` begins with, both quotes counted; `None` without its end.
pub(super) fn quoted_len(text: &str) -> Option<usize> {
    let mut escaped = true; // The opening quote is not the closing one.
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Whether these bytes are a token (RFC 3261 25.1).
pub(super) fn is_token(bytes: &[u8]) -> bool {
    TOKEN.spells(bytes)
}

/// Space or tab; line breaks never reach a value.
pub(super) const fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

/// Bytes without the blanks around them.
pub(super) const fn trim(bytes: &[u8]) -> &[u8] {
    let mut bytes = bytes;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// Text without the blanks around it.
pub(super) fn trim_text(text: &str) -> &str {
    let end = text.bytes().rposition(is_no_blank).map_or(0, |last| last + 1);
    trim_start(&text[..end])
}

fn trim_start(text: &str) -> &str {
    &text[text.bytes().position(is_no_blank).unwrap_or(text.len())..]
}

const fn is_no_blank(byte: u8) -> bool {
    !matches!(byte, b' ' | b'\t')
}

/// A decimal number of digits only, no sign; `None` when it is none or does not fit.
pub(super) fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_respect_quotes_and_brackets() {
        let list = r#""Bell, A. \" G." <sip:a,b@c>;x="1,2" , <sip:d>,,e"#;
        let values: Vec<_> = Split::list(list).collect();
        assert_eq!(values, [r#""Bell, A. \" G." <sip:a,b@c>;x="1,2""#, "<sip:d>", "", "e"]);
    }

    #[test]
    fn parameters_are_found_in_any_case_and_refused_when_empty() {
        let params = Params::parse(r#" ; Branch = z9hG4bK1 ;lr; reason="a;b" "#).unwrap();
        assert_eq!(params.value("branch"), Some("z9hG4bK1"));
        assert_eq!(params.value("lr"), Some(""));
        assert_eq!(params.value("reason"), Some(r#""a;b""#));
        assert_eq!(params.value("tag"), None);
        for bad in [";", ";;", ";a;", "a=b", ";a=\"b", ";a=b c", ";=b"] {
            assert_eq!(Params::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn quotes_come_off_once() {
        assert_eq!(unquote(r#""J \"Rosen\\""#), r#"J "Rosen\"#);
        assert_eq!(unquote("plain"), "plain");
        assert_eq!(unquote("\""), "\"");
    }
}
