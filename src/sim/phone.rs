//! A phone: one user agent and one media leg, which can hum a tone and remembers what it heard.
//!
//! It is made of the same endpoint and shard as the server. A simulated world moves it on
//! simulated time; `ringback demo` moves it on real sockets.

mod called;
mod hear;
mod register;
mod text;
mod wire;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Armed, Rng, Tick, Timers};
use crate::call::info;
use crate::media::{self, Channel, Codec, Command, Digits, LegId, Shard, Source, Stream, Tone};
use crate::sdp::{self, Direction, Encoding, Negotiated};
use crate::sim::{Packet, Payload};
use crate::sip::{
    self, Body, Cause, Credentials, DialogId, Endpoint, Event, Flow, Message, Method, Outgoing,
    Party, RequestId, Transport,
};
use called::Door;
pub use called::{Answering, Challenge};
use wire::PhoneWire;

/// Samples a phone remembers: ten minutes.
pub const HEARD_MAX: usize = 10 * 60 * 8000;
/// Events a phone remembers.
pub const EVENTS_MAX: usize = 10_000;
/// Four of these make a packet duration.
const PHASE: Duration = Duration::from_millis(5);
/// Seconds for which a phone wants to be registered unless told.
const EXPIRES: u32 = 600;
/// The phone's one media leg and the player that hums.
const LEG: LegId = LegId(0);
const HUM: u64 = 1;

/// What happened to a phone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PhoneEvent {
    /// The other side rings, or said something else before an answer.
    Provisional(u16),
    /// Both sides talk.
    Talking,
    /// The call is over.
    Ended(Cause),
    /// It was called, and said no at once, as this status.
    Refused(u16),
    /// What came of a REGISTER, as its final status.
    Registered(u16),
    /// What came of a text, as its final status.
    Texted(u16),
    /// A text came: the user of its From, and what it says.
    Text(String, String),
}

/// A phone with one line.
#[derive(Debug)]
pub struct Phone {
    name: String,
    /// The number it calls as, if that is not the user it has proven.
    number: Option<String>,
    sip: SocketAddr,
    audio: SocketAddr,
    endpoint: Endpoint,
    shard: Shard,
    answering: Answering,
    door: Option<Door>,
    is_soundless: bool,
    expires: u32,
    encodings: Vec<Encoding>,
    hum: Option<String>,
    call: Option<Call>,
    registration: Option<Registration>,
    /// Texts of its own that are not answered yet.
    texts: Vec<RequestId>,
    timers: Timers<Wake>,
    next_tick: Option<Tick>,
    phase: u8,
    packets: VecDeque<Packet>,
    events: VecDeque<(Tick, PhoneEvent)>,
    digits: String,
    info_digits: String,
    heard: Vec<i16>,
    next_timestamp: Option<u32>,
    rng: Rng,
}

#[derive(Debug)]
struct Call {
    dialog: DialogId,
    local: sdp::Local,
    agreed: Option<Negotiated>,
    offer: Option<Arc<[u8]>>,
    answer_timer: Option<Armed>,
    /// What the INVITE is answered with when the timer is due: 200, or why not.
    final_status: u16,
    /// Whether both sides have confirmed, which early media is not yet.
    is_confirmed: bool,
    ack: Ack,
}

impl Call {
    const fn new(dialog: DialogId, local: sdp::Local) -> Self {
        Self {
            dialog,
            local,
            agreed: None,
            offer: None,
            answer_timer: None,
            final_status: 200,
            is_confirmed: false,
            ack: Ack::Empty,
        }
    }
}

/// What the ACK of our INVITE has to say (RFC 3261 §13.2.1).
#[derive(Clone, Copy, Debug)]
enum Ack {
    /// Nothing: the INVITE had the offer.
    Empty,
    /// The answer to the offer that the 200 will bring.
    Awaited,
}

/// Where the phone is registered, or wants to be.
#[derive(Debug)]
struct Registration {
    server: SocketAddr,
    credentials: Credentials,
    refresh_timer: Option<Armed>,
}

#[derive(Clone, Copy, Debug)]
enum Wake {
    Refresh,
    Answer(DialogId),
}

