//! Credentials of flows: an encrypted file in the data directory, read by name, shown to nobody.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use serde_json::{Map, Value, json};

use crate::flow::{
    Fault, Graph, HTTP_REQUEST, Node, Object, Problem, RESPOND, Severity, WEBHOOK, nearest,
};
use crate::shell::cli::{complain, say};

/// The file beside its key.
const FILE: &str = "credentials.bin";
const KEY_FILE: &str = "credentials.key";
/// Bytes of the nonce before the text.
const NONCE: usize = 24;
/// The type under which values for `$vars` are kept.
pub(super) const VARIABLE: &str = "variable";

/// Names, types and contents. Who has a clone sees what [`Self::take`] brings.
#[derive(Clone, Default)]
pub(super) struct Credentials {
    held: Arc<RwLock<Map<String, Value>>>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} credentials", self.held().len())
    }
}

impl Credentials {
    /// Reads the file of a data directory; a directory without one has none.
    pub(super) fn open(data: &Path) -> Result<Self, String> {
        let path = data.join(FILE);
        let sealed = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
            Ok(sealed) => sealed,
        };
        let broken = || {
            let key = data.join(KEY_FILE);
            format!("{} was not written with the key in {}", path.display(), key.display())
        };
        let (nonce, text) = sealed.split_at_checked(NONCE).ok_or_else(broken)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| broken())?;
        let plain = cipher(data, false)?.decrypt(&nonce, text).map_err(|_| broken())?;
        let held = serde_json::from_slice(&plain).map_err(|_| broken())?;
        Ok(Self { held: Arc::new(RwLock::new(held)) })
    }

    /// From now on these are those of the other, wherever they are used.
    pub(super) fn take(&self, other: &Self) {
        let held = other.held().clone();
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
    }

    fn held(&self) -> RwLockReadGuard<'_, Map<String, Value>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one under a name.
    pub(super) fn keep(&self, name: &str, kind: &str, data: &Value) {
        let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
        held.insert(name.to_owned(), json!({ "type": kind, "data": data }));
    }

    /// Writes the file of a data directory.
    pub(super) fn save(&self, data: &Path) -> Result<(), String> {
        fs::create_dir_all(data).map_err(|error| format!("{}: {error}", data.display()))?;
        let cipher = cipher(data, true)?;
        let nonce: [u8; NONCE] = random()?;
        let plain = serde_json::to_vec(&*self.held()).expect("credentials are plain JSON");
        let sealed = cipher.encrypt(&XNonce::from(nonce), plain.as_slice());
        let sealed = sealed.map_err(|_| "the credentials cannot be encrypted".to_owned())?;
        let (path, new) = (data.join(FILE), data.join("credentials.new"));
        write(&new, &[nonce.as_slice(), &sealed].concat())
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// What the credential of this name holds.
    pub(super) fn find(&self, name: &str) -> Result<Object, Fault> {
        let held = self.held();
        let fields = held.get(name).and_then(|held| held["data"].as_object());
        fields.cloned().ok_or_else(|| {
            let near = nearest(name, held.keys().map(String::as_str));
            let near = near.map(|near| format!("; did you mean '{near}'?")).unwrap_or_default();
            let message = format!(
                "the credential '{name}' is not there{near}: give it with `ringback credentials set`"
            );
            Fault::new("E-FLOW-CREDENTIALS", message)
        })
    }

    /// A warning for each credential that a flow names and nobody has given.
    pub(super) fn missing(&self, graph: &Graph) -> Vec<Problem> {
        // Telephony nodes have settings of this server instead, but for sound of other servers.
        const KINDS: [&str; 3] = [HTTP_REQUEST, WEBHOOK, RESPOND];
        let uses = |node: &Node| {
            let asks =
                |key| node.parameters.get(key).is_some_and(|how| how == "genericCredentialType");
            KINDS.contains(&node.kind.name())
                || asks("playbackHttpAuthentication")
                || asks("recordHttpAuthentication")
        };
        let nodes = graph.nodes().filter(|(_, node)| !node.disabled && uses(node));
        let named = nodes.flat_map(|(_, node)| {
            node.credentials.iter().map(move |(kind, name)| (node, kind, name))
        });
        let held = self.held();
        let missing = named.filter(|(_, _, name)| !held.contains_key(name.as_str()));
        missing
            .map(|(node, kind, name)| Problem {
                severity: Severity::Warning,
                code: "W-FLOW-CREDENTIALS",
                file: graph.file().to_owned(),
                line: None,
                column: None,
                workflow: Some(graph.name().to_owned()),
                node: Some(node.name.to_string()),
                parameter: Some(format!("credentials.{kind}")),
                message: format!("the credential `{name}` is not there"),
                remedy: format!("give it: ringback credentials set '{name}' --type {kind}"),
            })
            .collect()
    }

    /// What `$vars` holds.
    pub(super) fn variables(&self) -> Object {
        let held = self.held();
        let variables = held.iter().filter(|(_, held)| held["type"] == VARIABLE);
        variables.map(|(name, held)| (name.clone(), held["data"]["value"].clone())).collect()
    }
}

