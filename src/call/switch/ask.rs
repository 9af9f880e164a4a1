//! What runs ask of the switch: which operation, on which leg, and how the answer goes back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::base::Tick;
use crate::call::guard::Denied;
use crate::call::leg::{Leg, LegRef, leg_text, parse_leg, text};
use crate::call::node::operation::Operation;
use crate::call::switch::{Output, Pending, Switch};
use crate::dispatch::Refused;
use crate::flow::{AskId, Fault, Input, Item, RunId, member};
use crate::promise;

/// Names one question of one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AskRef {
    /// The run.
    pub run: RunId,
    /// Its question.
    pub ask: AskId,
}

/// One operation that a run waits for.
#[derive(Debug)]
pub(super) struct Ask {
    pub(super) key: AskRef,
    /// The name of its workflow.
    pub(super) workflow: Arc<str>,
    pub(super) node: Arc<str>,
    pub(super) parameters: Arc<Map<String, Value>>,
    /// Names of the node's credentials by their type.
    pub(super) credentials: Arc<BTreeMap<String, String>>,
    pub(super) item: Item,
}

impl Ask {
    /// A top-level parameter.
    pub(super) fn parameter(&self, key: &str) -> Option<&Value> {
        member(&self.parameters, key)
    }

    /// An entry of the collection `options`.
    pub(super) fn option(&self, key: &str) -> Option<&Value> {
        member(member(&self.parameters, "options")?.as_object()?, key)
    }

    /// Text of a top-level parameter; numbers become text, as expressions often give numbers.
    pub(super) fn text(&self, key: &str) -> String {
        match self.parameter(key) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Number(number)) => number.to_string(),
            Some(_) | None => String::new(),
        }
    }

    /// Seconds of a top-level parameter.
    pub(super) fn seconds(&self, key: &str, default: f64) -> std::time::Duration {
        seconds(self.parameter(key), default)
    }

    /// The branch with this label; for fixed branches, which come after those of rules.
    pub(super) fn branch(&self, label: &str) -> usize {
        let name = self.parameter("operation").and_then(Value::as_str).unwrap_or_default();
        let operation = Operation::find(name);
        let labels = operation.map(|operation| operation.outputs(&self.parameters));
        labels.and_then(|labels| labels.iter().rposition(|l| l == label)).unwrap_or(0)
    }

    /// The leg that the operation is about: named, of the item, or of its context (contract §2).
    fn leg_value(&self) -> Option<&Value> {
        let named = |value: Option<&'_ Value>| {
            value.and_then(Value::as_str).is_some_and(|text| !text.is_empty())
        };
        let context = self.item.json.get("sipPbx").and_then(|context| context.get("legId"));
        [self.option("legId"), self.item.json.get("legId"), context]
            .into_iter()
            .find(|value| named(*value))
            .flatten()
    }
}

/// Why an operation failed: what the node's error says (contract §14).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failed {
    /// No leg is named, nor in the item.
    LegMissing,
    /// No leg to wait for is named, nor in the item.
    LegsMissing,
    /// More legs than one wait may name.
    LegsTooMany,
    /// The named leg does not exist, or no longer.
    LegUnknown,
    /// The leg has ended.
    LegEnded,
    /// The operation is not one of this server's.
    Unsupported,
    /// The offer and answer of the leg cannot be brought together.
    NoMedia,
    /// A bridge without its first leg.
    LegAMissing,
    /// A bridge without its second leg.
    LegBMissing,
    /// No dial is named, nor in the item.
    DialMissing,
    /// The named dial does not exist, or no longer.
    DialUnknown,
    /// More dials than one wait may name.
    DialsTooMany,
    /// Another wait has the dial.
    DialTaken,
    /// Nothing that can be dialled is named.
    DialTargets,
    /// A way of dialling that this server does not have.
    DialMode,
    /// The server dials as much as it may.
    TooManyDials,
    /// No active trunk has this ref.
    TrunkUnknown,
    /// A direct dial without a connection.
    ConnectionMissing,
    /// The settings say nothing about the connection.
    ConnectionUnknown,
    /// No playback is named, nor in the item.
    MediaMissing,
    /// The named playback or recording does not exist, or no longer.
    MediaUnknown,
    /// Nothing that can be pressed, or too much.
    DtmfDigits,
    /// A way to press digits that the far side or this server does not have.
    DtmfMethod,
    /// A tone that nobody knows.
    ToneUnknown,
    /// A tone pattern that cannot be read.
    TonePattern,
    /// No queue is named, nor in the item.
    RefMissing,
    /// No active queue has this ref.
    QueueUnknown,
    /// The leg did not come by a trunk.
    QueueLeg,
    /// The leg is in no queue.
    QueueEntry,
    /// Figures of neither a queue nor a leg.
    StatsTarget,
    /// A way of ringing agents that no queue has.
    StrategyUnknown,
    /// The queue does not take the leg.
    Queue(Refused),
    /// The caller's number is withheld or malformed.
    NumberWithheld,
    /// `ringback.toml` does not let the number be called back.
    NumberForbidden,
    /// The trunk's guard does not let the number be dialled.
    Denied(Denied),
    /// No request is named, nor in the item.
    AuthMissing,
    /// The request is not asked about, or was answered.
    AuthUnknown,
    /// A status that no refusal has.
    AuthStatus,
    /// An answer that nobody knows.
    AuthAction,
    /// A password is to be compared, and none is named.
    PasswordMissing,
    /// Whoever is let in has no number.
    ExtensionMissing,
    /// No request to record is named, nor in the item.
    RecordMissing,
    /// Nobody asks whether to record, or it was answered.
    RecordUnknown,
    /// A recording has no file.
    RecordPath,
    /// Nothing can be recorded.
    Unrecordable,
    /// The leg is not recorded.
    NotRecorded,
    /// Neither pause nor resume.
    RecordingAction,
    /// The book of promises says no.
    Promise(promise::Refused),
}

