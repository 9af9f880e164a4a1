//! Challenges: a 401 or 407 to a request of ours is answered once, with the user's credentials.

use super::Endpoint;
use super::leg::{Attempt, Tries};
use super::receive::Answer;
use crate::sip::digest::{self, Challenge, Login, Signed};
use crate::sip::{Field, Name};

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
        let challenges = || answer.message.fields_of(asks).filter_map(Field::text);
        let is_stale = challenges().filter_map(Challenge::parse).any(|one| one.is_stale);
        let tries = attempt.tries.after(is_stale)?;
        let credentials = attempt.outgoing.credentials.as_ref()?;
        let cnonce = format!("{:016x}", self.rng.next_u64());
        let login = Login { username: &credentials.username, password: &credentials.password };
        let signed = Signed {
            method: &attempt.method,
            uri: attempt.outgoing.request_uri.as_bytes(),
            body: attempt.outgoing.body.as_ref().map_or(&[], |body| &body.bytes),
        };
        let value = digest::answer(challenges(), login, signed, &cnonce, 1)?;
        attempt.tries = tries;
        attempt.cseq += 1;
        attempt.branch = self.branch();
        Some((answers, value))
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
