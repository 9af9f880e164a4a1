//! The media thread: a tick every 5 ms, and two epolls over the audio sockets.
//!
//! Legs in a bridge are *urgent*, because somebody waits to hear what comes: each packet wakes the
//! thread, or it looks every millisecond, whichever costs less (`thrift.rs`). All others are *patient*:
//! what came is read in the next tick, so that a caller who listens to music costs no wake-up of his
//! own.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::base::{Rng, Tick};
use crate::media::{self, Channel, Command, FRAME, LegId, Report, Shard, Wire};
use crate::shell::beat::{Beat, Pace};
use crate::shell::poller::{Poller, Ready};
use crate::shell::realtime::Priority;
use crate::shell::recordings::Take;
use crate::shell::signalling::Input;
use crate::shell::thrift::{Thrift, Way};
use crate::shell::trim::Trim;
use crate::shell::wake::{Inbox, Sender};
use crate::shell::{Clock, clock};

/// Rounds over the sockets that have something; what is left waits for the next look, or tick. Few
/// over those that are looked at soon again, so that no flood keeps a tick from its time.
const URGENT_ROUNDS_MAX: usize = 4;
const PATIENT_ROUNDS_MAX: usize = 256;
/// Ticks that a thread which was held up catches up with; older ones are lost.
const CATCH_UP_MAX: u64 = 20;

const INBOX: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

/// What the media thread is told.
#[derive(Debug)]
pub(super) enum MediaInput {
    /// Open a leg with this socket for RTP, which is bound to this port.
    Open { leg: LegId, port: u16, rtp: UdpSocket },
    /// A command of the switch.
    Command(Command),
    /// End the thread.
    Stop,
}

/// A socket for audio at this address. Signalling binds that of RTP, so that it knows at once when
/// somebody else has the port, and so that what comes early waits in it.
pub(super) fn bind_audio(address: SocketAddr) -> io::Result<UdpSocket> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    rustix::net::bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}

/// The sockets of one leg.
#[derive(Debug)]
struct Sockets {
    leg: LegId,
    port: u16,
    rtp: UdpSocket,
    rtcp: Rtcp,
    /// Whether the RTP socket is in the urgent epoll.
    is_urgent: bool,
}

/// The RTCP socket of a leg, one port above that of RTP (RFC 3550 §11). It is bound with the first
/// audio that comes or the first report that goes; a leg that ends before, because nobody answers or
/// another phone was faster, does without.
#[derive(Debug)]
enum Rtcp {
    Unbound,
    Bound(UdpSocket),
    /// Its port cannot be had, as when another program has it: the leg goes on without reports.
    Failed,
}

/// How soon a packet is to be read.
#[derive(Clone, Copy, Debug)]
enum Urgency {
    Urgent,
    Patient,
}

impl Sockets {
    /// Binds the RTCP socket if that was not tried yet, and has it watched; whether it failed just now.
    fn bind_rtcp(&mut self, poller: &Poller) -> bool {
        if !matches!(self.rtcp, Rtcp::Unbound) {
            return false;
        }
        let bound: io::Result<_> = self.rtp.local_addr().and_then(|local| {
            let socket = bind_audio(SocketAddr::new(local.ip(), self.port + 1))?;
            poller.add(&socket, number(self.leg, Channel::Rtcp))?;
            Ok(socket)
        });
        self.rtcp = bound.map_or(Rtcp::Failed, Rtcp::Bound);
        matches!(self.rtcp, Rtcp::Failed)
    }

    const fn socket(&self, channel: Channel) -> Option<&UdpSocket> {
        match (channel, &self.rtcp) {
            (Channel::Rtp, _) => Some(&self.rtp),
            (Channel::Rtcp, Rtcp::Bound(rtcp)) => Some(rtcp),
            (Channel::Rtcp, Rtcp::Unbound | Rtcp::Failed) => None,
        }
    }
}

