//! `ringback serve`: starts the server, says where it listens, and ends it gracefully.

use std::ffi::c_int;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::call::trigger::{Kind, PhoneAccount};
use crate::config::Settings;
use crate::flow::Graph;
use crate::shell::cli::{complain, say};
use crate::shell::reload::{self, Reloader};
use crate::shell::{Clock, Server};
use crate::sip;

/// How often a draining server looks whether its calls have ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the last BYEs may take.
const BYE_WAIT: Duration = Duration::from_secs(2);

/// What the numbers of `flows/queue-callback.json` do.
const SHIPPED_NUMBERS: &str = "\
numbers any, called as user trunk: a menu. Type an extension, or wait 4 s;
        then 1 is support (101 and 102), 2 is sales (103).
        While the music plays: 1 asks to be called back; then hang up.
        101, 102, 103, called by each other: that phone rings.
        9 and a number, called by these: the phone registered as user trunk rings.";

/// Where the flows come from that are served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The flow of this repository, whose passwords everybody knows.
    Shipped,
    /// The command line; its passwords are shown to nobody.
    Given,
}

/// Runs until a signal ends it.
pub(super) fn run(settings: &Settings, graphs: Vec<Graph>, origin: Origin) -> ExitCode {
    let listened = Signals::listen(&[SIGTERM, SIGINT])
        .and_then(|ending| Ok((ending, Signals::listen(&[SIGHUP])?)));
    let (mut signals, hangups) = match listened {
        Ok(signals) => signals,
        Err(error) => return complain(&format!("cannot listen to signals: {error}")),
    };
    let version = |graph: &Graph| format!("flow    {} (version {})", graph.name(), graph.version());
    let versions = graphs.iter().map(version).collect::<Vec<_>>();
    let server = match Server::start(settings, graphs) {
        Ok(server) => server,
        Err(error) => return complain(&error.to_string()),
    };
    welcome(&server, settings, &versions, origin);
    if let Err(error) = reload_on_hangup(hangups, server.reloader()) {
        return complain(&format!("the system refused a thread: {error}"));
    }
    say("ready");

    signals.wait(None);
    let live = server.snapshot().map_or(0, |snapshot| snapshot.live_legs);
    say(&format!(
        "draining: no new calls, {live} leg(s) may go on for {} s; signal again to end now",
        settings.drain.as_secs()
    ));
    server.drain();
    let clock = Clock::start();
    let deadline = clock.now() + settings.drain;
    while clock.now() < deadline && server.snapshot().is_some_and(|now| now.live_legs > 0) {
        if signals.wait(Some(LOOK_EVERY)) {
            say("ending now");
            break;
        }
    }
    let patience = clock.now() + BYE_WAIT;
    let summary = server.stop(|| {
        signals.wait(Some(Duration::from_millis(20)));
        clock.now() < patience
    });
    say(&format!(
        "stopped: {} call(s) taken, {} refused, {} leg(s) cut",
        summary.accepted, summary.refused, summary.cut
    ));
    ExitCode::SUCCESS
}

/// Says where the server listens, what it answers, and what to try.
fn welcome(server: &Server, settings: &Settings, versions: &[String], origin: Origin) {
    let sip = server.sip();
    say(&format!("ringback {}", env!("CARGO_PKG_VERSION")));
    say(&format!("sip     {sip} (UDP and TCP)"));
    say(&format!("rtp     {}", settings.rtp));
    say(&format!("http    http://{} (/healthz /readyz /metrics /api)", server.http()));
    say(&format!("data    {}", settings.data.display()));
    versions.iter().for_each(|version| say(version));
    for trigger in server.triggers() {
        say(&format!("answers {trigger}"));
        let kind = Some(&trigger.kind).filter(|_| trigger.asks.is_none());
        let accounts = kind.map(|kind| accounts(kind, &trigger.reference)).unwrap_or_default();
        for (credentials, role) in accounts {
            let sip::Credentials { username, password, .. } = credentials;
            let password = match origin {
                Origin::Shipped => password,
                Origin::Given => "as in the flow",
            };
            say(&format!("        {role}: user {username}, domain {sip}, password {password}"));
            say(&format!("        {:width$}  (sip:{username}@{sip})", "", width = role.len()));
        }
    }
    match origin {
        Origin::Shipped => {
            say(SHIPPED_NUMBERS);
            say(&format!("try     register a phone as user trunk and call sip:200@{sip}"));
        }
        Origin::Given => {
            let this_machine = SocketAddr::from(([127, 0, 0, 1], 0));
            if server.triggers().iter().any(|trigger| trigger.takes(this_machine)) {
                say(&format!("try     call sip:hello@{sip} from a phone on this machine"));
            }
        }
    }
}

/// Who may register by a trigger, and as what.
fn accounts<'a>(kind: &'a Kind, reference: &str) -> Vec<(&'a sip::Credentials, String)> {
    match kind {
        Kind::FixedTrunk { .. } | Kind::RegisteredTrunk { .. } => Vec::new(),
        Kind::DynamicTrunk { credentials } => vec![(credentials, format!("trunk {reference}"))],
        Kind::Extensions { phones } => {
            let words = |phone: &'a PhoneAccount| {
                (&phone.credentials, format!("extension {}", phone.extension))
            };
            phones.iter().map(words).collect()
        }
    }
}

/// Signals as bytes of a pipe.
struct Signals(UnixStream);

impl Signals {
    fn listen(signals: &[c_int]) -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        for signal in signals {
            signal_hook::low_level::pipe::register(*signal, writer.try_clone()?)?;
        }
        Ok(Self(reader))
    }

    /// Waits for a signal; says whether one came in time.
    fn wait(&mut self, timeout: Option<Duration>) -> bool {
        let _ = self.0.set_read_timeout(timeout);
        let mut byte = [0_u8];
        self.0.read(&mut byte).is_ok()
    }
}

/// Reloads the flows whenever SIGHUP comes, on a thread of its own.
fn reload_on_hangup(mut signals: Signals, reloader: Arc<Reloader>) -> io::Result<()> {
    let run = move || {
        while signals.wait(None) {
            // A refusal is in the log.
            if let Ok(reloaded) = reloader.reload() {
                say(&reload::in_words(&reload::value(&reloaded)));
            }
        }
    };
    thread::Builder::new().name("reload".to_owned()).spawn(run).map(drop)
}
