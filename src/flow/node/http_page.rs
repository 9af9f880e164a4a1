//! Pages: an answer says whether and how there is more, and the next request asks for it.
//!
//! What an author writes about pages is resolved anew for each of them, with `$pageCount`,
//! `$response` and `$request`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::flow::node::condition::plain;
use crate::flow::node::http_request::PAGE;
use crate::flow::{Fault, HttpResponse, Item, Object};

/// Pages of one item that are asked for when the author sets no limit; one more fails the node.
const PAGES_MAX: u64 = 1000;

/// The pages of one item so far.
#[derive(Debug)]
pub(in crate::flow) struct Pages {
    /// The parameters of the first request, without what is different in each.
    parameters: Arc<Object>,
    count: u64,
    items: Vec<(usize, Item)>,
}

/// A page as it came.
#[derive(Clone, Debug)]
pub struct Page {
    /// What was asked for, as `$request` shows it.
    pub request: Value,
    /// What was answered.
    pub response: HttpResponse,
    /// The items that the answer became, or why it did not.
    pub items: Result<Vec<(usize, Item)>, Fault>,
}

/// What comes after a page.
pub(in crate::flow) enum Next {
    /// Another request with these parameters.
    Ask(Arc<Object>),
    /// All items.
    Done(Vec<(usize, Item)>),
}

impl Pages {
    pub(in crate::flow) const fn new(parameters: Arc<Object>) -> Self {
        Self { parameters, count: 0, items: Vec::new() }
    }

    /// What scripts see before the first page.
    pub(in crate::flow) fn facts_before() -> Object {
        facts(0, Value::Null, Value::Null)
    }

    /// The parameters of the first request.
    pub(in crate::flow) fn first(&self, wanted: &Object) -> Arc<Object> {
        self.with(wanted, false)
    }

    /// What scripts see after a page.
    pub(in crate::flow) fn facts(&self, page: &Page) -> Object {
        facts(self.count + 1, page.response.to_json(), page.request.clone())
    }

    /// Takes a page, with what its author wants now that it is there.
    pub(in crate::flow) fn take(&mut self, page: Page, wanted: &Object) -> Result<Next, Fault> {
        self.count += 1;
        let is_last = match wanted.get("paginationCompleteWhen").and_then(Value::as_str) {
            Some("receiveSpecificStatusCodes") => {
                let codes = wanted.get("statusCodesWhenComplete").map(plain).unwrap_or_default();
                let is_said =
                    codes.split(',').any(|code| code.trim().parse() == Ok(page.response.status));
                // What comes with the status that ends the pages is none of them, if it is an error.
                if is_said && !(200..300).contains(&page.response.status) {
                    return Ok(Next::Done(std::mem::take(&mut self.items)));
                }
                is_said
            }
            Some("other") => is_true(wanted.get("completeExpression")),
            Some(_) | None => page.response.is_empty(),
        };
        self.items.extend(page.items?);
        let limit = wanted.get("maxRequests").and_then(Value::as_u64).unwrap_or(100);
        let is_limited = wanted.get("limitPagesFetched").is_some_and(|limits| *limits == true);
        let is_by_url = is_by_url(wanted);
        let next = wanted.get("nextURL").map(plain).unwrap_or_default();
        if is_last || (is_limited && self.count >= limit) || (is_by_url && next.is_empty()) {
            return Ok(Next::Done(std::mem::take(&mut self.items)));
        }
        if self.count >= PAGES_MAX {
            let message = format!("{PAGES_MAX} pages, and no end: limit the pages");
            return Err(Fault::new("E-FLOW-HTTP", message));
        }
        Ok(Next::Ask(self.with(wanted, true)))
    }

    /// The parameters with what this page's request has of its own.
    fn with(&self, wanted: &Object, is_further: bool) -> Arc<Object> {
        let mut own = json!({ "url": null, "qs": {}, "headers": {}, "body": {} });
        if is_by_url(wanted) {
            if is_further {
                own["url"] = wanted.get("nextURL").map(plain).unwrap_or_default().into();
            }
        } else {
            let list = wanted.get("parameters").and_then(|list| list["parameters"].as_array());
            for parameter in list.into_iter().flatten() {
                let place = parameter["type"].as_str().unwrap_or("qs");
                let name = plain(&parameter["name"]);
                if let Some(fields) = own[place].as_object_mut().filter(|_| !name.is_empty()) {
                    fields.insert(name, parameter["value"].clone());
                }
            }
        }
        if is_further {
            let pause = wanted.get("requestInterval").and_then(Value::as_u64).unwrap_or(0);
            own["pauseMs"] = pause.into();
        }
        let mut parameters = Object::clone(&self.parameters);
        parameters.insert(PAGE.to_owned(), own);
        Arc::new(parameters)
    }
}

/// Whether an author wants pages at all.
pub(in crate::flow) fn is_wanted(wanted: &Object) -> bool {
    wanted.get("paginationMode").and_then(Value::as_str).is_some_and(|mode| mode != "off")
}

fn is_by_url(wanted: &Object) -> bool {
    wanted.get("paginationMode").is_some_and(|mode| mode == "responseContainsNextURL")
}

fn facts(count: u64, response: Value, request: Value) -> Object {
    let response = if response.is_null() { json!({}) } else { response };
    let request = if request.is_null() { json!({}) } else { request };
    let facts = [("pageCount", count.into()), ("response", response), ("request", request)];
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn is_true(value: Option<&Value>) -> bool {
    match value {
        Some(Value::Bool(is_true)) => *is_true,
        Some(Value::String(text)) => !text.is_empty() && text != "false",
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::Array(_) | Value::Object(_)) => true,
        Some(Value::Null) | None => false,
    }
}

/// How long a request waits before it leaves.
pub(super) fn pause(own: &Value) -> Duration {
    Duration::from_millis(own["pauseMs"].as_u64().unwrap_or(0).min(60_000))
}
