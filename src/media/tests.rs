//! Calls by ear: a server and its phones, each a shard, over a wire of simulated time.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::base::{Rng, Tick};

mod attacks;
mod listening;

const ANN: LegId = LegId(0);
const BOB: LegId = LegId(5);
const SERVER: usize = 0;
const PHONES: usize = 1;

/// Two shards with the same legs, each leg of one wired to its twin of the other.
struct World {
    now: Tick,
    shards: [Shard; 2],
    sent: Sent,
    rng: Rng,
    loss_percent: u8,
    reports: [Vec<Report>; 2],
    /// What each phone was sent: when, and the packet.
    heard: BTreeMap<LegId, Vec<(Tick, Vec<u8>)>>,
}

#[derive(Default)]
struct Sent {
    packets: Vec<(LegId, Channel, SocketAddr, Vec<u8>)>,
    /// Recordings by number, a list of samples for each channel.
    recorded: BTreeMap<u64, Vec<Vec<i16>>>,
}

impl Wire for Sent {
    fn send(&mut self, leg: LegId, channel: Channel, to: SocketAddr, packet: &[u8]) {
        self.packets.push((leg, channel, to, packet.to_vec()));
    }

    fn record(&mut self, recorder: u64, _index: u64, channels: &[&[i16; FRAME]]) {
        let recording =
            self.recorded.entry(recorder).or_insert_with(|| vec![Vec::new(); channels.len()]);
        for (channel, sound) in recording.iter_mut().zip(channels) {
            channel.extend_from_slice(*sound);
        }
    }
}

/// RTP of a leg on one of the shards, RTCP above it.
fn address(shard: usize, leg: LegId) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, shard as u8], 10_000 + 2 * leg.index() as u16))
}

/// Differs between legs, so that a relay must map it.
const fn event_type(leg: LegId) -> u8 {
    100 + leg.index() as u8
}

fn stream(side: usize, leg: LegId, codec: Codec) -> Stream {
    Stream {
        remote: address(1 - side, leg),
        codec,
        payload_type: codec.usual_payload_type(),
        event_payload_type: Some(event_type(leg)),
        sending: true,
        receiving: true,
    }
}

impl World {
    /// Phones with these codecs, answered.
    fn new(phones: &[(LegId, Codec)]) -> Self {
        let shard = |seed| Shard::new(Config::STANDARD, Rng::new(seed));
        let mut world = Self {
            now: Tick::ZERO,
            shards: [shard(1), shard(2)],
            sent: Sent::default(),
            rng: Rng::new(3),
            loss_percent: 0,
            reports: [Vec::new(), Vec::new()],
            heard: BTreeMap::new(),
        };
        for (leg, codec) in phones.iter().copied() {
            for side in [SERVER, PHONES] {
                world.tell(side, Command::Open { leg });
                let stream = stream(side, leg, codec);
                world.tell(side, Command::Configure { leg, stream });
            }
        }
        world
    }

    fn tell(&mut self, side: usize, command: Command) {
        self.shards[side].handle_command(command, self.now);
        self.collect(side);
    }

    fn play(&mut self, side: usize, leg: LegId, player: u64, source: Source, repeat: bool) {
        self.tell(side, Command::Play { leg, player, source, repeat, ducking: 1.0 });
    }

    /// Lets the phone of a leg hum.
    fn hum(&mut self, leg: LegId, frequency: u32) {
        let tone = Tone::parse(&format!("{frequency}/1000")).unwrap();
        self.play(PHONES, leg, 99, Source::Tone(tone), true);
    }

    /// Runs until `millis` after the beginning; a packet takes one phase of 5 ms.
    fn run(&mut self, millis: u64) {
        while self.now < Tick::from_millis(millis) {
            let phase = (self.now.as_millis() / 5 % 4) as u8;
            let arriving = std::mem::take(&mut self.sent.packets);
            for side in [SERVER, PHONES] {
                self.shards[side].tick(phase, &mut self.sent, self.now);
                self.collect(side);
            }
            for (leg, channel, to, packet) in arriving {
                self.deliver(leg, channel, to, &packet);
            }
            self.now += Duration::from_millis(5);
        }
    }

