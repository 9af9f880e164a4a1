//! The flow worker: owns the runs, answers the switch's inputs, keeps their timers, and hands their
//! requests to threads that wait.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, TrySendError};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use crate::base::Rng;
use crate::flow::{
    self, AskId, Fault, Graph, HTTP_REQUEST, HttpRequest, Object, Output, Page, RESPOND, RunId,
    Runner, Schedules, WAIT,
};
use crate::shell::Clock;
use crate::shell::bounded;
use crate::shell::credentials::Credentials;
use crate::shell::deadline::ClockDeadline;
use crate::shell::history::{History, Place};
use crate::shell::outbound::{self, Policy};
use crate::shell::scripts::Scripts;
use crate::shell::signalling::Input;
use crate::shell::statics::{Held, StaticData};
use crate::shell::trim::Trim;
use crate::shell::wake::Sender;
use crate::shell::webhooks::{OWN, Webhooks};

/// How long one expression may take; what takes longer fails its own run and nobody else's. A
/// Code node may take a hundred times as long.
const SCRIPT_MAX: Duration = Duration::from_millis(50);
/// How long it sleeps when the file of what workflows keep has not been written yet.
const BEHIND: Duration = Duration::from_millis(100);
/// How long the worker sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// The way to the flow worker, from a thread that does not wait for it.
#[derive(Debug)]
pub(super) struct Outlet {
    worker: Arc<bounded::Sender<flow::Input>>,
    /// Runs that miss an input, because the channel was full: each is cancelled when it is not.
    orphans: BTreeSet<RunId>,
    /// Workflows that the worker has not heard of, for the same reason.
    untold: Option<flow::Input>,
}

impl Outlet {
    pub(super) const fn new(worker: Arc<bounded::Sender<flow::Input>>) -> Self {
        Self { worker, orphans: BTreeSet::new(), untold: None }
    }

    /// Hands an input over. When the worker does not keep up, the run that it was about has
    /// failed: what to tell those who wait for its end is given back.
    pub(super) fn send(&mut self, input: flow::Input) -> Option<Output> {
        self.catch_up();
        let Err(TrySendError::Full(input)) = self.worker.try_send(input) else { return None };
        let Some(run) = input.run() else {
            self.untold = Some(input);
            return None;
        };
        self.orphans.insert(run);
        let fault = Fault::new("E-FLOW-BUSY", "the flow worker does not keep up");
        let outcome = flow::Finished::Failed { node: None, fault };
        Some(Output::Finished { run, outcome, steps: 0, last: Arc::default() })
    }

    /// Says what the worker has missed, and cancels runs that miss an input, as far as there is
    /// room.
    pub(super) fn catch_up(&mut self) {
        if let Some(untold) = self.untold.take()
            && let Err(TrySendError::Full(untold)) = self.worker.try_send(untold)
        {
            self.untold = Some(untold);
            return;
        }
        while let Some(run) = self.orphans.first().copied() {
            match self.worker.try_send(flow::Input::Cancel { run }) {
                Err(TrySendError::Full(_)) => return,
                Ok(()) | Err(TrySendError::Disconnected(_)) => self.orphans.remove(&run),
            };
        }
    }
}

/// Requests that may be under way; one more fails at once.
const REQUESTS_MAX: usize = 64;

/// Requests of flows, each on a thread of its own: the worker never waits for another server.
#[derive(Debug)]
pub(super) struct Requests {
    answers: Weak<bounded::Sender<flow::Input>>,
    policy: Policy,
    credentials: Credentials,
    open: Arc<AtomicUsize>,
    webhooks: Arc<Webhooks>,
}

impl Requests {
    /// Answers go to the worker while somebody else still speaks to it.
    pub(super) fn new(
        worker: &Arc<bounded::Sender<flow::Input>>,
        allowed: Vec<String>,
        credentials: Credentials,
        webhooks: Arc<Webhooks>,
    ) -> Self {
        let answers = Arc::downgrade(worker);
        let policy = Policy::of_server(allowed);
        Self { answers, policy, credentials, open: Arc::default(), webhooks }
    }

