//! The words of this room: what is promised, how an attempt goes, and how a promise ends.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Tick;

use super::hours::{Hours, STANDS_MAX};

/// Promises that are open at a time.
pub const PROMISES_MAX: usize = 200_000;

/// Bytes of a number, a name or a trunk.
pub const TEXT_MAX: usize = 256;

/// Bytes of what is written down of an attempt's way and far side; a longer text is not, and after
/// a crash that attempt is waited for rather than taken back.
pub const WAY_MAX: usize = 4096;

/// A promise; never used again, not even after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PromiseId(pub u64);

/// The place in the queue that was promised, opaque here and kept to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// The placement class; the smaller is served first.
    pub class: u8,
    /// When the caller joined, in microseconds since the Unix epoch.
    pub enqueued_us: u64,
    /// Tells apart those who joined within one microsecond.
    pub sequence: u64,
}

/// What a customer on the line is to be promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The owner's number of the queue. With `number` it is what duplicates are known by.
    pub queue: u64,
    /// The number to call back.
    pub number: String,
    /// The name that agents see.
    pub name: Option<String>,
    /// The trunk that the attempt leaves by.
    pub trunk: String,
    /// The place in the queue.
    pub place: Place,
    /// Why the customer may be called outside the hours of the queue; `None`: he may not (A5).
    pub override_hours: Option<String>,
}

/// An open promise, as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// What was promised.
    pub wanted: Wanted,
    /// Where it stands.
    pub state: State,
    /// When one that waits is queued again, in milliseconds since the Unix epoch.
    pub due_ms: Option<u64>,
    /// Until when nobody may be called, as people of the queue's zone say it.
    pub outside_hours: Option<String>,
    /// Attempts so far, with those that do not count.
    pub attempts: u32,
    /// Attempts that count.
    pub counted: u32,
    /// Attempts that may count.
    pub attempts_max: u32,
    /// When it ends by itself, in milliseconds since the Unix epoch.
    pub expires_ms: u64,
}

/// The answer to [`super::Book::promise`]. Nothing may be confirmed before
/// [`Event::Confirmed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promised {
    /// The promise, new or the one that this number had.
    pub promise: PromiseId,
    /// Whether the number had none.
    pub is_new: bool,
    /// The place that holds: of two, the older promise's.
    pub place: Place,
}

/// The policy of every queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Of queues that have none of their own.
    pub standard: Policy,
    /// By the owner's number of the queue.
    pub by_queue: BTreeMap<u64, Policy>,
}

impl Policies {
    /// The policy of a queue.
    pub fn of(&self, queue: u64) -> &Policy {
        self.by_queue.get(&queue).unwrap_or(&self.standard)
    }
}

/// How often and how long a promise is tried, and how many there may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether callbacks are promised at all; what was promised before is kept.
    pub is_offered: bool,
    /// Attempts that count before the promise is exhausted.
    pub attempts_max: u32,
    /// How long each cause waits for the next attempt.
    pub pauses: Pauses,
    /// Whether an attempt of unknown outcome is one of those that count: rather miss a customer
    /// than ring twice. Without it, rather twice.
    pub is_unknown_counted: bool,
    /// How long a number is left alone at least after an attempt of unknown outcome, unless the
    /// trunk says that nothing rings there: a ring time, and 64·T1 for a CANCEL that is lost. At
    /// most [`REST_MAX`].
    pub rest: Duration,
    /// When customers may be called (A5).
    pub hours: Hours,
    /// How long a promise stands; time outside hours is not counted.
    pub expiry: Duration,
    /// New promises that one number may have in the queue within 24 hours.
    pub number_day_max: u32,
    /// New promises that the queue may have within 24 hours.
    pub queue_day_max: u32,
}

impl Default for Policy {
    /// Three attempts, 5, 15 and 60 minutes apart, within a day.
    fn default() -> Self {
        Self {
            is_offered: true,
            attempts_max: 3,
            pauses: Pauses::default(),
            is_unknown_counted: true,
            rest: Duration::from_secs(152),
            hours: Hours::default(),
            expiry: DAY,
            number_day_max: 6,
            queue_day_max: 500,
        }
    }
}

impl Policy {
    /// The longest that a promise may stand.
    pub const fn stands_max(&self) -> Duration {
        if self.hours.is_restricted() { STANDS_MAX } else { self.expiry }
    }
}

/// The pauses after the first attempt that counts, the second, and so on; the last one holds for
/// all that follow, and the first one before any has counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pauses {
    /// After [`Outcome::Busy`].
    pub busy: Vec<Duration>,
    /// After [`Outcome::NoAnswer`].
    pub no_answer: Vec<Duration>,
    /// After [`Outcome::Network`] and [`Outcome::Broken`], and when no agent could be had.
    pub network: Vec<Duration>,
    /// After [`Outcome::Unconnected`].
    pub unconnected: Vec<Duration>,
    /// After [`Outcome::Unknown`].
    pub unknown: Vec<Duration>,
}

