//! Triggers: which flow answers a call, decided once and in a fixed order (contract §5.7).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::call::guard::TrunkGuard;
use crate::call::node::operation::words;
use crate::flow::{self, Graph, NodeIndex};
use crate::sdp::Encoding;
use crate::sip;

/// What an export does not say about a trunk; from `ringback.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrunkSettings {
    /// Addresses that are this trunk without further proof.
    pub peers: Vec<Peer>,
    /// Where calls to a fixed trunk are sent; the first peer when not given.
    pub server: Option<SocketAddr>,
    /// Where it is registered, and calls are sent, while the server is silent.
    pub backup: Option<SocketAddr>,
    /// How the servers are reached; UDP when not given.
    pub transport: Option<sip::Transport>,
    /// What the trunk calls itself in addresses; its server's address when not given.
    pub domain: Option<String>,
    /// What the trunk's challenges are answered with.
    pub credentials: Option<sip::Credentials>,
    /// What may leave by it.
    pub guard: TrunkGuard,
    /// Codecs of its calls, instead of those that the flow names.
    pub encodings: Option<Vec<Encoding>>,
}

/// What the audio of a call may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AudioRules {
    /// Encodings, in our order of preference.
    pub encodings: Vec<Encoding>,
    /// Whether digits go and come as telephone-events.
    pub takes_events: bool,
    /// Whether digits are taken out of INFO requests.
    pub takes_info: bool,
    /// Whether digits are looked for in the sound.
    pub finds_digits: bool,
}

impl Default for AudioRules {
    fn default() -> Self {
        let encodings = Encoding::STANDARD.to_vec();
        Self { encodings, takes_events: true, takes_info: true, finds_digits: false }
    }
}

impl AudioRules {
    /// What the options of a node say (contract §5.1); a list that is empty, or of nothing that is
    /// known here, means the standard.
    pub fn of(options: Option<&Value>) -> Self {
        let list =
            |key: &str| options.and_then(|options| options.get(key)).map(|list| words(Some(list)));
        let mut rules = Self::default();
        if let Some(codecs) = list("codecs") {
            let named = encodings(codecs.iter().map(String::as_str));
            rules.encodings = named.unwrap_or(rules.encodings);
        }
        if let Some(methods) = list("dtmfMethods").filter(|methods| !methods.is_empty()) {
            let has = |method: &str| methods.iter().any(|one| one == method);
            rules.takes_events = has("rfc2833");
            rules.takes_info = has("info");
            rules.finds_digits = has("inband");
        }
        rules
    }
}

/// The encodings of a list, in our order of preference; none when nothing of it is known here.
pub fn encodings<'a>(words: impl Iterator<Item = &'a str>) -> Option<Vec<Encoding>> {
    let named = words.filter_map(Encoding::parse).collect::<Vec<_>>();
    let ordered = Encoding::ALL.into_iter().filter(|one| named.contains(one)).collect::<Vec<_>>();
    (!ordered.is_empty()).then_some(ordered)
}

/// What no phone says about an extension; from `ringback.toml`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionSettings {
    /// The URI under which it can be reached without having registered.
    pub contact: String,
    /// How it is reached.
    pub transport: sip::Transport,
    /// Where it is reached.
    pub address: SocketAddr,
}

/// An address of a trunk: a host, with or without its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Source address.
    pub address: IpAddr,
    /// Source port; any when not given.
    pub port: Option<u16>,
}

impl Peer {
    /// Whether a message from this source comes from the peer.
    pub fn is(&self, source: SocketAddr) -> bool {
        self.address == source.ip().to_canonical()
            && self.port.is_none_or(|port| port == source.port())
    }
}

impl FromStr for Peer {
    type Err = std::net::AddrParseError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(Self { address: address.ip(), port: Some(address.port()) });
        }
        Ok(Self { address: text.parse()?, port: None })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => SocketAddr::new(self.address, port).fmt(f),
            None => self.address.fmt(f),
        }
    }
}

/// An active trigger of a flow.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// The flow.
    pub graph: Arc<Graph>,
    /// Which workflow of the server it belongs to.
    pub workflow: usize,
    /// Its node.
    pub node: NodeIndex,
    /// Public name, as `trunk_main`.
    pub reference: String,
    /// What it listens to.
    pub kind: Kind,
    /// How it asks its flow who somebody is; `None`: by the passwords that it names.
    pub asks: Option<AuthRules>,
    /// The output of its branch `Recording`, if it has one, and how long an answer may take.
    pub records: Option<(usize, Duration)>,
}

