//! Calls between two endpoints over a scripted link, in simulated time.

mod auth;
mod calls;
mod chaos;
mod close_out;
mod early;
mod machines;
mod offers;
mod reliable;
mod rules;
mod seldom;
mod sessions;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::*;
use crate::sip::transaction::Timing;
use crate::sip::transport::Transport;
use crate::sip::{Message, Method, Start};

/// One way over the link.
const DELAY: Duration = Duration::from_millis(10);
/// After this long nothing of any call is left: a re-INVITE before the BYE, and a BYE after it.
const REST: u64 = 100_000;

/// Messages under way, by arrival and order of sending: to whom, and what.
type Wire = BTreeMap<(Tick, u64), (usize, Arc<[u8]>)>;

/// Two endpoints, `a` and `b`, and the link between them.
struct World {
    now: Tick,
    ends: [Endpoint; 2],
    /// The dialog each end heard of last.
    dialogs: [Option<DialogId>; 2],
    wire: Wire,
    sent: u64,
    /// What the link drops: start of the message and how many of them.
    losses: Vec<(&'static str, u32)>,
    transport: Transport,
    story: String,
}

fn config() -> Config {
    Config {
        user_agent: "test".to_owned(),
        advertised: None,
        dialogs_max: 50,
        transactions_max: 200,
        timing: Timing::RFC,
        serves: vec![Method::Register, Method::Message],
        session_expires: None,
    }
}

impl World {
    fn new() -> Self {
        Self::over(Transport::Udp)
    }

    fn over(transport: Transport) -> Self {
        Self {
            now: Tick::ZERO,
            ends: [1, 2].map(|seed| Endpoint::new(config(), Rng::new(seed))),
            dialogs: [None; 2],
            wire: BTreeMap::new(),
            sent: 0,
            losses: Vec::new(),
            transport,
            story: String::new(),
        }
    }

    fn flow(&self, from: usize) -> Flow {
        let address = |end: usize| format!("192.0.2.{}:5060", end + 1).parse().unwrap();
        let connection = u64::from(self.transport.is_reliable());
        let (local, remote) = (address(from), address(1 - from));
        Flow { transport: self.transport, local, remote, connection }
    }

    fn outgoing(&self) -> Outgoing {
        let party = |user: &str, host: &str| Party {
            display: String::new(),
            user: user.to_owned(),
            host: host.to_owned(),
        };
        Outgoing {
            flow: self.flow(0),
            request_uri: "sip:bob@192.0.2.2".to_owned(),
            from: party("alice", "192.0.2.1"),
            to: party("bob", "192.0.2.2"),
            headers: Vec::new(),
            body: Some(Body::sdp("v=0\r\n")),
            credentials: None,
            derived: None,
            max_forwards: MAX_FORWARDS,
        }
    }

    /// `a` calls `b`.
    fn call(&mut self) {
        let outgoing = self.outgoing();
        self.dialogs[0] = Some(self.ends[0].invite(outgoing, self.now).unwrap());
        self.drain();
    }

    /// A command to the last dialog of one end.
    fn tell(&mut self, end: usize, command: impl FnOnce(&mut Endpoint, DialogId, Tick)) {
        let dialog = self.dialogs[end].unwrap();
        command(&mut self.ends[end], dialog, self.now);
        self.drain();
    }

    fn ring(&mut self) {
        self.tell(1, |b, dialog, now| b.provisional(dialog, 180, None, now));
    }

    fn accept(&mut self) {
        self.tell(1, |b, dialog, now| b.accept(dialog, Some(Body::sdp("v=0\r\n")), now));
    }

    fn hangup(&mut self, end: usize) {
        self.tell(end, |endpoint, dialog, now| endpoint.hangup(dialog, None, now));
    }

    /// A confirmed call, 100 ms old, whose beginning is no part of the story.
    fn talking() -> Self {
        let mut world = Self::new();
        world.call();
        world.until(20);
        world.accept();
        world.until(100);
        world.story.clear();
        world
    }

    fn lose(&mut self, start: &'static str, times: u32) {
        self.losses.push((start, times));
    }

    /// Hands one end a message as from the other.
    fn inject(&mut self, to: usize, message: &str) {
        let flow = self.flow(to);
        self.ends[to].handle_message(flow, message.as_bytes(), self.now);
        self.drain();
    }

