//! URIs (RFC 3261 19.1): read without copying, compared by the rules and not by their bytes.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::set::{HOST, HOST_PORT, URI, USERINFO};
use super::text::{Params, number};

/// A URI of any scheme.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uri<'a> {
    /// `sip:` or `sips:`.
    Sip(SipUri<'a>),
    /// `tel:` (RFC 3966).
    Tel {
        /// The number as written, with `+`, digits and visual separators.
        number: &'a str,
        /// What follows it, such as `phone-context`.
        params: Params<'a>,
    },
    /// A scheme this house does not speak: 416 when it is asked for as Request-URI.
    Other {
        /// The scheme as written.
        scheme: &'a str,
        /// Everything after the first colon.
        rest: &'a str,
    },
}

/// A `sip:` or `sips:` URI in its parts; escapes are kept as they came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SipUri<'a> {
    /// Whether the scheme is `sips`.
    pub is_secure: bool,
    /// Before the `@` and the password: it may hold `;`, `,` and escapes.
    pub user: Option<&'a str>,
    /// Between user and `@`; never to be relied upon (RFC 3261 19.1.1).
    pub password: Option<&'a str>,
    /// Where to.
    pub host: Host<'a>,
    /// The port, when one is written.
    pub port: Option<u16>,
    /// `;transport=tcp;lr` and the like.
    pub params: Params<'a>,
    /// After the `?`; empty when there is none. These never become headers by themselves.
    pub headers: &'a str,
}

/// A host as URIs and Via write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// `192.0.2.1`.
    V4(Ipv4Addr),
    /// `[2001:db8::1]`.
    V6(Ipv6Addr),
    /// A name, as written; compare without case.
    Name(&'a str),
}

impl<'a> Uri<'a> {
    /// Reads a URI without the angle brackets around it; `None` when it is none.
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("sip:") {
            return SipUri::parse(rest, false).map(Self::Sip);
        }
        if !URI.spells(text.as_bytes()) {
            return None;
        }
        let (scheme, rest) = text.split_once(':')?;
        let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme || rest.is_empty() {
            return None;
        }
        if scheme.eq_ignore_ascii_case("sip") {
            SipUri::parse(rest, false).map(Self::Sip)
        } else if scheme.eq_ignore_ascii_case("sips") {
            SipUri::parse(rest, true).map(Self::Sip)
        } else if scheme.eq_ignore_ascii_case("tel") {
            let (number, params) = rest.split_at(rest.find(';').unwrap_or(rest.len()));
            Some(Self::Tel { number, params: Params::parse(params)? })
        } else {
            Some(Self::Other { scheme, rest })
        }
    }

    /// The parts of a `sip:` or `sips:` URI.
    pub const fn sip(&self) -> Option<&SipUri<'a>> {
        match self {
            Self::Sip(sip) => Some(sip),
            Self::Tel { .. } | Self::Other { .. } => None,
        }
    }

    /// Who is meant: the user of a SIP URI without escapes, or the number of a `tel:` URI.
    pub fn user_decoded(&self) -> Option<Cow<'a, str>> {
        match self {
            Self::Sip(sip) => sip.user_decoded(),
            Self::Tel { number, .. } => Some(Cow::Borrowed(number)),
            Self::Other { .. } => None,
        }
    }

    /// Whether both name the same resource (RFC 3261 19.1.4, RFC 3966 4).
    pub fn is_equivalent(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Sip(one), Self::Sip(two)) => one.is_equivalent(two),
            (Self::Tel { number: one, params: of_one }, Self::Tel { number: two, params }) => {
                let digits = |text: &str| -> String {
                    text.chars().filter(|c| !"-.()".contains(*c)).collect::<String>()
                };
                digits(one).eq_ignore_ascii_case(&digits(two))
                    && of_one.iter().count() == params.iter().count()
                    && of_one.iter().all(|(name, value)| {
                        params.value(name).is_some_and(|its| its.eq_ignore_ascii_case(value))
                    })
            }
            (Self::Other { .. }, Self::Other { .. }) => self == other,
            (Self::Sip(_) | Self::Tel { .. } | Self::Other { .. }, _) => false,
        }
    }
}

