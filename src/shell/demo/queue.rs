//! The acts of the main job: callers, agents, the queue between them, and promises kept.

use std::time::Duration;

use crate::media::ear;
use crate::shell::demo::act::{Act, Broken};
use crate::shell::phone::{Role, Stage};
use crate::sim::{Answering, Phone, PhoneEvent};
use crate::sip::{Cause, Credentials};

const CUSTOMER: usize = 0;
const AGENT: usize = 1;
const OTHER: usize = 2;
const NEIGHBOUR: usize = 3;
/// What the customer, the agent and the other agent hum, in hertz.
const HUMS: [f32; 3] = [440.0, 660.0, 880.0];

/// The numbers of the customer and of his neighbour.
const NUMBERS: [&str; 2] = ["+4930123456", "+4930654321"];

/// Samples that are judged at once, 100 ms: a late packet shifts the phase of a hum, and over
/// seconds that alone would hide it.
const PIECE: usize = 800;
/// When the queues are offered: extension.wav is 6.8 s, the wait for an extension 4 s, queues.wav
/// 3.4 s.
const MENU_MS: u64 = 12_500;
/// Percent of the pieces in which the right hum is heard.
const SHARE_MIN: usize = 90;
const SAMPLES_PER_MS: usize = 8;

/// A customer behind the trunk and two agents.
pub(super) const ROLES: &[Role] = &[
    ("customer", |phone| phone.humming(HUMS[CUSTOMER] as u32).numbered(NUMBERS[0])),
    ("agent", |phone| {
        phone.humming(HUMS[AGENT] as u32).answering(Answering::After(Duration::from_secs(2)))
    }),
    ("other", |phone| {
        phone.humming(HUMS[OTHER] as u32).answering(Answering::After(Duration::from_secs(4)))
    }),
];

/// The same, and another customer of the same trunk; whoever is called there, the first one rings.
pub(super) const ROLES_OF_TWO: &[Role] = &[
    ROLES[CUSTOMER],
    ROLES[AGENT],
    ROLES[OTHER],
    ("neighbour", |phone| {
        let (username, password) = ("trunk".to_owned(), "trunk-secret".to_owned());
        phone.numbered(NUMBERS[1]).proving(Credentials { username, password, realm: None })
    }),
];

/// An agent is free, so the caller is bridged at once.
pub(super) fn agent_is_free(act: &mut Act) -> Result<(), Broken> {
    register(act, CUSTOMER, "trunk", "trunk-secret")?;
    register(act, AGENT, "101", "secret-101")?;
    customer_chooses(act)?;
    act.comes("the agent answers", |stage| stage.phone(AGENT).is_talking())?;
    both_hear_each_other(act)?;
    act.note("the agent hangs up");
    act.act(AGENT, Phone::hangup);
    act.comes("the customer is hung up", |stage| !stage.phone(CUSTOMER).is_talking())?;
    act.no_leg_is_left()
}

/// All are busy: the customer asks to be called back, hangs up, and is called.
pub(super) fn called_back(act: &mut Act) -> Result<(), Broken> {
    agents_talk_to_each_other(act)?;
    customer_chooses(act)?;
    let from = act.heard(CUSTOMER);
    act.pass(2_500);
    act.hears(CUSTOMER, "music.wav", from);
    let from = act.heard(CUSTOMER);
    act.pass(8_500);
    act.hears(CUSTOMER, "position-1.wav", from);
    customer_asks(act);
    customer_hangs_up(act)?;
    agents_are_free(act);
    act.comes("the agent answers", |stage| stage.phone(AGENT).is_talking())?;
    act.comes("the customer is called and answers", |stage| stage.phone(CUSTOMER).is_talking())?;
    both_hear_each_other(act)?;
    everybody_hangs_up(act);
    called(act, 1)?;
    act.no_leg_is_left()
}

