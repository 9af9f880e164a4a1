//! A change of sample rate by a windowed sinc, exact for every ratio of whole rates.
//!
//! Reference: J. O. Smith, "Digital Audio Resampling": each output sample is the input convolved
//! with a low-pass at the lower of both Nyquist frequencies. The ratio of rates is a fraction, so
//! the low-pass is needed at as many offsets as its denominator says, computed once.

use std::f32::consts::PI;

/// Zero crossings of the sinc on either side: 60 dB down within 300 Hz at a rate of 8 kHz.
const LOBES: f32 = 32.0;

/// The edge of the pass band as a part of the lower Nyquist frequency: 3.7 kHz at 8 kHz.
const EDGE: f32 = 0.925;

/// Converts samples at rate `from` to rate `to`, both above zero.
pub(super) fn resample(samples: Vec<f32>, from: u32, to: u32) -> Vec<f32> {
    if from == to {
        return samples;
    }
    let mut converted = Vec::with_capacity(samples.len() * to as usize / from as usize + 1);
    let mut resampler = Resampler::new(from, to);
    resampler.push(&samples, &mut converted);
    resampler.finish(&mut converted);
    converted
}

/// A change of rate that takes its sound in pieces.
#[derive(Debug)]
pub(super) struct Resampler {
    kernels: Vec<Kernel>,
    step: usize,
    /// Input that is still needed; the next output begins with the first of it.
    buffer: Vec<f32>,
    phase: usize,
    /// What came, and what was given.
    counts: [u64; 2],
}

impl Resampler {
    /// From one rate to another, both above zero.
    pub(super) fn new(from: u32, to: u32) -> Self {
        let divisor = greatest_common_divisor(from, to);
        let (step, phases) = ((from / divisor) as usize, (to / divisor) as usize);
        let cutoff = EDGE * (to as f32 / from as f32).min(1.0);
        let kernels: Vec<Kernel> =
            (0..phases).map(|phase| Kernel::at(phase as f32 / phases as f32, cutoff)).collect();
        // Before its beginning the input is silent.
        let buffer = vec![0.0; kernels[0].taps.len() / 2 - 1];
        Self { kernels, step, buffer, phase: 0, counts: [0, 0] }
    }

    /// Takes a piece, and appends what can be told of the output now.
    pub(super) fn push(&mut self, samples: &[f32], output: &mut Vec<f32>) {
        self.counts[0] += samples.len() as u64;
        self.buffer.extend_from_slice(samples);
        self.convert(u64::MAX, output);
    }

    /// Appends the rest: after its end the input is silent.
    pub(super) fn finish(mut self, output: &mut Vec<f32>) {
        let total = self.counts[0] * self.kernels.len() as u64 / self.step as u64;
        let reach = self.kernels[0].taps.len();
        self.buffer.resize(self.buffer.len() + reach, 0.0);
        self.convert(total, output);
    }

    fn convert(&mut self, total: u64, output: &mut Vec<f32>) {
        let (phases, reach) = (self.kernels.len(), self.kernels[0].taps.len());
        let mut at = 0;
        while at + reach <= self.buffer.len() && self.counts[1] < total {
            output.push(dot(&self.buffer[at..], &self.kernels[self.phase].taps));
            self.counts[1] += 1;
            self.phase += self.step;
            at += self.phase / phases;
            self.phase %= phases;
        }
        self.buffer.drain(..at.min(self.buffer.len()));
    }
}

/// The low-pass at one offset between two input samples.
#[derive(Debug)]
struct Kernel {
    taps: Vec<f32>,
}

impl Kernel {
    /// `offset` is where between two samples the output lies, `cutoff` a part of the input's
    /// Nyquist frequency.
    fn at(offset: f32, cutoff: f32) -> Self {
        let half = LOBES / cutoff;
        let reach = half.ceil() as i32;
        let mut taps: Vec<f32> = (1 - reach..=reach)
            .map(|tap| {
                let distance = tap as f32 - offset;
                sinc(distance * cutoff) * blackman(distance / half)
            })
            .collect();
        // Each offset passes a constant unchanged, else the offsets would modulate the sound.
        let sum: f32 = taps.iter().sum();
        taps.iter_mut().for_each(|tap| *tap /= sum);
        Self { taps }
    }
}

/// The dot product over the shorter length, summed in eight lanes so that it becomes vector code.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let length = a.len().min(b.len());
    let (a_lanes, a_rest) = a[..length].as_chunks::<8>();
    let (b_lanes, b_rest) = b[..length].as_chunks::<8>();
    let mut sums = [0.0; 8];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..8 {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

fn sinc(x: f32) -> f32 {
    if x.abs() < 1e-6 { 1.0 } else { (PI * x).sin() / (PI * x) }
}

/// The Blackman window over -1..=1.
fn blackman(x: f32) -> f32 {
    if x.abs() > 1.0 {
        return 0.0;
    }
    0.42 + 0.5 * (PI * x).cos() + 0.08 * (2.0 * PI * x).cos()
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(frequency: f32, rate: u32) -> Vec<f32> {
        (0..rate).map(|n| (2.0 * PI * frequency * n as f32 / rate as f32).sin()).collect()
    }

    /// Root mean square of the middle of the sound, in dB below a full sine.
    fn level(samples: &[f32]) -> f32 {
        let middle = &samples[samples.len() / 4..samples.len() * 3 / 4];
        10.0 * (2.0 * middle.iter().map(|s| s * s).sum::<f32>() / middle.len() as f32).log10()
    }

    #[test]
    fn speech_passes_and_what_would_alias_is_gone() {
        for rate in [11_025, 16_000, 22_050, 44_100, 48_000] {
            for (frequency, passes) in [(300.0, true), (3300.0, true), (4300.0, false)] {
                let level = level(&resample(sine(frequency, rate), rate, 8000));
                let fine = if passes { level.abs() < 0.2 } else { level < -50.0 };
                assert!(fine, "{frequency} Hz at {rate}: {level} dB");
            }
        }
    }

    #[test]
    fn a_low_rate_is_filled_up_and_the_length_is_kept() {
        let up = resample(sine(440.0, 6000), 6000, 8000);
        assert!(level(&up).abs() < 0.1);
        assert_eq!(up.len(), 8000);
        assert!(resample(Vec::new(), 48_000, 8000).is_empty());
    }

    #[test]
    fn pieces_give_what_the_whole_gives() {
        for (from, to) in [(44_100, 8000), (8000, 44_100), (8000, 16_000), (48_000, 8000)] {
            let whole = resample(sine(440.0, from), from, to);
            assert_eq!(whole.len(), to as usize);
            let (mut resampler, mut pieces) = (Resampler::new(from, to), Vec::new());
            for piece in sine(440.0, from).chunks(577) {
                resampler.push(piece, &mut pieces);
            }
            resampler.finish(&mut pieces);
            assert!(pieces == whole, "{from} to {to}");
        }
    }
}
