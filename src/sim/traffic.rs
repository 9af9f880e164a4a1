//! Traffic: customers who call, wait, ask, leave and answer, and agents who come and go, by a seed.
//!
//! It presses keys and picks up phones, and looks at nothing that a person could not see; what is
//! counted for the report is what the server's audio did.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use crate::base::{Rng, Tick, Timers};
use crate::call::Fact;
use crate::media::LegId;
use crate::sim::{Answering, PartyIndex, Phone, PhoneEvent, Sound, World};
use crate::sip::Cause;

/// How people behave. Percentages are of 100; spans are evenly spread between their ends.
#[derive(Clone, Debug)]
pub struct Habits {
    /// Mean time between two callers while the doors are open.
    pub gap: Duration,
    /// Hours of the day in which people call, and in which agents are there.
    pub hours: std::ops::Range<u32>,
    /// Keys that a caller presses, each so long after the answer.
    pub keys: Vec<(Duration, String)>,
    /// The key that asks for a callback, and how many press it.
    pub callback: Option<(String, u8)>,
    /// How long after the last key a caller asks.
    pub asks_after: (Duration, Duration),
    /// How long a caller waits before he hangs up; who has asked hangs up after a fifth of it.
    pub patience: (Duration, Duration),
    /// How long people talk.
    pub talk: (Duration, Duration),
    /// How many customers answer when they are called back; the others are busy, let it ring, are
    /// cut off by the network, or decline.
    pub customers_answer: u8,
    /// How many agents answer; the others refuse or let it ring.
    pub agents_answer: u8,
    /// How many agents go away for a while after a call.
    pub agents_leave: u8,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Calls that customers made.
    pub calls: u64,
    /// Calls that flows were started for.
    pub arrived: u64,
    /// Of the calls made, bridged with an agent.
    pub served: u64,
    /// Of those, hung up by the customer without agent or promise.
    pub abandoned: u64,
    /// Of those, hung up by the server without agent or promise, or never answered by it.
    pub turned_away: u64,
    /// Promises made.
    pub promised: u64,
    /// Promises by how they ended.
    pub ends: BTreeMap<String, u64>,
    /// Customers who were called back and bridged with an agent.
    pub called_back: u64,
    /// How long those who were bridged on the line had waited since the server answered.
    pub waits: Vec<Duration>,
    /// How long those who were called back had waited since they hung up.
    pub callback_waits: Vec<Duration>,
    /// Positions that were announced after a better one had been, in the same call (A7).
    pub worsened: u64,
    /// Runs of flows that ended in an error, by the error.
    pub errors: BTreeMap<String, u64>,
}

#[derive(Clone, Debug)]
enum Act {
    Arrive,
    Press { line: usize, call: u64, keys: String, asks: bool },
    HangUp { line: usize, call: u64 },
    AgentHangsUp { agent: usize, call: u64 },
    AgentComes(usize),
    Doors { open: bool },
}

/// What a customer is doing.
#[derive(Clone, Debug, Default)]
struct Customer {
    /// Counts calls, so that what was meant for an earlier one is not done in a later.
    call: u64,
    /// Whether he made the call that he is in.
    is_calling: bool,
    has_asked: bool,
    is_bridged: bool,
    has_hung_up: bool,
    /// The last position that he heard.
    position: String,
    answered: Option<Tick>,
}

/// The people of a world: its party 0 is the exchange, 1 the server, and the rest are agents.
#[derive(Debug)]
pub struct Traffic {
    habits: Habits,
    server: SocketAddr,
    /// User and password of each agent, by party.
    agents: Vec<(PartyIndex, String, String)>,
    agent_calls: Vec<u64>,
    numbers: Vec<String>,
    customers: Vec<Customer>,
    acts: Timers<Act>,
    /// Whose leg it is, by the server's numbers for legs.
    legs: BTreeMap<LegId, usize>,
    /// Who has asked to be called back and left, and since when.
    waiting: BTreeMap<usize, Tick>,
    promises: BTreeSet<u64>,
    is_open: bool,
    rng: Rng,
    report: Report,
}

