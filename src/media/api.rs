//! The words spoken with a shard: commands in, reports out, and the wire between the two.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::Tick;
use crate::media::{Clip, Digits, FRAME, Live, Tone};

/// A leg, as signalling numbers it: place in the low 32 bits, generation in the high ones, like
/// `base::Id::as_u64`. The place finds the leg without hashing; the generation keeps a late packet
/// or command away from the next tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LegId(pub u64);

impl LegId {
    /// The place: dense, below [`Config::legs_max`], and used again.
    pub const fn index(self) -> usize {
        self.0 as u32 as usize
    }

    /// Which of the four ticks in 20 ms serves this leg.
    pub const fn phase(self) -> u8 {
        (self.0 % 4) as u8
    }
}

/// What a shard is given at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Places for legs; a [`LegId::index`] at or above it is refused.
    pub legs_max: usize,
    /// Reports that may wait to be polled; more are dropped and counted.
    pub reports_max: usize,
    /// How long after the first packet the signalled address may still displace another source.
    pub learning_window: Duration,
    /// How long the source of a leg must be silent before another may take its place.
    pub relearn_after: Duration,
    /// How long nothing may arrive on a receiving leg before it is reported lost.
    pub lost_after: Duration,
}

impl Config {
    /// What suits a public server: one second to learn, two to relearn, thirty until a leg is lost.
    pub const STANDARD: Self = Self {
        legs_max: 4096,
        reports_max: 4096,
        learning_window: Duration::from_secs(1),
        relearn_after: Duration::from_secs(2),
        lost_after: Duration::from_secs(30),
    };
}

/// A codec that a leg speaks, with a clock rate of 8000 Hz.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// G.711 mu-law, static payload type 0.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
    /// G.722 at 64 kbit/s, static payload type 9.
    G722,
    /// Linear, 16 bits, big-endian, 8 kHz (RFC 3551 §4.5.11); a dynamic payload type.
    L16,
}

/// What SDP negotiated for a leg, as values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// The address signalled for RTP; where it sends from may prove to be another.
    pub remote: SocketAddr,
    /// What we encode with. Both G.711 laws are understood on their static payload types.
    pub codec: Codec,
    /// Payload type of the codec on this leg.
    pub payload_type: u8,
    /// Payload type of telephone-event on this leg, if the peer takes it (RFC 4733).
    pub event_payload_type: Option<u8>,
    /// Whether we may send (RFC 3264 §5.1, seen from us).
    pub sending: bool,
    /// Whether what arrives is heard, relayed and searched for digits; it is counted in any case.
    pub receiving: bool,
}

/// How loud a leg must be for a meter to tell; both are the effective value of 20 ms, where 1 is
/// full scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Loudness {
    /// Louder than this, as a voice is.
    Above(f32),
    /// Not louder than this, as silence is.
    Below(f32),
}

/// What of a leg is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// What its caller says, in one channel.
    Heard,
    /// What its caller says and is said, mixed into one channel.
    Mixed,
    /// What its caller says in the first channel, what is said to him in the second.
    Split,
}

/// What a player plays.
#[derive(Clone, Debug)]
pub enum Source {
    /// A sound file.
    Clip(Arc<Clip>),
    /// A pattern of tones.
    Tone(Tone),
    /// A stream that goes on by itself; it does not repeat.
    Live(Arc<Live>),
}

