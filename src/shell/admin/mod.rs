//! The API of operators beneath `/api/`: who may use it, its routes, and their description as
//! OpenAPI. What it is asked, the signalling thread answers.
//!
//! A route is one entry of [`routes`], and the description is made of the same list.

mod calls;
mod promises;
pub(super) mod queues;
mod reload;
mod runs;
mod token;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use serde_json::{Map, Value, json};
use tokio::sync::{Semaphore, oneshot};

use crate::base::Tick;
use crate::call::Switch;
use crate::shell::Clock;
use crate::shell::history::History;
use crate::shell::quota::Quota;
use crate::shell::reload::Reloader;
use crate::shell::signalling::{Input, Question};
use crate::shell::wake::Sender;

pub(super) use token::Token;

/// Questions that may wait for the signalling thread; whoever comes beyond is told 503.
const QUESTIONS_MAX: usize = 64;
/// How long the signalling thread may take; then the answer is 503.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Wrong tokens a second that are answered 401; more are told 429. The right one is always heard.
const WRONG_MAX: u32 = 5;

/// What handlers share.
#[derive(Clone)]
pub(super) struct Admin(Arc<Inner>);

struct Inner {
    token: Token,
    signalling: Sender<Input>,
    history: Arc<History>,
    reloader: Arc<Reloader>,
    /// Where call records are.
    data: PathBuf,
    questions: Semaphore,
    wrong: Mutex<Quota>,
    clock: Clock,
}

impl Admin {
    pub(super) fn new(
        token: Token,
        signalling: Sender<Input>,
        history: Arc<History>,
        reloader: Arc<Reloader>,
        clock: Clock,
        data: PathBuf,
    ) -> Self {
        let (questions, wrong) = (Semaphore::new(QUESTIONS_MAX), Mutex::new(Quota::new(WRONG_MAX)));
        Self(Arc::new(Inner {
            token,
            signalling,
            history,
            reloader,
            data,
            questions,
            wrong,
            clock,
        }))
    }

    /// The clock of the server.
    pub(super) fn clock(&self) -> Clock {
        self.0.clock
    }

    /// The routes, all behind the token.
    pub(super) fn router(self) -> Router {
        let served = routes()
            .into_iter()
            .fold(Router::new(), |router, route| router.route(route.path, route.serve));
        let unknown = any(|| async {
            problem(StatusCode::NOT_FOUND, "no such path; /api/openapi.json lists them all")
        });
        let routes = served.route("/api/{*path}", unknown);
        routes.layer(middleware::from_fn_with_state(self.clone(), guard)).with_state(self)
    }

    /// Has the signalling thread look at, or change, what the switch holds.
    ///
    /// # Errors
    ///
    /// 503 when too many ask, or when the thread does not answer in time.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut Switch, Tick) -> T + Send + 'static,
    ) -> Result<T, Response> {
        let unavailable = |why| problem(StatusCode::SERVICE_UNAVAILABLE, why);
        let _permit = self.0.questions.try_acquire().map_err(|_| unavailable("too many ask"))?;
        let (reply, answer) = oneshot::channel();
        let question = Question::new(move |switch, now| {
            // Whoever asked and went away does not want to know any more.
            let _ = reply.send(look(switch, now));
        });
        self.0.signalling.send(Input::Ask(question));
        match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(unavailable("signalling does not answer")),
        }
    }

    /// Waits until a record is on disk; false when it is not in time, or never will be.
    pub(super) async fn is_written(&self, sequence: u64) -> bool {
        let (reply, written) = oneshot::channel();
        self.0.signalling.send(Input::WhenDurable(sequence, reply));
        matches!(tokio::time::timeout(ANSWER_MAX, written).await, Ok(Ok(())))
    }

    /// Hears of the end of a promise once it is on disk; ask for it before what may end it.
    pub(super) fn end_of(&self, promise: u64) -> oneshot::Receiver<String> {
        let (reply, ended) = oneshot::channel();
        self.0.signalling.send(Input::WhenEnded(promise, reply));
        ended
    }
}