impl<'a> SipUri<'a> {
    /// Reads what follows the scheme.
    fn parse(rest: &'a str, is_secure: bool) -> Option<Self> {
        let (before, after) = rest.split_at(USERINFO.span(rest.as_bytes()));
        let (userinfo, rest) = match after.strip_prefix('@') {
            Some(rest) => (Some(before), rest),
            None if after.is_empty() => (None, rest),
            None => return None,
        };
        let (user, password) = match userinfo.map(|info| cut(info, b':')) {
            Some(Some((user, password))) => (Some(user), Some(password)),
            Some(None) => (userinfo, None),
            None => (None, None),
        };
        if user.is_some_and(str::is_empty) {
            return None;
        }
        let (host, rest) = rest.split_at(HOST_PORT.span(rest.as_bytes()));
        if URI.span(rest.as_bytes()) < rest.len() {
            return None;
        }
        let (params, headers) = cut(rest, b'?').unwrap_or((rest, ""));
        let (host, port) = Host::parse_with_port(host)?;
        let params = Params::parse(params)?;
        Some(Self { is_secure, user, password, host, port, params, headers })
    }

    /// The user without escapes; where these hide bytes that are no UTF-8, the user as written,
    /// so that two users never become one.
    pub fn user_decoded(&self) -> Option<Cow<'a, str>> {
        self.user.map(decode)
    }

    /// RFC 3261 19.1.4: host, scheme names and parameters without case, the user with it; `user`,
    /// `ttl`, `method`, `maddr` and `transport` must be in both or in neither.
    pub fn is_equivalent(&self, other: &Self) -> bool {
        self.is_secure == other.is_secure
            && self.user_decoded() == other.user_decoded()
            && self.password.map(decode) == other.password.map(decode)
            && self.host.is_equivalent(&other.host)
            && self.port == other.port
            && params_agree(self.params, other.params)
            && params_agree(other.params, self.params)
            && headers_agree(self.headers, other.headers)
    }
}

impl<'a> Host<'a> {
    /// Reads a host without port.
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']')?;
            // RFC 5118 4.10: the grammar of RFC 3261 let `:::` through, so it is still met.
            let address = inner.parse().or_else(|_| inner.replacen(":::", "::", 1).parse());
            return address.ok().map(Self::V6);
        }
        if HOST.spells(text.as_bytes()) { Self::parse_name(text) } else { None }
    }

    /// Reads what holds nothing but bytes of [`HOST`].
    fn parse_name(text: &'a str) -> Option<Self> {
        if text.as_bytes().first()?.is_ascii_digit()
            && let Ok(address) = text.parse()
        {
            return Some(Self::V4(address));
        }
        Some(Self::Name(text))
    }

    /// Reads `host` or `host:port`; blanks around the colon are allowed (RFC 3261 25.1, `COLON`).
    pub fn parse_with_port(text: &'a str) -> Option<(Self, Option<u16>)> {
        let (name, rest) = text.split_at(HOST.span(text.as_bytes()));
        if rest.is_empty() {
            return Some((Self::parse_name(name)?, None));
        }
        if let Some(port) = rest.strip_prefix(':').and_then(number) {
            return Some((Self::parse_name(name)?, Some(port)));
        }
        let colon = match find(text, b']') {
            Some(end) => find(&text[end..], b':').map(|at| end + at),
            None => find(text, b':'),
        };
        let Some(colon) = colon else { return Some((Self::parse(text)?, None)) };
        let port = number(text[colon + 1..].trim_start())?;
        Some((Self::parse(text[..colon].trim_end())?, Some(port)))
    }

    /// Whether both write the same host, names without case.
    pub fn is_equivalent(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Self::V4(one), Host::V4(two)) => one == two,
            (Self::V6(one), Host::V6(two)) => one == two,
            (Self::Name(one), Host::Name(two)) => one.eq_ignore_ascii_case(two),
            (Self::V4(_) | Self::V6(_) | Self::Name(_), _) => false,
        }
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sip(sip) => sip.fmt(f),
            Self::Tel { number, params } => write!(f, "tel:{number}{params}"),
            Self::Other { scheme, rest } => write!(f, "{scheme}:{rest}"),
        }
    }
}

impl fmt::Display for SipUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_secure { "sips:" } else { "sip:" })?;
        if let Some(user) = self.user {
            f.write_str(user)?;
            if let Some(password) = self.password {
                write!(f, ":{password}")?;
            }
            f.write_str("@")?;
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        write!(f, "{}", self.params)?;
        if self.headers.is_empty() { Ok(()) } else { write!(f, "?{}", self.headers) }
    }
}

