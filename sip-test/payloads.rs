//! What triggers and operations say, and where ids are looked for (contract §2, §5 to §8, §10).

use std::collections::BTreeSet;
use std::time::Duration;

use ringback::base::Tick;
use ringback::call::{Fact, node};
use ringback::flow::Graph;
use ringback::sim::{Answering, Party, Phone, Server, World, standard_config};
use serde_json::{Value, json};

use crate::story;

pub(crate) const ONE: usize = 2;
pub(crate) const TWO: usize = 3;

/// One step of a flow: its name, its parameters, and the step that each of its branches leads to.
pub(crate) type Step<'a> = (&'a str, Value, &'a [&'a str]);

/// Says the item that came to it, and fails.
pub(crate) fn told() -> Step<'static> {
    ("told", json!({ "errorMessage": "={{ JSON.stringify($json) }}" }), &[])
}

/// These steps behind a trunk that needs no proof. Beside it two extensions, a queue whose agent is
/// never there, one of the first extension, both of which tell their items, and a trunk that has not
/// registered.
pub(crate) fn house(steps: &[Step<'_>]) -> Graph {
    let account =
        |number: &str| json!({ "username": number, "password": "secret", "extension": number });
    let node = |name: &str, kind: &str, parameters: &Value| json!({ "name": name, "type": kind, "typeVersion": 1, "parameters": parameters });
    let to = |name: &&str| match *name {
        "" => json!([]),
        name => json!([{ "node": name, "type": "main", "index": 0 }]),
    };
    let line = json!({ "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false });
    let phones = json!({ "triggerOn": "extensions", "ref": "office",
        "staticCredentials": { "item": [account("101"), account("102")] } });
    let queue = |reference: &str, agents: &str| json!({ "triggerOn": "queue", "ref": reference, "queueExtensions": agents });
    let carrier = json!({ "triggerOn": "trunk", "ref": "carrier", "trunkConnectionMode": "dynamic",
        "trunkStaticUsername": "carrier", "trunkStaticPassword": "secret" });
    let mut nodes = vec![
        node("line", node::TRIGGER, &line),
        node("office", node::TRIGGER, &phones),
        node("support", node::TRIGGER, &queue("support", "103")),
        node("sales", node::TRIGGER, &queue("sales", "101")),
        node("carrier", node::TRIGGER, &carrier),
    ];
    let mut connections = json!({ "line": { "main": [to(&steps[0].0)] } });
    if steps.iter().any(|(name, ..)| *name == "told") {
        connections["support"] = json!({ "main": [[], [], to(&"told")] });
        connections["sales"] = json!({ "main": [to(&"told"), to(&"told"), []] });
    }
    for (name, parameters, branches) in steps {
        let has = |key: &str| parameters.get(key).is_some();
        let kind = match (has("errorMessage"), has("resume"), has("jsCode")) {
            (true, ..) => "n8n-nodes-base.stopAndError",
            (_, true, _) => "n8n-nodes-base.wait",
            (.., true) => "n8n-nodes-base.code",
            _ => node::ACTION,
        };
        nodes.push(node(name, kind, parameters));
        connections[*name] = json!({ "main": branches.iter().map(to).collect::<Vec<_>>() });
    }
    let document = json!({ "name": "contract", "nodes": nodes, "connections": connections,
        "settings": { "executionOrder": "v1" } });
    story::flow_text(&document.to_string())
}

/// Somebody calls this flow: what happened, and what its steps that tell had.
pub(crate) struct Told {
    pub(crate) facts: Vec<(Tick, Fact)>,
    pub(crate) items: Vec<Value>,
    pub(crate) world: World,
}

/// The caller, the server with these flows, and two extensions that answer after a second.
pub(crate) fn run_flows(flows: Vec<Graph>, script: impl FnOnce(&mut World)) -> Told {
    let at = |host: u8, port| std::net::SocketAddr::from(([127, 0, 0, host], port));
    let extension = |name: &str, host| {
        let answering = Answering::After(Duration::from_secs(1));
        let phone = Phone::new(name, at(host, 5060), at(host, 4000), host.into());
        Party::Phone(Box::new(phone.answering(answering)))
    };
    let config = standard_config(at(9, 5060));
    let server = Server::new(at(9, 5060), config, flows, story::prompts(), 1);
    let caller = story::phone("caller", 2).numbered("+4930111");
    let parties = vec![
        Party::Phone(Box::new(caller)),
        Party::Server(Box::new(server)),
        extension("one", 20),
        extension("two", 21),
    ];
    let mut world = World::new(5, parties);
    for (index, number) in [(ONE, "101"), (TWO, "102")] {
        world.with_phone(index, |one, now| one.register(at(9, 5060), number, "secret", now));
    }
    world.run_for(Duration::from_millis(200));
    world.with_phone(story::CALLER, |caller, now| caller.call("200", at(9, 5060), now));
    world.run_for(Duration::from_secs(1));
    script(&mut world);
    world.run_for(Duration::from_secs(40));
    let facts = world.server().take_facts();
    let error = |(_, fact): &(Tick, Fact)| {
        let Fact::RunFailed { error, .. } = fact else { return None };
        let json = error.get(error.find('{')?..=error.rfind('}')?)?;
        serde_json::from_str(json).ok()
    };
    let items = facts.iter().filter_map(error).collect();
    for index in [story::CALLER, ONE, TWO] {
        world.with_phone(index, Phone::hangup);
    }
    world.run_for(Duration::from_secs(50));
    story::assert_server_at_rest(&mut world);
    Told { facts, items, world }
}

/// [`run_flows`] with these steps.
pub(crate) fn run(steps: &[Step<'_>], script: impl FnOnce(&mut World)) -> Told {
    run_flows(vec![house(steps)], script)
}

/// What the first telling step of a call had, without `sipPbx`, and that.
pub(crate) fn say(steps: &[Step<'_>], script: impl FnOnce(&mut World)) -> (Value, Value) {
    let Told { items, facts, world } = run(steps, script);
    let mut item = items.first().cloned();
    let item = item.as_mut().unwrap_or_else(|| panic!("nothing: {facts:?}\n{}", world.ladder()));
    let context = item.as_object_mut().and_then(|item| item.remove("sipPbx"));
    (item.take(), context.unwrap_or_default())
}

pub(crate) fn step<'a>(
    name: &'a str,
    operation: &str,
    more: Value,
    branches: &'a [&'a str],
) -> Step<'a> {
    let mut parameters = json!({ "operation": operation });
    parameters.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
    (name, parameters, branches)
}

pub(crate) fn nothing(_: &mut World) {}

pub(crate) fn presses(digits: &'static str) -> impl FnOnce(&mut World) {
    move |world| world.with_phone(story::CALLER, |caller, now| caller.press(digits, now))
}

pub(crate) fn hangs_up(world: &mut World) {
    world.with_phone(story::CALLER, Phone::hangup);
}

pub(crate) fn answer() -> Step<'static> {
    step("answer", "call.answer", json!({}), &["it"])
}

/// §6: payloads of the call operations; digits of a rule are not told.
#[test]
fn what_call_operations_say() {
    let leg = json!({ "legId": "leg-0-0" });
    for operation in ["call.ringing", "call.answer", "call.hangup"] {
        let (item, context) = say(&[step("it", operation, json!({}), &["told"]), told()], nothing);
        assert_eq!(item, leg, "{operation}");
        assert_eq!(context, json!({ "legId": "leg-0-0", "ref": "line" }), "{operation}");
    }
    let rules = json!({ "rules": { "item": [{ "pattern": "1", "label": "one" }] } });
    let with = |more: Value| {
        let mut all = rules.clone();
        all.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        all
    };
    let wait = |more: Value, branches: &'static [&'static str], script: fn(&mut World)| {
        say(&[answer(), step("it", "call.wait", with(more), branches), told()], script).0
    };
    let press_1 = |world: &mut World| presses("1")(world);
    let press_5 = |world: &mut World| presses("5")(world);
    assert_eq!(
        wait(json!({}), &["told"], press_1),
        json!({ "legId": "leg-0-0", "eventType": "dtmf" })
    );
    assert_eq!(
        wait(json!({ "waitDtmfFallbackEnabled": true }), &["", "told"], press_5),
        json!({ "legId": "leg-0-0", "eventType": "dtmf", "digits": "5" })
    );
    assert_eq!(
        wait(json!({ "timeoutSeconds": 0 }), &["", "told"], nothing),
        json!({ "legId": "leg-0-0", "eventType": "timeout" })
    );
    assert_eq!(
        wait(json!({}), &["", "", "told"], hangs_up),
        json!({ "legId": "leg-0-0", "eventType": "ended", "reason": "remote_hangup" })
    );
    // Nobody of the queue is online: the leg is placed, and removed at once.
    let interrupts = json!({ "options": { "interruptReasons": ["call_queue_removed"] } });
    let steps = [
        step("put", "queue.putLeg", json!({ "ref": "support" }), &["it"]),
        step("it", "call.wait", interrupts, &["told"]),
        told(),
    ];
    let Told { items, .. } = run(&steps, nothing);
    let interrupted = items.into_iter().find(|item| item["eventType"] == "interrupt");
    let context = json!({ "ref": "line", "legId": "leg-0-0" });
    assert_eq!(
        interrupted,
        Some(json!({ "legId": "leg-0-0", "eventType": "interrupt",
                     "reason": "call_queue_removed", "sipPbx": context }))
    );
}

