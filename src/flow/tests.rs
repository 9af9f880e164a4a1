//! Stories of whole flows: a workflow is written down, checked, run, and what it asks is read.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::base::{Rng, Tick};
use crate::flow::{
    AskId, Branches, Catalogue, Config, Document, Fault, Finished, Graph, Input, Item, NodeType,
    Object, Output, PANICKED, Role, RunId, Runner, Work, check as check_document, read,
};

/// A node of the world with the outputs `ok` and `no`.
struct Phone;

impl NodeType for Phone {
    fn name(&self) -> &'static str {
        "test.phone"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0]
    }

    fn role(&self) -> Role {
        Role::World
    }

    fn keys(&self) -> &'static [&'static str] {
        &["say"]
    }

    fn outputs(&self, _version: f64, _parameters: &Object) -> Vec<String> {
        vec!["ok".to_owned(), "no".to_owned()]
    }
}

pub(super) fn catalogue() -> Catalogue {
    Catalogue::core().with(vec![Box::new(Phone)])
}

/// A workflow of nodes `(name, type, y, more keys)` and edges `(from, output, to)`, begun by `start`.
pub(super) fn document(
    nodes: &[(&str, &str, i32, Value)],
    edges: &[(&str, usize, &str)],
) -> Document {
    let mut list = vec![json!({"name": "start", "type": "n8n-nodes-base.manualTrigger"})];
    for (name, kind, y, more) in nodes {
        let mut node = json!({"name": name, "type": kind, "position": [0, y]});
        node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        list.push(node);
    }
    let mut connections = json!({});
    for (from, output, to) in edges {
        let slot = &mut connections[from]["main"];
        let mut outputs = slot.as_array().cloned().unwrap_or_default();
        outputs.resize(outputs.len().max(output + 1), json!([]));
        outputs[*output]
            .as_array_mut()
            .unwrap()
            .push(json!({"node": to, "type": "main", "index": 0}));
        *slot = Value::Array(outputs);
    }
    let text = json!({"name": "flow", "nodes": list, "connections": connections,
        "settings": {"executionOrder": "v1"}});
    read(&text.to_string(), "a.json").unwrap().remove(0)
}

pub(super) fn graph(
    nodes: &[(&str, &str, i32, Value)],
    edges: &[(&str, usize, &str)],
) -> Arc<Graph> {
    let (graph, problems) = check_document(&document(nodes, edges), &catalogue());
    Arc::new(graph.unwrap_or_else(|| panic!("{problems:#?}")))
}

/// A runner in simulated time, and the log of what it wants.
pub(super) struct World {
    pub(super) runner: Runner,
    pub(super) now: Tick,
    open: Option<AskId>,
    /// What the run asked about last.
    asked: Option<Item>,
    log: Vec<String>,
}

const RUN: RunId = RunId(7);

impl World {
    pub(super) fn start(graph: &Arc<Graph>, items: Vec<Item>) -> Self {
        let config = Config { runs_max: 10, epoch_ms: 1_700_000_000_000 };
        let runner = Runner::new(config, Rng::new(1));
        let mut world = Self { runner, now: Tick::ZERO, open: None, asked: None, log: Vec::new() };
        let trigger = graph.find("start").unwrap();
        let graph = graph.clone();
        world.input(Input::Start { run: RUN, graph, trigger, outputs: vec![items] });
        world
    }

    pub(super) fn input(&mut self, input: Input) {
        self.runner.handle_input(input, self.now);
        self.drain();
    }

    pub(super) fn answer(&mut self, output: usize, json: Value) {
        let item = Item::new(json.as_object().unwrap().clone());
        self.answer_with(Ok(vec![(output, item)]));
    }

    pub(super) fn answer_with(&mut self, answer: Result<Vec<(usize, Item)>, Fault>) {
        let ask = self.open.take().expect("nothing was asked");
        self.input(Input::Answer { run: RUN, ask, answer });
    }

