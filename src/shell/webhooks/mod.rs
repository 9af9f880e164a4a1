//! Webhooks: HTTP requests that start runs, and the answers that runs give to them.

mod auth;
mod body;
mod reply;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;

use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::flow::{
    self, AskId, Branches, Fault, Finished, Graph, Item, NodeIndex, Object, Resume, RunId, WEBHOOK,
};
use crate::shell::bounded;
use crate::shell::credentials::Credentials;
use auth::Auth;
pub(super) use body::{Content, Part, pairs};
pub(super) use reply::Reply;

/// Ids of runs that no call started begin here: a round number for people, and more than calls
/// ever come to.
pub(super) const OWN: u64 = 1_000_000_000_000;
/// How long a request may wait for its run.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(60);
/// Bytes that a request may carry.
pub(super) const BODY_MAX: usize = 16 * 1024 * 1024;
/// Requests that may wait for their runs; one more is told 503.
const WAITING_MAX: usize = 1000;

/// A request as it came, without what it carries.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) path: String,
    /// Whether it is for a run that waits, and starts none.
    pub(super) is_resumption: bool,
    pub(super) query: Map<String, Value>,
    pub(super) headers: Map<String, Value>,
    pub(super) url: String,
    pub(super) peer: IpAddr,
}

struct Hook {
    path: String,
    methods: Vec<String>,
    parameters: Arc<Object>,
    version: f64,
    auth: Auth,
    purpose: Purpose,
}

/// What a request does.
enum Purpose {
    /// It starts a run.
    Start(Arc<Graph>, NodeIndex),
    /// It is what a run waits for.
    Resume(RunId, AskId),
}

/// The webhook that a request is for, which let it in.
pub(super) struct Admitted {
    hook: Arc<Hook>,
    output: usize,
    params: Map<String, Value>,
    /// What its token says.
    payload: Option<Value>,
}

/// A request that waits for its run.
struct Waiting {
    hook: Arc<Hook>,
    answer: oneshot::Sender<Reply>,
}

/// The webhooks of all flows, shared by the threads of HTTP and of flows.
pub(super) struct Webhooks {
    /// Those of the active flows; requests that were admitted keep theirs.
    hooks: RwLock<Vec<Arc<Hook>>>,
    worker: Weak<bounded::Sender<flow::Input>>,
    runs: AtomicU64,
    waiting: Mutex<BTreeMap<RunId, Waiting>>,
    /// Runs that wait for a request.
    resumes: Mutex<BTreeMap<RunId, Arc<Hook>>>,
    credentials: Credentials,
    /// What the names of waiting runs are made with.
    secret: String,
}

impl Webhooks {
    /// Every enabled webhook of these flows.
    pub(super) fn new(
        graphs: &[Arc<Graph>],
        worker: &Arc<bounded::Sender<flow::Input>>,
        credentials: Credentials,
        secret: &str,
    ) -> Arc<Self> {
        let (runs, waiting, resumes) = (AtomicU64::new(OWN), Mutex::default(), Mutex::default());
        let (hooks, worker) = (RwLock::default(), Arc::downgrade(worker));
        let webhooks =
            Self { hooks, worker, runs, waiting, resumes, credentials, secret: secret.to_owned() };
        webhooks.listen(graphs);
        Arc::new(webhooks)
    }

    /// From now on the enabled webhooks of these flows are listened to, and no others.
    pub(super) fn listen(&self, graphs: &[Arc<Graph>]) {
        let triggers = graphs.iter().flat_map(|graph| {
            let own = graph.triggers().filter(|(_, node)| node.kind.name() == WEBHOOK);
            own.map(|(trigger, _)| Arc::new(Hook::new(graph, trigger, &self.credentials)))
        });
        let hooks = triggers.collect();
        *self.hooks.write().unwrap_or_else(PoisonError::into_inner) = hooks;
    }

    /// Who may be meant by a request.
    fn heard(&self, request: &Request) -> Vec<Arc<Hook>> {
        if !request.is_resumption {
            return self.hooks.read().unwrap_or_else(PoisonError::into_inner).clone();
        }
        let token = request.path.trim_matches('/').split('/').next().unwrap_or_default();
        let run = token.split('-').next().and_then(|run| run.parse().ok()).map(RunId);
        let is_it = |run: &RunId| Resume::token(&self.secret, *run) == token;
        let resumes = self.resumes.lock().unwrap_or_else(PoisonError::into_inner);
        run.filter(is_it).and_then(|run| resumes.get(&run)).cloned().into_iter().collect()
    }

