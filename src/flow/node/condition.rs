//! Conditions: the comparisons that If, Filter and Switch share, in their old and new spelling.

use std::borrow::Cow;

use serde_json::Value;

use crate::flow::{Fault, Object, Work, member};

/// Whether nothing in these parameters looks for a pattern, or compares dates.
pub(super) fn compares_plainly<'a>(parameters: impl IntoIterator<Item = &'a Value>) -> bool {
    parameters.into_iter().all(|value| match value {
        Value::String(text) => {
            !["regex", "notRegex", "dateTime", "after", "before"].contains(&text.as_str())
        }
        Value::Array(values) => compares_plainly(values),
        Value::Object(fields) => {
            !fields.contains_key("dateTime") && compares_plainly(fields.values())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    })
}

/// How strictly the two sides of a condition are taken.
#[derive(Clone, Copy, Debug)]
struct Rules {
    is_strict: bool,
    ignores_case: bool,
    version: u64,
}

/// Whether a filter of the new kind (`conditions`, `combinator`, `options`) holds.
pub(super) fn filter_holds(
    filter: &Value,
    is_loose: bool,
    ignores_case: bool,
    work: &mut Work<'_>,
    item: usize,
) -> Result<bool, Fault> {
    let options = of(filter, "options");
    let validation = of(options, "typeValidation").as_str();
    let rules = Rules {
        is_strict: validation != Some("loose") && !is_loose,
        ignores_case: *of(options, "caseSensitive") == false || ignores_case,
        version: of(options, "version").as_u64().unwrap_or(1),
    };
    let conditions = of(filter, "conditions").as_array().map_or(&[][..], Vec::as_slice);
    let is_any = *of(filter, "combinator") == "or";
    for (place, condition) in conditions.iter().enumerate() {
        let operator = of(condition, "operator");
        let kind = of(operator, "type").as_str().unwrap_or("string");
        let operation = of(operator, "operation").as_str().unwrap_or_default();
        let right_kind = of(operator, "rightType").as_str();
        // What a list holds, and how long it is, is no list.
        let right_kind = right_kind.unwrap_or(if kind == "array" { "any" } else { kind });
        let left = rules.convert(of(condition, "leftValue"), kind, work, item);
        let left = left.map_err(|what| wrong_type(&what, place, item))?;
        // What the author typed on the right is text in the file, whatever it is meant to be.
        let lenient = Rules { is_strict: false, ..rules };
        let right = if has_one_side(operation) {
            Cow::Owned(Value::Null)
        } else {
            let right = lenient.convert(of(condition, "rightValue"), right_kind, work, item);
            right.map_err(|what| wrong_type(&what, place, item))?
        };
        let holds = rules.compare(kind, operation, &left, &right, work, item)?;
        if holds == is_any {
            return Ok(is_any);
        }
    }
    Ok(!is_any || conditions.is_empty())
}

/// A member of what should be an object.
fn inside<'v>(value: &'v Value, key: &str) -> Option<&'v Value> {
    value.as_object().and_then(|object| member(object, key))
}

/// The same; null where there is none.
fn of<'v>(value: &'v Value, key: &str) -> &'v Value {
    inside(value, key).unwrap_or(&Value::Null)
}

/// Whether the comparison of an old If or Switch holds: `equal`, `larger`, `notContains` and so on.
pub(super) fn old_holds(
    kind: &str,
    operation: &str,
    (left, right): (&Value, &Value),
    work: &mut Work<'_>,
    item: usize,
) -> Result<bool, Fault> {
    let rules = Rules { is_strict: false, ignores_case: false, version: 2 };
    let operation = match operation {
        "equal" => return Ok(equal(left, right)),
        "notEqual" => return Ok(!equal(left, right)),
        "larger" => "gt",
        "largerEqual" => "gte",
        "smaller" => "lt",
        "smallerEqual" => "lte",
        "isEmpty" => "empty",
        "isNotEmpty" => "notEmpty",
        same => same,
    };
    let left = rules.convert(left, kind, work, item).unwrap_or(Cow::Owned(Value::Null));
    let right = rules.convert(right, kind, work, item).unwrap_or(Cow::Owned(Value::Null));
    rules.compare(kind, operation, &left, &right, work, item)
}

