//! Wait: items go on after a while, or at a moment.

use std::time::Duration;

use serde_json::Value;

use crate::flow::node::condition::moment;
use crate::flow::node::shown;
use crate::flow::{Fault, Findings, NodeType, Object, Role, Shown, Work};

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(366 * 86_400);

pub(super) struct Wait;

impl NodeType for Wait {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.wait"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 1.1]
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] = &[
            shown("dateTime", "resume", "timeInterval", &["specificTime"]),
            shown("amount", "resume", "timeInterval", &["timeInterval"]),
            shown("unit", "resume", "timeInterval", &["timeInterval"]),
        ];
        RULES
    }

    fn role(&self) -> Role {
        Role::Pause
    }

    fn keys(&self) -> &'static [&'static str] {
        &["resume", "amount", "unit", "dateTime", "options"]
    }

    fn fill(&self, version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("resume").or_insert_with(|| "timeInterval".into());
        let (amount, unit) = if version < 1.1 { (1, "hours") } else { (5, "seconds") };
        parameters.entry("amount").or_insert_with(|| amount.into());
        parameters.entry("unit").or_insert_with(|| unit.into());
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let resume = parameters.get("resume").and_then(Value::as_str).unwrap_or_default();
        if matches!(resume, "webhook" | "form") {
            let message = format!("waiting for a {resume} is not performed by this server");
            let remedy = "wait for a time, or start another workflow by a webhook";
            report.error("E-FLOW-UNSERVED", "resume", &message, remedy);
        }
    }

    fn pause(&self, work: &mut Work<'_>) -> Result<Duration, Fault> {
        let parameters = work.parameters(0)?;
        let fail = |what: &str| Fault::new("E-FLOW-WAIT", format!("the wait {what}"));
        if parameters.get("resume").is_some_and(|resume| resume == "specificTime") {
            let at = parameters.get("dateTime").and_then(|at| moment(at, work, 0));
            let at = at.ok_or_else(|| fail("is until something that is no date"))?;
            let left = u64::try_from(at.saturating_sub(work.now_ms)).unwrap_or(0);
            return Ok(Duration::from_millis(left).min(WAIT_MAX));
        }
        let amount = parameters.get("amount");
        let amount = amount.and_then(|amount| match amount {
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(number) => number.as_f64(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        let amount = amount.filter(|amount: &f64| amount.is_finite() && *amount >= 0.0);
        let amount =
            amount.ok_or_else(|| fail("lasts for something that is no number from 0 on"))?;
        let unit = match parameters.get("unit").and_then(Value::as_str).unwrap_or_default() {
            "minutes" => 60.0,
            "hours" => 3600.0,
            "days" => 86_400.0,
            _ => 1.0,
        };
        Ok(Duration::from_secs_f64((amount * unit).min(WAIT_MAX.as_secs_f64())))
    }
}
