//! A leg: our side of one dialog, with its media, its events and what keeps it alive.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::base::{Armed, Bounded, Id, Tick};
use crate::call::dial::DialRef;
use crate::call::record::{CallKey, Trace};
use crate::call::switch::AskRef;
use crate::media::Statistics;
use crate::promise::PromiseId;
use crate::sdp;
use crate::sip::{DialogId, Flow, MAX_FORWARDS};

/// How long a leg lives that nothing retains (contract §3: free time-to-live).
pub const FREE_TTL: Duration = Duration::from_secs(5);
/// Events that a leg keeps for a wait to come (contract §3).
pub const EVENTS_MAX: usize = 128;

/// The id of a leg; flows see it as text, as `leg-3-0`. Legs are boxed: they are large, and on their way from
/// the table to their record they are handed from one to the other.
pub type LegRef = Id<Box<Leg>>;

/// One call leg.
#[derive(Debug)]
pub struct Leg {
    /// Its dialog.
    pub dialog: DialogId,
    /// Whose it is.
    pub origin: Origin,
    /// Where it stands.
    pub status: Status,
    /// Ports, description and agreement of its audio.
    pub audio: Audio,
    /// Digits, interrupts and the end, until a wait consumes them.
    pub events: Bounded<LegEvent>,
    /// Operations that wait for something of this leg, oldest first.
    pub waiting: Vec<AskRef>,
    /// Playbacks of this leg.
    pub players: Vec<u64>,
    /// Recordings of this leg.
    pub recordings: Vec<u64>,
    /// What keeps the leg: running operations, bridges, queue entries.
    pub retained: u32,
    /// Ends the leg when nothing has retained it for [`FREE_TTL`]; forgets an ended one.
    pub free: Option<Armed>,
    /// The way the call came; in-dialog requests are expected from there.
    pub flow: Flow,
    /// The dial that it is an attempt of, until it wins.
    pub dial: Option<DialRef>,
    /// The dial that it won by being bridged before it was answered.
    pub won: Option<DialRef>,
    /// The leg that it is bridged with.
    pub peer: Option<LegRef>,
    /// How digits go to the leg that it is bridged with.
    pub relays: DtmfRelay,
    /// Whether waits hear of its digits while it is bridged.
    pub emits_digits: bool,
    /// Digits that wait to leave as INFO.
    pub info: InfoDigits,
    /// The queue entry that its caller owns.
    pub entry: Option<u64>,
    /// What was promised to its caller, until that is kept.
    pub promise: Option<PromiseId>,
    /// The promise that it is to keep, and the number of the attempt, from its answer on.
    pub attempt: Option<(PromiseId, u32)>,
    /// The promised number that this leg calls back, as long as it is up.
    pub called_back: Option<String>,
    /// The number that it was called from.
    pub caller_number: String,
    /// The name that it was called from.
    pub caller_name: String,
    /// Whether the far side called us.
    pub is_inbound: bool,
    /// Max-Forwards of its INVITE: how often it may still be passed on.
    pub max_forwards: u8,
    /// When the leg began.
    pub started: Tick,
    /// When it was first known to ring.
    pub rang: Option<Tick>,
    /// When it was answered.
    pub answered: Option<Tick>,
    /// When it ended.
    pub ended: Option<Tick>,
    /// The number that was called.
    pub called_number: String,
    /// How its caller and the called were written.
    pub shown: Shown,
    /// The recording of the whole leg, while one runs.
    pub recorded: Option<u64>,
    /// The call that it belongs to.
    pub call: CallKey,
    /// Its messages.
    pub trace: Trace,
    /// What its audio was like, from its end on.
    pub statistics: Option<Box<Statistics>>,
}

/// Whose a leg is: proven before the leg came into being, so that nobody unknown has one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The workflow that it belongs to.
    pub workflow: usize,
    /// Public name of the trunk or extensions group that it came by.
    pub trigger_ref: String,
    /// Which of the two.
    pub kind: OriginKind,
    /// The number of the extension, if it is one.
    pub extension: Option<String>,
}

