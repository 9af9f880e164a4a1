//! Webhooks: HTTP requests that start runs, and the answers that runs give to them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::flow::{self, Branches, Finished, Graph, Item, NodeIndex, Object, RunId, WEBHOOK};

/// Ids of runs that no call started have this bit; the switch never chooses one.
pub(super) const OWN: u64 = 1 << 62;
/// How long a request may wait for its run.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Requests that may wait for their runs; one more is told 503.
const WAITING_MAX: usize = 1000;

/// What a request is answered with.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl Reply {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { status, headers, body: body.to_string() }
    }
}

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: Map<String, Value>,
    pub(super) headers: Map<String, Value>,
    pub(super) body: Value,
    pub(super) url: String,
}

struct Hook {
    path: String,
    methods: Vec<String>,
    graph: Arc<Graph>,
    trigger: NodeIndex,
}

/// The webhooks of all flows, shared by the threads of HTTP and of flows.
pub(super) struct Webhooks {
    hooks: Vec<Hook>,
    worker: Weak<SyncSender<flow::Input>>,
    runs: AtomicU64,
    waiting: Mutex<BTreeMap<RunId, (String, oneshot::Sender<Reply>)>>,
}

impl Webhooks {
    /// Every enabled webhook of these flows.
    pub(super) fn new(graphs: &[Arc<Graph>], worker: &Arc<SyncSender<flow::Input>>) -> Self {
        let hook = |graph: &Arc<Graph>, trigger: NodeIndex| {
            let parameters = &graph.node(trigger).parameters;
            let methods = match parameters.get("httpMethod") {
                Some(Value::Array(methods)) => {
                    methods.iter().filter_map(Value::as_str).map(str::to_owned).collect()
                }
                Some(method) => vec![method.as_str().unwrap_or("GET").to_owned()],
                None => vec!["GET".to_owned()],
            };
            let path = parameters.get("path").and_then(Value::as_str).unwrap_or_default();
            Hook { path: path.trim_matches('/').to_owned(), methods, graph: graph.clone(), trigger }
        };
        let triggers = graphs.iter().flat_map(|graph| {
            let own = graph.triggers().filter(|(_, node)| node.kind.name() == WEBHOOK);
            own.map(move |(trigger, _)| hook(graph, trigger))
        });
        let (hooks, worker) = (triggers.collect(), Arc::downgrade(worker));
        Self { hooks, worker, runs: AtomicU64::new(OWN), waiting: Mutex::default() }
    }

    /// The id of a run that no call started.
    pub(super) fn new_run(&self) -> RunId {
        RunId(self.runs.fetch_add(1, Ordering::Relaxed))
    }

    /// Starts the run of a request: an answer, or where the answer will come from.
    pub(super) fn start(&self, request: Request) -> Result<Reply, oneshot::Receiver<Reply>> {
        let known = |status, message: &str| Ok(Reply::json(status, &json!({ "message": message })));
        let found = self.hooks.iter().find_map(|hook| {
            let output = hook.methods.iter().position(|method| *method == request.method)?;
            Some((hook, output, matched(&hook.path, &request.path)?))
        });
        let Some((hook, output, params)) = found else {
            return known(404, "no flow listens to this path with this method");
        };
        let parameters = hook.graph.node(hook.trigger).parameters.clone();
        let run = self.new_run();
        let fields = [
            ("headers", Value::Object(request.headers)),
            ("params", Value::Object(params)),
            ("query", Value::Object(request.query)),
            ("body", request.body),
            ("webhookUrl", request.url.into()),
            ("executionMode", "production".into()),
        ];
        let json: Object = fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut outputs: Branches = vec![Vec::new(); hook.methods.len().max(1)];
        outputs[output].push(Item::new(json));
        let mode = parameters.get("responseMode").and_then(Value::as_str).unwrap_or("onReceived");
        let mut answer = None;
        if mode != "onReceived" {
            let (sender, receiver) = oneshot::channel();
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= WAITING_MAX {
                return known(503, "too many requests wait for their runs");
            }
            let data =
                parameters.get("responseData").and_then(Value::as_str).unwrap_or("firstEntryJson");
            let how = if mode == "lastNode" { data } else { mode };
            waiting.insert(run, (how.to_owned(), sender));
            answer = Some(receiver);
        }
        let (graph, trigger) = (hook.graph.clone(), hook.trigger);
        let start = flow::Input::Start { run, graph, trigger, outputs };
        let is_sent = self.worker.upgrade().is_some_and(|worker| worker.try_send(start).is_ok());
        match answer {
            _ if !is_sent => {
                self.take(run);
                known(503, "the server is busy")
            }
            Some(receiver) => Err(receiver),
            None => {
                let code = parameters.get("responseCode").and_then(Value::as_u64).unwrap_or(200);
                known(u16::try_from(code).unwrap_or(200), "Workflow was started")
            }
        }
    }

