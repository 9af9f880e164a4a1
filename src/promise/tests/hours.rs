//! Hours: nobody is called outside them, nothing is used up by a night, and no clock that is set
//! loses a promise or doubles one (A5, A14).

use super::*;

/// Monday to Friday, from 8 to 20, in Berlin.
fn working() -> Hours {
    let mut hours = Hours::in_zone("Europe/Berlin").unwrap();
    hours.add("Mon-Fri 08:00-20:00").unwrap();
    hours
}

/// A world that begins at this moment of UTC, with these hours.
fn world(began: &str, hours: Hours) -> World {
    let mut world = World::new();
    world.born_ms = utc(began);
    world.policies.standard.hours = hours;
    world.crash(0);
    world
}

fn utc(text: &str) -> u64 {
    let at: jiff::Timestamp = format!("{text}Z").parse().unwrap();
    at.as_millisecond().unsigned_abs()
}

impl World {
    /// Lets time pass until something is heard; what, and when by the wall clock.
    fn next_heard(&mut self) -> (u64, Vec<Event>) {
        self.run_until_heard();
        (self.wall_ms(), self.heard())
    }

    pub(super) fn wall_ms(&self) -> u64 {
        self.born_ms + self.now.as_millis()
    }
}

/// A5, SC-04 of hours: asked at 19:59 and gone at 20:00 of a Friday; called at 8:00 on Monday, at
/// the old place, with every attempt left.
#[test]
fn who_leaves_when_the_hours_end_is_called_when_they_begin() {
    let mut world = world("2026-11-27T18:59:00", working());
    let id = world.promise("al");
    world.write();
    world.heard();
    world.now = at(60);
    world.book.caller_gone(id, world.now).unwrap();
    assert_eq!(world.heard(), [Event::Shelved { promise: id }]);
    assert_eq!(world.book.begin_attempt(id, None, world.now), Err(Refused::OutsideHours));
    let view = world.book.view(id).unwrap();
    assert_eq!(view.outside_hours.as_deref(), Some("Mon 2026-11-30 08:00 Europe/Berlin"));
    let (opens, heard) = world.next_heard();
    assert_eq!((opens, heard), (utc("2026-11-30T07:00:00"), vec![Event::Due { promise: id }]));
    assert_eq!((world.book.place(id), world.book.view(id).unwrap().attempts), (Some(place(1)), 0));
    world.dial(id);
}

/// A5: whose turn it is when the hours end, and nobody has called him, leaves the queue till morning.
#[test]
fn a_place_in_the_queue_is_left_when_the_hours_end() {
    let mut world = world("2026-11-25T18:00:00", working());
    let id = world.left_behind("al");
    assert_eq!(
        world.next_heard(),
        (utc("2026-11-25T19:00:00"), vec![Event::Shelved { promise: id }])
    );
    assert_eq!(world.next_heard(), (utc("2026-11-26T07:00:00"), vec![Event::Due { promise: id }]));
}

/// A5: the owner may be late, and the book looks at the clock before it plans anything.
#[test]
fn no_attempt_is_planned_after_the_hours_whatever_timers_say() {
    let mut world = world("2026-11-25T18:59:59", working());
    let id = world.left_behind("al");
    world.now = at(1);
    assert_eq!(world.book.begin_attempt(id, None, world.now), Err(Refused::OutsideHours));
    assert_eq!(world.heard(), [Event::Shelved { promise: id }]);
    world.fetch();
    assert_eq!(world.cache, [], "no attempt is written down");
}

/// A5: an INVITE whose record takes until the hours are over never leaves, and costs no attempt.
#[test]
fn a_slow_disk_does_not_call_after_the_hours() {
    let mut world = world("2026-11-25T18:59:59", working());
    let id = world.left_behind("al");
    world.book.begin_attempt(id, None, world.now).unwrap();
    world.now = at(1);
    world.write();
    let why = Refused::OutsideHours;
    assert_eq!(world.heard(), [Event::AttemptDropped { promise: id, attempt: 1, why }]);
    world.write();
    assert_eq!(world.next_heard(), (utc("2026-11-26T07:00:00"), vec![Event::Due { promise: id }]));
    assert_eq!(world.book.view(id).unwrap().counted, 0);
    world.crash(usize::MAX);
    assert_eq!(world.next_heard(), (utc("2026-11-26T07:00:00"), vec![Event::Due { promise: id }]));
}