/// Whether an operation looks at the left side only.
fn has_one_side(operation: &str) -> bool {
    matches!(operation, "exists" | "notExists" | "empty" | "notEmpty" | "true" | "false")
}

/// Whether every operation of a filter is known; gives the path of the first that is not.
pub(super) fn unknown_operation(filter: &Value) -> Option<(usize, String)> {
    let conditions = filter["conditions"].as_array()?;
    conditions.iter().enumerate().find_map(|(place, condition)| {
        let operation = condition["operator"]["operation"].as_str()?;
        (!OPERATIONS.contains(&operation)).then(|| (place, operation.to_owned()))
    })
}

const OPERATIONS: [&str; 30] = [
    "exists",
    "notExists",
    "equals",
    "notEquals",
    "contains",
    "notContains",
    "startsWith",
    "notStartsWith",
    "endsWith",
    "notEndsWith",
    "regex",
    "notRegex",
    "empty",
    "notEmpty",
    "gt",
    "lt",
    "gte",
    "lte",
    "after",
    "before",
    "afterOrEquals",
    "beforeOrEquals",
    "true",
    "false",
    "lengthEquals",
    "lengthNotEquals",
    "lengthGt",
    "lengthLt",
    "lengthGte",
    "lengthLte",
];

impl Rules {
    /// A side as the type that the condition compares; nothing stays nothing.
    fn convert<'v>(
        self,
        value: &'v Value,
        kind: &str,
        work: &mut Work<'_>,
        item: usize,
    ) -> Result<Cow<'v, Value>, String> {
        let fits = match kind {
            "string" => value.is_string(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "array" => value.is_array(),
            "object" => value.is_object(),
            "dateTime" => {
                return match moment(value, work, item) {
                    Some(ms) => Ok(Cow::Owned(ms.into())),
                    None if value.is_null() || value == "" => Ok(Cow::Owned(Value::Null)),
                    None => Err(format!("'{}' is no date", plain(value))),
                };
            }
            _ => true,
        };
        if fits || value.is_null() {
            return Ok(Cow::Borrowed(value));
        }
        let fail = || format!("'{}' is {} but {kind} was expected", plain(value), type_of(value));
        if self.is_strict {
            return Err(fail());
        }
        let converted = match kind {
            "string" => Some(plain(value).into()),
            "number" => self.number(value),
            "boolean" => Some(self.boolean(value).into()),
            _ => {
                let parsed = value.as_str().and_then(|text| serde_json::from_str(text).ok());
                parsed.filter(|parsed: &Value| (kind == "array") == parsed.is_array())
            }
        };
        converted.map(Cow::Owned).ok_or_else(fail)
    }

    fn number(self, value: &Value) -> Option<Value> {
        let is_blank = value == "" || value.as_array().is_some_and(Vec::is_empty);
        if is_blank {
            return Some(if self.version < 3 { 0.into() } else { Value::Null });
        }
        match value {
            Value::Bool(value) => Some(u8::from(*value).into()),
            Value::String(text) => text.trim().parse::<f64>().ok().map(Value::from),
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn boolean(self, value: &Value) -> bool {
        match value.as_str().map(str::to_lowercase).as_deref() {
            Some("false" | "0") if self.version >= 2 => false,
            _ => is_truthy(value),
        }
    }

    fn compare(
        self,
        kind: &str,
        operation: &str,
        left: &Value,
        right: &Value,
        work: &mut Work<'_>,
        item: usize,
    ) -> Result<bool, Fault> {
        if let Some(positive) = negated(operation) {
            return Ok(!self.compare(kind, positive, left, right, work, item)?);
        }
        match operation {
            "exists" => return Ok(!left.is_null()),
            "empty" => return Ok(is_empty(left)),
            "true" => return Ok(left == true),
            "false" => return Ok(left == false),
            _ => {}
        }
        Ok(match kind {
            "string" => return self.compare_text(operation, left, right, work, item),
            "array" => compare_list(operation, left, right, self.ignores_case),
            _ => match operation {
                "equals" => equal(left, right),
                _ => compare_order(operation, left, right),
            },
        })
    }

    fn compare_text(
        self,
        operation: &str,
        left: &Value,
        right: &Value,
        work: &mut Work<'_>,
        item: usize,
    ) -> Result<bool, Fault> {
        let (mut left, mut right) = (text(left), text(right));
        if self.ignores_case {
            left = left.to_lowercase().into();
            // A pattern keeps its case: `\D` is not `\d`.
            if operation != "regex" {
                right = right.to_lowercase().into();
            }
        }
        Ok(match operation {
            "equals" => left == right,
            "contains" => left.contains(&*right),
            "startsWith" => left.starts_with(&*right),
            "endsWith" => left.ends_with(&*right),
            "regex" => return work.matches(&left, &right, item),
            _ => false,
        })
    }
}

fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "".into(),
        Value::String(text) => text.into(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            plain(value).into()
        }
    }
}

