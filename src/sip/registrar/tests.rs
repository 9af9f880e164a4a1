//! Stories of one address-of-record, and presence under everything that can be said.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::*;
use crate::sip::transport::Transport;

const DESK: &str = "sip:100@192.0.2.7:5060";
const SOFT: &str = "sip:100@192.0.2.8;transport=tcp";
const HOUR: Duration = EXPIRES_MAX;

const fn wish(contact: &str, life: Duration) -> Wish<'_> {
    Wish { contact, life, preference: None }
}

fn flow(connection: u64) -> Flow {
    let address = SocketAddr::from(([192, 0, 2, 7], 5060));
    Flow { transport: Transport::Udp, local: address, remote: address, connection }
}

/// A registrar with one address, `1`, whose REGISTERs all count up.
struct Story {
    registrar: Registrar<u8>,
    cseq: u32,
    now: Tick,
}

impl Story {
    fn new() -> Self {
        Self { registrar: Registrar::with_max(12), cseq: 0, now: Tick::ZERO }
    }

    fn says(&mut self, change: Change<'_>) -> Result<(), NotBound> {
        self.cseq += 1;
        let registration = Registration {
            call_id: "c",
            cseq: self.cseq,
            flow: flow(self.cseq.into()),
            path: &[],
            change,
        };
        self.registrar.handle_register(1, registration, self.now)
    }

    fn binds(&mut self, contact: &str, life: Duration) -> Result<(), NotBound> {
        self.says(Change::Contacts(&[wish(contact, life)]))
    }

    fn passes(&mut self, span: Duration) {
        self.now += span;
        self.registrar.handle_timeout(self.now);
    }

    /// What is bound, and what was said since the last look.
    #[track_caller]
    fn check(&mut self, contacts: &[&str], events: &[Presence<u8>]) {
        let bound = self.registrar.bindings(1).iter().map(|one| one.contact.as_str());
        assert_eq!(bound.collect::<Vec<_>>(), contacts);
        let said = std::iter::from_fn(|| self.registrar.poll_event()).collect::<Vec<_>>();
        assert_eq!(said, events);
        assert_eq!(self.registrar.len(), contacts.len());
    }
}

#[test]
fn two_phones_one_address_and_both_go_in_their_time() {
    let mut story = Story::new();
    story.binds(DESK, HOUR).unwrap();
    story.check(&[DESK], &[Presence::Online(1)]);
    story.binds(SOFT, EXPIRES_MIN).unwrap();
    story.check(&[DESK, SOFT], &[]);
    story.passes(EXPIRES_MIN);
    story.check(&[DESK], &[]);
    story.passes(HOUR);
    story.check(&[], &[Presence::Offline(1)]);
    assert_eq!(story.registrar.poll_timeout(), None);
}

#[test]
fn a_refresh_moves_the_end_and_the_way() {
    let mut story = Story::new();
    story.binds(DESK, EXPIRES_MIN).unwrap();
    story.passes(Duration::from_secs(50));
    story.binds("sip:%3100@192.0.2.7:5060", EXPIRES_MIN).unwrap();
    story.passes(Duration::from_secs(50));
    story.check(&["sip:%3100@192.0.2.7:5060"], &[Presence::Online(1)]);
    assert_eq!(story.registrar.bindings(1)[0].flow, flow(2));
}

#[test]
fn removed_one_by_one_or_all_at_once() {
    let mut story = Story::new();
    story.says(Change::Contacts(&[wish(DESK, HOUR), wish(SOFT, HOUR)])).unwrap();
    story.binds(DESK, Duration::ZERO).unwrap();
    story.check(&[SOFT], &[Presence::Online(1)]);
    story.says(Change::RemoveAll).unwrap();
    story.check(&[], &[Presence::Offline(1)]);
    story.says(Change::RemoveAll).unwrap();
    story.check(&[], &[]);
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut story = Story::new();
    story.binds(DESK, HOUR).unwrap();
    let brief = [wish(SOFT, HOUR), wish(DESK, Duration::from_secs(59))];
    assert_eq!(story.says(Change::Contacts(&brief)), Err(NotBound::TooBrief));
    for bad in ["tel:100", "nonsense", &format!("sip:{}@h", "1".repeat(600))] {
        assert_eq!(story.binds(bad, HOUR), Err(NotBound::BadContact));
    }
    story.cseq = 0;
    assert_eq!(story.binds(DESK, Duration::ZERO), Err(NotBound::OutOfOrder));
    story.cseq = 9;
    let many = (0..10).map(|host| format!("sip:h{host}")).collect::<Vec<_>>();
    let many = many.iter().map(|contact| wish(contact, HOUR)).collect::<Vec<_>>();
    assert_eq!(story.says(Change::Contacts(&many)), Err(NotBound::TooManyContacts));
    story.check(&[DESK], &[Presence::Online(1)]);
}

