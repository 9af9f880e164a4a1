//! Runs of flows: the last of them, and the steps of one.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use serde_json::Value;

use super::{Admin, Route, problem};
use crate::flow::RunId;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route {
            method: "get",
            path: "/api/runs",
            summary: "The last runs of flows, the latest first",
            parameters: &[],
            body: &[],
            answers: &[("200", "A list of runs")],
            serve: get(runs),
        },
        Route {
            method: "get",
            path: "/api/runs/{id}",
            summary: "One run with its steps",
            parameters: &[("id", "path", "The id of the run")],
            body: &[],
            answers: &[("200", "The run"), ("404", "No such run is remembered")],
            serve: get(run),
        },
    ]
}

async fn runs(State(admin): State<Admin>) -> Json<Value> {
    Json(admin.0.history.list(admin.0.clock.wall_ms()))
}

async fn run(State(admin): State<Admin>, Path(id): Path<String>) -> Response {
    let found = id.parse().ok().map(RunId);
    match found.and_then(|id| admin.0.history.show(id, admin.0.clock.wall_ms())) {
        Some(run) => Json(run).into_response(),
        None => problem(StatusCode::NOT_FOUND, "no run with this id is kept"),
    }
}
