//! Habits that work on the bench and fail a caller: each is a warning with its remedy.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::call::node::{ACTION, TRIGGER};
use crate::flow::{Graph, Node, NodeIndex};

/// Something that a flow does and its author may regret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Habit {
    /// A stable code, `W-SIP-…`.
    pub code: &'static str,
    /// The node.
    pub node: String,
    /// What may go wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

/// The output of a queue's trigger by which an agent's dial comes with the entry.
const DISPATCH: usize = 1;

/// Every doubtful habit of a flow, in the order of its nodes.
pub fn habits(graph: &Graph) -> Vec<Habit> {
    let mut found = BTreeSet::new();
    dispatched_legs(graph, &mut found);
    silent_recordings(graph, &mut found);
    idle_dials(graph, &mut found);
    idle_callbacks(graph, &mut found);
    found
        .into_iter()
        .map(|(index, code)| {
            let (message, remedy) = words(code);
            let node = graph.node(index).name.to_string();
            Habit { code, node, message: message.to_owned(), remedy }
        })
        .collect()
}

type Found = BTreeSet<(NodeIndex, &'static str)>;

const LIVE_LEG: &str = "W-SIP-LIVE-LEG";
const RECORDING: &str = "W-SIP-RECORDING-UNANNOUNCED";
const DIAL: &str = "W-SIP-DIAL-IDLE";
const CALLBACK: &str = "W-SIP-CALLBACK-IDLE";

fn words(code: &str) -> (&'static str, &'static str) {
    match code {
        LIVE_LEG => (
            "it uses the caller's leg after Dispatch, and nobody has looked whether the caller is still there",
            "put an If before it: is `legId` not empty? On the other way, dial the caller back",
        ),
        RECORDING => (
            "the recording begins before anything was said about it",
            "play an announcement before it",
        ),
        DIAL => (
            "nobody waits for this dial, and nothing bridges it",
            "lead it to dial.wait, then to call.bridge",
        ),
        _ => (
            "a callback is promised, and no Dispatch of a queue leads to a dial by a trunk",
            "on Dispatch, where the caller is gone, dial the number by dial.make",
        ),
    }
}

fn operation(node: &Node) -> &str {
    let operation = node.parameters.get("operation").and_then(Value::as_str);
    operation.filter(|_| node.kind.name() == ACTION).unwrap_or_default()
}

fn is_queue(node: &Node) -> bool {
    node.kind.name() == TRIGGER && node.parameters.get("triggerOn").is_some_and(|on| on == "queue")
}

/// The nodes that can be got to from these, with themselves, without going on behind `stop`.
fn reached(
    graph: &Graph,
    from: impl Iterator<Item = NodeIndex>,
    stop: impl Fn(&Node) -> bool,
) -> BTreeSet<NodeIndex> {
    let mut seen = BTreeSet::new();
    let mut next: Vec<NodeIndex> = from.collect();
    while let Some(index) = next.pop() {
        let node = graph.node(index);
        if seen.insert(index) && !stop(node) {
            next.extend(node.edges.iter().flatten().map(|edge| edge.to));
        }
    }
    seen
}

fn behind(graph: &Graph, index: NodeIndex, output: usize) -> impl Iterator<Item = NodeIndex> {
    let edges = graph.node(index).edges.get(output);
    edges.into_iter().flatten().map(|edge| edge.to)
}

/// Nodes of the core hand the entry on as it came.
fn passes_on(node: &Node) -> bool {
    let kind = node.kind.name();
    ["noOp", "if", "switch", "filter", "limit", "merge", "wait"]
        .iter()
        .any(|known| kind.strip_prefix("n8n-nodes-base.") == Some(known))
}

/// QC-13: a node behind Dispatch does not take for granted that the caller is on the line.
fn dispatched_legs(graph: &Graph, found: &mut Found) {
    for (trigger, _) in graph.triggers().filter(|(_, node)| is_queue(node)) {
        let entries = reached(graph, behind(graph, trigger, DISPATCH), |node| !passes_on(node));
        let mut names = vec![graph.node(trigger).name.to_string()];
        let own = entries.iter().map(|index| graph.node(*index)).filter(|node| passes_on(node));
        names.extend(own.map(|node| node.name.to_string()));
        let looks = |node: &Node| {
            let is_question =
                passes_on(node) && node.outputs.len() > 1 || node.kind.name().ends_with(".filter");
            let asked = serde_json::to_string(&*node.parameters).unwrap_or_default();
            is_question && (asked.contains("legId") || asked.to_lowercase().contains("callback"))
        };
        let unguarded = reached(graph, behind(graph, trigger, DISPATCH), looks);
        for index in unguarded {
            let node = graph.node(index);
            if uses_leg(node, &names, entries.contains(&index)) {
                found.insert((index, LIVE_LEG));
            }
        }
    }
}

/// Whether an operation is about the leg of an entry: named by an expression, or as what comes in.
fn uses_leg(node: &Node, entries: &[String], is_next: bool) -> bool {
    let operation = operation(node);
    let is_about_leg = operation.starts_with("call.")
        || (operation.starts_with("media.") && operation != "media.wait")
        || operation.starts_with("recording.");
    if !is_about_leg {
        return false;
    }
    let keys = ["legId", "legAId", "legBId", "legIds"];
    let options = node.parameters.get("options").and_then(Value::as_object);
    let given = keys.iter().filter_map(|key| {
        let own = node.parameters.get(*key);
        own.or_else(|| options?.get(*key)).filter(|leg| **leg != "" && !leg.is_null())
    });
    let given: Vec<String> = given.map(ToString::to_string).collect();
    if given.is_empty() {
        return is_next;
    }
    let names_entry = |text: &String| {
        entries.iter().any(|name| {
            text.contains(&format!("('{name}')")) || text.contains(&format!("(\\\"{name}\\\")"))
        }) || (is_next && text.contains("$json"))
    };
    given.iter().any(names_entry)
}

fn silent_recordings(graph: &Graph, found: &mut Found) {
    let triggers = graph.triggers().map(|(index, _)| index).collect::<Vec<_>>();
    let silent = reached(graph, triggers.into_iter(), |node| operation(node) == "media.playAudio");
    found.extend(silent.into_iter().filter_map(|index| {
        let operation = operation(graph.node(index));
        let begins = matches!(operation, "recording.start" | "media.recordAudio");
        begins.then_some((index, RECORDING))
    }));
}

fn idle_dials(graph: &Graph, found: &mut Found) {
    for (index, node) in graph.nodes().filter(|(_, node)| operation(node) == "dial.make") {
        let is_known = |node: &Node| matches!(operation(node), "dial.wait" | "call.bridge");
        let onward = reached(graph, behind(graph, index, 0), |_| false);
        if !node.disabled && !onward.iter().any(|next| is_known(graph.node(*next))) {
            found.insert((index, DIAL));
        }
    }
}

fn idle_callbacks(graph: &Graph, found: &mut Found) {
    let queues = graph.triggers().filter(|(_, node)| is_queue(node));
    let dials = |node: &Node| {
        let mode = node.parameters.get("callMode").and_then(Value::as_str).unwrap_or_default();
        operation(node) == "dial.make" && mode != "extension"
    };
    let is_dispatched = queues.into_iter().any(|(trigger, _)| {
        let onward = reached(graph, behind(graph, trigger, DISPATCH), |_| false);
        onward.iter().any(|index| dials(graph.node(*index)))
    });
    let promises = graph.nodes().filter(|(_, node)| {
        let takes_back = node.parameters.get("callbackEnabled").is_some_and(|on| on == false);
        operation(node) == "queue.setCallback" && !node.disabled && !takes_back
    });
    if !is_dispatched {
        found.extend(promises.map(|(index, _)| (index, CALLBACK)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::call::node::catalogue;
    use crate::flow;

    /// Codes and nodes that a queue's flow gets, with these nodes and edges `(from, output, to)`.
    #[track_caller]
    fn check(nodes: &[(&str, Value)], edges: &[(&str, usize, &str)], expected: &[(&str, &str)]) {
        let mut list = vec![json!({
            "name": "support", "type": TRIGGER, "typeVersion": 1, "position": [0, 0],
            "parameters": { "triggerOn": "queue", "ref": "support", "queueExtensions": "101" },
        })];
        for (name, parameters) in nodes {
            let kind = parameters["kind"].as_str().unwrap_or(ACTION);
            let version = if kind == ACTION { 1.0 } else { 2.2 };
            let mut parameters = parameters.clone();
            parameters.as_object_mut().unwrap().remove("kind");
            list.push(json!({ "name": name, "type": kind, "typeVersion": version,
                "position": [0, 0], "parameters": parameters }));
        }
        let mut connections = json!({});
        for (from, output, to) in edges {
            let mut outputs = connections[from]["main"].as_array().cloned().unwrap_or_default();
            outputs.resize(outputs.len().max(output + 1), json!([]));
            let edge = json!({ "node": to, "type": "main", "index": 0 });
            outputs[*output].as_array_mut().unwrap().push(edge);
            connections[from]["main"] = Value::Array(outputs);
        }
        let workflow = json!({ "name": "w", "nodes": list, "connections": connections });
        let documents = flow::read(&workflow.to_string(), "w.json").unwrap();
        let (graph, problems) = flow::check(&documents[0], &catalogue());
        let found = habits(&graph.unwrap_or_else(|| panic!("{problems:#?}")));
        let found: Vec<(&str, &str)> =
            found.iter().map(|habit| (habit.node.as_str(), habit.code)).collect();
        assert_eq!(found, expected);
    }

    fn hangup(leg: &str) -> Value {
        json!({ "operation": "call.hangup", "options": { "legId": leg } })
    }

    /// QC-13: named by an expression, or as what comes in.
    #[test]
    fn a_leg_after_dispatch_needs_a_look() {
        let leg = "={{ $('support').item.json.legId }}";
        check(&[("end", hangup(leg))], &[("support", 1, "end")], &[("end", LIVE_LEG)]);
        check(&[("end", hangup(""))], &[("support", 1, "end")], &[("end", LIVE_LEG)]);
        check(&[("end", hangup(leg))], &[("support", 0, "end")], &[]);
        let condition = json!({ "leftValue": "={{ $json.legId }}", "rightValue": "",
            "operator": { "type": "string", "operation": "notEmpty" } });
        let look =
            json!({ "kind": "n8n-nodes-base.if", "conditions": { "conditions": [condition] } });
        let nodes = [("look", look), ("end", hangup(leg))];
        check(&nodes, &[("support", 1, "look"), ("look", 0, "end")], &[]);
    }

    #[test]
    fn dials_and_callbacks_lead_somewhere() {
        let dial = || json!({ "operation": "dial.make", "callMode": "extension", "extensionNumbers": "1" });
        let wait = json!({ "operation": "dial.wait" });
        check(&[("dial", dial())], &[("support", 1, "dial")], &[("dial", DIAL)]);
        let nodes = [("dial", dial()), ("wait", wait)];
        check(&nodes, &[("support", 1, "dial"), ("dial", 0, "wait")], &[]);
        let promise = json!({ "operation": "queue.setCallback" });
        check(&[("promise", promise)], &[("support", 0, "promise")], &[("promise", CALLBACK)]);
    }
    #[test]
    fn nobody_is_recorded_before_something_was_said() {
        let tape = || json!({ "operation": "recording.start", "recordFilePath": "a.wav" });
        check(&[("tape", tape())], &[("support", 0, "tape")], &[("tape", RECORDING)]);
        let said = json!({ "operation": "media.playAudio", "filePath": "recorded.wav" });
        let nodes = [("said", said), ("tape", tape())];
        check(&nodes, &[("support", 0, "said"), ("said", 0, "tape")], &[]);
    }
}
