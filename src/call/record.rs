//! Call records: what is kept of a call and of each of its legs when they are over, as JSON.
//!
//! A *call* is what a person would count as one: the leg that came in, every run of a flow that was
//! started for it, and every leg that these runs or its queue dialled.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use crate::base::Tick;
use crate::call::leg::{Leg, LegRef};
use crate::call::record::line::{CallLine, LegLine, heard_mos, talked};
use crate::sip::Label;

mod line;

/// Messages that are kept of a leg; the others are counted. A call with one re-INVITE has ten.
pub const MESSAGES_MAX: usize = 200;
/// Visits of nodes that are kept from the beginning of a call.
pub const FIRST_VISITS_MAX: usize = 100;
/// Visits of nodes that are kept from its end; those between are counted.
pub const LAST_VISITS_MAX: usize = 300;
/// The number of a call in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallKey(pub u64);

/// Says calls of this process and of others apart, and when they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch {
    /// Milliseconds from the Unix epoch to [`Tick::ZERO`].
    pub ms: u64,
}

impl Epoch {
    /// The name of a call, as `18f3a2b4c5d-17`: when its process began, and its number there.
    pub fn call_text(self, call: CallKey) -> String {
        format!("{:x}-{}", self.ms, call.0)
    }

    /// A tick by the calendar, in UTC, as RFC 3339 writes it.
    pub fn time(self, tick: Tick) -> String {
        let ms = i64::try_from(self.ms.saturating_add(tick.as_millis())).unwrap_or(i64::MAX);
        let time = jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::MAX);
        format!("{time:.3}")
    }
}

/// The messages of a leg, for its ladder.
#[derive(Debug, Default)]
pub struct Trace {
    /// Its Call-ID.
    pub call_id: Box<str>,
    messages: Vec<(Tick, Heading, Label)>,
    left_out: u64,
}

/// Which way a message went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// To us.
    In,
    /// From us.
    Out,
}

impl Trace {
    /// Nothing was said yet.
    pub fn new(call_id: &str) -> Self {
        Self { call_id: call_id.into(), ..Self::default() }
    }

    /// A message came or left.
    pub fn push(&mut self, at: Tick, heading: Heading, label: Label) {
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push((at, heading, label));
        } else {
            self.left_out += 1;
        }
    }
}

/// One visit of a node.
#[derive(Clone, Debug)]
pub struct Visit {
    /// When it was over.
    pub at: Tick,
    /// Which run of the call it was, from 1.
    pub run: u64,
    /// The node.
    pub node: Arc<str>,
    /// Labels of the outputs that gave items; none: nothing came of it.
    pub outputs: Box<[Box<str>]>,
    /// The code of what went wrong, also where the run went on.
    pub fault: Option<Box<str>>,
}

/// The visits of a call: the first and the last ones.
#[derive(Debug, Default)]
pub struct Path {
    visits: std::collections::VecDeque<Visit>,
    left_out: u64,
}

impl Path {
    /// A node was visited.
    pub fn push(&mut self, visit: Visit) {
        if self.visits.len() >= FIRST_VISITS_MAX + LAST_VISITS_MAX {
            self.visits.remove(FIRST_VISITS_MAX);
            self.left_out += 1;
        }
        self.visits.push_back(visit);
    }
}

/// A record of a leg or of a call. It is what the switch had of it, and becomes JSON where it is
/// written down: no call waits for that.
#[derive(Debug)]
pub enum Record {
    /// A leg is over.
    Leg(Box<LegRecord>),
    /// A call is over: all its legs and runs are.
    Call(Box<CallRecord>),
}

/// A leg that is over.
#[derive(Debug)]
pub struct LegRecord {
    /// Which leg it was.
    pub id: LegRef,
    /// The leg.
    pub leg: Box<Leg>,
    /// The flow that it belonged to.
    pub flow: Arc<str>,
    /// When this process began.
    pub epoch: Epoch,
}

/// A call that is over.
#[derive(Debug)]
pub struct CallRecord {
    /// Which call it was.
    pub key: CallKey,
    /// The call.
    pub call: Call,
    /// When it ended.
    pub ended: Option<Tick>,
    /// When this process began.
    pub epoch: Epoch,
}

impl LegRecord {
    /// How long both sides talked; `None` unless it was answered and has ended.
    pub fn talked(&self) -> Option<std::time::Duration> {
        self.leg.ended.and(talked(&self.leg))
    }

    /// The opinion score of what we heard.
    pub fn mos(&self) -> Option<f64> {
        let encoding = self.leg.audio.agreed.as_ref()?.encoding;
        heard_mos(self.leg.statistics.as_ref()?, encoding)
    }
}

