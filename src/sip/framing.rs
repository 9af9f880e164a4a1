//! Messages cut out of a stream (RFC 3261 18.3), however the bytes arrive.
//!
//! A stream is cut by the same reading of Content-Length that the parser uses, and no announced
//! length makes room by itself. After an error the stream cannot be trusted and must be closed.

use std::fmt;

use super::limits::{BODY_MAX, HEAD_MAX};
use super::message::{Message, ParseError};
use super::name::Name;
use super::validate::Flaw;

/// Bytes that may wait in a framer: one message as large as any may be, and one read of a socket.
pub const STREAM_MAX: usize = HEAD_MAX + BODY_MAX + 64 * 1024;

/// Takes bytes of one connection, gives frames.
#[derive(Debug, Default)]
pub struct Framer {
    bytes: Vec<u8>,
    /// Bytes of the unfinished head in which no end was found, so that none is searched twice.
    searched: usize,
    /// Where the message at hand ends, once its head is read.
    ends_at: Option<usize>,
    /// Whether the last frame was a lone line break, so that another one makes it a ping.
    is_half_ping: bool,
    is_broken: bool,
}

/// What a connection carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for [`Message::parse`].
    Message(Vec<u8>),
    /// A keep-alive that is to be answered by one line break (RFC 5626 4.4.1).
    Ping,
    /// One line break: the answer to a ping of ours, or the first half of one of theirs. Whoever
    /// sent no ping ignores it.
    Pong,
}

/// Why a stream cannot be read on: answer, if there is something to answer, and close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FramingError {
    /// The rule that broke.
    pub flaw: FramingFlaw,
    /// The head of the message, for [`Message::parse`] and a last response; empty when the head
    /// itself was too long or no SIP.
    pub head: Vec<u8>,
}

/// What a stream must not do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingFlaw {
    /// Something else than SIP.
    NotSip(ParseError),
    /// A message without Content-Length, with two of them, with one that is no number, or with
    /// more in it than a message may weigh.
    Message(Flaw),
    /// More bytes were pushed than one message may weigh, and none was taken.
    Full,
}

impl Framer {
    /// A framer for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what was read; call [`Self::next`] until it yields nothing before the next read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.is_broken {
            return;
        }
        let room = (STREAM_MAX + 1).saturating_sub(self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The next frame; nothing until more bytes come, and for ever after an error.
    #[expect(clippy::should_implement_trait, reason = "a framer yields again after a push")]
    pub fn next(&mut self) -> Option<Result<Frame, FramingError>> {
        if self.is_broken {
            return None;
        }
        if self.bytes.len() > STREAM_MAX {
            return self.fail(FramingFlaw::Full, 0);
        }
        if self.ends_at.is_none() {
            if let [b'\r', rest @ ..] = &self.bytes[..] {
                return if rest.is_empty() { None } else { self.take_line_break() };
            }
            let Some(head) = self.find_head_end() else {
                let is_long = self.bytes.len() > HEAD_MAX;
                return is_long.then(|| self.fail(FramingFlaw::Message(Flaw::HeadTooLong), 0))?;
            };
            match body_length(&self.bytes[..head]) {
                Ok(body) => self.ends_at = Some(head + body),
                Err(flaw) => return self.fail(flaw, head),
            }
        }
        let end = self.ends_at.filter(|end| *end <= self.bytes.len())?;
        self.is_half_ping = false;
        Some(Ok(Frame::Message(self.take(end))))
    }

    /// Whether a message has begun that has not ended.
    pub fn is_inside(&self) -> bool {
        !self.is_broken && self.bytes.iter().any(|byte| !matches!(byte, b'\r' | b'\n'))
    }

    /// What is there of a message that will not be waited for any longer, for [`Message::parse`],
    /// which finds it cut short. Nothing can be read of this stream after it.
    pub fn give_up(&mut self) -> Vec<u8> {
        self.is_broken = true;
        std::mem::take(&mut self.bytes)
    }

    fn take_line_break(&mut self) -> Option<Result<Frame, FramingError>> {
        if self.bytes[1] != b'\n' {
            return self.fail(FramingFlaw::NotSip(ParseError::NotSip), 0);
        }
        self.take(2);
        let frame = if self.is_half_ping { Frame::Ping } else { Frame::Pong };
        self.is_half_ping = !self.is_half_ping;
        Some(Ok(frame))
    }

    /// Where the body begins: behind the empty line, which is read as the parser reads it.
    fn find_head_end(&mut self) -> Option<usize> {
        let from = self.searched;
        for at in from..self.bytes.len().min(HEAD_MAX) {
            if self.bytes[at] != b'\n' {
                continue;
            }
            match &self.bytes[at + 1..] {
                [b'\n', ..] => return Some(at + 2),
                [b'\r', b'\n', ..] => return Some(at + 3),
                [] | [b'\r'] => {
                    self.searched = at;
                    return None;
                }
                _ => {}
            }
        }
        self.searched = self.bytes.len().min(HEAD_MAX);
        None
    }

    fn take(&mut self, end: usize) -> Vec<u8> {
        self.searched = 0;
        self.ends_at = None;
        let rest = self.bytes.split_off(end);
        std::mem::replace(&mut self.bytes, rest)
    }

    fn fail(&mut self, flaw: FramingFlaw, head: usize) -> Option<Result<Frame, FramingError>> {
        self.is_broken = true;
        let mut head_bytes = std::mem::take(&mut self.bytes);
        head_bytes.truncate(head);
        Some(Err(FramingError { flaw, head: head_bytes }))
    }
}

