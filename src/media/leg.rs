//! One leg: what arrives is checked, counted and searched for digits; what is due is sent.

mod listen;

use std::net::SocketAddr;
use std::time::Duration;

use crate::base::{Bounded, Rng, Tick};
use crate::media::backlog::Backlog;
use crate::media::codec::{self, Encoder};
use crate::media::control::Control;
use crate::media::dialler::{Dialled, Dialler, Job, Origin};
use crate::media::digits::{Digits, EVENT, Event};
use crate::media::hearing::Hearing;
use crate::media::keypad::Keypad;
use crate::media::latch::Latch;
use crate::media::meter::Meter;
use crate::media::outbound::{Outbound, Stamp};
use crate::media::player::{Player, Players};
use crate::media::reception::Reception;
use crate::media::recorder::Recorder;
use crate::media::relay::Relay;
use crate::media::rtp::{self, HEADER, Header, PAYLOAD_MAX};
use crate::media::{
    Channel, Codec, Config, FRAME, LegId, PlayerEnd, Refusal, Report, Statistics, Stream, Wire,
    duration_of,
};

/// How long a digit is pressed, and the gap after it, when it is relayed into a leg that is busy
/// and so cannot have the peer's own packets.
const RELAYED_PRESS: Duration = Duration::from_millis(100);

/// The payload type of comfort noise (RFC 3389), taken whether it was agreed on or not.
const COMFORT_NOISE: u8 = 13;

/// One leg and everything that plays, relays and counts on it.
#[derive(Debug)]
pub(super) struct Leg {
    id: LegId,
    /// The leg that hears this one.
    peer: Option<LegId>,
    /// `None` until the first answer.
    line: Option<Line>,
    players: Players,
    dialler: Dialler,
    relay: Relay,
    backlog: Backlog,
    outbound: Outbound,
    reception: Reception,
    keypad: Keypad,
    /// Whether what the peer says is decoded, and encoded anew in the ticks.
    recodes: bool,
    /// While somebody needs the leg's sound.
    hearing: Option<Box<Hearing>>,
    /// Late packets and invented samples of the times when it was heard before.
    faults_before: (u64, u64),
    /// Whether digits are looked for in the leg's sound.
    finds_digits: bool,
    /// Whether it is sent the events of the leg that it is bridged with.
    passes_events: bool,
    /// Whether its digits come as events.
    has_sent_events: bool,
    meters: Vec<Meter>,
    recorders: Vec<Recorder>,
    /// Who spoke on this port before us, and until when late packets may come from there.
    shunned: Option<(SocketAddr, Tick)>,
    packets_foreign: u64,
    packets_malformed: u64,
    packets_unknown: u64,
    packets_relayed: u64,
}

/// What a leg has from its first stream on.
#[derive(Debug)]
struct Line {
    stream: Stream,
    encoder: Encoder,
    latch: Latch,
    /// Where RTCP comes from, once it came.
    remote_rtcp: Option<SocketAddr>,
    control: Control,
    /// When the last packet came, or the silence began to count; `None` once it is reported.
    heard: Option<Tick>,
}

/// A packet that a leg has taken in, for the leg that hears it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival<'a> {
    header: Header,
    payload: &'a [u8],
    content: Content,
}

#[derive(Clone, Copy, Debug)]
enum Content {
    Sound(Codec),
    /// In dB below full scale.
    Noise {
        level: u8,
    },
    Event {
        event: Event,
        is_first: bool,
    },
}

impl Leg {
    /// A leg without a stream.
    pub(super) fn new(id: LegId, rng: &mut Rng) -> Self {
        Self {
            id,
            peer: None,
            line: None,
            players: Players::default(),
            dialler: Dialler::new(),
            relay: Relay::default(),
            backlog: Backlog::new(),
            outbound: Outbound::new(rng),
            reception: Reception::default(),
            keypad: Keypad::default(),
            recodes: false,
            hearing: None,
            faults_before: (0, 0),
            finds_digits: false,
            passes_events: true,
            has_sent_events: false,
            meters: Vec::new(),
            recorders: Vec::new(),
            shunned: None,
            packets_foreign: 0,
            packets_malformed: 0,
            packets_unknown: 0,
            packets_relayed: 0,
        }
    }

    /// Whose leg this is.
    pub(super) const fn id(&self) -> LegId {
        self.id
    }

