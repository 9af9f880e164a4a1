//! Calls between two phones, on links that lose and double: every state of every transaction.

use std::time::Duration;

use ringback::sdp::Encoding;
use ringback::sim::{Answering, Meddling, Phone};
use ringback::sip::Cause;

use crate::story::*;

#[test]
fn answered() {
    two("phones_answered", quick()).dial().at(2000).hangup(CALLER).end_of_phones();
}

#[test]
fn hung_up_by_the_called() {
    two("phones_hung_up_by_the_called", quick()).dial().at(2000).hangup(CALLED).end_of_phones();
}

#[test]
fn each_hears_the_other_hum() {
    let (ann, ben) = (phone("ann", 2).humming(400), phone("ben", 9).humming(700));
    let ben = ben.answering(Answering::After(Duration::from_millis(100)));
    let story = Story::with_phones("phones_hum", ann, ben).dial().at(2000);
    let hears = |index| {
        let heard = story.world.phone(index).heard();
        ringback::media::ear::dominant(&heard[heard.len() - 800..], &[400.0, 700.0])
    };
    assert_eq!([hears(CALLER), hears(CALLED)], [Some(700.0), Some(400.0)]);
    story.hangup(CALLER).end_of_phones();
}

#[test]
fn busy() {
    let story = two("phones_busy", Answering::Refuse(486)).dial();
    story.ended(Cause::Rejected { status: 486 }).end_of_phones();
}

#[test]
fn cancel() {
    two("phones_cancel", Answering::Never).dial().at(3000).hangup(CALLER).end_of_phones();
}

#[test]
fn cancel_before_anything_is_heard() {
    let story = two("phones_cancel_before_anything_is_heard", Answering::Never);
    story.dial().hangup(CALLER).end_of_phones();
}

#[test]
fn cancel_crosses_the_200() {
    // The 200 leaves at 0.220 s and arrives at 0.240 s.
    let story = two("phones_cancel_crosses_the_200", quick());
    story.dial().at(230).hangup(CALLER).end_of_phones();
}

#[test]
fn byes_cross() {
    let story = two("phones_byes_cross", quick()).dial().at(2000);
    story.hangup(CALLER).hangup(CALLED).end_of_phones();
}

#[test]
fn hold_crosses_bye() {
    let story = two("phones_hold_crosses_bye", quick()).dial().at(2000);
    let story = story.note("caller holds").act(CALLER, Phone::hold);
    story.hangup(CALLED).end_of_phones();
}

#[test]
fn holds_cross() {
    // Each re-INVITE meets the other's: 491 both ways, and another try after a pause of chance.
    let story = two("phones_holds_cross", quick()).dial().at(2000);
    let story = story.act(CALLER, Phone::hold).act(CALLED, Phone::hold).at(10_000);
    story.hangup(CALLER).end_of_phones();
}

#[test]
fn no_common_codec() {
    let caller = phone("caller", 2).speaking(&[Encoding::Pcmu]);
    let called = phone("called", 9).speaking(&[Encoding::Pcma]);
    let story = Story::with_phones("phones_no_common_codec", caller, called).dial();
    story.ended(Cause::Rejected { status: 488 }).end_of_phones();
}

#[test]
fn delayed_offer() {
    let mut story = two("phones_delayed_offer", quick());
    story.world.with_phone(CALLER, |phone, now| phone.call_without_offer("b", address(9), now));
    let story = story.talking().at(2000);
    assert!(story.world.phone(CALLED).is_talking(), "the answer came with the ACK");
    story.hangup(CALLED).end_of_phones();
}

#[test]
fn calling_silence() {
    // Timer A doubles: seven INVITEs, and timer B after 64·T1.
    let story = two("phones_calling_silence", quick()).lose(CALLER, "INVITE", 99).dial();
    story.ended(Cause::Timeout).end_of_phones();
}

#[test]
fn calling_cancelled_in_silence() {
    // No CANCEL before a provisional response; the INVITE is given up by timer B.
    let story = two("phones_calling_cancelled_in_silence", quick()).lose(CALLER, "INVITE", 99);
    story.dial().at(1000).hangup(CALLER).end_of_phones();
}

#[test]
fn proceeding_invite_doubled() {
    // The copy finds the server transaction proceeding: it gets the 180 again.
    let story = two("phones_proceeding_invite_doubled", quick()).double(CALLER, "INVITE", 100);
    story.dial().at(2000).hangup(CALLER).end_of_phones();
}

#[test]
fn proceeding_lost_180() {
    // The INVITE is sent again until something is heard.
    let slow = Answering::After(Duration::from_secs(2));
    let story = two("phones_proceeding_lost_180", slow).lose(CALLED, "180", 2);
    story.dial().at(4000).hangup(CALLER).end_of_phones();
}