/// What the head says of the body: on streams it must (RFC 3261 18.3).
fn body_length(head: &[u8]) -> Result<usize, FramingFlaw> {
    let message = Message::parse(head).map_err(FramingFlaw::NotSip)?;
    let length = message.content_length().map_err(FramingFlaw::Message)?;
    let length = length.ok_or(FramingFlaw::Message(Flaw::Missing(Name::ContentLength)))?;
    if length > BODY_MAX { Err(FramingFlaw::Message(Flaw::BodyTooLong)) } else { Ok(length) }
}

impl fmt::Display for FramingFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSip(error) => error.fmt(f),
            Self::Message(flaw) => flaw.fmt(f),
            Self::Full => f.write_str("more bytes than one message may weigh"),
        }
    }
}

impl fmt::Display for FramingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flaw.fmt(f)
    }
}

impl std::error::Error for FramingError {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const OPTIONS: &str = "OPTIONS sip:h SIP/2.0\r\nTo: <sip:h>\r\nl:\r\n 4\r\n\r\nbody";

    /// What comes out when these pieces are pushed one by one.
    fn frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<String> {
        let mut framer = Framer::new();
        let mut frames = Vec::new();
        for piece in pieces {
            framer.push(piece);
            while let Some(frame) = framer.next() {
                frames.push(match frame {
                    Ok(Frame::Message(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
                    Ok(Frame::Ping) => "ping".to_owned(),
                    Ok(Frame::Pong) => "pong".to_owned(),
                    Err(error) => format!("{error}, {} bytes", error.head.len()),
                });
            }
        }
        frames
    }

    #[test]
    fn pipelined_messages_and_keep_alives() {
        let stream = format!("{OPTIONS}\r\n\r\n{OPTIONS}{OPTIONS}\r\n{OPTIONS}");
        let expected = [OPTIONS, "pong", "ping", OPTIONS, OPTIONS, "pong", OPTIONS];
        assert_eq!(frames([stream.as_bytes()]), expected);
        assert_eq!(frames(stream.as_bytes().chunks(1)), expected);
    }

    #[test]
    fn a_stream_that_cannot_be_cut_ends() {
        let head = "OPTIONS sip:h SIP/2.0\r\n";
        for (fields, expected) in [
            ("To: <sip:h>\r\n\r\n", "Missing Content-Length Header, 38 bytes"),
            ("l: -1\r\n\r\n", "Malformed Content-Length Header, 32 bytes"),
            ("l: 1\r\nl: 2\r\n\r\n", "Repeated Content-Length Header, 37 bytes"),
            ("l: 9223372036854775808\r\n\r\n", "Request Entity Too Large, 49 bytes"),
            ("l: 99999999999999999999\r\n\r\n", "Malformed Content-Length Header, 50 bytes"),
        ] {
            let stream = format!("{head}{fields}{OPTIONS}");
            assert_eq!(frames([stream.as_bytes()]), [expected], "{fields:?}");
        }
        assert_eq!(
            frames([&b"GET / HTTP/1.1\r\n\r\n"[..]]),
            ["no start line of SIP, 0 bytes".replace('0', "18")]
        );
        let endless = vec![b'x'; HEAD_MAX + 1];
        assert_eq!(frames(endless.chunks(1000)), ["Header Section Too Large, 0 bytes"]);
        let flood = vec![b'x'; STREAM_MAX + 1];
        assert_eq!(frames([&flood[..]]), ["more bytes than one message may weigh, 0 bytes"]);
    }

    #[test]
    fn what_never_ends_is_given_up_as_it_is() {
        for (cut, whole) in [(OPTIONS.len() - 2, false), (20, false), (OPTIONS.len(), true)] {
            let mut framer = Framer::new();
            framer.push(b"\r\n");
            framer.push(&OPTIONS.as_bytes()[..cut]);
            while framer.next().is_some() {}
            assert_eq!(framer.is_inside(), !whole, "{cut}");
            assert_eq!(framer.give_up().len(), if whole { 0 } else { cut });
            assert_eq!(framer.next(), None);
        }
    }

    proptest! {
        #[test]
        fn frames_do_not_depend_on_the_cuts(
            parts in prop::collection::vec(prop_oneof![
                4 => Just(OPTIONS.as_bytes().to_vec()),
                2 => Just(b"\r\n".to_vec()),
                1 => prop::collection::vec(any::<u8>(), 0..6),
            ], 0..6),
            size in 1..40_usize,
        ) {
            let stream = parts.concat();
            prop_assert_eq!(frames([&stream[..]]), frames(stream.chunks(size)));
        }

        /// The parser finds the end of a head where the framer did.
        #[test]
        fn framer_and_parser_cut_alike(noise in "([a-z: \r\n\t]|\r\n){0,60}") {
            let stream = format!("OPTIONS sip:h SIP/2.0\r\nl: 0\r\n{noise}\r\n\r\n\r\nrest");
            let mut framer = Framer::new();
            framer.push(stream.as_bytes());
            if let Some(Ok(Frame::Message(bytes))) = framer.next() {
                let whole = Message::parse(stream.as_bytes()).unwrap();
                let framed = Message::parse(&bytes).unwrap();
                prop_assert_eq!(whole.fields, framed.fields);
            }
        }
    }
}
