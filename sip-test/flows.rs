//! The small flows that are shipped, as calls: a ring group, an extension menu, and calls out.

use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::Tick;
use ringback::sim::{Answering, Party, Phone, PhoneEvent, Server, World, standard_config};
use ringback::sip::Cause;

use crate::story;

const CUSTOMER: usize = 0;
const FIRST: usize = 2;
const SECOND: usize = 3;
const THIRD: usize = 4;
const NUMBER: &str = "+4930123456";

fn server() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

/// One of the flows with a customer behind its trunk and phones for its three extensions.
struct House {
    trace: &'static str,
    world: World,
}

impl House {
    fn open(trace: &'static str, flow: &str) -> Self {
        let phone = |name: &str, host: u8| {
            let at = |port| SocketAddr::from(([127, 0, 1, host], port));
            Phone::new(name, at(5060), at(4000), host.into()).soundless()
        };
        let flows = vec![story::flow_file(flow)];
        let house = Server::new(server(), standard_config(server()), flows, story::prompts(), 1);
        let extension = |name: &str, host| Party::Phone(Box::new(phone(name, host)));
        let parties = vec![
            Party::Phone(Box::new(phone("customer", 10).numbered(NUMBER))),
            Party::Server(Box::new(house.soundless())),
            extension("201", 20),
            extension("202", 30),
            extension("203", 40),
        ];
        let mut house = Self { trace, world: World::new(2, parties) };
        house.register(CUSTOMER, "trunk", "trunk-secret");
        house
    }

    /// The phones of all three extensions are there, and do this when they are called.
    fn with_phones(mut self, answering: [Answering; 3]) -> Self {
        for (index, answering) in [FIRST, SECOND, THIRD].into_iter().zip(answering) {
            let user = format!("20{}", index - 1);
            self.register(index, &user, &format!("secret-{user}"));
            self.act(index, |phone, _| phone.set_answering(answering));
        }
        self
    }

    fn register(&mut self, index: usize, user: &str, password: &str) {
        self.act(index, |phone, now| phone.register(server(), user, password, now));
        self.pass(100);
    }

    fn act(&mut self, index: usize, act: impl FnOnce(&mut Phone, Tick)) {
        self.world.with_phone(index, act);
    }

    fn pass(&mut self, millis: u64) {
        self.world.run_for(Duration::from_millis(millis));
    }

    fn calls(&mut self, index: usize, number: &str) {
        self.act(index, |phone, now| phone.call(number, server(), now));
    }

    fn until(&mut self, what: &str, done: impl FnMut(&World) -> bool) {
        let deadline = self.world.now() + Duration::from_secs(200);
        let is_done = self.world.run_until(deadline, done);
        let facts = format!("{:#?}", self.world.server().facts());
        assert!(is_done, "it never came to this: {what}\n{}\n{facts}", self.world.ladder());
    }

    /// These two are connected with each other.
    fn talk(&mut self, one: usize, other: usize) {
        self.until("both talk", |world| {
            [one, other].into_iter().all(|index| world.phone(index).is_talking())
        });
        self.pass(1_000);
        assert_eq!(self.world.server().media_gauges().legs_bridged, 2);
        let names = [one, other].map(|index| self.world.phone(index).name().to_owned());
        self.world.note(&format!("{} and {} are bridged", names[0], names[1]));
    }

    fn ends(&mut self, index: usize, cause: Cause) {
        let wanted = PhoneEvent::Ended(cause);
        self.until(&format!("{index} hears {cause:?}"), |world| {
            world.phone(index).events().iter().any(|(_, event)| *event == wanted)
        });
    }

    fn was_played(&mut self, prompt: &str) {
        let played = self.world.server().played_since(Tick::ZERO);
        assert!(played.contains(&prompt), "{prompt} in {played:?}");
        self.world.note(&format!("{prompt} has been played"));
    }

    fn close(mut self) {
        for index in [CUSTOMER, FIRST, SECOND, THIRD] {
            self.act(index, Phone::hangup);
        }
        self.pass(50_000);
        story::assert_server_at_rest(&mut self.world);
        story::golden(self.trace, &self.world.ladder());
    }
}

const fn after(seconds: u64) -> Answering {
    Answering::After(Duration::from_secs(seconds))
}

