//! The torture messages of RFC 4475 and RFC 5118: each gets an answer that its manifest allows.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ringback::base::{Rng, Tick};
use ringback::call::{Output, Switch, node};
use ringback::flow::{self, Graph};
use ringback::sim::standard_config;
use ringback::sip::{Flow, Frame, Framer, Message, Name, Transport};
use serde_json::{Value, json};

/// One message with what its manifest says of it.
struct Torture {
    file: String,
    bytes: Vec<u8>,
    wanted: Vec<Value>,
}

/// All messages; none, and a line that says so, where the folder is absent.
#[expect(clippy::print_stdout, reason = "whoever runs the tests is to see what was left out")]
fn messages() -> Vec<Torture> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance/torture");
    let Ok(manifest) = fs::read(folder.join("manifest.json")) else {
        println!("skipped: {} is absent", folder.display());
        return Vec::new();
    };
    let manifest: Vec<Value> = serde_json::from_slice(&manifest).unwrap();
    let read = |entry: &Value| {
        let file = entry["file"].as_str().unwrap().to_owned();
        let bytes = fs::read(folder.join(&file)).unwrap();
        Torture { file, bytes, wanted: entry["uas_expect"].as_array().unwrap().clone() }
    };
    manifest.iter().map(read).collect()
}

