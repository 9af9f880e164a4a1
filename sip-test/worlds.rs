//! Random worlds: people, links, crashes and clocks by a seed, and what must be true in all of them.
//!
//! `WORLDS=10000 cargo test --release --test sip-test worlds` plays that many seeds, from 0 or from
//! `WORLDS_FROM` on, `WORLD=17` one of them. What is checked is what the wire, the disk and the
//! people saw; nothing asks the server what it thinks.
//!
//! A3 and I8, the order in the queue, are checked in `dispatch/model.rs`, where places can be seen;
//! A12 is about requests from outside that nobody here makes. Every fourth world has hours, and
//! somebody outside who asks for promises around each crash (A5, A6).

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use ringback::base::{Rng, Tick};
use ringback::call::{PromiseMade, PromiseRequest, QueueSettings};
use ringback::promise::{Hours, Outcome, Policy, Record, RequestKey};
use ringback::sim::{
    Exchange, Habits, Link, Party, Phone, Report, Server, Traffic, World, standard_config,
};
use ringback::sip::Credentials;

use crate::story;
use calls::Calls;

mod calls;

/// The server's place in the world; the exchange is 0, agents are the others.
const SERVER: usize = 1;
/// Seeds of every `cargo test`; `sip-test/run` plays 10,000.
const SEEDS: u64 = 3;
/// How long people call in a world.
const CALLING: Duration = Duration::from_secs(900);
/// Seeds that once failed, and how many seconds people called then; each is played for ever: a
/// customer dialled while in the menu, a position that got worse, an agent rung twice, a customer
/// left with nobody, a promise that was kept before it was on disk, and counted as none; twice a
/// customer who talked in one callback and was dialled for another queue; and one who phoned in
/// while his attempt was being written down.
const KEPT: [(u64, u64); 8] = [
    (24, 1800),
    (86, 1800),
    (75, 1800),
    (78, 1800),
    (952, 900),
    (177, 900),
    (241, 900),
    (23_805, 900),
];
/// Flaws that are told at once.
const FLAWS_TOLD: usize = 20;

fn server_at() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

/// One world, from its seed to its end.
struct Played {
    world: World,
    calling: Duration,
    traffic: Traffic,
    rng: Rng,
    disk_delay: Duration,
    flow_delay: Duration,
    epoch_ms: u64,
    /// When customers may be called, and who asks for promises, in worlds that have them.
    hours: Option<Hours>,
    outside: Rng,
    /// What requests from outside came to.
    broken_key: Option<String>,
    crashes: Vec<Tick>,
    /// The clocks of each life of the server: since when, and the epoch.
    clocks: Vec<(Tick, u64)>,
    /// Every record that was ever on disk, and when.
    written: Vec<(Tick, Record)>,
}

impl Played {
    fn new(seed: u64, draws: bool) -> Self {
        let mut rng = Rng::new(seed);
        let numbers = (0..6).map(|line| format!("+493010000{line}")).collect::<Vec<_>>();
        let account = Credentials {
            username: "trunk".to_owned(),
            password: "trunk-secret".to_owned(),
            realm: None,
        };
        let trunk = SocketAddr::from(([127, 0, 2, 1], 5060));
        let exchange = Exchange::new("customers", trunk, &numbers, &account, rng.next_u64());
        let agent = |number: u8| {
            let at = |port| SocketAddr::from(([127, 0, 1, number], port));
            let phone = Phone::new(&format!("agent {number}"), at(5060), at(4000), number.into());
            Party::Phone(Box::new(phone.registering_for(3600).soundless()))
        };
        let habits = habits(&mut rng);
        let disk_delay = pick(&mut rng, &[0, 1, 30]);
        let flow_delay = pick(&mut rng, &[0, 0, 5, 50]);
        let hours = (seed % 4 == 1).then(hours);
        let house = server(rng.next_u64(), 0, disk_delay, flow_delay, hours.as_ref());
        let mut parties = vec![Party::Exchange(Box::new(exchange)), Party::Server(Box::new(house))];
        parties.extend([101, 102, 103].map(agent));
        let agents = [101, 102, 103].iter().enumerate();
        let agents = agents
            .map(|(place, number)| (place + 2, number.to_string(), format!("secret-{number}")));
        let traffic = Traffic::new(habits, server_at(), numbers, agents.collect(), rng.next_u64());
        let world = World::new(rng.next_u64(), parties);
        let mut world = if draws { world } else { world.remembering() };
        world.set_link(Link {
            delay: pick(&mut rng, &[1, 20, 60]),
            jitter: pick(&mut rng, &[0, 20, 60, 200]),
            loss_percent: rng.below(4).pow(2) as u8 + if rng.percent(10) { 11 } else { 0 },
            duplicate_percent: rng.below(3) as u8,
        });
        let (crashes, written) = (Vec::new(), Vec::new());
        let kept = KEPT.iter().find(|(kept, _)| *kept == seed);
        let calling = kept.map_or(CALLING, |(_, seconds)| Duration::from_secs(*seconds));
        Self {
            world,
            calling,
            traffic,
            rng,
            disk_delay,
            flow_delay,
            epoch_ms: 0,
            hours,
            outside: Rng::new(seed),
            broken_key: None,
            crashes,
            clocks: vec![(Tick::ZERO, 0)],
            written,
        }
    }

