//! `ringback demo`: servers and phones on real sockets, the main job act by act, and proof of it.
//!
//! Each act has a server, phones and a thread of its own, so that all of them take no longer than
//! the longest; they are told in order.

mod act;
mod haste;
mod hello;
mod house;
mod queue;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use crate::shell::Clock;
use crate::shell::cli::{complain, say};
use crate::shell::demo::act::{Act, Broken, Outcome, Proof};
use crate::shell::demo::house::Place;
use crate::shell::phone::Role;

/// How often the demo says which acts still run.
const NEWS_EVERY: Duration = Duration::from_secs(5);
/// How long all acts may take: every step has a limit of its own, and this is beyond their sum.
const TOTAL_MAX: Duration = Duration::from_secs(300);

/// An act as it is announced.
struct Title {
    name: &'static str,
    what: &'static str,
    roles: &'static [Role],
    server: Place,
    play: fn(&mut Act) -> Result<(), Broken>,
}

const ACTS: [Title; 9] = [
    Title {
        name: "hello",
        what: "one call: a prompt, a digit, a goodbye",
        roles: hello::ROLES,
        server: Place::Here,
        play: hello::play,
    },
    Title {
        name: "agent free",
        what: "the caller is bridged with the agent, each hears the other",
        roles: queue::ROLES,
        server: Place::Here,
        play: queue::agent_is_free,
    },
    Title {
        name: "called back",
        what: "all busy: the customer asks, hangs up, and is called by a free agent",
        roles: queue::ROLES,
        server: Place::Here,
        play: queue::called_back,
    },
    Title {
        name: "no answer",
        what: "the customer who is called back does not answer: the agent is told",
        roles: queue::ROLES,
        server: Place::Here,
        play: queue::customer_does_not_answer,
    },
    Title {
        name: "reached later",
        what: "no answer at first: the promise is kept, and he is reached later",
        roles: queue::ROLES,
        server: Place::Here,
        play: queue::reached_at_the_second_attempt,
    },
    Title {
        name: "phones in himself",
        what: "who waits to be called back phones in: served live, called by nobody",
        roles: queue::ROLES,
        server: Place::Here,
        play: queue::phones_in_himself,
    },
    Title {
        name: "offline",
        what: "nobody is registered: the caller is told",
        roles: queue::ROLES,
        server: Place::Here,
        play: queue::nobody_is_there,
    },
    Title {
        name: "hang-up between",
        what: "hung up while the agent rings: bridged or called back, never both",
        roles: queue::ROLES,
        server: Place::Here,
        play: queue::hangs_up_between,
    },
    Title {
        name: "killed",
        what: "the process dies: two promises are there again, kept in their order",
        roles: queue::ROLES_OF_TWO,
        server: Place::Apart,
        play: queue::killed,
    },
];

/// Plays the demo; the exit code is 0 only if every claim held.
pub(super) fn run(hello: &Path, queue: &Path, prompts: &Path) -> ExitCode {
    let copy = match haste::write(queue, &act::scratch()) {
        Ok(copy) => copy,
        Err(why) => return complain(&why),
    };
    say(&format!("act 1     runs {}", hello.display()));
    say(&format!("acts 2-{}  run {}, with shorter waits:", ACTS.len(), queue.display()));
    say(&format!("          {}", haste::IN_WORDS));
    say(&format!("          {}", act::PAUSES_IN_WORDS));
    say("all on loopback, at the same time, each with a server and phones of its own\n");
    let (sender, outcomes) = channel();
    for (index, title) in ACTS.iter().enumerate() {
        let flow = if index == 0 { hello.to_owned() } else { copy.clone() };
        let (sender, prompts) = (sender.clone(), prompts.to_owned());
        let run = move || {
            // Nobody listens any more when the demo has given up.
            let _ = sender.send((index, perform(index, title, &flow, &prompts)));
        };
        let started = thread::Builder::new().name(format!("act-{}", index + 1)).spawn(run);
        if let Err(error) = started {
            return complain(&format!("the system refused a thread: {error}"));
        }
    }
    drop(sender);
    let results = tell(&outcomes);
    let _ = fs::remove_dir_all(act::scratch());
    say(&table(&results));
    let failed = results.iter().filter(|result| !result.as_ref().is_some_and(Outcome::holds));
    match failed.count() {
        0 => {
            say("demo: every act did what it should");
            ExitCode::SUCCESS
        }
        failed => complain(&format!("demo: {failed} act(s) failed")),
    }
}

fn perform(index: usize, title: &Title, flow: &Path, prompts: &Path) -> Outcome {
    match Act::open(index as u16, flow, prompts, title.roles, title.server) {
        Ok(mut act) => {
            // A broken act has said so in its last proof.
            let _ = (title.play)(&mut act);
            act.close()
        }
        Err(claim) => {
            let proofs = vec![Proof { holds: false, claim }];
            Outcome { proofs, ladder: String::new() }
        }
    }
}

/// Tells acts in order as they end, and meanwhile which still run.
fn tell(outcomes: &Receiver<(usize, Outcome)>) -> [Option<Outcome>; ACTS.len()] {
    let clock = Clock::start();
    let deadline = clock.now() + TOTAL_MAX;
    let mut results = [const { None }; ACTS.len()];
    let (mut told, mut news_due) = (0, clock.now() + NEWS_EVERY);
    while told < ACTS.len() && clock.now() < deadline {
        match outcomes.recv_timeout(clock.until(news_due)) {
            Ok((index, outcome)) => results[index] = Some(outcome),
            Err(RecvTimeoutError::Timeout) => {
                news_due += NEWS_EVERY;
                let running = ACTS.iter().zip(&results).filter(|(_, result)| result.is_none());
                let names = running.map(|(title, _)| title.name).collect::<Vec<_>>().join(", ");
                let seconds = clock.now().as_millis() / 1000;
                say(&format!("... {seconds:>3} s, still playing: {names}"));
            }
            // A thread that died has sent nothing, and its act counts as failed.
            Err(RecvTimeoutError::Disconnected) => break,
        }
        while let Some(outcome) = results.get(told).and_then(Option::as_ref) {
            say(&story(told, outcome));
            told += 1;
        }
    }
    for (index, result) in results.iter().enumerate().skip(told) {
        if let Some(outcome) = result {
            say(&story(index, outcome));
        }
    }
    results
}

fn story(index: usize, outcome: &Outcome) -> String {
    let Title { name, what, .. } = &ACTS[index];
    let proofs = outcome.proofs.iter().map(|proof| format!("{proof}\n")).collect::<String>();
    format!("\nact {}, {name}: {what}\n{proofs}\n{}", index + 1, outcome.ladder)
}

/// Act, number of claims that held, and the verdict with the claim that fell.
fn table(results: &[Option<Outcome>]) -> String {
    let mut text = format!("{:<18} | {:<68} | result\n", "act", "proof");
    for (title, result) in ACTS.iter().zip(results) {
        let Title { name, what, .. } = title;
        let verdict = match result {
            None => "FAIL: it never ended".to_owned(),
            Some(outcome) => {
                let fell = outcome.proofs.iter().find(|proof| !proof.holds);
                let count = outcome.proofs.len();
                fell.map_or(format!("ok, {count} claims"), |fell| format!("FAIL: {}", fell.claim))
            }
        };
        text.push_str(&format!("{name:<18} | {what:<68} | {verdict}\n"));
    }
    text
}
