//! Runs of a simulated server that no call starts: those of schedules, and those that a story asks
//! for, as a webhook would.

use std::sync::Arc;

use crate::base::Tick;
use crate::flow::{Graph, Input, Item, RunId, Schedules};

/// Ids of such runs begin here, above those of calls.
const FIRST: u64 = 1_000_000_000_000;

/// The workflows of a world, which began with the Unix epoch.
#[derive(Debug)]
pub(super) struct OwnRuns {
    workflows: Vec<Arc<Graph>>,
    schedules: Schedules,
    next: u64,
}

impl OwnRuns {
    pub(super) fn new(flows: &[Graph]) -> Self {
        let workflows: Vec<Arc<Graph>> = flows.iter().cloned().map(Arc::new).collect();
        let schedules = Schedules::new(workflows.iter(), 0);
        Self { workflows, schedules, next: FIRST }
    }

    /// When the next schedule is due.
    pub(super) fn due(&self) -> Option<Tick> {
        self.schedules.next().map(|due| Tick::from_millis(u64::try_from(due).unwrap_or(0)))
    }

    /// The run of a schedule that is due.
    pub(super) fn take_due(&mut self, now: Tick) -> Option<Input> {
        let next = &mut self.next;
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        self.schedules.take_due(now_ms, || fresh(next))
    }

    /// A run that begins with a trigger of this name; `None` when no flow has one.
    pub(super) fn start(&mut self, trigger: &str, item: Item) -> Option<Input> {
        let found = |graph: &Arc<Graph>| Some((graph.clone(), graph.find(trigger)?));
        let (graph, trigger) = self.workflows.iter().find_map(found)?;
        let (run, outputs) = (fresh(&mut self.next), vec![vec![item]]);
        Some(Input::Start { run, graph, trigger, outputs })
    }
}

fn fresh(next: &mut u64) -> RunId {
    *next += 1;
    RunId(*next)
}
