//! Wait: items go on after a while, at a moment, or when somebody calls.

use std::time::Duration;

use serde_json::Value;

use crate::flow::node::condition::moment;
use crate::flow::node::shown;
use crate::flow::node::webhook::check_webhook;
use crate::flow::{Fault, Findings, NodeType, Object, Pause, Role, Shown, Work};

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(366 * 86_400);

/// The type's name in exports.
pub const WAIT: &str = "n8n-nodes-base.wait";

pub(super) struct Wait;

impl NodeType for Wait {
    fn name(&self) -> &'static str {
        WAIT
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 1.1]
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const WEBHOOK: &[&str] = &["webhook"];
        const RULES: &[Shown] = &[
            shown("dateTime", "resume", "timeInterval", &["specificTime"]),
            shown("amount", "resume", "timeInterval", &["timeInterval"]),
            shown("unit", "resume", "timeInterval", &["timeInterval"]),
            shown("httpMethod", "resume", "timeInterval", WEBHOOK),
            shown("incomingAuthentication", "resume", "timeInterval", WEBHOOK),
            shown("responseMode", "resume", "timeInterval", WEBHOOK),
            shown("responseCode", "resume", "timeInterval", WEBHOOK),
            shown("responseData", "resume", "timeInterval", WEBHOOK),
            shown("responseData", "responseMode", "onReceived", &["lastNode"]),
            shown("responseBinaryPropertyName", "responseData", "", &["firstEntryBinary"]),
            shown("limitWaitTime", "resume", "timeInterval", WEBHOOK),
            shown("limitType", "limitWaitTime", "false", &["true"]),
            shown("resumeAmount", "limitWaitTime", "false", &["true"]),
            shown("resumeUnit", "limitWaitTime", "false", &["true"]),
            shown("maxDateAndTime", "limitWaitTime", "false", &["true"]),
            shown("resumeAmount", "limitType", "afterTimeInterval", &["afterTimeInterval"]),
            shown("resumeUnit", "limitType", "afterTimeInterval", &["afterTimeInterval"]),
            shown("maxDateAndTime", "limitType", "afterTimeInterval", &["atSpecifiedTime"]),
        ];
        RULES
    }

    fn role(&self) -> Role {
        Role::Pause
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "resume",
            "amount",
            "unit",
            "dateTime",
            "options",
            "httpMethod",
            "incomingAuthentication",
            "responseMode",
            "responseCode",
            "responseData",
            "responseBinaryPropertyName",
            "limitWaitTime",
            "limitType",
            "resumeAmount",
            "resumeUnit",
            "maxDateAndTime",
            "webhookNotice",
        ]
    }

    fn fill(&self, version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("resume").or_insert_with(|| "timeInterval".into());
        let (amount, unit) = if version < 1.1 { (1, "hours") } else { (5, "seconds") };
        parameters.entry("amount").or_insert_with(|| amount.into());
        parameters.entry("unit").or_insert_with(|| unit.into());
        parameters.entry("httpMethod").or_insert_with(|| "GET".into());
        parameters.entry("responseMode").or_insert_with(|| "onReceived".into());
        parameters.entry("limitType").or_insert_with(|| "afterTimeInterval".into());
        parameters.entry("resumeAmount").or_insert_with(|| 1.into());
        parameters.entry("resumeUnit").or_insert_with(|| "hours".into());
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let resume = parameters.get("resume").and_then(Value::as_str).unwrap_or_default();
        if resume == "form" {
            let message = "waiting for a form is not performed by this server";
            let remedy = "wait for a time, or for a call: resume `webhook`";
            report.error("E-FLOW-UNSERVED", "resume", message, remedy);
        }
        if resume == "webhook" {
            check_webhook(parameters, "incomingAuthentication", report);
        }
    }

    fn pause(&self, work: &mut Work<'_>) -> Result<Pause, Fault> {
        let parameters = work.parameters(0)?;
        let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
        match text("resume") {
            "specificTime" => moment_of(&parameters, "dateTime", work).map(Pause::For),
            "webhook" if parameters.get("limitWaitTime") != Some(&Value::Bool(true)) => {
                Ok(Pause::Call(None))
            }
            "webhook" => match text("limitType") {
                "atSpecifiedTime" => moment_of(&parameters, "maxDateAndTime", work),
                _ => interval(parameters.get("resumeAmount"), text("resumeUnit")),
            }
            .map(|most| Pause::Call(Some(most))),
            _ => interval(parameters.get("amount"), text("unit")).map(Pause::For),
        }
    }
}

fn fail(what: &str) -> Fault {
    Fault::new("E-FLOW-WAIT", format!("the wait {what}"))
}

/// How long until the moment that a parameter says.
fn moment_of(parameters: &Object, key: &str, work: &mut Work<'_>) -> Result<Duration, Fault> {
    let at = parameters.get(key).and_then(|at| moment(at, work, 0));
    let at = at.ok_or_else(|| fail("is until something that is no date"))?;
    let left = u64::try_from(at.saturating_sub(work.now_ms)).unwrap_or(0);
    Ok(Duration::from_millis(left).min(WAIT_MAX))
}

fn interval(amount: Option<&Value>, unit: &str) -> Result<Duration, Fault> {
    let amount = amount.and_then(|amount| match amount {
        Value::String(text) => text.trim().parse().ok(),
        Value::Number(number) => number.as_f64(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    });
    let amount = amount.filter(|amount: &f64| amount.is_finite() && *amount >= 0.0);
    let amount = amount.ok_or_else(|| fail("lasts for something that is no number from 0 on"))?;
    let unit = match unit {
        "minutes" => 60.0,
        "hours" => 3600.0,
        "days" => 86_400.0,
        _ => 1.0,
    };
    Ok(Duration::from_secs_f64((amount * unit).min(WAIT_MAX.as_secs_f64())))
}
