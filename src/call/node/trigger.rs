//! `sipPbxTrigger`: what it listens to, its branches, and what is wrong with its parameters.

use serde_json::Value;

use crate::call::node::{adopt_options, is_expression, rename_option};
use crate::call::site::is_number;
use crate::flow::{Findings, NodeType, Object, Role, Shown};

/// The type's name in exports.
pub const TRIGGER: &str = "n8n-nodes-sip-pbx.sipPbxTrigger";

/// The lives that may be asked for at a trunk.
const EXPIRES_SECONDS: std::ops::RangeInclusive<u64> = 60..=86_400;

/// Headers of a REGISTER that the server writes itself.
const OWN_HEADERS: [&str; 20] = [
    "Via",
    "v",
    "From",
    "f",
    "To",
    "t",
    "Call-ID",
    "i",
    "CSeq",
    "Contact",
    "m",
    "Max-Forwards",
    "Expires",
    "Content-Length",
    "l",
    "Content-Type",
    "c",
    "Authorization",
    "Proxy-Authorization",
    "Route",
];

/// Keys of older exports that are options now (contract §1.1).
const OLD_KEYS: [(&str, &str); 4] = [
    ("extensionTransports", "transports"),
    ("extensionsLocalBindPort", "localBindPort"),
    ("extensionsLocalBindIp", "localBindIp"),
    ("extensionsTlsBindPort", "tlsBindPort"),
];

pub(super) struct Trigger;

impl NodeType for Trigger {
    fn name(&self) -> &'static str {
        TRIGGER
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn role(&self) -> Role {
        Role::Trigger
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "triggerOn",
            "ref",
            "trunkConnectionMode",
            "trunkUseRegistration",
            "authMode",
            "trunkStaticUsername",
            "trunkStaticPassword",
            "enableCallRecording",
            "extensionsEnableCallRecording",
            "staticCredentials",
            "queueExtensions",
            "options",
        ]
    }

    fn fill(&self, _version: f64, parameters: &mut Object, report: &mut Findings) {
        adopt_options(parameters, &["trunkOptions", "extensionsOptions", "aiToolOptions"], report);
        for (old, new) in OLD_KEYS {
            rename_option(parameters, old, new, report);
        }
        rename_registration(parameters, report);
        let defaults = [
            ("triggerOn", Value::from("trunk")),
            ("trunkConnectionMode", "fixed".into()),
            ("trunkUseRegistration", true.into()),
            ("authMode", "static".into()),
            ("enableCallRecording", false.into()),
            ("extensionsEnableCallRecording", false.into()),
            ("options", Value::Object(Object::new())),
        ];
        for (key, value) in defaults {
            parameters.entry(key).or_insert(value);
        }
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] = &[
            on("trunkConnectionMode", &["trunk"]),
            on("enableCallRecording", &["trunk"]),
            on("trunkUseRegistration", &["trunk"]),
            on("staticCredentials", &["extensions"]),
            on("trunkStaticUsername", &["trunk"]),
            on("trunkStaticPassword", &["trunk"]),
            on("authMode", &["trunk", "extensions"]),
            on("queueExtensions", &["queue"]),
            by("trunkUseRegistration", "trunkConnectionMode", "fixed", &["fixed"]),
            by("trunkStaticUsername", "trunkConnectionMode", "fixed", &["dynamic"]),
            by("trunkStaticPassword", "trunkConnectionMode", "fixed", &["dynamic"]),
            by("trunkStaticUsername", "authMode", "static", &["static"]),
            by("trunkStaticPassword", "authMode", "static", &["static"]),
            by("staticCredentials", "authMode", "static", &["static"]),
        ];
        const fn on(key: &'static str, events: &'static [&'static str]) -> Shown {
            by(key, "triggerOn", "trunk", events)
        }
        const fn by(
            key: &'static str,
            by: &'static str,
            standard: &'static str,
            values: &'static [&'static str],
        ) -> Shown {
            Shown { key, by, standard, values }
        }
        RULES
    }

    fn outputs(&self, _version: f64, parameters: &Object) -> Vec<String> {
        let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
        let is_on = |key: &str| parameters.get(key) == Some(&Value::Bool(true));
        let (has_recording, has_auth) = match text("triggerOn") {
            "queue" => return labels(&["Placed", "Dispatch", "Offline"]),
            "aiTool" => return labels(&["Request"]),
            "extensions" => (is_on("extensionsEnableCallRecording"), text("authMode") != "static"),
            _ => (
                is_on("enableCallRecording"),
                text("trunkConnectionMode") == "dynamic" && text("authMode") != "static",
            ),
        };
        let mut outputs = labels(&["Call"]);
        outputs.extend(has_recording.then(|| "Recording".to_owned()));
        outputs.extend(has_auth.then(|| "Auth".to_owned()));
        outputs
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let reference = parameters.get("ref");
        if reference.and_then(Value::as_str).is_none_or(str::is_empty) {
            let remedy = "give the trigger a public name, such as `trunk_main`";
            report.error("E-SIP-REF", "ref", "Trigger ref is required", remedy);
        } else if reference.is_some_and(is_expression) {
            let message = "a ref cannot be an expression: it is needed before anything runs";
            report.error("E-SIP-REF", "ref", message, "write the name itself");
        }
        check_options(parameters, report);
        match text(parameters, "triggerOn") {
            "trunk" => check_trunk(parameters, report),
            "extensions" => check_extensions(parameters, report),
            "queue" => check_queue(parameters, report),
            "aiTool" => {
                let message = "`aiTool` triggers are not served yet";
                report.error("E-SIP-UNSERVED", "triggerOn", message, "use a trunk trigger");
            }
            other => {
                let message = format!("`{other}` is none of trunk, extensions, queue, aiTool");
                report.error("E-SIP-VALUE", "triggerOn", &message, "choose one of these");
            }
        }
    }
}

