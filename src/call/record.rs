//! Call records: what is kept of a call and of each of its legs when they are over, as JSON.
//!
//! A *call* is what a person would count as one: the leg that came in, every run of a flow that was
//! started for it, and every leg that these runs or its queue dialled.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::base::Tick;
use crate::call::leg::{EndReason, Leg, LegRef, OriginKind, leg_text};
use crate::call::quality::{Scale, mos};
use crate::media::Statistics;
use crate::sdp::Encoding;

/// Messages that are kept of a leg; the others are counted. A call with one re-INVITE has ten.
pub const MESSAGES_MAX: usize = 200;
/// Visits of nodes that are kept from the beginning of a call.
pub const FIRST_VISITS_MAX: usize = 100;
/// Visits of nodes that are kept from its end; those between are counted.
pub const LAST_VISITS_MAX: usize = 300;
/// Sound waits for so long before it is played: a packet and the jitter buffer's usual depth.
const PLAYOUT: std::time::Duration = std::time::Duration::from_millis(60);

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
    messages: Vec<(Tick, Heading, Box<str>)>,
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
    pub fn push(&mut self, at: Tick, heading: Heading, label: &str) {
        if self.messages.len() < MESSAGES_MAX {
            self.messages.push((at, heading, label.into()));
        } else {
            self.left_out += 1;
        }
    }

    fn to_json(&self, epoch: Epoch) -> Value {
        let row = |(at, heading, label): &(Tick, Heading, Box<str>)| {
            let way = match heading {
                Heading::In => "in",
                Heading::Out => "out",
            };
            json!([epoch.ms.saturating_add(at.as_millis()), way, label])
        };
        self.messages.iter().map(row).collect()
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

    fn to_json(&self, epoch: Epoch) -> Value {
        let row = |visit: &Visit| {
            let at = epoch.ms.saturating_add(visit.at.as_millis());
            let mut row = json!({ "at": at, "run": visit.run, "node": &*visit.node });
            if !visit.outputs.is_empty() {
                row["outputs"] = visit.outputs.iter().map(|label| &**label).collect();
            }
            if let Some(fault) = &visit.fault {
                row["error"] = (**fault).into();
            }
            row
        };
        self.visits.iter().map(row).collect()
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
    pub leg: Leg,
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
    /// The line of the file.
    pub fn json(&self) -> Value {
        match self {
            Self::Leg(record) => leg_json(record.id, &record.leg, &record.flow, record.epoch),
            Self::Call(record) => record.call.to_json(record.key, record.ended, record.epoch),
        }
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.json().fmt(f)
    }
}

fn talked(leg: &Leg) -> Option<std::time::Duration> {
    leg.answered.map(|answered| leg.ended.unwrap_or(answered).since(answered))
}

/// The record of a leg that is over, or as it would be now.
pub fn leg_json(id: LegRef, leg: &Leg, flow: &str, epoch: Epoch) -> Value {
    let encoding = leg.audio.agreed.as_ref().map(|agreed| agreed.encoding);
    let mut json = json!({
        "record": "leg",
        "call": epoch.call_text(leg.call),
        "leg": leg_text(id),
        "callId": &*leg.trace.call_id,
        "direction": if leg.is_inbound { "inbound" } else { "outbound" },
        "kind": match leg.origin.kind {
            OriginKind::Trunk => "trunk",
            OriginKind::Extension => "extension",
        },
        "ref": leg.origin.trigger_ref,
        "flow": flow,
        "from": leg.caller_number,
        "to": leg.called_number,
        "peer": leg.flow.remote.to_string(),
        "transport": leg.flow.transport.in_via(),
        "began": epoch.time(leg.started),
    });
    let object = json.as_object_mut().expect("an object literal is an object");
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            object.insert(key.to_owned(), value);
        }
    };
    set("extension", leg.origin.extension.clone().map(Value::from));
    set("rang", leg.rang.map(|at| epoch.time(at).into()));
    set("answered", leg.answered.map(|at| epoch.time(at).into()));
    set("ended", leg.ended.map(|at| epoch.time(at).into()));
    set("lastedMs", leg.ended.map(|at| millis(at.since(leg.started))));
    set("talkedMs", leg.ended.and(talked(leg)).map(millis));
    set("reason", leg.end().map(|reason| reason.to_string().into()));
    set("status", leg.end().and_then(status).map(Value::from));
    set("codec", encoding.map(|encoding| encoding.name().into()));
    set("audio", leg.statistics.as_ref().map(|heard| audio(heard, encoding)));
    set("messages", Some(leg.trace.to_json(epoch)));
    set("messagesLeftOut", (leg.trace.left_out > 0).then(|| leg.trace.left_out.into()));
    json
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
        let legs = self.legs.iter().map(|leg| leg_text(*leg)).collect::<Vec<_>>();
        let mut object = Map::new();
        let mut set = |key: &str, value: Value| object.insert(key.to_owned(), value);
        set("record", "call".into());
        set("call", epoch.call_text(key).into());
        set("flow", (&*self.flow).into());
        if !self.version.is_empty() {
            set("flowVersion", (&*self.version).into());
        }
        set("began", epoch.time(self.began).into());
        if let Some(answered) = self.answered {
            set("answered", epoch.time(answered).into());
        }
        if let Some(ended) = ended {
            set("ended", epoch.time(ended).into());
            set("lastedMs", millis(ended.since(self.began)));
        }
        if let Some(continues) = self.continues {
            set("continues", epoch.call_text(continues).into());
        }
        set("legs", legs.into());
        set("runs", self.runs.into());
        if !self.faults.is_empty() {
            set("errors", self.faults.clone().into());
        }
        Value::Object(object)
    }

    /// The whole record, of one that has ended then.
    pub fn to_json(&self, key: CallKey, ended: Option<Tick>, epoch: Epoch) -> Value {
        let mut json = self.summary(key, ended, epoch);
        json["path"] = self.path.to_json(epoch);
        if self.path.left_out > 0 {
            json["visitsLeftOut"] = self.path.left_out.into();
        }
        json
    }
}

