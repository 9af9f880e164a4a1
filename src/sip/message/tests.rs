//! Messages as stories: what is read, what is blamed, and that nothing that comes in can hurt.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::sip::{Printer, VIAS_MAX};

const INVITE: &str = "\r\nINVITE sip:200@ringback.example SIP/2.0\r\n\
    v: SIP/2.0/UDP 10.0.0.9:5062;rport;branch=z9hG4bKa, SIP/2.0/UDP [2001:db8::1];branch=z9hG4bKb\r\n\
    From  : \"Müller, \\\"K.\\\"\" <sip:100@ringback.example>\r\n ;tag=1\r\n\
    t:<sip:200@ringback.example>\r\n\
    CALL-ID: abc@10.0.0.9\r\n\
    CSeq: 0007 INVITE\r\n\
    Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n\
    m: <sip:100@10.0.0.9:5062>\r\n\
    Max-Forwards: 70\r\n\
    X-Note: \r\n\
    l: 4\r\n\
    \r\n\
    bodyand more";

fn source() -> SocketAddr {
    "192.0.2.7:4000".parse().unwrap()
}

/// What is wrong with `INVITE` after one replacement.
fn check(from: &str, to: &str, expected: Result<(), Flaw>) {
    assert!(INVITE.contains(from), "{from}");
    let changed = INVITE.replacen(from, to, 1);
    let found = Message::parse(changed.as_bytes()).unwrap().validate().map(drop);
    assert_eq!(found, expected, "{from:?} became {to:?}");
}

#[test]
fn an_invite_with_folds_lists_and_compact_forms() {
    let message = Message::parse(INVITE.as_bytes()).unwrap();
    assert_eq!(message.validate().map(drop), Ok(()));
    assert_eq!(message.body, b"body");
    assert_eq!(message.method(), Some(&Method::Invite));
    assert_eq!(message.request_uri().unwrap().user_decoded().unwrap(), "200");
    assert_eq!(message.via().unwrap().branch(), Some("z9hG4bKa"));
    assert_eq!(message.vias().count(), 2);
    assert_eq!(message.from().unwrap().tag(), Some("1"));
    assert_eq!(message.from().unwrap().display_name(), "Müller, \"K.\"");
    assert_eq!(message.call_id(), Ok("abc@10.0.0.9"));
    assert_eq!(message.cseq().unwrap().number, 7);
    assert_eq!(message.max_forwards(), Ok(Some(70)));
    assert_eq!(message.text(Name::Other), Some(""));
    let routes: Vec<_> = message.record_routes().map(|route| route.unwrap().uri_text).collect();
    assert_eq!(routes, ["sip:p1;lr", "sip:p2;lr"]);
}

#[test]
fn the_first_broken_rule_is_named() {
    check("body", "body", Ok(()));
    check("t:<sip:200@ringback.example>\r\n", "", Err(Flaw::Missing(Name::To)));
    check("X-Note: ", "To: <sip:x@y>", Err(Flaw::Repeated(Name::To)));
    check("X-Note: ", "no colon", Err(Flaw::FieldLine));
    check("X-Note: ", "X-Note: a\rb", Err(Flaw::LineBreak));
    check("X-Note: \r\n", "X-Note: a\n", Err(Flaw::LineBreak));
    check("X-Note: ", "X-Note: a\0b", Err(Flaw::Control));
    check("X-Note: ", "X-Note: \"a\\\0b\"", Ok(()));
    check("X-Note: ", "Content-Length: 5", Err(Flaw::Repeated(Name::ContentLength)));
    check("X-Note: ", "Content-Length: 4", Ok(()));
    check("l: 4", "l: -4", Err(Flaw::Malformed(Name::ContentLength)));
    check("l: 4", "l: 4, 4", Err(Flaw::Malformed(Name::ContentLength)));
    check("l: 4", "l: 13", Err(Flaw::BodyTruncated));
    check("l: 4\r\n\r\nbodyand more", "l: 0", Err(Flaw::HeadUnterminated));
    check("7 INVITE", "7 BYE", Err(Flaw::CSeqMethod));
    check("SIP/2.0\r\n", "SIP/7.0\r\n", Err(Flaw::Version));
    check("sip:200@ringback.example SIP", "sip:a?b=c SIP", Err(Flaw::RequestUri));
    check("INVITE sip", "INVITE  sip", Err(Flaw::StartLine));
    check("70", "256", Err(Flaw::Malformed(Name::MaxForwards)));
    check("X-Note: ", &"X: y\r\n".repeat(FIELDS_MAX), Err(Flaw::FieldsTooMany));
    check("X-Note: ", &format!("X-Note: {}", "y".repeat(HEAD_MAX)), Err(Flaw::HeadTooLong));
    let vias = vec!["SIP/2.0/UDP h"; VIAS_MAX].join(",");
    check("X-Note: ", &format!("Via: {vias}"), Err(Flaw::ViasTooMany));
}

