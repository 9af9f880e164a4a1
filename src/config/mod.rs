//! Config: `ringback.toml` as written, checked into settings that cannot be wrong.
//!
//! Reading has two stages: `raw` is the file's own shape and refuses unknown keys; [`check`]
//! gives [`Settings`] or every problem at once, each with its path and what is allowed.

mod options;
mod queue;
mod raw;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::call::guard::DENIED;
use crate::call::site::is_number;
use crate::call::trigger::encodings;
use crate::call::{
    Blocked, ExtensionSettings, Guard, Peer, QueueSettings, TrunkGuard, TrunkSettings,
};
use crate::media::Country;
use crate::sdp::Encoding;
use crate::sip::digest::Hash;
use crate::sip::{self, Host, Transport, Uri};

pub use raw::Raw;

/// Seconds of a day.
const DAY_S: u64 = 86_400;
/// Bytes of a megabyte, as options count them.
const MEGABYTE: u64 = 1024 * 1024;

/// What the journal keeps of promises that have ended; those that are open are always kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// How long after their end.
    pub kept: Duration,
    /// Bytes of the journal beyond which those that ended first go earlier, but none of the last
    /// day, which limits by the day count.
    pub octets_max: u64,
}

impl Retention {
    /// 30 days, 256 MB.
    pub const STANDARD: Self =
        Self { kept: Duration::from_secs(30 * DAY_S), octets_max: 256 * MEGABYTE };
}

/// Checked settings of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where SIP is listened to, over UDP and TCP.
    pub sip: SocketAddr,
    /// Host, or host and port, that peers are told to use instead of the local address.
    pub advertised: Option<String>,
    /// Realm of the passwords of phones and trunks, when it is not left to the flows.
    pub realm: Option<String>,
    /// Hash functions that challenges offer, in this order.
    pub digest: Vec<Hash>,
    /// Whether challenges offer to protect bodies too.
    pub digest_integrity: bool,
    /// Where audio is received.
    pub rtp: RtpRange,
    /// Whether the audio thread goes before all others, where the system lets it.
    pub is_realtime: bool,
    /// Where health and metrics are served.
    pub http: SocketAddr,
    /// Where the server keeps what must outlive it.
    pub data: PathBuf,
    /// Where sound files of flows are looked for.
    pub prompts: PathBuf,
    /// Where recordings of flows are written.
    pub recordings: PathBuf,
    /// Whose tones flows play.
    pub tones: Country,
    /// Hosts that requests of flows may reach at private addresses.
    pub outbound_allow: Vec<String>,
    /// Legs at a time.
    pub legs_max: usize,
    /// How long calls may go on after SIGTERM.
    pub drain: Duration,
    /// What the journal keeps of promises that have ended.
    pub retention: Retention,
    /// How long a call lasts unless its session is refreshed; `None`: as the peer asks.
    pub session_timer: Option<Duration>,
    /// Trunks by public name.
    pub trunks: BTreeMap<String, TrunkSettings>,
    /// Extensions that do not register, by number.
    pub extensions: BTreeMap<String, ExtensionSettings>,
    /// Queues by public name.
    pub queues: BTreeMap<String, QueueSettings>,
    /// Numbers that are never dialled.
    pub blocked: Blocked,
    /// Beginnings of numbers that cost more than others.
    pub premium: Vec<String>,
    /// Codecs of groups of extensions, by public name.
    pub extension_encodings: BTreeMap<String, Vec<Encoding>>,
}

/// Address and ports for audio, as `127.0.0.1:20000-29999`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RtpRange {
    /// The address.
    pub address: IpAddr,
    /// Ports; a leg takes an even one and the next.
    pub ports: RangeInclusive<u16>,
}

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line of the file, where it is known.
    pub line: Option<usize>,
    /// Path of the option, as `trunk.main.peers[0]`; empty for the file as a whole.
    pub path: String,
    /// What is wrong, and what is allowed.
    pub message: String,
    /// What to write instead; empty where the message says it.
    pub help: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\n   = help: {}", self.help) }
    }
}

