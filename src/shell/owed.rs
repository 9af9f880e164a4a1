//! `ringback queues` and `ringback promises`: who waits, what was promised, and taking it back.
//!
//! Promises can be read while no server runs: the journal is then opened for reading only.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::base::Tick;
use crate::call::promise_value;
use crate::promise::{Book, Policies, PromiseId};
use crate::shell::cli::{complain, say};
use crate::shell::client::{Client, Refusal};
use crate::shell::{Clock, store};

/// Promises that one answer of the server holds.
const PAGE: usize = 1000;

/// Where a command finds its server.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Directory of the server's data, with the token and the address of its API.
    #[arg(long, value_name = "DIR", default_value = "data", global = true)]
    data: PathBuf,
    /// Where the server serves HTTP, if that is not the address in its data directory.
    #[arg(long, value_name = "URL", global = true)]
    url: Option<String>,
    /// Prints JSON, for programs.
    #[arg(long, global = true)]
    json: bool,
}

impl ServerArgs {
    pub(super) fn manner(&self) -> Manner<'_> {
        let (data, url, is_json) = (&*self.data, self.url.as_deref(), self.json);
        Manner { data, url, is_json }
    }
}

/// The arguments of `queues`.
#[derive(Debug, Args)]
pub(super) struct QueuesArgs {
    #[command(subcommand)]
    word: Option<QueuesWord>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum QueuesWord {
    /// Why an entry was or was not offered, in order; also one that has ended.
    Why {
        /// The entry, such as entry-7-1, or the number of its promise.
        entry: String,
    },
}

/// The arguments of `promises`.
#[derive(Debug, Args)]
pub(super) struct PromisesArgs {
    #[command(subcommand)]
    word: Option<PromisesWord>,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum PromisesWord {
    /// Open promises, oldest first.
    List,
    /// One promise.
    Show {
        /// Its number in the list.
        promise: u64,
    },
    /// Takes one back: its customer is not called any more.
    Cancel {
        /// Its number in the list.
        promise: u64,
    },
}

/// `ringback queues`.
pub(super) fn run_queues(arguments: &QueuesArgs) -> ExitCode {
    let order = match &arguments.word {
        None => Order::Queues,
        Some(QueuesWord::Why { entry }) => Order::Why(entry.clone()),
    };
    run(&order, &arguments.server.manner())
}

/// `ringback promises`.
pub(super) fn run_promises(arguments: &PromisesArgs) -> ExitCode {
    let order = match arguments.word {
        None | Some(PromisesWord::List) => Order::List,
        Some(PromisesWord::Show { promise }) => Order::Show(promise),
        Some(PromisesWord::Cancel { promise }) => Order::Cancel(promise),
    };
    run(&order, &arguments.server.manner())
}

/// What a command is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Every queue.
    Queues,
    /// Why this entry was or was not offered.
    Why(String),
    /// Open promises.
    List,
    /// One promise.
    Show(u64),
    /// Take one back.
    Cancel(u64),
}

/// Where a command finds its server, and how it speaks.
#[derive(Debug)]
pub(super) struct Manner<'a> {
    pub(super) data: &'a Path,
    pub(super) url: Option<&'a str>,
    pub(super) is_json: bool,
}

/// Does it.
fn run(order: &Order, manner: &Manner<'_>) -> ExitCode {
    let value = match look(order, manner) {
        Ok(value) => value,
        Err(refusal) => return complain(&refusal.text()),
    };
    say(&match (order, manner.is_json) {
        (_, true) => serde_json::to_string_pretty(&value).expect("answers are plain values"),
        (Order::Why(_), false) => why_text(&value),
        (Order::Queues, false) => queues_text(&value),
        (Order::List, false) => promises_text(&value),
        (Order::Show(_), false) => promise_text(&value),
        (Order::Cancel(promise), false) => match value["end"].as_str() {
            Some(end) => format!("promise {promise} has ended: {end}"),
            None => format!("promise {promise} is being dialled; the dial is broken, and it ends"),
        },
    });
    ExitCode::SUCCESS
}

