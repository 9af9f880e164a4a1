//! Session timers between two endpoints: who refreshes, how, and what ends a call whose peer is gone.

use super::*;

/// A world in which these sides ask for a session of so many seconds.
fn world(asks: [Option<u64>; 2]) -> World {
    let mut world = World::new();
    world.ends = [0, 1].map(|end| {
        let session_expires = asks[end].map(Duration::from_secs);
        Endpoint::new(Config { session_expires, ..config() }, Rng::new(end as u64 + 1))
    });
    world
}

/// A call of 100 ms, whose beginning is no part of the story, and the 200 that began it.
fn talking(mut world: World) -> (World, String) {
    world.call();
    world.until(20);
    world.accept();
    let answer = sent(&world);
    world.until(100);
    world.story.clear();
    (world, answer)
}

/// The message that is on the wire.
fn sent(world: &World) -> String {
    let (_, bytes) = world.wire.values().next_back().unwrap();
    String::from_utf8_lossy(bytes).into_owned()
}

/// Whether a message has this line.
fn says(message: &str, line: &str) -> bool {
    message.lines().any(|said| said == line)
}

#[test]
fn the_caller_asks_and_refreshes_by_update_at_half_time() {
    let (mut world, answer) = talking(world([Some(200), None]));
    assert!(says(&answer, "Session-Expires: 200;refresher=uac"), "{answer}");
    assert!(says(&answer, "Require: timer"), "{answer}");
    world.until(100_030);
    let update = sent(&world);
    assert!(update.starts_with("UPDATE "), "{update}");
    assert!(says(&update, "Session-Expires: 200;refresher=uac"), "{update}");
    world.until(201_000);
    world.hangup(0);
    world.until(202_000);
    world.check(
        "
     100030 ──▶ UPDATE
     100040 ◀── 200 UPDATE
     200050 ──▶ UPDATE
     200060 ◀── 200 UPDATE
     201000 ──▶ BYE
     201000 a * ended Local
     201010 ◀── 200 BYE
     201010 b * ended Bye
        ",
    );
}

#[test]
fn the_called_asks_and_the_caller_refreshes() {
    let (mut world, answer) = talking(world([None, Some(1800)]));
    assert!(says(&answer, "Session-Expires: 1800;refresher=uac"), "{answer}");
    world.until(1_000_000);
    world.check(
        "
     900030 ──▶ UPDATE
     900040 ◀── 200 UPDATE
        ",
    );
}

#[test]
fn nobody_asks_and_nobody_refreshes() {
    let (mut world, answer) = talking(world([None, None]));
    assert!(!answer.contains("Session-Expires"), "{answer}");
    world.until(1_000_000);
    world.check("");
}

#[test]
fn a_caller_that_is_gone_is_not_refreshed_and_the_called_hangs_up() {
    let (mut world, _) = talking(world([Some(200), None]));
    world.ends[0] = Endpoint::new(config(), Rng::new(3));
    world.dialogs[0] = None;
    world.until(200_000);
    // 32 s before the end (RFC 4028 §10), with the reason.
    world.check(
        "
     168020 ◀── BYE
     168020 b * ended Expired
     168030 ──▶ 481 BYE
        ",
    );
}

#[test]
fn a_refresh_into_silence_ends_the_call() {
    let (mut world, _) = talking(world([Some(600), None]));
    world.lose("UPDATE", 99);
    world.until(300_000);
    world.story.clear();
    world.until(400_000);
    let end = "332030 ──▶ BYE 332030 a * ended Gone 332040 ◀── 200 BYE 332040 b * ended Bye";
    let told = world.story.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.ends_with(end), "{}", world.story);
    world.story.clear();
    world.check("");
}

#[test]
fn a_peer_that_forgot_the_call_ends_it_at_the_refresh() {
    let (mut world, _) = talking(world([Some(200), None]));
    world.ends[1] = Endpoint::new(config(), Rng::new(3));
    world.dialogs[1] = None;
    world.until(101_000);
    world.check(
        "
     100030 ──▶ UPDATE
     100040 ◀── 481 UPDATE
     100050 ──▶ BYE
     100050 a * ended Gone
     100060 ◀── 481 BYE
        ",
    );
}