    /// A node of a run waits for a request.
    pub(super) fn wait(
        &self,
        run: RunId,
        ask: AskId,
        parameters: Arc<Object>,
        named: &BTreeMap<String, String>,
    ) {
        let wanted = parameters.get("incomingAuthentication").and_then(Value::as_str);
        let auth = Auth::read(wanted, named, &self.credentials);
        let suffix = parameters.get("options").map_or(&Value::Null, |all| &all["webhookSuffix"]);
        let path = match suffix.as_str().unwrap_or_default().trim_matches('/') {
            "" => Resume::token(&self.secret, run),
            suffix => format!("{}/{suffix}", Resume::token(&self.secret, run)),
        };
        let (methods, purpose) = (methods(&parameters), Purpose::Resume(run, ask));
        let hook = Hook { path, methods, parameters, version: 1.0, auth, purpose };
        let mut resumes = self.resumes.lock().unwrap_or_else(PoisonError::into_inner);
        resumes.insert(run, Arc::new(hook));
    }

    /// A run waits for no request any longer; whether it did.
    pub(super) fn wait_no_longer(&self, run: RunId) -> bool {
        self.resumes.lock().unwrap_or_else(PoisonError::into_inner).remove(&run).is_some()
    }

    /// The id of a run that no call started.
    pub(super) fn new_run(&self) -> RunId {
        RunId(self.runs.fetch_add(1, Ordering::Relaxed))
    }

    /// Looks who listens to a request, and whether it lets it in: before anything that it carries
    /// is read.
    pub(super) fn admit(&self, request: &Request) -> Result<Admitted, Reply> {
        let known = |status, message: &str| Reply::json(status, &json!({ "message": message }));
        // A path without parameters is meant before one that has some.
        let hooks = self.heard(request);
        let found = |with_params: bool| {
            hooks.iter().filter(|hook| hook.path.contains(':') == with_params).find_map(|hook| {
                let output = hook.methods.iter().position(|method| *method == request.method)?;
                Some((hook.clone(), output, matched(&hook.path, &request.path)?))
            })
        };
        let (hook, output, params) = found(false)
            .or_else(|| found(true))
            .ok_or_else(|| known(404, "no flow listens to this path with this method"))?;
        let listed = hook.option("ipWhitelist").as_str().unwrap_or_default();
        if !auth::is_listed(listed, request.peer) {
            return Err(known(403, "IP is not whitelisted to access the webhook!"));
        }
        let payload = hook.auth.judge(&request.headers)?;
        Ok(Admitted { hook, output, params, payload })
    }

    /// What a browser of another site is told about the webhooks of a path: it asks before it
    /// sends, and hides an answer that does not say that it may be seen (the Fetch standard, CORS).
    pub(super) fn cross_origin(&self, request: &Request) -> Vec<(String, String)> {
        let mut hooks = self.heard(request);
        hooks.retain(|hook| matched(&hook.path, &request.path).is_some());
        let header = |name: &str| request.headers.get(name).and_then(Value::as_str);
        let (Some(origin), Some(hook)) = (header("origin"), hooks.first()) else {
            return Vec::new();
        };
        let allowed = hook.option("allowedOrigins").as_str().unwrap_or("*").trim();
        let is_named = allowed.split(',').any(|one| one.trim() == origin);
        let said = match allowed {
            "" | "*" => "*",
            _ if is_named => origin,
            _ => return Vec::new(),
        };
        let mut told = vec![("access-control-allow-origin".to_owned(), said.to_owned())];
        if request.method == "OPTIONS" {
            let methods: Vec<&str> =
                hooks.iter().flat_map(|hook| &hook.methods).map(String::as_str).collect();
            told.push(("access-control-allow-methods".to_owned(), methods.join(", ")));
            let wanted = header("access-control-request-headers").unwrap_or("*");
            told.push(("access-control-allow-headers".to_owned(), wanted.to_owned()));
            told.push(("access-control-max-age".to_owned(), "300".to_owned()));
        }
        told
    }