/// Does it, and gives what the server or the journal said.
pub(super) fn look(order: &Order, manner: &Manner<'_>) -> Result<Value, Refusal> {
    match order {
        Order::Queues => ask(manner, "GET", "/api/queues"),
        Order::Why(entry) => {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
            if !entry.chars().all(is_plain) {
                let why = format!("`{entry}` is no entry: `ringback queues` lists them");
                return Err(Refusal::Absent(why));
            }
            ask(manner, "GET", &format!("/api/entries/{entry}/why"))
        }
        Order::List => list(manner),
        Order::Show(promise) => show(manner, *promise),
        Order::Cancel(promise) => ask(manner, "DELETE", &format!("/api/promises/{promise}")),
    }
}

/// Asks the server.
pub(super) fn ask(manner: &Manner<'_>, method: &str, path: &str) -> Result<Value, Refusal> {
    Client::of(manner.data, manner.url)?.ask(method, path)
}

fn list(manner: &Manner<'_>) -> Result<Value, Refusal> {
    let mut all = Vec::new();
    loop {
        let after =
            all.last().map_or(0, |promise: &Value| promise["promise"].as_u64().unwrap_or(0));
        let path = format!("/api/promises?after={after}&limit={PAGE}");
        match ask(manner, "GET", &path) {
            Ok(Value::Array(page)) => {
                let is_last = page.len() < PAGE;
                all.extend(page);
                if is_last {
                    return Ok(Value::Array(all));
                }
            }
            Ok(other) => return Ok(other),
            Err(refusal) => return offline(manner, refusal, |journal| Some(journal.list())),
        }
    }
}

fn show(manner: &Manner<'_>, promise: u64) -> Result<Value, Refusal> {
    match ask(manner, "GET", &format!("/api/promises/{promise}")) {
        Ok(value) => Ok(value),
        Err(refusal) => offline(manner, refusal, |journal| journal.show(promise)),
    }
}

/// Without a server, what the journal says.
fn offline(
    manner: &Manner<'_>,
    refusal: Refusal,
    read: impl FnOnce(&OnDisk) -> Option<Value>,
) -> Result<Value, Refusal> {
    let (Refusal::Absent(_), None) = (&refusal, manner.url) else { return Err(refusal) };
    match OnDisk::open(manner.data) {
        Ok(Some(journal)) => read(&journal)
            .ok_or_else(|| Refusal::Said(404, "the journal has no such promise".to_owned())),
        Ok(None) => Err(refusal),
        Err(error) => Err(Refusal::Absent(format!("{}\n{error}", refusal.text()))),
    }
}

/// The journal of a server that does not run.
struct OnDisk {
    journal: store::Reading,
    book: Book,
}

impl OnDisk {
    /// `None` when there is no journal.
    fn open(data: &Path) -> Result<Option<Self>, String> {
        let clock = Clock::start();
        let Some(journal) = store::Reading::open(data).map_err(|error| error.to_string())? else {
            return Ok(None);
        };
        let now_ms = u64::try_from(clock.epoch_ms()).unwrap_or_default();
        let open = journal.open_promises(now_ms).map_err(|error| error.to_string())?;
        let book = Book::restore(open, Policies::default(), now_ms, Tick::ZERO);
        let book = book.map_err(|error| error.to_string())?;
        Ok(Some(Self { journal, book }))
    }

    fn list(&self) -> Value {
        let open = self.book.after(PromiseId(0));
        open.filter_map(|promise| self.view(promise.0)).collect()
    }

    /// Open or ended, with every record of it.
    fn show(&self, promise: u64) -> Option<Value> {
        let records = self.journal.records_of(promise).ok()?;
        if records.is_empty() {
            return None;
        }
        let mut shown =
            self.view(promise).unwrap_or_else(|| json!({ "promise": promise, "state": "ended" }));
        shown["records"] = Value::Array(records);
        Some(shown)
    }

    fn view(&self, promise: u64) -> Option<Value> {
        let view = self.book.view(PromiseId(promise))?;
        let mut shown = promise_value(promise, &view);
        // The settings, and so how many attempts there may be, are the server's.
        if let Some(shown) = shown.as_object_mut() {
            shown.remove("attemptsMax");
        }
        shown["source"] = "journal".into();
        Some(shown)
    }
}

