//! What is written down: one line of JSON for each step that must outlive the process.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::derive::Secret;
use super::request::Keyed;
use super::types::{End, Outcome, Place, PromiseId};

/// One step of one promise. Times are milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Record {
    /// A promise was made.
    Promised {
        /// The promise.
        promise: PromiseId,
        /// The owner's number of the queue.
        queue: u64,
        /// The number to call back.
        number: String,
        /// The name that agents see.
        name: Option<String>,
        /// The trunk to leave by.
        trunk: String,
        /// The place in the queue.
        place: Place,
        /// When it was made.
        made_ms: u64,
        /// When it ends by itself.
        expires_ms: u64,
        /// The request from outside that made it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        request: Option<Keyed>,
        /// Why it may be kept outside the hours of its queue.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        override_hours: Option<String>,
    },
    /// A request from outside found the promise that its number had.
    Merged {
        /// The promise.
        promise: PromiseId,
        /// The request.
        request: Keyed,
        /// Why it may be kept outside the hours of its queue from now on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        override_hours: Option<String>,
        /// When.
        at_ms: u64,
    },
    /// An attempt is about to be made. No INVITE leaves before this is on disk.
    AttemptPlanned {
        /// The promise.
        promise: PromiseId,
        /// The fence.
        attempt: u32,
        /// Where the INVITE goes, in the owner's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        way: Option<String>,
        /// When.
        at_ms: u64,
    },
    /// The attempt has found somebody: the phone rings.
    AttemptRinging {
        /// The promise.
        promise: PromiseId,
        /// The fence.
        attempt: u32,
        /// Who rings there, in the owner's words.
        far_side: String,
        /// When.
        at_ms: u64,
    },
    /// The customer has answered. No agent is attached before this is on disk.
    AttemptAnswered {
        /// The promise.
        promise: PromiseId,
        /// The fence.
        attempt: u32,
        /// Who has answered there, in the owner's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        far_side: Option<String>,
        /// When.
        at_ms: u64,
    },
    /// The attempt is over.
    AttemptEnded {
        /// The promise.
        promise: PromiseId,
        /// The fence.
        attempt: u32,
        /// How.
        outcome: Outcome,
        /// What follows.
        next: Next,
        /// When.
        at_ms: u64,
    },
    /// The promise ended without an attempt ending it.
    Ended {
        /// The promise.
        promise: PromiseId,
        /// How.
        end: End,
        /// When.
        at_ms: u64,
    },
}

/// What follows on an attempt; in one record with its end, so that no crash comes between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// Another attempt, not before `due_ms`.
    Armed {
        /// Milliseconds since the Unix epoch.
        due_ms: u64,
    },
    /// The customer phoned in again.
    Live,
    /// Nothing.
    Ended(End),
}

/// What a store knows when the process starts: all that [`super::Book::restore`] needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    /// Every record of every promise that has not ended, or ended within [`super::REST_MAX`], by
    /// sequence number.
    pub records: Vec<(u64, Record)>,
    /// Records that carry the key of a request, of ended promises too.
    pub requests: Vec<(u64, Record)>,
    /// The greatest sequence number ever written.
    pub last_sequence: u64,
    /// The greatest promise ever made.
    pub last_promise: u64,
    /// Promises of the last day, ended ones too, for limits by the day.
    pub made: Vec<Made>,
    /// What identifiers derive from; the same for the life of the store.
    pub secret: Secret,
}

impl Journal {
    /// Nothing was ever promised.
    pub const fn empty(secret: Secret) -> Self {
        Self {
            records: Vec::new(),
            requests: Vec::new(),
            last_sequence: 0,
            last_promise: 0,
            made: Vec::new(),
            secret,
        }
    }
}

/// That a promise was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The owner's number of the queue.
    pub queue: u64,
    /// The number to call back.
    pub number: String,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// The text is no record of this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordError;

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a record of a promise")
    }
}

impl std::error::Error for RecordError {}

