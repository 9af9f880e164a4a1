//! Merge: items of several inputs, one after another, pair by pair, by equal fields, or one input's.

use std::sync::Arc;

use serde_json::Value;

use crate::flow::node::condition::{equal, plain};
use crate::flow::node::{never, path, shown};
use crate::flow::{
    Branches, Fault, Findings, Item, NodeType, Object, Origin, Paired, Role, Shown, Work,
};

/// Inputs at most.
const INPUTS_MAX: u64 = 10;

pub(super) struct Merge;

impl NodeType for Merge {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.merge"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0, 2.1, 3.0, 3.1, 3.2]
    }

    fn shown_while(&self, version: f64) -> &'static [Shown] {
        const FIRST: &[Shown] = &[
            shown("join", "mode", "append", &["mergeByIndex"]),
            shown("propertyName1", "mode", "append", KEYED),
            shown("propertyName2", "mode", "append", KEYED),
            shown("overwrite", "mode", "append", &["mergeByKey"]),
            shown("output", "mode", "append", &["passThrough"]),
        ];
        const KEYED: &[&str] = &["mergeByKey", "keepKeyMatches", "removeKeyMatches"];
        const SECOND: &[Shown] = &[
            shown("combinationMode", "mode", "append", COMBINE),
            shown("mergeByFields", "mode", "append", COMBINE),
            shown("mergeByFields", "combinationMode", "mergeByFields", &["mergeByFields"]),
            shown("joinMode", "mode", "append", COMBINE),
            shown("joinMode", "combinationMode", "mergeByFields", &["mergeByFields"]),
            shown("outputDataFrom", "mode", "append", COMBINE),
            shown("outputDataFrom", "combinationMode", "mergeByFields", &["mergeByFields"]),
            shown("outputDataFrom", "joinMode", "keepMatches", KEEP),
            shown("chooseBranchMode", "mode", "append", CHOOSE),
            shown("output", "mode", "append", CHOOSE),
            never("numberInputs"),
        ];
        const THIRD: &[Shown] = &[
            shown("combineBy", "mode", "append", COMBINE),
            shown("query", "mode", "append", &["combineBySql"]),
            // Where nothing is combined, every input counts.
            shown("numberInputs", "combineBy", "combineByPosition", &["combineByPosition"]),
            shown("advanced", "mode", "append", COMBINE),
            shown("advanced", "combineBy", "combineByFields", FIELDS),
            shown("fieldsToMatchString", "mode", "append", COMBINE),
            shown("fieldsToMatchString", "combineBy", "combineByFields", FIELDS),
            shown("fieldsToMatchString", "advanced", "false", &["false"]),
            shown("mergeByFields", "mode", "append", COMBINE),
            shown("mergeByFields", "combineBy", "combineByFields", FIELDS),
            shown("mergeByFields", "advanced", "false", &["true"]),
            shown("joinMode", "mode", "append", COMBINE),
            shown("joinMode", "combineBy", "combineByFields", FIELDS),
            shown("outputDataFrom", "mode", "append", COMBINE),
            shown("outputDataFrom", "combineBy", "combineByFields", FIELDS),
            shown("outputDataFrom", "joinMode", "keepMatches", KEEP),
            shown("chooseBranchMode", "mode", "append", CHOOSE),
            shown("output", "mode", "append", CHOOSE),
            shown("useDataOfInput", "mode", "append", CHOOSE),
            shown("useDataOfInput", "output", "specifiedInput", &["specifiedInput"]),
        ];
        const COMBINE: &[&str] = &["combine"];
        const CHOOSE: &[&str] = &["chooseBranch"];
        const FIELDS: &[&str] = &["combineByFields"];
        const KEEP: &[&str] = &["keepMatches", "keepNonMatches"];
        match version {
            _ if version < 2.0 => FIRST,
            _ if version < 3.0 => SECOND,
            _ => THIRD,
        }
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn inputs(&self, version: f64, parameters: &Object) -> usize {
        let count = parameters.get("numberInputs").and_then(Value::as_u64).unwrap_or(2);
        if version < 3.0 { 2 } else { count.clamp(2, INPUTS_MAX) as usize }
    }

    fn inputs_needed(&self, version: f64, parameters: &Object) -> usize {
        if version >= 2.0 && text(parameters, "mode") == "chooseBranch" { 2 } else { 1 }
    }

    fn fill(&self, version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("mode").or_insert_with(|| "append".into());
        if version >= 3.0 {
            parameters.entry("combineBy").or_insert_with(|| "combineByFields".into());
        } else if version >= 2.0 {
            parameters.entry("combinationMode").or_insert_with(|| "mergeByFields".into());
        }
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        if text(parameters, "mode") == "combineBySql" {
            let remedy = "combine by fields or by position, or use a Code node";
            report.error("E-FLOW-UNSERVED", "mode", "SQL is not performed by this server", remedy);
        }
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        let parameters = work.parameters(0)?;
        let count = work.inputs();
        let inputs: Vec<Vec<Item>> = (0..count).map(|input| work.input(input).to_vec()).collect();
        let version = work.version();
        let items = if version < 2.0 {
            merge_first_version(&parameters, &inputs)?
        } else {
            match text(&parameters, "mode") {
                "combine" => combine(version, &parameters, &inputs)?,
                "chooseBranch" => choose(&parameters, inputs),
                _ => inputs.concat(),
            }
        };
        Ok(vec![items])
    }
}

