//! The main job, as stories: callers, agents, the queue between them, and promises kept.
//!
//! Every story runs `flows/queue-callback.json` as it is shipped, and ends with nothing left over.

use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::Tick;
use ringback::call::{Config, QueueSettings};
use ringback::flow::Graph;
use ringback::media::ear;
use ringback::sim::{Answering, Party, Phone, PhoneEvent, Server, World, standard_config};
use ringback::sip::Cause;

use crate::story;

pub(crate) const CUSTOMER: usize = 0;
pub(crate) const SERVER: usize = 1;
pub(crate) const AGENT: usize = 2;
pub(crate) const OTHER: usize = 3;
pub(crate) const CUSTOMER_HUMS: f32 = 440.0;
pub(crate) const AGENT_HUMS: f32 = 660.0;
/// Samples that are searched for a prompt: ten seconds.
const SEARCHED_MAX: usize = 80_000;
/// The number that the customer calls from, through the trunk.
pub(crate) const NUMBER: &str = "+4930123456";

pub(crate) fn server() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

fn phone(name: &str, host: u8, hums: f32) -> Phone {
    let address = |port| SocketAddr::from(([127, 0, 1, host], port));
    Phone::new(name, address(5060), address(4000), host.into()).humming(hums as u32)
}

/// A customer behind the trunk, the server, and one agent.
pub(crate) struct Centre {
    trace: &'static str,
    pub(crate) world: World,
    has_sound: bool,
}

impl Centre {
    pub(crate) fn open(trace: &'static str) -> Self {
        Self::calling_as(trace, NUMBER)
    }

    pub(crate) fn calling_as(trace: &'static str, number: &str) -> Self {
        let flow = story::flow_file("queue-callback.json");
        Self::with(trace, number, flow, Duration::ZERO)
    }

    /// Another flow, or flows that think for so long between the agent's answer and the bridge.
    pub(crate) fn with(
        trace: &'static str,
        number: &str,
        flow: Graph,
        flow_delay: Duration,
    ) -> Self {
        Self::of(trace, number, flow, flow_delay, true)
    }

    /// The shipped flow, and settings of this queue.
    pub(crate) fn set(trace: &'static str, queue: &str, settings: QueueSettings) -> Self {
        let flow = story::flow_file("queue-callback.json");
        let mut config = standard_config(server());
        config.queues.insert(queue.to_owned(), settings);
        let house = Server::new(server(), config, vec![flow], story::prompts(), 1);
        Self::around(trace, NUMBER, house, true)
    }

    /// The shipped flow without sound, on a clock that begins at this moment, and settings of
    /// `support`.
    pub(crate) fn at(trace: &'static str, epoch_ms: u64, settings: QueueSettings) -> Self {
        let flow = story::flow_file("queue-callback.json");
        let mut config = Config { epoch_ms, ..standard_config(server()) };
        config.queues.insert("support".to_owned(), settings);
        let house = Server::new(server(), config, vec![flow], story::prompts(), 1);
        Self::around(trace, NUMBER, house.soundless(), false)
    }

    /// The shipped flow without sound, for stories about nothing that is heard.
    pub(crate) fn soundless(trace: &'static str) -> Self {
        let flow = story::flow_file("queue-callback.json");
        Self::of(trace, NUMBER, flow, Duration::ZERO, false)
    }

    /// A centre with all its properties.
    pub(crate) fn of(
        trace: &'static str,
        number: &str,
        flow: Graph,
        flow_delay: Duration,
        has_sound: bool,
    ) -> Self {
        let config = standard_config(server());
        let house = Server::new(server(), config, vec![flow], story::prompts(), 1);
        let house = house.with_flow_delay(flow_delay);
        let house = if has_sound { house } else { house.soundless() };
        Self::around(trace, number, house, has_sound)
    }

    /// The phones around a server.
    fn around(trace: &'static str, number: &str, house: Server, has_sound: bool) -> Self {
        let phone = |name, host, hums| {
            let phone = phone(name, host, hums);
            if has_sound { phone } else { phone.soundless() }
        };
        let caller = phone("customer", 10, CUSTOMER_HUMS).numbered(number);
        let agent =
            phone("agent", 20, AGENT_HUMS).answering(Answering::After(Duration::from_secs(2)));
        let other = phone("other", 30, 880.0).answering(Answering::After(Duration::from_secs(5)));
        let parties = vec![
            Party::Phone(Box::new(caller)),
            Party::Server(Box::new(house)),
            Party::Phone(Box::new(agent)),
            Party::Phone(Box::new(other)),
        ];
        let mut centre = Self { trace, world: World::new(7, parties), has_sound };
        centre.customer_registers();
        centre.pass(200);
        centre
    }

