//! A running server: its threads, how they are started, drained and ended.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::base::Rng;
use crate::call::trigger::Trigger;
use crate::call::{self, Gauges, QueueSettings, Switch};
use crate::config::Settings;
use crate::flow::{self, Graph};
use crate::promise::RestoreError;
use crate::shell::admin::{Admin, Token};
use crate::shell::bounded;
use crate::shell::client;
use crate::shell::clock::{system_rng, system_secret};
use crate::shell::credentials::Credentials;
use crate::shell::files::Loader;
use crate::shell::flows::{Outlet, Requests};
use crate::shell::history::History;
use crate::shell::http::{Http, Served};
use crate::shell::media::MediaThread;
use crate::shell::recordings::{Keeps, Recordings, TAKES_MAX};
use crate::shell::reload::Reloader;
use crate::shell::signalling::{Input, Outlets, Parts, Signalling, Snapshot};
use crate::shell::sockets::Sockets;
use crate::shell::sounds::Sounds;
use crate::shell::statics::{self, StaticData};
use crate::shell::store::{Store, StoreError};
use crate::shell::wake::{self, Sender};
use crate::shell::webhooks::Webhooks;
use crate::shell::{Clock, calls, flows, log, media};
use crate::sip;

/// Values that a channel between two threads may hold.
const CHANNEL_MAX: usize = 65_536;
/// Sound files that may wait to be loaded.
const FILES_MAX: usize = 256;
/// How long a thread may take to say what is in use.
const SNAPSHOT_WAIT: Duration = Duration::from_secs(2);

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// A socket could not be bound.
    Bind {
        /// What for: `SIP`, `HTTP`.
        what: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// A directory could not be made or read.
    Directory {
        /// What for.
        what: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The journal of promises cannot be used.
    Journal(StoreError),
    /// The token of the API cannot be read or made.
    Token(io::Error),
    /// The credentials of flows cannot be read.
    Credentials(String),
    /// The journal holds what this program did not write.
    Restore(RestoreError),
    /// Trunks that are to be registered, and what is missing for each.
    Trunks(Vec<String>),
    /// The system refused a thread or a descriptor.
    System(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { what, address, error } => {
                write!(f, "cannot listen for {what} on {address}: {error}")?;
                if error.kind() == io::ErrorKind::AddrInUse {
                    let option = what.to_ascii_lowercase();
                    write!(
                        f,
                        "\n  = help: another program has this port; `ss -lpn 'sport = :{}'` shows \
                         which. End it, or choose another with --{option}",
                        address.port()
                    )?;
                }
                Ok(())
            }
            Self::Directory { what, path, error } => {
                write!(f, "{what} directory {}: {error}", path.display())
            }
            Self::Journal(error) => write!(f, "the journal of promises: {error}"),
            Self::Token(error) => write!(f, "the token of the API: {error}"),
            Self::Credentials(error) => write!(f, "the credentials: {error}"),
            Self::Restore(error) => write!(f, "the journal of promises: {error}"),
            Self::Trunks(missing) => f.write_str(&missing.join("\n")),
            Self::System(error) => write!(f, "the system refused a thread or descriptor: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<StoreError> for StartError {
    fn from(error: StoreError) -> Self {
        Self::Journal(error)
    }
}

impl From<RestoreError> for StartError {
    fn from(error: RestoreError) -> Self {
        Self::Restore(error)
    }
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

/// How a server ended.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Calls that a flow got.
    pub accepted: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Legs that were cut at the end.
    pub cut: usize,
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    sip: SocketAddr,
    http: Http,
    triggers: Vec<Trigger>,
    reloader: Arc<Reloader>,
    signalling: Sender<Input>,
    media: Sender<media::MediaInput>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts every thread; when this returns, calls are answered.
    pub fn start(settings: &Settings, graphs: Vec<Graph>) -> Result<Self, StartError> {
        let Opened { token, statics, kept } = look_at_directories(settings)?;
        let (clock, mut rng) = (Clock::start(), system_rng());
        let workflows: Vec<Arc<Graph>> = graphs.iter().cloned().map(Arc::new).collect();
        let mut switch = switch_with(graphs, settings, clock, Rng::new(rng.next_u64()))?;
        let triggers = switch.triggers().to_vec();
        let (to_signalling, inbox) = wake::channel(CHANNEL_MAX)?;
        let store = open_journal(&mut switch, settings, clock, to_signalling.clone())?;
        let (to_media, media_inbox) = wake::channel(CHANNEL_MAX)?;
        let (to_flows, flow_inputs) = bounded::channel(CHANNEL_MAX);
        let to_flows = Arc::new(to_flows);
        let credentials = Credentials::open(&settings.data).map_err(StartError::Credentials)?;
        let secret: String = system_secret().map(|byte| format!("{byte:02x}")).concat();
        let webhooks = Webhooks::new(&workflows, &to_flows, credentials.clone(), &secret);
        let allowed = settings.outbound_allow.clone();
        let requests = Requests::new(&to_flows, allowed, credentials.clone(), webhooks.clone());
        let history = Arc::new(History::default());
        let (to_files, paths) = sync_channel(FILES_MAX);
        let (to_recordings, takes) = sync_channel(TAKES_MAX);
        let sounds = Sounds::of(settings, to_signalling.clone(), credentials.clone(), clock);
        let loader = Loader::new(settings.prompts.clone(), to_signalling.clone(), sounds);
        let recordings = Recordings::of(settings, to_signalling.clone(), credentials.clone());
        let (calls, call_records) = calls::channel(&settings.data);
        let (log, lines) = log::channel();
        let outlets = Outlets {
            media: to_media.clone(),
            flows: Outlet::new(to_flows),
            files: to_files,
            calls,
            log,
            recordings: Keeps::new(to_recordings.clone()),
        };
        let taken = |what, address| move |error| StartError::Bind { what, address, error };
        let (sip, audio) = (settings.sip, settings.rtp.address);
        let sockets = Sockets::bind(sip, &inbox).map_err(taken("SIP", sip))?;
        let sip = sockets.local;
        let (asked, told, data) = (to_signalling.clone(), history.clone(), settings.data.clone());
        let reloader = Reloader::new(&workflows, settings, credentials.clone(), asked.clone());
        let admin = Admin::new(token, asked.clone(), told.clone(), reloader.clone(), clock, data);
        let served = Served { signalling: asked, webhooks, history: told };
        let http = start_http(settings, served, admin)?;
        let (legs_max, seed) = (settings.legs_max, Rng::new(rng.next_u64()));
        let reports = to_signalling.clone();
        let media = MediaThread::new(media_inbox, reports, to_recordings, legs_max, clock, seed)?;
        let (runs_max, is_realtime) = (legs_max * 2, settings.is_realtime);
        let config = flow::Config { runs_max, epoch_ms: clock.epoch_ms() };
        let resume = flow::Resume::new(format!("http://{}", http.address()), secret);
        let (variables, seed) = (credentials.variables(), Rng::new(rng.next_u64()));
        let runs = flows::Parts { config, rng: seed, variables, resume, clock, history };
        let quick = flows::Parts { rng, ..runs.clone() };
        let parts = Parts { sockets, audio, switch, inbox, outlets, store, clock, quick };
        let outputs = to_signalling.clone();
        let worker = flows::Worker { parts: runs, workflows, kept, outputs, requests, statics };
        let threads = vec![
            spawn("signalling", move || Signalling::new(parts).run())?,
            spawn("media", move || media.run(is_realtime))?,
            spawn("flows", move || worker.run(&flow_inputs))?,
            spawn("files", move || loader.run(&paths))?,
            spawn("call records", move || call_records.run())?,
            spawn("recordings", move || recordings.run(&takes))?,
        ];
        // Waited for by the end of signalling, which may be spared that.
        spawn("log", move || lines.run())?;
        let (signalling, media) = (to_signalling, to_media);
        Ok(Self { sip, http, triggers, reloader, signalling, media, threads })
    }

    /// Where SIP is answered.
    pub const fn sip(&self) -> SocketAddr {
        self.sip
    }

    /// Where HTTP is answered.
    pub const fn http(&self) -> SocketAddr {
        self.http.address()
    }

    /// Who exchanges its flows.
    pub(super) fn reloader(&self) -> Arc<Reloader> {
        self.reloader.clone()
    }

    /// Which flow answered what at the start.
    pub fn triggers(&self) -> &[Trigger] {
        &self.triggers
    }

    /// What is in use; `None` when the signalling thread does not answer.
    pub fn snapshot(&self) -> Option<Snapshot> {
        snapshot(&self.signalling)
    }

    /// Takes no new calls from now on.
    pub fn drain(&self) {
        self.http.set_draining();
        self.signalling.send(Input::Drain);
    }

    /// Ends every call and every thread. `grace` is how long BYEs may take.
    pub fn stop(self, mut grace: impl FnMut() -> bool) -> Summary {
        let cut = self.snapshot().map_or(0, |snapshot| snapshot.live_legs);
        self.signalling.send(Input::HangUp);
        let is_talking = |gauges: Gauges| gauges.sip.dialogs + gauges.sip.requests > 0;
        while self.snapshot().is_some_and(|snapshot| is_talking(snapshot.gauges)) && grace() {}
        let gauges = self.snapshot().unwrap_or_default().gauges;
        self.signalling.send(Input::Stop);
        self.media.send(media::MediaInput::Stop);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.http.stop();
        Summary { accepted: gauges.calls_accepted, refused: gauges.calls_refused, cut }
    }
}

/// Asks the signalling thread what is in use.
pub(super) fn snapshot(signalling: &Sender<Input>) -> Option<Snapshot> {
    let (reply, answer) = sync_channel(1);
    signalling.send(Input::Gauges(reply));
    answer.recv_timeout(SNAPSHOT_WAIT).ok()
}

/// Serves HTTP, and writes down where.
fn start_http(settings: &Settings, served: Served, admin: Admin) -> Result<Http, StartError> {
    let (what, address) = ("HTTP", settings.http);
    let http = Http::start(address, served, admin);
    let http = http.map_err(|error| StartError::Bind { what, address, error })?;
    client::publish(&settings.data, http.address()).map_err(StartError::System)?;
    Ok(http)
}

/// Opens the journal, and restores what it holds.
fn open_journal(
    switch: &mut Switch,
    settings: &Settings,
    clock: Clock,
    reports: Sender<Input>,
) -> Result<Store, StartError> {
    let now_ms = u64::try_from(clock.epoch_ms()).unwrap_or_default();
    let (store, journal) =
        Store::open(&settings.data, settings.retention, now_ms, move |report| {
            reports.send(Input::Stored(report));
        })?;
    switch.restore(journal, clock.now())?;
    Ok(store)
}

/// What the data directory holds, beside the journal and the credentials.
struct Opened {
    token: Token,
    statics: StaticData,
    kept: statics::Held,
}

/// Makes and reads the directories.
fn look_at_directories(settings: &Settings) -> Result<Opened, StartError> {
    let directory =
        |what, path: &PathBuf, error| StartError::Directory { what, path: path.clone(), error };
    std::fs::create_dir_all(&settings.data)
        .map_err(|error| directory("data", &settings.data, error))?;
    std::fs::read_dir(&settings.prompts)
        .map_err(|error| directory("prompts", &settings.prompts, error))?;
    let token = Token::open(&settings.data).map_err(StartError::Token)?;
    let opened = StaticData::open(&settings.data);
    let (statics, kept) = opened.map_err(|error| directory("data", &settings.data, error))?;
    Ok(Opened { token, statics, kept })
}

/// A switch with these flows, each of whose trunks knows what it needs.
fn switch_with(
    graphs: Vec<Graph>,
    settings: &Settings,
    clock: Clock,
    rng: Rng,
) -> Result<Switch, StartError> {
    let mut switch = Switch::new(switch_config(settings, clock), rng);
    for graph in graphs {
        switch.add_workflow(graph);
    }
    let missing = switch.unregistrable();
    if missing.is_empty() { Ok(switch) } else { Err(StartError::Trunks(missing)) }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

fn switch_config(settings: &Settings, clock: Clock) -> call::Config {
    call::Config {
        sip: sip::Config {
            user_agent: concat!("ringback/", env!("CARGO_PKG_VERSION")).to_owned(),
            advertised: settings.advertised.clone(),
            dialogs_max: settings.legs_max * 2,
            transactions_max: settings.legs_max * 16,
            timing: sip::Timing::RFC,
            serves: Switch::serves(),
            session_expires: settings.session_timer,
        },
        media_address: settings.rtp.address,
        media_ports: settings.rtp.ports.clone(),
        sip_port: settings.sip.port(),
        legs_max: settings.legs_max,
        epoch_ms: u64::try_from(clock.epoch_ms()).unwrap_or_default(),
        trunks: settings.trunks.clone(),
        extensions: settings.extensions.clone(),
        queues: settings.queues.clone(),
        queue_standard: QueueSettings::default(),
        tones: settings.tones,
        blocked: settings.blocked.clone(),
        premium: settings.premium.clone(),
        extension_encodings: settings.extension_encodings.clone(),
        realm: settings.realm.clone(),
        digest: sip::DigestConfig {
            secret: sip::Secret(system_secret()),
            hashes: settings.digest.clone(),
            offers_integrity: settings.digest_integrity,
        },
        sip_local: settings.sip,
    }
}
