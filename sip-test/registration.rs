//! This server registers at a trunk: it is called there, moves to the backup, and comes back.

use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::Tick;
use ringback::call::site::NoTarget;
use ringback::call::trigger::TrunkSettings;
use ringback::call::{Config, Fact};
use ringback::flow::Graph;
use ringback::sim::{Link, Party, Phone, PhoneEvent, Server, World, standard_config};
use ringback::sip::{Cause, Credentials};
use serde_json::{Value, json};

use crate::dials::graph_behind;
use crate::{register, story};

const PHONE: usize = 0;
const CARRIER: usize = 1;
const OURS: usize = 2;

fn at(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 2, host], 5060))
}

fn carrier() -> SocketAddr {
    at(1)
}

fn ours() -> SocketAddr {
    at(2)
}

/// A carrier whose customers are 101 and 102, and call each other.
fn exchange(host: u8) -> Party {
    let dial = json!({ "operation": "dial.make", "callMode": "extension",
                       "extensionNumbers": "={{ $json.calledNumber }}" });
    let bridge = json!({
        "resource": "call", "operation": "call.bridge",
        "legAId": "={{ $('office').item.json.legId }}", "legBId": "={{ $json.legId }}",
    });
    let graph = graph_behind("office", &[("dial", dial, &["bridge"]), ("bridge", bridge, &[])]);
    let server = Server::new(at(host), standard_config(at(host)), vec![graph], story::prompts(), 1);
    Party::Server(Box::new(server.named("carrier")))
}

/// Answers whoever calls by the trunk where this server registers, and waits until he hangs up.
fn flow(options: Value) -> Graph {
    register::flow(json!({ "triggerOn": "trunk", "ref": "line", "options": options }))
}

fn config(password: &str, server: SocketAddr, backup: Option<SocketAddr>) -> Config {
    let settings = TrunkSettings {
        server: Some(server),
        backup,
        credentials: Some(Credentials::new("101", password)),
        ..TrunkSettings::default()
    };
    let mut config = standard_config(ours());
    config.trunks.insert("line".to_owned(), settings);
    config
}

fn house(config: Config) -> Server {
    let graph =
        flow(json!({ "registerHeaders": { "item": [{ "name": "X-Site", "value": "n" }] } }));
    Server::new(ours(), config, vec![graph], story::prompts(), 3).named("ours")
}

fn world(config: Config) -> World {
    let phone = Phone::new("phone", at(3), SocketAddr::new(at(3).ip(), 4000), 3);
    let parties =
        vec![Party::Phone(Box::new(phone)), exchange(1), Party::Server(Box::new(house(config)))];
    World::new(9, parties)
}

/// What an operator was told of the trunk.
fn told(world: &mut World) -> Vec<String> {
    let told = |(_, fact): &(Tick, Fact)| {
        if let Fact::TrunkUp { server, expires_s, .. } = fact {
            Some(format!("up {server} {expires_s}"))
        } else if let Fact::TrunkFailed { status, .. } = fact {
            Some(format!("failed {status}"))
        } else {
            matches!(fact, Fact::TrunkDown { .. }).then(|| "down".to_owned())
        }
    };
    world.server_at(OURS).facts().iter().filter_map(told).collect()
}

fn pass(world: &mut World, seconds: u64) {
    world.run_for(Duration::from_secs(seconds));
}

