//! Who is there: agents, what they are doing, and how many of a queue's agents are free.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::base::{Armed, Rng};

use super::free::Free;
use super::line::Line;
use super::types::{
    AGENTS_MAX, AgentId, AgentStanding, Choice, EntryId, OrderKey, Policy, QUEUES_MAX, QueueId,
    Refused,
};

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
    pub(super) free: Free,
    /// Place of the agent that was chosen last, for [`Choice::RoundRobin`].
    chosen: Option<usize>,
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
    /// Counts the turns that have ended.
    turns: u64,
}

#[derive(Debug, Default)]
pub(super) struct Agent {
    pub(super) is_online: bool,
    /// Has a leg, whatever for.
    pub(super) is_busy: bool,
    /// Has one that is more than the ringing of an offer.
    pub(super) is_calling: bool,
    pub(super) reserved_for: Option<EntryId>,
    /// After an offer that he let pass, or while his telephone may still ring though nobody hears
    /// it: not to be rung before the timer.
    pub(super) rest: Option<Armed>,
    pub(super) turn: Turn,
    /// With the place in the order of each.
    queues: BTreeMap<QueueId, usize>,
}

/// What an agent is chosen by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Turn {
    /// Calls, and offers that he let pass.
    pub(super) calls: u64,
    /// The number of the turn that he ended last; the smallest has been idle for longest.
    pub(super) ended: u64,
}

impl Agent {
    const fn is_free(&self) -> bool {
        self.is_online && !self.is_busy && self.reserved_for.is_none() && self.rest.is_none()
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
        for agent in std::mem::take(&mut queue.agents) {
            self.agents.entry(agent).or_default().queues.remove(&id);
        }
        (queue.online, queue.free, queue.chosen) = (0, Free::default(), None);
        for agent in agents {
            let known = self.agents.entry(agent).or_default();
            let place = queue.agents.len();
            if known.queues.contains_key(&id) {
                continue;
            }
            known.queues.insert(id, place);
            queue.agents.push(agent);
            queue.online += usize::from(known.is_online);
            if known.is_free() {
                queue.free.insert(place, known.turn);
            }
        }
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
        let was_online = agent.is_online;
        let before = agent.is_free().then_some(agent.turn);
        change(agent);
        let after = agent.is_free().then_some(agent.turn);
        if (was_online, before) == (agent.is_online, after) {
            return;
        }
        for (id, place) in &agent.queues {
            let queue = self.queues.get_mut(id).expect("an agent names only queues there are");
            queue.online = queue.online + usize::from(agent.is_online) - usize::from(was_online);
            if let Some(turn) = before {
                queue.free.remove(*place, turn);
            }
            if let Some(turn) = after {
                queue.free.insert(*place, turn);
            }
            if after.is_some() || queue.online == 0 {
                self.touched.insert(*id);
            }
        }
    }

    /// The agent's turn is over: he stands behind all who have been idle for longer.
    pub(super) fn end_turn(&mut self, id: AgentId) {
        self.turns += 1;
        let ended = self.turns;
        self.change(id, |agent| agent.turn.ended = ended);
    }

    /// What an agent is doing; whom no queue names is offline.
    pub(super) fn standing(&self, id: AgentId) -> AgentStanding {
        match self.agents.get(&id) {
            None => AgentStanding::Offline,
            Some(agent) if !agent.is_online => AgentStanding::Offline,
            Some(agent) if agent.reserved_for.is_some() => AgentStanding::Offered,
            Some(agent) if agent.is_busy => AgentStanding::Busy,
            Some(agent) if agent.rest.is_some() => AgentStanding::Resting,
            Some(_) => AgentStanding::Free,
        }
    }

    /// The agents of a queue that could be rung now, in the queue's order.
    pub(super) fn free_agents(&self, queue: QueueId) -> Vec<AgentId> {
        let queue = self.queue(queue);
        queue.free.places().map(|place| queue.agents[place]).collect()
    }

    /// One of the agents that could be rung now, but none of those who let the offer pass.
    pub(super) fn choose(
        &mut self,
        queue: QueueId,
        choice: Choice,
        passed: &[AgentId],
        rng: &mut Rng,
    ) -> Option<AgentId> {
        let queue = self.queue_mut(queue);
        let Queue { agents, free, chosen, .. } = queue;
        let may = |place: &usize| !passed.contains(&agents[*place]);
        let place = match choice {
            Choice::LongestIdle => free.longest_idle().find(may),
            Choice::RoundRobin => free.after(*chosen).find(may),
            Choice::FewestCalls => free.fewest_calls().find(may),
            Choice::Random => {
                let count = free.places().filter(may).count() as u64;
                free.places().filter(may).nth(rng.below(count) as usize)
            }
        }?;
        *chosen = Some(place);
        Some(agents[place])
    }

    pub(super) fn queue(&self, id: QueueId) -> &Queue {
        self.queues.get(&id).expect("entries stand in queues there are")
    }

    pub(super) fn queue_mut(&mut self, id: QueueId) -> &mut Queue {
        self.queues.get_mut(&id).expect("entries stand in queues there are")
    }
}

impl Queue {
    fn new(policy: Policy) -> Self {
        Self {
            agents: Vec::new(),
            policy,
            line: Line::new(),
            ready: BTreeSet::new(),
            untold: BTreeSet::new(),
            online: 0,
            free: Free::default(),
            chosen: None,
            completed: 0,
            waited_us: 0,
        }
    }

    pub(super) fn unready(&mut self, place: Place) {
        self.ready.remove(&place);
        self.untold.remove(&place);
    }
}