impl Phone {
    /// A phone at this SIP address that receives audio at the other.
    pub fn new(name: &str, sip: SocketAddr, audio: SocketAddr, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = sip::Config {
            user_agent: format!("ringback-phone/{name}"),
            advertised: None,
            dialogs_max: 100,
            transactions_max: 100_000,
            timing: sip::Timing::RFC,
            serves: vec![Method::Message],
            session_expires: None,
        };
        let media = media::Config { legs_max: 1, ..media::Config::STANDARD };
        let mut shard = Shard::new(media, Rng::new(rng.next_u64()));
        shard.handle_command(Command::Open { leg: LEG }, Tick::ZERO);
        Self {
            name: name.to_owned(),
            number: None,
            sip,
            audio,
            endpoint: Endpoint::new(config, Rng::new(rng.next_u64())),
            shard,
            answering: Answering::After(Duration::from_secs(1)),
            door: None,
            is_soundless: false,
            expires: EXPIRES,
            encodings: vec![Encoding::Pcmu, Encoding::Pcma],
            hum: None,
            call: None,
            registration: None,
            texts: Vec::new(),
            timers: Timers::new(),
            next_tick: None,
            phase: 0,
            packets: VecDeque::new(),
            events: VecDeque::new(),
            digits: String::new(),
            info_digits: String::new(),
            heard: Vec::new(),
            next_timestamp: None,
            rng,
        }
    }

    /// Hums this frequency, in hertz, whenever it talks.
    #[must_use]
    pub fn humming(mut self, hertz: u32) -> Self {
        self.hum = Some(format!("{hertz}/1000"));
        self
    }

    /// Does this when it is called.
    #[must_use]
    pub const fn answering(mut self, answering: Answering) -> Self {
        self.answering = answering;
        self
    }

    /// Does this when it is called from now on.
    pub const fn set_answering(&mut self, answering: Answering) {
        self.answering = answering;
    }

    /// Challenges whoever calls it, as a trunk does.
    #[must_use]
    pub fn challenging(mut self, challenge: Challenge) -> Self {
        self.door = Some(Door::new(challenge, &mut self.rng));
        self
    }

    /// Sends and hears no sound; its keys are heard by a soundless server.
    #[must_use]
    pub const fn soundless(mut self) -> Self {
        self.is_soundless = true;
        self
    }

    /// Speaks only these codecs.
    #[must_use]
    pub fn speaking(mut self, encodings: &[Encoding]) -> Self {
        self.encodings = encodings.to_vec();
        self
    }

    /// Calls as this number, as the phones behind a trunk do.
    #[must_use]
    pub fn numbered(mut self, number: &str) -> Self {
        self.number = Some(number.to_owned());
        self
    }

    /// Its name, as the ladder shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its SIP address.
    pub const fn address(&self) -> SocketAddr {
        self.sip
    }

    /// What happened to it; no more than the last [`EVENTS_MAX`] things.
    pub const fn events(&self) -> &VecDeque<(Tick, PhoneEvent)> {
        &self.events
    }

    /// Takes the oldest of [`Self::events`].
    pub fn poll_event(&mut self) -> Option<(Tick, PhoneEvent)> {
        self.events.pop_front()
    }

    /// The digits that the other side pressed.
    pub fn digits(&self) -> &str {
        &self.digits
    }

    /// What it has heard since the call began, 8 kHz mono; silence where nothing came.
    pub fn heard(&self) -> &[i16] {
        &self.heard
    }

