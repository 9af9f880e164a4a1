//! Runs that a runner starts itself: workflows that others execute, and those that want to know of
//! errors.

use std::sync::Arc;

use crate::base::Tick;
use crate::flow::node::{self, SubRun};
use crate::flow::runner::{DEPTH_MAX, INNER, Runner};
use crate::flow::{Fault, Graph, Item, Object, RunId};

impl Runner {
    /// A node executes another workflow, or its own.
    pub(super) fn execute(&mut self, id: RunId, parameters: &Object, item: Item, now: Tick) {
        let now_ms = self.wall_ms(now);
        let running = self.runs.get(&id).expect("only a live run executes");
        let wanted = SubRun::read(parameters);
        let found = wanted.and_then(|wanted| {
            let graph = wanted.graph(running.run.graph(), &running.workflows)?;
            let trigger = node::sub_trigger(&graph)?;
            match running.depth < DEPTH_MAX && self.runs_left() {
                true => Ok((wanted, graph, trigger)),
                false => Err(Fault::new("E-FLOW-RUNS", "too many workflows execute one another")),
            }
        });
        let running = self.runs.get_mut(&id).expect("only a live run executes");
        let (wanted, graph, trigger) = match found {
            Ok(found) => found,
            Err(fault) => return self.answer_run(id, Err(fault), now),
        };
        let items = if wanted.is_each { vec![item] } else { running.run.items().to_vec() };
        let given = if wanted.is_each {
            Ok(vec![wanted.given(&items[0])])
        } else {
            // Each item gets what its author's inputs come to for it.
            let resolved = |index| running.run.resolved(index, &mut self.scripts, now_ms);
            let parameters = (0..items.len()).map(resolved).collect::<Result<Vec<_>, Fault>>();
            parameters.and_then(|all| {
                let each = all.iter().zip(&items);
                each.map(|(own, item)| Ok(SubRun::read(own)?.given(item))).collect()
            })
        };
        let given = match given {
            Ok(given) => given,
            Err(fault) => return self.answer_run(id, Err(fault), now),
        };
        self.inner += 1;
        let child = RunId(INNER | self.inner);
        self.gauges.started += 1;
        if wanted.waits {
            running.child = Some(child);
            self.begin(child, graph, trigger, vec![given], Some(id), now);
        } else {
            self.answer_run(id, Ok(items), now);
            self.begin(child, graph, trigger, vec![given], None, now);
        }
    }

    fn runs_left(&self) -> bool {
        self.runs.len() < self.config.runs_max
    }

    /// Answers a node that executed a workflow.
    pub(super) fn answer_run(&mut self, id: RunId, answer: Result<Vec<Item>, Fault>, now: Tick) {
        let now_ms = self.wall_ms(now);
        let Some(running) = self.runs.get_mut(&id) else { return };
        running.child = None;
        let is_each = running.run.is_asked_by_item();
        let answered = match answer {
            Ok(items) if is_each => {
                let given = items.into_iter().map(|item| (0, item)).collect();
                running.run.answer(Ok(given), now_ms)
            }
            Ok(items) => running.run.answer_all(items),
            Err(fault) => running.run.answer(Err(fault), now_ms),
        };
        match answered {
            Some(step) => self.on_step(id, step, now),
            None => self.drive(id, now),
        }
    }

    /// Starts the workflow that wants to know of errors of this one.
    pub(super) fn tell_error(
        &mut self,
        id: RunId,
        graph: &Arc<Graph>,
        node: Option<&str>,
        fault: &Fault,
        now: Tick,
    ) {
        let other = graph.error_workflow().and_then(|id| self.workflows.get(id));
        let told = other.unwrap_or(graph).clone();
        let trigger = told.triggers().find(|(_, node)| node::is_error_trigger(node));
        let Some((trigger, _)) = trigger.filter(|_| self.runs_left()) else { return };
        let item = Item::new(node::error_payload(id, graph, node, fault));
        self.inner += 1;
        let run = RunId(INNER | self.inner);
        self.gauges.started += 1;
        self.begin(run, told, trigger, vec![vec![item]], None, now);
    }
}
