//! Records as JSON: every key that there is, in the order in which it is written.

use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::base::Tick;
use crate::call::leg::{EndReason, Leg, LegRef, OriginKind, leg_text};
use crate::call::quality::{Scale, mos};
use crate::call::record::{Call, CallKey, Epoch, Heading, Path, Trace};
use crate::media::Statistics;
use crate::sdp::Encoding;
use crate::sip::Label;

/// Sound waits for so long before it is played: a packet and the jitter buffer's usual depth.
const PLAYOUT: Duration = Duration::from_millis(60);

/// A leg that is over, or as its record would be now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct LegLine<'a> {
    record: &'static str,
    call: String,
    leg: String,
    call_id: &'a str,
    direction: &'static str,
    kind: &'static str,
    r#ref: &'a str,
    flow: &'a str,
    from: &'a str,
    to: &'a str,
    peer: String,
    transport: &'static str,
    began: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    extension: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rang: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasted_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    talked_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    codec: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<AudioLine>,
    /// Milliseconds since the Unix epoch, way, what it is called.
    messages: Vec<(u64, &'static str, Called<'a>)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    messages_left_out: Option<u64>,
}

impl<'a> LegLine<'a> {
    pub(super) fn of(id: LegRef, leg: &'a Leg, flow: &'a str, epoch: Epoch) -> Self {
        let encoding = leg.audio.agreed.as_ref().map(|agreed| agreed.encoding);
        let time = |at: Option<Tick>| at.map(|at| epoch.time(at));
        Self {
            record: "leg",
            call: epoch.call_text(leg.call),
            leg: leg_text(id),
            call_id: &leg.trace.call_id,
            direction: if leg.is_inbound { "inbound" } else { "outbound" },
            kind: match leg.origin.kind {
                OriginKind::Trunk => "trunk",
                OriginKind::Extension => "extension",
            },
            r#ref: &leg.origin.trigger_ref,
            flow,
            from: &leg.caller_number,
            to: &leg.called_number,
            peer: leg.flow.remote.to_string(),
            transport: leg.flow.transport.in_via(),
            began: epoch.time(leg.started),
            extension: leg.origin.extension.as_deref(),
            rang: time(leg.rang),
            answered: time(leg.answered),
            ended: time(leg.ended),
            lasted_ms: leg.ended.map(|at| millis(at.since(leg.started))),
            talked_ms: leg.ended.and(talked(leg)).map(millis),
            reason: leg.end().map(|reason| reason.to_string()),
            status: leg.end().and_then(status),
            codec: encoding.map(Encoding::name),
            audio: leg.statistics.as_ref().map(|heard| AudioLine::of(heard, encoding)),
            messages: messages(&leg.trace, epoch),
            messages_left_out: (leg.trace.left_out > 0).then_some(leg.trace.left_out),
        }
    }
}

/// What a message is called, as text.
#[derive(Debug)]
struct Called<'a>(&'a Label);

impl Serialize for Called<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self.0)
    }
}

fn messages(trace: &Trace, epoch: Epoch) -> Vec<(u64, &'static str, Called<'_>)> {
    let rows = trace.messages.iter().map(|(at, heading, label)| {
        let way = match heading {
            Heading::In => "in",
            Heading::Out => "out",
        };
        (epoch.ms.saturating_add(at.as_millis()), way, Called(label))
    });
    rows.collect()
}

/// How a leg sounded.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct AudioLine {
    sent: u64,
    received: u64,
    lost: i64,
    late: u64,
    loss_percent: f64,
    jitter_ms: f64,
    concealed_ms: u64,
    foreign: u64,
    malformed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    mos: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mos_scale: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    round_trip_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_lost: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_jitter_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_mos: Option<f64>,
}

