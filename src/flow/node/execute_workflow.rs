//! Execute Workflow, and the trigger of the workflow that is executed.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use crate::flow::{Fault, Findings, Graph, Item, Node, NodeIndex, NodeType, Object, Paired, Role};

const EXECUTE: &str = "n8n-nodes-base.executeWorkflow";
const TRIGGER: &str = "n8n-nodes-base.executeWorkflowTrigger";

/// Whether this node executes another workflow: the runner does it.
pub(in crate::flow) fn is_execute_workflow(node: &Node) -> bool {
    node.kind.name() == EXECUTE
}

/// Where a workflow begins when another one executes it.
pub(in crate::flow) fn sub_trigger(graph: &Graph) -> Result<NodeIndex, Fault> {
    let triggers = || graph.triggers();
    let own = triggers().find(|(_, node)| node.kind.name() == TRIGGER);
    let any = || triggers().find(|(_, node)| node.kind.name() == "n8n-nodes-base.manualTrigger");
    own.or_else(any).map(|(index, _)| index).ok_or_else(|| {
        let message = format!("the workflow '{}' has no trigger that others start", graph.name());
        Fault::new("E-FLOW-SUBWORKFLOW", message)
    })
}

/// An item as another run sees it: where it came from means nothing there.
pub(in crate::flow) fn without_origin(item: Item) -> Item {
    Item { paired: Paired::Unknown, lineage: None, ..item }
}

/// What an Execute Workflow node wants.
#[derive(Debug)]
pub(in crate::flow) struct SubRun {
    id: String,
    inputs: Option<Object>,
    pub(in crate::flow) is_each: bool,
    pub(in crate::flow) waits: bool,
}

impl SubRun {
    /// Reads the resolved parameters.
    pub(in crate::flow) fn read(parameters: &Object) -> Result<Self, Fault> {
        let option =
            parameters.get("options").and_then(|options| options.get("waitForSubWorkflow"));
        let inputs =
            parameters.get("workflowInputs").and_then(|inputs| inputs["value"].as_object());
        let id = parameters.get("workflowId").map(located).unwrap_or_default();
        Ok(Self {
            id,
            inputs: inputs.filter(|inputs| !inputs.is_empty()).cloned(),
            is_each: parameters.get("mode").is_some_and(|mode| mode == "each"),
            waits: option != Some(&Value::Bool(false)),
        })
    }

    /// The workflow with the id; that of the node itself is known even where no other is.
    pub(in crate::flow) fn graph(
        &self,
        own: &Arc<Graph>,
        known: &BTreeMap<String, Arc<Graph>>,
    ) -> Result<Arc<Graph>, Fault> {
        if !self.id.is_empty() && own.id() == self.id {
            return Ok(own.clone());
        }
        known.get(&self.id).cloned().ok_or_else(|| {
            let message = format!("the workflow with the id '{}' is not loaded", self.id);
            Fault::new("E-FLOW-SUBWORKFLOW", message)
        })
    }

    /// An item as the workflow gets it.
    pub(in crate::flow) fn given(&self, item: &Item) -> Item {
        let item = without_origin(item.clone());
        match &self.inputs {
            Some(inputs) => Item { json: Arc::new(inputs.clone().into()), ..item },
            None => item,
        }
    }
}

/// The text of a resource locator, or of a plain text.
fn located(value: &Value) -> String {
    let value = value.get("value").unwrap_or(value);
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

pub(super) struct ExecuteWorkflow;

impl NodeType for ExecuteWorkflow {
    fn name(&self) -> &'static str {
        EXECUTE
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 1.1, 1.2, 1.3]
    }

    fn role(&self) -> Role {
        Role::Service
    }

    fn keys(&self) -> &'static [&'static str] {
        &["source", "workflowId", "mode", "options", "workflowInputs", "operation"]
    }

    fn fill(&self, _version: f64, parameters: &mut Object, _report: &mut Findings) {
        parameters.entry("source").or_insert_with(|| "database".into());
        parameters.entry("mode").or_insert_with(|| "once".into());
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        if parameters.get("source").is_some_and(|source| source != "database") {
            let message = "only workflows that are served along are executed";
            let remedy = "choose `database`, and name the other workflow's file to `ringback` too";
            report.error("E-FLOW-UNSERVED", "source", message, remedy);
        }
        if parameters.get("workflowId").map(located).is_none_or(|id| id.is_empty()) {
            report.error("E-FLOW-REQUIRED", "workflowId", "no workflow is named", "choose one");
        }
    }
}

pub(super) struct ExecuteWorkflowTrigger;

impl NodeType for ExecuteWorkflowTrigger {
    fn name(&self) -> &'static str {
        TRIGGER
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 1.1]
    }

    fn role(&self) -> Role {
        Role::Trigger
    }

    fn keys(&self) -> &'static [&'static str] {
        &[
            "inputSource",
            "workflowInputs",
            "jsonExample",
            "events",
            "notice",
            "outdatedVersionWarning",
        ]
    }
}