    pub(crate) fn customer_registers(&mut self) {
        self.act(CUSTOMER, |phone, now| phone.register(server(), "trunk", "trunk-secret", now));
    }

    /// The server dies, with every call and registration, and another takes up its journal.
    pub(crate) fn dies(&mut self) {
        self.world.note("the server dies, and another takes up its journal");
        let has_sound = self.has_sound;
        self.world.replace_server(|dead, now| {
            let flow = story::flow_file("queue-callback.json");
            let config = standard_config(server());
            let next = Server::new(server(), config, vec![flow], story::prompts(), 2);
            let mut next = if has_sound { next } else { next.soundless() };
            next.restore(dead.journal_durable(), now);
            next
        });
    }

    pub(crate) fn act(&mut self, index: usize, act: impl FnOnce(&mut Phone, Tick)) {
        self.world.with_phone(index, act);
    }

    pub(crate) fn pass(&mut self, millis: u64) {
        self.world.run_for(Duration::from_millis(millis));
    }

    pub(crate) fn agent_comes(&mut self) {
        self.world.note("the agent registers");
        self.act(AGENT, |phone, now| phone.register(server(), "101", "secret-101", now));
    }

    /// Both agents are registered, and busy with each other.
    pub(crate) fn agents_talk_to_each_other(&mut self) {
        self.agent_comes();
        self.act(OTHER, |phone, now| phone.register(server(), "102", "secret-102", now));
        self.pass(200);
        self.world.note("one agent calls the other: both are busy");
        self.act(AGENT, |phone, now| phone.call("102", server(), now));
        self.until("the agents talk", |world| world.phone(OTHER).is_talking());
    }

    /// Both agents talk, and the customer waits for them in the queue `support`.
    pub(crate) fn customer_waits(&mut self) {
        self.agents_talk_to_each_other();
        self.customer_calls();
        self.customer_chooses("1");
    }

    /// Both agents are busy; the customer asks to be called back and hangs up.
    pub(crate) fn customer_asks_and_leaves(&mut self) {
        self.customer_waits();
        self.customer_presses("1");
        self.pass(7_000);
        self.world.note("the customer hangs up");
        self.act(CUSTOMER, Phone::hangup);
        self.pass(1_000);
    }

    /// The waiting customer asks to be called back, is told this instead, and is owed nothing.
    pub(crate) fn customer_asks_in_vain(&mut self, prompt: &str) {
        let from = self.heard(CUSTOMER);
        self.customer_presses("1");
        self.pass(7_000);
        self.hears(CUSTOMER, prompt, from);
        assert_eq!(self.world.server().gauges().promises, 0);
    }

    /// The agent is free and takes the waiting customer, to the end of the story.
    pub(crate) fn agent_serves(mut self) {
        self.act(AGENT, Phone::hangup);
        self.until("the agent talks", |world| world.phone(AGENT).is_talking());
        self.both_hear_each_other();
        self.close();
    }

    pub(crate) fn customer_calls(&mut self) {
        self.act(CUSTOMER, |phone, now| phone.call("200", server(), now));
        self.until("the customer talks to the server", |world| world.phone(CUSTOMER).is_talking());
    }

    /// Presses a key to choose a queue as soon as the menu is heard.
    pub(crate) fn customer_chooses(&mut self, key: &'static str) {
        self.pass(12_500);
        self.world.note(&format!("the customer presses {key}"));
        self.act(CUSTOMER, |phone, now| phone.press(key, now));
        self.pass(1_000);
    }

    pub(crate) fn customer_presses(&mut self, key: &'static str) {
        self.world.note(&format!("the customer presses {key}"));
        self.act(CUSTOMER, |phone, now| phone.press(key, now));
    }

    pub(crate) fn until(&mut self, what: &str, done: impl FnMut(&World) -> bool) {
        self.patient(what, 400, done);
    }

    /// [`Self::until`], for no longer than so many seconds.
    pub(crate) fn patient(&mut self, what: &str, secs: u64, done: impl FnMut(&World) -> bool) {
        let deadline = self.world.now() + Duration::from_secs(secs);
        let is_done = self.world.run_until(deadline, done);
        let facts = format!("{:#?}", self.world.server().facts());
        assert!(is_done, "it never came to this: {what}\n{}\n{facts}", self.world.ladder());
    }

