//! The runner: every run of one worker, their asks, their pauses and their ends.
//!
//! A node that executes another workflow starts a run within the runner: the world knows only the
//! run that it started, and gets the asks of all that belong to it under that id.

mod asks;
mod errand;
mod inner;

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use crate::base::{Armed, BoxMap, Rng, Tick, Timers, caught};
use crate::flow::expr::{Place, Scripts};
use crate::flow::node::{self, Pages};
use crate::flow::run::{Run, Step};
use crate::flow::{
    Branches, Deadline, Fault, Finished, Graph, Item, Mode, NodeIndex, Object, Page, Resume,
    Visited,
};
pub use errand::{Errand, Errands, Statics};

/// The id of a run; whoever starts it chooses it, and never uses it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// The id of an ask, unique within its runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// The code of the fault of a run that met a bug of ours.
pub const PANICKED: &str = "E-FLOW-PANIC";

/// Limits and surroundings of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Runs at the same time; one more is refused.
    pub runs_max: usize,
    /// Milliseconds from the Unix epoch to [`Tick::ZERO`]: what `$now` counts from.
    pub epoch_ms: i64,
}

/// What happens to runs.
#[derive(Debug)]
pub enum Input {
    /// A trigger gave items: a run begins.
    Start {
        /// Its id.
        run: RunId,
        /// The graph.
        graph: Arc<Graph>,
        /// The trigger.
        trigger: NodeIndex,
        /// What the trigger gave, by output; nothing stands for one empty item.
        outputs: Branches,
    },
    /// The world answers an ask. The answer to one that was withdrawn is no error.
    Answer {
        /// The run that asked.
        run: RunId,
        /// The ask.
        ask: AskId,
        /// The items with the outputs they leave by, or why there are none.
        answer: Result<Vec<(usize, Item)>, Fault>,
    },
    /// The world answers an ask with one of several pages: it is asked for the next, or the run
    /// goes on with all of them.
    Page {
        /// The run that asked.
        run: RunId,
        /// The ask.
        ask: AskId,
        /// The page.
        page: Box<Page>,
    },
    /// A visit was made elsewhere.
    Return {
        /// What came of it.
        errand: Box<Errand>,
    },
    /// A visit that was to be made elsewhere will not be: it has failed.
    Lost {
        /// The run that waits for it.
        run: RunId,
        /// Why.
        fault: Fault,
    },
    /// The run is to end.
    Cancel {
        /// The run.
        run: RunId,
    },
    /// These workflows are active from now on: runs that begin execute one another, and are told of
    /// errors. Those that go on keep the workflows that they began with.
    Workflows(Vec<Arc<Graph>>),
}

impl Input {
    /// The run that it is about, if it is about one.
    pub const fn run(&self) -> Option<RunId> {
        match self {
            Self::Return { errand } => Some(errand.run()),
            Self::Start { run, .. }
            | Self::Answer { run, .. }
            | Self::Page { run, .. }
            | Self::Lost { run, .. }
            | Self::Cancel { run } => Some(*run),
            Self::Workflows(_) => None,
        }
    }
}

/// Active workflows by their id.
type Library = BTreeMap<String, Arc<Graph>>;

/// What runs want.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A node of the world is to be performed for one item.
    Ask {
        /// The run that asks.
        run: RunId,
        /// To be named in the answer.
        ask: AskId,
        /// The name of the workflow that the run is of.
        workflow: Arc<str>,
        /// The node.
        node: NodeIndex,
        /// The node's name.
        name: Arc<str>,
        /// The name of the node's type.
        kind: &'static str,
        /// Parameters, filled in and resolved for this item.
        parameters: Arc<Object>,
        /// The item.
        item: Item,
        /// All items of the node, among them this one.
        items: Vec<Item>,
        /// Names of the node's credentials by their type.
        credentials: Arc<BTreeMap<String, String>>,
    },
    /// The run ended while this ask was open: nobody waits for its answer.
    Withdraw {
        /// The run that asked.
        run: RunId,
        /// The ask.
        ask: AskId,
    },
    /// A node was visited; only told by a runner that is asked to.
    Visited {
        /// The run.
        run: RunId,
        /// The visit; also of a workflow that the run's own executes and waits for.
        visited: Visited,
    },
    /// A run pauses at a node; only told by a runner that is asked for visits.
    Paused {
        /// The run.
        run: RunId,
        /// The node's name.
        name: Arc<str>,
    },
    /// The run is over.
    Finished {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: Finished,
        /// Nodes it visited.
        steps: u64,
        /// What the node that was visited last gave.
        last: Arc<Branches>,
    },
}

