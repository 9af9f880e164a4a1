//! The dispatcher beside a model that any reader can check: one list, looked through from the top.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::prelude::*;

use crate::base::{Rng, Tick};

use super::types::Strategy;
use super::*;

const AGENTS: u64 = 4;
const PAUSE: Duration = Duration::from_secs(30);
/// The ways of ringing that callers may wish for.
const STRATEGIES: [Strategy; 5] = [
    Strategy::Parallel,
    one_by_one(Choice::LongestIdle),
    one_by_one(Choice::RoundRobin),
    one_by_one(Choice::FewestCalls),
    one_by_one(Choice::Random),
];

const fn one_by_one(choice: Choice) -> Strategy {
    Strategy::OneByOne { choice, attempt_timeout: Duration::from_secs(20) }
}

/// What can be reported. Numbers pick among those there are.
#[derive(Clone, Debug)]
enum Report {
    Arrive {
        queue: u8,
        number: u8,
        is_front: bool,
        strategy: u8,
    },
    OptIn(u8),
    Leave(u8),
    Cancel(u8),
    Answer(u8),
    Pass(u8),
    Fail(u8),
    Online(u8, bool),
    Busy(u8, bool),
    /// Not to be rung for so many seconds.
    Rest(u8, u8),
    Wait(u8),
}

fn reports() -> impl Strategy_<Value = Vec<Report>> {
    let report = prop_oneof![
        4 => (0..2_u8, 0..6_u8, any::<bool>(), any::<u8>()).prop_map(
            |(queue, number, is_front, strategy)| Report::Arrive { queue, number, is_front, strategy }
        ),
        2 => any::<u8>().prop_map(Report::OptIn),
        2 => any::<u8>().prop_map(Report::Leave),
        1 => any::<u8>().prop_map(Report::Cancel),
        2 => any::<u8>().prop_map(Report::Answer),
        2 => any::<u8>().prop_map(Report::Pass),
        2 => any::<u8>().prop_map(Report::Fail),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(agent, is)| Report::Online(agent, is)),
        3 => (any::<u8>(), any::<bool>()).prop_map(|(agent, is)| Report::Busy(agent, is)),
        1 => (any::<u8>(), 1..90_u8).prop_map(|(agent, seconds)| Report::Rest(agent, seconds)),
        2 => (1..40_u8).prop_map(Report::Wait),
    ];
    proptest::collection::vec(report, 1..120)
}

use proptest::strategy::Strategy as Strategy_;

#[derive(Clone, Debug, PartialEq)]
enum Doing {
    Waits,
    Cools(Tick),
    /// Who rings, and who has let the offer pass.
    Rings(OfferId, Vec<u64>, Vec<u64>),
}

#[derive(Clone, Debug)]
struct Waiting {
    entry: EntryId,
    queue: usize,
    key: OrderKey,
    number: u8,
    is_live: bool,
    is_opted_in: bool,
    is_told: bool,
    failed: u32,
    strategy: Strategy,
    doing: Doing,
}

/// Queue 0 has the agents 0 to 2, queue 1 the agents 1 to 3.
fn agents_of(queue: usize) -> std::ops::Range<u64> {
    queue as u64..queue as u64 + 3
}

/// Where an agent stands among the others.
#[derive(Clone, Copy, Default)]
struct Turn {
    calls: u64,
    /// When the last one ended, counted in turns.
    ended: u64,
    /// Not to be rung before this.
    rest: Option<Tick>,
    /// The leg that he has is more than the ringing of an offer.
    is_call: bool,
}

#[derive(Default)]
struct Model {
    line: Vec<Waiting>,
    online: BTreeSet<u64>,
    busy: BTreeSet<u64>,
    turns: [Turn; AGENTS as usize],
    ended: u64,
    /// Whom each queue chose last.
    chosen: [Option<u64>; 2],
}

impl Model {
    fn is_rung(&self, agent: u64) -> bool {
        self.line.iter().any(|w| matches!(&w.doing, Doing::Rings(_, a, _) if a.contains(&agent)))
    }

    fn free(&self, queue: usize) -> Vec<u64> {
        let is_free = |a: &u64| {
            let rests = self.turns[*a as usize].rest.is_some();
            self.online.contains(a) && !self.busy.contains(a) && !rests && !self.is_rung(*a)
        };
        agents_of(queue).filter(is_free).collect()
    }

