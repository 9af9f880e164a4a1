//! Active workflows: taken on at the start, and exchanged while calls go on.
//!
//! A workflow is known by its name, a trigger by its workflow, its kind and its ref. What keeps its
//! name keeps what it has: contacts, bindings at trunks, callers in line, promises. A call goes on
//! under the flow that it began with; what is gone takes nothing new.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::base::Tick;
use crate::call::site::Login;
use crate::call::switch::trunk::unregistrable;
use crate::call::switch::{Output, Switch};
use crate::call::trigger::{Kind, Trigger};
use crate::flow::{Graph, Input};

/// Names of workflows that one process has ever run; a reload that would have more is refused.
pub const WORKFLOWS_MAX: usize = 10_000;

/// What a reload changed, in words for an operator.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Names of the workflows that are active now.
    pub workflows: Vec<String>,
    /// Which version of each it is.
    pub versions: Vec<String>,
    /// What was not there before.
    pub came: Vec<String>,
    /// What is not there any more, and what becomes of those who use it.
    pub went: Vec<String>,
}

/// Why the workflows of before stay in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotReloaded {
    /// The server is on its way out.
    Draining,
    /// Trunks that are to be registered, and what is missing for each.
    Trunks(Vec<String>),
    /// More names of workflows, queues or agents than a process may have seen.
    TooMany,
}

impl fmt::Display for NotReloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Draining => f.write_str("the server is shutting down"),
            Self::Trunks(missing) => f.write_str(&missing.join("\n")),
            Self::TooMany => f.write_str(
                "this process has seen too many names of workflows, queues and agents: restart it",
            ),
        }
    }
}

impl std::error::Error for NotReloaded {}

impl Switch {
    /// Adds a checked workflow; its triggers answer calls from now on. For the start: before the
    /// first call.
    pub fn add_workflow(&mut self, graph: Graph) {
        let mut graphs = self.active.clone();
        graphs.push(Arc::new(graph));
        self.set_workflows(graphs, Tick::ZERO);
    }

    /// From now on these checked workflows are active, and no others. Calls go on under the flow
    /// that they began with.
    ///
    /// # Errors
    ///
    /// Nothing has changed: the workflows of before stay in force.
    pub fn reload(&mut self, graphs: Vec<Arc<Graph>>, now: Tick) -> Result<Reloaded, NotReloaded> {
        if self.is_draining {
            return Err(NotReloaded::Draining);
        }
        let numbers = self.numbers_of(&graphs);
        if numbers.iter().any(|number| *number >= WORKFLOWS_MAX) {
            return Err(NotReloaded::TooMany);
        }
        let wanted = self.triggers_of(&graphs, &numbers);
        let missing = unregistrable(&wanted, &self.config);
        if !missing.is_empty() {
            return Err(NotReloaded::Trunks(missing));
        }
        if !self.has_room_for_queues(&graphs, &numbers) {
            return Err(NotReloaded::TooMany);
        }
        let before = self.inventory();
        let queues = self.active_queues();
        let gone = self.set_workflows(graphs.clone(), now);
        let after = self.inventory();
        let missing = |of: &BTreeSet<String>, other: &BTreeSet<String>| {
            of.difference(other).cloned().collect::<Vec<_>>()
        };
        let mut went = missing(&before, &after);
        went.extend(gone.iter().map(account_in_words));
        let (came_queues, gone_queues) = self.settle_queues(&queues, now);
        went.extend(gone_queues);
        let mut came = missing(&after, &before);
        came.extend(came_queues);
        self.outputs.push_back(Output::Flow(Input::Workflows(graphs)));
        self.drain_endpoint(now);
        let workflows = self.active.iter().map(|graph| graph.name().to_owned()).collect();
        let versions = self.active.iter().map(|graph| graph.version().to_string()).collect();
        Ok(Reloaded { workflows, versions, came, went })
    }

    /// Exchanges triggers, accounts, registrations and queues; gives the accounts that have gone.
    fn set_workflows(&mut self, graphs: Vec<Arc<Graph>>, now: Tick) -> Vec<Login> {
        let numbers = self.numbers_of(&graphs);
        for (graph, number) in graphs.iter().zip(&numbers) {
            if *number >= self.workflows.len() {
                self.workflows.resize(*number + 1, Arc::default());
                self.versions.resize(*number + 1, Arc::default());
            }
            self.workflows[*number] = graph.name().into();
            self.versions[*number] = graph.version().clone();
        }
        let after = self.triggers_of(&graphs, &numbers);
        let before = std::mem::replace(&mut self.triggers, after);
        let place = |old: &Trigger| self.triggers.iter().position(|new| new.is_same(old));
        let places = before.iter().map(place).collect::<Vec<_>>();
        let gone = self.site.set_triggers(&self.triggers, &places);
        self.drain_site(now);
        for (workflow, number) in self.site.take_gone() {
            self.on_extension_online(workflow, &number, false, now);
        }
        self.set_trunks(now);
        self.move_inquiries(&places, now);
        self.move_record_requests(&places);
        self.set_queues(&graphs, &numbers);
        self.active = graphs;
        gone
    }

    fn triggers_of(&self, graphs: &[Arc<Graph>], numbers: &[usize]) -> Vec<Trigger> {
        let numbered = graphs.iter().zip(numbers);
        let triggers =
            numbered.flat_map(|(graph, number)| Trigger::of(graph, *number, &self.config.trunks));
        triggers.collect()
    }

    /// The number of each workflow. A name keeps its number for the life of the process; of two of
    /// one name each has its own.
    fn numbers_of(&self, graphs: &[Arc<Graph>]) -> Vec<usize> {
        let mut taken = BTreeSet::new();
        let mut fresh = self.workflows.len()..;
        let mut number = |graph: &Arc<Graph>| {
            let known =
                self.workflows.iter().enumerate().filter(|(_, name)| ***name == *graph.name());
            let known = known.map(|(number, _)| number).find(|number| !taken.contains(number));
            let number = known.or_else(|| fresh.next()).unwrap_or(usize::MAX);
            taken.insert(number);
            number
        };
        graphs.iter().map(&mut number).collect()
    }

    /// Workflows, trunks and groups of extensions that are active, in words.
    fn inventory(&self) -> BTreeSet<String> {
        let workflows = self.active.iter().map(|graph| format!("workflow {}", graph.name()));
        let triggers = self.triggers.iter().map(|trigger| {
            let kind = match trigger.kind {
                Kind::FixedTrunk { .. }
                | Kind::RegisteredTrunk { .. }
                | Kind::DynamicTrunk { .. } => "trunk",
                Kind::Extensions { .. } => "extensions",
            };
            format!("{kind} {} of {}", trigger.reference, trigger.graph.name())
        });
        workflows.chain(triggers).collect()
    }
}

fn account_in_words(login: &Login) -> String {
    let user = &login.credentials.username;
    match &login.extension {
        Some(extension) => format!("extension {extension}, user {user}: not registered any more"),
        None => format!("the user {user} of a trunk: not registered any more"),
    }
}