/// I6: the phone that still rings is cancelled.
#[test]
fn the_first_of_a_group_who_answers_has_the_caller() {
    let mut house = House::open("group_answers", "ring-group.json").with_phones([
        Answering::Never,
        after(3),
        Answering::Refuse(486),
    ]);
    house.calls(CUSTOMER, "200");
    house.talk(CUSTOMER, SECOND);
    house.ends(FIRST, Cause::Cancelled);
    house.close();
}

#[test]
fn a_group_that_does_not_answer_together_is_tried_one_by_one() {
    let mut house =
        House::open("group_hunts", "ring-group.json").with_phones([Answering::Never; 3]);
    house.calls(CUSTOMER, "200");
    house.pass(21_000);
    house.act(SECOND, |phone, _| phone.set_answering(after(2)));
    house.talk(CUSTOMER, SECOND);
    house.close();
}

#[test]
fn a_caller_of_a_group_without_phones_is_told() {
    let mut house = House::open("group_nobody", "ring-group.json");
    house.calls(CUSTOMER, "200");
    house.ends(CUSTOMER, Cause::Bye);
    house.was_played("ext-unavailable.wav");
    house.close();
}

#[test]
fn a_caller_dials_an_extension_during_the_welcome() {
    let mut house = House::open("ivr_extension", "ivr.json").with_phones([after(1); 3]);
    house.calls(CUSTOMER, "200");
    house.pass(2_000);
    house.act(CUSTOMER, |phone, now| phone.press("202#", now));
    house.talk(CUSTOMER, SECOND);
    house.close();
}

#[test]
fn a_wrong_extension_and_then_silence_lead_to_the_operator() {
    let mut house = House::open("ivr_falls_back", "ivr.json").with_phones([after(1); 3]);
    house.calls(CUSTOMER, "200");
    house.pass(2_000);
    house.act(CUSTOMER, |phone, now| phone.press("999#", now));
    house.talk(CUSTOMER, FIRST);
    house.was_played("ext-unavailable.wav");
    house.close();
}

#[test]
fn an_extension_that_does_not_answer_is_asked_for_once_more() {
    let never = [after(1), Answering::Never, after(1)];
    let mut house = House::open("ivr_second_choice", "ivr.json").with_phones(never);
    house.calls(CUSTOMER, "200");
    house.pass(2_000);
    house.act(CUSTOMER, |phone, now| phone.press("202#", now));
    house.ends(SECOND, Cause::Cancelled);
    house.pass(4_000);
    house.act(CUSTOMER, |phone, now| phone.press("203#", now));
    house.talk(CUSTOMER, THIRD);
    house.close();
}

#[test]
fn a_menu_without_an_operator_says_goodbye() {
    let mut house = House::open("ivr_goodbye", "ivr.json");
    house.calls(CUSTOMER, "200");
    house.ends(CUSTOMER, Cause::Bye);
    house.was_played("goodbye.wav");
    house.close();
}

#[test]
fn nine_and_a_number_leave_by_the_trunk() {
    let mut house = House::open("outbound_world", "outbound.json").with_phones([after(1); 3]);
    house.calls(FIRST, &format!("9{NUMBER}"));
    house.talk(FIRST, CUSTOMER);
    house.close();
}

#[test]
fn three_digits_are_a_colleague_who_may_be_busy() {
    let mut house = House::open("outbound_inside", "outbound.json").with_phones([
        after(1),
        Answering::Refuse(486),
        after(2),
    ]);
    house.calls(FIRST, "202");
    house.ends(FIRST, Cause::Rejected { status: 486 });
    house.calls(FIRST, "203");
    house.talk(FIRST, THIRD);
    house.close();
}

#[test]
fn anything_else_is_refused_and_nothing_is_dialled() {
    let mut house = House::open("outbound_refused", "outbound.json").with_phones([after(1); 3]);
    for number in ["12", "9", "90", "9abc", "91234567890123456", "0049301234567"] {
        house.calls(FIRST, number);
        house.pass(1_000);
        assert!(!house.world.phone(FIRST).is_in_call(), "{number}");
    }
    assert_eq!(house.world.last_message(1, "INVITE"), None);
    // The trunk of this flow is for calls out only.
    house.calls(CUSTOMER, "201");
    house.ends(CUSTOMER, Cause::Rejected { status: 480 });
    house.close();
}
