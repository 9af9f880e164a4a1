//! One execution of a graph: one node at a time, in n8n's order, until it asks, pauses or ends.
//!
//! ```text
//!            ┌──────── answer ────────┐  ┌─── resume ───┐
//!            ▼                        │  ▼              │
//!  start ─▶ advance ─▶ Ask ───────────┘  advance ─▶ Pause
//!            └───────▶ Ended
//! ```

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::flow::expr::Scripts;
use crate::flow::memory::{Memory, Scope, Source};
use crate::flow::node::parameters;
use crate::flow::{
    Branches, Edge, Graph, Item, Lineage, NodeIndex, Object, OnError, Order, Role, RunId, Work,
};

/// Items a run may handle between two waits. A loop that never waits is caught by it.
pub const STEPS_MAX: u32 = 10_000;
/// Nodes that may wait for their turn in one run.
pub const WAITING_MAX: usize = 1000;
/// Items that one node may give at once.
pub const ITEMS_MAX: usize = 10_000;

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Stable: of this room `E-FLOW-…`, of the world what its contract says, such as `not_found`.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
}

impl Fault {
    /// A fault with this code and message.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Nothing was left to do.
    Success,
    /// A node failed, or a limit was reached.
    Failed {
        /// The node, unless the run never got to one.
        node: Option<Arc<str>>,
        /// Why.
        fault: Fault,
    },
    /// It was told to end.
    Cancelled,
}

/// Why [`Run::advance`] came back.
pub(super) enum Step {
    Ask { node: NodeIndex, parameters: Arc<Object>, item: Item },
    Pause(Duration),
    Ended(Finished),
}

/// One execution.
#[derive(Debug)]
pub(super) struct Run {
    id: RunId,
    graph: Arc<Graph>,
    memory: Arc<Memory>,
    waiting: VecDeque<Frame>,
    visit: Option<Visit>,
    budget: u32,
    steps: u64,
}

/// A node that is to be visited, with the items it gets.
#[derive(Debug)]
struct Frame {
    node: NodeIndex,
    outputs: Arc<Branches>,
    source: Source,
}

/// The node that is being visited.
#[derive(Debug)]
struct Visit {
    scope: Arc<Scope>,
    /// The item that the world is asked about next, or now.
    next: usize,
    tries: u32,
    outputs: Branches,
}

impl Run {
    /// A run that begins with what a trigger gave.
    pub(super) fn start(
        id: RunId,
        graph: Arc<Graph>,
        trigger: NodeIndex,
        mut outputs: Branches,
    ) -> Self {
        if outputs.is_empty() {
            outputs.push(vec![Item::default()]);
        }
        for item in outputs.iter_mut().flatten() {
            item.descend(trigger, None);
        }
        let memory = Arc::new(Memory::new(graph.nodes.len()));
        let waiting = VecDeque::new();
        let mut run = Self { id, graph, memory, waiting, visit: None, budget: STEPS_MAX, steps: 1 };
        run.leave(trigger, outputs);
        run
    }

    /// The graph that is run.
    pub(super) fn graph(&self) -> &Arc<Graph> {
        &self.graph
    }

    /// Nodes visited so far, the trigger among them.
    pub(super) fn steps(&self) -> u64 {
        self.steps
    }

    /// The node that is being visited.
    pub(super) fn here(&self) -> Option<Arc<str>> {
        self.visit.as_ref().map(|visit| visit.scope.node().name.clone())
    }

    /// Goes on until the run asks, pauses or ends.
    pub(super) fn advance(&mut self, scripts: &mut Scripts, now_ms: i64) -> Step {
        loop {
            if self.visit.is_none() && !self.enter() {
                return Step::Ended(Finished::Success);
            }
            if self.waiting.len() > WAITING_MAX {
                return self.failed(Fault::new("E-FLOW-WAITING", "too many branches wait"));
            }
            let visit = self.visit.as_mut().expect("a node was entered");
            let items = u32::try_from(visit.scope.items.len()).unwrap_or(u32::MAX);
            let Some(budget) = self.budget.checked_sub(items.max(1)) else {
                let message = format!("{STEPS_MAX} steps without a wait: the flow spins");
                return self.failed(Fault::new("E-FLOW-BUDGET", message));
            };
            self.budget = budget;
            let is_world = visit.scope.node().kind.role() == Role::World;
            let stop = if visit.scope.node().disabled {
                let outputs = vec![visit.scope.items.to_vec()];
                self.finish(outputs)
            } else if is_world {
                self.ask(scripts, now_ms)
            } else {
                self.perform(scripts, now_ms)
            };
            if let Some(step) = stop {
                return step;
            }
        }
    }

