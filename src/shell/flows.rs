//! The flow worker: owns the runs, answers the switch's inputs, keeps their timers, and hands their
//! requests to threads that wait.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::base::Tick;
use crate::flow::{
    self, AskId, Fault, Graph, HTTP_REQUEST, HttpRequest, NodeIndex, Object, Output, RESPOND,
    RunId, Runner, SCHEDULE,
};
use crate::shell::Clock;
use crate::shell::credentials::Credentials;
use crate::shell::outbound::{self, Policy};
use crate::shell::signalling::Input;
use crate::shell::wake::Sender;
use crate::shell::webhooks::{OWN, Webhooks};

/// How long one expression may take; what takes longer fails its own run and nobody else's.
const SCRIPT_MAX: Duration = Duration::from_millis(50);
/// How long the worker sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// The deadline of a script, by the clock of this thread.
#[derive(Debug)]
pub(super) struct ClockDeadline {
    clock: Clock,
    limit: Duration,
    until: Cell<Tick>,
}

impl ClockDeadline {
    /// At most so long for one evaluation.
    pub(super) fn new(clock: Clock, limit: Duration) -> Self {
        Self { clock, limit, until: Cell::new(Tick::ZERO) }
    }
}

impl flow::Deadline for ClockDeadline {
    fn arm(&self, times: u32) {
        self.until.set(self.clock.now() + self.limit * times);
    }

    fn is_past(&self) -> bool {
        self.clock.now() >= self.until.get()
    }
}

/// Requests that may be under way; one more fails at once.
const REQUESTS_MAX: usize = 64;

/// Requests of flows, each on a thread of its own: the worker never waits for another server.
#[derive(Debug)]
pub(super) struct Requests {
    answers: Weak<SyncSender<flow::Input>>,
    policy: Policy,
    credentials: Credentials,
    open: Arc<AtomicUsize>,
    webhooks: Arc<Webhooks>,
}

/// The schedule triggers, each with the moment that it is due next.
pub(super) struct Schedules {
    due: Vec<(Arc<Graph>, NodeIndex, Option<i64>)>,
}

impl Schedules {
    /// Every enabled schedule trigger of these flows.
    pub(super) fn new(graphs: &[Arc<Graph>], now_ms: i64) -> Self {
        let triggers = graphs.iter().flat_map(|graph| {
            let own = graph.triggers().filter(|(_, node)| node.kind.name() == SCHEDULE);
            own.map(move |(index, node)| {
                let next = flow::next_due(&node.parameters, graph.timezone(), now_ms);
                (graph.clone(), index, next)
            })
        });
        Self { due: triggers.collect() }
    }

    fn wait(&self, now_ms: i64) -> Duration {
        let next = self.due.iter().filter_map(|(_, _, due)| *due).min();
        let left = next.map_or(i64::MAX, |due| due.saturating_sub(now_ms).max(0));
        Duration::from_millis(left.unsigned_abs()).min(IDLE)
    }

    /// The run of a trigger that is due.
    fn take_due(&mut self, now_ms: i64, runs: &Webhooks) -> Option<flow::Input> {
        let is_due = |due: &Option<i64>| due.is_some_and(|due| due <= now_ms);
        let (graph, trigger, due) = self.due.iter_mut().find(|(_, _, due)| is_due(due))?;
        *due = flow::next_due(&graph.node(*trigger).parameters, graph.timezone(), now_ms);
        let item = flow::Item::new(flow::schedule_payload(graph.timezone(), now_ms));
        let (run, graph, trigger) = (runs.new_run(), graph.clone(), *trigger);
        Some(flow::Input::Start { run, graph, trigger, outputs: vec![vec![item]] })
    }
}

impl Requests {
    /// Answers go to the worker while somebody else still speaks to it.
    pub(super) fn new(
        worker: &Arc<SyncSender<flow::Input>>,
        allowed: Vec<String>,
        credentials: Credentials,
        webhooks: Arc<Webhooks>,
    ) -> Self {
        let answers = Arc::downgrade(worker);
        let policy = Policy { allowed, reaches_loopback: false };
        Self { answers, policy, credentials, open: Arc::default(), webhooks }
    }