#[test]
fn every_message_gets_the_verdict_it_wants() {
    let (messages, mut wrong) = (messages(), Vec::new());
    for Torture { file, bytes, wanted } in &messages {
        let verdict = Message::parse(bytes).map(|message| message.validate().map(drop));
        let wants = |status: u16| wanted.iter().any(|one| *one == status);
        let drops = wanted.iter().any(|one| one == "drop");
        // Statuses that only the one who is asked can give, by dial plan, user or extension.
        let is_sound_enough = wanted.iter().any(|one| one != 400 && one != 505);
        let is_right = match verdict {
            Ok(Ok(())) => is_sound_enough,
            Ok(Err(flaw)) => drops || wants(flaw.status()),
            Err(_) => drops,
        };
        if !is_right {
            wrong.push(format!("{file}: {verdict:?}, wanted {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), messages.len(), wrong.join("\n"));
}

fn flow_from(trigger: Value) -> Graph {
    let workflow = json!({
        "name": "house", "connections": {},
        "nodes": [{
            "id": "t", "name": "calls", "type": node::TRIGGER, "typeVersion": 1,
            "position": [0, 0], "parameters": trigger,
        }],
    });
    let documents = flow::read(&workflow.to_string(), "house.json").expect("the workflow is JSON");
    let (graph, problems) = flow::check(&documents[0], &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

/// A switch where everybody has to prove a password.
fn guarded() -> Graph {
    let account = json!({ "username": "desk", "password": "secret", "extension": "100" });
    flow_from(json!({
        "triggerOn": "extensions", "ref": "office", "staticCredentials": { "item": [account] },
    }))
}

/// A switch that takes every call of this machine.
fn open() -> Graph {
    flow_from(json!({ "triggerOn": "trunk", "ref": "main", "trunkUseRegistration": false }))
}

/// One server, one peer, and how they are connected.
struct Peer {
    switch: Switch,
    flow: Flow,
    now: Tick,
}

impl Peer {
    fn new(graph: Graph, transport: Transport, host: &str) -> Self {
        let at = |port| SocketAddr::new(host.parse().unwrap(), port);
        let (local, remote) = (at(5060), at(40_000));
        let mut switch = Switch::new(standard_config(local), Rng::new(1));
        switch.add_workflow(graph);
        let flow = Flow { transport, local, remote, connection: 0 };
        Self { switch, flow, now: Tick::ZERO }
    }

    /// Sends these bytes, on streams by a connection of their own; gives the statuses that come
    /// back, each once.
    fn says(&mut self, bytes: &[u8]) -> Vec<u16> {
        self.now += Duration::from_millis(100);
        self.flow.connection += u64::from(self.flow.transport != Transport::Udp);
        for message in self.arrives(bytes) {
            self.switch.handle_message(self.flow, &message, self.now);
        }
        // A call that is taken is told so when its flow has not answered for a while.
        self.now += Duration::from_millis(250);
        self.switch.handle_timeout(self.now);
        let asked = identity(bytes);
        let outputs = std::iter::from_fn(|| self.switch.poll_output());
        let answers = outputs.filter_map(|output| match output {
            // Calls that were taken before go on, and are no answer to this.
            Output::Transmit(transmit) if identity(&transmit.bytes) == asked => {
                Message::parse(&transmit.bytes).ok()?.status()
            }
            Output::Transmit(_) => None,
            Output::OpenMedia { .. }
            | Output::Media(_)
            | Output::Flow(_)
            | Output::Load(_)
            | Output::Keep(_)
            | Output::Record(..)
            | Output::CallRecord(_)
            | Output::Fact(_) => None,
        });
        answers.collect()
    }

    /// What the server is given of these bytes: of a stream, as its reader does.
    fn arrives(&self, bytes: &[u8]) -> Vec<Vec<u8>> {
        if self.flow.transport == Transport::Udp {
            return vec![bytes.to_vec()];
        }
        let (mut framer, mut messages) = (Framer::new(), Vec::new());
        framer.push(bytes);
        while let Some(framed) = framer.next() {
            match framed {
                Ok(Frame::Message(message)) => messages.push(message),
                Ok(Frame::Ping | Frame::Pong) => {}
                Err(error) => messages.push(error.head),
            }
        }
        if framer.is_inside() {
            messages.push(framer.give_up());
        }
        messages
    }
}

/// What an answer has in common with its request.
fn identity(bytes: &[u8]) -> Vec<String> {
    let Ok(message) = Message::parse(bytes) else { return Vec::new() };
    let text = |name| message.text(name).unwrap_or_default().to_owned();
    [Name::CallId, Name::CSeq].map(text).to_vec()
}

/// Every message gets its answer, and after each an OPTIONS its 200.
#[track_caller]
fn check(graph: fn() -> Graph, transport: Transport, host: &str) {
    let messages = messages();
    let mut peer = Peer::new(graph(), transport, host);
    let mut wrong = Vec::new();
    for (number, Torture { file, bytes, wanted }) in messages.iter().enumerate() {
        let statuses = peer.says(bytes);
        let last = statuses.iter().find(|status| **status >= 200);
        let is_wanted = |one: &Value| match one.as_str() {
            Some("drop") => statuses.is_empty(),
            Some("any-final-except-400") => match last {
                Some(status) => ![400, 500].contains(status),
                None => !statuses.is_empty(),
            },
            _ => last.is_some_and(|status| *one == *status),
        };
        if !wanted.iter().any(is_wanted) {
            wrong.push(format!("{file}: {statuses:?}, wanted {wanted:?}"));
        }
        let alive = peer.says(options(number, host).as_bytes());
        assert_eq!(alive, [200], "after {file}");
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), messages.len(), wrong.join("\n"));
}

fn options(number: usize, host: &str) -> String {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    format!(
        "OPTIONS sip:{host} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:40000;rport;branch=z9hG4bKp{number}\r\n\
         From: <sip:p@{host}>;tag=p\r\nTo: <sip:{host}>\r\nCall-ID: ping-{number}\r\n\
         CSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
    )
}

#[test]
fn every_message_is_answered_as_its_manifest_says_over_udp() {
    check(guarded, Transport::Udp, "127.0.0.1");
    check(open, Transport::Udp, "127.0.0.1");
}

#[test]
fn every_message_is_answered_as_its_manifest_says_over_tcp() {
    check(guarded, Transport::Tcp, "127.0.0.1");
    check(open, Transport::Tcp, "127.0.0.1");
}

#[test]
fn every_message_is_answered_as_its_manifest_says_over_ipv6() {
    check(guarded, Transport::Udp, "::1");
    check(open, Transport::Tcp, "::1");
}
