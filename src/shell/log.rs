//! The log on standard error, and what it says of calls: lines that a thread of its own writes together,
//! each with the time at which it happened. Calls do not wait for whoever reads the log; errors, which every
//! thread says by itself and at once, may.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::call::Fact;
use crate::shell::clock::wall_us;
use crate::shell::trim;

/// Lines that may wait to be written; one more is left out and counted.
const WAITING_MAX: usize = 8192;
/// How long lines are gathered before they are written.
const GATHERED: Duration = Duration::from_millis(50);
/// How long the last lines may take to be written.
const END_MAX: Duration = Duration::from_secs(1);
/// Bytes that are gathered at most before they are written.
const BYTES_MAX: usize = 64 * 1024;

/// Starts the log; `RINGBACK_LOG` chooses what it holds, otherwise what is of this level.
pub(super) fn start(level: &str) {
    let filter = EnvFilter::try_from_env("RINGBACK_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_timer(Time)
        .with_writer(|| Out)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}

/// A fact for the log.
#[derive(Debug)]
struct Line {
    /// When it happened, in microseconds since the Unix epoch.
    at_us: i64,
    fact: Fact,
    /// Others of its kind that were left out before it.
    left_out: u64,
}

/// Where facts go. Its end waits until they are written, but not for a reader who stands still.
#[derive(Debug)]
pub(super) struct Log {
    /// Taken at the end.
    lines: Option<SyncSender<Box<Line>>>,
    lost: Arc<AtomicU64>,
    /// Disconnected when everything is written.
    ended: Receiver<()>,
}

/// The thread's side.
#[derive(Debug)]
pub(super) struct Lines {
    lines: Receiver<Box<Line>>,
    lost: Arc<AtomicU64>,
    /// Dropped at the end.
    _ends: SyncSender<()>,
}

/// Both sides.
pub(super) fn channel() -> (Log, Lines) {
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let lost = Arc::<AtomicU64>::default();
    let (ends, ended) = sync_channel(0);
    let log = Log { lines: Some(sender), lost: lost.clone(), ended };
    (log, Lines { lines: receiver, lost, _ends: ends })
}

impl Log {
    /// Hands a fact over, `left_out` others of its kind having been left out before it. One too many is
    /// lost and counted; a bug is said at once, in case it is the last that is heard.
    pub(super) fn tell(&self, fact: Fact, left_out: u64) {
        if matches!(fact, Fact::Panicked { .. }) {
            return say(&fact, left_out);
        }
        let line = Box::new(Line { at_us: wall_us(), fact, left_out });
        let Some(lines) = &self.lines else { return };
        if lines.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines = None;
        let _ = self.ended.recv_timeout(END_MAX);
    }
}

impl Lines {
    /// Writes what comes until the other side is gone.
    pub(super) fn run(self) {
        while let Some(first) = trim::recv(&self.lines) {
            // Whatever comes in this time is written together; nobody has to wake this thread for it.
            thread::park_timeout(GATHERED);
            for line in std::iter::once(first).chain(self.lines.try_iter()) {
                if gather(&line) >= BYTES_MAX {
                    write_gathered();
                }
            }
            write_gathered();
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                tracing::warn!(lost, "lines are missing here: the log was not read fast enough");
            }
        }
    }
}

/// Lines that are not written yet, and when the one happened that is being added.
#[derive(Debug, Default)]
struct Gathering {
    at_us: i64,
    bytes: Vec<u8>,
}

thread_local! {
    /// What this thread gathers; on every other thread nothing, and its lines are written at once.
    static GATHERING: RefCell<Option<Gathering>> = const { RefCell::new(None) };
}

/// Adds a line to those that this thread gathers, and says how many bytes they have.
fn gather(line: &Line) -> usize {
    GATHERING.with_borrow_mut(|gathering| gathering.get_or_insert_default().at_us = line.at_us);
    say(&line.fact, line.left_out);
    GATHERING.with_borrow(|gathering| gathering.as_ref().map_or(0, |g| g.bytes.len()))
}

/// Writes what this thread has gathered, and gathers no more.
fn write_gathered() {
    if let Some(gathered) = GATHERING.take() {
        // There is nowhere else to complain.
        let _ = io::stderr().lock().write_all(&gathered.bytes);
    }
}

/// When a line happened: now, unless this thread gathers.
struct Time;

impl FormatTime for Time {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let gathered = GATHERING.with_borrow(|gathering| gathering.as_ref().map(|g| g.at_us));
        let at_us = gathered.unwrap_or_else(wall_us);
        let at = jiff::Timestamp::from_microsecond(at_us).map_err(|_| fmt::Error)?;
        write!(writer, "{at:.6}")
    }
}

