//! What a media thread pays per leg, packet and frame, without the socket; and what it allocates.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{AllocProfiler, Bencher};
use ringback::base::{Rng, Tick};
use ringback::media::{
    Channel, Clip, Codec, Command, Config, FRAME, LegId, Shard, Source, Stream, Tape, TapeFormat,
    Tone, Wire, ear,
};

/// Counts what is allocated: nothing may be, per packet or tick.
#[global_allocator]
static ALLOCATIONS: AllocProfiler<tikv_jemallocator::Jemalloc> =
    AllocProfiler::new(tikv_jemallocator::Jemalloc);

const LEGS: u64 = 1000;

fn main() {
    divan::main();
}

/// Takes packets and loses them.
struct Void;

impl Wire for Void {
    fn send(&mut self, _: LegId, _: Channel, _: SocketAddr, packet: &[u8]) {
        black_box(packet);
    }
}

fn remote(leg: u64) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 10_000 + 2 * leg as u16))
}

fn shard(codec: impl Fn(u64) -> Codec) -> Shard {
    shard_of(LEGS, codec)
}

fn shard_of(legs: u64, codec: impl Fn(u64) -> Codec) -> Shard {
    let mut shard = Shard::new(Config::STANDARD, Rng::new(1));
    for index in 0..legs {
        let (leg, codec) = (LegId(index), codec(index));
        let stream = Stream {
            remote: remote(index),
            codec,
            payload_type: codec.usual_payload_type(),
            event_payload_type: Some(101),
            sending: true,
            receiving: true,
        };
        shard.handle_command(Command::Open { leg }, Tick::ZERO);
        shard.handle_command(Command::Configure { leg, stream }, Tick::ZERO);
    }
    shard
}

fn play(shard: &mut Shard, player: u64) {
    let clip = Arc::new(Clip::from_samples(vec![1000; 80_000]).expect("ten seconds"));
    for leg in (0..LEGS).map(LegId) {
        let source = Source::Clip(clip.clone());
        let command = Command::Play { leg, player, source, repeat: true, ducking: 0.5 };
        shard.handle_command(command, Tick::ZERO);
    }
}

/// Twenty milliseconds of all legs; the time shown by item is that of one leg.
fn tick(bencher: Bencher<'_, '_>, mut shard: Shard) {
    let mut now = Tick::ZERO;
    bencher.counter(ItemsCount::new(LEGS)).bench_local(move || {
        for phase in 0..4 {
            now = Tick::from_micros(now.as_micros() + 5000);
            shard.tick(phase, &mut Void, now);
        }
        while shard.poll_report().is_some() {}
    });
}

#[divan::bench]
fn tick_1000_idle_legs(bencher: Bencher<'_, '_>) {
    tick(bencher, shard(|_| Codec::Pcmu));
}

#[divan::bench]
fn tick_1000_legs_with_a_prompt(bencher: Bencher<'_, '_>) {
    let mut shard = shard(|_| Codec::Pcmu);
    play(&mut shard, 1);
    tick(bencher, shard);
}

#[divan::bench]
fn tick_1000_legs_with_two_prompts_mixed(bencher: Bencher<'_, '_>) {
    let mut shard = shard(|_| Codec::Pcmu);
    play(&mut shard, 1);
    play(&mut shard, 2);
    tick(bencher, shard);
}

/// Decoded, searched for digits and metered: what a leg costs that waits for a voice.
#[divan::bench]
fn tick_1000_legs_that_are_heard(bencher: Bencher<'_, '_>) {
    let mut shard = shard(|_| Codec::Pcmu);
    for leg in (0..LEGS).map(LegId) {
        shard.handle_command(Command::FindDigits { leg, is_on: true }, Tick::ZERO);
    }
    tick(bencher, shard);
}

fn forward(bencher: Bencher<'_, '_>, codec: impl Fn(u64) -> Codec) {
    let mut shard = shard(codec);
    shard.handle_command(Command::Bridge { a: LegId(0), b: LegId(1) }, Tick::ZERO);
    let mut packet = [0x55; 12 + FRAME];
    (packet[0], packet[1]) = (0x80, 0);
    let mut sequence = 0_u32;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(move || {
        sequence = sequence.wrapping_add(1);
        packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&(sequence * 160).to_be_bytes());
        let now = Tick::from_millis(u64::from(sequence) * 20);
        shard.handle_packet(LegId(0), Channel::Rtp, remote(0), &packet, &mut Void, now);
    });
}

#[divan::bench]
fn forward_a_packet(bencher: Bencher<'_, '_>) {
    forward(bencher, |_| Codec::Pcmu);
}

#[divan::bench]
fn forward_a_packet_transcoded(bencher: Bencher<'_, '_>) {
    forward(bencher, |leg| [Codec::Pcmu, Codec::Pcma][leg as usize % 2]);
}

/// 20 ms of a bridged pair of which only one speaks G.722, one way: decoded, through the jitter
/// buffer, encoded; with the ticks of both legs.
#[divan::bench]
fn bridge_a_frame_from_g722_to_pcmu(bencher: Bencher<'_, '_>) {
    let mut shard = shard_of(2, |leg| [Codec::G722, Codec::Pcmu][leg as usize]);
    shard.handle_command(Command::Bridge { a: LegId(0), b: LegId(1) }, Tick::ZERO);
    let mut packet = [0x55; 12 + FRAME];
    (packet[0], packet[1]) = (0x80, 9);
    let mut sequence = 0_u32;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(move || {
        sequence = sequence.wrapping_add(1);
        packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&sequence.wrapping_mul(160).to_be_bytes());
        let now = Tick::from_millis(u64::from(sequence) * 20);
        shard.handle_packet(LegId(0), Channel::Rtp, remote(0), &packet, &mut Void, now);
        for phase in 0..4 {
            let now = Tick::from_micros(now.as_micros() + 5000 * u64::from(phase));
            shard.tick(phase, &mut Void, now);
        }
        while shard.poll_report().is_some() {}
    });
}

