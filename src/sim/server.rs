//! The server of a simulated world: switch, flow runner and media shard stepped inline.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Rng, Tick};
use crate::call::guard::DENIED;
use crate::call::record::Record as CallRecord;
use crate::call::{
    Blocked, Config, Fact, Gauges, NotPromised, NotReloaded, Origin, Output, PromiseMade,
    PromiseRequest, QueueSettings, Reloaded, Switch, Withdrawal,
};
use crate::flow::{self, Graph, Item, Runner};
use crate::media::{self, Channel, Clip, Command, LegId, Shard, Source};
use crate::promise::{Journal, Record, Secret};
use crate::sim::audio::{Audio, PortWire};
use crate::sim::own_runs::OwnRuns;
use crate::sim::silence::{Silence, Sound};
use crate::sim::sounds::Sounds;
use crate::sim::tapes::Tapes;
use crate::sim::{Packet, Payload};
use crate::sip::digest::Hash;
use crate::sip::{DigestConfig, Flow, Transport};

/// Four of these make a packet duration: each serves a quarter of the legs.
const PHASE: Duration = Duration::from_millis(5);

/// Of every simulated installation.
const SECRET: Secret = Secret([1, 2]);

/// Facts that a server remembers.
pub const FACTS_MAX: usize = 100_000;

/// The server as one machine: the same rooms that `shell` spreads over threads.
#[derive(Debug)]
pub struct Server {
    name: String,
    address: SocketAddr,
    switch: Switch,
    runner: Runner,
    own_runs: OwnRuns,
    audio: Audio,
    sounds: Sounds,
    /// Legs by RTP port; the port above is their RTCP.
    by_port: HashMap<u16, LegId>,
    /// Ports that another program has.
    taken_ports: BTreeSet<u16>,
    /// RTP ports by leg.
    ports: HashMap<LegId, u16>,
    next_tick: Option<Tick>,
    phase: u8,
    /// How long a word takes from the switch to the flows.
    flow_delay: Duration,
    to_flows: VecDeque<(Tick, flow::Input)>,
    packets: VecDeque<Packet>,
    tapes: Tapes,
    /// What a disk would hold.
    journal: Vec<(u64, Record)>,
    /// When each of them was written.
    written: Vec<Tick>,
    facts: Vec<(Tick, Fact)>,
    call_records: Vec<CallRecord>,
    /// How long a commit takes.
    disk_delay: Duration,
    /// Commits under way, by the number of their record.
    to_disk: VecDeque<(Tick, u64)>,
    /// Whether a bug ends a call, as in a server that runs, and not the story.
    bears_bugs: bool,
}

/// A configuration for simulated worlds: phones on other loopback addresses are let in.
pub fn standard_config(address: SocketAddr) -> Config {
    Config {
        sip: crate::sip::Config {
            user_agent: "ringback".to_owned(),
            advertised: None,
            dialogs_max: 10_000,
            transactions_max: 40_000,
            timing: crate::sip::Timing::RFC,
            serves: Switch::serves(),
            session_expires: None,
        },
        media_address: address.ip(),
        media_ports: 20_000..=29_999,
        sip_port: address.port(),
        legs_max: 4000,
        epoch_ms: 0,
        trunks: BTreeMap::new(),
        extensions: BTreeMap::new(),
        queues: BTreeMap::new(),
        queue_standard: QueueSettings::default(),
        tones: media::Country::Us,
        blocked: Blocked::default(),
        premium: DENIED.map(str::to_owned).to_vec(),
        extension_encodings: BTreeMap::new(),
        realm: None,
        digest: DigestConfig {
            secret: crate::sip::Secret([1; 32]),
            hashes: vec![Hash::Md5, Hash::Sha256],
            offers_integrity: false,
        },
        sip_local: address,
    }
}

