//! An act of the demo: a server, its phones, and what was proven with them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::base::Tick;
use crate::call::QueueSettings;
use crate::config::{RtpRange, Settings};
use crate::media::ear;
use crate::promise::{Pauses, Policy};
use crate::shell::check::check_files;
use crate::shell::clock::system_rng;
use crate::shell::demo::house::{House, Place};
use crate::shell::phone::{Role, Stage};
use crate::shell::{Clock, files};
use crate::sim::{Phone, PhoneEvent};

/// How long any one step may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
/// How alike what was heard and the prompt must be; 1 is the same sound.
const LIKENESS_MIN: f32 = 0.9;
/// Samples of a prompt that are compared: half a second, half a second after its beginning.
const COMPARED: std::ops::Range<usize> = 4000..8000;
/// Samples that are searched: ten seconds. A search of minutes takes minutes.
const SEARCHED_MAX: usize = 80_000;
/// Audio ports of one act's server; a leg takes two.
const PORTS: u16 = 160;
/// The first audio port of the first act.
const FIRST_PORT: u16 = 30_000;
/// What the settings differ in, for people.
pub(super) const PAUSES_IN_WORDS: &str =
    "and in the settings: after no answer 5 min -> 3 s (queue.REF.no_answer_s)";
/// The pause before the next attempt, when nobody answered.
const NO_ANSWER_PAUSE: Duration = Duration::from_secs(3);
/// How long BYEs on the way may take when a server is stopped.
const BYE_WAIT: Duration = Duration::from_secs(1);

/// One claim and whether it held.
#[derive(Debug)]
pub(super) struct Proof {
    /// Whether it held.
    pub(super) holds: bool,
    /// The claim, with the number that was measured.
    pub(super) claim: String,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}  {}", if self.holds { "ok  " } else { "FAIL" }, self.claim)
    }
}

/// Why an act could not go on; its last proof says the same in words.
#[derive(Debug)]
pub(super) struct Broken;

/// What an act leaves behind.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What was proven, in order.
    pub(super) proofs: Vec<Proof>,
    /// Who said what to whom.
    pub(super) ladder: String,
}

impl Outcome {
    /// Whether everything held, and there was something.
    pub(super) fn holds(&self) -> bool {
        !self.proofs.is_empty() && self.proofs.iter().all(|proof| proof.holds)
    }
}

/// A server on ports of its own, and the phones around it.
pub(super) struct Act {
    stage: Stage,
    server: House,
    prompts: PathBuf,
    data: PathBuf,
    proofs: Vec<Proof>,
    heard: Vec<Excerpt>,
    clock: Clock,
}

/// Sound that is compared when the act is over: a comparison takes longer than a packet may wait.
struct Excerpt {
    who: String,
    prompt: &'static str,
    sound: Vec<i16>,
}

impl Act {
    /// Starts a server with this flow, and its phones. `number` tells acts that run at the same
    /// time apart.
    pub(super) fn open(
        number: u16,
        flow: &Path,
        prompts: &Path,
        roles: &[Role],
        place: Place,
    ) -> Result<Self, String> {
        let checked = check_files(&[flow.to_owned()], prompts);
        if checked.has_errors() {
            let problems = checked.problems.iter().map(ToString::to_string);
            return Err(problems.collect::<Vec<_>>().join("\n"));
        }
        let data = scratch().join(number.to_string());
        let first = FIRST_PORT + number * PORTS;
        let settings = Settings {
            sip: SocketAddr::from(([127, 0, 0, 1], 0)),
            http: SocketAddr::from(([127, 0, 0, 1], 0)),
            rtp: RtpRange { ports: first..=first + PORTS - 1, ..Settings::default().rtp },
            data: data.clone(),
            prompts: prompts.to_owned(),
            ..Settings::default()
        };
        let pauses = Pauses { no_answer: vec![NO_ANSWER_PAUSE], ..Pauses::default() };
        let policy = Policy { pauses, ..Policy::default() };
        let queue = QueueSettings { policy, ..QueueSettings::default() };
        let queues = ["support", "sales"].map(|name| (name.to_owned(), queue.clone()));
        let settings = Settings { queues: BTreeMap::from(queues), ..settings };
        let server = House::open(place, flow.to_owned(), checked.graphs, settings)?;
        let clock = Clock::start();
        let stage = Stage::open(roles, clock, &mut system_rng())
            .map_err(|error| format!("cannot open the phones: {error}"))?;
        let (proofs, heard) = (Vec::new(), Vec::new());
        Ok(Self { stage, server, prompts: prompts.to_owned(), data, proofs, heard, clock })
    }

    /// Where the server answers SIP.
    pub(super) const fn server(&self) -> SocketAddr {
        self.server.sip()
    }

