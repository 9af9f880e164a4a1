//! The door to what only the operator may see and do over HTTP: a token in the data directory, and
//! the client that the command line uses.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use subtle::ConstantTimeEq as _;

use crate::shell::clock::system_secret;
use crate::shell::credentials::write;

/// The file in the data directory; whoever can read it is the operator.
const FILE: &str = "admin.token";

/// What a request has to show: `Authorization: Bearer` and this.
#[derive(Clone)]
pub(super) struct Token(Arc<str>);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The token of a data directory; it is made, for its owner alone, when there is none yet.
    pub(super) fn open(data: &Path) -> io::Result<Self> {
        let path = data.join(FILE);
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => Ok(Self(text.trim().into())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Ok(_) | Err(_) => {
                let token: String =
                    system_secret().iter().map(|byte| format!("{byte:02x}")).collect();
                write(&path, format!("{token}\n").as_bytes())?;
                Ok(Self(token.into()))
            }
        }
    }

    fn lets_in(&self, shown: &str) -> bool {
        bool::from(shown.as_bytes().ct_eq(self.0.as_bytes()))
    }
}

/// Lets a request through that shows the token.
pub(super) async fn require(State(token): State<Token>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let shown = shown.and_then(|shown| shown.strip_prefix("Bearer "));
    if shown.is_some_and(|shown| token.lets_in(shown)) {
        return next.run(request).await;
    }
    let demand = [(header::WWW_AUTHENTICATE, "Bearer")];
    let told =
        format!("send `Authorization: Bearer` and what is in {FILE} in the data directory\n");
    (StatusCode::UNAUTHORIZED, demand, told).into_response()
}

/// Asks a running server, as its operator.
pub(super) fn get(http: SocketAddr, data: &Path, path: &str) -> Result<Value, String> {
    let file = data.join(FILE);
    let token = std::fs::read_to_string(&file).map_err(|error| {
        format!(
            "cannot read {}: {error}\n  = help: `--data` names the data directory of the server",
            file.display()
        )
    })?;
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let request = agent.get(format!("http://{http}{path}"));
    let sent = request.header("authorization", format!("Bearer {}", token.trim())).call();
    let mut answer = sent.map_err(|error| {
        format!("no server answers at {http}: {error}\n  = help: `--http` names its address")
    })?;
    let text = answer.body_mut().read_to_string().map_err(|error| error.to_string())?;
    match answer.status().as_u16() {
        200 => serde_json::from_str(&text).map_err(|error| format!("no JSON came: {error}")),
        401 => Err(format!("the server at {http} has another token than {}", file.display())),
        status => Err(format!("the server says {status}: {}", text.trim())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_token_is_made_once_and_for_its_owner_alone() {
        let data = std::env::temp_dir().join(format!("ringback-admin-{}", std::process::id()));
        std::fs::create_dir_all(&data).unwrap();
        let token = Token::open(&data).unwrap();
        assert!(token.0.len() == 64 && Token::open(&data).unwrap().lets_in(&token.0));
        assert!(!token.lets_in("") && !token.lets_in(&"0".repeat(64)));
        let mode = std::fs::metadata(data.join(FILE)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::remove_dir_all(&data).unwrap();
    }
}
