//! One execution of a graph: one node at a time, in n8n's order, until it asks, pauses or ends.
//!
//! ```text
//!            ┌──────── answer ────────┐  ┌─── resume ───┐
//!            ▼                        │  ▼              │
//!  start ─▶ advance ─▶ Ask ───────────┘  advance ─▶ Pause
//!            └───────▶ Ended
//! ```

mod given;
mod visit;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::base::push_few;
use crate::flow::expr::{Current, Place, Scripts};
use crate::flow::frames::{Arrival, Frame, Frames};
use crate::flow::memory::{Memory, Mode, Scope, Source};
use crate::flow::node::{Loops, error_json, parameters};
use crate::flow::{
    Branches, Fault, Finished, Graph, Item, NodeIndex, Object, OnError, Origin, Paired, Pause,
    Role, RunId, Visited, Work,
};
use given::{divert, gives_error, link};
pub(super) use visit::ASKS_MAX;
use visit::Visit;

/// Nodes a run may visit between two waits. A loop that never waits is caught by it.
pub const STEPS_MAX: u32 = 10_000;
/// Items a run may handle between two waits.
pub const HANDLED_MAX: u32 = 1_000_000;
/// Nodes that may wait for their turn in one run.
pub const WAITING_MAX: usize = 1000;
/// Items that one node may give at once.
pub const ITEMS_MAX: usize = 100_000;

/// Why [`Run::advance`] came back.
#[derive(Debug)]
pub(super) enum Step {
    Ask {
        node: NodeIndex,
        parameters: Arc<Object>,
        item: Item,
    },
    Pause(Duration),
    /// The visited node waits for a call, at most so long.
    Await {
        parameters: Arc<Object>,
        most: Option<Duration>,
    },
    /// The visited node needs scripts that may take long: it is to be visited on an errand.
    Errand,
    /// The visit that was an errand is over.
    Home,
    Ended(Finished),
}

/// One execution. A copy goes on errands, so that the run goes on where the copy is lost.
#[derive(Clone, Debug)]
pub(super) struct Run {
    id: RunId,
    graph: Arc<Graph>,
    memory: Arc<Memory>,
    mode: Mode,
    frames: Frames,
    visit: Option<Visit>,
    loops: Loops,
    budget: Budget,
    steps: u64,
    /// The time of the last input, for those who want to know of visits.
    now_ms: i64,
    /// Visits since they were last taken; `None` when nobody wants them.
    visited: Option<Vec<Visited>>,
    /// What the node that was visited last gave: the result of a sub-workflow.
    last: Arc<Branches>,
}

/// What is left of the limits until the next wait.
#[derive(Clone, Debug)]
struct Budget {
    steps: u32,
    items: u32,
}

impl Budget {
    const FULL: Self = Self { steps: STEPS_MAX, items: HANDLED_MAX };

    fn spend(&mut self, items: usize) -> Option<()> {
        self.steps = self.steps.checked_sub(1)?;
        self.items = self.items.checked_sub(u32::try_from(items).ok()?)?;
        Some(())
    }
}