/// A5: the pause after an attempt ends at night; what is shown is when it really comes.
#[test]
fn a_pause_that_ends_at_night_ends_in_the_morning() {
    let mut world = world("2026-11-25T18:58:00", working());
    let id = world.left_behind("al");
    world.dial(id);
    world.book.attempt_ended(id, 1, Outcome::Busy, world.now).unwrap();
    world.write();
    let morning = utc("2026-11-26T07:00:00");
    assert_eq!(world.book.view(id).unwrap().due_ms, Some(morning));
    assert_eq!(world.next_heard(), (morning, vec![Event::Due { promise: id }]));
}

/// Nights and weekends are not counted, so that no promise expires because of one.
#[test]
fn a_promise_does_not_expire_overnight() {
    let mut world = world("2026-11-27T18:59:00", working());
    let id = world.left_behind("al");
    let mut heard = Vec::new();
    while world.book.state(id).is_some() {
        heard.push(world.next_heard());
    }
    world.write();
    heard.extend([(world.wall_ms(), world.heard())]);
    let ended = |heard: &&(u64, Vec<Event>)| {
        heard.1.contains(&Event::Ended { promise: id, end: End::Expired })
    };
    // A minute on Friday, twelve hours on Monday, the rest on Tuesday.
    let (expired, _) = heard.iter().find(ended).unwrap();
    assert_eq!(*expired, utc("2026-12-01T18:59:00"));
}

/// A5, SM-33: "unless a recorded exception exists"; and the record outlives the process.
#[test]
fn a_recorded_exception_overrides_the_hours() {
    for crashes in [false, true] {
        let mut world = world("2026-11-27T22:00:00", working());
        let made = world.request("k", "al", Some("asked to be called tonight")).unwrap();
        world.write();
        world.heard();
        if crashes {
            world.crash(usize::MAX);
        }
        assert_eq!(world.next_heard().1, [Event::Due { promise: made.promise }]);
        world.dial(made.promise);
        assert_eq!(world.wall_ms(), utc("2026-11-27T22:00:00"));
    }
}

/// A5: a number whose promise waits for the morning gets the exception that a later request
/// records.
#[test]
fn an_exception_may_come_later() {
    let mut world = world("2026-11-27T22:00:00", working());
    let id = world.request("k", "al", None).unwrap().promise;
    world.book.handle_timeout(world.now);
    assert!(matches!(world.book.state(id), Some(State::Closed { .. })));
    let again = world.request("l", "al", Some("he mailed")).unwrap();
    assert_eq!((again.promise, again.is_merged), (id, true));
    world.write();
    world.heard();
    assert_eq!(world.next_heard(), (utc("2026-11-27T22:00:00"), vec![Event::Due { promise: id }]));
    world.crash(usize::MAX);
    assert_eq!(world.next_heard().0, utc("2026-11-27T22:00:00"));
}

/// A10: a customer who phones in at night is live, and served live; hours are about dialling.
#[test]
fn who_phones_in_at_night_is_on_the_line() {
    let mut world = world("2026-11-27T22:00:00", working());
    let id = world.left_behind("al");
    world.book.resume_live(id, world.now).unwrap();
    assert_eq!(world.book.state(id), Some(State::Live));
    world.book.served_live(id, world.now).unwrap();
    world.write();
    assert_eq!(world.heard(), [Event::Ended { promise: id, end: End::Reached }]);
}

/// A14: in the nights when clocks are set, a promise is due once, at 8:00 by the clock on the wall;
/// a process that starts again with a clock an hour off is right by that clock, once.
#[test]
fn clocks_that_are_set_neither_lose_nor_double_a_call() {
    for (evening, morning) in [
        ("2026-03-28T20:00:00", "2026-03-29T06:00:00"),
        ("2026-10-24T20:00:00", "2026-10-25T07:00:00"),
        ("2028-02-28T20:00:00", "2028-02-29T07:00:00"),
    ] {
        for jump_ms in [-3_600_000, 0, 3_600_000] {
            let mut hours = Hours::in_zone("Europe/Berlin").unwrap();
            hours.add("Mon-Sun 08:00-20:00").unwrap();
            let mut world = world(evening, hours);
            let id = world.left_behind("al");
            world.now = at(3600);
            world.born_ms = world.born_ms.saturating_add_signed(jump_ms);
            world.crash(usize::MAX);
            assert_eq!(world.next_heard(), (utc(morning), vec![Event::Due { promise: id }]));
            let (_, heard) = world.next_heard();
            assert_eq!(heard, [Event::Shelved { promise: id }], "due once a day");
        }
    }
}
