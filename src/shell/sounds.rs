//! Sound from other servers: fetched within limits, kept as their caching says, or heard live while
//! it comes.
//!
//! Each fetch has a thread of its own. What an Icecast server sends, or what has no length and does
//! not end in time, becomes a [`Live`] that all its listeners share; its thread then goes on until
//! nobody listens any more, and connects again when the server is lost.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use crate::base::Tick;
use crate::call::{Origin, Remote};
use crate::config::Settings;
use crate::media::{Clip, Live, Source, StreamDecoder};
use crate::shell::Clock;
use crate::shell::credentials::Credentials;
use crate::shell::outbound::{self, Opened, Policy};
use crate::shell::signalling::Input;
use crate::shell::wake::Sender;

/// Fetches under way; one more fails.
const FETCHES_MAX: usize = 64;
/// Live streams at a time; one more fails.
const LIVES_MAX: usize = 32;
/// Sounds that are kept; the one that was used longest ago goes first.
const CACHED_MAX: usize = 200;
/// How much sound they have together: 72 MB.
const CACHED_DURATION_MAX: Duration = Duration::from_secs(1800);
/// The longest that a sound is used without asking whether it has changed.
const FRESH_MAX: Duration = Duration::from_secs(86_400);
/// Sound that a live stream has ready before it is heard.
const READY: Duration = Duration::from_secs(1);
/// How far ahead of its listeners a live stream is written.
const AHEAD: Duration = Duration::from_secs(2);
/// How long a live stream goes on that nobody hears.
const UNHEARD_MAX: Duration = Duration::from_secs(10);
/// Pauses before a lost live stream is connected again; the last one for all that follow.
const PAUSES_S: [u64; 4] = [1, 2, 5, 10];

/// How much of another server is borne.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How long it may send nothing.
    pub(super) silence: Duration,
    /// How long a sound with an end may take.
    pub(super) whole: Duration,
    /// Bytes of a sound with an end.
    pub(super) octets: usize,
}

impl Limits {
    /// What suits a server of callers who wait.
    pub(super) const STANDARD: Self = Self {
        silence: Duration::from_secs(5),
        whole: Duration::from_secs(15),
        octets: outbound::BODY_MAX as usize,
    };
}

/// The sounds of other servers.
#[derive(Clone, Debug)]
pub(super) struct Sounds {
    outputs: Sender<Input>,
    policy: Policy,
    credentials: Credentials,
    clock: Clock,
    limits: Limits,
    shared: Arc<Shared>,
}

/// What the threads of all fetches share.
#[derive(Debug, Default)]
struct Shared {
    fetches: AtomicUsize,
    cached: Mutex<BTreeMap<Remote, Cached>>,
    lives: Mutex<BTreeMap<Remote, Weak<Live>>>,
}

/// A sound that was fetched before.
#[derive(Clone, Debug)]
struct Cached {
    clip: Arc<Clip>,
    /// What the server is asked for, to learn whether it has changed.
    validators: Vec<(String, String)>,
    fresh_until: Tick,
    used: Tick,
}

impl Sounds {
    /// Those of a server with these settings.
    pub(super) fn of(
        settings: &Settings,
        outputs: Sender<Input>,
        credentials: Credentials,
        clock: Clock,
    ) -> Self {
        let policy = Policy::of_server(settings.outbound_allow.clone());
        Self::new(outputs, policy, credentials, clock, Limits::STANDARD)
    }

    fn new(
        outputs: Sender<Input>,
        policy: Policy,
        credentials: Credentials,
        clock: Clock,
        limits: Limits,
    ) -> Self {
        Self { outputs, policy, credentials, clock, limits, shared: Arc::default() }
    }

    /// Gets a sound, and says so in a [`Input::Sound`].
    pub(super) fn start(&self, remote: Remote) {
        if let Some(known) = self.known(&remote) {
            return self.tell(remote, Ok(known));
        }
        if self.shared.fetches.fetch_add(1, Ordering::Relaxed) >= FETCHES_MAX {
            self.shared.fetches.fetch_sub(1, Ordering::Relaxed);
            return self.tell(remote, Err(format!("{FETCHES_MAX} sounds are being fetched")));
        }
        let (fetcher, wanted) = (self.clone(), remote.clone());
        let fetch = move || {
            let fetched = fetcher.fetch(&wanted);
            fetcher.shared.fetches.fetch_sub(1, Ordering::Relaxed);
            match fetched {
                Ok(Fetched::Whole(clip)) => fetcher.tell(wanted, Ok(Source::Clip(clip))),
                Ok(Fetched::Live(stream)) => {
                    fetcher.tell(wanted.clone(), Ok(Source::Live(stream.live.clone())));
                    fetcher.go_on(&wanted, *stream);
                }
                Err(why) => fetcher.tell(wanted, Err(why)),
            }
        };
        if thread::Builder::new().name("sound".to_owned()).spawn(fetch).is_err() {
            self.shared.fetches.fetch_sub(1, Ordering::Relaxed);
            self.tell(remote, Err("the system gives no thread".to_owned()));
        }
    }

