//! The switch: every input of the signalling thread comes in here, and is routed to its part.
//!
//! It owns the SIP endpoint, every leg, and what runs of flows wait for. The owner hands in one
//! input, then takes every output, then hands in the next (contract sentence 2).

mod activate;
mod ask;
mod attempt;
mod bridge;
mod calls;
mod control;
mod destination;
mod dial;
mod dial_wait;
mod fact;
mod far_end;
mod gauges;
mod guard;
mod incoming;
mod inquiry;
mod keys;
mod life;
mod media_wait;
mod play;
mod promise;
mod queue;
mod recent;
mod record;
mod recording;
mod register;
mod remote;
mod signals;
mod source;
mod text;
mod toll;
mod tone;
mod trunk;
mod wait;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;

use crate::base::{BoxMap, Rng, Slab, Tick, Timers};
use crate::call::dial::{Dial, DialRef};
use crate::call::guard::{Blocked, QueueSettings};
use crate::call::leg::{EndReason, Leg, LegRef};
use crate::call::record::{CallKey, Heading, Record};
use crate::call::site::{self, Site};
use crate::call::trigger::{ExtensionSettings, Trigger, TrunkSettings};
use crate::dispatch::EntryId;
use crate::flow::{self, Graph, RunId};
use crate::media::{self, Country, Ports, Report, Source};
use crate::promise::{self as promise_book, PromiseId};
use crate::sdp::Encoding;
use crate::sip::{self, DialogId, Endpoint};

pub use activate::{NotReloaded, Reloaded, WORKFLOWS_MAX};
pub use ask::AskRef;
pub use fact::Fact;
pub use gauges::Gauges;
pub use promise::PromiseCounts;
pub use queue::{
    NotPromised, PromiseMade, PromiseRequest, QueueCounts, QueueFigures, Withdrawal, promise_value,
    queue_key,
};
pub use record::{Keep, Keeping, Kept};
pub use remote::Remote;
pub use source::Origin;

use ask::Ask;
use attempt::Planned;
use calls::Calls;
use dial_wait::DialWait;
use far_end::FarEnd;
use guard::Suspect;
use inquiry::Inquiries;
use media_wait::{MediaWait, Over};
use play::Player;
use promise::Promises;
use queue::Queues;
use recent::Recent;
use record::Recording;
use recording::RecordRequests;
use source::Sounds;
use text::Texts;
use toll::Toll;
use trunk::Trunks;
use wait::Wait;

/// What the switch is told at the start.
#[derive(Clone, Debug)]
pub struct Config {
    /// The SIP endpoint's own settings.
    pub sip: sip::Config,
    /// The address that phones send their audio to.
    pub media_address: IpAddr,
    /// Ports for audio; a leg takes an even one and the next.
    pub media_ports: RangeInclusive<u16>,
    /// The port of SIP, which no audio gets; 0 where there is none.
    pub sip_port: u16,
    /// Legs at a time; the next caller is told 503.
    pub legs_max: usize,
    /// Milliseconds from the Unix epoch to [`Tick::ZERO`].
    pub epoch_ms: u64,
    /// What flows do not say about their trunks, by public name.
    pub trunks: BTreeMap<String, TrunkSettings>,
    /// Where extensions can be reached that do not register, by number.
    pub extensions: BTreeMap<String, ExtensionSettings>,
    /// Codecs of extensions groups, instead of those that flows name, by public name.
    pub extension_encodings: BTreeMap<String, Vec<Encoding>>,
    /// The realm of challenges; a trigger's or `ringback` when not given.
    pub realm: Option<String>,
    /// What challenges offer, and the secret that seals their nonces.
    pub digest: sip::DigestConfig,
    /// What flows do not say about their queues, by public name.
    pub queues: BTreeMap<String, QueueSettings>,
    /// Of queues that are not among them.
    pub queue_standard: QueueSettings,
    /// Whose tones `media.playTone` plays.
    pub tones: Country,
    /// Numbers that are never dialled by a trunk.
    pub blocked: Blocked,
    /// Beginnings of numbers that only some trunks dial.
    pub premium: Vec<String>,
    /// Where SIP is listened to: calls to peers that have not spoken first leave from there.
    pub sip_local: SocketAddr,
}

