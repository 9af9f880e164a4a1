//! Expressions as their authors write them, each by path and by script, and scripts that mean harm.

use std::cell::Cell;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::base::Rng;
use crate::flow::memory::{Memory, Scope};
use crate::flow::tests::{document, graph, item};
use crate::flow::{Item, NodeIndex, RunId};

/// An evaluation at the node `here` behind the node `call`, which gave one item.
fn current(json: Value) -> Current {
    let nodes = [
        ("call", "test.phone", 0, json!({"parameters": {"say": "hi"}})),
        ("here", "test.phone", 0, json!({})),
        ("later", "test.phone", 0, json!({})),
    ];
    let graph = graph(&nodes, &[("start", 0, "call"), ("call", 1, "here"), ("here", 0, "later")]);
    let mut given: Item = item(json!({"legId": "leg-1", "deep": {"list": [1, "two"]}}));
    let call = graph.find("call").unwrap();
    given.descend(call, Vec::new());
    let mut memory = Memory::default();
    memory.record(call, &Arc::new(vec![vec![], vec![given.clone()]]), true);
    let input = Item { lineage: given.lineage.clone(), ..item(json) };
    let scope = Scope {
        run: RunId(7),
        index: graph.find("here").unwrap(),
        graph,
        memory: Arc::new(memory),
        items: Arc::new(vec![input]),
        inputs: Vec::new(),
        mode: crate::flow::Mode::Production,
        source: Some(crate::flow::memory::Source { node: NodeIndex(1), output: 1, pass: 0 }),
        pass: 3,
    };
    Current { scope: Arc::new(scope), item: 0, now_ms: 1_700_000_000_000 }
}

fn scripts() -> Scripts {
    Scripts::new(Rng::new(1), None)
}

fn resolve(scripts: &mut Scripts, expression: &str, json: Value) -> Result<Value, Fault> {
    let mut compiled = Compiled::default();
    let plan = scripts.plan(&format!("={expression}").into(), "say", &mut compiled);
    assert_eq!(compiled.refusals, [], "{expression}");
    scripts.value(&plan, &current(json))
}

fn payload() -> Value {
    json!({"digit": "9", "number": "0049123", "n": 3, "half": 0.5, "yes": true, "nothing": null,
        "list": ["a", "b"], "object": {"a": {"b": "c"}}, "größe": "ü", "odd key": 1, "empty": ""})
}

fn check(expression: &str, expected: Value) {
    let value = resolve(&mut scripts(), expression, payload());
    assert_eq!(value, Ok(expected), "{expression}");
}

/// The same, and the path must have answered, and the engine must say the same.
fn check_both(code: &str, expected: Value) {
    check(&format!("{{{{ {code} }}}}"), expected.clone());
    let mut scripts = scripts();
    let mut compiled = Compiled::default();
    let mut script = scripts.script(code, "", &mut compiled).unwrap().unwrap();
    assert!(script.path.is_some(), "{code} is no path");
    assert!(scripts.engine.is_none());
    script.path = None;
    let value = scripts.typed(&script, &current(payload())).map(Option::unwrap_or_default);
    assert_eq!(value, Ok(expected), "{code} as a script");
}

#[test]
fn paths_say_what_scripts_say() {
    check_both("$json.digit", json!("9"));
    check_both("$json.object.a.b", json!("c"));
    check_both("$json['odd key']", json!(1));
    check_both("$json.list[1]", json!("b"));
    check_both("$json.list[2]", Value::Null);
    check_both("$json.list.length", json!(2));
    check_both("$json.missing", Value::Null);
    check_both("$json.missing.deeper", Value::Null);
    check_both("$json.nothing.deeper", Value::Null);
    check_both("$json.number.slice(1)", json!("049123"));
    check_both("$json.number.slice(2, 4)", json!("49"));
    check_both("$json.number.slice(20)", json!(""));
    check_both("$json.list.length.slice(1)", Value::Null);
    check_both("$json", payload());
    check_both("$input.item.json.n", json!(3));
    check_both("$('call').item.json.legId", json!("leg-1"));
    check_both("$(\"call\").item.json.deep.list[1]", json!("two"));
    check_both("$('call').first().json.legId", json!("leg-1"));
    check_both("$('call').last().json['legId']", json!("leg-1"));
    check_both("'text'", json!("text"));
    check_both("42", json!(42));
    check_both("true", json!(true));
}