    fn tell(&self, remote: Remote, sound: Result<Source, String>) {
        self.outputs.send(Input::Sound(Origin::Remote(remote), sound));
    }

    /// What need not be asked for: a stream that is live already, or a sound that is fresh.
    fn known(&self, remote: &Remote) -> Option<Source> {
        if let Some(live) = lock(&self.shared.lives).get(remote).and_then(Weak::upgrade) {
            return Some(Source::Live(live));
        }
        let now = self.clock.now();
        let mut cached = lock(&self.shared.cached);
        let known = cached.get_mut(remote).filter(|known| known.fresh_until > now)?;
        known.used = now;
        Some(Source::Clip(known.clip.clone()))
    }

    fn fetch(&self, remote: &Remote) -> Result<Fetched, String> {
        let place = remote.place();
        let before = lock(&self.shared.cached).get(remote).cloned();
        let validators = before.as_ref().map(|before| before.validators.clone());
        let opened = self.open(remote, validators.unwrap_or_default())?;
        if let (304, Some(before)) = (opened.status, before) {
            self.keep(remote, &opened, before.clip.clone(), before.validators);
            return Ok(Fetched::Whole(before.clip));
        }
        if !(200..300).contains(&opened.status) {
            return Err(format!("{place} answered {}", opened.status));
        }
        let is_radio = opened.headers.iter().any(|(name, _)| name.starts_with("icy-"));
        let Opened { status, headers, mut body } = opened;
        let (bytes, is_whole) = if is_radio {
            (Vec::new(), false)
        } else {
            let has_length = headers.iter().any(|(name, _)| name == "content-length");
            self.read(&mut body, has_length).map_err(|why| format!("{place}: {why}"))?
        };
        if is_whole {
            let clip = Clip::read(&bytes).map_err(|error| format!("{place}: {error}"))?;
            let (clip, opened) = (Arc::new(clip), Opened { status, headers, body });
            self.keep(remote, &opened, clip.clone(), validators_of(&opened.headers));
            return Ok(Fetched::Whole(clip));
        }
        let mut lives = lock(&self.shared.lives);
        lives.retain(|_, live| live.strong_count() > 0);
        if lives.len() >= LIVES_MAX {
            return Err(format!("{place}: {LIVES_MAX} live streams are heard already"));
        }
        drop(lives);
        let source = Cursor::new(bytes).chain(body);
        let decoder = StreamDecoder::open(source);
        let decoder = decoder.ok_or(format!("{place}: a stream, but none of MP3, Ogg or FLAC"))?;
        let mut stream = Stream { live: Arc::new(Live::new()), decoder, is_radio };
        while stream.live.written() < READY && stream.go_on() {}
        if stream.live.written().is_zero() {
            return Err(format!("{place}: the stream holds no sound"));
        }
        // Somebody else may have been quicker: then both streams are heard.
        lock(&self.shared.lives).insert(remote.clone(), Arc::downgrade(&stream.live));
        Ok(Fetched::Live(Box::new(stream)))
    }

    fn open(&self, remote: &Remote, validators: Vec<(String, String)>) -> Result<Opened, String> {
        let mut request = outbound::remote_request(remote, &self.credentials, self.limits.whole)?;
        request.headers.extend(validators);
        outbound::open_sound(&request, &self.policy, self.limits.silence)
    }