    /// Sends a request. What cannot even be tried is answered here.
    fn start(&self, ask: Asked) -> Option<flow::Input> {
        let Asked { run, ask, parameters, credentials } = ask;
        let refuse = |fault| Some(flow::Input::Answer { run, ask, answer: Err(fault) });
        let request = match http_request(&parameters, &credentials, &self.credentials) {
            Ok(request) => request,
            Err(fault) => return refuse(fault),
        };
        if self.open.fetch_add(1, Ordering::Relaxed) >= REQUESTS_MAX {
            self.open.fetch_sub(1, Ordering::Relaxed);
            let message = format!("{REQUESTS_MAX} requests are under way");
            return refuse(Fault::new("E-FLOW-HTTP", message));
        }
        let (answers, policy, open) =
            (self.answers.clone(), self.policy.clone(), self.open.clone());
        let send = move || {
            let answer = perform(&request, &policy);
            open.fetch_sub(1, Ordering::Relaxed);
            if let Some(answers) = answers.upgrade() {
                let _ = answers.send(flow::Input::Answer { run, ask, answer });
            }
        };
        let started = thread::Builder::new().name("request".to_owned()).spawn(send);
        if started.is_err() {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return refuse(Fault::new("E-FLOW-HTTP", "the system gives no thread"));
        }
        None
    }
}

/// What a node asks of this server's other parts.
struct Asked {
    run: RunId,
    ask: AskId,
    parameters: Arc<Object>,
    credentials: Arc<BTreeMap<String, String>>,
}

/// The request that a node wants.
pub(super) fn http_request(
    parameters: &Object,
    named: &BTreeMap<String, String>,
    credentials: &Credentials,
) -> Result<HttpRequest, Fault> {
    HttpRequest::read(parameters, |kind| match named.get(kind) {
        Some(name) => credentials.find(name),
        None => {
            let message = format!("the node has no credential of the type `{kind}`");
            Err(Fault::new("E-FLOW-CREDENTIALS", message))
        }
    })
}

/// Sends a request and reads its answer.
pub(super) fn perform(
    request: &HttpRequest,
    policy: &Policy,
) -> Result<Vec<(usize, flow::Item)>, Fault> {
    let response = outbound::send(request, policy);
    let response = response.map_err(|message| Fault::new("E-FLOW-HTTP", message))?;
    request.items(&response)
}

/// Runs until the channel closes.
pub(super) fn run(
    inputs: &Receiver<flow::Input>,
    outputs: &Sender<Input>,
    runner: Runner,
    clock: Clock,
    requests: &Requests,
    mut schedules: Schedules,
) {
    let deadline = ClockDeadline::new(clock, SCRIPT_MAX);
    let mut runner = runner.with_deadline(Rc::new(deadline));
    loop {
        let wait = runner.poll_timeout().map_or(IDLE, |due| clock.until(due));
        let wait = wait.min(schedules.wait(clock.wall_ms()));
        match inputs.recv_timeout(wait) {
            Ok(input) => {
                let now = clock.now();
                runner.guarded(now, |runner| runner.handle_input(input, now));
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = clock.now();
                runner.guarded(now, |runner| runner.handle_timeout(now));
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(start) = schedules.take_due(clock.wall_ms(), &requests.webhooks) {
            runner.handle_input(start, clock.now());
        }
        while let Some(output) = runner.poll_output() {
            match output {
                Output::Ask { run, ask, kind: HTTP_REQUEST, parameters, credentials, .. } => {
                    let asked = Asked { run, ask, parameters, credentials };
                    if let Some(answer) = requests.start(asked) {
                        runner.handle_input(answer, clock.now());
                    }
                }
                Output::Ask { run, ask, kind: RESPOND, parameters, item, items, .. } => {
                    requests.webhooks.respond(run, &parameters, &items);
                    let answer = Ok(vec![(0, item)]);
                    runner.handle_input(flow::Input::Answer { run, ask, answer }, clock.now());
                }
                Output::Finished { run, outcome, last, .. } if run.0 >= OWN => {
                    if let flow::Finished::Failed { node, fault } = &outcome {
                        let node = node.as_deref().unwrap_or("?");
                        tracing::warn!(node, %fault, "a run that no call started failed");
                    }
                    requests.webhooks.finish(run, &outcome, &last);
                }
                output @ (Output::Ask { .. }
                | Output::Withdraw { .. }
                | Output::Visited { .. }
                | Output::Finished { .. }) => outputs.send(Input::Flow(output)),
            }
        }
    }
}
