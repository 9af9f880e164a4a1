//! Provisional responses that must arrive (RFC 3262), between two endpoints.

use super::*;
use crate::sip::Name;

fn sdp() -> Option<Body> {
    Some(Body::sdp("v=0\r\n"))
}

/// `b` rings with early media.
fn early(world: &mut World) {
    world.tell(1, |b, dialog, now| b.provisional(dialog, 183, sdp(), now));
}

/// The message of this start that is on the wire.
fn on_wire(world: &World, start: &str) -> String {
    let texts = world.wire.values().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
    texts.into_iter().find(|text| text.starts_with(start)).unwrap_or_default()
}

#[test]
fn early_media_arrives_for_certain_and_is_not_described_twice() {
    let mut world = World::new();
    world.call();
    world.until(20);
    world.ring();
    world.until(25);
    early(&mut world);
    let progress = on_wire(&world, "SIP/2.0 183");
    assert!(progress.contains("\r\nRequire: 100rel\r\n"), "{progress}");
    world.until(40);
    world.accept();
    world.until(45);
    let texts = world.wire.values().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
    let answer = texts.into_iter().find(|text| text.contains(" INVITE")).unwrap();
    assert!(answer.starts_with("SIP/2.0 200") && !answer.contains("v=0"), "{answer}");
    world.until(100);
    world.hangup(0);
    world.until(200);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 180 INVITE
         25 ◀── 183 INVITE
         30 a * provisional 180
         35 ──▶ PRACK
         35 a * provisional 183
         45 ◀── 200 PRACK
         45 ◀── 200 INVITE
         55 ──▶ ACK
         55 a * answered
         65 b * acknowledged
        100 ──▶ BYE
        100 a * ended Local
        110 ◀── 200 BYE
        110 b * ended Bye
        ",
    );
}

#[test]
fn an_answer_waits_for_the_prack_and_so_does_more_news() {
    let mut world = World::new();
    world.call();
    world.until(20);
    world.lose("183", 1);
    early(&mut world);
    early(&mut world);
    world.accept();
    world.until(2000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 183 INVITE ✕
        500 ──▶ INVITE
        510 ◀── 183 INVITE
        520 ──▶ PRACK
        520 a * provisional 183
        520 ◀── 183 INVITE
        530 ◀── 200 PRACK
        530 ◀── 183 INVITE
        530 ◀── 200 INVITE
        540 a * provisional 183
        540 ──▶ ACK
        540 a * answered
        550 b * acknowledged
        ",
    );
}

#[test]
fn a_caller_that_requires_it_confirms_every_one() {
    let mut world = World::new();
    let mut outgoing = world.outgoing();
    outgoing.headers.push(("Require".to_owned(), "100rel".to_owned()));
    world.dialogs[0] = Some(world.ends[0].invite(outgoing, world.now).unwrap());
    world.drain();
    world.until(20);
    world.ring();
    world.ring();
    world.until(30);
    world.lose("PRACK", 1);
    world.until(1500);
    world.tell(1, |b, dialog, now| b.reject(dialog, 486, None, &[], now));
    world.until(2000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 180 INVITE
         30 ──▶ PRACK
         30 a * provisional 180
         40 ◀── 200 PRACK
         40 ◀── 180 INVITE
         50 ──▶ PRACK ✕
         50 a * provisional 180
        540 ◀── 180 INVITE
        550 ──▶ PRACK
        560 ◀── 200 PRACK
       1500 ◀── 486 INVITE
       1500 b * ended Rejected { status: 486 }
       1510 ──▶ ACK
       1510 a * ended Rejected { status: 486 }
        ",
    );
}

#[test]
fn without_any_prack_the_call_is_given_up() {
    let mut world = World::new();
    world.call();
    world.until(20);
    world.lose("PRACK", 99);
    early(&mut world);
    world.until(20_000);
    world.story.clear();
    world.until(60_000);
    assert!(world.story.contains("  32020 ◀── 504 INVITE"), "{}", world.story);
    assert!(world.story.contains("  32020 b * ended NoAck"), "{}", world.story);
    world.story.clear();
    world.check("");
}