    /// Lets time pass to the next timer.
    pub(super) fn wait(&mut self) {
        self.now = self.runner.poll_timeout().expect("nothing is waited for");
        self.runner.handle_timeout(self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.runner.poll_output() {
            self.log.push(match output {
                Output::Ask { ask, name, parameters, item, .. } => {
                    (self.open, self.asked) = (Some(ask), Some(item.clone()));
                    let json = Value::Object(Object::clone(&item.json));
                    let say = parameters.get("say").map(|say| format!(" {say}"));
                    format!("{name}{} {json}", say.unwrap_or_default())
                }
                Output::Withdraw { .. } => "withdrawn".to_owned(),
                Output::Visited { visited, .. } => format!("visited {}", visited.name),
                Output::Paused { name, .. } => format!("pauses at {name}"),
                Output::Finished { outcome: Finished::Success, .. } => "success".to_owned(),
                Output::Finished { outcome: Finished::Cancelled, .. } => "cancelled".to_owned(),
                Output::Finished { outcome: Finished::Failed { node, fault }, .. } => {
                    format!("failed at {}: {fault}", node.as_deref().unwrap_or("nothing"))
                }
            });
        }
    }

    pub(super) fn is_asked(&self) -> bool {
        self.open.is_some()
    }

    pub(super) fn into_log(self) -> Vec<String> {
        self.log
    }

    pub(super) fn check(&self, expected: &[&str]) {
        assert_eq!(self.log, expected);
    }
}

pub(super) fn item(json: Value) -> Item {
    Item::new(json.as_object().unwrap().clone())
}

const NO_OP: &str = "n8n-nodes-base.noOp";
const PHONE: &str = "test.phone";

#[test]
fn the_topmost_branch_is_followed_to_its_end_first() {
    let graph = graph(
        &[
            ("low", PHONE, 200, json!({})),
            ("high", PHONE, 0, json!({})),
            ("deep", PHONE, 300, json!({})),
        ],
        &[("start", 0, "low"), ("start", 0, "high"), ("high", 0, "deep")],
    );
    let mut world = World::start(&graph, vec![item(json!({"n": 1}))]);
    world.answer(0, json!({"a": 1}));
    world.answer(1, json!({}));
    world.answer(0, json!({}));
    world.check(&[r#"high {"n":1}"#, r#"deep {"a":1}"#, r#"low {"n":1}"#, "success"]);
}

#[test]
fn items_are_asked_one_after_another_and_leave_by_their_outputs() {
    let graph = graph(
        &[("play", PHONE, 0, json!({})), ("yes", PHONE, 0, json!({})), ("no", PHONE, 9, json!({}))],
        &[("start", 0, "play"), ("play", 0, "yes"), ("play", 1, "no")],
    );
    let mut world = World::start(&graph, vec![item(json!({"n": 1})), item(json!({"n": 2}))]);
    world.answer(1, json!({"answer": 1}));
    world.answer(0, json!({"answer": 2}));
    world.answer(0, json!({}));
    world.answer(0, json!({}));
    world.check(&[
        r#"play {"n":1}"#,
        r#"play {"n":2}"#,
        r#"yes {"answer":2}"#,
        r#"no {"answer":1}"#,
        "success",
    ]);
}

#[test]
fn a_run_without_items_from_its_trigger_is_over() {
    let graph = graph(&[("play", PHONE, 0, json!({}))], &[("start", 0, "play")]);
    World::start(&graph, vec![]).check(&["success"]);
}

#[test]
fn a_disabled_node_hands_its_input_on_by_its_first_output() {
    let graph = graph(
        &[("off", PHONE, 0, json!({"disabled": true})), ("play", PHONE, 0, json!({}))],
        &[("start", 0, "off"), ("off", 0, "play")],
    );
    World::start(&graph, vec![item(json!({"n": 1}))]).check(&[r#"play {"n":1}"#]);
}

#[test]
fn a_failing_node_is_tried_again_and_then_leaves_by_its_error_output() {
    let more = json!({"retryOnFail": true, "maxTries": 2, "waitBetweenTries": 250,
        "onError": "continueErrorOutput"});
    let graph = graph(
        &[("play", PHONE, 0, more), ("sorry", PHONE, 0, json!({}))],
        &[("start", 0, "play"), ("play", 2, "sorry")],
    );
    let mut world = World::start(&graph, vec![item(json!({"n": 1}))]);
    world.answer_with(Err(Fault::new("not_found", "no such leg")));
    world.wait();
    assert_eq!(world.now, Tick::ZERO + Duration::from_millis(250));
    world.answer_with(Err(Fault::new("not_found", "no such leg")));
    world.check(&[
        r#"play {"n":1}"#,
        r#"play {"n":1}"#,
        r#"sorry {"n":1,"error":{"code":"not_found","message":"no such leg","node":"play"}}"#,
    ]);
}

#[test]
fn a_failing_node_ends_the_run_or_is_passed_over() {
    let tell = |on_error: &str, expected: &[&str]| {
        let graph = graph(
            &[("play", PHONE, 0, json!({"onError": on_error})), ("next", PHONE, 0, json!({}))],
            &[("start", 0, "play"), ("play", 0, "next")],
        );
        let mut world = World::start(&graph, vec![item(json!({"n": 1}))]);
        world.answer_with(Err(Fault::new("not_found", "gone")));
        world.check(expected);
    };
    tell("stopWorkflow", &[r#"play {"n":1}"#, "failed at play: gone [not_found]"]);
    tell("continueRegularOutput", &[r#"play {"n":1}"#, r#"next {"n":1}"#]);
}

#[test]
fn stop_and_error_says_the_words_of_its_author() {
    let more = json!({"parameters": {"errorMessage": "nobody is in"}});
    let graph = graph(&[("stop", "n8n-nodes-base.stopAndError", 0, more)], &[("start", 0, "stop")]);
    let world = World::start(&graph, vec![item(json!({}))]);
    world.check(&["failed at stop: nobody is in [E-FLOW-STOP]"]);
}

#[test]
fn execute_once_and_always_output() {
    let more = json!({"executeOnce": true, "alwaysOutputData": true});
    let graph = graph(
        &[("play", PHONE, 0, more), ("next", PHONE, 0, json!({}))],
        &[("start", 0, "play"), ("play", 0, "next")],
    );
    let mut world = World::start(&graph, vec![item(json!({"n": 1})), item(json!({"n": 2}))]);
    world.answer_with(Ok(vec![]));
    world.check(&[r#"play {"n":1}"#, "next {}"]);
}

#[test]
fn a_loop_that_never_waits_is_stopped_and_one_that_waits_is_not() {
    let nodes = |kind| [("a", kind, 0, json!({})), ("b", NO_OP, 0, json!({}))];
    let edges = [("start", 0, "a"), ("a", 0, "b"), ("b", 0, "a")];
    let spinning = World::start(&graph(&nodes(NO_OP), &edges), vec![item(json!({}))]);
    spinning.check(&["failed at a: 10000 steps without a wait: the flow spins [E-FLOW-BUDGET]"]);

    let mut waiting = World::start(&graph(&nodes(PHONE), &edges), vec![item(json!({}))]);
    for _ in 0..20_000 {
        waiting.log.clear();
        waiting.answer(0, json!({}));
    }
    waiting.check(&["a {}"]);
}

#[test]
fn a_cancelled_run_takes_its_ask_back_and_leaves_nothing() {
    let graph = graph(&[("play", PHONE, 0, json!({}))], &[("start", 0, "play")]);
    let mut world = World::start(&graph, vec![item(json!({}))]);
    world.input(Input::Cancel { run: RUN });
    world.check(&["play {}", "withdrawn", "cancelled"]);
    world.answer(0, json!({}));
    let gauges = world.runner.gauges();
    assert_eq!((gauges.runs, gauges.timers, gauges.late), (0, 0, 1));
}

#[test]
fn a_wait_for_a_call_is_over_with_the_call_or_with_its_time() {
    let wait = json!({ "typeVersion": 1.1, "parameters": { "resume": "webhook",
        "limitWaitTime": true, "resumeAmount": 2, "resumeUnit": "minutes" } });
    let nodes = [("wait", "n8n-nodes-base.wait", 0, wait), ("next", PHONE, 0, json!({}))];
    let graph = graph(&nodes, &[("start", 0, "wait"), ("wait", 0, "next")]);
    let items = || vec![item(json!({"n": 1})), item(json!({"n": 2}))];
    let mut called = World::start(&graph, items());
    called.answer(0, json!({"body": 3}));
    called.check(&[r#"wait {"n":1}"#, r#"next {"body":3}"#]);
    assert_eq!(called.runner.gauges().timers, 0);

    let mut over = World::start(&graph, items());
    over.wait();
    assert_eq!(over.now, Tick::ZERO + Duration::from_secs(120));
    over.check(&[r#"wait {"n":1}"#, "withdrawn", r#"next {"n":1}"#]);

    let mut ended = World::start(&graph, items());
    ended.input(Input::Cancel { run: RUN });
    ended.check(&[r#"wait {"n":1}"#, "withdrawn", "cancelled"]);
    assert_eq!(ended.runner.gauges().timers, 0);
}

#[test]
fn a_leg_is_found_again_after_an_hour_of_hold_music() {
    let nodes = [
        ("internal", PHONE, 0, json!({})),
        ("wait", PHONE, 0, json!({})),
        ("play", PHONE, 0, json!({"parameters": {"say": "={{ $('internal').item.json.legId }}"}})),
    ];
    let edges = [
        ("start", 0, "internal"),
        ("internal", 0, "wait"),
        ("wait", 1, "play"),
        ("play", 0, "wait"),
    ];
    let mut world = World::start(&graph(&nodes, &edges), vec![item(json!({}))]);
    world.answer(0, json!({"legId": "leg-1"}));
    for _ in 0..120 {
        world.answer(1, json!({"turn": 1}));
        world.answer(0, json!({}));
    }
    world.log.clear();
    world.answer(1, json!({}));
    world.check(&[r#"play "leg-1" {}"#]);
}

/// Checks a document and tells each problem in one line.
fn tell(document: &Document, expected: &[&str]) {
    let (graph, problems) = check_document(document, &catalogue());
    let said: Vec<String> = problems
        .iter()
        .map(|problem| {
            let node = problem.node.as_deref().unwrap_or("-");
            format!("{} {node}: {}; {}", problem.code, problem.message, problem.remedy)
        })
        .collect();
    assert_eq!(said, expected);
    let has_error = problems.iter().any(|problem| problem.severity == crate::flow::Severity::Error);
    assert_eq!(graph.is_none(), has_error);
}

#[test]
fn every_problem_of_a_workflow_is_told_at_once() {
    let nodes = [
        ("play", PHONE, 0, json!({"typeVersion": 3, "parameters": {"sai": 1}})),
        ("play", PHONE, 0, json!({})),
        ("odd", "test.fone", 0, json!({})),
        ("far", "test.faraway", 0, json!({})),
        ("note", "n8n-nodes-base.stickyNote", 0, json!({})),
    ];
    let edges = [("start", 0, "play"), ("start", 0, "odd"), ("play", 4, "odd"), ("plau", 0, "odd")];
    tell(
        &document(&nodes, &edges),
        &[
            "E-FLOW-DUPLICATE play: two nodes have this name; connections and expressions go by name: rename one of them",
            "E-FLOW-OUTPUT play: a connection leaves by output 4, and there are 2; the outputs are `ok`, `no`",
            "E-FLOW-DANGLING -: a connection leads away from `plau`, and no node has that name; did you mean `play`?",
            "W-FLOW-UNREACHABLE play: no enabled trigger leads here; connect it, disable it or remove it",
            "E-FLOW-VERSION play: version 3 of `test.phone` is unknown; the nearest known version is 2",
            "W-FLOW-PARAMETER play: the parameter is unknown, and has no effect; did you mean `say`?",
            "E-FLOW-TYPE odd: the node type `test.fone` is unknown; did you mean `test.phone`?",
            "W-FLOW-UNREACHABLE far: no enabled trigger leads here; connect it, disable it or remove it",
            "E-FLOW-TYPE far: the node type `test.faraway` is unknown; remove the node or disable it",
        ],
    );
}

#[test]
fn a_workflow_that_nothing_starts_is_refused() {
    let text = r#"{"nodes":[{"name":"a","type":"n8n-nodes-base.noOp"}],"connections":{}}"#;
    tell(
        &read(text, "a.json").unwrap()[0],
        &[
            "E-FLOW-NO-TRIGGER -: nothing starts this workflow; add a trigger, or enable the one that is disabled",
        ],
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_checked_graph_ends_or_waits(
        kinds in proptest::collection::vec(any::<bool>(), 1..8),
        edges in proptest::collection::vec((0_usize..9, 0_usize..2, 0_usize..8), 0..20),
    ) {
        let names: Vec<String> = (0..kinds.len()).map(|n| format!("n{n}")).collect();
        let nodes: Vec<_> = names.iter().zip(&kinds)
            .map(|(name, is_phone)| (name.as_str(), if *is_phone { PHONE } else { NO_OP }, 0, json!({})))
            .collect();
        let edges: Vec<_> = edges.iter()
            .filter(|(from, _, to)| *from <= kinds.len() && *to < kinds.len())
            .map(|(from, output, to)| match from.checked_sub(1) {
                None => ("start", 0, names[*to].as_str()),
                Some(from) if kinds[from] => (names[from].as_str(), *output, names[*to].as_str()),
                Some(from) => (names[from].as_str(), 0, names[*to].as_str()),
            })
            .collect();
        let graph = graph(&nodes, &edges);
        let mut world = World::start(&graph, vec![item(json!({}))]);
        for n in 0..50 {
            if world.open.is_none() {
                break;
            }
            world.answer(n % 2, json!({}));
        }
        prop_assert!(world.open.is_some() != (world.runner.gauges().runs == 0));
    }

    #[test]
    fn arbitrary_nodes_and_connections_never_panic(
        name in "[a-b]?", kind in prop_oneof![Just("n8n-nodes-base.noOp"), Just("x"), Just("n8n-nodes-base.manualTrigger"), Just("n8n-nodes-base.stopAndError")],
        odd in prop_oneof![Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!(-1)), Just(json!("=")), Just(json!([[{"node": "a", "index": -3}]])), Just(json!({"main": [[{"node": "a"}], null, 3]}))],
        place in 0_usize..8,
    ) {
        let mut workflow = json!({"nodes": [{"name": "a", "type": "n8n-nodes-base.manualTrigger"},
            {"name": name, "type": kind, "parameters": {}}], "connections": {"a": {"main": [[{"node": "b", "index": 0}]]}}});
        let paths = ["/nodes", "/connections", "/nodes/1", "/nodes/1/parameters", "/nodes/1/type", "/connections/a", "/connections/a/main", "/connections/a/main/0/0"];
        *workflow.pointer_mut(paths[place]).unwrap() = odd;
        for document in read(&workflow.to_string(), "any").into_iter().flatten() {
            let _ = check_document(&document, &catalogue());
        }
    }
}

/// A node that meets a bug.
struct Bug;

impl NodeType for Bug {
    fn name(&self) -> &'static str {
        "test.bug"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn perform(&self, _work: &mut Work<'_>) -> Result<Branches, Fault> {
        panic!("a bug in a node")
    }
}

/// Contract sentence 7: the run that meets a bug fails, and another goes on and ends.
#[test]
fn a_bug_costs_one_run() {
    let nodes = [("ask", "test.phone", 0, json!({})), ("bug", "test.bug", 0, json!({}))];
    let document = document(&nodes, &[("start", 0, "ask"), ("ask", 0, "bug")]);
    let (graph, _) = check_document(&document, &catalogue().with(vec![Box::new(Bug)]));
    let graph = Arc::new(graph.unwrap());
    let mut runner = Runner::new(Config { runs_max: 10, epoch_ms: 0 }, Rng::new(1));
    let trigger = graph.find("start").unwrap();
    let mut asks = Vec::new();
    for run in [RunId(1), RunId(2)] {
        let input = Input::Start { run, graph: graph.clone(), trigger, outputs: Vec::new() };
        runner.guarded(Tick::ZERO, |runner| runner.handle_input(input, Tick::ZERO));
        let Some(Output::Ask { ask, .. }) = runner.poll_output() else { panic!("it asks") };
        asks.push((run, ask));
    }
    let mut ends = Vec::new();
    for ((run, ask), output) in asks.into_iter().zip([0, 1]) {
        let input = Input::Answer { run, ask, answer: Ok(vec![(output, Item::default())]) };
        runner.guarded(Tick::ZERO, |runner| runner.handle_input(input, Tick::ZERO));
        let Some(Output::Finished { outcome, .. }) = runner.poll_output() else { panic!("no end") };
        ends.push(outcome);
    }
    let fault = Fault::new(PANICKED, "a bug in a node");
    assert_eq!(ends, [Finished::Failed { node: None, fault }, Finished::Success]);
    assert_eq!((runner.gauges().runs, runner.gauges().panics), (0, 1));
}

#[test]
fn a_run_that_only_asks_telephony_and_compares_plainly_is_quick() {
    let is_quick = |kind: &str, more: Value| {
        let nodes = [("call", "test.phone", 0, json!({})), ("it", kind, 0, more)];
        let edges = [("start", 0, "call"), ("call", 0, "it"), ("it", 0, "call")];
        let graph = graph(&nodes, &edges);
        graph.is_quick(graph.find("start").unwrap())
    };
    let says = |text: &str| json!({"parameters": {"say": text}});
    let condition = |kind: &str, operation: &str| {
        let operator = json!({"type": kind, "operation": operation});
        let one = json!({"leftValue": "={{ $json.a }}", "rightValue": "1", "operator": operator});
        let conditions = json!({"conditions": [one], "combinator": "and", "options": {}});
        json!({"typeVersion": 2.2, "parameters": {"conditions": conditions}})
    };
    let quick = [
        (
            "test.phone",
            says("={{ $json.number.slice(1) + '-' + ($json.n > 3 ? 'many' : $json.n) }}"),
        ),
        ("test.phone", says("{{ no expression }}")),
        ("n8n-nodes-base.noOp", json!({})),
        ("n8n-nodes-base.if", condition("string", "equals")),
    ];
    let slow = [
        ("test.phone", says("={{ $now.toISO() }}")),
        ("test.phone", says("={{ DateTime.fromISO($json.a) }}")),
        ("test.phone", says("={{ $json.a.replace(/(a+)+b/, '') }}")),
        ("test.phone", says("={{ $json.list.map(x => x) }}")),
        ("test.phone", says("={{ $json.call() }}")),
        ("test.phone", says("={{ $json.a }} and {{ new RegExp($json.a) }}")),
        ("n8n-nodes-base.if", condition("string", "regex")),
        ("n8n-nodes-base.if", condition("dateTime", "after")),
        ("n8n-nodes-base.code", json!({"parameters": {"jsCode": "return items"}})),
        ("n8n-nodes-base.wait", json!({})),
        ("n8n-nodes-base.errorTrigger", json!({})),
        (
            "n8n-nodes-base.httpRequest",
            json!({"typeVersion": 4.2, "parameters": {"url": "http://a"}}),
        ),
    ];
    for (kind, more) in quick {
        assert!(is_quick(kind, more.clone()), "{kind} {more}");
    }
    for (kind, more) in slow {
        assert!(!is_quick(kind, more.clone()), "{kind} {more}");
    }
}

/// What a run carries along grows only where an expression may ask for it.
#[test]
fn what_no_expression_asks_for_is_not_kept() {
    let edges = [("start", 0, "call"), ("call", 0, "it"), ("it", 0, "call")];
    let looping = |text: &str| {
        let it = ("it", "test.phone", 0, json!({"parameters": {"say": text}}));
        graph(&[("call", "test.phone", 0, json!({})), it], &edges)
    };
    let cases = [
        ("={{ $json.a }}", [false, false]),
        ("={{ $('call').item.json.a }}", [true, false]),
        ("={{ $('call').first().json.a + $json.b }} of {{ $('it').last().json.a }}", [true, true]),
        ("={{ $($json.name).first().json.a }}", [true, true]),
        ("={{ $now.toISO() }}", [true, true]),
    ];
    for (text, asked) in cases {
        let graph = looping(text);
        let is_asked = ["call", "it"].map(|name| graph.is_asked_for(graph.find(name).unwrap()));
        assert_eq!(is_asked, asked, "{text}");
    }

    let mut world = World::start(&looping("={{ $json.a }}"), vec![Item::default()]);
    let mut asked = Vec::new();
    for turn in 0..50 {
        world.answer(0, json!({ "a": turn }));
        asked.extend(world.asked.take());
    }
    assert_eq!(asked.len(), 50);
    assert!(asked.iter().all(|item| item.lineage.is_none()), "a loop of music grows for hours");
}
