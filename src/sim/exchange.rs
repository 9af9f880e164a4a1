//! An exchange: the far side of a trunk, with many lines behind one address, each with its number.
//!
//! What comes in goes to the line whose number is called, and later to the line whose call it is.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use crate::base::Tick;
use crate::sim::{Packet, Payload, Phone};
use crate::sip::{Credentials, Message, Start, Uri};

/// Calls whose line an exchange remembers; the eldest half is forgotten at once.
const CALLS_MAX: usize = 100_000;

/// Many phones behind one address.
#[derive(Debug)]
pub struct Exchange {
    name: String,
    address: SocketAddr,
    lines: Vec<Phone>,
    by_number: HashMap<String, usize>,
    /// Whose call it is, by Call-ID, and in which order they came.
    by_call: HashMap<String, (usize, u64)>,
    calls: u64,
}

impl Exchange {
    /// Soundless lines with these numbers. All prove the same account when they call; the first
    /// one registers it, when it is told to.
    pub fn new(
        name: &str,
        address: SocketAddr,
        numbers: &[String],
        account: &Credentials,
        seed: u64,
    ) -> Self {
        let line = |(place, number): (usize, &String)| {
            let audio = SocketAddr::new(address.ip(), 10_000 + 2 * place as u16);
            Phone::new(name, address, audio, seed.wrapping_add(place as u64))
                .numbered(number)
                .proving(account.clone())
                .registering_for(3600)
                .soundless()
        };
        let by_number = numbers.iter().enumerate().map(|(place, number)| (number.clone(), place));
        Self {
            name: name.to_owned(),
            address,
            lines: numbers.iter().enumerate().map(line).collect(),
            by_number: by_number.collect(),
            by_call: HashMap::new(),
            calls: 0,
        }
    }

    /// Its name, as the ladder shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its SIP address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// A line, to look at.
    pub fn line(&self, place: usize) -> &Phone {
        &self.lines[place]
    }

    /// A line, to use.
    pub fn line_mut(&mut self, place: usize) -> &mut Phone {
        &mut self.lines[place]
    }

    pub(super) fn handle_packet(&mut self, packet: Packet, now: Tick) {
        let line = match &packet.payload {
            Payload::Sip(bytes) => self.line_of(bytes),
            Payload::Media(_) | Payload::Keys(_) => {
                usize::from(packet.to.port().saturating_sub(10_000) / 2)
            }
        };
        if let Some(line) = self.lines.get_mut(line) {
            line.handle_packet(packet, now);
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Tick) {
        for line in &mut self.lines {
            if line.poll_timeout().is_some_and(|due| due <= now) {
                line.handle_timeout(now);
            }
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Tick> {
        self.lines.iter().filter_map(Phone::poll_timeout).min()
    }

    pub(super) fn poll_packet(&mut self) -> Option<Packet> {
        for place in 0..self.lines.len() {
            let Some(packet) = self.lines[place].poll_packet() else { continue };
            if let Payload::Sip(bytes) = &packet.payload
                && let Some(call) = Message::parse(bytes).ok().and_then(|m| call_id(&m))
            {
                self.remember(call, place);
            }
            return Some(packet);
        }
        None
    }

    /// The line that a message is for; an unknown number is nobody's.
    fn line_of(&mut self, bytes: &[u8]) -> usize {
        let Ok(message) = Message::parse(bytes) else { return usize::MAX };
        let Some(call) = call_id(&message) else { return usize::MAX };
        if let Some((place, _)) = self.by_call.get(&call) {
            return *place;
        }
        let Start::Request { uri, .. } = &message.start else { return usize::MAX };
        let uri = std::str::from_utf8(uri).ok().and_then(Uri::parse);
        let user = uri.and_then(|uri| Some(uri.sip()?.user_decoded()?.into_owned()));
        let Some(place) = user.and_then(|user| self.by_number.get(&user).copied()) else {
            return usize::MAX;
        };
        self.remember(call, place);
        place
    }

    fn remember(&mut self, call: String, place: usize) {
        self.calls += 1;
        self.by_call.entry(call).or_insert((place, self.calls));
        if self.by_call.len() > CALLS_MAX {
            let eldest = self.calls - CALLS_MAX as u64 / 2;
            self.by_call.retain(|_, (_, came)| *came > eldest);
        }
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

fn call_id(message: &Message<'_>) -> Option<String> {
    message.call_id().ok().map(str::to_owned)
}
