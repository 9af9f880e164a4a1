//! Tones: call progress patterns, as presets of several countries and from text.
//!
//! A tone is rendered once, as a clip of one period of its cadence, when it is made, a preset when
//! it is first wanted; a leg then plays it like any clip, encoded frames and all. Presets follow
//! ITU-T E.180 Supplement 2.

use std::collections::BTreeMap;
use std::f64::consts::PI;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::media::{CLOCK_RATE, Clip, duration_of, samples_in};

/// The longest period of a cadence.
const PERIOD_MAX: Duration = Duration::from_secs(30);

/// Steps that a cadence may have: 64 digits with the pauses between them.
const STEPS_MAX: usize = 128;

/// Frequencies that sound at once.
const FREQUENCIES_MAX: usize = 4;

/// Peak of one frequency: -13 dBm0, where full scale is 3.14 dBm0 (ITU-T G.711).
const PEAK: f64 = 5110.0;

/// A pattern of tones and silence. Cheap to clone: make it once, play it on many legs.
#[derive(Clone, Debug)]
pub struct Tone {
    period: Arc<Clip>,
}

/// Whose call progress tones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Country {
    /// North America; the preset of call flows.
    Us,
    /// Most of the European continent.
    Eu,
    /// The United Kingdom.
    Uk,
    /// Russia.
    Ru,
}

impl Tone {
    /// The other side rings.
    pub fn ringback(country: Country) -> Self {
        Self::preset(match country {
            Country::Us => "440+480/2000,0/4000",
            Country::Eu => "425/1000,0/4000",
            Country::Uk => "400+450/400,0/200,400+450/400,0/2000",
            Country::Ru => "425/800,0/3200",
        })
    }

    /// The other side is busy.
    pub fn busy(country: Country) -> Self {
        Self::preset(match country {
            Country::Us => "480+620/500,0/500",
            Country::Eu => "425/500,0/500",
            Country::Uk => "400/375,0/375",
            Country::Ru => "425/400,0/400",
        })
    }

    /// No way through to the other side.
    pub fn congestion(country: Country) -> Self {
        Self::preset(match country {
            Country::Us => "480+620/250,0/250",
            Country::Eu => "425/250,0/250",
            Country::Uk => "400/400,0/350,400/225,0/525",
            Country::Ru => "425/175,0/175",
        })
    }

    fn preset(pattern: &'static str) -> Self {
        static MADE: Mutex<BTreeMap<&'static str, Tone>> = Mutex::new(BTreeMap::new());
        // To render one takes longer than everything else about a dial.
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        let render = || Self::parse(pattern).expect("the presets are well formed");
        made.entry(pattern).or_insert_with(render).clone()
    }

    /// Reads `<frequencies>/<ms>,…`: frequencies in Hz joined by `+`, 0 for silence, as in
    /// `440+480/2000,0/4000`.
    ///
    /// # Errors
    /// A [`ToneError`] says which rule the pattern breaks.
    pub fn parse(pattern: &str) -> Result<Self, ToneError> {
        let mut samples = Vec::new();
        for (index, text) in pattern.split(',').enumerate() {
            let step = Step::parse(text).ok_or(ToneError::Step { number: index + 1 })?;
            if index >= STEPS_MAX {
                return Err(ToneError::TooManySteps);
            }
            let period = duration_of(samples.len() as u64) + step.duration;
            if period > PERIOD_MAX {
                return Err(ToneError::TooLong);
            }
            step.render(&mut samples);
        }
        let period = Clip::from_samples(samples).expect("a step lasts between 1 ms and 30 s");
        Ok(Self { period: Arc::new(period) })
    }

    /// One period of the cadence.
    pub const fn period(&self) -> &Arc<Clip> {
        &self.period
    }
}

/// Why a pattern is no tone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToneError {
    /// A step that is not up to four frequencies from 20 to 3999 Hz, a slash and 1 to 30000 ms.
    Step {
        /// Which one, counted from 1.
        number: usize,
    },
    /// More than 128 steps.
    TooManySteps,
    /// All steps together last longer than 30 s.
    TooLong,
}

