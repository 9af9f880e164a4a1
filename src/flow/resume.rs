//! Where a run that waits for a call from outside is reached.

use crate::flow::RunId;
use crate::flow::expr::hash;

/// The server's side of `$execution.resumeUrl`.
#[derive(Clone, Debug)]
pub struct Resume {
    base: String,
    secret: String,
}

impl Resume {
    /// Runs are reached beneath this URL, by names that nobody guesses who has not the secret.
    pub fn new(base: String, secret: String) -> Self {
        Self { base, secret }
    }

    /// The name of a run.
    pub fn token(secret: &str, run: RunId) -> String {
        let whole = hash("sha256", &format!("{secret} {}", run.0)).unwrap_or_default();
        format!("{}-{}", run.0, &whole[..whole.len().min(32)])
    }

    /// Where a run is reached while it waits.
    pub(super) fn url(&self, run: RunId) -> String {
        format!("{}/webhook-waiting/{}", self.base, Self::token(&self.secret, run))
    }
}