impl Run {
    /// A run that begins with what a trigger gave.
    pub(super) fn start(
        id: RunId,
        graph: Arc<Graph>,
        trigger: NodeIndex,
        mut outputs: Branches,
        mode: Mode,
        is_traced: bool,
        now_ms: i64,
    ) -> Self {
        if outputs.is_empty() {
            outputs.push(vec![Item::default()]);
        }
        for items in &mut outputs {
            for (place, item) in items.iter_mut().enumerate() {
                item.paired = Paired::with(place);
                if graph.is_asked_for(trigger) {
                    item.descend(trigger, Vec::new());
                }
            }
        }
        let memory = Arc::<Memory>::default();
        let frames = Frames::new(graph.order());
        let visited = is_traced.then(Vec::new);
        let (loops, last) = (Loops::default(), Arc::default());
        let (visit, budget, steps) = (None, Budget::FULL, 1);
        let mut run = Self {
            id,
            graph,
            memory,
            mode,
            frames,
            visit,
            loops,
            budget,
            steps,
            now_ms,
            visited,
            last,
        };
        run.leave(trigger, outputs, None, now_ms);
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

    /// What the node that was visited last gave.
    pub(super) fn last(&self) -> &Arc<Branches> {
        &self.last
    }

    /// Takes what was visited since the last time.
    pub(super) fn take_visited(&mut self) -> Vec<Visited> {
        self.visited.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The node that is being visited.
    pub(super) fn here(&self) -> Option<Arc<str>> {
        self.visit.as_ref().map(|visit| visit.scope.node().name.clone())
    }

    /// Goes on until the run asks, pauses or ends.
    pub(super) fn advance(&mut self, scripts: &mut Scripts, now_ms: i64) -> Step {
        self.now_ms = now_ms;
        loop {
            if self.visit.is_none() && !self.enter() {
                return Step::Ended(Finished::Success);
            }
            if self.frames.len() > WAITING_MAX {
                return self.failed(Fault::new("E-FLOW-WAITING", "too many branches wait"));
            }
            let visit = self.visit.as_mut().expect("a node was entered");
            if scripts.place() == Place::Home && visit.is_errand() {
                return Step::Errand;
            }
            if self.budget.spend(visit.scope.items.len()).is_none() {
                let message = format!("{STEPS_MAX} steps without a wait: the flow spins");
                return self.failed(Fault::new("E-FLOW-BUDGET", message));
            }
            let (node, node_index) = (visit.scope.node(), visit.scope.index);
            let role = node.kind.role();
            let stop = if node.disabled {
                let outputs = vec![visit.scope.input(0).to_vec()];
                self.finish(outputs)
            } else if let Some(items) = self.pinned(node_index) {
                self.finish(vec![items])
            } else {
                match role {
                    Role::World | Role::Service => self.ask(scripts, now_ms),
                    Role::Pause => self.pause(scripts, now_ms),
                    Role::Core | Role::Trigger | Role::Note => self.perform(scripts, now_ms),
                }
            };
            let custom = scripts.take_custom();
            if !custom.is_empty() {
                Arc::make_mut(&mut self.memory).custom.extend(custom);
            }
            if let Some(step) = stop {
                return step;
            }
            if scripts.place() == Place::Away && self.visit.is_none() {
                return Step::Home;
            }
        }
    }

    /// The copy of this run that was on an errand will not come back: its visit has failed.
    pub(super) fn give_up(
        &mut self,
        fault: Fault,
        scripts: &mut Scripts,
        now_ms: i64,
    ) -> Option<Step> {
        self.now_ms = now_ms;
        let visit = self.visit.as_ref().expect("an errand is a visit");
        let node = visit.scope.node();
        let is_last_try = node.retry.is_none_or(|retry| visit.tries + 1 >= retry.tries);
        if node.kind.role() != Role::Core || !is_last_try {
            return self.fail(fault);
        }
        let (scope, loops) = (visit.scope.clone(), &mut self.loops);
        let work = Work { scope: &scope, scripts, now_ms, loops, is_last_try };
        match work.give_up_all(fault) {
            Ok(outputs) => self.finish(outputs),
            Err(fault) => self.fail(fault),
        }
    }

    /// Takes the world's answer to the last ask.
    pub(super) fn answer(
        &mut self,
        answer: Result<Vec<(usize, Item)>, Fault>,
        now_ms: i64,
    ) -> Option<Step> {
        self.budget = Budget::FULL;
        self.now_ms = now_ms;
        let visit = self.visit.as_mut().expect("only a visited node asks");
        let given = match answer {
            Ok(given) => given,
            Err(fault) => return self.fail(fault),
        };
        for (output, mut item) in given {
            item.paired = Paired::with(visit.next);
            match visit.outputs.get_mut(output) {
                Some(items) => push_few(items, item),
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

    /// Takes the answer to all items of the visited node at once.
    pub(super) fn answer_all(&mut self, items: Vec<Item>) -> Option<Step> {
        self.budget = Budget::FULL;
        let visit = self.visit.as_mut().expect("only a visited node asks");
        visit.outputs[0] = items;
        visit.next = visit.scope.items.len();
        None
    }

    /// What the visited node's late parameters come to, as far as it has any.
    pub(super) fn late(
        &self,
        facts: impl FnOnce() -> Object,
        scripts: &mut Scripts,
        now_ms: i64,
    ) -> Option<Result<Object, Fault>> {
        let visit = self.visit.as_ref()?;
        let plan = visit.scope.node().late.as_ref()?;
        let current = Current { scope: visit.scope.clone(), item: visit.next, now_ms };
        let (_, key) = visit.scope.node().kind.late()?;
        let resolved = scripts.resolve_late(plan, facts(), &current);
        // n8n writes an option of several fields as an object within an object of the same name.
        Some(resolved.map(
            |mut resolved| match resolved.get_mut(key).map(|late| late[key].take()) {
                Some(Value::Object(fields)) => fields,
                Some(_) | None => Object::new(),
            },
        ))
    }

    /// The visited node's parameters for one of its items.
    pub(super) fn resolved(
        &self,
        index: usize,
        scripts: &mut Scripts,
        now_ms: i64,
    ) -> Result<Arc<Object>, Fault> {
        let visit = self.visit.as_ref().expect("a node is visited");
        match visit.prepared.get(&index) {
            Some(prepared) => prepared.clone(),
            None => parameters(&visit.scope, index, scripts, now_ms),
        }
    }

    /// The visited node, and its item that the world is asked about.
    pub(super) fn asked(&self, index: usize) -> Option<(NodeIndex, Item)> {
        let visit = self.visit.as_ref()?;
        Some((visit.scope.index, visit.scope.items.get(index)?.clone()))
    }

    /// The item that the visited node has come to.
    pub(super) fn item_index(&self) -> usize {
        self.visit.as_ref().map_or(0, |visit| visit.next)
    }

    /// Whether the world may be asked about several items of the visited node at once.
    pub(super) fn asks_at_once(&self) -> bool {
        self.visit.as_ref().is_some_and(|visit| {
            let node = visit.scope.node();
            node.kind.asks_at_once(&node.parameters)
        })
    }

    /// Keeps an answer until its item's turn has come.
    pub(super) fn keep_answer(&mut self, index: usize, answer: Result<Vec<(usize, Item)>, Fault>) {
        let visit = self.visit.as_mut().expect("only a visited node asks");
        visit.answers.insert(index, answer);
    }

    /// Whether an item has been answered already.
    pub(super) fn has_answer(&self, index: usize) -> bool {
        self.visit.as_ref().is_some_and(|visit| visit.answers.contains_key(&index))
    }

    /// The items of the visited node.
    pub(super) fn items(&self) -> &[Item] {
        self.visit.as_ref().map_or(&[], |visit| &visit.scope.items)
    }

    /// Whether the visited node is asked for each of its items.
    pub(super) fn is_asked_by_item(&self) -> bool {
        self.visit.as_ref().is_none_or(|visit| {
            visit.scope.node().parameters.get("mode").is_some_and(|mode| mode == "each")
        })
    }

    /// The pause is over.
    pub(super) fn resume(&mut self) {
        self.budget = Budget::FULL;
    }

    /// Visits the next node that waits; false when none does.
    fn enter(&mut self) -> bool {
        let graph = self.graph.clone();
        let (index, inputs, source) = loop {
            self.frames.force_parents(&graph, |node| self.memory.passes(node) > 0);
            let Some(Frame { node, arrivals }) = self.frames.next(&graph) else { return false };
            let once = graph.node(node).execute_once;
            let read = |(input, arrival): (usize, &Option<Arrival>)| {
                arrival.as_ref().map_or_else(Vec::new, |arrival| {
                    let count = if once { 1 } else { usize::MAX };
                    let items = arrival.items().iter().take(count).cloned().enumerate();
                    let origin = |item| Paired::One(Origin { item, input });
                    items.map(|(at, item)| Item { paired: origin(at), ..item }).collect()
                })
            };
            let inputs: Vec<Vec<Item>> = arrivals.iter().enumerate().map(read).collect();
            // A node without any item at all is not performed: its branch ends.
            if inputs.iter().any(|items| !items.is_empty()) {
                let first = arrivals.into_iter().next().flatten();
                break (node, inputs, first.map(|arrival| arrival.source));
            }
        };
        let inputs: Vec<Arc<Vec<Item>>> = inputs.into_iter().map(Arc::new).collect();
        let items = inputs.iter().find(|items| !items.is_empty()).cloned().unwrap_or_default();
        let node = graph.node(index);
        let scope = Arc::new(Scope {
            run: self.id,
            memory: self.memory.clone(),
            index,
            items,
            inputs: if node.inputs > 1 { inputs } else { Vec::new() },
            source,
            mode: self.mode,
            pass: self.memory.passes(index),
            graph: self.graph.clone(),
        });
        let outputs = vec![Vec::new(); node.outputs.len()];
        self.visit = Some(Visit {
            scope,
            next: 0,
            tries: 0,
            since_ms: self.now_ms,
            outputs,
            has_paused: false,
            fault: None,
            answers: BTreeMap::new(),
            prepared: BTreeMap::new(),
        });
        self.steps += 1;
        true
    }

    /// What the author has pinned to a node, where that counts.
    fn pinned(&self, index: NodeIndex) -> Option<Vec<Item>> {
        let pinned = self.graph.pinned.get(&index).filter(|_| self.mode == Mode::Manual)?;
        let fresh = |item: &Item| Item { paired: Paired::Unknown, lineage: None, ..item.clone() };
        Some(pinned.iter().map(fresh).collect())
    }

    fn ask(&mut self, scripts: &mut Scripts, now_ms: i64) -> Option<Step> {
        let visit = self.visit.as_mut().expect("a node is visited");
        let Some(item) = visit.scope.items.get(visit.next) else {
            let outputs = std::mem::take(&mut visit.outputs);
            return self.finish(outputs);
        };
        if let Some(answer) = visit.answers.remove(&visit.next) {
            return self.answer(answer, now_ms);
        }
        let (scope, item, next) = (visit.scope.clone(), item.clone(), visit.next);
        if scripts.place() == Place::Away {
            let last = next.saturating_add(visit.asked_about()).min(scope.items.len());
            for index in next..last {
                visit.prepared.insert(index, parameters(&scope, index, scripts, now_ms));
            }
        }
        let prepared = visit.prepared.get(&next).cloned();
        match prepared.unwrap_or_else(|| parameters(&scope, next, scripts, now_ms)) {
            Ok(parameters) => Some(Step::Ask { node: scope.index, parameters, item }),
            Err(fault) => self.fail(fault),
        }
    }

    /// A node that waits: its items go on when the time has come.
    fn pause(&mut self, scripts: &mut Scripts, now_ms: i64) -> Option<Step> {
        let visit = self.visit.as_mut().expect("a node is visited");
        if visit.has_paused {
            let mut outputs = std::mem::take(&mut visit.outputs);
            // Where nobody has called, the time is over.
            if outputs.iter().all(Vec::is_empty) {
                outputs = vec![visit.scope.items.to_vec()];
            }
            return self.finish(outputs);
        }
        let kind = visit.scope.node().kind.clone();
        let (scope, loops) = (visit.scope.clone(), &mut self.loops);
        let pause =
            kind.pause(&mut Work { scope: &scope, scripts, now_ms, loops, is_last_try: true });
        let step = pause.and_then(|pause| match pause {
            Pause::For(pause) => Ok(Step::Pause(pause)),
            Pause::Call(most) => {
                let parameters = parameters(&scope, 0, scripts, now_ms)?;
                Ok(Step::Await { parameters, most })
            }
        });
        match step {
            Ok(step) => {
                visit.has_paused = true;
                Some(step)
            }
            Err(fault) => self.fail(fault),
        }
    }

    fn perform(&mut self, scripts: &mut Scripts, now_ms: i64) -> Option<Step> {
        let visit = self.visit.as_ref().expect("a node is visited");
        let node = visit.scope.node();
        let kind = node.kind.clone();
        let is_last_try = node.retry.is_none_or(|retry| visit.tries + 1 >= retry.tries);
        let (scope, loops) = (visit.scope.clone(), &mut self.loops);
        match kind.perform(&mut Work { scope: &scope, scripts, now_ms, loops, is_last_try }) {
            Ok(outputs) => {
                drop(scope);
                // A node that swallowed its error has failed all the same, as long as it may try.
                if !is_last_try && gives_error(&outputs) {
                    let message = "the first item that the node gave is an error";
                    return self.fail(Fault::new("E-FLOW-TRY", message));
                }
                self.finish(outputs)
            }
            Err(fault) => self.fail(fault),
        }
    }

    /// A try has failed: there is another one, or the node says what failing means.
    fn fail(&mut self, fault: Fault) -> Option<Step> {
        let visit = self.visit.as_mut().expect("only a visited node fails");
        let node = visit.scope.graph.node(visit.scope.index);
        visit.tries += 1;
        visit.prepared.clear();
        if let Some(retry) = node.retry.filter(|retry| visit.tries < retry.tries) {
            return Some(Step::Pause(retry.pause));
        }
        if node.on_error == OnError::Stop {
            return Some(self.failed(fault));
        }
        let role = node.kind.role();
        let error_output = node.outputs.len().saturating_sub(1);
        if !matches!(role, Role::World | Role::Service) {
            // What a node could not handle item by item goes on unchanged, as in n8n.
            let outputs = vec![visit.scope.input(0).to_vec()];
            visit.fault = Some(fault);
            return self.finish(outputs);
        }
        // The outside has been asked item by item, and what it did for the earlier ones is done:
        // only the failed item takes the other way.
        let mut item = visit.scope.items[visit.next].clone();
        item.paired = Paired::with(visit.next);
        let mut output = 0;
        if node.on_error == OnError::ContinueError {
            let error = if role == Role::World {
                error_json(&fault, &node.name)
            } else {
                fault.message.as_str().into()
            };
            item.json_mut().insert("error".to_owned(), error);
            output = error_output;
        } else if role == Role::Service {
            let error = Object::from_iter([("error".to_owned(), fault.message.as_str().into())]);
            item.json = Arc::new(error.into());
        }
        visit.outputs.resize(visit.outputs.len().max(output + 1), Vec::new());
        visit.outputs[output].push(item);
        visit.fault = Some(fault);
        visit.next += 1;
        visit.tries = 0;
        None
    }

    fn failed(&mut self, fault: Fault) -> Step {
        let node = self.here();
        if let (Some(visit), Some(visited)) = (&self.visit, &mut self.visited) {
            visited.push(Visited {
                node: visit.scope.index,
                name: visit.scope.node().name.clone(),
                workflow: None,
                pass: visit.scope.pass,
                outputs: Arc::default(),
                fault: Some(fault.clone()),
                lasted_ms: (visit.since_ms, self.now_ms),
            });
        }
        Step::Ended(Finished::Failed { node, fault })
    }

    /// The visited node has given all it will give.
    fn finish(&mut self, mut outputs: Branches) -> Option<Step> {
        let count: usize = outputs.iter().map(Vec::len).sum();
        if count > ITEMS_MAX {
            let message = format!("{count} items at once, and at most {ITEMS_MAX} are handled");
            return Some(self.failed(Fault::new("E-FLOW-ITEMS", message)));
        }
        let Visit { scope, fault, since_ms, .. } =
            self.visit.take().expect("only a visited node finishes");
        let node = scope.node();
        let is_empty = outputs.first().is_none_or(Vec::is_empty);
        if node.always_output && is_empty {
            let all = scope.items.iter().flat_map(|item| item.paired.origins()).copied();
            outputs = vec![vec![Item { paired: Paired::Many(all.collect()), ..Item::default() }]];
        }
        link(&scope, &mut outputs);
        if node.on_error == OnError::ContinueError && fault.is_none() && node.outputs.len() > 1 {
            divert(&scope, &mut outputs);
        }
        let index = scope.index;
        let told = self.loops.context(index);
        drop(scope);
        if let Some(context) = told {
            Arc::make_mut(&mut self.memory).contexts.insert(index, context);
        }
        self.leave(index, outputs, fault, since_ms);
        None
    }

    /// Records what a node gave, and lets the nodes wait that it leads to.
    fn leave(&mut self, index: NodeIndex, outputs: Branches, fault: Option<Fault>, since_ms: i64) {
        // No outputs at all: the branch ends, and the node counts as not executed.
        if outputs.is_empty() {
            return;
        }
        let outputs = Arc::new(outputs);
        let pass = self.memory.passes(index);
        let is_kept = self.graph.is_asked_for(index);
        Arc::make_mut(&mut self.memory).record(index, &outputs, is_kept);
        if let Some(visited) = &mut self.visited {
            let (name, outputs) = (self.graph.node(index).name.clone(), outputs.clone());
            let lasted_ms = (since_ms, self.now_ms);
            let (node, workflow) = (index, None);
            visited.push(Visited { node, name, workflow, pass, outputs, fault, lasted_ms });
        }
        self.last = outputs.clone();
        self.frames.push(&self.graph, &outputs, |output| Source { node: index, output, pass });
    }
}
