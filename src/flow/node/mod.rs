//! Node types: what a type of node says about itself, and the catalogue of those known.

mod aggregate;
mod code;
mod condition;
mod date_time;
mod error_trigger;
mod execute_workflow;
mod http_body;
mod http_page;
mod http_request;
mod http_response;
mod if_else;
mod limit;
mod loops;
mod manual_trigger;
mod merge;
mod no_op;
mod path;
mod schedule;
mod set;
mod split_out;
mod sticky_note;
mod stop_and_error;
mod switch;
mod wait;
mod webhook;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::base::push_few;
use crate::flow::expr::{Current, Scripts};
use crate::flow::memory::Scope;
use crate::flow::problem::nearest;
use crate::flow::{Fault, Findings, Item, Mode, NodeIndex, Object, OnError, Paired};
pub(super) use error_trigger::{error_payload, is_error_trigger};
pub(super) use execute_workflow::{SubRun, is_execute_workflow, sub_trigger, without_origin};
pub use http_page::Page;
pub(super) use http_page::{Next, Pages, is_wanted as wants_pages};
pub use http_request::{HTTP_REQUEST, HttpRequest};
pub use http_response::HttpResponse;
use loops::Batches;
pub use schedule::Schedules;
pub use wait::WAIT;
pub use webhook::{RESPOND, WEBHOOK};

/// The items that a node gives, by output.
pub type Branches = Vec<Vec<Item>>;

/// Who performs the nodes of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Starts runs; within a run it gives what it was started with.
    Trigger,
    /// Performed here, at once, by [`NodeType::perform`].
    Core,
    /// Performed by the world of telephony, item after item, by an ask and its answer.
    World,
    /// Performed by other parts of the server, item after item, by an ask and its answer.
    Service,
    /// Hands its items on after what [`NodeType::pause`] tells.
    Pause,
    /// A remark on the canvas; nothing is performed.
    Note,
}

/// A type of node: what exports leave out, which outputs it has, what may be wrong with it.
pub trait NodeType: Send + Sync {
    /// The type's name in exports, such as `n8n-nodes-base.noOp`.
    fn name(&self) -> &'static str;

    /// The values of `typeVersion` that are understood, ascending.
    fn versions(&self) -> &'static [f64];

    /// Who performs it.
    fn role(&self) -> Role;

    /// Top-level parameter keys, after [`Self::fill`]; any other is reported. Empty: not checked.
    fn keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Parameters that are scripts of their own, and no expressions.
    fn code_keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether the world may be asked about several of a node's items at the same time.
    fn asks_at_once(&self, parameters: &Object) -> bool {
        let _ = parameters;
        false
    }

    /// A parameter, as an option of another, that is resolved when its time has come and not with
    /// the others: it speaks of what is not there yet.
    fn late(&self) -> Option<(&'static str, &'static str)> {
        None
    }

    /// Whether it is performed in microseconds, its expressions apart, and needs nobody but
    /// telephony: a run of such nodes can be made where calls are handled. Parameters are
    /// unresolved.
    fn is_quick(&self, parameters: &Object) -> bool {
        let _ = parameters;
        matches!(self.role(), Role::World | Role::Note)
    }

    /// Fills in what exports leave out, and moves old keys to their new names, with a note each.
    fn fill(&self, version: f64, parameters: &mut Object, report: &mut Findings) {
        let _ = (version, parameters, report);
    }

    /// Which parameters have a meaning only while another has a certain value. What is hidden is
    /// no part of the flow: the editor does not show it, and nothing is to come of it.
    fn shown_while(&self, version: f64) -> &'static [Shown] {
        let _ = version;
        &[]
    }

    /// Whether items that leave it came the way that they know themselves, not from its input:
    /// a loop gives at its end what it was given on many visits.
    fn keeps_lineage(&self) -> bool {
        false
    }

    /// How many inputs it has.
    fn inputs(&self, version: f64, parameters: &Object) -> usize {
        let _ = (version, parameters);
        1
    }

    /// How many of its inputs have to have items before it can be performed.
    fn inputs_needed(&self, version: f64, parameters: &Object) -> usize {
        let _ = (version, parameters);
        1
    }

    /// Labels of its outputs in order, without the error output. Parameters are unresolved.
    fn outputs(&self, version: f64, parameters: &Object) -> Vec<String> {
        let _ = (version, parameters);
        vec!["main".to_owned()]
    }

    /// Reports what is wrong with the parameters, which are filled and unresolved.
    fn check(&self, version: f64, parameters: &Object, report: &mut Findings) {
        let _ = (version, parameters, report);
    }

    /// Performs a [`Role::Core`] node. No outputs at all end the branch as if the node had never
    /// run; an empty output is a result that leads nowhere.
    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        Ok(vec![work.items().to_vec()])
    }

    /// What a [`Role::Pause`] node waits for.
    fn pause(&self, work: &mut Work<'_>) -> Result<Pause, Fault> {
        let _ = work;
        Ok(Pause::For(Duration::ZERO))
    }
}

