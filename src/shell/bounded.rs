//! A bounded channel of large values: they are boxed, because a channel has all its places from the
//! beginning and each of them comes into use in its turn, however few are taken at a time.

use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TryRecvError, TrySendError};
use std::time::Duration;

/// The sending end; cheap to clone.
#[derive(Debug)]
pub(super) struct Sender<T>(SyncSender<Box<T>>);

/// The receiving end.
#[derive(Debug)]
pub(super) struct Receiver<T>(mpsc::Receiver<Box<T>>);

/// A channel for at most `values_max` values.
pub(super) fn channel<T>(values_max: usize) -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = mpsc::sync_channel(values_max);
    (Sender(sender), Receiver(receiver))
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Sender<T> {
    /// Sends a value unless the channel is full or nobody receives any more.
    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        self.0.try_send(Box::new(value)).map_err(|error| match error {
            TrySendError::Full(value) => TrySendError::Full(*value),
            TrySendError::Disconnected(value) => TrySendError::Disconnected(*value),
        })
    }

    /// Sends a value as soon as there is room; when nobody receives any more, it is gone.
    pub(super) fn send(&self, value: T) {
        let _ = self.0.send(Box::new(value));
    }
}

impl<T> Receiver<T> {
    /// The next value, if there is one.
    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        self.0.try_recv().map(|value| *value)
    }

    /// The next value, waiting for it so long.
    pub(super) fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        self.0.recv_timeout(timeout).map(|value| *value)
    }
}
