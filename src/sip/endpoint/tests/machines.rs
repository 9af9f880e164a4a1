//! Which inputs each machine has met in which of its states, over links of every quality; and why
//! it has never met the others. The table is `sip-test/machines.md`; `BLESS=1` writes it anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::chaos::{Weather, run};
use super::*;
use crate::sip::endpoint::leg::{State, Talk};
use crate::sip::endpoint::receive::{client_key, server_key};
use crate::sip::endpoint::table::{Entry, Role};
use crate::sip::transaction::{Client, InviteClient, InviteServer, Server};

/// How often a machine met an input in a state.
#[derive(Debug, Default)]
pub(super) struct Seen(BTreeMap<(&'static str, &'static str, &'static str), u64>);

/// Machine, its states, its inputs; all in the order of the table.
const MACHINES: &[(&str, &[&str], &[&str])] = &[
    (
        "INVITE client transaction",
        &["Calling", "Proceeding", "Cancelled", "Accepted", "Completed"],
        &["1xx", "2xx", "3xx+", "timer", "connection lost"],
    ),
    (
        "INVITE server transaction",
        &["Proceeding", "Accepted", "Completed", "Confirmed"],
        &["INVITE again", "ACK", "answers 1xx", "answers 2xx", "answers 3xx+", "timer"],
    ),
    (
        "other client transaction",
        &["Trying", "Proceeding", "Completed"],
        &["1xx", "2xx+", "timer", "connection lost"],
    ),
    (
        "other server transaction",
        &["Trying", "Proceeding", "Completed"],
        &["request again", "answers 1xx", "answers 2xx+", "timer"],
    ),
    (
        "dialog",
        &["Calling", "Cancelling", "Ringing", "Talking", "Leaving", "Closing"],
        &[
            "1xx",
            "2xx",
            "3xx+",
            "INVITE",
            "ACK",
            "BYE",
            "UPDATE",
            "PRACK",
            "CANCEL",
            "provisional",
            "accept",
            "reject",
            "hangup",
            "offer",
            "answer_offer",
            "acknowledge",
        ],
    ),
];

impl Seen {
    fn add(&mut self, machine: &'static str, state: &'static str, input: &'static str) {
        *self.0.entry((machine, state, input)).or_default() += 1;
    }

    fn entry(&mut self, entry: &Entry, input: &'static str) {
        let (machine, state) = state_of(entry);
        // Other requests know one kind of final response.
        let input = match (machine, input) {
            ("other client transaction", "2xx" | "3xx+") => "2xx+",
            ("other server transaction", "answers 2xx" | "answers 3xx+") => "answers 2xx+",
            ("other server transaction", "INVITE again") => "request again",
            (_, input) => input,
        };
        if !state.is_empty() {
            self.add(machine, state, input);
        }
    }

    /// A command of the user to a dialog.
    pub(super) fn command(&mut self, endpoint: &Endpoint, id: DialogId, name: &'static str) {
        if let Some(leg) = endpoint.legs.get(id) {
            self.add("dialog", stage(&leg.state), name);
        }
    }

    /// An answer of the user to the INVITE of a dialog.
    pub(super) fn invite(&mut self, endpoint: &Endpoint, id: DialogId, input: &'static str) {
        if let Some(State::Ringing { invite, .. }) = endpoint.legs.get(id).map(|leg| &leg.state) {
            self.user(endpoint, *invite, input);
        }
    }

    /// An answer of the user to the offer of a dialog's peer.
    pub(super) fn their_offer(&mut self, endpoint: &Endpoint, id: DialogId, input: &'static str) {
        let talk = endpoint.legs.get(id).map(|leg| &leg.state);
        if let Some(State::Talking { talk, .. } | State::Ringing { talk, .. }) = talk
            && let Some(request) = talk.theirs
        {
            self.user(endpoint, request, input);
        }
    }

    /// An answer of the user to a request.
    pub(super) fn user(&mut self, endpoint: &Endpoint, id: TransactionId, input: &'static str) {
        if let Some(entry) = endpoint.table.get(id) {
            self.entry(entry, input);
        }
    }

    /// A message that arrives now.
    pub(super) fn message(&mut self, endpoint: &Endpoint, bytes: &[u8]) {
        let message = Message::parse(bytes).unwrap();
        let tag = |address: Option<crate::sip::NameAddr<'_>>| {
            address.and_then(|address| Some(address.tag()?.to_owned())).unwrap_or_default()
        };
        let (call_id, cseq) = (message.call_id().unwrap(), message.cseq().unwrap());
        let (own, found, input) = match &message.start {
            Start::Response { status, .. } => {
                let branch = message.via().ok().and_then(|via| via.branch()).unwrap();
                let key = client_key(branch, &cseq.method, endpoint.keys);
                let input = match status {
                    ..200 => "1xx",
                    200..300 => "2xx",
                    300.. => "3xx+",
                };
                (tag(message.from().ok()), endpoint.table.find(key), input)
            }
            Start::Request { method, .. } => {
                let is_ack = *method == Method::Ack;
                let of = if is_ack { &Method::Invite } else { method };
                let key = server_key(&message, of, endpoint.keys);
                let input = if is_ack { "ACK" } else { "INVITE again" };
                (tag(message.to().ok()), endpoint.table.find(key), input)
            }
        };
        let key = endpoint.keys.of(&[call_id.as_bytes(), own.as_bytes()]);
        let leg = endpoint.by_tag.get(&key).and_then(|id| endpoint.legs.get(*id));
        // The ACK of a 2xx finds its INVITE by number.
        let found = found.or_else(|| match leg.map(|leg| &leg.state) {
            Some(
                State::Talking { talk: Talk { unacked, .. }, .. } | State::Leaving { unacked, .. },
            ) if input == "ACK" => {
                unacked.iter().find(|one| one.cseq == cseq.number).map(|one| one.invite)
            }
            _ => None,
        });
        if let Some(entry) = found.and_then(|id| endpoint.table.get(id)) {
            self.entry(entry, input);
        }
        if let Start::Request { method: Method::Cancel, .. } = &message.start {
            let invite = server_key(&message, &Method::Invite, endpoint.keys);
            let invite = endpoint.table.find(invite).and_then(|id| endpoint.table.get(id));
            if let Some(Role::InviteServer { dialog, .. }) = invite.map(|entry| &entry.role) {
                self.command(endpoint, *dialog, "CANCEL");
            }
            return;
        }
        let Some(leg) = leg else { return };
        let input = match (&message.start, &cseq.method) {
            (Start::Response { .. }, Method::Invite) => input,
            (Start::Request { method: Method::Ack, .. }, _) => "ACK",
            (Start::Request { .. }, Method::Invite) => "INVITE",
            (Start::Request { .. }, Method::Bye) => "BYE",
            (Start::Request { .. }, Method::Update) => "UPDATE",
            (Start::Request { .. }, Method::Prack) => "PRACK",
            _ => return,
        };
        self.add("dialog", stage(&leg.state), input);
    }

    /// Time has passed: what is due now.
    pub(super) fn due(&mut self, endpoint: &Endpoint, now: Tick) {
        for entry in endpoint.table.due(now) {
            self.entry(entry, "timer");
        }
    }

    /// A connection is gone.
    pub(super) fn closed(&mut self, endpoint: &Endpoint, connection: u64) {
        for id in endpoint.table.on_connection(connection) {
            if let Some(entry) = endpoint.table.get(id)
                && let Role::InviteClient { .. } | Role::Client { .. } = entry.role
            {
                self.entry(entry, "connection lost");
            }
        }
    }
}

const fn stage(state: &State) -> &'static str {
    match state {
        State::Calling { .. } => "Calling",
        State::Cancelling { .. } => "Cancelling",
        State::Ringing { .. } => "Ringing",
        State::Talking { .. } => "Talking",
        State::Leaving { .. } => "Leaving",
        State::Closing => "Closing",
    }
}

