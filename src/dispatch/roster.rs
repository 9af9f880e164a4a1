//! Who is there: agents, what they are doing, and how many of a queue's agents are free.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::line::Line;
use super::types::{AGENTS_MAX, AgentId, EntryId, OrderKey, Policy, QUEUES_MAX, QueueId, Refused};

/// What an entry is sorted by; the id only tells apart keys that came back from another life.
pub(super) type Place = (OrderKey, EntryId);

#[derive(Debug)]
pub(super) struct Queue {
    pub(super) agents: Vec<AgentId>,
    pub(super) policy: Policy,
    /// Every entry of the queue, in order.
    pub(super) line: Line<Place>,
    /// Those that the next free agent is for.
    pub(super) ready: BTreeSet<Place>,
    /// Those of them that have not heard yet that nobody is online.
    pub(super) untold: BTreeSet<Place>,
    pub(super) online: usize,
    pub(super) free: usize,
    pub(super) completed: u64,
    pub(super) waited_us: u64,
}

/// Agents and queues, and the counts that tie them together.
#[derive(Debug, Default)]
pub(super) struct Roster {
    agents: HashMap<AgentId, Agent>,
    pub(super) queues: BTreeMap<QueueId, Queue>,
    /// Queues where an agent became free or the last one left; to be settled before the input is
    /// over.
    pub(super) touched: BTreeSet<QueueId>,
}

#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) is_online: bool,
    /// Has a leg, whatever for.
    pub(super) is_busy: bool,
    pub(super) reserved_for: Option<EntryId>,
    queues: BTreeSet<QueueId>,
}

impl Agent {
    fn is_free(&self) -> bool {
        self.is_online && !self.is_busy && self.reserved_for.is_none()
    }
}

impl Roster {
    /// Adds a queue, or gives it other agents and limits.
    pub(super) fn set_queue(
        &mut self,
        id: QueueId,
        agents: Vec<AgentId>,
        policy: Policy,
    ) -> Result<(), Refused> {
        let new = agents.iter().filter(|agent| !self.agents.contains_key(agent)).count();
        let is_new = !self.queues.contains_key(&id);
        if self.agents.len() + new > AGENTS_MAX || is_new && self.queues.len() >= QUEUES_MAX {
            return Err(Refused::TooMany);
        }
        let queue = self.queues.entry(id).or_insert_with(|| Queue::new(policy));
        queue.policy = policy;
        let (mut online, mut free) = (0, 0);
        for agent in std::mem::take(&mut queue.agents) {
            self.agents.entry(agent).or_default().queues.remove(&id);
        }
        for agent in agents {
            let known = self.agents.entry(agent).or_default();
            if known.queues.insert(id) {
                online += usize::from(known.is_online);
                free += usize::from(known.is_free());
                queue.agents.push(agent);
            }
        }
        (queue.online, queue.free) = (online, free);
        self.touched.insert(id);
        Ok(())
    }

    /// Takes a queue away; its entries must have ended.
    pub(super) fn remove_queue(&mut self, id: QueueId) {
        let Some(queue) = self.queues.remove(&id) else { return };
        self.touched.remove(&id);
        for agent in queue.agents {
            self.agents.entry(agent).or_default().queues.remove(&id);
        }
    }

    /// The one way an agent changes, so that the counts of its queues always hold.
    pub(super) fn change(&mut self, id: AgentId, change: impl FnOnce(&mut Agent)) {
        if self.agents.len() >= AGENTS_MAX && !self.agents.contains_key(&id) {
            return;
        }
        let agent = self.agents.entry(id).or_default();
        let before = (agent.is_online, agent.is_free());
        change(agent);
        let after = (agent.is_online, agent.is_free());
        if before == after {
            return;
        }
        for id in &agent.queues {
            let queue = self.queues.get_mut(id).expect("an agent names only queues there are");
            queue.online = queue.online + usize::from(after.0) - usize::from(before.0);
            queue.free = queue.free + usize::from(after.1) - usize::from(before.1);
            if after.1 || queue.online == 0 {
                self.touched.insert(*id);
            }
        }
    }

    /// The agents of a queue that could be rung now, in the queue's order.
    pub(super) fn free_agents(&self, queue: &Queue) -> Vec<AgentId> {
        let is_free = |id: &&AgentId| self.agents.get(id).is_some_and(Agent::is_free);
        queue.agents.iter().filter(is_free).copied().collect()
    }

    pub(super) fn queue(&self, id: QueueId) -> &Queue {
        self.queues.get(&id).expect("entries stand in queues there are")
    }

    pub(super) fn queue_mut(&mut self, id: QueueId) -> &mut Queue {
        self.queues.get_mut(&id).expect("entries stand in queues there are")
    }
}

impl Queue {
    const fn new(policy: Policy) -> Self {
        Self {
            agents: Vec::new(),
            policy,
            line: Line::new(),
            ready: BTreeSet::new(),
            untold: BTreeSet::new(),
            online: 0,
            free: 0,
            completed: 0,
            waited_us: 0,
        }
    }

    pub(super) fn unready(&mut self, place: Place) {
        self.ready.remove(&place);
        self.untold.remove(&place);
    }
}
