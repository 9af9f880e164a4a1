//! Health and metrics over HTTP, `/healthz`, `/readyz`, `/metrics`: counts only, nobody's number;
//! and the webhooks of flows beneath `/webhook/`.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use crate::shell::server::snapshot;
use crate::shell::signalling::{Input, MOS_BOUNDS, Snapshot, Talks};
use crate::shell::wake::Sender;
use crate::shell::webhooks::{ANSWER_MAX, Reply, Request, Webhooks};

/// The HTTP thread.
#[derive(Debug)]
pub(super) struct Http {
    address: SocketAddr,
    is_draining: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

#[derive(Clone)]
struct Shared {
    signalling: Sender<Input>,
    is_draining: Arc<AtomicBool>,
    webhooks: Arc<Webhooks>,
}

impl Http {
    /// Binds the address and serves it on a thread of its own.
    pub(super) fn start(
        address: SocketAddr,
        signalling: Sender<Input>,
        webhooks: Arc<Webhooks>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let is_draining = Arc::new(AtomicBool::new(false));
        let shared = Shared { signalling, is_draining: is_draining.clone(), webhooks };
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("http".to_owned()).spawn(move || {
            let outcome = runtime.block_on(serve(listener, shared, stopped));
            if let Err(error) = outcome {
                tracing::error!(%error, "the HTTP thread ended");
            }
        })?;
        Ok(Self { address, is_draining, stop, thread })
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on `/readyz` says 503, so that load balancers look elsewhere.
    pub(super) fn set_draining(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
    }

    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

async fn serve(
    listener: TcpListener,
    shared: Shared,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/webhook/{*path}", any(webhook))
        .with_state(shared);
    tokio::select! {
        outcome = axum::serve(listener, routes) => outcome,
        _ = stopped => Ok(()),
    }
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, &'static str) {
    if shared.is_draining.load(Ordering::Relaxed) {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n");
    }
    match ask(shared).await {
        // Calls are served as before, so no load balancer is to look elsewhere.
        Some(snapshot) if snapshot.gauges.is_journal_failed => {
            (StatusCode::OK, "degraded: the journal failed, callbacks are not offered\n")
        }
        Some(_) => (StatusCode::OK, "ready\n"),
        None => (StatusCode::SERVICE_UNAVAILABLE, "signalling does not answer\n"),
    }
}

async fn metrics(State(shared): State<Shared>) -> impl IntoResponse {
    match ask(shared).await {
        Some(snapshot) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
            (StatusCode::OK, kind, rendered(&snapshot))
        }
        None => {
            let kind = [(header::CONTENT_TYPE, "text/plain")];
            (StatusCode::SERVICE_UNAVAILABLE, kind, "signalling does not answer\n".to_owned())
        }
    }
}

/// A request that starts a run; it is answered at once, or when the run says so.
async fn webhook(
    State(shared): State<Shared>,
    Path(path): Path<String>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |value: &[u8]| Value::from(String::from_utf8_lossy(value).into_owned());
    let named =
        headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
    let is = |kind: &str| {
        let given = headers.get(header::CONTENT_TYPE).and_then(|given| given.to_str().ok());
        given.is_some_and(|given| given.starts_with(kind))
    };
    let content = if is("application/x-www-form-urlencoded") {
        Value::Object(pairs(&String::from_utf8_lossy(&body)))
    } else if body.is_empty() {
        Value::Object(Map::new())
    } else {
        serde_json::from_slice(&body).unwrap_or_else(|_| text(&body))
    };
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let request = Request {
        method: method.to_string(),
        query: pairs(uri.query().unwrap_or_default()),
        url: format!("http://{host}/webhook/{path}"),
        path,
        headers: named.collect(),
        body: content,
    };
    let reply = match shared.webhooks.start(request) {
        Ok(reply) => reply,
        Err(answer) => match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => Reply::json(
                504,
                &serde_json::json!({ "message": "the flow gave no answer in time" }),
            ),
        },
    };
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(reply.body.into()).unwrap_or_else(|_| {
        (StatusCode::INTERNAL_SERVER_ERROR, "the flow gave a header that is none\n").into_response()
    })
}

/// The pairs of a query or form; a name that comes twice is a list.
fn pairs(text: &str) -> Map<String, Value> {
    let mut read = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = Value::from(unescaped(value));
        match read.entry(unescaped(name)) {
            serde_json::map::Entry::Vacant(slot) => {
                slot.insert(value);
            }
            serde_json::map::Entry::Occupied(mut slot) => {
                if let Value::Array(list) = slot.get_mut() {
                    list.push(value);
                } else {
                    let first = slot.get_mut().take();
                    slot.insert(Value::Array(vec![first, value]));
                }
            }
        }
    }
    read
}