    /// Sets or changes the stream. To no address nothing can be sent: that is how RFC 2543 held.
    pub(super) fn configure(
        &mut self,
        mut stream: Stream,
        config: &Config,
        rng: &mut Rng,
        now: Tick,
    ) {
        stream.sending &= !stream.remote.ip().is_unspecified() && stream.remote.port() != 0;
        match &mut self.line {
            Some(line) => {
                line.latch.signal(stream.remote);
                // A hold is silent by agreement, so the silence counts anew.
                line.heard = Some(now);
                if line.encoder.codec() != stream.codec {
                    line.encoder = Encoder::new(stream.codec);
                }
                line.stream = stream;
            }
            None => {
                let (window, relearn) = (config.learning_window, config.relearn_after);
                self.line = Some(Line {
                    stream,
                    encoder: Encoder::new(stream.codec),
                    latch: Latch::new(stream.remote, window, relearn),
                    remote_rtcp: None,
                    control: Control::new(rng, now),
                    heard: Some(now),
                });
            }
        }
    }

    /// Believes nothing from this address until then, unless the stream names it.
    pub(super) const fn shun(&mut self, source: SocketAddr, until: Tick) {
        self.shunned = Some((source, until));
    }

    /// Where packets come from, once one came.
    pub(super) fn source(&self) -> Option<SocketAddr> {
        self.line.as_ref().and_then(|line| line.latch.source())
    }

    /// Starts a player; false when there are too many.
    pub(super) fn play(&mut self, player: Player, reports: &mut Bounded<Report>) -> bool {
        self.stop(player.number(), reports);
        self.players.start(player)
    }

    /// Stops a player.
    pub(super) fn stop(&mut self, number: u64, reports: &mut Bounded<Report>) {
        if let Some(player) = self.players.stop(number) {
            self.report_player(&player, PlayerEnd::Stopped, reports);
        }
    }

    /// Stops every player.
    pub(super) fn stop_all(&mut self, reports: &mut Bounded<Report>) {
        while let Some(player) = self.players.stop_one() {
            self.report_player(&player, PlayerEnd::Stopped, reports);
        }
    }

    /// Appends digits to those that wait to be sent.
    pub(super) fn send_digits(
        &mut self,
        digits: Digits,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), Refusal> {
        let stream = self.line.as_ref().map(|line| line.stream);
        if stream.is_none_or(|stream| stream.event_payload_type.is_none()) {
            return Err(Refusal::NoTelephoneEvent);
        }
        let job = Job::new(digits, Origin::Command, duration, gap);
        if self.dialler.enqueue(job) { Ok(()) } else { Err(Refusal::TooManyDigits) }
    }

    /// Makes another leg, or none, the one that this leg hears and is heard by.
    pub(super) const fn attach(&mut self, peer: Option<LegId>) {
        self.peer = peer;
        self.passes_events = true;
        self.recodes = false;
        self.relay.cut();
        self.backlog.clear();
    }

    /// Whether the leg is sent its peer's events.
    pub(super) const fn pass_events(&mut self, is_on: bool) {
        self.passes_events = is_on;
    }

    /// The leg that hears this one.
    pub(super) const fn peer(&self) -> Option<LegId> {
        self.peer
    }

    /// How many players play.
    pub(super) const fn players(&self) -> usize {
        self.players.len()
    }

    /// What the leg sent and heard so far.
    pub(super) fn statistics(&self) -> Statistics {
        let mut statistics = Statistics {
            packets_sent: self.outbound.packets(),
            octets_sent: self.outbound.octets(),
            packets_received: self.reception.packets(),
            octets_received: self.reception.octets(),
            packets_lost: self.reception.lost(),
            jitter: self.reception.jitter(),
            packets_foreign: self.packets_foreign,
            packets_malformed: self.packets_malformed,
            packets_unknown: self.packets_unknown,
            packets_relayed: self.packets_relayed,
            packets_late: self.faults().0,
            concealed: duration_of(self.faults().1),
            ..Statistics::default()
        };
        if let Some(line) = &self.line {
            line.control.add_to(&mut statistics);
        }
        statistics
    }

