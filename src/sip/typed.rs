//! Scaffold.
use super::name::Method;
use super::text::{Params, find_bare, is_blank, is_token, number, unquote};
use super::uri::{Host, Uri};
use std::borrow::Cow;
use std::fmt;
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// x
    pub transport: &'a str,
    /// x
    pub host: Host<'a>,
    /// x
    pub port: Option<u16>,
    /// x
    pub params: Params<'a>,
}
impl<'a> Via<'a> {
    /// x
    pub fn parse(text: &'a str) -> Option<Self> {
        let (sent, params) = split_params(text)?;
        let rest = sent.strip_prefix("SIP/2.0/")?;
        let (transport, sent_by) = rest.split_once(is_blank)?;
        let (host, port) = Host::parse_with_port(sent_by.trim_matches(is_blank))?;
        Some(Self { transport, host, port, params })
    }
    /// x
    pub fn branch(&self) -> Option<&'a str> {
        let branch = self.params.value("branch")?;
        branch.starts_with("z9hG4bK").then_some(branch)
    }
}
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    display: &'a str,
    /// x
    pub uri: Uri<'a>,
    /// x
    pub uri_text: &'a str,
    /// x
    pub params: Params<'a>,
}
impl<'a> NameAddr<'a> {
    /// x
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim_matches(is_blank);
        if let Some(open) = find_bare(text, b'<') {
            let close = open + text[open..].find('>')?;
            let uri_text = text[open + 1..close].trim_matches(is_blank);
            let display = text[..open].trim_end_matches(is_blank);
            let params = Params::parse(&text[close + 1..])?;
            Some(Self { display, uri: Uri::parse(uri_text)?, uri_text, params })
        } else {
            let (uri_text, params) = split_params(text)?;
            Some(Self { display: "", uri: Uri::parse(uri_text)?, uri_text, params })
        }
    }
    /// x
    pub fn display_name(&self) -> Cow<'a, str> {
        unquote(self.display)
    }
    /// x
    pub fn tag(&self) -> Option<&'a str> {
        self.params.value("tag").filter(|tag| !tag.is_empty())
    }
}
impl fmt::Display for NameAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blank = if self.display.is_empty() { "" } else { " " };
        write!(f, "{}{blank}<{}>{}", self.display, self.uri_text, self.params)
    }
}
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    /// x
    All,
    /// x
    Address(NameAddr<'a>),
}
impl<'a> Contact<'a> {
    /// x
    pub fn parse(text: &'a str) -> Option<Self> {
        if text == "*" { Some(Self::All) } else { NameAddr::parse(text).map(Self::Address) }
    }
    /// x
    pub const fn address(&self) -> Option<&NameAddr<'a>> {
        match self {
            Self::All => None,
            Self::Address(a) => Some(a),
        }
    }
}
/// x
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// x
    pub number: u32,
    /// x
    pub method: Method,
}
impl CSeq {
    /// x
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, method) = text.split_once(is_blank)?;
        Some(Self {
            number: number(sequence)?,
            method: Method::parse(method.trim_matches(is_blank).as_bytes())?,
        })
    }
}
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// x
    pub kind: &'a str,
    /// x
    pub subtype: &'a str,
}
impl<'a> MediaType<'a> {
    /// x
    pub fn parse(text: &'a str) -> Option<Self> {
        let (media, _) = split_params(text)?;
        let (kind, subtype) = media.split_once('/')?;
        (is_token(kind.as_bytes()) && is_token(subtype.as_bytes()))
            .then_some(Self { kind, subtype })
    }
    /// x
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }
}
pub(super) fn seconds(text: &str) -> Option<u32> {
    number(text)
}
fn split_params(text: &str) -> Option<(&str, Params<'_>)> {
    let at = find_bare(text, b';').unwrap_or(text.len());
    Some((text[..at].trim_matches(is_blank), Params::parse(&text[at..])?))
}
