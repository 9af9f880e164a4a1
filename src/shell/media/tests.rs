//! Real sockets on loopback, each test at an address of its own.

use std::net::Ipv4Addr;
use std::sync::mpsc;

use super::*;
use crate::shell::wake;

const LEG: LegId = LegId(0);
const PORT: u16 = 20_000;

/// A media thread that has one leg open, what it tells signalling, and what other threads hold.
fn with_a_leg(address: Ipv4Addr) -> (MediaThread, Inbox<Input>, impl Sized) {
    let (to_media, inbox) = wake::channel(16).unwrap();
    let (reports, from_media) = wake::channel(16).unwrap();
    let (recordings, takes) = mpsc::sync_channel(1);
    let clock = Clock::start();
    let mut media =
        MediaThread::new(inbox, reports, recordings, 4, clock, Rng::new(1)).expect("an epoll");
    media.open(LEG, PORT, bind_audio(at(address, PORT)).expect("a free port"));
    (media, from_media, (to_media, takes))
}

fn at(address: Ipv4Addr, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}

fn read(media: &mut MediaThread) {
    media.receive_all(Urgency::Patient, &mut Vec::new(), &mut [0; 2048]);
}

/// A packet of G.711 with nothing in it but silence.
fn silence() -> Vec<u8> {
    let mut packet = vec![0x80, 0, 0, 1, 0, 0, 0, 160, 0, 0, 0, 7];
    packet.resize(12 + 160, 0xff);
    packet
}

/// RFC 3550 §11: RTCP is one port above RTP, and both are there as soon as there is audio.
#[test]
fn the_rtcp_port_is_bound_with_the_first_audio_that_comes() {
    let address = Ipv4Addr::new(127, 0, 91, 1);
    let (mut media, _told, _held) = with_a_leg(address);
    read(&mut media);
    bind_audio(at(address, PORT + 1)).expect("nobody has the RTCP port of a leg that is silent");

    let phone = bind_audio(at(address, 30_000)).unwrap();
    phone.send_to(&silence(), at(address, PORT)).unwrap();
    read(&mut media);
    let error = bind_audio(at(address, PORT + 1)).expect_err("the leg has its RTCP port");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);

    media.close(LEG);
    bind_audio(at(address, PORT + 1)).expect("a leg that is over has no port");
}

#[test]
fn the_first_report_leaves_from_the_rtcp_port() {
    let address = Ipv4Addr::new(127, 0, 91, 2);
    let (mut media, _told, _held) = with_a_leg(address);
    let phone = bind_audio(at(address, 30_001)).unwrap();
    media.table.send(LEG, Channel::Rtcp, at(address, 30_001), b"report");
    let mut buffer = [0; 16];
    let (length, from) = phone.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"report"[..], at(address, PORT + 1)));
}

#[test]
fn audio_comes_and_goes_where_another_program_has_the_rtcp_port() {
    let address = Ipv4Addr::new(127, 0, 91, 3);
    let _other = bind_audio(at(address, PORT + 1)).unwrap();
    let (mut media, told, _held) = with_a_leg(address);
    let phone = bind_audio(at(address, 30_000)).unwrap();
    phone.send_to(&silence(), at(address, PORT)).unwrap();
    read(&mut media);
    let mut buffer = [0; 16];
    let sockets = media.table.places[0].as_ref().unwrap();
    assert!(sockets.rtp.recv_from(&mut buffer).is_err(), "what came was read");
    assert!(matches!(sockets.rtcp, Rtcp::Failed));
    media.report();
    let Some(Input::Media(report)) = told.take() else { panic!("signalling was not told") };
    assert_eq!(report, Report::Refused { leg: LEG, why: media::Refusal::NoRtcp });
    media.table.send(LEG, Channel::Rtcp, at(address, 30_001), b"report");
    media.table.send(LEG, Channel::Rtp, at(address, 30_000), b"audio");
    let (length, from) = phone.recv_from(&mut buffer).unwrap();
    assert_eq!((&buffer[..length], from), (&b"audio"[..], at(address, PORT)));
    media.report();
    assert!(told.take().is_none(), "once is enough");
}
