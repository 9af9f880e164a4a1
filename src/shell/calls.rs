//! Call records on disk: `calls.jsonl` in the data directory, a JSON object a line, written by a
//! thread of its own and bounded by turning files over.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::call::record::Record;
use crate::call::show;
use crate::shell::cli::{complain, say};
use crate::shell::client::{Refusal, ServerArgs};
use crate::shell::trim;

/// Bytes of a file; then it becomes `calls.1.jsonl`, that one `calls.2.jsonl`, and so on.
pub(super) const FILE_MAX: u64 = 64 * 1024 * 1024;
/// Files that are kept; the oldest is deleted.
pub(super) const FILES_MAX: usize = 8;
/// Records that may wait for the disk; one more is dropped and counted.
pub(super) const WAITING_MAX: usize = 8192;
/// How long records are gathered before they are written.
const GATHERED: Duration = Duration::from_millis(50);
/// Calls that a list names at most: so many that go on, and so many that are over.
pub(super) const CALLS_MAX: usize = 1000;
/// Bytes from the end of a file that are looked through for a list.
const TAIL_MAX: u64 = 8 * 1024 * 1024;

/// What has been counted of records.
#[derive(Debug, Default)]
struct Counts {
    written: AtomicU64,
    lost: AtomicU64,
}

/// Where records go.
#[derive(Debug)]
pub(super) struct Calls {
    records: SyncSender<Record>,
    counts: Arc<Counts>,
}

/// The thread's side.
#[derive(Debug)]
pub(super) struct Recorder {
    records: Receiver<Record>,
    counts: Arc<Counts>,
    data: PathBuf,
}

/// Both sides, for files in this directory.
pub(super) fn channel(data: &Path) -> (Calls, Recorder) {
    let (sender, receiver) = sync_channel(WAITING_MAX);
    let counts = Arc::<Counts>::default();
    let recorder = Recorder { records: receiver, counts: counts.clone(), data: data.to_owned() };
    (Calls { records: sender, counts }, recorder)
}

impl Calls {
    /// Hands a record over; one too many is lost and counted.
    pub(super) fn send(&self, record: Record) {
        if self.records.try_send(record).is_err() {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that were written, and that were lost because the disk refused or did not keep up.
    pub(super) fn counts(&self) -> (u64, u64) {
        let Counts { written, lost } = &*self.counts;
        (written.load(Ordering::Relaxed), lost.load(Ordering::Relaxed))
    }
}

impl Recorder {
    /// Writes what comes until the other side is gone.
    pub(super) fn run(self) {
        let mut writer = Writer::new(&self.data, FILE_MAX);
        let mut is_told = false;
        while let Some(first) = trim::recv(&self.records) {
            // Whatever comes in this time is written together; nobody has to wake this thread for it.
            thread::park_timeout(GATHERED);
            let mut lines = Vec::new();
            let mut count = 0_u64;
            for record in std::iter::once(first).chain(self.records.try_iter()) {
                record.write_line(&mut lines);
                count += 1;
            }
            match writer.write(&lines) {
                Ok(()) => {
                    self.counts.written.fetch_add(count, Ordering::Relaxed);
                    is_told = false;
                }
                Err(error) => {
                    self.counts.lost.fetch_add(count, Ordering::Relaxed);
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::error!(%error, "call records cannot be written; calls go on");
                    }
                }
            }
        }
    }
}

/// The file that grows, and those before it.
struct Writer {
    data: PathBuf,
    file_max: u64,
    open: Option<(File, u64)>,
}

impl Writer {
    fn new(data: &Path, file_max: u64) -> Self {
        Self { data: data.to_owned(), file_max, open: None }
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let length = lines.len() as u64;
        if self.open.as_ref().is_some_and(|(_, size)| *size + length > self.file_max && *size > 0) {
            self.open = None;
            turn_over(&self.data)?;
        }
        let (file, size) = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.data)?),
        };
        let outcome = file.write_all(lines);
        *size += length;
        if outcome.is_err() {
            // Tried anew with the next record: the disk may have room again.
            self.open = None;
        }
        outcome
    }
}