    /// Everybody who may be the one that an entry rings next, but those who let it pass; where it
    /// is not left to chance there is one at most.
    fn next_agents(&self, queue: usize, strategy: Strategy, passed: &[u64]) -> Vec<u64> {
        let mut free = self.free(queue);
        free.retain(|agent| !passed.contains(agent));
        let Strategy::OneByOne { choice, .. } = strategy else { return free };
        let turn = |agent: &u64| self.turns[*agent as usize];
        let first = match choice {
            Choice::Random => return free,
            Choice::LongestIdle => free.iter().min_by_key(|a| (turn(a).ended, **a)),
            Choice::FewestCalls => free.iter().min_by_key(|a| (turn(a).calls, turn(a).ended, **a)),
            Choice::RoundRobin => {
                let behind = |a: &&u64| self.chosen[queue].is_none_or(|chosen| **a > chosen);
                free.iter().find(behind).or(free.first())
            }
        };
        first.copied().into_iter().collect()
    }

    fn end_turn(&mut self, agent: u64) {
        self.ended += 1;
        self.turns[agent as usize].ended = self.ended;
    }

    /// The one who rings lets the offer pass.
    fn let_pass(&mut self, index: usize, now: Tick) {
        let waiting = &mut self.line[index];
        let (Doing::Rings(_, agents, passed), Strategy::OneByOne { .. }) =
            (&mut waiting.doing, waiting.strategy)
        else {
            return;
        };
        if let Some(agent) = agents.pop() {
            passed.push(agent);
            self.end_turn(agent);
            let turn = &mut self.turns[agent as usize];
            turn.calls += 1;
            turn.rest = turn.rest.max(Some(now + PAUSE));
        }
    }

    /// The next entry to ring for, and whom.
    fn next(&mut self, now: Tick) -> Option<(usize, Vec<u64>)> {
        for waiting in &mut self.line {
            if matches!(waiting.doing, Doing::Cools(until) if until <= now) {
                waiting.doing = Doing::Waits;
            }
        }
        for turn in &mut self.turns {
            turn.rest = turn.rest.filter(|until| *until > now);
        }
        self.line.sort_by_key(|waiting| (waiting.key, waiting.entry));
        let index = (0..self.line.len()).find(|index| {
            let waiting = &self.line[*index];
            waiting.doing == Doing::Waits && !self.free(waiting.queue).is_empty()
        })?;
        let waiting = &self.line[index];
        Some((index, self.next_agents(waiting.queue, waiting.strategy, &[])))
    }

    fn nobody_online(&mut self) {
        let online = self.online.clone();
        let is_empty = |queue| agents_of(queue).all(|agent| !online.contains(&agent));
        self.line.retain_mut(|waiting| {
            let hears = waiting.doing == Doing::Waits && is_empty(waiting.queue);
            waiting.is_told |= hears && !waiting.is_live;
            !(hears && waiting.is_live)
        });
    }

    fn pick(&self, pick: u8, fits: impl Fn(&Waiting) -> bool) -> Option<usize> {
        let fitting: Vec<usize> = (0..self.line.len()).filter(|i| fits(&self.line[*i])).collect();
        fitting.get(usize::from(pick) % fitting.len().max(1)).copied()
    }
}

struct Pair {
    real: Dispatcher,
    model: Model,
    now: Tick,
    arrivals: u64,
    ended: BTreeMap<EntryId, Ended>,
}

impl Pair {
    fn new() -> Self {
        let mut real = Dispatcher::new(1000, 0, Rng::new(1));
        for queue in 0..2 {
            let agents = agents_of(queue).map(AgentId).collect();
            real.set_queue(QueueId(queue as u64), agents, Policy::DEFAULT).unwrap();
        }
        let (model, ended) = (Model::default(), BTreeMap::new());
        Self { real, model, now: Tick::ZERO, arrivals: 0, ended }
    }