#[test]
fn a_single_script_keeps_its_type_and_text_does_not() {
    check("{{ $json.n }}", json!(3));
    check("{{ $json.n }} ", json!("3 "));
    check("a{{ $json.n }}b{{ $json.yes }}", json!("a3btrue"));
    check("{{ $json.half }}!", json!("0.5!"));
    check("{{ $json.list }}!", json!("a,b!"));
    check("{{ $json.object }}!", json!("[object Object]!"));
    check("-{{ $json.nothing }}{{ $json.missing }}{{ 0/0 }}{{ '' }}-", json!("--"));
    check("{{ 0 }}{{ false }}", json!("0false"));
    check("plain", json!("plain"));
    check("\\{{ x", json!("{{ x"));
    check("{{ $json.n + 1", json!(4));
    check("{{ }}", json!(""));
}

#[test]
fn scripts_are_javascript() {
    check("{{ $json.digit === '9' ? 'out' : 'in' }}", json!("out"));
    check("{{ { a: $json.n, b: [$json.half] } }}", json!({"a": 3, "b": [0.5]}));
    check("{{ $json.list.map(x => x.toUpperCase()).join('-') }}", json!("A-B"));
    check("{{ `${$json.n} of ${$json.list.length}` }}", json!("3 of 2"));
    check(
        "{{ (() => { let sum = 0; for (const i of [1, 2]) sum += i; return sum })() }}",
        json!(3),
    );
    check("{{ Object.keys($json).length }}", json!(11));
    check("{{ 'digit' in $json }}", json!(true));
    check("{{ JSON.stringify($json.object) }}", json!("{\"a\":{\"b\":\"c\"}}"));
    check("{{ ({...$json}).größe }}", json!("ü"));
    check("{{ 1; 2 }}", json!(1));
    check("{{ $json.number.replace(/^00/, '+') }}", json!("+49123"));
    check("{{ new Date(0) }}", json!("1970-01-01T00:00:00.000Z"));
    check("{{ $json.n // the number\n }}", json!(3));
}

#[test]
fn what_scripts_see() {
    check("{{ $if($json.yes, 1, 2) }}", json!(1));
    check("{{ $ifEmpty($json.empty, 'x') }}", json!("x"));
    check(
        "{{ [$itemIndex, $runIndex, $prevNode.name, $prevNode.outputIndex] }}",
        json!([0, 3, "call", 1]),
    );
    check(
        "{{ [$workflow.name, $execution.id, $execution.mode] }}",
        json!(["flow", "7", "production"]),
    );
    check("{{ $now }}", json!("2023-11-14T22:13:20.000Z"));
    check("{{ $now.plus(1, 'hours').toMillis() - Date.now() }}", json!(3_600_000));
    check("{{ [$('call').isExecuted, $('later').isExecuted] }}", json!([true, false]));
    check("{{ $('call').all().length }}", json!(1));
    check("{{ $('call').params.say }}", json!("hi"));
    check("{{ $node['call'].json.legId }}", json!("leg-1"));
    check("{{ $input.all()[0].json.n + $input.first().json.n }}", json!(6));
    check(
        "{{ [$json.empty.isEmpty(), $json.list.last(), $json.half.round()] }}",
        json!([true, "b", 1]),
    );
}