    /// Takes in an RTP packet; gives back what the bridged leg should hear of it.
    pub(super) fn handle_rtp<'a>(
        &mut self,
        from: SocketAddr,
        packet: &'a [u8],
        reports: &mut Bounded<Report>,
        now: Tick,
    ) -> Option<Arrival<'a>> {
        let line = self.line.as_mut()?;
        // Parsed before the source is believed: a stray datagram must not latch.
        let parsed = rtp::parse(packet).filter(|(_, payload)| payload.len() <= PAYLOAD_MAX);
        let Some((header, payload)) = parsed else {
            self.packets_malformed += 1;
            return None;
        };
        let is_late = self.shunned.is_some_and(|(source, until)| {
            source == from && now < until && line.stream.remote != from
        });
        if is_late || !line.latch.accept(from, now) {
            self.packets_foreign += 1;
            return None;
        }
        line.heard = Some(now);
        self.reception.count(&header, payload.len());
        let content = if Some(header.payload_type) == line.stream.event_payload_type {
            let Some(event) = Event::parse(payload) else {
                self.packets_unknown += 1;
                return None;
            };
            Content::Event { event, is_first: self.keypad.handle_event(&header, event) }
        } else if let Some(codec) = line.stream.codec_of(header.payload_type) {
            self.reception.measure(header.timestamp, now);
            Content::Sound(codec)
        } else if let (COMFORT_NOISE, [level, ..]) = (header.payload_type, payload) {
            Content::Noise { level: *level & 0x7F }
        } else {
            self.packets_unknown += 1;
            return None;
        };
        if !line.stream.receiving {
            return None;
        }
        self.listen(&header, payload, content, reports, now);
        Some(Arrival { header, payload, content })
    }

    /// Takes in an RTCP packet. Its port is its own, so only the host is checked.
    pub(super) fn handle_rtcp(&mut self, from: SocketAddr, packet: &[u8], now: Tick) {
        let Some(line) = &mut self.line else { return };
        if from.ip() != line.latch.remote().ip() {
            self.packets_foreign += 1;
        } else if line.control.handle_packet(packet, self.outbound.ssrc(), now) {
            line.remote_rtcp = Some(from);
        } else {
            self.packets_malformed += 1;
        }
    }

    /// Sends what the bridged leg took in: at once, or, while this leg is played to or the sound has
    /// to be decoded, in the ticks.
    pub(super) fn hear(&mut self, arrival: &Arrival<'_>, wire: &mut impl Wire, now: Tick) {
        let Some(line) = &self.line else { return };
        if !line.stream.sending {
            return;
        }
        let Arrival { header, payload, content } = arrival;
        match *content {
            // RFC 4733 §2.5.1: the event of a pressed key takes the place of the sound.
            Content::Sound(_) if self.dialler.is_pressing() => {}
            Content::Sound(codec) => {
                self.recodes = !codec::passes(codec, line.stream.codec);
                // Otherwise it comes in the ticks, out of the peer's jitter buffer.
                if !self.is_told_in_ticks() {
                    self.hear_sound(codec, header, payload, wire, now);
                }
            }
            // Nobody agreed on it with our peer, and a pause says the same.
            Content::Noise { .. } => {}
            Content::Event { event, is_first } => {
                self.hear_event(header, event, is_first, wire, now);
            }
        }
    }

    fn hear_sound(
        &mut self,
        codec: Codec,
        header: &Header,
        payload: &[u8],
        wire: &mut impl Wire,
        now: Tick,
    ) {
        let Some(line) = &self.line else { return };
        let stream = line.stream;
        let samples = codec.samples(payload.len()) as u32;
        let Some(ours) = self.relay.sound(header, samples, &mut self.outbound, now) else { return };
        let ours = Header { payload_type: stream.payload_type, ..ours };
        let mut packet = [0; HEADER + PAYLOAD_MAX];
        let length = codec::pass(codec, stream.codec, payload, &mut packet[HEADER..]);
        self.forward(&mut packet[..HEADER + length], ours, samples, wire, now);
    }

    fn hear_event(
        &mut self,
        header: &Header,
        event: Event,
        is_first: bool,
        wire: &mut impl Wire,
        now: Tick,
    ) {
        let stream = self.line.as_ref().filter(|_| self.passes_events).map(|line| line.stream);
        let Some(payload_type) = stream.and_then(|stream| stream.event_payload_type) else {
            return;
        };
        if self.is_told_in_ticks() || self.dialler.is_busy() {
            // Our own frames lie between the packets of the press, so they cannot keep its
            // timestamp: it is pressed anew.
            if is_first {
                let digit = Digits::one(event.code);
                let job = Job::new(digit, Origin::Relay, RELAYED_PRESS, RELAYED_PRESS);
                self.dialler.enqueue(job);
            }
            return;
        }
        let Some(ours) = self.relay.event(header, is_first, &mut self.outbound, now) else {
            return;
        };
        let mut packet = [0; HEADER + EVENT];
        packet[HEADER..].copy_from_slice(&event.print());
        let ours = Header { payload_type, ..ours };
        self.forward(&mut packet, ours, u32::from(event.duration), wire, now);
    }

    /// Sends a relayed packet, whose sound lasts `samples`.
    fn forward(
        &mut self,
        packet: &mut [u8],
        header: Header,
        samples: u32,
        wire: &mut impl Wire,
        now: Tick,
    ) {
        let Some(line) = &self.line else { return };
        let until = header.timestamp.wrapping_add(samples);
        self.outbound.seal_relayed(packet, header, until, now);
        wire.send(self.id, Channel::Rtp, line.latch.remote(), packet);
    }

    /// Counts a packet that went on to the bridged leg.
    pub(super) const fn count_relayed(&mut self) {
        self.packets_relayed += 1;
    }

    /// Sends what is due: every 20 ms.
    pub(super) fn tick(
        &mut self,
        lost_after: Duration,
        wire: &mut impl Wire,
        reports: &mut Bounded<Report>,
        rng: &mut Rng,
        now: Tick,
    ) {
        let Some(line) = &mut self.line else { return };
        let stream = line.stream;
        let to = line.latch.remote();
        if stream.receiving && line.heard.is_some_and(|heard| now.since(heard) >= lost_after) {
            line.heard = None;
            let _ = reports.push(Report::Lost { leg: self.id });
        }
        if let Some(report) = line.control.poll(&self.outbound, &mut self.reception, rng, now) {
            let beside = SocketAddr::new(to.ip(), to.port().saturating_add(1));
            let to = line.remote_rtcp.filter(|rtcp| rtcp.ip() == to.ip()).unwrap_or(beside);
            wire.send(self.id, Channel::Rtcp, to, report.as_bytes());
        }
        self.tick_hearing(reports, now);
        let mut is_audible = stream.sending;
        if self.dialler.is_busy() {
            // The tick that ends a press belongs to it as well.
            is_audible &= !self.dialler.is_pressing();
            self.tick_dialler(&stream, to, wire, reports, now);
            is_audible &= !self.dialler.is_pressing();
        }
        // What the peer says is taken in any case, so that it does not grow old.
        let peer = self.backlog.take();
        let said = if is_audible {
            self.tick_players(&stream, peer, to, wire, now)
        } else {
            // A player that nobody can hear advances too: its end must come.
            self.players.skip();
            None
        };
        self.tick_recorders(said.as_ref(), wire, reports);
        while let Some(player) = self.players.take_done() {
            self.report_player(&player, PlayerEnd::Completed, reports);
        }
    }

    fn tick_dialler(
        &mut self,
        stream: &Stream,
        to: SocketAddr,
        wire: &mut impl Wire,
        reports: &mut Bounded<Report>,
        now: Tick,
    ) {
        match self.dialler.tick(&mut self.outbound, now) {
            Dialled::Nothing => {}
            Dialled::CommandDone => {
                let _ = reports.push(Report::DigitsSent { leg: self.id });
            }
            Dialled::Event(event, stamp) => {
                // A re-INVITE may have taken the event away, or put the leg on hold: time goes on.
                let Some(payload_type) = stream.event_payload_type.filter(|_| stream.sending)
                else {
                    return;
                };
                let mut packet = [0; HEADER + EVENT];
                packet[HEADER..].copy_from_slice(&event.print());
                self.send(&mut packet, payload_type, stamp, to, wire);
            }
        }
    }

    /// Whether the leg is sent frames of our own, and not its peer's packets.
    const fn is_told_in_ticks(&self) -> bool {
        self.recodes || !self.players.is_empty()
    }

    /// Sends a frame of what plays and of what the peer said, unless that passes at once; gives
    /// back what the leg is told now, as far as it is known.
    fn tick_players(
        &mut self,
        stream: &Stream,
        peer: Option<[i16; FRAME]>,
        to: SocketAddr,
        wire: &mut impl Wire,
        now: Tick,
    ) -> Option<[i16; FRAME]> {
        if !self.is_told_in_ticks() || (self.players.is_empty() && peer.is_none()) {
            return peer;
        }
        let line = self.line.as_mut()?;
        let is_wanted = !self.recorders.is_empty();
        let mut packet = [0; HEADER + 2 * FRAME];
        let packet = &mut packet[..HEADER + stream.codec.octets(FRAME)];
        let payload = &mut packet[HEADER..];
        let said = self.players.frame(&mut line.encoder, peer.as_ref(), is_wanted, payload);
        let stamp = self.outbound.begin(FRAME as u32, now);
        self.send(packet, stream.payload_type, stamp, to, wire);
        said
    }

    fn send(
        &mut self,
        packet: &mut [u8],
        payload_type: u8,
        stamp: Stamp,
        to: SocketAddr,
        wire: &mut impl Wire,
    ) {
        self.relay.cut();
        self.outbound.seal(packet, payload_type, stamp);
        wire.send(self.id, Channel::Rtp, to, packet);
    }

    fn report_player(&mut self, player: &Player, end: PlayerEnd, reports: &mut Bounded<Report>) {
        if self.players.is_empty() {
            self.backlog.clear();
        }
        let (leg, player, played) = (self.id, player.number(), player.played());
        let _ = reports.push(Report::PlayerDone { leg, player, played, end });
    }
}

impl Stream {
    /// The codec of a received payload type. Both static types are understood whatever was
    /// agreed: some peers send the other law of those they offered (RFC 3264 §5.1 lets them).
    fn codec_of(&self, payload_type: u8) -> Option<Codec> {
        if payload_type == self.payload_type {
            return Some(self.codec);
        }
        [Codec::Pcmu, Codec::Pcma].into_iter().find(|c| c.usual_payload_type() == payload_type)
    }
}