    fn report(&mut self, report: &Report) {
        match *report {
            Report::Arrive { queue, number, is_front, strategy } => {
                let strategy = STRATEGIES[usize::from(strategy) % STRATEGIES.len()];
                self.arrive(usize::from(queue), number, is_front, strategy);
            }
            Report::OptIn(pick) => {
                let Some(index) = self.model.pick(pick, |w| w.is_live) else { return };
                self.model.line[index].is_opted_in = true;
                self.real.set_callback(self.model.line[index].entry, true).unwrap();
            }
            Report::Leave(pick) => {
                let Some(index) = self.model.pick(pick, |w| w.is_live) else { return };
                let entry = self.model.line[index].entry;
                let gone = self.real.caller_gone(entry, self.now).unwrap();
                if self.model.line[index].is_opted_in {
                    assert_eq!(gone, Gone::Callback);
                    self.model.line[index].is_live = false;
                    self.model.line[index].doing = Doing::Cools(self.now + PAUSE);
                } else {
                    assert_eq!(gone, Gone::Abandoned);
                    self.model.line.remove(index);
                }
            }
            Report::Cancel(pick) => {
                let Some(index) = self.model.pick(pick, |_| true) else { return };
                self.real.cancel(self.model.line.remove(index).entry).unwrap();
            }
            Report::Answer(pick) => self.answer(pick),
            Report::Pass(pick) => self.pass(pick),
            Report::Fail(pick) => self.fail(pick),
            Report::Online(agent, is) => {
                let agent = u64::from(agent) % AGENTS;
                if !is {
                    self.model.online.remove(&agent);
                } else if self.model.online.insert(agent) {
                    self.model.turns[agent as usize].rest = None;
                }
                self.real.set_online(AgentId(agent), is);
            }
            Report::Busy(agent, is) => {
                let agent = u64::from(agent) % AGENTS;
                let is_rung = self.model.is_rung(agent);
                let was_call = self.model.turns[agent as usize].is_call;
                self.model.turns[agent as usize].is_call = is && (was_call || !is_rung);
                if is {
                    self.model.busy.insert(agent);
                } else {
                    self.model.busy.remove(&agent);
                    if was_call {
                        self.model.end_turn(agent);
                    }
                }
                self.real.set_busy(AgentId(agent), is);
            }
            Report::Rest(agent, seconds) => {
                let agent = u64::from(agent) % AGENTS;
                let until = self.now + Duration::from_secs(seconds.into());
                let turn = &mut self.model.turns[agent as usize];
                turn.rest = turn.rest.max(Some(until));
                self.real.rest(AgentId(agent), until);
            }
            Report::Wait(seconds) => self.wait(seconds),
        }
    }

    fn arrive(&mut self, queue: usize, number: u8, is_front: bool, strategy: Strategy) {
        self.arrivals += 1;
        self.now += Duration::from_millis(1);
        let party = Party { number: Some(number.to_string()), trunk: String::new() };
        let placement = if is_front { Placement::Front } else { Placement::Back };
        let request =
            Request { placement, strategy, ..Request::live(CallRef(self.arrivals), party) };
        let entry = self.real.enqueue(QueueId(queue as u64), request, self.now).unwrap();
        self.model.line.sort_by_key(|waiting| (waiting.key, waiting.entry));
        let held = |w: &&mut Waiting| w.queue == queue && w.number == number && !w.is_live;
        if let Some(waiting) = self.model.line.iter_mut().find(held) {
            assert_eq!(waiting.entry, entry, "the oldest place held is found again");
            waiting.is_live = true;
            waiting.is_told = false;
            waiting.strategy = strategy;
            if !matches!(waiting.doing, Doing::Cools(_)) {
                waiting.doing = Doing::Waits;
            }
            return;
        }
        let enqueued_us = self.now.as_micros();
        let key = OrderKey { placement, enqueued_us, sequence: 0 };
        let (is_live, is_opted_in, is_told, failed) = (true, false, false, 0);
        let doing = Doing::Waits;
        self.model.line.push(Waiting {
            entry,
            queue,
            key,
            number,
            is_live,
            is_opted_in,
            is_told,
            failed,
            strategy,
            doing,
        });
    }

    fn answer(&mut self, pick: u8) {
        let rings =
            |w: &Waiting| matches!(&w.doing, Doing::Rings(_, agents, _) if !agents.is_empty());
        let Some(index) = self.model.pick(pick, rings) else { return };
        let waiting = self.model.line.remove(index);
        let Doing::Rings(offer, agents, _) = waiting.doing else { return };
        let agent = agents[usize::from(pick) % agents.len()];
        let answered = self.real.offer_answered(offer, AgentId(agent), self.now).unwrap();
        assert_eq!(answered.caller.is_some(), waiting.is_live);
        assert_eq!(self.real.offer_answered(offer, AgentId(agent), self.now), Err(Stale));
        self.model.busy.insert(agent);
        let turn = &mut self.model.turns[agent as usize];
        turn.calls += 1;
        turn.is_call = true;
    }