fn text<'a>(parameters: &'a Object, key: &str) -> &'a str {
    parameters.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn choose(parameters: &Object, inputs: Vec<Vec<Item>>) -> Vec<Item> {
    let wanted = parameters.get("useDataOfInput").map(plain).unwrap_or_default();
    let input = match text(parameters, "output") {
        "empty" => {
            let origins = inputs.iter().flatten().flat_map(|item| item.paired.origins()).copied();
            return vec![Item { paired: Paired::Many(origins.collect()), ..Item::default() }];
        }
        "input2" => 1,
        _ => wanted.parse::<usize>().unwrap_or(1).saturating_sub(1),
    };
    inputs.into_iter().nth(input).unwrap_or_default()
}

fn combine(version: f64, parameters: &Object, inputs: &[Vec<Item>]) -> Result<Vec<Item>, Fault> {
    let how = text(parameters, if version < 3.0 { "combinationMode" } else { "combineBy" });
    let clash = Clash::read(parameters);
    match how {
        "combineByPosition" | "mergeByPosition" => Ok(by_position(parameters, inputs, clash)),
        "combineAll" | "multiplex" => Ok(every_pair(inputs, clash)),
        _ => by_fields(parameters, inputs, clash),
    }
}

/// What becomes of a field that several have.
#[derive(Clone, Copy, Debug)]
struct Clash {
    /// The input whose value stays; the last one when not said.
    preferred: Option<usize>,
    has_suffix: bool,
    is_shallow: bool,
    overrides_empty: bool,
}

impl Clash {
    fn read(parameters: &Object) -> Self {
        let values = parameters.get("options").map(|options| &options["clashHandling"]["values"]);
        let said = |key: &str| values.and_then(|values| values[key].as_str()).unwrap_or_default();
        let resolve = said("resolveClash");
        let preferred = resolve.strip_prefix("preferInput").and_then(|n| n.parse::<usize>().ok());
        Self {
            preferred: preferred.and_then(|n| n.checked_sub(1)),
            has_suffix: resolve == "addSuffix",
            is_shallow: said("mergeMode") == "shallowMerge",
            overrides_empty: values.is_some_and(|values| values["overrideEmpty"] == true),
        }
    }

    /// One item of several, which came by these inputs.
    fn merge(self, items: &[(usize, &Item)]) -> Item {
        let mut order: Vec<&(usize, &Item)> = items.iter().collect();
        if let Some(preferred) = self.preferred {
            order.sort_by_key(|(input, _)| *input == preferred);
        }
        let mut json = Object::new();
        for (input, item) in order {
            for (key, value) in item.json.iter() {
                let key =
                    if self.has_suffix { format!("{key}_{}", input + 1) } else { key.clone() };
                let is_blank = value.is_null() || value == "";
                match json.get_mut(&key) {
                    Some(old) if self.overrides_empty && is_blank && !old.is_null() => {}
                    Some(old) if !self.is_shallow => deepen(old, value),
                    Some(old) => *old = value.clone(),
                    None => {
                        json.insert(key, value.clone());
                    }
                }
            }
        }
        let binaries = items.iter().filter_map(|(_, item)| item.binary.as_ref());
        let binary: Object = binaries
            .flat_map(|binary| binary.iter())
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let origins: Vec<Origin> =
            items.iter().flat_map(|(_, item)| item.paired.origins()).copied().collect();
        Item {
            json: Arc::new(json.into()),
            binary: (!binary.is_empty()).then(|| Arc::new(binary)),
            paired: Paired::Many(origins.into()),
            ..Item::default()
        }
    }
}

