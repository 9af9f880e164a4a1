//! A shard: the legs of one media thread, found by place, served in four phases of 5 ms.

use std::net::SocketAddr;

use crate::base::{Bounded, Rng, Tick, caught};
use crate::media::leg::Leg;
use crate::media::player::Player;
use crate::media::{Channel, Command, Config, Gauges, LegId, Refusal, Report, Stream, Wire, rtcp};

/// Phases in 20 ms, so that the legs do not all send at the same instant.
const PHASES: usize = 4;
/// Ticks that a leg may leave out while it only passes on what comes: it is looked after every 200 ms
/// then, for its reports and for silence.
const RESTS: u8 = 9;
/// Ticks without a leg that has to do until the shard is said to be idle or to rest: a second.
const CALM: u8 = 200;

/// What one media thread owns.
#[derive(Debug)]
pub struct Shard {
    config: Config,
    legs: Vec<Option<Box<Leg>>>,
    /// For each place, ticks that the leg there leaves out: apart, so that those need not be looked at.
    rests: Vec<u8>,
    /// Ticks since a leg had to do by itself; up to [`CALM`].
    idle: u8,
    /// The same, and since anybody was told anything.
    calm: u8,
    legs_open: usize,
    reports: Bounded<Report>,
    rng: Rng,
    packets_without_leg: u64,
    /// The leg that is being served, to be blamed for a panic.
    serving: Option<LegId>,
}

impl Shard {
    /// A shard without legs.
    pub fn new(config: Config, rng: Rng) -> Self {
        let reports = Bounded::with_max(config.reports_max);
        Self {
            config,
            legs: Vec::new(),
            rests: Vec::new(),
            idle: 0,
            calm: 0,
            legs_open: 0,
            reports,
            rng,
            packets_without_leg: 0,
            serving: None,
        }
    }

    /// Does one thing; a panic in it costs the leg that was being served and no other. In a tick,
    /// the legs behind that one in its phase send their next packet 20 ms late.
    pub fn guarded(&mut self, act: impl FnOnce(&mut Self)) {
        self.serving = None;
        if let Err(why) = caught(|| act(self))
            && let Some(leg) = self.serving
        {
            self.drop_leg(leg);
            let _ = self.reports.push(Report::Panicked { leg, why });
        }
    }

    /// Obeys a command, or reports why not.
    pub fn handle_command(&mut self, command: Command, now: Tick) {
        self.serving = Some(command.leg());
        let (leg, done) = match command {
            Command::Open { leg } => (leg, self.open(leg)),
            Command::Configure { leg, stream } => (leg, self.configure(leg, stream, now)),
            Command::Shun { leg, source, until } => {
                (leg, self.find(leg).map(|(leg, _)| leg.shun(source, until)))
            }
            Command::Play { leg, player, source, repeat, ducking } => {
                (leg, self.play(leg, Player::new(player, source, repeat, ducking)))
            }
            Command::Stop { leg, player } => {
                (leg, self.find(leg).map(|(leg, reports)| leg.stop(player, reports)))
            }
            Command::StopAll { leg } => {
                (leg, self.find(leg).map(|(leg, reports)| leg.stop_all(reports)))
            }
            Command::SendDigits { leg, digits, duration, gap } => {
                let found = self.find(leg);
                (leg, found.and_then(|(leg, _)| leg.send_digits(digits, duration, gap)))
            }
            Command::FindDigits { leg, is_on } => {
                (leg, self.find(leg).map(|(leg, _)| leg.find_digits(is_on)))
            }
            Command::Watch { leg, meter, loudness, duration } => {
                let found = self.find(leg);
                (leg, found.and_then(|(leg, _)| leg.watch(meter, loudness, duration)))
            }
            Command::Unwatch { leg, meter } => {
                (leg, self.find(leg).map(|(leg, _)| leg.unwatch(meter)))
            }
            Command::Record { leg, recorder, what, duration_max } => {
                let found = self.find(leg);
                let record = |(leg, reports): (&mut Leg, &mut Bounded<Report>)| {
                    leg.record(recorder, what, duration_max, reports)
                };
                (leg, found.and_then(record))
            }
            Command::PauseRecorder { leg, recorder, is_paused } => {
                (leg, self.find(leg).map(|(leg, _)| leg.pause_recorder(recorder, is_paused)))
            }
            Command::StopRecorder { leg, recorder } => {
                (leg, self.find(leg).map(|(leg, reports)| leg.stop_recorder(recorder, reports)))
            }
            Command::PassEvents { leg, is_on } => {
                (leg, self.find(leg).map(|(leg, _)| leg.pass_events(is_on)))
            }
            Command::Bridge { a, b } => (a, self.bridge(a, b)),
            Command::Unbridge { leg } => (leg, self.unbridge(leg)),
            Command::Close { leg } => (leg, self.close(leg)),
        };
        self.settle(leg);
        if let Err(why) = done {
            // A full queue counts the drop.
            let _ = self.reports.push(Report::Refused { leg, why });
        }
    }

