//! Identifiers that derive from an attempt, so that a later process knows them again.

use std::fmt;

/// 128 bits that only this installation knows; without them identifiers can be guessed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Secret(pub [u64; 2]);

/// Says nothing, so that no log ever does.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    /// 64 bits that look random to whoever does not know the secret, as 16 hexadecimal digits.
    pub(super) fn derive(self, promise: u64, attempt: u32, label: u8) -> String {
        let mut bytes = [0; 13];
        bytes[..8].copy_from_slice(&promise.to_le_bytes());
        bytes[8..12].copy_from_slice(&attempt.to_le_bytes());
        bytes[12] = label;
        format!("{:016x}", siphash(self.0, &bytes))
    }

    /// 128 bits of a text, by which it is known again without being kept.
    pub(super) fn digest(self, text: &str) -> String {
        let half = |label: u8| siphash(self.0, &[&[label], text.as_bytes()].concat());
        format!("{:016x}{:016x}", half(0), half(1))
    }
}

/// SipHash-2-4 (Aumasson and Bernstein, 2012): a keyed function for short inputs, and the same
/// for ever, which the standard library's hasher does not promise to be.
fn siphash(key: [u64; 2], bytes: &[u8]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    last[7] = bytes.len() as u8;
    for word in words.iter().chain([&last]) {
        let word = u64::from_le_bytes(*word);
        v[3] ^= word;
        round(&mut v);
        round(&mut v);
        v[0] ^= word;
    }
    v[2] ^= 0xff;
    for _ in 0..4 {
        round(&mut v);
    }
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

const fn round(v: &mut [u64; 4]) {
    v[0] = v[0].wrapping_add(v[1]);
    v[2] = v[2].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(13) ^ v[0];
    v[3] = v[3].rotate_left(16) ^ v[2];
    v[0] = v[0].rotate_left(32);
    v[2] = v[2].wrapping_add(v[1]);
    v[0] = v[0].wrapping_add(v[3]);
    v[1] = v[1].rotate_left(17) ^ v[2];
    v[3] = v[3].rotate_left(21) ^ v[0];
    v[2] = v[2].rotate_left(32);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Appendix A of the SipHash paper.
    #[test]
    fn hashes_as_the_paper_does() {
        let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let bytes: Vec<u8> = (0..15).collect();
        assert_eq!(siphash(key, &bytes), 0xa129_ca61_49be_45e5);
    }
}