/// Up to the moment when the attempt at the customer is broken off.
fn customer_is_called_and_does_not_answer(act: &mut Act) -> Result<(), Broken> {
    agents_talk_to_each_other(act)?;
    customer_chooses(act)?;
    customer_asks(act);
    customer_hangs_up(act)?;
    act.act(CUSTOMER, |phone, _| phone.set_answering(Answering::Never));
    agents_are_free(act);
    act.comes("the agent answers", |stage| stage.phone(AGENT).is_talking())?;
    act.comes("the customer rings, and the attempt is broken off", |stage| {
        happened(stage, CUSTOMER, &PhoneEvent::Ended(Cause::Cancelled))
    })
}

/// The customer who asked does not answer: the agent is told.
pub(super) fn customer_does_not_answer(act: &mut Act) -> Result<(), Broken> {
    customer_is_called_and_does_not_answer(act)?;
    let from = act.heard(AGENT);
    act.comes("the agent is hung up", |stage| !stage.phone(AGENT).is_talking())?;
    act.hears(AGENT, "customer-unavailable.wav", from);
    called(act, 0)?;
    act.no_leg_is_left()
}

/// The customer who asked does not answer, and is reached when he is called once more.
pub(super) fn reached_at_the_second_attempt(act: &mut Act) -> Result<(), Broken> {
    customer_is_called_and_does_not_answer(act)?;
    promises(act, 1)?;
    act.note("the customer is back at his phone");
    let soon = Answering::After(Duration::from_secs(1));
    act.act(CUSTOMER, |phone, _| phone.set_answering(soon));
    act.comes("the agent is hung up", |stage| !stage.phone(AGENT).is_talking())?;
    act.comes("the customer is called again and answers", |stage| {
        stage.phone(CUSTOMER).is_talking()
    })?;
    both_hear_each_other(act)?;
    everybody_hangs_up(act);
    called(act, 1)?;
    promises(act, 0)?;
    act.no_leg_is_left()
}

/// Whoever waits to be called back and phones in takes his place live, and is called by nobody.
pub(super) fn phones_in_himself(act: &mut Act) -> Result<(), Broken> {
    agents_talk_to_each_other(act)?;
    customer_chooses(act)?;
    customer_asks(act);
    customer_hangs_up(act)?;
    promises(act, 1)?;
    act.note("the customer phones in himself");
    customer_chooses(act)?;
    agents_are_free(act);
    act.comes("an agent answers", |stage| {
        stage.phone(AGENT).is_talking() || stage.phone(OTHER).is_talking()
    })?;
    both_hear_each_other(act)?;
    promises(act, 0)?;
    everybody_hangs_up(act);
    // Longer than the pause before another attempt.
    act.pass(5_000);
    // Both talks are of calls of his own.
    called(act, 1)?;
    let rang = act.count(CUSTOMER, &PhoneEvent::Ended(Cause::Cancelled));
    act.prove(rang == 0, "nobody rang him")?;
    act.no_leg_is_left()
}

/// Nobody is registered: the caller is told.
pub(super) fn nobody_is_there(act: &mut Act) -> Result<(), Broken> {
    register(act, CUSTOMER, "trunk", "trunk-secret")?;
    let from = customer_chooses(act)?;
    act.comes("the customer is hung up", |stage| {
        happened(stage, CUSTOMER, &PhoneEvent::Ended(Cause::Bye))
    })?;
    act.hears(CUSTOMER, "offline.wav", from);
    act.no_leg_is_left()
}

/// The caller who asked hangs up while the agent rings: bridged or called back, not both.
pub(super) fn hangs_up_between(act: &mut Act) -> Result<(), Broken> {
    agents_talk_to_each_other(act)?;
    customer_chooses(act)?;
    customer_asks(act);
    act.note("the agents are free");
    act.act(AGENT, Phone::hangup);
    // The flow has got Dispatch, and the agent rings; two seconds later it would answer.
    act.pass(1_000);
    customer_hangs_up(act)?;
    let rang = PhoneEvent::Ended(Cause::Cancelled);
    act.comes("the agent has rung and is withdrawn", |stage| happened(stage, AGENT, &rang))?;
    act.comes("the customer is called and answers", |stage| stage.phone(CUSTOMER).is_talking())?;
    both_hear_each_other(act)?;
    everybody_hangs_up(act);
    // Longer than the pause before another attempt.
    act.pass(8_000);
    called(act, 1)?;
    act.no_leg_is_left()
}