    /// Each hears what the other hums, for the two seconds that follow.
    pub(crate) fn both_hear_each_other(&mut self) {
        if !self.has_sound {
            let talk = [CUSTOMER, AGENT].map(|index| self.world.phone(index).is_talking());
            assert_eq!(talk, [true; 2], "{}", self.world.ladder());
            self.pass(500);
            assert_eq!(self.world.server().media_gauges().legs_bridged, 2);
            return self.world.note("customer and agent are bridged");
        }
        self.pass(500);
        let from = |world: &World, index: usize| world.phone(index).heard().len();
        let (customer, agent) = (from(&self.world, CUSTOMER), from(&self.world, AGENT));
        self.pass(2_000);
        let tones = [CUSTOMER_HUMS, AGENT_HUMS];
        let heard = |index: usize, from: usize| {
            ear::dominant(&self.world.phone(index).heard()[from..], &tones)
        };
        assert_eq!(heard(CUSTOMER, customer), Some(AGENT_HUMS), "{}", self.world.ladder());
        assert_eq!(heard(AGENT, agent), Some(CUSTOMER_HUMS), "{}", self.world.ladder());
        self.world.note("customer and agent hear each other");
    }

    pub(crate) fn hears(&mut self, index: usize, prompt: &str, from: usize) {
        let name = self.world.phone(index).name().to_owned();
        if !self.has_sound {
            let since = self.world.now().as_millis().saturating_sub(SEARCHED_MAX as u64 / 8);
            let played = self.world.server().played_since(Tick::from_millis(since));
            assert!(played.contains(&prompt), "{prompt} in {played:?}");
            return self.world.note(&format!("{prompt} has been played"));
        }
        let clip = story::clip(prompt);
        let heard = &self.world.phone(index).heard()[from..];
        // What was heard last is what the story is about, and a search of minutes takes minutes.
        let heard = &heard[heard.len().saturating_sub(SEARCHED_MAX)..];
        // An eighth of a second is enough to know a prompt by, and is found eight times as fast.
        let reference = &clip.samples()[4000..5000];
        let likeness = ear::find(heard, reference).map_or(0.0, |found| found.coefficient);
        assert!(likeness > 0.8, "{prompt}: likeness {likeness}\n{}", self.world.ladder());
        self.world.note(&format!("the {name} hears {prompt}"));
    }

    pub(crate) fn heard(&self, index: usize) -> usize {
        self.world.phone(index).heard().len()
    }

    /// Everybody hangs up; the ladder is compared, and nothing is left over (A9, I10).
    pub(crate) fn close(mut self) {
        for index in [CUSTOMER, AGENT, OTHER] {
            self.act(index, Phone::hangup);
        }
        self.pass(50_000);
        story::assert_server_at_rest(&mut self.world);
        story::golden(self.trace, &self.world.ladder());
    }
}

pub(crate) fn ended(world: &World, index: usize, cause: Cause) -> usize {
    let events = world.phone(index).events().iter();
    events.filter(|(_, event)| *event == PhoneEvent::Ended(cause)).count()
}

/// QC-04, QC-16, QC-19, QC-20: an agent is free, so the caller is bridged at once.
#[test]
fn a_free_agent_is_bridged_with_the_live_caller() {
    let mut centre = Centre::open("queue_live_caller_bridged");
    centre.agent_comes();
    centre.customer_calls();
    centre.customer_chooses("1");
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.both_hear_each_other();
    centre.act(AGENT, Phone::hangup);
    centre.until("the customer is hung up", |world| ended(world, CUSTOMER, Cause::Bye) == 1);
    centre.close();
}

/// QC-03, QC-05, QC-06, QC-07, QC-08, QC-09, QC-14, QC-17, QC-19, QC-21, SC-09 as spoken: the
/// agents are busy; the customer asks to be called back, hangs up, and is called when an agent is
/// free.
#[test]
fn a_customer_who_asked_is_called_back() {
    let mut centre = Centre::open("queue_called_back");
    centre.customer_waits();
    let from = centre.heard(CUSTOMER);
    centre.pass(2_000);
    centre.hears(CUSTOMER, "music.wav", from);
    let from = centre.heard(CUSTOMER);
    centre.pass(34_000);
    centre.hears(CUSTOMER, "position-1.wav", from);
    let from = centre.heard(CUSTOMER);
    centre.customer_presses("1");
    centre.pass(7_000);
    centre.hears(CUSTOMER, "callback-on.wav", from);
    centre.world.note("the customer hangs up");
    centre.act(CUSTOMER, Phone::hangup);
    centre.pass(1_000);
    centre.world.note("the agents are free");
    centre.act(AGENT, Phone::hangup);
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.close();
}

/// QC-11, QC-12, QC-22: the customer does not answer; the agent is told, and nothing is left.
#[test]
fn an_agent_is_told_that_the_customer_does_not_answer() {
    let mut centre = Centre::open("queue_customer_unavailable");
    centre.customer_asks_and_leaves();
    centre.act(CUSTOMER, |phone, _| phone.set_answering(Answering::Never));
    centre.world.note("the agents are free");
    centre.act(AGENT, Phone::hangup);
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.until("the agent is hung up", |world| ended(world, AGENT, Cause::Bye) == 1);
    centre.hears(AGENT, "customer-unavailable.wav", 0);
    centre.close();
}