#[test]
fn a_full_registrar_still_refreshes_and_a_lost_connection_makes_room() {
    let mut story = Story::new();
    let register = |story: &mut Story, address: u8| {
        let change = Change::Contacts(&[wish(DESK, HOUR)]);
        let registration = Registration {
            call_id: &story.cseq.to_string(),
            cseq: 1,
            flow: flow(address.into()),
            path: &[],
            change,
        };
        story.cseq += 1;
        story.registrar.handle_register(address, registration, story.now)
    };
    for address in 0..12 {
        register(&mut story, address).unwrap();
    }
    assert_eq!(register(&mut story, 12), Err(NotBound::Full));
    register(&mut story, 11).unwrap();
    story.registrar.handle_flow_closed(0);
    story.registrar.handle_flow_closed(7);
    assert!(!story.registrar.is_online(7) && story.registrar.is_online(0));
    register(&mut story, 12).unwrap();
}

/// RFC 3327: the proxies on the way are kept with the binding, and only such that can be used.
#[test]
fn a_path_is_kept_or_refused_as_a_whole() {
    let mut registrar = Registrar::with_max(5);
    let mut says = |path: &[&str]| {
        let path = path.iter().map(ToString::to_string).collect::<Vec<_>>();
        let change = Change::Contacts(&[wish(DESK, HOUR)]);
        let call_id = &path.concat();
        let registration = Registration { call_id, cseq: 1, flow: flow(0), path: &path, change };
        let outcome = registrar.handle_register(1_u8, registration, Tick::ZERO);
        outcome.map(|()| registrar.bindings(1)[0].path.to_vec())
    };
    let edge = ["<sip:edge;lr>", "\"far\" <sips:192.0.2.3:5061;lr;ob>"];
    assert_eq!(says(&edge).unwrap(), edge);
    assert_eq!(says(&["<sip:edge>"]), Err(NotBound::BadPath));
    assert_eq!(says(&["<tel:1;lr>"]), Err(NotBound::BadPath));
    assert_eq!(says(&["<sip:edge;lr>"; PATH_MAX + 1]), Err(NotBound::BadPath));
    assert_eq!(says(&[]).unwrap(), [""; 0]);
}

proptest! {
    /// Whatever is said, presence follows the bindings and every limit holds.
    #[test]
    fn presence_follows_the_bindings(
        steps in proptest::collection::vec((0_u8..4, 0_u8..6, 0_u64..4000, any::<bool>()), 1..60)
    ) {
        let mut registrar = Registrar::with_max(5);
        let mut online = [false; 4];
        let mut now = Tick::ZERO;
        for (cseq, (address, contact, seconds, is_wait)) in steps.into_iter().enumerate() {
            if is_wait {
                now += Duration::from_secs(seconds);
                registrar.handle_timeout(now);
            } else {
                let contact = format!("sip:phone{contact}");
                let contacts = [wish(&contact, Duration::from_secs(seconds))];
                let change = match contact.as_str() {
                    "sip:phone0" => Change::RemoveAll,
                    _ => Change::Contacts(&contacts),
                };
                let cseq = cseq as u32;
                let registration = Registration { call_id: "c", cseq, flow: flow(0), path: &[], change };
                let _ = registrar.handle_register(address, registration, now);
            }
            while let Some(event) = registrar.poll_event() {
                let (address, is_online) = match event {
                    Presence::Online(address) => (address, true),
                    Presence::Offline(address) => (address, false),
                };
                prop_assert_ne!(online[usize::from(address)], is_online);
                online[usize::from(address)] = is_online;
            }
            prop_assert!(registrar.len() <= 5);
            for address in 0..4 {
                let bindings = registrar.bindings(address);
                prop_assert_eq!(online[usize::from(address)], !bindings.is_empty());
                prop_assert!(bindings.iter().all(|one| one.expires > now));
            }
        }
    }

    #[test]
    fn arbitrary_contacts_do_no_harm(text in "\\PC{0,60}|(sip:)?[ -~]{0,60}") {
        let mut registrar = Registrar::with_max(5);
        let contacts = [wish(&text, HOUR)];
        let change = Change::Contacts(&contacts);
        let registration = Registration { call_id: "c", cseq: 1, flow: flow(0), path: &[], change };
        let _ = registrar.handle_register(1_u8, registration, Tick::ZERO);
    }
}
