//! `sipPbx`: every operation of the action node, checked against the table of operations.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

use crate::call::digits::is_digit;
use crate::call::node::operation::{
    DIAL_STRATEGIES, Demand, Key, OPERATIONS, Operation, QUEUE_STRATEGIES, items,
};
use crate::call::node::{adopt_options, is_expression, rename_option};
use crate::flow::{Findings, NodeType, Object, Role, nearest};
use crate::media::TapeFormat;

/// The type's name in exports.
pub const ACTION: &str = "n8n-nodes-sip-pbx.sipPbx";

/// Keys that every operation may carry.
const COMMON: [&str; 3] = ["resource", "operation", "options"];

/// Collections of older exports that are now `options` (contract §1.1).
const OLD_OPTIONS: [&str; 6] = [
    "callOptions",
    "dialOptions",
    "mediaOptions",
    "queueOptions",
    "respondOptions",
    "recordingOptions",
];

/// Operations that older exports call otherwise (contract §1.1).
const OLD_OPERATIONS: [(&str, &str); 3] = [
    ("call.waitCallEvent", "call.wait"),
    ("dial.waitDialEvent", "dial.wait"),
    ("media.waitMedia", "media.wait"),
];

/// Keys of older exports that are options now (contract §1.1).
const OLD_KEYS: [(&str, &str); 4] = [
    ("mediaLegId", "legId"),
    ("stopMediaLegId", "legId"),
    ("stopMediaId", "mediaId"),
    ("extensionListOnlyFreeEndpoints", "extensionOnlyFreeEndpoints"),
];

pub(super) struct Action;

impl NodeType for Action {
    fn name(&self) -> &'static str {
        ACTION
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn role(&self) -> Role {
        Role::World
    }

    fn fill(&self, _version: f64, parameters: &mut Object, report: &mut Findings) {
        rename(parameters, report);
        match operation(parameters) {
            Some(operation) => {
                operation.fill(parameters);
                drop_hidden(operation, parameters, report);
            }
            None => {
                parameters.entry("options").or_insert_with(|| Value::Object(Object::new()));
            }
        }
    }

    fn outputs(&self, _version: f64, parameters: &Object) -> Vec<String> {
        let labels = operation(parameters).map(|operation| operation.outputs(parameters));
        labels.into_iter().flatten().map(Cow::into_owned).collect()
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let name = parameters.get("operation").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() {
            let remedy = "choose one, such as call.answer";
            return report.error("E-SIP-OPERATION", "operation", "Operation is required", remedy);
        }
        let Some(operation) = Operation::find(name) else {
            let near = nearest(name, OPERATIONS.iter().map(|operation| operation.name));
            let remedy = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            let message = format!("Unsupported operation: {name}");
            return report.error("E-SIP-OPERATION", "operation", &message, &remedy);
        };
        if !operation.is_performed {
            let message = format!("{name} is not performed by this server yet");
            return report.error("E-SIP-UNSERVED", "operation", &message, "take the node out");
        }
        for key in operation.keys {
            check_key(key, parameters, report);
        }
        report_unknown(operation, parameters, report);
        check_strategy(name, parameters, report);
        if name == "dial.make" {
            check_call_mode(parameters, report);
        }
        if name == "media.playAudio" {
            check_credential("playbackHttpAuthentication", parameters, report);
        }
        if name == "media.recordAudio" {
            check_recording(parameters, report);
        }
    }
}

fn operation(parameters: &Object) -> Option<&'static Operation> {
    Operation::find(parameters.get("operation")?.as_str()?)
}

