//! Error Trigger: starts a run when another one has failed, with what is known about that.

use serde_json::json;

use crate::flow::{Fault, Graph, Node, NodeType, Object, Role, RunId};

const NAME: &str = "n8n-nodes-base.errorTrigger";

/// Whether a run that this node starts is about an error.
pub(in crate::flow) fn is_error_trigger(node: &Node) -> bool {
    node.kind.name() == NAME
}

/// What the trigger gives.
pub(in crate::flow) fn error_payload(
    run: RunId,
    graph: &Graph,
    node: Option<&str>,
    fault: &Fault,
) -> Object {
    let error = json!({ "message": fault.message, "code": fault.code, "node": { "name": node } });
    let execution = json!({
        "id": run.0.to_string(), "error": error, "lastNodeExecuted": node, "mode": "trigger",
    });
    let workflow = json!({ "id": graph.id(), "name": graph.name() });
    let fields = [("execution", execution), ("workflow", workflow)];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

pub(super) struct ErrorTrigger;

impl NodeType for ErrorTrigger {
    fn name(&self) -> &'static str {
        NAME
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn role(&self) -> Role {
        Role::Trigger
    }
}