impl Traffic {
    /// People who begin at the beginning of the first day.
    pub fn new(
        habits: Habits,
        server: SocketAddr,
        numbers: Vec<String>,
        agents: Vec<(PartyIndex, String, String)>,
        seed: u64,
    ) -> Self {
        let mut acts = Timers::new();
        acts.arm(Tick::ZERO + hour(habits.hours.start), Act::Doors { open: true });
        Self {
            habits,
            server,
            agent_calls: vec![0; agents.len()],
            agents,
            customers: vec![Customer::default(); numbers.len()],
            numbers,
            acts,
            legs: BTreeMap::new(),
            waiting: BTreeMap::new(),
            promises: BTreeSet::new(),
            is_open: false,
            rng: Rng::new(seed),
            report: Report::default(),
        }
    }

    /// What came of it so far.
    pub const fn report(&self) -> &Report {
        &self.report
    }

    /// Lets people act until then.
    pub fn play(&mut self, world: &mut World, until: Tick) {
        loop {
            // A step may make somebody act before whoever was next.
            let next = self.acts.next().map_or(until, |next| next.min(until));
            if world.step_until(next) {
                self.look(world);
            } else if let Some(act) = self.acts.take_due(world.now()) {
                self.perform(act, world);
                self.look(world);
            } else if world.now() >= until {
                return;
            }
        }
    }

    /// Nobody makes another call; those that are there go on.
    pub fn close(&mut self) {
        self.habits.gap = Duration::ZERO;
    }

    /// Who is called from now on answers, customers and agents alike, and every agent comes.
    pub fn heal(&mut self, world: &mut World) {
        self.habits.customers_answer = 100;
        self.habits.agents_answer = 100;
        self.habits.agents_leave = 0;
        for agent in 0..self.agents.len() {
            self.perform(Act::AgentComes(agent), world);
        }
        for line in 0..self.customers.len() {
            self.choose_answering(line, world);
        }
    }

    /// The server is about to die: what it has said last is heard.
    pub fn server_is_gone(&mut self, world: &mut World) {
        self.look(world);
    }

    /// The server is another: its legs have new numbers, and everybody registers again.
    pub fn server_was_replaced(&mut self, world: &mut World) {
        self.legs.clear();
        let server = self.server;
        world.with_exchange(|trunk, now| trunk.line_mut(0).register_again(server, now));
        for agent in 0..self.agents.len() {
            let within = self.rng.between(Duration::ZERO, Duration::from_secs(60));
            self.acts.arm(world.now() + within, Act::AgentComes(agent));
        }
    }

    fn perform(&mut self, act: Act, world: &mut World) {
        match act {
            Act::Doors { open } => self.turn_doors(open, world),
            Act::Arrive => self.arrive(world),
            Act::Press { line, call, keys, asks } => {
                let customer = &mut self.customers[line];
                if customer.call == call && customer.answered.is_some() {
                    customer.has_asked |= asks;
                    world.with_exchange(|trunk, now| trunk.line_mut(line).press(&keys, now));
                    if asks {
                        let soon = self.span(self.habits.patience) / 5;
                        self.acts.arm(world.now() + soon, Act::HangUp { line, call });
                    }
                }
            }
            Act::HangUp { line, call } => {
                let customer = &mut self.customers[line];
                if customer.call == call {
                    customer.has_hung_up = true;
                    world.with_exchange(|trunk, now| trunk.line_mut(line).hangup(now));
                }
            }
            Act::AgentHangsUp { agent, call } => {
                if self.agent_calls[agent] == call {
                    world.with_phone(self.agents[agent].0, Phone::hangup);
                }
            }
            Act::AgentComes(agent) => {
                if self.is_open {
                    let (party, user, password) = self.agents[agent].clone();
                    let server = self.server;
                    world.with_phone(party, |phone, now| {
                        phone.register(server, &user, &password, now);
                    });
                    self.choose_agent_answering(agent, world);
                }
            }
        }
    }

    fn turn_doors(&mut self, open: bool, world: &mut World) {
        self.is_open = open;
        let (from, to) = (self.habits.hours.start, self.habits.hours.end);
        let next = if open { hour(to - from) } else { hour(24 + from - to) };
        if next > Duration::ZERO {
            self.acts.arm(world.now() + next, Act::Doors { open: !open });
        }
        if open {
            let server = self.server;
            world.with_exchange(|trunk, now| trunk.line_mut(0).register_again(server, now));
            for agent in 0..self.agents.len() {
                self.perform(Act::AgentComes(agent), world);
            }
            self.next_arrival(world.now());
        } else {
            for (party, ..) in self.agents.clone() {
                world.with_phone(party, Phone::unregister);
            }
        }
    }

