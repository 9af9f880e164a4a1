//! Edit Fields (Set): items with fields added, replaced or chosen.

use serde_json::{Value, json};

use crate::flow::node::condition::plain;
use crate::flow::{Branches, Fault, Findings, Item, NodeType, Object, Role, Work};

pub(super) struct Set;

impl NodeType for Set {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.set"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0, 3.0, 3.1, 3.2, 3.3, 3.4]
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "mode",
            "assignments",
            "fields",
            "values",
            "jsonOutput",
            "include",
            "includeOtherFields",
            "includeFields",
            "excludeFields",
            "keepOnlySet",
            "options",
            "duplicateItem",
            "duplicateCount",
        ]
    }

    fn fill(&self, version: f64, parameters: &mut Object, _report: &mut Findings) {
        if version >= 3.0 {
            parameters.entry("mode").or_insert_with(|| "manual".into());
            parameters.entry("include").or_insert_with(|| "all".into());
        }
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        work.make(|version, parameters, item| {
            let mut json = kept(version, parameters, item);
            let has_dots = parameters
                .get("options")
                .and_then(|options| options.get("dotNotation"))
                .is_none_or(|dots| dots != false);
            if parameters.get("mode").is_some_and(|mode| mode == "raw") {
                json.extend(raw(parameters)?);
                return Ok(json);
            }
            for (name, value) in assigned(version, parameters)? {
                put(&mut json, &name, has_dots, value);
            }
            Ok(json)
        })
    }
}

/// The fields of the input that stay.
fn kept(version: f64, parameters: &Object, item: &Item) -> Object {
    let is_true = |key: &str| parameters.get(key).is_some_and(|value| value == true);
    let keeps = match version {
        _ if version < 3.0 => !is_true("keepOnlySet"),
        _ if version < 3.3 => true,
        _ => is_true("includeOtherFields"),
    };
    if !keeps {
        return Object::new();
    }
    let names = |key: &str| -> Vec<&str> {
        let names = parameters.get(key).and_then(Value::as_str).unwrap_or_default();
        names.split(',').map(str::trim).filter(|name| !name.is_empty()).collect()
    };
    let fields = item.json.iter().map(|(key, value)| (key.clone(), value.clone()));
    match parameters.get("include").and_then(Value::as_str) {
        Some("none") => Object::new(),
        Some("selected") => {
            let chosen = names("includeFields");
            fields.filter(|(key, _)| chosen.contains(&key.as_str())).collect()
        }
        Some("except") => {
            let left_out = names("excludeFields");
            fields.filter(|(key, _)| !left_out.contains(&key.as_str())).collect()
        }
        Some(_) | None => fields.collect(),
    }
}

fn raw(parameters: &Object) -> Result<Object, Fault> {
    let output = parameters.get("jsonOutput").cloned().unwrap_or_default();
    let parsed = match &output {
        Value::String(text) => serde_json::from_str(text).unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            output
        }
    };
    match parsed {
        Value::Object(fields) => Ok(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(Fault::new("E-FLOW-SET", "the JSON of the output is no object"))
        }
    }
}

/// Names and values in order, each of the type that its author chose.
fn assigned(version: f64, parameters: &Object) -> Result<Vec<(String, Value)>, Fault> {
    let list = |group: &str, key: &str| -> Vec<Value> {
        let list = parameters.get(group).and_then(|group| group[key].as_array());
        list.cloned().unwrap_or_default()
    };
    if version < 3.0 {
        let of =
            |kind: &'static str| list("values", kind).into_iter().map(move |value| (kind, value));
        let values = of("string").chain(of("number")).chain(of("boolean"));
        return values
            .map(|(kind, value)| assign(&value["name"], kind, &value["value"], true))
            .collect();
    }
    let ignores =
        parameters.get("options").is_some_and(|options| options["ignoreConversionErrors"] == true);
    if version < 3.3 {
        let fields = list("fields", "values").into_iter();
        return fields
            .map(|field| {
                let slot = field["type"].as_str().unwrap_or("stringValue");
                assign(&field["name"], slot.trim_end_matches("Value"), &field[slot], ignores)
            })
            .collect();
    }
    let assignments = list("assignments", "assignments").into_iter();
    assignments
        .map(|one| {
            let kind = one["type"].as_str().unwrap_or("string");
            assign(&one["name"], kind, &one["value"], ignores)
        })
        .collect()
}

fn assign(
    name: &Value,
    kind: &str,
    value: &Value,
    ignores: bool,
) -> Result<(String, Value), Fault> {
    let name = plain(name);
    match convert(kind, value) {
        Some(value) => Ok((name, value)),
        None if ignores => Ok((name, value.clone())),
        None => {
            let message =
                format!("`{name}` is to be of the type {kind}, and '{}' is not", plain(value));
            Err(Fault::new("E-FLOW-SET", message))
        }
    }
}

fn convert(kind: &str, value: &Value) -> Option<Value> {
    if value.is_null() {
        return Some(Value::Null);
    }
    let parsed = || value.as_str().and_then(|text| serde_json::from_str::<Value>(text).ok());
    match kind {
        "string" => Some(plain(value).into()),
        "number" if value.is_number() => Some(value.clone()),
        "number" => {
            let number = value.as_str()?.trim().parse::<f64>().ok()?;
            let is_whole = number.fract() == 0.0 && number.abs() < 9e15;
            Some(if is_whole { json!(number as i64) } else { json!(number) })
        }
        "boolean" if value.is_boolean() => Some(value.clone()),
        "boolean" => match plain(value).to_lowercase().as_str() {
            "true" | "1" => Some(true.into()),
            "false" | "0" => Some(false.into()),
            _ => None,
        },
        "array" if value.is_array() => Some(value.clone()),
        "array" => parsed().filter(Value::is_array),
        "object" if value.is_object() => Some(value.clone()),
        "object" => parsed().filter(Value::is_object),
        _ => Some(value.clone()),
    }
}

/// Puts a value at a path such as `a.b`, and makes the objects on the way.
fn put(json: &mut Object, path: &str, has_dots: bool, value: Value) {
    match path.split_once('.').filter(|_| has_dots) {
        None => {
            json.insert(path.to_owned(), value);
        }
        Some((key, rest)) => {
            let slot = json.entry(key).or_insert_with(|| json!({}));
            if !slot.is_object() {
                *slot = json!({});
            }
            let inside = slot.as_object_mut().expect("it was made an object just now");
            put(inside, rest, has_dots, value);
        }
    }
}
