//! epoll with numbered sources, for threads that wait on many sockets.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};

/// Sources that one wait reports at most; the rest come with the next.
const EVENTS_MAX: usize = 256;

/// A set of descriptors, each with a number of its owner's choice.
#[derive(Debug)]
pub(super) struct Poller {
    epoll: OwnedFd,
}

/// A source that is ready.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ready {
    /// The number it was added with.
    pub(super) number: u64,
    /// Whether it can be read, or has failed.
    pub(super) readable: bool,
    /// Whether it can be written, or has failed.
    pub(super) writable: bool,
}

impl Poller {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Watches a descriptor for input.
    pub(super) fn add(&self, source: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(number), EventFlags::IN)?)
    }

    /// Watches a descriptor that is only written to so that we wake: each write is told once, and
    /// nothing needs to be read.
    pub(super) fn add_signal(&self, source: impl AsFd, number: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::ET;
        Ok(epoll::add(&self.epoll, source, EventData::new_u64(number), flags)?)
    }

    /// Watches a descriptor for input, and for room to write when asked.
    pub(super) fn set(&self, source: impl AsFd, number: u64, wants_write: bool) -> io::Result<()> {
        let flags = if wants_write { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
        Ok(epoll::modify(&self.epoll, source, EventData::new_u64(number), flags)?)
    }

    /// Stops watching; closing a descriptor does so too.
    pub(super) fn remove(&self, source: impl AsFd) {
        let _ = epoll::delete(&self.epoll, source);
    }

    /// Waits until something is ready or the time is over; `None` waits for ever.
    pub(super) fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ready>) {
        ready.clear();
        let timeout = timeout.map(|timeout| Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        });
        let mut events = [MaybeUninit::<Event>::uninit(); EVENTS_MAX];
        // An interrupted wait is a wait that found nothing.
        let Ok((events, _)) = epoll::wait(&self.epoll, &mut events, timeout.as_ref()) else {
            return;
        };
        let failed = EventFlags::ERR | EventFlags::HUP;
        ready.extend(events.iter().map(|event| {
            let flags = event.flags;
            Ready {
                number: event.data.u64(),
                readable: flags.intersects(EventFlags::IN | failed),
                writable: flags.intersects(EventFlags::OUT | failed),
            }
        }));
    }
}
