//! Where messages come from and go to: plain values, since every socket belongs to `shell`.

use std::net::SocketAddr;
use std::sync::Arc;

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams (RFC 3261 §18).
    Udp,
    /// A stream.
    Tcp,
    /// A stream inside TLS.
    Tls,
    /// WebSocket frames, secure or not (RFC 7118).
    Ws,
}

impl Transport {
    /// Whether the transport delivers or says that it cannot: then nothing is sent again
    /// (RFC 3261 §17).
    pub const fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp | Self::Tls | Self::Ws => true,
        }
    }

    /// The name in a Via header (RFC 3261 §20.42, RFC 7118 §5).
    pub const fn in_via(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
        }
    }

    /// The URI parameter that asks for this transport; nothing for UDP, which is the default.
    pub const fn uri_parameter(self) -> &'static str {
        match self {
            Self::Udp => "",
            Self::Tcp => ";transport=tcp",
            Self::Tls => ";transport=tls",
            Self::Ws => ";transport=ws",
        }
    }
}

/// Where a message came from or goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// How it travels.
    pub transport: Transport,
    /// Our address.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection's number; 0 when none is known: `shell` then opens or reuses one to `remote`.
    pub connection: u64,
}

/// One message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where it goes.
    pub flow: Flow,
    /// The whole message; shared, since a transaction keeps it to send it again.
    pub bytes: Arc<[u8]>,
}
