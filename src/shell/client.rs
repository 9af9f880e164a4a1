//! The command line's side of the API: where the server is, its token, and what it says.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::http::{Request, request};
use ureq::{Agent, AsSendBody};

use crate::shell::admin::Token;
use crate::shell::cli::{complain, say};

/// Where the server that uses a data directory serves HTTP.
const FILE: &str = "http-address";
/// How long the server may take.
const ANSWER_MAX: Duration = Duration::from_secs(15);
/// Bytes of one answer.
const BODY_MAX: u64 = 64 * 1024 * 1024;

/// Writes down where HTTP is served, for commands that are given the data directory only.
pub(super) fn publish(data: &Path, address: SocketAddr) -> io::Result<()> {
    // A server on all addresses is on loopback too.
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    fs::write(data.join(FILE), format!("http://{address}\n"))
}

/// Where a command finds its server, and how it speaks.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Directory of the server's data, with the token and the address of its API.
    #[arg(long, value_name = "DIR", default_value = "data", global = true)]
    pub(super) data: PathBuf,
    /// Where the server serves HTTP, if that is not the address in its data directory.
    #[arg(long, value_name = "URL", global = true)]
    pub(super) url: Option<String>,
    /// Prints JSON, for programs.
    #[arg(long = "json", global = true)]
    pub(super) is_json: bool,
}

impl ServerArgs {
    /// Asks the server.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or the server refuses.
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<Value, Refusal> {
        Client::of(&self.data, self.url.as_deref())?.ask(method, path)
    }

    /// Sends the server a JSON body, with the key by which it knows the request again.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or the server refuses.
    pub(super) fn post(&self, path: &str, key: &str, body: &Value) -> Result<Value, Refusal> {
        Client::of(&self.data, self.url.as_deref())?.post(path, key, body)
    }

    /// Prints an answer, as JSON or as this text, or why there is none.
    pub(super) fn tell(
        &self,
        answer: Result<Value, Refusal>,
        text: impl FnOnce(&Value) -> String,
    ) -> ExitCode {
        match answer {
            Err(refusal) => return complain(&refusal.text()),
            Ok(value) if self.is_json => {
                say(&serde_json::to_string_pretty(&value).expect("answers are plain values"));
            }
            Ok(value) => say(text(&value).trim_end()),
        }
        ExitCode::SUCCESS
    }

    /// Whether, after this refusal, the data directory may speak for a server that does not run.
    pub(super) const fn may_read_files(&self, refusal: &Refusal) -> bool {
        matches!((refusal, &self.url), (Refusal::Absent(_), None))
    }
}

/// A server, as a command reaches it.
#[derive(Debug)]
pub(super) struct Client {
    url: String,
    token: String,
    data: PathBuf,
}

/// Why a server did not do what a command wants.
#[derive(Debug)]
pub(super) enum Refusal {
    /// Nobody is there.
    Absent(String),
    /// The server says no: status and text.
    Said(u16, String),
}

impl Refusal {
    /// For people.
    pub(super) fn text(self) -> String {
        match self {
            Self::Absent(why) => why,
            Self::Said(status, why) => format!("the server refuses ({status}): {why}"),
        }
    }
}

impl Client {
    /// The server that uses this data directory; `url` says where else it is.
    ///
    /// # Errors
    ///
    /// No server has been started with this directory yet.
    pub(super) fn of(data: &Path, url: Option<&str>) -> Result<Self, Refusal> {
        let absent = |what: &str, error: io::Error| {
            Refusal::Absent(format!(
                "cannot read {what} in {}: {error}\n  = help: name the server's data directory \
                 with --data; the server makes it at its start",
                data.display()
            ))
        };
        let token = Token::read(data).map_err(|error| absent("the token of the API", error))?;
        let url = match url {
            Some(url) => url.trim_end_matches('/').to_owned(),
            None => {
                let text = fs::read_to_string(data.join(FILE));
                text.map_err(|error| absent("the server's address", error))?.trim().to_owned()
            }
        };
        Ok(Self { url, token: token.text().to_owned(), data: data.to_owned() })
    }

    /// Asks for a path with this method.
    ///
    /// # Errors
    ///
    /// Nobody answers there, or the server refuses.
    pub(super) fn ask(&self, method: &str, path: &str) -> Result<Value, Refusal> {
        self.send(Request::builder().method(method), path, ())
    }

    /// Sends a JSON body, with the key by which the server knows the request again.
    ///
    /// # Errors
    ///
    /// As [`Self::ask`].
    pub(super) fn post(&self, path: &str, key: &str, body: &Value) -> Result<Value, Refusal> {
        let request = Request::builder().method("POST").header("idempotency-key", key);
        let request = request.header("content-type", "application/json");
        self.send(request, path, body.to_string())
    }

    fn send(
        &self,
        request: request::Builder,
        path: &str,
        body: impl AsSendBody,
    ) -> Result<Value, Refusal> {
        let config = Agent::config_builder()
            .timeout_global(Some(ANSWER_MAX))
            .http_status_as_error(false)
            .max_redirects(0)
            .proxy(None)
            .build();
        let request = request
            .uri(format!("{}{path}", self.url))
            .header("authorization", format!("Bearer {}", self.token))
            .body(body)
            .map_err(|error| Refusal::Absent(format!("{} is no address: {error}", self.url)))?;
        let mut response = Agent::new_with_config(config).run(request).map_err(|error| {
            Refusal::Absent(format!(
                "no server answers at {}: {error}\n  = help: start it with `ringback serve --data \
                 {}`, or say where it is with --url",
                self.url,
                self.data.display()
            ))
        })?;
        let status = response.status().as_u16();
        let body = response.body_mut().with_config().limit(BODY_MAX).read_to_string();
        let value = body.ok().and_then(|body| serde_json::from_str::<Value>(&body).ok());
        match (status, value) {
            (200..=299, Some(value)) => Ok(value),
            (status, value) => {
                let why = value.as_ref().and_then(|value| value["error"].as_str());
                Err(Refusal::Said(status, why.unwrap_or("it gave no reason").to_owned()))
            }
        }
    }
}