    /// Starts the run of a request, or lets the run go on that waits for it: an answer, or where the
    /// answer will come from.
    pub(super) fn start(
        &self,
        admitted: Admitted,
        request: Request,
        content: Content,
    ) -> Result<Reply, oneshot::Receiver<Reply>> {
        let known = |status, message: &str| Ok(Reply::json(status, &json!({ "message": message })));
        let Admitted { hook, output, params, payload } = admitted;
        let run = match &hook.purpose {
            Purpose::Start(..) => self.new_run(),
            Purpose::Resume(run, _) => *run,
        };
        let fields = [
            ("headers", Value::Object(request.headers)),
            ("params", Value::Object(params)),
            ("query", Value::Object(request.query)),
            ("body", content.body),
            ("webhookUrl", request.url.into()),
            ("executionMode", "production".into()),
        ];
        let fields = fields.into_iter().chain(payload.map(|payload| ("jwtPayload", payload)));
        let json: Object = fields.map(|(key, value)| (key.to_owned(), value)).collect();
        let binary = (!content.binary.is_empty()).then(|| Arc::new(content.binary));
        let item = Item { binary, ..Item::new(json) };
        let mode = hook.parameters.get("responseMode").and_then(Value::as_str);
        let mut answer = None;
        if mode.is_some_and(|mode| mode != "onReceived") {
            let (sender, receiver) = oneshot::channel();
            let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            if waiting.len() >= WAITING_MAX {
                // Some may have gone away.
                waiting.retain(|_, waiting| !waiting.answer.is_closed());
            }
            if waiting.len() >= WAITING_MAX {
                return known(503, "too many requests wait for their runs");
            }
            waiting.insert(run, Waiting { hook: hook.clone(), answer: sender });
            answer = Some(receiver);
        }
        let input = match &hook.purpose {
            Purpose::Start(graph, trigger) => {
                let mut outputs: Branches = vec![Vec::new(); hook.methods.len().max(1)];
                outputs[output].push(item);
                flow::Input::Start { run, graph: graph.clone(), trigger: *trigger, outputs }
            }
            Purpose::Resume(run, ask) => {
                if !self.wait_no_longer(*run) {
                    self.take(*run);
                    return known(409, "the run waits no longer");
                }
                flow::Input::Answer { run: *run, ask: *ask, answer: Ok(vec![(0, item)]) }
            }
        };
        let is_sent = self.worker.upgrade().is_some_and(|worker| worker.try_send(input).is_ok());
        match answer {
            _ if !is_sent => {
                self.take(run);
                if let Purpose::Resume(..) = &hook.purpose {
                    let mut resumes = self.resumes.lock().unwrap_or_else(PoisonError::into_inner);
                    resumes.insert(run, hook.clone());
                }
                known(503, "the server is busy")
            }
            Some(receiver) => Err(receiver),
            None => Ok(reply::received(&hook.parameters, hook.version)),
        }
    }

    fn take(&self, run: RunId) -> Option<Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&run)
    }

    /// A request went away, or has waited too long: its run goes on without it.
    pub(super) fn forget(&self, path: &str) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|_, waiting| !waiting.answer.is_closed());
        tracing::info!(path, "a webhook's request waits no longer");
    }

    /// A node answers the request that started its run, if that still waits. An answer that
    /// cannot be made is the node's failure, and the request waits on.
    pub(super) fn respond(
        &self,
        run: RunId,
        parameters: &Object,
        items: &[Item],
        named: &BTreeMap<String, String>,
    ) -> Result<(), Fault> {
        let credential = named.get("jwtAuth").map(String::as_str);
        let reply = reply::respond(parameters, items, credential, &self.credentials)?;
        if let Some(waiting) = self.take(run) {
            let _ = waiting.answer.send(reply);
        }
        Ok(())
    }

    /// A run is over: whoever waits for its end is told.
    pub(super) fn finish(&self, run: RunId, outcome: &Finished, last: &Branches) {
        let Some(Waiting { hook, answer }) = self.take(run) else { return };
        let _ = answer.send(reply::ended(&hook.parameters, hook.version, outcome, last));
    }
}

impl Admitted {
    /// What the request carries, which is no form of parts; `None` when it says that it is JSON,
    /// and is not.
    pub(super) fn content(&self, kind: &str, bytes: &[u8]) -> Option<Content> {
        Content::read(kind, bytes, self.hook.options())
    }
}

impl Hook {
    fn new(graph: &Arc<Graph>, trigger: NodeIndex, credentials: &Credentials) -> Self {
        let node = graph.node(trigger);
        let path = node.parameters.get("path").and_then(Value::as_str).unwrap_or_default();
        let path = path.trim_matches('/').to_owned();
        let wanted = node.parameters.get("authentication").and_then(Value::as_str);
        let auth = Auth::read(wanted, &node.credentials, credentials);
        if let Some(fault) = auth.fault() {
            let node = &*node.name;
            tracing::error!(node, path, %fault, "a webhook cannot be reached: its authentication");
        }
        let (parameters, version) = (node.parameters.clone(), node.version);
        let (methods, purpose) = (methods(&parameters), Purpose::Start(graph.clone(), trigger));
        Self { path, methods, parameters, version, auth, purpose }
    }

    fn options(&self) -> &Value {
        self.parameters.get("options").unwrap_or(&Value::Null)
    }

    fn option(&self, key: &str) -> &Value {
        &self.options()[key]
    }
}

impl std::fmt::Debug for Webhooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Webhooks")
    }
}

fn methods(parameters: &Object) -> Vec<String> {
    match parameters.get("httpMethod") {
        Some(Value::Array(methods)) => {
            methods.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }
        Some(method) => vec![method.as_str().unwrap_or("GET").to_owned()],
        None => vec!["GET".to_owned()],
    }
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
    fn paths() {
        assert_eq!(matched("a/:id", "/a/7").unwrap()["id"], "7");
        assert!(matched("a/:id", "a").is_none() && matched("a", "b").is_none());
    }
}
