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
        match self.advertised {
            Some(advertised) => f.write_str(advertised),
            None if self.local.is_ipv4() => {
                write!(f, "{}:{}", Dotted(self.local.ip()), self.local.port())
            }
            None => write!(f, "{}", self.local),
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
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/".contains(&byte);
        if self.0.bytes().all(is_plain) {
            f.write_str(self.0)?;
            return f.write_char('@');
        }
        for byte in self.0.bytes() {
            if is_plain(byte) {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "%{byte:02X}")?;
            }
        }
        f.write_char('@')
    }
}