pub(crate) fn dial(numbers: &str) -> Value {
    json!({ "callMode": "extension", "extensionNumbers": numbers })
}

/// §6: a bridge names its legs in an order of its own, an unbridge goes two ways.
#[test]
fn what_bridges_say() {
    let bridge = json!({
        "legAId": "={{ $('line').item.json.legId }}",
        "legBId": "={{ $('dial').item.json.legId }}",
    });
    let bridged = [
        step("dial", "dial.make", dial("101"), &["wait"]),
        step("wait", "dial.wait", json!({}), &["it"]),
        step("it", "call.bridge", bridge, &["told"]),
        told(),
    ];
    assert_eq!(say(&bridged, nothing).0, json!({ "legIdA": "leg-0-0", "legIdB": "leg-1-0" }));
    let of = json!({ "options": { "legId": "={{ $('line').item.json.legId }}" } });
    for (branches, leg) in [(&["told"][..], "leg-0-0"), (&["", "told"], "leg-1-0")] {
        let steps = [
            bridged[0].clone(),
            bridged[1].clone(),
            ("it", bridged[2].1.clone(), &["un"][..]),
            step("un", "call.unbridge", of.clone(), branches),
            told(),
        ];
        assert_eq!(say(&steps, nothing).0, json!({ "legId": leg }));
    }
}

