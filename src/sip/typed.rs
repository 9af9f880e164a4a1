//! Header values with a shape: read on demand from one value, borrowed, `None` when malformed.

use std::borrow::Cow;
use std::fmt;

use super::name::Method;
use super::set::{DISPLAY, TOKEN};
use super::text::{Params, find_bare, is_blank, is_token, number, quoted_len, trim_text, unquote};
use super::uri::{Host, Uri, needs_brackets};

/// One Via value: one hop of the way back (RFC 3261 20.42).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Via<'a> {
    /// `UDP`, `TCP`, `TLS`, `WS`, `WSS` or what else was written; compare without case.
    pub transport: &'a str,
    /// The host of sent-by.
    pub host: Host<'a>,
    /// The port of sent-by, when one is written.
    pub port: Option<u16>,
    /// `branch`, `received`, `rport` and others.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (sent, params) = split_params(text)?;
        // Nearly everybody writes the protocol without blanks, as the examples of the RFC do.
        let rest = match sent.strip_prefix("SIP/2.0/") {
            Some(rest) => trim_text(rest),
            None => after_protocol(sent)?,
        };
        let (transport, sent_by) = rest.split_at(TOKEN.span(rest.as_bytes()));
        if transport.is_empty() || !sent_by.starts_with(is_blank) {
            return None;
        }
        let (host, port) = Host::parse_with_port(trim_text(sent_by))?;
        Some(Self { transport, host, port, params })
    }

    /// The branch, when it names a transaction by itself: cookie and something behind it
    /// (RFC 3261 8.1.1.7). `None` asks for the matching rules of RFC 2543 (17.2.3).
    pub fn branch(&self) -> Option<&'a str> {
        let branch = self.params.value("branch")?;
        let cookie = branch.get(..COOKIE.len())?;
        (cookie.eq_ignore_ascii_case(COOKIE) && branch.len() > COOKIE.len()).then_some(branch)
    }
}

/// What follows `SIP`, `2.0` and the slashes, all of which may have blanks around them.
fn after_protocol(sent: &str) -> Option<&str> {
    let mut parts = sent.splitn(3, '/').map(trim_text);
    let (name, version, rest) = (parts.next()?, parts.next()?, parts.next()?);
    (name.eq_ignore_ascii_case("SIP") && version == "2.0").then_some(rest)
}

/// The beginning of every branch that is unique by itself (RFC 3261 8.1.1.7).
const COOKIE: &str = "z9hG4bK";

/// An address with an optional name before and parameters behind: From, To, Contact, Route …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NameAddr<'a> {
    display: &'a str,
    /// The address itself.
    pub uri: Uri<'a>,
    /// The address as written, without angle brackets.
    pub uri_text: &'a str,
    /// Parameters of the header, not of the URI: `tag`, `expires`, `q`.
    pub params: Params<'a>,
}

impl<'a> NameAddr<'a> {
    /// Reads one value, with or without angle brackets (RFC 3261 20.10).
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = trim_text(text);
        if let Some(open) = find_bare(text, b'<') {
            let close = open + text.as_bytes()[open..].iter().position(|byte| *byte == b'>')?;
            let uri_text = trim_text(&text[open + 1..close]);
            let display = trim_text(&text[..open]);
            let params = Params::parse(&text[close + 1..])?;
            is_display(display).then_some(())?;
            Some(Self { display, uri: Uri::parse(uri_text)?, uri_text, params })
        } else {
            let (uri_text, params) = split_params(text)?;
            (!needs_brackets(uri_text)).then_some(())?;
            Some(Self { display: "", uri: Uri::parse(uri_text)?, uri_text, params })
        }
    }

    /// The name before the address without its quotes; empty when there is none.
    pub fn display_name(&self) -> Cow<'a, str> {
        unquote(self.display)
    }

    /// The tag, when there is one and it is not empty (RFC 3261 19.3).
    pub fn tag(&self) -> Option<&'a str> {
        self.params.value("tag").filter(|tag| !tag.is_empty())
    }

    /// The `q` parameter of a contact in thousandths, 0 to 1000 (RFC 3261 25.1); what is no such
    /// number says nothing.
    pub fn preference(&self) -> Option<u16> {
        let text = self.params.value("q")?;
        let (whole, part) = text.split_once('.').unwrap_or((text, ""));
        let is_short = part.len() <= 3 && part.bytes().all(|byte| byte.is_ascii_digit());
        let thousandths = format!("{part:0<3}").parse::<u16>().ok().filter(|_| is_short)?;
        match whole {
            "0" => Some(thousandths),
            "1" if thousandths == 0 => Some(1000),
            _ => None,
        }
    }

    /// The `expires` parameter of a contact, in seconds; what is too large to count is the most
    /// that can be counted (RFC 4475 3.1.2.4).
    pub fn expires(&self) -> Option<u32> {
        self.params.value("expires").and_then(seconds)
    }
}