/// The machine of a transaction and its state; a state that is over is none.
const fn state_of(entry: &Entry) -> (&'static str, &'static str) {
    match &entry.role {
        Role::InviteClient { machine, .. } => {
            let state = match machine {
                InviteClient::Calling { .. } => "Calling",
                InviteClient::Proceeding { .. } => "Proceeding",
                InviteClient::Cancelled { .. } => "Cancelled",
                InviteClient::Accepted { .. } => "Accepted",
                InviteClient::Completed { .. } => "Completed",
                InviteClient::Terminated => "",
            };
            ("INVITE client transaction", state)
        }
        Role::InviteServer { machine, .. } => {
            let state = match machine {
                InviteServer::Proceeding { .. } => "Proceeding",
                InviteServer::Accepted { .. } => "Accepted",
                InviteServer::Completed { .. } => "Completed",
                InviteServer::Confirmed { .. } => "Confirmed",
                InviteServer::Terminated => "",
            };
            ("INVITE server transaction", state)
        }
        Role::Client { machine, .. } => {
            let state = match machine {
                Client::Trying { .. } => "Trying",
                Client::Proceeding { .. } => "Proceeding",
                Client::Completed { .. } => "Completed",
                Client::Terminated => "",
            };
            ("other client transaction", state)
        }
        Role::Server { machine, .. } => {
            let state = match machine {
                Server::Trying { .. } => "Trying",
                Server::Proceeding { .. } => "Proceeding",
                Server::Completed { .. } => "Completed",
                Server::Terminated => "",
            };
            ("other server transaction", state)
        }
    }
}

