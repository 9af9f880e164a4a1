//! Whole calls through two endpoints, and one request through one, in simulated time.

use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use ringback::base::{Rng, Tick};
use ringback::sip::Method;
use ringback::sip::endpoint::{Body, Config, Endpoint, Event, Outgoing, Party};
use ringback::sip::transaction::Timing;
use ringback::sip::transport::{Flow, Transport};

/// Calls of one sample.
const CALLS: u32 = 2000;

/// The program's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() {
    divan::main();
}

/// INVITE, 200, ACK, BYE, 200 with SDP both ways, both sides' work counted; one call begins every
/// millisecond, so that 32,000 finished ones still absorb copies.
#[divan::bench(sample_count = 20)]
fn whole_call(bencher: Bencher<'_, '_>) {
    let mut pair = Pair::new();
    for _ in 0..35_000 {
        pair.call();
    }
    bencher.counter(ItemsCount::new(CALLS)).bench_local(|| {
        for _ in 0..CALLS {
            pair.call();
        }
    });
}

/// An OPTIONS out of dialog and its 200, one side's answer and the other's transaction.
#[divan::bench(sample_count = 20)]
fn one_transaction(bencher: Bencher<'_, '_>) {
    let mut pair = Pair::new();
    let options = Outgoing { body: None, ..pair.outgoing() };
    bencher.counter(ItemsCount::new(CALLS)).bench_local(|| {
        for _ in 0..CALLS {
            pair.caller.request(Method::Options, options.clone(), pair.now).expect("room");
            pair.settle();
            pair.pass();
        }
    });
}

struct Pair {
    caller: Endpoint,
    callee: Endpoint,
    now: Tick,
}

impl Pair {
    fn new() -> Self {
        let config = || Config {
            user_agent: "bench".to_owned(),
            advertised: None,
            dialogs_max: 10_000,
            transactions_max: 200_000,
            timing: Timing::RFC,
            serves: Vec::new(),
            session_expires: None,
        };
        let (caller, callee) =
            (Endpoint::new(config(), Rng::new(1)), Endpoint::new(config(), Rng::new(2)));
        Self { caller, callee, now: Tick::ZERO }
    }

    fn flow(local: u8, remote: u8) -> Flow {
        let address = |end: u8| ([192, 0, 2, end], 5060).into();
        let (local, remote) = (address(local), address(remote));
        Flow { transport: Transport::Udp, local, remote, connection: 0 }
    }

    fn outgoing(&self) -> Outgoing {
        let party = |user: &str| Party {
            display: String::new(),
            user: user.to_owned(),
            host: "192.0.2.1".to_owned(),
        };
        Outgoing {
            flow: Self::flow(1, 2),
            request_uri: "sip:queue@192.0.2.2".to_owned(),
            from: party("caller"),
            to: party("queue"),
            headers: Vec::new(),
            body: Some(sdp()),
            credentials: None,
            derived: None,
            max_forwards: ringback::sip::MAX_FORWARDS,
        }
    }

    fn call(&mut self) {
        let dialog = self.caller.invite(self.outgoing(), self.now).expect("room for a call");
        self.settle();
        self.caller.hangup(dialog, None, self.now);
        self.settle();
        self.pass();
    }

    fn pass(&mut self) {
        self.now += Duration::from_millis(1);
        self.caller.handle_timeout(self.now);
        self.callee.handle_timeout(self.now);
    }

    /// Carries messages until none is left; the callee answers at once.
    fn settle(&mut self) {
        let mut is_moving = true;
        while is_moving {
            is_moving = false;
            while let Some(transmit) = self.caller.poll_transmit() {
                self.callee.handle_message(Self::flow(2, 1), &transmit.bytes, self.now);
                is_moving = true;
            }
            while let Some(event) = self.callee.poll_event() {
                if let Event::Invite { dialog, .. } = event {
                    self.callee.accept(dialog, Some(sdp()), self.now);
                }
            }
            while let Some(transmit) = self.callee.poll_transmit() {
                self.caller.handle_message(Self::flow(1, 2), &transmit.bytes, self.now);
                is_moving = true;
            }
            while let Some(event) = self.caller.poll_event() {
                divan::black_box(event);
            }
        }
    }
}

fn sdp() -> Body {
    Body::sdp(
        &b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n\
        m=audio 40000 RTP/AVP 8 0 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n\
        a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n"[..],
    )
}
