//! Offers inside a call: re-INVITE, UPDATE, and the glare.

use super::*;

fn sdp() -> Option<Body> {
    Some(Body::sdp("v=0\r\n"))
}

fn offer(world: &mut World, end: usize) {
    world.tell(end, |endpoint, dialog, now| endpoint.offer(dialog, sdp(), now));
}

fn answer(world: &mut World, end: usize, answer: Result<Option<Body>, u16>) {
    world.tell(end, |endpoint, dialog, now| endpoint.answer_offer(dialog, answer, now));
}

#[test]
fn an_offer_is_answered_and_acknowledged() {
    let mut world = World::talking();
    offer(&mut world, 1);
    world.until(120);
    answer(&mut world, 0, Ok(sdp()));
    world.until(500);
    world.check(
        "
        100 ◀── INVITE
        110 a * offer
        120 ──▶ 200 INVITE
        130 ◀── ACK
        130 b * offer answered 200
        140 a * acknowledged
        ",
    );
}

#[test]
fn a_refused_offer_leaves_the_call_as_it_was() {
    let mut world = World::talking();
    offer(&mut world, 0);
    world.until(120);
    answer(&mut world, 1, Err(488));
    world.until(500);
    world.hangup(0);
    world.until(1000);
    world.check(
        "
        100 ──▶ INVITE
        110 b * offer
        120 ◀── 488 INVITE
        130 ──▶ ACK
        130 a * offer answered 488
        500 ──▶ BYE
        500 a * ended Local
        510 ◀── 200 BYE
        510 b * ended Bye
        ",
    );
}

#[test]
fn offers_that_cross_are_both_refused_and_tried_again_apart() {
    let mut world = World::talking();
    offer(&mut world, 0);
    offer(&mut world, 1);
    world.until(200);
    let glare = "
        100 ──▶ INVITE
        100 ◀── INVITE
        110 ◀── 491 INVITE
        110 ──▶ 491 INVITE
        120 ──▶ ACK
        120 ◀── ACK
    ";
    assert_eq!(world.story.split_whitespace().count(), glare.split_whitespace().count());
    // `b` did not choose the Call-ID and tries again within two seconds, `a` after that.
    world.story.clear();
    for millis in (200..2150).step_by(10) {
        world.until(millis);
        if world.story.ends_with("a * offer\n") {
            answer(&mut world, 0, Ok(sdp()));
        }
    }
    assert!(world.story.contains("b * offer answered 200"), "{}", world.story);
    world.story.clear();
    for millis in (2150..4500).step_by(10) {
        world.until(millis);
        if world.story.ends_with("b * offer\n") {
            answer(&mut world, 1, Ok(sdp()));
        }
    }
    assert!(world.story.contains("a * offer answered 200"), "{}", world.story);
    world.story.clear();
    world.check("");
}

#[test]
fn a_second_offer_before_the_first_is_answered_is_told_so() {
    let mut world = World::talking();
    offer(&mut world, 0);
    offer(&mut world, 0);
    world.until(110);
    world.hangup(1);
    world.until(500);
    world.check(
        "
        100 ──▶ INVITE
        100 a * offer answered 491
        110 b * offer
        110 ◀── 487 INVITE
        110 ◀── BYE
        110 b * ended Local
        120 ──▶ ACK
        120 a * offer answered 487
        120 ──▶ 200 BYE
        120 a * ended Bye
        ",
    );
}

#[test]
fn the_ack_of_a_reinvite_is_found_by_its_number_though_the_first_is_lost() {
    let mut world = World::new();
    world.call();
    world.until(20);
    world.lose("ACK", 1);
    world.accept();
    world.until(50);
    offer(&mut world, 0);
    world.until(70);
    answer(&mut world, 1, Ok(sdp()));
    world.until(3000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 200 INVITE
         30 ──▶ ACK ✕
         30 a * answered
         50 ──▶ INVITE
         60 b * offer
         70 ◀── 200 INVITE
         80 ──▶ ACK
         80 a * offer answered 200
         90 b * acknowledged
        520 ◀── 200 INVITE
        530 ──▶ ACK
        540 b * acknowledged
        ",
    );
}

#[test]
fn a_bye_crosses_a_reinvite() {
    let mut world = World::talking();
    offer(&mut world, 0);
    world.hangup(1);
    world.until(500);
    world.check(
        "
        100 ──▶ INVITE
        100 ◀── BYE
        100 b * ended Local
        110 ◀── 481 INVITE
        110 ──▶ 200 BYE
        110 a * ended Bye
        120 ──▶ ACK
        ",
    );
}

#[test]
fn an_offer_to_a_peer_that_forgot_the_call_ends_it() {
    let mut world = World::talking();
    world.ends[1] = Endpoint::new(config(), Rng::new(3));
    world.dialogs[1] = None;
    offer(&mut world, 0);
    world.until(500);
    world.check(
        "
        100 ──▶ INVITE
        110 ◀── 481 INVITE
        120 ──▶ ACK
        120 ──▶ BYE
        120 a * ended Gone
        130 ◀── 481 BYE
        ",
    );
}

#[test]
fn an_offer_that_asks_for_one_is_acknowledged_with_the_answer() {
    let mut world = World::talking();
    world.tell(0, |a, dialog, now| a.offer(dialog, None, now));
    world.until(120);
    answer(&mut world, 1, Ok(sdp()));
    world.until(200);
    world.tell(0, |a, dialog, _| a.acknowledge(dialog, sdp()));
    world.until(500);
    world.check(
        "
        100 ──▶ INVITE
        110 b * offer
        120 ◀── 200 INVITE
        130 a * offer answered 200
        200 ──▶ ACK
        210 b * acknowledged
        ",
    );
}

#[test]
fn a_lost_491_is_said_again() {
    let mut world = World::talking();
    world.lose("491", 1);
    offer(&mut world, 1);
    offer(&mut world, 0);
    world.until(1000);
    world.check(
        "
        100 ◀── INVITE
        100 ──▶ INVITE
        110 ──▶ 491 INVITE ✕
        110 ◀── 491 INVITE
        120 ──▶ ACK
        600 ◀── INVITE
        610 ──▶ 491 INVITE
        610 ──▶ 491 INVITE
        620 ◀── ACK
        620 ◀── ACK
        ",
    );
}
