//! The operations of the SIP PBX node as a table: keys, defaults, branches; what the checker, the
//! engine and the documentation read alike.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

/// One operation of the action node, under the names that exports use.
#[derive(Debug)]
pub struct Operation {
    /// The dotted name, as `call.answer`.
    pub name: &'static str,
    /// Whether this server performs it; the others are refused at import by name.
    pub is_performed: bool,
    /// Top-level parameters.
    pub keys: &'static [Key],
    /// Keys of the collection `options`.
    pub options: &'static [&'static str],
    /// How the branches follow from the parameters.
    pub branches: Branches,
}

/// One top-level parameter.
#[derive(Debug)]
pub struct Key {
    /// Its name in the export.
    pub name: &'static str,
    /// What an export that omits it means, as JSON text; empty for a key without default.
    pub default: &'static str,
    /// What is demanded of it.
    pub demand: Demand,
}

/// What is demanded of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// Anything goes, also its absence.
    Optional,
    /// Must be there and not be empty.
    Required,
    /// Must be there when another key has one of these values, and is hidden otherwise.
    RequiredIf(&'static str, &'static [&'static str]),
    /// One of these words, or an expression.
    OneOf(&'static [&'static str]),
    /// A list of these words.
    SomeOf(&'static [&'static str]),
    /// Rules of a wait: `{item: [{pattern, label}]}`.
    Rules,
    /// Exactly one DTMF digit.
    Digit,
    /// A number that is not negative.
    Number,
    /// true or false.
    Flag,
}

/// How the branches of an operation follow from its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Branches {
    /// Always these.
    Fixed(&'static [&'static str]),
    /// `call.wait`: rules, then fall-back, interrupts, time-out, end.
    CallWait,
    /// `dial.make`: `Unavailable` in extension mode.
    DialMake,
    /// `dial.wait`: the chosen outputs, then the fixed four.
    DialWait,
    /// Playing and recording: blocking or in background.
    Media,
    /// A tone, which may repeat for ever.
    Tone,
}

const fn optional(name: &'static str, default: &'static str) -> Key {
    Key { name, default, demand: Demand::Optional }
}

const fn required(name: &'static str) -> Key {
    Key { name, default: "", demand: Demand::Required }
}

const fn required_if(
    name: &'static str,
    key: &'static str,
    values: &'static [&'static str],
) -> Key {
    Key { name, default: "", demand: Demand::RequiredIf(key, values) }
}

const fn one_of(name: &'static str, default: &'static str, words: &'static [&'static str]) -> Key {
    Key { name, default, demand: Demand::OneOf(words) }
}

