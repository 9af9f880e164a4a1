//! Triggers: which flow answers a call, decided once and in a fixed order (contract §5.7).

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use serde_json::Value;

use crate::flow::{Graph, NodeIndex};

/// What an export does not say about a trunk; from `ringback.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrunkSettings {
    /// Addresses that are this trunk without further proof.
    pub peers: Vec<Peer>,
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
}

/// What a trigger listens to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A trunk at a fixed address that needs no registration.
    FixedTrunk {
        /// Where it may call from. Empty: this machine only.
        peers: Vec<Peer>,
    },
}

impl Trigger {
    /// The active triggers of a workflow, with what the settings know of its trunks.
    pub fn of(
        graph: &Arc<Graph>,
        workflow: usize,
        trunks: &BTreeMap<String, TrunkSettings>,
    ) -> Vec<Self> {
        let trunk = |(node, described): (NodeIndex, &crate::flow::Node)| {
            let parameter = |key: &str| described.parameters.get(key).and_then(Value::as_str);
            if parameter("triggerOn") != Some("trunk") {
                return None;
            }
            let reference = parameter("ref")?.to_owned();
            let settings = trunks.get(&reference).cloned().unwrap_or_default();
            let kind = Kind::FixedTrunk { peers: settings.peers };
            Some(Self { graph: graph.clone(), workflow, node, reference, kind })
        };
        graph.triggers().filter_map(trunk).collect()
    }

    /// Whether a call from this source is this trigger's.
    pub fn takes(&self, source: SocketAddr) -> bool {
        match &self.kind {
            Kind::FixedTrunk { peers } if peers.is_empty() => {
                source.ip().to_canonical().is_loopback()
            }
            Kind::FixedTrunk { peers } => peers.iter().any(|peer| peer.is(source)),
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, node) = (self.graph.name(), &self.graph.node(self.node).name);
        write!(f, "flow {name}, node {node}: trunk {} ", self.reference)?;
        match &self.kind {
            Kind::FixedTrunk { peers } if peers.is_empty() => {
                f.write_str("from this machine only, any number")
            }
            Kind::FixedTrunk { peers } => {
                let peers = peers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                write!(f, "from {peers}, any number")
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
}
