//! Sound files: found beneath the prompts directory only, read and decoded on a thread of its own.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use crate::call::Origin;
use crate::flow;
use crate::media::{Clip, Source};
use crate::shell::signalling::Input;
use crate::shell::sounds::Sounds;
use crate::shell::trim;
use crate::shell::wake::Sender;

/// Bytes of a sound file: ten minutes of stereo at 48 kHz and 24 bit, and some.
const BYTES_MAX: u64 = 200 * 1024 * 1024;

/// The thread that loads files, and hands what is elsewhere to others.
pub(super) struct Loader {
    outputs: Sender<Input>,
    prompts: PathBuf,
    sounds: Sounds,
}

impl Loader {
    /// One that looks for names of prompts in this directory.
    pub(super) const fn new(prompts: PathBuf, outputs: Sender<Input>, sounds: Sounds) -> Self {
        Self { outputs, prompts, sounds }
    }

    /// Loads what is asked for until the channel closes.
    pub(super) fn run(self, origins: &Receiver<Origin>) {
        while let Some(origin) = trim::recv(origins) {
            let clip = match &origin {
                Origin::File(path) => load(&self.prompts, path),
                Origin::Item(data) => {
                    let clip = Clip::read(&flow::unbase64(data)).map(Arc::new);
                    clip.map_err(|error| error.to_string())
                }
                Origin::Remote(remote) => {
                    self.sounds.start(remote.clone());
                    continue;
                }
            };
            self.outputs.send(Input::Sound(origin, clip.map(Source::Clip)));
        }
    }
}

/// Loads one sound file by the name that a flow gives it.
///
/// A name means a file beneath the prompts directory; the kernel itself refuses any way out of it,
/// by `..`, by an absolute path or by a symbolic link.
pub(super) fn load(prompts: &Path, name: &str) -> Result<Arc<Clip>, String> {
    let read = || -> std::io::Result<Vec<u8>> {
        let directory = File::open(prompts)?;
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let file = File::from(openat2(&directory, relative(name), flags, Mode::empty(), beneath)?);
        if !file.metadata()?.is_file() {
            return Err(std::io::Error::other("not a file"));
        }
        let mut bytes = Vec::new();
        file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let why = |error: std::io::Error| {
        // What `openat2` says of a way out of the directory (RESOLVE_BENEATH).
        if error.kind() == ErrorKind::CrossesDevices {
            return format!("{name} leads out of {}, where sound files must be", prompts.display());
        }
        format!("{}: {error}", prompts.join(name).display())
    };
    let bytes = read().map_err(why)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("{name}: larger than {BYTES_MAX} bytes"));
    }
    Clip::read(&bytes).map(Arc::new).map_err(|error| format!("{name}: {error}"))
}

/// Flows may write the directory's own name in front, as people do.
fn relative(name: &str) -> PathBuf {
    let name = name.strip_prefix("./").unwrap_or(name);
    PathBuf::from(name.strip_prefix("prompts/").unwrap_or(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prompts() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts")
    }

    #[test]
    fn a_prompt_is_found_with_or_without_its_directory() {
        assert!(load(&prompts(), "hello.wav").is_ok());
        assert!(load(&prompts(), "prompts/hello.wav").is_ok());
    }

    #[test]
    fn no_name_leads_out_of_the_directory() {
        let told = load(&prompts(), "../Cargo.toml").unwrap_err();
        assert!(told.starts_with("../Cargo.toml leads out of "), "{told}");
        for name in ["../Cargo.toml", "/etc/passwd", "a/../../Cargo.toml", "missing.wav", ".", ""] {
            assert!(load(&prompts(), name).is_err(), "{name}");
        }
        assert!(load(&prompts(), "README.md").unwrap_err().contains("README.md"));
    }
}
