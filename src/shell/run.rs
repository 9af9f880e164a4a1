//! `ringback run` and `ringback eval`: a flow, or one expression, without telephony.

use std::collections::VecDeque;
use std::io::{BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::base::{Rng, Tick};
use crate::call::node;
use crate::flow::{
    self, Catalogue, Evaluator, Fault, Finished, Graph, HTTP_REQUEST, Input, Item, NodeIndex,
    Output, RESPOND, RunId, Runner, Severity, Visited,
};
use crate::shell::Clock;
use crate::shell::cli::{complain, say};
use crate::shell::credentials::Credentials;
use crate::shell::deadline::{STUCK, Watched};
use crate::shell::flows::{http_request, perform};
use crate::shell::outbound::Policy;

/// How long one expression may take here.
const SCRIPT_MAX: Duration = Duration::from_secs(5);

/// A flow that is to be run.
#[derive(Debug)]
pub(super) struct Order {
    /// The workflow, and those that it may execute.
    pub(super) flows: Vec<PathBuf>,
    /// What the trigger gives.
    pub(super) items: Option<PathBuf>,
    /// The trigger.
    pub(super) node: Option<String>,
    /// Whether each visit is told on standard error.
    pub(super) is_traced: bool,
    /// The directory of the credentials.
    pub(super) data: PathBuf,
    /// Hosts that requests may reach at private addresses.
    pub(super) allowed: Vec<String>,
}

/// Runs a flow and prints what became of it; the exit code is 1 when it failed.
pub(super) fn run(order: &Order) -> ExitCode {
    let (graphs, problems) = match load(&order.flows) {
        Ok(loaded) => loaded,
        Err(error) => return complain(&error),
    };
    for problem in &problems {
        let _ = writeln!(std::io::stderr().lock(), "{problem}\n");
    }
    let Some(graph) = graphs.first() else {
        let first = problems.iter().find(|problem| problem.severity == Severity::Error);
        let message = first.map_or("no workflow", |problem| problem.message.as_str());
        let error = json!({ "message": message, "code": first.map(|problem| problem.code) });
        return tell(&json!({ "status": "error", "order": [], "runs": {}, "error": error }));
    };
    let begun = trigger(graph, order.node.as_deref()).and_then(|trigger| {
        let items = order.items.as_deref().map(read_items).transpose()?;
        Ok((trigger, items.unwrap_or_else(|| graph.pinned(trigger))))
    });
    match begun {
        Ok((trigger, items)) => match Session::new(&graphs, order) {
            Ok(session) => tell(&session.run(trigger, items)),
            Err(error) => complain(&error),
        },
        Err(error) => complain(&error),
    }
}

fn tell(report: &Value) -> ExitCode {
    say(&serde_json::to_string_pretty(report).expect("a report is plain JSON"));
    if report["status"] == "success" { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn load(paths: &[PathBuf]) -> Result<(Vec<Arc<Graph>>, Vec<flow::Problem>), String> {
    let catalogue: Catalogue = node::catalogue();
    let (mut graphs, mut problems) = (Vec::new(), Vec::new());
    for path in paths {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        match flow::read(&text, &path.display().to_string()) {
            Err(problem) => problems.push(*problem),
            Ok(documents) => {
                for document in documents {
                    let (graph, found) = flow::check(&document, &catalogue);
                    graphs.extend(graph.map(Arc::new));
                    problems.extend(found);
                }
            }
        }
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        graphs.clear();
    }
    Ok((graphs, problems))
}

/// The trigger that was named, or the one that is started by hand.
fn trigger(graph: &Graph, name: Option<&str>) -> Result<NodeIndex, String> {
    let names = || {
        let names: Vec<&str> = graph.triggers().map(|(_, node)| node.name.as_ref()).collect();
        names.join(", ")
    };
    if let Some(name) = name {
        let found = graph.find(name);
        return found
            .ok_or_else(|| format!("no node is called `{name}`; the triggers are: {}", names()));
    }
    let of = |kind: &str| graph.triggers().find(|(_, node)| node.kind.name().ends_with(kind));
    let found = of(".manualTrigger").or_else(|| of(".executeWorkflowTrigger"));
    let found =
        found.or_else(|| Some(graph.triggers().next()?).filter(|_| graph.triggers().count() == 1));
    found
        .map(|(index, _)| index)
        .ok_or_else(|| format!("name a trigger with --node; there are: {}", names()))
}

fn read_items(path: &Path) -> Result<Vec<Item>, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let value = serde_json::from_str(&text)
        .map_err(|error| format!("{} is no JSON: {error}", path.display()))?;
    items(value).ok_or_else(|| format!("{} holds no items: a list of objects", path.display()))
}

/// Items as a list, or one alone.
fn items(value: Value) -> Option<Vec<Item>> {
    match value {
        Value::Array(values) => values.into_iter().map(Item::from_value).collect(),
        value @ Value::Object(_) => Some(vec![Item::from_value(value)?]),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

/// One run of a flow in its own time: a wait is over at once, and the clock has moved on.
struct Session {
    runner: Runner,
    graph: Arc<Graph>,
    now: Tick,
    is_traced: bool,
    order: Vec<Value>,
    runs: Map<String, Value>,
    answers: VecDeque<Input>,
    credentials: Credentials,
    policy: Policy,
}

const RUN: RunId = RunId(1);

impl Session {
    fn new(graphs: &[Arc<Graph>], order: &Order) -> Result<Self, String> {
        let credentials = Credentials::open(&order.data)?;
        let clock = Clock::start();
        let config = flow::Config { runs_max: 100, epoch_ms: clock.epoch_ms() };
        let seed = Rng::new(clock.epoch_ms().unsigned_abs());
        let runner = Runner::new(config, seed).manual().traced().with_workflows(graphs.iter());
        let runner = runner.with_variables(credentials.variables());
        let deadline = Watched::command(clock, SCRIPT_MAX, || {
            let error = json!({ "message": STUCK, "code": "E-FLOW-SCRIPT-LIMIT" });
            let report = json!({ "status": "error", "order": [], "runs": {}, "error": error });
            give_up(&report, "");
        });
        let runner = runner.with_deadline(Rc::new(deadline));
        Ok(Self {
            runner,
            graph: graphs[0].clone(),
            now: Tick::ZERO,
            is_traced: order.is_traced,
            order: Vec::new(),
            runs: Map::new(),
            answers: VecDeque::new(),
            credentials,
            policy: Policy { allowed: order.allowed.clone(), reaches_loopback: true },
        })
    }

    fn run(mut self, trigger: NodeIndex, items: Vec<Item>) -> Value {
        let graph = self.graph.clone();
        let outputs = if items.is_empty() { Vec::new() } else { vec![items] };
        self.runner.handle_input(Input::Start { run: RUN, graph, trigger, outputs }, self.now);
        loop {
            if let Some(outcome) = self.drain() {
                return self.report(&outcome);
            }
            if let Some(answer) = self.answers.pop_front() {
                self.runner.handle_input(answer, self.now);
                continue;
            }
            match self.runner.poll_timeout() {
                Some(due) => self.now = due,
                None => return self.report(&Finished::Cancelled),
            }
            self.runner.handle_timeout(self.now);
        }
    }

    fn drain(&mut self) -> Option<Finished> {
        let mut finished = None;
        while let Some(output) = self.runner.poll_output() {
            match output {
                Output::Visited { run: RUN, visited } => self.note(&visited),
                Output::Finished { run: RUN, outcome, .. } => finished = Some(outcome),
                Output::Visited { .. }
                | Output::Paused { .. }
                | Output::Finished { .. }
                | Output::Withdraw { .. } => {}
                Output::Ask { ask, kind: HTTP_REQUEST, parameters, item, credentials, .. } => {
                    let held = &self.credentials;
                    let answer = match http_request(&parameters, &item, &credentials, held) {
                        Ok(request) => perform(RUN, ask, &request, &self.policy),
                        Err(fault) => Input::Answer { run: RUN, ask, answer: Err(fault) },
                    };
                    self.answers.push_back(answer);
                }
                Output::Ask { ask, kind: RESPOND, item, .. } => {
                    let answer = Ok(vec![(0, item)]);
                    self.answers.push_back(Input::Answer { run: RUN, ask, answer });
                }
                Output::Ask { ask, kind, .. } => {
                    let message = format!("`{kind}` needs a server: there is none in `run`");
                    let answer = Err(Fault::new("E-FLOW-NO-WORLD", message));
                    self.answers.push_back(Input::Answer { run: RUN, ask, answer });
                }
            }
        }
        finished
    }

    fn note(&mut self, visited: &Visited) {
        let outputs: Vec<Value> = visited
            .outputs
            .iter()
            .map(|items| items.iter().map(Item::to_value).collect())
            .collect();
        if self.is_traced {
            let counts: Vec<String> =
                visited.outputs.iter().map(|items| items.len().to_string()).collect();
            let fault =
                visited.fault.as_ref().map(|fault| format!("  {fault}")).unwrap_or_default();
            let at = Duration::from_millis(self.now.as_millis()).as_secs_f64();
            let _ = writeln!(
                std::io::stderr().lock(),
                "{at:10.3}s  {}{}  run {}  items {}{fault}",
                visited.name,
                visited.workflow.as_ref().map(|name| format!(" of {name}")).unwrap_or_default(),
                visited.pass,
                counts.join(" "),
            );
        }
        // The report is about the workflow that was named.
        if visited.workflow.is_some() {
            return;
        }
        let mut run = json!({ "outputs": outputs });
        if let Some(fault) = &visited.fault {
            run["error"] = fault.message.as_str().into();
        }
        self.order.push(visited.name.to_string().into());
        let runs = self.runs.entry(visited.name.to_string()).or_insert_with(|| json!([]));
        runs.as_array_mut().expect("it was made a list").push(run);
    }

    fn report(self, outcome: &Finished) -> Value {
        let status = match outcome {
            Finished::Success => "success",
            Finished::Failed { .. } => "error",
            Finished::Cancelled => "cancelled",
        };
        let mut report = json!({ "status": status, "order": self.order, "runs": self.runs });
        if let Finished::Failed { node, fault } = outcome {
            report["error"] =
                json!({ "message": fault.message, "code": fault.code, "node": node.as_deref() });
        }
        report
    }
}

/// Says that a script did not come back, and ends the process with it.
fn give_up(answer: &Value, more: &str) {
    say(&answer.to_string());
    complain(&format!("{STUCK}{more}"));
    std::process::exit(1);
}

/// Evaluates one expression, or one for each line of standard input, and prints the answers.
pub(super) fn eval(
    expression: Option<&str>,
    items: Option<&Path>,
    index: usize,
    zone: Option<&str>,
) -> ExitCode {
    let clock = Clock::start();
    let seed = Rng::new(clock.epoch_ms().unsigned_abs());
    let is_batch = expression.is_none();
    let deadline = Rc::new(Watched::command(clock, SCRIPT_MAX, move || {
        let rest = if is_batch { "; the lines after it are not answered" } else { "" };
        give_up(&json!({ "error": STUCK }), rest);
    }));
    let mut evaluator = Evaluator::new(clock.epoch_ms(), seed, zone, deadline);
    let Some(expression) = expression else {
        return eval_lines(&mut evaluator);
    };
    let items = match items.map(read_items).transpose() {
        Ok(items) => items.unwrap_or_default(),
        Err(error) => return complain(&error),
    };
    let answer = evaluate(&mut evaluator, expression, &items, index);
    say(&answer.to_string());
    if answer.get("error").is_some() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn eval_lines(evaluator: &mut Evaluator) -> ExitCode {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return complain("standard input is no text") };
        if line.trim().is_empty() {
            continue;
        }
        say(&eval_line(evaluator, &line)
            .unwrap_or_else(|error| json!({ "error": error }))
            .to_string());
    }
    ExitCode::SUCCESS
}

fn eval_line(evaluator: &mut Evaluator, line: &str) -> Result<Value, String> {
    let mut line: Value =
        serde_json::from_str(line).map_err(|error| format!("the line is no JSON: {error}"))?;
    let given = line["items"].take();
    let given = if given.is_null() { json!([]) } else { given };
    let items = items(given).ok_or("`items` is no list of objects")?;
    let index = line["item"].as_u64().unwrap_or(0);
    let expression = line["expr"].as_str().ok_or("`expr` is missing, or no text")?;
    let index = usize::try_from(index).unwrap_or(usize::MAX);
    Ok(evaluate(evaluator, expression, &items, index))
}

fn evaluate(evaluator: &mut Evaluator, expression: &str, items: &[Item], index: usize) -> Value {
    match evaluator.evaluate(expression, items, index) {
        Ok(evaluated) => json!({ "type": evaluated.kind, "value": evaluated.value }),
        Err(fault) => json!({ "error": fault.message }),
    }
}