    fn take(&self, run: RunId) -> Option<(String, oneshot::Sender<Reply>)> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&run)
    }

    /// A node answers the request that started its run, if that still waits.
    pub(super) fn respond(&self, run: RunId, parameters: &Object, items: &[Item]) {
        if let Some((_, waiting)) = self.take(run) {
            let _ = waiting.send(reply(parameters, items));
        }
    }

    /// A run is over: whoever waits for its end is told.
    pub(super) fn finish(&self, run: RunId, outcome: &Finished, last: &Branches) {
        let Some((how, waiting)) = self.take(run) else { return };
        let items = last.first().map_or(&[][..], Vec::as_slice);
        let all =
            || items.iter().map(|item| Value::Object(Object::clone(&item.json))).collect::<Value>();
        let reply = match (outcome, how.as_str()) {
            (Finished::Success, "allEntries") => Reply::json(200, &all()),
            (Finished::Success, "noData" | "responseNode") => {
                Reply { status: 200, ..Reply::default() }
            }
            (Finished::Success, _) => Reply::json(200, &all()[0]),
            (Finished::Failed { .. } | Finished::Cancelled, _) => {
                Reply::json(500, &json!({ "message": "Error in workflow" }))
            }
        };
        let _ = waiting.send(reply);
    }
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} webhooks", self.hooks.len())
    }
}

/// What a Respond to Webhook node says.
fn reply(parameters: &Object, items: &[Item]) -> Reply {
    let options = parameters.get("options").cloned().unwrap_or_default();
    let status = options["responseCode"].as_u64().and_then(|code| u16::try_from(code).ok());
    let status = status.filter(|status| (200..600).contains(status)).unwrap_or(200);
    let text = |key: &str| match parameters.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => String::new(),
    };
    let json_of = |item: &Item| Value::Object(Object::clone(&item.json));
    let first = || items.first().map_or(Value::Null, json_of);
    let mut reply = match text("respondWith").as_str() {
        "allIncomingItems" => Reply::json(status, &items.iter().map(json_of).collect()),
        "json" => Reply { body: text("responseBody"), ..Reply::json(status, &Value::Null) },
        "noData" => Reply { status, ..Reply::default() },
        "redirect" => Reply {
            status: if (300..400).contains(&status) { status } else { 307 },
            headers: vec![("location".to_owned(), text("redirectURL"))],
            body: String::new(),
        },
        "text" => Reply {
            status,
            headers: vec![("content-type".to_owned(), "text/html; charset=utf-8".to_owned())],
            body: text("responseBody"),
        },
        _ => Reply::json(status, &first()),
    };
    for entry in options["responseHeaders"]["entries"].as_array().into_iter().flatten() {
        if let (Some(name), Some(value)) = (entry["name"].as_str(), entry["value"].as_str()) {
            reply.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
            reply.headers.push((name.to_owned(), value.to_owned()));
        }
    }
    reply
}

/// The parameters of a path such as `orders/:id`, when it is the one that was asked for.
fn matched(pattern: &str, path: &str) -> Option<Map<String, Value>> {
    let (pattern, path) = (pattern.split('/'), path.trim_matches('/').split('/'));
    let (pattern, path): (Vec<&str>, Vec<&str>) = (pattern.collect(), path.collect());
    if pattern.len() != path.len() {
        return None;
    }
    let mut params = Map::new();
    for (wanted, given) in pattern.into_iter().zip(path) {
        match wanted.strip_prefix(':') {
            Some(name) => {
                params.insert(name.to_owned(), given.into());
            }
            None if wanted != given => return None,
            None => {}
        }
    }
    Some(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_answers() {
        assert_eq!(matched("a/:id", "/a/7").unwrap()["id"], "7");
        assert!(matched("a/:id", "a").is_none() && matched("a", "b").is_none());
        let parameters = json!({ "respondWith": "text", "responseBody": "hi",
            "options": { "responseCode": 201,
                "responseHeaders": { "entries": [{ "name": "X-A", "value": "b" }] } } });
        let said = reply(parameters.as_object().unwrap(), &[]);
        assert_eq!((said.status, said.body.as_str()), (201, "hi"));
        assert!(said.headers.contains(&("X-A".to_owned(), "b".to_owned())));
    }
}
