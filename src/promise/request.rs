//! Requests from outside that make a promise, known again by their keys (A6).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::record::Record;
use super::types::{DAY, PromiseId};

/// Keys that are remembered. Beyond it those of ended promises go that are older than a day; when
/// there are none, nothing more is requested.
pub const KEYS_MAX: usize = 100_000;

/// The key that whoever asks has chosen: 1 to 64 visible characters of ASCII.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RequestKey(String);

impl RequestKey {
    /// Such a text.
    pub fn parse(text: &str) -> Option<Self> {
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
        ((1..=64).contains(&text.len()) && is_visible).then(|| Self(text.to_owned()))
    }
}

/// What a request is known by, should it come again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keyed {
    /// The key.
    pub key: RequestKey,
    /// What the arguments were, from [`super::Book::digest`].
    pub digest: String,
}

/// The answer to a request, the first time and each time that it comes again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requested {
    /// The promise; when the request comes again it may have ended.
    pub promise: PromiseId,
    /// The record that must be on disk before anybody is told.
    pub recorded: u64,
    /// Whether the number had a promise in this queue already.
    pub is_merged: bool,
    /// Whether the request has come before.
    pub is_repeated: bool,
}

/// The keys of the journal, at most [`KEYS_MAX`].
#[derive(Debug, Default)]
pub(super) struct Requests {
    by_key: BTreeMap<RequestKey, Kept>,
    /// Oldest first, by the number of their record.
    by_age: BTreeMap<u64, RequestKey>,
}

#[derive(Debug)]
struct Kept {
    digest: String,
    promise: PromiseId,
    recorded: u64,
    is_merged: bool,
    at_ms: u64,
}

/// The key was used with other arguments.
pub(super) struct OtherArguments;

impl Requests {
    /// What an earlier request with this key came to.
    pub(super) fn find(&self, keyed: &Keyed) -> Result<Option<Requested>, OtherArguments> {
        let Some(kept) = self.by_key.get(&keyed.key) else { return Ok(None) };
        if kept.digest != keyed.digest {
            return Err(OtherArguments);
        }
        let &Kept { promise, recorded, is_merged, .. } = kept;
        Ok(Some(Requested { promise, recorded, is_merged, is_repeated: true }))
    }

    /// Remembers the key of a record, if it has one.
    pub(super) fn note(&mut self, recorded: u64, record: &Record) {
        let (request, is_merged) = match record {
            Record::Promised { request: Some(request), .. } => (request, false),
            Record::Merged { request, .. } => (request, true),
            Record::Promised { request: None, .. }
            | Record::AttemptPlanned { .. }
            | Record::AttemptRinging { .. }
            | Record::AttemptAnswered { .. }
            | Record::AttemptEnded { .. }
            | Record::Ended { .. } => return,
        };
        let Keyed { key, digest } = request.clone();
        let (promise, at_ms) = (record.promise(), record.at_ms());
        self.by_age.insert(recorded, key.clone());
        self.by_key.insert(key, Kept { digest, promise, recorded, is_merged, at_ms });
    }

    /// Whether there is room for one more key, after one that is no longer needed has gone.
    pub(super) fn make_room(
        &mut self,
        keys_max: usize,
        now_ms: u64,
        is_open: impl Fn(PromiseId) -> bool,
    ) -> bool {
        if self.by_key.len() < keys_max {
            return true;
        }
        let oldest = now_ms.saturating_sub(DAY.as_millis() as u64);
        let found = self.by_age.iter().find(|(_, key)| {
            let kept = self.by_key.get(*key);
            kept.is_none_or(|kept| kept.at_ms < oldest && !is_open(kept.promise))
        });
        let Some(recorded) = found.map(|(recorded, _)| *recorded) else { return false };
        if let Some(key) = self.by_age.remove(&recorded) {
            self.by_key.remove(&key);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A6: a key is kept for a day, and for as long as its promise is open.
    #[test]
    fn a_key_goes_when_it_is_old_and_its_promise_has_ended() {
        let mut requests = Requests::default();
        let keyed = |key: &str| {
            let key = RequestKey::parse(key).unwrap();
            Keyed { key, digest: "same".to_owned() }
        };
        for (number, key) in [(1, "open"), (2, "ended"), (3, "young")] {
            let at_ms = if key == "young" { 2000 } else { 0 };
            let (promise, request) = (PromiseId(number), keyed(key));
            let record = Record::Merged { promise, request, override_hours: None, at_ms };
            requests.note(number, &record);
        }
        let day = DAY.as_millis() as u64;
        let is_open = |promise| promise == PromiseId(1);
        assert!(requests.make_room(4, day + 1, is_open), "there is room");
        assert!(!requests.make_room(3, day - 1, is_open), "all are needed");
        assert!(requests.make_room(3, day + 1, is_open));
        let is_known = |key| requests.find(&keyed(key)).ok().flatten().is_some();
        assert_eq!(["open", "ended", "young"].map(is_known), [true, false, true]);
    }
}
