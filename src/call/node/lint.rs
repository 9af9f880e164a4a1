//! What one node alone cannot know: whether the trunks and queues that it names are there.

use serde_json::Value;

use crate::call::node::{ACTION, is_expression};
use crate::flow::{Graph, nearest};

/// A reference that leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dangling {
    /// The node that refers.
    pub node: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: String,
}

/// Every `ref` of a workflow, written in so many words, that no trigger of it has.
pub fn dangling_references(graph: &Graph) -> Vec<Dangling> {
    let mut found = Vec::new();
    for (_, node) in graph.nodes().filter(|(_, node)| node.kind.name() == ACTION) {
        let text = |key: &str| node.parameters.get(key).and_then(Value::as_str).unwrap_or_default();
        let kind = match (text("operation"), text("callMode")) {
            ("queue.putLeg", _) => "queue",
            ("queue.getStats", _) if text("queueStatsTarget") != "legId" => "queue",
            ("dial.make", "trunk") => "trunk",
            _ => continue,
        };
        let reference = text("ref");
        let is_written = !reference.is_empty() && !is_expression(&Value::from(reference));
        let known = references(graph, kind);
        if is_written && !known.contains(&reference) {
            let near = nearest(reference, known.iter().copied());
            let remedy = match (near, known.is_empty()) {
                (Some(near), _) => format!("did you mean `{near}`?"),
                (None, true) => format!("add a {kind} trigger with this ref"),
                (None, false) => format!("the {kind}s here are: {}", known.join(", ")),
            };
            let message = format!("no {kind} trigger of this workflow has the ref `{reference}`");
            found.push(Dangling { node: node.name.to_string(), message, remedy });
        }
    }
    found
}

fn references<'a>(graph: &'a Graph, kind: &str) -> Vec<&'a str> {
    let reference = |parameters: &'a serde_json::Map<String, Value>| {
        let text = |key: &str| parameters.get(key).and_then(Value::as_str);
        text("ref").filter(|_| text("triggerOn") == Some(kind))
    };
    graph.triggers().filter_map(|(_, trigger)| reference(&trigger.parameters)).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::node::{TRIGGER, catalogue};
    use crate::flow;

    #[test]
    fn a_queue_that_is_not_there_is_named_with_its_neighbour() {
        let node = |name: &str, kind: &str, parameters: Value| {
            json!({ "name": name, "type": kind, "typeVersion": 1, "position": [0, 0],
                    "parameters": parameters })
        };
        let put = json!({ "resource": "queue", "operation": "queue.putLeg", "ref": "suport" });
        let trunk = json!({ "triggerOn": "trunk", "ref": "t", "trunkUseRegistration": false });
        let queue = json!({ "triggerOn": "queue", "ref": "support", "queueExtensions": "101" });
        let workflow = json!({
            "name": "w",
            "nodes": [
                node("calls", TRIGGER, trunk),
                node("support", TRIGGER, queue),
                node("put", ACTION, put),
            ],
            "connections": { "calls": { "main": [[{ "node": "put", "type": "main", "index": 0 }]] } },
        });
        let documents = flow::read(&workflow.to_string(), "w.json").unwrap();
        let (graph, problems) = flow::check(&documents[0], &catalogue());
        let found = dangling_references(&graph.unwrap_or_else(|| panic!("{problems:?}")));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].remedy, "did you mean `support`?");
    }
}