const fn some_of(name: &'static str, words: &'static [&'static str]) -> Key {
    Key { name, default: "[]", demand: Demand::SomeOf(words) }
}

const fn number(name: &'static str, default: &'static str) -> Key {
    Key { name, default, demand: Demand::Number }
}

const fn flag(name: &'static str, default: &'static str) -> Key {
    Key { name, default, demand: Demand::Flag }
}

const SUCCESS: Branches = Branches::Fixed(&["Success"]);
const RESULT: Branches = Branches::Fixed(&["Result"]);
const LEG: &[&str] = &["legId"];
const RECORD_FORMATS: &[&str] = &["wav", "mp3", "opus", "ogg"];
const AUTH_ACTIONS: &[&str] = &["allow", "verify_password", "not_applicable", "challenge", "deny"];
const CALL_MODES: &[&str] = &["trunk", "extension", "direct", "websocket"];
const DTMF_VOICE: &[&str] = &["dtmf", "voice"];
const DIAL_OPTIONS: &[&str] = &[
    "codecs",
    "dtmfMethods",
    "extensionOnlyFreeEndpoints",
    "callStrategy",
    "sequentialAttemptTimeoutSeconds",
    "sequentialGapSeconds",
    "callerNumber",
    "callerName",
    "customSipHeaders",
];

/// How the targets of a dial may be rung.
pub const DIAL_STRATEGIES: &[&str] = &["parallel", "sequential"];
/// How the agents of a queue may be rung besides, one at a time.
pub const QUEUE_STRATEGIES: &[&str] = &["longestIdle", "roundRobin", "fewestCalls", "random"];

/// Why a bridge, a queue and so on may interrupt a `call.wait`.
pub const WAIT_INTERRUPTS: &[&str] = &[
    "call_bridge_joined",
    "call_bridge_removed_peer_ended",
    "call_bridge_removed_unbridge",
    "call_bridge_removed_rollback",
    "call_bridge_removed_rebridge",
    "call_queue_placed",
    "call_queue_removed",
];

/// Every operation that an export may name.
pub const OPERATIONS: &[Operation] = &[
    performed("call.answer", &[], LEG, RESULT),
    performed("call.hangup", &[], LEG, RESULT),
    performed(
        "call.wait",
        &[
            number("timeoutSeconds", "30"),
            Key { name: "rules", default: "{\"item\":[]}", demand: Demand::Rules },
            flag("waitDtmfFallbackEnabled", "false"),
            flag("waitDtmfMultiDigitFallbackEnabled", "false"),
            Key { name: "dtmfTerminatorDigit", default: "\"#\"", demand: Demand::Digit },
            optional("legIds", "{\"item\":[]}"),
        ],
        &["interruptReasons", "clearDtmfBuffer", "interdigitTimeoutSeconds"],
        Branches::CallWait,
    ),
    performed(
        "media.playAudio",
        &[
            one_of("sourceType", "\"binary\"", &["binary", "file", "http"]),
            required_if("filePath", "sourceType", &["file"]),
            required_if("playbackHttpUrl", "sourceType", &["http"]),
            optional("binaryProperty", "\"data\""),
            optional("playbackHttpAuthentication", "\"none\""),
            optional("playbackHttpNodeCredentialType", ""),
            optional("playbackHttpGenericAuthType", ""),
            some_of("interruptOn", DTMF_VOICE),
        ],
        &[
            "legId",
            "stopOtherMedia",
            "mediaExecutionMode",
            "duckingFactor",
            "playbackHttpMethod",
            "playbackHttpHeaders",
            "voiceThreshold",
            "voiceDurationMs",
        ],
        Branches::Media,
    ),
    performed("call.ringing", &[], LEG, RESULT),
    performed(
        "call.bridge",
        &[required("legAId"), required("legBId")],
        &["emitDtmfEvents", "relayDtmf"],
        SUCCESS,
    ),
    performed("call.unbridge", &[], LEG, Branches::Fixed(&["Orig", "Peer"])),
    performed(
        "dial.make",
        &[
            one_of("callMode", "", CALL_MODES),
            required_if("ref", "callMode", &["trunk"]),
            required_if("destination", "callMode", &["trunk", "direct"]),
            required_if("extensionNumbers", "callMode", &["extension"]),
        ],
        DIAL_OPTIONS,
        Branches::DialMake,
    ),
    performed("dial.break", &[], &["dialId", "dialBreakReason"], RESULT),
    performed(
        "dial.wait",
        &[
            number("dialTimeoutSeconds", "30"),
            optional("legId", "\"\""),
            some_of("interruptOn", &["dtmf"]),
            some_of("waitEventOutputs", &["ringing", "progress", "rejected"]),
            optional("dialIds", "{\"item\":[]}"),
        ],
        &[],
        Branches::DialWait,
    ),
    performed(
        "media.playTone",
        &[
            one_of("tone", "\"ringback\"", &["ringback", "busy", "congestion", "custom"]),
            required_if("customTone", "tone", &["custom"]),
            flag("repeatInfinite", "false"),
            some_of("interruptOn", DTMF_VOICE),
        ],
        &["legId", "stopOtherMedia", "mediaExecutionMode", "duckingFactor"],
        Branches::Tone,
    ),
    performed(
        "media.recordAudio",
        &[
            number("maxDurationSeconds", "30"),
            one_of("recordFileFormat", "\"wav\"", &["wav", "mp3", "opus", "ogg"]),
            one_of("recordOutputType", "\"binary\"", &["binary", "file", "http"]),
            optional("recordBinaryProperty", "\"data\""),
            required_if("recordFilePath", "recordOutputType", &["file"]),
            required_if("recordHttpUrl", "recordOutputType", &["http"]),
            optional("recordHttpAuthentication", "\"none\""),
            optional("recordHttpNodeCredentialType", ""),
            optional("recordHttpGenericAuthType", ""),
            some_of("interruptOn", &["dtmf", "silence"]),
        ],
        &[
            "legId",
            "stopOtherMedia",
            "mediaExecutionMode",
            "recordHttpMethod",
            "recordHttpHeaders",
            "recordWavSampleRate",
            "recordWavBitDepth",
            "recordCompressedSampleRate",
            "recordCompressedBitrate",
            "silenceThreshold",
            "silenceDurationMs",
        ],
        Branches::Media,
    ),
    performed(
        "media.stopMedia",
        &[one_of("stopMediaTarget", "\"mediaId\"", &["mediaId", "legId"])],
        &["mediaId", "legId"],
        RESULT,
    ),
    performed(
        "media.wait",
        &[optional("mediaIds", "{\"item\":[]}"), number("waitMediaTimeoutSeconds", "30")],
        &[],
        Branches::Fixed(&["Interrupted", "Timeout", "Completed"]),
    ),
    performed(
        "media.sendDtmf",
        &[required("dtmfDigits")],
        &["legId", "dtmfMethod", "dtmfDurationMs", "dtmfGapMs"],
        RESULT,
    ),
    performed(
        "queue.putLeg",
        &[required("ref")],
        &[
            "legId",
            "queuePlacement",
            "rejoinExisting",
            "retryAttempts",
            "retryPauseSeconds",
            "callStrategy",
            "sequentialAttemptTimeoutSeconds",
            "sequentialGapSeconds",
            "callerNumber",
            "callerName",
            "customSipHeaders",
        ],
        RESULT,
    ),
    performed("queue.setCallback", &[flag("callbackEnabled", "true")], LEG, RESULT),
    performed(
        "queue.getStats",
        &[one_of("queueStatsTarget", "\"ref\"", &["ref", "legId"]), optional("ref", "\"\"")],
        LEG,
        RESULT,
    ),
    performed(
        "recording.start",
        &[
            required("recordFilePath"),
            one_of("recordFileFormat", "\"wav\"", RECORD_FORMATS),
            flag("recordSplitChannels", "false"),
            flag("waitForRecordingCompletion", "false"),
        ],
        &[
            "legId",
            "recordWavSampleRate",
            "recordWavBitDepth",
            "recordCompressedSampleRate",
            "recordCompressedBitrate",
        ],
        RESULT,
    ),
    performed(
        "recording.control",
        &[one_of("recordingControlAction", "\"pause\"", &["pause", "resume"])],
        LEG,
        RESULT,
    ),
    performed(
        "respond.toAuth",
        &[
            one_of("authAction", "\"not_applicable\"", AUTH_ACTIONS),
            required_if("password", "authAction", &["verify_password"]),
            optional("extension", "\"\""),
            number("statusCode", "401"),
            optional("reason", "\"\""),
        ],
        &["requestId"],
        RESULT,
    ),
    performed(
        "respond.toRecord",
        &[
            flag("active", "true"),
            optional("recordFilePath", "\"\""),
            one_of("recordFileFormat", "\"wav\"", RECORD_FORMATS),
            flag("recordSplitChannels", "false"),
            flag("waitForRecordingCompletion", "false"),
        ],
        &[
            "requestId",
            "recordWavSampleRate",
            "recordWavBitDepth",
            "recordCompressedSampleRate",
            "recordCompressedBitrate",
        ],
        RESULT,
    ),
    later("respond.toAiTool", &[required("outputText")], &["requestId"], RESULT),
    later("ai.attachVoiceAgent", &[], LEG, RESULT),
    later("ai.invokeAiTool", &[], &[], Branches::Fixed(&[])),
];

const fn performed(
    name: &'static str,
    keys: &'static [Key],
    options: &'static [&'static str],
    branches: Branches,
) -> Operation {
    Operation { name, is_performed: true, keys, options, branches }
}