/// §7: payloads of dials; the leg is told only where there is but one target.
#[test]
fn what_dials_say() {
    let made = |parameters: Value, branches: &'static [&'static str]| {
        say(&[step("it", "dial.make", parameters, branches), told()], nothing)
    };
    let (item, context) = made(dial("101"), &["told"]);
    assert_eq!(item, json!({ "dialId": "dial-0-0", "legId": "leg-1-0" }));
    assert_eq!(context, json!({ "dialId": "dial-0-0", "legId": "leg-1-0", "ref": "line" }));
    assert_eq!(made(dial("101, 102"), &["told"]).0, json!({ "dialId": "dial-0-0" }));
    assert_eq!(
        made(dial("103,104"), &["", "told"]).0,
        json!({ "reason": "no_available_endpoints", "message": "no registered and free endpoint",
                "extensionNumbers": ["103", "104"] })
    );
    let wait =
        |to: &str, more: Value, branches: &'static [&'static str], script: fn(&mut World)| {
            let steps = [
                step("dial", "dial.make", dial(to), &["it"]),
                step("it", "dial.wait", more, branches),
                told(),
            ];
            say(&steps, script).0
        };
    let of_leg = |leg: &str, left: u32| json!({ "dialId": "dial-0-0", "legId": leg, "stillDialingLegCount": left });
    let rings = json!({ "waitEventOutputs": ["ringing"] });
    assert_eq!(wait("101,102", rings, &["told"], nothing), of_leg("leg-1-0", 2));
    assert_eq!(wait("101", json!({}), &["told"], nothing), of_leg("leg-1-0", 0));
    let brief = json!({ "dialTimeoutSeconds": 0.5 });
    assert_eq!(
        wait("101", brief, &["", "", "told"], nothing),
        json!({ "dialId": "dial-0-0", "stillDialingLegCount": 1 })
    );
}

