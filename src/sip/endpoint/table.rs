//! The transactions of an endpoint: found by key in one look-up, timed by one timer each.

use std::collections::{BTreeSet, HashMap};
use std::hash::{BuildHasherDefault, Hash, Hasher};
use std::sync::Arc;

use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::types::{CloseOutId, DialogId, RequestId, TransactionId};
use crate::base::{Armed, Rng, Slab, Tick, Timers, hexadecimal, take_out};
use crate::sip::transaction::{Client, InviteClient, InviteServer, Server, Timing};
use crate::sip::transport::{Flow, Transport};

/// Answers of one INVITE, from different forks, whose ACK is kept; further forks get none.
pub(super) const FORKS_MAX: usize = 8;

/// 128 bits that stand for a key of any length. Keyed by a seed that no peer knows, so that keys
/// which collide cannot be made; by chance it takes 2^64 of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key(u64, u64);

impl Key {
    /// As a tag: a copy of a request gets the same one without state, and nobody can guess it
    /// (RFC 3261 §19.3).
    pub(super) fn tag(self) -> String {
        hexadecimal(self.0).into_iter().map(char::from).collect()
    }
}

/// Makes [`Key`]s.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys(u64, u64);

impl Keys {
    pub(super) const fn new(rng: &mut Rng) -> Self {
        Self(rng.next_u64(), rng.next_u64())
    }

    /// The key of these parts, in this order.
    pub(super) fn of(self, parts: &[&[u8]]) -> Key {
        let mut hasher = SipHasher13::new_with_keys(self.0, self.1);
        for part in parts {
            hasher.write_usize(part.len());
            hasher.write(part);
        }
        let hash = hasher.finish128();
        Key(hash.h1, hash.h2)
    }
}

/// A map by [`Key`]; the keys are hashes already.
pub(super) type ByKey<V> = HashMap<Key, V, BuildHasherDefault<AsItIs>>;

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0);
    }
}

/// What is hashed already, as it is.
#[derive(Debug, Default)]
pub(super) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("a key is hashed by its first half");
    }
}

/// One transaction with what it may have to send again.
#[derive(Debug)]
pub struct Entry {
    /// Where its requests, or its responses, go.
    pub(super) flow: Flow,
    pub(super) key: Key,
    pub(super) role: Role,
    armed: Option<Armed>,
}

/// Which of the four machines, and for whom.
#[derive(Debug)]
pub(super) enum Role {
    InviteClient {
        machine: InviteClient,
        request: Arc<[u8]>,
        /// The ACK of each final response so far, by To tag; a failure has one for all tags.
        acks: Vec<(Box<str>, Flow, Arc<[u8]>)>,
        /// The last CSeq number used in any early dialog that it made. All forks share it: a number
        /// may be skipped, but never comes twice (RFC 3261 §12.2.1.1).
        cseq: u32,
        purpose: Purpose,
    },
    Client {
        machine: Client,
        request: Arc<[u8]>,
        purpose: Purpose,
    },
    InviteServer {
        machine: InviteServer,
        /// What the answer is made from; empty after the final one.
        request: Arc<[u8]>,
        /// The last answer, until its ACK comes.
        response: Option<Arc<[u8]>>,
        dialog: DialogId,
        /// The number that its ACK will carry.
        cseq: u32,
        /// See [`Table::merged`].
        merged: Option<Key>,
    },
    Server {
        machine: Server,
        /// What the answer is made from; empty after the final one.
        request: Arc<[u8]>,
        response: Option<Arc<[u8]>>,
        merged: Option<Key>,
        /// The dialog that asked its user, when the request was an offer.
        dialog: Option<DialogId>,
    },
}

/// Who waits for the outcome of a request of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A dialog, for its first INVITE.
    Begin(DialogId),
    /// A dialog, for its re-INVITE or UPDATE.
    Offer(DialogId),
    /// A dialog, for the UPDATE that refreshes its session.
    Refresh(DialogId),
    /// A dialog that ends when its BYE does.
    Bye(DialogId),
    /// The user, by `Event::Response`.
    Ask(RequestId),
    /// A call of an earlier process that is taken back, and which part of it.
    CloseOut(CloseOutId, u8),
    /// Nobody.
    Nothing,
}

impl Role {
    fn poll_timeout(&self) -> Option<Tick> {
        match self {
            Self::InviteClient { machine, .. } => machine.poll_timeout(),
            Self::Client { machine, .. } => machine.poll_timeout(),
            Self::InviteServer { machine, .. } => machine.poll_timeout(),
            Self::Server { machine, .. } => machine.poll_timeout(),
        }
    }

    /// The ACK of our answer has come, which nobody wants again.
    pub(super) fn handle_ack(&mut self, transport: Transport, timing: &Timing, now: Tick) {
        if let Self::InviteServer { machine, response, .. } = self
            && machine.handle_ack(transport, timing, now)
        {
            *response = None;
        }
    }

