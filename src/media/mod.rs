//! Media: one leg's audio, stepped every 20 ms: RTP, digits, prompts, tones, mixing, bridges; no SIP, no SDP.
//!
//! A [`Shard`] is what one media thread owns. The thread hands in [`Command`]s, packets and ticks,
//! gives a [`Wire`] to send on, and takes [`Report`]s:
//!
//! ```text
//!  Command ──▶ ┌───────────────────────── Shard ─────────────────────────┐ ──▶ Report
//!              │ leg: latch ─▶ reception ─▶ keypad                       │
//!  packet  ──▶ │                 ├─▶ bridged leg: relay ─▶ outbound ─────│──▶ Wire
//!              │                 └─▶ hearing: jitter buffer              │
//!  tick    ──▶ │ leg: hearing ─▶ digits, meters, recorders, peer's backlog
//!              │      dialler, players, backlog ───────────▶ outbound ───│──▶ Wire
//!              └─────────────────────────────────────────────────────────┘
//! ```
//!
//! *Invariant:* a packet or a tick allocates nothing, takes no lock and writes no log line.
//! *Invariant:* a leg has one SSRC for life; its sequence numbers have no gap of our making, and its
//! timestamps follow the time that passed, whatever is played, relayed or held on it.

mod api;
mod shard;

mod leg;

mod conceal;
mod hearing;
mod inband;
mod jitter;
mod meter;
mod recorder;

mod control;
mod latch;
mod reception;
mod rtcp;
mod rtp;

mod backlog;
mod dialler;
mod digits;
mod keypad;
mod outbound;
mod player;
mod relay;

mod clip;
mod codec;
mod decode;
mod g711;
mod live;
mod resample;
mod tape;
mod tone;
mod wav;

pub mod ear;
mod ports;

pub use api::{
    Channel, Codec, Command, Config, Gauges, LegId, Loudness, PlayerEnd, Recorded, Refusal, Report,
    Source, Statistics, Stream, Wire,
};
pub use clip::{CLIP_DURATION_MAX, Clip, ClipError};
pub use decode::StreamDecoder;
pub use digits::{DIGITS_MAX, Digits};
pub use live::Live;
pub use meter::METERS_MAX;
pub use player::PLAYERS_MAX;
pub use ports::{Ports, PortsGauges, REST, REST_MIN};
pub use recorder::RECORDERS_MAX;
pub use shard::Shard;
pub use tape::{HEADER_OCTETS, TAPE_DURATION_MAX, Tape, TapeFormat};
pub use tone::{Country, Tone, ToneError};

use std::time::Duration;

/// How often a leg is stepped, and the packet duration it sends.
pub const PTIME: Duration = Duration::from_millis(20);

/// Samples a second that every codec here is given and gives, and the clock rate of their RTP
/// timestamps (RFC 3551 §4.5.2, §4.5.14).
pub const CLOCK_RATE: u32 = 8000;

/// Samples in one packet that we send.
pub const FRAME: usize = 160;

/// How much sound `samples` are.
const fn duration_of(samples: u64) -> Duration {
    Duration::from_micros(samples * 125)
}

/// How many whole samples fit into a duration.
const fn samples_in(duration: Duration) -> u64 {
    duration.as_micros() as u64 / 125
}

#[cfg(test)]
mod tests;
