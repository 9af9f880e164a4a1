//! Stories of one registration, and every input in every state.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const BOUND: Outcome = Outcome::Bound(HOUR);
const SILENT: Outcome = Outcome::Unavailable { status: 408, retry_after: None };

/// A registration at two servers, its clock and its chance.
struct Story {
    registration: Registration,
    rng: Rng,
    now: Tick,
}

impl Story {
    fn new() -> Self {
        let mut registration = Registration::new(Wanted { servers: 2, expires: HOUR });
        registration.start();
        Self { registration, rng: Rng::new(1), now: Tick::ZERO }
    }

    fn hears(&mut self, outcome: Outcome) {
        self.registration.handle_outcome(outcome, &mut self.rng, self.now);
    }

    /// Jumps to the next thing that is due, and says how long that took.
    fn wakes(&mut self) -> Duration {
        let due = self.registration.poll_timeout().expect("something is due");
        let took = due - self.now;
        self.now = due;
        self.registration.handle_timeout(due);
        took
    }

    /// Everything since the last look; `send 1 3600` is a REGISTER to the second server.
    #[track_caller]
    fn check(&mut self, expected: &[&str]) {
        let events = std::iter::from_fn(|| self.registration.poll_event());
        let told = events.map(|event| match event {
            Event::Send { server, expires } => format!("send {server} {}", expires.as_secs()),
            Event::Up { server, expires } => format!("up {server} {}", expires.as_secs()),
            Event::Failed { status, .. } => format!("failed {status}"),
            Event::Down => "down".to_owned(),
        });
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }
}

#[test]
fn bound_and_refreshed_before_the_end() {
    let mut story = Story::new();
    story.check(&["send 0 3600"]);
    story.hears(BOUND);
    story.check(&["up 0 3600"]);
    for _ in 0..10 {
        let took = story.wakes();
        assert!(took >= HOUR / 2 && took <= HOUR * 3 / 4, "{took:?}");
        story.check(&["send 0 3600"]);
        story.hears(BOUND);
        story.check(&[]);
    }
}

#[test]
fn a_silent_server_gives_way_to_the_other_and_the_binding_moves() {
    let mut story = Story::new();
    story.hears(SILENT);
    story.check(&["send 0 3600", "send 1 3600"]);
    story.hears(BOUND);
    story.check(&["up 1 3600"]);
    // It stays where it was served.
    story.wakes();
    story.check(&["send 1 3600"]);
    story.hears(SILENT);
    story.check(&["send 0 3600"]);
    story.hears(BOUND);
    story.check(&["up 0 3600"]);
}

#[test]
fn a_round_that_failed_is_repeated_ever_later() {
    let mut story = Story::new();
    let mut waits = Vec::new();
    for _ in 0..12 {
        story.hears(SILENT);
        story.hears(SILENT);
        waits.push(story.wakes());
    }
    for (number, wait) in waits.iter().enumerate() {
        let most = BACK_OFF_BASE.saturating_mul(1 << number).min(BACK_OFF_MAX);
        assert!(*wait >= most / 2 && *wait <= most, "round {number}: {wait:?}");
    }
    // A round that succeeds makes the next failure the first again.
    story.hears(BOUND);
    story.wakes();
    story.hears(SILENT);
    story.hears(SILENT);
    assert!(story.wakes() <= BACK_OFF_BASE);
}

#[test]
fn the_binding_ends_when_nobody_renews_it() {
    let mut story = Story::new();
    story.hears(Outcome::Bound(Duration::from_secs(60)));
    story.check(&["send 0 3600", "up 0 60"]);
    story.wakes();
    story.check(&["send 0 3600"]);
    // Both are silent for 32 s each.
    for _ in 0..2 {
        story.now += Duration::from_secs(32);
        story.registration.handle_timeout(story.now);
        story.hears(SILENT);
    }
    story.check(&["down", "send 1 3600", "failed 408"]);
    assert_eq!(story.registration.server(), None);
}

#[test]
fn who_refuses_us_is_not_asked_again_soon() {
    let mut story = Story::new();
    story.hears(Outcome::Refused { status: 403 });
    story.check(&["send 0 3600", "failed 403"]);
    assert!(story.wakes() >= BACK_OFF_MAX / 2);
    story.check(&["send 0 3600"]);
}

#[test]
fn a_registrar_gets_the_longer_life_that_it_wants_once() {
    let mut story = Story::new();
    story.hears(Outcome::TooBrief(2 * HOUR));
    story.check(&["send 0 3600", "send 0 7200"]);
    story.hears(Outcome::TooBrief(3 * HOUR));
    story.check(&["failed 423"]);
    // What was learnt is kept.
    story.wakes();
    story.check(&["send 0 7200"]);
}

#[test]
fn a_server_that_asks_for_time_gets_it_within_reason() {
    for (asked, least) in [(100, 100), (1_000_000_000, 1800)] {
        let mut story = Story::new();
        story.hears(SILENT);
        let retry_after = Some(Duration::from_secs(asked));
        story.hears(Outcome::Unavailable { status: 503, retry_after });
        let took = story.wakes();
        assert_eq!(took, Duration::from_secs(least));
    }
}

