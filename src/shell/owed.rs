//! `ringback queues` and `ringback promises`: who waits, what was promised, promising it and taking
//! it back.
//!
//! Promises can be read while no server runs: the journal is then opened for reading only.

use std::path::Path;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::base::Tick;
use crate::call::promise_value;
use crate::call::show::plain;
use crate::promise::{Book, Policies, PromiseId};
use crate::shell::cli::complain;
use crate::shell::client::{Refusal, ServerArgs};
use crate::shell::{Clock, store};

/// Promises that one answer of the server holds.
const PAGE: usize = 1000;

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
    /// Promises a callback, as if the customer had joined the queue now and hung up.
    #[command(
        after_help = "It is on disk before the command ends. Should the answer be lost, the same command with the
same --key finds the promise, and makes no other. A number that has a promise in the queue keeps
that one.

Examples:
  ringback promises add support +4930123456
  ringback promises add support +4930123456 --name 'Ada Byron' --key order-4711
  ringback promises add support +4930123456 --override-hours 'asked by mail to be called tonight'"
    )]
    Add(AddArgs),
    /// Takes one back: its customer is not called any more.
    Cancel {
        /// Its number in the list.
        promise: u64,
    },
}

/// The arguments of `promises add`.
#[derive(Debug, Args)]
struct AddArgs {
    /// The queue by its ref, or as WORKFLOW/REF.
    queue: String,
    /// The number to call.
    #[arg(allow_hyphen_values = true)]
    number: String,
    /// What the request is known by, should it be sent again; a random one.
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The name that agents see.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The ref of the trunk to call by, when several could.
    #[arg(long, value_name = "REF")]
    trunk: Option<String>,
    /// Why the customer may be called outside the hours of the queue; it is written down.
    #[arg(long, value_name = "REASON")]
    override_hours: Option<String>,
}

/// `ringback queues`.
pub(super) fn run_queues(QueuesArgs { word, server }: &QueuesArgs) -> ExitCode {
    let (answer, text): (_, fn(&Value) -> String) = match word {
        None => (server.ask("GET", "/api/queues"), queues_text),
        Some(QueuesWord::Why { entry }) => (why(entry, server), why_text),
    };
    server.tell(answer, text)
}

/// `ringback promises`.
pub(super) fn run_promises(PromisesArgs { word, server }: &PromisesArgs) -> ExitCode {
    match word {
        None | Some(PromisesWord::List) => server.tell(list(server), promises_text),
        Some(PromisesWord::Show { promise }) => server.tell(show(*promise, server), promise_text),
        Some(PromisesWord::Add(arguments)) => add(arguments, server),
        Some(PromisesWord::Cancel { promise }) => {
            let answer = server.ask("DELETE", &format!("/api/promises/{promise}"));
            server.tell(answer, |value| match value["end"].as_str() {
                Some(end) => format!("promise {promise} has ended: {end}"),
                None => {
                    format!("promise {promise} is being dialled; the dial is broken, and it ends")
                }
            })
        }
    }
}

fn add(arguments: &AddArgs, server: &ServerArgs) -> ExitCode {
    let AddArgs { queue, number, key, name, trunk, override_hours } = arguments;
    let key = match key.clone().map_or_else(random_key, Ok) {
        Ok(key) => key,
        Err(error) => return complain(&format!("the system gives no random key: {error}")),
    };
    let fields = [
        ("queue", Some(queue)),
        ("number", Some(number)),
        ("name", name.as_ref()),
        ("trunk", trunk.as_ref()),
        ("override_hours", override_hours.as_ref()),
    ];
    let given = fields.into_iter().filter_map(|(field, value)| Some((field.to_owned(), value?)));
    let body = given.map(|(field, value)| (field, Value::from(value.as_str()))).collect();
    let answer = server.post("/api/promises", &key, &Value::Object(body)).map_err(|refusal| {
        let again = |why| format!("{why}\n  = help: to try again, add --key {key}");
        // The key matters where nobody knows whether the request has arrived.
        match refusal {
            Refusal::Absent(why) => Refusal::Absent(again(why)),
            Refusal::Said(status @ 500.., why) => Refusal::Said(status, again(why)),
            refused @ Refusal::Said(..) => refused,
        }
    });
    let answer = answer.map(|mut value| {
        value["key"] = key.into();
        value
    });
    server.tell(answer, added_text)
}

