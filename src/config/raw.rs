//! `ringback.toml` as it is written: every option with its documentation, nothing checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

/// The whole file.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Raw {
    /// Signalling.
    pub sip: Sip,
    /// Audio.
    pub rtp: Rtp,
    /// Health and metrics.
    pub http: Http,
    /// Directory for what must outlive the server; `data`.
    pub data: Option<PathBuf>,
    /// Directory of the sound files that flows name; `prompts`.
    pub prompts: Option<PathBuf>,
    /// Directory that recordings of flows are written to; `recordings`.
    pub recordings: Option<PathBuf>,
    /// Whose tones flows play when they name ringback, busy or congestion: `us`, `eu`, `uk` or `ru`;
    /// `us`.
    pub tones: Option<String>,
    /// Requests that flows make.
    pub outbound: Outbound,
    /// Limits.
    pub limits: Limits,
    /// The journal of promises.
    pub journal: Journal,
    /// What flows do not say about their trunks, by `ref`.
    pub trunk: BTreeMap<String, Trunk>,
    /// Extensions that do not register, by number.
    pub extension: BTreeMap<String, Extension>,
    /// What flows do not say about their queues, by `ref`.
    pub queue: BTreeMap<String, Queue>,
    /// Numbers.
    pub numbers: Numbers,
    /// What flows do not say about their groups of extensions, by `ref`.
    pub extensions: BTreeMap<String, Extensions>,
}

/// `[sip]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sip {
    /// Address and port for SIP over UDP and TCP; `127.0.0.1:5060`.
    pub listen: Option<String>,
    /// Host or host:port that peers are told to use; the local address.
    pub advertised: Option<String>,
    /// Realm of the passwords of phones and trunks; what a flow names, or `ringback`.
    pub realm: Option<String>,
    /// Hash functions that challenges offer, in this order, of `MD5`, `SHA-256` and `SHA-512-256`;
    /// `["MD5"]`, since many phones give up a registration when they meet one that they do not know.
    pub digest: Option<Vec<String>>,
    /// Whether challenges offer `auth-int`, which protects bodies, beside `auth`; false, since some
    /// phones stumble over two protections.
    pub digest_integrity: Option<bool>,
    /// Seconds after which a call ends whose peer no longer confirms that it is there (RFC 4028),
    /// 90 to 86400, or 0: only where the peer asks for it; 1800.
    pub session_timer_s: Option<u64>,
}

/// `[rtp]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rtp {
    /// Address and port range for audio; `127.0.0.1:20000-29999`.
    pub listen: Option<String>,
    /// Whether the audio thread goes before all others, where the system lets it and has two
    /// processors; true.
    pub realtime: Option<bool>,
}

/// `[http]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// Address and port for `/healthz`, `/readyz` and `/metrics`; `127.0.0.1:8080`.
    pub listen: Option<String>,
}

/// `[outbound]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Outbound {
    /// Hosts, with or without port, that requests of flows may reach at private addresses; none.
    pub allow: Vec<String>,
}

/// `[limits]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Call legs at a time, 1 to 100000; 2000.
    pub legs: Option<u64>,
    /// Seconds that calls may go on after SIGTERM, 0 to 86400; 30.
    pub drain_s: Option<u64>,
}

/// `[journal]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Journal {
    /// Days that records of ended promises are kept, 1 to 3650; 30.
    pub keep_days: Option<u64>,
    /// Megabytes beyond which they go earlier, those that ended first, but none of the last day,
    /// 1 to 1000000; 256.
    pub max_mb: Option<u64>,
}

