//! Until when a script may run, by the clock, and as another thread sees it. The engine asks whether
//! time is up between its own steps only, and a step may take seconds. `serve` gives up the thread of
//! such a script (`scripts.rs`); a command has no other thread, and ends.

use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::base::Tick;
use crate::flow::Deadline;
use crate::shell::Clock;

/// How long after its deadline a script is believed to come back.
const GRACE: Duration = Duration::from_secs(1);
/// What a command says at its end when a script does not come back.
pub(super) const STUCK: &str = "a script did not come back, long after its time was over";
/// How often is looked, while anything is under way.
pub(super) const LOOK: Duration = Duration::from_millis(100);

/// The deadline of a script, by the clock of this thread.
#[derive(Debug)]
pub(super) struct ClockDeadline {
    clock: Clock,
    limit: Duration,
    until: Cell<Tick>,
}

impl ClockDeadline {
    /// At most so long for one evaluation.
    pub(super) const fn new(clock: Clock, limit: Duration) -> Self {
        Self { clock, limit, until: Cell::new(Tick::ZERO) }
    }
}

impl Deadline for ClockDeadline {
    fn arm(&self, times: u32) {
        self.until.set(self.clock.now() + self.limit * times);
    }

    fn is_past(&self) -> bool {
        self.clock.now() >= self.until.get()
    }
}

/// Until when the script of a thread may run; `None` while it runs none.
#[derive(Debug, Default)]
pub(super) struct Until(Mutex<Option<Tick>>);

impl Until {
    /// From now on it may run until then.
    pub(super) fn set(&self, until: Option<Tick>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    /// Does this when the script should have come back long ago. It cannot come back meanwhile.
    pub(super) fn when_late<T>(&self, now: Tick, act: impl FnOnce() -> T) -> Option<T> {
        let until = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| now > until + GRACE).then(act)
    }
}

/// The same, which others see as well.
#[derive(Debug)]
pub(super) struct Watched {
    deadline: ClockDeadline,
    seen: Arc<Until>,
}

impl Watched {
    /// At most so long for one evaluation; others look at `seen`.
    pub(super) const fn new(clock: Clock, limit: Duration, seen: Arc<Until>) -> Self {
        Self { deadline: ClockDeadline::new(clock, limit), seen }
    }

    /// The deadline of a command. `give_up` is called on a thread of its own when a script does not
    /// come back; it ends the process.
    pub(super) fn command(
        clock: Clock,
        limit: Duration,
        give_up: impl Fn() + Send + 'static,
    ) -> Self {
        let seen = Arc::<Until>::default();
        let watched = seen.clone();
        // Without a thread there are the engine's own questions, which nearly always suffice.
        let _ = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || look(&watched, clock, give_up));
        Self::new(clock, limit, seen)
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
fn look(seen: &Until, clock: Clock, give_up: impl Fn()) {
    loop {
        thread::sleep(LOOK);
        seen.when_late(clock.now(), &give_up);
    }
}

impl Deadline for Watched {
    fn arm(&self, times: u32) {
        self.deadline.arm(times);
        self.seen.set(Some(self.deadline.until.get()));
    }

    fn is_past(&self) -> bool {
        self.deadline.is_past()
    }

    fn rest(&self) {
        self.seen.set(None);
    }
}
