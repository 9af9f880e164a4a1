//! Digits as the body of an INFO: `application/dtmf-relay`, with signal and duration, and
//! `application/dtmf`, the digit alone.

use std::time::Duration;

use crate::sip::{Body, Message, Name};

/// Bytes of a body that are looked at; a digit needs far fewer.
const BODY_MAX: usize = 256;

/// The digit that an INFO carries: one of `0-9*#A-D`; `None` for any other INFO.
pub fn digit(message: &[u8]) -> Option<char> {
    let message = Message::parse(message).ok()?;
    let kind = message.field(Name::ContentType)?.value.to_ascii_lowercase();
    let kind = kind.split(|byte| *byte == b';').next()?.trim_ascii();
    let body = message.body.get(..message.body.len().min(BODY_MAX))?;
    let text = std::str::from_utf8(body).ok()?;
    let signal = match kind {
        b"application/dtmf-relay" => text.lines().find_map(signal)?,
        b"application/dtmf" => text.trim(),
        _ => return None,
    };
    key(signal)
}

/// The body of an INFO that presses a digit for so long.
pub fn body(digit: char, press: Duration) -> Body {
    let text = format!("Signal={digit}\r\nDuration={}\r\n", press.as_millis());
    Body { content_type: "application/dtmf-relay".to_owned(), bytes: text.into_bytes() }
}

/// The value of `Signal=5`, with or without spaces.
fn signal(line: &str) -> Option<&str> {
    let (name, value) = line.split_once('=')?;
    name.trim().eq_ignore_ascii_case("signal").then(|| value.trim())
}

/// A key by its face; some phones write 10 to 15 for the keys after 9, as RFC 4733 numbers them.
fn key(signal: &str) -> Option<char> {
    match signal {
        "10" => Some('*'),
        "11" => Some('#'),
        "12" => Some('A'),
        "13" => Some('B'),
        "14" => Some('C'),
        "15" => Some('D'),
        _ => {
            let mut keys = signal.chars();
            let key = keys.next()?.to_ascii_uppercase();
            let is_key = key.is_ascii_digit() || "*#ABCD".contains(key);
            (is_key && keys.next().is_none()).then_some(key)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn info(kind: &str, body: &str) -> Vec<u8> {
        format!(
            "INFO sip:a@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKx\r\n\
             From: <sip:b@192.0.2.9>;tag=1\r\nTo: <sip:a@192.0.2.1>;tag=2\r\nCall-ID: c\r\n\
             CSeq: 2 INFO\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    #[test]
    fn both_bodies_are_read_as_phones_write_them() {
        let relay = "application/dtmf-relay";
        let bodies = [
            (relay, "Signal=5\r\nDuration=160\r\n", Some('5')),
            (relay, "Signal= *\r\nDuration= 250", Some('*')),
            (relay, "Duration=100\nsignal = d\n", Some('D')),
            (relay, "Signal=11\r\n", Some('#')),
            ("Application/DTMF-Relay;charset=utf-8", "Signal=0", Some('0')),
            ("application/dtmf", "7", Some('7')),
            ("application/dtmf", " # \r\n", Some('#')),
            (relay, "Duration=160\r\n", None),
            (relay, "Signal=55\r\n", None),
            (relay, "Signal=E\r\n", None),
            ("application/dtmf", "", None),
            ("text/plain", "Signal=5", None),
        ];
        for (kind, body, expected) in bodies {
            assert_eq!(digit(&info(kind, body)), expected, "{kind}: {body:?}");
        }
    }

    proptest! {
        #[test]
        fn no_body_panics(body in ".{0,300}", is_relay in any::<bool>()) {
            let kind = if is_relay { "application/dtmf-relay" } else { "application/dtmf" };
            if let Some(key) = digit(&info(kind, &body)) {
                prop_assert!("0123456789*#ABCD".contains(key));
            }
        }
    }
}
