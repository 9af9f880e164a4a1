//! Date & Time: dates computed, written and compared, as luxon does it.

use serde_json::Value;

use crate::flow::node::shown;
use crate::flow::{Branches, Fault, Findings, NodeType, Object, Role, Shown, Work};

pub(super) struct DateTime;

const OPERATIONS: [(&str, &str); 7] = [
    ("getCurrentDate", "currentDate"),
    ("addToDate", "newDate"),
    ("subtractFromDate", "newDate"),
    ("formatDate", "formattedDate"),
    ("roundDate", "roundedDate"),
    ("getTimeBetweenDates", "timeDifference"),
    ("extractDate", "datePart"),
];

impl NodeType for DateTime {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.dateTime"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0]
    }

    fn shown_while(&self, version: f64) -> &'static [Shown] {
        const FIRST: &[Shown] = &[
            shown("toFormat", "action", "format", &["format"]),
            shown("custom", "action", "format", &["format"]),
            shown("operation", "action", "format", &["calculate"]),
            shown("duration", "action", "format", &["calculate"]),
            shown("timeUnit", "action", "format", &["calculate"]),
        ];
        const SECOND: &[Shown] = &[
            of("includeTime", &["getCurrentDate"]),
            of("magnitude", &["addToDate", "subtractFromDate"]),
            of("timeUnit", &["addToDate", "subtractFromDate"]),
            of("duration", &["addToDate", "subtractFromDate"]),
            of("date", &["formatDate", "roundDate", "extractDate"]),
            of("format", &["formatDate"]),
            of("customFormat", &["formatDate"]),
            shown("customFormat", "format", "MM/dd/yyyy", &["custom"]),
            of("mode", &["roundDate"]),
            of("toNearest", &["roundDate"]),
            shown("toNearest", "mode", "roundDown", &["roundDown"]),
            of("to", &["roundDate"]),
            shown("to", "mode", "roundDown", &["roundUp"]),
            of("startDate", &["getTimeBetweenDates"]),
            of("endDate", &["getTimeBetweenDates"]),
            of("units", &["getTimeBetweenDates"]),
            of("part", &["extractDate"]),
        ];
        const fn of(key: &'static str, operations: &'static [&'static str]) -> Shown {
            shown(key, "operation", "getCurrentDate", operations)
        }
        if version < 2.0 { FIRST } else { SECOND }
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn fill(&self, version: f64, parameters: &mut Object, _report: &mut Findings) {
        if version < 2.0 {
            parameters.entry("action").or_insert_with(|| "format".into());
            parameters.entry("dataPropertyName").or_insert_with(|| "data".into());
            return;
        }
        parameters.entry("operation").or_insert_with(|| "getCurrentDate".into());
    }

    fn check(&self, version: f64, parameters: &Object, report: &mut Findings) {
        let operation = parameters.get("operation").and_then(Value::as_str).unwrap_or_default();
        if version >= 2.0 && !OPERATIONS.iter().any(|(known, _)| *known == operation) {
            let message = format!("the operation `{operation}` is unknown");
            report.error("E-FLOW-OPERATION", "operation", &message, "choose another operation");
        }
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        let mut branches = vec![Vec::new(); work.scope.node().outputs.len()];
        for index in 0..work.items().len() {
            match computed(work, index) {
                Ok(json) => {
                    let binary = work.items()[index].binary.clone();
                    branches[0].push(crate::flow::Item {
                        binary,
                        ..crate::flow::Item::made_from(json, index)
                    });
                }
                Err(fault) => work.give_up(&mut branches, fault, index)?,
            }
        }
        Ok(branches)
    }
}

fn computed(work: &mut Work<'_>, index: usize) -> Result<Object, Fault> {
    let parameters = work.parameters(index)?;
    let (arguments, output, keeps) = match work.version() {
        version if version < 2.0 => first_version(&parameters),
        _ => {
            let operation = parameters.get("operation").and_then(Value::as_str).unwrap_or_default();
            let standard = OPERATIONS.iter().find(|(known, _)| *known == operation);
            let output = parameters.get("outputFieldName").and_then(Value::as_str);
            let output = output.filter(|name| !name.is_empty());
            let output = output.or(standard.map(|(_, name)| *name)).unwrap_or("date").to_owned();
            let keeps = parameters
                .get("options")
                .is_some_and(|options| options["includeInputFields"] == true);
            (Object::clone(&parameters), output, keeps)
        }
    };
    let value = work.call("date", Value::Object(arguments), index)?;
    let mut json = if keeps { Object::clone(&work.items()[index].json) } else { Object::new() };
    json.insert(output, value);
    Ok(json)
}

/// The first version, said in the words of the second. It writes moment's formats, of which only
/// the letters for day and year differ.
fn first_version(parameters: &Object) -> (Object, String, bool) {
    let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
    let output = text("dataPropertyName").to_owned();
    let value = parameters.get("value").cloned().unwrap_or_default();
    let options = parameters.get("options").cloned().unwrap_or_default();
    let mut arguments = Object::new();
    let mut put = |key: &str, value: Value| arguments.insert(key.to_owned(), value);
    if text("action") == "calculate" {
        let is_minus = text("operation") == "subtract";
        put("operation", if is_minus { "subtractFromDate" } else { "addToDate" }.into());
        put("magnitude", value);
        put("duration", parameters.get("duration").cloned().unwrap_or_default());
        let unit = text("timeUnit");
        put("timeUnit", if unit.is_empty() { "days" } else { unit }.into());
    } else {
        let format =
            text("toFormat").replace("YYYY", "yyyy").replace("YY", "yy").replace("DD", "dd");
        put("operation", "formatDate".into());
        put("date", value);
        put("format", if format.is_empty() { "MM/dd/yyyy".into() } else { format.into() });
    }
    put("options", options);
    (arguments, output, true)
}
