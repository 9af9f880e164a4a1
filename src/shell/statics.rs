//! What workflows keep from run to run, in a file of the data directory: read at the start, written
//! by a thread of its own whenever it has changed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::{self, JoinHandle};

use crate::shell::credentials::write;

/// The file, and the one that is written before it takes that place.
const FILE: &str = "static-data.json";
const NEW: &str = "static-data.new";

/// By workflow and by `global` or `node:NAME`, as JSON.
pub(super) type Held = BTreeMap<String, BTreeMap<String, String>>;

/// The file.
#[derive(Debug)]
pub(super) struct StaticData {
    data: PathBuf,
    writer: Option<JoinHandle<()>>,
    /// What could not be written yet.
    pending: Option<Held>,
}

impl StaticData {
    /// Reads the file of a data directory; one without it has kept nothing.
    pub(super) fn open(data: &Path) -> io::Result<(Self, Held)> {
        let held = match std::fs::read(data.join(FILE)) {
            Ok(text) => serde_json::from_slice(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Held::new(),
            Err(error) => return Err(error),
        };
        Ok((Self { data: data.to_path_buf(), writer: None, pending: None }, held))
    }

    /// Keeps what is held now. While the file is being written, the latest waits for its turn.
    pub(super) fn keep(&mut self, held: Option<Held>) {
        self.pending = held.or_else(|| self.pending.take());
        if self.writer.as_ref().is_some_and(|writer| !writer.is_finished()) {
            return;
        }
        let Some(held) = self.pending.take() else { return };
        let data = self.data.clone();
        let save = move || {
            if let Err(error) = save(&data, &held) {
                tracing::warn!(%error, "what workflows keep from run to run cannot be written");
            }
        };
        let started = thread::Builder::new().name("static data".to_owned()).spawn(save);
        self.writer = started.ok();
    }

    /// Whether something waits to be written.
    pub(super) const fn is_behind(&self) -> bool {
        self.pending.is_some()
    }
}

impl Drop for StaticData {
    /// The last of it is written before the server is gone.
    fn drop(&mut self) {
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
        if let Some(held) = self.pending.take() {
            let _ = save(&self.data, &held);
        }
    }
}

fn save(data: &Path, held: &Held) -> io::Result<()> {
    let (new, file) = (data.join(NEW), data.join(FILE));
    write(&new, &serde_json::to_vec(held)?)?;
    std::fs::rename(new, file)
}
