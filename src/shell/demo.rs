//! `ringback demo`: a server and a phone on real sockets, one call, and proof of what it did.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{RtpRange, Settings};
use crate::media::{Clip, ear};
use crate::shell::check::check_files;
use crate::shell::cli::{complain, say};
use crate::shell::clock::system_rng;
use crate::shell::phone::Line;
use crate::shell::{Clock, Server, files};
use crate::sim::{Phone, PhoneEvent};
use crate::sip::Cause;

/// How alike what was heard and the prompt must be; 1 is the same sound.
const LIKENESS_MIN: f32 = 0.9;
/// Samples that are compared: a second and a half from the beginning of the prompt.
const COMPARED: usize = 12_000;
/// How long any one step may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Plays the demo; the exit code is 0 only if every step happened.
pub(super) fn run(flow: &Path, prompts: &Path) -> ExitCode {
    let checked = check_files(&[flow.to_owned()], prompts);
    if checked.has_errors() {
        for problem in &checked.problems {
            say(&format!("{problem}\n"));
        }
        return complain("the flow is not sound");
    }
    let data = std::env::temp_dir().join(format!("ringback-demo-{}", std::process::id()));
    let settings = Settings {
        sip: SocketAddr::from(([127, 0, 0, 1], 0)),
        http: SocketAddr::from(([127, 0, 0, 1], 0)),
        rtp: RtpRange { ports: 30_000..=30_999, ..Settings::default().rtp },
        data: data.clone(),
        prompts: prompts.to_owned(),
        ..Settings::default()
    };
    let server = match Server::start(&settings, checked.graphs) {
        Ok(server) => server,
        Err(error) => return complain(&error.to_string()),
    };
    say(&format!("server  sip {}, flow {}", server.sip(), flow.display()));
    let outcome = play(&server, prompts);
    let _ = server.stop(|| false);
    let _ = std::fs::remove_dir_all(&data);
    match outcome {
        Ok(()) => {
            say("\ndemo: every step happened");
            ExitCode::SUCCESS
        }
        Err(why) => complain(&format!("demo: {why}")),
    }
}

fn play(server: &Server, prompts: &Path) -> Result<(), String> {
    let hello = files::load(prompts, "hello.wav")?;
    let goodbye = files::load(prompts, "goodbye.wav")?;
    let mut rng = system_rng();
    let mut line = Line::open("phone", Clock::start(), &mut rng)
        .map_err(|error| format!("cannot open a phone: {error}"))?;
    say(&format!("phone   sip {}\n", line.phone().address()));
    let outcome = story(&mut line, server, &hello, &goodbye);
    say(&format!("\n{}", line.ladder()));
    outcome
}

fn story(
    line: &mut Line,
    server: &Server,
    hello: &Arc<Clip>,
    goodbye: &Arc<Clip>,
) -> Result<(), String> {
    let target = server.sip();
    line.with(|phone, now| phone.call("hello", target, now));
    step(line.until(PATIENCE, |phone| phone.is_talking()), "the call is answered")?;

    let has_heard = |phone: &Phone| phone.heard().len() >= COMPARED * 3 / 2;
    step(line.until(PATIENCE, has_heard), "sound arrives")?;
    let before = line.phone().heard().len();
    line.with(|phone, now| phone.press("1", now));
    let ended = |phone: &Phone| {
        phone.events().iter().any(|(_, event)| *event == PhoneEvent::Ended(Cause::Bye))
    };
    let hung_up = line.until(PATIENCE, ended);
    let heard = line.phone().heard();
    // Compared when the call is over: a comparison takes longer than a packet may wait.
    let likeness_of_hello = likeness(&heard[..before], hello);
    let said = format!("it is the prompt hello.wav, likeness {likeness_of_hello:.3}");
    step(likeness_of_hello >= LIKENESS_MIN, &said)?;
    let cut_short = heard.len() < hello.samples().len() + goodbye.samples().len();
    step(cut_short, "the digit 1 interrupts the prompt")?;
    let after = likeness(&heard[before..], goodbye);
    let said = format!("the prompt goodbye.wav is heard, likeness {after:.3}");
    step(after >= LIKENESS_MIN, &said)?;
    step(hung_up, "the server hangs up")?;

    let legs = server.snapshot().map(|snapshot| snapshot.live_legs);
    step(legs == Some(0), "no leg is left")
}

/// How alike the beginning of a prompt is to anything in what was heard.
fn likeness(heard: &[i16], prompt: &Clip) -> f32 {
    let reference = &prompt.samples()[..prompt.samples().len().min(COMPARED)];
    ear::find(heard, reference).map_or(0.0, |found| found.coefficient)
}

fn step(happened: bool, what: &str) -> Result<(), String> {
    let mark = if happened { "ok  " } else { "FAIL" };
    say(&format!("{mark}  {what}"));
    if happened { Ok(()) } else { Err(format!("this did not happen: {what}")) }
}
