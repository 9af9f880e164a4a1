//! Challenges: those to requests of ours are answered once, those of ours leave no state behind.

use std::sync::Arc;

use super::Endpoint;
use super::compose::Reply;
use super::leg::{Attempt, State, Tries};
use super::receive::Answer;
use super::table::Role;
use super::types::{DialogId, TransactionId};
use crate::sip::digest::{self, Challenge, Login, Signed};
use crate::sip::{Field, Message, Name};

impl Endpoint {
    /// The header that answers a challenge, with `attempt` made ready for its next try (RFC 3261
    /// §22.2: same Call-ID and tag, next number); `None` when the response is the outcome: no
    /// credentials, none that fit, or they were refused already.
    pub(super) fn answer_challenge(
        &mut self,
        attempt: &mut Attempt,
        answer: &Answer<'_>,
    ) -> Option<(Name, String)> {
        let (asks, answers) = match answer.status {
            401 => (Name::WwwAuthenticate, Name::Authorization),
            407 => (Name::ProxyAuthenticate, Name::ProxyAuthorization),
            _ => return None,
        };
        let credentials = attempt.outgoing.credentials.as_ref()?;
        // Whoever else asks learns nothing, not even a proof to guess passwords with.
        let is_meant = |text: &&str| {
            let realm = credentials.realm.as_deref();
            realm.is_none_or(|realm| Challenge::parse(text).is_some_and(|one| one.realm == realm))
        };
        let challenges = || answer.message.fields_of(asks).filter_map(Field::text).filter(is_meant);
        let is_stale = challenges().filter_map(Challenge::parse).any(|one| one.is_stale);
        let tries = attempt.tries.after(is_stale)?;
        let cnonce = format!("{:016x}", self.rng.next_u64());
        let login = Login { username: &credentials.username, password: &credentials.password };
        let signed = Signed {
            method: &attempt.method,
            uri: attempt.outgoing.request_uri.as_bytes(),
            body: attempt.outgoing.body.as_ref().map_or(&[], |body| &body.bytes),
        };
        let value = digest::answer(challenges(), login, signed, &cnonce, 1)?;
        attempt.tries = tries;
        self.next_try(attempt);
        Some((answers, value))
    }

    /// Makes a request ready to be sent again as a new transaction. A later process must know its
    /// branch too, when the first one was the caller's choice.
    pub(super) fn next_try(&mut self, attempt: &mut Attempt) {
        attempt.cseq += 1;
        let derived = attempt.outgoing.derived.as_ref().and_then(|one| one.branch.as_ref());
        attempt.branch = match derived {
            Some(branch) => format!("{branch}-{}", attempt.cseq),
            None => self.branch(),
        };
    }
}

impl Endpoint {
    /// Refuses an INVITE, mostly with a challenge, and keeps nothing of it (RFC 3261 §8.2.7,
    /// §26.3.2.4): strangers cannot fill the tables. A copy of it is a new INVITE; no
    /// [`super::Event::Ended`] follows.
    pub fn dismiss_invite(&mut self, dialog: DialogId, status: u16, headers: &[(&str, &str)]) {
        let Some(leg) = self.legs.get(dialog) else { return };
        let State::Ringing { invite, .. } = leg.state else { return };
        self.dismiss(invite, status, headers);
        self.forget(dialog);
    }

    /// Refuses an [`super::Event::Request`] in the same way.
    pub fn dismiss(&mut self, request: TransactionId, status: u16, headers: &[(&str, &str)]) {
        let Some(entry) = self.table.get(request) else { return };
        let (flow, key) = (entry.flow, entry.key);
        let (Role::InviteServer { request: bytes, .. } | Role::Server { request: bytes, .. }) =
            &entry.role
        else {
            return;
        };
        let bytes = Arc::clone(bytes);
        let message = Message::parse(&bytes).expect("it was parsed when it came");
        let status = status.clamp(300, 699);
        self.answer_stateless(
            &message,
            &Reply { headers, tag: Some(key), ..Reply::of(status) },
            flow,
        );
        self.table.remove(request);
    }
}

impl Tries {
    /// The tries after one more answer; `None` when there is none left. A stale nonce says that the
    /// password was right, and is worth one more (RFC 7616 §3.3).
    const fn after(self, is_stale: bool) -> Option<Self> {
        match (self, is_stale) {
            (Self { is_answered: false, .. }, _) => Some(Self { is_answered: true, ..self }),
            (Self { is_stale_answered: false, .. }, true) => {
                Some(Self { is_stale_answered: true, ..self })
            }
            (Self { .. }, _) => None,
        }
    }
}