    /// Calls with crashes, then everything is well for as long as a promise needs.
    fn play(mut self) -> Self {
        let end = Tick::ZERO + self.calling;
        let crashes = if self.rng.percent(60) { self.rng.below(4) } else { 0 };
        let mut times = (0..crashes)
            .map(|_| Tick::ZERO + self.rng.between(Duration::ZERO, self.calling))
            .collect::<Vec<_>>();
        times.sort();
        for at in times {
            self.traffic.play(&mut self.world, at);
            // Between any two steps, not only between two people's acts.
            for _ in 0..self.rng.below(40) {
                self.world.step_until(at + Duration::from_secs(5));
            }
            self.crash();
        }
        self.traffic.play(&mut self.world, end);
        self.world.note("no more calls; everything is well from now on");
        self.world.set_link(Link::CLEAN);
        self.traffic.close();
        self.traffic.heal(&mut self.world);
        // Not a whole number of half hours, when phones are in the middle of registering again.
        self.traffic.play(&mut self.world, end + Duration::from_secs(3 * 3600 + 700));
        let written = self.world.server().written().map(|(at, record)| (at, record.clone()));
        self.written.extend(written.collect::<Vec<_>>());
        self
    }

    /// The process dies and starts again: on the same disk, with a clock that may have been set.
    fn crash(&mut self) {
        let now = self.world.now();
        let asked = self.ask_outside();
        let journal = self.world.server().journal_durable();
        let is_written = |made: &PromiseMade| made.recorded <= journal.last_sequence;
        let kept = asked.as_ref().is_some_and(|(_, made)| is_written(made));
        let written = self.world.server().written().map(|(at, record)| (at, record.clone()));
        self.written.extend(written.collect::<Vec<_>>());
        let hour = 3_600_000;
        self.epoch_ms = match self.rng.below(6) {
            0 => self.epoch_ms + hour,
            1 => self.epoch_ms.saturating_sub(hour),
            2 => self.epoch_ms + self.rng.below(5_000),
            _ => self.epoch_ms,
        };
        let seed = self.rng.next_u64();
        let (disk, flow, hours) = (self.disk_delay, self.flow_delay, self.hours.as_ref());
        let mut next = server(seed, self.epoch_ms, disk, flow, hours);
        next.restore(journal, now);
        self.traffic.server_is_gone(&mut self.world);
        self.world.note("the server dies, and another takes its place");
        self.world.replace_server(|_, _| next);
        self.traffic.server_was_replaced(&mut self.world);
        self.crashes.push(now);
        self.clocks.push((now, self.epoch_ms));
        if let Some((request, made)) = asked {
            self.ask_again(&request, made, kept);
        }
    }

