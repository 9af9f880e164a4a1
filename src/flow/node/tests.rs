//! Core nodes: what leaves by which output, for each spelling that exports have.

use serde_json::{Value, json};

use crate::base::{Rng, Tick};
use crate::flow::tests::{World, graph, item};
use crate::flow::{AskId, Config, Fault, Finished, Input, Item, Output, RunId, Runner};

/// Runs one node and tells what leaves it: each output `n` leads to a phone called `n`.
fn leaves(kind: &str, version: f64, more: Value, inputs: &[Value]) -> Vec<String> {
    let mut node = json!({"typeVersion": version, "alwaysOutputData": false});
    node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let kind = format!("n8n-nodes-base.{kind}");
    let nodes = [
        ("node", kind.as_str(), 0, node),
        ("0", "test.phone", 0, json!({})),
        ("1", "test.phone", 1, json!({})),
        ("2", "test.phone", 2, json!({})),
    ];
    let catalogue = crate::flow::tests::catalogue();
    let alone = crate::flow::tests::document(&nodes, &[("start", 0, "node")]);
    let (alone, problems) = crate::flow::check(&alone, &catalogue);
    let alone = alone.unwrap_or_else(|| panic!("{problems:#?}"));
    let outputs = alone.node(alone.find("node").unwrap()).outputs.len();
    let names = ["0", "1", "2"];
    let mut edges = vec![("start", 0, "node")];
    edges.extend((0..outputs.min(3)).map(|output| ("node", output, names[output])));
    let graph = graph(&nodes, &edges);
    let mut world = World::start(&graph, inputs.iter().cloned().map(item).collect());
    while world.is_asked() {
        world.answer(1, json!({}));
    }
    let mut log = world.into_log();
    if log.last().is_some_and(|last| last == "success") {
        log.pop();
    }
    log
}

fn condition(kind: &str, operation: &str, left: Value, right: Value) -> Value {
    json!({"leftValue": left, "rightValue": right, "operator": {"type": kind, "operation": operation}})
}

#[test]
fn if_compares_as_its_operator_says() {
    let check = |kind: &str, operation: &str, left: Value, right: Value, holds: bool| {
        let conditions = json!({"conditions": [condition(kind, operation, left, right)]});
        let more = json!({"parameters": {"conditions": conditions}});
        let expected = format!("{} {{}}", u8::from(!holds));
        assert_eq!(leaves("if", 2.0, more, &[json!({})]), [expected], "{kind} {operation}");
    };
    check("string", "equals", json!("9"), json!("9"), true);
    check("string", "startsWith", json!("9123"), json!("9"), true);
    check("string", "notContains", json!("abc"), json!("d"), true);
    check("string", "regex", json!("+49 1"), json!("^\\+\\d+"), true);
    check("string", "regex", json!("ABC"), json!("/b/i"), true);
    check("string", "notRegex", json!("ABC"), json!("b"), true);
    check("string", "notExists", Value::Null, Value::Null, true);
    check("string", "equals", Value::Null, json!(""), true);
    check("number", "gte", json!(3), json!(3), true);
    check("number", "lt", json!(3), json!("4"), true);
    check("number", "gt", Value::Null, json!(1), false);
    check("boolean", "true", json!(true), Value::Null, true);
    check("boolean", "equals", json!(false), json!(true), false);
    check(
        "dateTime",
        "after",
        json!("2024-05-01T12:00:00+02:00"),
        json!("2024-05-01T09:59:59Z"),
        true,
    );
    check("dateTime", "before", json!("2024-02-29"), json!("2024-03-01"), true);
    check("array", "contains", json!(["a", "b"]), json!("b"), true);
    check("array", "lengthGt", json!([1, 2]), json!(1), true);
    check("object", "notEmpty", json!({}), Value::Null, false);
}

