//! The world: parties, the packets in flight, and a clock that jumps to whatever is due next.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Rng, Tick};
use crate::sim::link::Rule;
use crate::sim::{Exchange, Link, Meddling, Packet, Payload, Phone, Server};
use crate::sip::{Ladder, Message, Start};

/// Steps that one story may take; more is a loop without progress.
pub const STEPS_MAX: u64 = 50_000_000;

/// Messages that a world remembers.
pub const MESSAGES_MAX: usize = 100_000;
/// The numbers of the FNV-1a hash of 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
/// A message that takes longer gets a remark in the ladder.
const DELAY_TOLD: Duration = Duration::from_millis(100);

/// A party's place in its world.
pub type PartyIndex = usize;

/// Somebody who takes part.
#[derive(Debug)]
pub enum Party {
    /// The server.
    Server(Box<Server>),
    /// A phone.
    Phone(Box<Phone>),
    /// The far side of a trunk.
    Exchange(Box<Exchange>),
}

impl Party {
    fn handle(&mut self, packet: Packet, now: Tick) {
        match self {
            Self::Server(server) => server.handle_packet(packet, now),
            Self::Phone(phone) => phone.handle_packet(packet, now),
            Self::Exchange(exchange) => exchange.handle_packet(packet, now),
        }
    }

    fn handle_timeout(&mut self, now: Tick) {
        match self {
            Self::Server(server) => server.handle_timeout(now),
            Self::Phone(phone) => phone.handle_timeout(now),
            Self::Exchange(exchange) => exchange.handle_timeout(now),
        }
    }

    fn poll_timeout(&self) -> Option<Tick> {
        match self {
            Self::Server(server) => server.poll_timeout(),
            Self::Phone(phone) => phone.poll_timeout(),
            Self::Exchange(exchange) => exchange.poll_timeout(),
        }
    }

    fn poll_packet(&mut self) -> Option<Packet> {
        match self {
            Self::Server(server) => server.poll_packet(),
            Self::Phone(phone) => phone.poll_packet(),
            Self::Exchange(exchange) => exchange.poll_packet(),
        }
    }

    fn address(&self) -> IpAddr {
        match self {
            Self::Server(server) => server.address().ip(),
            Self::Phone(phone) => phone.address().ip(),
            Self::Exchange(exchange) => exchange.ip(),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Server(server) => server.name(),
            Self::Phone(phone) => phone.name(),
            Self::Exchange(exchange) => exchange.name(),
        }
    }
}

/// The simulated world.
#[derive(Debug)]
pub struct World {
    now: Tick,
    rng: Rng,
    link: Link,
    rules: Vec<Rule>,
    parties: Vec<Party>,
    flying: BTreeMap<(Tick, u64), (PartyIndex, Packet)>,
    sent: u64,
    ladder: Ladder,
    draws: bool,
    remembers: bool,
    messages: Vec<Seen>,
    digest: u64,
}

/// A SIP message of the world.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When it was sent.
    pub sent: Tick,
    /// When it arrives for the first time; `None` when it is lost.
    pub arrived: Option<Tick>,
    /// Who sent it.
    pub from: PartyIndex,
    /// To whom.
    pub to: PartyIndex,
    /// What it says.
    pub bytes: Arc<[u8]>,
}

impl World {
    /// A world of these parties, from left to right as the ladder draws them; it begins at zero.
    pub fn new(seed: u64, parties: Vec<Party>) -> Self {
        let names = parties.iter().map(Party::name).collect::<Vec<_>>();
        let ladder = Ladder::new(&names);
        Self {
            now: Tick::ZERO,
            rng: Rng::new(seed),
            link: Link::CLEAN,
            rules: Vec::new(),
            parties,
            flying: BTreeMap::new(),
            sent: 0,
            ladder,
            draws: true,
            remembers: true,
            messages: Vec::new(),
            digest: FNV_OFFSET,
        }
    }

    /// Draws no ladder and remembers no message: for worlds that are measured.
    #[must_use]
    pub const fn undrawn(mut self) -> Self {
        self.draws = false;
        self.remembers = false;
        self
    }

    /// Draws no ladder, but remembers every message.
    #[must_use]
    pub const fn remembering(mut self) -> Self {
        self.draws = false;
        self.remembers = true;
        self
    }

    /// Makes the link this good from now on.
    pub const fn set_link(&mut self, link: Link) {
        self.link = link;
    }

    /// Meddles with the next `times` messages of this method or status that a party sends.
    pub fn meddle(&mut self, from: PartyIndex, what: &str, times: u32, meddling: Meddling) {
        self.rules.push(Rule { from, what: what.to_owned(), left: times, meddling });
    }

    /// From now on messages travel as the link has it.
    pub fn meddle_no_more(&mut self) {
        self.rules.clear();
    }

    /// What time it is.
    pub const fn now(&self) -> Tick {
        self.now
    }