fn rename(parameters: &mut Object, report: &mut Findings) {
    adopt_options(parameters, &OLD_OPTIONS, report);
    for (old, new) in OLD_KEYS {
        rename_option(parameters, old, new, report);
    }
    if let Some(ids) = parameters.remove("waitMediaIds") {
        report.note("N-SIP-RENAMED", "waitMediaIds", "read as `mediaIds`", "");
        parameters.entry("mediaIds").or_insert(ids);
    }
    let name = parameters.get("operation").and_then(Value::as_str).unwrap_or_default();
    if let Some((old, new)) = OLD_OPERATIONS.iter().find(|(old, _)| *old == name) {
        report.note("N-SIP-RENAMED", "operation", &format!("`{old}` read as `{new}`"), "");
        parameters.insert("operation".to_owned(), (*new).into());
    }
    let mut interrupts = Vec::new();
    for (old, new) in [
        ("interruptOnDtmf", "dtmf"),
        ("interruptOnVoice", "voice"),
        ("interruptOnSilence", "silence"),
    ] {
        if let Some(value) = parameters.remove(old) {
            report.note("N-SIP-RENAMED", old, &format!("read as `{new}` of `interruptOn`"), "");
            interrupts.extend((value == Value::Bool(true)).then(|| Value::from(new)));
        }
    }
    if !interrupts.is_empty() {
        parameters.entry("interruptOn").or_insert(Value::Array(interrupts));
    }
}

/// Takes out what the editor does not show: what belongs to another operation, or to another kind
/// of this one. An expression that was left behind there is no matter.
fn drop_hidden(operation: &Operation, parameters: &mut Object, report: &mut Findings) {
    let is_own = |name: &str| operation.keys.iter().any(|key| key.name == name);
    let is_others =
        |name: &str| OPERATIONS.iter().flat_map(|other| other.keys).any(|key| key.name == name);
    let hidden = |name: &str, parameters: &Object| {
        if !is_own(name) && !COMMON.contains(&name) && is_others(name) {
            return Some(format!("`operation` is `{}`", operation.name));
        }
        let own = operation.keys.iter().find(|key| key.name == name)?;
        let Demand::RequiredIf(other, wanted) = own.demand else { return None };
        let value = parameters.get(other)?.as_str().filter(|value| !value.starts_with('='))?;
        (!wanted.contains(&value)).then(|| format!("`{other}` is `{value}`"))
    };
    let names: Vec<String> = parameters.keys().cloned().collect();
    for name in names {
        if let Some(why) = hidden(&name, parameters) {
            parameters.shift_remove(&name);
            let message = format!("the parameter has no effect while {why}");
            report.note("N-FLOW-HIDDEN", &name, &message, "");
        }
    }
}

fn check_key(key: &Key, parameters: &Object, report: &mut Findings) {
    let value = parameters.get(key.name).unwrap_or(&Value::Null);
    if is_expression(value) {
        return;
    }
    let mut wrong = |message: String, remedy: &str| {
        report.error("E-SIP-VALUE", key.name, &message, remedy);
    };
    match key.demand {
        Demand::Optional => {}
        Demand::Required if is_empty(value) => {
            report.error(
                "E-SIP-REQUIRED",
                key.name,
                &format!("{} is required", key.name),
                "fill it in",
            );
        }
        Demand::RequiredIf(other, wanted) if is_empty(value) => {
            let given = parameters.get(other).and_then(Value::as_str);
            if let Some(given) = given.filter(|given| wanted.contains(given)) {
                let message = format!("{} is required where {other} is {given}", key.name);
                report.error("E-SIP-REQUIRED", key.name, &message, "fill it in");
            }
        }
        Demand::Required | Demand::RequiredIf(..) => {}
        Demand::OneOf(words) => {
            if value.is_null() {
                wrong(format!("{} is required", key.name), "choose one of its values");
            } else if !value.as_str().is_some_and(|text| words.contains(&text)) {
                wrong(format!("{value} is none of {}", words.join(", ")), "choose one of these");
            }
        }
        Demand::SomeOf(words) => {
            let list = value.as_array().map_or(&[][..], Vec::as_slice);
            let strange =
                list.iter().find(|item| !item.as_str().is_some_and(|i| words.contains(&i)));
            if let Some(strange) = strange {
                wrong(format!("{strange} is none of {}", words.join(", ")), "take it out");
            }
        }
        Demand::Rules => check_rules(value, report),
        Demand::Digit => {
            let mut digits = value.as_str().unwrap_or_default().chars();
            if !matches!((digits.next(), digits.next()), (Some(digit), None) if is_digit(digit)) {
                wrong(format!("{value} is not exactly one DTMF digit"), "write one of 0-9 * # A-D");
            }
        }
        Demand::Number => {
            if value.as_f64().is_none_or(|number| number < 0.0) {
                wrong(format!("{value} is no number from 0 on"), "write a number");
            }
        }
        Demand::Flag => {
            if !value.is_boolean() {
                wrong(format!("{value} is neither true nor false"), "write true or false");
            }
        }
    }
}

