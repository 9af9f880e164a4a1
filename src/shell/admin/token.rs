//! The token of operators: made at the first start, kept where only the server's user can read it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use subtle::ConstantTimeEq as _;

use crate::shell::clock::system_secret;

/// The file in the data directory.
pub(in crate::shell) const FILE: &str = "admin-token";
/// A token has 32 random bytes; a shorter text in the file was put there by mistake.
const LENGTH_MIN: usize = 32;

/// What whoever uses the API must show.
#[derive(Clone)]
pub(in crate::shell) struct Token(String);

impl Token {
    /// Reads the token of a data directory, or makes one.
    ///
    /// # Errors
    ///
    /// The file cannot be read or made, others may read it, or it holds no token.
    pub(in crate::shell) fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        if !path.try_exists()? {
            make(&path)?;
        }
        let token = Self::read(data)?;
        let mode = fs::metadata(&path)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(io::Error::other(format!(
                "{} may be read by others (mode {:o}); chmod 600, and delete it to have a new one",
                path.display(),
                mode & 0o777
            )));
        }
        Ok(token)
    }

    /// Reads the token of a server that has been started before.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds no token.
    pub(in crate::shell) fn read(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        let text = fs::read_to_string(&path)?;
        let token = text.trim();
        if token.len() < LENGTH_MIN || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            let why = format!(
                "{} holds no token of at least {LENGTH_MIN} characters; delete it to have a new one",
                path.display()
            );
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok(Self(token.to_owned()))
    }

    /// Whether this is it; takes as long for every text of one length.
    pub(super) fn is(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    /// The text to send.
    pub(in crate::shell) fn text(&self) -> &str {
        &self.0
    }
}

/// Written beside and renamed, so that a crash leaves no half of it.
fn make(path: &Path) -> io::Result<()> {
    let token: String = system_secret().iter().map(|byte| format!("{byte:02x}")).collect();
    let beside: PathBuf = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    writeln!(file, "{token}")?;
    file.sync_all()?;
    fs::rename(beside, path)
}
