//! The last messages of all calls, so that the ladder of one can be drawn when it dies of a bug.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::base::Tick;
use crate::call::record::Heading;
use crate::sip::{self, Flow, Ladder, Message};

/// Messages that are remembered; older ones are forgotten.
const MESSAGES_MAX: usize = 1024;
/// Bytes of them together; older ones are forgotten.
const BYTES_MAX: usize = 1024 * 1024;
/// Messages that are looked through for those of a new call.
const LOOK_BACK: usize = 64;

#[derive(Debug)]
struct Remembered {
    at: Tick,
    heading: Heading,
    flow: Flow,
    /// The Call-ID, hashed: a new call looks through many messages for its own.
    call: u64,
    bytes: Box<[u8]>,
}

/// The messages that came in and went out last, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    now: Tick,
    /// Whether the input that is being handled is a message.
    is_heard: bool,
    messages: VecDeque<Remembered>,
    bytes: usize,
}

impl Recent {
    /// What comes now is of this time.
    pub(super) const fn begin(&mut self, now: Tick) {
        self.now = now;
        self.is_heard = false;
    }

    /// The Call-ID of the message that is being handled, if it is a message.
    pub(super) fn heard_now(&self) -> Option<String> {
        let (_, bytes) = self.last_in().filter(|_| self.is_heard)?;
        Message::parse(bytes).ok()?.call_id().ok().map(str::to_owned)
    }

    /// Remembers a message, whose Call-ID is known already.
    pub(super) fn push(
        &mut self,
        heading: Heading,
        flow: Flow,
        call_id: Option<&str>,
        bytes: &[u8],
    ) {
        if bytes.len() > BYTES_MAX {
            return;
        }
        self.is_heard |= heading == Heading::In;
        self.bytes += bytes.len();
        let call = hashed(call_id.unwrap_or_default());
        let (at, bytes) = (self.now, Box::from(bytes));
        self.messages.push_back(Remembered { at, heading, flow, call, bytes });
        while self.messages.len() > MESSAGES_MAX || self.bytes > BYTES_MAX {
            let gone = self.messages.pop_front();
            self.bytes -= gone.map_or(0, |gone| gone.bytes.len());
        }
    }

    /// The message that came in last.
    pub(super) fn last_in(&self) -> Option<(Flow, &[u8])> {
        let mut latest = self.messages.iter().rev();
        latest.find(|one| one.heading == Heading::In).map(|one| (one.flow, &*one.bytes))
    }

    /// The time of the input that is being handled.
    pub(super) const fn now(&self) -> Tick {
        self.now
    }

    /// What was said of a call shortly before its leg was made: a challenge, and its INVITE.
    pub(super) fn of_call<'a>(
        &'a self,
        call_id: &str,
    ) -> impl Iterator<Item = (Tick, Heading, &'a [u8])> {
        let first = self.messages.len().saturating_sub(LOOK_BACK);
        let call = hashed(call_id);
        let its = self.messages.range(first..).filter(move |one| one.call == call);
        its.filter(move |one| sip::call_id(&one.bytes) == Some(call_id))
            .map(|one| (one.at, one.heading, &*one.bytes))
    }

    /// What is remembered of this call, as a ladder.
    pub(super) fn ladder(&self, call_id: &str) -> String {
        let mut ladder = Ladder::new(&["peer", "ringback"]);
        for Remembered { at, heading, bytes, .. } in &self.messages {
            let is_its = Message::parse(bytes)
                .is_ok_and(|message| message.call_id().is_ok_and(|its| its == call_id));
            if is_its {
                let (from, to) = match heading {
                    Heading::In => (0, 1),
                    Heading::Out => (1, 0),
                };
                ladder.message(*at, Some(*at), from, to, bytes);
            }
        }
        ladder.render()
    }
}

fn hashed(call_id: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    call_id.hash(&mut hasher);
    hasher.finish()
}
