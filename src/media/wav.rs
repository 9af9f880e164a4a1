//! WAV files read into mono floats: PCM and float by hound, A-law and mu-law by an own reader.

use std::io::Cursor;

use hound::{SampleFormat, WavReader};

use crate::media::g711::Law;
use crate::media::{CLIP_DURATION_MAX, ClipError};

/// What a file holds, its channels averaged; full scale is 1.
#[derive(Debug)]
pub(super) struct Sound {
    pub(super) rate: u32,
    pub(super) samples: Vec<f32>,
}

/// Reads a whole WAV file.
pub(super) fn read(bytes: &[u8]) -> Result<Sound, ClipError> {
    let layout = Layout::parse(bytes)?;
    if !(4000..=192_000).contains(&layout.rate) {
        return Err(ClipError::Rate { rate: layout.rate });
    }
    match layout.tag {
        TAG_PCM | TAG_FLOAT => read_linear(&layout),
        TAG_ALAW => read_g711(&layout, Law::A),
        TAG_MULAW => read_g711(&layout, Law::Mu),
        tag => Err(ClipError::Format { tag }),
    }
}

const TAG_PCM: u16 = 1;
const TAG_FLOAT: u16 = 3;
const TAG_ALAW: u16 = 6;
const TAG_MULAW: u16 = 7;
/// The real tag then stands at the head of a GUID, 24 bytes into the chunk.
const TAG_EXTENSIBLE: u16 = 0xFFFE;

/// The two chunks that matter: "fmt ", taken apart, and "data".
struct Layout<'a> {
    tag: u16,
    channels: u16,
    rate: u32,
    bits: u16,
    format: &'a [u8],
    data: &'a [u8],
}

impl<'a> Layout<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, ClipError> {
        if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
            return Err(ClipError::NotWav);
        }
        let (mut rest, mut format) = (&bytes[12..], None);
        loop {
            let (kind, body, after) = split_chunk(rest).ok_or(ClipError::Damaged)?;
            match (kind, format) {
                (b"fmt ", _) => format = Some(body),
                (b"data", Some(format)) => return Self::of(format, body),
                _ => {}
            }
            rest = after;
        }
    }

    fn of(format: &'a [u8], data: &'a [u8]) -> Result<Self, ClipError> {
        let half = |at: usize| {
            let two = format.get(at..at + 2).and_then(|two| two.try_into().ok());
            two.map(u16::from_le_bytes).ok_or(ClipError::Damaged)
        };
        let tag = match half(0)? {
            TAG_EXTENSIBLE => half(24)?,
            tag => tag,
        };
        let rate = u32::from(half(4)?) | u32::from(half(6)?) << 16;
        let layout = Self { tag, channels: half(2)?, rate, bits: half(14)?, format, data };
        if layout.channels == 0 { Err(ClipError::Damaged) } else { Ok(layout) }
    }

    /// Averages the channels of samples, as many frames as a clip may have and one more, by which
    /// the clip will see that it is too long.
    fn sound(&self, samples: impl Iterator<Item = f32>) -> Result<Sound, ClipError> {
        let frames_max = CLIP_DURATION_MAX.as_secs() as usize * self.rate as usize;
        let channels = usize::from(self.channels);
        let (mut mono, mut sum) = (Vec::new(), 0.0);
        for (index, sample) in samples.enumerate() {
            sum += if sample.is_finite() { sample } else { 0.0 };
            if index % channels == channels - 1 {
                mono.push(sum / f32::from(self.channels));
                sum = 0.0;
            }
            if mono.len() > frames_max {
                return Err(ClipError::TooLong);
            }
        }
        Ok(Sound { rate: self.rate, samples: mono })
    }
}

/// Name, body and what follows the padded body; `None` when the body is cut.
fn split_chunk(bytes: &[u8]) -> Option<(&[u8; 4], &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first_chunk::<4>()?;
    let (size, rest) = rest.split_first_chunk::<4>()?;
    let size = match u32::from_le_bytes(*size) {
        SIZE_UNKNOWN => rest.len(),
        size => size as usize,
    };
    let (body, after) = rest.split_at_checked(size)?;
    Some((kind, body, after.get(size % 2..).unwrap_or_default()))
}

/// The size that a writer leaves in the last chunk when it streams and cannot go back, as ffmpeg
/// does into a pipe: the body ends with the file.
const SIZE_UNKNOWN: u32 = u32::MAX;

/// The file again, with what hound needs to know: only the chunks that matter, with true sizes.
fn rewritten(layout: &Layout<'_>) -> Vec<u8> {
    let frame = usize::from(layout.channels) * usize::from(layout.bits.div_ceil(8));
    let whole = layout.data.len() - layout.data.len() % frame.max(1);
    let mut file = b"RIFF\0\0\0\0WAVE".to_vec();
    for (name, body) in [(b"fmt ", layout.format), (b"data", &layout.data[..whole])] {
        file.extend_from_slice(name);
        file.extend_from_slice(&(body.len() as u32).to_le_bytes());
        file.extend_from_slice(body);
    }
    file
}

fn read_linear(layout: &Layout<'_>) -> Result<Sound, ClipError> {
    let unread = |error: hound::Error| match error {
        hound::Error::Unsupported | hound::Error::TooWide | hound::Error::InvalidSampleFormat => {
            ClipError::Bits { bits: layout.bits }
        }
        hound::Error::IoError(_)
        | hound::Error::FormatError(_)
        | hound::Error::UnfinishedSample => ClipError::Damaged,
    };
    let reader = WavReader::new(Cursor::new(rewritten(layout))).map_err(unread)?;
    let spec = reader.spec();
    let mut failed = None;
    let sound = match spec.sample_format {
        SampleFormat::Float => layout.sound(keep_ok(reader.into_samples::<f32>(), &mut failed)),
        SampleFormat::Int => {
            let scale = (-f32::from(spec.bits_per_sample - 1)).exp2();
            let samples = keep_ok(reader.into_samples::<i32>(), &mut failed);
            layout.sound(samples.map(|sample| sample as f32 * scale))
        }
    }?;
    failed.map_or(Ok(sound), |error| Err(unread(error)))
}

/// The samples up to the first error, which is left in `failed`.
fn keep_ok<S>(
    samples: impl Iterator<Item = Result<S, hound::Error>>,
    failed: &mut Option<hound::Error>,
) -> impl Iterator<Item = S> {
    samples.map_while(|sample| sample.map_err(|error| *failed = Some(error)).ok())
}

fn read_g711(layout: &Layout<'_>, law: Law) -> Result<Sound, ClipError> {
    if layout.bits != 8 {
        return Err(ClipError::Bits { bits: layout.bits });
    }
    let mut linear = vec![0; layout.data.len()];
    law.decode(layout.data, &mut linear);
    layout.sound(linear.iter().map(|sample| f32::from(*sample) / 32_768.0))
}

#[cfg(test)]
mod tests;
