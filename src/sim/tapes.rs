//! What a simulated server records: files in memory, on a disk that may be full.

use std::collections::BTreeMap;

use crate::call::{Keep, Keeping, Kept};
use crate::media::{FRAME, Tape};

/// The recordings of a server.
#[derive(Debug)]
pub(super) struct Tapes {
    running: BTreeMap<u64, (Tape, Vec<u8>, Keeping)>,
    /// Whole files, by path or by the host that they went to.
    files: BTreeMap<String, Vec<u8>>,
    /// Bytes that a file may have.
    room: u64,
    /// Recordings that came to their end, or broke off, and have not been told.
    told: Vec<(u64, Result<Kept, String>)>,
}

impl Default for Tapes {
    fn default() -> Self {
        let (running, files) = (BTreeMap::new(), BTreeMap::new());
        Self { running, files, room: u64::MAX, told: Vec::new() }
    }
}

impl Tapes {
    pub(super) const fn set_room(&mut self, octets: u64) {
        self.room = octets;
    }

    pub(super) fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.get(name).map(Vec::as_slice)
    }

    pub(super) fn handle(&mut self, keep: Keep) {
        match keep {
            Keep::Begin { recording, format, keeping } => {
                self.running.insert(recording, (Tape::new(format), Vec::new(), keeping));
            }
            Keep::End { recording } => {
                let Some((mut tape, mut body, keeping)) = self.running.remove(&recording) else {
                    return;
                };
                tape.finish(&mut body);
                let duration_ms = tape.duration().as_millis() as u64;
                let mut kept = Kept { duration_ms, octets: tape.octets(), ..Kept::default() };
                let file = [&tape.header()[..], &body].concat();
                match keeping {
                    Keeping::File(path) => {
                        kept.path = Some(path.clone());
                        self.files.insert(path, file);
                    }
                    Keeping::Memory => kept.data = Some(crate::flow::base64(&file)),
                    Keeping::Upload(remote) => {
                        self.files.insert(remote.place(), file);
                    }
                }
                self.told.push((recording, Ok(kept)));
            }
        }
    }

    pub(super) fn record(&mut self, recording: u64, index: u64, channels: &[&[i16; FRAME]]) {
        let Some((tape, body, _)) = self.running.get_mut(&recording) else { return };
        let frames = channels.iter().map(|frame| **frame).collect::<Vec<_>>();
        tape.push(index, &frames, body);
        if tape.octets() > self.room {
            self.running.remove(&recording);
            self.told.push((recording, Err("no space left on device".to_owned())));
        }
    }

    pub(super) fn poll_told(&mut self) -> Option<(u64, Result<Kept, String>)> {
        self.told.pop()
    }
}