impl Failed {
    const fn code(self) -> &'static str {
        match self {
            Self::LegMissing
            | Self::LegsMissing
            | Self::LegAMissing
            | Self::LegBMissing
            | Self::DialMissing
            | Self::MediaMissing
            | Self::DtmfDigits
            | Self::DtmfMethod
            | Self::RefMissing
            | Self::ToneUnknown
            | Self::TonePattern
            | Self::DialMode
            | Self::AuthMissing
            | Self::AuthStatus
            | Self::AuthAction
            | Self::PasswordMissing
            | Self::ExtensionMissing
            | Self::StrategyUnknown
            | Self::RecordMissing
            | Self::RecordPath
            | Self::RecordingAction => "invalid_request",
            Self::AuthUnknown => "invalid_auth_request",
            Self::RecordUnknown => "invalid_record_request",
            Self::NotRecorded => "not_found",
            Self::Unrecordable => "transport_error",
            Self::Unsupported => "unsupported_operation",
            Self::LegUnknown | Self::MediaUnknown | Self::TrunkUnknown | Self::QueueUnknown => {
                "not_found"
            }
            Self::LegEnded => "invalid_leg",
            Self::ConnectionMissing | Self::ConnectionUnknown => "configuration_error",
            Self::LegsTooMany => "invalid_leg_wait",
            Self::DialsTooMany | Self::DialTaken => "invalid_dial_wait",
            Self::StatsTarget => "invalid_queue_stats_target",
            Self::DialUnknown => "invalid_dial",
            Self::DialTargets | Self::TooManyDials => "invalid_dial_targets",
            Self::QueueLeg => "invalid_queue_leg",
            Self::QueueEntry | Self::Queue(_) => "invalid_queue_entry",
            Self::NumberWithheld => "number_withheld",
            Self::NumberForbidden
            | Self::Denied(Denied::Blocked | Denied::Premium | Denied::NotAllowed) => {
                "number_forbidden"
            }
            Self::Denied(Denied::Rate | Denied::Channels) => "trunk_limit",
            Self::Promise(refused) => match refused {
                promise::Refused::BadText => "number_withheld",
                promise::Refused::NumberLimit
                | promise::Refused::QueueLimit
                | promise::Refused::TooMany
                | promise::Refused::OtherArguments
                | promise::Refused::TooManyKeys => "callback_limit",
                promise::Refused::NotOffered
                | promise::Refused::OutsideHours
                | promise::Refused::JournalFailed => "callback_unavailable",
                promise::Refused::Unknown
                | promise::Refused::Live
                | promise::Refused::Attempting
                | promise::Refused::NotDue
                | promise::Refused::NumberBusy => "invalid_queue_entry",
            },
            Self::NoMedia => "transport_error",
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LegMissing => "legId is required: neither the options nor the item name a leg",
            Self::LegsMissing => "legIds are required: neither the node nor the item name a leg",
            Self::LegsTooMany => "a wait names at most 16 legs",
            Self::DialsTooMany => "a wait names at most 16 dials",
            Self::DialTaken => "another wait has this dial: one at a time",
            Self::StatsTarget => "queueStatsTarget must be ref or legId",
            Self::LegUnknown => "no such leg: it ended more than five seconds ago, or never was",
            Self::LegEnded => "the leg has ended",
            Self::Unsupported => "Unsupported operation",
            Self::NoMedia => "the caller's audio offer could not be answered",
            Self::LegAMissing => "legAId is required",
            Self::LegBMissing => "legBId is required",
            Self::DialMissing => "dialIds are required: neither the node nor the item name a dial",
            Self::DialUnknown => "no such dial: it ended more than five seconds ago, or never was",
            Self::DialTargets => "the destination is no number or user that may be dialled",
            Self::DialMode => "callMode must be trunk, extension or direct",
            Self::ConnectionMissing => "a direct call needs a credential sipPbxExternal",
            Self::ConnectionUnknown => {
                "ringback.toml has no [trunk.NAME] with a server for the credential of this name"
            }
            Self::TooManyDials => "too many dials at a time",
            Self::TrunkUnknown => "no active trunk has this ref",
            Self::MediaMissing => "mediaId is required",
            Self::AuthMissing => "authRequestId is required",
            Self::AuthUnknown => {
                "no such request: it was answered, its time is over, or its caller has given up"
            }
            Self::RecordMissing => "recordRequestId is required",
            Self::RecordUnknown => {
                "no such request: it was answered, its time is over, or its leg has ended"
            }
            Self::RecordPath => "recordFilePath is required",
            Self::Unrecordable => "the call cannot be recorded: the log says why",
            Self::NotRecorded => "no recording of this call runs",
            Self::RecordingAction => "recordingControlAction must be pause or resume",
            Self::AuthStatus => "statusCode must be 400 to 699",
            Self::AuthAction => {
                "authAction must be allow, verify_password, not_applicable, challenge or deny"
            }
            Self::PasswordMissing => "password is required where authAction is verify_password",
            Self::ExtensionMissing => {
                "extension is required, as digits, letters, and + * # - . _: the user name is none"
            }
            Self::MediaUnknown => {
                "no such playback or recording: it ended more than five seconds ago, or never was"
            }
            Self::DtmfDigits => {
                "dtmfDigits must be 1 to 64 of 0-9, *, # and A-D, and in the sound take at most 30 s"
            }
            Self::DtmfMethod => {
                "dtmfMethod must be one that the far side takes: auto, rfc2833 if agreed, info once it talks, or inband"
            }
            Self::ToneUnknown => "Unsupported playTone tone",
            Self::TonePattern => "Invalid custom tone pattern",
            Self::RefMissing => "ref is required",
            Self::QueueUnknown => "no active queue has this ref",
            Self::QueueLeg => "only a call that came by a trunk can be queued",
            Self::QueueEntry => "the leg is not queued",
            Self::StrategyUnknown => {
                "callStrategy must be parallel, sequential, longestIdle, roundRobin, fewestCalls or random"
            }
            Self::Queue(refused) => return refused.fmt(f),
            Self::Denied(denied) => return denied.fmt(f),
            Self::Promise(refused) => return refused.fmt(f),
            Self::NumberForbidden => {
                "ringback.toml does not let this number be called back: see allow, deny and blocked"
            }
            Self::NumberWithheld => "the caller's number is withheld or malformed",
        })
    }
}