/// What signalling asks of a shard.
#[derive(Clone, Debug)]
pub enum Command {
    /// Makes a leg that only waits for its stream.
    Open {
        /// The new leg.
        leg: LegId,
    },
    /// Tells who used the leg's port before: for a while nothing from there is believed, unless the
    /// leg's own stream names the address.
    Shun {
        /// The leg.
        leg: LegId,
        /// Where the earlier call's packets came from.
        source: SocketAddr,
        /// Until when late packets may still come.
        until: Tick,
    },
    /// Sets or changes the stream (answer, hold, re-INVITE); SSRC, sequence and timestamp go on.
    Configure {
        /// The leg.
        leg: LegId,
        /// What was negotiated.
        stream: Stream,
    },
    /// Starts a player; one with the same number is stopped first.
    Play {
        /// The leg that hears it.
        leg: LegId,
        /// The caller's number for this player.
        player: u64,
        /// What it plays.
        source: Source,
        /// Whether it begins again at its end, until stopped.
        repeat: bool,
        /// 1: no change. Below 1: what has lower priority, the players started earlier and the
        /// bridged peer, is attenuated by this factor. Above 1: this player is boosted by the
        /// factor and the whole mix scaled by its inverse, so that nothing clips.
        ducking: f32,
    },
    /// Stops one player; none with this number is no error.
    Stop {
        /// The leg.
        leg: LegId,
        /// The caller's number for the player.
        player: u64,
    },
    /// Stops every player of a leg.
    StopAll {
        /// The leg.
        leg: LegId,
    },
    /// Sends digits as telephone-events, after those that still wait to be sent.
    SendDigits {
        /// The leg.
        leg: LegId,
        /// The digits.
        digits: Digits,
        /// How long each is pressed: 40 ms to 8 s, in steps of 20 ms.
        duration: Duration,
        /// The pause after each, at least 40 ms, in steps of 20 ms.
        gap: Duration,
    },
    /// Looks for digits in the sound of a leg as well (ITU-T Q.23), or no longer. A leg that has
    /// sent a telephone-event is believed to send all its digits so.
    FindDigits {
        /// The leg.
        leg: LegId,
        /// Whether to look.
        is_on: bool,
    },
    /// Watches the loudness of a leg, until it has held for so long; one meter with the same
    /// number is forgotten first.
    Watch {
        /// The leg.
        leg: LegId,
        /// The caller's number for this meter.
        meter: u64,
        /// How loud.
        loudness: Loudness,
        /// For how long, in steps of 20 ms.
        duration: Duration,
    },
    /// Forgets a meter; none with this number is no error.
    Unwatch {
        /// The leg.
        leg: LegId,
        /// The caller's number for the meter.
        meter: u64,
    },
    /// Records a leg; one recorder with the same number is stopped first.
    Record {
        /// The leg.
        leg: LegId,
        /// The caller's number for this recorder; the wire gets it with every frame.
        recorder: u64,
        /// What of the leg.
        what: Recorded,
        /// How much at most, pauses not counted.
        duration_max: Duration,
    },
    /// Lets time pass unrecorded, or goes on; no recorder with this number is no error.
    PauseRecorder {
        /// The leg.
        leg: LegId,
        /// The caller's number for the recorder.
        recorder: u64,
        /// Whether to pause.
        is_paused: bool,
    },
    /// Ends a recorder; none with this number is no error.
    StopRecorder {
        /// The leg.
        leg: LegId,
        /// The caller's number for the recorder.
        recorder: u64,
    },
    /// Lets two legs of this shard hear each other; either leaves an earlier bridge.
    Bridge {
        /// One leg.
        a: LegId,
        /// The other.
        b: LegId,
    },
    /// Says whether a leg is sent the telephone-events of the leg that it is bridged with; a new
    /// bridge passes them on.
    PassEvents {
        /// The leg that hears them.
        leg: LegId,
        /// Whether it does.
        is_on: bool,
    },
    /// Ends the bridge that a leg is in; being in none is no error.
    Unbridge {
        /// Either leg of it.
        leg: LegId,
    },
    /// Ends a leg; its players stop, and [`Report::Closed`] is the last report about it.
    Close {
        /// The leg.
        leg: LegId,
    },
}

impl Command {
    /// The leg that it is for; of a bridge, the first.
    pub const fn leg(&self) -> LegId {
        match self {
            Self::Open { leg }
            | Self::Configure { leg, .. }
            | Self::Play { leg, .. }
            | Self::Stop { leg, .. }
            | Self::StopAll { leg }
            | Self::SendDigits { leg, .. }
            | Self::Bridge { a: leg, .. }
            | Self::Unbridge { leg }
            | Self::PassEvents { leg, .. }
            | Self::Shun { leg, .. }
            | Self::FindDigits { leg, .. }
            | Self::Watch { leg, .. }
            | Self::Unwatch { leg, .. }
            | Self::Record { leg, .. }
            | Self::PauseRecorder { leg, .. }
            | Self::StopRecorder { leg, .. }
            | Self::Close { leg } => *leg,
        }
    }
}

/// What a shard has to say.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// A digit was pressed: reported once, at the first packet that shows it.
    Digit {
        /// The leg it arrived on.
        leg: LegId,
        /// One of `0-9*#A-D`.
        digit: char,
        /// How long it had been pressed when it was first seen.
        duration: Duration,
    },
    /// A player ended.
    PlayerDone {
        /// The leg.
        leg: LegId,
        /// The caller's number for the player.
        player: u64,
        /// How much was played, repetitions included.
        played: Duration,
        /// Why it ended.
        end: PlayerEnd,
    },
    /// A leg has been as loud, or as quiet, as a [`Command::Watch`] asked; the meter is gone.
    Watched {
        /// The leg.
        leg: LegId,
        /// The caller's number for the meter.
        meter: u64,
    },
    /// A recorder ended; the wire gets no more of it.
    RecorderDone {
        /// The leg.
        leg: LegId,
        /// The caller's number for the recorder.
        recorder: u64,
        /// How much was recorded.
        recorded: Duration,
        /// Whether it had enough or was stopped.
        end: PlayerEnd,
    },
    /// The digits of one [`Command::SendDigits`] are out, the last gap included.
    DigitsSent {
        /// The leg.
        leg: LegId,
    },
    /// Nothing arrived on a receiving leg for [`Config::lost_after`]; told once per silence.
    Lost {
        /// The leg.
        leg: LegId,
    },
    /// A command could not be obeyed.
    Refused {
        /// The leg it was for.
        leg: LegId,
        /// Why.
        why: Refusal,
    },
    /// A leg met a bug of ours and is gone; the others go on.
    Panicked {
        /// The leg.
        leg: LegId,
        /// What the bug says of itself.
        why: String,
    },
    /// A leg is gone.
    Closed {
        /// The leg.
        leg: LegId,
        /// What it sent and heard.
        statistics: Statistics,
    },
}

