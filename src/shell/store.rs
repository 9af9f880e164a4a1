//! The journal of promises on disk: SQLite on a thread of its own, with group commit.
//!
//! One file `ringback.db` in the data directory, in WAL mode, flushed at every commit, and held by
//! one process alone: two that dialled from one book would call every customer twice.

use std::fmt;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Row, params};

use crate::config::Retention;
use crate::promise::{DAY, Journal, KEYS_MAX, Made, PromiseId, REST_MAX, Record, Secret};
use crate::shell::trim;

/// Records that wait for the disk. More means that it has stopped, and is a failure.
const WAITING_MAX: usize = 8192;

/// Records of one transaction: what comes in while the disk is busy with the last one.
const GROUP_MAX: usize = 64;

/// How long passes between two looks for records that may go, in milliseconds: an hour.
const TIDY_EVERY_MS: u64 = 3_600_000;

/// Ended promises of which one look deletes the records: nobody waits long for the disk meanwhile.
const TIDIED_MAX: u32 = 1000;

/// The schema that this program writes, as `PRAGMA user_version`.
const SCHEMA: i64 = 1;

/// The running store. Dropping it writes what waits and closes the file.
#[derive(Debug)]
pub struct Store {
    records: Option<SyncSender<(u64, Record)>>,
    thread: Option<JoinHandle<()>>,
}

/// What the store says, on its own thread.
#[derive(Debug)]
pub enum Report {
    /// Every record up to this sequence number survives a power cut.
    DurableUpTo(u64),
    /// A commit failed. Nothing is written any more: what the disk holds after a failed flush is
    /// not known, so trying again as if it were clean could confirm what is not there.
    Failed(StoreError),
}

/// A record was not taken: the store has failed, or the disk has stopped. Nothing may be promised
/// any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused;

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the journal takes no more records")
    }
}

impl std::error::Error for Refused {}

/// Why the journal cannot be used.
#[derive(Debug)]
pub enum StoreError {
    /// SQLite says no; locked means that another process holds the file.
    Database(rusqlite::Error),
    /// A later version of this program wrote the file.
    NewerSchema {
        /// The version found.
        found: i64,
    },
    /// The record cannot be read.
    Corrupt {
        /// Its sequence number.
        sequence: u64,
    },
    /// A record is missing before this one.
    Gap {
        /// The sequence number that came.
        sequence: u64,
    },
    /// The system gives no thread or no randomness.
    System(std::io::Error),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database(error) => write!(f, "ringback.db: {error}"),
            Self::NewerSchema { found } => write!(
                f,
                "ringback.db has schema {found}, and this program knows {SCHEMA} at most: \
                 start the newer program, or move the file away"
            ),
            Self::Corrupt { sequence } => write!(f, "ringback.db: record {sequence} is unreadable"),
            Self::Gap { sequence } => write!(f, "a record is missing before {sequence}"),
            Self::System(error) => write!(f, "the store cannot start: {error}"),
        }
    }
}

impl std::error::Error for StoreError {}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

impl Store {
    /// Opens or creates the journal in this directory, deletes what ended long enough ago, and reads
    /// what is still open. `now_ms` is the time, since the Unix epoch.
    ///
    /// `report` is called on the store's thread and must not wait.
    pub fn open(
        directory: &Path,
        retention: Retention,
        now_ms: u64,
        report: impl FnMut(Report) + Send + 'static,
    ) -> Result<(Self, Journal), StoreError> {
        let connection = open(&directory.join("ringback.db"))?;
        let mut tidy = Tidy { retention, due_ms: 0 };
        while tidy.is_due(now_ms) {
            tidy.tidy(&connection, now_ms)?;
        }
        let journal = load(&connection, now_ms)?;
        let last = journal.last_sequence;
        let (sender, receiver) = sync_channel(WAITING_MAX);
        let thread = Builder::new()
            .name("store".to_owned())
            .spawn(move || run(connection, receiver, last, tidy, report))
            .map_err(StoreError::System)?;
        Ok((Self { records: Some(sender), thread: Some(thread) }, journal))
    }

