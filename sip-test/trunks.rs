//! Calls that leave by a trunk: it challenges, is busy, refuses, announces, or says nothing at all.

use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::Tick;
use ringback::call::Fact;
use ringback::call::trigger::TrunkSettings;
use ringback::media::ear;
use ringback::sim::{
    Answering, Challenge, Meddling, Party, Phone, PhoneEvent, Server, World, standard_config,
};
use ringback::sip::{Cause, Credentials};
use serde_json::{Value, json};

use crate::dials::{Step, graph_behind};
use crate::story;

const CALLER: usize = 0;
const TRUNK: usize = 2;
const TRUNK_HUMS: f32 = 660.0;
const REALM: &str = "carrier.example";

fn server() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

fn trunk() -> SocketAddr {
    SocketAddr::from(([127, 0, 1, 40], 5060))
}

fn phone(name: &str, at: SocketAddr, hums: f32) -> Phone {
    let audio = SocketAddr::new(at.ip(), 4000);
    Phone::new(name, at, audio, at.port().into()).humming(hums as u32)
}

fn credentials(password: &str) -> Credentials {
    Credentials::new("4930123", password)
}

fn challenge(status: u16, stale: u32) -> Challenge {
    let credentials = credentials("right");
    Challenge { status, realm: REALM.to_owned(), credentials, stale }
}

/// Dials by the trunk and waits; whatever is not an answer ends the run with its name.
fn waits() -> Vec<Step<'static>> {
    let caller = "={{ $('office').item.json.legId }}";
    let stop = |text: &str| json!({ "errorMessage": text });
    vec![
        ("answer", json!({ "resource": "call", "operation": "call.answer" }), &["dial"]),
        ("dial", dial(), &["wait"]),
        (
            "wait",
            json!({ "operation": "dial.wait", "dialTimeoutSeconds": 40, "legId": caller,
                    "waitEventOutputs": ["ringing", "progress", "rejected"] }),
            &["wait", "wait", "wait", "bridge", "interrupted", "break", "failed"],
        ),
        ("bridge", bridge("wait"), &[]),
        ("break", json!({ "operation": "dial.break" }), &["timeout"]),
        ("interrupted", stop("={{ 'interrupted: ' + $json.interruptReason }}"), &[]),
        ("timeout", stop("timeout"), &[]),
        ("failed", stop("={{ 'failed: ' + $json.reason }}"), &[]),
    ]
}

/// Bridges while it still dials: the caller hears and is told whatever the trunk says.
fn bridges_at_once() -> Vec<Step<'static>> {
    vec![("dial", dial(), &["bridge"]), ("bridge", bridge("dial"), &[])]
}

fn dial() -> Value {
    json!({ "operation": "dial.make", "callMode": "trunk", "ref": "line",
            "destination": "0301234567" })
}

fn bridge(other: &str) -> Value {
    json!({
        "resource": "call", "operation": "call.bridge",
        "legAId": "={{ $('office').item.json.legId }}",
        "legBId": format!("={{{{ $('{other}').item.json.legId }}}}"),
    })
}

/// An extension calls out, by a trunk that this server is a customer of.
struct Outgoing {
    trace: &'static str,
    world: World,
}

