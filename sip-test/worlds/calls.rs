//! The calls of a world, as the wire showed them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ringback::base::Tick;
use ringback::sim::Seen;
use ringback::sip::{Message, Method, Start};

use super::SERVER;

/// A leg that is answered for less than this was not used.
const HELD: Duration = Duration::from_secs(3);

/// One call on the wire, as its server sees it.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) from: usize,
    pub(super) to: usize,
    /// The number that is called; for agents, the number that is shown to them.
    pub(super) number: String,
    pub(super) began: Tick,
    pub(super) answered: Option<Tick>,
    pub(super) ended: Tick,
}

impl Call {
    pub(super) const fn is_dial_back(&self) -> bool {
        self.from == SERVER && self.to == 0
    }

    pub(super) const fn is_to_agent(&self) -> bool {
        self.from == SERVER && self.to > SERVER
    }

    pub(super) fn is_held(&self) -> bool {
        self.answered.is_some_and(|answered| answered + HELD < self.ended)
    }
}

/// Every call of a world by its Call-ID, but those of which no INVITE has arrived: nothing rang.
pub(super) struct Calls {
    pub(super) all: BTreeMap<String, Call>,
}

impl Calls {
    pub(super) fn read(messages: &[Seen], crashes: &[Tick]) -> Self {
        let mut all = BTreeMap::<String, Call>::new();
        let mut arrived = BTreeSet::new();
        for seen in messages {
            let Ok(message) = Message::parse(&seen.bytes) else { continue };
            let Ok(call_id) = message.call_id() else { continue };
            if message.method() == Some(&Method::Invite) && seen.arrived.is_some() {
                arrived.insert(call_id.to_owned());
            }
            let by_server = seen.from == SERVER;
            // What the server sends counts when it is sent, and what it is sent when it arrives.
            let Some(at) = (if by_server { Some(seen.sent) } else { seen.arrived }) else {
                continue;
            };
            if let Start::Request { method: Method::Invite, .. } = &message.start
                && !all.contains_key(call_id)
            {
                let user = |uri: Option<ringback::sip::Uri<'_>>| {
                    uri.and_then(|uri| uri.user_decoded().map(|user| user.into_owned()))
                };
                let is_dial_back = by_server && seen.to == 0;
                let called =
                    message.to().ok().and_then(|to| user(ringback::sip::Uri::parse(to.uri_text)));
                let calling = message
                    .from()
                    .ok()
                    .and_then(|from| user(ringback::sip::Uri::parse(from.uri_text)));
                let number = if is_dial_back { called } else { calling };
                let lives = crashes.iter().find(|crash| **crash >= at);
                let ended = lives.copied().unwrap_or(Tick::from_micros(u64::MAX));
                let call = Call {
                    from: seen.from,
                    to: seen.to,
                    number: number.unwrap_or_default(),
                    began: at,
                    answered: None,
                    ended,
                };
                all.insert(call_id.to_owned(), call);
                continue;
            }
            let Some(call) = all.get_mut(call_id).filter(|call| at < call.ended) else { continue };
            match &message.start {
                Start::Request { method: Method::Bye | Method::Cancel, .. } => call.ended = at,
                Start::Response { status, .. } => {
                    let is_invite = message.cseq().is_ok_and(|cseq| cseq.method == Method::Invite);
                    match (is_invite, *status) {
                        (true, 200..300) => {
                            call.answered.get_or_insert(at);
                        }
                        // The server challenges an INVITE that proves nothing.
                        (true, 401) if by_server => {}
                        (true, 300..) => call.ended = at,
                        (true, _) | (false, _) => {}
                    }
                }
                Start::Request { .. } => {}
            }
        }
        all.retain(|call_id, _| arrived.contains(call_id));
        Self { all }
    }

    /// Two calls of a kind to one party, or to one number of the exchange, at one time.
    pub(super) fn overlapping(
        &self,
        is_kind: impl Fn(&Call) -> bool,
        what: &str,
    ) -> Option<String> {
        let mut last = BTreeMap::<(usize, &str), &Call>::new();
        let mut calls = self.all.values().filter(|call| is_kind(call)).collect::<Vec<_>>();
        calls.sort_by_key(|call| call.began);
        for call in calls {
            let number = if call.to == 0 { call.number.as_str() } else { "" };
            if let Some(before) = last.insert((call.to, number), call)
                && before.ended > call.began
            {
                return Some(format!("{what}: {before:?} and {call:?}"));
            }
        }
        None
    }

    /// I6: a caller has at most one agent; others who answered in the same moment are let go. An
    /// agent is told when the customer could not be reached, and one of another queue may be dialling
    /// him then.
    pub(super) fn bridged_twice(&self) -> Option<String> {
        let mut held = self.all.values().filter(|call| call.is_to_agent() && call.is_held());
        let second = |one: &Call| {
            self.all.values().find(|other| {
                other.is_to_agent()
                    && other.is_held()
                    && other.number == one.number
                    && other.began > one.began
                    && other.answered < Some(one.ended)
                    && !self.has_let_go(one, other.answered)
            })
        };
        held.find_map(|one| Some(format!("I6: {one:?} and {:?}", second(one)?)))
    }

    /// Whether the customer was dialled for this agent, and that call was over by then.
    fn has_let_go(&self, agent: &Call, by: Option<Tick>) -> bool {
        let mut dials = self.all.values().filter(|call| call.is_dial_back());
        dials.any(|dial| {
            dial.number == agent.number
                && Some(dial.began) >= agent.answered
                && Some(dial.ended) <= by
        })
    }

    /// A10, A11: nobody is dialled whose own call is up.
    pub(super) fn dialled_on_the_line(&self) -> Option<String> {
        let own = || self.all.values().filter(|call| call.from == 0 && call.answered.is_some());
        let mut dials = self.all.values().filter(|call| call.is_dial_back());
        dials.find_map(|dial| {
            let on_line = own().find(|own| {
                own.number == dial.number
                    && own.answered < Some(dial.began)
                    && own.ended > dial.began
            });
            Some(format!("A10: {dial:?} while {:?}", on_line?))
        })
    }
}