impl fmt::Display for NameAddr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blank = if self.display.is_empty() { "" } else { " " };
        write!(f, "{}{blank}<{}>{}", self.display, self.uri_text, self.params)
    }
}

/// One Contact value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contact<'a> {
    /// `*`: all bindings, in a REGISTER that removes them (RFC 3261 10.2.2).
    All,
    /// One address.
    Address(NameAddr<'a>),
}

impl<'a> Contact<'a> {
    /// Reads one value.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text == "*" { Some(Self::All) } else { NameAddr::parse(text).map(Self::Address) }
    }

    /// The address, if it is one.
    pub const fn address(&self) -> Option<&NameAddr<'a>> {
        match self {
            Self::All => None,
            Self::Address(address) => Some(address),
        }
    }
}

/// CSeq: which request of a dialog this is, or answers (RFC 3261 20.16).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Grows by one with each new request of its sender.
    pub number: u32,
    /// The method of the request.
    pub method: Method,
}

impl CSeq {
    /// Reads the value.
    pub fn parse(text: &str) -> Option<Self> {
        let (sequence, method) = text.split_once(is_blank)?;
        let method = Method::parse(trim_text(method).as_bytes())?;
        Some(Self { number: number(sequence)?, method })
    }
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

/// RAck: the reliable provisional response that a PRACK confirms (RFC 3262 7.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RAck {
    /// RSeq of the response.
    pub response: u32,
    /// CSeq of the response.
    pub cseq: CSeq,
}

impl RAck {
    /// Reads the value.
    pub fn parse(text: &str) -> Option<Self> {
        let (response, cseq) = text.split_once(is_blank)?;
        Some(Self { response: number(response)?, cseq: CSeq::parse(trim_text(cseq))? })
    }
}

/// What a body is: Content-Type or one value of Accept (RFC 3261 20.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// `application`; compare without case.
    pub kind: &'a str,
    /// `sdp`; compare without case.
    pub subtype: &'a str,
    /// `boundary`, `charset`, `q` …
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// Reads one value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (media, params) = split_params(text)?;
        let (kind, subtype) = media.split_once('/')?;
        let (kind, subtype) = (trim_text(kind), trim_text(subtype));
        let is_media = is_token(kind.as_bytes()) && is_token(subtype.as_bytes());
        is_media.then_some(Self { kind, subtype, params })
    }

    /// Whether it is this type, such as `application` `sdp`; a `*` of a range matches.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        let fits = |ours: &str, theirs: &str| ours == "*" || ours.eq_ignore_ascii_case(theirs);
        fits(self.kind, kind) && fits(self.subtype, subtype)
    }
}

/// Session-Expires, and without `refresher` also Min-SE (RFC 4028 4 and 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// Seconds after which a session without refresh is over.
    pub interval: u32,
    /// Who refreshes, when it is said.
    pub refresher: Option<Refresher>,
}

/// The side that refreshes a session (RFC 4028 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The sender of the request.
    Uac,
    /// The one who answers it.
    Uas,
}