/// The process dies with promises pending: they are there when it starts again, and are kept in
/// their order.
pub(super) fn killed(act: &mut Act) -> Result<(), Broken> {
    agents_talk_to_each_other(act)?;
    let server = act.server();
    for who in [CUSTOMER, NEIGHBOUR] {
        act.act(who, |phone, now| phone.call("200", server, now));
        let name = act.phone(who).name().to_owned();
        act.comes(&format!("the {name} is answered"), |stage| stage.phone(who).is_talking())?;
    }
    for (pause, what) in [(MENU_MS, "support"), (1_000, "call me back")] {
        act.pass(pause);
        for who in [CUSTOMER, NEIGHBOUR] {
            act.note(&format!("the {} presses 1: {what}", act.phone(who).name()));
            act.act(who, |phone, now| phone.press("1", now));
            act.pass(500);
        }
    }
    act.pass(5_500);
    act.note("both hang up");
    for who in [CUSTOMER, NEIGHBOUR] {
        act.act(who, Phone::hangup);
    }
    act.pass(500);
    numbers(act, &NUMBERS)?;
    act.kill()?;
    numbers(act, &NUMBERS)?;
    // They had a call, which is gone with the process.
    act.act(AGENT, Phone::hangup);
    act.act(OTHER, Phone::hangup);
    act.pass(1_000);
    register(act, CUSTOMER, "trunk", "trunk-secret")?;
    register(act, AGENT, "101", "secret-101")?;
    for left in [&NUMBERS[1..], &[]] {
        act.comes("the agent answers", |stage| stage.phone(AGENT).is_talking())?;
        act.comes("a customer is called and answers", |stage| stage.phone(CUSTOMER).is_talking())?;
        both_hear_each_other(act)?;
        everybody_hangs_up(act);
        act.pass(500);
        numbers(act, left)?;
    }
    // Longer than the pause before another attempt.
    act.pass(5_000);
    called(act, 2)?;
    act.no_leg_is_left()
}

fn register(act: &mut Act, index: usize, user: &str, password: &str) -> Result<(), Broken> {
    let (server, registered) = (act.server(), PhoneEvent::Registered(200));
    let before = act.count(index, &registered);
    act.act(index, |phone, now| phone.register(server, user, password, now));
    let name = act.phone(index).name().to_owned();
    act.comes(&format!("{name} is registered as user {user}"), |stage| {
        stage.phone(index).events().iter().filter(|(_, event)| *event == registered).count()
            > before
    })
}

/// Claims whom the server has promised to call, in order.
fn numbers(act: &mut Act, wanted: &[&str]) -> Result<(), Broken> {
    let owed = act.numbers();
    act.prove(owed == wanted, &format!("promised and not yet kept: {owed:?}"))
}

/// All are registered, and the agents are busy with each other.
fn agents_talk_to_each_other(act: &mut Act) -> Result<(), Broken> {
    register(act, CUSTOMER, "trunk", "trunk-secret")?;
    register(act, AGENT, "101", "secret-101")?;
    register(act, OTHER, "102", "secret-102")?;
    let server = act.server();
    act.note("one agent calls the other: both are busy");
    act.act(AGENT, |phone, now| phone.call("102", server, now));
    act.comes("the agents talk to each other", |stage| {
        stage.phone(AGENT).is_talking() && stage.phone(OTHER).is_talking()
    })
}