#[test]
fn if_is_strict_unless_told_otherwise() {
    let more = |options: Value| {
        let list = json!([condition("number", "equals", json!("={{ $json.n }}"), json!(3))]);
        json!({"parameters": {"conditions": {"options": options, "conditions": list}}})
    };
    let inputs = [json!({"n": "3"})];
    let strict = leaves("if", 2.2, more(json!({})), &inputs);
    assert_eq!(
        strict,
        [
            "failed at node: wrong type: '3' is a string but number was expected [condition 0, item 0] [E-FLOW-CONDITION]"
        ]
    );
    let loose = leaves("if", 2.2, more(json!({"typeValidation": "loose"})), &inputs);
    assert_eq!(loose, [r#"0 {"n":"3"}"#]);

    let mut going_on = more(json!({}));
    going_on["onError"] = json!("continueErrorOutput");
    let both = leaves("if", 2.2, going_on, &[json!({"n": "3"}), json!({"n": 3})]);
    assert_eq!(both[0], r#"0 {"n":3}"#);
    assert!(both[1].starts_with(r#"2 {"n":"3","error":"wrong type"#), "{both:?}");
}

#[test]
fn if_combines_and_reads_its_first_version() {
    let list = json!([
        condition("number", "equals", json!("={{ $json.n }}"), json!(1)),
        condition("number", "equals", json!("={{ $json.n }}"), json!(2)),
    ]);
    let either = json!({"parameters": {"conditions": {"combinator": "or", "conditions": list}}});
    let inputs = [json!({"n": 2}), json!({"n": 3})];
    assert_eq!(leaves("if", 2.0, either.clone(), &inputs), [r#"0 {"n":2}"#, r#"1 {"n":3}"#]);
    assert_eq!(leaves("filter", 2.0, either, &inputs), [r#"0 {"n":2}"#]);

    let old = json!({"parameters": {"conditions": {
        "string": [{"value1": "={{ $json.d }}", "operation": "startsWith", "value2": "9"}],
        "number": [{"value1": "={{ $json.n }}", "operation": "larger", "value2": 1}]}}});
    let inputs = [json!({"d": "91", "n": 2}), json!({"d": "91", "n": 1})];
    assert_eq!(leaves("if", 1.0, old, &inputs), [r#"0 {"d":"91","n":2}"#, r#"1 {"d":"91","n":1}"#]);
}

#[test]
fn switch_takes_the_first_rule_or_all_or_the_fallback() {
    let rule = |digit: &str| json!({"conditions": {"conditions": [condition("string", "startsWith", json!("={{ $json.d }}"), json!(digit))]}});
    let more = |options: Value| json!({"parameters": {"rules": {"values": [rule("1"), rule("12")]}, "options": options}});
    let inputs = [json!({"d": "12"}), json!({"d": "9"})];
    assert_eq!(leaves("switch", 3.2, more(json!({})), &inputs), [r#"0 {"d":"12"}"#]);
    let extra = more(json!({"fallbackOutput": "extra", "allMatchingOutputs": true}));
    assert_eq!(
        leaves("switch", 3.2, extra, &inputs),
        [r#"0 {"d":"12"}"#, r#"1 {"d":"12"}"#, r#"2 {"d":"9"}"#]
    );
    let index = more(json!({"fallbackOutput": 1}));
    assert_eq!(leaves("switch", 3.2, index, &inputs), [r#"0 {"d":"12"}"#, r#"1 {"d":"9"}"#]);

    let expression = json!({"parameters": {"mode": "expression", "numberOutputs": 2, "output": "={{ $json.n }}"}});
    assert_eq!(leaves("switch", 3.0, expression.clone(), &[json!({"n": 1})]), [r#"1 {"n":1}"#]);
    assert_eq!(
        leaves("switch", 3.0, expression, &[json!({"n": 2})]),
        ["failed at node: the output 2 is not allowed: there are 2 [E-FLOW-OUTPUT]"]
    );
    let old = json!({"parameters": {"dataType": "string", "value1": "={{ $json.d }}", "fallbackOutput": 2,
        "rules": {"rules": [{"value2": "12", "output": 1}]}}});
    assert_eq!(leaves("switch", 1.0, old, &inputs), [r#"1 {"d":"12"}"#, r#"2 {"d":"9"}"#]);
}

#[test]
fn set_adds_replaces_and_chooses_fields() {
    let assignments = json!({"assignments": [
        {"name": "a.b", "type": "number", "value": "={{ $json.n + 1 }}"},
        {"name": "t", "type": "string", "value": "={{ $json.n }}"},
        {"name": "no", "type": "string", "value": "={{ $json.missing }}"}]});
    let only = json!({"parameters": {"assignments": assignments}});
    let inputs = [json!({"n": 1, "x": 2})];
    assert_eq!(leaves("set", 3.4, only, &inputs), [r#"0 {"a":{"b":2},"t":"1","no":null}"#]);
    let with = json!({"parameters": {"includeOtherFields": true, "include": "except", "excludeFields": "n",
        "assignments": {"assignments": [{"name": "y", "type": "boolean", "value": "true"}]}}});
    assert_eq!(leaves("set", 3.4, with, &inputs), [r#"0 {"x":2,"y":true}"#]);
    let raw = json!({"parameters": {"mode": "raw", "jsonOutput": "={\"r\": {{ $json.n }} }"}});
    assert_eq!(leaves("set", 3.4, raw, &inputs), [r#"0 {"r":1}"#]);
    let third = json!({"parameters": {"fields": {"values": [{"name": "s", "stringValue": "v"}]}}});
    assert_eq!(leaves("set", 3.0, third, &inputs), [r#"0 {"n":1,"x":2,"s":"v"}"#]);
    let first = json!({"parameters": {"keepOnlySet": true, "values": {"number": [{"name": "z", "value": 5}]}}});
    assert_eq!(leaves("set", 1.0, first, &inputs), [r#"0 {"z":5}"#]);
    let wrong = json!({"parameters": {"assignments": {"assignments": [{"name": "n", "type": "number", "value": "abc"}]}}});
    assert_eq!(
        leaves("set", 3.4, wrong, &inputs),
        ["failed at node: `n` is to be of the type number, and 'abc' is not [E-FLOW-SET]"]
    );
}

#[test]
fn limit_keeps_so_many() {
    let inputs = [json!({"n": 1}), json!({"n": 2}), json!({"n": 3})];
    let last = json!({"parameters": {"maxItems": 2, "keep": "lastItems"}});
    assert_eq!(leaves("limit", 1.0, json!({}), &inputs), [r#"0 {"n":1}"#]);
    assert_eq!(leaves("limit", 1.0, last, &inputs), [r#"0 {"n":2}"#, r#"0 {"n":3}"#]);
}

#[test]
fn items_that_are_asked_about_together_keep_their_order() {
    let more = json!({"typeVersion": 4.2, "onError": "continueErrorOutput",
        "parameters": {"url": "=http://x.test/{{ $json.n }}"}});
    let graph = graph(&[("ask", "n8n-nodes-base.httpRequest", 0, more)], &[("start", 0, "ask")]);
    let items: Vec<Item> = (0..20)
        .map(|n| Item::new([("n".to_owned(), Value::from(n))].into_iter().collect()))
        .collect();
    let config = Config { runs_max: 1, epoch_ms: 0 };
    let mut runner = Runner::new(config, Rng::new(1));
    let (run, trigger) = (RunId(1), graph.find("start").unwrap());
    let start = Input::Start { run, graph, trigger, outputs: vec![items] };
    runner.handle_input(start, Tick::ZERO);
    let asked = |runner: &mut Runner| -> Vec<(AskId, String)> {
        let mut asked = Vec::new();
        while let Some(output) = runner.poll_output() {
            let Output::Ask { ask, parameters, .. } = output else { continue };
            asked.push((ask, parameters["url"].as_str().unwrap().to_owned()));
        }
        asked
    };
    let first = asked(&mut runner);
    assert_eq!(first.len(), 16);
    for (ask, url) in first.into_iter().rev() {
        let answer = match url.ends_with("/3") {
            true => Err(Fault::new("E", "three")),
            false => {
                Ok(vec![(0, Item::new([("url".to_owned(), url.into())].into_iter().collect()))])
            }
        };
        runner.handle_input(Input::Answer { run, ask, answer }, Tick::ZERO);
    }
    let rest = asked(&mut runner);
    assert_eq!(rest.len(), 4);
    for (ask, url) in rest {
        let item = Item::new([("url".to_owned(), url.into())].into_iter().collect());
        runner.handle_input(Input::Answer { run, ask, answer: Ok(vec![(0, item)]) }, Tick::ZERO);
    }
    let Some(Output::Finished { outcome: Finished::Success, last, .. }) = runner.poll_output()
    else {
        panic!("it is not over");
    };
    let urls = last[0].iter().map(|item| item.json["url"].as_str().unwrap().to_owned());
    let expected = (0..20).filter(|n| *n != 3).map(|n| format!("http://x.test/{n}"));
    assert!(urls.eq(expected), "{last:?}");
    assert_eq!((last[1].len(), &last[1][0].json["n"]), (1, &json!(3)));
}

#[test]
fn who_is_cancelled_withdraws_all_that_was_asked() {
    let more = json!({"typeVersion": 4.2, "parameters": {"url": "http://x.test"}});
    let graph = graph(&[("ask", "n8n-nodes-base.httpRequest", 0, more)], &[("start", 0, "ask")]);
    let mut world = World::start(&graph, vec![Item::default(); 3]);
    world.input(Input::Cancel { run: RunId(7) });
    let withdrawn = |line: &&String| line.as_str() == "withdrawn";
    assert_eq!(world.into_log().iter().filter(withdrawn).count(), 3);
}

/// Type, version, parameters; what stays of further ones, and what is hidden.
const HIDDEN: [(&str, f64, &str, &str, &str); 24] = [
    ("merge", 1.0, r#"{"mode": "mergeByKey"}"#, "propertyName1", "join output"),
    ("merge", 2.1, r#"{"mode": "append"}"#, "", "combinationMode mergeByFields joinMode output"),
    (
        "merge",
        2.0,
        r#"{"mode": "combine", "combinationMode": "multiplex"}"#,
        "",
        "mergeByFields joinMode",
    ),
    (
        "merge",
        3.2,
        r#"{"mode": "append"}"#,
        "",
        "combineBy query fieldsToMatchString mergeByFields joinMode outputDataFrom useDataOfInput",
    ),
    (
        "merge",
        3.0,
        r#"{"mode": "combine"}"#,
        "fieldsToMatchString joinMode",
        "mergeByFields numberInputs output query",
    ),
    (
        "merge",
        3.0,
        r#"{"mode": "combine", "advanced": true}"#,
        "mergeByFields",
        "fieldsToMatchString",
    ),
    (
        "merge",
        3.0,
        r#"{"mode": "combine", "combineBy": "combineByPosition"}"#,
        "numberInputs",
        "joinMode fieldsToMatchString",
    ),
    (
        "merge",
        3.0,
        r#"{"mode": "chooseBranch", "output": "empty"}"#,
        "",
        "useDataOfInput combineBy",
    ),
    ("if", 1.0, r#"{}"#, "combineOperation", "looseTypeValidation"),
    ("if", 2.0, r#"{}"#, "options", "looseTypeValidation combineOperation"),
    ("filter", 2.2, r#"{}"#, "looseTypeValidation", "combineOperation"),
    ("dateTime", 1.0, r#"{"action": "calculate"}"#, "operation duration", "toFormat custom"),
    ("dateTime", 2.0, r#"{}"#, "includeTime", "magnitude date format units part"),
    ("dateTime", 2.0, r#"{"operation": "addToDate"}"#, "magnitude duration", "date startDate"),
    ("dateTime", 2.0, r#"{"operation": "formatDate", "format": "yyyy"}"#, "date", "customFormat"),
    ("dateTime", 2.0, r#"{"operation": "roundDate", "mode": "roundUp"}"#, "to", "toNearest"),
    ("set", 2.0, r#"{}"#, "values", "assignments jsonOutput"),
    (
        "set",
        3.2,
        r#"{"include": "selected"}"#,
        "fields includeFields",
        "assignments excludeFields values",
    ),
    ("set", 3.4, r#"{"mode": "raw"}"#, "jsonOutput", "assignments include includeFields"),
    ("switch", 3.2, r#"{"mode": "expression"}"#, "output", "rules value1"),
    (
        "aggregate",
        1.0,
        r#"{"aggregate": "aggregateAllItemData"}"#,
        "destinationFieldName",
        "fieldsToAggregate fieldsToInclude",
    ),
    ("webhook", 2.0, r#"{"path": "a"}"#, "responseCode", "responseData responseBinaryPropertyName"),
    ("wait", 1.1, r#"{"resume": "specificTime"}"#, "dateTime", "amount unit"),
    ("splitOut", 1.0, r#"{"fieldToSplitOut": "a"}"#, "include", "fieldsToInclude"),
];

/// Parameters that the editor hides are no part of the flow, whatever stands in them.
#[test]
fn what_the_editor_hides_is_dropped_with_a_note() {
    let bad = "={{ $('gone').item.json.a }}";
    for (kind, version, parameters, kept, hidden) in HIDDEN {
        let [kept, hidden] = [kept, hidden].map(|keys| keys.split_whitespace().collect::<Vec<_>>());
        let mut given: crate::flow::Object = serde_json::from_str(parameters).unwrap();
        given.extend(hidden.iter().map(|key| ((*key).to_owned(), bad.into())));
        for key in &kept {
            given.entry(*key).or_insert("1".into());
        }
        let node = json!({"typeVersion": version, "parameters": given});
        let kind = format!("n8n-nodes-base.{kind}");
        let document =
            crate::flow::tests::document(&[("node", &kind, 0, node)], &[("start", 0, "node")]);
        let mut document = document;
        if kind.ends_with("webhook") {
            document.body["connections"] = json!({"node": {"main": []}});
        }
        let (graph, problems) = crate::flow::check(&document, &crate::flow::tests::catalogue());
        let noted = problems.iter().filter(|problem| problem.code == "N-FLOW-HIDDEN");
        let mut noted: Vec<&str> =
            noted.filter_map(|problem| problem.parameter.as_deref()).collect();
        noted.sort_unstable();
        let mut expected = hidden.clone();
        expected.sort_unstable();
        assert_eq!(noted, expected, "{kind} {version} {parameters}: {problems:#?}");
        let has = |problem: &str| problems.iter().any(|found| found.code == problem);
        assert!(!has("E-FLOW-REFERENCE"), "{kind} {version} {parameters}: {problems:#?}");
        let Some(graph) = graph else { continue };
        let left = &graph.node(graph.find("node").unwrap()).parameters;
        assert!(kept.iter().all(|key| left.contains_key(*key)), "{kind} {version}: {left:?}");
        assert!(hidden.iter().all(|key| !left.contains_key(*key)), "{kind} {version}: {left:?}");
    }
}
