//! Senders over bad ways: what is late, what is invented, how long it takes, and how it sounds.

use std::collections::BTreeMap;

use super::*;
use crate::base::Rng;
use crate::media::ear;

/// A way with its faults.
#[derive(Clone, Copy, Debug)]
struct Way {
    loss_percent: u8,
    /// The most that a packet is late, in milliseconds; any less is as likely.
    jitter: u64,
    duplicate_percent: u8,
    /// Parts in a million by which the sender's clock is fast.
    drift: i64,
}

const GOOD: Way = Way { loss_percent: 0, jitter: 0, duplicate_percent: 0, drift: 0 };

/// What came out of twenty seconds of a tone of 200 Hz, and how.
struct Outcome {
    counts: Counts,
    heard: Vec<i16>,
}

impl Outcome {
    fn percent_late(&self) -> f64 {
        100.0 * self.counts.late as f64 / self.counts.received.max(1) as f64
    }

    fn percent_concealed(&self) -> f64 {
        100.0 * self.counts.concealed as f64 / self.counts.played.max(1) as f64
    }

    fn delay_ms(&self) -> f64 {
        self.counts.delay as f64 / self.counts.played.max(1) as f64 / 8.0
    }

    /// The part of the energy that is the tone, of pieces of 100 ms on the average.
    fn purity(&self) -> f64 {
        let pieces = self.heard[8000..].chunks_exact(800);
        let of = |piece: &[i16]| {
            let energy: f64 = piece.iter().map(|sample| f64::from(*sample).powi(2)).sum();
            let power = ear::power(piece, 200.0);
            (power * piece.len() as f64 / energy.max(1.0)).min(1.0)
        };
        pieces.clone().map(of).sum::<f64>() / pieces.len() as f64
    }
}

fn tone(at: u64) -> i16 {
    (8000.0 * (at as f64 * std::f64::consts::TAU * 200.0 / 8000.0).sin()) as i16
}

fn header(sequence: u16, timestamp: u32) -> Header {
    Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 9 }
}

/// Sends for twenty seconds; the first timestamp is just before the wrap.
fn run(way: Way, seed: u64) -> Outcome {
    let mut rng = Rng::new(seed);
    // Microsecond of arrival to packets.
    let mut arriving: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for packet in 0..1000_u64 {
        if rng.percent(way.loss_percent) {
            continue;
        }
        let sent = (packet * 20_000) as i64 * (1_000_000 - way.drift) / 1_000_000;
        let mut send = || {
            let late = if way.jitter == 0 { 0 } else { rng.below(way.jitter * 1000) };
            arriving.entry(sent as u64 + 30_000 + late).or_default().push(packet);
        };
        send();
        if Rng::new(seed ^ packet).percent(way.duplicate_percent) {
            send();
        }
    }
    let mut jitter = Jitter::new();
    let mut heard = Vec::new();
    let mut arriving = arriving.into_iter().peekable();
    for pull in 1..1000_u64 {
        // The listener's ticks lie between the sender's.
        let now = pull * 20_000 + 7000;
        while let Some((at, packets)) = arriving.next_if(|(at, _)| *at <= now) {
            for packet in packets {
                let samples: [i16; FRAME] =
                    std::array::from_fn(|place| tone(packet * 160 + place as u64));
                let timestamp = (packet as u32 * 160).wrapping_sub(80_000);
                jitter.push(&header(packet as u16, timestamp), &samples, Tick::from_micros(at));
            }
        }
        let mut frame = [0; FRAME];
        jitter.pull(&mut frame, Tick::from_micros(now));
        heard.extend(frame);
    }
    Outcome { counts: jitter.counts(), heard }
}

#[test]
fn a_good_way_costs_little_time_and_changes_nothing() {
    let outcome = run(GOOD, 1);
    assert_eq!((outcome.counts.late, outcome.counts.restarts), (0, 0));
    assert!(outcome.counts.concealed <= 160, "{:?}", outcome.counts);
    assert!(outcome.delay_ms() < 30.0, "{} ms", outcome.delay_ms());
    assert!(outcome.purity() > 0.999, "{}", outcome.purity());
}

/// The table of BENCHMARKS.md; `--nocapture` prints it.
#[test]
fn loss_and_jitter_are_borne_within_120_ms() {
    println!("| loss % | jitter ms | late % | concealed % | delay ms | tone |");
    for loss_percent in [0, 1, 5, 20] {
        for jitter in [0, 20, 60, 200] {
            let way = Way { loss_percent, jitter, ..GOOD };
            let outcome = run(way, 7);
            let (late, concealed) = (outcome.percent_late(), outcome.percent_concealed());
            let (delay, purity) = (outcome.delay_ms(), outcome.purity());
            println!(
                "| {loss_percent} | {jitter} | {late:.1} | {concealed:.1} | {delay:.0} | {purity:.3} |"
            );
            let loss = f64::from(loss_percent);
            assert!(delay < 141.0, "{way:?}: {delay} ms");
            if jitter <= 60 {
                assert!(late < 3.5, "{way:?}: {late} % late");
                assert!(concealed < 1.3 * loss + 5.0, "{way:?}: {concealed} % concealed");
                assert!(purity > 0.97 - loss / 100.0, "{way:?}: {purity}");
            } else {
                // 200 ms do not fit into 120: two packets in five are late, and no more.
                assert!(late < 48.0, "{way:?}: {late} % late");
            }
        }
    }
}

