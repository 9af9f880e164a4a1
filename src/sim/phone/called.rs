//! A phone that is called or answered: it challenges, rings, plays early media, answers or refuses.

use super::*;
use crate::sip::digest::{self, Hash, Signed};
use crate::sip::{Account, Challenger, DigestConfig, Field, Name, Secret, Start, Verdict};

/// What a phone does when it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answering {
    /// Rings at once, and answers after this long.
    After(Duration),
    /// Refuses with this status.
    Refuse(u16),
    /// Rings for this long, then refuses with this status.
    RefuseAfter(Duration, u16),
    /// Lets its sound be heard for this long before the final status, as an announcement of a
    /// network is; 200 answers.
    EarlyMedia(Duration, u16),
    /// Rings for ever.
    Never,
    /// Says 100 and nothing more.
    Silent,
}

/// What a phone that stands for a trunk asks of its callers.
#[derive(Clone, Debug)]
pub struct Challenge {
    /// 401, or 407 as a proxy says it.
    pub status: u16,
    /// What it calls itself.
    pub realm: String,
    /// Who may call.
    pub credentials: Credentials,
    /// How many right proofs it calls stale before one counts.
    pub stale: u32,
}

/// Who stands at the door of a trunk.
#[derive(Debug)]
pub(super) struct Door {
    challenge: Challenge,
    challenger: Challenger,
}

impl Door {
    pub(super) fn new(challenge: Challenge, rng: &mut Rng) -> Self {
        let secret: [u8; 32] = std::array::from_fn(|_| rng.below(256) as u8);
        let digest = DigestConfig {
            secret: Secret(secret),
            hashes: vec![Hash::Md5],
            offers_integrity: false,
        };
        Self { challenge, challenger: Challenger::new(digest) }
    }

    /// The challenges that a request still has to answer; none: it may come in.
    fn meet(&mut self, message: &Message<'_>, from: SocketAddr, now: Tick) -> Vec<String> {
        let Challenge { status, realm, credentials: known, stale } = &mut self.challenge;
        let field = if *status == 407 { Name::ProxyAuthorization } else { Name::Authorization };
        let peer = from.ip();
        let shown = message.fields_of(field).filter_map(Field::text);
        let mut shown = shown.filter_map(digest::Credentials::parse);
        let (Some(shown), Start::Request { method, uri }) = (shown.next(), &message.start) else {
            return self.challenger.challenge(realm, peer, now);
        };
        let is_known = shown.username == known.username;
        let account = Account { realm, password: is_known.then_some(known.password.as_str()) };
        let signed = Signed { method, uri, body: message.body };
        match self.challenger.verify(&shown, account, signed, peer, now) {
            Verdict::Ok if *stale == 0 => Vec::new(),
            Verdict::Ok | Verdict::Stale => {
                *stale = stale.saturating_sub(1);
                self.challenger.challenge_stale(realm, peer, now)
            }
            Verdict::Wrong => self.challenger.challenge(realm, peer, now),
        }
    }
}

impl Phone {
    pub(super) fn on_called(&mut self, dialog: DialogId, request: &[u8], flow: Flow, now: Tick) {
        if self.is_turned_away(dialog, request, flow, now) {
            return;
        }
        if self.call.is_some() {
            return self.endpoint.reject(dialog, 486, None, &[], now);
        }
        let offer = Message::parse(request).map(|message| Arc::from(message.body)).ok();
        let local = self.local();
        let mut call = Call { offer, ..Call::new(dialog, local) };
        let (wait, status) = match self.answering {
            Answering::Refuse(status) => {
                self.tell(PhoneEvent::Refused(status), now);
                return self.endpoint.reject(dialog, status, None, &[], now);
            }
            Answering::Never => (None, 200),
            Answering::Silent => return self.begin(call),
            Answering::After(wait) => (Some(wait), 200),
            Answering::RefuseAfter(wait, status) => (Some(wait), status),
            Answering::EarlyMedia(wait, status) => (Some(wait), status),
        };
        call.final_status = status;
        call.answer_timer = wait.map(|wait| self.timers.arm(now + wait, Wake::Answer(dialog)));
        self.begin(call);
        if matches!(self.answering, Answering::EarlyMedia(..)) {
            self.say_early(dialog, now);
        } else {
            self.endpoint.provisional(dialog, 180, None, now);
        }
    }

    /// A trunk that challenges lets nobody in who has not proven himself.
    fn is_turned_away(&mut self, dialog: DialogId, request: &[u8], flow: Flow, now: Tick) -> bool {
        let (Some(door), Ok(message)) = (&mut self.door, Message::parse(request)) else {
            return false;
        };
        let status = door.challenge.status;
        let name = if status == 407 { "Proxy-Authenticate" } else { "WWW-Authenticate" };
        let values = door.meet(&message, flow.remote, now);
        let headers = values.iter().map(|value| (name, value.as_str())).collect::<Vec<_>>();
        if !headers.is_empty() {
            self.endpoint.reject(dialog, status, None, &headers, now);
        }
        !headers.is_empty()
    }

    fn say_early(&mut self, dialog: DialogId, now: Tick) {
        let Some(call) = &self.call else { return };
        let offer = call.offer.clone().unwrap_or_default();
        let Ok((body, agreed)) = sdp::answer(&offer, &call.local) else { return };
        self.endpoint.provisional(dialog, 183, Some(Body::sdp(body)), now);
        self.agree(Some(agreed), false, now);
    }

    pub(super) fn answer(&mut self, dialog: DialogId, now: Tick) {
        let Some(call) = self.call.as_mut().filter(|call| call.dialog == dialog) else { return };
        call.answer_timer = None;
        if call.final_status != 200 {
            let status = call.final_status;
            return self.endpoint.reject(dialog, status, None, &[], now);
        }
        let answer = match call.offer.take().filter(|offer| !offer.is_empty()) {
            Some(offer) => {
                sdp::answer(&offer, &call.local).map(|(body, agreed)| (body, Some(agreed)))
            }
            None => Ok((sdp::offer(&call.local), None)),
        };
        match answer {
            Ok((body, agreed)) => {
                self.endpoint.accept(dialog, Some(Body::sdp(body)), now);
                self.agree(agreed, true, now);
            }
            Err(unacceptable) => {
                self.endpoint.reject(dialog, unacceptable.status(), None, &[], now);
            }
        }
    }

    /// The other side lets something be heard before it answers.
    pub(super) fn on_early(&mut self, message: &[u8], now: Tick) {
        let Some(call) = self.call.as_ref().filter(|call| !call.is_confirmed) else { return };
        let Ok(message) = Message::parse(message) else { return };
        if message.body.is_empty() || !matches!(call.ack, Ack::Empty) {
            return;
        }
        let agreed = sdp::settle(message.body, &call.local).ok();
        self.agree(agreed, false, now);
    }

    pub(super) fn on_answered(&mut self, message: &[u8], now: Tick) {
        let Some(call) = &mut self.call else { return };
        let Ok(message) = Message::parse(message) else { return };
        if message.body.is_empty() && call.agreed.is_some() {
            // A reliable provisional response has answered already (RFC 3261 §13.2.1).
            return self.agree(self.call.as_ref().and_then(|call| call.agreed), true, now);
        }
        let agreed = match call.ack {
            Ack::Awaited => sdp::answer(message.body, &call.local).map(|(answer, agreed)| {
                call.ack = Ack::Empty;
                self.endpoint.acknowledge(call.dialog, Some(Body::sdp(answer)));
                agreed
            }),
            Ack::Empty => sdp::settle(message.body, &call.local),
        };
        self.agree(agreed.ok(), true, now);
    }
}