/// Options of triggers that the contract knows (§5.1 to §5.3, §5.9).
const OPTIONS: [&str; 12] = [
    "codecs",
    "dtmfMethods",
    "registrationExpires",
    "registerHeaders",
    "authTimeoutSeconds",
    "realm",
    "continueTraversalOnAuthReject",
    "authorizationUsernamePrefix",
    "recordResponseTimeoutSeconds",
    "aiToolResponseTimeoutSeconds",
    "transport",
    "transports",
];
/// Those that say where to listen, which one server decides once for all of its flows.
const LISTENERS: [&str; 4] = ["localBindPort", "tlsBindPort", "localBindIp", "advertisedIp"];

fn check_options(parameters: &Object, report: &mut Findings) {
    let options = parameters.get("options").and_then(Value::as_object);
    for (key, value) in options.into_iter().flatten() {
        let path = format!("options.{key}");
        if LISTENERS.contains(&key.as_str()) {
            let message = "where the server listens stands in ringback.toml, for all flows";
            report.warning("W-SIP-LISTENER", &path, message, "see sip.listen and sip.advertised");
        } else if !OPTIONS.contains(&key.as_str()) {
            let message = format!("a trigger has no option `{key}`");
            report.warning("W-FLOW-PARAMETER", &path, &message, "it has no effect here");
        }
        let served = |word: &&str| ["udp", "tcp"].contains(word);
        let words = crate::call::node::operation::words(Some(value));
        if key.starts_with("transport") && !words.is_empty() {
            for word in words.iter().map(String::as_str).filter(|word| !served(word)) {
                let message =
                    format!("`{word}` is not served yet: phones reach this by UDP and TCP");
                report.warning("W-SIP-LISTENER", &path, &message, "choose udp or tcp");
            }
        }
    }
}

/// How older exports say that a trunk is registered at (contract §1.1).
fn rename_registration(parameters: &mut Object, report: &mut Findings) {
    let (old, registers) = match parameters.remove("registerOnStart") {
        Some(value) => ("registerOnStart", value != Value::Bool(false)),
        None => match parameters.remove("trunkRegisterMode") {
            Some(value) => ("trunkRegisterMode", value != "none" && value != Value::Bool(false)),
            None => return,
        },
    };
    let message = "read as `trunkConnectionMode` fixed and `trunkUseRegistration`";
    report.note("N-SIP-RENAMED", old, message, "");
    parameters.entry("trunkUseRegistration").or_insert(registers.into());
}

fn check_trunk(parameters: &Object, report: &mut Findings) {
    match text(parameters, "trunkConnectionMode") {
        "dynamic" => {
            check_auth(parameters, report);
            let is_static = text(parameters, "authMode") == "static";
            for key in
                ["trunkStaticUsername", "trunkStaticPassword"].into_iter().filter(|_| is_static)
            {
                check_secret(parameters, key, key, report);
            }
        }
        "fixed" if parameters.get("trunkUseRegistration") == Some(&Value::Bool(true)) => {
            check_registration(parameters, report);
        }
        "fixed" => {}
        other => {
            let message = format!("`{other}` is neither fixed nor dynamic");
            report.error("E-SIP-VALUE", "trunkConnectionMode", &message, "choose one of these");
        }
    }
    check_recording("enableCallRecording", parameters, report);
}