#[test]
fn completed_lost_486() {
    // Timer G: the 486 again until its ACK; the INVITE again until the 486.
    let story = two("phones_completed_lost_486", Answering::Refuse(486)).lose(CALLED, "486", 2);
    story.dial().ended(Cause::Rejected { status: 486 }).end_of_phones();
}

#[test]
fn completed_486_doubled() {
    // Timer D: the copy gets the ACK again, and the user hears nothing of it.
    let story = two("phones_completed_486_doubled", Answering::Refuse(486));
    story.double(CALLED, "486", 5000).dial().at(10_000).end_of_phones();
}

#[test]
fn completed_lost_ack() {
    let story = two("phones_completed_lost_ack", Answering::Refuse(486)).lose(CALLER, "ACK", 3);
    story.dial().at(10_000).end_of_phones();
}

#[test]
fn completed_never_an_ack() {
    // Timer H: the 486 is given up after 64·T1.
    let story =
        two("phones_completed_never_an_ack", Answering::Refuse(486)).lose(CALLER, "ACK", 99);
    story.dial().at(40_000).end_of_phones();
}

#[test]
fn confirmed_invite_and_ack_doubled() {
    // Timer I: what comes after the ACK is absorbed.
    let story = two("phones_confirmed_invite_and_ack_doubled", Answering::Refuse(486));
    let story = story.double(CALLER, "INVITE", 1000).double(CALLER, "ACK", 500);
    story.dial().at(10_000).end_of_phones();
}

#[test]
fn accepted_200_doubled() {
    // RFC 6026: every copy of the 200 gets its ACK for 64·T1.
    let story = two("phones_accepted_200_doubled", quick()).double(CALLED, "200 INVITE", 20_000);
    story.dial().at(25_000).hangup(CALLER).end_of_phones();
}

#[test]
fn accepted_invite_and_ack_doubled() {
    let story = two("phones_accepted_invite_and_ack_doubled", quick());
    let story = story.double(CALLER, "INVITE", 1000).double(CALLER, "ACK", 2000);
    story.dial().at(5000).hangup(CALLER).end_of_phones();
}

#[test]
fn accepted_lost_200_and_ack() {
    let story = two("phones_accepted_lost_200_and_ack", quick());
    let story = story.lose(CALLED, "200 INVITE", 2).lose(CALLER, "ACK", 1);
    story.dial().at(8000).hangup(CALLER).end_of_phones();
}

#[test]
fn accepted_never_an_ack() {
    let story = two("phones_accepted_never_an_ack", quick()).lose(CALLER, "ACK", 99).dial();
    story.ended(Cause::Bye).end_of_phones();
}

#[test]
fn lost_bye_and_its_200() {
    let story = two("phones_lost_bye_and_its_200", quick());
    let story = story.lose(CALLER, "BYE", 2).lose(CALLED, "200 BYE", 2);
    story.dial().at(1000).hangup(CALLER).end_of_phones();
}

#[test]
fn bye_and_its_200_doubled() {
    let story = two("phones_bye_and_its_200_doubled", quick());
    let story = story.double(CALLER, "BYE", 1000).double(CALLED, "200 BYE", 3000);
    story.dial().at(1000).hangup(CALLER).end_of_phones();
}

#[test]
fn bye_into_silence() {
    // Timer F gives up after 64·T1; the other phone never learns that the call is over.
    let story = two("phones_bye_into_silence", quick()).lose(CALLER, "BYE", 99);
    let story = story.dial().at(1000).hangup(CALLER).at(40_000);
    assert!(story.world.phone(CALLED).is_talking());
    story.hangup(CALLED).end_of_phones();
}

#[test]
fn lost_cancel_and_487() {
    let story = two("phones_lost_cancel_and_487", Answering::Never);
    let story =
        story.lose(CALLER, "CANCEL", 1).lose(CALLED, "487", 1).lose(CALLED, "200 CANCEL", 1);
    story.dial().at(1000).hangup(CALLER).end_of_phones();
}

#[test]
fn a_bye_overtakes_the_ack() {
    // The ACK takes the long way; the BYE of the caller arrives first.
    let mut story = two("phones_a_bye_overtakes_the_ack", quick());
    story.world.meddle(CALLER, "ACK", 1, Meddling::Take(Duration::from_millis(300)));
    story.dial().talking().hangup(CALLER).end_of_phones();
}

/// Two phones, the second of which does this when it is called.
fn two(trace: &'static str, answering: Answering) -> Story {
    let called = phone("called", 9).answering(answering);
    Story::with_phones(trace, phone("caller", 2), called)
}

/// Rings, and answers a fifth of a second later.
fn quick() -> Answering {
    Answering::After(Duration::from_millis(200))
}