/// With brackets around an IPv6 address.
impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// Where this ASCII character first stands.
fn find(text: &str, wanted: u8) -> Option<usize> {
    text.bytes().position(|byte| byte == wanted)
}

/// What stands before and behind this ASCII character, where there is one.
fn cut(text: &str, at: u8) -> Option<(&str, &str)> {
    let at = find(text, at)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Unescapes once, never twice (RFC 4475 3.1.1.3); text whose escapes hide other than UTF-8 stays.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match rest {
            [b'%', high, low, ..] => hex(*high).zip(hex(*low)),
            _ => None,
        };
        match escaped {
            Some((high, low)) => {
                plain.push(high << 4 | low);
                rest = &rest[3..];
            }
            None => {
                plain.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(plain).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Every parameter of `ours` that `theirs` has too is equal, and none that must be in both is missing.
fn params_agree(ours: Params<'_>, theirs: Params<'_>) -> bool {
    ours.iter().all(|(name, value)| match theirs.value(name) {
        Some(their) => decode(their).eq_ignore_ascii_case(&decode(value)),
        None => !["user", "ttl", "method", "maddr", "transport"]
            .iter()
            .any(|both| name.eq_ignore_ascii_case(both)),
    })
}

/// The same headers in any order.
fn headers_agree(ours: &str, theirs: &str) -> bool {
    let sorted = |text: &str| {
        let mut headers: Vec<_> = text.split('&').map(|one| decode(one).into_owned()).collect();
        headers.iter_mut().for_each(|one| one.make_ascii_lowercase());
        headers.sort_unstable();
        headers
    };
    sorted(ours) == sorted(theirs)
}

/// Whether this URI may not stand without angle brackets around it (RFC 3261 20).
pub(super) fn needs_brackets(text: &str) -> bool {
    text.contains(['?', ','])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sip(text: &str) -> SipUri<'_> {
        *Uri::parse(text).unwrap().sip().unwrap()
    }

    #[test]
    fn parts_of_a_full_uri() {
        let uri = sip("sips:alice:pw@[2001:db8::10]:5070;transport=tcp;lr?Subject=x");
        assert!(uri.is_secure);
        assert_eq!((uri.user, uri.password), (Some("alice"), Some("pw")));
        assert_eq!((uri.host, uri.port), (Host::parse("[2001:db8::10]").unwrap(), Some(5070)));
        assert_eq!(uri.params.value("transport"), Some("tcp"));
        assert_eq!(uri.headers, "Subject=x");
        assert_eq!(uri.to_string(), "sips:alice:pw@[2001:db8::10]:5070;transport=tcp;lr?Subject=x");
    }

    #[test]
    fn a_user_may_hold_semicolons_and_nulls() {
        let semi = sip("sip:user;par=u%40example.net@example.com");
        assert_eq!(semi.user_decoded().unwrap(), "user;par=u@example.net");
        assert!(!sip("sip:null-%00-null@h").is_equivalent(&sip("sip:null-@h")));
        assert_eq!(sip("sip:%ff@h").user_decoded().unwrap(), "%ff");
        assert_eq!(sip("sip:50%25@h").user_decoded().unwrap(), "50%");
        assert_eq!(sip("sip:5%zz%4@h").user_decoded().unwrap(), "5%zz%4");
    }

    #[test]
    fn refused() {
        for bad in [
            "",
            "sip",
            "sip:",
            "sip:@h",
            "sip:a@",
            "sip:a@b@c",
            "sip:a b@c",
            "sip:2001:db8::10",
            "sip:h:",
            "sip:h:65536",
            "sip:h:-1",
            "sip:[::1",
            "sip:h;;",
            "<sip:h>",
            "sip:h\0",
            "1:2",
        ] {
            assert_eq!(Uri::parse(bad), None, "{bad}");
        }
    }

    /// The examples of RFC 3261 19.1.4.
    #[test]
    fn comparison() {
        for (one, two) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;newparam=5"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
            ("tel:+1-201-555-0123", "tel:+12015550123"),
        ] {
            assert!(
                Uri::parse(one).unwrap().is_equivalent(&Uri::parse(two).unwrap()),
                "{one} {two}"
            );
        }
        for (one, two) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:bob@h", "sips:bob@h"),
        ] {
            assert!(
                !Uri::parse(one).unwrap().is_equivalent(&Uri::parse(two).unwrap()),
                "{one} {two}"
            );
        }
    }
}
