//! Codecs: how long a frame is in each, and what a stream of them remembers.
//!
//! All of them run at a clock rate of 8000 Hz, G.722 too (RFC 3551 §4.5.2), so timestamps, digits
//! and clips need no other. G.722 carries 16 kHz; what we say in it ourselves, and what we hear of
//! it, is its lower half, and between two legs of G.722 it passes untouched.

use std::fmt;

use audio_codec::g722::{Bitrate, G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};

use crate::media::g711::Law;
use crate::media::{Codec, FRAME};

impl Codec {
    /// Every codec, in our order of preference.
    pub const ALL: [Self; 4] = [Self::G722, Self::Pcma, Self::Pcmu, Self::L16];

    /// The payload type that RFC 3551 §6 gives this codec; L16 at 8 kHz has none and is offered as
    /// 96.
    pub const fn usual_payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::L16 => 96,
        }
    }

    /// Payload bytes for so many samples at 8 kHz.
    pub const fn octets(self, samples: usize) -> usize {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => samples,
            Self::L16 => samples * 2,
        }
    }

    /// Samples at 8 kHz in a payload of so many bytes.
    pub const fn samples(self, octets: usize) -> usize {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => octets,
            Self::L16 => octets / 2,
        }
    }

    /// Encodes as many samples as fit, from the beginning of a stream: a whole sound at once.
    pub fn encode(self, samples: &[i16], payload: &mut [u8]) {
        Encoder::new(self).encode(samples, payload);
    }

    /// Decodes as many bytes as fit, from the beginning of a stream.
    pub fn decode(self, payload: &[u8], samples: &mut [i16]) {
        Decoder::new(self).decode(payload, samples);
    }

    const fn law(self) -> Option<Law> {
        match self {
            Self::Pcmu => Some(Law::Mu),
            Self::Pcma => Some(Law::A),
            Self::G722 | Self::L16 => None,
        }
    }
}

/// What encodes one stream. It is made when a stream is agreed on; encoding allocates nothing.
pub(super) struct Encoder {
    codec: Codec,
    g722: Option<Box<Wide>>,
}

/// The encoder of G.722, which takes 16 kHz, fed with 8 kHz: between any two samples the one is put
/// that a sound without anything above 4 kHz has there. (The encoder's own mode for 8 kHz, in
/// audio-codec 0.4, says the same code for everything.)
struct Wide {
    encoder: G722Encoder,
    /// The last samples, oldest first.
    line: [i16; TAPS],
}

/// Samples that an interpolated one is made of: six on each side.
const TAPS: usize = 12;

/// Their weights from outside to the middle: a sine over its angle under Hamming's window.
const WEIGHTS: [f32; TAPS / 2] = [-0.00556, 0.01524, -0.03841, 0.08420, -0.18424, 0.62877];

impl Wide {
    fn encode(&mut self, samples: &[i16], payload: &mut [u8]) {
        let pieces = samples.chunks(FRAME).zip(payload.chunks_mut(FRAME));
        for (samples, payload) in pieces {
            let mut wide = [0; 2 * FRAME];
            for (sample, two) in samples.iter().zip(wide.chunks_exact_mut(2)) {
                self.line.copy_within(1.., 0);
                self.line[TAPS - 1] = *sample;
                let pairs = self.line.iter().zip(self.line.iter().rev()).zip(WEIGHTS);
                let between: f32 = pairs
                    .map(|((one, other), weight)| weight * (f32::from(*one) + f32::from(*other)))
                    .sum();
                // A sum beyond full scale saturates in the cast.
                two.copy_from_slice(&[self.line[TAPS / 2 - 1], between as i16]);
            }
            let length = self.encoder.encode_into(&wide[..2 * samples.len()], payload);
            debug_assert_eq!(length.ok(), Some(samples.len()), "a byte for every two samples");
        }
    }
}

impl Encoder {
    /// The beginning of a stream.
    pub(super) fn new(codec: Codec) -> Self {
        let encoder = || G722Encoder::with_options(Bitrate::Mode1_64000, false, false);
        let g722 = || Box::new(Wide { encoder: encoder(), line: [0; TAPS] });
        Self { codec, g722: (codec == Codec::G722).then(g722) }
    }

    /// What it encodes to.
    pub(super) const fn codec(&self) -> Codec {
        self.codec
    }

    /// Encodes as many samples as both slices have room for.
    pub(super) fn encode(&mut self, samples: &[i16], payload: &mut [u8]) {
        let count = samples.len().min(self.codec.samples(payload.len()));
        let samples = &samples[..count];
        match (self.codec.law(), &mut self.g722) {
            (Some(law), _) => law.encode(samples, payload),
            (None, Some(g722)) => g722.encode(samples, payload),
            (None, None) => {
                for (bytes, sample) in payload.chunks_exact_mut(2).zip(samples) {
                    bytes.copy_from_slice(&sample.to_be_bytes());
                }
            }
        }
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Encoder({:?})", self.codec)
    }
}

/// What decodes one stream; decoding allocates nothing.
pub(super) struct Decoder {
    codec: Codec,
    g722: Option<Box<G722Decoder>>,
}

impl Decoder {
    /// The beginning of a stream.
    pub(super) fn new(codec: Codec) -> Self {
        let g722 = || Box::new(G722Decoder::with_options(Bitrate::Mode1_64000, false, true));
        Self { codec, g722: (codec == Codec::G722).then(g722) }
    }

