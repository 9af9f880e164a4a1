//! Schedule Trigger: starts runs at times.

use crate::flow::{Findings, NodeType, Object, Role};

/// The type's name in exports.
pub const SCHEDULE: &str = "n8n-nodes-base.scheduleTrigger";

const FIELDS: [&str; 7] =
    ["seconds", "minutes", "hours", "days", "weeks", "months", "cronExpression"];

pub(super) struct ScheduleTrigger;

impl NodeType for ScheduleTrigger {
    fn name(&self) -> &'static str {
        SCHEDULE
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 1.1, 1.2, 1.3]
    }

    fn role(&self) -> Role {
        Role::Trigger
    }

    fn keys(&self) -> &'static [&'static str] {
        &["rule", "notice"]
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let rules = parameters.get("rule").and_then(|rule| rule["interval"].as_array());
        for (place, rule) in rules.into_iter().flatten().enumerate() {
            let field = rule["field"].as_str().unwrap_or("days");
            if !FIELDS.contains(&field) {
                let path = format!("rule.interval[{place}].field");
                let message = format!("`{field}` is none of {}", FIELDS.join(", "));
                report.error("E-FLOW-SCHEDULE", &path, &message, "choose one of these");
            }
            let cron = rule["expression"].as_str().unwrap_or_default();
            let fields = cron.split_whitespace().count();
            if field == "cronExpression" && !matches!(fields, 5 | 6) && !cron.starts_with('=') {
                let path = format!("rule.interval[{place}].expression");
                let message = format!("`{cron}` has {fields} fields, and cron has 5 or 6");
                report.error(
                    "E-FLOW-SCHEDULE",
                    &path,
                    &message,
                    "write minute hour day month weekday",
                );
            }
        }
    }

    fn outputs(&self, _version: f64, _parameters: &Object) -> Vec<String> {
        vec!["main".to_owned()]
    }
}
