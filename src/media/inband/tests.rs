//! What Q.24 asks of a receiver, and what must never be taken for a digit.

use std::f64::consts::TAU;

use super::*;
use crate::base::Rng;

const RATE: f64 = 8000.0;

/// Peak of a tone of this level, in dBm0.
fn peak(level: f64) -> f64 {
    32_636.0 * 10_f64.powf((level - 314.0 / 100.0) / 20.0)
}

/// One press: samples of both tones, each with its level, off their frequency by a factor.
fn press(key: char, millis: usize, levels: (f64, f64), factor: f64) -> Vec<f64> {
    let place = KEYS.iter().flatten().position(|one| *one == key).unwrap();
    let low = [697.0, 770.0, 852.0, 941.0][place / 4] * factor;
    let high = [1209.0, 1336.0, 1477.0, 1633.0][place % 4] * factor;
    let sample = |n: usize| {
        let t = n as f64 / RATE;
        peak(levels.0) * (TAU * low * t).sin() + peak(levels.1) * (TAU * high * t).sin()
    };
    (0..millis * 8).map(sample).collect()
}

/// White noise of this power, in dBm0, over sound.
fn add_noise(sound: &mut [f64], level: f64, rng: &mut Rng) {
    // A sine's effective value is its peak by the root of two; twelve even numbers make a bell.
    let sigma = peak(level) / 2_f64.sqrt();
    for sample in sound {
        let bell: f64 = (0..12).map(|_| f64::from(rng.next_u32()) / 4_294_967_296.0).sum();
        *sample += (bell - 6.0) * sigma;
    }
}

fn heard(sound: &[f64]) -> String {
    let mut inband = Inband::new();
    let mut digits = String::new();
    for chunk in sound.chunks_exact(FRAME) {
        let frame = std::array::from_fn(|n| chunk[n] as i16);
        digits.extend(inband.hear(&frame));
    }
    digits
}

/// All sixteen keys with pauses, beginning at an odd moment.
fn sequence(millis: usize, gap: usize, levels: (f64, f64), factor: f64, lead: usize) -> Vec<f64> {
    let mut sound = vec![0.0; lead];
    for key in KEYS.iter().flatten() {
        sound.extend(press(*key, millis, levels, factor));
        sound.extend(vec![0.0; gap * 8]);
    }
    sound.extend([0.0; 2 * FRAME]);
    sound
}

const ALL: &str = "123A456B789C*0#D";

#[test]
fn sixteen_digits_at_minus_25_dbm0_and_10_db_of_noise_below_them() {
    for seed in 0..12 {
        let mut rng = Rng::new(seed);
        let mut sound = sequence(70, 70, (-25.0, -25.0), 1.0, rng.below(160) as usize);
        // Both tones together are 3 dB above each.
        add_noise(&mut sound, -32.0, &mut rng);
        assert_eq!(heard(&sound), ALL, "seed {seed}");
    }
}

#[test]
fn every_digit_of_40_ms_counts_once_and_none_of_23_ms() {
    for lead in (0..160).step_by(9) {
        assert_eq!(heard(&sequence(40, 40, (-10.0, -10.0), 1.0, lead)), ALL, "lead {lead}");
        assert_eq!(heard(&sequence(23, 60, (-10.0, -10.0), 1.0, lead)), "", "lead {lead}");
    }
}

#[test]
fn tones_off_by_one_and_a_half_percent_count_and_by_three_and_a_half_do_not() {
    for lead in [0, 31, 77] {
        for factor in [0.985, 0.995, 1.005, 1.015] {
            let sound = sequence(60, 60, (-15.0, -15.0), factor, lead);
            assert_eq!(heard(&sound), ALL, "{factor}");
        }
        for factor in [0.96, 1.04] {
            let found = heard(&sequence(60, 60, (-15.0, -15.0), factor, lead));
            assert_eq!(found, "", "{factor}");
        }
    }
}