/// The SIP status that a leg ended with, where it did.
const fn status(reason: EndReason) -> Option<u16> {
    match reason {
        EndReason::Rejected(status) | EndReason::PeerRejected(status) => Some(status),
        EndReason::RemoteHangup
        | EndReason::Cancelled
        | EndReason::LocalHangup
        | EndReason::FreeTtl
        | EndReason::Lost
        | EndReason::ParallelLoser
        | EndReason::Broken
        | EndReason::RangOut
        | EndReason::Panicked
        | EndReason::NoAudio => None,
    }
}

fn audio(heard: &Statistics, encoding: Option<Encoding>) -> Value {
    let mut json = json!({
        "sent": heard.packets_sent,
        "received": heard.packets_received,
        "lost": heard.packets_lost.max(0),
        "late": heard.packets_late,
        "lossPercent": rounded(lost_share(heard) * 100.0),
        "jitterMs": rounded(heard.jitter.as_secs_f64() * 1000.0),
        "concealedMs": millis(heard.concealed),
        "foreign": heard.packets_foreign,
        "malformed": heard.packets_malformed,
    });
    let mut set = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            json[key] = value;
        }
    };
    let mos = encoding.and_then(|encoding| heard_mos(heard, encoding));
    set("mos", mos.map(|mos| rounded(mos).into()));
    set("mosScale", encoding.map(|encoding| Scale::of(encoding).name().into()));
    set("roundTripMs", heard.round_trip.map(|time| rounded(time.as_secs_f64() * 1000.0).into()));
    set("remoteLost", heard.remote_lost.map(Value::from));
    let jitter = heard.remote_jitter.map(|time| rounded(time.as_secs_f64() * 1000.0).into());
    set("remoteJitterMs", jitter);
    let mos = encoding.and_then(|encoding| remote_mos(heard, encoding));
    set("remoteMos", mos.map(|mos| rounded(mos).into()));
    json
}

/// The share of what was sent to us that we did not hear.
fn lost_share(heard: &Statistics) -> f64 {
    let lost = heard.packets_lost.max(0) as f64;
    let sent = heard.packets_received as f64 + lost;
    if sent < 1.0 { 0.0 } else { ((lost + heard.packets_late as f64) / sent).min(1.0) }
}

fn heard_mos(heard: &Statistics, encoding: Encoding) -> Option<f64> {
    (heard.packets_received > 0).then(|| mos(encoding, lost_share(heard), one_way(heard)))
}

/// The opinion of the far side, when it has said what it lost.
fn remote_mos(heard: &Statistics, encoding: Encoding) -> Option<f64> {
    let lost = f64::from(heard.remote_lost?.max(0));
    let sent = heard.packets_sent as f64;
    (sent >= 1.0).then(|| mos(encoding, lost / sent, one_way(heard)))
}

fn one_way(heard: &Statistics) -> std::time::Duration {
    PLAYOUT + heard.round_trip.unwrap_or_default() / 2
}

fn millis(duration: std::time::Duration) -> Value {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).into()
}

/// Two digits after the point: what is measured is not more exact.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

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
        let kept = path.to_json(EPOCH);
        let nodes = kept.as_array().unwrap().iter().map(|row| row["node"].as_str().unwrap());
        let nodes = nodes.collect::<Vec<_>>();
        assert_eq!((nodes.len(), path.left_out), (400, 600));
        assert_eq!((nodes[0], nodes[99], nodes[100], nodes[399]), ("n0", "n99", "n700", "n999"));
    }

    #[test]
    fn a_trace_is_bounded_and_says_what_it_left_out() {
        let mut trace = Trace::new("id");
        for _ in 0..MESSAGES_MAX + 3 {
            trace.push(Tick::ZERO, Heading::In, "BYE");
        }
        assert_eq!((trace.messages.len(), trace.left_out), (MESSAGES_MAX, 3));
    }

    #[test]
    fn loss_counts_what_came_too_late_and_no_duplicates() {
        let heard = |received, lost, late| Statistics {
            packets_received: received,
            packets_lost: lost,
            packets_late: late,
            ..Statistics::default()
        };
        assert!((lost_share(&heard(90, 10, 0)) - 0.1).abs() < 1e-9);
        assert!((lost_share(&heard(90, 10, 5)) - 0.15).abs() < 1e-9);
        assert!(lost_share(&heard(90, -4, 0)).abs() < 1e-9);
        let mos = |heard: &Statistics| heard_mos(heard, Encoding::Pcmu);
        assert_eq!(mos(&heard(0, 0, 0)), None, "nobody heard anything");
        assert!((mos(&heard(90, 0, 0)).unwrap() - 4.37).abs() < 0.01);
    }

    #[test]
    fn a_call_has_a_name_and_a_time_that_outlive_its_process() {
        assert_eq!(EPOCH.call_text(CallKey(17)), "18bcfe56800-17");
        assert_eq!(EPOCH.time(Tick::from_millis(1234)), "2023-11-14T22:13:21.234Z");
    }
}
