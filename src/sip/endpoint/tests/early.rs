//! Early dialogs: forks, UPDATE before the answer, offers that come late, reasons that travel.

use super::*;

/// `a` calls, and the INVITE never arrives: the callees are written by hand.
pub(super) fn calling() -> (World, String) {
    let mut world = World::new();
    world.call();
    let (_, (_, invite)) = world.wire.pop_first().unwrap();
    (world, String::from_utf8_lossy(&invite).into_owned())
}

/// A response of a callee to this INVITE, with lines of its own.
pub(super) fn response(invite: &str, status: &str, tag: &str, more: &str) -> String {
    let head: String = invite
        .lines()
        .filter(|line| ["Via", "From", "Call-ID", "CSeq"].iter().any(|name| line.starts_with(name)))
        .fold(String::new(), |head, line| head + line + "\r\n");
    let tag = if tag.is_empty() { String::new() } else { format!(";tag={tag}") };
    format!(
        "SIP/2.0 {status} x\r\n{head}To: <sip:bob@192.0.2.2>{tag}\r\n\
         Contact: <sip:bob@192.0.2.2>\r\n{more}Content-Length: 0\r\n\r\n"
    )
}

/// A request of a callee in the dialog of this INVITE.
pub(super) fn inside(invite: &str, method: &str, cseq: u32, tag: &str, body: &str) -> String {
    let invite = Message::parse(invite.as_bytes()).unwrap();
    let (from, call_id) = (invite.text(crate::sip::Name::From).unwrap(), invite.call_id().unwrap());
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    format!(
        "{method} sip:alice@192.0.2.1 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.2:5060;rport;branch=z9hG4bK{method}{cseq}{tag}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:bob@192.0.2.2>;tag={tag}\r\nTo: {from}\r\n\
         Call-ID: {call_id}\r\nCSeq: {cseq} {method}\r\nContact: <sip:bob@192.0.2.2>\r\n{kind}\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The last message that `a` sent, whole.
fn last(world: &World) -> String {
    let (_, bytes) = world.wire.values().next_back().unwrap();
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn an_update_overtakes_the_answer_to_our_invite() {
    let (mut world, invite) = calling();
    world.inject(0, &response(&invite, "180", "t1", ""));
    // Without SDP it says where the callee is; with SDP it meets our open offer (RFC 3311 §5.2).
    world.inject(0, &inside(&invite, "UPDATE", 1, "t1", ""));
    world.inject(0, &inside(&invite, "UPDATE", 2, "t1", "v=0\r\n"));
    world.inject(0, &inside(&invite, "UPDATE", 2, "t1", ""));
    world.inject(0, &inside(&invite, "INFO", 7, "t2", ""));
    world.inject(0, &inside(&invite, "UPDATE", 1, "t2", "v=0\r\n"));
    world.check(
        "
          0 ──▶ INVITE
          0 a * provisional 180
          0 ──▶ 200 UPDATE
          0 ──▶ 491 UPDATE
          0 ──▶ 491 UPDATE
          0 ──▶ 481 INFO
          0 ──▶ 491 UPDATE
        ",
    );
}

#[test]
fn one_of_two_ringing_callees_says_bye_and_the_other_answers() {
    let (mut world, invite) = calling();
    let (ring1, ring2, answer) = (
        response(&invite, "180", "t1", ""),
        response(&invite, "180", "t2", ""),
        response(&invite, "200", "t2", ""),
    );
    let bye = inside(&invite, "BYE", 1, "t1", "");
    for message in [ring1, ring2, bye, answer] {
        world.inject(0, &message);
    }
    world.check(
        "
          0 ──▶ INVITE
          0 a * provisional 180
          0 a * provisional 180
          0 ──▶ 200 BYE
          0 ──▶ ACK
          0 a * answered
        ",
    );
}

#[test]
fn ringing_without_a_to_tag_is_ringing_all_the_same() {
    let (mut world, invite) = calling();
    let answer = response(&invite, "200", "t1", "");
    world.inject(0, &response(&invite, "180", "", ""));
    world.inject(0, &answer);
    world.check(
        "
          0 ──▶ INVITE
          0 a * provisional 180
          0 ──▶ ACK
          0 a * answered
        ",
    );
}

#[test]
fn the_answer_to_a_late_offer_goes_with_the_ack_of_every_copy() {
    let mut world = World::new();
    let outgoing = Outgoing { body: None, ..world.outgoing() };
    world.dialogs[0] = Some(world.ends[0].invite(outgoing, world.now).unwrap());
    world.drain();
    world.until(20);
    world.accept();
    // The user takes its time: no ACK, and no BYE for the copies.
    world.until(700);
    world.tell(0, |a, dialog, _| a.acknowledge(dialog, Some(Body::sdp("v=0\r\n"))));
    assert!(last(&world).ends_with("\r\n\r\nv=0\r\n"), "{}", last(&world));
    world.tell(0, |a, dialog, _| a.acknowledge(dialog, Some(Body::sdp("twice"))));
    world.until(1000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 200 INVITE
         30 a * answered
        520 ◀── 200 INVITE
        700 ──▶ ACK
        710 b * acknowledged
        ",
    );
}

#[test]
fn hanging_up_instead_of_answering_a_late_offer_acknowledges_first() {
    let mut world = World::new();
    let outgoing = Outgoing { body: None, ..world.outgoing() };
    world.dialogs[0] = Some(world.ends[0].invite(outgoing, world.now).unwrap());
    world.drain();
    world.until(20);
    world.accept();
    world.until(30);
    world.hangup(0);
    world.until(1000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 200 INVITE
         30 a * answered
         30 ──▶ ACK
         30 ──▶ BYE
         30 a * ended Local
         40 b * acknowledged
         40 ◀── 200 BYE
         40 b * ended Bye
        ",
    );
}

#[test]
fn an_offer_while_the_answer_to_our_late_offer_is_due_meets_it() {
    // RFC 3264 §4: one offer at a time, and that in our 200 is open until the ACK.
    let mut world = World::new();
    let outgoing = Outgoing { body: None, ..world.outgoing() };
    world.dialogs[0] = Some(world.ends[0].invite(outgoing, world.now).unwrap());
    world.drain();
    world.until(20);
    world.accept();
    world.until(25);
    let (_, answer) = world.wire.values().next().cloned().unwrap();
    let answer = Message::parse(&answer).unwrap();
    let text = |name| answer.text(name).unwrap().to_owned();
    let update = format!(
        "UPDATE sip:bob@192.0.2.2 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKupdate\r\nMax-Forwards: 70\r\n\
         From: {}\r\nTo: {}\r\nCall-ID: {}\r\nCSeq: 2 UPDATE\r\nContact: <sip:alice@192.0.2.1>\r\n\
         Content-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n",
        text(crate::sip::Name::From),
        text(crate::sip::Name::To),
        answer.call_id().unwrap(),
    );
    world.inject(1, &update);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 200 INVITE
         25 ◀── 491 UPDATE
        ",
    );
}

#[test]
fn a_cancel_and_a_late_bye_say_why() {
    let mut world = World::new();
    world.call();
    world.tell(0, |a, dialog, now| {
        a.hangup(dialog, Some("SIP;cause=200;text=\"Call completed elsewhere\""), now);
    });
    world.until(20);
    world.ring();
    world.until(30);
    let cancel = last(&world);
    assert!(cancel.starts_with("CANCEL ") && cancel.contains("Reason: SIP;cause=200"), "{cancel}");

    let mut world = World::new();
    world.call();
    world.until(20);
    world.accept();
    world.tell(1, |b, dialog, now| b.hangup(dialog, Some("Q.850;cause=16"), now));
    world.until(40);
    let bye = last(&world);
    assert!(bye.starts_with("BYE ") && bye.contains("Reason: Q.850;cause=16"), "{bye}");
}

#[test]
fn a_call_that_is_there_cannot_be_replaced() {
    let mut world = World::talking();
    world.tell(0, |a, dialog, now| a.offer(dialog, None, now));
    let (_, invite) = world.wire.values().next_back().cloned().unwrap();
    let invite = Message::parse(&invite).unwrap();
    let tag = |address: crate::sip::NameAddr<'_>| address.tag().unwrap().to_owned();
    let (from, to) = (tag(invite.from().unwrap()), tag(invite.to().unwrap()));
    let request = format!(
        "INVITE sip:bob@192.0.2.2 SIP/2.0\r\n\
         Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKreplaces\r\nMax-Forwards: 70\r\n\
         From: <sip:carol@192.0.2.1>;tag=c1\r\nTo: <sip:bob@192.0.2.2>\r\nCall-ID: other\r\n\
         CSeq: 1 INVITE\r\nContact: <sip:carol@192.0.2.1>\r\n\
         Replaces: {};to-tag={to};from-tag={from}\r\nContent-Length: 0\r\n\r\n",
        invite.call_id().unwrap(),
    );
    world.inject(1, &request);
    world.check(
        "
        100 ──▶ INVITE
        100 ◀── 603 INVITE
        ",
    );
}

#[test]
fn a_callee_that_rings_and_is_never_heard_again_is_given_up() {
    let mut world = World::new();
    world.call();
    world.until(20);
    world.ring();
    world.until(30);
    world.lose("", 999);
    world.until(200_000);
    assert!(world.story.contains(" 181030 a * ended Timeout"), "{}", world.story);
    world.story.clear();
    world.check("");
}

#[test]
fn a_connection_that_breaks_under_a_cancel_leaves_nothing() {
    let mut world = World::over(Transport::Tcp);
    world.call();
    world.until(20);
    world.ring();
    world.until(40);
    world.lose("487", 1);
    world.hangup(0);
    world.until(60);
    world.ends[0].handle_flow_closed(1, world.now);
    world.drain();
    world.until(100);
    assert_eq!(world.ends[0].gauges(), Gauges::default(), "{}", world.story);
    world.story.clear();
    world.check("");
}

#[test]
fn a_session_begins_with_the_answer_and_not_with_an_early_update() {
    // It once began with the 200 of the UPDATE: a call that still rang was told that it had ended.
    let config = Config { session_expires: Some(Duration::from_secs(90)), ..config() };
    let mut world = World::new();
    world.ends[1] = Endpoint::new(config, Rng::new(2));
    let sdp = || Some(Body::sdp("v=0\r\n"));
    world.call();
    world.until(20);
    world.tell(1, |b, dialog, now| b.provisional(dialog, 183, sdp(), now));
    world.until(50);
    world.tell(0, |a, dialog, now| a.offer(dialog, sdp(), now));
    world.until(70);
    world.tell(1, |b, dialog, now| b.answer_offer(dialog, Ok(sdp()), now));
    world.until(120_000);
    assert!(!world.story.contains("ended"), "{}", world.story);
    world.hangup(1);
    world.until(121_000);
    assert_eq!(world.story.matches("b * ended").count(), 1, "{}", world.story);
    world.story.clear();
    world.check("");
}
