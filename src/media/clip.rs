//! A clip: a prompt or hold music, decoded once and kept ready to send in G.711 and G.722.

use std::fmt;
use std::time::Duration;

use crate::media::{CLOCK_RATE, Codec, codec, decode, duration_of, resample, samples_in, wav};

/// The longest clip; ten minutes take 24 MB in all four forms.
pub const CLIP_DURATION_MAX: Duration = Duration::from_secs(600);

/// Sound at 8 kHz, mono: linear for mixing, and encoded for legs on which nothing else plays.
/// Share it by `Arc` with every leg that plays it.
pub struct Clip {
    linear: Box<[i16]>,
    pcmu: Box<[u8]>,
    pcma: Box<[u8]>,
    g722: Box<[u8]>,
}

impl Clip {
    /// Reads a WAV file: PCM of 8 to 32 bits, float, A-law or mu-law, at any rate from 4 to
    /// 192 kHz and with any number of channels, which are averaged.
    ///
    /// This takes milliseconds to seconds: load before a call needs it, not on a media thread.
    ///
    /// # Errors
    /// A [`ClipError`] says what is wrong with the file and what to do about it.
    pub fn from_wav(bytes: &[u8]) -> Result<Self, ClipError> {
        let sound = wav::read(bytes)?;
        Self::from_sound(sound.samples, sound.rate)
    }

    /// Reads a sound file: WAV as [`Self::from_wav`] does, MP3, Ogg Vorbis or FLAC, at any rate and
    /// with any number of channels.
    ///
    /// # Errors
    /// A [`ClipError`] says what is wrong with the file and what to do about it.
    pub fn read(bytes: &[u8]) -> Result<Self, ClipError> {
        let sound = decode::read(bytes)?;
        Self::from_sound(sound.samples, sound.rate)
    }

    /// Takes mono sound of any rate, full scale at 1; what its rate has above 4 kHz is kept for
    /// legs of G.722.
    pub(super) fn from_sound(samples: Vec<f32>, rate: u32) -> Result<Self, ClipError> {
        let linear = |samples: Vec<f32>| -> Vec<i16> {
            // A float beyond full scale saturates in the cast.
            samples.iter().map(|s| (s * 32_768.0).round() as i16).collect()
        };
        let is_wide = rate > CLOCK_RATE;
        let wide = is_wide.then(|| resample::resample(samples.clone(), rate, 2 * CLOCK_RATE));
        let mut clip = Self::from_samples(linear(resample::resample(samples, rate, CLOCK_RATE)))?;
        if let Some(wide) = wide {
            let mut g722 = codec::wideband(&linear(wide));
            // Rounding of the lengths may leave them one apart.
            g722.resize(clip.linear.len(), g722.last().copied().unwrap_or_default());
            clip.g722 = g722.into_boxed_slice();
        }
        Ok(clip)
    }

    /// Takes sound that is already linear, 8 kHz and mono.
    ///
    /// # Errors
    /// [`ClipError::Empty`] and [`ClipError::TooLong`].
    pub fn from_samples(linear: impl Into<Box<[i16]>>) -> Result<Self, ClipError> {
        let linear = linear.into();
        if linear.is_empty() {
            return Err(ClipError::Empty);
        }
        if linear.len() as u64 > samples_in(CLIP_DURATION_MAX) {
            return Err(ClipError::TooLong);
        }
        let encoded = |codec: Codec| {
            let mut bytes = vec![0; linear.len()];
            codec.encode(&linear, &mut bytes);
            bytes.into_boxed_slice()
        };
        let (pcmu, pcma) = (encoded(Codec::Pcmu), encoded(Codec::Pcma));
        Ok(Self { pcmu, pcma, g722: encoded(Codec::G722), linear })
    }

    /// How long it plays.
    pub const fn duration(&self) -> Duration {
        duration_of(self.linear.len() as u64)
    }

    /// The sound, linear, 8 kHz, mono.
    pub const fn samples(&self) -> &[i16] {
        &self.linear
    }

    /// The sound as payload bytes of a codec, one a sample; L16 has no such form.
    pub(super) const fn encoded(&self, codec: Codec) -> Option<&[u8]> {
        match codec {
            Codec::Pcmu => Some(&self.pcmu),
            Codec::Pcma => Some(&self.pcma),
            Codec::G722 => Some(&self.g722),
            Codec::L16 => None,
        }
    }
}

impl fmt::Debug for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clip({:?})", self.duration())
    }
}

/// Why a file is no clip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClipError {
    /// It does not begin with a RIFF header and the word WAVE.
    NotWav,
    /// It is of no kind that is read.
    Unknown,
    /// An MP3, Ogg or FLAC file that is damaged, cut short or holds something else than sound.
    Undecodable {
        /// Which of them it says to be.
        kind: &'static str,
    },
    /// A chunk is missing, cut short, or contradicts itself.
    Damaged,
    /// A format tag that is not read.
    Format {
        /// The tag in the file, for instance 0x55 for MP3.
        tag: u16,
    },
    /// A sample size that is not read.
    Bits {
        /// Bits in a sample.
        bits: u16,
    },
    /// A sample rate outside 4 to 192 kHz.
    Rate {
        /// Samples a second.
        rate: u32,
    },
    /// There is no sound in it.
    Empty,
    /// It plays longer than [`CLIP_DURATION_MAX`].
    TooLong,
}

impl fmt::Display for ClipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const CONVERT: &str = "convert it to 16-bit PCM WAV, for instance with: \
                               ffmpeg -i in.file -ac 1 -ar 8000 -c:a pcm_s16le out.wav";
        match self {
            Self::NotWav => write!(f, "this is not a WAV file; {CONVERT}"),
            Self::Unknown => {
                write!(f, "this is neither WAV nor MP3, Ogg Vorbis or FLAC; {CONVERT}")
            }
            Self::Undecodable { kind } => write!(
                f,
                "this {kind} file is damaged, cut short or holds no sound that is read; {CONVERT}"
            ),
            Self::Damaged => {
                write!(f, "this WAV file is damaged or cut short; save it again, or {CONVERT}")
            }
            Self::Format { tag } => {
                write!(f, "this WAV file holds sound of format {tag:#06x}; {CONVERT}")
            }
            Self::Bits { bits } => write!(f, "this WAV file has {bits}-bit samples; {CONVERT}"),
            Self::Rate { rate } => {
                write!(f, "this file has {rate} samples a second; {CONVERT}")
            }
            Self::Empty => f.write_str("this file holds no sound; record it again"),
            Self::TooLong => write!(
                f,
                "this sound is longer than {} minutes; cut it, and let it repeat if it is music",
                CLIP_DURATION_MAX.as_secs() / 60
            ),
        }
    }
}

impl std::error::Error for ClipError {}
