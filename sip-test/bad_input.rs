//! Bad input to the queue: what is on the wire, what is in the log, and that the caller keeps waiting.

use std::net::SocketAddr;
use std::time::Duration;

use ringback::call::{Fact, node};
use ringback::flow::{self, Graph};
use ringback::sim::{Answering, Phone, PhoneEvent};
use ringback::sip::Cause;
use serde_json::{Value, json};

use crate::queue::{AGENT, CUSTOMER, Centre, NUMBER, OTHER, ended, server};
use crate::story;

impl Centre {
    fn waits_with_music(&mut self) {
        self.pass(7_000);
        self.hears(CUSTOMER, "music.wav", 0);
        assert!(self.world.phone(CUSTOMER).is_talking(), "he is still on the line");
        assert_eq!(self.world.server().gauges().entries, 1, "and in the queue");
    }

    fn log(&mut self) -> Vec<Fact> {
        self.world.server().facts().iter().map(|(_, fact)| fact.clone()).collect()
    }

    fn saw(&self, index: usize, wanted: &PhoneEvent) -> bool {
        self.world.phone(index).events().iter().any(|(_, event)| event == wanted)
    }
}

/// The shipped flow with one parameter of one node changed.
fn changed(node: &str, parameter: &str, value: Value) -> Graph {
    let path = story::root().join("flows/queue-callback.json");
    let mut export: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let nodes = export["nodes"].as_array_mut().unwrap();
    let found = nodes.iter_mut().find(|known| known["name"] == node).unwrap();
    found["parameters"][parameter] = value;
    let documents = flow::read(&export.to_string(), "changed.json").unwrap();
    let (graph, problems) = flow::check(&documents[0], &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

/// A wrong password: 401 twice on the wire, a line in the log, and nobody becomes an agent.
#[test]
fn a_wrong_password_disturbs_nobody() {
    let mut centre = Centre::soundless("bad_password");
    centre.customer_waits();
    centre.act(OTHER, Phone::hangup);
    centre.act(AGENT, Phone::unregister);
    centre.act(OTHER, Phone::unregister);
    centre.pass(100);
    centre.act(AGENT, |phone, now| phone.register(server(), "101", "guess", now));
    centre.pass(1_000);
    assert!(centre.saw(AGENT, &PhoneEvent::Registered(401)));
    let source = SocketAddr::from(([127, 0, 1, 20], 5060));
    let is_told = |fact: &Fact| matches!(fact, Fact::Refused { source: from, status: 401, .. } if *from == source);
    assert!(centre.log().iter().any(is_told), "{:#?}", centre.log());
    centre.close();
}

/// An extension that nobody has: the caller is told, and comes to the menu; an extension that dials
/// one is refused.
#[test]
fn an_unknown_number_is_told() {
    let mut centre = Centre::soundless("bad_number_dialled");
    centre.agent_comes();
    centre.customer_calls();
    centre.pass(1_000);
    let from = centre.heard(CUSTOMER);
    centre.customer_presses("555#");
    centre.pass(5_000);
    centre.hears(CUSTOMER, "ext-unavailable.wav", from);
    let from = centre.heard(CUSTOMER);
    centre.pass(4_000);
    centre.hears(CUSTOMER, "queues.wav", from.saturating_sub(16_000));
    centre.act(AGENT, |phone, now| phone.call("555", server(), now));
    centre.pass(1_000);
    assert!(centre.saw(AGENT, &PhoneEvent::Ended(Cause::Rejected { status: 480 })));
    centre.close();
}

/// An agent who refuses: the caller waits with music, and is offered again after the pause.
#[test]
fn an_agent_who_refuses_costs_nobody_his_place() {
    for (status, trace) in [(486, "bad_agent_busy"), (603, "bad_agent_declines")] {
        let mut centre = Centre::soundless(trace);
        centre.agent_comes();
        centre.act(AGENT, |phone, _| phone.set_answering(Answering::Refuse(status)));
        centre.customer_calls();
        centre.customer_chooses("1");
        centre.waits_with_music();
        centre.act(AGENT, |phone, _| phone.set_answering(Answering::After(Duration::from_secs(2))));
        centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
        centre.both_hear_each_other();
        centre.close();
    }
}

/// An agent whose phone rings and never answers: the dial is cancelled, the caller keeps waiting.
#[test]
fn an_agent_who_does_not_answer_is_cancelled() {
    let mut centre = Centre::soundless("bad_agent_rings_out");
    centre.agent_comes();
    centre.act(AGENT, |phone, _| phone.set_answering(Answering::Never));
    centre.customer_calls();
    centre.customer_chooses("1");
    centre.until("the agent's phone stops", |world| ended(world, AGENT, Cause::Cancelled) == 1);
    centre.waits_with_music();
    centre.close();
}

/// An agent who is gone without a word: the INVITE is repeated for as long as the wait lasts, and
/// the caller keeps waiting.
#[test]
fn an_agent_whose_phone_is_dead_costs_a_retry() {
    let mut centre = Centre::soundless("bad_agent_dead");
    centre.agent_comes();
    centre.act(AGENT, |phone, _| phone.set_answering(Answering::Silent));
    centre.world.meddle(AGENT, "100", 99, ringback::sim::Meddling::Lose);
    centre.customer_calls();
    centre.customer_chooses("1");
    centre.pass(27_000);
    centre.waits_with_music();
    centre.close();
}

/// Numbers that nobody can call back: the caller is told so, and keeps waiting.
#[test]
fn a_malformed_number_is_told_and_keeps_waiting() {
    for number in ["12abc", "7", "+49-30-1", "000000000000000000000000000000000"] {
        let mut centre = Centre::of(
            "bad_customer_number",
            number,
            story::flow_file("queue-callback.json"),
            Duration::ZERO,
            false,
        );
        centre.customer_waits();
        centre.customer_asks_in_vain("no-number.wav");
        centre.waits_with_music();
        centre.close();
    }
}

/// A queue that the workflow does not have, named by an expression: the run ends with the node's
/// name in the log, and the caller is not left on a dead line.
#[test]
fn a_queue_that_is_not_there_ends_the_call_with_a_line_in_the_log() {
    let flow = changed("put_support", "ref", json!("={{ 'nowhere' }}"));
    let mut centre = Centre::of("bad_queue", NUMBER, flow, Duration::ZERO, false);
    centre.customer_calls();
    centre.customer_chooses("1");
    centre.until("the caller is hung up", |world| ended(world, CUSTOMER, Cause::Bye) == 1);
    let log = centre.log();
    let is_told = |fact: &Fact| {
        matches!(fact, Fact::RunFailed { error, .. }
            if error.contains("put_support") && error.contains("no active queue"))
    };
    assert!(log.iter().any(is_told), "{log:#?}");
    centre.close();
}

/// A sound file that is not there, named by an expression: silence instead, a line in the log, and
/// the caller keeps his place.
#[test]
fn a_prompt_that_is_not_there_costs_its_sound_only() {
    let flow = changed("play_stat", "filePath", json!("={{ 'nowhere.wav' }}"));
    let mut centre = Centre::of("bad_prompt", NUMBER, flow, Duration::ZERO, false);
    centre.customer_waits();
    centre.pass(31_000);
    let log = centre.log();
    let is_told =
        |fact: &Fact| matches!(fact, Fact::ClipFailed { path, .. } if path == "nowhere.wav");
    assert!(log.iter().any(is_told), "{log:#?}");
    centre.waits_with_music();
    centre.close();
}
