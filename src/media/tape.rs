//! A recording as a WAV file: frames of 8 kHz come in, bytes of the wanted rate and depth come out.

use std::time::Duration;

use crate::media::resample::Resampler;
use crate::media::{CLOCK_RATE, FRAME, PTIME};

/// The longest recording; a longer one ends there.
pub const TAPE_DURATION_MAX: Duration = Duration::from_secs(4 * 3600);

/// Bytes of the longest WAV file that every reader understands; a recording ends before.
const TAPE_OCTETS_MAX: u64 = i32::MAX as u64 - 4096;

/// Bytes of a WAV header.
pub const HEADER_OCTETS: usize = 44;

/// How a recording is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TapeFormat {
    rate: u32,
    bits: u16,
    channels: u16,
}

impl TapeFormat {
    /// Rates that a recording may have, in samples a second.
    pub const RATES: [u32; 9] =
        [8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
    /// Bits that a sample may have.
    pub const BITS: [u16; 4] = [8, 16, 24, 32];

    /// A format with one of [`Self::RATES`], one of [`Self::BITS`], and one or two channels.
    pub fn new(rate: u32, bits: u16, channels: u16) -> Option<Self> {
        let is_known = Self::RATES.contains(&rate) && Self::BITS.contains(&bits);
        (is_known && (1..=2).contains(&channels)).then_some(Self { rate, bits, channels })
    }

    /// How much fits into so many bytes, at most [`TAPE_DURATION_MAX`].
    pub fn duration_in(self, octets: u64) -> Duration {
        let octets = octets.min(TAPE_OCTETS_MAX).saturating_sub(HEADER_OCTETS as u64);
        Duration::from_millis(octets * 1000 / self.octets_a_second()).min(TAPE_DURATION_MAX)
    }

    /// The longest recording of this format.
    pub fn duration_max(self) -> Duration {
        self.duration_in(TAPE_OCTETS_MAX)
    }

    fn octets_a_second(self) -> u64 {
        u64::from(self.rate) * u64::from(self.bits / 8) * u64::from(self.channels)
    }
}

/// A recording that is being written. It only makes bytes: its owner appends them to the file, and
/// writes [`Tape::header`] over the beginning now and then, so that what is there is playable.
#[derive(Debug)]
pub struct Tape {
    format: TapeFormat,
    lanes: Vec<Lane>,
    /// Frames written, those that were lost on the way among them.
    frames: u64,
    octets: u64,
    lost: u64,
}

/// One channel.
#[derive(Debug)]
struct Lane {
    /// `None` at 8 kHz.
    resampler: Option<Resampler>,
    /// At the wanted rate, full scale at 1, not yet written.
    ready: Vec<f32>,
}

impl Tape {
    /// An empty recording.
    pub fn new(format: TapeFormat) -> Self {
        let lane = |_| Lane {
            resampler: (format.rate != CLOCK_RATE).then(|| Resampler::new(CLOCK_RATE, format.rate)),
            ready: Vec::new(),
        };
        let lanes = (0..format.channels).map(lane).collect();
        Self { format, lanes, frames: 0, octets: 0, lost: 0 }
    }

    /// Appends the bytes of frame `index`, a slice for each channel; silence stands for frames that
    /// are missing before it. A channel that is not given is silent, one too many is not heard.
    pub fn push(&mut self, index: u64, channels: &[[i16; FRAME]], bytes: &mut Vec<u8>) {
        // More than a minute is no loss on the way, but a number that cannot be.
        let missing = index.saturating_sub(self.frames).min(MISSING_MAX);
        self.lost += missing;
        for _ in 0..missing {
            self.append(&[], bytes);
        }
        self.append(channels, bytes);
    }

    /// Appends what a change of rate has held back.
    pub fn finish(&mut self, bytes: &mut Vec<u8>) {
        for lane in &mut self.lanes {
            if let Some(resampler) = lane.resampler.take() {
                resampler.finish(&mut lane.ready);
            }
        }
        self.write(bytes);
    }

    /// The header of a file that holds what has been appended so far.
    pub fn header(&self) -> [u8; HEADER_OCTETS] {
        let TapeFormat { rate, bits, channels } = self.format;
        let data = u32::try_from(self.octets).unwrap_or(u32::MAX - HEADER_OCTETS as u32);
        let frame = channels * (bits / 8);
        let parts: [&[u8]; 13] = [
            b"RIFF",
            &(data + HEADER_OCTETS as u32 - 8).to_le_bytes(),
            b"WAVE",
            b"fmt ",
            &16_u32.to_le_bytes(),
            &1_u16.to_le_bytes(),
            &channels.to_le_bytes(),
            &rate.to_le_bytes(),
            &(rate * u32::from(frame)).to_le_bytes(),
            &frame.to_le_bytes(),
            &bits.to_le_bytes(),
            b"data",
            &data.to_le_bytes(),
        ];
        let mut header = [0; HEADER_OCTETS];
        for (byte, given) in header.iter_mut().zip(parts.into_iter().flatten()) {
            *byte = *given;
        }
        header
    }

    /// How much sound has been taken in.
    pub fn duration(&self) -> Duration {
        PTIME.saturating_mul(u32::try_from(self.frames).unwrap_or(u32::MAX))
    }

    /// Bytes of the file, its header among them.
    pub const fn octets(&self) -> u64 {
        self.octets + HEADER_OCTETS as u64
    }