#[test]
fn a_binding_that_is_not_ours_or_too_short_to_keep_is_none() {
    let mut story = Story::new();
    story.hears(Outcome::Bound(Duration::ZERO));
    story.hears(Outcome::Bound(Duration::from_secs(1)));
    story.check(&["send 0 3600", "send 1 3600", "failed 0"]);
}

#[test]
fn it_is_taken_back_and_one_request_is_out_at_a_time() {
    let mut story = Story::new();
    story.hears(BOUND);
    story.check(&["send 0 3600", "up 0 3600"]);
    story.registration.stop();
    story.check(&["send 0 0"]);
    story.hears(Outcome::Bound(Duration::ZERO));
    story.check(&["down"]);
    assert_eq!(story.registration.poll_timeout(), None);

    let mut story = Story::new();
    story.registration.stop();
    story.check(&["send 0 3600"]);
    story.hears(BOUND);
    story.check(&["send 0 0"]);
    story.hears(SILENT);
    story.check(&["down"]);
}

#[test]
fn a_lost_connection_is_made_anew_at_once() {
    let mut story = Story::new();
    story.hears(BOUND);
    story.check(&["send 0 3600", "up 0 3600"]);
    story.registration.handle_flow_closed();
    story.check(&["send 0 3600"]);
}

/// Every input in every state, over random lives: one REGISTER is out at a time, there is always a
/// way on, and what is said of the binding is true. Pairs never seen have their reason here.
#[test]
fn every_state_meets_every_input() {
    let mut seen = BTreeSet::new();
    for seed in 0..200 {
        live(seed, &mut seen);
    }
    let states = ["Resting", "Asking", "Holding", "Waiting", "Stopping", "Leaving"];
    let inputs = ["start", "stop", "bound", "brief", "silent", "refused", "closed", "time"];
    let reasons = BTreeMap::from([
        ("Resting", "no REGISTER is out"),
        ("Holding", "no REGISTER is out"),
        ("Waiting", "no REGISTER is out"),
    ]);
    for state in states {
        for input in inputs {
            let is_outcome = ["bound", "brief", "silent", "refused"].contains(&input);
            let is_excused = is_outcome && reasons.contains_key(state);
            assert_ne!(seen.contains(&(state, input)), is_excused, "{state} meets {input}");
        }
    }
}

fn live(seed: u64, seen: &mut BTreeSet<(&'static str, &'static str)>) {
    let (mut rng, mut now) = (Rng::new(seed), Tick::ZERO);
    let mut registration = Registration::new(Wanted { servers: 2, expires: HOUR });
    let (mut is_out, mut is_up) = (false, false);
    for _ in 0..200 {
        let state = match registration.state {
            State::Resting => "Resting",
            State::Asking { .. } => "Asking",
            State::Holding { .. } => "Holding",
            State::Waiting { .. } => "Waiting",
            State::Stopping { .. } => "Stopping",
            State::Leaving => "Leaving",
        };
        now += rng.between(Duration::ZERO, Duration::from_secs(1000));
        let input = match rng.below(if is_out { 12 } else { 8 }) {
            0 | 1 => "start",
            2 => "stop",
            3 => "closed",
            4..=7 => "time",
            8 | 9 => "bound",
            10 => ["silent", "refused"][rng.below(2) as usize],
            _ => "brief",
        };
        seen.insert((state, input));
        let outcome = match input {
            "start" => {
                registration.start();
                None
            }
            "stop" => {
                registration.stop();
                None
            }
            "closed" => {
                registration.handle_flow_closed();
                None
            }
            "bound" => Some(Outcome::Bound(rng.between(Duration::ZERO, HOUR))),
            "brief" => Some(Outcome::TooBrief(rng.between(Duration::ZERO, 2 * HOUR))),
            "silent" => Some(SILENT),
            "refused" => Some(Outcome::Refused { status: 403 }),
            _ => {
                registration.handle_timeout(now);
                None
            }
        };
        if let Some(outcome) = outcome {
            is_out = false;
            registration.handle_outcome(outcome, &mut rng, now);
        }
        while let Some(event) = registration.poll_event() {
            match event {
                Event::Send { server, .. } => {
                    assert!(server < 2 && !is_out, "seed {seed}: one at a time");
                    is_out = true;
                }
                Event::Up { server, .. } => {
                    assert_eq!(registration.server(), Some(server));
                    is_up = true;
                }
                Event::Failed { retry_in, .. } => assert!(retry_in <= BACK_OFF_MAX),
                Event::Down => {
                    assert!(is_up || state == "Leaving", "seed {seed}: down without up");
                    is_up = false;
                }
            }
        }
        let is_resting = registration.state == State::Resting;
        let has_a_way_on = is_out || registration.poll_timeout().is_some() || is_resting;
        assert!(has_a_way_on, "seed {seed}: {registration:?}");
    }
}