    /// Takes in a packet that arrived on one of a leg's two sockets; what a bridged leg should
    /// hear of it goes out at once.
    pub fn handle_packet(
        &mut self,
        leg: LegId,
        channel: Channel,
        from: SocketAddr,
        packet: &[u8],
        wire: &mut impl Wire,
        now: Tick,
    ) {
        self.serving = Some(leg);
        let Some(speaker) = at(&mut self.legs, leg) else {
            self.packets_without_leg += 1;
            return;
        };
        if channel == Channel::Rtcp || rtcp::is_rtcp(packet) {
            speaker.handle_rtcp(from, packet, now);
            return;
        }
        let arrival = speaker.handle_rtp(from, packet, &mut self.reports, now);
        if let (Some(arrival), Some(peer)) = (arrival, speaker.peer()) {
            speaker.count_relayed();
            let listener = at(&mut self.legs, peer).expect("a bridge ends with either leg");
            let took_frames = listener.takes_frames();
            listener.hear(&arrival, wire, now);
            if !listener.rests() {
                (self.rests[peer.index()], self.idle, self.calm) = (0, 0, 0);
            }
            if listener.takes_frames() != took_frames {
                self.settle(peer);
            }
        }
    }

    /// Has a leg and its peer looked after at the next tick.
    fn rouse(&mut self, leg: LegId) {
        self.calm = 0;
        for leg in [Some(leg), self.peer(leg)].into_iter().flatten() {
            if let Some(rests) = self.rests.get_mut(leg.index()) {
                *rests = 0;
            }
        }
    }

    /// Serves the legs of one phase: called every 5 ms with 0, 1, 2, 3, 0 and so on.
    pub fn tick(&mut self, phase: u8, wire: &mut impl Wire, now: Tick) {
        let lost_after = self.config.lost_after;
        (self.idle, self.calm) = (CALM.min(self.idle + 1), CALM.min(self.calm + 1));
        for place in (usize::from(phase)..self.legs.len()).step_by(PHASES) {
            let rests = &mut self.rests[place];
            if let Some(left) = rests.checked_sub(1) {
                *rests = left;
                continue;
            }
            let Some(leg) = self.legs[place].as_deref_mut() else { continue };
            self.serving = Some(leg.id());
            leg.tick(lost_after, wire, &mut self.reports, &mut self.rng, now);
            if leg.rests() {
                *rests = RESTS;
            } else {
                (self.idle, self.calm) = (0, 0);
            }
            if leg.is_heard() {
                let id = leg.id();
                self.hand_over(id);
            }
        }
    }

    /// Whether for a second no leg had to do by itself: ticks may come late by some milliseconds until
    /// one has.
    pub fn is_idle(&self) -> bool {
        self.idle == CALM
    }

    /// Whether it is idle, and no command came for a second either.
    pub fn is_at_rest(&self) -> bool {
        self.calm == CALM
    }

    /// Gives the frame of a leg that is heard to its peer, if that one takes it.
    fn hand_over(&mut self, id: LegId) {
        let Some(leg) = at(&mut self.legs, id) else { return };
        if let (Some(frame), Some(peer)) = (leg.frame().copied(), leg.peer()) {
            let peer = at(&mut self.legs, peer).expect("a bridge ends with either leg");
            if peer.takes_frames() {
                peer.take_frame(&frame);
            }
        }
        self.settle(id);
    }

    /// Decodes the sound of a leg and its peer while anything needs it, and no longer; both are
    /// looked after at the next tick.
    fn settle(&mut self, id: LegId) {
        self.rouse(id);
        let Some(leg) = at(&mut self.legs, id) else { return };
        let (takes_frames, peer) = (leg.takes_frames(), leg.peer());
        let peer_takes_frames =
            peer.and_then(|peer| at(&mut self.legs, peer)).is_some_and(|peer| {
                peer.settle(takes_frames);
                peer.takes_frames()
            });
        if let Some(leg) = at(&mut self.legs, id) {
            leg.settle(peer_takes_frames);
        }
    }

