//! Requests that break a rule, and those that need no dialog.

use proptest::prelude::*;

use super::*;
use crate::base::Rng;

const VIA: &str = "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKx\r\n";

/// A request of `a`, with lines to replace by their header name.
fn request(method: &str, changes: &[&str]) -> String {
    let mut lines = vec![
        format!("{method} sip:bob@192.0.2.2 SIP/2.0"),
        VIA.trim_end().to_owned(),
        "Max-Forwards: 70".to_owned(),
        "From: <sip:alice@192.0.2.1>;tag=a1".to_owned(),
        "To: <sip:bob@192.0.2.2>".to_owned(),
        "Call-ID: call-1".to_owned(),
        format!("CSeq: 1 {method}"),
        "Contact: <sip:alice@192.0.2.1>".to_owned(),
        "Content-Length: 0".to_owned(),
    ];
    for change in changes {
        let name = change.split_once(':').map_or("", |(name, _)| name);
        let place = lines.iter_mut().find(|line| line.split(':').next() == Some(name));
        match place {
            _ if !change.contains(": ") => lines[0] = (*change).to_owned(),
            Some(line) => *line = (*change).to_owned(),
            None => lines.insert(1, (*change).to_owned()),
        }
    }
    lines.join("\r\n") + "\r\n\r\n"
}

/// What `b` answers to a request, with the headers whose name begins with `shown`.
fn answer(endpoint: &mut Endpoint, request: &str, shown: &str) -> String {
    let flow = World::new().flow(1);
    endpoint.handle_message(flow, request.as_bytes(), Tick::ZERO);
    let Some(transmit) = endpoint.poll_transmit() else { return "nothing".to_owned() };
    assert_eq!(endpoint.poll_transmit(), None);
    let text = String::from_utf8_lossy(&transmit.bytes).into_owned();
    let mut lines = text.lines();
    let mut told = lines.next().unwrap().trim_start_matches("SIP/2.0 ").to_owned();
    for line in lines.filter(|line| !shown.is_empty() && line.starts_with(shown)) {
        told += " | ";
        told += line;
    }
    told
}

fn endpoint() -> Endpoint {
    Endpoint::new(config(), Rng::new(2))
}

#[test]
fn what_breaks_a_rule_hears_which_one() {
    let in_dialog = "To: <sip:bob@192.0.2.2>;tag=none";
    for (method, changes, shown, wanted) in [
        ("INVITE", &["Max-Forwards: 0"][..], "", "483 Too Many Hops"),
        (
            "INVITE",
            &["Require: eventlist, gruu"],
            "Unsu",
            "420 Bad Extension | Unsupported: eventlist, gruu",
        ),
        ("INVITE", &["INVITE http://x SIP/2.0"], "", "416 Unsupported URI Scheme"),
        ("INVITE", &["INVITE sip:b@h SIP/7.0"], "", "505 Version Not Supported"),
        (
            "INVITE",
            &["Content-Encoding: gzip"],
            "Accept",
            "415 Unsupported Media Type | Accept-Encoding: identity",
        ),
        ("INVITE", &["From: nonsense"], "", "400 Malformed From Header"),
        ("INVITE", &["CSeq: 1 BYE"], "", "400 CSeq Method Mismatch"),
        ("INVITE", &[in_dialog], "", "481 Call/Transaction Does Not Exist"),
        ("BYE", &[in_dialog], "", "481 Call/Transaction Does Not Exist"),
        ("INFO", &[in_dialog], "", "481 Call/Transaction Does Not Exist"),
        ("BYE", &[], "", "481 Call/Transaction Does Not Exist"),
        ("CANCEL", &[], "", "481 Call/Transaction Does Not Exist"),
        ("ACK", &[in_dialog], "", "nothing"),
        ("ACK", &["From: nonsense"], "", "nothing"),
        ("DANCE", &[], "", "501 Not Implemented"),
        ("PRACK", &[], "", "481 Call/Transaction Does Not Exist"),
        (
            "REFER",
            &[],
            "Allow",
            "405 Method Not Allowed | Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REGISTER, MESSAGE",
        ),
        ("INVITE", &["Replaces: x;to-tag=1;from-tag=2"], "", "481 Call/Transaction Does Not Exist"),
        ("OPTIONS", &[], "Accept:", "200 OK | Accept: application/sdp"),
    ] {
        let mut endpoint = endpoint();
        let told = answer(&mut endpoint, &request(method, changes), shown);
        assert_eq!(told, wanted, "{method} {changes:?}");
        let event = endpoint.poll_event();
        assert!(matches!(event, None | Some(Event::BadInput { .. })), "{event:?}");
        assert_eq!((endpoint.gauges(), endpoint.poll_event()), (Gauges::default(), None));
    }
}