/// Figures of a runner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Runs under way.
    pub runs: usize,
    /// Timers armed.
    pub timers: usize,
    /// Runs ever started.
    pub started: u64,
    /// Runs that failed.
    pub failed: u64,
    /// Answers that came too late.
    pub late: u64,
    /// Inputs that met a bug; each failed the run that it was about.
    pub panics: u64,
}

/// The runs of one worker. It is built on the thread that uses it.
#[derive(Debug)]
pub struct Runner {
    config: Config,
    scripts: Scripts,
    runs: BoxMap<RunId, Running>,
    timers: Timers<Wake>,
    outputs: VecDeque<Output>,
    errands: VecDeque<Errand>,
    asks: u64,
    gauges: Gauges,
    mode: Mode,
    is_traced: bool,
    /// Workflows that others may execute.
    workflows: Arc<Library>,
    /// Runs that were started here, ever.
    inner: u64,
    /// Asks of runs that were started here.
    inner_asks: BTreeMap<AskId, RunId>,
    /// The run that is being served, to be blamed for a panic.
    serving: Option<RunId>,
}

/// How many workflows may execute one another.
const DEPTH_MAX: usize = 16;
/// Ids of runs that were started here have this bit; nobody outside chooses one.
const INNER: u64 = 1 << 63;

/// What a timer is for.
#[derive(Clone, Copy, Debug)]
enum Wake {
    /// The pause between two tries is over.
    Resume(RunId),
    /// The run has lasted as long as its workflow allows.
    Expire(RunId),
}

#[derive(Debug)]
struct Running {
    run: Run,
    /// Whether a copy of it is on an errand.
    is_away: bool,
    /// What the world has been asked, and for which item.
    asks: Vec<(AskId, usize)>,
    /// The pages of what is asked for.
    pages: Option<Pages>,
    pause: Option<Armed>,
    expiry: Option<Armed>,
    /// The run whose node waits for this one.
    parent: Option<RunId>,
    /// The run that a node of this one waits for.
    child: Option<RunId>,
    /// Under which id the world knows it.
    root: RunId,
    depth: usize,
    is_about_error: bool,
    /// The workflows that were active when it began, or the run that it belongs to.
    workflows: Arc<Library>,
}

impl Running {
    /// The item that was asked about, if the answer is still wanted.
    fn take_ask(&mut self, ask: AskId) -> Option<usize> {
        let place = self.asks.iter().position(|(open, _)| *open == ask)?;
        Some(self.asks.remove(place).1)
    }

    /// Tells what was visited, under the id that the world knows; a run that it knows nothing of
    /// tells nothing.
    fn tell_visits(&mut self, id: RunId, outputs: &mut VecDeque<Output>) {
        let visits = self.run.take_visited();
        if self.root.0 & INNER != 0 || visits.is_empty() {
            return;
        }
        let workflow = (id != self.root).then(|| Arc::from(self.run.graph().name()));
        for mut visited in visits {
            visited.workflow.clone_from(&workflow);
            outputs.push_back(Output::Visited { run: self.root, visited });
        }
    }
}

impl Runner {
    /// A runner without runs. The seed makes scripts repeatable.
    pub fn new(config: Config, rng: Rng) -> Self {
        let gauges = Gauges::default();
        let (runs, timers, outputs) = (BoxMap::new(), Timers::new(), VecDeque::new());
        let scripts = Scripts::new(rng, None);
        Self {
            config,
            scripts,
            runs,
            timers,
            outputs,
            errands: VecDeque::new(),
            asks: 0,
            gauges,
            mode: Mode::Production,
            is_traced: false,
            workflows: Arc::default(),
            inner: 0,
            inner_asks: BTreeMap::new(),
            serving: None,
        }
    }

    /// The same for runs that are started by hand.
    #[must_use]
    pub fn manual(mut self) -> Self {
        self.mode = Mode::Manual;
        self
    }

    /// The same, and every visit of a node is told.
    #[must_use]
    pub fn traced(mut self) -> Self {
        self.is_traced = true;
        self
    }

    /// The same with values that scripts find in `$vars`.
    #[must_use]
    pub fn with_variables(mut self, variables: Object) -> Self {
        self.scripts.set_variables(variables);
        self
    }