/// 20 ms of a leg that is heard: received, through the jitter buffer, searched for digits; of so
/// many packets one is lost and concealed. Less `tick_1000_legs_that_are_heard` of one leg, it is
/// the jitter buffer and what the decoder takes.
#[divan::bench(args = [0, 20, 5])]
fn hear_a_frame(bencher: Bencher<'_, '_>, one_is_lost_of: u32) {
    let mut shard = shard_of(1, |_| Codec::Pcmu);
    shard.handle_command(Command::FindDigits { leg: LegId(0), is_on: true }, Tick::ZERO);
    let mut packet: [u8; 12 + FRAME] = std::array::from_fn(|n| 0x80 | (n * 7) as u8);
    (packet[0], packet[1]) = (0x80, 0);
    let mut sequence = 0_u32;
    bencher.counter(ItemsCount::new(1_usize)).bench_local(move || {
        sequence = sequence.wrapping_add(1);
        packet[2..4].copy_from_slice(&(sequence as u16).to_be_bytes());
        packet[4..8].copy_from_slice(&sequence.wrapping_mul(160).to_be_bytes());
        let now = Tick::from_millis(u64::from(sequence) * 20);
        if one_is_lost_of == 0 || !sequence.is_multiple_of(one_is_lost_of) {
            shard.handle_packet(LegId(0), Channel::Rtp, remote(0), &packet, &mut Void, now);
        }
        for phase in 0..4 {
            let now = Tick::from_micros(now.as_micros() + 5000 * u64::from(phase));
            shard.tick(phase, &mut Void, now);
        }
        while shard.poll_report().is_some() {}
    });
}

/// 20 ms of a recording become bytes of its file: rate, bits and channels of it.
#[divan::bench(args = [(8000, 16, 1), (8000, 16, 2), (48_000, 24, 2)])]
fn tape_a_frame(bencher: Bencher<'_, '_>, (rate, bits, channels): (u32, u16, u16)) {
    let format = TapeFormat::new(rate, bits, channels).expect("a format");
    let (mut tape, mut bytes, mut index) = (Tape::new(format), Vec::new(), 0);
    let frame: [i16; FRAME] = std::array::from_fn(|n| (n as i16 - 80) * 400);
    let frames = vec![frame; channels.into()];
    bencher.bench_local(move || {
        bytes.clear();
        tape.push(index, black_box(&frames), &mut bytes);
        index += 1;
        bytes.len()
    });
}

/// A second of compressed sound, as a prompt is loaded.
#[divan::bench(args = ["stereo.mp3", "stereo.ogg", "stereo.flac"])]
fn read_a_second(bencher: Bencher<'_, '_>, name: &str) {
    let directory = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-test/sounds");
    let bytes = std::fs::read(directory.join(name)).expect("a sound of this repository");
    bencher.bench_local(move || Clip::read(black_box(&bytes)).expect("a whole file"));
}

#[divan::bench(args = [Codec::Pcmu, Codec::Pcma, Codec::G722])]
fn encode_a_frame(bencher: Bencher<'_, '_>, codec: Codec) {
    let samples: [i16; FRAME] = std::array::from_fn(|n| (n as i16 - 80) * 400);
    let mut payload = [0; FRAME];
    bencher.bench_local(move || codec.encode(black_box(&samples), black_box(&mut payload)));
}

#[divan::bench(args = [Codec::Pcmu, Codec::Pcma, Codec::G722])]
fn decode_a_frame(bencher: Bencher<'_, '_>, codec: Codec) {
    let payload: [u8; FRAME] = std::array::from_fn(|n| n as u8);
    let mut samples = [0; FRAME];
    bencher.bench_local(move || codec.decode(black_box(&payload), black_box(&mut samples)));
}

#[divan::bench]
fn goertzel_over_a_frame(bencher: Bencher<'_, '_>) {
    let samples: [i16; FRAME] = std::array::from_fn(|n| (n as i16 - 80) * 400);
    bencher.bench_local(move || ear::power(black_box(&samples), 697.0));
}

#[divan::bench]
fn render_a_ringback() -> Tone {
    Tone::parse("440+480/2000,0/4000").expect("a well formed pattern")
}

#[divan::bench]
fn read_ten_seconds_of_wav_at_48_khz(bencher: Bencher<'_, '_>) {
    let rate = 48_000_u32;
    let data = rate * 10 * 2;
    let mut wav = [b"RIFF".as_slice(), &(data + 36).to_le_bytes(), b"WAVEfmt "].concat();
    for word in [16, 1 | 1 << 16, rate, rate * 2, 2 | 16 << 16] {
        wav.extend(word.to_le_bytes());
    }
    wav.extend(b"data");
    wav.extend(data.to_le_bytes());
    wav.resize(44 + data as usize, 7);
    bencher.bench_local(move || Clip::from_wav(black_box(&wav)).expect("a whole file"));
}