#[test]
fn a_session_that_is_too_short_is_told_the_shortest() {
    let mut world = world([Some(200), None]);
    world.call();
    let (_, (_, invite)) = world.wire.pop_first().unwrap();
    let invite = String::from_utf8_lossy(&invite).into_owned();
    assert!(
        says(&invite, "Session-Expires: 200") && says(&invite, "Supported: timer, 100rel"),
        "{invite}"
    );
    world.inject(1, &invite.replace("Session-Expires: 200", "Session-Expires: 89"));
    assert!(says(&sent(&world), "Min-SE: 90"), "{}", sent(&world));
    // Who does not know the extension cannot be told: a proxy may have asked for it (§9).
    let other = invite.replace("Session-Expires: 200", "Session-Expires: 60");
    let other =
        other.replace("Supported: timer, 100rel\r\n", "").replace("branch=", "branch=z9hG4bKx;x=");
    world.wire.clear();
    world.inject(1, &other.replace("Call-ID: ", "Call-ID: x"));
    world.accept();
    let answer = sent(&world);
    assert!(says(&answer, "Session-Expires: 90;refresher=uas"), "{answer}");
    assert!(!answer.contains("Require"), "{answer}");
    world.wire.clear();
    world.check(
        "
          0 ──▶ INVITE
          0 ◀── 422 INVITE
          0 b * invite
          0 ◀── 200 INVITE
        ",
    );
}

#[test]
fn a_422_is_met_with_a_longer_session_once() {
    let mut world = world([Some(200), None]);
    world.call();
    for (min_se, number) in [(600, 1), (900, 2)] {
        let (_, (_, invite)) = world.wire.pop_first().unwrap();
        let invite = String::from_utf8_lossy(&invite).into_owned();
        assert!(says(&invite, &format!("CSeq: {number} INVITE")), "{invite}");
        let named = ["Via", "From", "Call-ID", "CSeq"];
        let head = invite.lines().filter(|line| named.iter().any(|name| line.starts_with(name)));
        let head: String = head.map(|line| format!("{line}\r\n")).collect();
        let refusal = format!(
            "SIP/2.0 422 x\r\n{head}To: <sip:bob@192.0.2.2>;tag=t{number}\r\nMin-SE: {min_se}\r\n\
             Content-Length: 0\r\n\r\n"
        );
        world.inject(0, &refusal);
        world.wire.retain(|_, (_, bytes)| bytes.starts_with(b"INVITE "));
        if number == 1 {
            let again = sent(&world);
            assert!(says(&again, "Session-Expires: 600") && says(&again, "Min-SE: 600"), "{again}");
        }
    }
    world.check(
        "
          0 ──▶ INVITE
          0 ──▶ ACK
          0 ──▶ INVITE
          0 ──▶ ACK
          0 a * ended Rejected { status: 422 }
        ",
    );
}

#[test]
fn a_peer_without_update_is_refreshed_by_the_users_offer() {
    let mut world = world([Some(200), None]);
    world.call();
    world.until(20);
    world.accept();
    // The 200 that arrives knows no UPDATE.
    let answer = sent(&world).replace("INFO, UPDATE", "INFO");
    world.wire.clear();
    world.until(30);
    world.inject(0, &answer);
    world.until(100_040);
    world.tell(0, |a, dialog, now| a.offer(dialog, Some(Body::sdp("v=0\r\n")), now));
    let offer = sent(&world);
    assert!(says(&offer, "Session-Expires: 200;refresher=uac"), "{offer}");
    world.until(100_060);
    world.tell(1, |b, dialog, now| b.answer_offer(dialog, Ok(None), now));
    let answer = sent(&world);
    assert!(says(&answer, "Session-Expires: 200;refresher=uac"), "{answer}");
    world.until(150_000);
    world.check(
        "
          0 ──▶ INVITE
         10 b * invite
         20 ◀── 200 INVITE
         30 ──▶ ACK
         30 a * answered
         40 b * acknowledged
     100030 a * refresh due
     100040 ──▶ INVITE
     100050 b * offer
     100060 ◀── 200 INVITE
     100070 ──▶ ACK
     100070 a * offer answered 200
     100080 b * acknowledged
        ",
    );
}
