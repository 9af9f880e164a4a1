//! `kill -9` again and again, under load: every promise that was said is kept to exactly one end.
//!
//! One user agent plays everybody around the real binary: callers who ask to be called back, agents
//! who answer, and customers who answer, are busy, or let it ring. The server is killed at random
//! moments and started again on the same data directory. At the end its journal is read.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]
#![expect(clippy::print_stdout, reason = "it tells how far it is, and what it counted")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ringback::base::{Rng, Tick};
use ringback::promise::{Outcome, PromiseId, Record};
use ringback::shell::Clock;
use ringback::sip::{
    self, Body, Cause, DialogId, Endpoint, Event, Flow, Message, Outgoing, Party, Timing, Transport,
};

/// Kills when nobody says how many, as among all the other tests.
const KILLS: usize = 2;
/// Callers who are on their way to a promise at a time.
const CALLERS: usize = 12;
/// Between two callers.
const CALL_EVERY: Duration = Duration::from_millis(40);
/// How long the server lives between two kills: this, and as much again by chance.
const LIFE_MIN: Duration = Duration::from_millis(400);
/// How long it is given beyond that to make a promise, on a busy machine.
const LIFE_MAX: Duration = Duration::from_secs(20);
/// How long everything may take to come to its end after the last kill, and for each of them: eight
/// agents do not keep up with promises made in a hurry.
const PATIENCE: Duration = Duration::from_secs(150);
const PATIENCE_A_KILL: Duration = Duration::from_secs(2);
/// How long a phone of a dead server goes on before its owner hangs up.
const TALK_MAX: Duration = Duration::from_secs(3);

/// How long a phone rings that nobody stops; `rest_s` of the settings is longer.
const RINGS_MAX: Duration = Duration::from_secs(3);

const SDP: &str = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n\
                   m=audio 40000 RTP/AVP 0\r\na=rtpmap:0 PCMU/8000\r\n";

/// What a party does with its call, and when.
#[derive(Clone, Copy, Debug)]
enum Plan {
    Answer,
    Refuse,
    HangUp,
}

/// One call that is up, or on its way.
#[derive(Debug)]
struct Call {
    role: Role,
    number: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Caller,
    Agent,
    Customer,
}

/// Everybody but the server.
struct World {
    clock: Clock,
    rng: Rng,
    socket: UdpSocket,
    endpoint: Endpoint,
    server: SocketAddr,
    calls: BTreeMap<DialogId, Call>,
    plans: Vec<(Tick, DialogId, Plan)>,
    /// Customers whose phone rings or who talk, by number.
    open: BTreeMap<String, DialogId>,
    /// Call-IDs of the INVITEs that rang at a number.
    rung: BTreeMap<String, BTreeSet<String>>,
    /// Numbers that were told "we will call you back".
    confirmed: BTreeSet<String>,
    /// Where a number rang twice at a time: must stay empty.
    doubles: Vec<String>,
    called: u32,
    next_call: Tick,
    is_calling: bool,
}

impl World {
    fn new(server: SocketAddr, seed: u64) -> Self {
        let (clock, mut rng) = (Clock::start(), Rng::new(seed));
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let config = sip::Config {
            user_agent: "kill".to_owned(),
            advertised: None,
            serves: Vec::new(),
            session_expires: None,
            dialogs_max: 10_000,
            transactions_max: 40_000,
            timing: Timing::RFC,
        };
        let endpoint = Endpoint::new(config, Rng::new(rng.next_u64()));
        Self {
            clock,
            rng,
            socket,
            endpoint,
            server,
            calls: BTreeMap::new(),
            plans: Vec::new(),
            open: BTreeMap::new(),
            rung: BTreeMap::new(),
            confirmed: BTreeSet::new(),
            doubles: Vec::new(),
            called: 0,
            next_call: Tick::ZERO,
            is_calling: true,
        }
    }

    /// Lets time pass until `done`, and for no longer than this; says whether it was done.
    fn until(&mut self, patience: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let deadline = self.clock.now() + patience;
        let mut buffer = vec![0; 65_535];
        while !done(self) {
            if self.clock.now() >= deadline {
                return false;
            }
            while let Ok((length, remote)) = self.socket.recv_from(&mut buffer) {
                let (flow, now) = (self.flow(remote), self.clock.now());
                self.endpoint.handle_message(flow, &buffer[..length], now);
                self.drain();
            }
            let now = self.clock.now();
            if self.endpoint.poll_timeout().is_some_and(|due| due <= now) {
                self.endpoint.handle_timeout(now);
            }
            self.act(now);
            self.call(now);
            self.drain();
        }
        true
    }