/// Sockets by the leg's place.
#[derive(Debug)]
struct Table {
    places: Vec<Option<Sockets>>,
    /// All but the RTP sockets of bridged legs.
    patient: Poller,
    /// Legs that have just been found to get no RTCP socket; signalling is told, which logs it: whoever
    /// reads the log slowly must not hold up audio.
    without_rtcp: Vec<LegId>,
    recordings: SyncSender<Take>,
}

impl Table {
    /// Binds a leg's RTCP socket, if that was not tried yet.
    fn bind_rtcp(&mut self, leg: LegId) {
        if let Some(Some(sockets)) = self.places.get_mut(leg.index())
            && sockets.bind_rtcp(&self.patient)
        {
            self.without_rtcp.push(leg);
        }
    }
}

impl Wire for Table {
    fn send(&mut self, leg: LegId, channel: Channel, to: SocketAddr, packet: &[u8]) {
        if channel == Channel::Rtcp {
            self.bind_rtcp(leg);
        }
        let Some(Some(sockets)) = self.places.get(leg.index()) else { return };
        if let Some(socket) = sockets.socket(channel) {
            // A packet that the kernel does not take now is too late in 20 ms; the peer counts it.
            let _ = socket.send_to(packet, to);
        }
    }

    fn record(&mut self, recorder: u64, index: u64, channels: &[&[i16; FRAME]]) {
        // What a slow disk does not take is silence in the recording, and said at its end.
        let _ = self.recordings.try_send(Take::frame(recorder, index, channels));
    }
}

pub(super) struct MediaThread {
    shard: Shard,
    table: Table,
    /// What wakes the thread in any case: its timer and its inbox.
    poller: Poller,
    /// These, and the RTP sockets of bridged legs.
    urgent: Poller,
    /// Legs in `urgent`.
    bridged: usize,
    thrift: Thrift,
    way: Way,
    beat: Beat,
    inbox: Inbox<MediaInput>,
    reports: Sender<Input>,
    /// A report that signalling had no room for; the shard keeps those behind it meanwhile.
    held: Option<Input>,
    clock: Clock,
    phase: u8,
    /// Who spoke last on a port, and until when that matters; at most one for each port.
    sources: BTreeMap<u16, (SocketAddr, Tick)>,
    trim: Trim,
}

impl MediaThread {
    pub(super) fn new(
        inbox: Inbox<MediaInput>,
        reports: Sender<Input>,
        recordings: SyncSender<Take>,
        legs_max: usize,
        clock: Clock,
        rng: Rng,
    ) -> io::Result<Self> {
        let config = media::Config { legs_max, ..media::Config::STANDARD };
        let (poller, urgent, patient) = (Poller::new()?, Poller::new()?, Poller::new()?);
        let beat = Beat::new(clock.now())?;
        for poller in [&poller, &urgent] {
            poller.add_signal(&inbox, INBOX)?;
            poller.add(&beat, TIMER)?;
        }
        let table = Table { places: Vec::new(), patient, without_rtcp: Vec::new(), recordings };
        let shard = Shard::new(config, rng);
        let (held, sources) = (None, BTreeMap::new());
        let (bridged, phase) = (0, 0);
        Ok(Self {
            shard,
            table,
            poller,
            urgent,
            bridged,
            thrift: Thrift::new(),
            way: Way::Wake,
            beat,
            inbox,
            reports,
            held,
            clock,
            phase,
            sources,
            trim: Trim::default(),
        })
    }

    /// Runs until it is told to stop; while it plays before all other threads, where that is wished and
    /// can be had.
    pub(super) fn run(mut self, is_realtime: bool) {
        let mut priority = Priority::begin(is_realtime);
        let (mut ready, mut sockets, mut buffer) = (Vec::new(), Vec::new(), [0_u8; 2048]);
        loop {
            let poller = match self.way {
                Way::Wake => &self.urgent,
                Way::Look => &self.poller,
            };
            poller.wait(self.trim.poll_timeout().map(|due| self.clock.until(due)), &mut ready);
            let now = self.clock.now();
            self.trim.handle_timeout(now);
            for source in &ready {
                match source.number {
                    INBOX => {
                        self.inbox.clear();
                        if !self.obey() {
                            return;
                        }
                    }
                    TIMER => {
                        let ticks = self.beat.take(now);
                        if !self.obey() {
                            return;
                        }
                        priority.beat(!self.shard.is_idle(), self.beat.late(), now);
                        if ticks > 0 {
                            self.tick(ticks);
                            self.receive_all(Urgency::Patient, &mut sockets, &mut buffer);
                            let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
                            self.way = self.thrift.tick(ticks, self.bridged, clock::thread_time);
                        }
                        if self.way == Way::Look {
                            self.receive_all(Urgency::Urgent, &mut sockets, &mut buffer);
                        }
                    }
                    // One packet of each socket, then whatever else is ready has its turn.
                    socket => self.receive(socket, &mut buffer, now),
                }
            }
            self.report();
            if !self.adapt() {
                return;
            }
        }
    }