/// §7.3: the master leg interrupts the wait and never the dial; a digit stays for the next wait.
#[test]
fn what_interrupted_and_broken_dials_say() {
    let master = "={{ $('line').item.json.legId }}";
    let slow = |world: &mut World| {
        for index in [ONE, TWO] {
            world.with_phone(index, |phone, _| phone.set_answering(Answering::Never));
        }
    };
    let steps = |more: Value| {
        [
            answer(),
            step("it", "call.wait", json!({ "timeoutSeconds": 2 }), &["dial"]),
            step("dial", "dial.make", dial("101"), &["wait"]),
            step("wait", "dial.wait", more, &["", "told"]),
            told(),
        ]
    };
    let listens = json!({ "legId": master, "interruptOn": ["dtmf"] });
    let (item, _) = say(&steps(listens), |world| {
        slow(world);
        world.run_for(Duration::from_secs(3));
        presses("7")(world);
    });
    assert_eq!(
        item,
        json!({ "dialId": "dial-0-0", "stillDialingLegCount": 1, "legId": "leg-0-0",
                "interruptReason": "call_dtmf", "digit": "7", "digits": "7" })
    );
    let (item, _) = say(&steps(json!({ "legId": master })), |world| {
        slow(world);
        world.run_for(Duration::from_secs(3));
        presses("7")(world);
        world.run_for(Duration::from_secs(1));
        hangs_up(world);
    });
    assert_eq!(
        item,
        json!({ "dialId": "dial-0-0", "stillDialingLegCount": 1, "legId": "leg-0-0",
                "interruptReason": "call_ended" })
    );
    for (options, reason) in
        [(json!({}), "broken"), (json!({ "dialBreakReason": "lunch" }), "lunch")]
    {
        let broken = [
            step("dial", "dial.make", dial("101"), &["it"]),
            step("it", "dial.break", json!({ "options": options }), &["wait"]),
            step("wait", "dial.wait", json!({}), &["", "", "", "told"]),
            told(),
        ];
        assert_eq!(
            say(&broken, nothing).0,
            json!({ "dialId": "dial-0-0", "stillDialingLegCount": 0, "reason": reason })
        );
    }
    let breaks = [
        step("dial", "dial.make", dial("101"), &["it"]),
        step("it", "dial.break", json!({}), &["told"]),
        told(),
    ];
    assert_eq!(say(&breaks, nothing).0, json!({ "dialId": "dial-0-0" }));
}

/// §8: payloads of the media operations, and `failed` instead of an error.
#[test]
fn what_media_operations_say() {
    let media = |operation: &'static str,
                 more: Value,
                 branches: &'static [&'static str],
                 script: fn(&mut World)| {
        say(&[answer(), step("it", operation, more, branches), told()], script).0
    };
    let plain = json!({ "mediaId": "media-1-0", "legId": "leg-0-0" });
    let and = |more: Value| {
        let mut all = plain.clone();
        all.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        all
    };
    let file = |more: Value| {
        let mut all = json!({ "sourceType": "file", "filePath": "hello.wav" });
        all.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        all
    };
    let press = |world: &mut World| presses("4")(world);
    assert_eq!(media("media.playAudio", file(json!({})), &["", "told"], nothing), plain);
    let background = json!({ "options": { "mediaExecutionMode": "background" } });
    assert_eq!(media("media.playAudio", file(background), &["told"], nothing), plain);
    assert_eq!(
        media("media.playAudio", file(json!({ "interruptOn": ["dtmf"] })), &["told"], press),
        and(json!({ "interruptReason": "call_dtmf", "digit": "4" }))
    );
    assert_eq!(
        media("media.playAudio", file(json!({})), &["told"], hangs_up),
        and(json!({ "interruptReason": "call_ended" }))
    );
    let lost = json!({ "sourceType": "file", "filePath": "lost.wav" });
    let failed = media("media.playAudio", lost, &["", "told"], nothing);
    assert_eq!((&failed["failed"], &failed["legId"]), (&json!(true), &json!("leg-0-0")));
    let tone = json!({ "tone": "custom", "customTone": "400/200" });
    assert_eq!(media("media.playTone", tone, &["", "told"], nothing), plain);
    let endless = json!({ "repeatInfinite": true, "interruptOn": ["dtmf"] });
    assert_eq!(
        media("media.playTone", endless, &["told"], press),
        and(json!({ "interruptReason": "call_dtmf", "digit": "4" }))
    );
    let record = json!({ "recordOutputType": "file", "recordFilePath": "a.wav",
                         "maxDurationSeconds": 1 });
    assert_eq!(
        media("media.recordAudio", record, &["", "told"], nothing),
        and(json!({ "filePath": "a.wav" }))
    );
    let digits = json!({ "dtmfDigits": "12" });
    assert_eq!(media("media.sendDtmf", digits, &["told"], nothing), json!({ "legId": "leg-0-0" }));
    let whole = json!({ "stopMediaTarget": "legId" });
    assert_eq!(media("media.stopMedia", whole, &["told"], nothing), json!({ "legId": "leg-0-0" }));
    let start = json!({ "recordFilePath": "b.wav" });
    assert_eq!(
        media("recording.start", start, &["told"], nothing),
        json!({ "legId": "leg-0-0", "filePath": "b.wav" })
    );
}