/// Objects and lists of both, key by key; anything else is replaced.
fn deepen(old: &mut Value, new: &Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                match old.get_mut(key) {
                    Some(slot) => deepen(slot, value),
                    None => {
                        old.insert(key.clone(), value.clone());
                    }
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            for (at, value) in new.iter().enumerate() {
                match old.get_mut(at) {
                    Some(slot) => deepen(slot, value),
                    None => old.push(value.clone()),
                }
            }
        }
        (old, new) => *old = new.clone(),
    }
}

fn by_position(parameters: &Object, inputs: &[Vec<Item>], clash: Clash) -> Vec<Item> {
    let options = parameters.get("options");
    let is_padded = options.is_some_and(|options| options["includeUnpaired"] == true);
    let lengths = || inputs.iter().map(Vec::len);
    let count = if is_padded { lengths().max() } else { lengths().min() }.unwrap_or(0);
    let row = |at: usize| {
        let items = inputs.iter().enumerate();
        items.filter_map(|(input, items)| Some((input, items.get(at)?))).collect::<Vec<_>>()
    };
    (0..count).map(|at| clash.merge(&row(at))).collect()
}

fn every_pair(inputs: &[Vec<Item>], clash: Clash) -> Vec<Item> {
    let (Some(first), Some(second)) = (inputs.first(), inputs.get(1)) else { return Vec::new() };
    let pairs = first.iter().flat_map(|one| second.iter().map(move |other| (one, other)));
    pairs.map(|(one, other)| clash.merge(&[(0, one), (1, other)])).collect()
}

/// The names of the fields that have to be equal, in both inputs.
fn matched_fields(parameters: &Object) -> Vec<(String, String)> {
    let pairs = parameters.get("mergeByFields").and_then(|fields| fields["values"].as_array());
    let is_advanced = parameters.get("advanced").is_none_or(|advanced| advanced == true);
    if let Some(pairs) = pairs.filter(|_| is_advanced) {
        let field = |pair: &Value, key: &str| plain(&pair[key]).trim().to_owned();
        return pairs.iter().map(|pair| (field(pair, "field1"), field(pair, "field2"))).collect();
    }
    let names = path::names(parameters.get("fieldsToMatchString"));
    names.into_iter().map(|name| (name.clone(), name)).collect()
}