impl Server {
    /// The same with a deadline for each evaluation of a script; without one, they are limited by steps
    /// and memory only.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Rc<dyn flow::Deadline>) -> Self {
        self.runner = self.runner.with_deadline(deadline);
        self
    }

    /// A server at this address that runs these flows, and knows these sound files by name.
    pub fn new(
        address: SocketAddr,
        config: Config,
        flows: Vec<Graph>,
        clips: BTreeMap<String, Arc<Clip>>,
        seed: u64,
    ) -> Self {
        let mut rng = Rng::new(seed);
        let mut switch = Switch::new(config, Rng::new(rng.next_u64()));
        let own_runs = OwnRuns::new(&flows);
        for graph in flows {
            switch.add_workflow(graph);
        }
        let restored = switch.restore(Journal::empty(SECRET), Tick::ZERO);
        restored.expect("an empty journal is in order");
        let runner =
            Runner::new(flow::Config { runs_max: 20_000, epoch_ms: 0 }, Rng::new(rng.next_u64()));
        let runner = runner.traced();
        Self {
            name: "ringback".to_owned(),
            address,
            switch,
            runner,
            own_runs,
            audio: Audio::Heard(Box::new(Shard::new(media::Config::STANDARD, rng))),
            sounds: Sounds::new(clips),
            by_port: HashMap::new(),
            taken_ports: BTreeSet::new(),
            ports: HashMap::new(),
            next_tick: None,
            phase: 0,
            flow_delay: Duration::ZERO,
            to_flows: VecDeque::new(),
            packets: VecDeque::new(),
            tapes: Tapes::default(),
            journal: Vec::new(),
            written: Vec::new(),
            facts: Vec::new(),
            call_records: Vec::new(),
            disk_delay: Duration::ZERO,
            to_disk: VecDeque::new(),
            bears_bugs: false,
        }
    }

    /// Sends and hears no sound: prompts end when they would, keys are heard at once. For worlds
    /// of soundless phones that play months of calls.
    #[must_use]
    pub fn soundless(mut self) -> Self {
        self.audio = Audio::Unheard(Silence::default());
        self
    }

    /// Lets every word from the switch to the flows take this long, as between two busy threads.
    #[must_use]
    pub const fn with_flow_delay(mut self, delay: Duration) -> Self {
        self.flow_delay = delay;
        self
    }

    /// The server behind this URL takes so long for its sound, or to say that it has none.
    #[must_use]
    pub fn with_slow_sound(mut self, url: &str, delay: Duration) -> Self {
        self.sounds.delay(url, delay);
        self
    }

    /// Another program has this audio port and the next.
    #[must_use]
    pub fn with_taken_port(mut self, port: u16) -> Self {
        self.taken_ports.insert(port);
        self
    }

    /// The same under another name, for worlds with several.
    #[must_use]
    pub fn named(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// What the ladder calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// [`Self::with_flow_delay`], from now on.
    pub const fn set_flow_delay(&mut self, delay: Duration) {
        self.flow_delay = delay;
    }

    /// From now on a commit takes so long.
    pub const fn set_disk_delay(&mut self, delay: Duration) {
        self.disk_delay = delay;
    }

    /// Lets the disk take this long for a record; what it has not written is lost when the server
    /// dies.
    #[must_use]
    pub const fn with_disk_delay(mut self, delay: Duration) -> Self {
        self.disk_delay = delay;
        self
    }

    /// A bug from now on ends the call that it is about, as in a server that runs; without this,
    /// it ends the story.
    #[cfg(test)]
    #[must_use]
    pub(crate) const fn bearing_bugs(mut self) -> Self {
        self.bears_bugs = true;
        self
    }

    /// A recording from now on breaks off when its file has so many bytes.
    pub const fn set_disk_room(&mut self, octets: u64) {
        self.tapes.set_room(octets);
    }

    /// A recording that is whole, by the path that the flow gave, or the scheme and host that it
    /// was sent to.
    pub fn recorded(&self, name: &str) -> Option<&[u8]> {
        self.tapes.file(name)
    }

    /// Its SIP address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has happened; no more than the first [`FACTS_MAX`] things.
    pub fn facts(&self) -> &[(Tick, Fact)] {
        &self.facts
    }

    /// What a disk would hold: what a server that starts after this one is restored from.
    pub fn journal(&self) -> Journal {
        let promises = self.journal.iter().map(|(_, record)| record.promise().0);
        Journal {
            records: self.journal.clone(),
            requests: Vec::new(),
            made: Vec::new(),
            last_sequence: self.journal.last().map_or(0, |(sequence, _)| *sequence),
            last_promise: promises.max().unwrap_or_default(),
            secret: SECRET,
        }
    }

    /// What a disk holds at this tick of a server that dies now: records that wait for a slow disk
    /// are lost.
    pub fn journal_durable(&self) -> Journal {
        let mut journal = self.journal();
        if let Some((_, first)) = self.to_disk.front().copied() {
            journal.records.retain(|(sequence, _)| *sequence < first);
            journal.last_sequence = first - 1;
        }
        journal
    }

    /// Every record on disk, and when it was written; what was restored, when that was.
    pub fn written(&self) -> impl Iterator<Item = (Tick, &Record)> {
        self.written.iter().copied().zip(self.journal.iter().map(|(_, record)| record))
    }

    /// Takes up what an earlier server left on disk; before the first call.
    pub fn restore(&mut self, journal: Journal, now: Tick) {
        self.journal.clone_from(&journal.records);
        self.written = vec![now; self.journal.len()];
        self.switch.restore(journal, now).expect("the journal is one of ours");
        self.drain(now);
    }

    /// What is in use.
    pub fn gauges(&self) -> Gauges {
        self.switch.gauges()
    }

    /// What the runner of flows holds.
    pub fn flow_gauges(&self) -> flow::Gauges {
        self.runner.gauges()
    }

    /// What the media shard holds.
    pub fn media_gauges(&self) -> media::Gauges {
        match &self.audio {
            Audio::Heard(shard) => shard.gauges(),
            Audio::Unheard(silence) => silence.gauges(),
        }
    }

    /// The sound files that a soundless server has begun to play since, by name.
    pub fn played_since(&self, since: Tick) -> Vec<&str> {
        let Audio::Unheard(silence) = &self.audio else { return Vec::new() };
        let sounds = silence.sounds().iter().filter(|(at, _)| *at >= since);
        let name = |sound: &Sound| match sound {
            Sound::Clip(_, clip) => self.name_of(clip),
            Sound::Bridge(..) => None,
        };
        sounds.filter_map(|(_, sound)| name(sound)).collect()
    }

    /// The name of a sound file that flows play.
    pub fn name_of(&self, clip: &Arc<Clip>) -> Option<&str> {
        self.sounds.name_of(clip)
    }

    /// Takes the oldest sound of a soundless server.
    pub fn poll_sound(&mut self) -> Option<(Tick, Sound)> {
        match &mut self.audio {
            Audio::Heard(_) => None,
            Audio::Unheard(silence) => silence.poll_sound(),
        }
    }

    /// Takes the records of calls and legs that were written since they were last taken; no more
    /// than the first [`FACTS_MAX`].
    pub fn take_call_records(&mut self) -> Vec<serde_json::Value> {
        let read = |record: &CallRecord| {
            let mut line = Vec::new();
            record.write_line(&mut line);
            serde_json::from_slice(&line).expect("a line of the file is JSON")
        };
        std::mem::take(&mut self.call_records).iter().map(read).collect()
    }

    /// Takes all that has happened since it was last taken.
    pub fn take_facts(&mut self) -> Vec<(Tick, Fact)> {
        std::mem::take(&mut self.facts)
    }

    /// The switch, to drain or to hang up everything; the outputs leave at the next step.
    pub const fn switch(&mut self) -> &mut Switch {
        &mut self.switch
    }

    /// An operator exchanges the flows.
    pub fn reload(&mut self, flows: Vec<Graph>, now: Tick) -> Result<Reloaded, NotReloaded> {
        let outcome = self.switch.reload(flows.into_iter().map(Arc::new).collect(), now);
        self.drain(now);
        outcome
    }

    /// Somebody outside asks for a promise.
    pub fn request_promise(
        &mut self,
        request: &PromiseRequest,
        now: Tick,
    ) -> Result<PromiseMade, NotPromised> {
        let made = self.switch.request_promise(request, now);
        self.drain(now);
        made
    }

    /// An operator takes a promise back.
    pub fn withdraw_promise(&mut self, promise: u64, now: Tick) -> Withdrawal {
        let withdrawal = self.switch.withdraw_promise(promise, now);
        self.drain(now);
        withdrawal
    }

    /// A packet has arrived.
    pub fn handle_packet(&mut self, packet: Packet, now: Tick) {
        match packet.payload {
            Payload::Sip(bytes) => {
                let flow = Flow {
                    transport: Transport::Udp,
                    local: self.address,
                    remote: packet.from,
                    connection: 0,
                };
                self.switch.guarded(now, |switch| switch.handle_message(flow, &bytes, now));
            }
            Payload::Media(bytes) => {
                let port = packet.to.port();
                let channel = if port.is_multiple_of(2) { Channel::Rtp } else { Channel::Rtcp };
                if let (Some(leg), Audio::Heard(shard)) =
                    (self.by_port.get(&(port & !1)), &mut self.audio)
                {
                    let mut wire = PortWire {
                        ports: &self.ports,
                        out: &mut self.packets,
                        tapes: &mut self.tapes,
                        ip: self.address,
                    };
                    shard.handle_packet(*leg, channel, packet.from, &bytes, &mut wire, now);
                }
            }
            Payload::Keys(keys) => {
                let leg = self.by_port.get(&packet.to.port());
                if let (Some(leg), Audio::Unheard(silence)) = (leg, &mut self.audio) {
                    silence.press(*leg, &keys);
                }
            }
        }
        self.drain(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Tick) {
        match &mut self.audio {
            Audio::Heard(shard) if self.next_tick.is_some_and(|due| due <= now) => {
                let mut wire = PortWire {
                    ports: &self.ports,
                    out: &mut self.packets,
                    tapes: &mut self.tapes,
                    ip: self.address,
                };
                shard.tick(self.phase, &mut wire, now);
                self.phase = (self.phase + 1) % 4;
                self.next_tick = Some(now + PHASE);
            }
            Audio::Heard(_) => {}
            Audio::Unheard(silence) => silence.handle_timeout(now),
        }
        while self.to_flows.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, input)) = self.to_flows.pop_front() else { break };
            self.runner.handle_input(input, now);
        }
        for origin in self.sounds.take_due(now) {
            self.give_sound(&origin, now);
        }
        while self.to_disk.front().is_some_and(|(due, _)| *due <= now) {
            let Some((_, sequence)) = self.to_disk.pop_front() else { break };
            self.written.push(now);
            self.switch.handle_durable(sequence, now);
        }
        if self.runner.poll_timeout().is_some_and(|due| due <= now) {
            self.runner.handle_timeout(now);
        }
        while let Some(start) = self.own_runs.take_due(now) {
            self.runner.handle_input(start, now);
        }
        if self.switch.poll_timeout().is_some_and(|due| due <= now) {
            self.switch.guarded(now, |switch| switch.handle_timeout(now));
        }
        self.drain(now);
    }

    /// When [`Self::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<Tick> {
        let audio = match &self.audio {
            Audio::Heard(_) => self.next_tick,
            Audio::Unheard(silence) => silence.poll_timeout(),
        };
        let flows = self.to_flows.front().map(|(due, _)| *due);
        let disk = self.to_disk.front().map(|(due, _)| *due);
        let (runs, calls) = (self.runner.poll_timeout(), self.switch.poll_timeout());
        let due = [audio, flows, self.sounds.due(), disk, self.own_runs.due(), runs, calls];
        due.into_iter().flatten().min()
    }

    /// Starts a run by a trigger that no call starts, such as a webhook, with the next step; false
    /// when no flow has one of this name.
    pub fn start_run(&mut self, trigger: &str, item: Item, now: Tick) -> bool {
        let start = self.own_runs.start(trigger, item);
        let is_found = start.is_some();
        self.to_flows.extend(start.map(|start| (now, start)));
        is_found
    }

    /// The next packet to send.
    pub fn poll_packet(&mut self) -> Option<Packet> {
        self.packets.pop_front()
    }

    fn drain(&mut self, now: Tick) {
        loop {
            if let Some(output) = self.switch.poll_output() {
                self.route(output, now);
            } else if let Some(output) = self.runner.poll_output() {
                self.switch.guarded(now, |switch| switch.handle_flow(output, now));
            } else if let Some(report) = self.audio.poll_report() {
                self.switch.guarded(now, |switch| switch.handle_media(report, now));
            } else if let Some((recording, kept)) = self.tapes.poll_told() {
                self.switch.guarded(now, |switch| switch.handle_kept(recording, kept, now));
            } else {
                break;
            }
        }
        if matches!(self.audio, Audio::Unheard(_)) {
            return;
        }
        match (self.ports.is_empty(), self.next_tick) {
            (false, None) => self.next_tick = Some(now + PHASE),
            (true, Some(_)) => self.next_tick = None,
            (false, Some(_)) | (true, None) => {}
        }
    }

    fn give_sound(&mut self, origin: &Origin, now: Tick) {
        let sound = self.sounds.find(origin).map(Source::Clip);
        self.switch.handle_sound(origin, sound, now);
    }

    fn route(&mut self, output: Output, now: Tick) {
        match output {
            Output::Transmit(transmit) => self.packets.push_back(Packet {
                from: self.address,
                to: transmit.flow.remote,
                payload: Payload::Sip(transmit.bytes),
            }),
            Output::OpenMedia { leg, port } if self.taken_ports.contains(&port) => {
                let why = format!("the audio port {port}: taken");
                self.switch.handle_no_audio(leg, why, now);
            }
            Output::OpenMedia { leg, port } => {
                self.by_port.insert(port, leg);
                self.ports.insert(leg, port);
                self.audio.handle_command(Command::Open { leg }, now);
            }
            Output::Media(command) => {
                if let Command::Close { leg } = &command
                    && let Some(port) = self.ports.remove(leg)
                {
                    self.by_port.remove(&port);
                }
                self.audio.handle_command(command, now);
            }
            Output::Flow(input) if self.flow_delay.is_zero() => {
                self.runner.handle_input(input, now);
            }
            Output::Flow(input) => self.to_flows.push_back((now + self.flow_delay, input)),
            Output::Load(origin) => {
                if let Some(origin) = self.sounds.ask(origin, now) {
                    self.give_sound(&origin, now);
                }
            }
            Output::Keep(keep) => self.tapes.handle(keep),
            Output::Record(sequence, record) => {
                self.journal.push((sequence, record));
                if self.disk_delay.is_zero() {
                    self.written.push(now);
                    self.switch.handle_durable(sequence, now);
                } else {
                    self.to_disk.push_back((now + self.disk_delay, sequence));
                }
            }
            Output::CallRecord(record) => {
                if self.call_records.len() < FACTS_MAX {
                    self.call_records.push(record);
                }
            }
            Output::Fact(fact) => {
                let is_bug = matches!(fact, Fact::Panicked { .. });
                assert!(self.bears_bugs || !is_bug, "a bug ended a call: {fact:?}");
                if self.facts.len() < FACTS_MAX {
                    self.facts.push((now, fact));
                }
            }
        }
    }
}