    fn deliver(&mut self, leg: LegId, channel: Channel, to: SocketAddr, packet: &[u8]) {
        if self.rng.percent(self.loss_percent) {
            return;
        }
        let side = usize::from(to.ip() == address(PHONES, leg).ip());
        if side == PHONES && channel == Channel::Rtp {
            self.heard.entry(leg).or_default().push((self.now, packet.to_vec()));
        }
        let mut from = address(1 - side, leg);
        from.set_port(from.port() + u16::from(channel == Channel::Rtcp));
        let wire = &mut self.sent;
        self.shards[side].handle_packet(leg, channel, from, packet, wire, self.now);
        self.collect(side);
    }

    fn collect(&mut self, side: usize) {
        while let Some(report) = self.shards[side].poll_report() {
            self.reports[side].push(report);
        }
    }

    /// What a phone heard from `from` to `to`, in milliseconds, decoded.
    fn sound(&self, leg: LegId, from: u64, to: u64) -> Vec<i16> {
        let time = Tick::from_millis(from)..Tick::from_millis(to);
        let mut decoders: BTreeMap<u8, codec::Decoder> = BTreeMap::new();
        let mut sound = Vec::new();
        for (_, packet) in self.heard[&leg].iter().filter(|(at, _)| time.contains(at)) {
            let (header, payload) = rtp::parse(packet).unwrap();
            let spoken = |codec: &Codec| codec.usual_payload_type() == header.payload_type;
            let is_event = header.payload_type == event_type(leg);
            let Some(codec) = Codec::ALL.into_iter().find(spoken).filter(|_| !is_event) else {
                continue;
            };
            let decoder =
                decoders.entry(header.payload_type).or_insert_with(|| codec::Decoder::new(codec));
            let mut samples = vec![0; codec.samples(payload.len())];
            decoder.decode(payload, &mut samples);
            sound.extend(samples);
        }
        sound
    }

    /// Which of the hums a phone heard clearly in a span of time.
    fn hears(&self, leg: LegId, from: u64, to: u64) -> Vec<u32> {
        let sound = self.sound(leg, from, to);
        let is_heard = |hum: &u32| ear::power(&sound, *hum as f32) > 1e6;
        [400, 500, 600, 700].into_iter().filter(is_heard).collect()
    }

    /// One SSRC, no gap in the sequence, timestamps that follow the time of arrival, and a marker
    /// after each silence.
    fn check_continuity(&self, leg: LegId) {
        let (mut first, mut before) = (None, None);
        for (at, packet) in &self.heard[&leg] {
            let (header, _) = rtp::parse(packet).unwrap();
            let context = format!("{header:?} at {at} after {before:?}");
            let (begin, begun) = *first.get_or_insert((*at, header));
            let last = before.replace(header).unwrap_or(header);
            let step = header.sequence.wrapping_sub(last.sequence);
            assert_eq!(step, u16::from(header != begun), "{context}");
            assert_eq!(header.ssrc, begun.ssrc, "{context}");
            if header.payload_type == event_type(leg) {
                continue;
            }
            let passed = header.timestamp.wrapping_sub(begun.timestamp) as i32;
            let elapsed = (at.since(begin).as_micros() / 125) as i32;
            assert!((passed - elapsed).abs() <= 480, "{context}");
            let is_after_sound = last.payload_type != event_type(leg);
            let paused = is_after_sound && header.timestamp.wrapping_sub(last.timestamp) > 480;
            assert!(header.marker || !(paused || header == begun), "{context}");
        }
    }
}

fn digits(leg: LegId, text: &str) -> Command {
    let (duration, gap) = (Duration::from_millis(100), Duration::from_millis(60));
    Command::SendDigits { leg, digits: Digits::parse(text).unwrap(), duration, gap }
}

fn digits_of(reports: &[Report], of: LegId) -> String {
    let digit = |report: &Report| match report {
        Report::Digit { leg, digit, .. } => (*leg == of).then_some(*digit),
        Report::PlayerDone { .. }
        | Report::DigitsSent { .. }
        | Report::Watched { .. }
        | Report::RecorderDone { .. }
        | Report::Lost { .. }
        | Report::Refused { .. }
        | Report::Panicked { .. }
        | Report::Closed { .. } => None,
    };
    reports.iter().filter_map(digit).collect()
}

