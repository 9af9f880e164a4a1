//! Threads for scripts that may take long, and the watch over them: one that does not come back is
//! given up with its thread, and its run goes on as its author said for an error.
//!
//! The engine asks whether to go on between its own steps only. A single step, such as the product
//! of two numbers of a million bits, may take seconds, and ten thousand of them pass between two
//! questions.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::base::{Rng, Tick};
use crate::flow::{self, Errand, Errands, Fault, Object, RunId, Statics};
use crate::shell::Clock;
use crate::shell::bounded;
use crate::shell::deadline::{LOOK, Until, Watched};

/// Threads at the same time; each is started when it is first needed. A workflow always has the
/// same one, so that its runs change what it keeps one after another.
const THREADS: usize = 4;
/// Errands that may wait for one thread; one more fails at once.
const WAITING_MAX: usize = 4096;
/// Threads that were given up and have not come back; with so many, scripts that may take long
/// fail at once, until one has.
const STRAYS_MAX: usize = 8;

/// Where errands are made.
#[derive(Debug)]
pub(super) struct Scripts {
    lanes: [Lane; THREADS],
    surroundings: Surroundings,
    /// Errands that were taken and are not back.
    open: usize,
}

/// What every thread gets.
#[derive(Clone, Debug)]
struct Surroundings {
    answers: Weak<bounded::Sender<flow::Input>>,
    clock: Clock,
    limit: Duration,
    variables: Object,
    resume: flow::Resume,
    strays: Arc<AtomicUsize>,
}

/// One thread, as long as it comes back, and what waits for it.
#[derive(Debug, Default)]
struct Lane {
    queue: Arc<Queue>,
    watch: Option<Arc<Watch>>,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<VecDeque<Errand>>,
    has_come: Condvar,
    is_closed: AtomicBool,
}

/// What a thread tells of itself: which run it serves, and until when it may evaluate.
#[derive(Debug, Default)]
struct Watch {
    /// The number of its errand, [`IDLE`] or [`GIVEN_UP`]. Whoever changes it first has it: the
    /// thread that is done, or who gives it up.
    errand: AtomicU64,
    run: AtomicU64,
    until: Arc<Until>,
}

const IDLE: u64 = 0;
const GIVEN_UP: u64 = u64::MAX;

impl Watch {
    /// Gives the thread up if its script should have come back long ago; its run.
    fn give_up(&self, now: Tick) -> Option<RunId> {
        let errand = self.errand.load(Ordering::SeqCst);
        let run = self.run.load(Ordering::SeqCst);
        if errand == IDLE {
            return None;
        }
        // It may be done in this very moment.
        let is_given_up = self.until.when_late(now, || self.change(errand, GIVEN_UP));
        is_given_up.unwrap_or(false).then_some(RunId(run))
    }

    /// The thread begins an errand.
    fn begin(&self, errand: u64, run: RunId) {
        self.until.set(None);
        self.run.store(run.0, Ordering::SeqCst);
        self.errand.store(errand, Ordering::SeqCst);
    }

    fn change(&self, from: u64, to: u64) -> bool {
        self.errand.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}

impl Scripts {
    /// Results go to the worker while somebody else still speaks to it. `limit` is how long one
    /// expression may take.
    pub(super) fn new(
        worker: Weak<bounded::Sender<flow::Input>>,
        clock: Clock,
        limit: Duration,
        variables: Object,
        resume: flow::Resume,
    ) -> Self {
        let strays = Arc::default();
        let surroundings =
            Surroundings { answers: worker, clock, limit, variables, resume, strays };
        Self { lanes: Default::default(), surroundings, open: 0 }
    }

    /// How long the worker may sleep.
    pub(super) const fn wait(&self) -> Option<Duration> {
        if self.open > 0 { Some(LOOK) } else { None }
    }