/// The operation that this one denies.
fn negated(operation: &str) -> Option<&'static str> {
    Some(match operation {
        "notExists" => "exists",
        "notEquals" => "equals",
        "notContains" => "contains",
        "notStartsWith" => "startsWith",
        "notEndsWith" => "endsWith",
        "notRegex" => "regex",
        "notEmpty" => "empty",
        "lengthNotEquals" => "lengthEquals",
        _ => return None,
    })
}

/// Numbers and moments; a side that is missing is neither above nor below.
fn compare_order(operation: &str, left: &Value, right: &Value) -> bool {
    let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) else { return false };
    match operation {
        "gt" | "after" => left > right,
        "lt" | "before" => left < right,
        "gte" | "afterOrEquals" => left >= right,
        "lte" | "beforeOrEquals" => left <= right,
        _ => false,
    }
}

fn compare_list(operation: &str, left: &Value, right: &Value, ignores_case: bool) -> bool {
    let list = left.as_array().map_or(&[][..], Vec::as_slice);
    let same = |value: &Value| match (value.as_str(), right.as_str()) {
        (Some(one), Some(other)) if ignores_case => one.to_lowercase() == other.to_lowercase(),
        _ => equal(value, right),
    };
    let length = Value::from(list.len());
    let right =
        right.as_str().and_then(|text| text.parse().ok()).map_or(right.clone(), |n: f64| n.into());
    match operation {
        "contains" => list.iter().any(same),
        "lengthEquals" => equal(&length, &right),
        "lengthGt" => compare_order("gt", &length, &right),
        "lengthLt" => compare_order("lt", &length, &right),
        "lengthGte" => compare_order("gte", &length, &right),
        "lengthLte" => compare_order("lte", &length, &right),
        _ => false,
    }
}

/// JavaScript's `===`, where 3 and 3.0 are one number.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left.as_f64(), right.as_f64()) {
        (Some(left), Some(right)) => left == right,
        _ => left == right,
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}

/// A value as text, objects as JSON.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        // JavaScript writes 1.0 as 1.
        Value::Number(number) => match number.as_f64() {
            Some(whole) if number.is_f64() && whole.fract() == 0.0 && whole.abs() < 1e15 => {
                (whole as i64).to_string()
            }
            Some(_) | None => number.to_string(),
        },
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

const fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Milliseconds since the epoch of a text that is a date in one of the common ways, or of a number
/// that is that already. A text without an offset means the zone of the workflow.
pub(super) fn moment(value: &Value, work: &mut Work<'_>, item: usize) -> Option<i64> {
    if let Some(ms) = value.as_f64() {
        return Some(ms as i64);
    }
    let text = value.as_str().filter(|text| !text.trim().is_empty())?;
    let argument = serde_json::json!({ "value": text });
    work.call("moment", argument, item).ok()?.as_f64().map(|ms| ms as i64)
}

fn wrong_type(what: &str, condition: usize, item: usize) -> Fault {
    let message = format!("wrong type: {what} [condition {condition}, item {item}]");
    Fault::new("E-FLOW-CONDITION", message)
}

/// Parameter `options.key` of a node, or `key` beside them, as a boolean.
pub(super) fn option(parameters: &Object, key: &str) -> bool {
    let beside = member(parameters, key);
    beside
        .or_else(|| inside(member(parameters, "options")?, key))
        .is_some_and(|value| value == true)
}