#[test]
fn what_cannot_be_answered_is_no_message() {
    for (bytes, error) in [
        ("\r\n\r\n", ParseError::Empty),
        ("GET / HTTP/1.1\r\n\r\n", ParseError::NotSip),
        ("\0\0\0", ParseError::NotSip),
        ("SIP/2.0 4294967301 better\r\n\r\n", ParseError::Status),
        ("SIP/2.0 099 x\r\n\r\n", ParseError::Status),
    ] {
        assert_eq!(Message::parse(bytes.as_bytes()), Err(error), "{bytes:?}");
    }
    let bare = Message::parse(b"SIP/2.0 100 \r\n\r\n").unwrap();
    assert_eq!(bare.start, Start::Response { status: 100, reason: b"" });
}

#[test]
fn an_answer_goes_back_the_way_the_request_came() {
    let request = Message::parse(INVITE.as_bytes()).unwrap();
    let answer = Printer::answer(&request, 180, "me", source());
    let answer = answer.copy(&request, Name::RecordRoute).finish().unwrap();
    let expected = "SIP/2.0 180 Ringing\r\n\
        Via: SIP/2.0/UDP 10.0.0.9:5062;branch=z9hG4bKa;received=192.0.2.7;rport=4000, \
        SIP/2.0/UDP [2001:db8::1];branch=z9hG4bKb\r\n\
        From: \"Müller, \\\"K.\\\"\" <sip:100@ringback.example> ;tag=1\r\n\
        To: <sip:200@ringback.example>;tag=me\r\n\
        Call-ID: abc@10.0.0.9\r\n\
        CSeq: 0007 INVITE\r\n\
        Record-Route: <sip:p1;lr>, <sip:p2;lr>\r\n\
        Content-Length: 0\r\n\r\n";
    assert_eq!(String::from_utf8(answer).unwrap(), expected);
}

#[test]
fn nobody_brings_a_header_in_a_value() {
    for value in ["a\r\nX: y", "a\n", "\ra", "a\0"] {
        let printer = Printer::response(200).field(Name::Subject, value);
        assert!(printer.finish().is_err(), "{value:?}");
    }
    assert!(Printer::request(&Method::Bye, "sip:a\r\nX: y").finish().is_err());
    assert!(Printer::response(200).field_named("X Y", "z").finish().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        use_all(&bytes);
    }

    #[test]
    fn a_bent_invite_does_no_harm(
        cut in 0..INVITE.len(), bend in prop::collection::vec(any::<u8>(), 0..5), gone in 0..9_usize,
    ) {
        let mut bytes = INVITE.as_bytes().to_vec();
        let end = (cut + gone).min(bytes.len());
        bytes.splice(cut..end, bend);
        use_all(&bytes);
    }

    #[test]
    fn what_is_printed_is_read_again(
        fields in prop::collection::vec(("[a-zA-Z][a-zA-Z-]{0,30}", "[!-~äß]([ -~äß\t]{0,40}[!-~äß])?"), 0..20),
        body in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut printer = Printer::request(&Method::Options, "sip:a@b");
        for (name, value) in &fields {
            let is_length = Name::parse(name.as_bytes()) == Name::ContentLength;
            printer = printer.field_named(if is_length { "X-L" } else { name }, value);
        }
        let bytes = printer.body("a/b", &body).unwrap();
        let message = Message::parse(&bytes).unwrap();
        prop_assert_eq!(message.flaw, None);
        prop_assert_eq!(message.body, &body[..]);
        for (field, (_, value)) in message.fields.iter().zip(&fields) {
            prop_assert_eq!(field.text(), Some(value.as_str()));
        }
        prop_assert_eq!(message.fields.len(), fields.len() + 2);
    }
}

/// Reads everything there is to read, and answers it.
fn use_all(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    let is_sound = message.validate().is_ok();
    let _ = (message.contact(), message.session_expires(), message.rack(), message.min_se());
    let answer = Printer::answer(&message, 400, "me", source()).finish();
    assert!(answer.is_ok(), "{message:?}");
    assert!(message.fields.iter().all(|field| !field.value.contains(&b'\n')));
    if is_sound {
        assert_eq!(Message::parse(&answer.unwrap()).unwrap().validate().map(drop), Ok(()));
    }
}