    fn flow(&self, remote: SocketAddr) -> Flow {
        let local = self.socket.local_addr().unwrap();
        Flow { transport: Transport::Udp, local, remote, connection: 0 }
    }

    /// Another caller, while there is load.
    fn call(&mut self, now: Tick) {
        let callers = self.calls.values().filter(|call| call.role == Role::Caller).count();
        if !self.is_calling || now < self.next_call || callers >= CALLERS {
            return;
        }
        self.next_call = now + CALL_EVERY;
        self.called += 1;
        let number = format!("+4930{:06}", self.called);
        let party = |user: &str, host: String| Party {
            display: String::new(),
            user: user.to_owned(),
            host,
        };
        let outgoing = Outgoing {
            flow: self.flow(self.server),
            request_uri: format!("sip:200@{}", self.server),
            from: party(&number, self.socket.local_addr().unwrap().to_string()),
            to: party("200", self.server.to_string()),
            headers: Vec::new(),
            body: Some(Body::sdp(SDP)),
            credentials: None,
            derived: None,
            max_forwards: sip::MAX_FORWARDS,
        };
        if let Ok(dialog) = self.endpoint.invite(outgoing, now) {
            self.calls.insert(dialog, Call { role: Role::Caller, number });
            // A server that said 100 and died leaves its caller waiting.
            self.plan(dialog, 2 * TALK_MAX.as_millis() as u64, Plan::HangUp);
        }
    }

    fn plan(&mut self, dialog: DialogId, millis: u64, plan: Plan) {
        let due = self.clock.now() + Duration::from_millis(millis);
        self.plans.push((due, dialog, plan));
    }

    fn act(&mut self, now: Tick) {
        let due = self.plans.extract_if(.., |(at, ..)| *at <= now).collect::<Vec<_>>();
        for (_, dialog, plan) in due {
            if !self.calls.contains_key(&dialog) {
                continue;
            }
            match plan {
                Plan::Answer => self.endpoint.accept(dialog, Some(Body::sdp(SDP)), now),
                Plan::Refuse => self.endpoint.reject(dialog, 486, None, &[], now),
                Plan::HangUp => self.endpoint.hangup(dialog, None, now),
            }
        }
    }

