//! The sound files of a simulated world, and what other servers have, some of which take their time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::Tick;
use crate::call::Origin;
use crate::flow;
use crate::media::Clip;

/// Every sound there is, by file name or URL, and what was asked for and has not come yet.
#[derive(Debug)]
pub(super) struct Sounds {
    clips: BTreeMap<String, Arc<Clip>>,
    delays: BTreeMap<String, Duration>,
    asked: Vec<(Tick, Origin)>,
}

impl Sounds {
    pub(super) const fn new(clips: BTreeMap<String, Arc<Clip>>) -> Self {
        Self { clips, delays: BTreeMap::new(), asked: Vec::new() }
    }

    /// What is there, or why it is not.
    pub(super) fn find(&self, origin: &Origin) -> Result<Arc<Clip>, String> {
        let known = |name: &String| {
            self.clips.get(name).cloned().ok_or_else(|| format!("no sound file {name}"))
        };
        match origin {
            Origin::File(path) => known(path),
            Origin::Remote(remote) => known(&remote.url),
            Origin::Item(data) => {
                let clip = Clip::read(&flow::unbase64(data));
                clip.map(Arc::new).map_err(|error| error.to_string())
            }
        }
    }

    /// The name of a sound.
    pub(super) fn name_of(&self, clip: &Arc<Clip>) -> Option<&str> {
        let found = self.clips.iter().find(|(_, known)| Arc::ptr_eq(known, clip));
        found.map(|(name, _)| name.as_str())
    }

    /// The server behind this URL takes so long for its sound, or to say that it has none.
    pub(super) fn delay(&mut self, url: &str, delay: Duration) {
        self.delays.insert(url.to_owned(), delay);
    }

    /// Takes what takes time; gives back what does not.
    pub(super) fn ask(&mut self, origin: Origin, now: Tick) -> Option<Origin> {
        let delay = match &origin {
            Origin::Remote(remote) => self.delays.get(&remote.url),
            Origin::File(_) | Origin::Item(_) => None,
        };
        let Some(delay) = delay else { return Some(origin) };
        self.asked.push((now + *delay, origin));
        None
    }

    /// What has come by now.
    pub(super) fn take_due(&mut self, now: Tick) -> Vec<Origin> {
        let due = self.asked.extract_if(.., |(due, _)| *due <= now);
        due.map(|(_, origin)| origin).collect()
    }

    /// When the next one comes.
    pub(super) fn due(&self) -> Option<Tick> {
        self.asked.iter().map(|(due, _)| *due).min()
    }
}