/// §8.5: a wait for media tells its end; a time-out says nothing more. The ids that an item does not
/// have are looked for in `sipPbx`, so that the flow goes on.
#[test]
fn what_waits_for_media_say_and_where_ids_are_found() {
    let background = json!({ "sourceType": "file", "filePath": "hello.wav",
        "options": { "mediaExecutionMode": "background" } });
    let wait = |more: Value, branches: &'static [&'static str], last: Step<'static>| {
        let steps = [
            answer(),
            step("it", "media.playAudio", background.clone(), &["wait"]),
            step("wait", "media.wait", more, branches),
            last,
            told(),
        ];
        say(&steps, nothing)
    };
    let unused = || step("hangup", "call.hangup", json!({}), &["told"]);
    let ids = json!({ "mediaId": "media-1-0", "legId": "leg-0-0" });
    assert_eq!(wait(json!({}), &["", "", "told"], unused()).0, ids);
    let brief = json!({ "waitMediaTimeoutSeconds": 0.2 });
    let (item, context) = wait(brief.clone(), &["", "told"], unused());
    assert_eq!(item, json!({}));
    assert_eq!(context, json!({ "mediaId": "media-1-0", "legId": "leg-0-0", "ref": "line" }));
    assert_eq!(
        wait(brief.clone(), &["", "hangup"], unused()).0,
        json!({ "legId": "leg-0-0" }),
        "by sipPbx.legId"
    );
    let stop = step("hangup", "media.stopMedia", json!({}), &["told"]);
    assert_eq!(wait(brief, &["", "hangup"], stop).0, ids, "by sipPbx.mediaId");
}

/// §2: an option is nearer than the item, and the item nearer than what it inherits.
#[test]
fn an_option_wins_over_the_item() {
    let other = json!({ "options": { "legId": "={{ $('dial').item.json.legId }}" } });
    let steps = [
        step("dial", "dial.make", dial("101"), &["wait"]),
        step("wait", "dial.wait", json!({}), &["mine"]),
        step(
            "mine",
            "call.ringing",
            json!({ "options": { "legId": "={{ $('line').item.json.legId }}" } }),
            &["it"],
        ),
        step("it", "call.hangup", other, &["told"]),
        told(),
    ];
    let (item, context) = say(&steps, nothing);
    assert_eq!(item, json!({ "legId": "leg-1-0" }));
    // What an operation is about is what the next one inherits.
    assert_eq!(context, json!({ "legId": "leg-1-0", "dialId": "dial-0-0", "ref": "line" }));
}

