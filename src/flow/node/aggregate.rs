//! Aggregate: one item made of all.

use serde_json::Value;

use crate::flow::node::path;
use crate::flow::node::shown;
use crate::flow::{Branches, Fault, Findings, Item, NodeType, Object, Paired, Role, Shown, Work};

pub(super) struct Aggregate;

impl NodeType for Aggregate {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.aggregate"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn shown_while(&self, _version: f64) -> &'static [Shown] {
        const RULES: &[Shown] = &[
            shown(
                "fieldsToAggregate",
                "aggregate",
                "aggregateIndividualFields",
                &["aggregateIndividualFields"],
            ),
            shown(
                "destinationFieldName",
                "aggregate",
                "aggregateIndividualFields",
                &["aggregateAllItemData"],
            ),
            shown("include", "aggregate", "aggregateIndividualFields", &["aggregateAllItemData"]),
            shown("fieldsToExclude", "include", "allFields", &["allFieldsExcept"]),
            shown("fieldsToInclude", "include", "allFields", &["specifiedFields"]),
        ];
        RULES
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "aggregate",
            "fieldsToAggregate",
            "destinationFieldName",
            "include",
            "fieldsToInclude",
            "fieldsToExclude",
            "options",
        ]
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("aggregate").or_insert_with(|| "aggregateIndividualFields".into());
        parameters.entry("destinationFieldName").or_insert_with(|| "data".into());
        parameters.entry("include").or_insert_with(|| "allFields".into());
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        let parameters = work.parameters(0)?;
        let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
        let items = work.items();
        let json = match text("aggregate") {
            "aggregateAllItemData" => all_data(&parameters, items),
            _ => fields(&parameters, items)?,
        };
        let origins = items.iter().flat_map(|item| item.paired.origins()).copied().collect();
        Ok(vec![vec![Item { paired: Paired::Many(origins), ..Item::new(json) }]])
    }
}

fn all_data(parameters: &Object, items: &[Item]) -> Object {
    let text = |key: &str| parameters.get(key).and_then(Value::as_str).unwrap_or_default();
    let (included, excluded) = (
        path::names(parameters.get("fieldsToInclude")),
        path::names(parameters.get("fieldsToExclude")),
    );
    let chosen = |item: &Item| {
        let fields = item.json.iter().filter(|(key, _)| match text("include") {
            "specifiedFields" => included.contains(key),
            "allFieldsExcept" => !excluded.contains(key),
            _ => true,
        });
        fields.map(|(key, value)| (key.clone(), value.clone())).collect::<Object>()
    };
    let objects = items.iter().map(chosen).filter(|object| !object.is_empty());
    let list: Value = objects.map(Value::Object).collect();
    let mut json = Object::new();
    path::put(&mut json, text("destinationFieldName"), true, list);
    json
}

fn fields(parameters: &Object, items: &[Item]) -> Result<Object, Fault> {
    let option = |key: &str| parameters.get("options").is_some_and(|options| options[key] == true);
    let has_dots = !option("disableDotNotation");
    let wanted = parameters.get("fieldsToAggregate").map(|fields| &fields["fieldToAggregate"]);
    let wanted = wanted.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if wanted.is_empty() {
        let message = "no field to aggregate is named";
        return Err(Fault::new("E-FLOW-AGGREGATE", message));
    }
    let mut json = Object::new();
    for field in wanted {
        let name = field["fieldToAggregate"].as_str().unwrap_or_default();
        let renamed = field["outputFieldName"].as_str().filter(|_| field["renameField"] == true);
        let last = if has_dots { name.rsplit('.').next().unwrap_or(name) } else { name };
        let output = renamed.filter(|name| !name.is_empty()).unwrap_or(last);
        if json.contains_key(output) {
            let message = format!("the output field `{output}` is written twice");
            return Err(Fault::new("E-FLOW-AGGREGATE", message));
        }
        let mut list = Vec::new();
        for item in items {
            let value = path::find(&item.json, name, has_dots).cloned().unwrap_or_default();
            if value.is_null() && !option("keepMissing") {
                continue;
            }
            match (value, option("mergeLists")) {
                (Value::Array(values), true) => {
                    let kept = |value: &Value| option("keepMissing") || !value.is_null();
                    list.extend(values.into_iter().filter(kept));
                }
                (value, _) => list.push(value),
            }
        }
        path::put(&mut json, output, has_dots, Value::Array(list));
    }
    Ok(json)
}