impl Outgoing {
    fn begin(
        trace: &'static str,
        steps: &[Step<'_>],
        password: Option<&str>,
        shape: impl FnOnce(Phone) -> Phone,
    ) -> Self {
        Self::begin_as(trace, steps, password.map(credentials), shape)
    }

    fn begin_as(
        trace: &'static str,
        steps: &[Step<'_>],
        credentials: Option<Credentials>,
        shape: impl FnOnce(Phone) -> Phone,
    ) -> Self {
        let mut config = standard_config(server());
        let server_at = Some(trunk());
        let settings = TrunkSettings { server: server_at, credentials, ..TrunkSettings::default() };
        config.trunks.insert("line".to_owned(), settings);
        let graph = graph_behind("office", steps);
        let server = Server::new(server(), config, vec![graph], story::prompts(), 1);
        let caller = phone("caller", SocketAddr::from(([127, 0, 1, 10], 5060)), 440.0);
        let parties = vec![
            Party::Phone(Box::new(caller)),
            Party::Server(Box::new(server)),
            Party::Phone(Box::new(shape(phone("trunk", trunk(), TRUNK_HUMS)))),
        ];
        let mut story = Self { trace, world: World::new(5, parties) };
        story.act(CALLER, |phone, now| phone.register(self::server(), "101", "secret", now));
        story.pass(200);
        story.act(CALLER, |phone, now| phone.call("0301234567", self::server(), now));
        story
    }

    fn act(&mut self, index: usize, act: impl FnOnce(&mut Phone, Tick)) {
        self.world.with_phone(index, act);
    }

    fn pass(&mut self, millis: u64) {
        self.world.run_for(Duration::from_millis(millis));
    }

    fn until(&mut self, what: &str, done: impl FnMut(&World) -> bool) {
        let deadline = self.world.now() + Duration::from_secs(300);
        let is_done = self.world.run_until(deadline, done);
        let facts = format!("{:#?}", self.world.server().facts());
        assert!(is_done, "it never came to this: {what}\n{}\n{facts}", self.world.ladder());
    }

    /// The run ends with this error, which names the branch that it left by.
    fn fails(&mut self, error: &str) {
        self.pass(150_000);
        let facts = self.world.server().facts();
        let is_it = |fact: &Fact| matches!(fact, Fact::RunFailed { error: said, .. } if said.contains(error));
        let found = facts.iter().find(|(_, fact)| is_it(fact)).map(|(at, _)| *at);
        let text = format!("{facts:#?}");
        let Some(at) = found else {
            panic!("{error}\n{}\n{text}", self.world.ladder());
        };
        self.world.note(&format!("the run has ended at {at} with: {error}"));
    }

    /// How many INVITEs the trunk was sent.
    fn invites(&self) -> usize {
        let ladder = self.world.ladder();
        let to_trunk =
            |row: &&str| row.contains("INVITE─") && row.contains("▶|") && row.ends_with("▶|");
        ladder.lines().filter(to_trunk).filter(|row| !row.contains("00 INVITE")).count()
    }

    fn caller_hears_the_trunk(&mut self) {
        let from = self.world.phone(CALLER).heard().len();
        self.pass(1_500);
        let heard = &self.world.phone(CALLER).heard()[from..];
        assert_eq!(ear::dominant(heard, &[440.0, TRUNK_HUMS]), Some(TRUNK_HUMS));
        self.world.note("the caller hears the trunk");
    }

    fn close(mut self) {
        for index in [CALLER, TRUNK] {
            self.act(index, Phone::hangup);
        }
        self.pass(50_000);
        story::assert_server_at_rest(&mut self.world);
        story::golden(self.trace, &self.world.ladder());
    }
}

fn ended(world: &World, cause: Cause) -> bool {
    world.phone(CALLER).events().iter().any(|(_, event)| *event == PhoneEvent::Ended(cause))
}

/// A trunk challenges with 401 or, as a proxy, with 407; the right password is let in.
#[test]
fn the_right_password_answers_a_challenge_of_either_kind() {
    for (status, trace) in [(401, "trunk_401_right"), (407, "trunk_407_right")] {
        let shape = |phone: Phone| phone.challenging(challenge(status, 0));
        let mut story = Outgoing::begin(trace, &waits(), Some("right"), shape);
        story.until("both talk", |world| world.phone(CALLER).is_talking());
        story.until("the trunk talks", |world| world.phone(TRUNK).is_talking());
        story.caller_hears_the_trunk();
        assert_eq!(story.invites(), 2, "one without and one with proof");
        story.close();
    }
}

/// A wrong password is tried once; the dial fails by the trunk's fault, not the customer's.
#[test]
fn a_wrong_password_is_tried_once_and_fails_the_dial() {
    for (status, trace) in [(401, "trunk_401_wrong"), (407, "trunk_407_wrong")] {
        let shape = |phone: Phone| phone.challenging(challenge(status, 0));
        let mut story = Outgoing::begin(trace, &waits(), Some("wrong"), shape);
        story.fails("failed: network_error");
        assert_eq!(story.invites(), 2, "one without and one with proof, and no third");
        story.close();
    }
}

/// A nonce that the trunk calls stale was the right password: it is worth one more try, no two.
#[test]
fn a_stale_nonce_is_answered_once_more() {
    let shape = |stale| move |phone: Phone| phone.challenging(challenge(407, stale));
    let mut story = Outgoing::begin("trunk_stale_once", &waits(), Some("right"), shape(1));
    story.until("the trunk talks", |world| world.phone(TRUNK).is_talking());
    assert_eq!(story.invites(), 3);
    story.close();
    let mut story = Outgoing::begin("trunk_stale_for_ever", &waits(), Some("right"), shape(99));
    story.fails("failed: network_error");
    assert_eq!(story.invites(), 3, "a trunk cannot keep us trying");
    story.close();
}

/// A challenge in the name of a realm that is not the configured one is not answered: whoever asks
/// learns nothing about the password.
#[test]
fn a_challenge_of_another_realm_is_not_answered() {
    let shape = |phone: Phone| phone.challenging(challenge(407, 0));
    let known = Credentials { realm: Some("provider.example".to_owned()), ..credentials("right") };
    let mut story = Outgoing::begin_as("trunk_other_realm", &waits(), Some(known), shape);
    story.fails("failed: network_error");
    assert_eq!(story.invites(), 1, "no INVITE with a proof");
    story.close();
}

/// Without credentials for this trunk a challenge is its answer: nothing is proven to anybody.
#[test]
fn a_challenge_without_configured_credentials_is_a_refusal() {
    let shape = |phone: Phone| phone.challenging(challenge(407, 0));
    let mut story = Outgoing::begin("trunk_no_credentials", &waits(), None, shape);
    story.fails("failed: network_error");
    assert_eq!(story.invites(), 1);
    story.close();
}

/// QC-09: what the trunk says is what the flow reads: busy, declined, no such number, and more.
#[test]
fn a_refusal_of_the_trunk_has_its_reason() {
    let refusals = [
        (486, "failed: busy", "trunk_486"),
        (603, "failed: declined", "trunk_603"),
        (404, "failed: invalid_number", "trunk_404"),
        (480, "failed: no_answer", "trunk_480"),
        (503, "failed: network_error", "trunk_503"),
    ];
    for (status, error, trace) in refusals {
        let answering = Answering::RefuseAfter(Duration::from_secs(1), status);
        let mut story = Outgoing::begin(trace, &waits(), None, |phone| phone.answering(answering));
        story.fails(error);
        story.close();
    }
}

/// A trunk that is not there: the INVITE is sent seven times, then the dial fails.
#[test]
fn a_trunk_that_says_nothing_is_a_network_error() {
    let mut story = Outgoing::begin("trunk_dead", &waits(), None, |phone| phone);
    story.world.meddle(1, "INVITE", 10, Meddling::Lose);
    story.fails("failed: network_error");
    story.close();
}

/// QC-09, QC-11: nobody answers in the time of the wait, and breaking the dial sends CANCEL.
#[test]
fn a_trunk_that_rings_too_long_is_cancelled() {
    let ringing = |phone: Phone| phone.answering(Answering::Never);
    let mut story = Outgoing::begin("trunk_rings_out", &waits(), None, ringing);
    story.fails("timeout");
    story.close();
}

/// The caller hears the announcement of a network before anybody answers, and then the answer.
#[test]
fn early_media_is_heard_before_the_answer() {
    let early = Answering::EarlyMedia(Duration::from_secs(4), 200);
    let mut story = Outgoing::begin("trunk_early_media", &bridges_at_once(), None, |phone| {
        phone.answering(early)
    });
    let is_early = |world: &World| {
        let events = world.phone(CALLER).events();
        events.iter().any(|(_, event)| *event == PhoneEvent::Provisional(183))
    };
    story.until("the caller is told of early media", is_early);
    story.caller_hears_the_trunk();
    assert!(!story.world.phone(CALLER).is_talking(), "nobody has answered yet");
    story.until("both talk", |world| world.phone(CALLER).is_talking());
    story.caller_hears_the_trunk();
    story.close();
}

/// Early media that ends in a refusal: the caller hears why, and gets the trunk's own status.
#[test]
fn early_media_may_end_in_a_refusal() {
    let early = Answering::EarlyMedia(Duration::from_secs(3), 404);
    let mut story = Outgoing::begin("trunk_early_refused", &bridges_at_once(), None, |phone| {
        phone.answering(early)
    });
    story.pass(500);
    story.caller_hears_the_trunk();
    let refused = Cause::Rejected { status: 404 };
    story.until("the caller is refused", |world| ended(world, refused));
    story.close();
}

/// Bridged while it still dials: busy is busy for the caller too.
#[test]
fn a_busy_trunk_is_busy_for_the_bridged_caller() {
    let busy = |phone: Phone| phone.answering(Answering::Refuse(486));
    let mut story = Outgoing::begin("trunk_busy_bridged", &bridges_at_once(), None, busy);
    let refused = Cause::Rejected { status: 486 };
    story.until("the caller is refused", |world| ended(world, refused));
    story.close();
}