/// Expressions and what they come to, as JSON: each name says something that only it can say.
const SAID: [(&str, &str); 29] = [
    ("[$json.n, $data.n, $thisItem.json.n]", "[3, 3, 3]"),
    ("$binary === undefined", "true"),
    ("[$input.item.json.n, $input.first().json.n, $input.last().json.n]", "[3, 3, 3]"),
    ("[$input.all().length, $input.params, $input.context]", "[1, {}, {}]"),
    ("[$itemIndex, $position, $thisItemIndex, $runIndex, $thisRunIndex]", "[0, 0, 0, 3, 3]"),
    ("[$prevNode.name, $prevNode.outputIndex, $prevNode.runIndex]", "[\"call\", 1, 0]"),
    ("[$workflow.id, $workflow.name, $workflow.active]", "[\"\", \"flow\", true]"),
    (
        "[$execution.id, $execution.mode, $executionId, $mode]",
        "[\"7\", \"production\", \"7\", \"trigger\"]",
    ),
    ("[$execution.customData.set('a', 1), $execution.customData.get('a')]", "[null, \"1\"]"),
    (
        "[$execution.customData.setAll({ b: 2 }), $execution.customData.getAll()]",
        "[null, {\"b\": \"2\"}]",
    ),
    ("[$vars.a, $secrets, $self]", "[null, {}, {}]"),
    ("$now.toISO() + $today.hour", "\"2023-11-14T22:13:20.000Z0\""),
    ("[$jmespath({ a: 1 }, 'a'), $jmesPath({ a: [2] }, 'a[0]')]", "[1, 2]"),
    ("[$parameter, $rawParameter, $parameter['&say']]", "[{}, {}, null]"),
    ("[$nodeVersion, $nodeId, $webhookId ?? 'none']", "[1, \"\", \"none\"]"),
    ("[$item(0).$json.n, $items().length, $items('call')[0].json.legId]", "[3, 1, \"leg-1\"]"),
    ("$evaluateExpression('{{ $json.n + 1 }' + '}')", "4"),
    (
        "$evaluateExpression('n is {{ $json.n }' + '}, {{ gone.away }' + '}{{ $json.list.first() }' + '}', 0)",
        "\"n is 3, a\"",
    ),
    ("$getPairedItem('call', null, { item: 0 }).json.legId", "\"leg-1\""),
    ("[$pageCount, $response, $request].every(x => x === undefined)", "true"),
    (
        "[$node['call'].json.legId, $node['call'].data.legId, $node['call'].runIndex]",
        "[\"leg-1\", \"leg-1\", 0]",
    ),
    (
        "[$node['call'].parameter.say, $node['call'].context, $node['call'].binary ?? 0]",
        "[\"hi\", {}, 0]",
    ),
    (
        "[$('call').item, $('call').pairedItem(), $('call').itemMatching(0)].map(x => x.json.legId)",
        "[\"leg-1\", \"leg-1\", \"leg-1\"]",
    ),
    (
        "[$('call').first(), $('call').last(), $('call').all(1, 0)[0]].map(x => x.json.legId)",
        "[\"leg-1\", \"leg-1\", \"leg-1\"]",
    ),
    ("[$('call').isExecuted, $('call').params.say, $('call').context]", "[true, \"hi\", {}]"),
    (
        "[$if(1, 2, 3), $ifEmpty('', 4), $not(1), not(0), $min(3, 2), min(3, 2), $max(3, 2), max(3, 2)]",
        "[2, 4, false, true, 2, 2, 3, 3]",
    ),
    (
        "[$average(1, 3), average([1, 3]), numberList(1, 3).length, zip(['a'], [1])]",
        "[2, 2, 3, {\"a\": 1}]",
    ),
    (
        "[DateTime.fromISO('2024-02-01').month, Duration.fromObject({ hours: 2 }).as('minutes')]",
        "[2, 120]",
    ),
    ("Interval.fromDateTimes(DateTime.fromMillis(0), DateTime.fromMillis(9)).length()", "9"),
];

