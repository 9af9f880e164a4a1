//! What a run remembers of the nodes it has been through, for expressions to look back at.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::flow::item::Ancestor;
use crate::flow::{Branches, Fault, Graph, Item, Json, Node, NodeIndex, Object, RunId};

/// Passes through one node of which the items are kept. A hold-music loop runs for hours, so
/// older ones are forgotten; expressions ask for the last one as a rule.
pub const KEPT_RUNS_MAX: usize = 16;

/// Where the items of a visit came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) node: NodeIndex,
    pub(super) output: usize,
    pub(super) pass: u64,
}

/// The last passes through each node of a graph.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    /// Those that were visited, by node: most of a large flow never is in one run.
    nodes: Vec<History>,
    /// What nodes that loop tell of themselves: `$('node').context`.
    pub(super) contexts: BTreeMap<NodeIndex, Arc<Object>>,
    /// What scripts have said about the execution: `$execution.customData`.
    pub(super) custom: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct History {
    node: NodeIndex,
    passes: u64,
    kept: VecDeque<Arc<Branches>>,
}

impl Memory {
    fn place(&self, node: NodeIndex) -> Result<usize, usize> {
        self.nodes.binary_search_by_key(&node, |history| history.node)
    }

    fn of(&self, node: NodeIndex) -> Option<&History> {
        Some(&self.nodes[self.place(node).ok()?])
    }

    /// How often a node has given a result: its next pass has this number.
    pub(super) fn passes(&self, node: NodeIndex) -> u64 {
        self.of(node).map_or(0, |history| history.passes)
    }

    /// What the node gave on its last pass.
    pub(super) fn last(&self, node: NodeIndex) -> Option<&Arc<Branches>> {
        self.of(node)?.kept.back()
    }

    /// What the node gave on a pass, unless it is forgotten.
    pub(super) fn pass(&self, node: NodeIndex, pass: u64) -> Option<&Arc<Branches>> {
        let History { passes, kept, .. } = self.of(node)?;
        let back = usize::try_from(passes.checked_sub(pass)?).ok()?;
        kept.get(kept.len().checked_sub(back)?)
    }

    /// A node has given a result; it `is_kept` where an expression may ask for it.
    pub(super) fn record(&mut self, node: NodeIndex, outputs: &Arc<Branches>, is_kept: bool) {
        let place = self.place(node).unwrap_or_else(|place| {
            // Most are visited once.
            let kept = VecDeque::with_capacity(usize::from(is_kept));
            let history = History { node, passes: 0, kept };
            self.nodes.insert(place, history);
            place
        });
        let history = &mut self.nodes[place];
        history.passes += 1;
        if !is_kept {
            return;
        }
        if history.kept.len() == KEPT_RUNS_MAX {
            history.kept.pop_front();
        }
        history.kept.push_back(outputs.clone());
    }
}

/// How a run was started: what `$execution.mode` tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// By an event of the world.
    #[default]
    Production,
    /// By hand.
    Manual,
}

/// What one visit of a node may look at while its parameters are resolved.
#[derive(Clone, Debug)]
pub(super) struct Scope {
    pub(super) run: RunId,
    pub(super) graph: Arc<Graph>,
    pub(super) memory: Arc<Memory>,
    pub(super) index: NodeIndex,
    /// The items of the first input that has any: what `$json` and `$input` mean.
    pub(super) items: Arc<Vec<Item>>,
    /// The items of every input, where there is more than one.
    pub(super) inputs: Vec<Arc<Vec<Item>>>,
    /// Where the items of the first input came from.
    pub(super) source: Option<Source>,
    /// How the run was started: `manual` or `production`.
    pub(super) mode: Mode,
    pub(super) pass: u64,
}

impl Scope {
    pub(super) fn node(&self) -> &Node {
        self.graph.node(self.index)
    }

    /// The node with this name.
    pub(super) fn find(&self, name: &str) -> Result<NodeIndex, Fault> {
        self.graph.find(name).ok_or_else(|| {
            fault(format!("the node '{name}' that the expression refers to does not exist"))
        })
    }

    /// The JSON that the input item at `item` was made from in the node called `name`.
    pub(super) fn ancestor(&self, name: &str, item: usize) -> Result<&Arc<Json>, Fault> {
        let node = self.find(name)?;
        match self.items.get(item).map_or(Ancestor::None, |item| item.ancestor(node)) {
            Ancestor::One(json) => Ok(json),
            Ancestor::Several => {
                let message = format!("several items of the node '{name}' belong to this one");
                Err(fault(message))
            }
            Ancestor::None => Err(match self.memory.last(node) {
                None => not_executed(name),
                Some(_) => fault(format!("no path leads from this item back to the node '{name}'")),
            }),
        }
    }

    /// The items of one input.
    pub(super) fn input(&self, input: usize) -> &[Item] {
        match self.inputs.get(input) {
            Some(items) => items,
            None if self.inputs.is_empty() && input == 0 => &self.items,
            None => &[],
        }
    }

    /// What the node called `name` gave on a pass, by default the last one, by the output that
    /// leads here unless `output` says otherwise.
    pub(super) fn given(
        &self,
        name: &str,
        output: Option<usize>,
        pass: Option<u64>,
    ) -> Result<&[Item], Fault> {
        let node = self.find(name)?;
        let outputs = match pass {
            None => self.memory.last(node),
            Some(pass) => self.memory.pass(node, pass),
        };
        let outputs = outputs.ok_or_else(|| not_executed(name))?;
        let output = output.unwrap_or_else(|| self.graph.output_towards(node, self.index));
        Ok(outputs.get(output).map_or(&[], Vec::as_slice))
    }
}

fn fault(message: String) -> Fault {
    Fault::new("E-FLOW-EXPRESSION", message)
}

fn not_executed(name: &str) -> Fault {
    fault(format!("the node '{name}' has not been executed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_passes_are_kept_and_all_are_counted() {
        let mut memory = Memory::default();
        let node = NodeIndex(0);
        for n in 0..100 {
            memory.record(node, &Arc::new(vec![vec![]; n]), true);
        }
        assert_eq!(memory.passes(node), 100);
        assert_eq!(memory.last(node).map(|outputs| outputs.len()), Some(99));
        assert_eq!(memory.pass(node, 96).map(|outputs| outputs.len()), Some(96));
        assert_eq!(memory.pass(node, 83), None);
        assert_eq!(memory.pass(node, 100), None);
    }
}
