//! Calls that begin and end, with losses and crossings.

use super::*;

#[test]
fn a_call_that_rings_is_answered_and_hung_up() {
    let mut world = World::new();
    world.call();
    world.until(20);
    world.ring();
    world.until(40);
    world.accept();
    world.until(1000);
    world.hangup(0);
    world.until(2000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 180 INVITE
         30 a * provisional 180
         40 ◀── 200 INVITE
         50 ──▶ ACK
         50 a * answered
         60 b * acknowledged
       1000 ──▶ BYE
       1000 a * ended Local
       1010 ◀── 200 BYE
       1010 b * ended Bye
        ",
    );
}

#[test]
fn a_thoughtful_callee_says_trying_and_busy_in_the_end() {
    let mut world = World::new();
    world.call();
    world.until(300);
    world.tell(1, |b, dialog, now| b.reject(dialog, 486, None, &[], now));
    world.until(1000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
        210 ◀── 100 INVITE
        300 ◀── 486 INVITE
        300 b * ended Rejected { status: 486 }
        310 ──▶ ACK
        310 a * ended Rejected { status: 486 }
        ",
    );
}

#[test]
fn lost_acks_bring_the_200_again_and_each_copy_its_ack() {
    let mut world = World::new();
    world.lose("ACK", 2);
    world.call();
    world.until(20);
    world.accept();
    world.until(5000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 200 INVITE
         30 ──▶ ACK ✕
         30 a * answered
        520 ◀── 200 INVITE
        530 ──▶ ACK ✕
       1520 ◀── 200 INVITE
       1530 ──▶ ACK
       1540 b * acknowledged
        ",
    );
}

#[test]
fn a_200_nobody_acknowledges_ends_with_a_bye_after_64_t1() {
    let mut world = World::new();
    world.lose("ACK", 99);
    world.call();
    world.until(20);
    world.accept();
    world.until(31_000);
    world.story.clear();
    world.until(33_000);
    world.check(
        "
      31520 ◀── 200 INVITE
      31530 ──▶ ACK ✕
      32020 ◀── BYE
      32020 b * ended NoAck
      32030 ──▶ 200 BYE
      32030 a * ended Bye
        ",
    );
}

#[test]
fn a_cancel_waits_for_the_first_provisional_response() {
    let mut world = World::new();
    world.call();
    world.hangup(0);
    world.until(1000);
    world.check(
        "
          0 ──▶ INVITE
          0 a * ended Local
         10 b * invite
        210 ◀── 100 INVITE
        220 ──▶ CANCEL
        230 ◀── 200 CANCEL
        230 ◀── 487 INVITE
        230 b * ended Cancelled
        240 ──▶ ACK
        ",
    );
}

#[test]
fn a_200_that_crosses_the_cancel_is_acknowledged_and_hung_up() {
    let mut world = World::new();
    world.call();
    world.until(20);
    world.ring();
    world.until(35);
    world.accept();
    world.hangup(0);
    world.until(1000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 180 INVITE
         30 a * provisional 180
         35 ◀── 200 INVITE
         35 ──▶ CANCEL
         35 a * ended Local
         45 ──▶ ACK
         45 ──▶ BYE
         45 ◀── 200 CANCEL
         55 b * acknowledged
         55 ◀── 200 BYE
         55 b * ended Bye
        ",
    );
}

#[test]
fn two_byes_that_cross_end_well_on_both_sides() {
    let mut world = World::talking();
    world.hangup(0);
    world.hangup(1);
    world.until(1000);
    world.check(
        "
        100 ──▶ BYE
        100 a * ended Local
        100 ◀── BYE
        100 b * ended Local
        110 ◀── 200 BYE
        110 ──▶ 200 BYE
        ",
    );
}

#[test]
fn a_bye_waits_for_the_ack_of_our_200() {
    let mut world = World::new();
    world.lose("ACK", 1);
    world.call();
    world.until(20);
    world.accept();
    world.hangup(1);
    world.until(1000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 200 INVITE
         20 b * ended Local
         30 ──▶ ACK ✕
         30 a * answered
        520 ◀── 200 INVITE
        530 ──▶ ACK
        540 ◀── BYE
        550 ──▶ 200 BYE
        550 a * ended Bye
        ",
    );
}

#[test]
fn lost_requests_and_answers_are_sent_again() {
    let mut world = World::new();
    world.lose("INVITE", 1);
    world.lose("486", 1);
    world.call();
    world.until(600);
    world.tell(1, |b, dialog, now| b.reject(dialog, 486, None, &[], now));
    world.until(3000);
    world.check(
        "
          0 ──▶ INVITE ✕
        500 ──▶ INVITE
        510 b * invite
        600 ◀── 486 INVITE ✕
        600 b * ended Rejected { status: 486 }
       1100 ◀── 486 INVITE
       1110 ──▶ ACK
       1110 a * ended Rejected { status: 486 }
        ",
    );
}

#[test]
fn nobody_there_is_told_after_64_t1() {
    let mut world = World::new();
    world.lose("INVITE", 99);
    world.call();
    world.story.clear();
    world.until(14_000);
    world.story.clear();
    world.until(40_000);
    world.check(
        "
      15500 ──▶ INVITE ✕
      31500 ──▶ INVITE ✕
      32000 a * ended Timeout
        ",
    );
}

#[test]
fn a_broken_connection_fails_what_waits_on_it_and_spares_the_calls() {
    let mut world = World::over(Transport::Tcp);
    world.lose("INVITE", 1);
    world.call();
    world.until(50);
    world.ends[0].handle_flow_closed(1, world.now);
    world.drain();
    world.call();
    world.until(100);
    world.accept();
    world.until(200);
    world.ends[0].handle_flow_closed(1, world.now);
    world.drain();
    world.until(5000);
    world.check(
        "
          0 ──▶ INVITE ✕
         50 a * ended Transport
         50 ──▶ INVITE
         60 b * invite
        100 ◀── 200 INVITE
        110 ──▶ ACK
        110 a * answered
        120 b * acknowledged
        ",
    );
}

#[test]
fn the_first_fork_that_answers_wins_and_the_others_are_hung_up() {
    let mut world = World::new();
    world.call();
    let (_, invite) = world.wire.values().next().cloned().unwrap();
    let invite = String::from_utf8_lossy(&invite).into_owned();
    world.wire.clear();
    let head: String = invite
        .lines()
        .filter(|line| ["Via", "From", "Call-ID", "CSeq"].iter().any(|name| line.starts_with(name)))
        .fold(String::new(), |head, line| head + line + "\r\n");
    let fork = |status: &str, tag: &str| {
        format!(
            "SIP/2.0 {status} x\r\n{head}To: <sip:bob@192.0.2.2>;tag={tag}\r\n\
             Contact: <sip:{tag}@192.0.2.2>\r\nContent-Length: 0\r\n\r\n"
        )
    };
    for (status, tag) in [("180", "1"), ("180", "2"), ("200", "2"), ("200", "1"), ("200", "1")] {
        world.inject(0, &fork(status, tag));
    }
    world.until(5);
    world.check(
        "
          0 ──▶ INVITE
          0 a * provisional 180
          0 a * provisional 180
          0 ──▶ ACK
          0 a * answered
          0 ──▶ ACK
          0 ──▶ BYE
          0 ──▶ ACK
        ",
    );
}