    /// Hands a record over. It is on disk when a [`Report::DurableUpTo`] says so, not before.
    pub fn write(&self, sequence: u64, record: Record) -> Result<(), Refused> {
        let records = self.records.as_ref().expect("the sender is there until drop");
        records.try_send((sequence, record)).map_err(|error| match error {
            TrySendError::Full(_) | TrySendError::Disconnected(_) => Refused,
        })
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.records = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was logged by the panic hook, and there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// The journal of a server that does not run, opened for reading only.
#[derive(Debug)]
pub(super) struct Reading(Connection);

impl Reading {
    /// `None` when the directory has none.
    pub(super) fn open(directory: &Path) -> Result<Option<Self>, StoreError> {
        let path = directory.join("ringback.db");
        if !path.try_exists().map_err(StoreError::System)? {
            return Ok(None);
        }
        let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::ZERO)?;
        match connection.query_row("PRAGMA user_version", [], |row| row.get(0))? {
            SCHEMA => Ok(Some(Self(connection))),
            newer => Err(StoreError::NewerSchema { found: newer }),
        }
    }

    /// What is still open.
    pub(super) fn open_promises(&self, now_ms: u64) -> Result<Journal, StoreError> {
        load(&self.0, now_ms)
    }

    /// Every record of one promise, in order; none when it never was, or ended long ago.
    pub(super) fn records_of(&self, promise: u64) -> Result<Vec<serde_json::Value>, StoreError> {
        let mut select =
            self.0.prepare("SELECT record FROM journal WHERE promise = ?1 ORDER BY sequence")?;
        let rows = select.query_map([promise.cast_signed()], |row| row.get::<_, String>(0))?;
        let mut records = Vec::new();
        for text in rows {
            records.extend(serde_json::from_str(&text?));
        }
        Ok(records)
    }
}

fn run(
    mut connection: Connection,
    records: Receiver<(u64, Record)>,
    mut last: u64,
    mut tidy: Tidy,
    mut report: impl FnMut(Report),
) {
    while let Some(first) = trim::recv(&records) {
        let mut group = vec![first];
        group.extend(records.try_iter().take(GROUP_MAX - 1));
        match commit(&mut connection, &group, last) {
            Ok(written) => {
                last = written;
                report(Report::DurableUpTo(written));
                let now_ms = group.last().map_or(0, |(_, record)| record.at_ms());
                // What should go and does not is no loss: it is tried again an hour later.
                if tidy.is_due(now_ms)
                    && let Err(error) = tidy.tidy(&connection, now_ms)
                {
                    tracing::warn!(%error, "the journal could not be tidied");
                }
            }
            Err(error) => {
                // The channel closes first: whoever hears of the failure is refused from then on.
                drop(records);
                report(Report::Failed(error));
                return;
            }
        }
    }
}

/// Writes records in one transaction; the sequence number of the last.
fn commit(
    connection: &mut Connection,
    group: &[(u64, Record)],
    mut last: u64,
) -> Result<u64, StoreError> {
    let transaction = connection.transaction()?;
    {
        let mut insert = transaction.prepare(
            "INSERT INTO journal (sequence, promise, is_end, record) VALUES (?1, ?2, ?3, ?4)",
        )?;
        for (sequence, record) in group {
            if *sequence != last + 1 {
                return Err(StoreError::Gap { sequence: *sequence });
            }
            last = *sequence;
            let PromiseId(promise) = record.promise();
            let (row, promise) = (sequence.cast_signed(), promise.cast_signed());
            insert.execute(params![row, promise, record.end().is_some(), record.print()])?;
        }
    }
    transaction.commit()?;
    Ok(last)
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    let mut connection = Connection::open(path)?;
    // Whoever holds the file holds it for life: waiting would not help.
    connection.busy_timeout(Duration::ZERO)?;
    // Exclusive before WAL: the file is then this process's until it ends.
    connection.execute_batch(
        "PRAGMA locking_mode = EXCLUSIVE;
         PRAGMA journal_mode = WAL;
         PRAGMA synchronous = FULL;",
    )?;
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    match found {
        0 => create(&mut connection)?,
        SCHEMA => {}
        newer => return Err(StoreError::NewerSchema { found: newer }),
    }
    Ok(connection)
}

fn create(connection: &mut Connection) -> Result<(), StoreError> {
    let mut bytes = [0; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|error| StoreError::System(error.into()))?;
    let secret = i128::from_ne_bytes(bytes);
    let transaction = connection.transaction()?;
    transaction.execute_batch(
        "CREATE TABLE journal (
             sequence INTEGER PRIMARY KEY,
             promise INTEGER NOT NULL,
             is_end INTEGER NOT NULL,
             record TEXT NOT NULL
         );
         CREATE INDEX journal_of_promise ON journal (promise);
         CREATE INDEX journal_ended ON journal (promise) WHERE is_end = 1;
         CREATE TABLE secret (high INTEGER NOT NULL, low INTEGER NOT NULL);",
    )?;
    transaction
        .execute("INSERT INTO secret VALUES (?1, ?2)", [(secret >> 64) as i64, secret as i64])?;
    transaction.pragma_update(None, "user_version", SCHEMA)?;
    transaction.commit()?;
    Ok(())
}