fn check_rules(value: &Value, report: &mut Findings) {
    let mut labels = BTreeSet::new();
    for (index, item) in items(Some(value)).iter().enumerate() {
        let path = |key: &str| format!("rules.item[{index}].{key}");
        let field = |key: &str| item.get(key).filter(|value| !is_empty(value));
        let (Some(pattern), Some(label)) = (field("pattern"), field("label")) else {
            let message = "a rule without pattern or label is dropped";
            report.warning("W-SIP-RULE", &path("pattern"), message, "fill in both");
            continue;
        };
        let digits = pattern.as_str().map_or_else(|| pattern.to_string(), str::to_owned);
        if !is_expression(pattern) && !digits.chars().all(is_digit) {
            let message = format!("`{digits}` holds something that is no DTMF digit");
            report.error("E-SIP-VALUE", &path("pattern"), &message, "write digits 0-9 * # A-D");
        }
        if !labels.insert(label.to_string()) {
            let message = format!("a second rule with the label {label}");
            report.error("E-SIP-RULE", &path("label"), &message, "give each rule its own label");
        }
    }
}

/// Credentials are those that the HTTP Request node knows.
fn check_credential(key: &str, parameters: &Object, report: &mut Findings) {
    if parameters.get(key).is_some_and(|value| value == "predefinedCredentialType") {
        let message = "credentials of other services are not known here";
        let remedy = "choose a generic credential: header, bearer, basic or query";
        report.error("E-SIP-UNSERVED", key, message, remedy);
    }
}

fn check_recording(parameters: &Object, report: &mut Findings) {
    let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
    let format = text("recordFileFormat");
    if matches!(format, "mp3" | "opus" | "ogg") {
        let message = format!("recording as `{format}` is not performed by this server yet");
        report.error("E-SIP-UNSERVED", "recordFileFormat", &message, "record wav");
    }
    check_credential("recordHttpAuthentication", parameters, report);
    let path = text("recordFilePath");
    if !path.starts_with('=') && path.split('/').any(|part| part == "..") {
        let message = format!("{path} leads out of the directory of recordings");
        report.error("E-SIP-VALUE", "recordFilePath", &message, "write a name without `..`");
    }
    let options = parameters.get("options");
    let option = |key: &str| options.and_then(|options| options.get(key)).and_then(Value::as_u64);
    let mut check = |key: &str, allowed: &[u64]| {
        if let Some(value) = option(key).filter(|value| !allowed.contains(value)) {
            let message = format!("{value} is none of {allowed:?}");
            let path = format!("options.{key}");
            report.error("E-SIP-VALUE", &path, &message, "choose one of these");
        }
    };
    check("recordWavSampleRate", &TapeFormat::RATES.map(u64::from));
    check("recordWavBitDepth", &TapeFormat::BITS.map(u64::from));
}

/// Ways of dialling that this server does not have.
fn check_call_mode(parameters: &Object, report: &mut Findings) {
    let mode = parameters.get("callMode").and_then(Value::as_str).unwrap_or_default();
    if mode == "websocket" {
        let message = "`websocket` calls are not performed by this server yet";
        let remedy = "dial by a trunk, to an extension, or directly";
        report.error("E-SIP-UNSERVED", "callMode", message, remedy);
    }
}

