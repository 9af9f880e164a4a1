//! Digits of a keypad and their telephone-event payload (RFC 4733 §2.3, §3.2).

/// Digits that one command may send.
pub const DIGITS_MAX: usize = 64;

/// In the order of their event codes, 0 to 15.
const KEYS: [char; 16] =
    ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];

/// One to [`DIGITS_MAX`] digits, in place: a digit relayed from a packet must not allocate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digits {
    codes: [u8; DIGITS_MAX],
    length: usize,
}

impl Digits {
    /// Reads `0-9`, `*`, `#` and `A-D` in either case; `None` for anything else, for no digit and
    /// for too many.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digits = Self { codes: [0; DIGITS_MAX], length: 0 };
        for key in text.chars() {
            let code = KEYS.iter().position(|other| *other == key.to_ascii_uppercase())?;
            *digits.codes.get_mut(digits.length)? = code as u8;
            digits.length += 1;
        }
        (digits.length > 0).then_some(digits)
    }

    /// One digit by its event code.
    pub(super) const fn one(code: u8) -> Self {
        let mut codes = [0; DIGITS_MAX];
        codes[0] = code;
        Self { codes, length: 1 }
    }

    /// The digits, one after another.
    pub fn keys(&self) -> impl Iterator<Item = char> {
        self.codes().iter().map(|code| KEYS[usize::from(*code)])
    }

    /// The event codes.
    pub(super) fn codes(&self) -> &[u8] {
        &self.codes[..self.length]
    }
}

/// Bytes of an event.
pub(super) const EVENT: usize = 4;

/// What one telephone-event packet says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    /// 0 to 15; others are no digits.
    pub(super) code: u8,
    /// Whether the key was released.
    pub(super) is_end: bool,
    /// How long the key has been pressed, in samples.
    pub(super) duration: u16,
}

impl Event {
    /// Reads the first event of a payload; `None` when it is short or no digit.
    pub(super) fn parse(payload: &[u8]) -> Option<Self> {
        let [code, flags, high, low] = *payload.first_chunk::<EVENT>()?;
        let duration = u16::from_be_bytes([high, low]);
        (code < 16).then_some(Self { code, is_end: flags & 0x80 != 0, duration })
    }

    /// The payload, at the customary level of -10 dBm0.
    pub(super) const fn print(self) -> [u8; EVENT] {
        let [high, low] = self.duration.to_be_bytes();
        [self.code, (self.is_end as u8) << 7 | 10, high, low]
    }

    /// The key.
    pub(super) fn key(self) -> char {
        KEYS[usize::from(self.code & 0x0F)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_keys_of_a_keypad_are_digits() {
        assert_eq!(Digits::parse("0*#aD").unwrap().codes(), [0, 10, 11, 12, 15]);
        for text in ["", "1 2", "E", "１", &"1".repeat(65)] {
            assert_eq!(Digits::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payload in proptest::collection::vec(any::<u8>(), 0..8)) {
            if let Some(event) = Event::parse(&payload) {
                prop_assert_eq!(Event::parse(&event.print()), Some(event));
            }
        }
    }
}