const fn later(
    name: &'static str,
    keys: &'static [Key],
    options: &'static [&'static str],
    branches: Branches,
) -> Operation {
    Operation { is_performed: false, ..performed(name, keys, options, branches) }
}

impl Operation {
    /// The operation with this dotted name.
    pub fn find(name: &str) -> Option<&'static Self> {
        OPERATIONS.iter().find(|operation| operation.name == name)
    }

    /// Supplies what an export omits: every default, and an empty `options`.
    pub fn fill(&self, parameters: &mut Map<String, Value>) {
        for key in self.keys.iter().filter(|key| !key.default.is_empty()) {
            let default = || serde_json::from_str(key.default).expect("defaults are JSON");
            parameters.entry(key.name).or_insert_with(default);
        }
        parameters.entry("options").or_insert_with(|| json!({}));
    }

    /// The branches in order, for parameters as written.
    pub fn outputs(&self, parameters: &Map<String, Value>) -> Vec<Cow<'static, str>> {
        match self.branches {
            Branches::Fixed(labels) => fixed(labels),
            Branches::CallWait => call_wait_outputs(parameters),
            Branches::DialMake if text(parameters, "callMode") == "extension" => {
                fixed(&["Result", "Unavailable"])
            }
            Branches::DialMake => fixed(&["Result"]),
            Branches::DialWait => {
                let chosen = words(parameters.get("waitEventOutputs"));
                let optional =
                    [("ringing", "Ringing"), ("progress", "Progress"), ("rejected", "Rejected")];
                let optional = optional.iter().filter(|(word, _)| chosen.iter().any(|c| c == word));
                let mut labels = optional.map(|(_, label)| (*label).into()).collect::<Vec<_>>();
                labels.extend(fixed(&["Answered", "Interrupted", "Timeout", "Failed"]));
                labels
            }
            Branches::Media if is_background(parameters) => fixed(&["Result"]),
            Branches::Media => fixed(&["Interrupted", "Completed"]),
            Branches::Tone if is_background(parameters) => fixed(&["Result"]),
            Branches::Tone if parameters.get("repeatInfinite") == Some(&Value::Bool(true)) => {
                fixed(&["Interrupted"])
            }
            Branches::Tone => fixed(&["Interrupted", "Completed"]),
        }
    }
}

