//! `ringback serve`: starts the server, says where it listens, and ends it gracefully.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use signal_hook::consts::{SIGINT, SIGTERM};

use crate::config::Settings;
use crate::flow::Graph;
use crate::shell::cli::{complain, say};
use crate::shell::{Clock, Server};

/// How often a draining server looks whether its calls have ended.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the last BYEs may take.
const BYE_WAIT: Duration = Duration::from_secs(2);

/// Runs until a signal ends it.
pub(super) fn run(settings: &Settings, graphs: Vec<Graph>) -> ExitCode {
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return complain(&format!("cannot listen to signals: {error}")),
    };
    let server = match Server::start(settings, graphs) {
        Ok(server) => server,
        Err(error) => return complain(&error.to_string()),
    };
    say(&format!("ringback {}", env!("CARGO_PKG_VERSION")));
    say(&format!("sip     {} (UDP and TCP)", server.sip()));
    say(&format!("rtp     {}", settings.rtp));
    say(&format!("http    http://{} (/healthz /readyz /metrics)", server.http()));
    say(&format!("data    {}", settings.data.display()));
    for trigger in server.triggers() {
        say(&format!("answers {trigger}"));
        for registration in trigger.registrations() {
            say(&format!("        a phone registers at {}: {registration}", server.sip()));
        }
    }
    let this_machine = SocketAddr::from(([127, 0, 0, 1], 0));
    if server.triggers().iter().any(|trigger| trigger.takes(this_machine)) {
        say(&format!("try     call sip:hello@{} from a phone on this machine", server.sip()));
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

/// SIGTERM and SIGINT as bytes of a pipe.
struct Signals(UnixStream);

impl Signals {
    fn listen() -> io::Result<Self> {
        let (reader, writer) = UnixStream::pair()?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::low_level::pipe::register(signal, writer.try_clone()?)?;
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
