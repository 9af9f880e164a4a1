//! Audio without sound: players that end when they would, keys that are heard at once, no packets.
//!
//! Worlds that play months of calls cannot step every leg's audio each 5 ms. What the switch sees
//! is the same: the same commands, and the same reports at the same times.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::base::{Armed, Tick, Timers};
use crate::media::{Clip, Command, Gauges, LegId, PlayerEnd, Report, Source};

/// Sounds that are remembered until somebody takes them; the oldest goes first.
const SOUNDS_MAX: usize = 100_000;

/// What would be heard.
#[derive(Clone, Debug)]
pub enum Sound {
    /// A clip began on a leg.
    Clip(LegId, Arc<Clip>),
    /// Two legs hear each other.
    Bridge(LegId, LegId),
}

/// What a shard would hold, without its sound.
#[derive(Debug, Default)]
pub(super) struct Silence {
    legs: BTreeMap<LegId, Leg>,
    ends: Timers<(LegId, u64)>,
    sounds: VecDeque<(Tick, Sound)>,
    reports: VecDeque<Report>,
}

#[derive(Debug, Default)]
struct Leg {
    peer: Option<LegId>,
    /// When each player began, and what ends it; one that repeats is only ever stopped.
    players: BTreeMap<u64, (Tick, Option<Armed>)>,
    /// When each recorder began, and when it has enough.
    recorders: BTreeMap<u64, (Tick, Armed)>,
}

impl Silence {
    pub(super) fn handle_command(&mut self, command: Command, now: Tick) {
        // Only what has an effect without sound is looked at.
        if let Command::Open { leg } = command {
            self.legs.insert(leg, Leg::default());
        } else if let Command::Play { leg, player, source, repeat, .. } = command {
            if let Source::Clip(clip) = &source {
                self.note(Sound::Clip(leg, Arc::clone(clip)), now);
            }
            self.play(leg, player, length(&source).filter(|_| !repeat), now);
        } else if let Command::Stop { leg, player } = command {
            self.end(leg, player, PlayerEnd::Stopped, now);
        } else if let Command::StopAll { leg } = command {
            self.stop_all(leg, now);
        } else if let Command::Bridge { a, b } = command {
            self.unbridge(a);
            self.unbridge(b);
            self.note(Sound::Bridge(a, b), now);
            for (leg, peer) in [(a, b), (b, a)] {
                if let Some(leg) = self.legs.get_mut(&leg) {
                    leg.peer = Some(peer);
                }
            }
        } else if let Command::Unbridge { leg } = command {
            self.unbridge(leg);
        } else if let Command::Record { leg, recorder, duration_max, .. } = command {
            self.record(leg, recorder, duration_max, now);
        } else if let Command::StopRecorder { leg, recorder } = command {
            self.end_recorder(leg, recorder, PlayerEnd::Stopped, now);
        } else if let Command::Close { leg } = command {
            self.unbridge(leg);
            self.stop_all(leg, now);
            let known = self.legs.get(&leg).map(|leg| leg.recorders.keys().copied().collect());
            let known: Vec<u64> = known.unwrap_or_default();
            for recorder in known {
                self.end_recorder(leg, recorder, PlayerEnd::Stopped, now);
            }
            self.legs.remove(&leg);
        }
    }

    /// Keys were pressed on a leg.
    pub(super) fn press(&mut self, leg: LegId, keys: &str) {
        for digit in keys.chars() {
            let duration = Duration::from_millis(100);
            self.reports.push_back(Report::Digit { leg, digit, duration });
        }
    }

    pub(super) const fn sounds(&self) -> &VecDeque<(Tick, Sound)> {
        &self.sounds
    }

    pub(super) fn poll_sound(&mut self) -> Option<(Tick, Sound)> {
        self.sounds.pop_front()
    }

    pub(super) fn handle_timeout(&mut self, now: Tick) {
        while let Some((leg, player)) = self.ends.take_due(now) {
            self.end(leg, player, PlayerEnd::Completed, now);
            self.end_recorder(leg, player, PlayerEnd::Completed, now);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Tick> {
        self.ends.next()
    }

    pub(super) fn poll_report(&mut self) -> Option<Report> {
        self.reports.pop_front()
    }

    pub(super) fn gauges(&self) -> Gauges {
        let legs = || self.legs.values();
        Gauges {
            legs: self.legs.len(),
            legs_bridged: legs().filter(|leg| leg.peer.is_some()).count(),
            players: legs().map(|leg| leg.players.len()).sum(),
            reports: self.reports.len(),
            ..Gauges::default()
        }
    }

    fn note(&mut self, sound: Sound, now: Tick) {
        if self.sounds.len() == SOUNDS_MAX {
            self.sounds.pop_front();
        }
        self.sounds.push_back((now, sound));
    }

    fn play(&mut self, leg: LegId, player: u64, lasts: Option<Duration>, now: Tick) {
        let Some(known) = self.legs.get_mut(&leg) else { return };
        let armed = lasts.map(|lasts| self.ends.arm(now + lasts, (leg, player)));
        known.players.insert(player, (now, armed));
    }

    fn end(&mut self, leg: LegId, player: u64, end: PlayerEnd, now: Tick) {
        let players = self.legs.get_mut(&leg).map(|leg| &mut leg.players);
        let Some((began, mut armed)) = players.and_then(|all| all.remove(&player)) else { return };
        self.ends.clear_slot(&mut armed);
        let played = now - began;
        self.reports.push_back(Report::PlayerDone { leg, player, played, end });
    }

    fn record(&mut self, leg: LegId, recorder: u64, lasts: Duration, now: Tick) {
        let Some(known) = self.legs.get_mut(&leg) else { return };
        let armed = self.ends.arm(now + lasts, (leg, recorder));
        known.recorders.insert(recorder, (now, armed));
    }

    fn end_recorder(&mut self, leg: LegId, recorder: u64, end: PlayerEnd, now: Tick) {
        let recorders = self.legs.get_mut(&leg).map(|leg| &mut leg.recorders);
        let Some((began, armed)) = recorders.and_then(|all| all.remove(&recorder)) else { return };
        self.ends.clear(armed);
        let recorded = now - began;
        self.reports.push_back(Report::RecorderDone { leg, recorder, recorded, end });
    }

    fn stop_all(&mut self, leg: LegId, now: Tick) {
        let players = self.legs.get(&leg).map(|leg| leg.players.keys().copied().collect());
        let players: Vec<u64> = players.unwrap_or_default();
        for player in players {
            self.end(leg, player, PlayerEnd::Stopped, now);
        }
    }

    fn unbridge(&mut self, leg: LegId) {
        let Some(peer) = self.legs.get_mut(&leg).and_then(|leg| leg.peer.take()) else { return };
        if let Some(peer) = self.legs.get_mut(&peer) {
            peer.peer = None;
        }
    }
}

fn length(source: &Source) -> Option<Duration> {
    match source {
        Source::Clip(clip) => Some(clip.duration()),
        Source::Tone(tone) => Some(tone.period().duration()),
        Source::Live(_) => None,
    }
}