/// Every name that the language has, each with something that only it can say.
#[test]
fn every_name_is_there() {
    let names = "$json $data $binary $input $itemIndex $runIndex $prevNode $workflow $execution \
        $vars $secrets $env $now $today $jmespath $jmesPath $parameter $rawParameter $nodeVersion \
        $nodeId $webhookId $mode $self $position $thisItem $thisItemIndex $thisRunIndex $item \
        $items $evaluateExpression $getPairedItem $fromAI $executionId $resumeWebhookUrl \
        $pageCount $response $request $node $( $if $ifEmpty $min $max $average $not DateTime \
        Interval Duration min max average not numberList zip";
    for (code, expected) in SAID {
        check(&format!("{{{{ {code} }}}}"), serde_json::from_str(expected).unwrap());
    }
    let failing = [
        ("$env.HOME", "access to env vars denied"),
        ("$fromAI('a')", "$fromAI() works only for tools of an AI agent"),
        ("$resumeWebhookUrl", "$execution.resumeUrl: there is no server that waits for a call"),
        (
            "$execution.resumeFormUrl",
            "$execution.resumeFormUrl: no node of this server waits for a form",
        ),
        ("$evaluateExpression('{{ $json. }' + '}')", "invalid syntax"),
        ("$evaluateExpression('{{ 1 }' + '}', 7)", "there is no item 7: there are 1"),
    ];
    for (code, message) in failing {
        let told = resolve(&mut scripts(), &format!("{{{{ {code} }}}}"), payload()).unwrap_err();
        assert!(told.message.contains(message), "{code}: {told}");
    }
    let said = SAID.iter().chain(&failing).map(|(code, _)| *code);
    let said: String = said.collect();
    for name in names.split_whitespace() {
        assert!(said.contains(name), "nothing is said about {name}");
        assert!(name == "$(" || plan::is_known(name), "{name}");
    }
}

#[test]
fn errors_are_swallowed_unless_they_are_about_nodes() {
    check("{{ $json.nothing.deeper.still }}", Value::Null);
    check("{{ unknown }}", Value::Null);
    check("{{ unknown.property }}", Value::Null);
    check("{{ (() => { throw new Error('no') })() }}", Value::Null);
    let fail = |expression: &str, message: &str| {
        let fault = resolve(&mut scripts(), expression, payload()).unwrap_err();
        assert_eq!((fault.code.as_ref(), fault.message.as_str()), ("E-FLOW-EXPRESSION", message));
    };
    fail("{{ $('later').item.json.a }}", "the node 'later' has not been executed");
    fail("{{ [$('later').item] }}", "the node 'later' has not been executed");
    // What the script itself has caught is no error.
    check("{{ (() => { try { $('later').first() } catch { return 1 } })() }}", json!(1));
    check("{{ !unknown }}", json!(true));
    fail("{{ $json.list.map }}", "the expression gives a function: add () to call it");
}

#[test]
fn nothing_leads_out_and_nothing_is_left_behind() {
    let mut scripts = scripts();
    let mut same = |code: &str, expected: Value| {
        let value = resolve(&mut scripts, &format!("{{{{ {code} }}}}"), payload());
        assert_eq!(value, Ok(expected), "{code}");
    };
    same(
        "[typeof eval, typeof Function, typeof globalThis, typeof Reflect, typeof Proxy, typeof Promise]",
        json!(["object", "object", "object", "object", "object", "object"]),
    );
    same("(() => {})['const' + 'ructor']", Value::Null);
    same("(async () => {})['const' + 'ructor']", Value::Null);
    same("(function* () {})['const' + 'ructor']", Value::Null);
    same("$json['const' + 'ructor']", Value::Null);
    same("$json['__pro' + 'to__']", Value::Null);
    same("$['const' + 'ructor']", Value::Null);
    same("[].map['const' + 'ructor']", Value::Null);
    same(
        "(() => { try { Array['proto' + 'type'].leak = 1 } catch {} return [].leak })()",
        Value::Null,
    );
    same("(() => { leak = 5; return 1 })()", json!(1));
    same("typeof leak", json!("undefined"));
    same("(function () { this.leak = 5; return 1 })()", Value::Null);
    same("(function () { return this.leak })()", Value::Null);
    same(
        "(() => { $json.digit = 'changed'; $json.list.push(1); return $json.digit })()",
        json!("changed"),
    );
    same("$json.digit + $json.list.length", json!("92"));
}