    /// Sends a request. What cannot even be tried is answered here.
    fn start(&self, ask: Asked) -> Option<flow::Input> {
        let Asked { run, ask, parameters, item, credentials } = ask;
        let refuse = |fault| Some(flow::Input::Answer { run, ask, answer: Err(fault) });
        let request = match http_request(&parameters, &item, &credentials, &self.credentials) {
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
            let input = perform(run, ask, &request, &policy);
            open.fetch_sub(1, Ordering::Relaxed);
            if let Some(answers) = answers.upgrade() {
                answers.send(input);
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
    item: flow::Item,
    credentials: Arc<BTreeMap<String, String>>,
}

/// The request that a node wants.
pub(super) fn http_request(
    parameters: &Object,
    item: &flow::Item,
    named: &BTreeMap<String, String>,
    credentials: &Credentials,
) -> Result<HttpRequest, Fault> {
    HttpRequest::read(parameters, item, |kind| match named.get(kind) {
        Some(name) => credentials.find(name),
        None => {
            let message = format!("the node has no credential of the type `{kind}`");
            Err(Fault::new("E-FLOW-CREDENTIALS", message))
        }
    })
}

/// Sends a request when its time has come, and reads its answer.
#[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
pub(super) fn perform(
    run: RunId,
    ask: AskId,
    request: &HttpRequest,
    policy: &Policy,
) -> flow::Input {
    thread::sleep(request.pause);
    let response = match outbound::send(request, policy) {
        Ok(response) => response,
        Err(message) => {
            let answer = Err(Fault::new("E-FLOW-HTTP", message));
            return flow::Input::Answer { run, ask, answer };
        }
    };
    let items = request.items(&response);
    if request.is_page {
        let request = request.shown().clone();
        return flow::Input::Page { run, ask, page: Box::new(Page { request, response, items }) };
    }
    flow::Input::Answer { run, ask, answer: items }
}

/// What runs are made with.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) config: flow::Config,
    pub(super) rng: Rng,
    pub(super) variables: Object,
    /// Where runs are reached that wait for a call.
    pub(super) resume: flow::Resume,
    pub(super) clock: Clock,
    pub(super) history: Arc<History>,
}

impl Parts {
    /// A runner, to be built where it is used: script engines do not move between threads.
    pub(super) fn runner(self) -> Runner {
        let deadline = ClockDeadline::new(self.clock, SCRIPT_MAX);
        let runner = Runner::new(self.config, self.rng).with_variables(self.variables);
        runner.with_resume(self.resume).with_deadline(Rc::new(deadline)).traced()
    }
}

/// What the worker's thread owns, before it runs.
pub(super) struct Worker {
    pub(super) parts: Parts,
    pub(super) workflows: Vec<Arc<Graph>>,
    /// What workflows keep from run to run.
    pub(super) kept: Held,
    pub(super) outputs: Sender<Input>,
    pub(super) requests: Requests,
    pub(super) statics: StaticData,
}

impl Worker {
    /// Runs until the channel closes.
    pub(super) fn run(mut self, inputs: &bounded::Receiver<flow::Input>) {
        let worker = self.requests.answers.clone();
        let (variables, resume) = (self.parts.variables.clone(), self.parts.resume.clone());
        let mut scripts = Scripts::new(worker, self.parts.clock, SCRIPT_MAX, variables, resume);
        let mut rng = Rng::new(self.parts.rng.next_u64());
        let runner = self.parts.clone().runner().with_workflows(self.workflows.iter());
        let mut runner = runner.with_errands().with_statics(std::mem::take(&mut self.kept));
        let mut schedules = Schedules::new(self.workflows.iter(), self.parts.clock.wall_ms());
        let mut trim = Trim::default();
        loop {
            let wait = runner.poll_timeout().map_or(IDLE, |due| self.parts.clock.until(due));
            let wait = wait.min(self.until(schedules.next()));
            let wait = if self.statics.is_behind() { wait.min(BEHIND) } else { wait };
            let wait = scripts.wait().map_or(wait, |look| wait.min(look));
            let wait =
                trim.poll_timeout().map_or(wait, |due| wait.min(self.parts.clock.until(due)));
            match inputs.recv_timeout(wait) {
                Ok(input) => {
                    trim.worked(self.parts.clock.now());
                    if let flow::Input::Workflows(graphs) = &input {
                        schedules = schedules.exchanged(graphs, self.parts.clock.wall_ms());
                        self.requests.webhooks.listen(graphs);
                    }
                    if matches!(input, flow::Input::Return { .. }) {
                        scripts.returned();
                    }
                    self.feed(&mut runner, input);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let now = self.parts.clock.now();
                    runner.guarded(now, |runner| runner.handle_timeout(now));
                    trim.handle_timeout(now);
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let wall_ms = self.parts.clock.wall_ms();
            let new_run = || self.requests.webhooks.new_run();
            while let Some(start) = schedules.take_due(wall_ms, new_run) {
                self.feed(&mut runner, start);
            }
            for lost in scripts.look(&mut rng, || runner.statics()) {
                self.feed(&mut runner, lost);
            }
            self.drain(&mut runner, &mut scripts, &mut rng);
            self.parts.history.count(Place::Worker, runner.gauges());
            self.statics.keep(runner.take_statics());
        }
    }

    /// How long until a moment, in milliseconds since the epoch.
    fn until(&self, due: Option<i64>) -> Duration {
        let left =
            due.map_or(i64::MAX, |due| due.saturating_sub(self.parts.clock.wall_ms()).max(0));
        Duration::from_millis(left.unsigned_abs()).min(IDLE)
    }

    /// Does everything that runs want now, and wakes the signalling thread for all of it.
    fn drain(&mut self, runner: &mut Runner, scripts: &mut Scripts, rng: &mut Rng) {
        let mut has_told = false;
        loop {
            let answer = if let Some(output) = runner.poll_output() {
                has_told = true;
                self.parts.history.note(&output, self.parts.clock.wall_ms());
                self.serve(output)
            } else if let Some(errand) = runner.poll_errand() {
                scripts.start(errand, rng, || runner.statics())
            } else {
                break;
            };
            if let Some(answer) = answer {
                self.feed(runner, answer);
            }
        }
        if has_told {
            self.outputs.wake();
        }
    }

    fn feed(&self, runner: &mut Runner, input: flow::Input) {
        if let flow::Input::Start { run, graph, trigger, .. } = &input {
            self.parts.history.begin(*run, graph, *trigger, self.parts.clock.wall_ms());
        }
        let now = self.parts.clock.now();
        runner.guarded(now, |runner| runner.handle_input(input, now));
    }

    /// Does what a run wants, or hands it on to those who can; some of it is answered at once.
    fn serve(&self, output: Output) -> Option<flow::Input> {
        match output {
            Output::Ask { run, ask, kind: HTTP_REQUEST, parameters, item, credentials, .. } => {
                return self.requests.start(Asked { run, ask, parameters, item, credentials });
            }
            Output::Ask {
                run, ask, kind: RESPOND, parameters, item, items, credentials, ..
            } => {
                let webhooks = &self.requests.webhooks;
                let said = webhooks.respond(run, &parameters, &items, &credentials);
                return Some(flow::Input::Answer {
                    run,
                    ask,
                    answer: said.map(|()| vec![(0, item)]),
                });
            }
            Output::Ask { run, ask, kind: WAIT, parameters, credentials, .. } => {
                self.requests.webhooks.wait(run, ask, parameters, &credentials);
            }
            Output::Finished { run, outcome, last, .. } if run.0 >= OWN => {
                if let flow::Finished::Failed { node, fault } = &outcome {
                    let node = node.as_deref().unwrap_or("?");
                    tracing::warn!(run = run.0, node, %fault, "a run that no call started failed");
                }
                self.requests.webhooks.finish(run, &outcome, &last);
            }
            Output::Visited { run, visited } => {
                self.parts.history.visited(run, &visited);
                if run.0 < OWN {
                    self.outputs.post(Input::Flow(Output::Visited { run, visited }));
                }
            }
            Output::Paused { .. } => {}
            output @ (Output::Ask { .. } | Output::Withdraw { .. } | Output::Finished { .. }) => {
                match &output {
                    Output::Withdraw { run, .. } => {
                        self.requests.webhooks.wait_no_longer(*run);
                    }
                    Output::Finished { run, outcome, last, .. } => {
                        self.requests.webhooks.finish(*run, outcome, last);
                    }
                    Output::Ask { .. } | Output::Visited { .. } | Output::Paused { .. } => {}
                }
                self.outputs.post(Input::Flow(output));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_misses_an_input_is_cancelled_as_soon_as_there_is_room() {
        let (sender, receiver) = bounded::channel(2);
        let mut outlet = Outlet::new(Arc::new(sender));
        let answer = |run| flow::Input::Answer { run, ask: AskId(0), answer: Ok(Vec::new()) };
        assert!(outlet.send(answer(RunId(1))).is_none() && outlet.send(answer(RunId(2))).is_none());
        let told = outlet.send(answer(RunId(3))).unwrap();
        let is_failed = matches!(&told, Output::Finished { run: RunId(3),
            outcome: flow::Finished::Failed { fault, .. }, .. } if fault.code == "E-FLOW-BUSY");
        assert!(is_failed, "{told:?}");

        let mut inputs = std::iter::from_fn(|| receiver.try_recv().ok());
        let taken: Vec<RunId> = inputs.by_ref().filter_map(|input| input.run()).collect();
        assert_eq!(taken, [RunId(1), RunId(2)]);
        outlet.catch_up();
        outlet.catch_up();
        let cancelled = |input| matches!(input, flow::Input::Cancel { run: RunId(3) });
        assert!(inputs.map(cancelled).eq([true]));
    }
}
