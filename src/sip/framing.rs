//! Messages out of a stream (RFC 3261 18.3): cut by Content-Length, which is never trusted.
//!
//! Nothing is reserved for what a peer announces: memory grows only with what has arrived, and
//! what would exceed a limit is an error before it is read.

use std::fmt;

use super::limits::{BODY_MAX, HEAD_MAX};
use super::name::Name;

/// Cuts a byte stream into messages.
#[derive(Debug, Default)]
pub struct Framer {
    bytes: Vec<u8>,
    /// Bytes at the front that were handed out with the last message.
    taken: usize,
    /// Bytes behind `taken` that hold no end of a header section.
    searched: usize,
}

/// What a stream gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Framed<'a> {
    /// One whole message.
    Message(&'a [u8]),
    /// A keep-alive that wants an answer of one line break (RFC 5626 4.4.1).
    Ping,
}

/// Why a stream cannot be read any further; its connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// The header section exceeds its limit.
    HeadTooLong,
    /// The announced body exceeds its limit.
    BodyTooLong,
    /// Content-Length is missing, no number, or there twice with different values; on a stream
    /// nothing else says where the message ends.
    ContentLength,
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HeadTooLong => write!(f, "header section longer than {HEAD_MAX} bytes"),
            Self::BodyTooLong => write!(f, "body longer than {BODY_MAX} bytes announced"),
            Self::ContentLength => f.write_str("Content-Length missing or malformed"),
        }
    }
}

impl std::error::Error for FramingError {}

impl Framer {
    /// A framer at the beginning of a stream.
    pub const fn new() -> Self {
        Self { bytes: Vec::new(), taken: 0, searched: 0 }
    }

    /// Bytes have arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.drop_taken();
        self.bytes.extend_from_slice(bytes);
    }

    /// The next message or ping; `None` until more bytes arrive.
    #[expect(clippy::should_implement_trait, reason = "what it lends ends with the next call")]
    pub fn next(&mut self) -> Option<Result<Framed<'_>, FramingError>> {
        self.drop_taken();
        if let Some(length) = ping_len(&self.bytes) {
            self.taken = length;
            return Some(Ok(Framed::Ping));
        }
        let breaks = self.bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if breaks == self.bytes.len() {
            return None;
        }
        let from = self.searched.saturating_sub(END.len() - 1).max(breaks);
        let found = self.bytes[from..].windows(END.len()).position(|window| window == END);
        let Some(at) = found else {
            self.searched = self.bytes.len();
            return (self.bytes.len() > HEAD_MAX).then_some(Err(FramingError::HeadTooLong));
        };
        let head = from + at + END.len();
        if head - breaks > HEAD_MAX {
            return Some(Err(FramingError::HeadTooLong));
        }
        let length = match content_length(&self.bytes[breaks..head]) {
            Ok(length) => length,
            Err(error) => return Some(Err(error)),
        };
        if self.bytes.len() < head + length {
            return None;
        }
        self.taken = head + length;
        Some(Ok(Framed::Message(&self.bytes[breaks..self.taken])))
    }

    fn drop_taken(&mut self) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            (self.taken, self.searched) = (0, 0);
        }
    }
}

/// The end of a header section.
const END: &[u8] = b"\r\n\r\n";

/// Bytes of the ping that the stream begins with.
fn ping_len(bytes: &[u8]) -> Option<usize> {
    bytes.starts_with(END).then_some(END.len())
}

fn content_length(head: &[u8]) -> Result<usize, FramingError> {
    let mut length = None;
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        if line.starts_with(b" ") || Name::parse(line[..colon].trim_ascii()) != Name::ContentLength
        {
            continue;
        }
        let digits = line[colon + 1..].trim_ascii();
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        let said = std::str::from_utf8(digits).ok().filter(|_| is_number);
        let said = said.map(|digits| digits.parse::<usize>().unwrap_or(usize::MAX));
        let said = said.ok_or(FramingError::ContentLength)?;
        if length.is_some_and(|length| length != said) {
            return Err(FramingError::ContentLength);
        }
        length = Some(said);
    }
    let length = length.ok_or(FramingError::ContentLength)?;
    if length > BODY_MAX { Err(FramingError::BodyTooLong) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TWO: &[u8] = b"\r\nOPTIONS a SIP/2.0\r\nl : 3\r\n\r\nabcBYE b SIP/2.0\r\nContent-Length: 0\r\n\r\n\r\n\r\n";

    /// Everything that a stream gives when it arrives cut at these places.
    fn framed(bytes: &[u8], cuts: &[usize]) -> Vec<String> {
        let (mut framer, mut given) = (Framer::new(), Vec::new());
        let mut from = 0;
        for cut in cuts.iter().copied().chain([bytes.len()]) {
            let cut = cut.clamp(from, bytes.len());
            framer.push(&bytes[from..cut]);
            from = cut;
            while let Some(next) = framer.next() {
                match next {
                    Ok(Framed::Message(bytes)) => {
                        given.push(String::from_utf8_lossy(bytes).into_owned())
                    }
                    Ok(Framed::Ping) => given.push("ping".to_owned()),
                    Err(error) => return [given, vec![error.to_string()]].concat(),
                }
            }
        }
        given
    }

    #[test]
    fn pipelined_messages_and_a_ping_one_byte_at_a_time() {
        let cuts = (0..TWO.len()).collect::<Vec<_>>();
        let given = framed(TWO, &cuts);
        assert_eq!(given.len(), 3);
        assert!(given[0].ends_with("abc") && given[1].starts_with("BYE") && given[2] == "ping");
    }

    #[test]
    fn an_announced_length_is_not_trusted() {
        let said =
            |length: &str| framed(format!("A\r\nContent-Length: {length}\r\n\r\n").as_bytes(), &[]);
        for length in ["-1", "x", "", "1, 2", "3\r\nl: 4"] {
            assert_eq!(said(length), ["Content-Length missing or malformed"], "{length}");
        }
        for length in ["2147483648", "9223372036854775808", "99999999999999999999999999"] {
            assert_eq!(said(length), ["body longer than 262144 bytes announced"], "{length}");
        }
        assert_eq!(framed(b"A\r\n\r\n", &[]), ["Content-Length missing or malformed"]);
        let endless = b"X: y\r\n".repeat(HEAD_MAX / 6 + 1);
        assert_eq!(framed(&endless, &[]), ["header section longer than 65536 bytes"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn cuts_change_nothing(mut cuts in proptest::collection::vec(0..TWO.len(), 0..8)) {
            cuts.sort_unstable();
            prop_assert_eq!(framed(TWO, &cuts), framed(TWO, &(0..TWO.len()).collect::<Vec<_>>()));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            framed(&bytes, &[bytes.len() / 2]);
        }
    }
}
