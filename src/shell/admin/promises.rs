//! Promises: to look at, to ask for one (A6), and to take one back (A12).

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::json;

use super::{ANSWER_MAX, Admin, Route, problem};
use crate::call::{NotPromised, PromiseMade, PromiseRequest, Withdrawal};
use crate::promise::{Refused, RequestKey};
use crate::shell::webhooks::pairs;

/// What a request is known by, should it come again (draft-ietf-httpapi-idempotency-key-header).
const KEY: &str = "idempotency-key";

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
            body: &[],
            answers: &[("200", "A list of promises"), ("400", "A parameter is no number")],
            serve: get(promises),
        },
        Route {
            method: "post",
            path: "/api/promises",
            summary: "Promises a callback, as if the customer had joined now and hung up; it is on \
                      disk before the answer",
            parameters: &[(
                "Idempotency-Key",
                "header",
                "1 to 64 visible characters of ASCII that no other request has; a request that is \
                 sent again with its key is answered alike, and changes nothing",
            )],
            body: &[
                ("queue", true, "The queue by its ref, or as WORKFLOW/REF"),
                ("number", true, "The number to call"),
                ("name", false, "The name that agents see"),
                ("trunk", false, "The ref of the trunk to call by, when several could"),
                ("override_hours", false, "Why the customer may be called outside the hours"),
            ],
            answers: &[
                ("200", "The request has come before, or the number had a promise: `merged`"),
                ("201", "The promise"),
                ("400", "The key or the body cannot be read"),
                ("403", "The number or the queue is not for callbacks: `error` says why"),
                ("404", "No such queue; `error` names those that are there"),
                ("409", "The key was used for a request with other arguments"),
                ("422", "The number cannot be dialled, or queue or trunk must be named in full"),
                ("429", "Number or queue have had their callbacks for today"),
            ],
            serve: post(request),
        },
        Route {
            method: "get",
            path: "/api/promises/{promise}",
            summary: "One open promise",
            parameters: PROMISE,
            body: &[],
            answers: &[("200", "The promise"), ("404", "No such promise is open")],
            serve: get(promise),
        },
        Route {
            method: "delete",
            path: "/api/promises/{promise}",
            summary: "Takes a promise back; it is on disk before the answer",
            parameters: PROMISE,
            body: &[],
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

/// The body of a request for a promise.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    queue: String,
    number: String,
    name: Option<String>,
    trunk: Option<String>,
    override_hours: Option<String>,
}

async fn request(State(admin): State<Admin>, headers: HeaderMap, body: Bytes) -> Response {
    let Some(key) = key_of(&headers) else {
        let why = "send the header `Idempotency-Key` once, with 1 to 64 visible characters of ASCII \
                   that no other request has";
        return problem(StatusCode::BAD_REQUEST, why);
    };
    let Body { queue, number, name, trunk, override_hours } = match serde_json::from_slice(&body) {
        Ok(body) => body,
        Err(error) => {
            let why = format!(
                "the body cannot be read: {error}: send a JSON object such as \
                 {{\"queue\": \"support\", \"number\": \"+4930123456\"}}"
            );
            return problem(StatusCode::BAD_REQUEST, &why);
        }
    };
    let wish = PromiseRequest { key, queue, number, name, trunk, override_hours };
    let made = match admin.ask(move |switch, now| switch.request_promise(&wish, now)).await {
        Ok(Ok(made)) => made,
        Ok(Err(why)) => return problem(status_of(&why), &why.to_string()),
        Err(response) => return response,
    };
    let PromiseMade { promise, recorded, is_merged, is_repeated } = made;
    if !admin.is_written(recorded).await {
        let why = "the journal has not taken the promise: send the request again with its key";
        return problem(StatusCode::SERVICE_UNAVAILABLE, why);
    }
    let looked = admin.ask(move |switch, _| switch.look_at_promise(promise)).await;
    let mut shown = match looked {
        Ok(shown) => shown.unwrap_or_else(|| json!({ "promise": promise, "state": "ended" })),
        Err(response) => return response,
    };
    shown["merged"] = is_merged.into();
    let is_new = !is_merged && !is_repeated;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    (status, Json(shown)).into_response()
}

/// The key of a request, as a plain text or, as the draft has it, as a string of RFC 8941.
fn key_of(headers: &HeaderMap) -> Option<RequestKey> {
    let mut given = headers.get_all(KEY).iter();
    let (Some(given), None) = (given.next(), given.next()) else { return None };
    let text = given.to_str().ok()?.trim();
    let quoted = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    RequestKey::parse(quoted.unwrap_or(text))
}

const fn status_of(why: &NotPromised) -> StatusCode {
    match why {
        NotPromised::UnknownQueue(_) => StatusCode::NOT_FOUND,
        NotPromised::QueueNotUnique(_)
        | NotPromised::BadNumber
        | NotPromised::UnknownTrunk(_)
        | NotPromised::TrunkNotUnique(_) => StatusCode::UNPROCESSABLE_ENTITY,
        NotPromised::NumberForbidden | NotPromised::Denied(_) => StatusCode::FORBIDDEN,
        NotPromised::Refused(refused) => match refused {
            Refused::OtherArguments => StatusCode::CONFLICT,
            Refused::BadText => StatusCode::UNPROCESSABLE_ENTITY,
            Refused::NotOffered => StatusCode::FORBIDDEN,
            Refused::NumberLimit
            | Refused::QueueLimit
            | Refused::TooMany
            | Refused::TooManyKeys => StatusCode::TOO_MANY_REQUESTS,
            Refused::Unknown
            | Refused::Live
            | Refused::Attempting
            | Refused::NotDue
            | Refused::OutsideHours
            | Refused::NumberBusy
            | Refused::JournalFailed => StatusCode::SERVICE_UNAVAILABLE,
        },
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