/// What a REGISTER to the trunk is made of; where it goes stands in `ringback.toml`.
fn check_registration(parameters: &Object, report: &mut Findings) {
    let option = |key: &str| parameters.get("options").and_then(|options| options.get(key));
    let expires = option("registrationExpires");
    let is_sound = |value: &Value| value.as_u64().is_some_and(|one| EXPIRES_SECONDS.contains(&one));
    if !expires.is_none_or(is_sound) {
        let message = "a registration lives for 60 to 86400 seconds";
        let remedy = "write a whole number of seconds, such as 600";
        report.error("E-SIP-VALUE", "options.registrationExpires", message, remedy);
    }
    let headers = option("registerHeaders");
    let items = headers.and_then(|list| list.get("item").or(Some(list))).and_then(Value::as_array);
    let empty = Object::new();
    for (index, item) in items.into_iter().flatten().enumerate() {
        let item = item.as_object().unwrap_or(&empty);
        let (name, value) = (text(item, "name"), text(item, "value"));
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&byte);
        let is_ours = OWN_HEADERS.iter().any(|own| own.eq_ignore_ascii_case(name));
        let path = format!("options.registerHeaders.item[{index}]");
        if !name.bytes().all(is_token) || value.chars().any(char::is_control) || is_ours {
            let message = "it cannot stand in a REGISTER";
            let remedy = "name a header that the server does not write itself, on one line";
            report.error("E-SIP-VALUE", &path, message, remedy);
        }
    }
}

fn check_extensions(parameters: &Object, report: &mut Findings) {
    check_auth(parameters, report);
    check_recording("extensionsEnableCallRecording", parameters, report);
    let transports = parameters.get("options").and_then(|options| options.get("transports"));
    if transports.and_then(Value::as_array).is_some_and(Vec::is_empty) {
        let message = "At least one extensions transport must be selected";
        report.error("E-SIP-TRANSPORT", "options.transports", message, "select udp");
    }
    let items = parameters.get("staticCredentials").and_then(|list| list.get("item"));
    let items = items.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if items.is_empty() && text(parameters, "authMode") == "static" {
        let remedy = "add user name, password and extension of each phone";
        report.error("E-SIP-CREDENTIALS", "staticCredentials", "no phone may register", remedy);
    }
    let empty = Object::new();
    let mut usernames = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let item = item.as_object().unwrap_or(&empty);
        let at = |key: &str| format!("staticCredentials.item[{index}].{key}");
        for key in ["username", "password", "extension"] {
            check_secret(item, key, &at(key), report);
        }
        let (username, extension) = (text(item, "username"), text(item, "extension"));
        if !extension.is_empty() && !is_number(extension) {
            let message = "an extension is digits, letters, and + * # - . _, at most 64";
            report.error("E-SIP-VALUE", &at("extension"), message, "write a short number");
        }
        if usernames.contains(&username) && !username.is_empty() {
            let message = format!("the user `{username}` stands here twice");
            let remedy = "give each phone its own user; they may share the extension";
            report.error("E-SIP-CREDENTIALS", &at("username"), &message, remedy);
        }
        usernames.push(username);
    }
}

fn check_queue(parameters: &Object, report: &mut Findings) {
    let numbers = text(parameters, "queueExtensions");
    if numbers.split(',').all(|number| number.trim().is_empty()) {
        let message = "a queue needs operators";
        let remedy = "list their extensions, with commas between";
        report.error("E-SIP-QUEUE", "queueExtensions", message, remedy);
    }
}

/// Who proves itself how: by passwords of the workflow, or by what a flow says to `Auth`.
fn check_auth(parameters: &Object, report: &mut Findings) {
    let mode = text(parameters, "authMode");
    if !["static", "digest-first", "raw"].contains(&mode) {
        let message = format!("`{mode}` is none of static, digest-first, raw");
        report.error("E-SIP-VALUE", "authMode", &message, "choose one of these");
    }
    check_answer_time("authTimeoutSeconds", parameters, report);
    let realm = parameters.get("options").and_then(|options| options.get("realm"));
    let realm = realm.and_then(Value::as_str).unwrap_or_default();
    if !realm.bytes().all(|byte| (b' '..0x7f).contains(&byte) && !b"\"\\".contains(&byte)) {
        let message = "a realm is plain text without quotes";
        report.error("E-SIP-VALUE", "options.realm", message, "leave it empty");
    }
}

/// How long a flow may take to answer.
fn check_answer_time(key: &str, parameters: &Object, report: &mut Findings) {
    let option = parameters.get("options").and_then(|options| options.get(key));
    let is_sound = |value: &Value| value.as_f64().is_some_and(|one| (0.0..=60.0).contains(&one));
    if !option.is_none_or(is_sound) {
        let message = "an answer may take 0 to 60 seconds";
        report.error(
            "E-SIP-VALUE",
            &format!("options.{key}"),
            message,
            "write a number, such as 5",
        );
    }
}