fn unescaped(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digit = |byte: Option<u8>| char::from(byte.unwrap_or_default()).to_digit(16);
                if let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) {
                    bytes.push((high * 16 + low) as u8);
                }
            }
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// How long legs talked, and how they sounded.
fn talks(text: &mut String, talks: &Talks) {
    let seconds = talks.millis as f64 / 1000.0;
    let _ = writeln!(
        text,
        "# HELP ringback_talk_seconds How long answered legs lasted.\n# TYPE ringback_talk_seconds \
         summary\nringback_talk_seconds_sum {seconds}\nringback_talk_seconds_count {}\n# HELP \
         ringback_mos Opinion scores of legs (ITU-T G.107).\n# TYPE ringback_mos histogram",
        talks.count
    );
    let bounds = MOS_BOUNDS.iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
    for (bound, count) in bounds.zip(talks.mos) {
        let _ = writeln!(text, "ringback_mos_bucket{{le=\"{bound}\"}} {count}");
    }
    let heard = talks.mos.last().copied().unwrap_or_default();
    let _ = writeln!(text, "ringback_mos_sum {}\nringback_mos_count {heard}", talks.mos_sum);
}

async fn ask(shared: Shared) -> Option<Snapshot> {
    tokio::task::spawn_blocking(move || snapshot(&shared.signalling)).await.ok().flatten()
}

/// The Prometheus text format.
fn rendered(snapshot: &Snapshot) -> String {
    let gauges = &snapshot.gauges;
    let mut text = String::new();
    let mut metric = |name: &str, kind: &str, help: &str, value: u64| {
        let _ = writeln!(
            text,
            "# HELP ringback_{name} {help}\n# TYPE ringback_{name} {kind}\nringback_{name} {value}"
        );
    };
    metric("calls", "gauge", "Calls, with those that have just ended.", gauges.calls as u64);
    metric("legs", "gauge", "Call legs that have not ended.", snapshot.live_legs as u64);
    metric("runs", "gauge", "Runs of flows.", gauges.runs as u64);
    metric("registrations", "gauge", "Registered contacts.", gauges.registrations as u64);
    metric("trunks_registered", "gauge", "Trunks where we are registered.", gauges.trunks as u64);
    metric("players", "gauge", "Playbacks.", gauges.players as u64);
    metric("recordings", "gauge", "Recordings.", gauges.recordings as u64);
    metric("dials", "gauge", "Outgoing dials.", gauges.dials as u64);
    metric("queue_entries", "gauge", "Queue entries, live and callbacks.", gauges.entries as u64);
    metric("promises", "gauge", "Callbacks promised and not yet kept.", gauges.promises as u64);
    let failed = u64::from(gauges.is_journal_failed);
    metric("journal_failed", "gauge", "1: the journal failed, callbacks are not offered.", failed);
    metric("sip_dialogs", "gauge", "SIP dialogs.", gauges.sip.dialogs as u64);
    metric("sip_transactions", "gauge", "SIP transactions.", gauges.sip.transactions as u64);
    metric("media_ports", "gauge", "Audio ports in use.", gauges.ports as u64);
    metric("calls_accepted_total", "counter", "Calls that a flow got.", gauges.calls_accepted);
    metric("calls_refused_total", "counter", "Calls that were refused.", gauges.calls_refused);
    metric("dropped_total", "counter", "Values dropped by full channels.", snapshot.dropped);
    metric(
        "panics_total",
        "counter",
        "Inputs that met a bug; each ended the call that it was about.",
        snapshot.gauges.panics,
    );
    let (written, lost) = snapshot.call_records;
    metric("call_records_total", "counter", "Call records written.", written);
    metric("call_records_lost_total", "counter", "Call records that the disk did not take.", lost);
    talks(&mut text, &snapshot.talks);
    let _ = writeln!(
        text,
        "# HELP ringback_legs_ended_total Legs by the reason of their end.\n# TYPE ringback_legs_ended_total counter"
    );
    for (reason, count) in &snapshot.ended {
        let _ = writeln!(text, "ringback_legs_ended_total{{reason=\"{reason}\"}} {count}");
    }
    text
}