impl Report {
    /// The leg that it is about.
    pub const fn leg(&self) -> LegId {
        match self {
            Self::Digit { leg, .. }
            | Self::PlayerDone { leg, .. }
            | Self::Watched { leg, .. }
            | Self::RecorderDone { leg, .. }
            | Self::DigitsSent { leg }
            | Self::Lost { leg }
            | Self::Refused { leg, .. }
            | Self::Panicked { leg, .. }
            | Self::Closed { leg, .. } => *leg,
        }
    }
}

/// Why a player ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlayerEnd {
    /// It came to its end.
    Completed,
    /// It was stopped, replaced, or its leg closed.
    Stopped,
}

/// Why a command was not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The place is not below [`Config::legs_max`].
    LegBeyondMax,
    /// The place still has a leg.
    LegExists,
    /// No such leg on this shard.
    UnknownLeg,
    /// A leg cannot be bridged to itself.
    BridgeToItself,
    /// The leg has [`crate::media::PLAYERS_MAX`] players.
    TooManyPlayers,
    /// The leg has [`crate::media::METERS_MAX`] meters.
    TooManyMeters,
    /// The leg has [`crate::media::RECORDERS_MAX`] recorders.
    TooManyRecorders,
    /// Too many digits wait to be sent.
    TooManyDigits,
    /// The peer does not take telephone-events, or no stream is configured yet.
    NoTelephoneEvent,
    /// The port above that of RTP cannot be bound (RFC 3550 §11): the leg goes on without reports.
    NoRtcp,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LegBeyondMax => "no place for this leg",
            Self::LegExists => "the leg exists already",
            Self::UnknownLeg => "no such leg",
            Self::BridgeToItself => "a leg cannot be bridged to itself",
            Self::TooManyPlayers => "too many players on this leg",
            Self::TooManyMeters => "too many meters on this leg",
            Self::TooManyRecorders => "too many recorders on this leg",
            Self::TooManyDigits => "too many digits wait to be sent",
            Self::NoTelephoneEvent => "the peer does not take telephone-events",
            Self::NoRtcp => "no reports (RTCP): the port above that of RTP cannot be bound",
        })
    }
}

/// What a leg sent and heard. Counts are of RTP packets unless they say otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Sent.
    pub packets_sent: u64,
    /// Payload bytes sent.
    pub octets_sent: u64,
    /// Received from the leg's source.
    pub packets_received: u64,
    /// Payload bytes received.
    pub octets_received: u64,
    /// Expected less received (RFC 3550 A.3); duplicates make it smaller.
    pub packets_lost: i64,
    /// Interarrival jitter (RFC 3550 A.8).
    pub jitter: Duration,
    /// Dropped because they came from an address that is not the leg's source; RTCP included.
    pub packets_foreign: u64,
    /// Dropped because they are not RTP or RTCP.
    pub packets_malformed: u64,
    /// Dropped because nobody negotiated their payload type.
    pub packets_unknown: u64,
    /// Came too late to be heard by us, where the sound was decoded.
    pub packets_late: u64,
    /// How much was invented in place of sound that did not come, where it was decoded.
    pub concealed: Duration,
    /// Relayed to the bridged leg.
    pub packets_relayed: u64,
    /// What the peer last said it lost of ours.
    pub remote_lost: Option<i32>,
    /// The jitter that the peer last said it sees.
    pub remote_jitter: Option<Duration>,
    /// The last round trip measured by RTCP.
    pub round_trip: Option<Duration>,
}

/// What a shard holds at this moment; all but the counters return to zero when all calls are gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Legs.
    pub legs: usize,
    /// Legs that are in a bridge.
    pub legs_bridged: usize,
    /// Players.
    pub players: usize,
    /// Reports that wait to be polled.
    pub reports: usize,
    /// Counter: reports dropped because nobody polled.
    pub reports_dropped: u64,
    /// Counter: packets for a leg that is not here.
    pub packets_without_leg: u64,
}

/// Which of a leg's two sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Channel {
    /// The even port.
    Rtp,
    /// The odd port above it.
    Rtcp,
}

/// Where packets go: in `shell` a socket per leg and channel, in simulation a link.
pub trait Wire {
    /// Sends one packet from the leg's socket. What cannot be sent is the wire's to count.
    fn send(&mut self, leg: LegId, channel: Channel, to: SocketAddr, packet: &[u8]);

    /// Takes 20 ms of a recording, a slice for each channel, at 8 kHz; `index` counts them from
    /// zero. A wire that records nothing drops it.
    fn record(&mut self, recorder: u64, index: u64, channels: &[&[i16; FRAME]]) {
        let _ = (recorder, index, channels);
    }
}
