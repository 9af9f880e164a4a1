//! One expression for one item, outside of any workflow: what `ringback eval` answers with.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::Rng;
use crate::flow::expr::{Compiled, Current, Scripts};
use crate::flow::memory::{Memory, Mode, Scope, Source};
use crate::flow::{
    Catalogue, Deadline, Document, Fault, Graph, Item, Object, Paired, RunId, check,
};

/// What an expression came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    /// `undefined`, `null`, `boolean`, `number`, `string`, `array`, `object`, `date` (a `Date`),
    /// `dateTime`, `duration`, `interval` or `bigint`.
    pub kind: &'static str,
    /// The value as JSON; null where JSON has no word for it.
    pub value: Value,
}

/// Evaluates expressions as a node would that gets the items from a node called `Input`.
pub struct Evaluator {
    scripts: Scripts,
    graph: Arc<Graph>,
    now_ms: i64,
}

impl Evaluator {
    /// An evaluator at a moment, in milliseconds since the Unix epoch. The seed makes chance
    /// repeatable; the zone is an IANA name, such as `Europe/Berlin`.
    pub fn new(now_ms: i64, rng: Rng, zone: Option<&str>, deadline: Rc<dyn Deadline>) -> Self {
        let node = |name: &str, kind: &str| json!({ "name": name, "type": kind, "id": name });
        let edge = json!({ "node": "Evaluate", "type": "main", "index": 0 });
        let workflow = json!({
            "id": "eval", "name": "eval",
            "nodes": [
                node("Input", "n8n-nodes-base.manualTrigger"),
                node("Evaluate", "n8n-nodes-base.noOp"),
            ],
            "connections": { "Input": { "main": [[edge]] } },
            "settings": { "executionOrder": "v1", "timezone": zone.unwrap_or("DEFAULT") },
        });
        let body = workflow.as_object().cloned().unwrap_or_default();
        let document = Document { file: String::new(), body };
        let graph = check(&document, &Catalogue::core()).0.expect("this workflow is sound");
        let scripts = Scripts::new(rng, Some(deadline));
        Self { scripts, graph: Arc::new(graph), now_ms }
    }

    /// Evaluates an expression for the item at `index`: a text such as `={{ $json.a }}`, with or
    /// without the `=`, or the code alone.
    pub fn evaluate(
        &mut self,
        expression: &str,
        items: &[Item],
        index: usize,
    ) -> Result<Evaluated, Fault> {
        let text = expression.strip_prefix('=').unwrap_or(expression);
        let is_code = text.len() == expression.len() && !text.contains("{{");
        let text = if is_code { format!("{{{{ {text} }}}}") } else { text.to_owned() };
        let mut compiled = Compiled::default();
        let plan = self.scripts.compile_text(&text, &mut compiled);
        if let Some(refusal) = compiled.refusals.first() {
            let message =
                format!("invalid syntax: {} (column {})", refusal.message, refusal.column);
            return Err(Fault::new("E-FLOW-EXPRESSION", message));
        }
        let current = self.current(items, index)?;
        self.scripts.evaluate(&plan, &current)
    }

    fn current(&self, items: &[Item], index: usize) -> Result<Current, Fault> {
        let input = self.graph.find("Input").expect("it is in the graph");
        let mut items =
            if items.is_empty() { vec![Item::new(Object::new())] } else { items.to_vec() };
        if index >= items.len() {
            let message = format!("there is no item {index}: there are {}", items.len());
            return Err(Fault::new("E-FLOW-ITEM", message));
        }
        for (place, item) in items.iter_mut().enumerate() {
            item.paired = Paired::with(place);
            item.descend(input, Vec::new());
        }
        let mut memory = Memory::default();
        memory.record(input, &Arc::new(vec![items.clone()]), true);
        let scope = Scope {
            run: RunId(1),
            graph: self.graph.clone(),
            memory: Arc::new(memory),
            index: self.graph.find("Evaluate").expect("it is in the graph"),
            items: Arc::new(items),
            inputs: Vec::new(),
            source: Some(Source { node: input, output: 0, pass: 0 }),
            mode: Mode::Manual,
            pass: 0,
        };
        Ok(Current { scope: Arc::new(scope), item: index, now_ms: self.now_ms })
    }
}