/// Half a second in which every moment sounds different.
fn prompt() -> Arc<Clip> {
    let mut rng = Rng::new(8);
    let noise: Vec<i16> = (0..4000).map(|_| rng.below(8000) as i16 - 4000).collect();
    Arc::new(Clip::from_samples(noise).unwrap())
}

#[test]
fn a_prompt_is_heard_whole_and_its_end_is_told() {
    for codec in [Codec::Pcmu, Codec::Pcma] {
        let mut world = World::new(&[(ANN, codec)]);
        world.play(SERVER, ANN, 7, Source::Clip(prompt()), false);
        world.run(1000);

        let heard = ear::find(&world.sound(ANN, 0, 1000), prompt().samples()).unwrap();
        assert_eq!(heard.lag, 0);
        assert!(heard.coefficient > 0.999, "{codec:?}: {heard:?}");
        let (played, end) = (Duration::from_millis(500), PlayerEnd::Completed);
        let done = Report::PlayerDone { leg: ANN, player: 7, played, end };
        assert_eq!(world.reports[SERVER], [done]);
        world.check_continuity(ANN);
    }
}

#[test]
fn music_then_bridge_then_whisper_then_silence_on_one_time_line() {
    let mut world = World::new(&[(ANN, Codec::Pcmu), (BOB, Codec::Pcma)]);
    let music = || Source::Tone(Tone::parse("700/1000").unwrap());
    world.hum(ANN, 400);
    world.hum(BOB, 500);
    world.play(SERVER, ANN, 1, music(), true);
    world.run(500);
    world.tell(SERVER, Command::StopAll { leg: ANN });
    world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
    world.run(1000);
    world.play(SERVER, ANN, 2, music(), true);
    world.run(1500);
    world.tell(SERVER, Command::Stop { leg: ANN, player: 2 });
    world.run(2000);
    world.tell(SERVER, Command::Unbridge { leg: BOB });
    world.run(3000);
    world.play(SERVER, ANN, 3, music(), true);
    world.run(3500);

    assert_eq!(world.hears(ANN, 100, 500), [700], "hold music alone");
    assert_eq!(world.hears(ANN, 550, 1000), [500], "bob, transcoded");
    assert_eq!(world.hears(BOB, 550, 2000), [400], "ann, and nothing of what she hears");
    assert_eq!(world.hears(ANN, 1100, 1500), [500, 700], "bob under the music");
    assert_eq!(world.hears(ANN, 1550, 2000), [500]);
    assert!(world.sound(ANN, 2010, 3000).is_empty(), "nothing is sent into silence");
    assert_eq!(world.hears(ANN, 3050, 3500), [700]);
    world.check_continuity(ANN);
    world.check_continuity(BOB);
}

#[test]
fn a_held_phone_is_sent_nothing_and_its_time_goes_on() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    world.play(SERVER, ANN, 1, Source::Clip(prompt()), false);
    world.run(200);
    let active = stream(SERVER, ANN, Codec::Pcmu);
    let held = Stream { sending: false, ..active };
    world.tell(SERVER, Command::Configure { leg: ANN, stream: held });
    world.run(800);
    assert!(world.sound(ANN, 210, 800).is_empty());
    assert_eq!(world.reports[SERVER].len(), 1, "the prompt came to its end unheard");

    world.tell(SERVER, Command::Configure { leg: ANN, stream: active });
    world.play(SERVER, ANN, 2, Source::Clip(prompt()), false);
    world.run(1500);
    assert!(!world.sound(ANN, 800, 1500).is_empty());
    world.check_continuity(ANN);
}

#[test]
fn digits_come_through_loss_once_each() {
    for seed in 0..20 {
        let mut world = World::new(&[(ANN, Codec::Pcmu)]);
        (world.rng, world.loss_percent) = (Rng::new(seed), 30);
        world.tell(PHONES, digits(ANN, "1337*#0D"));
        world.run(2000);
        assert_eq!(digits_of(&world.reports[SERVER], ANN), "1337*#0D", "seed {seed}");
        assert_eq!(world.reports[PHONES], [Report::DigitsSent { leg: ANN }]);
    }
}