fn added_text(promise: &Value) -> String {
    let (number, key) = (&promise["promise"], plain(&promise["key"]));
    let came = match (promise["merged"].as_bool(), promise["outsideHoursUntil"].as_str()) {
        _ if promise["state"] == "ended" => ", which has ended".to_owned(),
        (Some(true), _) => ", which the number had already".to_owned(),
        (_, Some(opens)) => format!(", outside hours until {opens}"),
        (Some(false) | None, None) => String::new(),
    };
    format!("promise {number}{came}; key {key}")
}

fn random_key() -> std::io::Result<String> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

fn why(entry: &str, server: &ServerArgs) -> Result<Value, Refusal> {
    if !entry.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        let why = format!("`{entry}` is no entry: `ringback queues` lists them");
        return Err(Refusal::Absent(why));
    }
    server.ask("GET", &format!("/api/entries/{entry}/why"))
}

/// Open promises: of the server, or of the journal where none runs.
pub(super) fn list(server: &ServerArgs) -> Result<Value, Refusal> {
    let mut all = Vec::new();
    loop {
        let after =
            all.last().map_or(0, |promise: &Value| promise["promise"].as_u64().unwrap_or(0));
        let path = format!("/api/promises?after={after}&limit={PAGE}");
        match server.ask("GET", &path) {
            Ok(Value::Array(page)) => {
                let is_last = page.len() < PAGE;
                all.extend(page);
                if is_last {
                    return Ok(Value::Array(all));
                }
            }
            Ok(other) => return Ok(other),
            Err(refusal) => return offline(server, refusal, |journal| Some(journal.list())),
        }
    }
}

/// One promise, likewise.
pub(super) fn show(promise: u64, server: &ServerArgs) -> Result<Value, Refusal> {
    match server.ask("GET", &format!("/api/promises/{promise}")) {
        Ok(value) => Ok(value),
        Err(refusal) => offline(server, refusal, |journal| journal.show(promise)),
    }
}

/// Without a server, what the journal says.
fn offline(
    server: &ServerArgs,
    refusal: Refusal,
    read: impl FnOnce(&OnDisk) -> Option<Value>,
) -> Result<Value, Refusal> {
    if !server.may_read_files(&refusal) {
        return Err(refusal);
    }
    match OnDisk::open(&server.data) {
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
    let named = match why["promise"].as_u64() {
        Some(promise) => format!("promise {promise}"),
        None => plain(&why["entry"]),
    };
    let head = format!("{named} in {}", plain(&why["queue"]));
    let line = |step: &Value| {
        let at = step["atMs"].as_u64().map(time).unwrap_or_default();
        format!("  {at}  {}", plain(&step["why"]))
    };
    let lines = list_of(&why["steps"]).iter().map(line);
    std::iter::once(head).chain(lines).collect::<Vec<_>>().join("\n")
}

fn queues_text(queues: &Value) -> String {
    let mut lines = Vec::new();
    for queue in list_of(queues) {
        let agents = list_of(&queue["agents"])
            .iter()
            .map(|agent| format!("{} {}", plain(&agent["extension"]), plain(&agent["state"])));
        lines.push(format!(
            "{}: {} on the line, {} callback(s); agents: {}",
            plain(&queue["queue"]),
            queue["live"],
            queue["callbacks"],
            agents.collect::<Vec<_>>().join(", ")
        ));
        for entry in list_of(&queue["entries"]) {
            let state = match (entry["readyInMs"].as_u64(), entry["agents"].as_array()) {
                (Some(rest), _) => format!("cooling, {} s more", rest.div_ceil(1000)),
                (None, Some(agents)) => {
                    format!("rings {}", agents.iter().map(plain).collect::<Vec<_>>().join(", "))
                }
                (None, None) => plain(&entry["state"]),
            };
            let promise = entry["promise"].as_u64();
            lines.push(format!(
                "{:>4}  {:<12} {:<20} {:<9} {:>7}  {:<24} {}",
                entry["position"],
                plain(&entry["entry"]),
                shown(&entry["number"], 20),
                plain(&entry["mode"]),
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
            plain(&promise["state"]),
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
            (_, value) => lines.push(format!("{name:<18} {}", plain(value))),
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
            plain(&record["kind"])
        ));
    }
    lines.join("\n")
}

fn list_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn shown(value: &Value, width: usize) -> String {
    plain(value).chars().take(width).collect()
}

fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn time(ms: u64) -> String {
    let at = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_second(ms / 1000).ok());
    at.map(|at| at.to_string()).unwrap_or_default()
}