/// A user name or password is needed before anything runs, and an empty one would let anybody in.
fn check_secret(object: &Object, key: &str, path: &str, report: &mut Findings) {
    if text(object, key).is_empty() {
        report.error("E-SIP-CREDENTIALS", path, "it must not be empty", "fill it in");
    } else if object.get(key).is_some_and(is_expression) {
        let message = "it cannot be an expression: it is needed before anything runs";
        report.error("E-SIP-CREDENTIALS", path, message, "write the text itself");
    }
}

fn check_recording(key: &str, parameters: &Object, report: &mut Findings) {
    if parameters.get(key) == Some(&Value::Bool(true)) {
        check_answer_time("recordResponseTimeoutSeconds", parameters, report);
    }
}

fn text<'a>(object: &'a Object, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn labels(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The codes that a trigger with these parameters gets.
    #[track_caller]
    fn check(parameters: Value, expected: &[&str]) {
        let mut parameters = parameters.as_object().cloned().unwrap_or_default();
        let mut report = Findings::default();
        parameters.entry("ref").or_insert("main".into());
        Trigger.fill(1.0, &mut parameters, &mut report);
        Trigger.check(1.0, &parameters, &mut report);
        let found = report.iter().map(|finding| finding.code).collect::<Vec<_>>();
        assert_eq!(found, expected, "{parameters:?}");
    }

    fn extensions(item: &Value) -> Value {
        json!({ "triggerOn": "extensions", "staticCredentials": { "item": item } })
    }

    #[test]
    fn trunks() {
        check(json!({ "trunkUseRegistration": false }), &[]);
        check(json!({}), &[]);
        let registering = |options: Value| json!({ "options": options });
        let headers = |name: &str, value: &str| json!({ "registerHeaders": { "item": [{ "name": name, "value": value }] } });
        check(registering(json!({ "registrationExpires": 60 })), &[]);
        check(registering(json!({ "registrationExpires": 59 })), &["E-SIP-VALUE"]);
        check(registering(json!({ "registrationExpires": "600" })), &["E-SIP-VALUE"]);
        check(registering(headers("X-Site", "north")), &[]);
        for (name, value) in [("to", "x"), ("X Site", "x"), ("X-Site", "x\r\nTo: y")] {
            check(registering(headers(name, value)), &["E-SIP-VALUE"]);
        }
        let dynamic = |user: &str, password: &str, mode: &str| {
            json!({
                "trunkConnectionMode": "dynamic", "trunkStaticUsername": user,
                "trunkStaticPassword": password, "authMode": mode, "enableCallRecording": true,
            })
        };
        check(dynamic("pbx", "secret", "static"), &[]);
        let wrong = ["E-SIP-CREDENTIALS", "E-SIP-CREDENTIALS"];
        check(dynamic("", "={{ $env.SECRET }}", "static"), &wrong);
        for mode in ["digest-first", "raw"] {
            check(dynamic("", "", mode), &[]);
        }
        check(dynamic("", "", "guess"), &["E-SIP-VALUE"]);
        check(json!({ "trunkConnectionMode": "both" }), &["E-SIP-VALUE"]);
    }

    #[test]
    fn extensions_need_whole_and_different_accounts() {
        let desk = json!({ "username": "desk", "password": "secret", "extension": "100" });
        check(extensions(&json!([desk])), &[]);
        check(extensions(&json!([])), &["E-SIP-CREDENTIALS"]);
        let asking = |seconds: Value| json!({ "triggerOn": "extensions", "authMode": "raw", "options": { "authTimeoutSeconds": seconds } });
        check(asking(json!(3)), &[]);
        check(asking(json!(61)), &["E-SIP-VALUE"]);
        check(extensions(&json!([desk, desk])), &["E-SIP-CREDENTIALS"]);
        check(extensions(&json!([{}])), &["E-SIP-CREDENTIALS"; 3]);
        check(extensions(&json!(["desk"])), &["E-SIP-CREDENTIALS"; 3]);
        let odd = json!({ "username": "desk", "password": "secret", "extension": "1@h" });
        check(extensions(&json!([odd])), &["E-SIP-VALUE"]);
        let mut silent = extensions(&json!([desk]));
        silent["options"] = json!({ "transports": [], "realm": "a\"b" });
        check(silent, &["E-SIP-VALUE", "E-SIP-TRANSPORT"]);
    }

    #[test]
    fn queues_need_operators_and_tools_are_not_served() {
        check(json!({ "triggerOn": "queue", "queueExtensions": "100, 101" }), &[]);
        check(json!({ "triggerOn": "queue", "queueExtensions": " ," }), &["E-SIP-QUEUE"]);
        check(json!({ "triggerOn": "aiTool" }), &["E-SIP-UNSERVED"]);
    }
}