#[test]
fn hanging_up_while_a_prack_is_missing_leaves_nothing() {
    let mut world = World::new();
    world.call();
    world.until(20);
    world.lose("PRACK", 99);
    early(&mut world);
    world.accept();
    world.until(100);
    world.hangup(1);
    world.until(200);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 183 INVITE
         30 ──▶ PRACK ✕
         30 a * provisional 183
        100 ◀── 480 INVITE
        100 b * ended Local
        110 ──▶ ACK
        110 a * ended Rejected { status: 480 }
        ",
    );
}

#[test]
fn an_early_offer_goes_by_update_once_the_first_is_settled() {
    let mut world = World::new();
    world.call();
    world.until(20);
    // Too early: the first offer is not answered yet.
    world.tell(1, |b, dialog, now| b.offer(dialog, sdp(), now));
    early(&mut world);
    world.until(50);
    world.tell(1, |b, dialog, now| b.offer(dialog, sdp(), now));
    world.until(70);
    world.tell(0, |a, dialog, now| a.answer_offer(dialog, Ok(sdp()), now));
    world.until(90);
    world.tell(0, |a, dialog, now| a.offer(dialog, sdp(), now));
    world.tell(1, |b, dialog, now| b.offer(dialog, sdp(), now));
    world.until(120);
    world.accept();
    world.until(130);
    assert!(world.story.contains("120 ◀── 200 INVITE"), "{}", world.story);
    // Both gave way and try again, in the dialog that is confirmed by now.
    for millis in (200..6000).step_by(10) {
        world.until(millis);
        for end in 0..2 {
            if world.story.ends_with(&format!("{} * offer\n", ["a", "b"][end])) {
                world.tell(end, |one, dialog, now| one.answer_offer(dialog, Ok(sdp()), now));
            }
        }
    }
    for told in ["a * offer answered 200", "b * offer answered 200"] {
        assert!(world.story.contains(told), "{}", world.story);
    }
    let begin: Vec<&str> = world.story.lines().take(16).map(str::trim).collect();
    assert_eq!(
        begin.join("\n"),
        "0 ──▶ INVITE\n10 b * invite\n20 b * offer answered 491\n20 ◀── 183 INVITE\n\
         30 ──▶ PRACK\n30 a * provisional 183\n40 ◀── 200 PRACK\n50 ◀── UPDATE\n60 a * offer\n\
         70 ──▶ 200 UPDATE\n80 b * offer answered 200\n90 ──▶ UPDATE\n90 ◀── UPDATE\n\
         100 ◀── 491 UPDATE\n100 ──▶ 491 UPDATE\n120 ◀── 200 INVITE"
    );
    world.story.clear();
    world.check("");
}

#[test]
fn numbers_go_on_behind_those_of_the_early_dialog() {
    let mut world = World::new();
    world.call();
    world.until(20);
    early(&mut world);
    world.until(50);
    world.accept();
    world.until(80);
    world.hangup(0);
    let bye = on_wire(&world, "BYE ");
    let number = Message::parse(bye.as_bytes()).unwrap().cseq().unwrap().number;
    assert_eq!(number, 3, "INVITE 1, PRACK 2: {bye}");
    world.until(200);
    world.story.clear();
    world.check("");
}

#[test]
fn a_prack_of_nothing_is_told_so() {
    let mut world = World::new();
    world.call();
    world.until(20);
    early(&mut world);
    world.until(30);
    // The PRACK is bent to another response on its way.
    let prack = on_wire(&world, "PRACK ");
    let rack = Message::parse(prack.as_bytes()).unwrap().text(Name::RAck).unwrap().to_owned();
    world.wire.clear();
    for wrong in ["1 1 INVITE", &rack.replace(" 1 ", " 2 "), &rack.replace("INVITE", "UPDATE")] {
        let number = 2 + world.story.len();
        let bent = prack.replace(&rack, wrong).replace("CSeq: 2", &format!("CSeq: {number}"));
        world.inject(1, &bent.replace("branch=z9hG4bK", &format!("branch=z9hG4bK{number}")));
    }
    assert_eq!(world.story.matches("481 PRACK").count(), 3, "{}", world.story);
    world.story.clear();
    world.until(3000);
    world.story.clear();
    world.check("");
}
