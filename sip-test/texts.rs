//! Texts between extensions (RFC 3428): taken of whom has proven who he is, and handed on.

use std::time::Duration;

use ringback::call::Fact;
use ringback::sim::{Party, PartyIndex, Phone, PhoneEvent, World};

use crate::story::*;

const ANN: PartyIndex = 1;
const BEN: PartyIndex = 2;

/// The shipped queue with extensions 101 and 102; Ann is 101 and registered, Ben is not yet.
fn office() -> World {
    let parties = vec![
        server(flow_file("queue-callback.json"), |_| {}),
        Party::Phone(Box::new(phone("ann", 20))),
        Party::Phone(Box::new(phone("ben", 21))),
    ];
    let mut world = World::new(7, parties);
    world.with_phone(ANN, |ann, now| ann.register(address(9), "101", "secret-101", now));
    world.run_for(Duration::from_secs(1));
    world
}

fn text(world: &mut World, from: PartyIndex, to: &str, text: &str) -> Option<u16> {
    world.with_phone(from, |phone, now| phone.text(to, text, now));
    world.run_for(Duration::from_secs(1));
    outcomes(world.phone(from)).last().copied()
}

fn outcomes(phone: &Phone) -> Vec<u16> {
    let outcome = |event: &PhoneEvent| {
        if let PhoneEvent::Texted(status) = event { Some(*status) } else { None }
    };
    phone.events().iter().filter_map(|(_, event)| outcome(event)).collect()
}

#[test]
fn between_extensions() {
    let mut world = office();
    world.with_phone(BEN, |ben, now| ben.register(address(9), "102", "secret-102", now));
    world.run_for(Duration::from_secs(1));
    assert_eq!(text(&mut world, ANN, "102", "lunch?"), Some(200));
    assert_eq!(text(&mut world, BEN, "101", "at noon"), Some(200));
    let came = |index: PartyIndex| {
        let text = |event: &PhoneEvent| {
            let PhoneEvent::Text(from, text) = event else { return None };
            Some((from.clone(), text.clone()))
        };
        world.phone(index).events().iter().filter_map(|(_, event)| text(event)).collect::<Vec<_>>()
    };
    assert_eq!(came(BEN), [("101".to_owned(), "lunch?".to_owned())]);
    assert_eq!(came(ANN), [("102".to_owned(), "at noon".to_owned())]);
    world.run_for(Duration::from_secs(40));
    assert_server_at_rest(&mut world);
    golden("texts_between_extensions", &world.ladder());
}

/// Each refusal has its status, and says why (RFC 3261 §20.43); nothing of it is left.
#[test]
fn refused() {
    let mut world = office();
    assert_eq!(text(&mut world, ANN, "102", "hello?"), Some(480), "not registered");
    assert_eq!(text(&mut world, ANN, "777", "hello?"), Some(404), "nobody");
    assert_eq!(text(&mut world, ANN, "101", &"x".repeat(1301)), Some(513), "too long");
    assert_eq!(text(&mut world, ANN, "101", "a note to myself"), Some(200));
    world.with_phone(BEN, |ben, now| ben.register(address(9), "102", "guess", now));
    world.run_for(Duration::from_secs(1));
    assert_eq!(text(&mut world, BEN, "101", "it is me, 101"), Some(401), "no proof");
    let is_refusal = |fact: &Fact| {
        if let Fact::Refused { status, .. } = fact { Some(*status) } else { None }
    };
    let told: Vec<_> =
        world.server().take_facts().iter().filter_map(|(_, fact)| is_refusal(fact)).collect();
    assert_eq!(told, [480, 404, 513, 401, 401]);
    world.run_for(Duration::from_secs(40));
    assert_server_at_rest(&mut world);
}

/// A text whose receiver never answers is not left over, and the sender is told.
#[test]
fn nobody_answers() {
    let mut world = office();
    world.with_phone(BEN, |ben, now| ben.register(address(9), "102", "secret-102", now));
    world.run_for(Duration::from_secs(1));
    world.meddle(BEN, "200 MESSAGE", 99, ringback::sim::Meddling::Lose);
    world.with_phone(ANN, |ann, now| ann.text("102", "hello?", now));
    world.run_for(Duration::from_secs(40));
    assert_eq!(outcomes(world.phone(ANN)), [408]);
    world.run_for(Duration::from_secs(40));
    assert_server_at_rest(&mut world);
}