impl Switch {
    /// Performs what a run asks; the answer goes back at once or when it is known.
    pub(super) fn perform(&mut self, ask: Ask, now: Tick) {
        self.fault("ask");
        let operation = ask.text("operation");
        let outcome = match operation.as_str() {
            "call.answer" => self.answer_call(&ask, now),
            "call.ringing" => self.ring_call(&ask, now),
            "call.bridge" => return self.bridge_call(&ask, now),
            "call.unbridge" => return self.unbridge_call(&ask, now),
            "dial.make" => return self.make_dial(ask, now),
            "dial.wait" => return self.start_dial_wait(ask, now),
            "dial.break" => return self.break_dial(&ask, now),
            "media.playTone" => return self.start_tone(ask, now),
            "media.wait" => return self.start_media_wait(ask, now),
            "media.stopMedia" => return self.stop_media(&ask, now),
            "queue.putLeg" => self.put_leg(&ask, now),
            "queue.setCallback" => return self.set_callback(ask, now),
            "recording.start" => return self.start_recording(ask, now),
            "recording.control" => self.control_recording(&ask, now),
            "respond.toRecord" => return self.respond_record(ask, now),
            "respond.toAuth" => return self.respond_auth(&ask, now),
            "queue.getStats" => return self.queue_stats(&ask, now),
            "call.hangup" => self.hangup_call(&ask, now),
            "call.wait" => return self.start_wait(ask, now),
            "media.playAudio" => return self.start_play(ask, now),
            "media.recordAudio" => return self.start_record(ask, now),
            "media.sendDtmf" => self.send_dtmf(&ask, now),
            _ => Err(Failed::Unsupported),
        };
        match outcome {
            Ok(leg) => {
                let payload = json!({ "legId": leg_text(leg) });
                self.answer(&ask, 0, payload, None);
            }
            Err(failed) => self.fail(&ask, failed),
        }
    }

    /// The live or just ended leg of an operation.
    pub(super) fn leg_of(&self, ask: &Ask) -> Result<LegRef, Failed> {
        self.known_leg(ask.leg_value().ok_or(Failed::LegMissing)?)
    }