/// What a node waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Some time.
    For(Duration),
    /// A call from outside, which the world is asked for; at most so long, if there is a limit.
    Call(Option<Duration>),
}

/// A parameter that is shown only while another one has one of these values.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// The parameter.
    pub key: &'static str,
    /// The other one.
    pub by: &'static str,
    /// What the other one is when the export leaves it out.
    pub standard: &'static str,
    /// Its values, as text; none: the parameter is one of other versions.
    pub values: &'static [&'static str],
}

/// A rule as the types write it.
const fn shown(
    key: &'static str,
    by: &'static str,
    standard: &'static str,
    values: &'static [&'static str],
) -> Shown {
    Shown { key, by, standard, values }
}

/// A parameter that a version does not have.
const fn never(key: &'static str) -> Shown {
    Shown { key, by: "", standard: "", values: &[] }
}

/// What a core node is performed with.
pub struct Work<'a> {
    pub(super) scope: &'a Arc<Scope>,
    pub(super) scripts: &'a mut Scripts,
    pub(super) now_ms: i64,
    pub(super) loops: &'a mut Loops,
    /// A failure now is for good.
    pub(super) is_last_try: bool,
}

/// What nodes keep from one visit to the next within a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Loops {
    pub(super) batches: BTreeMap<NodeIndex, Arc<Batches>>,
}

impl Loops {
    /// What a node tells of itself to expressions.
    pub(super) fn context(&self, node: NodeIndex) -> Option<Arc<Object>> {
        self.batches.get(&node).map(|batches| Arc::new(batches.context()))
    }
}

/// What an item that leaves a telephony node by its error output carries as `error`.
pub(super) fn error_json(fault: &Fault, node: &str) -> Value {
    json!({ "code": fault.code, "message": fault.message, "node": node })
}

impl Work<'_> {
    /// The input items; never empty.
    pub fn items(&self) -> &[Item] {
        &self.scope.items
    }

    /// How many inputs the node waits for.
    pub fn inputs(&self) -> usize {
        self.scope.inputs.len().max(1)
    }

    /// The items of one input.
    pub fn input(&self, input: usize) -> &[Item] {
        self.scope.input(input)
    }

    /// `typeVersion` of the node.
    pub fn version(&self) -> f64 {
        self.scope.node().version
    }

    /// The node's parameters with expressions still text.
    pub fn unresolved(&self) -> &Object {
        &self.scope.node().parameters
    }

    /// How many outputs the node has, without the error output.
    pub fn outputs(&self) -> usize {
        let node = self.scope.node();
        node.error_output().unwrap_or(node.outputs.len())
    }

    /// The node's parameters, resolved for the item at `index`.
    pub fn parameters(&mut self, index: usize) -> Result<Arc<Object>, Fault> {
        parameters(self.scope, index, self.scripts, self.now_ms)
    }
}

