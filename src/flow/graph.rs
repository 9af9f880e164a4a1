//! The checked graph of one workflow: nodes with complete parameters, and edges that lead somewhere.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::flow::expr::Plan;
use crate::flow::{Item, NodeType, Object, Role, node};

/// Place of a node in its [`Graph`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub usize);

/// In which order the branches of a run are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Breadth first, as exports without `executionOrder` mean it.
    V0,
    /// Depth first, the topmost branch first, then the leftmost.
    V1,
}

/// What happens when a node fails for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The run fails.
    Stop,
    /// The item goes on by the first output.
    ContinueRegular,
    /// The item goes on by an output of its own, the last one.
    ContinueError,
}

/// How often and how soon a failed node is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// Tries in all, 2 to 5.
    pub tries: u32,
    /// Pause between two tries, at most 5 s.
    pub pause: Duration,
}

/// Where an output leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// The node that the items go to.
    pub to: NodeIndex,
    /// The input they arrive at.
    pub input: usize,
}

/// One node of a checked graph.
#[derive(Clone)]
pub struct Node {
    /// The export's id; empty when it had none.
    pub id: String,
    /// What `$webhookId` tells; empty for nodes without.
    pub(super) webhook_id: String,
    /// The name that connections and expressions use; unique in its graph.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Arc<dyn NodeType>,
    /// `typeVersion`.
    pub version: f64,
    /// Parameters with every default filled in; expressions are still text.
    pub parameters: Arc<Object>,
    /// The same compiled, when there are expressions among them.
    pub(super) plan: Option<Arc<Plan>>,
    /// What is resolved later, as [`NodeType::late`] says, if the node has it.
    pub(super) late: Option<Arc<Plan>>,
    /// Whether one of its scripts may take long: a script of the author's own, or an expression
    /// that is not plain.
    pub(super) is_heavy: bool,
    /// Whether it is performed in microseconds and needs nobody but telephony.
    pub(super) is_quick: bool,
    /// Names of its credentials by their type; nothing of what they hold.
    pub credentials: Arc<BTreeMap<String, String>>,
    /// Canvas position x, y: the order of branches depends on it.
    pub position: (f64, f64),
    /// A disabled node hands its input to its first output.
    pub disabled: bool,
    /// Only the first input item is handled.
    pub execute_once: bool,
    /// A node without a result gives one empty item.
    pub always_output: bool,
    /// Whether and how it is tried again.
    pub retry: Option<Retry>,
    /// What a failure does.
    pub on_error: OnError,
    /// Inputs that the node waits for: one more than the last that something is connected to.
    pub inputs: usize,
    /// Labels of its outputs in order; the error output, if it has one, is the last.
    pub outputs: Vec<String>,
    /// For each output, where it leads, in the order of the file.
    pub edges: Vec<Vec<Edge>>,
}

impl Node {
    /// The output for failed items, if the node has one.
    pub fn error_output(&self) -> Option<usize> {
        match self.on_error {
            OnError::ContinueError => self.outputs.len().checked_sub(1),
            OnError::ContinueRegular | OnError::Stop => None,
        }
    }

    /// Whether it makes no sense of an input without items.
    pub(super) fn needs_all_inputs(&self) -> bool {
        let needed = self.kind.inputs_needed(self.version, &self.parameters);
        needed > 1 && needed >= self.inputs
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.kind.name())
    }
}

/// A checked workflow. Nothing in it dangles, so a run never asks.
#[derive(Clone, Debug)]
pub struct Graph {
    pub(super) file: String,
    pub(super) id: String,
    pub(super) name: Arc<str>,
    pub(super) version: Arc<str>,
    pub(super) owner: Arc<str>,
    pub(super) order: Order,
    pub(super) timezone: Option<String>,
    pub(super) timeout: Option<Duration>,
    pub(super) error_workflow: Option<String>,
    /// What it kept from run to run when it was exported.
    pub(super) statics: Object,
    /// What runs that are started by hand get instead of what the node gives.
    pub(super) pinned: HashMap<NodeIndex, Vec<Item>>,
    pub(super) nodes: Vec<Node>,
    pub(super) by_name: HashMap<Arc<str>, NodeIndex>,
    /// Triggers of quick runs.
    pub(super) quick: BTreeSet<NodeIndex>,
    /// See [`Graph::is_asked_for`]; `None`: any node may be.
    pub(super) asked_for: Option<BTreeSet<NodeIndex>>,
}

impl Graph {
    /// The file that it was read from.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The workflow's id; empty when the export had none.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The workflow's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, to be kept.
    pub(super) const fn shared_name(&self) -> &Arc<str> {
        &self.name
    }

