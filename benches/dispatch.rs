//! What a report costs the dispatcher, with few and with very many waiting.

use std::time::Duration;

use divan::Bencher;
use ringback::base::{Rng, Tick};
use ringback::dispatch::{
    AgentId, CallRef, Choice, Dispatcher, EntryId, Event, OfferId, Party, Policy, QueueId, Request,
    Retry, Strategy,
};

/// The program's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const WAITING: &[usize] = &[1, 1_000, 100_000];
const QUEUE: QueueId = QueueId(1);
/// Nobody is given up.
const PATIENT: Retry = Retry { attempts: u32::MAX, ..Retry::DEFAULT };

fn main() {
    divan::main();
}

/// A caller joins and hangs up again; everybody is busy. Two reports.
#[divan::bench(args = WAITING)]
fn join_and_leave(bencher: Bencher<'_, '_>, waiting: usize) {
    let (mut dispatcher, _) = crowd(waiting);
    let request = Request::live(CallRef(u64::MAX), party(usize::MAX));
    bencher.bench_local(|| {
        let entry = dispatcher.enqueue(QUEUE, request.clone(), Tick::from_millis(1));
        let gone = dispatcher.caller_gone(entry.expect("there is room"), Tick::from_millis(1));
        drain(&mut dispatcher);
        gone
    });
}

/// The agent hangs up, is offered to the head of the queue, and answers; the served caller joins
/// again at the end. Three reports.
#[divan::bench(args = WAITING)]
fn serve_one(bencher: Bencher<'_, '_>, waiting: usize) {
    let (mut dispatcher, _) = crowd(waiting);
    let mut next = waiting;
    let mut now = Tick::from_millis(1);
    bencher.bench_local(|| {
        dispatcher.set_busy(AgentId(0), false);
        let offer = drain(&mut dispatcher).expect("somebody waits");
        let answered = dispatcher.offer_answered(offer, AgentId(0), now);
        next += 1;
        now = Tick::from_micros(now.as_micros() + 1);
        let joined = dispatcher.enqueue(QUEUE, live(next), now);
        drain(&mut dispatcher);
        (answered, joined)
    });
}

/// The same with fifty agents, of whom the one who has been idle for longest is rung: he hangs up,
/// is offered, lets the call pass, and another takes it. Five reports.
#[divan::bench(args = [1_000, 100_000])]
fn serve_one_by_choice(bencher: Bencher<'_, '_>, waiting: usize) {
    let choice = Choice::LongestIdle;
    let strategy = Strategy::OneByOne { choice, attempt_timeout: Duration::from_secs(20) };
    let (mut dispatcher, _) = crowd_rung(waiting, strategy);
    let mut next = waiting;
    let mut now = Tick::from_millis(1);
    bencher.bench_local(|| {
        // A minute later whoever let a call pass has rested.
        now += Duration::from_secs(60);
        dispatcher.handle_timeout(now);
        dispatcher.set_busy(AgentId(0), false);
        let offer = drain(&mut dispatcher).expect("somebody waits");
        let passed = dispatcher.offer_passed(offer, now);
        let failed = dispatcher.offer_failed(offer, now);
        dispatcher.set_busy(AgentId(1), false);
        let offer = drain(&mut dispatcher).expect("somebody waits");
        let answered = dispatcher.offer_answered(offer, AgentId(1), now);
        next += 1;
        let joined =
            dispatcher.enqueue(QUEUE, Request { strategy, retry: PATIENT, ..live(next) }, now);
        dispatcher.set_busy(AgentId(0), true);
        drain(&mut dispatcher);
        (passed, failed, answered, joined)
    });
}

/// One caller asks for the position.
#[divan::bench(args = WAITING)]
fn position(bencher: Bencher<'_, '_>, waiting: usize) {
    let (dispatcher, entries) = crowd(waiting);
    let middle = entries[waiting / 2];
    bencher.bench_local(|| dispatcher.position(middle));
}

fn crowd(waiting: usize) -> (Dispatcher, Vec<EntryId>) {
    crowd_rung(waiting, Strategy::Parallel)
}

fn crowd_rung(waiting: usize, strategy: Strategy) -> (Dispatcher, Vec<EntryId>) {
    let mut dispatcher = Dispatcher::new(1_000_000, 0, Rng::new(1));
    let policy = Policy { entries_max: 1_000_000, ..Policy::DEFAULT };
    let agents = (0..50).map(AgentId).collect();
    dispatcher.set_queue(QUEUE, agents, policy).expect("one queue is not too many");
    for agent in (0..50).map(AgentId) {
        dispatcher.set_busy(agent, true);
        dispatcher.set_online(agent, true);
    }
    let entries = (0..waiting)
        .map(|number| {
            let request = Request { strategy, retry: PATIENT, ..live(number) };
            dispatcher.enqueue(QUEUE, request, Tick::ZERO).expect("there is room")
        })
        .collect();
    drain(&mut dispatcher);
    (dispatcher, entries)
}

fn live(number: usize) -> Request {
    Request::live(CallRef(number as u64), party(number))
}

fn party(number: usize) -> Party {
    Party { number: Some(number.to_string()), trunk: "trunk".to_owned() }
}

/// Takes every event; the last offer among them.
fn drain(dispatcher: &mut Dispatcher) -> Option<OfferId> {
    let mut last = None;
    while let Some(event) = dispatcher.poll_event() {
        if let Event::Dispatch { offer, .. } = event {
            last = Some(offer);
        }
    }
    last
}
