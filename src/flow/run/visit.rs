//! The node that a run is at: how far it has come with its items.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::flow::memory::Scope;
use crate::flow::node::is_execute_workflow;
use crate::flow::{Branches, Fault, Item, Object};

/// Items of one node that are asked about at the same time; the next ones wait for these.
pub(in crate::flow) const ASKS_MAX: usize = 16;

/// The node that is being visited.
#[derive(Clone, Debug)]
pub(super) struct Visit {
    pub(super) scope: Arc<Scope>,
    /// The item that the world is asked about next, or now.
    pub(super) next: usize,
    pub(super) tries: u32,
    pub(super) since_ms: i64,
    pub(super) outputs: Branches,
    pub(super) has_paused: bool,
    pub(super) fault: Option<Fault>,
    /// Answers for items whose turn has not come.
    pub(super) answers: BTreeMap<usize, Result<Vec<(usize, Item)>, Fault>>,
    /// Parameters for items whose turn has not come, from an errand.
    pub(super) prepared: BTreeMap<usize, Result<Arc<Object>, Fault>>,
}

impl Visit {
    /// Whether the next thing to do here needs scripts that may take long.
    pub(super) fn is_errand(&self) -> bool {
        let node = self.scope.node();
        let is_left = self.next < self.scope.items.len() && !self.has_paused;
        let is_known =
            self.answers.contains_key(&self.next) || self.prepared.contains_key(&self.next);
        node.is_heavy && !node.disabled && is_left && !is_known
    }

    /// About how many of its items the node asks at the same time.
    pub(super) fn asked_about(&self) -> usize {
        let node = self.scope.node();
        if is_execute_workflow(node)
            && node.parameters.get("mode").is_none_or(|mode| mode != "each")
        {
            usize::MAX
        } else if node.kind.asks_at_once(&node.parameters) {
            ASKS_MAX
        } else {
            1
        }
    }
}
