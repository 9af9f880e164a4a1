//! Challenges to our requests.

use super::*;
use crate::sip::Method;

const FRESH: &str = "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"";
const STALE: &str = "Digest realm=\"r\", nonce=\"m\", algorithm=SHA-256, qop=\"auth\", stale=true";

/// `a` calls with credentials, and `b` challenges as often as told, then accepts what still comes.
fn challenged(credentials: Option<Credentials>, challenges: &[&str]) -> World {
    let mut world = World::new();
    let outgoing = Outgoing { credentials, ..world.outgoing() };
    world.dialogs[0] = Some(world.ends[0].invite(outgoing, world.now).unwrap());
    world.drain();
    for (turn, challenge) in (1..).zip(challenges) {
        world.until(turn * 50);
        let headers = [("WWW-Authenticate", *challenge)];
        world.tell(1, |b, dialog, now| b.reject(dialog, 401, None, &headers, now));
    }
    world.until(400);
    world.accept();
    world.until(1000);
    let is_told = |line: &&str| line.contains("a *") || line.contains("──▶ INVITE");
    world.story = world.story.lines().filter(is_told).collect::<Vec<_>>().join("\n");
    world
}

fn credentials() -> Option<Credentials> {
    Some(Credentials::new("alice", "secret"))
}

#[test]
fn a_challenge_is_answered_and_the_call_goes_on() {
    challenged(credentials(), &[FRESH]).check(
        "
          0 ──▶ INVITE
         60 ──▶ INVITE
        410 a * answered
        ",
    );
}

#[test]
fn a_wrong_password_is_not_tried_twice() {
    challenged(credentials(), &[FRESH, FRESH]).check(
        "
          0 ──▶ INVITE
         60 ──▶ INVITE
        110 a * ended Rejected { status: 401 }
        ",
    );
}

#[test]
fn a_stale_nonce_is_answered_once_more_and_no_more() {
    challenged(credentials(), &[FRESH, STALE, STALE]).check(
        "
          0 ──▶ INVITE
         60 ──▶ INVITE
        110 ──▶ INVITE
        160 a * ended Rejected { status: 401 }
        ",
    );
}

#[test]
fn without_credentials_a_challenge_is_a_refusal() {
    challenged(None, &[FRESH]).check(
        "
          0 ──▶ INVITE
         60 a * ended Rejected { status: 401 }
        ",
    );
}

#[test]
fn a_realm_that_is_not_ours_learns_nothing() {
    let known = |realm: &str| {
        let realm = Some(realm.to_owned());
        Some(Credentials { realm, ..Credentials::new("alice", "secret") })
    };
    challenged(known("other"), &[FRESH]).check(
        "
          0 ──▶ INVITE
         60 a * ended Rejected { status: 401 }
        ",
    );
    challenged(known("r"), &[FRESH]).check(
        "
          0 ──▶ INVITE
         60 ──▶ INVITE
        410 a * answered
        ",
    );
}

#[test]
fn who_is_dismissed_leaves_nothing_behind() {
    let mut world = World::new();
    let outgoing = world.outgoing();
    world.dialogs[0] = Some(world.ends[0].invite(outgoing, world.now).unwrap());
    world.ends[0].request(Method::Message, world.outgoing(), world.now).unwrap();
    world.drain();
    world.until(15);
    world.tell(1, |b, dialog, _| b.dismiss_invite(dialog, 401, &[("WWW-Authenticate", FRESH)]));
    assert_eq!(world.ends[1].gauges().dialogs, 0);
    world.until(100);
    // The ACK of the caller meets nobody, and that is all.
    assert_eq!(world.ends[1].counters().acks_stray, 1);
}
