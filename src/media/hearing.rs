//! What we hear of a leg ourselves, as sound: decoded, smoothed, searched for digits, metered.
//!
//! A leg has this only while somebody needs it: a recorder, a meter, the search for digits, or a
//! bridged leg that is played to or recorded.

use crate::base::Tick;
use crate::media::codec::Decoder;
use crate::media::inband::Inband;
use crate::media::jitter::Jitter;
use crate::media::rtp::{Header, PAYLOAD_MAX};
use crate::media::{Codec, FRAME};

/// One leg's sound, as it comes out of the jitter buffer.
#[derive(Debug)]
pub(super) struct Hearing {
    decoder: Decoder,
    jitter: Jitter,
    inband: Inband,
    frame: [i16; FRAME],
}

impl Hearing {
    /// Nothing heard.
    pub(super) fn new(codec: Codec) -> Self {
        let (jitter, inband) = (Jitter::new(), Inband::new());
        Self { decoder: Decoder::new(codec), jitter, inband, frame: [0; FRAME] }
    }

    /// Takes in the payload of a packet.
    pub(super) fn push(&mut self, codec: Codec, header: &Header, payload: &[u8], now: Tick) {
        if self.decoder.codec() != codec {
            self.decoder = Decoder::new(codec);
        }
        let mut samples = [0; PAYLOAD_MAX];
        let count = self.decoder.decode(payload, &mut samples);
        self.jitter.push(header, &samples[..count], now);
    }

    /// Takes in comfort noise, in dB below full scale.
    pub(super) const fn push_noise(&mut self, level: u8) {
        self.jitter.push_noise(level);
    }

    /// Goes on by a frame; gives the digit whose press it proves, if digits are looked for.
    pub(super) fn tick(&mut self, finds_digits: bool, now: Tick) -> Option<char> {
        self.jitter.pull(&mut self.frame, now);
        if finds_digits { self.inband.hear(&self.frame) } else { None }
    }

    /// Packets that came too late, and samples that were invented.
    pub(super) const fn faults(&self) -> (u64, u64) {
        let counts = self.jitter.counts();
        (counts.late, counts.concealed)
    }

    /// The frame of this tick.
    pub(super) const fn frame(&self) -> &[i16; FRAME] {
        &self.frame
    }
}
