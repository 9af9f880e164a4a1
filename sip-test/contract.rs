//! What an export relies on, operation by operation: keys, defaults and branches in their order
//! (contract §1, §5 to §8, §10, §11). What operations say stands in `payloads.rs`, who owns what in
//! `lifecycle.rs`; `clauses.md` lists every rule with the test that shows it.

use ringback::call::node;
use ringback::flow::{self, Graph, Severity};
use serde_json::{Map, Value, json};

/// An operation: what it needs, its keys with their defaults, and its options.
type Described = (&'static str, &'static str, &'static str, &'static str);

/// As the contract has them. Required keys stand in the second column.
const OPERATIONS: &[Described] = &[
    ("call.ringing", "{}", "{}", "legId"),
    ("call.answer", "{}", "{}", "legId"),
    ("call.hangup", "{}", "{}", "legId"),
    ("call.bridge", r#"{"legAId": "a", "legBId": "b"}"#, "{}", "emitDtmfEvents relayDtmf"),
    ("call.unbridge", "{}", "{}", "legId"),
    (
        "call.wait",
        "{}",
        r##"{"timeoutSeconds": 30, "rules": {"item": []}, "waitDtmfFallbackEnabled": false,
            "waitDtmfMultiDigitFallbackEnabled": false, "dtmfTerminatorDigit": "#",
            "legIds": {"item": []}}"##,
        "interruptReasons clearDtmfBuffer interdigitTimeoutSeconds",
    ),
    (
        "dial.make",
        r#"{"callMode": "trunk", "ref": "line", "destination": "1"}"#,
        "{}",
        "extensionOnlyFreeEndpoints callStrategy sequentialAttemptTimeoutSeconds \
         sequentialGapSeconds callerNumber callerName customSipHeaders",
    ),
    ("dial.break", "{}", "{}", "dialId dialBreakReason"),
    (
        "dial.wait",
        "{}",
        r#"{"dialTimeoutSeconds": 30, "legId": "", "interruptOn": [], "waitEventOutputs": [],
            "dialIds": {"item": []}}"#,
        "",
    ),
    (
        "media.playAudio",
        "{}",
        r#"{"sourceType": "binary", "binaryProperty": "data", "interruptOn": [],
            "playbackHttpAuthentication": "none"}"#,
        "legId stopOtherMedia mediaExecutionMode duckingFactor playbackHttpMethod \
         playbackHttpHeaders voiceThreshold voiceDurationMs",
    ),
    (
        "media.playTone",
        "{}",
        r#"{"tone": "ringback", "repeatInfinite": false, "interruptOn": []}"#,
        "legId stopOtherMedia mediaExecutionMode duckingFactor",
    ),
    (
        "media.recordAudio",
        "{}",
        r#"{"maxDurationSeconds": 30, "recordFileFormat": "wav", "recordOutputType": "binary",
            "recordBinaryProperty": "data", "recordHttpAuthentication": "none", "interruptOn": []}"#,
        "legId stopOtherMedia mediaExecutionMode recordHttpMethod recordHttpHeaders \
         recordWavSampleRate recordWavBitDepth recordCompressedSampleRate \
         recordCompressedBitrate silenceThreshold silenceDurationMs",
    ),
    ("media.stopMedia", "{}", r#"{"stopMediaTarget": "mediaId"}"#, "mediaId legId"),
    ("media.wait", "{}", r#"{"mediaIds": {"item": []}, "waitMediaTimeoutSeconds": 30}"#, ""),
    ("media.sendDtmf", r#"{"dtmfDigits": "1"}"#, "{}", "legId dtmfMethod dtmfDurationMs dtmfGapMs"),
    (
        "recording.start",
        r#"{"recordFilePath": "a.wav"}"#,
        r#"{"recordFileFormat": "wav", "recordSplitChannels": false,
            "waitForRecordingCompletion": false}"#,
        "legId recordWavSampleRate recordWavBitDepth recordCompressedSampleRate \
         recordCompressedBitrate",
    ),
    ("recording.control", "{}", r#"{"recordingControlAction": "pause"}"#, "legId"),
    (
        "respond.toAuth",
        "{}",
        r#"{"authAction": "not_applicable", "extension": "", "statusCode": 401, "reason": ""}"#,
        "requestId",
    ),
    (
        "respond.toRecord",
        "{}",
        r#"{"active": true, "recordFilePath": "", "recordFileFormat": "wav",
            "recordSplitChannels": false, "waitForRecordingCompletion": false}"#,
        "requestId recordWavSampleRate recordWavBitDepth recordCompressedSampleRate \
         recordCompressedBitrate",
    ),
];

fn object(text: &str) -> Map<String, Value> {
    serde_json::from_str(text).unwrap()
}

/// One node of this type with these parameters, as it is after the check, and what was said.
fn checked(kind: &str, parameters: Map<String, Value>) -> (Option<Graph>, Vec<String>) {
    let line = json!({ "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false });
    let node = |name: &str, kind: &str, parameters: Value| json!({ "name": name, "type": kind, "typeVersion": 1, "parameters": parameters });
    let document = json!({
        "name": "one",
        "nodes": [
            node("line", node::TRIGGER, line),
            node("it", kind, Value::Object(parameters)),
        ],
        "connections": { "line": { "main": [[{ "node": "it", "type": "main", "index": 0 }]] } },
    });
    let documents = flow::read(&document.to_string(), "one.json").unwrap();
    let (graph, problems) = flow::check(&documents[0], &node::catalogue());
    let told = problems.iter().filter(|problem| problem.severity != Severity::Note);
    (graph, told.map(|problem| format!("{} {:?}", problem.code, problem.parameter)).collect())
}

/// The parameters and outputs of such a node.
fn described(kind: &str, parameters: Map<String, Value>) -> (Map<String, Value>, Vec<String>) {
    let (graph, told) = checked(kind, parameters);
    let graph = graph.unwrap_or_else(|| panic!("{told:?}"));
    let (_, node) = graph.nodes().find(|(_, node)| &*node.name == "it").unwrap();
    ((*node.parameters).clone(), node.outputs.to_vec())
}

fn action(operation: &str, more: &str) -> Map<String, Value> {
    let mut parameters = object(more);
    parameters.insert("operation".to_owned(), operation.into());
    parameters
}

/// §1, §6 to §8, §10, §11: an export that omits a key means its default, and `options` is empty.
#[test]
fn every_operation_has_the_keys_and_defaults_of_the_contract() {
    for (operation, needed, defaults, _) in OPERATIONS {
        let (mut filled, _) = described(node::ACTION, action(operation, needed));
        let options = filled.remove("options");
        assert_eq!(options, Some(json!({})), "{operation}");
        let mut expected = action(operation, needed);
        expected.extend(object(defaults));
        assert_eq!(filled, expected, "{operation}");
    }
}

/// §1: options that the contract knows are taken without a word, all others are told of.
#[test]
fn every_operation_takes_the_options_of_the_contract_and_warns_of_others() {
    for (operation, needed, _, options) in OPERATIONS {
        let mut given = Map::new();
        for option in options.split_whitespace() {
            given.insert(option.to_owned(), json!("={{ $json.x }}"));
        }
        let mut parameters = action(operation, needed);
        parameters.insert("options".to_owned(), Value::Object(given.clone()));
        parameters.insert("resource".to_owned(), "dial".into());
        let (_, told) = checked(node::ACTION, parameters.clone());
        let unknown = told.iter().filter(|one| one.starts_with("W-FLOW-PARAMETER"));
        assert_eq!(unknown.collect::<Vec<_>>(), Vec::<&String>::new(), "{operation}");

        given.insert("loudly".to_owned(), true.into());
        parameters.insert("options".to_owned(), Value::Object(given));
        parameters.insert("softly".to_owned(), true.into());
        let (_, told) = checked(node::ACTION, parameters);
        for unknown in ["softly", "options.loudly"] {
            let expected = format!("W-FLOW-PARAMETER Some(\"{unknown}\")");
            assert!(told.contains(&expected), "{operation}: {told:?}");
        }
    }
}

/// §1: what is required and missing is told at import.
#[test]
fn every_required_key_is_missed() {
    for (operation, key) in [
        ("call.bridge", "legAId"),
        ("call.bridge", "legBId"),
        ("dial.make", "callMode"),
        ("media.sendDtmf", "dtmfDigits"),
        ("recording.start", "recordFilePath"),
    ] {
        let (_, told) = checked(node::ACTION, action(operation, "{}"));
        assert!(told.iter().any(|one| one.contains(key)), "{operation}: {told:?}");
    }
    for (operation, given, key) in [
        ("dial.make", r#"{"callMode": "trunk"}"#, "ref"),
        ("dial.make", r#"{"callMode": "trunk"}"#, "destination"),
        ("dial.make", r#"{"callMode": "direct"}"#, "destination"),
        ("dial.make", r#"{"callMode": "extension"}"#, "extensionNumbers"),
        ("media.playAudio", r#"{"sourceType": "file"}"#, "filePath"),
        ("media.playAudio", r#"{"sourceType": "http"}"#, "playbackHttpUrl"),
        ("media.playTone", r#"{"tone": "custom"}"#, "customTone"),
        ("media.recordAudio", r#"{"recordOutputType": "file"}"#, "recordFilePath"),
        ("media.recordAudio", r#"{"recordOutputType": "http"}"#, "recordHttpUrl"),
        ("respond.toAuth", r#"{"authAction": "verify_password"}"#, "password"),
        ("call.wait", r#"{"dtmfTerminatorDigit": ""}"#, "dtmfTerminatorDigit"),
    ] {
        let (graph, told) = checked(node::ACTION, action(operation, given));
        let is_told = told.iter().any(|one| one.starts_with("E-") && one.contains(key));
        assert!(graph.is_none() && is_told, "{operation} {key}: {told:?}");
    }
}

/// §12, §7.1, §11: what this server does not do is said at import, and not in the middle of a call.
#[test]
fn what_is_not_served_is_refused_at_import() {
    for (operation, given) in [
        ("dial.make", r#"{"callMode": "websocket"}"#),
        ("respond.toAiTool", r#"{"outputText": "x"}"#),
        ("ai.attachVoiceAgent", "{}"),
        ("media.recordAudio", r#"{"recordFileFormat": "mp3"}"#),
    ] {
        let (graph, told) = checked(node::ACTION, action(operation, given));
        let is_told = told.iter().any(|one| one.starts_with("E-SIP-UNSERVED"));
        assert!(graph.is_none() && is_told, "{operation}: {told:?}");
    }
    for (operation, code) in [("", "E-SIP-OPERATION"), ("call.sing", "E-SIP-OPERATION")] {
        let (_, told) = checked(node::ACTION, action(operation, "{}"));
        assert!(told[0].starts_with(code), "{told:?}");
    }
}

/// §6 to §8, §10, §11: `connections` name branches by number, so that their order is binding.
#[test]
fn every_operation_has_the_branches_of_the_contract_in_order() {
    let rules = r#""rules": {"item": [{"pattern": "1", "label": "sales"},
                                      {"pattern": "2", "label": "support"}, {"pattern": "3"}]}"#;
    let all = format!(
        r#"{{ {rules}, "waitDtmfFallbackEnabled": true,
              "options": {{"interruptReasons": ["call_queue_placed"]}} }}"#
    );
    let background = r#"{"options": {"mediaExecutionMode": "background"}}"#;
    let cases: &[(&str, &str, &str)] = &[
        ("call.ringing", "{}", "Result"),
        ("call.answer", "{}", "Result"),
        ("call.hangup", "{}", "Result"),
        ("call.bridge", r#"{"legAId": "a", "legBId": "b"}"#, "Success"),
        ("call.unbridge", "{}", "Orig Peer"),
        ("call.wait", "{}", "Timeout Ended"),
        ("call.wait", r#"{"rules": [{"pattern": "1", "label": "a"}]}"#, "a Timeout Ended"),
        ("call.wait", &all, "sales support DTMF_Fallback Interrupted Timeout Ended"),
        ("dial.make", r#"{"callMode": "trunk", "ref": "line", "destination": "1"}"#, "Result"),
        (
            "dial.make",
            r#"{"callMode": "extension", "extensionNumbers": "1"}"#,
            "Result Unavailable",
        ),
        ("dial.break", "{}", "Result"),
        ("dial.wait", "{}", "Answered Interrupted Timeout Failed"),
        (
            "dial.wait",
            r#"{"waitEventOutputs": ["rejected", "progress", "ringing"]}"#,
            "Ringing Progress Rejected Answered Interrupted Timeout Failed",
        ),
        ("media.playAudio", "{}", "Interrupted Completed"),
        ("media.playAudio", background, "Result"),
        ("media.playTone", "{}", "Interrupted Completed"),
        ("media.playTone", background, "Result"),
        ("media.playTone", r#"{"repeatInfinite": true}"#, "Interrupted"),
        ("media.recordAudio", "{}", "Interrupted Completed"),
        ("media.recordAudio", background, "Result"),
        ("media.stopMedia", "{}", "Result"),
        ("media.wait", "{}", "Interrupted Timeout Completed"),
        ("media.sendDtmf", r#"{"dtmfDigits": "1"}"#, "Result"),
        ("recording.start", r#"{"recordFilePath": "a.wav"}"#, "Result"),
        ("recording.control", "{}", "Result"),
        ("respond.toAuth", "{}", "Result"),
        ("respond.toRecord", "{}", "Result"),
    ];
    for (operation, given, expected) in cases {
        let (_, outputs) = described(node::ACTION, action(operation, given));
        let outputs = outputs.iter().map(|label| label.replace(' ', "_")).collect::<Vec<_>>();
        assert_eq!(outputs.join(" "), *expected, "{operation} {given}");
    }
}

/// §5: keys, defaults and branches of the triggers.
#[test]
fn every_trigger_has_the_defaults_and_branches_of_the_contract() {
    let static_trunk = r#"{"trunkConnectionMode": "dynamic", "trunkStaticUsername": "u",
                           "trunkStaticPassword": "p"}"#;
    let asking = r#"{"trunkConnectionMode": "dynamic", "authMode": "raw",
                     "enableCallRecording": true}"#;
    let phones = r#"{"triggerOn": "extensions", "staticCredentials": {"item": [
                     {"username": "u", "password": "p", "extension": "1"}]}}"#;
    let all = r#"{"triggerOn": "extensions", "authMode": "digest-first",
                  "extensionsEnableCallRecording": true}"#;
    let queue = r#"{"triggerOn": "queue", "queueExtensions": "1"}"#;
    for (given, expected) in [
        ("{}", "Call"),
        (r#"{"enableCallRecording": true}"#, "Call Recording"),
        (static_trunk, "Call"),
        (asking, "Call Recording Auth"),
        (phones, "Call"),
        (all, "Call Recording Auth"),
        (queue, "Placed Dispatch Offline"),
    ] {
        let mut parameters = object(given);
        parameters.insert("ref".to_owned(), "it".into());
        let (_, outputs) = described(node::TRIGGER, parameters);
        assert_eq!(outputs.join(" "), expected, "{given}");
    }
    let (filled, _) = described(node::TRIGGER, object(r#"{"ref": "it"}"#));
    let expected = r#"{"ref": "it", "triggerOn": "trunk", "trunkConnectionMode": "fixed",
        "trunkUseRegistration": true, "authMode": "static", "enableCallRecording": false,
        "extensionsEnableCallRecording": false, "options": {}}"#;
    assert_eq!(filled, object(expected));
    for (given, told) in [
        (r#"{"ref": ""}"#, "E-SIP-REF Some(\"ref\")"),
        (r#"{"ref": "a", "triggerOn": "sms"}"#, "E-SIP-VALUE Some(\"triggerOn\")"),
        (r#"{"ref": "a", "triggerOn": "aiTool"}"#, "E-SIP-UNSERVED Some(\"triggerOn\")"),
    ] {
        assert_eq!(checked(node::TRIGGER, object(given)).1, [told], "{given}");
    }
}

/// §5.2, §5.3: options of triggers that have no effect here are told of.
#[test]
fn every_trigger_warns_of_options_without_effect() {
    for (options, told) in [
        (r#"{"codecs": ["alaw"], "dtmfMethods": ["info"], "registrationExpires": 600}"#, None),
        (r#"{"transport": "udp"}"#, None),
        (r#"{"transport": "tls"}"#, Some("W-SIP-LISTENER Some(\"options.transport\")")),
        (r#"{"localBindPort": 5070}"#, Some("W-SIP-LISTENER Some(\"options.localBindPort\")")),
        (r#"{"loudly": true}"#, Some("W-FLOW-PARAMETER Some(\"options.loudly\")")),
    ] {
        let given = format!(r#"{{"ref": "it", "options": {options}}}"#);
        let (graph, said) = checked(node::TRIGGER, object(&given));
        assert!(graph.is_some(), "{options}");
        assert_eq!(said.first().map(String::as_str), told, "{options}");
    }
}

/// §1.1: three generations of exports are read alike, and each renamed key is noted.
#[test]
fn older_exports_are_read_as_today() {
    for (operation, given, expected) in [
        ("call.waitCallEvent", "{}", r#"{"operation": "call.wait"}"#),
        ("dial.waitDialEvent", "{}", r#"{"operation": "dial.wait"}"#),
        ("media.waitMedia", "{}", r#"{"operation": "media.wait"}"#),
        ("call.answer", r#"{"callOptions": {"legId": "a"}}"#, r#"{"options": {"legId": "a"}}"#),
        (
            "media.playAudio",
            r#"{"interruptOnDtmf": true, "interruptOnVoice": false,
                "mediaOptions": {"stopOtherMedia": true}}"#,
            r#"{"interruptOn": ["dtmf"], "options": {"stopOtherMedia": true}}"#,
        ),
        ("media.playAudio", r#"{"mediaLegId": "a"}"#, r#"{"options": {"legId": "a"}}"#),
        (
            "media.stopMedia",
            r#"{"stopMediaTarget": "legId", "stopMediaLegId": "a", "stopMediaId": "b"}"#,
            r#"{"options": {"legId": "a", "mediaId": "b"}}"#,
        ),
        (
            "media.wait",
            r#"{"waitMediaIds": {"item": [{"mediaId": "m"}]}}"#,
            r#"{"mediaIds": {"item": [{"mediaId": "m"}]}}"#,
        ),
        (
            "dial.make",
            r#"{"callMode": "extension", "extensionNumbers": "1",
                "dialOptions": {"extensionListOnlyFreeEndpoints": false}}"#,
            r#"{"options": {"extensionOnlyFreeEndpoints": false}}"#,
        ),
    ] {
        let (read, _) = described(node::ACTION, action(operation, given));
        for (key, value) in object(expected) {
            assert_eq!(read.get(&key), Some(&value), "{operation} {given}: {read:?}");
        }
    }
    for (given, expected) in [
        (
            r#"{"registerOnStart": false}"#,
            r#"{"trunkConnectionMode": "fixed", "trunkUseRegistration": false}"#,
        ),
        (
            r#"{"trunkRegisterMode": "register"}"#,
            r#"{"trunkConnectionMode": "fixed", "trunkUseRegistration": true}"#,
        ),
        (
            r#"{"triggerOn": "extensions", "extensionTransports": ["udp"], "extensionsLocalBindPort": 5070,
                "staticCredentials": {"item": [{"username": "u", "password": "p", "extension": "1"}]}}"#,
            r#"{"options": {"transports": ["udp"], "localBindPort": 5070}}"#,
        ),
        (
            r#"{"trunkOptions": {"registrationExpires": 300}}"#,
            r#"{"options": {"registrationExpires": 300}}"#,
        ),
    ] {
        let mut parameters = object(given);
        parameters.insert("ref".to_owned(), "it".into());
        let (read, _) = described(node::TRIGGER, parameters);
        for (key, value) in object(expected) {
            assert_eq!(read.get(&key), Some(&value), "{given}: {read:?}");
        }
    }
}