impl fmt::Display for ToneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Step { number } => write!(
                f,
                "step {number} of the tone pattern is not like 440+480/2000: up to four \
                 frequencies of 20 to 3999 Hz or 0 for silence, a slash, 1 to 30000 ms"
            ),
            Self::TooManySteps => write!(f, "a tone pattern has at most {STEPS_MAX} steps"),
            Self::TooLong => {
                write!(f, "a tone pattern lasts at most {} s", PERIOD_MAX.as_secs())
            }
        }
    }
}

impl std::error::Error for ToneError {}

/// A part of a cadence; no frequency means silence.
struct Step {
    frequencies: Vec<u32>,
    duration: Duration,
}

impl Step {
    fn parse(text: &str) -> Option<Self> {
        let (frequencies, millis) = text.trim().split_once('/')?;
        let millis = number(millis).filter(|millis| (1..=30_000).contains(millis))?;
        let duration = Duration::from_millis(u64::from(millis));
        if frequencies.trim() == "0" {
            return Some(Self { frequencies: Vec::new(), duration });
        }
        let audible = |text| number(text).filter(|hertz| (20..CLOCK_RATE / 2).contains(hertz));
        let frequencies: Vec<u32> =
            frequencies.split('+').map(audible).collect::<Option<Vec<u32>>>()?;
        (frequencies.len() <= FREQUENCIES_MAX).then_some(Self { frequencies, duration })
    }

    fn render(&self, samples: &mut Vec<i16>) {
        let turns: Vec<f64> = self
            .frequencies
            .iter()
            .map(|hertz| 2.0 * PI * f64::from(*hertz) / f64::from(CLOCK_RATE))
            .collect();
        samples.extend((0..samples_in(self.duration)).map(|n| {
            let sum: f64 = turns.iter().map(|turn| (turn * n as f64).sin()).sum();
            (sum * PEAK) as i16
        }));
    }
}

/// Digits and nothing else: no sign, no fraction.
fn number(text: &str) -> Option<u32> {
    let text = text.trim();
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::media::ear;

    #[test]
    fn the_american_ringback_sounds_two_seconds_in_six() {
        let tone = Tone::ringback(Country::Us);
        let samples = tone.period().samples();
        let candidates = [350.0, 425.0, 440.0, 480.0, 620.0];
        assert_eq!(tone.period().duration(), Duration::from_secs(6));
        assert!(ear::power(&samples[..16_000], 440.0) > 100.0 * ear::power(samples, 425.0));
        assert!(matches!(ear::dominant(&samples[..800], &candidates), Some(440.0 | 480.0)));
        assert!(samples[16_000..].iter().all(|sample| *sample == 0));
    }

    #[test]
    fn every_preset_is_well_formed_and_at_the_level_of_a_network() {
        for country in [Country::Us, Country::Eu, Country::Uk, Country::Ru] {
            for tone in [Tone::ringback(country), Tone::busy(country), Tone::congestion(country)] {
                let level = ear::level(&tone.period().samples()[..1400]);
                assert!((-14.0..-9.0).contains(&level), "{country:?}: {level} dBm0");
            }
        }
    }

    #[test]
    fn what_is_wrong_with_a_pattern_is_said() {
        let error = |pattern: &str| Tone::parse(pattern).expect_err(pattern);
        for pattern in ["", "440", "440/", "/100", "440/0", "440/-5", "4000/10", "440+/10", "x/1"] {
            assert_eq!(error(pattern), ToneError::Step { number: 1 });
        }
        assert_eq!(error("440/100,,"), ToneError::Step { number: 2 });
        assert_eq!(error("1000+1100+1200+1300+1400/10"), ToneError::Step { number: 1 });
        assert_eq!(error("440/20000,0/10001"), ToneError::TooLong);
        assert_eq!(error(&vec!["440/10"; 129].join(",")), ToneError::TooManySteps);
        assert!(Tone::parse(" 440 + 480 / 200 , 0/100 ").is_ok());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn no_text_panics(pattern in "[0-9+/, x\u{e9}]{0,40}") {
            if let Ok(tone) = Tone::parse(&pattern) {
                prop_assert!(tone.period().duration() <= PERIOD_MAX);
            }
        }
    }
}
