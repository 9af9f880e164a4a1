//! What one message costs: reading an INVITE with its usual headers, and printing the answer.

use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr};

use divan::counter::BytesCount;
use divan::{AllocProfiler, Bencher};
use ringback::sip::{Message, Name, Printer};

#[global_allocator]
static ALLOCATIONS: AllocProfiler<tikv_jemallocator::Jemalloc> =
    AllocProfiler::new(tikv_jemallocator::Jemalloc);

const SDP: &str = "v=0\r\no=- 3915 3915 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\n\
    m=audio 40000 RTP/AVP 8 0 9 111 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:9 G722/8000\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n\
    a=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n";

fn main() {
    divan::main();
}

/// 1.2 kB, as a desk phone sends it.
fn invite() -> Vec<u8> {
    let head = "INVITE sip:200@ringback.example.com SIP/2.0\r\n\
        Via: SIP/2.0/UDP 192.0.2.7:5062;rport;branch=z9hG4bK.4kd93~2ls0\r\n\
        From: \"Reception, first floor\" <sip:100@ringback.example.com>;tag=8xj3Kd02\r\n\
        To: <sip:200@ringback.example.com>\r\n\
        Call-ID: 7f3a9c1e-55d0-4b7e-9d1f-0a2c6be1f3aa@192.0.2.7\r\n\
        CSeq: 20 INVITE\r\n\
        Contact: <sip:100@192.0.2.7:5062;transport=udp>;+sip.instance=\"<urn:uuid:1f2e>\"\r\n\
        Max-Forwards: 70\r\n\
        Allow: INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, INFO, UPDATE, PRACK\r\n\
        Supported: replaces, timer, 100rel, outbound, gruu\r\n\
        Session-Expires: 1800;refresher=uac\r\n\
        Min-SE: 90\r\n\
        Route: <sip:ringback.example.com;lr>\r\n\
        Date: Sat, 21 Nov 2026 09:30:00 GMT\r\n\
        Allow-Events: presence, message-summary, refer\r\n\
        User-Agent: Desk Phone 4.2.1 (build 1180; 0a1b2c3d4e5f; firmware de-DE)\r\n\
        Accept: application/sdp, application/dtmf-relay\r\n\
        P-Asserted-Identity: <sip:100@ringback.example.com>\r\n\
        Content-Type: application/sdp\r\n";
    format!("{head}Content-Length: {}\r\n\r\n{SDP}", SDP.len()).into_bytes()
}

fn source() -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, 7), 5062).into()
}

#[divan::bench]
fn parse_invite(bencher: Bencher<'_, '_>) {
    let bytes = invite();
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| Message::parse(black_box(&bytes)));
}

#[divan::bench]
fn parse_invite_and_six_headers(bencher: Bencher<'_, '_>) {
    let bytes = invite();
    bencher.counter(BytesCount::of_slice(&bytes)).bench(|| {
        let message = Message::parse(black_box(&bytes)).expect("an INVITE");
        assert!(black_box(&message.via()).is_ok(), "a Via");
        assert!(black_box(&message.from()).is_ok(), "a From");
        assert!(black_box(&message.to()).is_ok(), "a To");
        assert!(black_box(&message.call_id()).is_ok(), "a Call-ID");
        assert!(black_box(&message.cseq()).is_ok(), "a CSeq");
        assert!(black_box(&message.contact()).is_ok(), "a Contact");
        message.fields.len()
    });
}

#[divan::bench]
fn parse_and_validate_invite(bencher: Bencher<'_, '_>) {
    let bytes = invite();
    bencher
        .counter(BytesCount::of_slice(&bytes))
        .bench(|| Message::parse(black_box(&bytes)).map(|message| message.validate().map(drop)));
}

#[divan::bench]
fn print_200(bencher: Bencher<'_, '_>) {
    let bytes = invite();
    let request = Message::parse(&bytes).expect("an INVITE");
    bencher.bench(|| {
        Printer::answer(black_box(&request), 200, "t3xK9", source())
            .field(Name::Contact, "<sip:ringback@192.0.2.1:5060>")
            .body("application/sdp", SDP.as_bytes())
    });
}