/// SP: a number at a carrier, from registration to the last REGISTER.
#[test]
fn a_registered_trunk_is_called_and_leaves() {
    let mut world = world(config("secret", carrier(), None));
    world.with_phone(PHONE, |phone, now| phone.register(carrier(), "102", "secret", now));
    pass(&mut world, 1);
    let register = world.last_message(OURS, "REGISTER").unwrap();
    assert!(register.contains("\r\nX-Site: n\r\n"), "{register}");
    assert_eq!(told(&mut world), ["up 127.0.2.1:5060 600"]);

    world.with_phone(PHONE, |phone, now| phone.call("101", carrier(), now));
    pass(&mut world, 3);
    assert!(world.phone(PHONE).is_talking(), "{}", world.ladder());
    let is_it = |fact: &Fact| matches!(fact, Fact::Arrived { to, flow, .. } if to == "101" && flow == "house");
    let arrived = world.server_at(OURS).facts().iter().any(|(_, fact)| is_it(fact));
    assert!(arrived, "{:?}", world.server_at(OURS).facts());
    world.with_phone(PHONE, Phone::hangup);
    pass(&mut world, 1);
    let now = world.now();
    world.server_at(OURS).switch().drain();
    world.server_at(OURS).handle_timeout(now);
    pass(&mut world, 60);
    assert_eq!(told(&mut world), ["up 127.0.2.1:5060 600", "down"]);
    assert_eq!(world.server_at(CARRIER).gauges().registrations, 1, "only the phone is left");
    let ladder = world.ladder();
    story::assert_at_rest(world.server_at(OURS), &ladder);
    assert_eq!(world.server_at(OURS).gauges().trunks, 0);
    story::golden("trunk_registered", &world.ladder());
}

#[test]
fn a_registration_lasts_for_a_day() {
    let mut world = world(config("secret", carrier(), None)).undrawn();
    for _ in 0..24 {
        pass(&mut world, 3600);
        assert_eq!(world.server_at(CARRIER).gauges().registrations, 1);
    }
    assert_eq!(told(&mut world), ["up 127.0.2.1:5060 600"]);
}

#[test]
fn the_backup_stands_in_for_a_silent_server() {
    let config = config("secret", at(77), Some(carrier()));
    let mut world = world(config);
    let target = |world: &mut World| world.server_at(OURS).switch().trunk_target(0, "line", "030");
    assert_eq!(target(&mut world), Err(NoTarget::NotRegistered));
    world.note("ours registers at the first server, where nobody is");
    pass(&mut world, 40);
    assert_eq!(told(&mut world), ["up 127.0.2.1:5060 600"]);
    let found = target(&mut world).unwrap();
    assert_eq!(found.request_uri, "sip:030@127.0.2.1:5060");
    assert_eq!(found.flow.remote, carrier());
    assert_eq!(found.from_host, "127.0.2.1:5060");
    story::golden("trunk_backup", &world.ladder());
}

#[test]
fn a_wrong_password_is_not_tried_again_and_again() {
    let mut world = world(config("guess", carrier(), Some(carrier())));
    pass(&mut world, 14 * 60);
    assert_eq!(told(&mut world), ["failed 401"]);
    assert_eq!(world.ladder().matches("REGISTER───").count(), 4, "{}", world.ladder());
}

#[test]
fn passwords_are_kept_to_the_realm_that_is_configured() {
    let mut config = config("secret", carrier(), None);
    let known = config.trunks.get_mut("line").and_then(|line| line.credentials.as_mut());
    known.unwrap().realm = Some("bank".to_owned());
    let mut world = world(config);
    pass(&mut world, 60);
    assert_eq!(told(&mut world), ["failed 401"]);
    let said = world.last_message(OURS, "REGISTER").unwrap();
    assert!(!said.contains("Authorization"), "{said}");
}

/// Who does not know the token is nobody, wherever he calls from.
#[test]
fn a_caller_without_the_token_is_forbidden() {
    let mut world = world(config("secret", carrier(), None));
    pass(&mut world, 1);
    world.with_phone(PHONE, |phone, now| phone.call("101", ours(), now));
    pass(&mut world, 1);
    let refused = PhoneEvent::Ended(Cause::Rejected { status: 403 });
    let events = world.phone(PHONE).events().iter().map(|(_, event)| event);
    assert_eq!(events.collect::<Vec<_>>(), [&refused]);
    assert_eq!(world.server_at(OURS).gauges().calls_accepted, 0);
}

