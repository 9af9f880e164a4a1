//! The words of this room: what is promised, how an attempt goes, and how a promise ends.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::Tick;

/// Promises that are open at a time.
pub const PROMISES_MAX: usize = 200_000;

/// Bytes of a number, a name or a trunk.
pub const TEXT_MAX: usize = 256;

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

/// How often and how long a promise is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Attempts that count before the promise is exhausted.
    pub attempts_max: u32,
    /// The wait after the first, the second, and every later attempt.
    pub waits: [Duration; 3],
    /// How long a promise stands.
    pub expiry: Duration,
}

impl Policy {
    /// Three attempts, 5, 15 and 60 minutes apart, within a day.
    pub const DEFAULT: Self = Self {
        attempts_max: 3,
        waits: [Duration::from_secs(300), Duration::from_secs(900), Duration::from_secs(3600)],
        expiry: Duration::from_secs(86_400),
    };
}

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
}

/// How a promise ended; nothing follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The customer answered, or was served on the line.
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
    /// The customer answered.
    Reached,
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
    /// We took the dial back because the customer phoned in or its run was gone: does not count.
    Broken,
    /// The process died during the attempt: counts, because the customer may have been rung.
    Unknown,
}

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
    /// The attempt is on disk: its INVITE may leave (I4).
    AttemptReady {
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
    LeftBehind(Attempt),
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
    /// An attempt of another promise dials this number.
    NumberBusy,
    /// Number, name or trunk are empty or longer than [`TEXT_MAX`].
    BadText,
    /// [`PROMISES_MAX`] promises are open.
    TooMany,
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
            Self::NumberBusy => "the number is being dialled for another promise",
            Self::BadText => "number, name or trunk are empty or too long",
            Self::TooMany => "too many promises are open",
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
