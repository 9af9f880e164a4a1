//! MP3, Ogg Vorbis and FLAC read into mono floats, by symphonia; whole files, and streams without end.

use std::io::{Cursor, Read};

use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream, ReadOnlySource};
use symphonia::core::meta::MetadataOptions;

use crate::base::caught;
use crate::media::resample::Resampler;
use crate::media::wav::{self, Sound};
use crate::media::{CLIP_DURATION_MAX, CLOCK_RATE, ClipError};

/// Sample rates that are read, as of WAV files.
const RATES: std::ops::RangeInclusive<u32> = 4000..=192_000;
/// Packets in a row that a stream may hold and that are no sound.
const BAD_PACKETS_MAX: u32 = 200;

/// Reads a whole sound file of any kind.
pub(super) fn read(bytes: &[u8]) -> Result<Sound, ClipError> {
    let kind = match bytes {
        [b'R', b'I', b'F', b'F', ..] => return wav::read(bytes),
        [b'O', b'g', b'g', b'S', ..] => "Ogg",
        [b'f', b'L', b'a', b'C', ..] => "FLAC",
        [b'I', b'D', b'3', ..] => "MP3",
        // The sync word of a frame, and layer III (ISO 11172-3 §2.4.1.3).
        [0xFF, second, ..] if second & 0xE6 == 0xE2 => "MP3",
        _ => return Err(ClipError::Unknown),
    };
    // What the decoder does not survive is a damaged file as well.
    caught(|| read_compressed(bytes, kind)).unwrap_or(Err(ClipError::Undecodable { kind }))
}

fn read_compressed(bytes: &[u8], kind: &'static str) -> Result<Sound, ClipError> {
    let damaged = |_| ClipError::Undecodable { kind };
    let mut decoder = Decoder::open(Box::new(Cursor::new(bytes)), true).map_err(damaged)?;
    let (mut sound, mut piece) = (Sound { rate: 0, samples: Vec::new() }, Vec::new());
    while let Some(rate) = decoder.next(&mut piece).map_err(damaged)? {
        if !RATES.contains(&rate) {
            return Err(ClipError::Rate { rate });
        }
        if sound.rate != 0 && sound.rate != rate {
            return Err(ClipError::Undecodable { kind });
        }
        sound.rate = rate;
        sound.samples.extend_from_slice(&piece);
        if sound.samples.len() as u64 > CLIP_DURATION_MAX.as_secs() * u64::from(rate) {
            return Err(ClipError::TooLong);
        }
    }
    if decoder.is_cut(sound.samples.len()) {
        return Err(ClipError::Undecodable { kind });
    }
    // Nothing in it: the clip will say so.
    sound.rate = sound.rate.max(CLOCK_RATE);
    Ok(sound)
}

/// Sound that comes in pieces.
struct Decoder<'a> {
    format: Box<dyn FormatReader + 'a>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    /// How many samples a channel the file says to have.
    promised: Option<u64>,
    packets: u64,
    bad_packets: u64,
    bad_in_a_row: u32,
    interleaved: Vec<f32>,
}

impl<'a> Decoder<'a> {
    fn open(source: Box<dyn MediaSource + 'a>, gapless: bool) -> Result<Self, Error> {
        let stream = MediaSourceStream::new(source, Default::default());
        let (format, metadata) = (FormatOptions::default(), MetadataOptions::default());
        let probe = symphonia::default::get_probe();
        let format = probe.probe(&Hint::new(), stream, format, metadata)?;
        let none = Error::Unsupported("no sound");
        let Some(track) = format.default_track(TrackType::Audio) else { return Err(none) };
        let Some(parameters) = track.codec_params.as_ref().and_then(|one| one.audio()) else {
            return Err(none);
        };
        let options = AudioDecoderOptions::default().gapless(gapless);
        let decoder = symphonia::default::get_codecs().make_audio_decoder(parameters, &options)?;
        let (track, promised) = (track.id, track.num_frames);
        Ok(Self {
            format,
            decoder,
            track,
            promised,
            packets: 0,
            bad_packets: 0,
            bad_in_a_row: 0,
            interleaved: Vec::new(),
        })
    }

