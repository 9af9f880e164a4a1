//! Requests to other servers: where they may go, how long they may take, how much may come back.
//!
//! Every address is judged after its name was resolved and before a connection, also after each
//! redirect; the connection then goes to that very address.

use std::io::{self, Read};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use ureq::config::Config;
use ureq::http::{Request, Response, Uri};
use ureq::tls::TlsConfig;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body, BodyReader, Error};

use crate::call::Remote;
use crate::flow::{Fault, HttpRequest, HttpResponse, Item};
use crate::shell::credentials::Credentials;

/// Bytes of an answer that are read; what is longer is an error.
pub(super) const BODY_MAX: u64 = 16 * 1024 * 1024;
/// Redirects that a request for sound, or with it, follows.
const REDIRECTS_MAX: u32 = 5;

/// Where requests may go: to public addresses, and to those that are listed.
#[derive(Clone, Debug, Default)]
pub(super) struct Policy {
    /// Hosts, with or without port, as URLs name them, that may be at private addresses.
    pub(super) allowed: Vec<String>,
    /// Whether this machine itself may be asked: where whoever runs the flow sits before it.
    pub(super) reaches_loopback: bool,
}

impl Policy {
    /// What a server does: nothing beside public addresses but what its settings list.
    pub(super) const fn of_server(allowed: Vec<String>) -> Self {
        Self { allowed, reaches_loopback: false }
    }

    fn allows(&self, uri: &Uri, address: SocketAddr) -> bool {
        let ip = address.ip();
        if is_public(ip) || (self.reaches_loopback && ip.is_loopback()) {
            return true;
        }
        let host = uri.host().unwrap_or_default();
        let with_port = format!("{host}:{}", address.port());
        self.allowed.iter().any(|allowed| *allowed == host || *allowed == with_port)
    }
}

/// Whether an address is one of the world's, and not of this machine, network or a special use.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_test =
                matches!((a, b, c), (192, 0, 0) | (198, 18..=19, _)) || v4.is_documentation();
            let is_special = v4.is_private() || v4.is_loopback() || v4.is_link_local();
            !(is_special || is_shared || is_test || a == 0 || a >= 224)
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped().or_else(|| embedded(v6)) {
            Some(v4) => is_public(IpAddr::V4(v4)),
            None => {
                let first = v6.segments()[0];
                // 2000::/3 is what is given out; of it, 2001:db8::/32 is for documentation.
                first & 0xe000 == 0x2000 && !(first == 0x2001 && v6.segments()[1] == 0xdb8)
            }
        },
    }
}

/// The IPv4 address that a translation prefix holds (64:ff9b::/96, 2002::/16).
fn embedded(v6: Ipv6Addr) -> Option<std::net::Ipv4Addr> {
    let s = v6.segments();
    let of = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        std::net::Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(of(high, low)),
        [0x2002, high, low, ..] => Some(of(high, low)),
        _ => None,
    }
}

impl Resolver for Policy {
    fn resolve(
        &self,
        uri: &Uri,
        _config: &Config,
        _timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let port =
            uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let mut addresses = self.empty();
        let mut refused = None;
        for address in (bare, port).to_socket_addrs().map_err(|_| Error::HostNotFound)?.take(16) {
            if self.allows(uri, address) {
                addresses.push(address);
            } else {
                refused = Some(address.ip());
            }
        }
        match (addresses.is_empty(), refused) {
            (false, _) => Ok(addresses),
            (true, None) => Err(Error::HostNotFound),
            (true, Some(ip)) => {
                let message = format!(
                    "{host} is at the private address {ip}: requests go there only when the host \
                     is listed under outbound.allow"
                );
                Err(Error::Io(io::Error::new(io::ErrorKind::PermissionDenied, message)))
            }
        }
    }
}

/// The request that a node of the telephony package describes, with what its credential holds.
pub(super) fn remote_request(
    remote: &Remote,
    credentials: &Credentials,
    timeout: Duration,
) -> Result<HttpRequest, String> {
    let credential = |kind: &str| match &remote.credential {
        Some((_, name)) => credentials.find(name),
        None => Err(Fault::new("E-FLOW-CREDENTIALS", format!("no credential of type {kind}"))),
    };
    let request = HttpRequest::read(&remote.parameters(), &Item::default(), credential);
    let mut request = request.map_err(|fault| fault.to_string())?;
    (request.timeout, request.redirects) = (timeout, REDIRECTS_MAX);
    Ok(request)
}

/// Sends a request and waits for the whole answer. An error says what and where.
pub(super) fn send(request: &HttpRequest, policy: &Policy) -> Result<HttpResponse, String> {
    fetch(request, request.body.as_deref().map(|body| ("", body)), policy)
}