    /// Lets time pass until `millis` since the beginning.
    fn until(&mut self, millis: u64) {
        let end = Tick::from_millis(millis);
        for _ in 0..100_000 {
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let timers = self.ends.iter().filter_map(Endpoint::poll_timeout);
            let Some(next) = timers.chain(arrival).min().filter(|next| *next <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            if arrival.is_some_and(|at| at <= self.now) {
                let (_, (to, bytes)) = self.wire.pop_first().unwrap();
                let flow = self.flow(to);
                self.ends[to].handle_message(flow, &bytes, self.now);
            } else {
                self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
            }
            self.drain();
        }
        panic!("the two never come to rest:\n{}", self.story);
    }

    fn drain(&mut self) {
        for end in 0..2 {
            while let Some(transmit) = self.ends[end].poll_transmit() {
                self.send(end, transmit.bytes);
            }
            while let Some(event) = self.ends[end].poll_event() {
                self.note(end, &event);
            }
        }
    }

    fn send(&mut self, from: usize, bytes: Arc<[u8]>) {
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.validate().map(drop), Ok(()), "{}", String::from_utf8_lossy(&bytes));
        let name = match &message.start {
            Start::Request { method, .. } => method.to_string(),
            Start::Response { status, .. } => {
                format!("{status} {}", message.cseq().unwrap().method)
            }
        };
        let lost =
            self.losses.iter_mut().find(|(start, left)| name.starts_with(start) && *left > 0);
        let arrow = if from == 0 { "──▶ " } else { "◀── " };
        let is_lost = lost.map(|(_, left)| *left -= 1).is_some();
        let lost = if is_lost { " ✕" } else { "" };
        writeln!(self.story, "{:>7} {arrow}{name}{lost}", self.now.as_millis()).unwrap();
        if !is_lost {
            self.sent += 1;
            self.wire.insert((self.now + DELAY, self.sent), (1 - from, Arc::clone(&bytes)));
        }
    }

    fn note(&mut self, end: usize, event: &Event) {
        let told = match event {
            Event::Closed { .. } => return,
            Event::Invite { dialog, .. } => {
                self.dialogs[end] = Some(*dialog);
                "invite".to_owned()
            }
            Event::Provisional { status, .. } => format!("provisional {status}"),
            Event::Answered { .. } => "answered".to_owned(),
            Event::Acknowledged { .. } => "acknowledged".to_owned(),
            Event::Offer { .. } => "offer".to_owned(),
            Event::OfferAnswered { status, .. } => format!("offer answered {status}"),
            Event::Info { .. } => "info".to_owned(),
            Event::RefreshDue { .. } => "refresh due".to_owned(),
            Event::Ended { cause, .. } => format!("ended {cause:?}"),
            Event::Request { request, dialog, .. } => {
                let (request, now) = (*request, self.now);
                self.ends[end].respond(request, 200, &[], None, now);
                if dialog.is_some() { "request inside".to_owned() } else { "request".to_owned() }
            }
            Event::BadInput { status, rule, .. } => format!("bad input {status} {rule}"),
            Event::Response { status, .. } => format!("response {status}"),
            Event::ClosedOut { is_certain, .. } => format!("closed out, certain {is_certain}"),
        };
        let name = ["a", "b"][end];
        writeln!(self.story, "{:>7} {name} * {told}", self.now.as_millis()).unwrap();
    }

    /// Compares what happened so far, then lets everything end and looks for what was left behind.
    fn check(mut self, story: &str) {
        let lines = |text: &str| -> Vec<String> {
            let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
            words.filter(|words| !words.is_empty()).map(|words| words.join(" ")).collect()
        };
        let now = self.now.as_millis();
        assert_eq!(lines(&self.story), lines(story), "\nit was:\n{}", self.story);
        for end in 0..2 {
            if let Some(dialog) = self.dialogs[end] {
                self.ends[end].hangup(dialog, None, self.now);
            }
        }
        self.drain();
        self.until(now + REST);
        for end in &self.ends {
            assert_eq!(end.gauges(), Gauges::default(), "left behind after:\n{}", self.story);
        }
    }
}