/// Deletes the records of promises that have ended, a thousand promises at a time.
#[derive(Debug)]
struct Tidy {
    retention: Retention,
    /// When there may be something to delete again.
    due_ms: u64,
}

impl Tidy {
    const fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.due_ms
    }

    /// Deletes those that ended longer ago than they are kept, and while the journal is too large
    /// those that ended first, but none that limits by the day still count. Those of the last
    /// promise and of the last record stay: the numbers that follow on them must never come again.
    fn tidy(&mut self, connection: &Connection, now_ms: u64) -> Result<(), StoreError> {
        self.due_ms = now_ms.saturating_add(TIDY_EVERY_MS);
        let Retention { kept, octets_max } = self.retention;
        let is_large = octets_in(connection)? > octets_max;
        let kept_ms = kept.as_millis() as u64;
        let kept_ms = if is_large { kept_ms.min(DAY.as_millis() as u64) } else { kept_ms };
        let before = now_ms.saturating_sub(kept_ms).cast_signed();
        let deleted = connection.execute(
            "DELETE FROM journal WHERE promise IN
                 (SELECT promise FROM journal WHERE is_end = 1 AND CASE WHEN json_valid(record)
                      THEN json_extract(record, '$.at_ms') < ?1 END
                  AND promise <> (SELECT max(promise) FROM journal)
                  AND promise <> (SELECT promise FROM journal ORDER BY sequence DESC LIMIT 1)
                  ORDER BY promise LIMIT ?2)",
            params![before, TIDIED_MAX],
        )?;
        if deleted > 0 {
            // There may be more.
            self.due_ms = now_ms;
            tracing::info!(deleted, "records of promises that have ended are deleted");
        } else if is_large {
            tracing::warn!(
                octets_max,
                "the journal is larger than it should be, and all is needed"
            );
        }
        Ok(())
    }
}

/// Bytes that the journal uses: pages of which the records are deleted are used again.
fn octets_in(connection: &Connection) -> Result<u64, StoreError> {
    let of = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let pages = of("page_count")? - of("freelist_count")?;
    Ok((pages * of("page_size")?).cast_unsigned())
}