    /// Replaces `mono` with the next piece, its channels averaged, and says its rate; `None` at the
    /// end. A packet that is damaged is left out, unless there are too many of them.
    fn next(&mut self, mono: &mut Vec<f32>) -> Result<Option<u32>, Error> {
        loop {
            let Some(packet) = self.format.next_packet()? else { return Ok(None) };
            if packet.track_id != self.track {
                continue;
            }
            self.packets += 1;
            let buffer = match self.decoder.decode(&packet) {
                Ok(buffer) => buffer,
                Err(Error::DecodeError(why)) => {
                    self.bad_packets += 1;
                    self.bad_in_a_row += 1;
                    if self.bad_in_a_row > BAD_PACKETS_MAX {
                        return Err(Error::DecodeError(why));
                    }
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.bad_in_a_row = 0;
            let (rate, channels) = (buffer.spec().rate(), buffer.num_planes().max(1));
            buffer.copy_to_vec_interleaved(&mut self.interleaved);
            mono.clear();
            let average = |frame: &[f32]| frame.iter().sum::<f32>() / channels as f32;
            let finite = |sample: f32| if sample.is_finite() { sample } else { 0.0 };
            mono.extend(
                self.interleaved.chunks_exact(channels).map(|frame| finite(average(frame))),
            );
            return Ok(Some(rate));
        }
    }

    /// Whether so many samples are fewer than the file promised, or more than a twentieth of it is
    /// no sound.
    fn is_cut(&self, samples: usize) -> bool {
        let is_short = self.promised.is_some_and(|promised| (samples as u64) < promised / 10 * 9);
        // The first frames of an MP3 may lean on others that are not there.
        is_short || self.bad_packets > 3 + self.packets / 20
    }
}

/// A stream of MP3, Ogg Vorbis or FLAC, which need not begin at a beginning or have an end, as
/// mono sound of 8 kHz.
pub struct StreamDecoder {
    decoder: Decoder<'static>,
    rate: u32,
    resampler: Option<Resampler>,
    piece: Vec<f32>,
    converted: Vec<f32>,
}

impl StreamDecoder {
    /// Reads until it is known what the stream is; `None` where it is nothing that is read.
    pub fn open(source: impl Read + Send + Sync + 'static) -> Option<Self> {
        // What follows the length that a first file gives of itself belongs to the stream as well.
        let open = || Decoder::open(Box::new(ReadOnlySource::new(source)), false);
        let decoder = caught(std::panic::AssertUnwindSafe(open)).ok()?.ok()?;
        let (piece, converted) = (Vec::new(), Vec::new());
        Some(Self { decoder, rate: 0, resampler: None, piece, converted })
    }

    /// Appends the next piece; false at the end, or where the stream is no sound any more.
    pub fn next(&mut self, samples: &mut Vec<i16>) -> bool {
        let next = caught(|| self.decoder.next(&mut self.piece));
        let Ok(Ok(Some(rate))) = next else { return false };
        if !RATES.contains(&rate) {
            return false;
        }
        if self.rate != rate {
            self.rate = rate;
            self.resampler = (rate != CLOCK_RATE).then(|| Resampler::new(rate, CLOCK_RATE));
        }
        self.converted.clear();
        match &mut self.resampler {
            Some(resampler) => resampler.push(&self.piece, &mut self.converted),
            None => self.converted.extend_from_slice(&self.piece),
        }
        // A float beyond full scale saturates in the cast.
        samples.extend(self.converted.iter().map(|sample| (sample * 32_768.0).round() as i16));
        true
    }
}

impl std::fmt::Debug for StreamDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StreamDecoder({} Hz)", self.rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::{Clip, ear};

    /// A second of 400 Hz on the left and 500 Hz on the right, or in the middle where it is mono.
    const SOUNDS: [(&str, &[u8]); 5] = [
        ("stereo.mp3", include_bytes!("../../sip-test/sounds/stereo.mp3")),
        ("mono.mp3", include_bytes!("../../sip-test/sounds/mono.mp3")),
        ("stereo.ogg", include_bytes!("../../sip-test/sounds/stereo.ogg")),
        ("stereo.flac", include_bytes!("../../sip-test/sounds/stereo.flac")),
        ("six.flac", include_bytes!("../../sip-test/sounds/six.flac")),
    ];

    #[test]
    fn every_kind_is_heard_alike() {
        for (name, bytes) in SOUNDS {
            let clip = Clip::read(bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
            let millis = clip.duration().as_millis();
            assert!((990..1100).contains(&millis), "{name}: {millis} ms");
            let sound = &clip.samples()[1600..6400];
            let [left, right, none] = [400.0, 500.0, 700.0].map(|hertz| ear::power(sound, hertz));
            assert!(left > 1e5 && right > 1e5, "{name}: {left} {right}");
            assert!(none < left / 1000.0, "{name}: {none}");
        }
    }

    #[test]
    fn a_file_that_is_cut_or_something_else_is_told() {
        for (name, bytes) in SOUNDS {
            let cut = Clip::read(&bytes[..bytes.len() / 2]);
            assert!(matches!(cut, Err(ClipError::Undecodable { .. })), "{name}: {cut:?}");
        }
        assert_eq!(Clip::read(b"<html>no sound</html>").unwrap_err(), ClipError::Unknown);
        assert_eq!(Clip::read(b"").unwrap_err(), ClipError::Unknown);
        assert!(matches!(Clip::read(b"OggS but no more"), Err(ClipError::Undecodable { .. })));
    }

    #[test]
    fn a_stream_may_begin_anywhere_in_an_mp3() {
        let (_, bytes) = SOUNDS[0];
        for from in [0, 1, 1000, 3000, 5000] {
            let mut stream = StreamDecoder::open(Cursor::new(&bytes[from..])).unwrap();
            let mut samples = Vec::new();
            while stream.next(&mut samples) {}
            assert!(samples.len() > 2400, "from {from}: {}", samples.len());
            let sound = &samples[samples.len() - 2000..samples.len() - 400];
            assert!(ear::power(sound, 400.0) > 1e5, "from {from}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn no_bytes_do_any_harm(
            which in 0_usize..5,
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            length in any::<prop::sample::Index>(),
        ) {
            let mut bytes = SOUNDS[which].1.to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let length = length.index(bytes.len()) + 1;
            let _ = Clip::read(&bytes);
            let _ = Clip::read(&bytes[..length]);
        }
    }
}
