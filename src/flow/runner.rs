//! The runner: every run of one worker, their asks, their pauses and their ends.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;

use crate::base::{Armed, Rng, Tick, Timers};
use crate::flow::expr::Scripts;
use crate::flow::run::{Run, Step};
use crate::flow::{Branches, Deadline, Fault, Finished, Graph, Item, NodeIndex, Object};

/// The id of a run; whoever starts it chooses it, and never uses it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub u64);

/// The id of an ask, unique within its runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AskId(pub u64);

/// Limits and surroundings of a runner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Runs at the same time; one more is refused.
    pub runs_max: usize,
    /// Milliseconds from the Unix epoch to [`Tick::ZERO`]: what `$now` counts from.
    pub epoch_ms: i64,
}

/// What happens to runs.
#[derive(Clone, Debug)]
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
    /// The run is to end.
    Cancel {
        /// The run.
        run: RunId,
    },
}

/// What runs want.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// A node of the world is to be performed for one item.
    Ask {
        /// The run that asks.
        run: RunId,
        /// To be named in the answer.
        ask: AskId,
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
    },
    /// The run ended while this ask was open: nobody waits for its answer.
    Withdraw {
        /// The run that asked.
        run: RunId,
        /// The ask.
        ask: AskId,
    },
    /// The run is over.
    Finished {
        /// The run.
        run: RunId,
        /// How it ended.
        outcome: Finished,
        /// Nodes it visited.
        steps: u64,
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
}

/// The runs of one worker. It is built on the thread that uses it.
#[derive(Debug)]
pub struct Runner {
    config: Config,
    scripts: Scripts,
    runs: BTreeMap<RunId, Running>,
    timers: Timers<Wake>,
    outputs: VecDeque<Output>,
    asks: u64,
    gauges: Gauges,
}

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
    ask: Option<AskId>,
    pause: Option<Armed>,
    expiry: Option<Armed>,
}

impl Runner {
    /// A runner without runs. The seed makes scripts repeatable.
    pub fn new(config: Config, rng: Rng) -> Self {
        let gauges = Gauges::default();
        let (runs, timers, outputs) = (BTreeMap::new(), Timers::new(), VecDeque::new());
        let scripts = Scripts::new(rng, None);
        Self { config, scripts, runs, timers, outputs, asks: 0, gauges }
    }

    /// The same with a deadline for each evaluation of an expression. Without one, scripts are
    /// limited by steps and memory only.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Rc<dyn Deadline>) -> Self {
        self.scripts.set_deadline(deadline);
        self
    }

    /// Takes one input; take every output before the next.
    pub fn handle_input(&mut self, input: Input, now: Tick) {
        match input {
            Input::Start { run, graph, trigger, outputs } => {
                self.on_start(run, graph, trigger, outputs, now);
            }
            Input::Answer { run, ask, answer } => self.on_answer(run, ask, answer, now),
            Input::Cancel { run } => self.end(run, Finished::Cancelled),
        }
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Tick) {
        while let Some(wake) = self.timers.take_due(now) {
            match wake {
                Wake::Resume(id) => {
                    let running = self.runs.get_mut(&id).expect("an ended run has no timers");
                    running.pause = None;
                    running.run.resume();
                    self.drive(id, now);
                }
                Wake::Expire(id) => {
                    let running = self.runs.get_mut(&id).expect("an ended run has no timers");
                    running.expiry = None;
                    let node = running.run.here();
                    let fault = Fault::new("E-FLOW-TIMEOUT", "the run lasted too long");
                    self.end(id, Finished::Failed { node, fault });
                }
            }
        }
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
            self.outputs.push_back(Output::Finished { run: id, outcome, steps: 0 });
            return;
        }
        let expiry = graph.timeout().map(|limit| self.timers.arm(now + limit, Wake::Expire(id)));
        let run = Run::start(id, graph, trigger, outputs);
        self.runs.insert(id, Running { run, ask: None, pause: None, expiry });
        self.drive(id, now);
    }

    fn on_answer(
        &mut self,
        id: RunId,
        ask: AskId,
        answer: Result<Vec<(usize, Item)>, Fault>,
        now: Tick,
    ) {
        let Some(running) = self.runs.get_mut(&id).filter(|running| running.ask == Some(ask))
        else {
            self.gauges.late += 1;
            return;
        };
        running.ask = None;
        match running.run.answer(answer) {
            Some(step) => self.on_step(id, step, now),
            None => self.drive(id, now),
        }
    }

    fn drive(&mut self, id: RunId, now: Tick) {
        let running = self.runs.get_mut(&id).expect("only a live run is driven");
        let now_ms = self.config.epoch_ms.saturating_add_unsigned(now.as_millis());
        let step = running.run.advance(&mut self.scripts, now_ms);
        self.on_step(id, step, now);
    }

    fn on_step(&mut self, id: RunId, step: Step, now: Tick) {
        let running = self.runs.get_mut(&id).expect("only a live run steps");
        match step {
            Step::Ask { node, parameters, item } => {
                let ask = AskId(self.asks);
                self.asks += 1;
                running.ask = Some(ask);
                let asking = running.run.graph().node(node);
                let (name, kind) = (asking.name.clone(), asking.kind.name());
                let asked = Output::Ask { run: id, ask, node, name, kind, parameters, item };
                self.outputs.push_back(asked);
            }
            Step::Pause(pause) => {
                running.pause = Some(self.timers.arm(now + pause, Wake::Resume(id)));
            }
            Step::Ended(outcome) => self.end(id, outcome),
        }
    }

    /// Ends a run with everything that is open; one that is gone already is no error.
    fn end(&mut self, id: RunId, outcome: Finished) {
        let Some(mut running) = self.runs.remove(&id) else { return };
        self.timers.clear_slot(&mut running.pause);
        self.timers.clear_slot(&mut running.expiry);
        if let Some(ask) = running.ask {
            self.outputs.push_back(Output::Withdraw { run: id, ask });
        }
        self.gauges.failed += u64::from(matches!(outcome, Finished::Failed { .. }));
        let steps = running.run.steps();
        self.outputs.push_back(Output::Finished { run: id, outcome, steps });
    }
}