impl Default for Pauses {
    fn default() -> Self {
        let standard = || [300, 900, 3600].map(Duration::from_secs).to_vec();
        Self {
            busy: standard(),
            no_answer: standard(),
            network: standard(),
            // The customer has the phone in hand, and heard nobody.
            unconnected: [60, 300, 900].map(Duration::from_secs).to_vec(),
            unknown: standard(),
        }
    }
}

impl Pauses {
    /// The pause after this outcome, when so many attempts have counted.
    pub(super) fn after(&self, outcome: Outcome, counted: u32) -> Duration {
        let pauses = match outcome {
            Outcome::Busy => &self.busy,
            Outcome::NoAnswer => &self.no_answer,
            Outcome::Unconnected => &self.unconnected,
            Outcome::Unknown => &self.unknown,
            Outcome::Network
            | Outcome::Broken
            | Outcome::Reached
            | Outcome::Refused
            | Outcome::Invalid => &self.network,
            // The hours say when the next one may be.
            Outcome::Closed => return Duration::ZERO,
        };
        let index = (counted.max(1) as usize - 1).min(pauses.len().saturating_sub(1));
        pauses.get(index).copied().unwrap_or_default()
    }
}

/// The longest that a number may rest; what the records of promises that have ended are read for.
pub const REST_MAX: Duration = Duration::from_secs(3600);

/// What limits by the day look back on.
pub const DAY: Duration = Duration::from_secs(86_400);

/// Where a promise stands. What may follow on what is drawn at the head of this room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The customer is on the line, and is not dialled (A10).
    Live,
    /// The customer has left, and it is this promise's turn as soon as its place comes up.
    Queued,
    /// Not before `due`.
    Armed {
        /// When it is queued again.
        due: Tick,
    },
    /// Nobody may be called before the hours begin (A5).
    Closed {
        /// When they do.
        opens: Tick,
    },
    /// An attempt is being written down; its INVITE must not leave yet.
    Planned {
        /// The fence: reports about another number are stale.
        attempt: u32,
    },
    /// The customer is being dialled, or may be.
    Dialling {
        /// The fence.
        attempt: u32,
    },
    /// The customer has answered, and is to be connected.
    Answered {
        /// The fence.
        attempt: u32,
    },
}

/// How a promise ended; nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The customer was connected: bridged after an attempt, or while on the line.
    Reached,
    /// The customer, or somebody for them, took it back.
    Cancelled,
    /// Its time ran out.
    Expired,
    /// Every attempt that counts was used.
    Exhausted,
    /// The customer refused: 603 or 607 (RFC 8197), or the trunk forbade it: 403.
    Refused,
    /// The number is not one: 404, 410, 484 or 604.
    Invalid,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The customer answered and was connected.
    Reached,
    /// The customer answered, and nobody was connected: the agent hung up in that moment, or the
    /// customer did. Counts, because a phone rang.
    Unconnected,
    /// 486 or 600.
    Busy,
    /// 408, 480, 487, our ring time ran out, or anything that has no outcome of its own.
    NoAnswer,
    /// 403, 603 or 607: ends the promise.
    Refused,
    /// 404, 410, 484 or 604: ends the promise.
    Invalid,
    /// 5xx or no way there: does not count against the customer.
    Network,
    /// We took the dial back because the customer phoned in or its run was gone: the first
    /// [`BROKEN_FREE_MAX`] of a promise do not count.
    Broken,
    /// The hours ended while the attempt was being written down, and its INVITE never left.
    Closed,
    /// The process died during the attempt: counts, because the customer may have been rung,
    /// unless the policy would rather ring twice.
    Unknown,
}

impl Outcome {
    /// Whether a phone may ring for the attempt that nobody calls any more, as far as the records
    /// say: the answer to our CANCEL is in none.
    pub(super) const fn may_ring_on(self) -> bool {
        match self {
            Self::NoAnswer | Self::Network | Self::Broken | Self::Unknown => true,
            Self::Reached
            | Self::Unconnected
            | Self::Busy
            | Self::Refused
            | Self::Invalid
            | Self::Closed => false,
        }
    }
}

/// Attempts of a promise that may be taken back without counting as one that the customer was given.
pub const BROKEN_FREE_MAX: u32 = 3;