    /// Takes the world's answer to the last ask.
    pub(super) fn answer(&mut self, answer: Result<Vec<(usize, Item)>, Fault>) -> Option<Step> {
        self.budget = STEPS_MAX;
        let visit = self.visit.as_mut().expect("only a visited node asks");
        let given = match answer {
            Ok(given) => given,
            Err(fault) => return self.fail(fault),
        };
        for (output, mut item) in given {
            item.paired = Some(visit.next);
            match visit.outputs.get_mut(output) {
                Some(items) => items.push(item),
                None => {
                    let outputs = visit.outputs.len();
                    let message = format!("an item left by output {output} of {outputs}");
                    return Some(self.failed(Fault::new("E-FLOW-OUTPUT", message)));
                }
            }
        }
        visit.next += 1;
        visit.tries = 0;
        None
    }

    /// The pause before the next try is over.
    pub(super) fn resume(&mut self) {
        self.budget = STEPS_MAX;
    }

    /// Visits the next node that waits; false when none does.
    fn enter(&mut self) -> bool {
        let Some(Frame { node: index, outputs, source }) = self.waiting.pop_front() else {
            return false;
        };
        let node = self.graph.node(index);
        let count = if node.execute_once { 1 } else { usize::MAX };
        let items = outputs[source.output].iter().take(count).cloned().enumerate();
        let items = items.map(|(place, item)| Item { paired: Some(place), ..item }).collect();
        let outputs = vec![Vec::new(); node.outputs.len()];
        let scope = Arc::new(Scope {
            run: self.id,
            graph: self.graph.clone(),
            memory: self.memory.clone(),
            index,
            items: Arc::new(items),
            source: Some(source),
            pass: self.memory.passes(index),
        });
        self.visit = Some(Visit { scope, next: 0, tries: 0, outputs });
        self.steps += 1;
        true
    }

    fn ask(&mut self, scripts: &mut Scripts, now_ms: i64) -> Option<Step> {
        let visit = self.visit.as_mut().expect("a node is visited");
        let Some(item) = visit.scope.items.get(visit.next) else {
            let outputs = std::mem::take(&mut visit.outputs);
            return self.finish(outputs);
        };
        match parameters(&visit.scope, visit.next, scripts, now_ms) {
            Ok(parameters) => {
                Some(Step::Ask { node: visit.scope.index, parameters, item: item.clone() })
            }
            Err(fault) => self.fail(fault),
        }
    }

    fn perform(&mut self, scripts: &mut Scripts, now_ms: i64) -> Option<Step> {
        let visit = self.visit.as_ref().expect("a node is visited");
        let kind = visit.scope.node().kind.clone();
        match kind.perform(&mut Work { scope: &visit.scope, scripts, now_ms }) {
            Ok(outputs) => self.finish(outputs),
            Err(fault) => self.fail(fault),
        }
    }

    /// A try has failed: there is another one, or the node says what failing means.
    fn fail(&mut self, fault: Fault) -> Option<Step> {
        let visit = self.visit.as_mut().expect("only a visited node fails");
        let node = visit.scope.graph.node(visit.scope.index);
        visit.tries += 1;
        if let Some(retry) = node.retry.filter(|retry| visit.tries < retry.tries) {
            return Some(Step::Pause(retry.pause));
        }
        let output = match node.on_error {
            OnError::Stop => return Some(self.failed(fault)),
            OnError::ContinueRegular => 0,
            OnError::ContinueError => node.outputs.len() - 1,
        };
        let is_world = node.kind.role() == Role::World;
        // n8n gives up all items of a node at once. The world has been asked item by item, and
        // what it did for the earlier ones is done: only the failed item takes the other way.
        let failed = if is_world { visit.next..visit.next + 1 } else { 0..visit.scope.items.len() };
        visit.outputs.resize(visit.outputs.len().max(output + 1), Vec::new());
        for item in &visit.scope.items[failed] {
            let mut item = item.clone();
            if node.on_error == OnError::ContinueError {
                item.json_mut().insert("error".to_owned(), error_json(&fault, &node.name));
            }
            visit.outputs[output].push(item);
        }
        if is_world {
            visit.next += 1;
            visit.tries = 0;
            return None;
        }
        let outputs = std::mem::take(&mut visit.outputs);
        self.finish(outputs)
    }