impl Default for Settings {
    /// Loopback only: what `ringback serve` does without a file.
    fn default() -> Self {
        Self {
            sip: SocketAddr::from(([127, 0, 0, 1], 5060)),
            advertised: None,
            realm: None,
            digest: vec![Hash::Md5],
            digest_integrity: false,
            rtp: RtpRange { address: IpAddr::from([127, 0, 0, 1]), ports: 20_000..=29_999 },
            is_realtime: true,
            http: SocketAddr::from(([127, 0, 0, 1], 8080)),
            data: PathBuf::from("data"),
            prompts: PathBuf::from("prompts"),
            recordings: PathBuf::from("recordings"),
            tones: Country::Us,
            outbound_allow: Vec::new(),
            legs_max: 2000,
            drain: Duration::from_secs(30),
            retention: Retention::STANDARD,
            session_timer: Some(Duration::from_secs(SESSION_TIMER_S)),
            trunks: BTreeMap::new(),
            extensions: BTreeMap::new(),
            queues: BTreeMap::new(),
            blocked: Blocked::default(),
            premium: DENIED.map(str::to_owned).to_vec(),
            extension_encodings: BTreeMap::new(),
        }
    }
}

/// What RFC 4028 §4 recommends for Session-Expires.
const SESSION_TIMER_S: u64 = 1800;

/// Reads and checks a settings file; all problems at once.
pub fn read(text: &str) -> Result<Settings, Vec<Problem>> {
    let mut looked = options::look(text).map_err(|problem| vec![problem])?;
    let raw = std::mem::take(&mut looked.raw);
    let mut problems = std::mem::take(&mut looked.problems);
    match check(raw) {
        Ok(settings) if problems.is_empty() => Ok(settings),
        Ok(_) => Err(problems),
        Err(more) => {
            let with_line =
                |problem: Problem| Problem { line: looked.line_of(&problem.path), ..problem };
            problems.extend(more.into_iter().map(with_line));
            Err(problems)
        }
    }
}

/// The settings that hold with this file, as TOML with the defaults as remarks and without
/// passwords; or every problem of it.
pub fn shown(text: &str) -> Result<String, Vec<Problem>> {
    read(text)?;
    let looked = options::look(text).map_err(|problem| vec![problem])?;
    Ok(options::effective(&looked))
}

/// Checks settings as written.
pub fn check(raw: Raw) -> Result<Settings, Vec<Problem>> {
    let mut problems = Vec::new();
    let defaults = Settings::default();
    let mut checked = Checker { problems: &mut problems };
    let settings = Settings {
        sip: checked.parse("sip.listen", raw.sip.listen, defaults.sip),
        advertised: raw.sip.advertised.filter(|host| checked.host("sip.advertised", host)),
        digest: raw
            .sip
            .digest
            .map_or(defaults.digest, |names| checked.digest("sip.digest", &names)),
        digest_integrity: raw.sip.digest_integrity.unwrap_or(defaults.digest_integrity),
        session_timer: checked.session_timer("sip.session_timer_s", raw.sip.session_timer_s),
        realm: raw.sip.realm.filter(|realm| checked.realm("sip.realm", realm)),
        rtp: checked.parse("rtp.listen", raw.rtp.listen, defaults.rtp),
        is_realtime: raw.rtp.realtime.unwrap_or(defaults.is_realtime),
        http: checked.parse("http.listen", raw.http.listen, defaults.http),
        data: raw.data.unwrap_or(defaults.data),
        prompts: raw.prompts.unwrap_or(defaults.prompts),
        recordings: raw.recordings.unwrap_or(defaults.recordings),
        tones: raw.tones.map_or(defaults.tones, |name| checked.tones("tones", &name)),
        outbound_allow: raw.outbound.allow,
        legs_max: checked.within("limits.legs", raw.limits.legs, 1..=100_000, 2000) as usize,
        drain: Duration::from_secs(checked.within(
            "limits.drain_s",
            raw.limits.drain_s,
            0..=86_400,
            30,
        )),
        retention: checked.retention(&raw.journal),
        trunks: raw.trunk.into_iter().map(|(name, trunk)| checked.trunk(name, trunk)).collect(),
        extensions: raw
            .extension
            .into_iter()
            .filter_map(|(number, one)| checked.extension(number, one.contact))
            .collect(),
        queues: raw.queue.into_iter().map(|(name, one)| checked.queue(name, one)).collect(),
        blocked: Blocked::new(&checked.numbers("numbers.blocked", raw.numbers.blocked)),
        premium: raw
            .numbers
            .premium
            .map_or(defaults.premium, |list| checked.numbers("numbers.premium", list)),
        extension_encodings: raw
            .extensions
            .into_iter()
            .filter_map(|(name, group)| {
                let codecs = checked.codecs(&format!("extensions.{name}"), group.codecs)?;
                Some((name, codecs))
            })
            .collect(),
    };
    if problems.is_empty() { Ok(settings) } else { Err(problems) }
}