/// How a trigger asks its flow who sends a request (contract §5.2, §5.3, §5.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthRules {
    /// Whether it is asked of requests that show no password too; otherwise those are challenged.
    pub is_raw: bool,
    /// How long an answer may take; none in time is `not_applicable`.
    pub timeout: Duration,
    /// Whether the triggers behind it are asked when it says no.
    pub continues: bool,
    /// What the user names begin with that it is asked about.
    pub prefix: String,
    /// The output of its branch `Auth`.
    pub output: usize,
}

/// What a trigger listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A trunk at a fixed address that needs no registration.
    FixedTrunk {
        /// Where it may call from. Empty: this machine only.
        peers: Vec<Peer>,
    },
    /// A trunk at a fixed address where this server registers. What was registered holds a token
    /// that only the trunk knows, and calls that come for it are the trunk's.
    RegisteredTrunk {
        /// Where it may call from without the token.
        peers: Vec<Peer>,
        /// The life that is asked for.
        expires: Duration,
        /// Further headers of each REGISTER.
        headers: Vec<(String, String)>,
    },
    /// A trunk that registers here and proves itself by its password.
    DynamicTrunk {
        /// Its user and password.
        credentials: sip::Credentials,
    },
    /// Phones that register here and prove themselves by their passwords.
    Extensions {
        /// Who they are.
        phones: Vec<PhoneAccount>,
    },
}

/// Whoever knows this password is this extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhoneAccount {
    /// User and password of its Authorization header.
    pub credentials: sip::Credentials,
    /// The number under which it is dialled.
    pub extension: String,
}

impl Trigger {
    /// The active triggers of a workflow, with what the settings know of its trunks.
    pub fn of(
        graph: &Arc<Graph>,
        workflow: usize,
        trunks: &BTreeMap<String, TrunkSettings>,
    ) -> Vec<Self> {
        let trigger = |(node, described): (NodeIndex, &flow::Node)| {
            let reference = text(&described.parameters, "ref").to_owned();
            let kind = Kind::of(&described.parameters, trunks.get(&reference))?;
            let asks = auth_rules(described, &kind);
            let records = recording_rules(described, &kind);
            Some(Self { graph: graph.clone(), workflow, node, reference, kind, asks, records })
        };
        graph.triggers().filter_map(trigger).collect()
    }

    /// Whether a call from this source is this trigger's without further proof.
    pub fn takes(&self, source: SocketAddr) -> bool {
        match &self.kind {
            Kind::FixedTrunk { peers } if peers.is_empty() => {
                source.ip().to_canonical().is_loopback()
            }
            Kind::FixedTrunk { peers } | Kind::RegisteredTrunk { peers, .. } => {
                peers.iter().any(|peer| peer.is(source))
            }
            Kind::DynamicTrunk { .. } | Kind::Extensions { .. } => false,
        }
    }

    /// Whether it is a trunk, which numbers can be dialled by.
    pub const fn is_trunk(&self) -> bool {
        match self.kind {
            Kind::FixedTrunk { .. } | Kind::RegisteredTrunk { .. } | Kind::DynamicTrunk { .. } => {
                true
            }
            Kind::Extensions { .. } => false,
        }
    }

    /// Whether it takes callers of this machine only because no peers are configured.
    pub const fn is_guess(&self) -> bool {
        match &self.kind {
            Kind::FixedTrunk { peers } => peers.is_empty(),
            Kind::RegisteredTrunk { .. } | Kind::DynamicTrunk { .. } | Kind::Extensions { .. } => {
                false
            }
        }
    }

    /// Who proves a password of its export, and which extension each is; none where its flow is
    /// asked.
    pub fn accounts(&self) -> Vec<(&sip::Credentials, Option<&str>)> {
        match &self.kind {
            _ if self.asks.is_some() => Vec::new(),
            Kind::FixedTrunk { .. } | Kind::RegisteredTrunk { .. } => Vec::new(),
            Kind::DynamicTrunk { credentials } => vec![(credentials, None)],
            Kind::Extensions { phones } => {
                phones.iter().map(|one| (&one.credentials, Some(&*one.extension))).collect()
            }
        }
    }

    /// Whether both are the same trigger of the same workflow, before and after a change of it.
    pub fn is_same(&self, other: &Self) -> bool {
        self.workflow == other.workflow
            && self.reference == other.reference
            && self.is_trunk() == other.is_trunk()
    }