#[test]
fn digits_are_relayed_over_a_bridge_also_under_music() {
    let mut world = World::new(&[(ANN, Codec::Pcmu), (BOB, Codec::Pcma)]);
    world.hum(ANN, 400);
    world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
    world.run(100);
    world.tell(PHONES, digits(ANN, "12"));
    world.run(1000);
    world.play(SERVER, BOB, 1, Source::Tone(Tone::busy(Country::Ru)), true);
    world.tell(PHONES, digits(ANN, "34"));
    world.run(1300);
    world.tell(SERVER, Command::StopAll { leg: BOB });
    world.run(2000);
    for side in [SERVER, PHONES] {
        let leg = if side == SERVER { ANN } else { BOB };
        assert_eq!(digits_of(&world.reports[side], leg), "1234");
    }
    world.check_continuity(BOB);
}

#[test]
fn a_digit_pressed_while_we_press_one_is_relayed_after_it() {
    let mut world = World::new(&[(ANN, Codec::Pcmu), (BOB, Codec::Pcmu)]);
    world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
    world.tell(SERVER, digits(BOB, "1"));
    world.run(40);
    world.tell(PHONES, digits(ANN, "2"));
    world.run(1000);
    assert_eq!(digits_of(&world.reports[PHONES], BOB), "12");
    world.check_continuity(BOB);
}

#[test]
fn both_sides_learn_loss_and_round_trip_from_rtcp() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    world.hum(ANN, 400);
    world.play(SERVER, ANN, 1, Source::Clip(prompt()), true);
    world.loss_percent = 10;
    world.run(60_000);
    world.tell(SERVER, Command::Close { leg: ANN });

    let Some(Report::Closed { statistics, .. }) = world.reports[SERVER].last() else {
        panic!("closed is the last report")
    };
    let near_tenth = |lost: i64| (200..400).contains(&lost);
    assert_eq!((statistics.packets_sent, statistics.octets_sent), (3000, 480_000));
    assert!(near_tenth(statistics.packets_lost), "{statistics:?}");
    assert!(near_tenth(statistics.remote_lost.unwrap().into()), "{statistics:?}");
    let round_trip = statistics.round_trip.unwrap().as_millis();
    assert!((9..=11).contains(&round_trip), "two phases of 5 ms: {statistics:?}");
    assert_eq!(world.shards[SERVER].gauges(), Gauges::default());
}

#[test]
fn strangers_and_rubbish_are_counted_and_a_silent_leg_is_lost() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    world.hum(ANN, 400);
    world.run(200);
    let stranger = SocketAddr::from(([203, 0, 113, 9], 666));
    let digit = [0x80, event_type(ANN), 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 5, 10, 0, 160];
    for packet in [digit.as_slice(), &digit[..11], &[0x40; 20]] {
        let wire = &mut world.sent;
        world.shards[SERVER].handle_packet(ANN, Channel::Rtp, stranger, packet, wire, world.now);
    }
    world.tell(PHONES, Command::StopAll { leg: ANN });
    world.run(31_000);
    assert_eq!(world.reports[SERVER], [Report::Lost { leg: ANN }]);
    world.tell(SERVER, Command::Close { leg: ANN });
    let Some(Report::Closed { statistics, .. }) = world.reports[SERVER].last() else {
        panic!("closed is the last report")
    };
    assert_eq!((statistics.packets_foreign, statistics.packets_malformed), (1, 2));
}

#[test]
fn a_leg_that_rests_is_played_to_at_its_next_tick() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    for turn in 1..=11 {
        // From all places within its rest.
        let begins = 1000 * turn + 20 * turn;
        world.run(begins);
        assert!(world.heard.remove(&ANN).is_none_or(|heard| heard.len() == 5), "turn {turn}");
        world.play(SERVER, ANN, turn, Source::Clip(prompt()), true);
        world.run(begins + 100);
        world.tell(SERVER, Command::Stop { leg: ANN, player: turn });
    }
    world.run(20_000);
    assert_eq!(world.heard[&ANN].len(), 5);
}