    /// Somebody outside asks for a promise, now and then outside the hours too.
    fn ask_outside(&mut self) -> Option<(PromiseRequest, PromiseMade)> {
        self.hours.as_ref()?;
        let line = self.outside.below(6);
        let request = PromiseRequest {
            key: RequestKey::parse(&format!("crash-{}", self.crashes.len())).unwrap(),
            queue: if self.outside.percent(70) { "support" } else { "sales" }.to_owned(),
            number: format!("+493010000{line}"),
            name: None,
            trunk: None,
            override_hours: self.outside.percent(30).then(|| "wishes it".to_owned()),
        };
        let now = self.world.now();
        // A number may have had its callbacks for today.
        let made = self.world.server().request_promise(&request, now).ok()?;
        Some((request, made))
    }

    /// Whoever got no answer asks again: what was on disk is found, what was not is made.
    fn ask_again(&mut self, request: &PromiseRequest, made: PromiseMade, is_kept: bool) {
        let now = self.world.now();
        let again = self.world.server().request_promise(request, now);
        let is_same = again.as_ref().is_ok_and(|again| {
            again.is_repeated == is_kept && (!is_kept || again.promise == made.promise)
        });
        let other = PromiseRequest { name: Some("another".to_owned()), ..request.clone() };
        let is_other_refused = self.world.server().request_promise(&other, now).is_err();
        if !is_same || !is_other_refused {
            self.broken_key = Some(format!("A6: {request:?} came to {made:?}, then {again:?}"));
        }
    }

    /// A5: no customer is called outside the hours, unless his promise says why.
    fn outside_hours(&self, calls: &Calls) -> Option<String> {
        let hours = self.hours.as_ref()?;
        let mut numbers = BTreeMap::new();
        let mut excepted = BTreeSet::new();
        for (_, record) in &self.written {
            match record {
                Record::Promised { promise, number, override_hours, .. } => {
                    numbers.insert(*promise, number);
                    excepted.extend(override_hours.as_ref().map(|_| number));
                }
                Record::Merged { promise, override_hours: Some(_), .. } => {
                    excepted.extend(numbers.get(promise));
                }
                Record::Merged { override_hours: None, .. }
                | Record::AttemptPlanned { .. }
                | Record::AttemptRinging { .. }
                | Record::AttemptAnswered { .. }
                | Record::AttemptEnded { .. }
                | Record::Ended { .. } => {}
            }
        }
        let mut dials = calls.all.values().filter(|call| call.is_dial_back());
        dials.find_map(|call| {
            let (_, epoch_ms) = self.clocks.iter().rfind(|(since, _)| *since <= call.began)?;
            let at_ms = epoch_ms + call.began.as_millis();
            let is_wrong = !hours.is_open(at_ms) && !excepted.contains(&call.number);
            is_wrong.then(|| format!("A5: {} is called at {}", call.number, hours.say(at_ms)))
        })
    }

    /// What is wrong, in one line; nothing for a good world.
    fn flaw(&mut self) -> Option<String> {
        let report = self.traffic.report().clone();
        let calls = Calls::read(self.world.messages(), &self.crashes);
        let flaws = [
            self.leftovers(),
            unkept(&report),
            self.miscounted(&report),
            self.broken_fence(&calls),
            calls.overlapping(|call| call.is_dial_back(), "A1, I3: two attempts to one number"),
            calls.overlapping(|call| call.is_to_agent(), "A4, I5: an agent has two legs"),
            calls.bridged_twice(),
            calls.dialled_on_the_line(),
            self.outside_hours(&calls),
            self.broken_key.clone(),
            (report.worsened > 0).then(|| "A7: an announced position got worse".to_owned()),
        ];
        flaws.into_iter().flatten().next()
    }

    /// I9: the server's counter is the number of calls that flows were started for.
    fn miscounted(&mut self, report: &Report) -> Option<String> {
        let counted = self.world.server().gauges().calls_accepted;
        let is_wrong = self.crashes.is_empty() && counted != report.arrived;
        is_wrong.then(|| format!("I9: {counted} calls counted, and {} arrived", report.arrived))
    }