    /// Which version of the workflow it is, such as `3f2a91bc`: equal for what does the same.
    pub const fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// Under which name it keeps things from run to run: its id, or its name when it has none.
    pub(super) const fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// In which order branches are taken.
    pub const fn order(&self) -> Order {
        self.order
    }

    /// The IANA time zone of the workflow's settings, if it names one.
    pub fn timezone(&self) -> Option<&str> {
        self.timezone.as_deref()
    }

    /// How long one run may last, if the settings say so.
    pub const fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// The id of the workflow that wants to know of errors of this one.
    pub fn error_workflow(&self) -> Option<&str> {
        self.error_workflow.as_deref()
    }

    /// The items that the author has pinned to a node for runs that are started by hand.
    pub fn pinned(&self, index: NodeIndex) -> Vec<Item> {
        self.pinned.get(&index).cloned().unwrap_or_default()
    }

    /// The node at a place of this graph.
    pub fn node(&self, index: NodeIndex) -> &Node {
        &self.nodes[index.0]
    }

    /// The node with this name.
    pub fn find(&self, name: &str) -> Option<NodeIndex> {
        self.by_name.get(name).copied()
    }

    /// Every node, in the order of the file.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.nodes.iter().enumerate().map(|(index, node)| (NodeIndex(index), node))
    }

    /// The output of `from` by which items get to `to` on the shortest way; 0 if on none.
    pub(super) fn output_towards(&self, from: NodeIndex, to: NodeIndex) -> usize {
        let node = self.node(from);
        if node.edges.len() < 2 {
            return 0;
        }
        let mut seen = vec![false; self.nodes.len()];
        let outputs = node.edges.iter().enumerate();
        let mut next: VecDeque<(usize, NodeIndex)> = outputs
            .flat_map(|(output, edges)| edges.iter().map(move |edge| (output, edge.to)))
            .collect();
        while let Some((output, here)) = next.pop_front() {
            if here == to {
                return output;
            }
            if !std::mem::replace(&mut seen[here.0], true) {
                let onward = self.node(here).edges.iter().flatten();
                next.extend(onward.map(|edge| (output, edge.to)));
            }
        }
        0
    }

    /// Whether items can get from one node to another.
    pub(super) fn leads(&self, from: NodeIndex, to: NodeIndex) -> bool {
        self.leads_to_any(from, |node| node == to)
    }

    fn leads_to_any(&self, from: NodeIndex, is_there: impl Fn(NodeIndex) -> bool) -> bool {
        let mut seen = vec![false; self.nodes.len()];
        let mut next = vec![from];
        while let Some(here) = next.pop() {
            if std::mem::replace(&mut seen[here.0], true) {
                continue;
            }
            let onward = self.node(here).edges.iter().flatten().map(|edge| edge.to);
            for node in onward {
                if is_there(node) {
                    return true;
                }
                next.push(node);
            }
        }
        false
    }

    /// Whether a run from this trigger is done in microseconds between two things that it waits
    /// for, all of telephony: it can be made where calls are handled. What a flow does about errors
    /// is not.
    pub fn is_quick(&self, trigger: NodeIndex) -> bool {
        self.quick.contains(&trigger)
    }

    /// Whether an expression may ask by name what this node gave. What none asks for is not kept by runs,
    /// or a loop of music would grow for as long as it is heard.
    pub fn is_asked_for(&self, node: NodeIndex) -> bool {
        self.asked_for.as_ref().is_none_or(|asked_for| asked_for.contains(&node))
    }

    /// Notes which nodes are asked for, where every expression names those that it asks.
    pub(super) fn note_asked_for(&mut self, named: BTreeSet<NodeIndex>) {
        let is_plain = |node: &Node| {
            let names_all = node.plan.as_ref().is_none_or(|plan| plan.names_all());
            names_all && node.late.is_none() && node.kind.code_keys().is_empty()
        };
        self.asked_for = self.nodes.iter().all(is_plain).then_some(named);
    }

    /// Finds out which runs are quick, once everything else is known.
    pub(super) fn find_quick(&mut self) {
        if self.error_workflow.is_some() || self.nodes.iter().any(node::is_error_trigger) {
            return;
        }
        let triggers = self.triggers().map(|(index, _)| index);
        let is_slow = |index: NodeIndex| !self.node(index).is_quick;
        self.quick = triggers.filter(|trigger| !self.leads_to_any(*trigger, is_slow)).collect();
    }

    /// Every enabled trigger, in the order of the file.
    pub fn triggers(&self) -> impl Iterator<Item = (NodeIndex, &Node)> {
        self.nodes().filter(|(_, node)| !node.disabled && node.kind.role() == Role::Trigger)
    }
}