/// Nobody is registered: the caller is told and hung up.
#[test]
fn nobody_is_there_so_the_caller_is_told() {
    let mut centre = Centre::open("queue_offline");
    centre.customer_calls();
    centre.pass(12_500);
    let from = centre.heard(CUSTOMER);
    centre.customer_presses("1");
    centre.until("the customer is hung up", |world| ended(world, CUSTOMER, Cause::Bye) == 1);
    centre.hears(CUSTOMER, "offline.wav", from);
    centre.close();
}

/// QC-06: who never asked and hangs up is not called.
#[test]
fn a_caller_who_did_not_ask_is_not_called_back() {
    let mut centre = Centre::open("queue_abandoned");
    centre.customer_waits();
    centre.act(CUSTOMER, Phone::hangup);
    centre.pass(1_000);
    centre.act(AGENT, Phone::hangup);
    centre.pass(60_000);
    assert!(!centre.world.phone(AGENT).is_talking());
    centre.close();
}

/// QC-15, QC-17, I2: the caller who asked hangs up while the agent rings: he is called back, once.
#[test]
fn a_caller_who_hangs_up_while_the_agent_rings_is_called_back_once() {
    let mut centre = Centre::open("queue_hangup_between");
    centre.customer_waits();
    centre.customer_presses("1");
    centre.pass(7_000);
    centre.act(AGENT, Phone::hangup);
    centre.pass(1_000);
    centre.world.note("the customer hangs up while the agents ring");
    centre.act(CUSTOMER, Phone::hangup);
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.pass(60_000);
    let talks = centre.world.phone(CUSTOMER).events().iter();
    let talks = talks.filter(|(_, event)| *event == PhoneEvent::Talking).count();
    assert_eq!(talks, 2, "his own call, and one call back");
    centre.close();
}

/// QC-02, of routing: an extension dials out with a leading 9, and is bridged while it still rings.
#[test]
fn an_extension_dials_out() {
    let mut centre = Centre::open("queue_extensions_call");
    centre.agent_comes();
    centre.pass(200);
    centre.act(AGENT, |phone, now| phone.call(&format!("9{NUMBER}"), server(), now));
    centre.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    centre.both_hear_each_other();
    centre.close();
}

/// A1, QC-06, QC-21: the server dies with a promise open; the next one keeps it, and once only.
#[test]
fn a_promise_outlives_the_server_that_made_it() {
    let mut before = Centre::open("queue_promise_made");
    before.agents_talk_to_each_other();
    before.customer_calls();
    before.customer_chooses("1");
    assert_eq!(before.world.server().journal().records.len(), 0);
    before.customer_presses("1");
    before.pass(1_000);
    assert_eq!(before.world.server().gauges().promises, 1);
    let journal = before.world.server().journal();
    assert_eq!(journal.records.len(), 1, "on disk before it is confirmed");

    let mut after = Centre::open("queue_promise_kept_after_a_restart");
    let now = after.world.now();
    after.world.note("a new server takes up the journal of one that died");
    after.world.server().restore(journal, now);
    after.agent_comes();
    after.until("the customer talks", |world| world.phone(CUSTOMER).is_talking());
    after.both_hear_each_other();
    after.pass(1_000);
    assert_eq!(after.world.server().gauges().promises, 0);
    after.close();
}

/// SC-35 of queues, A10, QC-04: the customer phones in again while his promise is open: he is
/// served live, and nobody dials him.
#[test]
fn a_customer_who_calls_again_takes_his_place_live() {
    let mut centre = Centre::open("queue_calls_again");
    centre.customer_waits();
    centre.customer_presses("1");
    centre.pass(7_000);
    centre.act(CUSTOMER, Phone::hangup);
    centre.pass(2_000);
    centre.customer_calls();
    centre.customer_chooses("1");
    assert_eq!(centre.world.server().gauges().promises, 1, "one promise stays one");
    centre.act(AGENT, Phone::hangup);
    centre.until("the agent talks", |world| world.phone(AGENT).is_talking());
    centre.both_hear_each_other();
    centre.act(AGENT, Phone::hangup);
    centre.pass(120_000);
    assert_eq!(centre.world.server().gauges().promises, 0);
    let talks = centre.world.phone(CUSTOMER).events().iter();
    let talks = talks.filter(|(_, event)| *event == PhoneEvent::Talking).count();
    assert_eq!(talks, 2, "his two own calls, and none to him");
    centre.close();
}

/// A withheld number cannot be promised anything: the caller is told and keeps waiting.
#[test]
fn a_withheld_number_is_told_and_keeps_waiting() {
    let mut centre = Centre::calling_as("queue_number_withheld", "anonymous");
    centre.customer_waits();
    centre.customer_asks_in_vain("no-number.wav");
    centre.agent_serves();
}
