//! Promises that somebody outside asks for: who is called back, by what trunk, and at what place.

use std::fmt;

use serde_json::json;

use super::{QueueId, place_of, queue_key};
use crate::base::Tick;
use crate::call::guard::{Denied, is_dialable};
use crate::call::switch::Switch;
use crate::dispatch::Placement;
use crate::promise::{Keyed, Refused, RequestKey, Requested, Wanted};

/// Who is to be called back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromiseRequest {
    /// What the request is known by, should it come again.
    pub key: RequestKey,
    /// The queue by its ref, or as `WORKFLOW/REF`.
    pub queue: String,
    /// The number to call.
    pub number: String,
    /// The name that agents see.
    pub name: Option<String>,
    /// The ref of the trunk that the call leaves by; the one that may dial, when only one may.
    pub trunk: Option<String>,
    /// Why the customer may be called outside the hours of the queue.
    pub override_hours: Option<String>,
}

/// A promise that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PromiseMade {
    /// Its number.
    pub promise: u64,
    /// The record that must be on disk before anybody is told.
    pub recorded: u64,
    /// Whether the number had a promise in this queue already.
    pub is_merged: bool,
    /// Whether the request has come before; the promise may have ended meanwhile.
    pub is_repeated: bool,
}

/// Why nothing was promised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotPromised {
    /// No active queue has this name; these are there.
    UnknownQueue(Vec<String>),
    /// Queues of several workflows have this name.
    QueueNotUnique(Vec<String>),
    /// Nobody could dial that.
    BadNumber,
    /// The queue does not call this number, or nobody does.
    NumberForbidden,
    /// The workflow has no such trunk; these are there.
    UnknownTrunk(Vec<String>),
    /// Several trunks could dial the number.
    TrunkNotUnique(Vec<String>),
    /// No trunk may dial the number; why not.
    Denied(Denied),
    /// The book does not take it.
    Refused(Refused),
}

impl fmt::Display for NotPromised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownQueue(known) => write!(f, "no such queue: there are {}", list(known)),
            Self::QueueNotUnique(names) => {
                write!(f, "several workflows have this queue: write one of {}", list(names))
            }
            Self::BadNumber => {
                f.write_str("the number cannot be dialled: write 2 to 32 digits, as +4930123456")
            }
            Self::NumberForbidden => f.write_str(
                "the number is not called back: see allow and deny under [queue.REF], and \
                 numbers.blocked, in ringback.toml",
            ),
            Self::UnknownTrunk(known) if known.is_empty() => {
                f.write_str("the workflow of the queue has no trunk to call by")
            }
            Self::UnknownTrunk(known) => {
                write!(f, "the workflow of the queue has no such trunk: there are {}", list(known))
            }
            Self::TrunkNotUnique(names) => {
                write!(
                    f,
                    "several trunks could dial the number: name `trunk`, one of {}",
                    list(names)
                )
            }
            Self::Denied(why) => why.fmt(f),
            Self::Refused(refused) => refused.fmt(f),
        }
    }
}

impl std::error::Error for NotPromised {}

fn list(names: &[String]) -> String {
    names.join(", ")
}

impl Switch {
    /// Promises a callback as if the customer had joined the queue now and hung up. A request that
    /// comes again is answered alike, whatever has become of queue and promise (A6).
    pub fn request_promise(
        &mut self,
        request: &PromiseRequest,
        now: Tick,
    ) -> Result<PromiseMade, NotPromised> {
        let PromiseRequest { key, queue, number, name, trunk, override_hours } = request;
        let arguments = json!([queue, number, name, trunk, override_hours]).to_string();
        let digest = self.promises.book.digest(&arguments);
        let keyed = Keyed { key: key.clone(), digest };
        let known = self.promises.book.requested(&keyed).map_err(NotPromised::Refused)?;
        let requested = match known {
            Some(requested) => requested,
            None => {
                let wanted = self.wanted_by(request, now)?;
                let made = self.promises.book.request(wanted, keyed, now);
                made.map_err(NotPromised::Refused)?
            }
        };
        self.drain_promises(now);
        let Requested { promise, recorded, is_merged, is_repeated } = requested;
        Ok(PromiseMade { promise: promise.0, recorded, is_merged, is_repeated })
    }

    fn wanted_by(&mut self, request: &PromiseRequest, now: Tick) -> Result<Wanted, NotPromised> {
        let PromiseRequest { queue, number, name, trunk, override_hours, .. } = request;
        let id = self.queue_named(queue)?;
        if !is_dialable(number) {
            return Err(NotPromised::BadNumber);
        }
        if !self.may_call_back(id, number) {
            return Err(NotPromised::NumberForbidden);
        }
        let queue = &self.queues.queues[id.0 as usize];
        let trunk = self.trunk_for(queue.workflow, number, trunk.as_deref())?;
        let queue = queue_key(queue.graph.name(), &queue.reference);
        let place = place_of(self.queues.dispatcher.next_key(Placement::Back, now));
        let (number, name) = (number.clone(), name.clone());
        let override_hours = override_hours.clone();
        Ok(Wanted { queue, number, name, trunk, place, override_hours })
    }

    fn queue_named(&self, name: &str) -> Result<QueueId, NotPromised> {
        let active = self.queues.queues.iter().enumerate().filter(|(_, queue)| queue.is_active);
        let whole = active.map(|(place, queue)| {
            let whole = format!("{}/{}", queue.graph.name(), queue.reference);
            (QueueId(place as u64), &queue.reference, whole)
        });
        let all = whole.collect::<Vec<_>>();
        let is_it = |whole: &String, reference: &String| whole == name || reference == name;
        let found = all.iter().filter(|(_, reference, whole)| is_it(whole, reference));
        match found.collect::<Vec<_>>()[..] {
            [(id, ..)] => Ok(*id),
            [] => {
                let known = all.iter().map(|(_, reference, _)| (*reference).clone());
                Err(NotPromised::UnknownQueue(known.collect()))
            }
            ref several => {
                let names = several.iter().map(|(.., whole)| whole.clone());
                Err(NotPromised::QueueNotUnique(names.collect()))
            }
        }
    }

    /// The trunk that a promised call leaves by.
    fn trunk_for(
        &self,
        workflow: usize,
        number: &str,
        named: Option<&str>,
    ) -> Result<String, NotPromised> {
        let trunks = self.triggers.iter().filter(|one| one.workflow == workflow && one.is_trunk());
        let names = trunks.map(|trunk| trunk.reference.clone()).collect::<Vec<_>>();
        let is_meant = |trunk: &&String| named.is_none_or(|named| named == trunk.as_str());
        let judge = |trunk: &&String| {
            let guard = self.trunk_guard(trunk);
            // Nothing of this machine is asked for: the number is promised.
            guard.judge(number, &self.config.premium, true, false)
        };
        let meant = names.iter().filter(is_meant).collect::<Vec<_>>();
        let may = meant.iter().filter(|trunk| judge(trunk).is_ok()).collect::<Vec<_>>();
        match (&may[..], meant.first()) {
            ([one], _) => Ok((**one).clone()),
            ([], Some(first)) => {
                let why = judge(first).err().unwrap_or(Denied::NotAllowed);
                Err(NotPromised::Denied(why))
            }
            ([], None) => Err(NotPromised::UnknownTrunk(names)),
            (several, _) => {
                let names = several.iter().map(|trunk| (**trunk).clone());
                Err(NotPromised::TrunkNotUnique(names.collect()))
            }
        }
    }
}