    /// The leg that hears this one and is heard by it, if there is one.
    pub fn peer(&self, leg: LegId) -> Option<LegId> {
        let leg = self.legs.get(leg.index())?.as_deref().filter(|one| one.id() == leg)?;
        leg.peer()
    }

    /// Where a leg's packets come from, once one came.
    pub fn source(&self, leg: LegId) -> Option<SocketAddr> {
        let leg = self.legs.get(leg.index())?.as_deref().filter(|one| one.id() == leg)?;
        leg.source()
    }

    /// Takes the oldest report. Poll until there is none after every command, packet and tick.
    pub fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop()
    }

    /// What the shard holds at this moment; it looks at every leg.
    pub fn gauges(&self) -> Gauges {
        let legs = || self.legs.iter().flatten();
        Gauges {
            legs: self.legs_open,
            legs_bridged: legs().filter(|leg| leg.peer().is_some()).count(),
            players: legs().map(|leg| leg.players()).sum(),
            reports: self.reports.len(),
            reports_dropped: self.reports.dropped(),
            packets_without_leg: self.packets_without_leg,
        }
    }

    fn open(&mut self, id: LegId) -> Result<(), Refusal> {
        let index = id.index();
        if index >= self.config.legs_max {
            return Err(Refusal::LegBeyondMax);
        }
        if self.legs.len() <= index {
            self.legs.resize_with(index + 1, || None);
            self.rests.resize(index + 1, 0);
        }
        let place = &mut self.legs[index];
        if place.is_some() {
            return Err(Refusal::LegExists);
        }
        *place = Some(Box::new(Leg::new(id, &mut self.rng)));
        self.legs_open += 1;
        Ok(())
    }

    fn configure(&mut self, id: LegId, stream: Stream, now: Tick) -> Result<(), Refusal> {
        let leg = at(&mut self.legs, id).ok_or(Refusal::UnknownLeg)?;
        leg.configure(stream, &self.config, &mut self.rng, now);
        Ok(())
    }

    fn play(&mut self, id: LegId, player: Player) -> Result<(), Refusal> {
        let (leg, reports) = self.find(id)?;
        if leg.play(player, reports) { Ok(()) } else { Err(Refusal::TooManyPlayers) }
    }

    fn bridge(&mut self, a: LegId, b: LegId) -> Result<(), Refusal> {
        if a == b {
            return Err(Refusal::BridgeToItself);
        }
        self.find(a)?;
        self.find(b)?;
        for (leg, peer) in [(a, b), (b, a)] {
            self.unbridge(leg)?;
            self.find(leg)?.0.attach(Some(peer));
        }
        Ok(())
    }

    fn unbridge(&mut self, id: LegId) -> Result<(), Refusal> {
        let (leg, _) = self.find(id)?;
        if let Some(peer) = leg.peer() {
            for leg in [id, peer] {
                let (leg, _) = self.find(leg)?;
                leg.attach(None);
                leg.settle(false);
            }
        }
        Ok(())
    }

    fn close(&mut self, id: LegId) -> Result<(), Refusal> {
        self.unbridge(id)?;
        let (leg, reports) = self.find(id)?;
        leg.stop_all(reports);
        leg.stop_recorders(reports);
        let _ = reports.push(Report::Closed { leg: id, statistics: leg.statistics() });
        self.legs[id.index()] = None;
        self.legs_open -= 1;
        Ok(())
    }

    /// Takes a leg out without a word to it: it is in an unknown state.
    fn drop_leg(&mut self, id: LegId) {
        if at(&mut self.legs, id).is_some() {
            self.legs[id.index()] = None;
            self.legs_open -= 1;
        }
        for leg in self.legs.iter_mut().flatten().filter(|leg| leg.peer() == Some(id)) {
            leg.attach(None);
            leg.settle(false);
        }
    }

    fn find(&mut self, id: LegId) -> Result<(&mut Leg, &mut Bounded<Report>), Refusal> {
        let leg = at(&mut self.legs, id).ok_or(Refusal::UnknownLeg)?;
        Ok((leg, &mut self.reports))
    }
}

/// The leg at its place, if it is still this one.
fn at(legs: &mut [Option<Box<Leg>>], id: LegId) -> Option<&mut Leg> {
    let leg = legs.get_mut(id.index())?.as_deref_mut()?;
    (leg.id() == id).then_some(leg)
}