    fn failed(&mut self, fault: Fault) -> Step {
        Step::Ended(Finished::Failed { node: self.here(), fault })
    }

    /// The visited node has given all it will give.
    fn finish(&mut self, mut outputs: Branches) -> Option<Step> {
        let count: usize = outputs.iter().map(Vec::len).sum();
        if count > ITEMS_MAX {
            let message = format!("{count} items at once, and at most {ITEMS_MAX} are handled");
            return Some(self.failed(Fault::new("E-FLOW-ITEMS", message)));
        }
        let Visit { scope, .. } = self.visit.take().expect("only a visited node finishes");
        let node = scope.node();
        let is_empty = outputs.first().is_none_or(Vec::is_empty);
        if node.always_output && is_empty {
            outputs.resize(outputs.len().max(1), Vec::new());
            outputs[0].push(Item { paired: Some(0), ..Item::default() });
        }
        link(scope.index, &scope.items, &mut outputs);
        let index = scope.index;
        drop(scope);
        self.leave(index, outputs);
        None
    }

    /// Records what a node gave, and lets the nodes wait that it leads to.
    fn leave(&mut self, index: NodeIndex, outputs: Branches) {
        // No outputs at all: the branch ends, and the node counts as not executed.
        if outputs.is_empty() {
            return;
        }
        let outputs = Arc::new(outputs);
        let pass = self.memory.passes(index);
        Arc::make_mut(&mut self.memory).record(index, outputs.clone());
        let graph = self.graph.clone();
        let node = graph.node(index);
        let filled = outputs.iter().enumerate().filter(|(_, items)| !items.is_empty());
        let mut next: Vec<(usize, Edge)> = filled
            .flat_map(|(output, _)| {
                node.edges.get(output).into_iter().flatten().map(move |edge| (output, *edge))
            })
            .collect();
        if graph.order == Order::V1 {
            let place = |(_, edge): &(usize, Edge)| graph.node(edge.to).position;
            next.sort_by(|one, other| {
                let ((one_x, one_y), (other_x, other_y)) = (place(one), place(other));
                other_y.total_cmp(&one_y).then(other_x.total_cmp(&one_x))
            });
        }
        for (output, edge) in next {
            let source = Source { node: index, output, pass };
            let frame = Frame { node: edge.to, outputs: outputs.clone(), source };
            match graph.order {
                Order::V0 => self.waiting.push_back(frame),
                Order::V1 => self.waiting.push_front(frame),
            }
        }
    }
}

/// Links what a node gave to what it was made from, where that is plain or the node said so.
fn link(node: NodeIndex, inputs: &[Item], outputs: &mut Branches) {
    let is_one_to_one = outputs.len() == 1 && outputs[0].len() == inputs.len();
    for items in outputs {
        for (place, item) in items.iter_mut().enumerate() {
            let obvious = match inputs.len() {
                1 => Some(0),
                _ if is_one_to_one => Some(place),
                _ => None,
            };
            item.paired = item.paired.or(obvious);
            let parent: Option<&Arc<Lineage>> =
                item.paired.and_then(|paired| inputs.get(paired)?.lineage.as_ref());
            item.descend(node, parent.cloned().as_ref());
        }
    }
}

/// What an item that leaves by an error output carries as `error`.
pub(super) fn error_json(fault: &Fault, node: &str) -> Value {
    json!({ "code": fault.code, "message": fault.message, "node": node })
}
