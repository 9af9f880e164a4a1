//! Small pieces of the endpoint's messages that display themselves: addresses, users, our own host.

use std::fmt::{self, Write};
use std::net::SocketAddr;

use super::types::Party;
use crate::base::Dotted;

/// Who we are on a flow: what is advertised, or the flow's own address.
pub(super) struct Here<'a> {
    pub(super) advertised: Option<&'a str>,
    pub(super) local: SocketAddr,
}

impl fmt::Display for Here<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.advertised, self.local) {
            (Some(advertised), _) => f.write_str(advertised),
            (None, SocketAddr::V4(local)) => {
                write!(f, "{}:{}", Dotted((*local.ip()).into()), local.port())
            }
            (None, SocketAddr::V6(local)) => write!(f, "{local}"),
        }
    }
}

/// `"display" <sip:user@host>` as From and To print it.
impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.display.is_empty() {
            f.write_char('"')?;
            for character in self.display.chars() {
                if matches!(character, '"' | '\\') {
                    f.write_char('\\')?;
                }
                f.write_char(character)?;
            }
            f.write_str("\" ")?;
        }
        write!(f, "<sip:{}{}>", UserAt(&self.user), self.host)
    }
}

/// `user@` with what a user part may not hold escaped (RFC 3261 §25.1); nothing without a user.
pub(super) struct UserAt<'a>(pub(super) &'a str);

impl fmt::Display for UserAt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte) {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        f.write_char('@')
    }
}