    /// How much of it is silence in place of frames that were lost on the way.
    pub fn lost(&self) -> Duration {
        PTIME.saturating_mul(u32::try_from(self.lost).unwrap_or(u32::MAX))
    }

    fn append(&mut self, channels: &[[i16; FRAME]], bytes: &mut Vec<u8>) {
        const SILENCE: [i16; FRAME] = [0; FRAME];
        self.frames += 1;
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            let frame = channels.get(number).unwrap_or(&SILENCE);
            let samples = frame.map(|sample| f32::from(sample) / 32_768.0);
            match &mut lane.resampler {
                Some(resampler) => resampler.push(&samples, &mut lane.ready),
                None => lane.ready.extend_from_slice(&samples),
            }
        }
        self.write(bytes);
    }

    /// Writes what every channel has ready.
    fn write(&mut self, bytes: &mut Vec<u8>) {
        let before = bytes.len();
        let count = self.lanes.iter().map(|lane| lane.ready.len()).min().unwrap_or_default();
        for index in 0..count {
            for lane in &self.lanes {
                put(lane.ready[index], self.format.bits, bytes);
            }
        }
        for lane in &mut self.lanes {
            lane.ready.drain(..count);
        }
        self.octets += (bytes.len() - before) as u64;
    }
}

/// Lost frames in a row that are made good with silence: a minute.
const MISSING_MAX: u64 = 3000;

/// One sample; beyond full scale it saturates.
fn put(sample: f32, bits: u16, bytes: &mut Vec<u8>) {
    let scaled = f64::from(sample) * f64::from(bits - 1).exp2();
    match bits {
        // Of eight bits, a WAV file has its zero in the middle.
        8 => bytes.push((scaled.round() + 128.0) as u8),
        16 => bytes.extend_from_slice(&(scaled.round() as i16).to_le_bytes()),
        24 => {
            let whole = (scaled.round() as i32).clamp(-(1 << 23), (1 << 23) - 1);
            bytes.extend_from_slice(&whole.to_le_bytes()[..3]);
        }
        _ => bytes.extend_from_slice(&(scaled.round() as i32).to_le_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::{Clip, ear};

    /// Frames of a tone.
    fn frames(frequency: f32, count: usize) -> Vec<[i16; FRAME]> {
        let turn = std::f32::consts::TAU * frequency / 8000.0;
        let sample = |n: usize| (8000.0 * (turn * n as f32).sin()) as i16;
        (0..count).map(|at| std::array::from_fn(|n| sample(at * FRAME + n))).collect()
    }

    fn file(tape: &mut Tape, body: &mut Vec<u8>) -> Vec<u8> {
        tape.finish(body);
        [&tape.header()[..], body].concat()
    }

    #[test]
    fn every_format_is_read_back_as_it_was_recorded() {
        let rates = TapeFormat::RATES.map(|rate| (rate, 16, 1));
        let depths = TapeFormat::BITS.map(|bits| (16_000, bits, 2));
        for (rate, bits, channels) in rates.into_iter().chain(depths) {
            let format = TapeFormat::new(rate, bits, channels).unwrap();
            let (mut tape, mut body) = (Tape::new(format), Vec::new());
            let both = frames(400.0, 20).into_iter().zip(frames(700.0, 20));
            for (index, (left, right)) in both.enumerate() {
                tape.push(index as u64, &[left, right], &mut body);
            }
            let file = file(&mut tape, &mut body);
            assert_eq!(tape.octets(), file.len() as u64);
            let octets = 44 + (rate * u32::from(bits / 8 * channels)) as usize * 2 / 5;
            assert_eq!(file.len(), octets);
            let clip = Clip::from_wav(&file).unwrap();
            let sound = &clip.samples()[400..2800];
            let (left, right) = (ear::power(sound, 400.0), ear::power(sound, 700.0));
            assert!(left > 1e6, "{format:?}: {left}");
            assert_eq!(right > 1e6, channels == 2, "{format:?}: {right}");
            assert_eq!(tape.duration(), Duration::from_millis(400));
        }
    }

    #[test]
    fn what_is_there_is_playable_at_any_time_and_lost_frames_keep_the_time() {
        let (mut tape, mut body) = (Tape::new(TapeFormat::new(8000, 16, 1).unwrap()), Vec::new());
        for (index, frame) in frames(400.0, 20).into_iter().enumerate() {
            if !(5..10).contains(&index) {
                tape.push(index as u64, &[frame], &mut body);
            }
            let so_far = [&tape.header()[..], &body].concat();
            assert!(Clip::from_wav(&so_far).is_ok());
        }
        let clip = Clip::from_wav(&file(&mut tape, &mut body)).unwrap();
        assert_eq!(clip.samples().len(), 20 * FRAME);
        assert!(clip.samples()[5 * FRAME..10 * FRAME].iter().all(|sample| *sample == 0));
        assert_eq!(tape.lost(), Duration::from_millis(100));
    }

    #[test]
    fn a_recording_ends_before_its_file_is_too_large() {
        let format = TapeFormat::new(48_000, 32, 2).unwrap();
        assert!(format.duration_max() < TAPE_DURATION_MAX);
        assert_eq!(TapeFormat::new(8000, 16, 1).unwrap().duration_max(), TAPE_DURATION_MAX);
        assert_eq!(
            TapeFormat::new(8000, 16, 1).unwrap().duration_in(160_044),
            Duration::from_secs(10)
        );
        assert!(TapeFormat::new(8001, 16, 1).is_none() && TapeFormat::new(8000, 12, 1).is_none());
    }
}
