//! What comes only by coincidence, and is told here on purpose (`sip-test/machines.md`).

use super::early::{calling, inside, response};
use super::*;

#[test]
fn a_180_that_the_200_has_overtaken_is_no_news() {
    let (mut world, invite) = calling();
    world.inject(0, &response(&invite, "200", "t1", ""));
    world.inject(0, &response(&invite, "180", "t1", ""));
    world.inject(0, &response(&invite, "100", "", ""));
    world.check(
        "
          0 ──▶ INVITE
          0 ──▶ ACK
          0 a * answered
        ",
    );
}

#[test]
fn a_connection_breaks_between_100_and_the_answer_to_a_request() {
    let mut world = World::over(Transport::Tcp);
    let outgoing = Outgoing { body: None, ..world.outgoing() };
    world.ends[0].request(Method::Message, outgoing, world.now).unwrap();
    world.drain();
    let (_, (_, request)) = world.wire.pop_first().unwrap();
    let request = String::from_utf8_lossy(&request).into_owned();
    world.inject(0, &response(&request, "100", "", ""));
    world.ends[0].handle_flow_closed(1, world.now);
    world.drain();
    world.check(
        "
          0 ──▶ MESSAGE
          0 a * response 503
        ",
    );
}

#[test]
fn the_bye_of_a_callee_whose_200_never_arrived_ends_the_call() {
    let mut world = World::new();
    world.lose("200 INVITE", 99);
    world.call();
    world.until(20);
    world.ring();
    world.until(40);
    world.accept();
    // The INVITE is still waited for, as long as one that rings in silence.
    world.until(300_000);
    let story = std::mem::take(&mut world.story);
    let told: Vec<_> = story.lines().filter(|line| !line.contains('✕')).map(str::trim).collect();
    assert_eq!(
        told,
        [
            "0 ──▶ INVITE",
            "10 b * invite",
            "20 ◀── 180 INVITE",
            "30 a * provisional 180",
            "32040 ◀── BYE",
            "32040 b * ended NoAck",
            "32050 ──▶ 200 BYE",
            "32050 a * ended Bye",
        ]
    );
    world.check("");
}

#[test]
fn an_early_offer_crosses_the_cancel() {
    let (mut world, invite) = calling();
    world.inject(0, &response(&invite, "180", "t1", ""));
    world.hangup(0);
    world.inject(0, &inside(&invite, "UPDATE", 1, "t1", "v=0\r\n"));
    world.inject(0, &response(&invite, "487", "t1", ""));
    world.check(
        "
          0 ──▶ INVITE
          0 a * provisional 180
          0 ──▶ CANCEL
          0 a * ended Local
          0 ──▶ 481 UPDATE
          0 ──▶ ACK
        ",
    );
}

#[test]
fn a_copy_of_the_prack_comes_later_than_the_200() {
    let mut world = World::new();
    world.call();
    world.until(20);
    world.tell(1, |b, dialog, now| b.provisional(dialog, 183, Some(Body::sdp("v=0\r\n")), now));
    world.until(35);
    let prack = world.wire.values().find(|(_, bytes)| bytes.starts_with(b"PRACK")).cloned();
    let (_, prack) = prack.unwrap();
    world.until(60);
    world.accept();
    world.until(100);
    world.story.clear();
    let prack = String::from_utf8_lossy(&prack).into_owned();
    world.inject(1, &prack);
    // The same once more, as a request of its own: nothing waits for it any more.
    let late = prack.replace(";branch=z9hG4bK", ";branch=z9hG4bKlate");
    let late = late.replace("CSeq: 2 ", "CSeq: 20 ");
    world.inject(1, &late);
    world.check(
        "
        100 ◀── 200 PRACK
        100 ◀── 481 PRACK
        ",
    );
}
