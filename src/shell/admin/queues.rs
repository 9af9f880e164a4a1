//! Queues: to look at, why an entry was or was not offered, and their figures as metrics.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::{Admin, Route, problem};
use crate::call::{PromiseCounts, QueueFigures};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route {
            method: "get",
            path: "/api/queues",
            summary: "Queues with their agents and entries, each in its order",
            parameters: &[],
            body: &[],
            answers: &[("200", "A list of queues; of each at most 1000 entries")],
            serve: get(queues),
        },
        Route {
            method: "get",
            path: "/api/entries/{entry}/why",
            summary: "Why an entry was or was not offered, in order",
            parameters: &[("entry", "path", "An entry, also one that has ended, or a promise")],
            body: &[],
            answers: &[("200", "The reasons with their times"), ("404", "No such entry is known")],
            serve: get(why),
        },
    ]
}

async fn queues(State(admin): State<Admin>) -> Response {
    match admin.ask(|switch, now| switch.look_at_queues(now)).await {
        Ok(queues) => Json(queues).into_response(),
        Err(response) => response,
    }
}

async fn why(State(admin): State<Admin>, Path(entry): Path<String>) -> Response {
    let named = entry.clone();
    match admin.ask(move |switch, now| switch.why(&named, now)).await {
        Ok(Some(why)) => Json(why).into_response(),
        Ok(None) => problem(StatusCode::NOT_FOUND, &format!("no entry {entry} is known")),
        Err(response) => response,
    }
}

/// Queues and promises in the Prometheus text format.
pub(in crate::shell) fn render(
    text: &mut String,
    queues: &[QueueFigures],
    promises: &PromiseCounts,
) {
    type Figure = fn(&QueueFigures) -> f64;
    let figures: [(&str, &str, &str, Figure); 8] = [
        ("queue_waiting", "gauge", "Entries of a queue, live and callbacks.", |of| {
            of.entries as f64
        }),
        ("queue_longest_wait_seconds", "gauge", "How long the longest has waited.", |of| {
            of.longest_wait.as_secs_f64()
        }),
        ("queue_joined_total", "counter", "Callers who joined.", |of| of.counts.joined as f64),
        ("queue_offered_total", "counter", "Offers to agents.", |of| of.counts.offered as f64),
        ("queue_accepted_total", "counter", "Offers that an agent took.", |of| {
            of.counts.accepted as f64
        }),
        ("queue_accepted_live_total", "counter", "Of them, callers on the line.", |of| {
            of.counts.accepted_live as f64
        }),
        (
            "queue_accepted_in_time_total",
            "counter",
            "Of these, within 20 s; by queue_accepted_live_total it is the service level.",
            |of| of.counts.accepted_in_time as f64,
        ),
        ("queue_abandoned_total", "counter", "Callers who hung up without a callback.", |of| {
            of.counts.abandoned as f64
        }),
    ];
    for (name, kind, help, figure) in figures {
        head(text, name, kind, help);
        for of in queues {
            let (queue, flow) = (label(&of.queue), label(&of.flow));
            let value = figure(of);
            let _ = writeln!(text, "ringback_{name}{{queue=\"{queue}\",flow=\"{flow}\"}} {value}");
        }
    }
    head(text, "promises_made_total", "counter", "Callbacks that were promised.");
    let _ = writeln!(text, "ringback_promises_made_total {}", promises.made);
    head(text, "promises_ended_total", "counter", "Promises that have ended, by how.");
    for (end, count) in &promises.ended {
        let end = format!("{end:?}").to_lowercase();
        let _ = writeln!(text, "ringback_promises_ended_total{{end=\"{end}\"}} {count}");
    }
    head(text, "attempts_total", "counter", "Attempts to reach a customer, by outcome.");
    for (outcome, count) in &promises.attempts {
        let outcome = serde_json::to_value(outcome).unwrap_or_default();
        let outcome = outcome.as_str().unwrap_or_default();
        let _ = writeln!(text, "ringback_attempts_total{{outcome=\"{outcome}\"}} {count}");
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP ringback_{name} {help}\n# TYPE ringback_{name} {kind}");
}

/// A label's value as the format wants it.
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