    /// The realm that its export names for those who prove themselves; none: the server's.
    pub fn realm(&self) -> Option<&str> {
        if let Kind::FixedTrunk { .. } | Kind::RegisteredTrunk { .. } = self.kind {
            return None;
        }
        let options = self.graph.node(self.node).parameters.get("options");
        let realm = options.and_then(|options| options.get("realm")).and_then(Value::as_str);
        realm.filter(|realm| !realm.is_empty())
    }

    /// Whether it is the group of this extension. Whom a flow knows may be any.
    pub fn has_extension(&self, number: &str) -> bool {
        if self.asks.is_some() && !self.is_trunk() {
            return true;
        }
        let phones =
            if let Kind::Extensions { phones } = &self.kind { phones.as_slice() } else { &[] };
        phones.iter().any(|phone| phone.extension == number)
    }

    /// What its flow says about the audio of its calls.
    pub fn audio(&self) -> AudioRules {
        AudioRules::of(self.graph.node(self.node).parameters.get("options"))
    }
}

impl Kind {
    /// What the checked parameters of a trigger mean; `None` for what takes no calls.
    fn of(parameters: &flow::Object, settings: Option<&TrunkSettings>) -> Option<Self> {
        match (text(parameters, "triggerOn"), text(parameters, "trunkConnectionMode")) {
            ("trunk", "dynamic") => {
                // Without them when its flow says who it is.
                let username = text(parameters, "trunkStaticUsername");
                let password = text(parameters, "trunkStaticPassword");
                Some(Self::DynamicTrunk { credentials: sip::Credentials::new(username, password) })
            }
            ("trunk", _) => {
                let peers = settings.map(|settings| settings.peers.clone()).unwrap_or_default();
                if parameters.get("trunkUseRegistration") != Some(&Value::Bool(true)) {
                    return Some(Self::FixedTrunk { peers });
                }
                let (expires, headers) = (expires(parameters), register_headers(parameters));
                Some(Self::RegisteredTrunk { peers, expires, headers })
            }
            ("extensions", _) if text(parameters, "authMode") == "static" => {
                Some(Self::Extensions { phones: phones(parameters) })
            }
            ("extensions", _) => Some(Self::Extensions { phones: Vec::new() }),
            _ => None,
        }
    }
}

fn auth_rules(node: &flow::Node, kind: &Kind) -> Option<AuthRules> {
    let parameters = &*node.parameters;
    let is_raw = match (kind, text(parameters, "authMode")) {
        (Kind::DynamicTrunk { .. } | Kind::Extensions { .. }, "digest-first") => false,
        (Kind::DynamicTrunk { .. } | Kind::Extensions { .. }, "raw") => true,
        (Kind::DynamicTrunk { .. } | Kind::Extensions { .. }, _)
        | (Kind::FixedTrunk { .. } | Kind::RegisteredTrunk { .. }, _) => return None,
    };
    let is_on = |key: &str| option(parameters, key) == Some(&Value::Bool(true));
    let prefix = option(parameters, "authorizationUsernamePrefix").and_then(Value::as_str);
    Some(AuthRules {
        is_raw,
        timeout: answer_time(parameters, "authTimeoutSeconds"),
        continues: is_on("continueTraversalOnAuthReject"),
        prefix: prefix.filter(|_| !is_raw).unwrap_or_default().to_owned(),
        output: node.outputs.iter().position(|label| label == "Auth")?,
    })
}

fn recording_rules(node: &flow::Node, kind: &Kind) -> Option<(usize, Duration)> {
    let key = match kind {
        Kind::Extensions { .. } => "extensionsEnableCallRecording",
        Kind::FixedTrunk { .. } | Kind::RegisteredTrunk { .. } | Kind::DynamicTrunk { .. } => {
            "enableCallRecording"
        }
    };
    let is_on = node.parameters.get(key) == Some(&Value::Bool(true));
    let output = node.outputs.iter().position(|label| label == "Recording").filter(|_| is_on)?;
    Some((output, answer_time(&node.parameters, "recordResponseTimeoutSeconds")))
}

/// How long a flow may take to answer; 5 s, and a minute at most.
fn answer_time(parameters: &flow::Object, key: &str) -> Duration {
    let seconds = option(parameters, key).and_then(Value::as_f64);
    let seconds = seconds.filter(|seconds| (0.0..=60.0).contains(seconds));
    Duration::from_secs_f64(seconds.unwrap_or(5.0))
}

