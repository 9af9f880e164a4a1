//! A visited node as it is kept: what it gave as text, and apart what would be too costly to write at once.

use std::io::Write as _;
use std::sync::Arc;

use serde_json::{Value, json};

use super::moment;
use crate::flow::{Branches, Fault, Graph, Json, LateMembers, NodeIndex, Object, Visited};

/// Items of one output of a step that are kept; all are counted.
pub(super) const ITEMS_MAX: usize = 10;
/// Bytes of one item that is kept.
pub(super) const ITEM_BYTES_MAX: usize = 16 * 1024;
/// Levels of one item that is kept. Readers of JSON take 128, ours of a block of runs too, and what is
/// shown around an item has nine.
pub(super) const LEVELS_MAX: usize = 100;
/// Bytes of an item that is kept as text; to write larger ones takes longer than the step.
pub(super) const TEXT_MAX: usize = 1024;
/// Bytes of what is kept of a step beside its items.
const STEP_BYTES: usize = 200;

/// One visit of a node.
#[derive(Clone, Debug)]
pub(super) struct Step {
    node: NodeIndex,
    name: Arc<str>,
    workflow: Option<Arc<str>>,
    pass: u64,
    lasted_ms: (i64, i64),
    fault: Option<Fault>,
    /// What left by each output, as JSON: `[{"count": 1, "items": [{"json": {}}]}]`.
    outputs: Box<[u8]>,
    missing: Box<[Missing]>,
    /// About how many bytes all of it takes.
    pub(super) bytes: usize,
}

/// What the text of an item lacks.
#[derive(Clone, Debug)]
struct Missing {
    output: usize,
    item: usize,
    json: Rest,
}

#[derive(Clone, Debug)]
enum Rest {
    /// Members that nobody had asked for.
    Members(Arc<dyn LateMembers>),
    /// All of them, shared with the run.
    All(Arc<Json>),
}

impl Step {
    /// What is to be kept of this visit. What its items came from is not: it may be everything before.
    pub(super) fn new(visited: &Visited) -> Self {
        let &Visited { node, pass, lasted_ms, .. } = visited;
        let (outputs, missing, bytes) = written(&visited.outputs);
        Self {
            node,
            name: visited.name.clone(),
            workflow: visited.workflow.clone(),
            pass,
            lasted_ms,
            fault: visited.fault.clone(),
            outputs,
            missing,
            bytes: STEP_BYTES + bytes,
        }
    }

    /// As it is shown of a run of this workflow.
    pub(super) fn shown(&self, graph: &Graph) -> Value {
        let (since_ms, until_ms) = self.lasted_ms;
        // Of another workflow only the counts are known here.
        let labels = match self.workflow {
            None => graph.node(self.node).outputs.as_slice(),
            Some(_) => &[],
        };
        let mut given: Vec<Value> = serde_json::from_slice(&self.outputs).unwrap_or_default();
        for Missing { output, item, json } in &self.missing {
            let made = &mut given[*output]["items"][*item]["json"];
            *made = match json {
                Rest::Members(members) => {
                    members.whole(made.as_object().unwrap_or(&Object::new())).into()
                }
                Rest::All(json) => (***json).clone().into(),
            };
        }
        let outputs = given.iter_mut().enumerate().map(|(output, given)| {
            json!({
                "branch": labels.get(output).map_or("main", String::as_str),
                "count": given["count"].take(),
                "items": given["items"].take(),
            })
        });
        let mut shown = json!({
            "node": &*self.name, "run": self.pass, "at": moment(since_ms),
            "lastedMs": until_ms - since_ms, "outputs": outputs.collect::<Value>(),
        });
        if let Some(workflow) = &self.workflow {
            shown["workflow"] = (**workflow).into();
        }
        if let Some(fault) = &self.fault {
            shown["error"] = json!({ "message": fault.message, "code": fault.code });
        }
        shown
    }
}