#[test]
fn a_restart_replaces_its_own_binding() {
    let contact = |world: &mut World| {
        let targets = world.server_at(CARRIER).switch().extension_targets(0, "101");
        targets.into_iter().map(|target| target.request_uri).collect::<Vec<_>>()
    };
    // The journal holds the secret; a life later all else is new.
    let life = |_: u8| {
        let mut house = house(config("secret", carrier(), None));
        house.restore(house.journal(), Tick::ZERO);
        let parties = vec![exchange(9), exchange(1), Party::Server(Box::new(house))];
        let mut world = World::new(9, parties);
        pass(&mut world, 1);
        contact(&mut world)
    };
    let bound = life(1);
    assert_eq!(life(2), bound);
    let token = bound[0].strip_prefix("sip:").and_then(|uri| uri.split('@').next()).unwrap();
    assert_eq!(token.len(), 32, "{bound:?}");
}

/// A reload keeps the binding of a trunk that stays, and takes back that of one that goes; one that
/// comes back is bound again, even while it is being taken back.
#[test]
fn a_reload_keeps_what_stays_and_takes_back_what_goes() {
    let mut world = world(config("secret", carrier(), None));
    pass(&mut world, 1);
    let registers = |world: &World| {
        let sent = world.messages().iter().filter(|seen| seen.from == OURS);
        sent.filter(|seen| seen.bytes.starts_with(b"REGISTER ")).count()
    };
    let before = registers(&world);
    let reload = |world: &mut World, flows: Vec<Graph>| {
        let now = world.now();
        world.server_at(OURS).reload(flows, now).expect("the flow is sound")
    };
    let other = || story::answer_and_wait(1);
    assert_eq!(reload(&mut world, vec![flow(json!({}))]).went, Vec::<String>::new());
    pass(&mut world, 5);
    assert_eq!((registers(&world), told(&mut world).len()), (before, 1), "nothing is sent");

    let gone = reload(&mut world, vec![other()]);
    assert_eq!(gone.went, ["trunk line of house", "workflow house"]);
    pass(&mut world, 5);
    assert_eq!(told(&mut world)[1..], ["down"]);
    assert_eq!(world.server_at(CARRIER).gauges().registrations, 0);
    world.with_phone(PHONE, |phone, now| phone.register(carrier(), "102", "secret", now));

    reload(&mut world, vec![flow(json!({}))]);
    pass(&mut world, 5);
    reload(&mut world, vec![other()]);
    reload(&mut world, vec![flow(json!({}))]);
    pass(&mut world, 5);
    let up = "up 127.0.2.1:5060 600";
    assert_eq!(told(&mut world), [up, "down", up, "down", up]);
    assert_eq!(world.server_at(CARRIER).gauges().registrations, 2, "the phone, and one of ours");
    world.with_phone(PHONE, |phone, now| phone.call("101", carrier(), now));
    pass(&mut world, 3);
    assert!(world.phone(PHONE).is_talking(), "{}", world.ladder());
}

/// What cannot work is said before anything runs.
#[test]
fn a_trunk_that_cannot_register_is_named() {
    let mut config = config("secret", carrier(), None);
    config.trunks.clear();
    let missing = house(config).switch().unregistrable();
    assert!(
        missing[0].contains("trunk line") && missing[0].contains("[trunk.line]"),
        "{missing:?}"
    );
}

/// Loss, delay, reordering and duplication: the registration comes up, is renewed, and is true.
#[test]
fn a_bad_line_delays_a_registration_and_no_more() {
    for (loss_percent, duplicate_percent) in [(0, 0), (1, 1), (5, 5), (20, 20)] {
        let mut world = world(config("secret", carrier(), None)).undrawn();
        let (delay, jitter) = (Duration::from_millis(50), Duration::from_millis(400));
        world.set_link(Link { delay, jitter, loss_percent, duplicate_percent });
        pass(&mut world, 120);
        for _ in 0..60 {
            pass(&mut world, 120);
            let (ours, theirs) = (
                world.server_at(OURS).gauges().trunks,
                world.server_at(CARRIER).gauges().registrations,
            );
            assert_eq!((ours, theirs), (1, 1), "at {loss_percent} %");
        }
        let facts = told(&mut world);
        assert!(facts.iter().all(|fact| fact.starts_with("up")), "{loss_percent} %: {facts:?}");
    }
}
