//! The words of this room: ids, requests, order keys, events and refusals.

use std::fmt;
use std::time::Duration;

use crate::base::Tick;

/// Queues of one dispatcher.
pub const QUEUES_MAX: usize = 10_000;

/// Agents of one dispatcher.
pub const AGENTS_MAX: usize = 100_000;

/// A queue, as its owner numbers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// An operator number, as its owner numbers it. Numbers that are one telephone are one agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub u64);

/// The owner's own handle of a caller's leg; opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallRef(pub u64);

/// A place in a queue; after the place has ended it finds nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(pub u64);

/// One dial to agents on behalf of an entry; a later offer of the same entry has another number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OfferId {
    /// The entry that the agents are rung for.
    pub entry: EntryId,
    /// Counts the offers of this dispatcher.
    pub number: u64,
}

/// Where a new entry is put. Within one placement the order is that of arrival.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Placement {
    /// Before everybody who was put at the back.
    Front,
    /// Behind everybody.
    #[default]
    Back,
}

/// The one order of live callers and callbacks; the smallest is served first.
///
/// It outlives the process: a promise that comes back after a restart brings its key along.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderKey {
    /// The placement class.
    pub placement: Placement,
    /// When the caller first joined, in microseconds since the Unix epoch.
    pub enqueued_us: u64,
    /// Tells apart those who joined within one microsecond.
    pub sequence: u64,
}

/// Whether the caller is on the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// The caller waits on the line.
    Live,
    /// The caller has left; the place is held, and the workflow dials.
    Callback,
}

/// How the agents of an offer are rung; carried through to the dial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// All who are free, at once; all are reserved.
    #[default]
    Parallel,
    /// All who are free, one after another in the order of the queue; all are reserved.
    Sequential {
        /// How long one agent rings.
        attempt_timeout: Duration,
        /// The pause before the next agent rings.
        gap: Duration,
    },
    /// One agent, who alone is reserved, so that as many callers are served at a time as agents
    /// are free. When that one lets the offer pass, the next is chosen; each rings once.
    OneByOne {
        /// Who is chosen.
        choice: Choice,
        /// How long one agent rings.
        attempt_timeout: Duration,
    },
}

/// Which of the free agents is rung; a tie goes to the one who has been free for longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Who has been without a call for longest. A call that he let pass counts as one.
    LongestIdle,
    /// Who follows, in the order of the queue, the one that was chosen last.
    RoundRobin,
    /// Who has had the fewest calls in this process, those that he let pass among them.
    FewestCalls,
    /// Anybody.
    Random,
}

/// What follows an offer that nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Offers after the first one.
    pub attempts: u32,
    /// The cooldown before the next offer; nothing shortens it.
    pub pause: Duration,
}

impl Retry {
    /// `queue.putLeg`: three retries, 30 s apart.
    pub const DEFAULT: Self = Self { attempts: 3, pause: Duration::from_secs(30) };
}

/// The limits of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Entries of any state and mode; the next caller is refused.
    pub entries_max: usize,
    /// How long a place is held for a caller who has left.
    pub callback_expiry: Duration,
}

impl Policy {
    /// 10,000 entries, and callbacks for a day.
    pub const DEFAULT: Self =
        Self { entries_max: 10_000, callback_expiry: Duration::from_secs(86_400) };
}

/// Who waits, in the terms that a callback is made with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    /// The number that a callback dials and that agents see; `None` when it is withheld.
    pub number: Option<String>,
    /// The trunk that the call came by and a callback leaves by.
    pub trunk: String,
}

/// A wish to be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The caller's leg; `None` puts a callback in, as after a restart.
    pub caller: Option<CallRef>,
    /// The caller's number and trunk.
    pub party: Party,
    /// Where to stand, unless `key` says it.
    pub placement: Placement,
    /// Whether a caller who left a callback behind gets the old place back.
    pub rejoin: bool,
    /// What follows unanswered offers.
    pub retry: Retry,
    /// How agents are rung.
    pub strategy: Strategy,
    /// The place of an earlier life, kept.
    pub key: Option<OrderKey>,
}

impl Request {
    /// A live caller at the back of the queue, with the defaults of `queue.putLeg`.
    pub fn live(caller: CallRef, party: Party) -> Self {
        Self {
            caller: Some(caller),
            party,
            placement: Placement::Back,
            rejoin: true,
            retry: Retry::DEFAULT,
            strategy: Strategy::Parallel,
            key: None,
        }
    }

    /// A callback that keeps the place of `key`.
    pub fn callback(party: Party, key: OrderKey) -> Self {
        Self {
            caller: None,
            party,
            placement: key.placement,
            rejoin: false,
            retry: Retry::DEFAULT,
            strategy: Strategy::Parallel,
            key: Some(key),
        }
    }
}

