//! Accounts of one extension, and the contacts that come and go.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::call::node;
use crate::flow;
use crate::sip::digest;

/// A site with two accounts of extension 100, and one contact bound or removed at a time.
fn site() -> Site {
    let account =
        |username: &str| json!({ "username": username, "password": "p", "extension": "100" });
    let workflow = json!({
        "name": "house", "connections": {},
        "nodes": [{
            "id": "t", "name": "calls", "type": node::TRIGGER, "typeVersion": 1,
            "position": [0, 0], "parameters": {
                "triggerOn": "extensions", "ref": "office",
                "staticCredentials": { "item": [account("desk"), account("soft")] },
            },
        }],
    });
    let documents = flow::read(&workflow.to_string(), "house.json").unwrap();
    let graph = Arc::new(flow::check(&documents[0], &node::catalogue()).0.unwrap());
    let mut site = Site::new(
        Settings::default(),
        DigestConfig {
            secret: sip::Secret([7; 32]),
            hashes: vec![digest::Hash::Md5],
            offers_integrity: false,
        },
    );
    site.set_triggers(&Trigger::of(&graph, 0, &BTreeMap::new()), &[]);
    site
}

fn wishes(site: &mut Site, account: u64, life: u64, cseq: u32) {
    let address = SocketAddr::from(([192, 0, 2, 7], 5060));
    let transport = sip::Transport::Udp;
    let flow = Flow { transport, local: address, remote: address, connection: 0 };
    let life = Duration::from_secs(life);
    let contacts = [Wish { contact: "sip:x@192.0.2.7", life, preference: None }];
    let change = Change::Contacts(&contacts);
    let registration = Registration { call_id: "c", cseq, flow, path: &[], change };
    let account = AccountRef(account + 1);
    site.registrar.handle_register(account, registration, Tick::ZERO).unwrap();
}

#[test]
fn an_extension_comes_with_its_first_endpoint_and_goes_with_its_last() {
    let mut site = site();
    let extension = (0, "100".to_owned());
    wishes(&mut site, 0, 600, 1);
    assert_eq!(site.poll_event(), Some(Presence::Online(extension.clone())));
    wishes(&mut site, 1, 600, 1);
    wishes(&mut site, 0, 0, 2);
    assert_eq!(site.poll_event(), None);
    wishes(&mut site, 0, 600, 3);
    // Both end in the same moment, and that is said once.
    site.handle_timeout(Tick::ZERO + Duration::from_secs(600));
    assert_eq!(site.poll_event(), Some(Presence::Offline(extension)));
    assert_eq!(site.poll_event(), None);
}

#[test]
fn a_registered_trunk_is_called_under_its_contact_without_its_secrets() {
    let called = |contact| with_user(contact, "200");
    assert_eq!(
        called("sips:pbx:pw@[2001:db8::1]:5061;transport=tcp?Subject=x").as_deref(),
        Some("sips:200@[2001:db8::1]:5061;transport=tcp")
    );
    assert_eq!(called("sip:192.0.2.1").as_deref(), Some("sip:200@192.0.2.1"));
    assert_eq!(called("tel:200"), None);
}

proptest! {
    /// No destination changes who or what is asked beyond the number.
    #[test]
    fn a_destination_stays_a_user(text in "[ -~]{0,70}") {
        if is_number(&text) {
            let uri = format!("sip:{}@h", text.replace('#', "%23"));
            let parsed = Uri::parse(&uri).and_then(|uri| uri.sip().copied()).expect("a URI");
            let user = parsed.user_decoded().map(|user| user.into_owned());
            prop_assert_eq!(user.as_ref(), Some(&text));
            prop_assert_eq!(parsed.to_string(), uri);
        }
    }
}