/// What the switch asks of its owner.
#[derive(Debug)]
pub enum Output {
    /// Send a SIP message.
    Transmit(sip::Transmit),
    /// Open the sockets of a media leg at this port and the next, and the leg itself.
    OpenMedia {
        /// The leg.
        leg: media::LegId,
        /// Its RTP port.
        port: u16,
    },
    /// Hand a command to the media thread; `Close` also closes the sockets.
    Media(media::Command),
    /// Hand an input to the flow worker.
    Flow(flow::Input),
    /// Load this sound and call [`Switch::handle_sound`].
    Load(Origin),
    /// Keep what is recorded, or bring it to its end.
    Keep(Keep),
    /// Write this down under this number, and call [`Switch::handle_durable`] when it is safe.
    Record(u64, promise_book::Record),
    /// Keep this record of a leg or call that is over.
    CallRecord(Record),
    /// Something that an operator wants to know.
    Fact(Fact),
}

/// Why the switch wakes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    /// Nothing has retained the leg for its time-to-live, or it ended that long ago.
    Free(LegRef),
    /// A wait has reached its deadline.
    Wait(AskRef),
    /// Nothing has retained the dial for its time-to-live, or it ended that long ago.
    DialFree(DialRef),
    /// The next step of a sequence of attempts.
    DialStep(DialRef),
    /// Nobody asks any more how a playback or recording ended.
    MediaForget(u64),
    /// The next digit by INFO is due.
    Info(LegRef),
    /// A promise may have been left without a place.
    Place(PromiseId),
    /// No flow has said who sent a request.
    Inquiry(u64),
    /// No flow has said whether to record a leg.
    RecordRequest(u64),
}

/// What the switch knows of a run.
#[derive(Clone, Debug)]
struct RunCard {
    workflow: usize,
    /// The flow that it runs, which may have been replaced since.
    graph: Arc<Graph>,
    /// The queue entry that it was started for.
    entry: Option<EntryId>,
    /// The call that it belongs to, and which of its runs it is.
    call: CallKey,
    number: u64,
}

/// What a run waits for.
#[derive(Debug)]
enum Pending {
    /// `call.wait`.
    Wait(Wait),
    /// `dial.wait`.
    DialWait(DialWait),
    /// Blocking playback.
    Play { leg: LegRef, player: u64 },
    /// A sound file that is being loaded.
    Clip { leg: LegRef },
    /// `media.wait`.
    MediaWait(MediaWait),
    /// A recording that runs, or is being brought to its end.
    Record { leg: LegRef, recording: u64, digits_interrupt: bool },
    /// A recording of the whole leg, which retains nothing.
    CallRecording { leg: LegRef, recording: u64 },
    /// A promise that is being written down.
    Promise { leg: LegRef, promise: PromiseId },
    /// An attempt that is being written down.
    Attempt(Box<Planned>),
}

/// The switch.
#[derive(Debug)]
pub struct Switch {
    config: Config,
    endpoint: Endpoint,
    legs: Slab<Box<Leg>>,
    dials: Slab<Dial>,
    queues: Queues,
    by_dialog: HashMap<DialogId, LegRef>,
    /// Live legs of extensions: how many, by number and workflow.
    busy: BTreeMap<String, BTreeMap<usize, u32>>,
    /// Ended legs whose telephones do not know it yet.
    leaving: HashMap<DialogId, FarEnd>,
    /// Callers who are on the line by a trunk: how many legs, by number.
    callers: BTreeMap<String, u32>,
    /// Legs that call back, by number: while one is up, no other promise to it is kept.
    called_back: BTreeMap<String, u32>,
    pending: BoxMap<AskRef, (Ask, Pending)>,
    players: BoxMap<u64, Player>,
    recordings: BTreeMap<u64, Recording>,
    /// How playbacks and recordings ended, for a while.
    over: BoxMap<u64, Over>,
    /// Who waits for a playback or recording.
    media_waits: BTreeMap<u64, Vec<AskRef>>,
    /// Players and recordings, which are numbered alike.
    players_begun: u64,
    timers: Timers<Wake>,
    ports: Ports,
    sounds: Sounds,
    triggers: Vec<Trigger>,
    site: Site,
    /// Names of the workflows that there have been, by their number.
    workflows: Vec<Arc<str>>,
    /// Which version of each was active last.
    versions: Vec<Arc<str>>,
    /// The active ones.
    active: Vec<Arc<Graph>>,
    runs: BTreeMap<RunId, RunCard>,
    calls: Calls,
    promises: Promises,
    trunks: Trunks,
    texts: Texts,
    toll: Toll,
    inquiries: Inquiries,
    record_requests: RecordRequests,
    runs_begun: u64,
    outputs: VecDeque<Output>,
    is_draining: bool,
    accepted: u64,
    refused: u64,
    panics: u64,
    suspect: Suspect,
    recent: Recent,
    #[cfg(test)]
    faults: Vec<&'static str>,
    rng: Rng,
}

