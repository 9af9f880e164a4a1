//! Sets of bytes: which may stand in a token, a parameter, a URI or a host, one table each.

/// A set of bytes, looked up without branches.
pub(super) struct Set([bool; 256]);

/// RFC 3261 25.1, `token`.
pub(super) static TOKEN: Set = Set::alphanumeric().with(b"-.!%*_+`'~");
/// What a parameter's value may hold without quotes; wider than the grammar, as phones are.
pub(super) static WORD: Set = Set::visible().without(b"\"<>,;");
/// What a parameter's name may hold.
pub(super) static PARAM_NAME: Set = Set::visible().without(b"\"<>,;=");
/// What may stand in a URI: visible ASCII but for brackets and quotes.
pub(super) static URI: Set = Set::visible_ascii().without(b"<>\"");
/// What may stand in a URI before the `@`.
pub(super) static USERINFO: Set = Set::visible_ascii().without(b"<>\"@");
/// Host and port in a URI: whatever stands before parameters and headers.
pub(super) static HOST_PORT: Set = Set::visible_ascii().without(b"<>\";?");
/// A host name, wider than the grammar by the underscore.
pub(super) static HOST: Set = Set::alphanumeric().with(b"-._");
/// What ends a plain stretch of a list: separators and whatever opens.
pub(super) static PLAIN: Set = Set::everything().without(b",;<>\"");
/// A display name without quotes: of what a word may not hold, only what reads in two ways is out.
pub(super) static DISPLAY: Set = Set::visible().with(b" \t\x7f").without(b"\",;>");
/// Call-ID: visible ASCII but for the comma, which would make it two.
pub(super) static CALL_ID: Set = Set::visible_ascii().without(b",");

impl Set {
    /// Whether this byte is in the set.
    pub(super) const fn has(&self, byte: u8) -> bool {
        self.0[byte as usize]
    }

    /// How many bytes at the beginning are in the set.
    pub(super) fn span(&self, bytes: &[u8]) -> usize {
        bytes.iter().position(|byte| !self.has(*byte)).unwrap_or(bytes.len())
    }

    /// Whether there are bytes, and all are in the set.
    pub(super) fn spells(&self, bytes: &[u8]) -> bool {
        !bytes.is_empty() && bytes.iter().all(|byte| self.has(*byte))
    }

    const fn everything() -> Self {
        Self([true; 256])
    }

    const fn alphanumeric() -> Self {
        let mut table = [false; 256];
        let mut byte = 0;
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        Self(table)
    }

    /// All but controls and the space; bytes of UTF-8 beyond ASCII are in.
    const fn visible() -> Self {
        let mut table = [true; 256];
        let mut byte = 0;
        while byte <= b' ' as usize {
            table[byte] = false;
            byte += 1;
        }
        table[0x7f] = false;
        Self(table)
    }

    const fn visible_ascii() -> Self {
        let Self(mut table) = Self::visible();
        let mut byte = 0x80;
        while byte < 256 {
            table[byte] = false;
            byte += 1;
        }
        Self(table)
    }

    const fn with(self, bytes: &[u8]) -> Self {
        self.set(bytes, true)
    }

    const fn without(self, bytes: &[u8]) -> Self {
        self.set(bytes, false)
    }

    const fn set(mut self, bytes: &[u8], is_in: bool) -> Self {
        let mut at = 0;
        while at < bytes.len() {
            self.0[bytes[at] as usize] = is_in;
            at += 1;
        }
        self
    }
}
