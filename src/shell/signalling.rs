//! The signalling thread: sockets and channels in, the switch in the middle, everything it says out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::base::Tick;
use crate::call::record::{LegRecord, Record};
use crate::call::{Fact, Gauges, Kept, Origin, Output, PromiseCounts, QueueFigures, Switch};
use crate::flow;
use crate::media::{Report, Source};
use crate::shell::Clock;
use crate::shell::calls::Calls;
use crate::shell::coalesce::{BURST_MAX, Coalescer};
use crate::shell::flows::{self, Outlet};
use crate::shell::log::Log;
use crate::shell::media::{MediaInput, bind_audio};
use crate::shell::poller::{Poller, Ready};
use crate::shell::quick::Quick;
use crate::shell::quota::Quota;
use crate::shell::recordings::Keeps;
use crate::shell::sockets::{INBOX, Sockets, TCP, UDP};
use crate::shell::store::{self, Store};
use crate::shell::stream::{Given, Streams};
use crate::shell::trim::Trim;
use crate::shell::wake::{Inbox, Sender};
use crate::sip::{Flow, Transport};

/// Inputs of quick runs that are served before sockets have their turn again.
const TURNS_MAX: usize = 256;
/// Lines that a second's bad input may write into the log; the next line tells how many it left out.
const BAD_INPUT_LINES_MAX: u32 = 10;
/// The largest datagram there is.
const DATAGRAM_MAX: usize = 65_535;

/// When to try again to hand a recording's end over to a thread that did not keep up.
const KEEP_AGAIN: Duration = Duration::from_millis(20);

/// What other threads tell the signalling thread.
#[derive(Debug)]
pub(super) enum Input {
    /// The media thread reports.
    Media(Report),
    /// A flow worker speaks.
    Flow(flow::Output),
    /// A sound is there, or is not.
    Sound(Origin, Result<Source, String>),
    /// A recording is where it belongs, or could not be kept.
    Kept(u64, Result<Kept, String>),
    /// The journal reports.
    Stored(store::Report),
    /// Take no new calls.
    Drain,
    /// End every call.
    HangUp,
    /// Say what is in use.
    Gauges(SyncSender<Snapshot>),
    /// Look at what the switch holds, or change it, for an operator.
    Ask(Question),
    /// Tell how this promise ended, once that is on disk.
    WhenEnded(u64, oneshot::Sender<String>),
    /// Say when this record is on disk; if that will never be, nothing is said.
    WhenDurable(u64, oneshot::Sender<()>),
    /// End the thread.
    Stop,
}

/// Promises whose end is waited for, and records; for more, nobody is told.
const AWAITED_MAX: usize = 256;

/// What an operator asks of the switch; it is answered where it is asked.
pub(super) struct Question(Ask);

type Ask = Box<dyn FnOnce(&mut Switch, Tick) + Send>;

impl Question {
    pub(super) fn new(ask: impl FnOnce(&mut Switch, Tick) + Send + 'static) -> Self {
        Self(Box::new(ask))
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Question")
    }
}

/// What is in use, and what has been counted.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The switch's own.
    pub gauges: Gauges,
    /// Legs that have not ended.
    pub live_legs: usize,
    /// Values that full channels have dropped.
    pub dropped: u64,
    /// Legs by the reason of their end.
    pub ended: BTreeMap<String, u64>,
    /// Legs that were answered and are over, how long they talked, and how they sounded.
    pub talks: Talks,
    /// Dials that the guard denied, by why.
    pub denied: BTreeMap<&'static str, u64>,
    /// Call records that were written, and that were lost.
    pub call_records: (u64, u64),
    /// Queues in figures.
    pub queues: Vec<QueueFigures>,
    /// What became of promises and attempts.
    pub promises: PromiseCounts,
}

/// Upper bounds of the opinion scores that are counted apart (ITU-T G.107 Annex B: below 3.1 nearly
/// all are dissatisfied, from 4.34 on very satisfied).
pub(super) const MOS_BOUNDS: [f64; 5] = [2.58, 3.1, 3.6, 4.03, 4.34];

/// Talks that are over.
#[derive(Clone, Copy, Debug, Default)]
pub struct Talks {
    /// Legs that were answered.
    pub count: u64,
    /// Milliseconds that they talked.
    pub millis: u64,
    /// Legs by opinion score: at most each of [`MOS_BOUNDS`], and all that were heard at all.
    pub mos: [u64; MOS_BOUNDS.len() + 1],
    /// The sum of the scores.
    pub mos_sum: f64,
}

