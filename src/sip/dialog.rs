//! A dialog: what two user agents remember of each other between requests (RFC 3261 §12).

use std::net::{IpAddr, SocketAddr};

use super::transport::{Flow, Transport};
use super::{Host, Message, Name, NameAddr, Uri};

/// Entries of one route set; more come from a loop or an attack, and are cut.
const ROUTES_MAX: usize = 70;

/// The state of one dialog, in the form its requests are printed from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: Box<str>,
    /// Our From value, with our tag.
    pub local: Box<str>,
    /// Our To value, with their tag.
    pub remote: Box<str>,
    /// Their tag; empty when they gave none (RFC 2543 peers, §12.1.1).
    pub remote_tag: Box<str>,
    /// Their Contact URI.
    pub remote_target: Box<str>,
    /// Route values, in the order our requests carry them.
    pub route_set: Vec<Box<str>>,
    /// The number of our last request.
    pub local_cseq: u32,
    /// The number of their last request; `None` before the first.
    pub remote_cseq: Option<u32>,
    /// Whether we sent the first INVITE, and so chose the Call-ID.
    pub is_caller: bool,
}

impl Dialog {
    /// The callee's side (§12.1.1), with the tag that its responses carry. `None` when a header it
    /// needs cannot be read.
    pub fn of_callee(invite: &Message<'_>, local_tag: &str) -> Option<Self> {
        let from = invite.from().ok()?;
        let cseq = invite.cseq().ok()?.number;
        Some(Self {
            call_id: invite.call_id().ok()?.into(),
            local: [invite.text(Name::To)?, ";tag=", local_tag].concat().into(),
            remote: invite.text(Name::From)?.into(),
            remote_tag: from.tag().unwrap_or_default().into(),
            remote_target: contact_of(invite).unwrap_or(from.uri_text).into(),
            route_set: routes(invite.record_routes().flatten()),
            local_cseq: 0,
            remote_cseq: Some(cseq),
            is_caller: false,
        })
    }

    /// The caller's side (§12.1.2), made by a 2xx to an INVITE of ours. A re-INVITE makes its
    /// dialog again, with the route set it was sent by.
    pub fn of_caller(invite: &Message<'_>, response: &Message<'_>) -> Option<Self> {
        let to = response.to().ok()?;
        let is_inside = invite.to().ok()?.tag().is_some();
        let route_set = if is_inside {
            routes(invite.routes().flatten())
        } else {
            let mut recorded = routes(response.record_routes().flatten());
            recorded.reverse();
            recorded
        };
        Some(Self {
            call_id: invite.call_id().ok()?.into(),
            local: invite.text(Name::From)?.into(),
            remote: response.text(Name::To)?.into(),
            remote_tag: to.tag().unwrap_or_default().into(),
            remote_target: contact_of(response).unwrap_or(to.uri_text).into(),
            route_set,
            local_cseq: invite.cseq().ok()?.number,
            remote_cseq: None,
            is_caller: true,
        })
    }

    /// The caller's side, from a response to its first INVITE alone: a response repeats what of the
    /// request is needed (§8.2.6).
    pub fn of_response(response: &Message<'_>) -> Option<Self> {
        let to = response.to().ok()?;
        let mut route_set = routes(response.record_routes().flatten());
        route_set.reverse();
        Some(Self {
            call_id: response.call_id().ok()?.into(),
            local: response.text(Name::From)?.into(),
            remote: response.text(Name::To)?.into(),
            remote_tag: to.tag().unwrap_or_default().into(),
            remote_target: contact_of(response).unwrap_or(to.uri_text).into(),
            route_set,
            local_cseq: response.cseq().ok()?.number,
            remote_cseq: None,
            is_caller: true,
        })
    }

    /// Takes the Contact of a re-INVITE, an UPDATE or their 2xx: the peer may have moved (§12.2).
    pub fn refresh_target(&mut self, message: &Message<'_>) {
        if let Some(contact) = contact_of(message)
            && *contact != *self.remote_target
        {
            self.remote_target = contact.into();
        }
    }

    /// Whether this number follows the peer's last one; if so it is remembered (§12.2.2).
    pub fn accept_cseq(&mut self, cseq: u32) -> bool {
        let is_next = self.remote_cseq.is_none_or(|last| cseq > last);
        if is_next {
            self.remote_cseq = Some(cseq);
        }
        is_next
    }

