//! The small grammar that header values share: tokens, quotes, lists and parameters.

use std::borrow::Cow;
use std::fmt;

/// The `;name=value` part of a header or URI. Checked when it was parsed, read on demand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Params<'a>(&'a str);

impl<'a> Params<'a> {
    /// Reads `;a;b=c`, or nothing at all; `None` when a parameter is empty or half a quote.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(is_blank);
        if text.is_empty() {
            return Some(Self(""));
        }
        let params = Self(text.strip_prefix(';')?.trim_matches(is_blank));
        // Nothing behind the semicolon would read as no parameters at all.
        (!params.0.is_empty() && params.iter().all(is_sound)).then_some(params)
    }

    /// Name and value in order; the value is empty when there was none, and keeps its quotes.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let text = if self.0.is_empty() { None } else { Some(self.0) };
        Split { rest: text, at: b';' }.map(|one| match one.split_once('=') {
            Some((name, value)) => (name.trim_matches(is_blank), value.trim_matches(is_blank)),
            None => (one, ""),
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

/// A list or parameter string cut at `at`, but not inside quotes or angle brackets.
#[derive(Clone, Debug)]
pub(super) struct Split<'a> {
    rest: Option<&'a str>,
    at: u8,
}

impl<'a> Split<'a> {
    /// The values of a header that may carry several (RFC 3261 7.3.1).
    pub(super) const fn list(text: &'a str) -> Self {
        Self { rest: Some(text), at: b',' }
    }
}

impl<'a> Iterator for Split<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.rest.take()?;
        let one = match find_bare(rest, self.at) {
            Some(end) => {
                self.rest = Some(&rest[end + 1..]);
                &rest[..end]
            }
            None => rest,
        };
        Some(one.trim_matches(is_blank))
    }
}

/// Where the ASCII character `wanted` first stands outside quotes and angle brackets.
pub(super) fn find_bare(text: &str, wanted: u8) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut in_brackets = false;
    while let Some(&byte) = bytes.get(at) {
        if byte == wanted && !in_brackets {
            return Some(at);
        }
        match byte {
            b'"' if !in_brackets => at += quoted_len(&text[at..])? - 1,
            b'<' => in_brackets = true,
            b'>' => in_brackets = false,
            _ => {}
        }
        at += 1;
    }
    None
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
    !bytes.is_empty() && bytes.iter().all(|byte| TOKEN[*byte as usize])
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"-.!%*_+`'~";
    let mut mark = 0;
    while mark < marks.len() {
        table[marks[mark] as usize] = true;
        mark += 1;
    }
    table
};

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

/// A decimal number of digits only, no sign; `None` when it is none or does not fit.
pub(super) fn number<T: TryFrom<u64>>(text: &str) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse::<u64>().ok().and_then(|number| T::try_from(number).ok())
}

/// A parameter is sound when it has a name and its value is one word or one whole quoted string.
fn is_sound((name, value): (&str, &str)) -> bool {
    let is_word = |text: &str| {
        text.bytes().all(|byte| byte > b' ' && byte != 0x7f && !b"\"<>,;".contains(&byte))
    };
    let is_quoted = value.starts_with('"') && quoted_len(value) == Some(value.len());
    !name.is_empty() && is_word(name) && (is_quoted || is_word(value))
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