    /// The live or just ended leg with this text.
    pub(super) fn known_leg(&self, value: &Value) -> Result<LegRef, Failed> {
        let leg = parse_leg(value).ok_or(Failed::LegUnknown)?;
        self.legs.get(leg).map(|_| leg).ok_or(Failed::LegUnknown)
    }

    /// The leg of an operation that needs it alive.
    pub(super) fn live_leg_of(&mut self, ask: &Ask) -> Result<(LegRef, &mut Leg), Failed> {
        let id = self.leg_of(ask)?;
        let leg = self.legs.get_mut(id).ok_or(Failed::LegUnknown)?;
        if leg.end().is_some() {
            return Err(Failed::LegEnded);
        }
        Ok((id, leg))
    }

    /// Notes what a run waits for.
    pub(super) fn suspend(&mut self, ask: Ask, pending: Pending) {
        self.pending.insert(ask.key, (ask, pending));
    }

    /// Answers a run: one item with this payload on this branch.
    ///
    /// The payload replaces the input; only `sipPbx` is inherited, and the hidden response handle
    /// (contract §1).
    pub(super) fn answer(&mut self, ask: &Ask, branch: usize, payload: Value, media: Option<u64>) {
        let item = self.item_of(ask, payload, media);
        self.reply(ask.key, Ok(vec![(branch, item)]));
    }

    /// Answers a run with one item on each of several branches.
    pub(super) fn answer_many(&mut self, ask: &Ask, payloads: Vec<(usize, Value)>) {
        let items = payloads.into_iter();
        let items = items.map(|(branch, payload)| (branch, self.item_of(ask, payload, None)));
        let items = items.collect();
        self.reply(ask.key, Ok(items));
    }

    /// [`Self::answer`] with an attachment by this key.
    pub(super) fn answer_with(
        &mut self,
        ask: &Ask,
        branch: usize,
        payload: Value,
        media: u64,
        attached: (String, Value),
    ) {
        let mut item = self.item_of(ask, payload, Some(media));
        item.binary = Some(Arc::new(Map::from_iter([attached])));
        self.reply(ask.key, Ok(vec![(branch, item)]));
    }

    fn item_of(&self, ask: &Ask, payload: Value, media: Option<u64>) -> Item {
        const OWN: [&str; 5] = ["legId", "dialId", "mediaId", "authRequestId", "recordRequestId"];
        let payload = if let Value::Object(payload) = payload { payload } else { Map::new() };
        // Made at their size: every step of a call makes them.
        let mut object = Map::with_capacity(payload.len() + 1 + usize::from(media.is_some()));
        object.extend(payload);
        let inherited = ask.item.json.get("sipPbx").and_then(Value::as_object);
        let is_new = |key: &&str| inherited.is_none_or(|known| member(known, key).is_none());
        let is_given =
            |key: &&str| member(&object, key).is_some() || *key == "mediaId" && media.is_some();
        let added = OWN.iter().filter(|key| is_given(key) && is_new(key)).count();
        let mut context = Map::with_capacity(inherited.map_or(0, Map::len) + added);
        let inherited = inherited.into_iter().flatten();
        context.extend(inherited.map(|(key, value)| (key.clone(), value.clone())));
        if let Some(media) = media {
            object.insert("mediaId".to_owned(), text("media", media).into());
        }
        for key in OWN {
            if let Some(value) = member(&object, key) {
                context.insert(key.to_owned(), value.clone());
            }
        }
        object.insert("sipPbx".to_owned(), Value::Object(context));
        let mut item = Item::new(object);
        item.extra.clone_from(&ask.item.extra);
        item
    }

    /// Tells a run that its operation failed.
    pub(super) fn fail(&mut self, ask: &Ask, failed: Failed) {
        let operation = ask.text("operation");
        let message = format!("{operation} at node {}: {failed}", ask.node);
        self.reply(ask.key, Err(Fault::new(failed.code(), message)));
    }

    fn reply(&mut self, key: AskRef, answer: Result<Vec<(usize, Item)>, Fault>) {
        let AskRef { run, ask } = key;
        self.outputs.push_back(Output::Flow(Input::Answer { run, ask, answer }));
    }
}

/// Seconds as a duration; what is no number, or negative, is the default.
pub(super) fn seconds(value: Option<&Value>, default: f64) -> std::time::Duration {
    let given = match value {
        Some(Value::Number(number)) => number.as_f64(),
        Some(Value::String(text)) => text.trim().parse().ok(),
        Some(_) | None => None,
    };
    let seconds = given.filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
    std::time::Duration::from_secs_f64(seconds.unwrap_or(default).min(SECONDS_MAX))
}

/// The longest wait that a node may ask for: thirty days.
const SECONDS_MAX: f64 = 30.0 * 86_400.0;