/// Why a machine does not meet an input in a state.
enum Why {
    /// It cannot, as long as both sides are what they are.
    Never(&'static str),
    /// It takes a coincidence that a change of any chance may take away.
    Seldom(&'static str),
}

/// Machine, states, inputs, and why; an empty list stands for all of them.
type Reason = (&'static str, &'static [&'static str], &'static [&'static str], Why);

const REASONS: &[Reason] = &[
    (
        "INVITE client transaction",
        &["Accepted"],
        &["3xx+"],
        Why::Never("A callee that has sent a 2xx sends no failure."),
    ),
    (
        "INVITE client transaction",
        &["Completed"],
        &["2xx"],
        Why::Never("A callee that has sent a failure sends no 2xx."),
    ),
    (
        "INVITE client transaction",
        &["Completed"],
        &["connection lost"],
        Why::Never("On a stream a failure ends the transaction at once."),
    ),
    (
        "INVITE server transaction",
        &["Proceeding"],
        &["ACK"],
        Why::Never("An ACK follows a final response."),
    ),
    (
        "INVITE server transaction",
        &["Accepted", "Completed", "Confirmed"],
        &["answers 1xx", "answers 2xx", "answers 3xx+"],
        Why::Never(
            "With the final response the dialog has left Ringing, or the offer is answered: a further answer stops there.",
        ),
    ),
    (
        "other client transaction",
        &["Completed"],
        &["connection lost"],
        Why::Never("On a stream a final response ends the transaction at once."),
    ),
    (
        "other server transaction",
        &["Completed"],
        &["answers 1xx", "answers 2xx+"],
        Why::Never("The user answers a request once."),
    ),
    (
        "dialog",
        &["Calling", "Cancelling"],
        &["ACK", "PRACK", "CANCEL"],
        Why::Never("These are about an INVITE of the peer, and this one is ours."),
    ),
    (
        "dialog",
        &["Calling", "Cancelling"],
        &["INVITE"],
        Why::Never("A callee offers by re-INVITE only behind the ACK, by UPDATE before."),
    ),
    (
        "dialog",
        &["Ringing"],
        &["1xx", "2xx", "3xx+"],
        Why::Never("No INVITE of ours is under way before the peer's is answered."),
    ),
    (
        "dialog",
        &["Ringing"],
        &["INVITE", "ACK", "BYE"],
        Why::Never(
            "A caller that has no answer offers by UPDATE, acknowledges nothing, and ends by CANCEL.",
        ),
    ),
    (
        "dialog",
        &["Leaving"],
        &["1xx", "2xx", "3xx+"],
        Why::Never(
            "While an INVITE of ours is under way none of the peer's is accepted, so no 2xx of ours \
             waits for its ACK.",
        ),
    ),
    (
        "INVITE client transaction",
        &["Accepted"],
        &["1xx"],
        Why::Seldom(
            "Seldom: a provisional response is overtaken by the 200; `seldom.rs` tells it.",
        ),
    ),
    (
        "INVITE client transaction",
        &["Proceeding"],
        &["timer"],
        Why::Seldom(
            "Seldom: a callee rings, and nothing is heard of it for three minutes; `early.rs` \
             tells it.",
        ),
    ),
    (
        "INVITE client transaction",
        &["Cancelled"],
        &["2xx", "connection lost"],
        Why::Seldom(
            "Seldom: the 200 crosses the CANCEL, or the connection breaks before the 487; the \
             story `phones_cancel_crosses_the_200` and `early.rs` tell it.",
        ),
    ),
    (
        "INVITE server transaction",
        &["Confirmed"],
        &["INVITE again"],
        Why::Seldom(
            "Seldom: a copy of the INVITE comes later than the ACK; the story \
             `phones_confirmed_invite_and_ack_doubled` tells it.",
        ),
    ),
    (
        "other client transaction",
        &["Proceeding"],
        &["connection lost"],
        Why::Seldom(
            "Seldom: the connection breaks between a provisional and the final response; \
             `seldom.rs` tells it.",
        ),
    ),
    (
        "dialog",
        &["Calling", "Cancelling"],
        &["BYE"],
        Why::Seldom(
            "Seldom: every copy of the 200 is lost, and the BYE of the callee that waited for an \
             ACK is not; `seldom.rs` tells it.",
        ),
    ),
    (
        "dialog",
        &["Cancelling"],
        &["UPDATE"],
        Why::Seldom("Seldom: an early offer crosses the CANCEL; `seldom.rs` tells it."),
    ),
    (
        "dialog",
        &["Talking"],
        &["CANCEL"],
        Why::Seldom(
            "Seldom: the CANCEL crosses the 200; the stories `cancel_crosses_the_200` tell it.",
        ),
    ),
    (
        "dialog",
        &["Talking", "Leaving", "Closing"],
        &["PRACK"],
        Why::Seldom(
            "Seldom: a copy of the PRACK comes later than the 200 that waited for it; `seldom.rs` \
             tells it.",
        ),
    ),
    (
        "dialog",
        &["Leaving", "Closing"],
        &["1xx", "2xx", "3xx+", "INVITE", "ACK", "BYE", "UPDATE", "CANCEL"],
        Why::Seldom(
            "Seldom: messages that crossed our hang-up; `offers.rs`, `calls.rs` and the stories \
             `phones_*cross*` tell them.",
        ),
    ),
];

fn reason(machine: &str, state: &str, input: &str) -> Option<usize> {
    let holds = |list: &[&str], one: &str| list.is_empty() || list.contains(&one);
    REASONS.iter().position(|(of, states, inputs, _)| {
        *of == machine && holds(states, state) && holds(inputs, input)
    })
}

/// The table as a document, and what is wrong with it.
fn table(seen: &Seen) -> (String, Vec<String>) {
    let (mut text, mut wrong) = (HEAD.to_owned(), Vec::new());
    for (machine, states, inputs) in MACHINES {
        writeln!(text, "\n## {machine}\n\n| | {} |", inputs.join(" | ")).unwrap();
        writeln!(text, "|---|{}", "---|".repeat(inputs.len())).unwrap();
        let mut reasons = BTreeMap::new();
        for state in *states {
            write!(text, "| {state} |").unwrap();
            for input in *inputs {
                let is_seen = seen.0.contains_key(&(*machine, *state, *input));
                let reason = reason(machine, state, input);
                let is_seldom = reason.is_some_and(|at| matches!(REASONS[at].3, Why::Seldom(_)));
                match (is_seen && !is_seldom, reason) {
                    (true, None) => text += " ● |",
                    (false, Some(at)) => {
                        let next = reasons.len() + 1;
                        let number = *reasons.entry(at).or_insert(next);
                        write!(text, " {number} |").unwrap();
                    }
                    (true, Some(_)) => wrong.push(format!("seen: {machine}: {state} / {input}")),
                    (false, None) => wrong.push(format!("never: {machine}: {state} / {input}")),
                }
            }
            text += "\n";
        }
        let mut listed: Vec<(usize, usize)> = reasons.into_iter().map(|(at, n)| (n, at)).collect();
        listed.sort_unstable();
        text += "\n";
        for (number, at) in listed {
            let (Why::Never(why) | Why::Seldom(why)) = &REASONS[at].3;
            writeln!(text, "{number}. {why}").unwrap();
        }
    }
    (text, wrong)
}

/// Runs over each kind of link.
const RUNS: u64 = 80;

const HEAD: &str = "# What each machine has met

A dot: the input came in that state, in 400 runs of random calls between two user agents over UDP
with 0, 1, 5 and 20 % of messages lost and as many doubled, all of them delayed by up to 60 ms and
so overtaking each other, with outages of up to 70 s, and over TCP with connections that break.
After each run every dialog had ended exactly once, and no transaction, dialog or timer was left.
A number: it cannot come, or only by a coincidence, for the reason below. A test draws this anew
(`src/sip/endpoint/tests/machines.rs`), and fails when a pair comes that cannot, or one that has no
reason does not come.
";

#[test]
fn every_pair_of_state_and_input_is_seen_or_has_a_reason() {
    let mut seen = Seen::default();
    for loss in [0, 1, 5, 20] {
        for seed in 0..RUNS {
            let (has_outages, is_forgetful) = (seed % 3 == 0, seed % 2 == 0);
            let weather = Weather { loss, transport: Transport::Udp, has_outages, is_forgetful };
            run(seed * 1000 + u64::from(loss), weather, 60, &mut seen);
        }
    }
    for seed in 0..RUNS {
        let (transport, is_forgetful) = (Transport::Tcp, seed % 2 == 0);
        let weather = Weather { loss: 0, transport, has_outages: true, is_forgetful };
        run(seed, weather, 60, &mut seen);
    }
    for ((machine, state, input), times) in &seen.0 {
        println!("{times:>7} {machine}: {state} / {input}");
    }
    let (text, wrong) = table(&seen);
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("sip-test/machines.md");
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "BLESS=1 writes it anew");
}
