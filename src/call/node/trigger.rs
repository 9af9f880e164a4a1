//! `sipPbxTrigger`: what it listens to, its branches, and what is wrong with its parameters.

use serde_json::Value;

use crate::call::node::is_expression;
use crate::flow::{Findings, NodeType, Object, Role};

/// The type's name in exports.
pub const TRIGGER: &str = "n8n-nodes-sip-pbx.sipPbxTrigger";

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
        for old in ["trunkOptions", "extensionsOptions", "aiToolOptions"] {
            if let Some(options) = parameters.remove(old) {
                report.note("N-SIP-RENAMED", old, "read as `options`", "");
                parameters.insert("options".to_owned(), options);
            }
        }
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
        let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("triggerOn") {
            "trunk" => {}
            kind @ ("extensions" | "queue" | "aiTool") => {
                let message = format!("`{kind}` triggers are not served yet");
                let remedy = "use a trunk trigger";
                report.error("E-SIP-UNSERVED", "triggerOn", &message, remedy);
                return;
            }
            other => {
                let message = format!("`{other}` is none of trunk, extensions, queue, aiTool");
                report.error("E-SIP-VALUE", "triggerOn", &message, "choose one of these");
                return;
            }
        }
        if text("trunkConnectionMode") == "dynamic" {
            let message = "trunks at dynamic addresses are not served yet";
            let remedy = "use a fixed address; list its peers under [trunk.REF] in ringback.toml";
            report.error("E-SIP-UNSERVED", "trunkConnectionMode", message, remedy);
        } else if parameters.get("trunkUseRegistration") == Some(&Value::Bool(true)) {
            let message = "registration at a trunk is not served yet";
            let remedy = "switch it off; list the trunk's peers under [trunk.REF] in ringback.toml";
            report.error("E-SIP-UNSERVED", "trunkUseRegistration", message, remedy);
        }
        if parameters.get("enableCallRecording") == Some(&Value::Bool(true)) {
            let message = "call recording is not served yet";
            report.error("E-SIP-UNSERVED", "enableCallRecording", message, "switch it off");
        }
    }
}

fn labels(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}