    /// Who rings does not take it: with one at a time the next is named, who is nobody's yet.
    fn pass(&mut self, pick: u8) {
        let rings =
            |w: &Waiting| matches!(&w.doing, Doing::Rings(_, agents, _) if !agents.is_empty());
        let Some(index) = self.model.pick(pick, rings) else { return };
        self.model.let_pass(index, self.now);
        let Waiting { queue, strategy, .. } = self.model.line[index];
        let Doing::Rings(offer, _, passed) = self.model.line[index].doing.clone() else { return };
        let next = self.real.offer_passed(offer, self.now).unwrap();
        let Strategy::OneByOne { .. } = strategy else { return assert_eq!(next, None) };
        let may = self.model.next_agents(queue, strategy, &passed);
        assert_eq!(next.is_some(), !may.is_empty(), "nobody free is left out");
        let Doing::Rings(_, agents, _) = &mut self.model.line[index].doing else { return };
        if let Some(AgentId(next)) = next {
            assert!(may.contains(&next), "A4: one at a time, each once, in the order wished for");
            agents.push(next);
            self.model.chosen[queue] = Some(next);
        }
    }

    fn fail(&mut self, pick: u8) {
        let rings = |w: &Waiting| matches!(w.doing, Doing::Rings(..));
        let Some(index) = self.model.pick(pick, rings) else { return };
        self.model.let_pass(index, self.now);
        let waiting = &mut self.model.line[index];
        let Doing::Rings(offer, ..) = waiting.doing else { return };
        waiting.failed += 1;
        waiting.doing = Doing::Cools(self.now + PAUSE);
        if waiting.failed > Retry::DEFAULT.attempts {
            self.model.line.remove(index);
        }
        self.real.offer_failed(offer, self.now).unwrap();
    }

    fn wait(&mut self, seconds: u8) {
        let end = self.now + Duration::from_secs(seconds.into());
        while let Some(due) = self.real.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.max(due);
            self.real.handle_timeout(due);
            self.compare();
        }
        self.now = end;
    }

    /// Everything the dispatcher says is what the list says, in the same order.
    fn compare(&mut self) {
        let mut offers = Vec::new();
        while let Some(event) = self.real.poll_event() {
            match event {
                Event::Dispatch { offer, agents, .. } => offers.push((offer, agents)),
                Event::Ended { entry, reason } => {
                    assert_eq!(self.ended.insert(entry, reason), None, "ended twice");
                }
                Event::QueuePlaced { .. }
                | Event::QueueRemoved { .. }
                | Event::Placed { .. }
                | Event::Offline { .. }
                | Event::BreakOffer { .. } => {}
            }
        }
        for (offer, agents) in offers {
            let (index, may) = self.model.next(self.now).expect("nobody is served out of turn");
            let waiting = &mut self.model.line[index];
            assert_eq!(waiting.entry, offer.entry, "A3: first come, first served");
            let agents: Vec<u64> = agents.iter().map(|agent| agent.0).collect();
            if let Strategy::OneByOne { .. } = waiting.strategy {
                assert!(agents.len() == 1 && may.contains(&agents[0]), "{agents:?}, not {may:?}");
                self.model.chosen[waiting.queue] = Some(agents[0]);
            } else {
                assert_eq!(
                    agents, may,
                    "A4, I5: every free agent, and none that is offered already"
                );
            }
            waiting.doing = Doing::Rings(offer, agents, Vec::new());
        }
        assert!(self.model.next(self.now).is_none(), "nobody waits while an agent is free");
        self.model.nobody_online();
        self.standing();
    }

    /// Nobody is lost or kept twice, and every position is the place in the list.
    fn standing(&mut self) {
        self.model.line.sort_by_key(|waiting| (waiting.key, waiting.entry));
        for queue in 0..2 {
            let line = self.model.line.iter().filter(|waiting| waiting.queue == queue);
            let mut size = 0;
            for waiting in line {
                size += 1;
                assert_eq!(self.real.position(waiting.entry), Some(size));
                assert!(!self.ended.contains_key(&waiting.entry));
                let mode = if waiting.is_live { Mode::Live } else { Mode::Callback };
                assert_eq!(self.real.mode_of(waiting.entry), Some(mode));
            }
            assert_eq!(self.real.stats(QueueId(queue as u64)).unwrap().size, size);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// A3, A4, I5, I8: first come, first served, and an agent has one offer at a time.
    #[test]
    fn the_dispatcher_does_what_a_list_would_do(reports in reports()) {
        let mut pair = Pair::new();
        for report in &reports {
            pair.report(report);
            pair.compare();
        }
    }
}
