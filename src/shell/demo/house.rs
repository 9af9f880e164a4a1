//! The server of an act: in this process, or in one of its own that can be killed.

use std::fmt;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

use crate::config::Settings;
use crate::flow::Graph;
use crate::shell::Server;
use crate::shell::client::ServerArgs;

/// Where an act's server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In this process.
    Here,
    /// In a process of its own: this program once more.
    Apart,
}

/// An act's server.
#[derive(Debug)]
pub(super) enum House {
    /// In this process.
    Here(Server),
    /// In a process of its own.
    Apart(Box<Apart>),
}

/// A server in a process of its own.
pub(super) struct Apart {
    flow: PathBuf,
    settings: Settings,
    child: Child,
    /// Kept open, for what it says as it ends.
    _said: BufReader<ChildStdout>,
}

impl House {
    /// Starts a server with these settings; `flow` is the file that `graphs` were read from.
    pub(super) fn open(
        place: Place,
        flow: PathBuf,
        graphs: Vec<Graph>,
        settings: Settings,
    ) -> Result<Self, String> {
        match place {
            Place::Here => {
                Server::start(&settings, graphs).map(Self::Here).map_err(|error| error.to_string())
            }
            Place::Apart => Apart::start(flow, settings).map(|apart| Self::Apart(Box::new(apart))),
        }
    }

    /// Where it answers SIP.
    pub(super) const fn sip(&self) -> SocketAddr {
        match self {
            Self::Here(server) => server.sip(),
            Self::Apart(apart) => apart.settings.sip,
        }
    }

    /// How many legs it has; nothing when it does not say.
    pub(super) fn legs(&self) -> Option<usize> {
        match self {
            Self::Here(server) => server.snapshot().map(|snapshot| snapshot.live_legs),
            Self::Apart(apart) => {
                let goes_on = |call: &&Value| call.get("ended").is_none();
                Some(apart.ask("/api/calls")?.as_array()?.iter().filter(goes_on).count())
            }
        }
    }

    /// How many promises it still has to keep; nothing when it does not say.
    pub(super) fn promises(&self) -> Option<usize> {
        match self {
            Self::Here(server) => server.snapshot().map(|snapshot| snapshot.gauges.promises),
            Self::Apart(apart) => Some(apart.ask("/api/promises")?.as_array()?.len()),
        }
    }

    /// The numbers that it has promised to call, in the order of the promises.
    pub(super) fn numbers(&self) -> Option<Vec<String>> {
        let Self::Apart(apart) = self else { return None };
        let number = |promise: &Value| promise["number"].as_str().map(str::to_owned);
        apart.ask("/api/promises")?.as_array()?.iter().map(number).collect()
    }

    /// Kills the process with SIGKILL, so that it can do nothing any more, and starts it again.
    pub(super) fn kill_and_start_again(&mut self) -> Result<(), String> {
        let Self::Apart(apart) = self else { return Err("it is in this process".to_owned()) };
        apart.child.kill().and_then(|()| apart.child.wait()).map_err(|error| error.to_string())?;
        **apart = Apart::start(apart.flow.clone(), apart.settings.clone())?;
        Ok(())
    }

    /// Ends it; `is_over` says whether calls have had the time for their last messages.
    pub(super) fn stop(self, is_over: impl Fn() -> bool) {
        match self {
            Self::Here(server) => drop(server.stop(|| !is_over())),
            Self::Apart(apart) => drop(apart),
        }
    }
}

impl Apart {
    fn start(flow: PathBuf, mut settings: Settings) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut child = Command::new(program)
            .arg("serve")
            .arg(&flow)
            .args(["--sip", &settings.sip.to_string(), "--http", &settings.http.to_string()])
            .args(["--rtp", &settings.rtp.to_string()])
            .arg("--prompts")
            .arg(&settings.prompts)
            .arg("--data")
            .arg(&settings.data)
            .env("RINGBACK_LOG", "error")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("cannot start a server: {error}"))?;
        let mut said = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        while line != "ready\n" {
            line.clear();
            if said.read_line(&mut line).is_err() || line.is_empty() {
                let _ = child.wait();
                return Err("the server did not start".to_owned());
            }
            // The port that it has got; it keeps it when it is started again.
            if let Some(sip) = line.strip_prefix("sip ")
                && let Some(sip) = sip.split_whitespace().next().and_then(|sip| sip.parse().ok())
            {
                settings.sip = sip;
            }
        }
        Ok(Self { flow, settings, child, _said: said })
    }

    fn ask(&self, path: &str) -> Option<Value> {
        let data = self.settings.data.clone();
        ServerArgs { data, url: None, is_json: true }.ask("GET", path).ok()
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        // What it has promised lies in a directory that goes with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl fmt::Debug for Apart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Apart({})", self.settings.sip)
    }
}
