//! What must hold for any bytes: each target is a function that panics when it does not.
//!
//! `cargo test` calls the same functions with the seeds; `fuzz/run` lets libFuzzer look for worse.

pub mod flows;

use std::net::SocketAddr;

use ringback::base::{Rng, Tick};
use ringback::sdp::{self, Description, Direction, Encoding, Local};
use ringback::sip::{
    Config, Endpoint, Field, Flow, Frame, Framer, Message, Method, Name, Printer, Start, Timing,
    Transport, digest,
};

/// A datagram: whatever it is, it is read, judged and answered by an endpoint without harm; a
/// sound request has an answer that is sound itself and belongs to it.
pub fn message(bytes: &[u8]) {
    let endpoint = Config {
        user_agent: "fuzz".to_owned(),
        advertised: None,
        dialogs_max: 4,
        transactions_max: 16,
        timing: Timing::RFC,
        serves: vec![Method::Register],
        session_expires: None,
    };
    let mut endpoint = Endpoint::new(endpoint, Rng::new(1));
    // Twice: the second is a copy.
    for turn in 0..2 {
        let now = Tick::from_millis(turn * 100);
        endpoint.handle_message(flow(), bytes, now);
        while let Some(sent) = endpoint.poll_transmit() {
            Message::parse(&sent.bytes).expect("what is sent can be read");
        }
        while endpoint.poll_event().is_some() {}
    }
    let Ok(message) = Message::parse(bytes) else { return };
    look_at(&message);
    if message.validate().is_err() {
        return;
    }
    let Start::Request { .. } = message.start else { return };
    let answer = Printer::answer(&message, 486, "tag", flow().remote).finish();
    let answer = answer.expect("what was read can be printed again");
    let answer = Message::parse(&answer).expect("what was printed can be read");
    assert_eq!(answer.status(), Some(486));
    assert_eq!(answer.call_id(), message.call_id());
    assert_eq!(answer.cseq().map(|cseq| cseq.number), message.cseq().map(|cseq| cseq.number));
    assert_eq!(answer.vias().count(), message.vias().count());
    assert_eq!(answer.fields_of(Name::To).count(), 1);
}

/// Every reader that a message has.
fn look_at(message: &Message<'_>) {
    let _ = (message.request_uri(), message.via(), message.from(), message.to());
    let _ = (message.call_id(), message.cseq(), message.max_forwards(), message.content_type());
    let _ = (message.expires(), message.content_length());
    for contact in message.contacts().flatten() {
        let _ = contact.address().map(|address| (address.expires(), address.display_name()));
    }
    let routes = message.routes().chain(message.record_routes());
    routes.flatten().for_each(|route| drop(route.uri.to_string()));
    message.values(Name::Require).for_each(drop);
    for name in [Name::Authorization, Name::WwwAuthenticate] {
        for text in message.fields_of(name).filter_map(Field::text) {
            let _ = (digest::Challenge::parse(text), digest::Credentials::parse(text));
        }
    }
}

/// A stream: the first byte says how it is cut; the frames are the same for every cut, and none is
/// made of what was not sent.
pub fn framing(bytes: &[u8]) {
    let Some((size, stream)) = bytes.split_first() else { return };
    let whole = frames(stream, stream.len().max(1));
    assert_eq!(whole, frames(stream, usize::from(*size).max(1)), "frames depend on the cuts");
    let total = whole.iter().map(|(_, bytes)| bytes.len()).sum::<usize>();
    assert!(total <= stream.len());
    for (kind, message) in &whole {
        if *kind == "message" {
            let _ = Message::parse(message).map(|message| message.validate().map(drop));
        }
    }
}

fn frames(stream: &[u8], size: usize) -> Vec<(&'static str, Vec<u8>)> {
    let (mut framer, mut frames) = (Framer::new(), Vec::new());
    for piece in stream.chunks(size) {
        framer.push(piece);
        while let Some(framed) = framer.next() {
            frames.push(match framed {
                Ok(Frame::Message(bytes)) => ("message", bytes),
                Ok(Frame::Ping) => ("ping", Vec::new()),
                Ok(Frame::Pong) => ("pong", Vec::new()),
                Err(error) => ("error", error.head),
            });
        }
    }
    frames.push(("rest", framer.give_up()));
    frames
}

/// An offer: it is refused, or answered by a description that has a line for each of its lines,
/// offers nothing that was not offered, and can be settled on.
pub fn sdp(bytes: &[u8]) {
    let Ok(offer) = Description::parse(bytes) else { return };
    let local = Local {
        address: SocketAddr::from(([192, 0, 2, 1], 20_000)),
        encodings: Encoding::ALL.to_vec(),
        events: true,
        direction: Direction::SendRecv,
        session_id: 1,
        version: 1,
    };
    let Ok((answer, negotiated)) = sdp::answer(bytes, &local) else { return };
    let answered = Description::parse(&answer).expect("an answer of ours can be read");
    assert_eq!(answered.sections.len(), offer.sections.len());
    let audio = answered.audio().expect("an answered offer has audio");
    let offered = &offer.audio().expect("there was audio to answer").payload_types;
    assert!(audio.payload_types.iter().all(|one| offered.contains(one)));
    assert!(offered.contains(&negotiated.payload_type));
    // Nobody sends audio to himself, so it is settled elsewhere.
    let there = Local { address: SocketAddr::from(([192, 0, 2, 9], 20_000)), ..local };
    sdp::settle(&answer, &there).expect("we can do what we answered");
}

fn flow() -> Flow {
    let at = |host| SocketAddr::from(([192, 0, 2, host], 5060));
    Flow { transport: Transport::Udp, local: at(1), remote: at(2), connection: 0 }
}