impl Record {
    /// Reads what [`Self::print`] wrote.
    pub fn parse(text: &str) -> Result<Self, RecordError> {
        serde_json::from_str(text).map_err(|_| RecordError)
    }

    /// The record as one line of JSON.
    pub fn print(&self) -> String {
        serde_json::to_string(self).expect("a record has string keys and finite numbers only")
    }

    /// The promise that the record is about.
    pub const fn promise(&self) -> PromiseId {
        match self {
            Self::Promised { promise, .. }
            | Self::Merged { promise, .. }
            | Self::AttemptPlanned { promise, .. }
            | Self::AttemptRinging { promise, .. }
            | Self::AttemptAnswered { promise, .. }
            | Self::AttemptEnded { promise, .. }
            | Self::Ended { promise, .. } => *promise,
        }
    }

    /// How the promise ended, when this is its last record.
    pub const fn end(&self) -> Option<End> {
        match self {
            Self::AttemptEnded { next: Next::Ended(end), .. } | Self::Ended { end, .. } => {
                Some(*end)
            }
            Self::AttemptEnded { next: Next::Armed { .. } | Next::Live, .. }
            | Self::Promised { .. }
            | Self::Merged { .. }
            | Self::AttemptPlanned { .. }
            | Self::AttemptRinging { .. }
            | Self::AttemptAnswered { .. } => None,
        }
    }

    /// When it happened.
    pub const fn at_ms(&self) -> u64 {
        match self {
            Self::Promised { made_ms: at_ms, .. }
            | Self::Merged { at_ms, .. }
            | Self::AttemptPlanned { at_ms, .. }
            | Self::AttemptRinging { at_ms, .. }
            | Self::AttemptAnswered { at_ms, .. }
            | Self::AttemptEnded { at_ms, .. }
            | Self::Ended { at_ms, .. } => *at_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_disk_holds_is_read_or_refused(bytes in any::<Vec<u8>>()) {
            let text = String::from_utf8_lossy(&bytes);
            if let Ok(record) = Record::parse(&text) {
                prop_assert_eq!(Record::parse(&record.print()), Ok(record));
            }
        }

        #[test]
        fn what_is_printed_reads_alike(number in ".*", name in any::<Option<String>>(), id in any::<u64>()) {
            let promise = PromiseId(id);
            let place = Place { class: 1, enqueued_us: id, sequence: 3 };
            let trunk = "trunk".to_owned();
            let record = Record::Promised {
                promise, queue: id, number, name, trunk, place, made_ms: id, expires_ms: 5,
                request: None, override_hours: None,
            };
            prop_assert_eq!(Record::parse(&record.print()), Ok(record));
            let next = Next::Armed { due_ms: id };
            let (attempt, outcome) = (4, Outcome::NoAnswer);
            let record = Record::AttemptEnded { promise, attempt, outcome, next, at_ms: 0 };
            prop_assert_eq!(Record::parse(&record.print()), Ok(record));
        }
    }

    /// A journal of a version that knew neither keys nor hours is read, and written alike.
    #[test]
    fn a_row_of_before_is_read() {
        let row = r#"{"kind":"promised","promise":1,"queue":7,"number":"+4930111","name":null,"trunk":"external","place":{"class":1,"enqueued_us":5,"sequence":1},"made_ms":1000,"expires_ms":2000}"#;
        let record = Record::parse(row).unwrap();
        let Record::Promised { request, override_hours, .. } = &record else { panic!("{row}") };
        assert_eq!((request, override_hours), (&None, &None));
        assert_eq!(record.print(), row);
    }

    #[test]
    fn a_row_is_readable() {
        let (promise, next) = (PromiseId(7), Next::Ended(End::Reached));
        let outcome = Outcome::Reached;
        let record = Record::AttemptEnded { promise, attempt: 2, outcome, next, at_ms: 9 };
        assert_eq!(
            record.print(),
            r#"{"kind":"attempt_ended","promise":7,"attempt":2,"outcome":"reached","next":{"ended":"reached"},"at_ms":9}"#
        );
    }
}