/// The static credentials of an extensions trigger. The prefix is what phones say before the
/// user name that is looked up (contract §5.3).
fn phones(parameters: &flow::Object) -> Vec<PhoneAccount> {
    let options = parameters.get("options").and_then(Value::as_object);
    let prefix = options.map_or("", |options| text(options, "authorizationUsernamePrefix"));
    let items = parameters.get("staticCredentials").and_then(|list| list.get("item"));
    let items = items.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let phone = |item: &flow::Object| PhoneAccount {
        credentials: sip::Credentials::new(
            format!("{prefix}{}", text(item, "username")),
            text(item, "password"),
        ),
        extension: text(item, "extension").to_owned(),
    };
    items.iter().filter_map(Value::as_object).map(phone).collect()
}

/// The life that is asked for at a trunk (contract §5.2).
fn expires(parameters: &flow::Object) -> Duration {
    let seconds = option(parameters, "registrationExpires").and_then(Value::as_u64);
    Duration::from_secs(seconds.unwrap_or(600))
}

fn register_headers(parameters: &flow::Object) -> Vec<(String, String)> {
    let list = option(parameters, "registerHeaders");
    let items = list.and_then(|list| list.get("item").or(Some(list))).and_then(Value::as_array);
    let items = items.map_or(&[][..], Vec::as_slice).iter().filter_map(Value::as_object);
    let header = |item| (text(item, "name").to_owned(), text(item, "value").to_owned());
    items.map(header).filter(|(name, _)| !name.is_empty()).collect()
}

fn option<'a>(parameters: &'a flow::Object, key: &str) -> Option<&'a Value> {
    parameters.get("options").and_then(|options| options.get(key))
}

fn text<'a>(object: &'a flow::Object, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, node) = (self.graph.name(), &self.graph.node(self.node).name);
        write!(f, "flow {name}, node {node}: ")?;
        let reference = &self.reference;
        match &self.kind {
            Kind::FixedTrunk { peers } if peers.is_empty() => {
                write!(f, "trunk {reference} from this machine only, any number")
            }
            Kind::FixedTrunk { peers } => {
                let peers = peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "trunk {reference} from {peers}, any number")
            }
            Kind::RegisteredTrunk { .. } => {
                write!(f, "trunk {reference} where this server registers, any number")
            }
            Kind::DynamicTrunk { .. } => {
                let who = if self.asks.is_some() { "whom its flow knows" } else { "its password" };
                write!(f, "trunk {reference} from anywhere with {who}, any number")
            }
            Kind::Extensions { .. } => {
                let who =
                    if self.asks.is_some() { "whom their flow knows" } else { "their passwords" };
                write!(f, "extensions {reference} from anywhere with {who}, any number")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_known_with_or_without_its_port_and_through_mapped_addresses() {
        let is =
            |peer: &str, source: &str| peer.parse::<Peer>().unwrap().is(source.parse().unwrap());
        assert!(is("192.0.2.1", "192.0.2.1:5060"));
        assert!(is("192.0.2.1:5060", "192.0.2.1:5060"));
        assert!(is("192.0.2.1", "[::ffff:192.0.2.1]:9"));
        assert!(!is("192.0.2.1:5060", "192.0.2.1:5061"));
        assert!(!is("192.0.2.1", "192.0.2.2:5060"));
        assert!("nonsense".parse::<Peer>().is_err());
    }

    /// Contract §5.1: allow-lists, in the order that is built in; an empty one is the standard.
    #[test]
    fn codecs_and_digit_methods_are_allow_lists() {
        let audio = |options: &str| {
            let document = format!(
                r#"{{"name": "x", "connections": {{}}, "nodes": [{{"name": "t", "typeVersion": 1,
                "type": "{}", "parameters": {{"triggerOn": "trunk", "ref": "line",
                "trunkUseRegistration": false, "options": {options} }} }}]}}"#,
                crate::call::node::TRIGGER
            );
            let documents = flow::read(&document, "x.json").unwrap();
            let graph = flow::check(&documents[0], &crate::call::node::catalogue()).0.unwrap();
            Trigger::of(&Arc::new(graph), 0, &BTreeMap::new())[0].audio()
        };
        assert_eq!(audio("{}"), AudioRules::default());
        for empty in [r#"{"codecs": []}"#, r#"{"codecs": ["g729"]}"#, r#"{"dtmfMethods": []}"#] {
            assert_eq!(audio(empty), AudioRules::default(), "{empty}");
        }
        let rules = audio(r#"{"codecs": ["alaw", "g722"], "dtmfMethods": ["inband"]}"#);
        assert_eq!(rules.encodings, [Encoding::G722, Encoding::Pcma]);
        let AudioRules { takes_events, takes_info, finds_digits, .. } = rules;
        assert_eq!((takes_events, takes_info, finds_digits), (false, false, true));
        assert!(!AudioRules::default().finds_digits, "off unless it is named");
    }
}
