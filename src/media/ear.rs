//! An ear for tests, demonstrations and phones: which tone is heard, how loud, and which clip.

use std::f64::consts::PI;

use crate::media::CLOCK_RATE;

/// The power of one frequency in Hz over all samples, by the Goertzel algorithm: the mean square
/// that a sine of this frequency alone would have. Two frequencies are told apart when they
/// differ by 8000 / samples.
pub fn power(samples: &[i16], frequency: f32) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    let coefficient = 2.0 * (2.0 * PI * f64::from(frequency) / f64::from(CLOCK_RATE)).cos();
    let (last, before) = samples.iter().fold((0.0, 0.0), |(last, before), sample| {
        (f64::from(*sample) + coefficient * last - before, last)
    });
    let magnitude = last * last + before * before - coefficient * last * before;
    2.0 * magnitude / (samples.len() as f64).powi(2)
}

/// The candidate frequency with most power, if it carries at least a quarter of all that is heard
/// and is louder than -45 dBm0.
pub fn dominant(samples: &[i16], candidates: &[f32]) -> Option<f32> {
    let total = mean_square(samples);
    let powers = candidates.iter().map(|frequency| (power(samples, *frequency), *frequency));
    let (power, frequency) = powers.max_by(|a, b| a.0.total_cmp(&b.0))?;
    (power > total / 4.0 && decibels(power) > -45.0).then_some(frequency)
}

/// The level of the samples in dBm0; digital silence is -96.
pub fn level(samples: &[i16]) -> f32 {
    decibels(mean_square(samples)).max(-96.0) as f32
}

/// Where in the sound a clip was heard, and how surely.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Heard {
    /// The sample of the sound at which the clip begins.
    pub lag: usize,
    /// The normalised correlation there: 1 is the clip itself, 0 is unrelated.
    pub coefficient: f32,
}

/// Where in `sound` the `reference` is heard best: the lag of the highest normalised
/// cross-correlation. `None` when the reference is empty, silent, or longer than the sound.
///
/// It compares at every lag, so a reference of a second in a sound of ten takes 0.6 billion steps.
pub fn find(sound: &[i16], reference: &[i16]) -> Option<Heard> {
    let energy = |samples: &[i16]| -> f64 { samples.iter().map(|s| f64::from(*s).powi(2)).sum() };
    let wanted = energy(reference);
    if wanted == 0.0 {
        return None;
    }
    let heard = sound.windows(reference.len()).enumerate().map(|(lag, window)| {
        let scale = (wanted * energy(window)).sqrt();
        let coefficient = if scale == 0.0 { 0.0 } else { correlation(window, reference) / scale };
        Heard { lag, coefficient: coefficient as f32 }
    });
    heard.max_by(|a, b| a.coefficient.total_cmp(&b.coefficient))
}

fn correlation(a: &[i16], b: &[i16]) -> f64 {
    a.iter().zip(b).map(|(a, b)| i64::from(i32::from(*a) * i32::from(*b))).sum::<i64>() as f64
}

fn mean_square(samples: &[i16]) -> f64 {
    if samples.is_empty() {
        return 0.0;
    }
    samples.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>() / samples.len() as f64
}

/// Level of a sine at full scale in dBm0 (ITU-T G.711 table 5).
#[expect(clippy::approx_constant, reason = "decibels, not a circle")]
const FULL_SCALE: f64 = 3.14;

/// Mean square to dBm0; that of a sine is half the square of its peak.
fn decibels(mean_square: f64) -> f64 {
    10.0 * (mean_square * 2.0 / 32_768.0_f64.powi(2)).log10() + FULL_SCALE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sine(frequency: f64, peak: f64, samples: usize) -> Vec<i16> {
        let turn = 2.0 * PI * frequency / f64::from(CLOCK_RATE);
        (0..samples).map(|n| ((turn * n as f64).sin() * peak) as i16).collect()
    }

    #[test]
    fn a_hum_is_told_from_its_neighbours_and_from_silence() {
        let candidates = [400.0, 500.0, 600.0];
        assert_eq!(dominant(&sine(500.0, 3000.0, 800), &candidates), Some(500.0));
        assert_eq!(dominant(&sine(950.0, 3000.0, 800), &candidates), None);
        assert_eq!(dominant(&[0; 800], &candidates), None);
        assert_eq!(dominant(&[], &candidates), None);
    }

    #[test]
    fn full_scale_is_just_above_three_decibels() {
        assert!((level(&sine(1000.0, 32_767.0, 8000)) - FULL_SCALE as f32).abs() < 0.01);
        assert!((level(&sine(1000.0, 3276.7, 8000)) + 16.86).abs() < 0.01);
        assert_eq!((level(&[0; 80]), level(&[])), (-96.0, -96.0));
    }

    #[test]
    fn a_clip_is_found_where_it_was_played() {
        let clip: Vec<i16> = (0..800_i32).map(|n| (n * n * 37 % 8000 - 4000) as i16).collect();
        let sound = [&sine(300.0, 500.0, 1234)[..], &clip, &sine(300.0, 500.0, 500)].concat();
        let heard = find(&sound, &clip).unwrap();
        assert_eq!(heard.lag, 1234);
        assert!(heard.coefficient > 0.999);
        assert_eq!(find(&clip, &sound), None);
        assert_eq!(find(&sound, &[]), None);
    }
}