    /// What it decodes.
    pub(super) const fn codec(&self) -> Codec {
        self.codec
    }

    /// Decodes as many bytes as both slices have room for; gives the number of samples.
    pub(super) fn decode(&mut self, payload: &[u8], samples: &mut [i16]) -> usize {
        let count = self.codec.samples(payload.len()).min(samples.len());
        let payload = &payload[..self.codec.octets(count)];
        match (self.codec.law(), &mut self.g722) {
            (Some(law), _) => law.decode(payload, samples),
            (None, Some(g722)) => {
                let length = g722.decode_into(payload, samples);
                debug_assert_eq!(length.ok(), Some(count), "a sample at 8 kHz for each byte");
            }
            (None, None) => {
                for (sample, bytes) in samples.iter_mut().zip(payload.chunks_exact(2)) {
                    *sample = i16::from_be_bytes([bytes[0], bytes[1]]);
                }
            }
        }
        count
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({:?})", self.codec)
    }
}

/// Whether packets pass from one codec to another one by one, each sample for itself, so that the
/// jitter of one side is left to the buffer of the other. Where one has a memory, a lost or late
/// packet would be heard in those behind it: there the sound is decoded, smoothed and encoded.
pub(super) fn passes(from: Codec, to: Codec) -> bool {
    from == to || ![from, to].contains(&Codec::G722)
}

/// Turns a payload of at most 960 samples into one of another codec, if it [`passes`]; gives the
/// length of what it became.
pub(super) fn pass(from: Codec, to: Codec, payload: &[u8], passed: &mut [u8]) -> usize {
    match (from.law(), to.law()) {
        _ if from == to => passed[..payload.len()].copy_from_slice(payload),
        (Some(law), Some(_)) => law.recode(payload, passed),
        _ => {
            let mut samples = [0; super::rtp::PAYLOAD_MAX];
            let count = Decoder::new(from).decode(payload, &mut samples);
            Encoder::new(to).encode(&samples[..count], passed);
        }
    }
    to.octets(from.samples(payload.len())).min(passed.len())
}

/// Encodes a whole sound of 16 kHz as G.722, both halves of it.
pub(super) fn wideband(samples: &[i16]) -> Vec<u8> {
    let mut bytes = vec![0; samples.len() / 2];
    let mut encoder = G722Encoder::with_options(Bitrate::Mode1_64000, false, false);
    let even = &samples[..bytes.len() * 2];
    let length = encoder.encode_into(even, &mut bytes);
    debug_assert_eq!(length.ok(), Some(even.len() / 2), "a byte for every two samples");
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::ear;

    /// A second of two tones, of which one is above the lower half of G.722.
    fn sound(rate: f64, frequencies: &[f64]) -> Vec<i16> {
        let turn =
            |hertz: &f64, n: u32| (std::f64::consts::TAU * hertz * f64::from(n) / rate).sin();
        let sample =
            |n| frequencies.iter().map(|hertz| 8000.0 * turn(hertz, n)).sum::<f64>() as i16;
        (0..rate as u32).map(sample).collect()
    }

    #[test]
    fn every_codec_gives_back_what_it_was_given() {
        let said = sound(8000.0, &[440.0, 1200.0]);
        for codec in Codec::ALL {
            let (mut encoder, mut decoder) = (Encoder::new(codec), Decoder::new(codec));
            let mut heard = Vec::new();
            for frame in said.chunks(160) {
                let (mut payload, mut samples) = ([0; 320], [0; 160]);
                let payload = &mut payload[..codec.octets(frame.len())];
                encoder.encode(frame, payload);
                assert_eq!(decoder.decode(payload, &mut samples), 160);
                heard.extend(samples);
            }
            let found = ear::find(&heard, &said[800..2400]).unwrap();
            assert!(found.coefficient > 0.99, "{codec:?}: {found:?}");
            let error = (ear::level(&heard) - ear::level(&said)).abs();
            assert!(error < 0.5, "{codec:?}: {error} dB louder or fainter");
        }
    }

    #[test]
    fn between_codecs_without_a_memory_the_sound_stays() {
        let said = sound(8000.0, &[440.0]);
        for from in Codec::ALL {
            for to in Codec::ALL.into_iter().filter(|to| passes(from, *to)) {
                let (mut encoder, mut decoder) = (Encoder::new(from), Decoder::new(to));
                let mut heard = Vec::new();
                for frame in said.chunks(160) {
                    let (mut one, mut other, mut samples) = ([0; 320], [0; 320], [0; 160]);
                    let one = &mut one[..from.octets(160)];
                    encoder.encode(frame, one);
                    let length = pass(from, to, one, &mut other);
                    assert_eq!(length, to.octets(160));
                    decoder.decode(&other[..length], &mut samples);
                    heard.extend(samples);
                }
                let found = ear::find(&heard, &said[800..2400]).unwrap();
                assert!(found.coefficient > 0.99, "{from:?} to {to:?}: {found:?}");
            }
        }
    }

    #[test]
    fn a_wideband_sound_is_heard_in_its_lower_half() {
        let payload = wideband(&sound(16_000.0, &[440.0, 6000.0]));
        let mut heard = vec![0; payload.len()];
        Codec::G722.decode(&payload, &mut heard);
        assert_eq!(heard.len(), 8000);
        assert!(ear::power(&heard, 440.0) > 100.0 * ear::power(&heard, 2000.0));
        assert!((ear::power(&heard, 440.0) / 3.2e7 - 1.0).abs() < 0.2);
    }
}