#[test]
fn bad_input_is_told_with_its_source_method_and_rule() {
    let told = |bytes: &str| {
        let mut endpoint = endpoint();
        answer(&mut endpoint, bytes, "");
        match endpoint.poll_event() {
            Some(Event::BadInput { method, status, rule, .. }) => {
                format!("{method} {status} {rule}")
            }
            other => format!("{other:?}"),
        }
    };
    let broken = request("INVITE", &["From: nonsense"]);
    assert_eq!(told(&broken), "INVITE 400 Malformed From Header");
    assert_eq!(told("GET / HTTP/1.1\r\n\r\n"), " 0 no start line of SIP");
    let answer = broken.replacen("INVITE sip:bob@192.0.2.2 SIP/2.0", "SIP/2.0 200 OK", 1);
    assert_eq!(told(&answer), " 0 Malformed From Header");
    assert_eq!(told(&request("BYE", &[])), "None");
}

#[test]
fn who_cannot_take_sdp_is_told_so() {
    let told = |accept: &str| answer(&mut endpoint(), &request("INVITE", &[accept]), "Warning");
    let refused =
        "406 Not Acceptable | Warning: 399 ringback \"Accept leaves out application/sdp\"";
    assert_eq!(told("Accept: text/plain, x/y"), refused);
    assert_eq!(told("Accept: "), refused);
    for accept in ["text/plain, application/SDP;q=0.5", "*/*", "application/*"] {
        assert_eq!(told(&format!("Accept: {accept}")), "nothing", "{accept}");
    }
    assert_eq!(answer(&mut endpoint(), &request("OPTIONS", &["Accept: x/y"]), ""), "200 OK");
}

#[test]
fn a_broken_request_is_answered_where_it_came_from() {
    // Its Via may be what is broken: even a port that it names is not believed.
    for via in
        ["Via: SIP/2.0/UDP 192.0.2.1:9;;,;,,", "Via: SIP/7.0/UDP h:9", "Via: SIP/2.0/UDP h:9"]
    {
        let mut endpoint = endpoint();
        let flow = World::new().flow(1);
        let request = request("INVITE", &[via, "From: nonsense"]);
        endpoint.handle_message(flow, request.as_bytes(), Tick::ZERO);
        assert_eq!(endpoint.poll_transmit().map(|sent| sent.flow), Some(flow), "{via}");
    }
}

#[test]
fn a_client_that_uses_a_branch_again_is_not_taken_for_its_own_copy() {
    let mut endpoint = endpoint();
    assert_eq!(answer(&mut endpoint, &request("MESSAGE", &[]), ""), "nothing");
    let Some(Event::Request { request: id, .. }) = endpoint.poll_event() else { panic!("nothing") };
    endpoint.respond(id, 405, &[], None, Tick::ZERO);
    assert!(endpoint.poll_transmit().is_some());
    assert_eq!(answer(&mut endpoint, &request("MESSAGE", &[]), ""), "405 Method Not Allowed");
    let other = request("MESSAGE", &["Call-ID: call-2"]);
    assert_eq!(answer(&mut endpoint, &other, ""), "nothing");
    assert!(matches!(endpoint.poll_event(), Some(Event::Request { .. })));
}

#[test]
fn a_body_nobody_can_read_is_refused() {
    let text = request("INVITE", &["Content-Type: text/plain", "Content-Length: 2"]) + "hi";
    assert_eq!(
        answer(&mut endpoint(), &text, "Accept"),
        "415 Unsupported Media Type | Accept: application/sdp"
    );
}

#[test]
fn a_response_goes_where_the_request_came_from() {
    let via = "Via: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bKx;rport";
    let told = answer(&mut endpoint(), &request("OPTIONS", &[via]), "Via");
    assert!(told.contains("received=192.0.2.1") && told.contains("rport=5060"), "{told}");
}

