//! Requests from outside: one key, one promise, whatever dies in between (A6).

use super::*;

impl World {
    /// Asks for a promise to this number, with this key.
    pub(super) fn request(
        &mut self,
        key: &str,
        number: &str,
        override_hours: Option<&str>,
    ) -> Result<Requested, Refused> {
        let digest = self.book.digest(number);
        let keyed = Keyed { key: RequestKey::parse(key).unwrap(), digest };
        let override_hours = override_hours.map(str::to_owned);
        self.book.request(Wanted { override_hours, ..wanted(number, 1) }, keyed, self.now)
    }
}

/// A6, SM-30: the same key is the same promise, also after it has ended and after a restart, and
/// other arguments are a conflict.
#[test]
fn a_request_that_comes_again_changes_nothing() {
    let mut world = World::new();
    let first = world.request("k", "al", None).unwrap();
    assert!(!first.is_merged && !first.is_repeated && !world.book.is_durable(first.recorded));
    let again = Requested { is_repeated: true, ..first };
    assert_eq!(world.request("k", "al", None), Ok(again));
    assert_eq!(world.request("k", "bo", None), Err(Refused::OtherArguments));
    world.write();
    assert!(world.book.is_durable(first.recorded));
    world.crash(usize::MAX);
    assert_eq!(world.request("k", "al", None), Ok(again));
    assert_eq!(world.request("k", "bo", None), Err(Refused::OtherArguments));
    world.book.cancel(first.promise, world.now).unwrap();
    world.write();
    assert_eq!(world.request("k", "al", None), Ok(again));
    world.crash(usize::MAX);
    assert_eq!(world.request("k", "al", None), Ok(again));
    assert_eq!(world.book.iter().count(), 0);
}

/// A6, SM-30: a request whose record the power took was never made, and its repetition is the
/// first.
#[test]
fn a_request_that_was_never_written_is_made_when_it_comes_again() {
    let mut world = World::new();
    world.request("k", "al", None).unwrap();
    world.crash(0);
    let made = world.request("k", "al", None).unwrap();
    assert!(!made.is_repeated);
    world.write();
    assert_eq!(world.book.iter().count(), 1);
}

/// One active promise for a number and a queue: another request finds it, and is known by its own
/// key from then on.
#[test]
fn a_number_that_has_a_promise_gets_no_other() {
    let mut world = World::new();
    let id = world.left_behind("al");
    let merged = world.request("k", "al", None).unwrap();
    assert_eq!((merged.promise, merged.is_merged, merged.is_repeated), (id, true, false));
    world.write();
    world.crash(usize::MAX);
    let again = Requested { is_repeated: true, ..merged };
    assert_eq!(world.request("k", "al", None), Ok(again));
}

/// SM-09, that nothing waits: it is due as soon as it is made, at the place that it was given.
#[test]
fn what_was_requested_is_due_at_once() {
    let mut world = World::new();
    let made = world.request("k", "al", None).unwrap();
    world.write();
    world.run_until_heard();
    let id = made.promise;
    assert!(world.heard().contains(&Event::Confirmed { promise: id }));
    world.run_until_heard();
    assert_eq!((world.now, world.heard()), (at(0), vec![Event::Due { promise: id }]));
    assert_eq!(world.book.place(id), Some(place(1)));
}

/// Limits and switches hold for requests as for callers; nothing of what was refused is kept.
#[test]
fn a_refused_request_may_be_made_later() {
    let mut world = World::new();
    world.policies.standard.is_offered = false;
    world.book.set_policies(world.policies.clone());
    assert_eq!(world.request("k", "al", None), Err(Refused::NotOffered));
    world.policies.standard.is_offered = true;
    world.policies.standard.number_day_max = 1;
    world.book.set_policies(world.policies.clone());
    let made = world.request("k", "al", None).unwrap();
    world.book.cancel(made.promise, world.now).unwrap();
    assert_eq!(world.request("l", "al", None), Err(Refused::NumberLimit));
    assert_eq!(world.request("m", "bo", Some("")), Err(Refused::BadText));
    world.book.journal_failed();
    assert_eq!(world.request("n", "ci", None), Err(Refused::JournalFailed));
}

#[test]
fn a_key_is_visible_and_short() {
    for key in ["a", "order-4711", "\"", &"x".repeat(64)] {
        assert!(RequestKey::parse(key).is_some(), "{key}");
    }
    for key in ["", "a b", "ä", "a\n", &"x".repeat(65)] {
        assert!(RequestKey::parse(key).is_none(), "{key}");
    }
}