impl SessionExpires {
    /// Reads the value.
    pub fn parse(text: &str) -> Option<Self> {
        let (interval, params) = split_params(text)?;
        let refresher = match params.value("refresher") {
            None => None,
            Some(side) if side.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(side) if side.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            Some(_) => return None,
        };
        Some(Self { interval: seconds(interval)?, refresher })
    }
}

/// Delta-seconds; a number too large to count becomes the most that can be counted, since every
/// such wait is cut down by a limit of ours anyway (RFC 3261 20.19).
pub(super) fn seconds(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| number(text).unwrap_or(u32::MAX))
}

/// What stands before the first bare semicolon, and the parameters from there on.
fn split_params(text: &str) -> Option<(&str, Params<'_>)> {
    let (value, params) = text.split_at(find_bare(text, b';').unwrap_or(text.len()));
    Some((trim_text(value), Params::parse(params)?))
}

/// A display name is one quoted string, or words. Of what a word may not hold only that is refused
/// which could be read in two ways: phones send `Room (2)` without quotes.
fn is_display(text: &str) -> bool {
    if text.starts_with('"') {
        quoted_len(text) == Some(text.len())
    } else {
        DISPLAY.span(text.as_bytes()) == text.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn via_with_blanks_wherever_they_are_allowed() {
        let via =
            Via::parse("SIP  / 2.0\t/  TCP     spindle.example.com : 5061 ;branch =  z9hG4bK9");
        let via = via.unwrap();
        assert_eq!((via.transport, via.port), ("TCP", Some(5061)));
        assert_eq!(via.host, Host::Name("spindle.example.com"));
        assert_eq!(via.branch(), Some("z9hG4bK9"));
        for old in ["SIP/2.0/UDP h;branch=z9hG4bK", "SIP/2.0/UDP h", "SIP/2.0/UDP h;branch=1"] {
            assert_eq!(Via::parse(old).unwrap().branch(), None, "{old}");
        }
        for bad in ["", "SIP/2.0/UDP", "SIP/3.0/UDP h", "SIP/2.0/UDP h;;,;,,", "SIP/2.0/UDP h h"] {
            assert_eq!(Via::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_with_and_without_brackets() {
        let long = NameAddr::parse(r#""J \"Rosen\"" <sip:j@h;lr> ; tag = 98asjd8"#).unwrap();
        assert_eq!(long.display_name(), r#"J "Rosen""#);
        assert_eq!((long.tag(), long.uri_text), (Some("98asjd8"), "sip:j@h;lr"));

        let short = NameAddr::parse("sip:j@h;tag=1").unwrap();
        assert_eq!((short.tag(), short.uri_text), (Some("1"), "sip:j@h"));
        assert_eq!(short.to_string(), "<sip:j@h>;tag=1");

        assert_eq!(NameAddr::parse("caller<sip:c@h>").unwrap().display_name(), "caller");
        assert_eq!(NameAddr::parse("Grüße <sip:c@h>").unwrap().display_name(), "Grüße");
        for bad in [
            r#""Mr. J. User <sip:j@h>"#,
            "Bell, Alexander <sip:a@h>",
            "sip:u@h?Route=%3Csip:s%3E",
            "<sip:a@h",
            "<sip:a@h> x",
            r#""a" "b" <sip:a@h>"#,
            "",
        ] {
            assert_eq!(NameAddr::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_end_where_they_cannot_be_counted() {
        assert_eq!(CSeq::parse("0009  INVITE").unwrap().to_string(), "9 INVITE");
        assert_eq!(CSeq::parse("36893488147419103232 REGISTER"), None);
        assert_eq!(CSeq::parse("+1 BYE"), None);
        assert_eq!(RAck::parse("7 9 INVITE").unwrap().cseq.number, 9);
        let session = SessionExpires::parse("99999999999999999999999;refresher=UAS").unwrap();
        assert_eq!((session.interval, session.refresher), (u32::MAX, Some(Refresher::Uas)));
        assert!(MediaType::parse("Application / SDP;q=1").unwrap().is("application", "sdp"));
    }
}