impl Switch {
    /// A switch without flows; randomness for tags, branches and sessions comes from `rng`.
    pub fn new(config: Config, mut rng: Rng) -> Self {
        let endpoint = Endpoint::new(config.sip.clone(), Rng::new(rng.next_u64()));
        let site = Site::new(site_settings(&config), config.digest.clone());
        Self {
            endpoint,
            legs: Slab::with_max(config.legs_max),
            dials: Slab::with_max(config.legs_max),
            by_dialog: HashMap::new(),
            busy: BTreeMap::new(),
            leaving: HashMap::new(),
            callers: BTreeMap::new(),
            called_back: BTreeMap::new(),
            pending: BoxMap::new(),
            players: BoxMap::new(),
            recordings: BTreeMap::new(),
            over: BoxMap::new(),
            media_waits: BTreeMap::new(),
            players_begun: 0,
            timers: Timers::new(),
            ports: Ports::new(config.media_ports.clone(), config.sip_port),
            sounds: Sounds::default(),
            triggers: Vec::new(),
            site,
            workflows: Vec::new(),
            versions: Vec::new(),
            active: Vec::new(),
            runs: BTreeMap::new(),
            calls: Calls::default(),
            promises: Promises::new([rng.next_u64(), rng.next_u64()], config.epoch_ms),
            trunks: Trunks::default(),
            texts: Texts::default(),
            toll: Toll::default(),
            inquiries: Inquiries::default(),
            record_requests: RecordRequests::default(),
            runs_begun: 0,
            outputs: VecDeque::new(),
            is_draining: false,
            accepted: 0,
            refused: 0,
            panics: 0,
            suspect: Suspect::Nobody,
            recent: Recent::default(),
            #[cfg(test)]
            faults: Vec::new(),
            // Its own generator: session ids are seen by everybody and must not lead back to the
            // secret of the challenges.
            rng: Rng::new(rng.next_u64()),
            queues: Queues::new(config.epoch_ms.saturating_mul(1000), Rng::new(rng.next_u64())),
            config,
        }
    }

    /// Methods that it serves on top of its endpoint's, for [`Config::sip`].
    pub fn serves() -> Vec<sip::Method> {
        vec![sip::Method::Register, sip::Method::Message]
    }

    /// Active triggers, in the order in which they were added.
    pub fn triggers(&self) -> &[Trigger] {
        &self.triggers
    }

    /// A whole SIP message has arrived.
    pub fn handle_message(&mut self, flow: sip::Flow, bytes: &[u8], now: Tick) {
        self.suspect = Suspect::Message;
        self.remember(Heading::In, flow, bytes);
        self.endpoint.handle_message(flow, bytes, now);
        self.drain_endpoint(now);
    }

    /// A connection is gone.
    pub fn handle_flow_closed(&mut self, connection: u64, now: Tick) {
        self.site.handle_flow_closed(connection);
        self.drain_site(now);
        self.on_trunk_flow_closed(connection, now);
        self.endpoint.handle_flow_closed(connection, now);
        self.drain_endpoint(now);
    }