    /// The Request-URI and the Route values of the next request (§12.2.1.1). A first route without
    /// `lr` is a strict router: it becomes the Request-URI and the target the last route.
    pub fn target_and_routes(&self) -> (&str, Vec<String>) {
        let as_routes = |routes: &[Box<str>]| routes.iter().map(ToString::to_string).collect();
        match self.route_set.first().and_then(|first| NameAddr::parse(first)) {
            Some(strict) if !is_loose(&strict) => {
                let mut routes: Vec<String> = as_routes(&self.route_set[1..]);
                routes.push(format!("<{}>", self.remote_target));
                (strict.uri_text, routes)
            }
            Some(_) | None => (&self.remote_target, as_routes(&self.route_set)),
        }
    }

    /// Where a request inside the dialog is sent: the flow it came by, since a Contact may name an
    /// address behind a NAT; but on datagrams to the first route, where one is recorded that is an
    /// address as reachable as the flow's own.
    pub fn next_hop(&self, flow: Flow) -> Flow {
        let Some(route) = self.route_set.first().and_then(|first| NameAddr::parse(first)) else {
            return flow;
        };
        let Uri::Sip(uri) = route.uri else { return flow };
        let ip = match uri.host {
            Host::V4(ip) => IpAddr::V4(ip),
            Host::V6(ip) => IpAddr::V6(ip),
            Host::Name(_) => return flow,
        };
        if flow.transport != Transport::Udp
            || ip.is_ipv4() != flow.local.is_ipv4()
            || is_private(ip) && !is_private(flow.remote.ip())
        {
            return flow;
        }
        Flow { remote: SocketAddr::new(ip, uri.port.unwrap_or(5060)), ..flow }
    }
}

fn is_loose(route: &NameAddr<'_>) -> bool {
    match route.uri {
        Uri::Sip(uri) => uri.params.has("lr"),
        Uri::Tel { .. } | Uri::Other { .. } => true,
    }
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

fn contact_of<'m>(message: &'m Message<'_>) -> Option<&'m str> {
    Some(message.contact().ok()??.address()?.uri_text)
}

fn routes<'m>(values: impl Iterator<Item = NameAddr<'m>>) -> Vec<Box<str>> {
    values.take(ROUTES_MAX).map(|value| value.to_string().into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = "198.51.100.7:5060";

    fn dialog(record_routes: &str) -> Dialog {
        let invite = format!(
            "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 7 INVITE\r\nContact: <sip:a@10.0.0.9>\r\n{record_routes}\r\n"
        );
        Dialog::of_callee(&Message::parse(invite.as_bytes()).unwrap(), "2").unwrap()
    }

    fn check(record_routes: &str, uri: &str, routes: &[&str], remote: &str) {
        let dialog = dialog(record_routes);
        let local = "203.0.113.1:5060".parse().unwrap();
        let flow =
            Flow { transport: Transport::Udp, local, remote: FLOW.parse().unwrap(), connection: 0 };
        let (target, set) = dialog.target_and_routes();
        assert_eq!((target, set), (uri, routes.iter().map(ToString::to_string).collect()));
        assert_eq!(dialog.next_hop(flow).remote.to_string(), remote);
    }

    #[test]
    fn without_routes_requests_go_back_where_the_dialog_came_from() {
        check("", "sip:a@10.0.0.9", &[], FLOW);
    }

    #[test]
    fn loose_routes_are_kept_and_lead_the_way() {
        let recorded = "Record-Route: <sip:192.0.2.4;lr>, <sip:p2.example;lr>\r\n";
        let set = ["<sip:192.0.2.4;lr>", "<sip:p2.example;lr>"];
        check(recorded, "sip:a@10.0.0.9", &set, "192.0.2.4:5060");
    }

    #[test]
    fn a_proxy_behind_nat_is_reached_by_the_flow() {
        let recorded = "Record-Route: <sip:192.168.1.4;lr>\r\n";
        check(recorded, "sip:a@10.0.0.9", &["<sip:192.168.1.4;lr>"], FLOW);
    }

    #[test]
    fn a_strict_router_becomes_the_request_uri() {
        let recorded = "Record-Route: <sip:p1.example>, <sip:p2.example;lr>\r\n";
        let set = ["<sip:p2.example;lr>", "<sip:a@10.0.0.9>"];
        check(recorded, "sip:p1.example", &set, FLOW);
    }

    #[test]
    fn numbers_only_grow() {
        let mut dialog = dialog("");
        assert_eq!(
            [7, 8, 8, 3, 12].map(|number| dialog.accept_cseq(number)),
            [false, true, false, false, true]
        );
    }
}