/// The customer calls, lets the menu of extensions pass, and chooses a queue; says how much had
/// been heard by then.
fn customer_chooses(act: &mut Act) -> Result<usize, Broken> {
    let server = act.server();
    act.act(CUSTOMER, |phone, now| phone.call("200", server, now));
    act.comes("the customer is answered", |stage| stage.phone(CUSTOMER).is_talking())?;
    act.pass(MENU_MS);
    act.hears(CUSTOMER, "queues.wav", 0);
    let from = act.heard(CUSTOMER);
    act.note("the customer presses 1: support");
    act.act(CUSTOMER, |phone, now| phone.press("1", now));
    act.pass(1_000);
    Ok(from)
}

fn customer_asks(act: &mut Act) {
    let from = act.heard(CUSTOMER);
    act.note("the customer presses 1: call me back");
    act.act(CUSTOMER, |phone, now| phone.press("1", now));
    act.pass(6_000);
    act.hears(CUSTOMER, "callback-on.wav", from);
}

fn customer_hangs_up(act: &mut Act) -> Result<(), Broken> {
    let is_waiting = act.phone(CUSTOMER).is_talking();
    act.prove(is_waiting, "the customer is still in the queue, and hangs up")?;
    act.note("the customer hangs up");
    act.act(CUSTOMER, Phone::hangup);
    act.pass(500);
    Ok(())
}

fn agents_are_free(act: &mut Act) {
    act.note("the agents are free");
    act.act(AGENT, Phone::hangup);
    act.act(OTHER, Phone::hangup);
}

fn everybody_hangs_up(act: &mut Act) {
    act.note("everybody hangs up");
    for index in [CUSTOMER, AGENT, OTHER] {
        act.act(index, Phone::hangup);
    }
}

/// Each hears what the other hums, for two seconds.
fn both_hear_each_other(act: &mut Act) -> Result<(), Broken> {
    // Whoever answered first is connected with the customer; the other one is withdrawn.
    let agent = if act.phone(AGENT).is_talking() { AGENT } else { OTHER };
    act.pass(500);
    let from = [act.heard(CUSTOMER), act.heard(agent)];
    act.pass(2_000);
    act.note("customer and agent hear each other");
    for (listener, speaker, from) in [(CUSTOMER, agent, from[0]), (agent, CUSTOMER, from[1])] {
        let sound = act.phone(listener).heard().get(from..).unwrap_or_default();
        let (share, level) = (share_of(HUMS[speaker], sound), ear::level(sound));
        let names = [listener, speaker].map(|index| act.phone(index).name().to_owned());
        let claim = format!(
            "{} hears {}: {} Hz in {share} % of {} ms, {level:.0} dBm0",
            names[0],
            names[1],
            HUMS[speaker],
            sound.len() / SAMPLES_PER_MS,
        );
        act.prove(share >= SHARE_MIN, &claim)?;
    }
    Ok(())
}

/// In how many percent of the pieces this hum is the loudest of all.
fn share_of(hum: f32, sound: &[i16]) -> usize {
    let pieces = sound.chunks_exact(PIECE);
    let count = pieces.len().max(1);
    pieces.filter(|piece| ear::dominant(piece, &HUMS) == Some(hum)).count() * 100 / count
}

/// Claims that the customer, besides the call of its own, has talked this often.
fn called(act: &mut Act, times: usize) -> Result<(), Broken> {
    let talks = act.count(CUSTOMER, &PhoneEvent::Talking);
    let claim = format!("the customer was called back and answered {times} time(s): {talks} talks");
    act.prove(talks == 1 + times, &claim)
}

/// Claims how many promises are open.
fn promises(act: &mut Act, wanted: usize) -> Result<(), Broken> {
    let open = act.promises();
    let said = open.map_or("unknown".to_owned(), |open| open.to_string());
    act.prove(open == Some(wanted), &format!("promises that are open: {said}"))
}

fn happened(stage: &Stage, index: usize, event: &PhoneEvent) -> bool {
    stage.phone(index).events().iter().any(|(_, happened)| happened == event)
}