    /// Changes the pace to what there is to do; `false` when the thread is to end.
    fn adapt(&mut self) -> bool {
        let pace = match self.way {
            Way::Look => Pace::Look,
            Way::Wake if self.shard.is_at_rest() => Pace::Rest,
            Way::Wake if self.shard.is_idle() => Pace::Idle,
            Way::Wake => Pace::Tick,
        };
        if pace == self.beat.pace() {
            return true;
        }
        let now = self.clock.now();
        self.beat.adapt(pace, now);
        let is_asleep = pace == Pace::Rest;
        self.inbox.sleep(is_asleep);
        if is_asleep {
            self.trim.worked(now);
        }
        // What was posted before the senders could know; if it ends the rest, the next beat sees that.
        !is_asleep || self.obey()
    }

    /// Tells signalling what there is. What it has no room for is told after the next tick: a report
    /// that is lost may be the end of a prompt that a flow waits for.
    fn report(&mut self) {
        let refused = |leg| Input::Media(Report::Refused { leg, why: media::Refusal::NoRtcp });
        while let Some(report) = self
            .held
            .take()
            .or_else(|| self.shard.poll_report().map(Input::Media))
            .or_else(|| self.table.without_rtcp.pop().map(refused))
        {
            if let Err(report) = self.reports.offer(report) {
                self.held = Some(report);
                return;
            }
        }
    }

    /// Takes what was sent, and what was posted for the next tick; `false` when that is the end.
    fn obey(&mut self) -> bool {
        while let Some(input) = self.inbox.take() {
            match input {
                MediaInput::Open { leg, port, rtp } => self.open(leg, port, rtp),
                MediaInput::Command(command) => self.command(command),
                MediaInput::Stop => return false,
            }
        }
        true
    }

    fn command(&mut self, command: Command) {
        let closed = if let Command::Close { leg } = &command { Some(*leg) } else { None };
        if let Some(leg) = closed {
            self.remember_source(leg);
        }
        // Who is in a bridge changes with these three only, and only for these legs.
        let named = if let Command::Bridge { a, b } = &command {
            [Some(*a), Some(*b)]
        } else if let Command::Unbridge { leg } | Command::Close { leg } = &command {
            [Some(*leg), None]
        } else {
            [None, None]
        };
        let peers = named.map(|leg| leg.and_then(|leg| self.shard.peer(leg)));
        let now = self.clock.now();
        self.shard.guarded(|shard| shard.handle_command(command, now));
        for leg in named.into_iter().chain(peers).flatten() {
            self.watch(leg);
        }
        // Last packets of the leg have left by now; only then its sockets go.
        if let Some(leg) = closed {
            self.close(leg);
        }
    }

    /// Moves a leg's RTP socket to the epoll that it belongs to.
    fn watch(&mut self, leg: LegId) {
        let is_urgent = self.shard.peer(leg).is_some();
        let Some(Some(sockets)) = self.table.places.get_mut(leg.index()) else { return };
        if sockets.leg != leg || sockets.is_urgent == is_urgent {
            return;
        }
        sockets.is_urgent = is_urgent;
        self.bridged = if is_urgent { self.bridged + 1 } else { self.bridged - 1 };
        let (from, to) = match is_urgent {
            true => (&self.table.patient, &self.urgent),
            false => (&self.urgent, &self.table.patient),
        };
        from.remove(&sockets.rtp);
        if let Err(error) = to.add(&sockets.rtp, number(leg, Channel::Rtp)) {
            tracing::error!(%error, "cannot wait for the audio of a leg");
        }
    }