/// How targets are rung; queues know more ways than dials do (contract §15).
fn check_strategy(operation: &str, parameters: &Object, report: &mut Findings) {
    let options = parameters.get("options").and_then(Value::as_object);
    let Some(value) = options.and_then(|options| options.get("callStrategy")) else { return };
    let words = match operation {
        "queue.putLeg" => &[DIAL_STRATEGIES, QUEUE_STRATEGIES][..],
        _ => &[DIAL_STRATEGIES],
    }
    .concat();
    if !is_expression(value) && !value.as_str().is_some_and(|word| words.contains(&word)) {
        let message = format!("{value} is none of {}", words.join(", "));
        let remedy = match value.as_str().and_then(|word| nearest(word, words.iter().copied())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "choose one of these".to_owned(),
        };
        report.error("E-SIP-VALUE", "options.callStrategy", &message, &remedy);
    }
}

fn report_unknown(operation: &Operation, parameters: &Object, report: &mut Findings) {
    let is_known =
        |key: &str| COMMON.contains(&key) || operation.keys.iter().any(|known| known.name == key);
    for key in parameters.keys().filter(|key| !is_known(key)) {
        let message = format!("{} has no parameter `{key}`", operation.name);
        report.warning("W-FLOW-PARAMETER", key, &message, "it has no effect here");
    }
    let options = parameters.get("options").and_then(Value::as_object);
    for key in options.into_iter().flat_map(Object::keys) {
        if !operation.options.contains(&key.as_str()) {
            let message = format!("{} has no option `{key}`", operation.name);
            let path = format!("options.{key}");
            report.warning("W-FLOW-PARAMETER", &path, &message, "it has no effect here");
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn hides(parameters: Value, expected: &[&str]) {
        let mut parameters = parameters.as_object().cloned().unwrap_or_default();
        let mut report = Findings::default();
        Action.fill(1.0, &mut parameters, &mut report);
        let noted = report.iter().filter(|finding| finding.code == "N-FLOW-HIDDEN");
        let noted: Vec<&str> = noted.map(|finding| finding.parameter.as_str()).collect();
        assert_eq!(noted, expected);
        assert!(expected.iter().all(|key| !parameters.contains_key(*key)), "{parameters:?}");
    }

    #[test]
    fn what_another_operation_or_kind_needs_is_dropped() {
        let bad = "={{ $('gone').item.json.a }}";
        hides(
            json!({ "operation": "media.playAudio", "sourceType": "file", "filePath": "a.wav",
                "playbackHttpUrl": bad, "destination": bad, "own": 1 }),
            &["playbackHttpUrl", "destination"],
        );
        hides(
            json!({ "operation": "dial.make", "callMode": "extension", "extensionNumbers": "1",
                "ref": "main", "destination": bad }),
            &["ref", "destination"],
        );
        hides(
            json!({ "operation": "media.playTone", "tone": "busy", "customTone": bad }),
            &["customTone"],
        );
        // What an expression comes to, nobody knows yet.
        let open =
            json!({ "operation": "media.playAudio", "sourceType": bad, "filePath": "a.wav" });
        hides(open, &[]);
        hides(json!({ "operation": "call.answer", "timeoutSeconds": 3 }), &["timeoutSeconds"]);
    }

    #[test]
    fn kinds_of_calls_that_are_not_made_are_refused() {
        for (mode, is_refused) in [("direct", false), ("websocket", true), ("extension", false)] {
            let parameters = json!({ "operation": "dial.make", "callMode": mode,
                "extensionNumbers": "1" });
            let mut report = Findings::default();
            Action.check(1.0, parameters.as_object().unwrap(), &mut report);
            let is_said = report.iter().any(|finding| finding.code == "E-SIP-UNSERVED");
            assert_eq!(is_said, is_refused, "{mode}");
        }
    }
}