impl Work<'_> {
    /// Sends each item on by the outputs that `decide` names. A failed item of a node that goes on
    /// after errors takes the way that its author chose, and the others are not touched.
    pub(super) fn route(
        &mut self,
        mut decide: impl FnMut(&mut Self, &Object, usize) -> Result<Vec<usize>, Fault>,
    ) -> Result<Branches, Fault> {
        let mut branches = vec![Vec::new(); self.scope.node().outputs.len()];
        for index in 0..self.items().len() {
            let parameters = self.parameters(index);
            match parameters.and_then(|parameters| decide(self, &parameters, index)) {
                Ok(outputs) => {
                    for output in outputs {
                        push_few(&mut branches[output], self.items()[index].clone());
                    }
                }
                Err(fault) => self.give_up(&mut branches, fault, index)?,
            }
        }
        Ok(branches)
    }

    /// Whether a text matches a pattern, bare or as `/pattern/flags`: JavaScript's, so that it is
    /// the script engine that answers.
    pub(super) fn matches(
        &mut self,
        text: &str,
        pattern: &str,
        item: usize,
    ) -> Result<bool, Fault> {
        let current = Current { scope: self.scope.clone(), item, now_ms: self.now_ms };
        self.scripts.matches(text, pattern, &current)
    }

    /// The result of a script of the author's, as JSON.
    pub(super) fn run_code(
        &mut self,
        code: &Arc<str>,
        item: usize,
        is_each: bool,
    ) -> Result<Value, Fault> {
        let current = Current { scope: self.scope.clone(), item, now_ms: self.now_ms };
        self.scripts.run_code(code, is_each, &current)
    }

    /// What a function of the prelude makes of this.
    pub(super) fn call(
        &mut self,
        function: &'static str,
        argument: Value,
        item: usize,
    ) -> Result<Value, Fault> {
        let current = Current { scope: self.scope.clone(), item, now_ms: self.now_ms };
        self.scripts.call(function, &argument, &current)
    }

    /// Whether the run was started by hand.
    pub(super) fn is_manual(&self) -> bool {
        self.scope.mode == Mode::Manual
    }

    /// A parameter in which the values of scripts stand in the text as JSON; `None` where it is one
    /// script alone, or none.
    pub(super) fn spliced(&mut self, key: &str, item: usize) -> Result<Option<String>, Fault> {
        let current = Current { scope: self.scope.clone(), item, now_ms: self.now_ms };
        match &self.scope.node().plan {
            Some(plan) => self.scripts.spliced(plan, key, &current),
            None => Ok(None),
        }
    }

    /// The whole node failed: one item says so, where its author wants to go on.
    pub(super) fn give_up_all(&self, fault: Fault) -> Result<Branches, Fault> {
        let mut branches = vec![Vec::new(); self.scope.node().outputs.len()];
        self.give_up(&mut branches, fault, 0)?;
        Ok(branches)
    }

    fn give_up(&self, branches: &mut Branches, fault: Fault, index: usize) -> Result<(), Fault> {
        let node = self.scope.node();
        // A node that is tried again is tried as a whole.
        if !self.is_last_try {
            return Err(fault);
        }
        match node.on_error {
            OnError::Stop => return Err(fault),
            OnError::ContinueRegular => {
                let json = Object::from_iter([("error".to_owned(), fault.message.into())]);
                branches[0].push(Item::made_from(json, index));
            }
            OnError::ContinueError => {
                let mut item = self.items()[index].clone();
                item.paired = Paired::with(index);
                item.json_mut().insert("error".to_owned(), fault.message.into());
                branches[node.outputs.len() - 1].push(item);
            }
        }
        Ok(())
    }
}

/// The parameters of the visited node, resolved for one of its items.
pub(super) fn parameters(
    scope: &Arc<Scope>,
    item: usize,
    scripts: &mut Scripts,
    now_ms: i64,
) -> Result<Arc<Object>, Fault> {
    let node = scope.node();
    match &node.plan {
        None => Ok(node.parameters.clone()),
        Some(plan) => {
            let current = Current { scope: scope.clone(), item, now_ms };
            scripts.resolve(plan, &current)
        }
    }
}

/// The node types that workflows may use.
#[derive(Clone)]
pub struct Catalogue {
    types: BTreeMap<&'static str, Arc<dyn NodeType>>,
}

impl Catalogue {
    /// The core types.
    pub fn core() -> Self {
        Self { types: BTreeMap::new() }.with(vec![
            Box::new(aggregate::Aggregate),
            Box::new(code::Code),
            Box::new(date_time::DateTime),
            Box::new(error_trigger::ErrorTrigger),
            Box::new(execute_workflow::ExecuteWorkflow),
            Box::new(execute_workflow::ExecuteWorkflowTrigger),
            Box::new(http_request::HttpRequestNode),
            Box::new(if_else::If),
            Box::new(if_else::Filter),
            Box::new(limit::Limit),
            Box::new(loops::SplitInBatches),
            Box::new(manual_trigger::ManualTrigger),
            Box::new(merge::Merge),
            Box::new(no_op::NoOp),
            Box::new(schedule::ScheduleTrigger),
            Box::new(set::Set),
            Box::new(split_out::SplitOut),
            Box::new(sticky_note::StickyNote),
            Box::new(stop_and_error::StopAndError),
            Box::new(switch::Switch),
            Box::new(wait::Wait),
            Box::new(webhook::RespondToWebhook),
            Box::new(webhook::Webhook),
        ])
    }

    /// These types too; one with a name that is known already takes its place.
    #[must_use]
    pub fn with(mut self, types: Vec<Box<dyn NodeType>>) -> Self {
        self.types.extend(types.into_iter().map(|kind| (kind.name(), Arc::from(kind))));
        self
    }

    /// The type with this name.
    pub fn find(&self, name: &str) -> Option<&Arc<dyn NodeType>> {
        self.types.get(name)
    }

    /// The known name that is most like this one: of the same package first, by what stands
    /// behind its last dot.
    pub fn nearest(&self, name: &str) -> Option<&'static str> {
        fn split(name: &str) -> (&str, &str) {
            name.rsplit_once('.').unwrap_or(("", name))
        }
        let (package, last) = split(name);
        let known = || self.types.keys().copied();
        let own = known().filter(|known| split(known).0 == package).map(|known| split(known).1);
        if let Some(near) = nearest(last, own) {
            return known().find(|known| split(known) == (package, near));
        }
        let near = nearest(last, known().map(|known| split(known).1))?;
        known().find(|known| split(known).1 == near)
    }
}

#[cfg(test)]
mod tests;