#[test]
fn what_may_take_long_is_told_by_its_words() {
    let is_light = |code: &str| {
        let mut scripts = scripts();
        scripts.script(code, "", &mut Compiled::default()).unwrap().unwrap().is_light
    };
    for light in [
        "$json.a",
        "$json.a + 'x' + 12.5",
        "$json.a >= 3 && $json.b !== 'n' ? $now.toISO() : $('call').first().json.a",
        "$json.a.toTitleCase().replace(/a+n/, '-') == 1 || a <= 0x1f",
        "`${$json.a}n`",
    ] {
        assert!(is_light(light), "{light}");
    }
    for heavy in [
        "$json.list.map(x => x)",
        "(function () { return 1 })()",
        "2n ** 5n",
        "0xffn",
        "BigInt('9')",
        "'x'.repeat(9)",
        "new DataView($json.a)",
        "($json.a = $json.a + $json.a)",
        "($json.a += $json.a)",
        &"+1".repeat(101),
    ] {
        assert!(!is_light(heavy), "{heavy}");
    }
}

#[test]
fn chance_is_seeded() {
    let draw = || resolve(&mut scripts(), "{{ Math.random() }}", payload());
    assert_eq!(draw(), draw());
}

#[test]
fn hostile_scripts_are_stopped_and_the_next_one_runs() {
    let mut scripts = scripts();
    for code in [
        "(() => { for (;;) {} })()",
        "(() => { try { for (;;) {} } catch {} })()",
        "(() => { const a = []; for (;;) a.push('x'.repeat(1e6) + a.length) })()",
        "'x'.repeat(1e9)",
        "(() => { let a = 'x'; for (;;) a += a })()",
        "/(a+)+$/.test('a'.repeat(40) + 'b')",
        "new Uint8Array(1e9)",
        "JSON.stringify(Array.from({ length: 1e6 }, (_, i) => [i, i, i, i, i, i, i]))",
        "(() => { const f = () => f() + 1; return f() })()",
        "(() => { let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a })()",
        "(() => { let a = [1]; for (let i = 0; i < 40; i++) a = [a, a]; return a })()",
        "(() => { let a = [1]; for (let i = 0; i < 40; i++) a = [a, a]; return JSON.stringify(a) })()",
        "(() => { const a = []; a.length = 4294967295; return a })()",
        "({ toJSON() { for (;;) {} } })",
        "({ toString() { for (;;) {} } }) + ''",
        "(() => { throw { get message() { for (;;) {} } } })()",
        "(() => { throw null })()",
        "[...(function* () { for (;;) yield 1 })()]",
        "new RegExp('('.repeat(1e5) + ')'.repeat(1e5)).test('')",
        "JSON.parse('['.repeat(1e6))",
        "Math.max.apply(null, { length: 4294967295 })",
        "JSON.stringify({}, { length: 4294967295 })",
        "new Array(4294967295).fill(0)",
        // Searching in C, which never asks.
        "'a'.repeat(3e7).indexOf('a'.repeat(1.5e7) + 'b')",
        "'a'.repeat(3e7).lastIndexOf('b' + 'a'.repeat(1.5e7))",
        "'a'.repeat(3e7).includes({ toString: () => 'a'.repeat(1.5e7) + 'b' })",
        "'a'.repeat(3e7).split('a'.repeat(1.5e7) + 'b').length",
        "'a'.repeat(3e7).replace('a'.repeat(1.5e7) + 'b', '').length",
        "'a'.repeat(3e7).replaceAll('a', 'aaaaaaaa').length",
        "''.indexOf.call({ toString: () => 'a'.repeat(3e7) }, 'a'.repeat(1.5e7) + 'b')",
        // Lengths that are others the second time.
        "[].reverse.call({ n: 0, get length() { return this.n++ ? 4e9 : 1 } })",
        "[].sort.call({ length: { n: 0, valueOf() { return this.n++ ? 4e9 : 1 } } })",
        "[].concat({ n: 0, get length() { return this.n++ ? 4e9 : 1 }, [Symbol.isConcatSpreadable]: true })",
        "(() => { class A extends Uint8Array { get length() { return 4e9 } } return [].reverse.call(new A(1)) })()",
    ] {
        let fault = resolve(&mut scripts, &format!("{{{{ {code} }}}}"), payload());
        let is_stopped = fault.as_ref().is_err_and(|fault| fault.code == "E-FLOW-SCRIPT-LIMIT");
        assert!(is_stopped || fault == Ok(Value::Null), "{code}: {fault:?}");
        let value = resolve(&mut scripts, "{{ $json.n * 2 }}", payload());
        assert_eq!(value, Ok(json!(6)), "after {code}");
    }
}

