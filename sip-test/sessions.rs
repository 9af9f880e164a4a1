//! What keeps a call alive or ends it besides a hang-up: session timers, and ports for its sound.

use std::collections::BTreeMap;
use std::time::Duration;

use ringback::call::Fact;
use ringback::sim::{Party, Server, standard_config};
use ringback::sip::Cause;

use crate::story::*;

/// A server that wants its calls refreshed every 90 s, and a flow that holds a caller for an hour.
fn refreshed(trace: &'static str) -> Story {
    let wants = |config: &mut ringback::call::Config| {
        config.sip.session_expires = Some(Duration::from_secs(90));
    };
    let caller = phone("phone", 2).soundless();
    let parties = vec![Party::Phone(Box::new(caller)), server(answer_and_wait(3600), wants)];
    Story::of(trace, parties).dial().talking()
}

/// RFC 4028 §10: half the interval before each end, whoever promised to refresh does so.
#[test]
fn session_refreshed() {
    let story = refreshed("session_refreshed").at(200_000);
    assert!(story.world.phone(CALLER).is_talking());
    story.hangup(CALLER).end_with_server();
}

/// RFC 4028 §10: a caller whose phone is gone is not held for an hour.
#[test]
fn session_not_refreshed() {
    let gone = |story: Story| story.lose(CALLER, "UPDATE", 99).lose(CALLER, "200 UPDATE", 99);
    let story = gone(refreshed("session_not_refreshed")).note("the phone is cut off").at(140_000);
    let server = story.rest_of_server();
    let mut world = server.world;
    let ends = world.server().take_facts().into_iter().filter_map(|(_, fact)| {
        if let Fact::Ended { reason, .. } = fact { Some(reason.to_string()) } else { None }
    });
    assert_eq!(ends.collect::<Vec<_>>(), ["lost"]);
    golden("session_not_refreshed", &world.ladder());
}

/// A call whose audio port belongs to another program ends, instead of being silent.
#[test]
fn no_port_for_the_sound() {
    let config = standard_config(address(9));
    let first = *config.media_ports.start();
    let clips = BTreeMap::from([("hello.wav".to_owned(), clip("hello.wav"))]);
    let server = Server::new(address(9), config, vec![hello()], clips, 1).with_taken_port(first);
    let parties = vec![Party::Phone(Box::new(phone("phone", 2))), Party::Server(Box::new(server))];
    let mut story = Story::of("no_port_for_the_sound", parties).dial().ended(Cause::Bye);
    let is_told =
        |fact: &Fact| matches!(fact, Fact::MediaRefused { why, .. } if why.contains("taken"));
    assert!(story.world.server().facts().iter().any(|(_, fact)| is_told(fact)));
    let story = story.dial().talking().note("the next call has another port");
    story.hangup(CALLER).end_with_server();
}