struct Checker<'a> {
    problems: &'a mut Vec<Problem>,
}

impl Checker<'_> {
    fn parse<T: FromStr<Err: fmt::Display>>(
        &mut self,
        path: &str,
        text: Option<String>,
        default: T,
    ) -> T {
        let Some(text) = text else { return default };
        text.parse().unwrap_or_else(|error| {
            self.problem(path, format!("`{text}`: {error}"));
            default
        })
    }

    fn within(
        &mut self,
        path: &str,
        value: Option<u64>,
        allowed: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let value = value.unwrap_or(default);
        if !allowed.contains(&value) {
            let message = format!("{value} is not within {} to {}", allowed.start(), allowed.end());
            self.problem(path, message);
        }
        value
    }

    fn retention(&mut self, raw: &raw::Journal) -> Retention {
        let Retention { kept, octets_max } = Retention::STANDARD;
        let days = kept.as_secs() / DAY_S;
        let days = self.within("journal.keep_days", raw.keep_days, 1..=3650, days);
        let megabytes = octets_max / MEGABYTE;
        let megabytes = self.within("journal.max_mb", raw.max_mb, 1..=1_000_000, megabytes);
        Retention { kept: Duration::from_secs(days * DAY_S), octets_max: megabytes * MEGABYTE }
    }

    fn host(&mut self, path: &str, host: &str) -> bool {
        let is_sound = !host.is_empty()
            && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.:[]".contains(&b));
        if !is_sound {
            self.problem(path, format!("`{host}` is no host or host:port"));
        }
        is_sound
    }

    fn digest(&mut self, path: &str, names: &[String]) -> Vec<Hash> {
        let mut hashes = Vec::new();
        for name in names {
            match name.as_str() {
                "MD5" => hashes.push(Hash::Md5),
                "SHA-256" => hashes.push(Hash::Sha256),
                "SHA-512-256" => hashes.push(Hash::Sha512256),
                other => {
                    let message = format!("`{other}` is none of MD5, SHA-256, SHA-512-256");
                    self.problem(path, message);
                }
            }
        }
        if names.is_empty() {
            self.problem(path, "name at least one of MD5, SHA-256, SHA-512-256".to_owned());
        }
        hashes
    }

    fn tones(&mut self, path: &str, name: &str) -> Country {
        match name {
            "us" => Country::Us,
            "eu" => Country::Eu,
            "uk" => Country::Uk,
            "ru" => Country::Ru,
            other => {
                self.problem(path, format!("`{other}` is none of us, eu, uk, ru"));
                Country::Us
            }
        }
    }

    fn session_timer(&mut self, path: &str, seconds: Option<u64>) -> Option<Duration> {
        let seconds = seconds.unwrap_or(SESSION_TIMER_S);
        if seconds != 0 {
            self.within(path, Some(seconds), 90..=86_400, SESSION_TIMER_S);
        }
        (seconds != 0).then_some(Duration::from_secs(seconds))
    }

    fn realm(&mut self, path: &str, realm: &str) -> bool {
        let is_sound = !realm.is_empty()
            && realm.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic())
            && !realm.contains(['"', '\\']);
        if !is_sound {
            self.problem(path, format!("`{realm}`: write plain text without quotes"));
        }
        is_sound
    }

    fn trunk(&mut self, name: String, trunk: raw::Trunk) -> (String, TrunkSettings) {
        let mut peers = Vec::new();
        for (index, text) in trunk.peers.iter().enumerate() {
            match text.parse::<Peer>() {
                Ok(peer) => peers.push(peer),
                Err(error) => self.problem(
                    &format!("trunk.{name}.peers[{index}]"),
                    format!("`{text}`: {error}; write an address, or address:port"),
                ),
            }
        }
        let server = self.server(&format!("trunk.{name}.server"), trunk.server);
        let backup = self.server(&format!("trunk.{name}.backup"), trunk.backup);
        if backup.is_some() && server.is_none() {
            let message = "a backup stands in for a server; name that one too";
            self.problem(&format!("trunk.{name}.backup"), message.to_owned());
        }
        let transport = trunk.transport.and_then(|text| match text.as_str() {
            "udp" => Some(Transport::Udp),
            "tcp" => Some(Transport::Tcp),
            other => {
                let message = format!("`{other}` is neither udp nor tcp");
                self.problem(&format!("trunk.{name}.transport"), message);
                None
            }
        });
        let domain = trunk.domain;
        let domain = domain.filter(|host| self.host(&format!("trunk.{name}.domain"), host));
        let credentials = match (trunk.username, trunk.password) {
            (None, None) => None,
            (Some(username), Some(password)) if !username.is_empty() && !password.is_empty() => {
                let realm = trunk.realm.filter(|realm| {
                    let path = format!("trunk.{name}.realm");
                    self.realm(&path, realm)
                });
                Some(sip::Credentials { username, password, realm })
            }
            (Some(_), _) | (_, Some(_)) => {
                let message = "username and password come together, and neither is empty";
                self.problem(&format!("trunk.{name}"), message.to_owned());
                None
            }
        };
        let allow = self.numbers(&format!("trunk.{name}.allow"), trunk.allow);
        let deny = self.numbers(&format!("trunk.{name}.deny"), trunk.deny);
        let lists = (!allow.is_empty() || !deny.is_empty()).then_some(Guard { allow, deny });
        let standard = TrunkGuard::default();
        let path = |option: &str| format!("trunk.{name}.{option}");
        let calls_per_s = u64::from(standard.calls_per_s);
        let calls_per_s =
            self.within(&path("calls_per_s"), trunk.calls_per_s, 1..=10_000, calls_per_s) as u32;
        let channels = u64::from(standard.channels);
        let channels = self.within(&path("channels"), trunk.channels, 1..=100_000, channels) as u32;
        let is_premium = trunk.premium.unwrap_or_default();
        let guard = TrunkGuard { lists, is_premium, calls_per_s, channels };
        let encodings = self.codecs(&format!("trunk.{name}"), trunk.codecs);
        let settings = TrunkSettings {
            peers,
            server,
            backup,
            transport,
            domain,
            credentials,
            guard,
            encodings,
        };
        (name, settings)
    }

    fn server(&mut self, path: &str, text: Option<String>) -> Option<SocketAddr> {
        let text = text?;
        match text.parse::<Peer>() {
            Ok(peer) => Some(SocketAddr::new(peer.address, peer.port.unwrap_or(SIP_PORT))),
            Err(error) => {
                let message = format!("`{text}`: {error}; write an address, or address:port");
                self.problem(path, message);
                None
            }
        }
    }

    fn codecs(&mut self, path: &str, names: Option<Vec<String>>) -> Option<Vec<Encoding>> {
        let names = names?;
        let path = format!("{path}.codecs");
        for name in names.iter().filter(|name| Encoding::parse(name).is_none()) {
            self.problem(&path, format!("`{name}` is none of g722, pcma, pcmu and l16"));
        }
        let encodings = encodings(names.iter().map(String::as_str));
        if names.is_empty() {
            self.problem(&path, "name at least one of g722, pcma, pcmu and l16".to_owned());
        }
        encodings
    }

    fn extension(
        &mut self,
        number: String,
        contact: String,
    ) -> Option<(String, ExtensionSettings)> {
        let path = format!("extension.{number}");
        if !is_number(&number) {
            self.problem(&path, "an extension is digits, letters, and + * # - . _".to_owned());
        }
        let Some((transport, address)) = reach(&contact) else {
            let message = format!("`{contact}`: write sip:user@address:port");
            self.problem(&format!("{path}.contact"), message);
            return None;
        };
        Some((number, ExtensionSettings { contact, transport, address }))
    }

    fn problem(&mut self, path: &str, message: String) {
        let (path, help) = (path.to_owned(), String::new());
        self.problems.push(Problem { line: None, path, message, help });
    }
}