    /// A9, I10: nothing is left in the server, and no promise is open.
    fn leftovers(&mut self) -> Option<String> {
        let (gauges, media) = (self.world.server().gauges(), self.world.server().media_gauges());
        let is_idle = gauges.is_idle() && media.legs == 0 && media.players == 0;
        if !is_idle {
            return Some(format!("A9, I10: left over: {gauges:?} {media:?}"));
        }
        (gauges.promises > 0).then(|| format!("A2: {} promises never ended", gauges.promises))
    }

    /// I2, I4, I7: every call back was planned on disk before, no more often than allowed, and no
    /// promise was kept twice.
    fn broken_fence(&self, calls: &Calls) -> Option<String> {
        let mut numbers = BTreeMap::new();
        let mut plans = BTreeMap::<(u64, u32), Tick>::new();
        let mut counted = BTreeMap::<u64, BTreeMap<u32, Outcome>>::new();
        for (at, record) in &self.written {
            let promise = record.promise().0;
            if let Record::Promised { number, .. } = record {
                numbers.insert(promise, number.clone());
            } else if let Record::AttemptPlanned { attempt, .. } = record {
                plans.entry((promise, *attempt)).or_insert(*at);
            } else if let Record::AttemptEnded { attempt, outcome, .. } = record {
                counted.entry(promise).or_default().insert(*attempt, *outcome);
            }
        }
        for (promise, attempts) in &counted {
            let count = |wanted: &[Outcome]| {
                attempts.values().filter(|outcome| wanted.contains(outcome)).count()
            };
            if count(&[Outcome::Busy, Outcome::NoAnswer, Outcome::Unknown]) > 3 {
                return Some(format!("I7: promise {promise} had more than three attempts"));
            }
            if count(&[Outcome::Reached]) > 1 {
                return Some(format!("I2: promise {promise} was kept twice"));
            }
        }
        let mut plans = plans.into_iter().collect::<Vec<_>>();
        for call in calls.all.values().filter(|call| call.is_dial_back()) {
            let is_its = |plan: &((u64, u32), Tick)| {
                numbers.get(&plan.0.0) == Some(&call.number) && plan.1 <= call.began
            };
            // The latest plan before the INVITE is the one that it belongs to.
            let found = plans.iter().enumerate().filter(|(_, plan)| is_its(plan));
            let Some((place, _)) = found.max_by_key(|(_, plan)| plan.1) else {
                return Some(format!("I4: an INVITE to {} that no record planned", call.number));
            };
            plans.swap_remove(place);
        }
        for number in numbers.values() {
            let promises = numbers.values().filter(|other| *other == number).count();
            let held = calls
                .all
                .values()
                .filter(|call| call.is_dial_back() && call.number == *number && call.is_held());
            if held.count() > promises {
                return Some(format!("I2: {number} was called back more often than promised"));
            }
        }
        None
    }
}

/// A1, A2, A8, I1: every promise has exactly one end.
fn unkept(report: &Report) -> Option<String> {
    let ended = report.ends.values().sum::<u64>();
    (ended != report.promised)
        .then(|| format!("A2, A8: {} promises, and these ends: {:?}", report.promised, report.ends))
}

fn server(
    seed: u64,
    epoch_ms: u64,
    disk: Duration,
    flow: Duration,
    hours: Option<&Hours>,
) -> Server {
    let mut config = ringback::call::Config { epoch_ms, ..standard_config(server_at()) };
    if let Some(hours) = hours {
        let policy = Policy { hours: hours.clone(), ..Policy::default() };
        config.queue_standard = QueueSettings { policy, ..QueueSettings::default() };
    }
    let flows = vec![story::flow_file("queue-callback.json")];
    let server = Server::new(server_at(), config, flows, story::prompts(), seed);
    server.soundless().with_disk_delay(disk).with_flow_delay(flow)
}

/// Open and closed for minutes in turn, on the Thursday on which worlds begin.
fn hours() -> Hours {
    let mut hours = Hours::default();
    for hour in 0..12 {
        for (from, to) in [("00", "03"), ("05", "09"), ("11", "30"), ("35", "59")] {
            hours.add(&format!("Thu {hour:02}:{from}-{hour:02}:{to}")).unwrap();
        }
    }
    hours.add("Thu-Sun 12:00-24:00").unwrap();
    hours
}