    /// A phone, to look at.
    pub fn phone(&self, index: PartyIndex) -> &Phone {
        match &self.parties[index] {
            Party::Phone(phone) => phone,
            Party::Server(_) | Party::Exchange(_) => panic!("party {index} is no phone"),
        }
    }

    /// A phone, to use: dial, press, hang up. What it sends leaves at the next step.
    pub fn with_phone<T>(
        &mut self,
        index: PartyIndex,
        act: impl FnOnce(&mut Phone, Tick) -> T,
    ) -> T {
        let now = self.now;
        let done = match &mut self.parties[index] {
            Party::Phone(phone) => act(phone, now),
            Party::Server(_) | Party::Exchange(_) => panic!("party {index} is no phone"),
        };
        self.collect(index);
        done
    }

    /// The server.
    pub fn server(&mut self) -> &mut Server {
        let found = self.parties.iter_mut().find_map(|party| match party {
            Party::Server(server) => Some(server),
            Party::Phone(_) | Party::Exchange(_) => None,
        });
        found.expect("the story has a server")
    }

    /// The server dies, and another takes its place; what was on the way to it still arrives.
    pub fn replace_server(&mut self, next: impl FnOnce(&Server, Tick) -> Server) {
        let now = self.now;
        let is_server = |party: &Party| matches!(party, Party::Server(_));
        let index = self.parties.iter().position(is_server).expect("the story has a server");
        if let Party::Server(server) = &mut self.parties[index] {
            **server = next(server, now);
        }
        self.collect(index);
    }

    /// The far side of the trunk, to use. What it sends leaves at the next step.
    pub fn with_exchange<T>(&mut self, act: impl FnOnce(&mut Exchange, Tick) -> T) -> T {
        let now = self.now;
        let is_it = |party: &Party| matches!(party, Party::Exchange(_));
        let index = self.parties.iter().position(is_it).expect("the story has an exchange");
        let Party::Exchange(exchange) = &mut self.parties[index] else {
            unreachable!("it was just found");
        };
        let done = act(exchange, now);
        self.collect(index);
        done
    }

    /// Takes the next step, if one is due until then; says whether there was one.
    pub fn step_until(&mut self, until: Tick) -> bool {
        let Some(next) = self.next_due().filter(|next| *next <= until) else {
            self.now = self.now.max(until);
            return false;
        };
        self.now = self.now.max(next);
        self.step();
        true
    }

    /// Every SIP message that was sent, in order; no more than the first [`MESSAGES_MAX`], and
    /// none in a world that draws nothing.
    pub fn messages(&self) -> &[Seen] {
        &self.messages
    }

    /// A number that is equal for equal stories: over every SIP message, its sender and its time.
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// Lets this much time pass.
    pub fn run_for(&mut self, span: Duration) {
        let until = self.now + span;
        self.run_until(until, |_| false);
        self.now = until;
    }

    /// Lets time pass until `done` or until `until`; says whether it was done.
    pub fn run_until(&mut self, until: Tick, mut done: impl FnMut(&Self) -> bool) -> bool {
        let mut steps = 0;
        loop {
            if done(self) {
                return true;
            }
            let Some(next) = self.next_due().filter(|next| *next <= until) else { return false };
            self.now = self.now.max(next);
            self.step();
            steps += 1;
            assert!(steps < STEPS_MAX, "the story takes too many steps: a loop without progress");
        }
    }

    /// One of several servers.
    pub fn server_at(&mut self, index: PartyIndex) -> &mut Server {
        match &mut self.parties[index] {
            Party::Server(server) => server,
            Party::Phone(_) | Party::Exchange(_) => panic!("party {index} is no server"),
        }
    }

    /// A remark in the ladder.
    pub fn note(&mut self, text: &str) {
        self.ladder.note(self.now, text);
    }

    /// The ladder so far.
    pub fn ladder(&self) -> String {
        self.ladder.render()
    }

    /// The last message of this method or status that a party has sent.
    pub fn last_message(&self, from: PartyIndex, what: &str) -> Option<String> {
        let mut sent = self.messages.iter().rev().filter(|seen| seen.from == from);
        let found = sent.find(|seen| names_of(&seen.bytes).iter().any(|name| name == what));
        found.map(|seen| String::from_utf8_lossy(&seen.bytes).into_owned())
    }

    fn next_due(&self) -> Option<Tick> {
        let parties = self.parties.iter().filter_map(Party::poll_timeout).min();
        let flying = self.flying.first_key_value().map(|((at, _), _)| *at);
        [parties, flying].into_iter().flatten().min()
    }

    fn step(&mut self) {
        while let Some(((at, _), _)) = self.flying.first_key_value() {
            if *at > self.now {
                break;
            }
            let Some((_, (to, packet))) = self.flying.pop_first() else { break };
            self.parties[to].handle(packet, self.now);
            self.collect(to);
        }
        for index in 0..self.parties.len() {
            if self.parties[index].poll_timeout().is_some_and(|due| due <= self.now) {
                self.parties[index].handle_timeout(self.now);
                self.collect(index);
            }
        }
    }

