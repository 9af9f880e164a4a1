//! Recordings: what the media thread hears becomes WAV files, attachments or uploads, on a thread
//! that may wait for a disk.
//!
//! Files lie beneath the directory of recordings only; the kernel itself refuses any way out. What
//! was heard is on its way to the disk after a second, header included, so a file is playable at
//! any time, also after a crash of this process.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};

use crate::call::{Keep, Keeping, Kept, Remote};
use crate::config::Settings;
use crate::flow;
use crate::media::{FRAME, HEADER_OCTETS, Tape};
use crate::shell::credentials::Credentials;
use crate::shell::outbound::{self, Policy};
use crate::shell::signalling::Input;
use crate::shell::wake::Sender;

/// Values that may wait for the thread: four frames of a thousand recordings; a frame beyond is
/// lost, and silence in its place.
pub(super) const TAKES_MAX: usize = 4096;
/// Recordings at a time; one more fails.
const RECORDINGS_MAX: usize = 2000;
/// Uploads under way; one more fails.
const UPLOADS_MAX: usize = 64;
/// How long an upload may take.
const UPLOAD_TIME: Duration = Duration::from_secs(60);
/// Frames after which what was heard goes to the disk: a second.
const FLUSH_FRAMES: u32 = 50;
/// How long nothing may come before all that was heard goes to the disk.
const IDLE: Duration = Duration::from_secs(1);
/// Directories that a recording's name may lead through.
const DEPTH_MAX: usize = 16;

/// What the thread is given.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a frame is sent without allocating")]
pub(super) enum Take {
    /// What the switch wants kept.
    Keep(Keep),
    /// 20 ms of a recording.
    Frame { recording: u64, index: u64, channels: u8, sound: [[i16; FRAME]; 2] },
}

impl Take {
    /// A frame of one or two channels.
    pub(super) fn frame(recording: u64, index: u64, channels: &[&[i16; FRAME]]) -> Self {
        let channel = |number: usize| channels.get(number).map_or([0; FRAME], |frame| **frame);
        let (sound, channels) = ([channel(0), channel(1)], channels.len().min(2) as u8);
        Self::Frame { recording, index, channels, sound }
    }
}

/// What the switch wants kept, until the thread has taken it.
#[derive(Debug)]
pub(super) struct Keeps {
    waiting: std::collections::VecDeque<Keep>,
    thread: SyncSender<Take>,
}

impl Keeps {
    pub(super) const fn new(thread: SyncSender<Take>) -> Self {
        Self { waiting: std::collections::VecDeque::new(), thread }
    }

    /// Hands over, in order; what does not fit now is handed over at the next call.
    pub(super) fn send(&mut self, keep: Option<Keep>) {
        self.waiting.extend(keep);
        while let Some(keep) = self.waiting.pop_front() {
            if let Err(TrySendError::Full(Take::Keep(keep))) =
                self.thread.try_send(Take::Keep(keep))
            {
                self.waiting.push_front(keep);
                return;
            }
        }
    }

    /// Whether something could not be handed over yet.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// One recording that runs.
struct Running {
    tape: Tape,
    keeping: Keeping,
    /// What was heard and is not yet in the file.
    bytes: Vec<u8>,
    frames_unwritten: u32,
    file: Option<Opened>,
}

/// A file that is being written.
struct Opened {
    file: File,
    path: PathBuf,
    /// Where it goes on.
    end: u64,
}

/// The thread's side.
pub(super) struct Recordings {
    directory: PathBuf,
    outputs: Sender<Input>,
    policy: Policy,
    credentials: Credentials,
    running: BTreeMap<u64, Running>,
    uploads: Vec<JoinHandle<()>>,
}

impl Recordings {
    /// Those of a server with these settings.
    pub(super) fn of(
        settings: &Settings,
        outputs: Sender<Input>,
        credentials: Credentials,
    ) -> Self {
        let policy = Policy::of_server(settings.outbound_allow.clone());
        Self::new(settings.recordings.clone(), outputs, policy, credentials)
    }

