//! The allocator's cache of a thread, memory that it has freed and takes again without a lock, is given back
//! some seconds after there was work: a thread that rests would keep it for ever, and with each piece the
//! page that it is of.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tikv_jemalloc_ctl::{Access as _, AsName as _};

use crate::base::Tick;

/// How long after the first work it is given back; while work goes on, as often.
const AFTER: Duration = Duration::from_secs(5);

/// When to give back.
#[derive(Debug, Default)]
pub(super) struct Trim {
    due: Option<Tick>,
}

impl Trim {
    /// There was work.
    pub(super) fn worked(&mut self, now: Tick) {
        self.due.get_or_insert(now + AFTER);
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) const fn poll_timeout(&self) -> Option<Tick> {
        self.due
    }

    /// Gives back if it is time.
    pub(super) fn handle_timeout(&mut self, now: Tick) {
        if self.due.take_if(|due| *due <= now).is_some() {
            give_back();
        }
    }
}

/// The next value, as [`Receiver::recv`] gives it; who waits long for it gives back meanwhile.
pub(super) fn recv<T>(receiver: &Receiver<T>) -> Option<T> {
    match receiver.recv_timeout(AFTER) {
        Ok(value) => Some(value),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            give_back();
            receiver.recv().ok()
        }
    }
}

/// Gives back what the calling thread keeps.
pub(super) fn give_back() {
    let cache = b"thread.tcache.enabled\0".name();
    // Another allocator has no such thing, and nothing to be given back here.
    let _ = cache.write(false).and_then(|()| cache.write(true));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_given_back_some_time_after_the_first_work() {
        let at = Tick::from_millis;
        let mut trim = Trim::default();
        assert_eq!(trim.poll_timeout(), None);
        trim.worked(at(1000));
        trim.worked(at(3000));
        trim.handle_timeout(at(5999));
        assert_eq!(trim.poll_timeout(), Some(at(6000)));
        trim.handle_timeout(at(6000));
        assert_eq!(trim.poll_timeout(), None, "and not again before there is more work");
    }

    /// The allocator knows the cache by this name, and the thread has one afterwards.
    #[test]
    fn a_thread_has_its_cache_again() {
        let cache = b"thread.tcache.enabled\0".name();
        assert_eq!(cache.read(), Ok(true));
        give_back();
        assert_eq!(cache.read(), Ok(true));
    }
}
