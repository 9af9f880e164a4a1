//! G.711: both companding laws as a short float, sign, three bits of exponent, four of mantissa.
//!
//! An `f32` is such a float too, so encoding is a conversion and a shift, which compilers turn
//! into vector code; decoding is a table of 256 entries.

/// The two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Law {
    /// Mu-law, of North America and Japan.
    Mu,
    /// A-law, of the rest of the world.
    A,
}

impl Law {
    /// Encodes as many samples as both slices have.
    pub(super) fn encode(self, samples: &[i16], payload: &mut [u8]) {
        match self {
            Self::Mu => map(samples, payload, encode_pcmu),
            Self::A => map(samples, payload, encode_pcma),
        }
    }

    /// Decodes as many bytes as both slices have.
    pub(super) fn decode(self, payload: &[u8], samples: &mut [i16]) {
        let table = match self {
            Self::Mu => &PCMU,
            Self::A => &PCMA,
        };
        map(payload, samples, |byte| table[usize::from(byte)]);
    }

    /// Recodes a payload of this law into the other one.
    pub(super) fn recode(self, payload: &[u8], recoded: &mut [u8]) {
        let table = match self {
            Self::Mu => &PCMU_TO_PCMA,
            Self::A => &PCMA_TO_PCMU,
        };
        map(payload, recoded, |byte| table[usize::from(byte)]);
    }
}

fn map<A: Copy, B>(from: &[A], to: &mut [B], convert: impl Fn(A) -> B) {
    for (target, source) in to.iter_mut().zip(from) {
        *target = convert(*source);
    }
}

/// Exponent and upper four bits of the mantissa of a whole number below 2^24.
const fn short_float(number: i32) -> i32 {
    ((number as f32).to_bits() >> 19) as i32
}

const fn encode_pcmu(sample: i16) -> u8 {
    const BIAS: i32 = 132;
    const CLIP: i32 = 32_635;
    let sample = sample as i32;
    let size = if sample < 0 { -sample } else { sample };
    let size = if size > CLIP { CLIP } else { size };
    let code = short_float(size + BIAS) - short_float(128);
    let sign = if sample < 0 { 0x80 } else { 0 };
    !(code as u8 | sign)
}

const fn encode_pcma(sample: i16) -> u8 {
    let sample = sample as i32;
    let size = (if sample < 0 { !sample } else { sample }) >> 3;
    // The lowest two segments share one step size: the float has no implied bit there.
    let code = if size < 32 { size >> 1 } else { short_float(size) - short_float(16) };
    let sign = if sample < 0 { 0 } else { 0x80 };
    (code as u8 | sign) ^ 0x55
}

const fn decode_pcmu(byte: u8) -> i16 {
    let code = !byte as i16;
    let size = ((((code & 0x0F) << 3) + 132) << ((code & 0x70) >> 4)) - 132;
    if code & 0x80 == 0 { size } else { -size }
}

const fn decode_pcma(byte: u8) -> i16 {
    let code = (byte ^ 0x55) as i16;
    let mantissa = (code & 0x0F) << 4;
    let size = match (code & 0x70) >> 4 {
        0 => mantissa + 8,
        exponent => (mantissa + 0x108) << (exponent - 1),
    };
    if code & 0x80 == 0 { -size } else { size }
}

const PCMU: [i16; 256] = decoded(Law::Mu);
const PCMA: [i16; 256] = decoded(Law::A);
const PCMU_TO_PCMA: [u8; 256] = recoded(&PCMU, Law::A);
const PCMA_TO_PCMU: [u8; 256] = recoded(&PCMA, Law::Mu);

const fn decoded(law: Law) -> [i16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match law {
            Law::Mu => decode_pcmu(byte as u8),
            Law::A => decode_pcma(byte as u8),
        };
        byte += 1;
    }
    table
}

const fn recoded(from: &[i16; 256], law: Law) -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match law {
            Law::Mu => encode_pcmu(from[byte]),
            Law::A => encode_pcma(from[byte]),
        };
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_of_both_laws() {
        let samples = [0, i16::MAX, i16::MIN, 1000, -1000];
        let encoded = |law: Law| {
            let mut bytes = [0; 5];
            law.encode(&samples, &mut bytes);
            bytes
        };
        assert_eq!(encoded(Law::Mu), [0xFF, 0x80, 0x00, 0xCE, 0x4E]);
        assert_eq!(encoded(Law::A), [0xD5, 0xAA, 0x2A, 0xFA, 0x7A]);
        assert_eq!(
            (PCMU[0x80], PCMU[0x00], PCMA[0xAA], PCMA[0x2A]),
            (32124, -32124, 32256, -32256)
        );
    }

    #[test]
    fn every_code_survives_a_round_trip() {
        for byte in 0..=255_u8 {
            assert_eq!(encode_pcma(decode_pcma(byte)), byte);
            // Mu-law has two zeros; the negative one comes back as the positive one.
            let expected = if byte == 0x7F { 0xFF } else { byte };
            assert_eq!(encode_pcmu(decode_pcmu(byte)), expected);
        }
    }

    #[test]
    fn the_error_stays_within_half_a_step() {
        for sample in i16::MIN..=i16::MAX {
            for law in [Law::Mu, Law::A] {
                let (mut byte, mut back) = ([0], [0]);
                law.encode(&[sample], &mut byte);
                law.decode(&byte, &mut back);
                let error = (i32::from(sample) - i32::from(back[0])).abs();
                // Half a step is a 33rd of the size at the bottom of a segment; overload is 644.
                let allowed = (i32::from(sample).abs() + 132) / 32 + 8;
                assert!(error <= allowed, "{law:?} {sample}: {error} above {allowed}");
            }
        }
    }
}
