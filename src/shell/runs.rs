//! `ringback runs`: the last runs of a running server, and the steps of one.

use std::fmt::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::call::show::plain;
use crate::shell::cli::complain;
use crate::shell::client::ServerArgs;

/// Characters of an item that are shown to people; all of it is in the JSON.
const SHOWN_MAX: usize = 200;

/// Prints all runs, or the steps of one.
pub(super) fn run(id: Option<&str>, server: &ServerArgs) -> ExitCode {
    let path = match id {
        None => "/api/runs".to_owned(),
        Some(id) if id.bytes().all(|byte| byte.is_ascii_digit()) => format!("/api/runs/{id}"),
        Some(id) => {
            return complain(&format!("`{id}` is no id of a run: `ringback runs list` shows them"));
        }
    };
    server.tell(server.ask("GET", &path), if id.is_none() { list } else { shown })
}

fn list(runs: &Value) -> String {
    let runs = runs.as_array().map_or(&[][..], Vec::as_slice);
    if runs.is_empty() {
        return "no runs yet".to_owned();
    }
    let mut text =
        format!("{:<15} {:<24} {:>10} {:>6}  {:<9} flow\n", "id", "began", "lasted", "steps", "");
    for run in runs {
        let at = run["waits"]["node"].as_str().map(|node| format!(", waits at {node}"));
        let _ = writeln!(
            text,
            "{:<15} {:<24} {:>10} {:>6}  {:<9} {}, {}{}{}",
            plain(&run["id"]),
            plain(&run["began"]),
            lasted(&run["lastedMs"]),
            plain(&run["steps"]),
            plain(&run["status"]),
            plain(&run["workflow"]),
            plain(&run["trigger"]),
            at.unwrap_or_default(),
            error(run),
        );
    }
    text
}

fn shown(run: &Value) -> String {
    let mut text = format!(
        "run {} of {}, begun by {} at {}: {} after {}{}\n",
        plain(&run["id"]),
        plain(&run["workflow"]),
        plain(&run["trigger"]),
        plain(&run["began"]),
        plain(&run["status"]),
        lasted(&run["lastedMs"]),
        error(run),
    );
    if run["stepsForgotten"].as_u64().is_some_and(|count| count > 0) {
        let _ = writeln!(text, "  {} earlier steps are forgotten", run["stepsForgotten"]);
    }
    for step in run["trace"].as_array().into_iter().flatten() {
        let _ = writeln!(
            text,
            "  {:<24} {:>9}  {}{}, run {}{}",
            plain(&step["at"]),
            lasted(&step["lastedMs"]),
            plain(&step["node"]),
            step["workflow"].as_str().map(|name| format!(" of {name}")).unwrap_or_default(),
            step["run"],
            error(step),
        );
        for output in step["outputs"].as_array().into_iter().flatten() {
            if output["count"] == 0 {
                continue;
            }
            let _ =
                writeln!(text, "      {}: {} item(s)", plain(&output["branch"]), output["count"]);
            for item in output["items"].as_array().into_iter().flatten() {
                let json = if item["json"].is_null() { &item["leftOut"] } else { &item["json"] };
                let _ = writeln!(text, "        {}", clipped(&json.to_string()));
            }
        }
    }
    if let Some(node) = run["waits"]["node"].as_str() {
        let since = run["lastedMs"].as_i64().zip(run["waits"]["sinceMs"].as_i64());
        let since = since.map_or(0, |(now, since)| now - since);
        let _ = writeln!(text, "  waits at {node} for {} so far", lasted(&since.into()));
    }
    text
}

fn error(of: &Value) -> String {
    let Some(message) = of["error"]["message"].as_str() else { return String::new() };
    let node = of["error"]["node"].as_str().map(|node| format!(" at {node}")).unwrap_or_default();
    format!(", failed{node}: {message}")
}

fn lasted(ms: &Value) -> String {
    let duration = Duration::from_millis(ms.as_u64().unwrap_or_default());
    format!("{:.3} s", duration.as_secs_f64())
}

fn clipped(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