    /// Whether it is in a call that both sides have confirmed.
    pub fn is_talking(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.is_confirmed)
    }

    /// Whether it is in a call of any state.
    pub const fn is_in_call(&self) -> bool {
        self.call.is_some()
    }

    /// What its endpoint holds.
    pub fn gauges(&self) -> sip::Gauges {
        self.endpoint.gauges()
    }

    /// Calls a user at a server. A phone that is in a call does not.
    pub fn call(&mut self, user: &str, server: SocketAddr, now: Tick) {
        let local = self.local();
        let body = Body::sdp(sdp::offer(&local));
        self.invite(user, server, local, Some(body), now);
    }

    /// Calls as [`Self::call`] does and leaves the offer to the other side (RFC 3261 §13.2.1).
    pub fn call_without_offer(&mut self, user: &str, server: SocketAddr, now: Tick) {
        let local = self.local();
        self.invite(user, server, local, None, now);
    }

    /// Puts the other side on hold: from now on it listens only (RFC 3264 §8.4).
    pub fn hold(&mut self, now: Tick) {
        self.turn(Direction::SendOnly, now);
    }

    /// Ends the hold.
    pub fn resume(&mut self, now: Tick) {
        self.turn(Direction::SendRecv, now);
    }

    /// The digits that came by INFO.
    pub fn info_digits(&self) -> &str {
        &self.info_digits
    }

    /// Presses a digit by INFO.
    pub fn press_by_info(&mut self, digit: char, now: Tick) {
        if let Some(call) = &self.call {
            let body = info::body(digit, Duration::from_millis(100));
            self.endpoint.info(call.dialog, body, now);
        }
    }

    /// Presses digits, 100 ms each with as much between.
    pub fn press(&mut self, digits: &str, now: Tick) {
        if self.is_soundless {
            let agreed = self.call.as_ref().and_then(|call| call.agreed);
            let to = agreed.and_then(|agreed| agreed.remote);
            let packet =
                |to| Packet { from: self.audio, to, payload: Payload::Keys(digits.into()) };
            return self.packets.extend(to.map(packet));
        }
        if let Some(digits) = Digits::parse(digits) {
            let (duration, gap) = (Duration::from_millis(100), Duration::from_millis(100));
            let command = Command::SendDigits { leg: LEG, digits, duration, gap };
            self.shard.handle_command(command, now);
        }
        self.drain(now);
    }

    /// Hangs up, or gives up calling.
    pub fn hangup(&mut self, now: Tick) {
        if let Some(call) = &self.call {
            self.endpoint.hangup(call.dialog, None, now);
        }
        self.drain(now);
    }

    /// A packet has arrived.
    pub fn handle_packet(&mut self, packet: Packet, now: Tick) {
        match packet.payload {
            Payload::Sip(bytes) => {
                let flow = Flow {
                    transport: Transport::Udp,
                    local: self.sip,
                    remote: packet.from,
                    connection: 0,
                };
                self.endpoint.handle_message(flow, &bytes, now);
            }
            Payload::Keys(keys) => self.digits.push_str(&keys),
            Payload::Media(bytes) => {
                let is_rtp = packet.to.port() == self.audio.port();
                let channel = if is_rtp { Channel::Rtp } else { Channel::Rtcp };
                if is_rtp {
                    self.listen(&bytes);
                }
                let mut wire = PhoneWire { audio: self.audio, packets: &mut self.packets };
                self.shard.handle_packet(LEG, channel, packet.from, &bytes, &mut wire, now);
            }
        }
        self.drain(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Tick) {
        if let Some(due) = self.next_tick.filter(|due| *due <= now) {
            let mut wire = PhoneWire { audio: self.audio, packets: &mut self.packets };
            self.shard.tick(self.phase, &mut wire, now);
            self.phase = (self.phase + 1) % 4;
            // From when it was due: a world that looks late must not slow the phone's clock.
            self.next_tick = self.call.is_some().then(|| due + PHASE);
        }
        self.endpoint.handle_timeout(now);
        while let Some(wake) = self.timers.take_due(now) {
            match wake {
                Wake::Answer(dialog) => self.answer(dialog, now),
                Wake::Refresh => self.send_register(self.expires, now),
            }
        }
        self.drain(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Tick> {
        let due = [self.next_tick, self.endpoint.poll_timeout(), self.timers.next()];
        due.into_iter().flatten().min()
    }

    /// The next packet to send.
    pub fn poll_packet(&mut self) -> Option<Packet> {
        self.packets.pop_front()
    }

    fn invite(
        &mut self,
        user: &str,
        server: SocketAddr,
        local: sdp::Local,
        body: Option<Body>,
        now: Tick,
    ) {
        if self.call.is_some() {
            return;
        }
        let ack = if body.is_some() { Ack::Empty } else { Ack::Awaited };
        let outgoing = Outgoing {
            flow: self.flow_to(server),
            request_uri: format!("sip:{user}@{server}"),
            from: Party {
                user: self.number.clone().unwrap_or_else(|| self.party(self.sip).user),
                ..self.party(self.sip)
            },
            to: Party { display: String::new(), user: user.to_owned(), host: server.to_string() },
            headers: Vec::new(),
            body,
            credentials: self.registration.as_ref().map(|known| known.credentials.clone()),
            derived: None,
            max_forwards: sip::MAX_FORWARDS,
        };
        if let Ok(dialog) = self.endpoint.invite(outgoing, now) {
            self.begin(Call { ack, ..Call::new(dialog, local) });
        }
        self.drain(now);
    }

    fn turn(&mut self, direction: Direction, now: Tick) {
        if let Some(call) = self.call.as_mut().filter(|call| call.is_confirmed) {
            call.local.direction = direction;
        }
        self.offer_again(now);
        self.drain(now);
    }

    fn offer_again(&mut self, now: Tick) {
        if let Some(call) = self.call.as_mut().filter(|call| call.is_confirmed) {
            call.local.version += 1;
            let body = Body::sdp(sdp::offer(&call.local));
            self.endpoint.offer(call.dialog, Some(body), now);
        }
    }

    fn drain(&mut self, now: Tick) {
        while let Some(event) = self.endpoint.poll_event() {
            self.on_event(event, now);
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.packets.push_back(Packet {
                from: self.sip,
                to: transmit.flow.remote,
                payload: Payload::Sip(transmit.bytes),
            });
        }
        while let Some(report) = self.shard.poll_report() {
            if let media::Report::Digit { digit, .. } = report {
                self.digits.push(digit);
            }
        }
        if self.call.is_some() && self.next_tick.is_none() && !self.is_soundless {
            self.next_tick = Some(now + PHASE);
        }
    }

    fn on_event(&mut self, event: Event, now: Tick) {
        match event {
            Event::Invite { dialog, request, flow } => {
                self.on_called(dialog, &request, flow, now);
            }
            Event::Provisional { status, message, .. } => {
                self.tell(PhoneEvent::Provisional(status), now);
                self.on_early(&message, now);
            }
            Event::Answered { message, .. }
            | Event::Acknowledged { message, .. }
            | Event::OfferAnswered { message: Some(message), .. } => {
                self.on_answered(&message, now);
            }
            Event::Offer { dialog, message } => self.on_offer(dialog, &message, now),
            Event::RefreshDue { .. } => self.offer_again(now),
            Event::Ended { dialog, cause, .. } => self.on_ended(dialog, cause, now),
            Event::Info { message, .. } => self.info_digits.extend(info::digit(&message)),
            Event::Request { request, message, .. } => self.on_request(request, &message, now),
            Event::Response { request, status, message, .. } => {
                if self.texts.contains(&request) {
                    self.texts.retain(|text| *text != request);
                    return self.tell(PhoneEvent::Texted(status), now);
                }
                self.on_registered(status, message.as_deref(), now);
            }
            Event::OfferAnswered { message: None, .. }
            | Event::Closed { .. }
            | Event::BadInput { .. }
            | Event::ClosedOut { .. } => {}
        }
    }

    /// From this phone to there, over UDP.
    const fn flow_to(&self, remote: SocketAddr) -> Flow {
        Flow { transport: Transport::Udp, local: self.sip, remote, connection: 0 }
    }

    /// Who the phone says it is: the user that it proves, or its name.
    fn party(&self, host: SocketAddr) -> Party {
        let proven = self.registration.as_ref().map(|known| &known.credentials.username);
        let user = proven.unwrap_or(&self.name).clone();
        Party { display: String::new(), user, host: host.to_string() }
    }

    fn on_offer(&mut self, dialog: DialogId, message: &[u8], now: Tick) {
        let Some(call) = &mut self.call else { return };
        let Ok(message) = Message::parse(message) else { return };
        call.local.version += 1;
        match sdp::answer(message.body, &call.local) {
            Ok((body, agreed)) => {
                self.endpoint.answer_offer(dialog, Ok(Some(Body::sdp(body))), now);
                self.agree(Some(agreed), true, now);
            }
            Err(unacceptable) => {
                self.endpoint.answer_offer(dialog, Err(unacceptable.status()), now);
            }
        }
    }

    fn on_ended(&mut self, dialog: DialogId, cause: Cause, now: Tick) {
        let Some(mut call) = self.call.take_if(|call| call.dialog == dialog) else { return };
        self.timers.clear_slot(&mut call.answer_timer);
        self.shard.handle_command(Command::Close { leg: LEG }, now);
        self.shard.handle_command(Command::Open { leg: LEG }, now);
        self.tell(PhoneEvent::Ended(cause), now);
    }

    fn agree(&mut self, agreed: Option<Negotiated>, is_final: bool, now: Tick) {
        let (Some(call), Some(agreed)) = (&mut self.call, agreed) else { return };
        let is_first = call.agreed.replace(agreed).is_none();
        let is_news = is_final && !call.is_confirmed;
        call.is_confirmed |= is_final;
        let Some(remote) = agreed.remote else { return };
        let stream = Stream {
            remote,
            codec: codec(agreed.encoding),
            payload_type: agreed.payload_type,
            event_payload_type: agreed.event_payload_type,
            sending: agreed.direction.sends(),
            receiving: agreed.direction.receives(),
        };
        self.shard.handle_command(Command::Configure { leg: LEG, stream }, now);
        if is_news {
            self.tell(PhoneEvent::Talking, now);
        }
        if !is_first {
            return;
        }
        if let Some(tone) = self.hum.as_deref().and_then(|hum| Tone::parse(hum).ok()) {
            let source = Source::Tone(tone);
            let play = Command::Play { leg: LEG, player: HUM, source, repeat: true, ducking: 1.0 };
            self.shard.handle_command(play, now);
        }
    }

    fn tell(&mut self, event: PhoneEvent, now: Tick) {
        if self.events.len() == EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back((now, event));
    }

    fn begin(&mut self, call: Call) {
        self.call = Some(call);
        self.heard.clear();
        self.next_timestamp = None;
        self.digits.clear();
    }

    fn local(&mut self) -> sdp::Local {
        sdp::Local {
            address: self.audio,
            encodings: self.encodings.clone(),
            events: true,
            direction: Direction::SendRecv,
            session_id: self.rng.next_u64() >> 1,
            version: 1,
        }
    }
}

const fn codec(encoding: Encoding) -> Codec {
    match encoding {
        Encoding::Pcmu => Codec::Pcmu,
        Encoding::Pcma => Codec::Pcma,
        Encoding::G722 => Codec::G722,
        Encoding::L16 => Codec::L16,
    }
}