impl AudioLine {
    fn of(heard: &Statistics, encoding: Option<Encoding>) -> Self {
        let in_ms = |time: Duration| rounded(time.as_secs_f64() * 1000.0);
        let scored = |mos: fn(&Statistics, Encoding) -> Option<f64>| {
            encoding.and_then(|encoding| mos(heard, encoding)).map(rounded)
        };
        Self {
            sent: heard.packets_sent,
            received: heard.packets_received,
            lost: heard.packets_lost.max(0),
            late: heard.packets_late,
            loss_percent: rounded(lost_share(heard) * 100.0),
            jitter_ms: in_ms(heard.jitter),
            concealed_ms: millis(heard.concealed),
            foreign: heard.packets_foreign,
            malformed: heard.packets_malformed,
            mos: scored(heard_mos),
            mos_scale: encoding.map(|encoding| Scale::of(encoding).name()),
            round_trip_ms: heard.round_trip.map(in_ms),
            remote_lost: heard.remote_lost,
            remote_jitter_ms: heard.remote_jitter.map(in_ms),
            remote_mos: scored(remote_mos),
        }
    }
}

/// A call, of which the legs are told apart.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CallLine<'a> {
    record: &'static str,
    call: String,
    flow: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    flow_version: &'a str,
    began: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    answered: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lasted_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continues: Option<String>,
    legs: Vec<String>,
    runs: u64,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    errors: &'a [String],
    /// What lists leave out.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<Vec<VisitLine<'a>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    visits_left_out: Option<u64>,
}

impl<'a> CallLine<'a> {
    /// What is shown in a list of calls, of one that has ended then.
    pub(super) fn summary(key: CallKey, call: &'a Call, ended: Option<Tick>, epoch: Epoch) -> Self {
        Self {
            record: "call",
            call: epoch.call_text(key),
            flow: &call.flow,
            flow_version: &call.version,
            began: epoch.time(call.began),
            answered: call.answered.map(|at| epoch.time(at)),
            ended: ended.map(|at| epoch.time(at)),
            lasted_ms: ended.map(|at| millis(at.since(call.began))),
            continues: call.continues.map(|key| epoch.call_text(key)),
            legs: call.legs.iter().map(|leg| leg_text(*leg)).collect(),
            runs: call.runs,
            errors: &call.faults,
            path: None,
            visits_left_out: None,
        }
    }

    /// The whole record.
    pub(super) fn whole(key: CallKey, call: &'a Call, ended: Option<Tick>, epoch: Epoch) -> Self {
        Self {
            path: Some(visits(&call.path, epoch)),
            visits_left_out: (call.path.left_out > 0).then_some(call.path.left_out),
            ..Self::summary(key, call, ended, epoch)
        }
    }
}

/// A visit of a node.
#[derive(Debug, Serialize)]
struct VisitLine<'a> {
    at: u64,
    run: u64,
    node: &'a str,
    #[serde(skip_serializing_if = "<[Box<str>]>::is_empty")]
    outputs: &'a [Box<str>],
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

fn visits(path: &Path, epoch: Epoch) -> Vec<VisitLine<'_>> {
    let rows = path.visits.iter().map(|visit| VisitLine {
        at: epoch.ms.saturating_add(visit.at.as_millis()),
        run: visit.run,
        node: &visit.node,
        outputs: &visit.outputs,
        error: visit.fault.as_deref(),
    });
    rows.collect()
}

pub(super) fn talked(leg: &Leg) -> Option<Duration> {
    leg.answered.map(|answered| leg.ended.unwrap_or(answered).since(answered))
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

/// The share of what was sent to us that we did not hear.
fn lost_share(heard: &Statistics) -> f64 {
    let lost = heard.packets_lost.max(0) as f64;
    let sent = heard.packets_received as f64 + lost;
    if sent < 1.0 { 0.0 } else { ((lost + heard.packets_late as f64) / sent).min(1.0) }
}

pub(super) fn heard_mos(heard: &Statistics, encoding: Encoding) -> Option<f64> {
    (heard.packets_received > 0).then(|| mos(encoding, lost_share(heard), one_way(heard)))
}

/// The opinion of the far side, when it has said what it lost.
fn remote_mos(heard: &Statistics, encoding: Encoding) -> Option<f64> {
    let lost = f64::from(heard.remote_lost?.max(0));
    let sent = heard.packets_sent as f64;
    (sent >= 1.0).then(|| mos(encoding, lost / sent, one_way(heard)))
}

fn one_way(heard: &Statistics) -> Duration {
    PLAYOUT + heard.round_trip.unwrap_or_default() / 2
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Two digits after the point: what is measured is not more exact.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