    fn tick(&mut self, expired: u64) {
        for _ in 0..expired.min(CATCH_UP_MAX) {
            let (phase, now) = (self.phase, self.clock.now());
            self.shard.guarded(|shard| shard.tick(phase, &mut self.table, now));
            self.phase = (self.phase + 1) % 4;
        }
    }

    /// Reads what came for urgent or patient legs since the last look.
    fn receive_all(&mut self, urgency: Urgency, ready: &mut Vec<Ready>, buffer: &mut [u8]) {
        let rounds_max = match urgency {
            Urgency::Urgent => URGENT_ROUNDS_MAX,
            Urgency::Patient => PATIENT_ROUNDS_MAX,
        };
        for _ in 0..rounds_max {
            let poller = match urgency {
                Urgency::Urgent => &self.urgent,
                Urgency::Patient => &self.table.patient,
            };
            poller.wait(Some(Duration::ZERO), ready);
            if ready.is_empty() {
                return;
            }
            let now = self.clock.now();
            for source in ready.iter().filter(|source| source.number < TIMER) {
                self.receive(source.number, buffer, now);
            }
        }
    }

    /// Reads one packet; a socket that has more says so again, after the others had their turn.
    fn receive(&mut self, number: u64, buffer: &mut [u8], now: Tick) {
        let place = (number >> 1) as usize;
        let channel = if number & 1 == 0 { Channel::Rtp } else { Channel::Rtcp };
        let Some(Some(sockets)) = self.table.places.get(place) else { return };
        let (leg, Some(socket)) = (sockets.leg, sockets.socket(channel)) else { return };
        let Ok((length, from)) = socket.recv_from(buffer) else { return };
        self.table.bind_rtcp(leg);
        let (table, packet) = (&mut self.table, &buffer[..length]);
        self.shard.guarded(|shard| shard.handle_packet(leg, channel, from, packet, table, now));
    }

    fn open(&mut self, leg: LegId, port: u16, rtp: UdpSocket) {
        if let Err(error) = self.table.patient.add(&rtp, number(leg, Channel::Rtp)) {
            tracing::error!(%error, "cannot wait for the audio of a leg");
        }
        let sockets = Sockets { leg, port, rtp, rtcp: Rtcp::Unbound, is_urgent: false };
        let place = leg.index();
        if self.table.places.len() <= place {
            self.table.places.resize_with(place + 1, || None);
        }
        self.table.places[place] = Some(sockets);
        let now = self.clock.now();
        self.shard.guarded(|shard| shard.handle_command(Command::Open { leg }, now));
        let earlier = self.sources.remove(&port).filter(|(_, until)| *until > now);
        if let Some((source, until)) = earlier {
            self.shard.handle_command(Command::Shun { leg, source, until }, now);
        }
    }

    /// Notes who spoke on a port, for the case that the next call gets it before it has rested.
    fn remember_source(&mut self, leg: LegId) {
        let Some(source) = self.shard.source(leg) else { return };
        let Some(Some(sockets)) = self.table.places.get(leg.index()) else { return };
        if sockets.leg == leg {
            self.sources.insert(sockets.port, (source, self.clock.now() + media::REST));
        }
    }

    fn close(&mut self, leg: LegId) {
        let Some(place) = self.table.places.get_mut(leg.index()) else { return };
        if let Some(sockets) = place.take_if(|sockets| sockets.leg == leg) {
            self.bridged -= usize::from(sockets.is_urgent);
        }
    }
}

/// How the epolls name a socket of a leg.
const fn number(leg: LegId, channel: Channel) -> u64 {
    (leg.index() as u64) << 1 | matches!(channel, Channel::Rtcp) as u64
}

/// A report, as signalling receives it.
impl From<Report> for Input {
    fn from(report: Report) -> Self {
        Self::Media(report)
    }
}

#[cfg(test)]
mod tests;
