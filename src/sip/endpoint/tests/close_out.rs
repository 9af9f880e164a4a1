//! A process dies with a call of its own under way; the next one takes the call back.

use super::*;

fn derived() -> Derived {
    let text = |text: &str| text.to_owned();
    Derived {
        call_id: text("promise-1"),
        from_tag: text("us"),
        branch: Some(text("z9hG4bKp1")),
        cseq: 1,
    }
}

fn outgoing(world: &World) -> Outgoing {
    Outgoing { derived: Some(derived()), ..world.outgoing() }
}

/// `a` calls `b` with derived identifiers.
fn calling() -> World {
    let mut world = World::new();
    let outgoing = outgoing(&world);
    world.dialogs[0] = Some(world.ends[0].invite(outgoing, world.now).unwrap());
    world.drain();
    world.until(50);
    world
}

/// `a` is another process now, with other randomness, and takes the call back.
fn restarted(world: &mut World, far_side: Option<&FarSide>) {
    world.story.clear();
    world.ends[0] = Endpoint::new(config(), Rng::new(99));
    world.dialogs[0] = None;
    let outgoing = outgoing(world);
    world.ends[0].close_out(outgoing, 1, far_side, world.now).unwrap();
    world.drain();
}

#[test]
fn an_invite_that_never_left_is_known_to_be_nowhere() {
    let mut world = World::new();
    restarted(&mut world, None);
    world.until(1000);
    world.check(
        "
          0 ──▶ CANCEL
         10 ◀── 481 CANCEL
         20 a * closed out, certain true
        ",
    );
}

#[test]
fn a_phone_that_rings_stops() {
    let mut world = calling();
    world.ring();
    world.until(100);
    restarted(&mut world, None);
    world.until(1000);
    world.check(
        "
        100 ──▶ CANCEL
        110 ◀── 200 CANCEL
        110 ◀── 487 INVITE
        110 b * ended Cancelled
        120 ──▶ ACK
        120 a * closed out, certain true
        ",
    );
}

/// The ACK never left, so the 2xx comes again: it is acknowledged and hung up.
#[test]
fn an_answer_that_nobody_acknowledged_is_hung_up() {
    let mut world = calling();
    world.lose("ACK", 1);
    world.accept();
    world.until(100);
    restarted(&mut world, None);
    world.until(2000);
    world.check(
        "
        100 ──▶ CANCEL
        110 ◀── 200 CANCEL
        550 ◀── 200 INVITE
        560 ──▶ ACK
        560 ──▶ BYE
        560 a * closed out, certain true
        570 b * acknowledged
        570 ◀── 200 BYE
        570 b * ended Bye
        ",
    );
}

fn far_side(is_answered: bool, world: &World) -> FarSide {
    let b = world.dialogs[1].unwrap();
    let tag = world.ends[1].legs.get(b).map(|leg| match &leg.state {
        leg::State::Talking { dialog, .. } | leg::State::Ringing { dialog, .. } => {
            dialog.local.rsplit("tag=").next().unwrap().to_owned()
        }
        leg::State::Calling { .. }
        | leg::State::Cancelling { .. }
        | leg::State::Leaving { .. }
        | leg::State::Closing => panic!("the call is over"),
    });
    FarSide {
        is_answered,
        to: format!("<sip:bob@192.0.2.2>;tag={}", tag.unwrap()),
        target: "sip:192.0.2.2:5060".to_owned(),
        routes: Vec::new(),
        cseq: 1,
    }
}

#[test]
fn a_call_that_was_answered_gets_a_bye() {
    let mut world = calling();
    world.accept();
    world.until(100);
    let far = far_side(true, &world);
    restarted(&mut world, Some(&far));
    world.until(1000);
    world.check(
        "
        100 ──▶ BYE
        110 ◀── 200 BYE
        110 b * ended Bye
        120 a * closed out, certain true
        ",
    );
}

/// What rang when it was last heard may have answered since: the BYE finds it.
#[test]
fn a_phone_that_rang_and_has_answered_since_gets_both() {
    let mut world = calling();
    world.ring();
    world.until(60);
    let far = far_side(false, &world);
    world.accept();
    world.until(100);
    restarted(&mut world, Some(&far));
    world.until(1000);
    let said = |line: &str| world.story.contains(line);
    assert!(said("CANCEL") && said("BYE") && said("b * ended Bye"), "{}", world.story);
    world.until(60_000);
    assert!(world.story.contains("a * closed out, certain false"), "{}", world.story);
}

#[test]
fn a_silent_peer_may_still_ring() {
    let mut world = calling();
    world.ring();
    world.until(100);
    world.lose("CANCEL", 20);
    restarted(&mut world, None);
    world.until(60_000);
    assert!(world.story.ends_with("32100 a * closed out, certain false\n"), "{}", world.story);
}

/// The INVITE that rings may be the one that answered a challenge: every try gets its CANCEL.
#[test]
fn the_try_that_answered_a_challenge_is_taken_back_too() {
    let challenge = "Digest realm=\"r\", nonce=\"n\", algorithm=SHA-256, qop=\"auth\"";
    let credentials = Some(Credentials {
        username: "alice".to_owned(),
        password: "secret".to_owned(),
        realm: None,
    });
    let mut world = World::new();
    let outgoing = Outgoing { credentials, ..outgoing(&world) };
    world.dialogs[0] = Some(world.ends[0].invite(outgoing.clone(), world.now).unwrap());
    world.drain();
    world.until(20);
    let headers = [("WWW-Authenticate", challenge)];
    world.tell(1, |b, dialog, now| b.reject(dialog, 401, None, &headers, now));
    world.until(60);
    world.ring();
    world.until(100);
    world.story.clear();
    world.ends[0] = Endpoint::new(config(), Rng::new(99));
    world.dialogs[0] = None;
    world.ends[0].close_out(outgoing, TRIES_MAX, None, world.now).unwrap();
    world.drain();
    world.until(1000);
    let count = |line: &str| world.story.matches(line).count();
    assert_eq!((count("──▶ CANCEL"), count("b * ended Cancelled")), (4, 1), "{}", world.story);
    assert_eq!(count("closed out"), 1, "{}", world.story);
}