/// [`send`] with another body; a type that is given is said in a header.
pub(super) fn fetch(
    request: &HttpRequest,
    body: Option<(&str, &[u8])>,
    policy: &Policy,
) -> Result<HttpResponse, String> {
    let fail =
        |error: Error| format!("the request to {} failed: {}", host(&request.url), told(&error));
    let times = Times { whole: Some(request.timeout), silence: None };
    let mut response = open(request, body, policy, times).map_err(fail)?;
    let (status, headers) = (response.status(), headers(&response));
    let body = response.body_mut().with_config().limit(BODY_MAX).read_to_vec().map_err(fail)?;
    let reason = status.canonical_reason().unwrap_or_default().to_owned();
    Ok(HttpResponse { status: status.as_u16(), reason, headers, body })
}

/// An answer whose body is still to be read.
pub(super) struct Opened {
    pub(super) status: u16,
    /// Names in lower case, and values, in order.
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Reading,
}

/// The body of an answer, as it comes.
pub(super) struct Reading(Mutex<BodyReader<'static>>);

impl Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).read(buffer)
    }
}

/// Sends a request for sound, which may have no end. The server may be silent for so long, and the
/// answer has to begin within the time of the request.
pub(super) fn open_sound(
    request: &HttpRequest,
    policy: &Policy,
    silence: Duration,
) -> Result<Opened, String> {
    let times = Times { whole: None, silence: Some(silence) };
    let response = open(request, None, policy, times).map_err(|error| {
        format!("the request to {} failed: {}", host(&request.url), told(&error))
    })?;
    let (status, headers) = (response.status().as_u16(), headers(&response));
    let body = Reading(Mutex::new(response.into_body().into_reader()));
    Ok(Opened { status, headers, body })
}

/// How long an exchange may take.
struct Times {
    /// All of it.
    whole: Option<Duration>,
    /// The other side may say nothing.
    silence: Option<Duration>,
}

/// Sends a request and waits until the answer begins.
fn open(
    request: &HttpRequest,
    body: Option<(&str, &[u8])>,
    policy: &Policy,
    times: Times,
) -> Result<Response<Body>, Error> {
    let config = Agent::config_builder()
        .timeout_global(times.whole)
        .timeout_connect(times.silence)
        .timeout_per_read(times.silence)
        .timeout_per_write(times.silence)
        .timeout_recv_response(times.silence.map(|_| request.timeout))
        .max_redirects(request.redirects)
        .max_redirects_will_error(false)
        .http_status_as_error(false)
        .proxy(None)
        .tls_config(TlsConfig::builder().disable_verification(request.trusts_everybody).build())
        .user_agent(concat!("ringback/", env!("CARGO_PKG_VERSION")))
        .build();
    let agent = Agent::with_parts(config, DefaultConnector::default(), policy.clone());
    let mut builder = Request::builder().method(request.method.as_str()).uri(&request.url);
    for (name, value) in &request.headers {
        builder = builder.header(name, value);
    }
    match body {
        None => agent.run(builder.body(())?),
        Some((kind, body)) => {
            if !kind.is_empty() {
                builder = builder.header("content-type", kind);
            }
            agent.run(builder.body(body)?)
        }
    }
}

/// The headers of an answer, names in lower case.
fn headers(response: &Response<Body>) -> Vec<(String, String)> {
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    headers.collect()
}

fn told(error: &Error) -> String {
    if let Error::Io(error) = error {
        return error.to_string();
    }
    if matches!(error, Error::HostNotFound) {
        "the name is unknown".to_owned()
    } else if matches!(error, Error::Timeout(_)) {
        "it took too long".to_owned()
    } else if matches!(error, Error::BodyExceedsLimit(_)) {
        format!("the answer is longer than {BODY_MAX} bytes")
    } else {
        error.to_string()
    }
}

/// The host of a URL: what may stand in a log, where a path or query may hold secrets.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    rest[..end].rsplit('@').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_worlds_addresses_are_public() {
        for private in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "ff02::1",
            "192.0.2.1",
        ] {
            assert!(!is_public(private.parse().unwrap()), "{private}");
        }
        for public in ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
    }

    #[test]
    fn a_private_address_is_refused_with_its_remedy_unless_listed() {
        let policy = Policy { allowed: vec!["127.0.0.1:81".to_owned()], reaches_loopback: false };
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        assert!(policy.allows(&uri("http://127.0.0.1:81/"), address("127.0.0.1:81")));
        assert!(!policy.allows(&uri("http://127.0.0.1:82/"), address("127.0.0.1:82")));
        assert!(!policy.allows(&uri("http://rebind.test:81/"), address("127.0.0.1:81")));
        assert_eq!(host("http://user:secret@x.test/a?token=b"), "x.test");
    }
}
