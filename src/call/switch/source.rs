//! Where the sound of a playback comes from, and what is waited for until it is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::base::Tick;
use crate::call::leg::{LegRef, leg_text};
use crate::call::switch::ask::Ask;
use crate::call::switch::{AskRef, Fact, Output, Pending, Remote, Switch};
use crate::media::Source;

/// Sound files that are kept; one more is loaded for each use and not kept.
const CLIPS_MAX: usize = 1000;

/// Where sound comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A file beneath the directory of prompts.
    File(String),
    /// The attachment of an item, in Base64.
    Item(Arc<str>),
    /// Another server.
    Remote(Remote),
}

impl Origin {
    /// What a node says about it; an error says what it is wrong about.
    fn read(ask: &Ask) -> Result<Self, String> {
        match ask.text("sourceType").as_str() {
            "file" => match ask.text("filePath") {
                path if path.is_empty() => Err("filePath is required".to_owned()),
                path => Ok(Self::File(path)),
            },
            "http" => Remote::read(ask, "playback", "GET").map(Self::Remote),
            _ => {
                let key = ask.text("binaryProperty");
                let key = if key.is_empty() { "data" } else { &key };
                let binary = ask.item.binary.as_ref().and_then(|binary| binary.get(key));
                let data = binary.and_then(|binary| binary.get("data")).and_then(Value::as_str);
                let data = data.filter(|data| !data.is_empty());
                let data = data.ok_or_else(|| format!("the item has no binary data `{key}`"))?;
                Ok(Self::Item(data.into()))
            }
        }
    }

    /// What a log calls it.
    pub fn name(&self) -> String {
        match self {
            Self::File(path) => path.clone(),
            Self::Item(_) => "binary data of the item".to_owned(),
            Self::Remote(remote) => remote.place(),
        }
    }
}

/// Sounds by where they come from: files that are kept, and what is being loaded.
#[derive(Debug, Default)]
pub(super) struct Sounds {
    known: BTreeMap<Origin, Known>,
}

#[derive(Debug)]
enum Known {
    Ready(Source),
    Loading(Vec<AskRef>),
}

impl Switch {
    /// `media.playAudio`.
    pub(super) fn start_play(&mut self, ask: Ask, now: Tick) {
        let Some(leg) = self.leg_to_hear(&ask) else { return };
        let origin = match Origin::read(&ask) {
            Ok(origin) => origin,
            Err(why) => {
                let path = ask.text("sourceType");
                self.tell(Fact::ClipFailed { path, why });
                self.touch(leg, now);
                return self.answer_unplayable(&ask, leg);
            }
        };
        match self.sounds.known.get_mut(&origin) {
            Some(Known::Ready(source)) => {
                let source = source.clone();
                self.play(ask, leg, source, false, now);
            }
            Some(Known::Loading(waiting)) => {
                waiting.push(ask.key);
                self.wait_for_sound(ask, leg, now);
            }
            None => {
                self.sounds.known.insert(origin.clone(), Known::Loading(vec![ask.key]));
                self.outputs.push_back(Output::Load(origin));
                self.wait_for_sound(ask, leg, now);
            }
        }
    }

    /// A sound is there, or is not.
    pub(super) fn on_sound(&mut self, origin: &Origin, sound: Result<Source, String>, now: Tick) {
        let waiting = match self.sounds.known.remove(origin) {
            Some(Known::Loading(waiting)) => waiting,
            Some(Known::Ready(_)) | None => Vec::new(),
        };
        match (&sound, origin) {
            // What comes from elsewhere may be another sound next time; its owner knows.
            (Ok(source @ Source::Clip(_)), Origin::File(_))
                if self.sounds.known.len() < CLIPS_MAX =>
            {
                self.sounds.known.insert(origin.clone(), Known::Ready(source.clone()));
            }
            (Ok(_), _) => {}
            (Err(why), _) => {
                let (path, why) = (origin.name(), why.clone());
                self.tell(Fact::ClipFailed { path, why });
            }
        }
        for key in waiting {
            let Some((ask, pending)) = self.pending.remove(&key) else { continue };
            let Pending::Clip { leg } = pending else {
                unreachable!("only playbacks wait for sound");
            };
            self.leave_leg(leg, key);
            match &sound {
                Ok(source) => self.play(ask, leg, source.clone(), false, now),
                Err(_) => self.answer_unplayable(&ask, leg),
            }
            self.release(leg, now);
        }
    }

    fn wait_for_sound(&mut self, ask: Ask, id: LegRef, now: Tick) {
        if let Some(leg) = self.legs.get_mut(id) {
            leg.waiting.push(ask.key);
        }
        self.retain(id, now);
        self.suspend(ask, Pending::Clip { leg: id });
    }

    /// A source that cannot be played leaves by the regular branch and says so (contract §8.4).
    fn answer_unplayable(&mut self, ask: &Ask, leg: LegRef) {
        let payload = json!({ "legId": leg_text(leg), "failed": true });
        self.answer(ask, ask.branch("Completed"), payload, None);
    }
}