impl Record {
    /// Appends its line of the file, JSON and a line break, to these.
    pub fn write_line(&self, lines: &mut Vec<u8>) {
        let written = match self {
            Self::Leg(record) => {
                let LegRecord { id, leg, flow, epoch } = &**record;
                serde_json::to_writer(&mut *lines, &LegLine::of(*id, leg, flow, *epoch))
            }
            Self::Call(record) => {
                let CallRecord { key, call, ended, epoch } = &**record;
                serde_json::to_writer(&mut *lines, &CallLine::whole(*key, call, *ended, *epoch))
            }
        };
        written.expect(PLAIN);
        lines.push(b'\n');
    }
}

/// What a call is made of, apart from its legs.
#[derive(Debug)]
pub struct Call {
    /// When it began.
    pub began: Tick,
    /// The flow that had it first.
    pub flow: Arc<str>,
    /// Which version of it was active then; empty for a run that no call started.
    pub version: Arc<str>,
    /// The call that it continues: the one whose caller asked to be called back.
    pub continues: Option<CallKey>,
    /// Every leg it had.
    pub legs: Vec<LegRef>,
    /// Legs that are not forgotten.
    pub legs_open: usize,
    /// Runs that have not ended.
    pub runs_open: usize,
    /// Runs that were started, ever.
    pub runs: u64,
    /// When a leg of it was answered first.
    pub answered: Option<Tick>,
    /// When the last leg of it ended, if none is left; where it had none, when its last run did.
    pub ended: Option<Tick>,
    /// What went wrong in its runs, by code.
    pub faults: Vec<String>,
    /// Where its runs have been.
    pub path: Path,
}

/// Legs that a record of a call names; a call with more has dialled for hours.
const LEGS_MAX: usize = 1000;

impl Call {
    /// A call that begins.
    pub fn new(began: Tick, flow: Arc<str>, version: Arc<str>, continues: Option<CallKey>) -> Self {
        Self {
            began,
            flow,
            version,
            continues,
            legs: Vec::new(),
            legs_open: 0,
            runs_open: 0,
            runs: 0,
            answered: None,
            ended: None,
            faults: Vec::new(),
            path: Path::default(),
        }
    }

    /// A leg of it has come into being.
    pub fn add_leg(&mut self, leg: LegRef) {
        self.legs_open += 1;
        if self.legs.len() < LEGS_MAX {
            self.legs.push(leg);
        }
    }

    /// Whether nothing of it goes on.
    pub const fn is_over(&self) -> bool {
        self.legs_open == 0 && self.runs_open == 0
    }

    /// What is shown in a list of calls, of one that has ended then.
    pub fn summary(&self, key: CallKey, ended: Option<Tick>, epoch: Epoch) -> Value {
        as_value(CallLine::summary(key, self, ended, epoch))
    }

    /// The whole record, of one that has ended then.
    pub fn to_json(&self, key: CallKey, ended: Option<Tick>, epoch: Epoch) -> Value {
        as_value(CallLine::whole(key, self, ended, epoch))
    }
}

/// The record of a leg that is over, or as it would be now.
pub fn leg_json(id: LegRef, leg: &Leg, flow: &str, epoch: Epoch) -> Value {
    as_value(LegLine::of(id, leg, flow, epoch))
}

fn as_value(line: impl Serialize) -> Value {
    serde_json::to_value(line).expect(PLAIN)
}

const PLAIN: &str = "a record is plain JSON";

#[cfg(test)]
mod tests {
    use super::*;

    const EPOCH: Epoch = Epoch { ms: 1_700_000_000_000 };

    fn visit(number: u64) -> Visit {
        let node = format!("n{number}").into();
        Visit { at: Tick::from_millis(number), run: 1, node, outputs: Box::default(), fault: None }
    }

    #[test]
    fn a_long_path_keeps_its_beginning_and_its_end() {
        let mut path = Path::default();
        for number in 0..1000 {
            path.push(visit(number));
        }
        let nodes = path.visits.iter().map(|visit| &*visit.node).collect::<Vec<_>>();
        assert_eq!((nodes.len(), path.left_out), (400, 600));
        assert_eq!((nodes[0], nodes[99], nodes[100], nodes[399]), ("n0", "n99", "n700", "n999"));
    }

    #[test]
    fn a_trace_is_bounded_and_says_what_it_left_out() {
        let mut trace = Trace::new("id");
        for _ in 0..MESSAGES_MAX + 3 {
            trace.push(Tick::ZERO, Heading::In, Label::Malformed);
        }
        assert_eq!((trace.messages.len(), trace.left_out), (MESSAGES_MAX, 3));
    }

    #[test]
    fn a_call_has_a_name_and_a_time_that_outlive_its_process() {
        assert_eq!(EPOCH.call_text(CallKey(17)), "18bcfe56800-17");
        assert_eq!(EPOCH.time(Tick::from_millis(1234)), "2023-11-14T22:13:21.234Z");
    }
}