/// One path with one method.
struct Route {
    method: &'static str,
    path: &'static str,
    /// What it does, as the description says it.
    summary: &'static str,
    /// Parameters: name, where (`path`, `query`, `header`), what.
    parameters: &'static [(&'static str, &'static str, &'static str)],
    /// What the body holds, as a JSON object of texts: name, whether it must be there, what.
    body: &'static [(&'static str, bool, &'static str)],
    /// Answers: status and meaning, besides 401, 429 and 503, which every route may give.
    answers: &'static [(&'static str, &'static str)],
    serve: MethodRouter<Admin>,
}

fn routes() -> Vec<Route> {
    let mut all = promises::routes();
    all.extend(queues::routes());
    all.extend(calls::routes());
    all.extend(runs::routes());
    all.extend(reload::routes());
    all.push(Route {
        method: "get",
        path: "/api/openapi.json",
        summary: "This description",
        parameters: &[],
        body: &[],
        answers: &[("200", "OpenAPI 3.1")],
        serve: get(|| async { axum::Json(description(&routes())) }),
    });
    all
}

/// Every route as OpenAPI 3.1.
fn description(routes: &[Route]) -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for route in routes {
        let parameters = route.parameters.iter().map(|(name, place, what)| {
            json!({
                "name": name,
                "in": place,
                "required": *place != "query",
                "description": what,
                "schema": { "type": "string" },
            })
        });
        let always = [
            ("401", "The token is missing or wrong"),
            ("429", "Too many wrong tokens"),
            ("503", "Signalling does not answer, or too many ask"),
        ];
        let answers = route.answers.iter().chain(&always);
        let answers = answers
            .map(|(status, what)| ((*status).to_owned(), json!({ "description": what })))
            .collect::<Map<_, _>>();
        let mut operation = json!({
            "summary": route.summary,
            "parameters": parameters.collect::<Vec<_>>(),
            "responses": answers,
        });
        if !route.body.is_empty() {
            operation["requestBody"] = request_body(route.body);
        }
        paths.entry(route.path).or_insert_with(|| json!({}))[route.method] = operation;
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Ringback", "version": env!("CARGO_PKG_VERSION") },
        "security": [{ "token": [] }],
        "components": { "securitySchemes": { "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "The text of the file admin-token in the data directory",
        } } },
        "paths": paths,
    })
}

fn request_body(fields: &[(&str, bool, &str)]) -> Value {
    let properties = fields.iter().map(|(name, _, what)| {
        ((*name).to_owned(), json!({ "type": "string", "description": what }))
    });
    let required = fields.iter().filter(|(_, is_required, _)| *is_required);
    json!({
        "required": true,
        "content": { "application/json": { "schema": {
            "type": "object",
            "properties": properties.collect::<Map<_, _>>(),
            "required": required.map(|(name, ..)| *name).collect::<Vec<_>>(),
            "additionalProperties": false,
        } } },
    })
}

/// Lets through who has the token.
async fn guard(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    if bearer(request.headers()).is_some_and(|given| admin.0.token.is(given)) {
        return next.run(request).await;
    }
    let may_be_told = {
        let mut wrong = admin.0.wrong.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        wrong.take(admin.0.clock.now())
    };
    let Some(left_out) = may_be_told else {
        let after = [(header::RETRY_AFTER, "1")];
        return (after, problem(StatusCode::TOO_MANY_REQUESTS, "too many wrong tokens"))
            .into_response();
    };
    tracing::warn!(left_out, "the API was asked without its token");
    let challenge = [(header::WWW_AUTHENTICATE, "Bearer realm=\"ringback\"")];
    let why = "send `Authorization: Bearer TOKEN`; the token is the text of the file admin-token \
               in the server's data directory";
    (challenge, problem(StatusCode::UNAUTHORIZED, why)).into_response()
}

/// The credentials of RFC 6750 2.1.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let given = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = given.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// An answer that says what is wrong.
fn problem(status: StatusCode, why: &str) -> Response {
    (status, axum::Json(json!({ "error": why }))).into_response()
}

#[cfg(test)]
mod tests;