    /// Reads to the end, or, where no length was promised, for as long as a sound may take; says
    /// whether it was the end.
    fn read(&self, body: &mut impl Read, has_length: bool) -> Result<(Vec<u8>, bool), String> {
        let deadline = self.clock.now() + self.limits.whole;
        let (mut bytes, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
        loop {
            match body.read(&mut piece) {
                Ok(0) => return Ok((bytes, true)),
                Ok(count) => bytes.extend_from_slice(&piece[..count]),
                Err(error) => return Err(format!("the answer broke off: {error}")),
            }
            if bytes.len() > self.limits.octets {
                return Err(format!("longer than {} bytes", self.limits.octets));
            }
            match (self.clock.now() > deadline, has_length) {
                (false, _) => {}
                (true, false) => return Ok((bytes, false)),
                (true, true) => return Err("it took too long".to_owned()),
            }
        }
    }

    fn keep(
        &self,
        remote: &Remote,
        opened: &Opened,
        clip: Arc<Clip>,
        validators: Vec<(String, String)>,
    ) {
        let control = opened.headers.iter().find(|(name, _)| name == "cache-control");
        let control = control.map_or("", |(_, value)| value.as_str());
        let (life, may_keep) = cache_control(control);
        if remote.method != "GET" || !may_keep || (life.is_zero() && validators.is_empty()) {
            return;
        }
        let now = self.clock.now();
        let mut cached = lock(&self.shared.cached);
        let kept = Cached { clip, validators, fresh_until: now + life, used: now };
        cached.insert(remote.clone(), kept);
        let is_full = |cached: &BTreeMap<Remote, Cached>| {
            let lasts: Duration = cached.values().map(|one| one.clip.duration()).sum();
            cached.len() > CACHED_MAX || lasts > CACHED_DURATION_MAX
        };
        while is_full(&cached) {
            let oldest = cached.iter().min_by_key(|(_, one)| one.used);
            let Some(oldest) = oldest.map(|(remote, _)| remote.clone()) else { return };
            cached.remove(&oldest);
        }
    }

    /// Writes a live stream for as long as somebody hears it.
    fn go_on(&self, remote: &Remote, stream: Stream) {
        let Stream { live, mut decoder, is_radio } = stream;
        let mut pace = Pace { clock: self.clock, begin: self.clock.now(), heard: self.clock.now() };
        loop {
            let mut samples = Vec::new();
            while decoder.next(&mut samples) {
                live.push(&samples);
                samples.clear();
                if !pace.keep(&live) && self.forget(remote, &live) {
                    return;
                }
            }
            if !is_radio {
                break;
            }
            tracing::warn!(url = remote.place(), "the live stream is lost: connecting again");
            match self.connect_again(remote, &live, &mut pace) {
                Some(again) => decoder = again,
                None => break,
            }
        }
        lock(&self.shared.lives)
            .retain(|known, one| known != remote || one.as_ptr() != Arc::as_ptr(&live));
        live.end();
    }

    /// Gives a stream to nobody any more; false where somebody has just got it.
    fn forget(&self, remote: &Remote, live: &Arc<Live>) -> bool {
        let mut lives = lock(&self.shared.lives);
        if Arc::strong_count(live) > 1 {
            return false;
        }
        lives.retain(|known, one| known != remote || one.as_ptr() != Arc::as_ptr(live));
        true
    }

    /// Connects until it succeeds; none when nobody listens any more.
    fn connect_again(
        &self,
        remote: &Remote,
        live: &Arc<Live>,
        pace: &mut Pace,
    ) -> Option<StreamDecoder> {
        let pauses = PAUSES_S.iter().chain(std::iter::repeat(&PAUSES_S[PAUSES_S.len() - 1]));
        for pause in pauses {
            if !pace.pause(Duration::from_secs(*pause), live) {
                return None;
            }
            let opened = self.open(remote, Vec::new());
            let body = opened.ok().filter(|opened| opened.status == 200).map(|opened| opened.body);
            if let Some(decoder) = body.and_then(StreamDecoder::open) {
                tracing::info!(url = remote.place(), "the live stream is back");
                return Some(decoder);
            }
        }
        None
    }
}

enum Fetched {
    Whole(Arc<Clip>),
    Live(Box<Stream>),
}

/// A live stream and its writer.
struct Stream {
    live: Arc<Live>,
    decoder: StreamDecoder,
    /// Whether it has no end, so that it is connected again.
    is_radio: bool,
}

impl Stream {
    fn go_on(&mut self) -> bool {
        let mut samples = Vec::new();
        let goes_on = self.decoder.next(&mut samples);
        self.live.push(&samples);
        goes_on
    }
}

/// Keeps a writer a little ahead of its listeners, who hear as fast as time passes.
struct Pace {
    clock: Clock,
    /// When the first sample would have been heard.
    begin: Tick,
    /// When somebody was last seen to listen.
    heard: Tick,
}

impl Pace {
    /// Waits while the writer is far enough ahead; false when nobody listens any more.
    fn keep(&mut self, live: &Arc<Live>) -> bool {
        let now = self.clock.now();
        let due = self.begin + live.written();
        if due < now {
            // It ran dry: what comes now is heard now.
            self.begin += now - due;
        }
        let ahead = (self.begin + live.written()) - now;
        ahead <= AHEAD || self.pause(ahead - AHEAD, live)
    }

    /// Waits; false when nobody listens any more.
    fn pause(&mut self, pause: Duration, live: &Arc<Live>) -> bool {
        let until = self.clock.now() + pause;
        loop {
            let now = self.clock.now();
            // This thread holds one, each player another.
            if Arc::strong_count(live) > 1 {
                self.heard = now;
            }
            if now.since(self.heard) > UNHEARD_MAX {
                return false;
            }
            if now >= until {
                return true;
            }
            thread::park_timeout(until - now);
        }
    }
}

/// How long a sound may be used without asking (RFC 9111 §5.2.2), and whether it may be kept.
fn cache_control(value: &str) -> (Duration, bool) {
    let words = value.split(',').map(|word| word.trim().to_ascii_lowercase());
    let (mut life, mut may_keep) = (Duration::ZERO, true);
    let mut must_ask = false;
    for word in words {
        if let Some(seconds) = word.strip_prefix("max-age=") {
            life = Duration::from_secs(seconds.trim_matches('"').parse().unwrap_or(0));
        }
        may_keep &= word != "no-store";
        must_ask |= word == "no-cache";
    }
    (if must_ask { Duration::ZERO } else { life.min(FRESH_MAX) }, may_keep)
}

/// What a later request says to learn whether the sound has changed (RFC 9110 §13.1).
fn validators_of(headers: &[(String, String)]) -> Vec<(String, String)> {
    let pairs = [("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")];
    let found = pairs.iter().filter_map(|(given, asked)| {
        let (_, value) = headers.iter().find(|(name, _)| name == given)?;
        Some(((*asked).to_owned(), value.clone()))
    });
    found.collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
