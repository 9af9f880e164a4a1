//! Health and metrics over HTTP, `/healthz`, `/readyz`, `/metrics`: counts only, nobody's number;
//! the webhooks of flows beneath `/webhook/`; and beneath `/api/` what only the operator may see.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, DefaultBodyLimit, FromRequest as _, Multipart, Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::flow;
use crate::shell::Clock;
use crate::shell::admin::{Admin, queues};
use crate::shell::history::History;
use crate::shell::server::snapshot;
use crate::shell::signalling::{Input, MOS_BOUNDS, Snapshot, Talks};
use crate::shell::trim;
use crate::shell::wake::Sender;
use crate::shell::webhooks::{
    ANSWER_MAX, BODY_MAX, Content, Part, Reply, Request, Webhooks, pairs,
};

/// The HTTP thread.
#[derive(Debug)]
pub(super) struct Http {
    address: SocketAddr,
    is_draining: Arc<AtomicBool>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What is served, and who is asked.
#[derive(Clone)]
pub(super) struct Served {
    pub(super) signalling: Sender<Input>,
    pub(super) webhooks: Arc<Webhooks>,
    pub(super) history: Arc<History>,
}

#[derive(Clone)]
struct Shared {
    served: Served,
    is_draining: Arc<AtomicBool>,
}

impl Http {
    /// Binds the address and serves it on a thread of its own.
    pub(super) fn start(address: SocketAddr, served: Served, admin: Admin) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let is_draining = Arc::new(AtomicBool::new(false));
        let shared = Shared { served, is_draining: is_draining.clone() };
        let (stop, stopped) = oneshot::channel::<()>();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = thread::Builder::new().name("http".to_owned()).spawn(move || {
            let outcome = runtime.block_on(serve(listener, shared, admin, stopped));
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
    admin: Admin,
    stopped: oneshot::Receiver<()>,
) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let history = shared.served.history.clone();
    let clock = admin.clock();
    let routes = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/webhook/{*path}", any(webhook))
        .route("/webhook-waiting/{*path}", any(webhook))
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .with_state(shared)
        .merge(admin.router())
        .into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        outcome = axum::serve(listener, routes) => outcome,
        () = pack(&history, clock) => Ok(()),
        _ = stopped => Ok(()),
    }
}

/// Packs the runs that have ended, for ever.
async fn pack(history: &History, clock: Clock) {
    let mut seconds = tokio::time::interval(Duration::from_secs(1));
    loop {
        seconds.tick().await;
        if history.pack(clock.wall_ms()) {
            trim::give_back();
        }
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
    let flows = shared.served.history.gauges();
    match ask(shared).await {
        Some(snapshot) => {
            let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4")];
            (StatusCode::OK, kind, rendered(&snapshot, flows))
        }
        None => {
            let kind = [(header::CONTENT_TYPE, "text/plain")];
            (StatusCode::SERVICE_UNAVAILABLE, kind, "signalling does not answer\n".to_owned())
        }
    }
}

/// A request that starts a run, or that a run waits for; it is answered at once, or when the run
/// says so.
async fn webhook(
    State(shared): State<Shared>,
    Path(path): Path<String>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    whole: axum::extract::Request,
) -> Response {
    let (head, body) = whole.into_parts();
    let text = |value: &[u8]| Value::from(String::from_utf8_lossy(value));
    let named = head.headers.iter();
    let named = named.map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())));
    let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let request = Request {
        method: head.method.to_string(),
        query: pairs(head.uri.query().unwrap_or_default()),
        url: format!("http://{}{}", host.unwrap_or_default(), head.uri.path()),
        path,
        is_resumption: head.uri.path().starts_with("/webhook-waiting/"),
        headers: named.collect(),
        peer: peer.ip(),
    };
    let told = shared.served.webhooks.cross_origin(&request);
    let mut reply = if head.method == Method::OPTIONS && !told.is_empty() {
        Reply { status: 204, ..Reply::default() }
    } else {
        serve_webhook(&shared.served.webhooks, request, head, body).await
    };
    for (name, value) in told {
        let is_said = reply.headers.iter().any(|(said, _)| said.eq_ignore_ascii_case(&name));
        reply.headers.extend((!is_said).then_some((name, value)));
    }
    let mut response = Response::builder().status(reply.status);
    for (name, value) in &reply.headers {
        response = response.header(name, value);
    }
    response.body(reply.body.into()).unwrap_or_else(|_| {
        (StatusCode::INTERNAL_SERVER_ERROR, "the flow gave a header that is none\n").into_response()
    })
}