impl Talks {
    fn count(&mut self, leg: &LegRecord) {
        if let Some(talked) = leg.talked() {
            self.count += 1;
            self.millis += u64::try_from(talked.as_millis()).unwrap_or(u64::MAX);
        }
        if let Some(mos) = leg.mos() {
            for (count, bound) in self.mos.iter_mut().zip(MOS_BOUNDS.iter().chain([&f64::INFINITY]))
            {
                *count += u64::from(mos <= *bound);
            }
            self.mos_sum += mos;
        }
    }
}

/// The channels to the other threads.
#[derive(Debug)]
pub(super) struct Outlets {
    pub(super) media: Sender<MediaInput>,
    pub(super) flows: Outlet,
    pub(super) files: SyncSender<Origin>,
    pub(super) calls: Calls,
    pub(super) log: Log,
    pub(super) recordings: Keeps,
}

/// What the thread is made of.
pub(super) struct Parts {
    pub(super) sockets: Sockets,
    /// Where audio is received.
    pub(super) audio: IpAddr,
    pub(super) switch: Switch,
    pub(super) inbox: Inbox<Input>,
    pub(super) outlets: Outlets,
    pub(super) store: Store,
    pub(super) clock: Clock,
    pub(super) quick: flows::Parts,
}

pub(super) struct Signalling {
    switch: Switch,
    udp: UdpSocket,
    local: SocketAddr,
    /// Where audio is received.
    audio: IpAddr,
    streams: Streams,
    poller: Poller,
    inbox: Inbox<Input>,
    outlets: Outlets,
    quick: Quick,
    /// Inputs of quick runs that are served before sockets have their turn again.
    turns: usize,
    store: Store,
    clock: Clock,
    coalescer: Coalescer,
    trim: Trim,
    dropped: u64,
    ended: BTreeMap<String, u64>,
    talks: Talks,
    denied: BTreeMap<&'static str, u64>,
    /// Lines about bad input.
    bad_inputs: Quota,
    /// Who waits for the end of a promise.
    awaited: Vec<(u64, oneshot::Sender<String>)>,
    /// Who waits until a record is on disk.
    unwritten: Vec<(u64, oneshot::Sender<()>)>,
}

impl Signalling {
    /// To be made on its own thread, which makes the quick runs of flows.
    pub(super) fn new(parts: Parts) -> Self {
        let Parts { sockets, audio, switch, inbox, outlets, store, clock, quick } = parts;
        let Sockets { udp, local, streams, poller } = sockets;
        Self {
            switch,
            udp,
            local,
            audio,
            streams,
            poller,
            inbox,
            outlets,
            quick: Quick::new(quick),
            turns: TURNS_MAX,
            store,
            clock,
            coalescer: Coalescer::new(),
            trim: Trim::default(),
            dropped: 0,
            ended: BTreeMap::new(),
            talks: Talks::default(),
            denied: BTreeMap::new(),
            bad_inputs: Quota::new(BAD_INPUT_LINES_MAX),
            awaited: Vec::new(),
            unwritten: Vec::new(),
        }
    }

    /// Runs until it is told to stop.
    pub(super) fn run(mut self) {
        let (mut ready, mut buffer) = (Vec::new(), vec![0_u8; DATAGRAM_MAX]);
        // What was restored may be due before anybody asks about it.
        let now = self.clock.now();
        self.guarded(now, |switch| switch.handle_timeout(now));
        loop {
            let due =
                [self.switch.poll_timeout(), self.streams.next_expiry(), self.quick.poll_timeout()];
            let due = due.into_iter().flatten().min();
            let next = due.into_iter().chain(self.trim.poll_timeout()).min();
            let mut wait = next.map(|next| self.clock.until(next));
            if self.outlets.recordings.is_waiting() {
                self.outlets.recordings.send(None);
                wait = Some(wait.unwrap_or(KEEP_AGAIN).min(KEEP_AGAIN));
            }
            if self.quick.is_behind() {
                wait = Some(Duration::ZERO);
            } else {
                self.rest();
            }
            self.poller.wait(wait, &mut ready);
            self.turns = TURNS_MAX;
            for source in &ready {
                match source.number {
                    INBOX if !self.take_inputs() => return,
                    INBOX => {}
                    UDP => self.receive(&mut buffer),
                    TCP => self.streams.accept(&self.poller, self.clock.now()),
                    _ => self.serve_stream(*source),
                }
            }
            self.outlets.flows.catch_up();
            let now = self.clock.now();
            self.streams.expire(&self.poller, now);
            self.take_given();
            if self.switch.poll_timeout().is_some_and(|due| due <= now) {
                self.guarded(now, |switch| switch.handle_timeout(now));
            }
            if self.quick.poll_timeout().is_some_and(|due| due <= now) {
                self.quick.handle_timeout(now);
            }
            self.drain();
            if !ready.is_empty() || due.is_some_and(|due| due <= now) {
                self.trim.worked(now);
            }
            self.trim.handle_timeout(now);
        }
    }