#[test]
fn a_stateless_refusal_has_the_same_tag_for_every_copy() {
    let mut endpoint = endpoint();
    let copies = [0, 1].map(|_| answer(&mut endpoint, &request("BYE", &[]), "To"));
    assert_eq!(copies[0], copies[1]);
    assert!(copies[0].contains(";tag="));
}

#[test]
fn a_request_on_two_paths_is_served_once() {
    let mut endpoint = endpoint();
    assert_eq!(answer(&mut endpoint, &request("INVITE", &[]), ""), "nothing");
    let other = request("INVITE", &["Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKother"]);
    assert_eq!(answer(&mut endpoint, &other, ""), "482 Loop Detected");
}

#[test]
fn a_full_house_says_when_to_come_back() {
    let config = Config { dialogs_max: 1, ..config() };
    let mut endpoint = Endpoint::new(config, Rng::new(2));
    assert_eq!(answer(&mut endpoint, &request("INVITE", &[]), ""), "nothing");
    let second = ["Call-ID: call-2", "Via: SIP/2.0/UDP 192.0.2.1:5060;rport;branch=z9hG4bKy"];
    let told = answer(&mut endpoint, &request("INVITE", &second), "Retry-After");
    let wait = told.strip_prefix("503 Service Unavailable | Retry-After: ").unwrap();
    assert!((1..=8).contains(&wait.parse().unwrap()), "{told}");
    let outgoing = World::new().outgoing();
    assert_eq!(endpoint.invite(outgoing, Tick::ZERO), Err(NotSent::Full));
    assert_eq!(endpoint.counters().overloaded, 1);
}

#[test]
fn a_cancel_after_the_200_changes_nothing() {
    let mut endpoint = endpoint();
    assert_eq!(answer(&mut endpoint, &request("INVITE", &[]), ""), "nothing");
    let Some(Event::Invite { dialog, .. }) = endpoint.poll_event() else { panic!("no call") };
    endpoint.accept(dialog, None, Tick::ZERO);
    assert!(endpoint.poll_transmit().is_some());
    assert_eq!(answer(&mut endpoint, &request("CANCEL", &[]), ""), "200 OK");
    assert_eq!(endpoint.poll_event(), None);
    assert_eq!(endpoint.gauges().dialogs, 1);
    // A copy of the INVITE gets the 200 again.
    assert_eq!(answer(&mut endpoint, &request("INVITE", &[]), ""), "200 OK");
}

#[test]
fn nothing_handed_in_becomes_a_header_of_its_own() {
    let mut world = World::new();
    let mut outgoing = world.outgoing();
    outgoing.headers.push(("Subject".to_owned(), "x\r\nEvil: yes".to_owned()));
    assert_eq!(world.ends[0].invite(outgoing, Tick::ZERO), Err(NotSent::Unprintable));
    assert_eq!(world.ends[0].counters().unprintable, 1);
    assert_eq!(world.ends[0].gauges(), Gauges::default());
}

#[test]
fn a_request_of_ours_has_one_outcome() {
    let mut world = World::new();
    let outgoing = Outgoing { body: None, ..world.outgoing() };
    for method in [Method::Register, Method::Options] {
        world.ends[0].request(method, outgoing.clone(), world.now).unwrap();
    }
    world.drain();
    world.until(100);
    world.check(
        "
          0 ──▶ REGISTER
          0 ──▶ OPTIONS
         10 b * request
         10 ◀── 200 REGISTER
         10 ◀── 200 OPTIONS
         20 a * response 200
         20 a * response 200
        ",
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in 0usize..300,
        with in any::<u8>(),
    ) {
        let mut endpoint = endpoint();
        let flow = World::new().flow(1);
        endpoint.handle_message(flow, &bytes, Tick::ZERO);
        for method in ["INVITE", "ACK", "CANCEL", "BYE"] {
            let mut bent = request(method, &[]).into_bytes();
            let at = at.min(bent.len() - 1);
            bent[at] = with;
            endpoint.handle_message(flow, &bent, Tick::ZERO);
        }
        let response = request("INVITE", &["SIP/2.0 200 OK"]);
        endpoint.handle_message(flow, response.as_bytes(), Tick::ZERO);
    }
}
