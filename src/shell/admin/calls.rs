//! Calls: those that go on, those that ended last, and one of them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::Value;

use super::{Admin, Route, problem};
use crate::shell::calls::{self, CALLS_MAX};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route {
            method: "get",
            path: "/api/calls",
            summary: "The calls that go on, then those that ended last, each the newest first",
            parameters: &[],
            body: &[],
            answers: &[("200", "A list of calls")],
            serve: get(list),
        },
        Route {
            method: "get",
            path: "/api/calls/{call}",
            summary: "One call: its record and those of its legs",
            parameters: &[("call", "path", "The name of the call")],
            body: &[],
            answers: &[("200", "Its records"), ("404", "No call of this name is kept")],
            serve: get(one),
        },
    ]
}

async fn list(State(admin): State<Admin>) -> Response {
    let mut listed = match admin.ask(|switch, _| switch.live_calls(CALLS_MAX)).await {
        Ok(listed) => listed,
        Err(response) => return response,
    };
    listed.reverse();
    listed.sort_by_key(|call| call.get("ended").is_some());
    let data = admin.0.data.clone();
    let ended = tokio::task::spawn_blocking(move || calls::last(&data, CALLS_MAX));
    listed.extend(ended.await.unwrap_or_default());
    Json(Value::from(listed)).into_response()
}

async fn one(State(admin): State<Admin>, Path(name): Path<String>) -> Response {
    let named = name.clone();
    let live = match admin.ask(move |switch, _| switch.live_call(&named)).await {
        Ok(live) => live,
        Err(response) => return response,
    };
    let found = match live {
        Some(records) => Some(records),
        None => {
            let data = admin.0.data.clone();
            let ended = tokio::task::spawn_blocking(move || calls::find(&data, &name));
            ended.await.ok().flatten()
        }
    };
    match found {
        Some(records) => Json(Value::from(records)).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no call of this name is kept"),
    }
}