    /// Does nothing for a moment where that is cheaper.
    #[expect(clippy::disallowed_methods, reason = "what comes meanwhile waits in the sockets")]
    fn rest(&mut self) {
        if let Some(rest) = self.coalescer.rest(self.clock.now()) {
            std::thread::sleep(rest);
        }
    }

    /// Hands what waits to the switch, at most [`BURST_MAX`] messages, before anything that comes of it is
    /// sent or run: the same work many times in turn costs a processor less than each message from its
    /// beginning to its end.
    fn receive(&mut self, buffer: &mut [u8]) {
        for _ in 0..BURST_MAX {
            let Ok((length, remote)) = self.udp.recv_from(buffer) else { break };
            self.coalescer.count_message();
            let (transport, local) = (Transport::Udp, self.local);
            let flow = Flow { transport, local, remote, connection: 0 };
            let now = self.clock.now();
            self.switch.guarded(now, |switch| switch.handle_message(flow, &buffer[..length], now));
        }
        self.drain();
    }

    fn serve_stream(&mut self, source: Ready) {
        self.streams.serve(source, &self.poller, self.clock.now());
        self.take_given();
    }

    fn take_given(&mut self) {
        while let Some(given) = self.streams.poll() {
            let now = self.clock.now();
            match given {
                Given::Message(flow, bytes) => {
                    self.coalescer.count_message();
                    self.switch.guarded(now, |switch| switch.handle_message(flow, &bytes, now));
                }
                Given::Closed(number) => {
                    self.switch.guarded(now, |switch| switch.handle_flow_closed(number, now));
                }
            }
        }
        self.drain();
    }

    fn take_inputs(&mut self) -> bool {
        self.inbox.clear();
        while let Some(input) = self.inbox.take() {
            let now = self.clock.now();
            match input {
                Input::Media(report) => {
                    self.guarded(now, |switch| switch.handle_media(report, now))
                }
                Input::Flow(output) => self.guarded(now, |switch| switch.handle_flow(output, now)),
                Input::Sound(origin, sound) => {
                    self.guarded(now, |switch| switch.handle_sound(&origin, sound, now));
                }
                Input::Kept(recording, kept) => {
                    self.guarded(now, |switch| switch.handle_kept(recording, kept, now));
                }
                Input::Stored(store::Report::DurableUpTo(sequence)) => {
                    self.guarded(now, |switch| switch.handle_durable(sequence, now));
                    self.tell_written();
                }
                Input::Stored(store::Report::Failed(error)) => {
                    tracing::error!(%error, "the journal failed: callbacks are not offered");
                    self.guarded(now, |switch| switch.handle_journal_failed(now));
                    self.tell_written();
                }
                Input::Drain => self.guarded(now, |switch| {
                    switch.drain();
                    // What takes registrations back leaves now: the next input may be the last.
                    switch.handle_timeout(now);
                }),
                Input::HangUp => self.guarded(now, |switch| switch.hangup_all(now)),
                Input::Gauges(reply) => {
                    // Whoever asked and went away does not want to know any more.
                    let _ = reply.try_send(self.snapshot(now));
                }
                Input::Ask(Question(ask)) => self.guarded(now, |switch| ask(switch, now)),
                Input::WhenEnded(promise, reply) => {
                    self.awaited.retain(|(_, reply)| !reply.is_closed());
                    if self.awaited.len() < AWAITED_MAX {
                        self.awaited.push((promise, reply));
                    }
                }
                Input::WhenDurable(sequence, reply) => {
                    if self.unwritten.len() < AWAITED_MAX {
                        self.unwritten.push((sequence, reply));
                    }
                    self.tell_written();
                }
                Input::Stop => {
                    self.guarded(now, Switch::record_all);
                    return false;
                }
            }
        }
        true
    }

    /// Tells those whose record is on disk; who waits in vain hears nothing any more.
    fn tell_written(&mut self) {
        for (sequence, reply) in std::mem::take(&mut self.unwritten) {
            match self.switch.is_durable(sequence) {
                Some(true) => drop(reply.send(())),
                Some(false) if !reply.is_closed() => self.unwritten.push((sequence, reply)),
                Some(false) | None => {}
            }
        }
    }

    /// Hands one input to the switch and takes everything that comes out.
    fn guarded(&mut self, now: Tick, input: impl FnOnce(&mut Switch)) {
        self.switch.guarded(now, input);
        self.drain();
    }