#[test]
fn commands_end_the_rest_and_only_what_plays_ends_idleness() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    let states = |world: &World| {
        let shard = &world.shards[SERVER];
        (shard.is_idle(), shard.is_at_rest())
    };
    assert_eq!(states(&world), (false, false));
    world.run(1_200);
    assert_eq!(states(&world), (true, true));
    world.tell(SERVER, Command::PassEvents { leg: ANN, is_on: true });
    assert_eq!(states(&world), (true, false));
    world.run(1_300);
    assert_eq!(states(&world), (true, false));
    world.play(SERVER, ANN, 1, Source::Clip(prompt()), true);
    world.run(1_400);
    assert_eq!(states(&world), (false, false));
    world.tell(SERVER, Command::Stop { leg: ANN, player: 1 });
    world.run(2_600);
    assert_eq!(states(&world), (true, true));
}

#[test]
fn what_cannot_be_done_is_refused() {
    let mut world = World::new(&[(ANN, Codec::Pcmu)]);
    let mut refused = |leg: LegId, command: Command| {
        world.tell(SERVER, command);
        let report = world.reports[SERVER].pop();
        move |why: Refusal| assert_eq!(report, Some(Report::Refused { leg, why }))
    };
    let beyond = LegId(4096);
    let next_tenant = LegId(ANN.0 | 1 << 32);
    refused(beyond, Command::Open { leg: beyond })(Refusal::LegBeyondMax);
    refused(next_tenant, Command::Open { leg: next_tenant })(Refusal::LegExists);
    refused(next_tenant, Command::Close { leg: next_tenant })(Refusal::UnknownLeg);
    refused(ANN, Command::Bridge { a: ANN, b: ANN })(Refusal::BridgeToItself);
    let no_event = Stream { event_payload_type: None, ..stream(SERVER, ANN, Codec::Pcmu) };
    world.tell(SERVER, Command::Configure { leg: ANN, stream: no_event });
    world.tell(SERVER, digits(ANN, "1"));
    for player in 0..=PLAYERS_MAX as u64 {
        world.play(SERVER, ANN, player, Source::Clip(prompt()), true);
    }
    let whys = [Refusal::NoTelephoneEvent, Refusal::TooManyPlayers];
    assert_eq!(world.reports[SERVER], whys.map(|why| Report::Refused { leg: ANN, why }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn no_packets_panic(
        packets in proptest::collection::vec(
            (any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u8>(), 0..60)),
            0..60,
        ),
    ) {
        let mut world = World::new(&[(ANN, Codec::Pcmu), (BOB, Codec::Pcma)]);
        world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
        for (is_ann, is_sound, bytes) in packets {
            let leg = if is_ann { ANN } else { BOB };
            // Half of the packets get past the header, so that the rooms behind it are tried too.
            let head = [0x80, [0, 8, event_type(leg), 200][bytes.len() % 4]];
            let packet = if is_sound { [&head, bytes.as_slice()].concat() } else { bytes };
            world.deliver(leg, Channel::Rtp, address(SERVER, leg), &packet);
            world.deliver(leg, Channel::Rtcp, address(SERVER, leg), &packet);
            world.run(world.now.as_millis() + 5);
        }
    }
}

/// A wire on which whatever is sent for one leg meets a bug.
struct Cursed(LegId, usize);

impl Wire for Cursed {
    fn send(&mut self, leg: LegId, _channel: Channel, _to: SocketAddr, _packet: &[u8]) {
        assert_ne!(leg, self.0, "a bug");
        self.1 += 1;
    }
}

/// Contract sentence 7: a bug in one leg's audio costs that leg, and frees its peer.
#[test]
fn a_bug_costs_one_leg() {
    let mut world = World::new(&[(ANN, Codec::Pcmu), (BOB, Codec::Pcmu)]);
    world.tell(SERVER, Command::Bridge { a: ANN, b: BOB });
    for leg in [ANN, BOB] {
        let tone = Tone::parse("440/1000").unwrap();
        world.play(SERVER, leg, 1, Source::Tone(tone), true);
    }
    let (shard, mut wire) = (&mut world.shards[SERVER], Cursed(ANN, 0));
    for phase in [0, 1, 2, 3, 0, 1] {
        shard.guarded(|shard| shard.tick(phase, &mut wire, Tick::ZERO));
    }
    let died = |report: Report| matches!(report, Report::Panicked { leg: ANN, .. });
    assert!(std::iter::from_fn(|| shard.poll_report()).any(died));
    let gauges = shard.gauges();
    assert_eq!((gauges.legs, gauges.legs_bridged), (1, 0));
    assert_eq!(wire.1, 2, "Bob hears on");
}