fn pick(rng: &mut Rng, millis: &[u64]) -> Duration {
    Duration::from_millis(millis[rng.below(millis.len() as u64) as usize])
}

fn habits(rng: &mut Rng) -> Habits {
    let seconds = |from, to| (Duration::from_secs(from), Duration::from_secs(to));
    let queue = if rng.percent(70) { "1" } else { "2" };
    Habits {
        gap: Duration::from_secs(10 + rng.below(120)),
        hours: 0..24,
        keys: vec![(Duration::from_secs(12), queue.to_owned())],
        callback: Some(("1".to_owned(), rng.below(101) as u8)),
        asks_after: seconds(1, 60),
        patience: seconds(5, 30 + rng.below(300)),
        talk: seconds(1, 20 + rng.below(100)),
        customers_answer: 30 + rng.below(71) as u8,
        agents_answer: 30 + rng.below(71) as u8,
        agents_leave: rng.below(50) as u8,
    }
}

/// Plays a seed: what people saw of it, or its flaw.
fn check(seed: u64) -> Result<Report, (u64, String)> {
    let mut played = Played::new(seed, false).play();
    match played.flaw() {
        None => Ok(played.traffic.report().clone()),
        Some(flaw) => Err((seed, format!("{flaw}; crashes at {:?}", played.crashes))),
    }
}

/// Plays these seeds, each thread its share, and tells the flaws of all with one ladder.
fn check_all(seeds: &[u64]) -> Vec<Report> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let played = std::thread::scope(|scope| {
        let play = |first: usize| {
            move || {
                seeds
                    .iter()
                    .skip(first)
                    .step_by(threads)
                    .map(|seed| check(*seed))
                    .collect::<Vec<_>>()
            }
        };
        let running = (0..threads).map(|first| scope.spawn(play(first))).collect::<Vec<_>>();
        running.into_iter().flat_map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    let mut flaws = played.iter().filter_map(|one| one.as_ref().err()).collect::<Vec<_>>();
    flaws.sort();
    if let Some((seed, flaw)) = flaws.first() {
        let again = Played::new(*seed, true).play();
        let lines = flaws.iter().map(|(seed, flaw)| format!("seed {seed}: {flaw}\n"));
        let all = lines.take(FLAWS_TOLD).collect::<String>();
        let journal = again.written.iter().map(|(at, record)| format!("{at} {record:?}\n"));
        let journal = journal.collect::<String>();
        let count = flaws.len();
        panic!("{}\n{journal}\n{count} flaws\n{all}\nseed {seed}: {flaw}", again.world.ladder());
    }
    played.into_iter().filter_map(Result::ok).collect()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// A1, A2, A4 to A11, A14, I1 to I7, I9, I10.
#[test]
fn random_worlds_keep_every_promise() {
    if let Some(seed) = number("WORLD") {
        println!("{:#?}", check_all(&[seed]));
        return;
    }
    let from = number("WORLDS_FROM").unwrap_or(0);
    let seeds = (from..from + number("WORLDS").unwrap_or(SEEDS))
        .chain(KEPT.map(|(seed, _)| seed))
        .collect::<Vec<_>>();
    let reports = check_all(&seeds);
    let total = |count: fn(&Report) -> u64| reports.iter().map(count).sum::<u64>();
    let (calls, served) = (total(|one| one.calls), total(|one| one.served));
    let (promised, called_back) = (total(|one| one.promised), total(|one| one.called_back));
    let worlds = seeds.len() as u64;
    println!(
        "{worlds} worlds: {calls} calls, {served} served, {promised} promises, {called_back} called back"
    );
    assert!(calls > worlds * 10 && promised > worlds && called_back > worlds / 4);
}

/// A13: one seed, one world, to the last byte.
#[test]
fn a_seed_plays_the_same_world_again() {
    for seed in 0..3 {
        let digest = |seed| Played::new(seed, false).play().world.digest();
        assert_eq!(digest(seed), digest(seed));
    }
}