    fn drain(&mut self) {
        loop {
            if let Some(transmit) = self.endpoint.poll_transmit() {
                // A dead server's port is closed; what is lost is sent again.
                let _ = self.socket.send_to(&transmit.bytes, transmit.flow.remote);
            } else if let Some(event) = self.endpoint.poll_event() {
                self.on_event(event);
            } else {
                return;
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        if let Event::Invite { dialog, request, .. } = &event {
            self.on_invite(*dialog, request);
        } else if let Event::Answered { dialog, .. } = &event {
            // A caller whose server dies hangs up at last.
            self.plan(*dialog, TALK_MAX.as_millis() as u64, Plan::HangUp);
        } else if let Event::Ended { dialog, cause, .. } = &event
            && let Some(Call { role, number }) = self.calls.remove(dialog)
        {
            if role == Role::Caller && *cause == Cause::Bye {
                // The flow hangs up when the callback is promised, and only then.
                self.confirmed.insert(number.clone());
            }
            if self.open.get(&number) == Some(dialog) {
                self.open.remove(&number);
            }
        }
    }

    fn on_invite(&mut self, dialog: DialogId, request: &[u8]) {
        let message = Message::parse(request).unwrap();
        let to = message.to().unwrap();
        let user = to.uri.sip().and_then(|uri| uri.user).unwrap_or_default().to_owned();
        let now = self.clock.now();
        self.endpoint.provisional(dialog, 180, None, now);
        if user.len() == 3 {
            self.calls.insert(dialog, Call { role: Role::Agent, number: user });
            self.plan(dialog, 40, Plan::Answer);
            return self.plan(dialog, 2 * TALK_MAX.as_millis() as u64, Plan::HangUp);
        }
        let call_id = message.call_id().unwrap().to_owned();
        if self.open.contains_key(&user) {
            self.doubles.push(format!("{user} rings twice at a time, the second as {call_id}"));
        }
        self.open.insert(user.clone(), dialog);
        self.rung.entry(user.clone()).or_default().insert(call_id);
        self.calls.insert(dialog, Call { role: Role::Customer, number: user });
        match self.rng.below(10) {
            0..=5 => {
                let after = 5 + self.rng.below(150);
                self.plan(dialog, after, Plan::Answer);
                self.plan(dialog, after + 400, Plan::HangUp);
            }
            6 | 7 => self.plan(dialog, self.rng.clone().below(100), Plan::Refuse),
            // It rings until the server takes the call back; where its CANCEL is lost with another
            // kill, until it has rung out, which is before the number has rested.
            _ => self.plan(dialog, RINGS_MAX.as_millis() as u64, Plan::Refuse),
        }
    }
}

/// The real binary.
struct Process {
    child: Child,
    http: SocketAddr,
}

/// Ports that are free at this moment.
fn free_port() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// An address for audio that no other run of this machine has: where a port is another program's, a call
/// ends at once, and its end would be taken for the promise of a callback.
fn audio_address() -> Ipv4Addr {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + high % 250, low, 1)
}

fn start(directory: &Path, server: SocketAddr) -> Process {
    let arg = |name: &str| directory.join(name);
    let log = std::fs::File::options().create(true).append(true).open(arg("log")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_ringback"))
        .arg("serve")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/sip-test/kill.json"))
        .args(["--sip", &server.to_string(), "--http", "127.0.0.1:0"])
        .args(["--rtp", &format!("{}:10000-14999", audio_address())])
        .arg("--prompts")
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/prompts"))
        .arg("--config")
        .arg(arg("ringback.toml"))
        .arg("--data")
        .arg(arg("data"))
        .env("RINGBACK_LOG", "warn")
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let mut http = None;
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for line in &mut lines {
        let line = line.unwrap();
        if let Some(rest) = line.strip_prefix("http    http://") {
            http = rest.split(' ').next().and_then(|address| address.parse().ok());
        }
        if line == "ready" {
            break;
        }
    }
    let http =
        http.unwrap_or_else(|| panic!("the server did not start: see {}", arg("log").display()));
    Process { child, http }
}

impl Process {
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// A number of `/metrics`.
    fn metric(&self, name: &str) -> Option<u64> {
        let mut stream = TcpStream::connect(self.http).ok()?;
        write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("ringback_{name} ")))?;
        line.parse().ok()
    }
}

/// What the journal says of one promise.
#[derive(Debug, Default)]
struct Kept {
    number: String,
    planned: usize,
    outcomes: Vec<Outcome>,
    ends: Vec<String>,
}

fn journal(data: &Path) -> BTreeMap<PromiseId, Kept> {
    let database = rusqlite::Connection::open(data.join("ringback.db")).unwrap();
    let mut select = database.prepare("SELECT record FROM journal ORDER BY sequence").unwrap();
    let rows = select.query_map([], |row| row.get::<_, String>(0)).unwrap();
    let mut kept = BTreeMap::<PromiseId, Kept>::new();
    for row in rows {
        let record = Record::parse(&row.unwrap()).unwrap();
        let one = kept.entry(record.promise()).or_default();
        one.ends.extend(record.end().map(|end| format!("{end:?}")));
        match record {
            Record::Promised { number, .. } => one.number = number,
            Record::AttemptPlanned { .. } => one.planned += 1,
            Record::AttemptEnded { outcome, .. } => one.outcomes.push(outcome),
            Record::Merged { .. }
            | Record::AttemptRinging { .. }
            | Record::AttemptAnswered { .. }
            | Record::Ended { .. } => {}
        }
    }
    kept
}

