//! The exchange of flows while calls go on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::json;

use super::{Admin, Route, problem};
use crate::shell::reload::{Refused, value};

pub(super) fn routes() -> Vec<Route> {
    vec![Route {
        method: "post",
        path: "/api/reload",
        summary: "Reads flows and their credentials again, and exchanges the workflows; calls go on",
        parameters: &[],
        body: &[],
        answers: &[
            ("200", "The active workflows, what came, and what went"),
            ("409", "The flows of before stay in force: `error` says why"),
            ("422", "The flows of before stay in force: `problems` names all that is wrong"),
        ],
        serve: post(reload),
    }]
}

async fn reload(State(admin): State<Admin>) -> Response {
    let reloader = Arc::clone(&admin.0.reloader);
    let Ok(outcome) = tokio::task::spawn_blocking(move || reloader.reload()).await else {
        return problem(StatusCode::INTERNAL_SERVER_ERROR, "the files could not be read: a bug");
    };
    let refused = match outcome {
        Ok(reloaded) => return Json(value(&reloaded)).into_response(),
        Err(refused) => refused,
    };
    let error = refused.to_string();
    match refused {
        Refused::Unanswered => problem(StatusCode::SERVICE_UNAVAILABLE, &error),
        Refused::Switch(_) | Refused::Credentials(_) => problem(StatusCode::CONFLICT, &error),
        Refused::Problems(problems) => {
            let told = json!({ "error": error, "problems": problems });
            (StatusCode::UNPROCESSABLE_ENTITY, Json(told)).into_response()
        }
    }
}
