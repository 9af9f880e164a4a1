//! Split Out: one item for each element of a list.

use serde_json::Value;

use crate::flow::node::path;
use crate::flow::node::shown;
use crate::flow::{Branches, Fault, Findings, Item, NodeType, Object, Role, Shown, Work};

pub(super) struct SplitOut;

impl NodeType for SplitOut {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.splitOut"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] =
            &[shown("fieldsToInclude", "include", "noOtherFields", &["selectedOtherFields"])];
        RULES
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn keys(&self) -> &'static [&'static str] {
        &["fieldToSplitOut", "include", "fieldsToInclude", "options"]
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("include").or_insert_with(|| "noOtherFields".into());
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        let field = parameters.get("fieldToSplitOut").and_then(Value::as_str);
        if field.is_none_or(str::is_empty) {
            report.error("E-FLOW-REQUIRED", "fieldToSplitOut", "no field is named", "name a list");
        }
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        let mut split = Vec::new();
        for index in 0..work.items().len() {
            let parameters = work.parameters(index)?;
            let item = work.items()[index].clone();
            split_item(&parameters, &item, index, &mut split);
        }
        Ok(vec![split])
    }
}

fn split_item(parameters: &Object, item: &Item, index: usize, split: &mut Vec<Item>) {
    let option =
        |key: &str| parameters.get("options").map_or(&Value::Null, |options| &options[key]);
    let has_dots = option("disableDotNotation") != true;
    let fields = path::names(parameters.get("fieldToSplitOut"));
    let fields: Vec<&str> =
        fields.iter().map(|field| field.strip_prefix("$json.").unwrap_or(field)).collect();
    let destinations = path::names(Some(option("destinationFieldName")));
    let include = parameters.get("include").and_then(Value::as_str).unwrap_or_default();
    let lists: Vec<Vec<Value>> = fields
        .iter()
        .map(|field| match path::find(&item.json, field, has_dots) {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::Array(list)) => list.clone(),
            Some(Value::Object(object)) => object.values().cloned().collect(),
            Some(single @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => {
                vec![single.clone()]
            }
        })
        .collect();
    let count = lists.iter().map(Vec::len).max().unwrap_or(0);
    for at in 0..count {
        let mut json = match include {
            "allOtherFields" => {
                let mut rest = Object::clone(&item.json);
                for field in &fields {
                    path::remove(&mut rest, field, has_dots);
                }
                rest
            }
            "selectedOtherFields" => {
                let names = path::names(parameters.get("fieldsToInclude"));
                let mut chosen = Object::new();
                for name in names {
                    let value = path::find(&item.json, &name, has_dots).cloned();
                    path::put(&mut chosen, &name, has_dots, value.unwrap_or_default());
                }
                chosen
            }
            _ => Object::new(),
        };
        for (place, (field, list)) in fields.iter().zip(&lists).enumerate() {
            let value = list.get(at).cloned().unwrap_or_default();
            let destination = destinations.get(place).map(String::as_str);
            let is_spread =
                fields.len() == 1 && include == "noOtherFields" && destination.is_none();
            match (value, is_spread) {
                (Value::Object(object), true) => json.extend(object),
                (value, _) => {
                    let name = destination.unwrap_or(field);
                    path::put(&mut json, name, has_dots && destination.is_none(), value);
                }
            }
        }
        let binary = item.binary.clone().filter(|_| option("includeBinary") == true);
        split.push(Item { binary, ..Item::made_from(json, index) });
    }
}
