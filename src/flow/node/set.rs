//! Edit Fields (Set): items with fields added, replaced or chosen.

use serde_json::{Value, json};

use crate::flow::node::condition::plain;
use crate::flow::node::path;
use crate::flow::node::{never, shown};
use crate::flow::{Branches, Fault, Findings, Item, NodeType, Object, Role, Shown, Work, repair};

pub(super) struct Set;

impl NodeType for Set {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.set"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0, 3.0, 3.1, 3.2, 3.3, 3.4]
    }

    fn shown_while(&self, version: f64) -> &'static [Shown] {
        const FIRST: &[Shown] = &[
            never("mode"),
            never("jsonOutput"),
            never("assignments"),
            never("fields"),
            never("include"),
            never("includeOtherFields"),
        ];
        const THIRD: &[Shown] = &[
            never("values"),
            never("keepOnlySet"),
            never("assignments"),
            never("includeOtherFields"),
            shown("jsonOutput", "mode", "manual", &["raw"]),
            shown("fields", "mode", "manual", &["manual"]),
            shown("includeFields", "include", "all", &["selected"]),
            shown("excludeFields", "include", "all", &["except"]),
        ];
        const LATER: &[Shown] = &[
            never("values"),
            never("keepOnlySet"),
            never("fields"),
            shown("jsonOutput", "mode", "manual", &["raw"]),
            shown("assignments", "mode", "manual", &["manual"]),
            shown("include", "includeOtherFields", "false", &["true"]),
            shown("includeFields", "include", "all", &["selected"]),
            shown("excludeFields", "include", "all", &["except"]),
        ];
        match version {
            _ if version < 3.0 => FIRST,
            _ if version < 3.3 => THIRD,
            _ => LATER,
        }
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
        let mut branches = vec![Vec::new(); work.scope.node().outputs.len()];
        for index in 0..work.items().len() {
            match changed(work, index) {
                Ok((item, copies)) => {
                    branches[0].extend(std::iter::repeat_n(item, copies));
                }
                Err(fault) => work.give_up(&mut branches, fault, index)?,
            }
        }
        Ok(branches)
    }
}

/// Copies of one item at most.
const COPIES_MAX: u64 = 1000;

/// The item that is made of one, and how many of it there are to be.
fn changed(work: &mut Work<'_>, index: usize) -> Result<(Item, usize), Fault> {
    let parameters = work.parameters(index)?;
    let (version, item) = (work.version(), work.items()[index].clone());
    let mut json = kept(version, &parameters, &item);
    let options = parameters.get("options");
    let option = |key: &str| options.and_then(|options| options.get(key));
    let has_dots = option("dotNotation").is_none_or(|dots| dots != false);
    if parameters.get("mode").is_some_and(|mode| mode == "raw") {
        let spliced = work.spliced("jsonOutput", index)?;
        json.extend(raw(&parameters, spliced)?);
    } else {
        for (name, value) in assigned(version, &parameters)? {
            path::put(&mut json, &name, has_dots, value);
        }
    }
    let is_true = |key: &str| parameters.get(key).is_some_and(|value| value == true);
    let has_binary = match version {
        _ if version < 3.0 => !is_true("keepOnlySet"),
        _ if version < 3.4 => option("includeBinary").is_none_or(|include| include != false),
        _ => {
            is_true("includeOtherFields")
                && option("stripBinary").is_some_and(|strip| strip == false)
        }
    };
    let copies = parameters.get("duplicateCount").and_then(Value::as_u64).unwrap_or(0);
    let copies =
        if is_true("duplicateItem") && work.is_manual() { copies.min(COPIES_MAX) } else { 0 };
    let binary = item.binary.filter(|_| has_binary);
    Ok((Item { binary, ..Item::made_from(json, index) }, copies as usize + 1))
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
    let names = |key: &str| path::names(parameters.get(key));
    match parameters.get("include").and_then(Value::as_str) {
        Some("none") => Object::new(),
        Some("selected") => {
            let mut chosen = Object::new();
            for name in names("includeFields") {
                if let Some(value) = path::find(&item.json, &name, true) {
                    let last = name.rsplit('.').next().unwrap_or(&name).to_owned();
                    chosen.insert(last, value.clone());
                }
            }
            chosen
        }
        Some("except") => {
            let mut rest = Object::clone(&item.json);
            for name in names("excludeFields") {
                path::remove(&mut rest, &name, true);
            }
            rest
        }
        Some(_) | None => Object::clone(&item.json),
    }
}

/// The fields of a node whose author wrote the JSON.
fn raw(parameters: &Object, spliced: Option<String>) -> Result<Object, Fault> {
    let written = spliced.map(Value::from);
    let output = written.or_else(|| parameters.get("jsonOutput").cloned()).unwrap_or_default();
    let parsed = match &output {
        Value::String(text) => repair::read(text).map_err(|error| {
            Fault::new("E-FLOW-SET", format!("the JSON of the output is no JSON: {error}"))
        })?,
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
    let list = |group: &str, key: &str| -> &[Value] {
        let list = parameters.get(group).and_then(|group| group[key].as_array());
        list.map_or(&[], Vec::as_slice)
    };
    if version < 3.0 {
        let of = |kind: &'static str| list("values", kind).iter().map(move |value| (kind, value));
        let values = of("string").chain(of("number")).chain(of("boolean"));
        return values
            .map(|(kind, value)| assign(&value["name"], kind, &value["value"], true))
            .collect();
    }
    let ignores =
        parameters.get("options").is_some_and(|options| options["ignoreConversionErrors"] == true);
    if version < 3.3 {
        let fields = list("fields", "values").iter();
        return fields
            .map(|field| {
                let slot = field["type"].as_str().unwrap_or("stringValue");
                assign(&field["name"], slot.trim_end_matches("Value"), &field[slot], ignores)
            })
            .collect();
    }
    let assignments = list("assignments", "assignments").iter();
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
