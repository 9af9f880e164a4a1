//! Offers and answers as two phones would make them.

use proptest::prelude::*;

use super::*;

fn local() -> Local {
    Local {
        address: "192.0.2.1:4000".parse().unwrap(),
        encodings: Encoding::ALL.to_vec(),
        events: true,
        direction: Direction::SendRecv,
        session_id: 1,
        version: 1,
    }
}

fn offer_of(media: &str) -> String {
    format!(
        "v=0\r\no=- 5 7 IN IP4 198.51.100.9\r\ns=-\r\nc=IN IP4 198.51.100.9\r\nt=0 0\r\n{media}"
    )
}

fn answered(media: &str) -> (String, Negotiated) {
    let (body, agreed) = answer(offer_of(media).as_bytes(), &local()).unwrap();
    (String::from_utf8(body).unwrap(), agreed)
}

#[test]
fn takes_the_callers_first_codec_and_his_number_for_digits() {
    let (body, agreed) = answered(
        "m=audio 5004 RTP/AVP 18 8 0 96\r\na=rtpmap:96 telephone-event/8000\r\na=ptime:30\r\n",
    );
    assert_eq!(
        body,
        "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
         m=audio 4000 RTP/AVP 8 96\r\na=rtpmap:8 PCMA/8000\r\n\
         a=rtpmap:96 telephone-event/8000\r\na=fmtp:96 0-15\r\na=ptime:30\r\na=sendrecv\r\n"
    );
    assert_eq!(agreed.remote, Some("198.51.100.9:5004".parse().unwrap()));
    assert_eq!((agreed.encoding, agreed.event_payload_type), (Encoding::Pcma, Some(96)));
    assert_eq!(agreed.ptime.millis(), 30);
}

#[test]
fn a_hold_is_answered_recvonly_and_an_inactive_one_inactive() {
    let ours = |attribute: &str| {
        let (body, agreed) = answered(&format!("m=audio 5004 RTP/AVP 0\r\na={attribute}\r\n"));
        assert!(body.ends_with(&format!("a={}\r\n", agreed.direction.name())));
        agreed.direction
    };
    assert_eq!(ours("sendonly"), Direction::RecvOnly);
    assert_eq!(ours("recvonly"), Direction::SendOnly);
    assert_eq!(ours("inactive"), Direction::Inactive);
    assert_eq!(ours("sendrecv"), Direction::SendRecv);
}

#[test]
fn the_hold_of_rfc_2543_has_nowhere_to_send_to() {
    let (_, agreed) = answered("m=audio 5004 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n");
    assert_eq!((agreed.remote, agreed.direction), (None, Direction::RecvOnly));
}

#[test]
fn other_media_is_refused_in_its_place() {
    let (body, _) = answered("m=video 6000 RTP/AVP 96\r\nm=audio 5004 RTP/AVP 0\r\n");
    let media = body.lines().filter(|line| line.starts_with("m=")).collect::<Vec<_>>();
    assert_eq!(media, ["m=video 0 RTP/AVP 96", "m=audio 4000 RTP/AVP 0"]);
}

#[test]
fn a_refused_line_without_a_known_format_can_still_be_read() {
    let (body, _) = answered("m=audio 1 RTP/AVP 8\r\nm=audio 0 RTP/AVP 130\r\n");
    assert!(Description::parse(body.as_bytes()).is_ok(), "{body}");
}

#[test]
fn what_cannot_be_done_is_488_and_what_cannot_be_read_400() {
    let status = |media: &str| answer(offer_of(media).as_bytes(), &local()).unwrap_err().status();
    assert_eq!(status("m=audio 5004 RTP/AVP 18\r\na=rtpmap:18 G729/8000\r\n"), 488);
    assert_eq!(status("m=audio 5004 RTP/SAVP 0\r\n"), 488);
    assert_eq!(status("m=video 5004 RTP/AVP 0\r\n"), 488);
    assert_eq!(status("m=audio 70000 RTP/AVP 0\r\n"), 400);
    assert_eq!(status("m=audio 5004 RTP/AVP 0\r\nc=IN IP4 239.1.1.1\r\n"), 400);
    assert_eq!(status(&"m=audio 5004 RTP/AVP 0\r\n".repeat(MEDIA_BOMB)), 400);
    assert_eq!(answer(b"", &local()).unwrap_err().status(), 400);
}

const MEDIA_BOMB: usize = 1000;

