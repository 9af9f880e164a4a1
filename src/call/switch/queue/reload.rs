//! Queues of the active workflows: taken on, kept with all who are in them, or retired.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Log, Queue, queue_key};
use crate::base::Tick;
use crate::call::node::operation::words;
use crate::call::switch::Switch;
use crate::dispatch::{AGENTS_MAX, AgentId, EntryId, Policy, QUEUES_MAX, QueueId};
use crate::flow::{Graph, NodeIndex};

/// The queue triggers of a workflow with their refs.
pub(super) fn queue_triggers(graph: &Graph) -> impl Iterator<Item = (NodeIndex, &str)> {
    graph.triggers().filter_map(|(node, described)| {
        let text = |key: &str| described.parameters.get(key).and_then(Value::as_str);
        text("ref").filter(|_| text("triggerOn") == Some("queue")).map(|name| (node, name))
    })
}

/// The numbers of the agents of a queue.
fn agents_of(graph: &Graph, node: NodeIndex) -> Vec<String> {
    words(graph.node(node).parameters.get("queueExtensions"))
}

impl Switch {
    /// Takes on the queues of these workflows, and retires all others. A queue that stays keeps its
    /// entries; offers that are under way stay as they are.
    pub(in crate::call::switch) fn set_queues(&mut self, graphs: &[Arc<Graph>], numbers: &[usize]) {
        for queue in &mut self.queues.queues {
            queue.is_active = false;
        }
        for (graph, workflow) in graphs.iter().zip(numbers) {
            for (node, reference) in queue_triggers(graph) {
                let id = self.take_on_queue(graph, *workflow, node, reference);
                let agents = agents_of(graph, node).into_iter();
                let agents = agents.map(|number| self.agent_id(*workflow, number)).collect();
                let settings = self.queue_settings(reference).clone();
                let key = queue_key(graph.name(), reference);
                self.promises.set_policy(key, settings.policy.clone());
                // The book says when a promise ends; a place is not given up before.
                let expiry = settings.policy.stands_max();
                let policy = Policy { callback_expiry: expiry, ..Policy::DEFAULT };
                let set = self.queues.dispatcher.set_queue(id, agents, policy);
                set.expect("queues and agents were counted before, or are those of the start");
            }
        }
    }

    fn take_on_queue(
        &mut self,
        graph: &Arc<Graph>,
        workflow: usize,
        node: NodeIndex,
        reference: &str,
    ) -> QueueId {
        let known = self.queues.place_of(workflow, reference);
        let id = known.unwrap_or(QueueId(self.queues.queues.len() as u64));
        let log = match known {
            Some(id) => std::mem::take(&mut self.queues.queues[id.0 as usize].log),
            None => Log::default(),
        };
        let (graph, reference) = (graph.clone(), reference.to_owned());
        let queue = Queue { workflow, reference, graph, node, is_active: true, log };
        match known {
            Some(id) => self.queues.queues[id.0 as usize] = queue,
            None => self.queues.queues.push(queue),
        }
        id
    }

    /// The agent of this number; one that nobody has named before is looked for.
    fn agent_id(&mut self, workflow: usize, number: String) -> AgentId {
        if let Some(known) = self.queues.agent(workflow, &number) {
            return known;
        }
        let id = AgentId(self.queues.agents.len() as u64);
        let is_online = !self.extension_targets(workflow, &number).is_empty();
        let is_busy = self.is_extension_busy(workflow, &number);
        self.queues.by_extension.entry(number.clone()).or_default().push((workflow, id));
        self.queues.agents.push((workflow, number));
        self.queues.dispatcher.set_busy(id, is_busy);
        self.queues.dispatcher.set_online(id, is_online);
        id
    }

    /// Whether the queues and agents of these workflows may be added to those that there have been.
    pub(in crate::call::switch) fn has_room_for_queues(
        &self,
        graphs: &[Arc<Graph>],
        numbers: &[usize],
    ) -> bool {
        let (mut queues, mut agents) = (BTreeSet::new(), BTreeSet::new());
        for (graph, workflow) in graphs.iter().zip(numbers) {
            for (node, reference) in queue_triggers(graph) {
                queues.insert((*workflow, reference));
                agents.extend(agents_of(graph, node).into_iter().map(|number| (*workflow, number)));
            }
        }
        queues.retain(|(workflow, name)| self.queues.place_of(*workflow, name).is_none());
        agents.retain(|(workflow, number)| self.queues.agent(*workflow, number).is_none());
        self.queues.queues.len() + queues.len() <= QUEUES_MAX
            && self.queues.agents.len() + agents.len() <= AGENTS_MAX
    }

    /// The active queues.
    pub(in crate::call::switch) fn active_queues(&self) -> BTreeSet<QueueId> {
        let all = (0..self.queues.queues.len() as u64).map(QueueId);
        all.filter(|queue| self.queues.is_active(*queue)).collect()
    }

    /// After an exchange of workflows: callbacks leave the queues that were retired, and wait for one
    /// of that name. Says in words which queues have come since `before`, and which have gone.
    pub(in crate::call::switch) fn settle_queues(
        &mut self,
        before: &BTreeSet<QueueId>,
        now: Tick,
    ) -> (Vec<String>, Vec<String>) {
        let after = self.active_queues();
        let name = |switch: &Self, queue: QueueId| {
            let queue = &switch.queues.queues[queue.0 as usize];
            format!("queue {} of {}", queue.reference, queue.graph.name())
        };
        let came = after.difference(before).map(|queue| name(self, *queue)).collect();
        let mut went = Vec::new();
        for queue in before.difference(&after).copied() {
            let own = self.queues.cards.iter().filter(|(_, card)| card.queue == queue);
            let (live, callbacks): (Vec<_>, Vec<_>) = own.partition(|(_, card)| card.leg.is_some());
            went.push(format!(
                "{}: {} on the line are served, {} callback(s) wait until it is back",
                name(self, queue),
                live.len(),
                callbacks.len(),
            ));
            for entry in callbacks.into_iter().map(|(entry, _)| *entry).collect::<Vec<_>>() {
                self.shelve_if_retired(entry);
            }
        }
        self.drain_queues(now);
        (came, went)
    }

    /// A callback in a queue that no active workflow has leaves it; its promise stays due.
    pub(super) fn shelve_if_retired(&mut self, entry: EntryId) {
        let queue = self.queues.dispatcher.queue_of(entry);
        if queue.is_some_and(|queue| !self.queues.is_active(queue)) {
            // One that an agent has just taken is no entry any more.
            let _ = self.queues.dispatcher.cancel(entry);
        }
    }
}