fn open(data: &Path) -> io::Result<(File, u64)> {
    let path = path(data, 0);
    let mut file = OpenOptions::new().create(true).read(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    // A crash may have cut the last line off: what follows begins a line of its own.
    if size > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok((file, size))
}

fn turn_over(data: &Path) -> io::Result<()> {
    for number in (0..FILES_MAX - 1).rev() {
        match std::fs::rename(path(data, number), path(data, number + 1)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The newest file is number 0.
fn path(data: &Path, number: usize) -> PathBuf {
    match number {
        0 => data.join("calls.jsonl"),
        _ => data.join(format!("calls.{number}.jsonl")),
    }
}

/// The calls that ended last, newest first, from the ends of the files; each without its path.
pub(super) fn last(data: &Path, calls_max: usize) -> Vec<Value> {
    let mut calls = Vec::new();
    for number in 0..FILES_MAX {
        let Ok(lines) = tail(&path(data, number)) else { break };
        let mut legs = std::collections::BTreeMap::new();
        let mut found = Vec::new();
        for line in lines {
            let Ok(mut record) = serde_json::from_str::<Value>(&line) else { continue };
            match record["record"].as_str() {
                Some("leg") => {
                    let ends = (record["from"].take(), record["to"].take());
                    legs.entry(record["call"].as_str().unwrap_or_default().to_owned())
                        .or_insert(ends);
                }
                Some("call") => {
                    let call = record["call"].as_str().unwrap_or_default();
                    if let Some((from, to)) = legs.remove(call) {
                        (record["from"], record["to"]) = (from, to);
                    }
                    if let Some(object) = record.as_object_mut() {
                        object.remove("path");
                    }
                    found.push(record);
                }
                Some(_) | None => {}
            }
        }
        calls.extend(found.into_iter().rev());
        if calls.len() >= calls_max {
            break;
        }
    }
    calls.truncate(calls_max);
    calls
}

/// Every record of a call that is over: the call first. `None` when no file has it any more.
pub(super) fn find(data: &Path, call: &str) -> Option<Vec<Value>> {
    // What the line must hold, so that others need not be read as JSON.
    let needle = format!("\"call\":\"{call}\"");
    let mut records = Vec::new();
    for number in 0..FILES_MAX {
        let Ok(file) = File::open(path(data, number)) else { break };
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        let named = lines.filter(|line| line.contains(&needle));
        let read = named.filter_map(|line| serde_json::from_str::<Value>(&line).ok());
        records.extend(read.filter(|record| record["call"] == call));
        // A call that is written down is whole: at most its legs stand in the file before.
        if records.iter().any(|record| record["record"] == "leg") {
            break;
        }
    }
    records.sort_by_key(|record| record["record"] != "call");
    (!records.is_empty()).then_some(records)
}

fn tail(path: &Path) -> io::Result<Vec<String>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let skipped = length.saturating_sub(TAIL_MAX);
    file.seek(SeekFrom::Start(skipped))?;
    let mut text = Vec::new();
    file.take(TAIL_MAX).read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    // The first line is cut unless the file was read from its beginning.
    Ok(text.lines().skip(usize::from(skipped > 0)).map(str::to_owned).collect())
}

/// `ringback calls`: so many, the newest first; those that go on and those that are over by a
/// running server, or those that are over out of the data directory, where no server runs.
pub(super) fn run_list(calls_max: usize, server: &ServerArgs) -> ExitCode {
    let (mut listed, is_live) = match asked("/api/calls", server) {
        Ok(Some(listed)) => (listed, true),
        Ok(None) => (last(&server.data, calls_max), false),
        Err(refusal) => return complain(&refusal.text()),
    };
    listed.truncate(calls_max);
    if !is_live && !server.is_json {
        say("no server answers: these calls are over");
    }
    server.tell(Ok(Value::from(listed)), |listed| show::list(records_of(listed)))
}

/// `ringback calls show`: one call with its ladder and its path.
pub(super) fn run_show(call: &str, server: &ServerArgs) -> ExitCode {
    if !call.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return complain(&format!("`{call}` is no name of a call"));
    }
    let found = match asked(&format!("/api/calls/{call}"), server) {
        Ok(Some(found)) => Some(found),
        Ok(None) => find(&server.data, call),
        Err(refusal) => return complain(&refusal.text()),
    };
    match found {
        Some(records) => {
            server.tell(Ok(Value::from(records)), |records| show::show(records_of(records)))
        }
        None => complain(&format!(
            "no such call: it has been deleted with its file, or never was; {} has those that are over",
            path(&server.data, 0).display()
        )),
    }
}

/// What the server says, or nothing where none runs and the files may speak for it.
fn asked(place: &str, server: &ServerArgs) -> Result<Option<Vec<Value>>, Refusal> {
    match server.ask("GET", place) {
        Ok(told) => Ok(Some(told.as_array().cloned().unwrap_or_default())),
        Err(refusal) if server.may_read_files(&refusal) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

fn records_of(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::base::Tick;
    use crate::call::record::{Call, CallKey, CallRecord, Epoch};

    fn directory(name: &str) -> PathBuf {
        let path =
            std::env::temp_dir().join(format!("ringback-calls-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir_all(&path).unwrap();
        path
    }

    fn lines(call: u64) -> String {
        let leg = json!({ "record": "leg", "call": format!("a-{call}"), "from": "1", "to": "2" });
        let whole = json!({ "record": "call", "call": format!("a-{call}"), "path": [] });
        format!("{leg}\n{whole}\n")
    }

    #[test]
    fn files_turn_over_and_the_oldest_goes() {
        let data = directory("turn");
        let mut writer = Writer::new(&data, 400);
        for call in 0..100 {
            writer.write(lines(call).as_bytes()).unwrap();
        }
        let files = std::fs::read_dir(&data).unwrap().count();
        assert_eq!(files, FILES_MAX);
        assert_eq!(find(&data, "a-0"), None, "it went with the oldest file");
        let found = find(&data, "a-99").unwrap();
        assert_eq!((&found[0]["record"], &found[1]["record"]), (&json!("call"), &json!("leg")));
        assert_eq!(find(&data, "a-9"), None, "and is not taken for a-99");
        let listed = last(&data, 3);
        let names = listed.iter().map(|call| call["call"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(names, ["a-99", "a-98", "a-97"]);
        assert_eq!(listed[0], json!({ "record": "call", "call": "a-99", "from": "1", "to": "2" }));
        assert!(last(&data, 1000).len() >= 16);
        std::fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_line_that_a_crash_cut_off_spoils_no_other() {
        let data = directory("cut");
        Writer::new(&data, 4000).write(lines(1).as_bytes()).unwrap();
        let half = &lines(2)[..20];
        Writer::new(&data, 4000).write(half.as_bytes()).unwrap();
        Writer::new(&data, 4000).write(lines(3).as_bytes()).unwrap();
        assert_eq!(last(&data, 10).len(), 2);
        assert_eq!(find(&data, "a-3").unwrap().len(), 2);
        assert_eq!(last(&directory("none"), 10), Vec::<Value>::new());
        std::fs::remove_dir_all(data).unwrap();
    }

    #[test]
    fn a_directory_that_refuses_costs_records_and_nothing_else() {
        let data = directory("refuses");
        std::fs::create_dir(data.join("calls.jsonl")).unwrap();
        let (calls, recorder) = channel(&data);
        for number in 0..WAITING_MAX + 3 {
            let call = Call::new(Tick::ZERO, "flow".into(), "1".into(), None);
            let (key, epoch) = (CallKey(number as u64), Epoch { ms: 0 });
            calls.send(Record::Call(Box::new(CallRecord { key, call, ended: None, epoch })));
        }
        assert_eq!(calls.counts(), (0, 3), "beyond the maximum");
        let Calls { records, counts } = calls;
        drop(records);
        recorder.run();
        assert_eq!(counts.lost.load(Ordering::Relaxed), WAITING_MAX as u64 + 3);
        assert_eq!(counts.written.load(Ordering::Relaxed), 0);
        std::fs::remove_dir_all(data).unwrap();
    }
}
