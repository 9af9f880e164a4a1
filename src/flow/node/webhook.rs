//! Webhook and Respond to Webhook: runs that an HTTP request starts, and what it gets back.

use serde_json::Value;

use crate::flow::node::shown;
use crate::flow::{Findings, NodeType, Object, Role, Shown, nearest};

/// The type's name in exports.
pub const WEBHOOK: &str = "n8n-nodes-base.webhook";
/// The type's name in exports.
pub const RESPOND: &str = "n8n-nodes-base.respondToWebhook";

pub(super) struct Webhook;

impl NodeType for Webhook {
    fn name(&self) -> &'static str {
        WEBHOOK
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 1.1, 2.0, 2.1]
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] = &[
            shown("responseData", "responseMode", "onReceived", &["lastNode"]),
            shown("responseBinaryPropertyName", "responseMode", "onReceived", &["lastNode"]),
            shown(
                "responseBinaryPropertyName",
                "responseData",
                "firstEntryJson",
                &["firstEntryBinary"],
            ),
            shown("responseCode", "responseMode", "onReceived", &["onReceived", "lastNode"]),
        ];
        RULES
    }

    fn role(&self) -> Role {
        Role::Trigger
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("httpMethod").or_insert_with(|| "GET".into());
        parameters.entry("responseMode").or_insert_with(|| "onReceived".into());
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("path").trim_matches('/').is_empty() {
            report.error("E-FLOW-REQUIRED", "path", "there is no path", "write one");
        }
        check_webhook(parameters, "authentication", report);
        if parameters.get("options").is_some_and(|options| options["ignoreBots"] == true) {
            let message = "this option has no effect here: bots are served like everybody";
            report.warning("W-FLOW-PARAMETER", "options.ignoreBots", message, "");
        }
    }

    fn outputs(&self, _version: f64, parameters: &Object) -> Vec<String> {
        match parameters.get("httpMethod").and_then(Value::as_array) {
            Some(methods) if methods.len() > 1 => {
                methods.iter().map(|method| method.as_str().unwrap_or("main").to_owned()).collect()
            }
            Some(_) | None => vec!["main".to_owned()],
        }
    }
}

/// What is wrong with how a request is let in and answered.
pub(super) fn check_webhook(parameters: &Object, authentication: &str, report: &mut Findings) {
    let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
    const AUTHENTICATIONS: [&str; 5] = ["", "none", "basicAuth", "headerAuth", "jwtAuth"];
    if !AUTHENTICATIONS.contains(&text(authentication)) {
        let message = format!("the authentication `{}` is unknown", text(authentication));
        let remedy = "choose none, basicAuth, headerAuth or jwtAuth";
        report.error("E-FLOW-OPTION", authentication, &message, remedy);
    }
    if !["onReceived", "lastNode", "responseNode"].contains(&text("responseMode")) {
        let message = format!("requests are not answered in the mode `{}`", text("responseMode"));
        let remedy = "choose onReceived, lastNode or responseNode";
        report.error("E-FLOW-UNSERVED", "responseMode", &message, remedy);
    }
}

pub(super) struct RespondToWebhook;

impl NodeType for RespondToWebhook {
    fn name(&self) -> &'static str {
        RESPOND
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] = &[
            shown("responseBody", "respondWith", "firstIncomingItem", &["json", "text"]),
            shown("redirectURL", "respondWith", "firstIncomingItem", &["redirect"]),
            shown("payload", "respondWith", "firstIncomingItem", &["jwt"]),
            shown("responseDataSource", "respondWith", "firstIncomingItem", &["binary"]),
            shown("inputFieldName", "respondWith", "firstIncomingItem", &["binary"]),
        ];
        RULES
    }

    fn role(&self) -> Role {
        Role::Service
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("respondWith").or_insert_with(|| "firstIncomingItem".into());
    }
    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        const KNOWN: [&str; 8] = [
            "allIncomingItems",
            "binary",
            "firstIncomingItem",
            "json",
            "jwt",
            "noData",
            "redirect",
            "text",
        ];
        let with = parameters.get("respondWith").and_then(Value::as_str).unwrap_or_default();
        if !KNOWN.contains(&with) && !with.starts_with('=') {
            let message = format!("no request is answered with `{with}`");
            let near = nearest(with, KNOWN.into_iter());
            let remedy = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
            report.error("E-FLOW-OPTION", "respondWith", &message, &remedy);
        }
        if parameters.get("enableResponseOutput").is_some_and(|enabled| enabled == true) {
            let message = "the output `Response` stays empty here";
            report.warning("W-FLOW-PARAMETER", "enableResponseOutput", message, "");
        }
    }

    fn outputs(&self, _version: f64, parameters: &Object) -> Vec<String> {
        match parameters.get("enableResponseOutput") {
            Some(Value::Bool(true)) => vec!["Input Data".to_owned(), "Response".to_owned()],
            Some(_) | None => vec!["main".to_owned()],
        }
    }
}
