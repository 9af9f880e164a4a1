//! Webhook and Respond to Webhook: runs that an HTTP request starts, and what it gets back.

use serde_json::Value;

use crate::flow::{Findings, NodeType, Object, Role};

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

    fn role(&self) -> Role {
        Role::Trigger
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("httpMethod").or_insert_with(|| "GET".into());
        parameters.entry("responseMode").or_insert_with(|| "onReceived".into());
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

pub(super) struct RespondToWebhook;

impl NodeType for RespondToWebhook {
    fn name(&self) -> &'static str {
        RESPOND
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    }

    fn role(&self) -> Role {
        Role::Service
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("respondWith").or_insert_with(|| "firstIncomingItem".into());
    }
}