#[test]
fn twist_is_borne_as_far_as_networks_make_it() {
    let found = |low: f64, high: f64| heard(&sequence(60, 60, (low, high), 1.0, 40));
    assert_eq!(found(-10.0, -18.0), ALL, "8 dB normal");
    assert_eq!(found(-14.0, -10.0), ALL, "4 dB reverse");
    assert_eq!(found(-10.0, -22.0), "", "12 dB normal");
    assert_eq!(found(-22.0, -10.0), "", "12 dB reverse");
    assert_eq!(found(-40.0, -40.0), "", "too faint");
    assert_eq!(found(-3.0, -3.0), ALL, "loud");
}

#[test]
fn call_progress_and_single_tones_are_no_digits() {
    let mut sound = Vec::new();
    for hertz in (300..3400).step_by(23) {
        let tone = |n: usize| peak(-10.0) * (TAU * f64::from(hertz) * n as f64 / RATE).sin();
        sound.extend((0..800).map(tone));
    }
    for pair in [(350.0, 440.0), (440.0, 480.0), (480.0, 620.0), (400.0, 450.0), (697.0, 941.0)] {
        let tone = |n: usize, hertz: f64| peak(-10.0) * (TAU * hertz * n as f64 / RATE).sin();
        sound.extend((0..8000).map(|n| tone(n, pair.0) + tone(n, pair.1)));
    }
    assert_eq!(heard(&sound), "");
}

/// Something like speech: glottal pulses whose pitch glides, through three wandering formants,
/// in syllables with pauses and hisses between.
fn babble(seconds: usize, seed: u64) -> Vec<f64> {
    let mut rng = Rng::new(seed);
    let mut even = move || f64::from(rng.next_u32()) / 4_294_967_296.0;
    let mut sound = Vec::with_capacity(seconds * 8000);
    let mut state = [[0.0_f64; 2]; 3];
    let mut phase = 0.0;
    while sound.len() < seconds * 8000 {
        let length = 600 + (even() * 2400.0) as usize;
        let (pitch, glide) = (80.0 + even() * 220.0, even() * 80.0 - 40.0);
        let formants = [250.0 + even() * 650.0, 800.0 + even() * 1600.0, 2200.0 + even() * 900.0];
        let (is_voiced, loudness) = (even() < 0.8, 300.0 + even() * 5000.0);
        for n in 0..length {
            phase += (pitch + glide * n as f64 / length as f64) / RATE;
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase -= phase.floor();
            let source = if is_voiced { pulse } else { even() * 0.4 - 0.2 };
            let sum: f64 = formants
                .iter()
                .zip(&mut state)
                .map(|(hertz, [one, two])| {
                    // A resonance 80 Hz wide.
                    let radius = (-std::f64::consts::PI * 80.0 / RATE).exp();
                    let turn = 2.0 * radius * (TAU * hertz / RATE).cos();
                    let next = source + turn * *one - radius * radius * *two;
                    (*two, *one) = (*one, next);
                    next
                })
                .sum();
            let envelope = (std::f64::consts::PI * n as f64 / length as f64).sin();
            sound.push((sum * envelope * loudness).clamp(-32_000.0, 32_000.0));
        }
        sound.extend(vec![0.0; (even() * 1200.0) as usize]);
    }
    sound
}

#[test]
fn two_minutes_of_babble_hold_no_digit() {
    for seed in 0..4 {
        assert_eq!(heard(&babble(30, seed)), "", "seed {seed}");
    }
}

/// For recordings of one's own: `TALK=file.raw cargo test inband -- --ignored`, 8 kHz, 16 bit.
#[test]
#[ignore = "needs a recording, named by the variable TALK"]
fn a_recording_holds_no_digit() {
    let path = std::env::var("TALK").unwrap();
    let bytes = std::fs::read(path).unwrap();
    let sound: Vec<f64> =
        bytes.chunks_exact(2).map(|two| f64::from(i16::from_le_bytes([two[0], two[1]]))).collect();
    assert_eq!(heard(&sound), "", "in {} s", sound.len() / 8000);
}