/// The promises that were made within a day, whatever became of them.
fn load_made(connection: &Connection, now_ms: u64) -> Result<Vec<Made>, StoreError> {
    let since = now_ms.saturating_sub(DAY.as_millis() as u64).cast_signed();
    let mut select = connection.prepare(
        "SELECT record FROM journal WHERE CASE WHEN json_valid(record)
             THEN json_extract(record, '$.made_ms') >= ?1 END ORDER BY sequence",
    )?;
    let mut rows = select.query([since])?;
    let mut made = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(0)?;
        if let Ok(Record::Promised { queue, number, made_ms, .. }) = Record::parse(&text) {
            made.push(Made { queue, number, at_ms: made_ms });
        }
    }
    Ok(made)
}

/// The last records that carry the key of a request, whatever became of their promises.
fn load_requests(connection: &Connection) -> Result<Vec<(u64, Record)>, StoreError> {
    let mut select = connection.prepare(
        "SELECT sequence, record FROM journal WHERE CASE WHEN json_valid(record)
             THEN json_extract(record, '$.request.key') IS NOT NULL END
         ORDER BY sequence DESC LIMIT ?1",
    )?;
    let mut rows = select.query([KEYS_MAX as i64])?;
    let mut requests = Vec::new();
    while let Some(row) = rows.next()? {
        let text: String = row.get(1)?;
        if let Ok(record) = Record::parse(&text) {
            requests.push((row.get::<_, i64>(0)?.cast_unsigned(), record));
        }
    }
    Ok(requests)
}

/// The last record from before `since_ms`; 0 when there is none. The latest are looked at first, and
/// no more than are needed.
fn last_before(connection: &Connection, since_ms: u64) -> Result<i64, StoreError> {
    let mut select = connection.prepare(
        "SELECT sequence FROM journal WHERE CASE WHEN json_valid(record)
             THEN coalesce(json_extract(record, '$.at_ms'), json_extract(record, '$.made_ms')) < ?1
             END ORDER BY sequence DESC LIMIT 1",
    )?;
    let mut rows = select.query([since_ms.cast_signed()])?;
    Ok(rows.next()?.map_or(Ok(0), |row| row.get(0))?)
}

/// Every record of every promise that has not ended, or so lately that a phone may still ring for
/// it; and the counters that never go back.
fn load(connection: &Connection, now_ms: u64) -> Result<Journal, StoreError> {
    let secret = connection.query_row("SELECT high, low FROM secret", [], pair)?;
    let (last_sequence, last_promise) = connection.query_row(
        "SELECT coalesce(max(sequence), 0), coalesce(max(promise), 0) FROM journal",
        [],
        pair,
    )?;
    let mut select = connection.prepare(
        "SELECT sequence, record FROM journal AS open WHERE NOT EXISTS
             (SELECT 1 FROM journal WHERE promise = open.promise AND is_end = 1 AND sequence <= ?1)
         ORDER BY sequence",
    )?;
    let since_ms = now_ms.saturating_sub(REST_MAX.as_millis() as u64);
    let mut rows = select.query([last_before(connection, since_ms)?])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let sequence = row.get::<_, i64>(0)?.cast_unsigned();
        let text = row.get_ref(1)?.as_str().map_err(|_| StoreError::Corrupt { sequence })?;
        let record = Record::parse(text).map_err(|_| StoreError::Corrupt { sequence })?;
        records.push((sequence, record));
    }
    let secret = Secret([secret.0, secret.1]);
    let (made, requests) = (load_made(connection, now_ms)?, load_requests(connection)?);
    Ok(Journal { records, requests, last_sequence, last_promise, made, secret })
}

