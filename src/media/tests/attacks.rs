//! What strangers send at our ports: none of it is heard, answered or believed.

use super::*;

/// Somebody who is no party of the call.
fn stranger() -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 9], 666))
}

fn rtp_packet(payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; rtp::HEADER];
    let header = rtp::Header { marker: false, payload_type, sequence, timestamp, ssrc: 0xBAD };
    header.write(&mut packet);
    [packet.as_slice(), payload].concat()
}

impl World {
    /// A packet of a stranger at the server's port of a leg; what it makes the server send goes on.
    fn attack(&mut self, leg: LegId, channel: Channel, from: SocketAddr, packet: &[u8]) {
        let wire = &mut self.sent;
        self.shards[SERVER].handle_packet(leg, channel, from, packet, wire, self.now);
        self.collect(SERVER);
    }

    fn closed(&mut self, leg: LegId) -> Statistics {
        self.tell(SERVER, Command::Close { leg });
        let Some(Report::Closed { statistics, .. }) = self.reports[SERVER].last() else {
            panic!("closed is the last report")
        };
        *statistics
    }
}

/// What a phone was sent of a bridged call, with or without somebody who sprays both ports.
fn heard_under_spray(is_sprayed: bool) -> (Vec<Vec<u8>>, usize) {
    let mut world = World::new(&[(ANN, Codec::Pcmu), (BOB, Codec::Pcmu)]);
    world.hum(ANN, 400);
    world.hum(BOB, 500);
    world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
    let mut to_stranger = 0;
    for packet in 0..400_u16 {
        world.run(100 + u64::from(packet) * 5);
        if is_sprayed {
            let sound = rtp_packet(0, packet, u32::from(packet) * 160, &[0x80; FRAME]);
            for leg in [ANN, BOB] {
                world.attack(leg, Channel::Rtp, stranger(), &sound);
                world.attack(leg, Channel::Rtcp, stranger(), &[0x80, 201, 0, 1, 0, 0, 0, 1]);
            }
        }
        let sent = &world.sent.packets;
        to_stranger += sent.iter().filter(|(_, _, to, _)| to.ip() == stranger().ip()).count();
    }
    let heard = world.heard[&BOB].iter().map(|(_, packet)| packet.clone()).collect();
    (heard, to_stranger)
}

#[test]
fn nobody_bleeds_to_a_sprayer_and_nothing_of_him_is_heard() {
    let (quiet, _) = heard_under_spray(false);
    let (sprayed, to_stranger) = heard_under_spray(true);
    assert_eq!(to_stranger, 0);
    assert!(quiet.len() > 90, "{}", quiet.len());
    assert_eq!(quiet, sprayed, "byte for byte");
}

#[test]
fn digits_of_a_third_address_and_odd_digits_of_the_caller_count_once_or_not_at_all() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    world.hum(ANN, 400);
    world.run(200);
    let kind = event_type(ANN);
    let event = |code: u8, end: bool, duration: u16| {
        let [high, low] = duration.to_be_bytes();
        [code, u8::from(end) << 7 | 10, high, low]
    };
    for sequence in 0..3 {
        let packet = rtp_packet(kind, sequence, 7, &event(9, true, 800));
        world.attack(ANN, Channel::Rtp, stranger(), &packet);
    }
    assert_eq!(digits_of(&world.reports[SERVER], ANN), "", "injected");

    // (sequence, timestamp, code, end, duration) from the phone itself.
    let pressed = [
        (10, 1600, 5, true, 65_535),
        (11, 1600, 5, true, 65_535),
        (9, 1600, 5, false, 160),
        (12, 1600, 5, true, 0),
        (14, 4800, 6, true, 800),
        (13, 4800, 6, false, 160),
        (8, 1600, 5, true, 800),
        (15, 8000, 200, true, 800),
    ];
    for (sequence, timestamp, code, end, duration) in pressed {
        let packet = rtp_packet(kind, sequence, timestamp, &event(code, end, duration));
        world.attack(ANN, Channel::Rtp, address(PHONES, ANN), &packet);
    }
    assert_eq!(digits_of(&world.reports[SERVER], ANN), "56");
}

#[test]
fn rtcp_that_lies_about_its_length_is_dropped_and_the_call_stays() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    world.hum(ANN, 400);
    world.play(SERVER, ANN, 1, Source::Clip(prompt()), true);
    world.run(500);
    let ours = rtp::parse(&world.heard[&ANN][0].1).unwrap().0.ssrc.to_be_bytes();
    let bye = [[0x81, 203, 0, 1].as_slice(), &ours].concat();
    let blocks = [[0x9F, 201, 0, 187].as_slice(), &[0; 748]].concat();
    let from = SocketAddr::new(address(PHONES, ANN).ip(), address(PHONES, ANN).port() + 1);
    let packets: [&[u8]; 8] = [
        &[],
        &[0x80, 200, 0, 0],
        &[0x80, 200, 0, 6, 1, 2, 3],
        &[0x9F, 201, 0, 1, 0, 0, 0, 1],
        &[0x81, 201, 0xFF, 0xFF, 0, 0, 0, 1],
        &[0x80, 201, 0, 1, 0, 0, 0, 1, 0x81, 202, 0, 9, 0, 0],
        &bye,
        &blocks,
    ];
    for packet in packets {
        world.attack(ANN, Channel::Rtcp, from, packet);
        world.attack(ANN, Channel::Rtp, address(PHONES, ANN), packet);
    }
    let (played, end) = (world.sound(ANN, 0, 500).len(), 2500);
    world.run(end);
    assert!(world.sound(ANN, 0, end).len() >= played + 15_000, "the prompt goes on");
    let statistics = world.closed(ANN);
    assert!(statistics.packets_malformed >= 8, "{statistics:?}");
    assert_eq!(statistics.packets_lost, 0);
}

#[test]
fn late_packets_of_the_call_that_had_the_port_before_are_not_believed() {
    let earlier = stranger();
    let late = rtp_packet(0, 1, 160, &[0x80; FRAME]);
    let heard = |until_ms: u64, remote: SocketAddr| {
        let mut world = World::new(&[(ANN, Codec::Pcmu)]);
        let stream = Stream { remote, ..stream(SERVER, ANN, Codec::Pcmu) };
        world.tell(SERVER, Command::Configure { leg: ANN, stream });
        let until = Tick::from_millis(until_ms);
        world.tell(SERVER, Command::Shun { leg: ANN, source: earlier, until });
        world.run(100);
        world.attack(ANN, Channel::Rtp, earlier, &late);
        (world.shards[SERVER].source(ANN), world.closed(ANN).packets_foreign)
    };
    let phone = address(PHONES, ANN);
    assert_eq!(heard(25_000, phone), (None, 1));
    assert_eq!(heard(50, phone), (Some(earlier), 0), "its time is over");
    assert_eq!(heard(25_000, earlier), (Some(earlier), 0), "the same phone calls again");
}