/// The port of a SIP address that names none (RFC 3261 §19.1.2).
const SIP_PORT: u16 = 5060;

/// How and where a SIP URI is reached; `None` where that takes a name server or TLS.
fn reach(contact: &str) -> Option<(Transport, SocketAddr)> {
    let uri = Uri::parse(contact)?;
    let sip = uri.sip().filter(|sip| !sip.is_secure)?;
    let address = match sip.host {
        Host::V4(address) => IpAddr::V4(address),
        Host::V6(address) => IpAddr::V6(address),
        Host::Name(_) => return None,
    };
    let transport = match sip.params.value("transport").map(str::to_ascii_lowercase).as_deref() {
        None | Some("udp") => Transport::Udp,
        Some("tcp") => Transport::Tcp,
        Some(_) => return None,
    };
    Some((transport, SocketAddr::new(address, sip.port.unwrap_or(SIP_PORT))))
}

impl FromStr for RtpRange {
    type Err = RtpRangeError;

    fn from_str(text: &str) -> Result<Self, RtpRangeError> {
        let (address, ports) = text.rsplit_once(':').ok_or(RtpRangeError::Shape)?;
        let (first, last) = ports.split_once('-').ok_or(RtpRangeError::Shape)?;
        let address = address.trim_matches(['[', ']']).parse().map_err(|_| RtpRangeError::Shape)?;
        let port = |text: &str| text.parse::<u16>().map_err(|_| RtpRangeError::Shape);
        let (first, last) = (port(first)?, port(last)?);
        if first < 1024 || last <= first {
            return Err(RtpRangeError::Ports);
        }
        if IpAddr::is_unspecified(&address) {
            return Err(RtpRangeError::Unspecified);
        }
        Ok(Self { address, ports: first..=last })
    }
}

impl fmt::Display for RtpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bracketed = SocketAddr::new(self.address, 0).to_string();
        let host = bracketed.trim_end_matches('0');
        write!(f, "{host}{}-{}", self.ports.start(), self.ports.end())
    }
}

/// Why a text is no address with a range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RtpRangeError {
    /// It does not look like one.
    Shape,
    /// Its ports are not a range above 1023.
    Ports,
    /// It is every address, and none that a phone could send to.
    Unspecified,
}

impl fmt::Display for RtpRangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shape => "write address:first-last, as 127.0.0.1:20000-29999",
            Self::Ports => "the first port must be at least 1024 and below the last",
            Self::Unspecified => "write the address that phones reach; SDP tells it to them",
        })
    }
}

impl std::error::Error for RtpRangeError {}

#[cfg(test)]
mod tests;