    fn next_arrival(&mut self, now: Tick) {
        if !self.habits.gap.is_zero() {
            let gap = self.rng.between(Duration::ZERO, self.habits.gap * 2);
            self.acts.arm(now + gap, Act::Arrive);
        }
    }

    /// Somebody who is not in a call makes one.
    fn arrive(&mut self, world: &mut World) {
        if !self.is_open {
            return;
        }
        self.next_arrival(world.now());
        let line = self.rng.below(self.customers.len() as u64) as usize;
        let server = self.server;
        let is_free = world.with_exchange(|trunk, now| {
            let phone = trunk.line_mut(line);
            let is_free = !phone.is_in_call();
            if is_free {
                phone.call("200", server, now);
            }
            is_free
        });
        if is_free {
            self.report.calls += 1;
            let call = self.customers[line].call + 1;
            self.customers[line] = Customer { call, is_calling: true, ..Customer::default() };
            let patience = self.span(self.habits.patience);
            self.acts.arm(world.now() + patience, Act::HangUp { line, call });
        }
    }

    /// Sees what has happened since the last step.
    fn look(&mut self, world: &mut World) {
        for line in 0..self.customers.len() {
            while let Some((at, event)) =
                world.with_exchange(|trunk, _| trunk.line_mut(line).poll_event())
            {
                self.on_customer(line, &event, at, world);
            }
        }
        for agent in 0..self.agents.len() {
            let party = self.agents[agent].0;
            while let Some((at, event)) = world.with_phone(party, |phone, _| phone.poll_event()) {
                self.on_agent(agent, &event, at, world);
            }
        }
        for (_, fact) in world.server().take_facts() {
            self.on_fact(fact);
        }
        while let Some((at, sound)) = world.server().poll_sound() {
            match sound {
                Sound::Bridge(a, b) => self.on_bridge([a, b], at),
                Sound::Clip(leg, clip) => {
                    let name = world.server().name_of(&clip).unwrap_or_default().to_owned();
                    self.on_clip(leg, name);
                }
            }
        }
    }

    fn on_customer(&mut self, line: usize, event: &PhoneEvent, at: Tick, world: &mut World) {
        match event {
            PhoneEvent::Talking if self.customers[line].is_calling => {
                self.customers[line].answered = Some(at);
                self.press_keys(line, at);
            }
            PhoneEvent::Talking => {
                let customer = &mut self.customers[line];
                let call = customer.call + 1;
                *customer = Customer { call, answered: Some(at), ..Customer::default() };
                let since = self.waiting.remove(&line);
                self.report.callback_waits.extend(since.map(|since| at - since));
                let talk = self.span(self.habits.talk);
                self.acts.arm(at + talk, Act::HangUp { line, call });
            }
            PhoneEvent::Ended(_) => {
                let customer = &mut self.customers[line];
                if customer.is_calling && !customer.is_bridged {
                    if customer.has_asked {
                        self.waiting.entry(line).or_insert(at);
                    } else if customer.has_hung_up {
                        self.report.abandoned += 1;
                    } else {
                        self.report.turned_away += 1;
                    }
                }
                *customer = Customer { call: customer.call + 1, ..Customer::default() };
                self.choose_answering(line, world);
            }
            PhoneEvent::Refused(_) => self.choose_answering(line, world),
            PhoneEvent::Provisional(_)
            | PhoneEvent::Registered(_)
            | PhoneEvent::Texted(_)
            | PhoneEvent::Text(..) => {}
        }
    }

    fn press_keys(&mut self, line: usize, at: Tick) {
        let call = self.customers[line].call;
        let mut last = at;
        for (after, keys) in self.habits.keys.clone() {
            last = at + after;
            self.acts.arm(last, Act::Press { line, call, keys, asks: false });
        }
        if let Some((key, percent)) = self.habits.callback.clone()
            && self.rng.percent(percent)
        {
            let later = self.span(self.habits.asks_after);
            self.acts.arm(last + later, Act::Press { line, call, keys: key, asks: true });
        }
    }

