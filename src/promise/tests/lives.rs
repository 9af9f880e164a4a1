//! Random lives of a book, with a crash at any record, and what must hold in each.

use std::collections::BTreeMap;

use proptest::prelude::*;

use crate::base::Rng;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// A1, I3, I4: over any schedule and any crash, a number has at most one phone ringing for it.
    /// A2, I1: every promise on disk ends exactly once. A5: no INVITE leaves outside the hours. A6:
    /// a key on disk finds its promise for ever.
    #[test]
    fn no_crash_doubles_an_attempt_or_loses_a_promise(seed in any::<u64>(), steps in 1..150_u32) {
        let mut world = World::new();
        let mut rng = Rng::new(seed);
        if rng.percent(50) {
            let windows = ["Mon-Sun 00:00-00:20", "Mon-Sun 00:50-03:00", "Mon-Sun 05:00-23:00"];
            for window in windows {
                world.policies.standard.hours.add(window).unwrap();
            }
            world.book.set_policies(world.policies.clone());
        }
        for _ in 0..steps {
            world.random_step(&mut rng);
            world.listen();
        }
        world.finish();
        let mut ends = BTreeMap::new();
        for (_, record) in &world.disk {
            *ends.entry(record.promise()).or_insert(0) += u32::from(record.end().is_some());
        }
        prop_assert!(ends.values().all(|count| *count == 1), "{ends:?}");
    }
}

impl World {
    fn random_step(&mut self, rng: &mut Rng) {
        let ids: Vec<PromiseId> = self.book.iter().map(|(id, _)| id).collect();
        let id = ids.get(rng.below(ids.len() as u64) as usize).copied().unwrap_or(PromiseId(0));
        let number = rng.below(4).to_string();
        let now = self.now;
        match rng.below(18) {
            0 | 1 => {
                let queue = rng.below(2);
                let _ = self.book.promise(Wanted { queue, ..wanted(&number, 1) }, now);
            }
            2 | 3 => drop(self.book.caller_gone(id, now)),
            4 | 5 => drop(self.book.begin_attempt(id, None, now)),
            6 => drop(self.book.postpone(id, now)),
            7 => drop(self.book.cancel(id, now)),
            8 => drop(self.book.served_live(id, now)),
            9 => {
                let outcomes = [
                    Outcome::Reached,
                    Outcome::Busy,
                    Outcome::Network,
                    Outcome::Invalid,
                    Outcome::Unconnected,
                    Outcome::NoAnswer,
                ];
                self.end_attempt(id, outcomes[rng.below(6) as usize], rng.percent(50));
            }
            10 | 11 => self.write(),
            16 | 17 => {
                let key = rng.below(8).to_string();
                let reason = (key == "7").then_some("asked for it");
                if let Ok(made) = self.request(&key, &number, reason) {
                    let told = (made.promise, made.recorded);
                    let before = *self.requested.entry(key).or_insert(told);
                    assert_eq!(before, told, "A6: one key, two promises");
                }
            }
            13 => self.answer(id),
            14 => {
                self.ringing.retain(|_, phone| phone.number != number || phone.until.is_none());
                self.book.rings_no_more(&number, now);
            }
            12 => {
                let until = self.now + Duration::from_secs(rng.below(2000));
                self.now = until;
                self.book.handle_timeout(until);
            }
            _ => self.crash(rng.below(4) as usize),
        }
    }

    /// With `rings_on` the phone does not hear that a dial was taken back or given up.
    fn end_attempt(&mut self, id: PromiseId, outcome: Outcome, rings_on: bool) {
        let (attempt, is_answered) = match self.book.state(id) {
            Some(State::Planned { attempt } | State::Dialling { attempt }) => (attempt, false),
            Some(State::Answered { attempt }) => (attempt, true),
            _ => return,
        };
        let phone = self.ringing.remove(&(id, attempt));
        let is_left = matches!(outcome, Outcome::Network | Outcome::Broken | Outcome::NoAnswer);
        if let Some(phone) = phone.filter(|_| rings_on && is_left && !is_answered) {
            self.book.may_ring_on(&phone.number, self.now);
            let until = Some(self.now + RINGS_ON);
            self.ringing.insert((id, attempt), Phone { until, ..phone });
        }
        self.book.attempt_ended(id, attempt, outcome, self.now).unwrap();
    }

    /// Does what the book says, and watches the phones.
    fn listen(&mut self) {
        self.fetch();
        for event in self.heard() {
            match event {
                Event::AttemptReady { promise, attempt } => {
                    let planned = |r: &Record| {
                        matches!(r, Record::AttemptPlanned { promise: p, attempt: a, .. }
                            if (*p, *a) == (promise, attempt))
                    };
                    assert!(self.disk.iter().any(|(_, r)| planned(r)), "I4: not on disk");
                    let now = self.now;
                    self.ringing.retain(|_, phone| phone.until.is_none_or(|until| until > now));
                    let is_open = self.policies.standard.hours.is_open(self.wall_ms());
                    let wanted = self.book.wanted(promise).unwrap();
                    assert!(is_open || wanted.override_hours.is_some(), "A5: outside the hours");
                    let number = wanted.number.clone();
                    let rings = self.ringing.iter().find(|(_, phone)| phone.number == number);
                    if let Some((other, _)) = rings {
                        panic!("A1, I3: {number} rings for {other:?} and for {promise:?}");
                    }
                    self.ringing.insert((promise, attempt), Phone { number, until: None });
                }
                Event::BreakAttempt { promise, .. } => {
                    let rings_on = promise.0.is_multiple_of(2);
                    self.end_attempt(promise, Outcome::Broken, rings_on);
                }
                Event::Confirmed { promise } => {
                    assert!(self.disk.iter().any(|(_, r)| r.promise() == promise));
                }
                Event::Ended { promise, .. } => {
                    let ends = |r: &Record| r.promise() == promise && r.end().is_some();
                    assert!(self.disk.iter().any(|(_, r)| ends(r)), "an end is on disk first");
                }
                Event::AnswerReady { promise, attempt } => {
                    let answered = |r: &Record| {
                        matches!(r, Record::AttemptAnswered { promise: p, attempt: a, .. }
                            if (*p, *a) == (promise, attempt))
                    };
                    assert!(self.disk.iter().any(|(_, r)| answered(r)), "not on disk");
                }
                Event::Due { .. }
                | Event::Shelved { .. }
                | Event::AttemptDropped { .. }
                | Event::LeftBehind(_) => {}
            }
        }
    }

    /// Everybody hangs up, and the days pass.
    fn finish(&mut self) {
        let ids: Vec<PromiseId> = self.book.iter().map(|(id, _)| id).collect();
        for id in ids {
            self.end_attempt(id, Outcome::Busy, false);
            let _ = self.book.caller_gone(id, self.now);
        }
        while let Some(due) = self.book.poll_timeout() {
            self.now = self.now.max(due);
            self.book.handle_timeout(self.now);
            self.write();
            self.listen();
        }
        self.write();
        assert_eq!(self.book.iter().count(), 0, "A9: nothing is left over");
    }
}