#[test]
fn a_query_that_goes_too_deep_is_refused() {
    let mut scripts = scripts();
    for query in
        ["'('.repeat(1e5)", "'!'.repeat(1e5) + 'a'", "'a' + '.a'.repeat(1e5)", "'['.repeat(200)"]
    {
        let code = format!("{{{{ $jmespath({{}}, {query}) }}}}");
        let fault = resolve(&mut scripts, &code, payload()).unwrap_err();
        assert!(fault.message.contains("JMESPath"), "{query}: {fault}");
    }
    let deep = "{{ $jmespath({ a: 1 }, 'a' + ' | @'.repeat(100)) }}";
    assert_eq!(resolve(&mut scripts, deep, payload()), Ok(json!(1)));
}

#[test]
fn what_is_guarded_still_does_what_it_did() {
    check("{{ 'a-b-c'.split('-', 2).concat(['x'], 'y') }}", json!(["a", "b", "x", "y"]));
    check(
        "{{ ['abc'.split(), 'abc'.split(undefined, 0), 'abc'.split('')] }}",
        json!([["abc"], [], ["a", "b", "c"]]),
    );
    check(
        "{{ 'aXbX'.replace('X', (found, at) => found + at) + 'aa'.replaceAll('a', '$&$&') }}",
        json!("aX1bXaaaa"),
    );
    check(
        "{{ ['abca'.indexOf('a', 1), 'abca'.lastIndexOf('a'), 'null'.includes(null), 'x'.indexOf()] }}",
        json!([3, 3, true, -1]),
    );
    check("{{ 'a1b2'.split(/\\d/) }}", json!(["a", "b", ""]));
    check("{{ [].slice.call({ length: 2, 0: 'a', 1: 'b' }) }}", json!(["a", "b"]));
    check(
        "{{ Array.from(new Uint8Array([1, 2])).concat([].slice.call(new Uint8Array([3]))) }}",
        json!([1, 2, 3]),
    );
    check(
        "{{ JSON.stringify({ a: 1, b: [2] }, null, 1) }}",
        json!("{\n \"a\": 1,\n \"b\": [\n  2\n ]\n}"),
    );
    check("{{ JSON.stringify({ a: 1, b: 2 }, ['b']) }}", json!("{\"b\":2}"));
}

#[test]
fn lengths_that_are_lies_are_refused() {
    let mut scripts = scripts();
    for call in [
        "reverse",
        "splice",
        "unshift",
        "join",
        "toString",
        "copyWithin",
        "concat",
        "slice",
        "shift",
        "sort",
    ] {
        let code = format!("{{{{ [].{call}.call({{ length: 4e9 }}, 1, 2, 3) }}}}");
        let value = resolve(&mut scripts, &code, payload());
        assert!(
            matches!(value, Ok(Value::Null | Value::String(_) | Value::Array(_))),
            "{call}: {value:?}"
        );
    }
    let value = resolve(&mut scripts, "{{ String.raw({ raw: { length: 4e9 } }) }}", payload());
    assert_eq!(value, Ok(Value::Null));
}