/// What left by each output as JSON, what is missing there, and about how many bytes its items have.
fn written(outputs: &Branches) -> (Box<[u8]>, Box<[Missing]>, usize) {
    let (mut text, mut missing, mut bytes) = (Vec::with_capacity(TEXT_MAX), Vec::new(), 0);
    text.push(b'[');
    for (output, items) in outputs.iter().enumerate() {
        text.extend_from_slice(if output == 0 { b"{\"count\":" } else { b"]},{\"count\":" });
        // Nothing that is written here can fail: keys are text, and memory is no file.
        let _ = serde_json::to_writer(&mut text, &items.len());
        text.extend_from_slice(b",\"items\":[");
        for (item, given) in items.iter().take(ITEMS_MAX).enumerate() {
            if item > 0 {
                text.push(b',');
            }
            let (made, late) = given.json.made();
            let Some(size) = size(made, LEVELS_MAX) else {
                let _ = write!(text, "{{\"leftOut\":\"more than {LEVELS_MAX} levels\"}}");
                continue;
            };
            if size + late > ITEM_BYTES_MAX {
                let _ = write!(text, "{{\"leftOut\":\"more than {ITEM_BYTES_MAX} bytes\"}}");
            } else if size > TEXT_MAX {
                text.extend_from_slice(b"{\"json\":null}");
                missing.push(Missing { output, item, json: Rest::All(given.json.clone()) });
                bytes += size + late;
            } else {
                let begin = text.len();
                text.extend_from_slice(b"{\"json\":");
                let _ = serde_json::to_writer(&mut text, made);
                text.push(b'}');
                bytes += text.len() - begin + late;
                let members = given.json.late().cloned().map(Rest::Members);
                missing.extend(members.map(|json| Missing { output, item, json }));
            }
        }
    }
    text.extend_from_slice(if outputs.is_empty() { b"]" } else { b"]}]" });
    // Copied into its size: to give back the rest of the room costs more.
    ((*text).into(), missing.into(), bytes)
}

/// About how many bytes an object takes; `None` where it has more levels than these.
fn size(object: &Object, levels: usize) -> Option<usize> {
    const ENTRY: usize = 64;
    let inner = levels.checked_sub(1)?;
    let entry =
        |(key, value): (&String, &Value)| Some(ENTRY + key.len() + value_size(value, inner)?);
    object.iter().map(entry).sum()
}

fn value_size(value: &Value, levels: usize) -> Option<usize> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => Some(0),
        Value::String(text) => Some(text.len()),
        Value::Array(values) => {
            let inner = levels.checked_sub(1)?;
            values.iter().map(|value| Some(size_of::<Value>() + value_size(value, inner)?)).sum()
        }
        Value::Object(fields) => size(fields, levels),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Catalogue, Item, check, read};

    #[derive(Debug)]
    struct Later;

    impl LateMembers for Later {
        fn keys(&self) -> &'static [&'static str] {
            &["later"]
        }

        fn bytes(&self) -> usize {
            8
        }

        fn whole(&self, made: &Object) -> Object {
            made.clone().into_iter().chain([("later".to_owned(), 2.into())]).collect()
        }
    }

    #[test]
    fn what_left_is_shown_whole_however_it_is_kept() {
        let text = r#"{"name": "a flow", "connections": {}, "nodes": [
            {"name": "start", "type": "n8n-nodes-base.manualTrigger"}]}"#;
        let graph = check(&read(text, "a").unwrap()[0], &Catalogue::core()).0.unwrap();
        let object = |text: String| json!({ "a": text }).as_object().unwrap().clone();
        let item = |json: Json| Item { json: Arc::new(json), ..Item::default() };
        let late = item(Json::with_late(object("x".to_owned()), Arc::new(Later)));
        let [small, shared, large] = ["\"ü", &"y".repeat(TEXT_MAX), &"z".repeat(ITEM_BYTES_MAX)]
            .map(|text| item(object(text.to_owned()).into()));
        let outputs = vec![vec![late.clone(), shared], vec![], vec![small.clone(), large]];
        let (node, name, fault) = (NodeIndex(0), "start".into(), None);
        let (pass, workflow, lasted_ms) = (0, Some("inner".into()), (0, 1));
        let outputs = Arc::new(outputs);
        let visited = Visited { node, name, workflow, pass, outputs, fault, lasted_ms };
        let step = Step::new(&visited);
        assert!(late.json.late().is_some(), "nothing was made for it");
        assert!((TEXT_MAX..2 * TEXT_MAX).contains(&step.bytes), "{}", step.bytes);
        let shown = step.shown(&graph);
        let given =
            |count: u64, items: Value| json!({ "branch": "main", "count": count, "items": items });
        let y = "y".repeat(TEXT_MAX);
        let first = json!([{ "json": { "a": "x", "later": 2 } }, { "json": { "a": y } }]);
        let third = json!([{ "json": { "a": "\"ü" } }, { "leftOut": "more than 16384 bytes" }]);
        let expected = json!([given(2, first), given(0, json!([])), given(2, third)]);
        assert_eq!(shown["outputs"], expected);
        let visited = Visited { outputs: Arc::default(), ..visited };
        assert_eq!(Step::new(&visited).shown(&graph)["outputs"], json!([]));
    }
}