    /// Does what the switch and the quick runs want, all of one and then all of the other, until that is
    /// nothing or runs have had enough turns for now.
    fn drain(&mut self) {
        let now = self.clock.now();
        loop {
            while let Some(output) = self.switch.poll_output() {
                self.route(output);
            }
            while self.turns > 0 && self.quick.serve(now) {
                self.turns -= 1;
            }
            let mut is_done = true;
            while let Some(output) = self.quick.poll_output(now) {
                self.switch.guarded(now, |switch| switch.handle_flow(output, now));
                is_done = false;
            }
            if is_done {
                return;
            }
        }
    }

    fn route(&mut self, output: Output) {
        match output {
            Output::Transmit(transmit) => self.transmit(transmit.flow, &transmit.bytes),
            Output::OpenMedia { leg, port } => {
                match bind_audio(SocketAddr::new(self.audio, port)) {
                    Ok(rtp) => self.outlets.media.post(MediaInput::Open { leg, port, rtp }),
                    Err(error) => {
                        let why = format!("the audio port {port}: {error}");
                        self.switch.handle_no_audio(leg, why, self.clock.now());
                    }
                }
            }
            // The media thread looks every 5 ms; a wake-up for each command would cost more than it.
            Output::Media(command) => self.outlets.media.post(MediaInput::Command(command)),
            Output::Flow(input) => {
                let Some(input) = self.quick.take(input) else { return };
                if let Some(failed) = self.outlets.flows.send(input) {
                    self.dropped += 1;
                    tracing::error!("the flow worker does not keep up: a run has failed");
                    let now = self.clock.now();
                    self.switch.handle_flow(failed, now);
                }
            }
            Output::Load(origin) => {
                if let Err(TrySendError::Full(origin)) = self.outlets.files.try_send(origin) {
                    self.dropped += 1;
                    let now = self.clock.now();
                    let why = Err("too many sounds wait to be loaded".to_owned());
                    self.switch.handle_sound(&origin, why, now);
                }
            }
            Output::Keep(keep) => self.outlets.recordings.send(Some(keep)),
            Output::Record(sequence, record) => {
                if self.store.write(sequence, record).is_err() {
                    let now = self.clock.now();
                    if !self.switch.gauges().is_journal_failed {
                        tracing::error!("the journal takes no more: callbacks are not offered");
                    }
                    self.switch.handle_journal_failed(now);
                }
            }
            Output::CallRecord(record) => {
                if let Record::Leg(leg) = &record {
                    self.talks.count(leg);
                }
                self.outlets.calls.send(record);
            }
            Output::Fact(fact) => self.note(fact),
        }
    }

    fn transmit(&mut self, flow: Flow, bytes: &[u8]) {
        match flow.transport {
            Transport::Udp => {
                // What the kernel does not take is sent again by its transaction.
                let _ = self.udp.send_to(bytes, flow.remote);
            }
            Transport::Tcp => self.streams.send(flow, bytes, &self.poller, self.clock.now()),
            Transport::Tls | Transport::Ws => {
                tracing::error!(remote = %flow.remote, "this transport is not served");
            }
        }
    }

    fn snapshot(&self, now: Tick) -> Snapshot {
        Snapshot {
            gauges: self.switch.gauges(),
            live_legs: self.switch.live_legs(),
            dropped: self.dropped + self.inbox.dropped(),
            ended: self.ended.clone(),
            talks: self.talks,
            denied: self.denied.clone(),
            call_records: self.outlets.calls.counts(),
            queues: self.switch.queue_figures(now),
            promises: self.switch.promise_counts().clone(),
        }
    }

    /// Counts a fact, tells who waits for it, and hands its line to the log.
    fn note(&mut self, fact: Fact) {
        let mut left_out = 0;
        match &fact {
            Fact::BadInput { .. } => match self.bad_inputs.take(self.clock.now()) {
                Some(more) => left_out = more,
                None => return,
            },
            Fact::DialDenied { why, .. } => *self.denied.entry(why.word()).or_default() += 1,
            Fact::Ended { reason, .. } => {
                *self.ended.entry(reason.to_string()).or_default() += 1;
            }
            Fact::PromiseEnded { promise, end } => {
                for (_, reply) in self.awaited.extract_if(.., |(of, _)| of == promise) {
                    let _ = reply.send(end.clone());
                }
            }
            Fact::Arrived { .. }
            | Fact::Refused { .. }
            | Fact::TrunkUp { .. }
            | Fact::TrunkFailed { .. }
            | Fact::TrunkDown { .. }
            | Fact::Answered { .. }
            | Fact::Promised { .. }
            | Fact::AttemptLeftBehind { .. }
            | Fact::AttemptTakenBack { .. }
            | Fact::RunFailed { .. }
            | Fact::Panicked { .. }
            | Fact::ClipFailed { .. }
            | Fact::RecordingFailed { .. }
            | Fact::MediaRefused { .. } => {}
        }
        self.outlets.log.tell(fact, left_out);
    }
}
