//! `media.wait`: the first of several playbacks and recordings that is over, for a while also after
//! its end (contract §3, §8.5).

use serde_json::json;

use crate::base::{Armed, Tick};
use crate::call::leg::{FREE_TTL, LegRef, leg_text, parse};
use crate::call::node::operation::items;
use crate::call::switch::ask::{Ask, Failed};
use crate::call::switch::dial::context;
use crate::call::switch::record::{End, Kept};
use crate::call::switch::{AskRef, Pending, Switch, Wake};

/// Playbacks and recordings that one wait may name.
const MEDIA_MAX: usize = 16;

/// A `media.wait` that is going on.
#[derive(Debug)]
pub(super) struct MediaWait {
    media: Vec<u64>,
    legs: Vec<LegRef>,
    timer: Armed,
}

impl MediaWait {
    /// The legs that it is about.
    pub(super) fn legs(&self) -> &[LegRef] {
        &self.legs
    }
}

/// How a playback or recording ended.
#[derive(Clone, Debug)]
pub(super) struct Over {
    pub(super) leg: LegRef,
    pub(super) end: End,
    pub(super) has_failed: bool,
    /// What there is of a recording, and the key that it is attached by.
    pub(super) kept: Kept,
    pub(super) attached: Option<String>,
}

impl Over {
    /// Of a playback.
    pub(super) fn of(leg: LegRef, end: End) -> Self {
        Self { leg, end, has_failed: false, kept: Kept::default(), attached: None }
    }
}

impl Switch {
    /// `media.wait`.
    pub(super) fn start_media_wait(&mut self, ask: Ask, now: Tick) {
        let media = match self.media_of_wait(&ask) {
            Ok(media) => media,
            Err(failed) => return self.fail(&ask, failed),
        };
        let over = media.iter().find_map(|one| Some((*one, self.over.get(one)?.clone())));
        if let Some((number, over)) = over {
            return self.answer_over(&ask, number, over);
        }
        let leg_of = |number: &u64| {
            let player = self.players.get(number).map(super::play::Player::leg);
            player.or_else(|| self.recordings.get(number).map(super::record::Recording::leg))
        };
        let legs = media.iter().map(leg_of).collect::<Option<Vec<_>>>();
        let Some(mut legs) = legs else { return self.fail(&ask, Failed::MediaUnknown) };
        legs.sort_unstable();
        legs.dedup();
        let key = ask.key;
        for id in &legs {
            if let Some(leg) = self.legs.get_mut(*id) {
                leg.waiting.push(key);
            }
            self.retain(*id, now);
        }
        for number in &media {
            self.media_waits.entry(*number).or_default().push(key);
        }
        let deadline = now + ask.seconds("waitMediaTimeoutSeconds", 30.0);
        let timer = self.timers.arm(deadline, Wake::Wait(key));
        self.suspend(ask, Pending::MediaWait(MediaWait { media, legs, timer }));
    }

    /// A playback or recording is over: whoever waits for it is told, and whoever will for a while.
    pub(super) fn on_media_over(&mut self, number: u64, over: Over, now: Tick) {
        for key in self.media_waits.remove(&number).unwrap_or_default() {
            let Some((ask, Pending::MediaWait(wait))) = self.take_media_wait(key) else { continue };
            self.leave_media_wait(&wait, key, now);
            self.answer_over(&ask, number, over.clone());
        }
        self.over.insert(number, over);
        self.timers.arm(now + FREE_TTL, Wake::MediaForget(number));
    }

    /// Nobody has asked for a while how it ended.
    pub(super) fn forget_media(&mut self, number: u64) {
        self.over.remove(&number);
    }

    /// The time of a wait is up.
    pub(super) fn on_media_wait_expired(&mut self, key: AskRef, now: Tick) {
        let Some((ask, Pending::MediaWait(wait))) = self.take_media_wait(key) else { return };
        self.leave_media_wait(&wait, key, now);
        self.answer(&ask, ask.branch("Timeout"), json!({}), None);
    }

    /// Takes a wait off its media, its legs and its timer.
    pub(super) fn leave_media_wait(&mut self, wait: &MediaWait, key: AskRef, now: Tick) {
        self.timers.clear(wait.timer);
        for number in &wait.media {
            if let Some(waiting) = self.media_waits.get_mut(number) {
                waiting.retain(|other| *other != key);
                if waiting.is_empty() {
                    self.media_waits.remove(number);
                }
            }
        }
        for id in &wait.legs {
            self.leave_leg(*id, key);
            self.release(*id, now);
        }
    }

    fn take_media_wait(&mut self, key: AskRef) -> Option<(Ask, Pending)> {
        let is_one = matches!(self.pending.get(&key), Some((_, Pending::MediaWait(_))));
        if is_one { self.pending.remove(&key) } else { None }
    }

    /// Tells a run how a playback or recording ended (contract §8.4).
    pub(super) fn answer_over(&mut self, ask: &Ask, number: u64, over: Over) {
        let Over { leg, end, has_failed, kept, attached } = over;
        let mut payload = json!({ "legId": leg_text(leg) });
        let branch = match (has_failed, end) {
            (true, _) => {
                payload["failed"] = true.into();
                "Completed"
            }
            (false, End::Completed) => "Completed",
            (false, End::Interrupted(why, digit)) => {
                payload["interruptReason"] = why.into();
                if let Some(digit) = digit {
                    payload["digit"] = digit.to_string().into();
                }
                "Interrupted"
            }
        };
        if let Some(path) = kept.path {
            payload["filePath"] = path.into();
        }
        let branch = ask.branch(branch);
        match (kept.data, attached) {
            (Some(data), Some(key)) => {
                let binary = json!({ "data": data, "mimeType": "audio/wav" });
                self.answer_with(ask, branch, payload, number, (key, binary));
            }
            _ => self.answer(ask, branch, payload, Some(number)),
        }
    }

    fn media_of_wait(&self, ask: &Ask) -> Result<Vec<u64>, Failed> {
        let listed = items(ask.parameter("mediaIds")).iter().filter_map(|item| item.get("mediaId"));
        let mut named = listed.take(MEDIA_MAX).collect::<Vec<_>>();
        if named.is_empty() {
            named.extend(ask.item.json.get("mediaId").or(context(ask, "mediaId")));
        }
        if named.is_empty() {
            return Err(Failed::MediaMissing);
        }
        let numbers = named.iter().map(|value| parse("media", value.as_str()?));
        numbers.collect::<Option<Vec<_>>>().ok_or(Failed::MediaUnknown)
    }
}