    fn new(
        directory: PathBuf,
        outputs: Sender<Input>,
        policy: Policy,
        credentials: Credentials,
    ) -> Self {
        let (running, uploads) = (BTreeMap::new(), Vec::new());
        Self { directory, outputs, policy, credentials, running, uploads }
    }

    /// Runs until nobody can speak to it any more, then brings to its end what still runs.
    pub(super) fn run(mut self, takes: &Receiver<Take>) {
        loop {
            match takes.recv_timeout(IDLE) {
                Ok(Take::Keep(Keep::Begin { recording, format, keeping })) => {
                    self.begin(recording, Tape::new(format), keeping);
                }
                Ok(Take::Keep(Keep::End { recording })) => self.end(recording),
                Ok(Take::Frame { recording, index, channels, sound }) => {
                    self.take(recording, index, &sound[..usize::from(channels)]);
                }
                Err(RecvTimeoutError::Timeout) => self.flush_all(),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        for recording in self.running.keys().copied().collect::<Vec<_>>() {
            self.end(recording);
        }
        for upload in self.uploads {
            let _ = upload.join();
        }
    }

    fn begin(&mut self, recording: u64, tape: Tape, keeping: Keeping) {
        let file = match &keeping {
            _ if self.running.len() >= RECORDINGS_MAX => {
                Err(format!("{RECORDINGS_MAX} recordings run already"))
            }
            Keeping::File(name) => self.open(name, &tape).map(Some),
            Keeping::Memory | Keeping::Upload(_) => Ok(None),
        };
        match file {
            Ok(file) => {
                let bytes = Vec::new();
                let running = Running { tape, keeping, bytes, frames_unwritten: 0, file };
                self.running.insert(recording, running);
            }
            Err(why) => self.outputs.send(Input::Kept(recording, Err(why))),
        }
    }

    /// Opens a new file, or one that is recorded over; no two recordings write the same.
    fn open(&self, name: &str, tape: &Tape) -> Result<Opened, String> {
        let place = relative(&self.directory, name);
        let path = self.directory.join(&place);
        let is_written =
            |one: &Running| one.file.as_ref().is_some_and(|opened| opened.path == path);
        if self.running.values().any(is_written) {
            return Err(format!("{}: another recording is writing this file", path.display()));
        }
        let created = create(&self.directory, &place).and_then(|file| {
            file.write_all_at(&tape.header(), 0)?;
            Ok(file)
        });
        let file = created.map_err(|error| {
            // What `openat2` says of a way out of the directory (RESOLVE_BENEATH).
            if error.kind() == ErrorKind::CrossesDevices {
                let directory = self.directory.display();
                return format!("{name} leads out of {directory}, where recordings must be");
            }
            format!("{}: {error}", path.display())
        })?;
        Ok(Opened { file, path, end: HEADER_OCTETS as u64 })
    }

    fn take(&mut self, recording: u64, index: u64, channels: &[[i16; FRAME]]) {
        // Frames may still come of one that has failed.
        let Some(running) = self.running.get_mut(&recording) else { return };
        running.tape.push(index, channels, &mut running.bytes);
        running.frames_unwritten += 1;
        if running.frames_unwritten >= FLUSH_FRAMES
            && let Err(why) = running.flush()
        {
            self.running.remove(&recording);
            self.outputs.send(Input::Kept(recording, Err(why)));
        }
    }

    fn flush_all(&mut self) {
        let mut failed = Vec::new();
        for (recording, running) in &mut self.running {
            if let Err(why) = running.flush() {
                failed.push((*recording, why));
            }
        }
        for (recording, why) in failed {
            self.running.remove(&recording);
            self.outputs.send(Input::Kept(recording, Err(why)));
        }
    }

    fn end(&mut self, recording: u64) {
        let Some(mut running) = self.running.remove(&recording) else { return };
        running.tape.finish(&mut running.bytes);
        let written = running.flush();
        let Running { tape, keeping, bytes, file, .. } = running;
        if !tape.lost().is_zero() {
            let (name, lost_ms) = (keeping.name(), tape.lost().as_millis() as u64);
            tracing::warn!(name, lost_ms, "sound of a recording was lost: the disk is too slow");
        }
        let duration_ms = tape.duration().as_millis() as u64;
        let kept = Kept { duration_ms, octets: tape.octets(), ..Kept::default() };
        let told = match keeping {
            Keeping::File(_) => {
                let path = file.map(|opened| opened.path.display().to_string());
                written.map(|()| Kept { path, ..kept })
            }
            Keeping::Memory => {
                let data = flow::base64(&[&tape.header()[..], &bytes].concat());
                Ok(Kept { data: Some(data), ..kept })
            }
            Keeping::Upload(remote) => {
                let whole = [&tape.header()[..], &bytes].concat();
                return self.upload(recording, &remote, whole, kept);
            }
        };
        self.outputs.send(Input::Kept(recording, told));
    }

    fn upload(&mut self, recording: u64, remote: &Remote, whole: Vec<u8>, kept: Kept) {
        self.uploads.retain(|upload| !upload.is_finished());
        if self.uploads.len() >= UPLOADS_MAX {
            let why = format!("{UPLOADS_MAX} uploads are under way");
            return self.outputs.send(Input::Kept(recording, Err(why)));
        }
        let (outputs, policy) = (self.outputs.clone(), self.policy.clone());
        let request = outbound::remote_request(remote, &self.credentials, UPLOAD_TIME);
        let send = move || {
            let sent = request.and_then(|request| {
                let answer = outbound::fetch(&request, Some(("audio/wav", &whole)), &policy)?;
                match answer.status {
                    200..300 => Ok(kept),
                    status => Err(format!("the server answered {status}")),
                }
            });
            outputs.send(Input::Kept(recording, sent));
        };
        match thread::Builder::new().name("upload".to_owned()).spawn(send) {
            Ok(upload) => self.uploads.push(upload),
            Err(error) => {
                let why = format!("the system gives no thread: {error}");
                self.outputs.send(Input::Kept(recording, Err(why)));
            }
        }
    }
}

impl Running {
    /// Writes what was heard to the file, then the header that covers it.
    fn flush(&mut self) -> Result<(), String> {
        self.frames_unwritten = 0;
        let Some(Opened { file, path, end }) = &mut self.file else { return Ok(()) };
        if self.bytes.is_empty() {
            return Ok(());
        }
        let written = file
            .write_all_at(&self.bytes, *end)
            .and_then(|()| file.write_all_at(&self.tape.header(), 0));
        *end += self.bytes.len() as u64;
        self.bytes.clear();
        written.map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// The name beneath the directory: flows may write the directory itself in front, as people do.
fn relative(directory: &Path, name: &str) -> PathBuf {
    let path = Path::new(name);
    if let Ok(inside) = path.strip_prefix(directory) {
        return inside.to_owned();
    }
    let name = name.strip_prefix("./").unwrap_or(name);
    PathBuf::from(name.strip_prefix("recordings/").unwrap_or(name))
}

/// Makes a file beneath a directory, and the directories that its name leads through.
fn create(directory: &Path, place: &Path) -> io::Result<File> {
    fs::create_dir_all(directory)?;
    let mut inside = File::open(directory)?;
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let parts = place.components().collect::<Vec<_>>();
    let Some((Component::Normal(name), parents)) = parts.split_last() else {
        return Err(ErrorKind::CrossesDevices.into());
    };
    if parents.len() > DEPTH_MAX {
        return Err(io::Error::other(format!("more than {DEPTH_MAX} directories deep")));
    }
    for part in parents {
        let Component::Normal(part) = part else { return Err(ErrorKind::CrossesDevices.into()) };
        match mkdirat(&inside, *part, Mode::from_raw_mode(0o750)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        inside = File::from(openat2(&inside, *part, flags, Mode::empty(), beneath)?);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = openat2(&inside, *name, flags, Mode::from_raw_mode(0o640), beneath)?;
    let file = File::from(file);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    file.set_len(0)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::media::{Clip, TapeFormat, ear};
    use crate::shell::testing::{Site, answer};
    use crate::shell::wake::{self, Inbox};

    /// The thread's side with its reports, in a fresh directory.
    fn recordings(name: &str) -> (Recordings, Inbox<Input>, PathBuf) {
        let directory =
            std::env::temp_dir().join(format!("ringback-tape-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let (outputs, inbox) = wake::channel(16).unwrap();
        let policy = Policy { allowed: Vec::new(), reaches_loopback: true };
        let credentials = Credentials::default();
        (Recordings::new(directory.clone(), outputs, policy, credentials), inbox, directory)
    }

    fn begin(recording: u64, keeping: Keeping) -> Take {
        let format = TapeFormat::new(8000, 16, 1).unwrap();
        Take::Keep(Keep::Begin { recording, format, keeping })
    }

    /// A frame of 400 Hz.
    fn hum(recording: u64, index: u64) -> Take {
        let turn = std::f32::consts::TAU * 400.0 / 8000.0;
        let sample = |n: usize| (8000.0 * (turn * n as f32).sin()) as i16;
        Take::frame(recording, index, &[&std::array::from_fn(sample)])
    }

    /// What the thread says of these takes, in the end.
    fn told(recordings: Recordings, inbox: &Inbox<Input>, takes: Vec<Take>) -> Vec<Input> {
        let (sender, receiver) = sync_channel(takes.len());
        for take in takes {
            sender.send(take).unwrap();
        }
        drop(sender);
        recordings.run(&receiver);
        std::iter::from_fn(|| inbox.take()).collect()
    }

    fn kept(input: &Input) -> &Result<Kept, String> {
        let Input::Kept(_, kept) = input else { panic!("{input:?}") };
        kept
    }

    #[test]
    fn a_file_is_playable_while_it_is_written_and_whole_in_the_end() {
        let (mut recordings, inbox, directory) = recordings("file");
        let name = "2026/mail box/1.wav";
        recordings.begin(
            1,
            Tape::new(TapeFormat::new(8000, 16, 1).unwrap()),
            Keeping::File(name.to_owned()),
        );
        let path = directory.join(name);
        for index in 0..120 {
            let Take::Frame { sound, .. } = hum(1, index) else { panic!() };
            recordings.take(1, index, &sound[..1]);
            // As if the process had died here.
            let seconds = (index + 1) / 50;
            let now = fs::read(&path).unwrap();
            assert_eq!(now.len() as u64, 44 + 16_000 * seconds);
            if seconds > 0 {
                let clip = Clip::from_wav(&now).unwrap();
                assert_eq!(clip.duration(), Duration::from_secs(seconds));
            }
        }
        recordings.end(1);
        let told = inbox.take().unwrap();
        let kept = kept(&told).as_ref().unwrap();
        assert_eq!(kept.path.as_deref(), path.to_str());
        assert_eq!((kept.duration_ms, kept.octets), (2400, 44 + 38_400));
        let clip = Clip::from_wav(&fs::read(&path).unwrap()).unwrap();
        assert!(ear::power(clip.samples(), 400.0) > 1e6);
    }

    #[test]
    fn no_name_leads_out_and_none_is_written_twice() {
        let (recordings, inbox, directory) = recordings("names");
        fs::create_dir_all(&directory).unwrap();
        std::os::unix::fs::symlink("/tmp", directory.join("link")).unwrap();
        let inside = directory.join("in.wav").display().to_string();
        let names = ["../out.wav", "/etc/out.wav", "a/../../out.wav", "link/out.wav", "", "."];
        let (mut takes, names) = (Vec::new(), names.map(str::to_owned));
        for (number, name) in names.iter().enumerate() {
            takes.push(begin(number as u64, Keeping::File(name.clone())));
        }
        takes.push(begin(10, Keeping::File(inside)));
        takes.push(begin(11, Keeping::File("./in.wav".to_owned())));
        takes.push(begin(12, Keeping::File("recordings/other.wav".to_owned())));
        for (number, input) in told(recordings, &inbox, takes).iter().enumerate() {
            match (number, kept(input)) {
                (0..6, Err(why)) if number != 3 => assert!(why.contains("leads out of"), "{why}"),
                (3, Err(_)) => {}
                (6, Err(why)) => assert!(why.contains("another recording"), "{why}"),
                (7 | 8, Ok(_)) => {}
                (_, other) => panic!("{number}: {other:?}"),
            }
        }
        assert!(directory.join("other.wav").exists() && directory.join("in.wav").exists());
        assert!(!Path::new("/tmp/out.wav").exists());
    }

    #[test]
    fn a_full_disk_ends_a_recording_and_the_others_go_on() {
        let (mut recordings, inbox, directory) = recordings("full");
        let tape = || Tape::new(TapeFormat::new(8000, 16, 1).unwrap());
        recordings.begin(1, tape(), Keeping::File("full.wav".to_owned()));
        recordings.begin(2, tape(), Keeping::File("fine.wav".to_owned()));
        // A device that is always full takes the place of the file.
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        recordings.running.get_mut(&1).unwrap().file.as_mut().unwrap().file = full;
        for index in 0..60 {
            let Take::Frame { sound, .. } = hum(1, index) else { panic!() };
            recordings.take(1, index, &sound[..1]);
            recordings.take(2, index, &sound[..1]);
        }
        recordings.end(1);
        recordings.end(2);
        let told = std::iter::from_fn(|| inbox.take()).collect::<Vec<_>>();
        let Input::Kept(1, Err(why)) = &told[0] else { panic!("{told:?}") };
        assert!(why.contains("full.wav") && why.contains("No space left"), "{why}");
        let Input::Kept(2, Ok(kept)) = &told[1] else { panic!("{told:?}") };
        assert_eq!(kept.duration_ms, 1200);
        assert_eq!(told.len(), 2, "told once");
        assert!(Clip::from_wav(&fs::read(directory.join("fine.wav")).unwrap()).is_ok());
    }

    #[test]
    fn memory_and_uploads_hold_the_whole_recording() {
        let site = Site::start(|asked, stream| match asked.head.contains("/no ") {
            true => answer(stream, "507 Insufficient Storage", "", b""),
            false => answer(stream, "201 Created", "", b""),
        });
        let remote = |url: String| {
            let headers = vec![("X-Box".to_owned(), "7".to_owned())];
            Keeping::Upload(Remote { method: "PUT".to_owned(), url, headers, credential: None })
        };
        let (recordings, inbox, _) = recordings("upload");
        let mut takes = vec![
            begin(1, Keeping::Memory),
            begin(2, remote(site.url("/yes"))),
            begin(3, remote(site.url("/no"))),
            begin(4, remote("http://10.0.0.1/".to_owned())),
        ];
        for index in 0..10 {
            takes.extend((1..=4).map(|recording| hum(recording, index)));
        }
        let mut told = told(recordings, &inbox, takes);
        told.sort_by_key(|input| if let Input::Kept(number, _) = input { *number } else { 0 });
        let data = kept(&told[0]).as_ref().unwrap().data.clone().unwrap();
        let clip = Clip::from_wav(&flow::unbase64(&data)).unwrap();
        assert_eq!(clip.duration(), Duration::from_millis(200));
        assert_eq!(kept(&told[1]).as_ref().unwrap().duration_ms, 200);
        assert_eq!(kept(&told[2]), &Err("the server answered 507".to_owned()));
        let refused = kept(&told[3]).as_ref().unwrap_err();
        assert!(refused.contains("private address"), "{refused}");
        let asked = site.asked.iter().find(|asked| asked.head.starts_with("PUT /yes")).unwrap();
        let head = asked.head.to_lowercase();
        assert!(head.contains("content-type: audio/wav") && head.contains("x-box: 7"), "{head}");
        assert_eq!(Clip::from_wav(&asked.body).unwrap().samples(), clip.samples());
    }
}
