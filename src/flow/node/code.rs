//! Code: JavaScript of the author's own, once for all items or once for each.

use std::sync::Arc;

use serde_json::Value;

use crate::flow::node::shown;
use crate::flow::{
    Branches, Fault, Findings, Item, NodeType, Object, Origin, Paired, Role, Shown, Work,
};

pub(super) struct Code;

impl NodeType for Code {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.code"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0]
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] =
            &[shown("pythonCode", "language", "javaScript", &["python", "pythonNative"])];
        RULES
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn keys(&self) -> &'static [&'static str] {
        &["mode", "language", "jsCode", "pythonCode", "notice"]
    }

    fn code_keys(&self) -> &'static [&'static str] {
        &["jsCode"]
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("mode").or_insert_with(|| "runOnceForAllItems".into());
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let language = parameters.get("language").and_then(Value::as_str).unwrap_or("javaScript");
        if language != "javaScript" {
            let message = format!("`{language}` is not performed by this server");
            report.error("E-FLOW-UNSERVED", "language", &message, "write it in JavaScript");
        }
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        let parameters = work.unresolved();
        let is_each = parameters.get("mode").is_some_and(|mode| mode == "runOnceForEachItem");
        let code: Arc<str> = parameters.get("jsCode").and_then(Value::as_str).unwrap_or("").into();
        if !is_each {
            return match work.run_code(&code, 0, false) {
                Ok(value) => Ok(vec![items(value, None)]),
                Err(fault) => work.give_up_all(fault),
            };
        }
        let mut branches = vec![Vec::new(); work.scope.node().outputs.len()];
        for index in 0..work.items().len() {
            match work.run_code(&code, index, true) {
                Ok(value) => branches[0].extend(items(Value::Array(vec![value]), Some(index))),
                Err(fault) => work.give_up(&mut branches, fault, index)?,
            }
        }
        Ok(branches)
    }
}

/// The items that a script gave; a null is none.
fn items(value: Value, index: Option<usize>) -> Vec<Item> {
    let Value::Array(values) = value else { return Vec::new() };
    let made = values.into_iter().filter(|value| !value.is_null()).filter_map(|value| {
        let paired = index.map_or_else(|| pairing(&value["pairedItem"]), Paired::with);
        Some(Item { paired, extra: None, ..Item::from_value(value)? })
    });
    made.collect()
}

/// What the author says that an item was made from.
fn pairing(value: &Value) -> Paired {
    let one = |value: &Value| {
        let number = |value: &Value| value.as_u64().and_then(|number| usize::try_from(number).ok());
        let item = number(value).or_else(|| number(&value["item"]))?;
        Some(Origin { item, input: number(&value["input"]).unwrap_or(0) })
    };
    match value.as_array() {
        Some(values) => Paired::Many(values.iter().filter_map(one).collect()),
        None => one(value).map_or(Paired::Unknown, Paired::One),
    }
}
