//! How well a listener hears: codec, loss and delay as the opinion score that people would give
//! (the E-model of ITU-T, with the default values of all that this server cannot measure).

use std::time::Duration;

use crate::sdp::Encoding;

/// How robust a codec is against random loss: G.711 with concealment (G.113 Appendix I, table I.4).
/// For G.722 with concealment none is known to us, so that this stands in.
const LOSS_ROBUSTNESS: f64 = 25.1;
/// Delay beyond which a conversation suffers, in milliseconds.
const DELAY_KNEE_MS: f64 = 177.3;

/// Against which telephone people compare: scores on two scales are not to be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// 300 to 3400 Hz (G.107).
    Narrowband,
    /// 50 to 7000 Hz (G.107.1), on which a perfect narrowband call has 3.7.
    Wideband,
}

impl Scale {
    /// The scale that a codec is rated on.
    pub const fn of(encoding: Encoding) -> Self {
        match encoding {
            Encoding::Pcmu | Encoding::Pcma | Encoding::L16 => Self::Narrowband,
            Encoding::G722 => Self::Wideband,
        }
    }

    /// The name in records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Narrowband => "narrowband",
            Self::Wideband => "wideband",
        }
    }

    /// The rating of a connection without codec, loss and delay, all parameters at their defaults
    /// (G.107 §7.7, G.107.1 §7.7).
    const fn rating_max(self) -> f64 {
        match self {
            Self::Narrowband => 93.2,
            Self::Wideband => 129.0,
        }
    }

    /// What coding alone costs: G.711 nothing (G.113 table I.1), G.722 at 64 kbit/s 13 (G.113
    /// Appendix IV).
    const fn coding(self) -> f64 {
        match self {
            Self::Narrowband => 0.0,
            Self::Wideband => 13.0,
        }
    }

    /// By what a rating is divided before it is an opinion (G.107.1 Annex A).
    const fn stretch(self) -> f64 {
        match self {
            Self::Narrowband => 1.0,
            Self::Wideband => 1.29,
        }
    }
}

/// The mean opinion score, 1 to 4.41 on the scale of its codec, of somebody who hears this share of
/// the packets not at all, 0 to 1, and the others so late.
pub fn mos(encoding: Encoding, lost: f64, one_way: Duration) -> f64 {
    let scale = Scale::of(encoding);
    let percent = lost.clamp(0.0, 1.0) * 100.0;
    // G.107 equation 7-29 with BurstR = 1; the same in G.107.1.
    let coding = scale.coding();
    let equipment = coding + (95.0 - coding) * percent / (percent + LOSS_ROBUSTNESS);
    // G.107 §7.4 without echo, by its usual straight lines.
    let delay = one_way.as_secs_f64() * 1000.0;
    let delay = 0.024 * delay + 0.11 * (delay - DELAY_KNEE_MS).max(0.0);
    opinion((scale.rating_max() - equipment - delay) / scale.stretch())
}

/// G.107 Annex B.
fn opinion(rating: f64) -> f64 {
    if rating <= 0.0 {
        return 1.0;
    }
    let rating = rating.min(100.0);
    let score = 1.0 + 0.035 * rating + rating * (rating - 60.0) * (100.0 - rating) * 7e-6;
    score.max(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(encoding: Encoding, lost: f64, delay_ms: u64, expected: f64) {
        let score = mos(encoding, lost, Duration::from_millis(delay_ms));
        assert!((score - expected).abs() < 0.01, "{encoding:?}, {lost}, {delay_ms} ms: {score}");
    }

    #[test]
    fn a_clean_line_is_rated_as_the_recommendation_does() {
        let narrow = Encoding::Pcma;
        // R = 93.2 is MOS 4.41 (G.107 Annex B).
        check(narrow, 0.0, 0, 4.41);
        // R = 93.2 - 95 * 1 / 26.1 = 89.56; R = 93.2 - 95 * 5 / 30.1 = 77.42.
        check(narrow, 0.01, 0, 4.33);
        check(narrow, 0.05, 0, 3.92);
        // R = 93.2 - 0.024 * 400 - 0.11 * 222.7 = 59.10.
        check(narrow, 0.0, 400, 3.05);
        // R = 93.2 - 95 * 100 / 125.1 = 17.26.
        check(narrow, 1.0, 0, 1.18);
        check(narrow, 7.0, 100_000, 1.0);
    }

    #[test]
    fn wideband_is_rated_on_its_own_scale() {
        // R = 129 - 13 = 116, by 1.29 = 89.92.
        check(Encoding::G722, 0.0, 0, 4.34);
        // R = 116 - 82 * 5 / 30.1 = 102.38, by 1.29 = 79.36.
        check(Encoding::G722, 0.05, 0, 3.99);
        // R = 116 - 34.10 = 81.90, by 1.29 = 63.49.
        check(Encoding::G722, 0.0, 400, 3.28);
    }

    #[test]
    fn more_loss_and_more_delay_never_sound_better() {
        for (step, encoding) in (0..100_u64).flat_map(|step| Encoding::ALL.map(|one| (step, one))) {
            let share = |step: u64| step as f64 / 100.0;
            let late = |step: u64| Duration::from_millis(step * 20);
            let mos = |lost, delay| mos(encoding, lost, delay);
            assert!(mos(share(step), late(0)) >= mos(share(step + 1), late(0)));
            assert!(mos(0.0, late(step)) >= mos(0.0, late(step + 1)));
        }
    }
}