    /// A phone, to look at.
    pub(super) fn phone(&self, index: usize) -> &Phone {
        self.stage.phone(index)
    }

    /// Writes a remark into the ladder.
    pub(super) fn note(&mut self, text: &str) {
        self.stage.note(text);
    }

    /// Uses a phone.
    pub(super) fn act(&mut self, index: usize, act: impl FnOnce(&mut Phone, Tick)) {
        self.stage.act(index, act);
    }

    /// Lets time pass.
    pub(super) fn pass(&mut self, millis: u64) {
        self.stage.pass(Duration::from_millis(millis));
    }

    /// Claims something; without it the act cannot go on.
    pub(super) fn prove(&mut self, holds: bool, claim: &str) -> Result<(), Broken> {
        self.proofs.push(Proof { holds, claim: claim.to_owned() });
        if holds { Ok(()) } else { Err(Broken) }
    }

    /// Waits for something and claims that it came, and after how long.
    pub(super) fn comes(
        &mut self,
        claim: &str,
        done: impl Fn(&Stage) -> bool,
    ) -> Result<(), Broken> {
        let began = self.clock.now();
        let holds = self.stage.until(PATIENCE, done);
        let took = (self.clock.now() - began).as_millis();
        self.prove(holds, &format!("{claim}, after {took} ms"))
    }

    /// How much a phone has heard in its call so far, in samples.
    pub(super) fn heard(&self, index: usize) -> usize {
        self.phone(index).heard().len()
    }

    /// Claims that the phone has heard this prompt since then; compared when the act is over.
    pub(super) fn hears(&mut self, index: usize, prompt: &'static str, from: usize) {
        let phone = self.stage.phone(index);
        let sound = phone.heard().get(from..).unwrap_or_default();
        let sound = sound[sound.len().saturating_sub(SEARCHED_MAX)..].to_vec();
        let who = phone.name().to_owned();
        self.stage.note(&format!("{who} has heard {prompt}"));
        self.heard.push(Excerpt { who, prompt, sound });
    }

    /// How often this happened to a phone.
    pub(super) fn count(&self, index: usize, event: &PhoneEvent) -> usize {
        self.phone(index).events().iter().filter(|(_, happened)| happened == event).count()
    }

    /// How many promises the server still has to keep.
    pub(super) fn promises(&self) -> Option<usize> {
        self.server.promises()
    }

    /// The numbers that the server has promised to call, in order.
    pub(super) fn numbers(&self) -> Vec<String> {
        self.server.numbers().unwrap_or_default()
    }

    /// Kills the server's process and starts it again.
    pub(super) fn kill(&mut self) -> Result<(), Broken> {
        self.note("the server is killed (SIGKILL), and started again");
        let began = self.clock.now();
        let started = self.server.kill_and_start_again();
        let took = (self.clock.now() - began).as_millis();
        let why = started.as_ref().err().map(|why| format!(": {why}")).unwrap_or_default();
        self.prove(started.is_ok(), &format!("killed and ready again after {took} ms{why}"))
    }

    /// Claims that no leg is left within a few seconds.
    pub(super) fn no_leg_is_left(&mut self) -> Result<(), Broken> {
        for _ in 0..50 {
            if self.server.legs() == Some(0) {
                break;
            }
            self.pass(100);
        }
        let left = self.server.legs();
        let said = left.map_or("unknown".to_owned(), |left| left.to_string());
        self.prove(left == Some(0), &format!("no leg is left on the server: {said}"))
    }

    /// Ends the server, and compares what was heard.
    pub(super) fn close(self) -> Outcome {
        let (mut proofs, ladder) = (self.proofs, self.stage.ladder());
        let deadline = self.clock.now() + BYE_WAIT;
        self.server.stop(|| self.clock.now() >= deadline);
        let _ = fs::remove_dir_all(&self.data);
        proofs.extend(self.heard.iter().map(|excerpt| excerpt.proof(&self.prompts)));
        Outcome { proofs, ladder }
    }
}

impl Excerpt {
    fn proof(&self, prompts: &Path) -> Proof {
        let Self { who, prompt, sound } = self;
        let reference = files::load(prompts, prompt).ok();
        let reference = reference.as_ref().and_then(|clip| clip.samples().get(COMPARED));
        let found = reference.and_then(|reference| ear::find(sound, reference));
        let likeness = found.map_or(0.0, |found| found.coefficient);
        let claim = format!("{who} hears {prompt}, likeness {likeness:.3}");
        Proof { holds: likeness >= LIKENESS_MIN, claim }
    }
}

/// The directory of this demo's own files; removed when it ends.
pub(super) fn scratch() -> PathBuf {
    std::env::temp_dir().join(format!("ringback-demo-{}", std::process::id()))
}
