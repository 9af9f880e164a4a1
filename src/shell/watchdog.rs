//! The watch over the scripts of a command: the engine asks whether time is up between its own steps
//! only, and a step may take seconds. `serve` gives up the thread; a command has no other, and ends.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use crate::base::Tick;
use crate::flow::Deadline;
use crate::shell::Clock;

/// How long after its deadline a script is believed to come back.
const GRACE: Duration = Duration::from_secs(1);
/// How often is looked.
const LOOK: Duration = Duration::from_millis(100);

/// Nothing is evaluated.
const IDLE: u64 = 0;
/// Whoever changes the time to this, or back to [`IDLE`], has the last word.
const GIVEN_UP: u64 = u64::MAX;

/// The deadline of a command's scripts.
#[derive(Debug)]
pub(super) struct Watchdog {
    clock: Clock,
    limit: Duration,
    until: Cell<Tick>,
    until_ms: Arc<AtomicU64>,
}

impl Watchdog {
    /// At most so long for one evaluation. `give_up` is called once, on a thread of its own, when a
    /// script has not come back long after; it ends the process.
    pub(super) fn start(
        clock: Clock,
        limit: Duration,
        give_up: impl FnOnce() + Send + 'static,
    ) -> Self {
        let until_ms = Arc::new(AtomicU64::new(IDLE));
        let watched = until_ms.clone();
        // Without a thread the engine's own questions are left, as in most cases they suffice.
        let _ = thread::Builder::new().name("watchdog".to_owned()).spawn(move || {
            wait_until_late(&watched, clock);
            give_up();
        });
        Self { clock, limit, until: Cell::new(Tick::ZERO), until_ms }
    }
}

#[expect(clippy::disallowed_methods, reason = "this thread has nothing else to do")]
fn wait_until_late(until_ms: &AtomicU64, clock: Clock) {
    loop {
        thread::sleep(LOOK);
        let until = until_ms.load(Ordering::SeqCst);
        if until == IDLE || clock.now().as_millis() <= until + GRACE.as_millis() as u64 {
            continue;
        }
        // It may come back in this very moment.
        if until_ms.compare_exchange(until, GIVEN_UP, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            return;
        }
    }
}

impl Deadline for Watchdog {
    fn arm(&self, times: u32) {
        let until = self.clock.now() + self.limit * times;
        self.until.set(until);
        self.until_ms.store(until.as_millis().max(1), Ordering::SeqCst);
    }

    fn is_past(&self) -> bool {
        self.clock.now() >= self.until.get()
    }

    fn rest(&self) {
        if self.until_ms.swap(IDLE, Ordering::SeqCst) == GIVEN_UP {
            // What there is to say has been said: the process is about to end.
            loop {
                thread::park();
            }
        }
    }
}