fn pair(row: &Row<'_>) -> rusqlite::Result<(u64, u64)> {
    Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;
    use std::sync::mpsc::{Receiver, channel};

    use crate::promise::{End, Place};

    use super::*;

    const KEEPING: Retention = Retention::STANDARD;

    /// A2, as far as the disk: no open promise is lost.
    #[test]
    fn what_was_reported_durable_survives_a_kill() {
        let directory = fresh("kill");
        let (store, journal, reports) = start(&directory);
        assert_eq!((journal.records.len(), journal.last_sequence), (0, 0));
        for sequence in 1..=200 {
            store.write(sequence, promised(sequence)).unwrap();
        }
        store.write(201, ended(7)).unwrap();
        assert!(matches!(last(&reports, 201), Report::DurableUpTo(201)));

        // What a kill leaves behind: the files as they are, with nothing closed.
        let after = fresh("after-kill");
        for file in ["ringback.db", "ringback.db-wal"] {
            fs::copy(directory.join(file), after.join(file)).unwrap();
        }
        let later = REST_MAX.as_millis() as u64 + 1;
        let (_store, restored) = Store::open(&after, KEEPING, later, |_| {}).unwrap();
        assert_eq!((restored.last_sequence, restored.last_promise), (201, 200));
        assert_eq!(restored.secret, journal.secret);
        let open: Vec<(u64, Record)> =
            (1..=200).filter(|id| *id != 7).map(|id| (id, promised(id))).collect();
        assert_eq!(restored.records, open);
    }

    /// A1, I3: a phone may still ring for what ended within [`REST_MAX`].
    #[test]
    fn what_ended_lately_is_read_too() {
        let directory = fresh("lately");
        let (store, _, _) = start(&directory);
        let minute = 60_000;
        let ended = |id, at_ms| Record::Ended { promise: PromiseId(id), end: End::Expired, at_ms };
        let all =
            [promised(1), promised(2), promised(3), ended(1, 10 * minute), ended(2, 65 * minute)];
        let all: Vec<(u64, Record)> = (1..).zip(all).collect();
        for (sequence, record) in all.clone() {
            store.write(sequence, record).unwrap();
        }
        drop(store);
        let read = |now_ms| {
            let (_, journal) = Store::open(&directory, KEEPING, now_ms, |_| {}).unwrap();
            journal.records.iter().map(|(sequence, _)| *sequence).collect::<Vec<u64>>()
        };
        assert_eq!(read(70 * minute), [1, 2, 3, 4, 5], "1 ended an hour ago");
        assert_eq!(read(100 * minute), [2, 3, 5]);
        assert_eq!(read(1000 * minute), [3]);
    }

    #[test]
    fn a_clean_close_writes_what_waits() {
        let directory = fresh("close");
        let (store, _, _) = start(&directory);
        store.write(1, promised(1)).unwrap();
        drop(store);
        assert_eq!(start(&directory).1.records, [(1, promised(1))]);
    }

    #[test]
    fn a_newer_schema_is_refused_and_left_alone() {
        let directory = fresh("newer");
        drop(start(&directory));
        let connection = Connection::open(directory.join("ringback.db")).unwrap();
        connection.pragma_update(None, "user_version", 9).unwrap();
        drop(connection);
        let error = Store::open(&directory, KEEPING, 0, |_| {}).unwrap_err();
        assert!(error.to_string().contains("schema 9"), "{error}");
    }

    #[test]
    fn one_process_holds_the_file() {
        let directory = fresh("held");
        let _held = start(&directory);
        assert!(matches!(
            Store::open(&directory, KEEPING, 0, |_| {}),
            Err(StoreError::Database(_))
        ));
    }

    #[test]
    fn a_failed_write_is_the_last_one() {
        let directory = fresh("failed");
        let (store, _, reports) = start(&directory);
        store.write(2, promised(2)).unwrap();
        assert!(matches!(reports.recv(), Ok(Report::Failed(StoreError::Gap { sequence: 2 }))));
        assert_eq!(store.write(1, promised(1)), Err(Refused));
        drop(store);
        assert_eq!(start(&directory).1.records, []);
    }

    #[test]
    fn an_unreadable_record_is_named() {
        let directory = fresh("corrupt");
        let (store, _, _) = start(&directory);
        store.write(1, promised(1)).unwrap();
        drop(store);
        let connection = Connection::open(directory.join("ringback.db")).unwrap();
        connection.execute("UPDATE journal SET record = x'ff00'", []).unwrap();
        drop(connection);
        let error = Store::open(&directory, KEEPING, 0, |_| {}).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { sequence: 1 }), "{error}");
    }

    fn start(directory: &Path) -> (Store, Journal, Receiver<Report>) {
        let (sender, reports) = channel();
        let report = move |report| {
            let _ = sender.send(report);
        };
        let (store, journal) = Store::open(directory, KEEPING, 0, report).unwrap();
        (store, journal, reports)
    }

    /// A server that runs on deletes too, and a journal that is too large loses what ended first,
    /// but nothing of the last day, which limits count.
    #[test]
    fn a_journal_that_is_too_large_loses_what_ended_first() {
        let directory = fresh("large");
        let retention = Retention { octets_max: 1, ..KEEPING };
        let (sender, reports) = channel();
        let report = move |report| sender.send(report).unwrap();
        let (store, _) = Store::open(&directory, retention, 0, report).unwrap();
        let day = DAY.as_millis() as u64;
        for id in 1..=4 {
            store.write(2 * id - 1, promised(id)).unwrap();
            let end = Record::Ended { promise: PromiseId(id), end: End::Reached, at_ms: id * day };
            store.write(2 * id, end).unwrap();
            last(&reports, 2 * id);
        }
        drop(store);
        let connection = Connection::open(directory.join("ringback.db")).unwrap();
        let kept = "SELECT group_concat(DISTINCT promise) FROM journal";
        let kept: String = connection.query_row(kept, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "3,4", "1 and 2 ended more than a day before the last look");
    }

    /// What ended long ago goes, but for the last promise and the last record; what is open stays.
    /// Limits by the day know the promises of the last day, ended ones too.
    #[test]
    fn what_ended_long_ago_is_deleted_and_no_number_comes_again() {
        let directory = fresh("prune");
        let (store, _, reports) = start(&directory);
        for sequence in 1..=3 {
            store.write(sequence, promised(sequence)).unwrap();
        }
        for (sequence, id) in [(4, 1), (5, 3)] {
            store.write(sequence, ended(id)).unwrap();
        }
        last(&reports, 5);
        drop(store);
        let later = KEEPING.kept.as_millis() as u64 + 1;
        let (_, journal) = Store::open(&directory, KEEPING, later, |_| {}).unwrap();
        assert_eq!(journal.records, [(2, promised(2))]);
        assert_eq!((journal.last_sequence, journal.last_promise), (5, 3));
        assert_eq!(journal.made, []);
        let connection = Connection::open(directory.join("ringback.db")).unwrap();
        let kept =
            "SELECT group_concat(sequence) FROM (SELECT sequence FROM journal ORDER BY sequence)";
        let kept: String = connection.query_row(kept, [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "2,3,5", "1 and 4 are gone");
        drop(connection);
        let (_, journal) = Store::open(&directory, KEEPING, 1000, |_| {}).unwrap();
        assert_eq!(journal.made.len(), 2);
    }

    /// Reports until this record is durable or the store has failed.
    fn last(reports: &Receiver<Report>, sequence: u64) -> Report {
        let is_last = |report: &Report| match report {
            Report::DurableUpTo(durable) => *durable >= sequence,
            Report::Failed(_) => true,
        };
        reports.iter().find(is_last).unwrap()
    }

    fn fresh(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("ringback-store-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn promised(id: u64) -> Record {
        Record::Promised {
            promise: PromiseId(id),
            queue: 1,
            number: format!("+49{id}"),
            name: None,
            trunk: "trunk".to_owned(),
            place: Place { class: 1, enqueued_us: id, sequence: id },
            made_ms: 0,
            expires_ms: 1,
            request: None,
            override_hours: None,
        }
    }

    fn ended(id: u64) -> Record {
        Record::Ended { promise: PromiseId(id), end: End::Cancelled, at_ms: 0 }
    }
}