/// The cipher of a data directory; its key is made when there is none yet.
fn cipher(data: &Path, may_make: bool) -> Result<XChaCha20Poly1305, String> {
    let path = data.join(KEY_FILE);
    let key: [u8; 32] = match fs::read(&path) {
        Ok(bytes) => {
            bytes.try_into().map_err(|_| format!("{} is no key of 32 bytes", path.display()))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_make => {
            let key = random()?;
            write(&path, &key).map_err(|error| format!("{}: {error}", path.display()))?;
            key
        }
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    Ok(XChaCha20Poly1305::new(&Key::from(key)))
}

/// Writes a file that nobody else may read.
pub(super) fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn random<const N: usize>() -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    let filled = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    match filled {
        Ok(count) if count == N => Ok(bytes),
        Ok(_) | Err(_) => Err("the system gives no randomness".to_owned()),
    }
}

/// What `ringback credentials` is to do.
#[derive(Debug)]
pub(super) enum Order {
    /// Keeps the JSON object on standard input under a name.
    Set {
        /// The name that the export uses.
        name: String,
        /// n8n's name of the type.
        kind: String,
    },
    /// Shows names and types.
    List,
    /// Forgets one.
    Remove {
        /// Its name.
        name: String,
    },
}

/// Carries it out.
pub(super) fn run(order: Order, data: &Path) -> ExitCode {
    match carry_out(order, data) {
        Ok(told) => {
            if !told.is_empty() {
                say(&told);
            }
            ExitCode::SUCCESS
        }
        Err(error) => complain(&error),
    }
}

fn carry_out(order: Order, data: &Path) -> Result<String, String> {
    let credentials = Credentials::open(data)?;
    match order {
        Order::List => {
            let held = credentials.held();
            let lines = held.iter().map(|(name, held)| {
                format!("{name}  {}", held["type"].as_str().unwrap_or_default())
            });
            Ok(lines.collect::<Vec<_>>().join("\n"))
        }
        Order::Remove { name } => {
            let mut held = credentials.held.write().unwrap_or_else(PoisonError::into_inner);
            let removed = held.shift_remove(&name);
            drop(held);
            if removed.is_none() {
                return Err(format!("there is no credential `{name}`"));
            }
            credentials.save(data)?;
            Ok(format!("removed {name}"))
        }
        Order::Set { name, kind } => {
            let mut text = String::new();
            let read = std::io::stdin().lock().take(64 * 1024).read_to_string(&mut text);
            read.map_err(|error| format!("standard input: {error}"))?;
            let fields: Value = serde_json::from_str(&text).map_err(|error| {
                format!("standard input is no JSON: {error}; write it as {{\"user\": \"…\"}}")
            })?;
            if !fields.is_object() {
                return Err(
                    "standard input is no JSON object, such as {\"token\": \"…\"}".to_owned()
                );
            }
            credentials.keep(&name, &kind, &fields);
            credentials.save(data)?;
            Ok(format!("kept {name}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_found_again_and_not_readable() {
        let data =
            std::env::temp_dir().join(format!("ringback-credentials-{}", std::process::id()));
        let credentials = Credentials::default();
        credentials.keep("api", "httpBearerAuth", &json!({ "token": "very secret" }));
        credentials.keep("limit", VARIABLE, &json!({ "value": 7 }));
        credentials.save(&data).unwrap();

        let sealed = fs::read(data.join(FILE)).unwrap();
        assert!(!sealed.windows(6).any(|bytes| bytes == b"secret"));
        let again = Credentials::open(&data).unwrap();
        assert_eq!(again.find("api").unwrap()["token"], "very secret");
        assert_eq!(again.variables()["limit"], 7);
        let told = again.find("apo").unwrap_err().message;
        assert!(told.contains("did you mean 'api'?") && !format!("{again:?}").contains("secret"));
        let _ = fs::remove_dir_all(&data);
    }
}
