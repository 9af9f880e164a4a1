//! Who may register and call: phones and a trunk with passwords, and strangers without.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::{Rng, Tick};
use ringback::call::site::NoTarget;
use ringback::call::{Fact, Output, Switch, node};
use ringback::flow::{self, Graph};
use ringback::sim::{Party, Phone, PhoneEvent, Server, World, standard_config};
use ringback::sip::digest::{self, Login, Signed};
use ringback::sip::{Cause, Field, Flow, Message, Method, Name, Transport};
use serde_json::{Value, json};

use crate::story::assert_server_at_rest;

/// The phones of every world of this file, behind the server.
const FIRST: usize = 1;
const SECOND: usize = 2;

fn server() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 5060))
}

/// Answers whoever calls, and waits until he hangs up.
pub(crate) fn flow(trigger: Value) -> Graph {
    let step = |name: &str, parameters: Value| {
        json!({
            "id": name, "name": name, "type": node::ACTION, "typeVersion": 1,
            "position": [0, 0], "parameters": parameters,
        })
    };
    let to = |name: &str| json!({ "main": [[{ "node": name, "type": "main", "index": 0 }]] });
    let workflow = json!({
        "name": "house",
        "nodes": [
            {
                "id": "t", "name": "calls", "type": node::TRIGGER, "typeVersion": 1,
                "position": [0, 0], "parameters": trigger,
            },
            step("answer", json!({ "resource": "call", "operation": "call.answer" })),
            step("wait", json!({ "resource": "call", "operation": "call.wait" })),
        ],
        "connections": { "calls": to("answer"), "answer": to("wait") },
    });
    let documents = flow::read(&workflow.to_string(), "house.json").expect("the workflow is JSON");
    let (graph, problems) = flow::check(&documents[0], &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

/// Two accounts share extension 100, as a desk and a soft phone do.
fn extensions() -> Graph {
    let account = |username: &str, extension: &str| json!({ "username": username, "password": "secret", "extension": extension });
    flow(json!({
        "triggerOn": "extensions", "ref": "office",
        "staticCredentials": {
            "item": [account("desk", "100"), account("soft", "100"), account("200", "200")],
        },
    }))
}

fn dynamic_trunk() -> Graph {
    flow(json!({
        "triggerOn": "trunk", "ref": "carrier", "trunkConnectionMode": "dynamic",
        "trunkStaticUsername": "carrier", "trunkStaticPassword": "secret",
    }))
}

fn world(graph: Graph) -> World {
    let phone = |name: &str, host: u8| {
        let at = |port| SocketAddr::from(([198, 51, 100, host], port));
        Party::Phone(Box::new(Phone::new(name, at(5060), at(4000), host.into())))
    };
    let server = Server::new(server(), standard_config(server()), vec![graph], BTreeMap::new(), 1);
    World::new(1, vec![Party::Server(Box::new(server)), phone("one", 1), phone("two", 2)])
}

fn register(world: &mut World, phone: usize, user: &str, password: &str) {
    world.with_phone(phone, |phone, now| phone.register(server(), user, password, now));
    world.run_for(Duration::from_secs(1));
}

fn call(world: &mut World, phone: usize, user: &str) {
    world.with_phone(phone, |phone, now| phone.call(user, server(), now));
    world.run_for(Duration::from_secs(1));
}

/// What happened to a phone, the times left out.
#[track_caller]
fn check(world: &World, phone: usize, expected: &[PhoneEvent]) {
    let events = world.phone(phone).events().iter().map(|(_, event)| event.clone());
    assert_eq!(events.collect::<Vec<_>>(), expected, "\n{}", world.ladder());
}

/// How many endpoints an extension has.
fn endpoints(world: &mut World, number: &str) -> usize {
    world.server().switch().extension_targets(0, number).len()
}

/// Everybody hangs up, and a minute later nothing is left.
#[track_caller]
fn check_idle(mut world: World) {
    for phone in [FIRST, SECOND] {
        world.with_phone(phone, Phone::hangup);
    }
    world.run_for(Duration::from_secs(60));
    assert_server_at_rest(&mut world);
}

#[test]
fn a_phone_registers() {
    let mut world = world(extensions());
    register(&mut world, FIRST, "desk", "secret");
    check(&world, FIRST, &[PhoneEvent::Registered(200)]);
    let ladder = world.ladder();
    let rows = ladder.lines().map(str::trim).collect::<Vec<_>>();
    let expected = [
        "ringback                  one                        two",
        "0.000s |◀────────REGISTER─────────|                          |",
        "0.020s |───────401 REGISTER──────▶|                          |",
        "0.040s |◀────────REGISTER─────────|                          |",
        "0.060s |───────200 REGISTER──────▶|                          |",
    ];
    assert_eq!(rows, expected, "\n{ladder}");
    let targets = world.server().switch().extension_targets(0, "100");
    assert_eq!(targets[0].request_uri, "sip:desk@198.51.100.1:5060");
    assert_eq!(targets[0].flow.remote, SocketAddr::from(([198, 51, 100, 1], 5060)));
    check_idle(world);
}

/// What a stranger hears when he tries this user and password: tags and nonces left out.
fn refusal(user: &str, password: &str) -> String {
    let mut world = world(extensions());
    register(&mut world, FIRST, user, password);
    check(&world, FIRST, &[PhoneEvent::Registered(401)]);
    assert_eq!(endpoints(&mut world, "100"), 0);
    let ladder = world.ladder();
    check_idle(world);
    ladder
}

#[test]
fn a_wrong_password_and_an_unknown_user_hear_the_same() {
    assert_eq!(refusal("desk", "guess"), refusal("nobody", "guess"));
}

#[test]
fn a_phone_binds_its_own_address_only() {
    let mut world = world(extensions());
    // The phone proves `200`; a second account of extension 100 has nothing to do with it.
    register(&mut world, FIRST, "200", "secret");
    assert_eq!((endpoints(&mut world, "100"), endpoints(&mut world, "200")), (0, 1));
    check_idle(world);
}

#[test]
fn a_registration_is_refreshed_until_the_phone_is_gone() {
    let mut world = world(extensions());
    register(&mut world, FIRST, "desk", "secret");
    world.run_for(Duration::from_secs(3600));
    assert_eq!(endpoints(&mut world, "100"), 1);
    world.with_phone(FIRST, |phone, _| phone.vanish());
    world.run_for(Duration::from_secs(601));
    assert_eq!(endpoints(&mut world, "100"), 0);
    assert_eq!(world.server().gauges().registrations, 0);
    check_idle(world);
}

#[test]
fn two_phones_one_extension_and_one_leaves() {
    let mut world = world(extensions());
    register(&mut world, FIRST, "desk", "secret");
    register(&mut world, SECOND, "soft", "secret");
    assert_eq!(endpoints(&mut world, "100"), 2);
    world.with_phone(FIRST, Phone::unregister);
    world.run_for(Duration::from_secs(1));
    assert_eq!(endpoints(&mut world, "100"), 1);
    let left = world.server().switch().extension_targets(0, "100");
    assert_eq!(left[0].request_uri, "sip:soft@198.51.100.2:5060");
    check_idle(world);
}

#[test]
fn a_call_without_or_with_wrong_credentials_is_no_call() {
    let mut world = world(extensions());
    call(&mut world, FIRST, "200");
    register(&mut world, SECOND, "desk", "guess");
    call(&mut world, SECOND, "200");
    let refused = PhoneEvent::Ended(Cause::Rejected { status: 401 });
    check(&world, FIRST, std::slice::from_ref(&refused));
    check(&world, SECOND, &[PhoneEvent::Registered(401), refused]);
    let gauges = world.server().gauges();
    assert_eq!((gauges.legs, gauges.runs, gauges.ports, gauges.calls_accepted), (0, 0, 0, 0));
    check_idle(world);
}

#[test]
fn a_call_of_a_registered_phone_is_its_extensions() {
    let mut world = world(extensions());
    register(&mut world, FIRST, "desk", "secret");
    call(&mut world, FIRST, "200");
    check(&world, FIRST, &[PhoneEvent::Registered(200), PhoneEvent::Talking]);
    let arrived = world.server().facts().iter().any(
        |(_, fact)| matches!(fact, Fact::Arrived { from, to, .. } if from == "desk" && to == "200"),
    );
    assert!(arrived, "{:?}", world.server().facts());
    check_idle(world);
}

#[test]
fn a_trunk_at_a_dynamic_address_calls_and_can_be_called() {
    let mut world = world(dynamic_trunk());
    let number = "+4930123";
    let target = |world: &mut World, number: &str| {
        world.server().switch().trunk_target(0, "carrier", number)
    };
    assert_eq!(target(&mut world, number), Err(NoTarget::NotRegistered));
    register(&mut world, FIRST, "carrier", "secret");
    call(&mut world, FIRST, "200");
    check(&world, FIRST, &[PhoneEvent::Registered(200), PhoneEvent::Talking]);

    let found = target(&mut world, number).unwrap();
    assert_eq!(found.request_uri, "sip:+4930123@198.51.100.1:5060");
    assert_eq!((found.trunk.as_deref(), found.extension), (Some("carrier"), None));
    for bad in ["", "1@evil.example", "1\r\nX: y", "1;x=y", "sip:1", &"1".repeat(65)] {
        assert_eq!(target(&mut world, bad), Err(NoTarget::BadNumber), "{bad}");
    }
    let other = world.server().switch().trunk_target(0, "other", number);
    assert_eq!(other, Err(NoTarget::UnknownTrunk));
    check_idle(world);
}

#[test]
fn a_configured_extension_needs_no_registration_and_a_fixed_trunk_an_address() {
    let settings = "
        [trunk.main]
        peers = ['203.0.113.5']
        username = 'us'
        password = 'secret'
        [extension.300]
        contact = 'sip:300@198.51.100.3:5062;transport=tcp'
    ";
    let settings = ringback::config::read(settings).expect("the settings are sound");
    let mut config = standard_config(server());
    (config.trunks, config.extensions) = (settings.trunks, settings.extensions);
    let mut switch = Switch::new(config, Rng::new(1));
    let trunk = json!({ "triggerOn": "trunk", "ref": "main", "trunkUseRegistration": false });
    switch.add_workflow(flow(trunk));

    let phone = &switch.extension_targets(0, "300")[0];
    assert_eq!(phone.request_uri, "sip:300@198.51.100.3:5062;transport=tcp");
    assert_eq!(phone.flow.remote, SocketAddr::from(([198, 51, 100, 3], 5062)));
    assert_eq!((phone.flow.transport, &phone.credentials), (Transport::Tcp, &None));

    let trunk = switch.trunk_target(0, "main", "*31#").expect("the trunk is configured");
    assert_eq!(trunk.request_uri, "sip:*31%23@203.0.113.5:5060");
    assert_eq!(trunk.from_host, "203.0.113.5:5060");
    assert_eq!(trunk.credentials.map(|known| known.username).as_deref(), Some("us"));
}

#[test]
fn a_phone_on_the_servers_machine_is_no_trunk_once_it_has_registered() {
    let local = |port| SocketAddr::from(([127, 0, 0, 1], port));
    let trunk = json!({ "triggerOn": "trunk", "ref": "main", "trunkUseRegistration": false });
    let flows = vec![flow(trunk), extensions()];
    let config = standard_config(local(5060));
    let server = Server::new(local(5060), config, flows, BTreeMap::new(), 1);
    let phone = SocketAddr::from(([127, 0, 0, 2], 5060));
    let phone = Phone::new("one", phone, SocketAddr::from(([127, 0, 0, 2], 4000)), 1);
    let mut world =
        World::new(1, vec![Party::Server(Box::new(server)), Party::Phone(Box::new(phone))]);
    let call = |world: &mut World| {
        world.with_phone(FIRST, |phone, now| phone.call("200", local(5060), now));
        world.run_for(Duration::from_secs(1));
        world.with_phone(FIRST, Phone::hangup);
        world.run_for(Duration::from_secs(1));
        world.ladder().matches("401 INVITE").count()
    };
    assert_eq!(call(&mut world), 0);
    world.with_phone(FIRST, |phone, now| phone.register(local(5060), "desk", "secret", now));
    world.run_for(Duration::from_secs(1));
    assert_eq!(call(&mut world), 1);
    assert_eq!(world.server().gauges().calls_accepted, 2);
}

#[test]
fn where_nobody_has_a_password_a_stranger_is_forbidden() {
    let trunk = json!({ "triggerOn": "trunk", "ref": "main", "trunkUseRegistration": false });
    let mut world = world(flow(trunk));
    call(&mut world, FIRST, "200");
    register(&mut world, FIRST, "desk", "secret");
    let refused = PhoneEvent::Ended(Cause::Rejected { status: 403 });
    check(&world, FIRST, &[refused, PhoneEvent::Registered(403)]);
    check_idle(world);
}

/// A client that writes its REGISTERs by hand, as `desk` of extension 100.
struct Client {
    switch: Switch,
    challenges: Vec<String>,
    sent: u32,
    count: u32,
    now: Tick,
}

impl Client {
    /// A client that has been challenged once.
    fn new() -> Self {
        let mut switch = Switch::new(standard_config(server()), Rng::new(1));
        switch.add_workflow(extensions());
        let mut client =
            Self { switch, challenges: Vec::new(), sent: 0, count: 0, now: Tick::ZERO };
        assert_eq!(client.says("100", "").0, 401);
        assert!(client.challenges[0].contains("algorithm=MD5"), "{:?}", client.challenges);
        assert!(client.challenges[1].contains("algorithm=SHA-256"), "{:?}", client.challenges);
        client
    }

    /// Sends a REGISTER with these headers, a second after the last; gives its status and the contacts of the answer.
    fn says(&mut self, to: &str, headers: &str) -> (u16, Vec<String>) {
        self.count += 1;
        self.says_again(to, headers)
    }

    /// The same with the nonce count that was used last.
    fn says_again(&mut self, to: &str, headers: &str) -> (u16, Vec<String>) {
        self.sent += 1;
        self.now += Duration::from_secs(1);
        let sent = self.sent;
        // The weakest challenge, as browsers answer it.
        let challenges = self.challenges.last().map(String::as_str);
        let login = Login { username: "desk", password: "secret" };
        let signed = Signed { method: &Method::Register, uri: b"sip:ringback", body: b"" };
        let answer = digest::answer(challenges, login, signed, "cnonce", self.count);
        let authorization = answer.map(|answer| format!("Authorization: {answer}\r\n"));
        let authorization = authorization.unwrap_or_default();
        let request = format!(
            "REGISTER sip:ringback SIP/2.0\r\nVia: SIP/2.0/UDP 198.51.100.9;branch=z9hG4bK{sent}\r\n\
             From: <sip:desk@ringback>;tag=1\r\nTo: <sip:{to}@ringback>\r\nCall-ID: one\r\n\
             CSeq: {sent} REGISTER\r\nMax-Forwards: 70\r\n{headers}{authorization}\
             Content-Length: 0\r\n\r\n"
        );
        let remote = SocketAddr::from(([198, 51, 100, 9], 5060));
        let flow = Flow { transport: Transport::Udp, local: server(), remote, connection: 0 };
        self.switch.handle_message(flow, request.as_bytes(), self.now);
        let answer = std::iter::from_fn(|| self.switch.poll_output()).find_map(|output| {
            if let Output::Transmit(transmit) = output { Some(transmit.bytes) } else { None }
        });
        let answer = answer.expect("every REGISTER is answered");
        let message = Message::parse(&answer).expect("answers are whole");
        let texts = |name| message.fields_of(name).filter_map(Field::text).map(str::to_owned);
        if message.status() == Some(401) {
            (self.challenges, self.count) = (texts(Name::WwwAuthenticate).collect(), 0);
        }
        (message.status().unwrap_or_default(), texts(Name::Contact).collect())
    }
}

#[test]
fn a_client_binds_asks_and_takes_back() {
    let mut client = Client::new();
    let desk = |left: u32| format!("<sip:desk@198.51.100.9>;expires={left}");
    let soft = |left: u32| format!("<sip:desk@198.51.100.9;transport=tcp>;expires={left}");
    let bind = "Contact: <sip:desk@198.51.100.9>;expires=120, \
                <sip:desk@198.51.100.9;transport=tcp>\r\nExpires: 7200\r\n";
    assert_eq!(client.says("100", bind), (200, vec![desk(120), soft(3600)]));
    assert_eq!(client.says("desk", ""), (200, vec![desk(119), soft(3599)]));
    let remove = "Contact: <sip:desk@198.51.100.9>;expires=0\r\n";
    assert_eq!(client.says("100", remove), (200, vec![soft(3598)]));
    assert_eq!(client.says("100", "Contact: *\r\nExpires: 0\r\n"), (200, Vec::new()));
}

/// I10: what is asked of strangers costs them an answer, and us nothing that stays.
#[test]
fn a_flood_of_strangers_leaves_nothing_behind() {
    let mut switch = Switch::new(standard_config(server()), Rng::new(1));
    switch.add_workflow(extensions());
    for number in 0..5000_u32 {
        let host = std::net::Ipv4Addr::from(0xc633_6400 + number);
        let method = if number % 2 == 0 { "INVITE" } else { "REGISTER" };
        let authorization = match number % 3 {
            0 => "",
            1 => "Authorization: Digest nonsense\r\n",
            _ => {
                "Authorization: Digest username=\"desk\",realm=\"ringback\",nonce=\"n\",\
                 uri=\"sip:100@192.0.2.1\",response=\"00\"\r\n"
            }
        };
        let request = format!(
            "{method} sip:100@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP {host};branch=z9hG4bK{number}\r\n\
             From: <sip:x@h>;tag={number}\r\nTo: <sip:100@h>\r\nCall-ID: {number}\r\n\
             CSeq: 1 {method}\r\nContact: <sip:x@{host}>\r\nMax-Forwards: 70\r\n\
             {authorization}Content-Length: 0\r\n\r\n"
        );
        let remote = SocketAddr::new(host.into(), 5060);
        let flow = Flow { transport: Transport::Udp, local: server(), remote, connection: 0 };
        switch.handle_message(flow, request.as_bytes(), Tick::ZERO);
        let outputs = std::iter::from_fn(|| switch.poll_output());
        let sent = outputs.filter(|output| matches!(output, Output::Transmit(_)));
        assert_eq!(sent.count(), 1);
    }
    let gauges = switch.gauges();
    assert!(gauges.is_idle() && gauges.registrations == 0, "{gauges:?}");
    assert_eq!(switch.poll_timeout(), None);
}

#[test]
fn what_a_client_may_not_do() {
    let mut client = Client::new();
    for (to, headers, status) in [
        ("100", "Contact: <sip:desk@h>;expires=59\r\n", 423),
        ("100", "Contact: *\r\n", 400),
        ("100", "Contact: *, <sip:desk@h>\r\nExpires: 0\r\n", 400),
        ("100", "Contact: <tel:100>\r\n", 400),
        ("200", "Contact: <sip:desk@h>\r\n", 403),
        ("200", "Contact: *\r\nExpires: 0\r\n", 403),
        ("100", "Contact: <sip:desk@h>\r\n", 200),
    ] {
        assert_eq!(client.says(to, headers).0, status, "{to} {headers}");
    }
}

/// Contract §5.3: the prefix is what phones say before the user that is looked up.
#[test]
fn a_prefix_stands_before_the_user_of_a_static_account() {
    let account = json!({ "username": "200", "password": "secret", "extension": "200" });
    let mut world = world(flow(json!({
        "triggerOn": "extensions", "ref": "office",
        "options": { "authorizationUsernamePrefix": "north-" },
        "staticCredentials": { "item": [account] },
    })));
    register(&mut world, FIRST, "north-200", "secret");
    register(&mut world, SECOND, "200", "secret");
    check(&world, FIRST, &[PhoneEvent::Registered(200)]);
    check(&world, SECOND, &[PhoneEvent::Registered(401)]);
    assert_eq!(endpoints(&mut world, "200"), 1);
}

#[test]
fn the_best_contact_is_called_first() {
    let mut client = Client::new();
    let bind = "Contact: <sip:desk@198.51.100.8>;q=0.25, <sip:desk@198.51.100.9>;q=0.7, \
                <sip:desk@198.51.100.7>;q=2\r\n";
    let (status, contacts) = client.says("100", bind);
    let expected = [
        "<sip:desk@198.51.100.8>;q=0.250;expires=600",
        "<sip:desk@198.51.100.9>;q=0.700;expires=600",
        "<sip:desk@198.51.100.7>;expires=600",
    ];
    assert_eq!((status, contacts), (200, expected.map(str::to_owned).to_vec()));
    let targets = client.switch.extension_targets(0, "100");
    let hosts = targets.iter().map(|target| &target.request_uri[9..]).collect::<Vec<_>>();
    assert_eq!(hosts, ["198.51.100.7", "198.51.100.9", "198.51.100.8"]);
}

/// RFC 3327: calls to a phone behind edge proxies pass them again, by the flow that they opened.
#[test]
fn a_path_becomes_a_route() {
    let mut client = Client::new();
    let bind = |path: &str| format!("Contact: <sip:desk@198.51.100.9>\r\nPath: {path}\r\n");
    assert_eq!(client.says("100", &bind("<sip:strict.example>")).0, 400);
    let path = "<sip:edge@192.0.2.7;lr>, <sip:inner.example;lr>";
    assert_eq!(client.says("100", &bind(path)).0, 200);
    let target = &client.switch.extension_targets(0, "100")[0];
    assert_eq!(*target.routes, ["<sip:edge@192.0.2.7;lr>", "<sip:inner.example;lr>"]);
    assert_eq!(target.flow.remote, SocketAddr::from(([198, 51, 100, 9], 5060)));
}

#[test]
fn a_proof_is_used_once_and_grows_old() {
    let mut client = Client::new();
    assert_eq!(client.says("100", "").0, 200);
    assert_eq!(client.says_again("100", "").0, 401);
    assert!(client.challenges[0].contains("stale=true"));
    assert_eq!(client.says("100", "").0, 200);
    client.now += Duration::from_secs(301);
    assert_eq!(client.says("100", "").0, 401);
    assert!(client.challenges[0].contains("stale=true"));
    assert_eq!(client.says("100", "").0, 200);
}