fn by_fields(parameters: &Object, inputs: &[Vec<Item>], clash: Clash) -> Result<Vec<Item>, Fault> {
    let fields = matched_fields(parameters);
    if fields.is_empty() || fields.iter().any(|(one, other)| one.is_empty() || other.is_empty()) {
        let message =
            "You need to define at least one pair of fields in 'Fields to Match' to match on";
        return Err(Fault::new("E-FLOW-MERGE", message));
    }
    let empty = Vec::new();
    let (first, second) = (inputs.first().unwrap_or(&empty), inputs.get(1).unwrap_or(&empty));
    let option =
        |key: &str| parameters.get("options").map_or(&Value::Null, |options| &options[key]);
    let (is_fuzzy, has_dots) =
        (option("fuzzyCompare") == true, option("disableDotNotation") != true);
    let is_first_only = option("multipleMatches") == "first";
    let value = |item: &Item, field: &str| path::find(&item.json, field, has_dots).cloned();
    let same = |one: &Value, other: &Value| {
        if is_fuzzy { fuzzy(one) == fuzzy(other) || equal(one, other) } else { equal(one, other) }
    };
    let (mut matched, mut unmatched) = (Vec::new(), Vec::new());
    let mut taken = vec![false; second.len()];
    for one in first {
        let wanted: Option<Vec<Value>> =
            fields.iter().map(|(field, _)| value(one, field)).collect();
        let is_match = |other: &Item| {
            wanted.as_ref().is_some_and(|wanted| {
                let pairs = fields.iter().zip(wanted);
                pairs.into_iter().all(|((_, field), wanted)| {
                    value(other, field).is_some_and(|value| same(wanted, &value))
                })
            })
        };
        let found = second.iter().enumerate().filter(|(_, other)| is_match(other));
        let limit = if is_first_only { 1 } else { usize::MAX };
        let found: Vec<(usize, &Item)> = found.take(limit).collect();
        found.iter().for_each(|(at, _)| taken[*at] = true);
        match found.is_empty() {
            true => unmatched.push(one.clone()),
            false => matched.push((one, found)),
        }
    }
    let left: Vec<Item> = second
        .iter()
        .zip(&taken)
        .filter(|(_, taken)| !**taken)
        .map(|(item, _)| item.clone())
        .collect();
    let merged = || {
        let pairs = matched
            .iter()
            .flat_map(|(one, found)| found.iter().map(move |(_, other)| (*one, *other)));
        pairs.map(|(one, other)| clash.merge(&[(0, one), (1, other)])).collect::<Vec<Item>>()
    };
    let from = text(parameters, "outputDataFrom");
    Ok(match (text(parameters, "joinMode"), from) {
        ("keepNonMatches", "input1") => unmatched,
        ("keepNonMatches", "input2") => left,
        ("keepNonMatches", _) => [unmatched, left].concat(),
        ("keepEverything", _) => [merged(), unmatched, left].concat(),
        ("enrichInput1", _) => [merged(), unmatched].concat(),
        ("enrichInput2", _) => [merged(), left].concat(),
        (_, "input1") => matched.iter().map(|(one, _)| (*one).clone()).collect(),
        (_, "input2") => second
            .iter()
            .zip(&taken)
            .filter(|(_, taken)| **taken)
            .map(|(item, _)| item.clone())
            .collect(),
        _ => merged(),
    })
}

/// A value for a comparison that does not mind types: 1 is "1", and nothing is nothing.
fn fuzzy(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// The modes that the first version has.
fn merge_first_version(parameters: &Object, inputs: &[Vec<Item>]) -> Result<Vec<Item>, Fault> {
    let empty = Vec::new();
    let (first, second) = (inputs.first().unwrap_or(&empty), inputs.get(1).unwrap_or(&empty));
    let clash =
        Clash { preferred: None, has_suffix: false, is_shallow: true, overrides_empty: false };
    let key = |which: &str| text(parameters, which).to_owned();
    let (one_key, other_key) = (key("propertyName1"), key("propertyName2"));
    let matching = |one: &Item| {
        let wanted = path::find(&one.json, &one_key, true)?;
        second.iter().find(|other| {
            path::find(&other.json, &other_key, true).is_some_and(|value| equal(value, wanted))
        })
    };
    let kept = |has_match: bool| {
        first
            .iter()
            .filter(|one| matching(one).is_some() == has_match)
            .cloned()
            .collect::<Vec<Item>>()
    };
    Ok(match text(parameters, "mode") {
        "keepKeyMatches" => kept(true),
        "removeKeyMatches" => kept(false),
        "multiplex" => every_pair(inputs, clash),
        "passThrough" => {
            if text(parameters, "output") == "input2" {
                second.clone()
            } else {
                first.clone()
            }
        }
        "wait" => vec![Item::default()],
        "mergeByKey" => {
            let overwrite = text(parameters, "overwrite");
            let merge = |one: &Item| match matching(one) {
                None => one.clone(),
                Some(other) if overwrite == "undefined" => {
                    Clash { preferred: Some(0), ..clash }.merge(&[(0, one), (1, other)])
                }
                Some(other) if overwrite == "blank" => {
                    Clash { preferred: Some(0), overrides_empty: true, ..clash }
                        .merge(&[(0, one), (1, other)])
                }
                Some(other) => clash.merge(&[(0, one), (1, other)]),
            };
            first.iter().map(merge).collect()
        }
        "mergeByIndex" => {
            let count = match text(parameters, "join") {
                "inner" => first.len().min(second.len()),
                "outer" => first.len().max(second.len()),
                _ => first.len(),
            };
            let row = |at: usize| {
                let items = [(0, first.get(at)), (1, second.get(at))];
                items
                    .into_iter()
                    .filter_map(|(input, item)| Some((input, item?)))
                    .collect::<Vec<_>>()
            };
            (0..count).map(|at| clash.merge(&row(at))).collect()
        }
        _ => inputs.concat(),
    })
}