    /// The media thread reports.
    pub fn handle_media(&mut self, report: Report, now: Tick) {
        self.suspect = Suspect::Leg(LegRef::from_u64(report.leg().0));
        match report {
            Report::Digit { leg, digit, .. } => {
                let leg = LegRef::from_u64(leg.0);
                self.on_digit(leg, digit, self.came(leg), now);
            }
            Report::PlayerDone { player, end, .. } => self.on_player_done(player, end, now),
            Report::Refused { leg, why } => {
                let leg = LegRef::from_u64(leg.0);
                self.tell(Fact::MediaRefused { leg, why: why.to_string() });
            }
            Report::Watched { meter, .. } => self.on_watched(meter, now),
            Report::Panicked { leg, why } => {
                self.on_audio_panicked(LegRef::from_u64(leg.0), why, now);
            }
            Report::RecorderDone { recorder, end, .. } => {
                self.on_recorder_done(recorder, end, now);
            }
            Report::Closed { leg, statistics } => {
                if let Some(leg) = self.legs.get_mut(LegRef::from_u64(leg.0)) {
                    leg.statistics = Some(Box::new(statistics));
                }
            }
            Report::DigitsSent { .. } | Report::Lost { .. } => {}
        }
        self.drain_endpoint(now);
    }

    /// The sockets of a leg could not be opened: a call without sound is none.
    pub fn handle_no_audio(&mut self, leg: media::LegId, why: String, now: Tick) {
        let leg = LegRef::from_u64(leg.0);
        self.tell(Fact::MediaRefused { leg, why });
        self.refuse_leg(leg, 503, EndReason::NoAudio, now);
        self.drain_endpoint(now);
    }

    /// A flow worker speaks.
    pub fn handle_flow(&mut self, output: flow::Output, now: Tick) {
        match output {
            flow::Output::Ask {
                run, ask, workflow, name, parameters, credentials, item, ..
            } => {
                let key = AskRef { run, ask };
                let ask = Ask { key, workflow, node: name, parameters, credentials, item };
                self.suspect = Suspect::Run(run, self.leg_of(&ask).ok());
                self.perform(ask, now);
            }
            flow::Output::Visited { run, visited } => self.on_visited(run, &visited, now),
            flow::Output::Paused { .. } => {}
            flow::Output::Withdraw { run, ask } => {
                self.suspect = Suspect::Ask(AskRef { run, ask });
                self.withdraw(AskRef { run, ask }, now);
            }
            flow::Output::Finished { run, outcome, .. } => {
                self.suspect = Suspect::Run(run, None);
                self.on_finished(run, &outcome, now);
            }
        }
        self.drain_endpoint(now);
    }

    /// A sound that [`Output::Load`] asked for is there, or is not; also before any call.
    pub fn handle_sound(&mut self, origin: &Origin, sound: Result<Source, String>, now: Tick) {
        self.on_sound(origin, sound, now);
        self.drain_endpoint(now);
    }