/// The rules of a wait that have both a pattern and a label, in order.
pub fn wait_rules(parameters: &Map<String, Value>) -> Vec<(String, String)> {
    let items = items(parameters.get("rules"));
    let pair = |item: &Value| {
        let read = |key: &str| match item.get(key) {
            Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            Some(_) | None => None,
        };
        Some((read("pattern")?, read("label")?))
    };
    items.iter().filter_map(pair).collect()
}

/// The entries of a repeating group: `{item: […]}` or a bare array.
pub fn items(group: Option<&Value>) -> &[Value] {
    let list = group.and_then(|value| value.get("item")).or(group);
    list.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A list of words: an array of strings, or one comma-separated string.
pub fn words(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Array(list)) => {
            list.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(Value::String(text)) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            parts.map(str::to_owned).collect()
        }
        Some(_) | None => Vec::new(),
    }
}

fn call_wait_outputs(parameters: &Map<String, Value>) -> Vec<Cow<'static, str>> {
    let rules = wait_rules(parameters).into_iter();
    let mut labels = rules.map(|(_, label)| label.into()).collect::<Vec<_>>();
    if parameters.get("waitDtmfFallbackEnabled") == Some(&Value::Bool(true)) {
        labels.push("DTMF Fallback".into());
    }
    let options = parameters.get("options");
    if !words(options.and_then(|options| options.get("interruptReasons"))).is_empty() {
        labels.push("Interrupted".into());
    }
    labels.extend(fixed(&["Timeout", "Ended"]));
    labels
}

fn is_background(parameters: &Map<String, Value>) -> bool {
    let options = parameters.get("options");
    let mode = options.and_then(|options| options.get("mediaExecutionMode"));
    mode.and_then(Value::as_str) == Some("background")
}

fn text<'a>(parameters: &'a Map<String, Value>, key: &str) -> &'a str {
    parameters.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn fixed(labels: &[&'static str]) -> Vec<Cow<'static, str>> {
    labels.iter().copied().map(Cow::Borrowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outputs(parameters: Value) -> Vec<Cow<'static, str>> {
        let mut parameters = parameters.as_object().unwrap().clone();
        let operation = Operation::find(text(&parameters, "operation")).unwrap();
        operation.fill(&mut parameters);
        operation.outputs(&parameters)
    }

    #[test]
    fn the_branches_of_a_wait_follow_its_rules_and_options() {
        let plain = json!({ "operation": "call.wait" });
        assert_eq!(outputs(plain), ["Timeout", "Ended"]);
        let full = json!({
            "operation": "call.wait",
            "rules": { "item": [{ "pattern": "1", "label": "sales" }, { "pattern": "2" }] },
            "waitDtmfFallbackEnabled": true,
            "options": { "interruptReasons": ["call_queue_removed"] },
        });
        assert_eq!(outputs(full), ["sales", "DTMF Fallback", "Interrupted", "Timeout", "Ended"]);
    }

    #[test]
    fn a_dial_has_more_branches_towards_extensions_and_with_chosen_outputs() {
        assert_eq!(outputs(json!({ "operation": "dial.make", "callMode": "trunk" })), ["Result"]);
        let extension = json!({ "operation": "dial.make", "callMode": "extension" });
        assert_eq!(outputs(extension), ["Result", "Unavailable"]);
        let wait = json!({ "operation": "dial.wait", "waitEventOutputs": ["ringing"] });
        assert_eq!(outputs(wait), ["Ringing", "Answered", "Interrupted", "Timeout", "Failed"]);
    }

    #[test]
    fn media_blocks_unless_told_otherwise() {
        let play = json!({ "operation": "media.playAudio" });
        assert_eq!(outputs(play), ["Interrupted", "Completed"]);
        let background = json!({
            "operation": "media.playAudio", "options": { "mediaExecutionMode": "background" }
        });
        assert_eq!(outputs(background), ["Result"]);
        let endless = json!({ "operation": "media.playTone", "repeatInfinite": true });
        assert_eq!(outputs(endless), ["Interrupted"]);
    }

    #[test]
    fn every_default_is_json() {
        for operation in OPERATIONS {
            operation.fill(&mut Map::new());
        }
    }
}
