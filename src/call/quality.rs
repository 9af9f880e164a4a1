//! How well a listener hears: loss and delay as the opinion score that people would give
//! (ITU-T G.107, the E-model, with the default values of all that this server cannot measure).

use std::time::Duration;

/// The rating of a connection without loss and delay (G.107 §7.7, all parameters at their defaults).
const RATING_MAX: f64 = 93.2;
/// How robust G.711 with concealment is against random loss (G.113 Appendix I, table I.4). The same
/// is used for G.722 and L16, which G.107 does not rate on this scale.
const LOSS_ROBUSTNESS: f64 = 25.1;
/// Delay beyond which a conversation suffers, in milliseconds.
const DELAY_KNEE_MS: f64 = 177.3;

/// The mean opinion score, from 1 to 4.41, of somebody who hears this share of the packets not
/// at all, 0 to 1, and the others so late.
pub fn mos(lost: f64, one_way: Duration) -> f64 {
    let percent = lost.clamp(0.0, 1.0) * 100.0;
    // G.107 equation 7-29 with Ie = 0 and BurstR = 1.
    let equipment = 95.0 * percent / (percent + LOSS_ROBUSTNESS);
    // G.107 §7.4 without echo, by its usual straight lines.
    let delay = one_way.as_secs_f64() * 1000.0;
    let delay = 0.024 * delay + 0.11 * (delay - DELAY_KNEE_MS).max(0.0);
    opinion(RATING_MAX - equipment - delay)
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
    fn check(lost: f64, delay_ms: u64, expected: f64) {
        let score = mos(lost, Duration::from_millis(delay_ms));
        assert!((score - expected).abs() < 0.01, "{lost}, {delay_ms} ms: {score}");
    }

    #[test]
    fn a_clean_line_is_rated_as_the_recommendation_does() {
        // R = 93.2 is MOS 4.41 (G.107 Annex B).
        check(0.0, 0, 4.41);
        // R = 93.2 - 95 * 1 / 26.1 = 89.56; R = 93.2 - 95 * 5 / 30.1 = 77.42.
        check(0.01, 0, 4.33);
        check(0.05, 0, 3.92);
        // R = 93.2 - 0.024 * 400 - 0.11 * 222.7 = 59.10.
        check(0.0, 400, 3.05);
        // R = 93.2 - 95 * 100 / 125.1 = 17.26.
        check(1.0, 0, 1.18);
        check(7.0, 100_000, 1.0);
    }

    #[test]
    fn more_loss_and_more_delay_never_sound_better() {
        for step in 0..100_u64 {
            let share = |step: u64| step as f64 / 100.0;
            let late = |step: u64| Duration::from_millis(step * 20);
            assert!(mos(share(step), late(0)) >= mos(share(step + 1), late(0)));
            assert!(mos(0.0, late(step)) >= mos(0.0, late(step + 1)));
        }
    }
}