    /// A recording that [`Output::Keep`] began is where it belongs, or could not be kept.
    pub fn handle_kept(&mut self, recording: u64, kept: Result<Kept, String>, now: Tick) {
        self.on_kept(recording, kept, now);
        self.drain_endpoint(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Tick) {
        self.site.handle_timeout(now);
        self.drain_site(now);
        self.on_trunk_timeout(now);
        self.suspect = Suspect::SipTimer;
        self.endpoint.handle_timeout(now);
        self.drain_endpoint(now);
        while let Some(wake) = self.timers.take_due(now) {
            self.suspect = Suspect::of_wake(wake);
            match wake {
                Wake::Free(leg) => self.on_free(leg, now),
                Wake::Wait(key) => self.on_wait_expired(key, now),
                Wake::DialFree(dial) => self.on_dial_free(dial, now),
                Wake::DialStep(dial) => self.on_dial_step(dial, now),
                Wake::MediaForget(number) => self.forget_media(number),
                Wake::Info(leg) => self.send_info_digit(leg, now),
                Wake::Place(promise) => self.on_place_wait(promise, now),
                Wake::Inquiry(id) => self.on_inquiry_expired(id, now),
                Wake::RecordRequest(id) => self.on_record_request_over(id),
            }
            self.drain_endpoint(now);
        }
        self.suspect = Suspect::Nobody;
        if self.queues.poll_timeout().is_some_and(|due| due <= now) {
            self.on_queue_timeout(now);
            self.drain_endpoint(now);
        }
        if self.promises.poll_timeout().is_some_and(|due| due <= now) {
            self.on_promise_timeout(now);
            self.drain_endpoint(now);
        }
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Tick> {
        let due = [
            self.endpoint.poll_timeout(),
            self.timers.next(),
            self.site.poll_timeout(),
            self.trunks.poll_timeout(),
            self.queues.poll_timeout(),
            self.promises.poll_timeout(),
        ];
        due.into_iter().flatten().min()
    }

    /// The next thing that the owner has to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        // What SIP says goes first: a 200 leaves before the prompt that it announces.
        match self.endpoint.poll_transmit() {
            Some(transmit) => {
                self.remember(Heading::Out, transmit.flow, &transmit.bytes);
                Some(Output::Transmit(transmit))
            }
            None => self.outputs.pop_front(),
        }
    }

    /// Takes no new calls from now on, and takes back what is registered at trunks; the calls that
    /// are there go on.
    pub fn drain(&mut self) {
        self.is_draining = true;
        self.leave_trunks();
    }

    /// Ends every leg now.
    pub fn hangup_all(&mut self, now: Tick) {
        let live = self.legs.iter().filter(|(_, leg)| leg.end().is_none());
        for leg in live.map(|(id, _)| id).collect::<Vec<_>>() {
            self.hangup_leg(leg, EndReason::LocalHangup, now);
        }
        self.drain_endpoint(now);
    }

    /// Live legs: those that have not ended.
    pub fn live_legs(&self) -> usize {
        self.legs.iter().filter(|(_, leg)| leg.end().is_none()).count()
    }

    /// What is in use.
    pub fn gauges(&self) -> Gauges {
        Gauges {
            legs: self.legs.len(),
            asks: self.pending.len(),
            players: self.players.len(),
            recordings: self.recordings.len(),
            dials: self.dials.len(),
            entries: self.queues.len(),
            promises: self.promises.len(),
            is_journal_failed: self.promises.book.is_journal_failed(),
            timers: self.timers.len(),
            ports: self.ports.taken(),
            channels: self.toll.live(),
            inquiries: self.inquiries.len(),
            record_requests: self.record_requests.len(),
            runs: self.runs.len(),
            calls: self.calls.len(),
            registrations: self.site.registrations(),
            trunks: self.trunks.registered(),
            sip: self.endpoint.gauges(),
            calls_accepted: self.accepted,
            calls_refused: self.refused,
            panics: self.panics,
        }
    }

    fn on_finished(&mut self, run: RunId, outcome: &flow::Finished, now: Tick) {
        let Some(RunCard { graph, entry, call, .. }) = self.runs.remove(&run) else { return };
        let fault = match outcome {
            flow::Finished::Failed { fault, .. } => Some(&*fault.code),
            flow::Finished::Success | flow::Finished::Cancelled => None,
        };
        self.end_run_of_call(call, fault);
        if let Some(entry) = entry {
            self.on_entry_run_finished(entry, now);
        }
        if let flow::Finished::Failed { node, fault } = outcome {
            self.panics += u64::from(fault.code == flow::PANICKED);
            let flow = graph.name().to_owned();
            let error = format!("node {}: {fault}", node.as_deref().unwrap_or("?"));
            self.tell(Fact::RunFailed { flow, error });
        }
    }

    fn tell(&mut self, fact: Fact) {
        self.outputs.push_back(Output::Fact(fact));
    }
}

fn site_settings(config: &Config) -> site::Settings {
    site::Settings {
        realm: config.realm.clone(),
        host: config.sip.advertised.clone().unwrap_or_default(),
        local: Some(config.sip_local),
        trunks: config.trunks.clone(),
        extensions: config.extensions.clone(),
    }
}