#[test]
fn our_offer_is_settled_by_an_answer_of_ours() {
    let body = offer(&local());
    let there = Local { address: "198.51.100.9:5004".parse().unwrap(), ..local() };
    let (answer, seen_there) = answer(&body, &there).unwrap();
    let seen_here = settle(&answer, &local()).unwrap();
    assert_eq!(seen_here, Negotiated { remote: Some(there.address), ..seen_there });
    assert_eq!(seen_there.remote, Some(local().address));
    assert_eq!(seen_here.event_payload_type, Some(EVENT_PAYLOAD_TYPE));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = answer(&body, &local());
    }

    #[test]
    fn arbitrary_lines_never_panic_and_an_answer_stays_within_the_offer(
        lines in proptest::collection::vec("[vocsmat]=[ -~]{0,40}|m=audio [0-9]{1,6} RTP/AVP [0-9 ]{0,12}|a=rtpmap:[0-9]{1,3} (PCMU|pcma|telephone-event)/8000|c=IN IP4 [0-9.]{1,15}", 0..12)
    ) {
        let offer = offer_of(&lines.join("\r\n"));
        if let Ok((body, agreed)) = answer(offer.as_bytes(), &local()) {
            let theirs = Description::parse(offer.as_bytes()).unwrap();
            let ours = Description::parse(&body).unwrap();
            prop_assert_eq!(ours.sections.len(), theirs.sections.len());
            let audio = theirs.audio().unwrap();
            prop_assert!(audio.payload_types.contains(&agreed.payload_type));
            if let Some(number) = agreed.event_payload_type {
                prop_assert!(audio.payload_types.contains(&number));
            }
        }
    }
}

#[test]
fn every_codec_is_taken_with_its_map_and_digits_at_its_clock_rate() {
    let media = "m=audio 5004 RTP/AVP 97 9 98 99\r\na=rtpmap:97 L16/8000/1\r\n\
                 a=rtpmap:98 telephone-event/48000\r\na=rtpmap:99 telephone-event/8000\r\n";
    let (body, agreed) = answered(media);
    assert!(body.contains("m=audio 4000 RTP/AVP 97 99\r\na=rtpmap:97 L16/8000\r\n"), "{body}");
    assert_eq!((agreed.encoding, agreed.event_payload_type), (Encoding::L16, Some(99)));

    let (body, agreed) = answered("m=audio 5004 RTP/AVP 9 0\r\n");
    assert!(body.contains("a=rtpmap:9 G722/8000\r\n"), "{body}");
    assert_eq!(agreed.encoding, Encoding::G722);

    let (_, agreed) = answered("m=audio 5004 RTP/AVP 97 96 8\r\na=rtpmap:97 L16/8000/2\r\n");
    assert_eq!(agreed.encoding, Encoding::Pcma, "stereo is not ours, and 96 means nothing alone");
}

#[test]
fn a_list_of_codecs_limits_what_is_offered_and_taken() {
    let local = Local { encodings: vec![Encoding::Pcma], ..local() };
    let offer = String::from_utf8(offer(&local)).unwrap();
    assert!(offer.contains("RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\n"), "{offer}");
    let taken = |media: &str| answer(offer_of(media).as_bytes(), &local).map(|(_, agreed)| agreed);
    assert_eq!(taken("m=audio 5004 RTP/AVP 9 0 8\r\n").unwrap().encoding, Encoding::Pcma);
    assert_eq!(taken("m=audio 5004 RTP/AVP 9 0\r\n"), Err(Unacceptable::NoCommonEncoding));
}

/// What is said to somebody whose description is this, seen from outside of this machine.
fn status(body: &[u8]) -> Option<u16> {
    answer(body, &local()).err().map(Unacceptable::status)
}

#[test]
fn descriptions_that_are_bombs_are_refused_and_cost_little() {
    let sound = "m=audio 5004 RTP/AVP 0\r\n";
    let many = |line: &str, times: usize| offer_of(&format!("{sound}{}", line.repeat(times)));
    let at = |address: &str| offer_of(&format!("{sound}c=IN IP4 {address}\r\n"));
    let refused = [
        (400, many("m=audio 5004 RTP/AVP 0\r\n", 1000)),
        (400, many("a=rtpmap:96 x/8000\r\n", 10_000)),
        (400, many("a=x\r\n", 70_000)),
        (400, at(&"9".repeat(512))),
        (400, at("255.255.255.255")),
        (400, at("239.1.2.3")),
        (400, at("127.0.0.1")),
        (400, offer_of("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.1\r\n")),
        (400, offer_of("m=audio 4294967301 RTP/AVP 0\r\n")),
        (400, many("a=ptime:4294967296\r\n", 1)),
        (488, offer_of("m=audio 5004 RTP/AVP 4294967296\r\n")),
        (488, offer_of("m=audio 0 RTP/AVP 0\r\n")),
        (488, offer_of("m=audio 5004 RTP/SAVPF 111\r\n")),
    ];
    for (expected, body) in refused {
        assert_eq!(status(body.as_bytes()), Some(expected), "{:.120}", body);
    }
    let borne = [
        many("a=ptime:0\r\n", 1),
        many("a=ptime:1000000000\r\n", 1),
        many("a=fmtp:0 \0\0mode=\0\r\n", 1),
        at("0.0.0.0"),
    ];
    for body in borne {
        assert_eq!(status(body.as_bytes()), None, "{:.200}", body);
    }
}
