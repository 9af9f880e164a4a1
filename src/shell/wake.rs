//! A bounded channel whose receiver waits on a descriptor, beside its sockets: with
//! [`Poller::add_signal`](super::poller::Poller::add_signal).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::TrySendError;

use rustix::event::{EventfdFlags, eventfd};

use crate::shell::bounded;

/// The sending end; cheap to clone.
#[derive(Debug)]
pub(super) struct Sender<T> {
    values: bounded::Sender<T>,
    shared: Arc<Shared>,
}

/// The receiving end.
#[derive(Debug)]
pub(super) struct Inbox<T> {
    values: bounded::Receiver<T>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    event: OwnedFd,
    is_signalled: AtomicBool,
    /// Whether what is posted wakes the receiver too.
    is_asleep: AtomicBool,
    dropped: AtomicU64,
}

/// A channel for at most `values_max` values.
pub(super) fn channel<T>(values_max: usize) -> io::Result<(Sender<T>, Inbox<T>)> {
    let event = eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
    let (is_signalled, is_asleep) = (AtomicBool::new(false), AtomicBool::new(false));
    let shared = Shared { event, is_signalled, is_asleep, dropped: AtomicU64::new(0) };
    let shared = Arc::new(shared);
    let (sender, receiver) = bounded::channel(values_max);
    Ok((Sender { values: sender, shared: shared.clone() }, Inbox { values: receiver, shared }))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self { values: self.values.clone(), shared: self.shared.clone() }
    }
}

impl<T> Sender<T> {
    /// Sends a value for a receiver who looks by himself soon; a full channel drops and counts it.
    pub(super) fn post(&self, value: T) {
        if self.values.try_send(value).is_err() {
            self.shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
        if self.shared.is_asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// Sends a value and wakes the receiver; a full channel drops and counts it.
    pub(super) fn send(&self, value: T) {
        self.post(value);
        self.wake();
    }

    /// Sends a value and wakes the receiver, or gives the value back: the channel is full.
    pub(super) fn offer(&self, value: T) -> Result<(), T> {
        let offered = self.values.try_send(value);
        self.wake();
        offered.map_err(|(TrySendError::Full(value) | TrySendError::Disconnected(value))| value)
    }

    /// Wakes the receiver, for what was posted.
    pub(super) fn wake(&self) {
        // One write wakes for any number of values sent before the receiver looks.
        if !self.shared.is_signalled.swap(true, Ordering::SeqCst) {
            let _ = rustix::io::write(&self.shared.event, &1_u64.to_ne_bytes());
        }
    }
}

impl<T> Inbox<T> {
    /// Clears the signal; values are then taken until there is none. A sender who still sees the
    /// signal has sent before, and one who does not writes again.
    pub(super) fn clear(&self) {
        self.shared.is_signalled.swap(false, Ordering::SeqCst);
    }

    /// Whether what is posted wakes the receiver as well, who does not look by himself soon. Once this
    /// is so, the receiver takes what was posted before.
    pub(super) fn sleep(&self, is_asleep: bool) {
        self.shared.is_asleep.store(is_asleep, Ordering::SeqCst);
    }

    /// The next value.
    pub(super) fn take(&self) -> Option<T> {
        self.values.try_recv().ok()
    }

    /// Values that a full channel has dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl<T> AsFd for Inbox<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_posted_wakes_only_who_is_asleep() {
        let (sender, inbox) = channel(2).unwrap();
        let is_woken = || rustix::io::read(&inbox, &mut [0_u8; 8]).is_ok();
        sender.post(1);
        assert!(!is_woken());
        inbox.sleep(true);
        sender.post(2);
        assert!(is_woken());
        inbox.clear();
        inbox.sleep(false);
        sender.post(3);
        assert!(!is_woken());
    }

    #[test]
    fn a_full_channel_gives_back_what_is_offered() {
        let (sender, inbox) = channel(1).unwrap();
        assert_eq!(sender.offer(1), Ok(()));
        assert_eq!(sender.offer(2), Err(2));
        assert_eq!(inbox.dropped(), 0);
        inbox.clear();
        assert_eq!((inbox.take(), inbox.take()), (Some(1), None));
        assert_eq!(sender.offer(2), Ok(()));
        assert_eq!(inbox.take(), Some(2));
    }
}