/// What the owner is to do or to tell, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The live caller is in the queue's hands: interrupt `call_queue_placed`.
    QueuePlaced {
        /// The place.
        entry: EntryId,
        /// The leg that joined.
        caller: CallRef,
    },
    /// The queue let go of the live caller: interrupt `call_queue_removed`.
    QueueRemoved {
        /// The place, which has ended.
        entry: EntryId,
        /// The leg that is free again.
        caller: CallRef,
    },
    /// No agent is free at once; the caller really waits. Said once a life of the leg.
    Placed {
        /// The place.
        entry: EntryId,
    },
    /// Ring these agents, and report what became of it.
    Dispatch {
        /// The offer to report with.
        offer: OfferId,
        /// The queue.
        queue: QueueId,
        /// The caller on the line; `None` for a callback.
        caller: Option<CallRef>,
        /// The agents, reserved for this offer until it ends.
        agents: Vec<AgentId>,
        /// How to ring them.
        strategy: Strategy,
        /// 1 for the first offer of this entry.
        attempt: u32,
    },
    /// Nobody can be reached. A live place has ended by it; whether a callback's has, `Ended` says.
    Offline {
        /// The place.
        entry: EntryId,
        /// The leg, when it is still there.
        caller: Option<CallRef>,
    },
    /// Abort the dial to the agents; its outcome no longer counts.
    BreakOffer {
        /// The offer.
        offer: OfferId,
        /// Why.
        reason: BreakReason,
    },
    /// The last word about a place; said exactly once.
    Ended {
        /// The place, which finds nothing any more.
        entry: EntryId,
        /// Why.
        reason: Ended,
    },
}

/// Why an offer is taken back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BreakReason {
    /// `queue_callback`: the caller left and is to be called back later.
    Callback,
    /// The caller left for good.
    CallerGone,
    /// The caller of a callback phoned in again and is on the line.
    Rejoined,
    /// The place was cancelled, or its queue is gone.
    Cancelled,
}

/// Why a place ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ended {
    /// An agent answered.
    Answered(AgentId),
    /// The caller hung up without a callback.
    Abandoned,
    /// Nobody was online for a live caller.
    Offline,
    /// Every offer went unanswered.
    Exhausted,
    /// The callback's time ran out.
    Expired,
    /// The owner took it out.
    Cancelled,
}

/// What an entry is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is for the next free agent.
    Ready,
    /// Nobody took it, or its caller has just left: it is not offered before.
    Cooling {
        /// When it is ready again.
        until: Tick,
    },
    /// These agents ring for it.
    Offered {
        /// Who.
        agents: Vec<AgentId>,
    },
}

/// What an agent is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentStanding {
    /// No telephone is registered.
    Offline,
    /// Rings for an entry.
    Offered,
    /// Has a leg.
    Busy,
    /// Let an offer pass, or may ring though nobody hears it, and is not rung for a while.
    Resting,
    /// Could be rung.
    Free,
}

/// What became of a place when its caller hung up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// It is held for a callback.
    Callback,
    /// It has ended.
    Abandoned,
}

/// An offer that an agent took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The queue.
    pub queue: QueueId,
    /// The caller on the line; `None`: the workflow dials `party`.
    pub caller: Option<CallRef>,
    /// Number and trunk.
    pub party: Party,
    /// The place, for the case that the callback fails and is to be queued again.
    pub key: OrderKey,
}

/// A queue in figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Entries of any state and mode.
    pub size: usize,
    /// Mean time from joining to an agent's answer, since the process began.
    pub average_wait: Duration,
    /// Entries that an agent answered.
    pub completed: u64,
}

/// Why a caller cannot join a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No such queue is active.
    UnknownQueue,
    /// The leg owns an entry already: `invalid_queue_entry`.
    AlreadyQueued,
    /// The queue has as many entries as it may.
    QueueFull,
    /// A callback without a number can never be made.
    NumberMissing,
    /// More queues or agents than [`QUEUES_MAX`] or [`AGENTS_MAX`].
    TooMany,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownQueue => "no such queue is active",
            Self::AlreadyQueued => "the leg is in a queue already",
            Self::QueueFull => "the queue is full",
            Self::NumberMissing => "a callback needs a number",
            Self::TooMany => "too many queues or agents",
        })
    }
}

impl std::error::Error for Refused {}

/// The entry has ended, or never was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotQueued;

impl fmt::Display for NotQueued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the leg is not queued")
    }
}

impl std::error::Error for NotQueued {}

/// The offer was taken back or has ended already: whoever answered it gets nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the offer is over")
    }
}

impl std::error::Error for Stale {}