/// §5.4: the item of a call, its headers under keys of letters.
#[test]
fn what_a_call_begins_with() {
    let steps = [step("it", "call.ringing", json!({}), &["told"])];
    let keys = |item: &Value| item.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    let begins =
        ("told", json!({ "errorMessage": "={{ JSON.stringify($('line').item.json) }}" }), &[][..]);
    let (item, context) = say(&[steps[0].clone(), begins], nothing);
    let expected = [
        "eventType",
        "ref",
        "legId",
        "callId",
        "direction",
        "from",
        "callerNumber",
        "callerName",
        "to",
        "calledNumber",
        "calledName",
        "raw",
    ];
    assert_eq!(keys(&item), expected.map(str::to_owned).into());
    assert_eq!(context, json!({ "ref": "line", "legId": "leg-0-0" }));
    let raw = [
        "callId",
        "from",
        "callerName",
        "to",
        "headers",
        "startLine",
        "method",
        "requestUri",
        "body",
    ];
    assert_eq!(keys(&item["raw"]), raw.map(str::to_owned).into());
    assert_eq!(item["eventType"], "invite");
    assert_eq!((&item["direction"], &item["calledNumber"]), (&json!("inbound"), &json!("200")));
    assert_eq!(item["raw"]["method"], "INVITE");
    assert_eq!(item["raw"]["headers"]["maxForwards"], "70");
}

/// §5.8: what a queue begins its branches with; `legId` only while the caller is there.
#[test]
fn what_queues_say() {
    let put = |reference: &str| {
        [
            step("put", "queue.putLeg", json!({ "ref": reference }), &["it"]),
            step("it", "call.wait", json!({ "timeoutSeconds": 20 }), &[]),
            told(),
        ]
    };
    let card = |more: Value| {
        let mut all = json!({ "callerNumber": "+4930111", "callerName": "", "trunkRef": "line" });
        all.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        all
    };
    let (offline, context) = say(&put("support"), nothing);
    let live = card(json!({ "ref": "support", "mode": "live", "legId": "leg-0-0" }));
    assert_eq!(offline, live);
    assert_eq!(context, json!({ "ref": "support", "legId": "leg-0-0" }));
    let (dispatch, context) = say(&put("sales"), nothing);
    let offered = card(json!({ "ref": "sales", "mode": "live", "legId": "leg-0-0",
        "dialId": "dial-0-0", "callbackEnabled": false }));
    assert_eq!(dispatch, offered);
    assert_eq!(context, json!({ "ref": "sales", "legId": "leg-0-0", "dialId": "dial-0-0" }));
    // The agent calls somebody: the caller is placed, and told of that first.
    let mut busy = put("sales").to_vec();
    let think = json!({ "resume": "timeInterval", "amount": 2, "unit": "seconds" });
    busy.insert(0, ("think", think, &["put"]));
    let placed = say(&busy, |world| {
        let server = story::address(9);
        world.with_phone(ONE, |one, now| one.call("102", server, now));
        world.run_for(Duration::from_secs(2));
    });
    assert_eq!(placed.0, card(json!({ "ref": "sales", "legId": "leg-0-0" })));
    assert_eq!(placed.1, json!({ "ref": "sales", "legId": "leg-0-0" }));
}

/// §2: ids that neither a node nor its item names.
#[test]
fn ids_that_nobody_names_are_required() {
    let empty = ("empty", json!({ "jsCode": "return [{ json: {} }];" }), &["it"][..]);
    for (operation, more, message) in [
        ("call.answer", json!({}), "legId is required"),
        ("call.wait", json!({}), "legIds are required"),
        ("media.playTone", json!({}), "legId is required"),
        ("recording.start", json!({ "recordFilePath": "a.wav" }), "legId is required"),
        ("dial.wait", json!({}), "dialIds are required"),
        ("dial.break", json!({}), "dialIds are required"),
        ("media.wait", json!({}), "mediaId is required"),
        ("media.stopMedia", json!({}), "mediaId is required"),
        ("queue.putLeg", json!({ "ref": "={{ '' }}" }), "ref is required"),
        ("queue.getStats", json!({}), "ref is required"),
        ("respond.toAuth", json!({}), "authRequestId is required"),
        ("respond.toRecord", json!({ "recordFilePath": "a" }), "recordRequestId is required"),
    ] {
        let Told { facts, .. } = run(&[empty.clone(), step("it", operation, more, &[])], nothing);
        let is_it = |fact: &Fact| {
            matches!(fact, Fact::RunFailed { error, .. }
                if error.contains(message) && error.contains("[invalid_request]"))
        };
        assert!(facts.iter().any(|(_, fact)| is_it(fact)), "{operation}: {facts:?}");
    }
}