    /// Takes an errand; one that cannot be made is answered here. `kept` is what workflows keep,
    /// for a thread that begins.
    pub(super) fn start(
        &mut self,
        errand: Errand,
        rng: &mut Rng,
        kept: impl FnOnce() -> Statics,
    ) -> Option<flow::Input> {
        let mut hasher = DefaultHasher::new();
        errand.workflow().hash(&mut hasher);
        let lane = &mut self.lanes[hasher.finish() as usize % THREADS];
        let lost = |run, message: &str| {
            let fault = Fault::new("E-FLOW-SCRIPT-BUSY", message);
            Some(flow::Input::Lost { run, fault })
        };
        if lane.watch.is_none() {
            if self.surroundings.strays.load(Ordering::SeqCst) >= STRAYS_MAX {
                let message = "too many scripts have not come back: no more are begun";
                return lost(errand.run(), message);
            }
            lane.watch = lane.begin(&self.surroundings, Rng::new(rng.next_u64()), kept());
        }
        if lane.watch.is_none() {
            return lost(errand.run(), "the system gives no thread");
        }
        let mut waiting = lane.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= WAITING_MAX {
            return lost(errand.run(), "too many scripts wait for their turn");
        }
        waiting.push_back(errand);
        lane.queue.has_come.notify_one();
        self.open += 1;
        None
    }

    /// An errand came back.
    pub(super) const fn returned(&mut self) {
        self.open = self.open.saturating_sub(1);
    }

    /// Looks after those that do not come back: what to tell their runs.
    pub(super) fn look(&mut self, rng: &mut Rng, kept: impl Fn() -> Statics) -> Vec<flow::Input> {
        let mut lost = Vec::new();
        let now = self.surroundings.clock.now();
        for lane in &mut self.lanes {
            let Some(watch) = &lane.watch else { continue };
            let Some(run) = watch.give_up(now) else { continue };
            let strays = self.surroundings.strays.fetch_add(1, Ordering::SeqCst) + 1;
            tracing::warn!(
                run = run.0,
                strays,
                "a script does not come back: its thread is given up"
            );
            self.open = self.open.saturating_sub(1);
            let message = "the script was given up: one of its steps took too long";
            let fault = Fault::new("E-FLOW-SCRIPT-LIMIT", message);
            lost.push(flow::Input::Lost { run, fault });
            lane.watch = None;
            if strays < STRAYS_MAX {
                lane.watch = lane.begin(&self.surroundings, Rng::new(rng.next_u64()), kept());
            }
            if lane.watch.is_none() {
                let mut waiting = lane.queue.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                for errand in waiting.drain(..) {
                    self.open = self.open.saturating_sub(1);
                    let message = "too many scripts have not come back: no more are begun";
                    let fault = Fault::new("E-FLOW-SCRIPT-BUSY", message);
                    lost.push(flow::Input::Lost { run: errand.run(), fault });
                }
            }
        }
        lost
    }
}

impl Drop for Scripts {
    /// Nobody waits for the threads: those that can end, do.
    fn drop(&mut self) {
        for Lane { queue, .. } in &self.lanes {
            queue.is_closed.store(true, Ordering::SeqCst);
            queue.has_come.notify_all();
        }
    }
}

impl Lane {
    fn begin(&self, surroundings: &Surroundings, rng: Rng, kept: Statics) -> Option<Arc<Watch>> {
        let watch = Arc::new(Watch::default());
        let (queue, own, around) = (self.queue.clone(), watch.clone(), surroundings.clone());
        let run = move || serve(&queue, &own, around, rng, kept);
        thread::Builder::new().name("scripts".to_owned()).spawn(run).ok().map(|_| watch)
    }
}

/// Makes errands until the queue is closed, or this thread was given up.
fn serve(queue: &Queue, watch: &Arc<Watch>, around: Surroundings, rng: Rng, kept: Statics) {
    let Surroundings { answers, clock, limit, variables, resume, strays } = around;
    let deadline = Watched::new(clock, limit, watch.until.clone());
    let mut errands = Errands::new(rng, Rc::new(deadline), variables, kept, Some(resume));
    for number in IDLE + 1.. {
        let Some(errand) = queue.next() else { return };
        watch.begin(number, errand.run());
        let errand = errands.perform(errand);
        if !watch.change(number, IDLE) {
            strays.fetch_sub(1, Ordering::SeqCst);
            return;
        }
        let Some(answers) = answers.upgrade() else { return };
        answers.send(flow::Input::Return { errand: Box::new(errand) });
    }
}

impl Queue {
    fn next(&self) -> Option<Errand> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.is_closed.load(Ordering::SeqCst) {
                return None;
            }
            if let Some(errand) = waiting.pop_front() {
                return Some(errand);
            }
            waiting = self.has_come.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