fn why_text(why: &Value) -> String {
    let head = format!("{} in {}", text(&why["entry"]), text(&why["queue"]));
    let line = |step: &Value| {
        let at = step["atMs"].as_u64().map(time).unwrap_or_default();
        format!("  {at}  {}", text(&step["why"]))
    };
    let lines = list_of(&why["steps"]).iter().map(line);
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}

fn queues_text(queues: &Value) -> String {
    let mut lines = Vec::new();
    for queue in list_of(queues) {
        let agents = list_of(&queue["agents"])
            .iter()
            .map(|agent| format!("{} {}", text(&agent["extension"]), text(&agent["state"])));
        lines.push(format!(
            "{}: {} on the line, {} callback(s); agents: {}",
            text(&queue["queue"]),
            queue["live"],
            queue["callbacks"],
            agents.collect::<Vec<_>>().join(", ")
        ));
        for entry in list_of(&queue["entries"]) {
            let state = match (entry["readyInMs"].as_u64(), entry["agents"].as_array()) {
                (Some(rest), _) => format!("cooling, {} s more", rest.div_ceil(1000)),
                (None, Some(agents)) => {
                    format!("rings {}", agents.iter().map(text).collect::<Vec<_>>().join(", "))
                }
                (None, None) => text(&entry["state"]),
            };
            let promise = entry["promise"].as_u64();
            lines.push(format!(
                "{:>4}  {:<12} {:<20} {:<9} {:>7}  {:<24} {}",
                entry["position"],
                text(&entry["entry"]),
                shown(&entry["number"], 20),
                text(&entry["mode"]),
                span(entry["waitedMs"].as_u64().unwrap_or_default()),
                state,
                promise.map(|promise| format!("promise {promise}")).unwrap_or_default(),
            ));
        }
    }
    lines.join("\n")
}

fn promises_text(promises: &Value) -> String {
    let head = format!(
        "{:>8}  {:<20} {:<16} {:<9} {:>8}  {:<20} {:<20}",
        "promise", "number", "queue", "state", "attempts", "due", "expires"
    );
    let line = |promise: &Value| {
        format!(
            "{:>8}  {:<20} {:<16} {:<9} {:>8}  {:<20} {:<20}",
            promise["promise"],
            shown(&promise["number"], 20),
            shown(&promise["queue"], 16),
            text(&promise["state"]),
            promise["attempts"],
            promise["dueMs"].as_u64().map(time).unwrap_or_default(),
            promise["expiresMs"].as_u64().map(time).unwrap_or_default(),
        )
        .trim_end()
        .to_owned()
    };
    let lines = list_of(promises).iter().map(line);
    std::iter::once(head.trim_end().to_owned()).chain(lines).collect::<Vec<_>>().join("\n")
}

fn promise_text(promise: &Value) -> String {
    let mut lines = Vec::new();
    for (name, value) in promise.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("records", _) | (_, Value::Null) => {}
            (_, Value::Number(ms)) if name.ends_with("Ms") => {
                let at = ms.as_u64().map(time).unwrap_or_default();
                lines.push(format!("{:<18} {at}", name.trim_end_matches("Ms")));
            }
            (_, value) => lines.push(format!("{name:<18} {}", text(value))),
        }
    }
    for record in list_of(&promise["records"]) {
        let at = record["at_ms"].as_u64().or(record["made_ms"].as_u64());
        let mut rest = record.clone();
        if let Some(rest) = rest.as_object_mut() {
            rest.retain(|name, _| {
                !["kind", "at_ms", "made_ms", "promise", "way", "far_side"].contains(&name.as_str())
            });
        }
        lines.push(format!(
            "{}  {} {rest}",
            at.map(time).unwrap_or_default(),
            text(&record["kind"])
        ));
    }
    lines.join("\n")
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// A text as a terminal may show it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn shown(value: &Value, width: usize) -> String {
    text(value).chars().take(width).collect()
}

fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_second(ms / 1000).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}
