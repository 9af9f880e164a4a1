//! Stop and Error: fails on purpose, with words of the author's own.

use serde_json::Value;

use crate::flow::node::shown;
use crate::flow::{Branches, Fault, Findings, NodeType, Object, Role, Shown, Work};

pub(super) struct StopAndError;

impl NodeType for StopAndError {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.stopAndError"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] = &[
            shown("errorObject", "errorType", "errorMessage", &["errorObject"]),
            shown("errorMessage", "errorType", "errorMessage", &["errorMessage"]),
        ];
        RULES
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn is_quick(&self, _parameters: &Object) -> bool {
        true
    }

    fn keys(&self) -> &'static [&'static str] {
        &["errorType", "errorMessage", "errorObject"]
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("errorType").or_insert_with(|| "errorMessage".into());
    }

    fn outputs(&self, _version: f64, _parameters: &Object) -> Vec<String> {
        Vec::new()
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let key = text_key(parameters);
        if parameters.get(key).is_none_or(|value| value == "") {
            report.error("E-FLOW-REQUIRED", key, "the error has no text", "say what went wrong");
        }
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        let parameters = work.parameters(0)?;
        let message = match parameters.get(text_key(&parameters)) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => String::new(),
        };
        Err(Fault::new("E-FLOW-STOP", message))
    }
}

fn text_key(parameters: &Object) -> &'static str {
    if parameters.get("errorType").is_some_and(|kind| kind == "errorObject") {
        "errorObject"
    } else {
        "errorMessage"
    }
}
