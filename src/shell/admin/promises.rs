//! Promises: to look at, and to take one back (A12).

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get};
use serde_json::json;

use super::{ANSWER_MAX, Admin, Route, problem};
use crate::call::Withdrawal;
use crate::shell::webhooks::pairs;

/// Promises of one list, unless fewer are wished.
const PROMISES_SHOWN_MAX: usize = 1000;

pub(super) fn routes() -> Vec<Route> {
    const PROMISE: &[(&str, &str, &str)] = &[("promise", "path", "The number of the promise")];
    vec![
        Route {
            method: "get",
            path: "/api/promises",
            summary: "Open promises, oldest first",
            parameters: &[
                ("after", "query", "Only promises with a greater number than this"),
                ("limit", "query", "At most so many, 1000 when not given"),
            ],
            answers: &[("200", "A list of promises"), ("400", "A parameter is no number")],
            serve: get(promises),
        },
        Route {
            method: "get",
            path: "/api/promises/{promise}",
            summary: "One open promise",
            parameters: PROMISE,
            answers: &[("200", "The promise"), ("404", "No such promise is open")],
            serve: get(promise),
        },
        Route {
            method: "delete",
            path: "/api/promises/{promise}",
            summary: "Takes a promise back; it is on disk before the answer",
            parameters: PROMISE,
            answers: &[
                ("200", "It has ended; `end` says how"),
                ("202", "The customer is being dialled; it ends with the dial, which is broken"),
                ("404", "No such promise is open"),
                ("409", "The customer has answered"),
            ],
            serve: delete(withdraw),
        },
    ]
}

async fn promises(State(admin): State<Admin>, RawQuery(query): RawQuery) -> Response {
    let query = pairs(&query.unwrap_or_default());
    let number = |name: &str, standard: u64| match query.get(name) {
        None => Ok(standard),
        Some(given) => given
            .as_str()
            .and_then(|text| text.parse::<u64>().ok())
            .ok_or_else(|| format!("`{name}` is no whole number: {given}")),
    };
    let (after, limit) = match (number("after", 0), number("limit", PROMISES_SHOWN_MAX as u64)) {
        (Ok(after), Ok(limit)) => (after, limit.min(PROMISES_SHOWN_MAX as u64) as usize),
        (Err(why), _) | (_, Err(why)) => return problem(StatusCode::BAD_REQUEST, &why),
    };
    match admin.ask(move |switch, _| switch.look_at_promises(after, limit)).await {
        Ok(promises) => Json(promises).into_response(),
        Err(response) => response,
    }
}

async fn promise(State(admin): State<Admin>, Path(promise): Path<String>) -> Response {
    let Ok(number) = promise.parse::<u64>() else { return unknown(&promise) };
    match admin.ask(move |switch, _| switch.look_at_promise(number)).await {
        Ok(Some(promise)) => Json(promise).into_response(),
        Ok(None) => unknown(&promise),
        Err(response) => response,
    }
}

async fn withdraw(State(admin): State<Admin>, Path(promise): Path<String>) -> Response {
    let Ok(number) = promise.parse::<u64>() else { return unknown(&promise) };
    let ended = admin.end_of(number);
    let withdrawal = match admin.ask(move |switch, now| switch.withdraw_promise(number, now)).await
    {
        Ok(withdrawal) => withdrawal,
        Err(response) => return response,
    };
    match withdrawal {
        Withdrawal::Unknown => unknown(&promise),
        Withdrawal::TooLate => problem(StatusCode::CONFLICT, "the customer has answered"),
        Withdrawal::JournalFailed => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "the journal failed, so that nothing can be written down",
        ),
        Withdrawal::Ended | Withdrawal::Breaking => {
            match tokio::time::timeout(ANSWER_MAX, ended).await {
                Ok(Ok(end)) => Json(json!({ "promise": number, "end": end })).into_response(),
                Ok(Err(_)) | Err(_) => {
                    let value = json!({ "promise": number, "state": "breaking" });
                    (StatusCode::ACCEPTED, Json(value)).into_response()
                }
            }
        }
    }
}

fn unknown(promise: &str) -> Response {
    problem(StatusCode::NOT_FOUND, &format!("no promise {promise} is open"))
}