    fn collect(&mut self, from: PartyIndex) {
        while let Some(packet) = self.parties[from].poll_packet() {
            let to = packet.to.ip();
            let Some(to) = self.parties.iter().position(|party| party.address() == to) else {
                continue;
            };
            match &packet.payload {
                Payload::Sip(bytes) => {
                    let mut arrivals = self.sip_arrivals(from, bytes);
                    // A copy may overtake the message itself.
                    arrivals.sort_unstable();
                    self.sum(from, bytes);
                    self.draw(&arrivals, from, to, bytes);
                    for at in arrivals {
                        self.fly(at, to, packet.clone());
                    }
                }
                // Keys are pressed in many packets, of which one is enough.
                Payload::Keys(_) => self.fly(self.now + self.link.delay, to, packet),
                Payload::Media(_) => {
                    if let Some(at) = self.chance_arrival() {
                        self.fly(at, to, packet);
                    }
                }
            }
        }
    }

    fn draw(&mut self, arrivals: &[Tick], from: PartyIndex, to: PartyIndex, bytes: &Arc<[u8]>) {
        let arrived = arrivals.first().copied();
        if self.remembers && self.messages.len() < MESSAGES_MAX {
            let (sent, bytes) = (self.now, Arc::clone(bytes));
            self.messages.push(Seen { sent, arrived, from, to, bytes });
        }
        if !self.draws {
            return;
        }
        self.ladder.message(self.now, arrived, from, to, bytes);
        if let Some(late) = arrived.map(|at| at - self.now).filter(|took| *took > DELAY_TOLD) {
            self.note(&format!("the link takes {} ms for it", late.as_millis()));
        }
        if let [first, second] = arrivals {
            let later = (*second - *first).as_millis();
            self.note(&format!("and it arrives again {later} ms later"));
        }
    }

    /// FNV-1a, eight bytes at a time.
    fn sum(&mut self, from: PartyIndex, bytes: &[u8]) {
        let head = [self.now.as_micros(), from as u64];
        let words = bytes.chunks(8).map(|chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            u64::from_le_bytes(word)
        });
        let all = head.into_iter().chain(words);
        self.digest = all.fold(self.digest, |sum, word| (sum ^ word).wrapping_mul(FNV_PRIME));
    }

    fn fly(&mut self, at: Tick, to: PartyIndex, packet: Packet) {
        self.sent += 1;
        self.flying.insert((at, self.sent), (to, packet));
    }

    fn sip_arrivals(&mut self, from: PartyIndex, bytes: &[u8]) -> Vec<Tick> {
        if let Some(meddling) = self.meddling(from, bytes) {
            let usual = self.now + self.link.delay;
            return match meddling {
                Meddling::Lose => Vec::new(),
                Meddling::Take(delay) => vec![self.now + delay],
                Meddling::Double(later) => vec![usual, usual + later],
            };
        }
        let mut arrivals = self.chance_arrival().into_iter().collect::<Vec<_>>();
        if self.link.duplicate_percent > 0 && self.rng.percent(self.link.duplicate_percent) {
            arrivals.extend(self.chance_arrival());
        }
        arrivals
    }

    /// What the story wants done to this message.
    fn meddling(&mut self, from: PartyIndex, bytes: &[u8]) -> Option<Meddling> {
        let mut rules = self.rules.iter_mut().filter(|rule| rule.left > 0 && rule.from == from);
        let first = rules.next()?; // Without a rule no name is asked for.
        let names = names_of(bytes);
        let rule = std::iter::once(first).chain(rules).find(|rule| names.contains(&rule.what))?;
        rule.left -= 1;
        Some(rule.meddling.clone())
    }

    /// When a packet arrives that is left to chance; `None` when it is lost. A clean link draws
    /// nothing from the seed, so that adding a packet does not change an unrelated story.
    fn chance_arrival(&mut self) -> Option<Tick> {
        let Link { delay, jitter, loss_percent, .. } = self.link;
        if loss_percent > 0 && self.rng.percent(loss_percent) {
            return None;
        }
        let extra = if jitter.is_zero() {
            Duration::ZERO
        } else {
            self.rng.between(Duration::ZERO, jitter)
        };
        Some(self.now + delay + extra)
    }
}

/// What a message may be called in a story: `INVITE`; `200` and `200 INVITE`.
fn names_of(bytes: &[u8]) -> Vec<String> {
    let Ok(message) = Message::parse(bytes) else { return Vec::new() };
    match &message.start {
        Start::Request { method, .. } => vec![method.as_str().to_owned()],
        Start::Response { status, .. } => {
            let method = message.cseq().map(|cseq| cseq.method.as_str().to_owned());
            vec![status.to_string(), format!("{status} {}", method.unwrap_or_default())]
        }
    }
}
