//! Reload: the files of the flows and their credentials are read again and checked, and their workflows
//! are exchanged while calls go on. On the word of an operator (`ringback reload`, `POST /api/reload`) or SIGHUP.

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::call::{NotReloaded, Reloaded};
use crate::config::Settings;
use crate::flow::{Graph, Problem};
use crate::shell::check::check_with_credentials;
use crate::shell::client::ServerArgs;
use crate::shell::credentials::Credentials;
use crate::shell::signalling::{Input, Question};
use crate::shell::wake::Sender;

/// How long the signalling thread may take to exchange the workflows.
const EXCHANGE_MAX: Duration = Duration::from_secs(5);

/// Reads the same files again, as often as it is told; one at a time.
#[derive(Debug)]
pub(super) struct Reloader {
    files: Vec<PathBuf>,
    prompts: PathBuf,
    data: PathBuf,
    credentials: Credentials,
    signalling: Sender<Input>,
    turn: Mutex<()>,
}

/// Why the workflows of before stay in force.
#[derive(Debug)]
pub(super) enum Refused {
    /// Something is wrong with the files: every problem of them.
    Problems(Vec<Problem>),
    /// The credentials cannot be read.
    Credentials(String),
    /// The switch did not want them.
    Switch(NotReloaded),
    /// The signalling thread has not said in time what it did.
    Unanswered,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problems(problems) => {
                f.write_str("the flows of before stay in force")?;
                problems.iter().try_for_each(|problem| write!(f, "\n{problem}"))
            }
            Self::Credentials(error) => write!(f, "the flows of before stay in force: {error}"),
            Self::Switch(why) => write!(f, "the flows of before stay in force: {why}"),
            Self::Unanswered => f.write_str("signalling does not answer"),
        }
    }
}

impl Reloader {
    /// One for the files that these flows came from.
    pub(super) fn new(
        graphs: &[Arc<Graph>],
        settings: &Settings,
        credentials: Credentials,
        signalling: Sender<Input>,
    ) -> Arc<Self> {
        let mut files: Vec<PathBuf> = graphs.iter().map(|graph| graph.file().into()).collect();
        files.dedup();
        let (prompts, data) = (settings.prompts.clone(), settings.data.clone());
        let turn = Mutex::default();
        Arc::new(Self { files, prompts, data, credentials, signalling, turn })
    }

    /// Reads and checks the files; when they are sound, their workflows are the active ones.
    ///
    /// # Errors
    ///
    /// Nothing has changed.
    pub(super) fn reload(&self) -> Result<Reloaded, Refused> {
        // Whoever comes second reads what the first one may not have seen.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let outcome = self.exchange();
        match &outcome {
            Ok(Reloaded { workflows, versions, came, went }) => {
                let workflows = workflows.join(", ");
                tracing::info!(workflows, ?versions, ?came, ?went, "flows reloaded");
            }
            Err(refused) => tracing::warn!("flows not reloaded: {refused}"),
        }
        outcome
    }

    fn exchange(&self) -> Result<Reloaded, Refused> {
        let checked = check_with_credentials(&self.files, &self.prompts, &self.data);
        let checked = checked.map_err(Refused::Credentials)?;
        if checked.has_errors() {
            return Err(Refused::Problems(checked.problems));
        }
        let graphs = checked.graphs.into_iter().map(Arc::new).collect();
        let read = Credentials::open(&self.data).map_err(Refused::Credentials)?;
        let (reply, answer) = sync_channel(1);
        let credentials = self.credentials.clone();
        self.signalling.send(Input::Ask(Question::new(move |switch, now| {
            let exchanged = switch.reload(graphs, now);
            // Before the webhooks of the new flows look at them.
            if exchanged.is_ok() {
                credentials.take(&read);
            }
            // Whoever asked and went away does not want to know any more.
            let _ = reply.send(exchanged);
        })));
        let answer = answer.recv_timeout(EXCHANGE_MAX).map_err(|_| Refused::Unanswered)?;
        answer.map_err(Refused::Switch)
    }
}

/// What has changed, as the API says it.
pub(super) fn value(reloaded: &Reloaded) -> Value {
    let Reloaded { workflows, versions, came, went } = reloaded;
    json!({ "workflows": workflows, "versions": versions, "came": came, "went": went })
}

/// The same for people.
pub(super) fn in_words(value: &Value) -> String {
    let list = |key: &str| {
        let of = value[key].as_array().map_or(&[][..], Vec::as_slice);
        of.iter().filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let named = list("workflows").into_iter().zip(list("versions"));
    let named = named.map(|(name, version)| format!("{name} (version {version})"));
    let head = format!("reloaded: {}", named.collect::<Vec<_>>().join(", "));
    let came = list("came").into_iter().map(|one| format!("  new   {one}"));
    let went = list("went").into_iter().map(|one| format!("  gone  {one}"));
    std::iter::once(head).chain(came).chain(went).collect::<Vec<_>>().join("\n")
}

/// `ringback reload`.
pub(super) fn run(server: &ServerArgs) -> ExitCode {
    server.tell(server.ask("POST", "/api/reload"), in_words)
}
