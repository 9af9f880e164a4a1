//! What a flow costs without the world: a step, a start, an expression by path and by script.

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use ringback::base::{Rng, Tick};
use ringback::flow::{
    Catalogue, Config, Graph, Input, Item, NodeIndex, RunId, Runner, check, read,
};
use serde_json::{Value, json};

/// The program's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const STEPS: usize = 100;

fn main() {
    divan::main();
}

/// A chain of nodes behind a trigger.
fn chain(node: &Value) -> Arc<Graph> {
    sequence(|_| node.clone(), STEPS)
}

fn sequence(node: impl Fn(usize) -> Value, steps: usize) -> Arc<Graph> {
    let name = |n: usize| if n == 0 { "start".to_owned() } else { format!("n{n}") };
    let mut nodes = vec![json!({"name": "start", "type": "n8n-nodes-base.manualTrigger"})];
    let mut connections = json!({});
    for n in 1..=steps {
        let mut node = node(n - 1);
        node["name"] = name(n).into();
        nodes.push(node);
        connections[name(n - 1)] =
            json!({"main": [[{"node": name(n), "type": "main", "index": 0}]]});
    }
    let flow =
        json!({"nodes": nodes, "connections": connections, "settings": {"executionOrder": "v1"}});
    let documents = read(&flow.to_string(), "bench").expect("a workflow");
    let (graph, problems) = check(&documents[0], &Catalogue::core());
    Arc::new(graph.unwrap_or_else(|| panic!("{problems:?}")))
}

fn payload() -> Item {
    let fields = (0..20).map(|n| (format!("key{n}"), Value::from(format!("value {n}"))));
    Item::new(fields.collect())
}

fn run(bencher: Bencher<'_, '_>, node: &Value) {
    bench(bencher, chain(node), STEPS);
}

fn bench(bencher: Bencher<'_, '_>, graph: Arc<Graph>, steps: usize) {
    let mut runner = Runner::new(Config { runs_max: 1, epoch_ms: 0 }, Rng::new(1));
    let mut id = 0;
    bencher.counter(ItemsCount::new(steps)).bench_local(|| {
        id += 1;
        let outputs = vec![vec![payload()]];
        let (run, trigger) = (RunId(id), NodeIndex(0));
        let start = Input::Start { run, graph: graph.clone(), trigger, outputs };
        runner.handle_input(start, Tick::ZERO);
        assert!(runner.poll_output().is_some() && runner.gauges().runs == 0);
    });
}

fn limit(parameter: &str) -> Value {
    json!({"type": "n8n-nodes-base.limit", "parameters": {"keep": parameter}})
}

/// One hundred nodes that only pass on; divide by the items.
#[divan::bench]
fn step_no_op(bencher: Bencher<'_, '_>) {
    run(bencher, &json!({"type": "n8n-nodes-base.noOp"}));
}

/// The same with one constant parameter to look at: what the two below are compared with.
#[divan::bench]
fn step_constant(bencher: Bencher<'_, '_>) {
    run(bencher, &limit("firstItems"));
}

/// The same with an expression that is a plain path.
#[divan::bench]
fn step_path(bencher: Bencher<'_, '_>) {
    run(bencher, &limit("={{ $json.key7 }}"));
}

/// The same with an expression that needs the script engine.
#[divan::bench]
fn step_script(bencher: Bencher<'_, '_>) {
    run(bencher, &limit("={{ $json.key7 + '!' }}"));
}

/// One node with one hundred expressions, so that they and not the step are measured.
fn expressions(bencher: Bencher<'_, '_>, text: &str) {
    let list: Value = (0..STEPS).map(|_| Value::from(text)).collect();
    let mut node = limit("firstItems");
    node["parameters"]["list"] = list;
    bench(bencher, sequence(|_| node.clone(), 1), STEPS);
}

/// The same hundred values without expressions: what a run of one node and its parameters cost.
#[divan::bench]
fn expression_none(bencher: Bencher<'_, '_>) {
    expressions(bencher, "value 7");
}

/// A plain path.
#[divan::bench]
fn expression_path(bencher: Bencher<'_, '_>) {
    expressions(bencher, "={{ $json.key7 }}");
}

/// A script that reads one field of `$json`.
#[divan::bench]
fn expression_script(bencher: Bencher<'_, '_>) {
    expressions(bencher, "={{ $json.key7 + '!' }}");
}

/// A script that calls one of the methods that expressions add to texts.
#[divan::bench]
fn expression_method(bencher: Bencher<'_, '_>) {
    expressions(bencher, "={{ $json.key7.toTitleCase() }}");
}

/// Two paths in the middle of a text.
#[divan::bench]
fn expression_text(bencher: Bencher<'_, '_>) {
    expressions(bencher, "=Hello {{ $json.key3 }}, you are {{ $json.key7 }}");
}

/// A run of twenty nodes as a call has them: conditions, fields, paths and scripts in turn.
#[divan::bench]
fn flow_of_20_nodes(bencher: Bencher<'_, '_>) {
    let condition = json!({"leftValue": "={{ $json.key7 }}", "rightValue": "value 7",
        "operator": {"type": "string", "operation": "equals"}});
    let kinds = [
        json!({"type": "n8n-nodes-base.if", "typeVersion": 2, "parameters": {"conditions": {"conditions": [condition]}}}),
        json!({"type": "n8n-nodes-base.noOp"}),
        json!({"type": "n8n-nodes-base.set", "typeVersion": 3.4, "parameters": {"includeOtherFields": true,
            "assignments": {"assignments": [{"name": "greeting", "type": "string", "value": "=Hello {{ $json.key3 }}"}]}}}),
        json!({"type": "n8n-nodes-base.limit", "parameters": {"keep": "={{ $json.key7 + '!' }}"}}),
    ];
    let graph = sequence(|n| kinds[n % kinds.len()].clone(), 20);
    bench(bencher, graph, 20);
}

/// A condition on a path.
#[divan::bench]
fn step_if(bencher: Bencher<'_, '_>) {
    let condition = json!({"leftValue": "={{ $json.key7 }}", "rightValue": "value 7",
        "operator": {"type": "string", "operation": "equals"}});
    let conditions = json!({"conditions": [condition]});
    let node = json!({"type": "n8n-nodes-base.if", "typeVersion": 2, "parameters": {"conditions": conditions}});
    run(bencher, &node);
}
