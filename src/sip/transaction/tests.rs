//! What the four machines do in time, told as a line of ticks.

use super::*;

const UDP: Transport = Transport::Udp;

/// Steps a machine by its own deadlines and writes what it asked for and when, in milliseconds.
fn until_over(next: impl Fn() -> Option<Tick>, mut fire: impl FnMut(Tick) -> Due) -> String {
    let mut told = Vec::new();
    while let Some(at) = next() {
        match fire(at) {
            Due::Nothing => {}
            Due::Resend => told.push(format!("{}", at.as_millis())),
            Due::GiveUp => told.push(format!("{} gives up", at.as_millis())),
        }
        assert!(told.len() < 100, "a machine that never ends: {told:?}");
    }
    told.join(", ")
}

macro_rules! check {
    ($machine:expr, |$m:ident, $now:ident| $fire:expr, $told:expr) => {{
        let machine = std::cell::RefCell::new($machine);
        let told = until_over(
            || machine.borrow().poll_timeout(),
            |$now| {
                let mut $m = machine.borrow_mut();
                $fire
            },
        );
        assert_eq!(told, $told);
    }};
}

#[test]
fn an_invite_nobody_hears_is_sent_seven_times_in_all() {
    let invite = InviteClient::start(UDP, &Timing::RFC, Tick::ZERO);
    check!(
        invite,
        |m, now| m.handle_timeout(now),
        "500, 1500, 3500, 7500, 15500, 31500, 32000 gives up"
    );
}

#[test]
fn a_request_nobody_hears_is_sent_at_most_every_t2() {
    let request = Client::start(UDP, &Timing::RFC, Tick::ZERO);
    check!(
        request,
        |m, now| m.handle_timeout(&Timing::RFC, now),
        "500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500, 32000 gives up"
    );
}

#[test]
fn nothing_is_sent_again_on_a_stream() {
    let invite = InviteClient::start(Transport::Tcp, &Timing::RFC, Tick::ZERO);
    check!(invite, |m, now| m.handle_timeout(now), "32000 gives up");
    let request = Client::start(Transport::Tls, &Timing::RFC, Tick::ZERO);
    check!(request, |m, now| m.handle_timeout(&Timing::RFC, now), "32000 gives up");
}

#[test]
fn a_2xx_is_sent_until_the_ack_even_on_a_stream() {
    let mut invite = InviteServer::start(Tick::ZERO);
    assert!(invite.handle_response(200, Transport::Tcp, &Timing::RFC, Tick::ZERO));
    check!(
        invite,
        |m, now| {
            if now.as_millis() == 7500 {
                assert!(m.handle_ack(Transport::Tcp, &Timing::RFC, now));
                assert!(!m.handle_ack(Transport::Tcp, &Timing::RFC, now));
            }
            m.handle_timeout(&Timing::RFC, now)
        },
        "500, 1500, 3500"
    );
}

#[test]
fn a_2xx_without_ack_is_given_up_after_64_t1() {
    let mut invite = InviteServer::start(Tick::ZERO);
    assert!(invite.handle_response(200, UDP, &Timing::RFC, Tick::ZERO));
    check!(
        invite,
        |m, now| m.handle_timeout(&Timing::RFC, now),
        "500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500, 32000 gives up"
    );
}

#[test]
fn a_failure_is_sent_until_the_ack_then_absorbs() {
    let mut invite = InviteServer::start(Tick::ZERO);
    assert!(invite.handle_response(486, UDP, &Timing::RFC, Tick::ZERO));
    assert!(invite.answers_copies());
    assert_eq!(invite.handle_timeout(&Timing::RFC, Tick::from_millis(500)), Due::Resend);
    assert!(invite.handle_ack(UDP, &Timing::RFC, Tick::from_millis(600)));
    assert!(!invite.answers_copies());
    assert_eq!(invite.poll_timeout(), Some(Tick::from_millis(5600)));
    check!(invite, |m, now| m.handle_timeout(&Timing::RFC, now), "");
}

#[test]
fn a_caller_hears_the_100_after_200_ms_and_the_ringing_every_minute() {
    let mut invite = InviteServer::start(Tick::ZERO);
    assert_eq!(invite.handle_timeout(&Timing::RFC, Tick::from_millis(199)), Due::Nothing);
    assert_eq!(invite.handle_timeout(&Timing::RFC, Tick::from_millis(200)), Due::Resend);
    assert!(invite.handle_response(180, UDP, &Timing::RFC, Tick::from_millis(1000)));
    assert_eq!(invite.poll_timeout(), Some(Tick::from_millis(61_000)));
}

#[test]
fn copies_of_a_final_response_are_acknowledged_again_or_absorbed() {
    let mut heard = Vec::new();
    for statuses in [[180, 200, 200, 486], [100, 486, 486, 200]] {
        let mut invite = InviteClient::start(UDP, &Timing::RFC, Tick::ZERO);
        heard.extend(
            statuses.map(|status| invite.handle_response(status, UDP, &Timing::RFC, Tick::ZERO)),
        );
    }
    let story = [Heard::Deliver, Heard::Deliver, Heard::Repeated, Heard::Absorb];
    assert_eq!(heard, [story, story].concat());
}

/// A peer that rings on, or whose ringing comes twice, does not make a cancelled call live longer.
#[test]
fn a_cancelled_invite_ends_after_64_t1_although_it_still_rings() {
    let mut invite = InviteClient::start(UDP, &Timing::RFC, Tick::ZERO);
    invite.handle_response(180, UDP, &Timing::RFC, Tick::from_millis(100));
    invite.handle_cancel(&Timing::RFC, Tick::from_millis(1000));
    invite.handle_response(180, UDP, &Timing::RFC, Tick::from_millis(1500));
    check!(invite, |m, now| m.handle_timeout(now), "33000 gives up");
}

#[test]
fn a_cancelled_invite_without_final_answer_ends_after_64_t1() {
    let mut invite = InviteClient::start(UDP, &Timing::RFC, Tick::ZERO);
    invite.handle_response(180, UDP, &Timing::RFC, Tick::from_millis(100));
    invite.handle_cancel(&Timing::RFC, Tick::from_millis(1000));
    check!(invite, |m, now| m.handle_timeout(now), "33000 gives up");
}

#[test]
fn an_answered_request_absorbs_copies_for_its_timer() {
    let mut client = Client::start(UDP, &Timing::RFC, Tick::ZERO);
    let heard = [100, 200, 200].map(|s| client.handle_response(s, UDP, &Timing::RFC, Tick::ZERO));
    assert_eq!(heard, [Heard::Deliver, Heard::Deliver, Heard::Absorb]);
    assert_eq!(client.poll_timeout(), Some(Tick::from_millis(5000)));

    let mut server = Server::start(&Timing::RFC, Tick::ZERO);
    assert!(!server.answers_copies());
    assert!(server.handle_response(200, UDP, &Timing::RFC, Tick::ZERO));
    assert!(server.answers_copies());
    assert!(!server.handle_response(500, UDP, &Timing::RFC, Tick::ZERO));
    check!(server, |m, now| m.handle_timeout(now), "");
}