fn main() {
    let kills = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(KILLS);
    let seed = std::env::args().nth(2).and_then(|text| text.parse().ok()).unwrap_or(1);
    let directory: PathBuf =
        std::env::temp_dir().join(format!("ringback-kill-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let server = free_port();
    let mut world = World::new(server, seed);
    let phones = world.socket.local_addr().unwrap();
    std::fs::write(directory.join("ringback.toml"), settings(phones)).unwrap();
    let began = world.clock.now();
    let mut rng = Rng::new(seed ^ 0xdead);
    let mut process = start(&directory, server);
    for kill in 1..=kills {
        let life = LIFE_MIN + Duration::from_millis(rng.below(LIFE_MIN.as_millis() as u64));
        let said = world.confirmed.len();
        world.until(life, |_| false);
        world.until(LIFE_MAX, |world| world.confirmed.len() > said);
        process.kill();
        // A moment in which nobody answers.
        world.until(Duration::from_millis(rng.below(100)), |_| false);
        process = start(&directory, server);
        if kill % 20 == 0 || kill == kills {
            let (said, seconds) = (world.confirmed.len(), (world.clock.now() - began).as_secs());
            println!("{seconds:>4} s  {kill} kills, {said} callbacks were promised to callers");
        }
    }
    world.is_calling = false;
    let mut looked = Tick::ZERO;
    let mut open = 1;
    let patience = PATIENCE + PATIENCE_A_KILL * u32::try_from(kills).unwrap();
    let is_done = world.until(patience, |world| {
        if world.clock.now() - looked > Duration::from_millis(500) {
            looked = world.clock.now();
            open = process.metric("promises").unwrap_or(1);
        }
        open == 0 && world.calls.is_empty()
    });
    println!(
        "{:>4} s  everything has come to its end: {is_done}",
        (world.clock.now() - began).as_secs()
    );
    let panics = process.metric("panics_total").unwrap_or(u64::MAX);
    Command::new("kill").arg(process.child.id().to_string()).status().unwrap();
    process.child.wait().unwrap();
    let wrong = judge(&world, &journal(&directory.join("data")), panics);
    if wrong.is_empty() && is_done {
        println!("kill: {kills} kills, no promise lost, none doubled");
        std::fs::remove_dir_all(&directory).unwrap();
        return;
    }
    for line in wrong.iter().take(20) {
        println!("WRONG {line}");
    }
    println!("kill: FAILED with seed {seed}; see {}", directory.display());
    std::process::exit(1);
}

/// What is not as it must be (A1, A2, I1, I3, I4).
fn judge(world: &World, journal: &BTreeMap<PromiseId, Kept>, panics: u64) -> Vec<String> {
    let mut wrong = world.doubles.clone();
    if world.confirmed.is_empty() {
        wrong.push("no caller was promised anything, so nothing was tried".to_owned());
    }
    let promised: BTreeSet<&String> = journal.values().map(|kept| &kept.number).collect();
    for number in world.confirmed.iter().filter(|number| !promised.contains(number)) {
        wrong.push(format!("{number} was told that it is called back, and is in no journal"));
    }
    let mut planned = BTreeMap::<&String, usize>::new();
    let (mut ends, mut outcomes) =
        (BTreeMap::<&String, u32>::new(), BTreeMap::<String, u32>::new());
    for (id, kept) in journal {
        if kept.ends.len() != 1 {
            wrong.push(format!("promise {} has {} ends: {kept:?}", id.0, kept.ends.len()));
        }
        if kept.outcomes.len() != kept.planned {
            wrong.push(format!("promise {}: an attempt without an end: {kept:?}", id.0));
        }
        *planned.entry(&kept.number).or_default() += kept.planned;
        for end in &kept.ends {
            *ends.entry(end).or_default() += 1;
        }
        for outcome in &kept.outcomes {
            *outcomes.entry(format!("{outcome:?}")).or_default() += 1;
        }
    }
    for (number, calls) in &world.rung {
        let planned = planned.get(number).copied().unwrap_or(0);
        if calls.len() > planned {
            wrong.push(format!("{number} rang {} times, {planned} were planned", calls.len()));
        }
    }
    if panics > 0 {
        wrong.push(format!("{panics} panics"));
    }
    let rings: usize = world.rung.values().map(BTreeSet::len).sum();
    println!(
        "        {} promises in the journal, {} told to callers",
        journal.len(),
        world.confirmed.len()
    );
    println!("        ends {ends:?}");
    println!("        attempts {outcomes:?}, {rings} rang at a customer");
    println!("        {} customers rung twice at a time", world.doubles.len());
    wrong
}

/// Settings in which nothing takes long.
fn settings(phones: SocketAddr) -> String {
    let mut text = format!(
        "[trunk.outside]\npeers = ['127.0.0.1']\nserver = '{phones}'\ncalls_per_s = 1000\n\
         [queue.service]\nattempts = 4\npauses_s = [1]\nrest_s = 4\nqueue_day = 200000\n"
    );
    for number in 101..=108 {
        text += &format!("[extension.{number}]\ncontact = 'sip:{number}@{phones}'\n");
    }
    text
}