async fn serve_webhook(
    webhooks: &Webhooks,
    request: Request,
    head: axum::http::request::Parts,
    body: Body,
) -> Reply {
    let known = |status, message: &str| Reply::json(status, &json!({ "message": message }));
    let admitted = match webhooks.admit(&request) {
        Ok(admitted) => admitted,
        Err(reply) => return reply,
    };
    let kind = head.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.unwrap_or_default().to_owned();
    let Ok(bytes) = axum::body::to_bytes(body, BODY_MAX).await else {
        return known(413, &format!("more than {BODY_MAX} bytes, or cut short"));
    };
    let content = if kind.starts_with("multipart/form-data") {
        parts(head, bytes).await.map(Content::of_parts)
    } else {
        admitted.content(&kind, &bytes)
    };
    let Some(content) = content else { return known(422, "Failed to parse request body") };
    let path = request.path.clone();
    match webhooks.start(admitted, request, content) {
        Ok(reply) => reply,
        Err(answer) => match tokio::time::timeout(ANSWER_MAX, answer).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(_)) | Err(_) => {
                webhooks.forget(&path);
                known(504, "the flow gave no answer in time")
            }
        },
    }
}

/// The fields and files of a form.
async fn parts(head: axum::http::request::Parts, bytes: Bytes) -> Option<Vec<Part>> {
    let whole = axum::http::Request::from_parts(head, Body::from(bytes));
    let mut form = Multipart::from_request(whole, &()).await.ok()?;
    let mut parts = Vec::new();
    while let Some(field) = form.next_field().await.ok()? {
        let name = field.name().unwrap_or_default().to_owned();
        let file = field.file_name().map(str::to_owned);
        let kind = field.content_type().map(str::to_owned);
        parts.push(Part { name, file, kind, bytes: field.bytes().await.ok()?.to_vec() });
    }
    Some(parts)
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
    tokio::task::spawn_blocking(move || snapshot(&shared.served.signalling)).await.ok().flatten()
}

/// The Prometheus text format.
fn rendered(snapshot: &Snapshot, flows: flow::Gauges) -> String {
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
    metric("runs", "gauge", "Runs of flows that calls and queues started.", gauges.runs as u64);
    metric("flow_runs", "gauge", "Runs of flows, whatever started them.", flows.runs as u64);
    metric("flow_runs_started_total", "counter", "Runs that were started.", flows.started);
    metric("flow_runs_failed_total", "counter", "Runs that failed.", flows.failed);
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
    metric("trunk_calls", "gauge", "Live calls by trunks.", gauges.channels as u64);
    let _ = writeln!(
        text,
        "# HELP ringback_dials_denied_total Dials that the guard denied.\n# TYPE \
         ringback_dials_denied_total counter"
    );
    for (reason, count) in &snapshot.denied {
        let _ = writeln!(text, "ringback_dials_denied_total{{reason=\"{reason}\"}} {count}");
    }
    talks(&mut text, &snapshot.talks);
    queues::render(&mut text, &snapshot.queues, &snapshot.promises);
    let _ = writeln!(
        text,
        "# HELP ringback_legs_ended_total Legs by the reason of their end.\n# TYPE ringback_legs_ended_total counter"
    );
    for (reason, count) in &snapshot.ended {
        let _ = writeln!(text, "ringback_legs_ended_total{{reason=\"{reason}\"}} {count}");
    }
    text
}
