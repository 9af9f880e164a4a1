//! The last messages of all calls, so that the ladder of one can be drawn when it dies of a bug.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;

use crate::base::Tick;
use crate::call::record::Heading;
use crate::sip::{self, Flow, Ladder, Message};

/// Messages that are remembered; older ones are forgotten.
const MESSAGES_MAX: usize = 256;
/// Bytes that there is room for; older messages are forgotten.
const BYTES_MAX: usize = 256 * 1024;
/// Messages that are looked through for those of a new call.
const LOOK_BACK: usize = 64;

#[derive(Debug)]
struct Remembered {
    at: Tick,
    heading: Heading,
    flow: Flow,
    /// The Call-ID, hashed: a new call looks through many messages for its own.
    call: u64,
    /// Where its bytes are.
    place: Range<usize>,
}

/// The messages that came in and went out last, oldest first.
#[derive(Debug, Default)]
pub(super) struct Recent {
    now: Tick,
    /// Whether the input that is being handled is a message.
    is_heard: bool,
    messages: VecDeque<Remembered>,
    /// Their bytes, one after another and again from the front: they come and go with every call, and
    /// in places of their own the last ones would keep the memory of a whole burst.
    bytes: Vec<u8>,
    /// Behind the bytes of the last message.
    end: usize,
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
        if bytes.is_empty() || bytes.len() > BYTES_MAX {
            return;
        }
        self.is_heard |= heading == Heading::In;
        let call = hashed(call_id.unwrap_or_default());
        let (at, place) = (self.now, self.write(bytes));
        if self.messages.len() == MESSAGES_MAX {
            self.messages.pop_front();
        }
        self.messages.push_back(Remembered { at, heading, flow, call, place });
    }

    /// Writes the bytes of a message over those of the oldest.
    fn write(&mut self, bytes: &[u8]) -> Range<usize> {
        let behind = self.end;
        let start = if behind + bytes.len() > BYTES_MAX { 0 } else { behind };
        let place = start..start + bytes.len();
        // Those behind the end are of the last round, and older than those at the front.
        while self.messages.front().is_some_and(|oldest| {
            let is_left_out = start < behind && oldest.place.start >= behind;
            let is_overwritten = oldest.place.start < place.end && place.start < oldest.place.end;
            is_left_out || is_overwritten
        }) {
            self.messages.pop_front();
        }
        if self.bytes.len() < place.end {
            self.bytes.reserve_exact(BYTES_MAX - self.bytes.len());
            self.bytes.resize(place.end, 0);
        }
        self.bytes[place.clone()].copy_from_slice(bytes);
        self.end = place.end;
        place
    }

    /// The message that came in last.
    pub(super) fn last_in(&self) -> Option<(Flow, &[u8])> {
        let mut latest = self.messages.iter().rev();
        let last = latest.find(|one| one.heading == Heading::In)?;
        Some((last.flow, &self.bytes[last.place.clone()]))
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
        its.map(|one| (one.at, one.heading, &self.bytes[one.place.clone()]))
            .filter(move |(_, _, bytes)| sip::call_id(bytes) == Some(call_id))
    }

    /// What is remembered of this call, as a ladder.
    pub(super) fn ladder(&self, call_id: &str) -> String {
        let mut ladder = Ladder::new(&["peer", "ringback"]);
        for Remembered { at, heading, place, .. } in &self.messages {
            let bytes = &self.bytes[place.clone()];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::Transport;

    /// Of messages of many sizes the last ones are remembered, byte for byte and without a gap.
    #[test]
    fn the_last_messages_are_whole() {
        let address = "127.0.0.1:5060".parse().unwrap();
        let flow =
            Flow { transport: Transport::Udp, local: address, remote: address, connection: 0 };
        let mut recent = Recent::default();
        let mut said: Vec<Vec<u8>> = Vec::new();
        let mut kept_after = |length: usize| {
            said.push(vec![said.len() as u8; length]);
            recent.push(Heading::In, flow, None, &said[said.len() - 1]);
            let kept = recent.messages.iter().map(|one| &recent.bytes[one.place.clone()]);
            let kept: Vec<_> = kept.collect();
            assert!(kept == said[said.len() - kept.len()..], "{} of {}", kept.len(), said.len());
            assert!(kept.len() <= MESSAGES_MAX && recent.bytes.capacity() <= BYTES_MAX);
            assert!(recent.messages.capacity() <= MESSAGES_MAX, "the table has no room to spare");
            assert!(recent.last_in() == Some((flow, kept[kept.len() - 1])));
            let bytes: usize = kept.iter().map(|bytes| bytes.len()).sum();
            (kept.len(), bytes)
        };
        for number in 0..5000 {
            // Only what is next to be overwritten may be forgotten too.
            let (kept, bytes) = kept_after(1 + number * 7919 % 4000);
            assert!(kept == number + 1 || bytes > BYTES_MAX - 3 * 4001, "{number}: {kept}");
        }
        assert_eq!(kept_after(BYTES_MAX).0, 1);
        for number in 0..2000 {
            assert_eq!(kept_after(100).0, MESSAGES_MAX.min(number + 1));
        }
    }
}