    /// The same with workflows that others may execute, and be told of errors.
    #[must_use]
    pub fn with_workflows<'a>(mut self, graphs: impl Iterator<Item = &'a Arc<Graph>>) -> Self {
        self.set_workflows(graphs);
        self
    }

    fn set_workflows<'a>(&mut self, graphs: impl Iterator<Item = &'a Arc<Graph>>) {
        let known = graphs.map(|graph| (graph.id().to_owned(), graph.clone()));
        self.workflows = Arc::new(known.collect());
    }

    /// The same with a deadline for each evaluation of an expression. Without one, scripts are
    /// limited by steps and memory only.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Rc<dyn Deadline>) -> Self {
        self.scripts.set_deadline(deadline);
        self
    }

    /// The same, and visits whose scripts may take long are errands for others: see
    /// [`Self::poll_errand`].
    #[must_use]
    pub fn with_errands(mut self) -> Self {
        self.scripts.set_place(Place::Home);
        self
    }

    /// The same, and runs may wait for calls from outside, which reach them there.
    #[must_use]
    pub fn with_resume(mut self, resume: Resume) -> Self {
        self.scripts.set_resume(Some(resume));
        self
    }

    /// The same with what workflows have kept from run to run.
    #[must_use]
    pub fn with_statics(self, held: Statics) -> Self {
        self.scripts.statics().borrow_mut().held = held;
        self
    }

    /// What workflows keep now, if that has changed since it was last taken.
    pub fn take_statics(&self) -> Option<Statics> {
        let mut statics = self.scripts.statics().borrow_mut();
        std::mem::take(&mut statics.has_changed).then(|| statics.held.clone())
    }

    /// Does one thing; a panic in it fails the run that was being served, and no other.
    pub fn guarded(&mut self, now: Tick, act: impl FnOnce(&mut Self)) {
        self.serving = None;
        let mut done = caught(|| act(self));
        // Whoever waits for the run that failed goes on, and may meet a bug as well.
        while let Err(why) = done {
            self.gauges.panics += 1;
            let Some(id) = self.serving.take() else { return };
            done = caught(|| self.bury(id, why, now));
        }
    }

    fn bury(&mut self, id: RunId, why: String, now: Tick) {
        let outcome = Finished::Failed { node: None, fault: Fault::new(PANICKED, why) };
        if self.runs.contains_key(&id) {
            self.end(id, outcome, now);
        } else if id.0 & INNER == 0 {
            // Whoever started it waits for its end.
            let (steps, last) = (0, Arc::default());
            self.outputs.push_back(Output::Finished { run: id, outcome, steps, last });
        }
    }

    /// Takes one input; take every output before the next.
    pub fn handle_input(&mut self, input: Input, now: Tick) {
        self.serving = input.run();
        match input {
            Input::Start { run, graph, trigger, outputs } => {
                self.on_start(run, graph, trigger, outputs, now);
            }
            Input::Answer { run, ask, answer } => self.on_answer(run, ask, answer, now),
            Input::Page { run, ask, page } => self.on_page(run, ask, *page, now),
            Input::Return { errand } => self.on_return(*errand, now),
            Input::Lost { run, fault } => self.on_lost(run, fault, now),
            Input::Cancel { run } => self.end(run, Finished::Cancelled, now),
            Input::Workflows(graphs) => self.set_workflows(graphs.iter()),
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Tick) {
        while let Some(wake) = self.timers.take_due(now) {
            match wake {
                Wake::Resume(id) => {
                    self.serving = Some(id);
                    let running = self.runs.get_mut(&id).expect("an ended run has no timers");
                    running.pause = None;
                    running.run.resume();
                    self.withdraw(id);
                    self.drive(id, now);
                }
                Wake::Expire(id) => {
                    self.serving = Some(id);
                    let running = self.runs.get_mut(&id).expect("an ended run has no timers");
                    running.expiry = None;
                    let node = running.run.here();
                    let fault = Fault::new("E-FLOW-TIMEOUT", "the run lasted too long");
                    self.end(id, Finished::Failed { node, fault }, now);
                }
            }
        }
    }

    /// Whether this run is under way here.
    pub fn holds(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// The oldest output that was not taken yet.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Figures for metrics.
    pub fn gauges(&self) -> Gauges {
        Gauges { runs: self.runs.len(), timers: self.timers.len(), ..self.gauges }
    }

    fn on_start(
        &mut self,
        id: RunId,
        graph: Arc<Graph>,
        trigger: NodeIndex,
        outputs: Branches,
        now: Tick,
    ) {
        assert!(!self.runs.contains_key(&id), "the id of a run is used once");
        self.gauges.started += 1;
        if self.runs.len() >= self.config.runs_max {
            self.gauges.failed += 1;
            let fault = Fault::new("E-FLOW-RUNS", "too many runs at the same time");
            let outcome = Finished::Failed { node: None, fault };
            let (steps, last) = (0, Arc::default());
            self.outputs.push_back(Output::Finished { run: id, outcome, steps, last });
            return;
        }
        self.begin(id, graph, trigger, outputs, None, now);
    }

    fn begin(
        &mut self,
        id: RunId,
        graph: Arc<Graph>,
        trigger: NodeIndex,
        outputs: Branches,
        parent: Option<RunId>,
        now: Tick,
    ) {
        let expiry = graph.timeout().map(|limit| self.timers.arm(now + limit, Wake::Expire(id)));
        let is_about_error = node::is_error_trigger(graph.node(trigger));
        let now_ms = self.wall_ms(now);
        let run = Run::start(id, graph, trigger, outputs, self.mode, self.is_traced, now_ms);
        let above = parent.and_then(|parent| self.runs.get(&parent));
        let (root, depth) = above.map_or((id, 0), |parent| (parent.root, parent.depth + 1));
        let workflows = above.map_or(&self.workflows, |parent| &parent.workflows).clone();
        let running = Running {
            run,
            is_away: false,
            asks: Vec::new(),
            pages: None,
            pause: None,
            expiry,
            parent,
            child: None,
            root,
            depth,
            is_about_error,
            workflows,
        };
        self.runs.insert(id, running);
        self.drive(id, now);
    }

    fn wall_ms(&self, now: Tick) -> i64 {
        self.config.epoch_ms.saturating_add_unsigned(now.as_millis())
    }

    fn drive(&mut self, id: RunId, now: Tick) {
        self.serving = Some(id);
        let now_ms = self.wall_ms(now);
        let running = self.runs.get_mut(&id).expect("only a live run is driven");
        let step = running.run.advance(&mut self.scripts, now_ms);
        self.on_step(id, step, now);
    }

    fn on_step(&mut self, id: RunId, step: Step, now: Tick) {
        let running = self.runs.get_mut(&id).expect("only a live run steps");
        running.tell_visits(id, &mut self.outputs);
        match step {
            Step::Ask { node, parameters, item } => {
                let asking = running.run.graph().node(node);
                if node::is_execute_workflow(asking) {
                    return self.execute(id, &parameters, item, now);
                }
                self.on_ask(id, parameters, now);
            }
            Step::Pause(pause) => {
                if self.is_traced
                    && running.root.0 & INNER == 0
                    && let Some(name) = running.run.here()
                {
                    self.outputs.push_back(Output::Paused { run: running.root, name });
                }
                running.pause = Some(self.timers.arm(now + pause, Wake::Resume(id)));
            }
            Step::Await { parameters, most } => self.on_await(id, parameters, most, now),
            Step::Errand => self.lend(id, now),
            Step::Home => self.drive(id, now),
            Step::Ended(outcome) => self.end(id, outcome, now),
        }
    }

    /// Ends a run with everything that is open; one that is gone already is no error.
    fn end(&mut self, id: RunId, outcome: Finished, now: Tick) {
        let Some(mut running) = self.runs.remove(&id) else { return };
        running.tell_visits(id, &mut self.outputs);
        self.timers.clear_slot(&mut running.pause);
        self.timers.clear_slot(&mut running.expiry);
        if let Some(child) = running.child.and_then(|child| self.runs.get_mut(&child)) {
            child.parent = None;
        }
        if let Some(child) = running.child {
            self.end(child, Finished::Cancelled, now);
        }
        for (ask, _) in running.asks {
            self.inner_asks.remove(&ask);
            self.outputs.push_back(Output::Withdraw { run: running.root, ask });
        }
        self.gauges.failed += u64::from(matches!(outcome, Finished::Failed { .. }));
        let steps = running.run.steps();
        if id.0 & INNER == 0 {
            let (outcome, last) = (outcome.clone(), running.run.last().clone());
            self.outputs.push_back(Output::Finished { run: id, outcome, steps, last });
        }
        match (running.parent, &outcome) {
            (Some(parent), Finished::Success) => {
                let items = running.run.last().first().cloned().unwrap_or_default();
                let items = items.into_iter().map(node::without_origin).collect();
                self.answer_run(parent, Ok(items), now);
            }
            (Some(parent), Finished::Failed { fault, .. }) => {
                self.answer_run(parent, Err(fault.clone()), now);
            }
            (Some(parent), Finished::Cancelled) => {
                let fault = Fault::new("E-FLOW-CANCELLED", "the workflow was cancelled");
                self.answer_run(parent, Err(fault), now);
            }
            (None, Finished::Failed { node, fault }) => {
                if self.mode == Mode::Production && !running.is_about_error {
                    self.tell_error(id, running.run.graph(), node.as_deref(), fault, now);
                }
            }
            (None, Finished::Success | Finished::Cancelled) => {}
        }
    }
}