/// `[trunk.REF]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Trunk {
    /// Addresses, with or without port, that are this trunk without further proof; none: only
    /// this machine may call.
    pub peers: Vec<String>,
    /// Address, with or without port, that calls to a fixed trunk are sent to; the first peer.
    pub server: Option<String>,
    /// Where this server registers and sends calls while `server` is silent; nowhere.
    pub backup: Option<String>,
    /// How both are reached, `udp` or `tcp`; `udp`.
    pub transport: Option<String>,
    /// Name of the trunk in addresses, as `sip.example.org`; the address of its server.
    pub domain: Option<String>,
    /// User that this server is at the trunk, when the trunk asks; none: challenges are not answered.
    pub username: Option<String>,
    /// Password of that user; none: challenges are not answered.
    pub password: Option<String>,
    /// The one realm whose challenges are answered; whichever the trunk's server names.
    pub realm: Option<String>,
    /// Beginnings of numbers that flows may dial by it, as `+49` or `0`, or `*` for all; none: only
    /// trunks of this machine are dialled by, and promised callbacks made.
    pub allow: Vec<String>,
    /// Beginnings of numbers that may not leave by it, whatever `allow` says; none.
    pub deny: Vec<String>,
    /// Whether `numbers.premium` may be dialled by it; false.
    pub premium: Option<bool>,
    /// Calls that may leave by it within a second, 1 to 10000; 10.
    pub calls_per_s: Option<u64>,
    /// Calls that may be up by it, in both directions, before no more leave, 1 to 100000; as many as
    /// `limits.legs`.
    pub channels: Option<u64>,
    /// Codecs of its calls, of `g722`, `pcma`, `pcmu` and `l16`; what the flow names, or else the
    /// first three.
    pub codecs: Option<Vec<String>>,
}

/// `[extensions.REF]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extensions {
    /// Codecs of their calls, of `g722`, `pcma`, `pcmu` and `l16`; what the flow names, or else the
    /// first three.
    pub codecs: Option<Vec<String>>,
}

/// `[extension.NUMBER]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Extension {
    /// Where the extension is reached without having registered, as `sip:200@192.0.2.9:5062`; the
    /// host is an address.
    pub contact: String,
}

/// `[queue.REF]`: how its callbacks are kept, and who is called back.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// Whether callers may ask to be called back; true.
    pub callbacks: Option<bool>,
    /// Attempts that count before a promise is exhausted, 1 to 20; 3.
    pub attempts: Option<u64>,
    /// Seconds after the first attempt that counts, the second, and so on, 0 to 86400 each, 1 to 20
    /// of them, the last for all that follow; `[300, 900, 3600]`. For causes that have no own list.
    pub pauses_s: Option<Vec<u64>>,
    /// The same for a busy customer.
    pub busy_s: Option<Vec<u64>>,
    /// The same for a customer who does not answer.
    pub no_answer_s: Option<Vec<u64>>,
    /// The same for a trunk in trouble, and when no agent takes the callback.
    pub network_s: Option<Vec<u64>>,
    /// The same for a customer who answered and was not connected; `[60, 300, 900]`.
    pub unconnected_s: Option<Vec<u64>>,
    /// The same for an attempt that a crash cut off.
    pub unknown_s: Option<Vec<u64>>,
    /// Whether an attempt that a crash cut off counts: `rather-miss`, it does; `rather-twice`, it
    /// does not, and a customer may be rung once more than `attempts`; `rather-miss`.
    pub unknown: Option<String>,
    /// Seconds that a number is left alone at least after such an attempt, unless the trunk says
    /// that nothing rings there any more, 0 to 3600; 152.
    pub rest_s: Option<u64>,
    /// When customers may be called back, as `["Mon-Fri 08:00-20:00", "Sat 09:00-13:00"]`, at most 100
    /// windows of a day; any hour.
    pub hours: Option<Vec<String>>,
    /// The time zone of `hours`, an IANA name; `UTC`.
    pub zone: Option<String>,
    /// Seconds that a promise stands, 60 to 2592000, without those outside `hours`, but 90 days at
    /// most then; 86400.
    pub expiry_s: Option<u64>,
    /// New promises for one number within 24 hours, 1 to 1000; 6.
    pub number_day: Option<u64>,
    /// New promises of the queue within 24 hours, 1 to 200000; 500.
    pub queue_day: Option<u64>,
    /// Beginnings of numbers that are called back, as `+49` or `0`; none: all.
    pub allow: Vec<String>,
    /// Beginnings of numbers that are not; satellites, international networks and premium services.
    pub deny: Option<Vec<String>>,
}

/// `[numbers]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Numbers {
    /// Numbers that no trunk dials and no queue calls back; none.
    pub blocked: Vec<String>,
    /// Beginnings of numbers that cost more than others, which only trunks with `premium` dial;
    /// satellites, international networks and premium services.
    pub premium: Option<Vec<String>>,
}