#[test]
fn a_deadline_stops_a_script_before_its_steps_are_spent() {
    struct Third(Cell<u32>);
    impl Deadline for Third {
        fn arm(&self, _times: u32) {
            self.0.set(0);
        }
        fn is_past(&self) -> bool {
            self.0.set(self.0.get() + 1);
            self.0.get() > 3
        }
    }
    let deadline = Rc::new(Third(Cell::new(0)));
    let mut scripts = Scripts::new(Rng::new(1), Some(deadline.clone()));
    let fault = resolve(&mut scripts, "{{ (() => { for (;;) {} })() }}", payload()).unwrap_err();
    assert_eq!(fault.code, "E-FLOW-SCRIPT-LIMIT");
    assert_eq!(deadline.0.get(), 4);
}

#[test]
fn the_time_of_an_expression_begins_when_what_dates_need_has_been_read() {
    /// Past at its first question, unless there is more time than an expression has.
    struct Impatient(Cell<bool>);
    impl Deadline for Impatient {
        fn arm(&self, times: u32) {
            self.0.set(times == 1);
        }
        fn is_past(&self) -> bool {
            self.0.get()
        }
    }
    for code in ["{{ $now.year }}", "{{ '2023-11-14'.toDateTime().year }}"] {
        let mut scripts = Scripts::new(Rng::new(1), Some(Rc::new(Impatient(Cell::new(false)))));
        assert_eq!(resolve(&mut scripts, code, payload()), Ok(json!(2023)), "{code}");
    }
}

#[test]
fn what_is_no_script_is_refused_at_import_with_its_place() {
    // The words after the place are the engine's own.
    let refuse = |text: &str, column: usize, message: &str| {
        let mut compiled = Compiled::default();
        scripts().plan(&text.into(), "say", &mut compiled);
        let refusal = &compiled.refusals[0];
        assert_eq!((refusal.column, refusal.message.as_str()), (column, message), "{text}");
    };
    refuse("={{ $json. }}", 12, "expecting field name");
    refuse("=é {{ a b }}", 9, "Unexpected identifier 'b'");
    refuse("={{ a }} {{ \n + * b }}", 17, "unexpected token in expression: '*'");
    refuse("={{ a.constructor }}", 7, "`constructor` may not be used");
    refuse("={{ (a }}", 8, "a bracket does not match");
    refuse("={{ '}}' }}", 5, "a text, pattern or comment does not end");

    let more = json!({"parameters": {"say": "={{ $('cal').item.json.a }}"}});
    let flow = document(&[("call", "test.phone", 0, more)], &[("start", 0, "call")]);
    let (graph, problems) = crate::flow::check(&flow, &crate::flow::tests::catalogue());
    assert!(graph.is_none());
    assert_eq!(
        problems[0].to_string(),
        "error[E-FLOW-REFERENCE]: the expression refers to `cal`, and no node has that name\n  \
         --> a.json, workflow `flow`, node `call`, parameter `say`\n   = help: did you mean `call`?"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn arbitrary_expressions_never_panic(text in "=[{}$a-c.'\"()\\[\\]/`;0 +é]{0,40}") {
        let mut scripts = scripts();
        let mut compiled = Compiled::default();
        let plan = scripts.plan(&text.into(), "say", &mut compiled);
        if compiled.refusals.is_empty() {
            let _ = scripts.value(&plan, &current(payload()));
        }
    }

    #[test]
    fn paths_and_scripts_agree(
        root in prop_oneof![Just("$json"), Just("$('call').item.json"), Just("$('call').first().json")],
        keys in proptest::collection::vec(prop_oneof![
            Just(".object"), Just(".a"), Just("['b']"), Just(".list"), Just("[0]"), Just("[1]"), Just(".length"),
            Just(".n"), Just(".digit"), Just(".slice(1)"), Just(".nothing"), Just(".deep"), Just(".größe"), Just("[\"legId\"]"),
        ], 0..4),
    ) {
        let code = format!("{root}{}", keys.concat());
        let mut scripts = scripts();
        let mut script = scripts.script(&code, "", &mut Compiled::default()).unwrap().unwrap();
        let current = current(payload());
        let by_path = (scripts.typed(&script, &current), scripts.text(&script, &current));
        script.path = None;
        let by_script = (scripts.typed(&script, &current), scripts.text(&script, &current));
        prop_assert_eq!(by_path, by_script, "{}", code);
    }
}