#[test]
fn duplicates_are_counted_and_not_heard() {
    let outcome = run(Way { duplicate_percent: 20, ..GOOD }, 3);
    let copies = outcome.counts.duplicate + outcome.counts.late;
    assert!((150..250).contains(&copies), "{:?}", outcome.counts);
    assert!(outcome.purity() > 0.97, "{}", outcome.purity());
}

#[test]
fn a_clock_that_runs_off_is_followed() {
    // 3000 ppm are 60 ms in this time, more than the delay.
    for drift in [-3000, -100, 100, 3000] {
        let outcome = run(Way { drift, ..GOOD }, 5);
        assert_eq!(outcome.counts.restarts, 0, "{drift} ppm");
        assert!(outcome.percent_late() < 0.5, "{drift} ppm: {:?}", outcome.counts);
        assert!(outcome.percent_concealed() < 1.0, "{drift} ppm: {:?}", outcome.counts);
        assert!(outcome.delay_ms() < 50.0, "{drift} ppm: {} ms", outcome.delay_ms());
        assert!(outcome.purity() > 0.97, "{drift} ppm: {}", outcome.purity());
    }
}

/// Pushes packets of (millisecond, SSRC, timestamp) with a constant sample, and pulls in between;
/// what each pull gave in the middle of its frame.
fn pulled(packets: &[(u64, u32, u32)], pulls: u64) -> (Vec<i16>, Counts) {
    let mut jitter = Jitter::new();
    let mut packets = packets.iter().copied().peekable();
    let mut heard = Vec::new();
    for pull in 0..pulls {
        let now = pull * 20 + 10;
        while let Some((at, ssrc, timestamp)) = packets.next_if(|(at, ..)| *at <= now) {
            let header = Header { ssrc, ..header(0, timestamp) };
            jitter.push(&header, &[1000 * ssrc as i16; FRAME], Tick::from_millis(at));
        }
        let mut frame = [0; FRAME];
        jitter.pull(&mut frame, Tick::from_millis(now));
        heard.push(frame[FRAME / 2]);
    }
    (heard, jitter.counts())
}

#[test]
fn another_sender_or_time_line_begins_anew() {
    let mut packets: Vec<_> = (0..20).map(|n| (n * 20, 1, n as u32 * 160)).collect();
    packets.extend((20..40).map(|n| (n * 20, 2, 5_000_000 + n as u32 * 160)));
    packets.extend((40..60).map(|n| (n * 20, 2, 9_000_000 + n as u32 * 160)));
    let (heard, counts) = pulled(&packets, 60);
    assert_eq!(counts.restarts, 2);
    assert_eq!(counts.late, 0);
    assert_eq!((heard[10], heard[30], heard[55]), (1000, 2000, 2000), "{heard:?}");
}

#[test]
fn a_sender_that_is_silent_between_words_is_heard_with_every_word_whole() {
    // Two words of 200 ms, a second of nothing between them, on one time line.
    let word = |from: u64| (0..10).map(move |n| (from + n * 20, 1, ((from + n * 20) * 8) as u32));
    let packets: Vec<_> = word(0).chain(word(1200)).collect();
    let (heard, counts) = pulled(&packets, 100);
    assert_eq!(counts.late, 0);
    let whole = |from: usize| heard[from..].iter().take(20).filter(|s| **s == 1000).count();
    assert!(whole(0) >= 9, "{heard:?}");
    assert!(whole(60) >= 9, "{heard:?}");
    assert_eq!(heard[30..55], [0; 25], "nothing is invented for long");
}

#[test]
fn a_pause_with_comfort_noise_is_not_dead() {
    let mut jitter = Jitter::new();
    jitter.push(&header(0, 0), &[1000; FRAME], Tick::ZERO);
    jitter.push_noise(40);
    let mut frame = [0; FRAME];
    for pull in 1..20 {
        jitter.pull(&mut frame, Tick::from_millis(pull * 20));
    }
    let level = ear::level(&frame);
    // A full-scale square is 6.15 dBm0; 40 dB less, and the fade is over.
    assert!((-36.0..-31.0).contains(&level), "{level} dBm0");
}

mod bytes {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn no_packets_panic(
            packets in proptest::collection::vec(
                (any::<bool>(), any::<u32>(), 0_usize..1000, 0_u64..100, any::<i16>()), 0..80),
        ) {
            let mut jitter = Jitter::new();
            let (mut now, mut frame) = (Tick::ZERO, [0; FRAME]);
            for (is_near, jump, length, wait, sample) in packets {
                let timestamp = if is_near { jump % 8000 } else { jump };
                let header = Header { ssrc: jump % 2, ..header(0, timestamp) };
                jitter.push(&header, &vec![sample; length], now);
                now += Duration::from_millis(wait);
                jitter.pull(&mut frame, now);
                if jump % 9 == 0 {
                    jitter.push_noise((jump % 128) as u8);
                }
            }
        }
    }
}