/// How the two ends of a call were written in its INVITE.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// The URI of From.
    pub from: String,
    /// The URI of To, or of whom we call.
    pub to: String,
    /// The display name of To.
    pub called_name: String,
}

/// What a leg came by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OriginKind {
    /// A trunk.
    #[default]
    Trunk,
    /// An extension.
    Extension,
}

/// Where a leg stands (contract §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Known, not yet ringing or answered.
    Created,
    /// Its caller was told that it rings.
    Ringing,
    /// Both sides talk.
    Answered,
    /// Gone; kept for one time-to-live so that late waits still resolve.
    Ended(EndReason),
}

/// Why a leg ended, as flows see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The far side hung up.
    RemoteHangup,
    /// The caller gave up before an answer.
    Cancelled,
    /// A flow, or the end of the server, hung up.
    LocalHangup,
    /// Nothing retained the leg.
    FreeTtl,
    /// The other side never acknowledged, or its connection is gone.
    Lost,
    /// The other side refused with this status.
    Rejected(u16),
    /// Another attempt of the same dial won.
    ParallelLoser,
    /// Its dial was broken off.
    Broken,
    /// It rang for as long as an attempt may.
    RangOut,
    /// A bug of ours ended it.
    Panicked,
    /// Its audio ports could not be opened.
    NoAudio,
    /// The leg that it was bridged with was refused.
    PeerRejected(u16),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RemoteHangup => f.write_str("remote_hangup"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::LocalHangup => f.write_str("local_hangup"),
            Self::FreeTtl => f.write_str("free_ttl"),
            Self::Lost => f.write_str("lost"),
            Self::Rejected(status) => write!(f, "rejected_{status}"),
            Self::ParallelLoser => f.write_str("parallel_loser"),
            Self::Broken => f.write_str("broken"),
            Self::RangOut => f.write_str("timeout"),
            Self::Panicked | Self::NoAudio => f.write_str("internal_error"),
            Self::PeerRejected(_) => f.write_str("bridge_peer_rejected"),
        }
    }
}

/// How digits go from one leg of a bridge to the other (contract §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DtmfRelay {
    /// Not at all, as far as that can be helped: tones in the sound are heard.
    Disabled,
    /// As events where the far side takes them, else in the sound.
    Auto,
    /// As events only.
    Events,
    /// By INFO only.
    Info,
    /// In the sound only.
    Sound,
}

/// Digits that leave as INFO, one after the other.
#[derive(Debug, Default)]
pub struct InfoDigits {
    /// The digits, how long each is pressed, and the pause after it.
    pub waiting: VecDeque<(char, Duration, Duration)>,
    /// When the next is due, while there may be one.
    pub timer: Option<Armed>,
}

/// What a leg keeps for a wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LegEvent {
    /// A digit was pressed.
    Digit(char),
    /// Something happened to the leg that a wait may listen for (contract §4).
    Interrupt(&'static str),
}

/// The audio of a leg: what we offer, what was agreed on.
#[derive(Debug)]
pub struct Audio {
    /// Our side of offer and answer.
    pub local: sdp::Local,
    /// The offer that waits for our answer.
    pub offer: Option<Box<sdp::Description>>,
    /// What both sides agreed on.
    pub agreed: Option<sdp::Negotiated>,
    /// Whether a media leg has been opened for it.
    pub is_open: bool,
    /// Whether digits are looked for in its sound.
    pub finds_digits: bool,
    /// Whether digits are taken out of its INFO requests.
    pub takes_info: bool,
}