/// One attempt, with the identifiers that its INVITE carries.
///
/// They derive from promise and attempt, so that after a crash CANCEL or BYE still finds the leg,
/// and a trunk knows a repeated INVITE for what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// The promise.
    pub promise: PromiseId,
    /// The fence: 1 for the first attempt.
    pub attempt: u32,
    /// The owner's number of the queue.
    pub queue: u64,
    /// The number to dial.
    pub number: String,
    /// The name that agents see.
    pub name: Option<String>,
    /// The trunk to leave by.
    pub trunk: String,
    /// Call-ID.
    pub call_id: String,
    /// The tag of From.
    pub from_tag: String,
    /// The branch of the first Via, with the magic cookie of RFC 3261 8.1.1.7.
    pub branch: String,
}

/// An attempt without an end, of an earlier process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftBehind {
    /// The attempt, with the identifiers that it had.
    pub attempt: Attempt,
    /// Where it went, in the owner's words.
    pub way: Option<String>,
    /// Who rang or answered there, in the owner's words.
    pub far_side: Option<String>,
}

/// What the owner is to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The promise is on disk: the customer may hear it confirmed.
    Confirmed {
        /// The promise.
        promise: PromiseId,
    },
    /// The wait is over: give the promise its place in the queue.
    Due {
        /// The promise.
        promise: PromiseId,
    },
    /// It is not its turn any more: no agent is to be rung for it before [`Self::Due`].
    Shelved {
        /// The promise.
        promise: PromiseId,
    },
    /// The attempt is on disk: its INVITE may leave (I4).
    AttemptReady {
        /// The promise.
        promise: PromiseId,
        /// The fence.
        attempt: u32,
    },
    /// The attempt ended while it was being written down: its INVITE never leaves.
    AttemptDropped {
        /// The promise.
        promise: PromiseId,
        /// The fence.
        attempt: u32,
        /// Why.
        why: Refused,
    },
    /// The answer is on disk: an agent may be attached. Without this a second process might
    /// believe that the customer is still to be called.
    AnswerReady {
        /// The promise.
        promise: PromiseId,
        /// The fence.
        attempt: u32,
    },
    /// Break the dial; report its end as [`Outcome::Broken`], or as reached if that came first.
    BreakAttempt {
        /// The promise.
        promise: PromiseId,
        /// The fence.
        attempt: u32,
    },
    /// An earlier process died during this attempt: CANCEL and BYE what may be left of it.
    LeftBehind(Box<LeftBehind>),
    /// The end is on disk: an agent may be attached, or the customer told.
    Ended {
        /// The promise, which finds nothing any more.
        promise: PromiseId,
        /// How.
        end: End,
    },
}

/// What a cancellation came to (A12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// The promise has ended.
    Done,
    /// The customer is being dialled: it ends with the dial, as cancelled unless reached first.
    Breaking,
    /// The customer has answered: it ends as reached, or as cancelled if nobody is connected.
    TooLate,
}

/// Why nothing is promised, or nobody dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No such promise is open.
    Unknown,
    /// The customer is on the line.
    Live,
    /// An attempt of this promise is unfinished.
    Attempting,
    /// The wait for the next attempt is not over, or the number may still be ringing.
    NotDue,
    /// Nobody may be called before the hours of the queue begin (A5).
    OutsideHours,
    /// An attempt of another promise dials this number, or its customer talks there.
    NumberBusy,
    /// Number, name, trunk or a reason are empty or longer than [`TEXT_MAX`].
    BadText,
    /// [`PROMISES_MAX`] promises are open.
    TooMany,
    /// The number has had as many promises of this queue within a day as it may.
    NumberLimit,
    /// The queue has made as many promises within a day as it may.
    QueueLimit,
    /// The queue promises no callbacks.
    NotOffered,
    /// The key of the request was used with other arguments (A6).
    OtherArguments,
    /// As many keys of requests are remembered as may be, and all are needed.
    TooManyKeys,
    /// The journal failed: nothing can be promised any more.
    JournalFailed,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "no such promise is open",
            Self::Live => "the customer is on the line",
            Self::Attempting => "the promise is being attempted already",
            Self::NotDue => "the next attempt is not due yet",
            Self::OutsideHours => "nobody is called outside the hours of the queue",
            Self::NumberBusy => "the customer is being called back for another promise",
            Self::BadText => "number, name, trunk or a reason are empty or too long",
            Self::TooMany => "too many promises are open",
            Self::NumberLimit => "the number has had its callbacks for today",
            Self::QueueLimit => "the queue has promised its callbacks for today",
            Self::NotOffered => "the queue promises no callbacks",
            Self::OtherArguments => "the key was used for a request with other arguments",
            Self::TooManyKeys => "too many requests are remembered",
            Self::JournalFailed => "the journal failed, so nothing can be promised",
        })
    }
}

impl std::error::Error for Refused {}

/// No such promise is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unknown;

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such promise is open")
    }
}

impl std::error::Error for Unknown {}

/// The attempt is not the one that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the attempt is over")
    }
}

impl std::error::Error for Stale {}
