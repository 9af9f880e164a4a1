//! Health and metrics over HTTP: `/healthz`, `/readyz`, `/metrics`; counts only, nobody's number.

use std::fmt::Write as _;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::sync::oneshot;

use crate::shell::server::snapshot;
use crate::shell::signalling::{Input, Snapshot};
use crate::shell::wake::Sender;

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
}

impl Http {
    /// Binds the address and serves it on a thread of its own.
    pub(super) fn start(address: SocketAddr, signalling: Sender<Input>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let is_draining = Arc::new(AtomicBool::new(false));
        let shared = Shared { signalling, is_draining: is_draining.clone() };
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
    metric("legs", "gauge", "Call legs that have not ended.", snapshot.live_legs as u64);
    metric("runs", "gauge", "Runs of flows.", gauges.runs as u64);
    metric("registrations", "gauge", "Registered contacts.", gauges.registrations as u64);
    metric("trunks_registered", "gauge", "Trunks where we are registered.", gauges.trunks as u64);
    metric("players", "gauge", "Playbacks.", gauges.players as u64);
    metric("dials", "gauge", "Outgoing dials.", gauges.dials as u64);
    metric("queue_entries", "gauge", "Queue entries, live and callbacks.", gauges.entries as u64);
    metric("promises", "gauge", "Callbacks promised and not yet kept.", gauges.promises as u64);
    metric("sip_dialogs", "gauge", "SIP dialogs.", gauges.sip.dialogs as u64);
    metric("sip_transactions", "gauge", "SIP transactions.", gauges.sip.transactions as u64);
    metric("media_ports", "gauge", "Audio ports in use.", gauges.ports as u64);
    metric("calls_accepted_total", "counter", "Calls that a flow got.", gauges.calls_accepted);
    metric("calls_refused_total", "counter", "Calls that were refused.", gauges.calls_refused);
    metric("dropped_total", "counter", "Values dropped by full channels.", snapshot.dropped);
    metric("panics_total", "counter", "Inputs that made the switch panic.", snapshot.panics);
    let _ = writeln!(
        text,
        "# HELP ringback_legs_ended_total Legs by the reason of their end.\n# TYPE ringback_legs_ended_total counter"
    );
    for (reason, count) in &snapshot.ended {
        let _ = writeln!(text, "ringback_legs_ended_total{{reason=\"{reason}\"}} {count}");
    }
    text
}