impl Leg {
    /// A leg that has just come into being.
    pub fn new(dialog: DialogId, flow: Flow, local: sdp::Local, now: Tick) -> Self {
        Self {
            dialog,
            origin: Origin::default(),
            status: Status::Created,
            audio: Audio {
                local,
                offer: None,
                agreed: None,
                is_open: false,
                finds_digits: false,
                takes_info: true,
            },
            events: Bounded::with_max(EVENTS_MAX),
            waiting: Vec::new(),
            players: Vec::new(),
            recordings: Vec::new(),
            retained: 0,
            free: None,
            flow,
            dial: None,
            won: None,
            peer: None,
            relays: DtmfRelay::Auto,
            emits_digits: true,
            info: InfoDigits::default(),
            entry: None,
            promise: None,
            attempt: None,
            called_back: None,
            caller_number: String::new(),
            caller_name: String::new(),
            is_inbound: true,
            max_forwards: MAX_FORWARDS,
            started: now,
            rang: None,
            answered: None,
            ended: None,
            called_number: String::new(),
            shown: Shown::default(),
            recorded: None,
            call: CallKey::default(),
            trace: Trace::default(),
            statistics: None,
        }
    }

    /// Why it ended, once it has.
    pub const fn end(&self) -> Option<EndReason> {
        match self.status {
            Status::Ended(reason) => Some(reason),
            Status::Created | Status::Ringing | Status::Answered => None,
        }
    }

    /// The trunk whose channel it takes, while it lives.
    pub fn trunk(&self) -> Option<&str> {
        let is_trunk = self.origin.kind == OriginKind::Trunk && self.origin.extension.is_none();
        is_trunk.then_some(&self.origin.trigger_ref)
    }

    /// Whether both sides talk.
    pub const fn is_answered(&self) -> bool {
        matches!(self.status, Status::Answered)
    }

    /// Whether it is a caller who may still be told a status.
    pub const fn is_unanswered_caller(&self) -> bool {
        self.is_inbound && matches!(self.status, Status::Created | Status::Ringing)
    }

    /// Takes the next queued digit, forgetting interrupts that nobody asked for.
    pub fn take_digit(&mut self) -> Option<char> {
        while let Some(event) = self.events.pop() {
            if let LegEvent::Digit(digit) = event {
                return Some(digit);
            }
        }
        None
    }
}

/// The text that flows carry for a leg.
pub fn leg_text(leg: LegRef) -> String {
    text("leg", leg.as_u64())
}

/// The leg that a text of a flow names.
pub fn parse_leg(value: &Value) -> Option<LegRef> {
    parse("leg", value.as_str()?).map(LegRef::from_u64)
}

/// The text for a number of this kind: place and generation, as `media-4-1`.
pub fn text(kind: &str, number: u64) -> String {
    // The numbers alone are written by a shorter way than a format.
    [kind, "-", &(number as u32).to_string(), "-", &(number >> 32).to_string()].concat()
}

/// The number in a text of this kind.
pub(super) fn parse(kind: &str, text: &str) -> Option<u64> {
    let (index, generation) = text.strip_prefix(kind)?.strip_prefix('-')?.split_once('-')?;
    let (index, generation) = (index.parse::<u32>().ok()?, generation.parse::<u32>().ok()?);
    Some(u64::from(generation) << 32 | u64::from(index))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_leg_is_found_by_its_text() {
        let leg = LegRef::from_u64(7 << 32 | 3);
        assert_eq!(leg_text(leg), "leg-3-7");
        assert_eq!(parse_leg(&json!("leg-3-7")), Some(leg));
        for wrong in ["leg-3", "leg-3-x", "dial-3-7", "leg-3-99999999999", ""] {
            assert_eq!(parse_leg(&json!(wrong)), None, "{wrong}");
        }
    }

    /// Contract §3: 128 events of a leg, 64 of a dial.
    #[test]
    fn so_many_events_are_kept_for_a_wait_and_no_more() {
        for (most, expected) in [(EVENTS_MAX, 128), (crate::call::dial::EVENTS_MAX, 64)] {
            assert_eq!(most, expected);
            let mut events = Bounded::with_max(most);
            let kept = (0..most + 10).filter(|number| events.push(*number).is_ok()).count();
            assert_eq!((kept, events.pop()), (most, Some(0)), "the first are kept");
        }
    }
}
