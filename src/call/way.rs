//! Where an attempt went and whom it found there, as text that outlives the process.
//!
//! The book of promises keeps it without reading it; a later process takes the attempt back with it.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::sip::{self, Derived, FarSide, Flow, Outgoing, Party, Transport};

/// The way of an INVITE.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    transport: Carrier,
    remote: SocketAddr,
    uri: String,
    from: Named,
    to: Named,
    /// INVITEs that it may take: more than one when challenges are answered.
    tries: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Carrier {
    Udp,
    Tcp,
    Tls,
    Ws,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Named {
    display: String,
    user: String,
    host: String,
}

#[derive(Serialize, Deserialize)]
struct Far {
    answered: bool,
    to: String,
    target: String,
    routes: Vec<String>,
    cseq: u32,
}

impl Way {
    /// The way that this INVITE goes.
    pub fn of(outgoing: &Outgoing) -> Self {
        let named = |party: &Party| Named {
            display: party.display.clone(),
            user: party.user.clone(),
            host: party.host.clone(),
        };
        Self {
            transport: match outgoing.flow.transport {
                Transport::Udp => Carrier::Udp,
                Transport::Tcp => Carrier::Tcp,
                Transport::Tls => Carrier::Tls,
                Transport::Ws => Carrier::Ws,
            },
            remote: outgoing.flow.remote,
            uri: outgoing.request_uri.clone(),
            from: named(&outgoing.from),
            to: named(&outgoing.to),
            tries: if outgoing.credentials.is_some() { sip::TRIES_MAX } else { 1 },
        }
    }

    /// As one line.
    pub fn print(&self) -> String {
        serde_json::to_string(self).expect("texts and numbers only")
    }

    /// Reads what [`Self::print`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The INVITE again, with these identifiers, as one to be taken back from `local`; and how
    /// often it may have been sent.
    pub fn to_take_back(self, derived: Derived, local: SocketAddr) -> (Outgoing, u8) {
        let party =
            |named: Named| Party { display: named.display, user: named.user, host: named.host };
        let transport = match self.transport {
            Carrier::Udp => Transport::Udp,
            Carrier::Tcp => Transport::Tcp,
            Carrier::Tls => Transport::Tls,
            Carrier::Ws => Transport::Ws,
        };
        let outgoing = Outgoing {
            flow: Flow { transport, local, remote: self.remote, connection: 0 },
            request_uri: self.uri,
            from: party(self.from),
            to: party(self.to),
            headers: Vec::new(),
            body: None,
            credentials: None,
            derived: Some(derived),
            max_forwards: sip::MAX_FORWARDS,
        };
        (outgoing, self.tries)
    }
}

/// Who sent this response to an INVITE of ours, as one line; `None` when it makes no dialog.
pub fn far_text(response: &[u8]) -> Option<String> {
    let FarSide { is_answered: answered, to, target, routes, cseq } = FarSide::of(response)?;
    serde_json::to_string(&Far { answered, to, target, routes, cseq }).ok()
}

/// Reads what [`far_text`] wrote.
pub fn far_side(text: &str) -> Option<FarSide> {
    let Far { answered: is_answered, to, target, routes, cseq } =
        serde_json::from_str(text).ok()?;
    Some(FarSide { is_answered, to, target, routes, cseq })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_the_disk_holds_is_read_or_refused(text in ".*") {
            if let Some(way) = Way::parse(&text) {
                prop_assert_eq!(Way::parse(&way.print()), Some(way));
            }
            let _ = far_side(&text);
        }
    }

    #[test]
    fn a_way_is_the_same_after_a_restart() {
        let party = |user: &str| Party {
            display: "A \"B\"".to_owned(),
            user: user.to_owned(),
            host: "h:5060".to_owned(),
        };
        let local = SocketAddr::from(([127, 0, 0, 1], 5060));
        let remote = SocketAddr::from(([192, 0, 2, 1], 5070));
        let derived = Derived {
            call_id: "c".to_owned(),
            from_tag: "t".to_owned(),
            branch: Some("z9hG4bKb".to_owned()),
            cseq: 1,
        };
        let outgoing = Outgoing {
            flow: Flow { transport: Transport::Tcp, local, remote, connection: 9 },
            request_uri: "sip:1@192.0.2.1".to_owned(),
            from: party("a"),
            to: party("b"),
            headers: Vec::new(),
            body: None,
            credentials: None,
            derived: Some(derived.clone()),
            max_forwards: sip::MAX_FORWARDS,
        };
        let way = Way::parse(&Way::of(&outgoing).print()).unwrap();
        let (back, tries) = way.to_take_back(derived, local);
        assert_eq!((back.flow, tries), (Flow { connection: 0, ..outgoing.flow }, 1));
        assert_eq!(
            (back.request_uri, back.from, back.to),
            (outgoing.request_uri, outgoing.from, outgoing.to)
        );
    }
}