    fn on_agent(&mut self, agent: usize, event: &PhoneEvent, at: Tick, world: &mut World) {
        match event {
            PhoneEvent::Talking => {
                self.agent_calls[agent] += 1;
                let call = self.agent_calls[agent];
                let talk = self.span(self.habits.talk);
                self.acts.arm(at + talk, Act::AgentHangsUp { agent, call });
            }
            PhoneEvent::Ended(cause) => {
                self.agent_calls[agent] += 1;
                let has_talked = matches!(cause, Cause::Bye | Cause::Local);
                if has_talked && self.rng.percent(self.habits.agents_leave) {
                    world.with_phone(self.agents[agent].0, Phone::unregister);
                    let away = self.rng.between(Duration::ZERO, Duration::from_secs(300));
                    self.acts.arm(at + away, Act::AgentComes(agent));
                }
                self.choose_agent_answering(agent, world);
            }
            PhoneEvent::Refused(_) => self.choose_agent_answering(agent, world),
            PhoneEvent::Provisional(_)
            | PhoneEvent::Registered(_)
            | PhoneEvent::Texted(_)
            | PhoneEvent::Text(..) => {}
        }
    }

    fn on_fact(&mut self, fact: Fact) {
        // Facts are many and grow in number; these are what a report is made of.
        if let Fact::Arrived { leg, from, .. } = fact {
            self.report.arrived += 1;
            let line = self.numbers.iter().position(|number| *number == from);
            self.legs.extend(line.map(|line| (LegId(leg.as_u64()), line)));
        } else if let Fact::Ended { leg, .. } = fact {
            self.legs.remove(&LegId(leg.as_u64()));
        } else if let Fact::Promised { promise } = fact {
            // Who asks again is told again, and has one promise.
            self.promises.insert(promise);
            self.report.promised = self.promises.len() as u64;
        } else if let Fact::PromiseEnded { end, .. } = fact {
            *self.report.ends.entry(end).or_default() += 1;
        } else if let Fact::RunFailed { error, .. } = fact {
            *self.report.errors.entry(error).or_default() += 1;
        }
    }

    /// Two legs hear each other: a customer's own one, or one that called him.
    fn on_bridge(&mut self, legs: [LegId; 2], at: Tick) {
        if let Some(line) = legs.iter().find_map(|leg| self.legs.get(leg)) {
            let customer = &mut self.customers[*line];
            customer.is_bridged = true;
            self.report.served += 1;
            self.report.waits.extend(customer.answered.map(|answered| at - answered));
            self.waiting.remove(line);
        } else {
            self.report.called_back += 1;
        }
    }

    /// The files of positions are named so that a worse one comes later in the alphabet.
    fn on_clip(&mut self, leg: LegId, name: String) {
        if let (Some(line), true) = (self.legs.get(&leg), name.starts_with("position-")) {
            let customer = &mut self.customers[*line];
            self.report.worsened +=
                u64::from(name > customer.position && !customer.position.is_empty());
            customer.position = name;
        }
    }

    fn choose_answering(&mut self, line: usize, world: &mut World) {
        let after = self.rng.between(Duration::from_secs(1), Duration::from_secs(8));
        let answering = if self.rng.percent(self.habits.customers_answer) {
            Answering::After(after)
        } else {
            match self.rng.below(8) {
                0..3 => Answering::Refuse(486),
                3..6 => Answering::RefuseAfter(Duration::from_secs(60), 480),
                6 => Answering::Refuse(503),
                _ => Answering::RefuseAfter(after, 603),
            }
        };
        world.with_exchange(|trunk, _| trunk.line_mut(line).set_answering(answering));
    }

    fn choose_agent_answering(&mut self, agent: usize, world: &mut World) {
        let after = self.rng.between(Duration::from_secs(1), Duration::from_secs(8));
        let answering = if self.rng.percent(self.habits.agents_answer) {
            Answering::After(after)
        } else if self.rng.percent(50) {
            Answering::Refuse(486)
        } else {
            Answering::RefuseAfter(Duration::from_secs(60), 480)
        };
        let party = self.agents[agent].0;
        world.with_phone(party, |phone, _| phone.set_answering(answering));
    }

    fn span(&mut self, (from, to): (Duration, Duration)) -> Duration {
        self.rng.between(from, to)
    }
}

fn hour(hours: u32) -> Duration {
    Duration::from_secs(3600 * u64::from(hours))
}