/// §1: items are performed one after another, in order, and each leaves by one branch.
#[test]
fn items_are_performed_one_after_another() {
    let twice = "const leg = $('line').first().json.legId;\n\
                 return [1, 2, 3].map((n) => ({ json: { legId: leg, n } }));";
    let tone = json!({ "tone": "custom", "customTone": "={{ $json.n }}00/300" });
    let all = "={{ JSON.stringify({ ids: $input.all().map((item) => item.json.mediaId) }) }}";
    let steps = [
        step("answer", "call.answer", json!({}), &["twice"]),
        ("twice", json!({ "jsCode": twice }), &["it"]),
        step("it", "media.playTone", tone, &["", "all"]),
        ("all", json!({ "errorMessage": all }), &[]),
    ];
    let Told { items, facts, .. } = run(&steps, nothing);
    assert_eq!(items, [json!({ "ids": ["media-1-0", "media-2-0", "media-3-0"] })]);
    let at = |is_it: fn(&Fact) -> bool| facts.iter().find(|(_, fact)| is_it(fact)).unwrap().0;
    let answered = at(|fact| matches!(fact, Fact::Answered { .. }));
    let told = at(|fact| matches!(fact, Fact::RunFailed { .. }));
    assert!(told.since(answered) >= Duration::from_millis(800), "{:?}", told.since(answered));
}

/// §1, §7.1: who calls, and with which headers; entries without a name are dropped.
#[test]
fn what_an_invite_of_a_dial_says() {
    let headers = json!({ "item": [{ "name": "X-Site", "value": "north" },
                                   { "name": "", "value": "lost" }] });
    let options = json!({ "callerNumber": "4711", "callerName": "The House",
                          "customSipHeaders": headers });
    let mut to_one = dial("101");
    to_one["options"] = options;
    let steps =
        [step("it", "dial.make", to_one, &["wait"]), step("wait", "dial.wait", json!({}), &[])];
    let invite = run(&steps, nothing).world.last_message(1, "INVITE").unwrap();
    assert!(invite.contains("\r\nFrom: \"The House\" <sip:4711@"), "{invite}");
    assert!(invite.contains("\r\nX-Site: north\r\n") && !invite.contains("lost"), "{invite}");
    let plain = [step("it", "dial.make", dial("101"), &["wait"]), steps[1].clone()];
    let invite = run(&plain, nothing).world.last_message(1, "INVITE").unwrap();
    assert!(invite.contains("<sip:n8n@"), "{invite}");
}

/// §2: extensions belong to their workflow; those of another are not seen.
#[test]
fn extensions_of_another_workflow_are_not_seen() {
    let lonely = json!({
        "name": "lonely",
        "nodes": [
            { "name": "line", "type": node::TRIGGER, "typeVersion": 1, "parameters":
                { "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false } },
            { "name": "it", "type": node::ACTION, "typeVersion": 1, "parameters":
                { "operation": "dial.make", "callMode": "extension", "extensionNumbers": "101" } },
            { "name": "told", "type": "n8n-nodes-base.stopAndError", "typeVersion": 1,
              "parameters": told().1 },
        ],
        "connections": {
            "line": { "main": [[{ "node": "it", "type": "main", "index": 0 }]] },
            "it": { "main": [[], [{ "node": "told", "type": "main", "index": 0 }]] },
        },
    });
    let lonely = story::flow_text(&lonely.to_string());
    let other = house(&[step("it", "call.ringing", json!({}), &[])]);
    let Told { items, .. } = run_flows(vec![lonely, other], nothing);
    assert_eq!(items[0]["reason"], "no_available_endpoints");
}

/// §7.1: a trunk that has not registered still gives ids; the wait learns that the dial failed.
#[test]
fn a_dial_by_a_trunk_that_is_not_there_fails_at_its_wait() {
    let steps = [
        step(
            "it",
            "dial.make",
            json!({ "callMode": "trunk", "ref": "carrier", "destination": "4711" }),
            &["wait"],
        ),
        step("wait", "dial.wait", json!({}), &["", "", "", "told"]),
        told(),
    ];
    let failed = json!({ "dialId": "dial-0-0", "stillDialingLegCount": 0, "reason": "no_targets" });
    assert_eq!(say(&steps, nothing).0, failed);
}