    const fn merged(&self) -> Option<Key> {
        match self {
            Self::InviteServer { merged, .. } | Self::Server { merged, .. } => *merged,
            Self::InviteClient { .. } | Self::Client { .. } => None,
        }
    }
}

/// All transactions of one endpoint.
#[derive(Debug)]
pub(super) struct Table {
    entries: Slab<Entry>,
    by_key: ByKey<TransactionId>,
    /// Requests without To tag by From tag, Call-ID and CSeq: the same one on another path is
    /// merged, not served twice (RFC 3261 §8.2.2.2).
    merged: ByKey<TransactionId>,
    by_connection: BTreeSet<(u64, TransactionId)>,
    timers: Timers<TransactionId>,
    last_due: Option<TransactionId>,
    beginnings_max: usize,
}

impl Table {
    /// A table that takes no new requests beyond `beginnings_max`, and twice as many in all:
    /// what began can always be ended.
    pub(super) fn with_max(beginnings_max: usize) -> Self {
        Self {
            entries: Slab::with_max(beginnings_max.saturating_mul(2)),
            by_key: ByKey::default(),
            merged: ByKey::default(),
            by_connection: BTreeSet::new(),
            timers: Timers::new(),
            last_due: None,
            beginnings_max,
        }
    }

    /// Whether requests that begin something are to be refused.
    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= self.beginnings_max
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn timers(&self) -> usize {
        self.timers.len()
    }

    /// Takes a transaction in and arms its timer; `None` when even the reserve is used up.
    pub(super) fn insert(&mut self, key: Key, flow: Flow, role: Role) -> Option<TransactionId> {
        let merged = role.merged();
        let id = self.entries.insert(Entry { flow, key, role, armed: None })?;
        self.by_key.insert(key, id);
        if let Some(merged) = merged {
            self.merged.insert(merged, id);
        }
        if flow.connection != 0 {
            self.by_connection.insert((flow.connection, id));
        }
        self.rearm(id);
        Some(id)
    }

    pub(super) fn find(&self, key: Key) -> Option<TransactionId> {
        self.by_key.get(&key).copied()
    }

    pub(super) fn is_merged(&self, merged: Key) -> bool {
        self.merged.contains_key(&merged)
    }

    pub(super) fn get(&self, id: TransactionId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(super) fn get_mut(&mut self, id: TransactionId) -> Option<&mut Entry> {
        self.entries.get_mut(id)
    }

    /// Moves the timer to where the machine wants it; forgets a machine that is over.
    pub(super) fn rearm(&mut self, id: TransactionId) {
        let Some(entry) = self.entries.get_mut(id) else { return };
        match entry.role.poll_timeout() {
            Some(at) if entry.armed.is_some_and(|armed| armed.at() == at) => {}
            Some(at) => {
                self.timers.clear_slot(&mut entry.armed);
                entry.armed = Some(self.timers.arm(at, id));
            }
            None => self.remove(id),
        }
    }

    /// Forgets a transaction.
    pub(super) fn remove(&mut self, id: TransactionId) {
        let Some(mut entry) = self.entries.remove(id) else { return };
        self.timers.clear_slot(&mut entry.armed);
        // A key may have passed to a younger transaction, such as a peer's that reuses branches.
        if self.by_key.get(&entry.key) == Some(&id) {
            take_out(&mut self.by_key, &entry.key);
        }
        if let Some(merged) = entry.role.merged() {
            take_out(&mut self.merged, &merged);
        }
        self.by_connection.remove(&(entry.flow.connection, id));
    }

    /// The next transaction whose timer is due.
    pub(super) fn take_due(&mut self, now: Tick) -> Option<TransactionId> {
        let id = self.timers.take_due(now)?;
        self.last_due = Some(id);
        if let Some(entry) = self.entries.get_mut(id) {
            entry.armed = None;
        }
        Some(id)
    }

    /// The transaction that [`Self::take_due`] gave last.
    pub(super) const fn last_due(&self) -> Option<TransactionId> {
        self.last_due
    }

    /// Every transaction, in order of place.
    pub(super) fn ids(&self) -> Vec<TransactionId> {
        self.entries.iter().map(|(id, _)| id).collect()
    }

    pub(super) fn next_timeout(&self) -> Option<Tick> {
        self.timers.next()
    }

    /// The transactions whose timer is due.
    #[cfg(test)]
    pub(super) fn due(&self, now: Tick) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter().map(|(_, entry)| entry);
        entries.filter(move |entry| entry.armed.is_some_and(|armed| armed.at() <= now))
    }

    /// The transactions that live on one connection.
    pub(super) fn on_connection(&self, connection: u64) -> Vec<TransactionId> {
        let first = (connection, TransactionId::from_u64(0));
        let last = (connection, TransactionId::from_u64(u64::MAX));
        self.by_connection.range(first..=last).map(|(_, id)| *id).collect()
    }
}