/// Where a line goes: to the others that this thread gathers, or out.
struct Out;

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        GATHERING.with_borrow_mut(|gathering| match gathering {
            Some(gathering) => gathering.bytes.write(bytes),
            None => io::stderr().lock().write(bytes),
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

/// One line a customer would notice.
fn say(fact: &Fact, left_out: u64) {
    match fact {
        Fact::Arrived { leg, from, to, source, flow } => {
            let (from, to) = (masked(from), masked(to));
            tracing::info!(?leg, from, to, %source, flow, "call arrived");
        }
        Fact::Refused { source, status, why } => {
            tracing::info!(%source, status, why, "call refused");
        }
        Fact::DialDenied { trunk, number, why } => {
            let number = masked(number);
            tracing::warn!(trunk, number, %why, "not dialled");
        }
        Fact::BadInput { source, method, status, rule } => {
            // Escaped, so that nobody's input passes for a line or colours a terminal.
            let method = method.chars().take(32).flat_map(char::escape_default);
            let method = method.collect::<String>();
            tracing::info!(%source, method, status, rule, left_out, "bad input");
        }
        Fact::TrunkUp { trunk, server, expires_s } => {
            tracing::info!(trunk, %server, expires_s, "registered at the trunk");
        }
        Fact::TrunkFailed { trunk, status, retry_s } => {
            tracing::warn!(trunk, status, retry_s, "the trunk did not take the registration");
        }
        Fact::TrunkDown { trunk } => tracing::warn!(trunk, "no longer registered at the trunk"),
        Fact::Answered { leg } => tracing::info!(?leg, "answered"),
        Fact::Ended { leg, reason, lasted_ms } => {
            tracing::info!(?leg, %reason, lasted_ms, "ended");
        }
        Fact::Promised { promise } => tracing::info!(promise, "callback promised"),
        Fact::PromiseEnded { promise, end } => tracing::info!(promise, end, "promise ended"),
        Fact::AttemptLeftBehind { promise, attempt, is_taken_back } => {
            tracing::warn!(
                promise,
                attempt,
                is_taken_back,
                "an attempt of an earlier process has no known end"
            );
        }
        Fact::AttemptTakenBack { promise, is_certain: true } => {
            tracing::info!(promise, "nothing rings any more of an attempt left behind");
        }
        Fact::AttemptTakenBack { promise, is_certain: false } => {
            tracing::warn!(promise, "nobody answers for an attempt left behind");
        }
        Fact::RunFailed { flow, error } => tracing::warn!(flow, error, "the flow failed"),
        Fact::Panicked { why, ladder } => {
            tracing::error!(why, "a bug ended a call; the others go on\n{ladder}");
        }
        Fact::ClipFailed { path, why } => tracing::warn!(path, why, "no sound file"),
        Fact::RecordingFailed { leg, target, why } => {
            tracing::warn!(?leg, target, why, "the recording failed");
        }
        Fact::MediaRefused { leg, why } => tracing::warn!(?leg, why, "audio refused"),
    }
}

/// A number as logs show it: the last two digits only, and nothing that could pass for a line.
fn masked(number: &str) -> String {
    let count = number.chars().count();
    if count <= 4 || !number.chars().all(|c| c.is_ascii_digit() || "+*#".contains(c)) {
        return number.chars().filter(|c| !c.is_control()).take(32).collect();
    }
    let tail = number.chars().skip(count - 2).collect::<String>();
    format!("{}{tail}", "*".repeat(count - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gathered_lines_stand_together_each_with_its_own_time() {
        let subscriber = tracing_subscriber::fmt()
            .with_timer(Time)
            .with_writer(|| Out)
            .with_ansi(false)
            .with_target(false)
            .finish();
        let arrived = Fact::Refused {
            source: ([192, 0, 2, 1], 5060).into(),
            status: 486,
            why: "the line is taken".to_owned(),
        };
        let lines = [(1_796_000_000_000_000, arrived), (1_796_000_000_000_250, flood())];
        tracing::subscriber::with_default(subscriber, || {
            for (at_us, fact) in &lines {
                gather(&Line { at_us: *at_us, fact: fact.clone(), left_out: 7 });
            }
        });
        let gathered = GATHERING.take().unwrap();
        assert_eq!(
            String::from_utf8(gathered.bytes).unwrap(),
            concat!(
                "2026-11-30T00:53:20.000000Z  INFO call refused source=192.0.2.1:5060 status=486 ",
                "why=\"the line is taken\"\n",
                "2026-11-30T00:53:20.000250Z  INFO bad input source=192.0.2.1:5060 ",
                "method=\"IN\\\\u{1b}\" status=400 rule=\"Malformed Via Header\" left_out=7\n",
            )
        );
    }

    fn flood() -> Fact {
        Fact::BadInput {
            source: ([192, 0, 2, 1], 5060).into(),
            method: "IN\x1b".to_owned(),
            status: 400,
            rule: "Malformed Via Header".to_owned(),
        }
    }

    #[test]
    fn a_log_that_nobody_reads_loses_lines_and_counts_them() {
        let (log, lines) = channel();
        for _ in 0..WAITING_MAX + 3 {
            log.tell(flood(), 0);
        }
        assert_eq!(lines.lost.load(Ordering::Relaxed), 3);
    }
}
