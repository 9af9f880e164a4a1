//! `ringback sim`: days of calls to a flow in a simulated world, in seconds, and what came of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use crate::base::{Rng, Tick};
use crate::call::trigger::{Kind, Peer, Trigger, TrunkSettings};
use crate::flow::Graph;
use crate::media::Clip;
use crate::shell::check::check_files;
use crate::shell::cli::{complain, say};
use crate::shell::deadline::{STUCK, Watched};
use crate::shell::{Clock, files};
use crate::sim::{Exchange, Habits, Party, Phone, Report, Server, Traffic, World, standard_config};
use crate::sip::Credentials;

/// Lines of the trunk: as many customers as may be in a call at a time.
const LINES: usize = 40;
/// How long one expression may take, and a Code node a hundred times as long. Far more than they do on
/// any machine, so that what comes of the calls is the same on all of them.
const SCRIPT_MAX: Duration = Duration::from_millis(500);
/// Agents that take part: the first of the flow's extensions.
const AGENTS_MAX: usize = 100;

/// What `ringback sim` can be told.
#[derive(Debug, Args)]
pub(super) struct SimArgs {
    /// The workflow export that answers.
    #[arg(long, value_name = "FILE", default_value = "flows/queue-callback.json")]
    flow: PathBuf,
    /// Chooses who calls when, and what each does; equal seeds give equal calls.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Days that are played, 1 to 3660.
    #[arg(long, value_name = "D", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3660))]
    days: u32,
    /// Callers an hour, 1 to 3600.
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u32).range(1..=3600))]
    calls: u32,
    /// Hours of the day in which people call and agents are there.
    #[arg(long, value_name = "FROM-TO", default_value = "8-18", value_parser = parse_hours)]
    hours: (u32, u32),
    /// Keys that a caller presses, and how many seconds after the one before; may be repeated.
    #[arg(long, value_name = "SECONDS:KEYS", default_value = "12:1", value_parser = parse_press)]
    press: Vec<(Duration, String)>,
    /// The key that asks for a callback, and how many of a hundred callers press it.
    #[arg(long, value_name = "KEY:PERCENT", default_value = "1:50", value_parser = parse_callback)]
    callback: (String, u8),
    /// How long callers wait before they hang up, at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    patience: u64,
    /// How long people talk, at most.
    #[arg(long, value_name = "SECONDS", default_value_t = 480)]
    talk: u64,
    /// Directory of the sound files that flows name.
    #[arg(long, value_name = "DIR", default_value = "prompts")]
    prompts: PathBuf,
}

/// Plays the days and says what came of them.
pub(super) fn run(arguments: &SimArgs) -> ExitCode {
    let clock = Clock::start();
    let checked = check_files(std::slice::from_ref(&arguments.flow), &arguments.prompts);
    for problem in &checked.problems {
        say(&format!("{problem}\n"));
    }
    if checked.has_errors() {
        return complain(&format!("{} is not sound", arguments.flow.display()));
    }
    let (mut world, mut traffic) = match people(arguments, checked.graphs, clock) {
        Ok(people) => people,
        Err(why) => return complain(&format!("{}: {why}", arguments.flow.display())),
    };
    let end = Tick::ZERO + Duration::from_secs(86_400) * arguments.days;
    traffic.play(&mut world, end);
    say(&table(arguments, traffic.report(), world.digest()));
    let took = clock.now() - Tick::ZERO;
    say(&format!("{} days in {:.1} s", arguments.days, took.as_secs_f64()));
    ExitCode::SUCCESS
}

fn server_at() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 5060))
}

/// A trunk full of customers, the server, and a phone for every extension of the flow.
fn people(
    arguments: &SimArgs,
    graphs: Vec<Graph>,
    clock: Clock,
) -> Result<(World, Traffic), String> {
    let mut rng = Rng::new(arguments.seed);
    let trunk_at = SocketAddr::from(([127, 0, 2, 1], 5060));
    let mut config = standard_config(server_at());
    let triggers =
        graphs.iter().cloned().enumerate().flat_map(|(workflow, graph)| {
            Trigger::of(&Arc::new(graph), workflow, &BTreeMap::new())
        });
    let (mut account, mut accounts) = (None, Vec::new());
    for trigger in triggers {
        match trigger.kind {
            Kind::DynamicTrunk { credentials } => account = account.or(Some(credentials)),
            Kind::FixedTrunk { .. } | Kind::RegisteredTrunk { .. } => {
                let peers = vec![Peer { address: trunk_at.ip(), port: None }];
                let server = Some(trunk_at);
                let settings = TrunkSettings { peers, server, ..TrunkSettings::default() };
                config.trunks.insert(trigger.reference, settings);
                let nobody = Credentials {
                    username: "trunk".to_owned(),
                    password: String::new(),
                    realm: None,
                };
                account = account.or(Some(nobody));
            }
            Kind::Extensions { phones } => {
                accounts.extend(phones.into_iter().map(|phone| phone.credentials));
            }
        }
    }
    let account = account.ok_or("it has no trunk trigger, so nobody can call it")?;
    accounts.truncate(AGENTS_MAX);
    let numbers = (0..LINES).map(|line| format!("+49301000{line:04}")).collect::<Vec<_>>();
    let exchange = Exchange::new("customers", trunk_at, &numbers, &account, rng.next_u64());
    let clips = clips(&arguments.prompts)?;
    let flow = arguments.flow.clone();
    let deadline = Watched::command(clock, SCRIPT_MAX, move || {
        complain(&format!("{}: {STUCK}", flow.display()));
        std::process::exit(1);
    });
    let server = Server::new(server_at(), config, graphs, clips, rng.next_u64());
    let server = server.soundless().with_deadline(Rc::new(deadline));
    let mut parties = vec![Party::Exchange(Box::new(exchange)), Party::Server(Box::new(server))];
    let mut agents = Vec::new();
    for (place, account) in accounts.into_iter().enumerate() {
        let at = |port| SocketAddr::from(([127, 0, 1, place as u8 + 1], port));
        let phone = Phone::new(&account.username, at(5060), at(4000), rng.next_u64());
        agents.push((parties.len(), account.username, account.password));
        parties.push(Party::Phone(Box::new(phone.registering_for(3600).soundless())));
    }
    let traffic = Traffic::new(habits(arguments), server_at(), numbers, agents, rng.next_u64());
    Ok((World::new(rng.next_u64(), parties).undrawn(), traffic))
}

fn habits(arguments: &SimArgs) -> Habits {
    let seconds = |from, to: u64| (Duration::from_secs(from), Duration::from_secs(to.max(from)));
    Habits {
        gap: Duration::from_secs(3600) / arguments.calls,
        hours: arguments.hours.0..arguments.hours.1,
        keys: arguments.press.clone(),
        callback: Some(arguments.callback.clone()),
        asks_after: seconds(2, 60),
        patience: seconds(10, arguments.patience),
        talk: seconds(20, arguments.talk),
        customers_answer: 75,
        agents_answer: 95,
        agents_leave: 10,
    }
}

/// Every sound file of the directory, by its name.
fn clips(prompts: &Path) -> Result<BTreeMap<String, Arc<Clip>>, String> {
    let unreadable = |error| format!("prompts in {}: {error}", prompts.display());
    let mut clips = BTreeMap::new();
    for entry in std::fs::read_dir(prompts).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name().to_string_lossy().into_owned();
        if [".wav", ".mp3", ".ogg", ".flac"].iter().any(|kind| name.ends_with(kind)) {
            let clip = files::load(prompts, &name)?;
            clips.insert(name, clip);
        }
    }
    Ok(clips)
}

fn table(arguments: &SimArgs, report: &Report, digest: u64) -> String {
    let mut text = String::new();
    let mut row = |what: &str, value: String| {
        let _ = writeln!(text, "{what:<34}{value:>12}");
    };
    let share = |count: u64| {
        let percent = 100.0 * count as f64 / report.calls.max(1) as f64;
        format!("{count}  {percent:5.1} %")
    };
    let (from, to) = arguments.hours;
    row("days", arguments.days.to_string());
    row("hours", format!("{from}-{to}"));
    row("calls", report.calls.to_string());
    row("  bridged with an agent", share(report.served));
    row("  hung up by the caller", share(report.abandoned));
    row("  turned away", share(report.turned_away));
    row("callbacks promised", report.promised.to_string());
    for (end, count) in &report.ends {
        row(&format!("  {end}"), count.to_string());
    }
    let ended = report.ends.values().sum::<u64>();
    row("  still open", (report.promised - ended.min(report.promised)).to_string());
    row("customers called back and bridged", report.called_back.to_string());
    for (what, waits) in
        [("wait on the line", &report.waits), ("wait for the callback", &report.callback_waits)]
    {
        let [median, most, longest] = quantiles(waits);
        row(what, format!("median {median} s, 95 % within {most} s, longest {longest} s"));
    }
    row("positions that got worse", report.worsened.to_string());
    for (error, count) in &report.errors {
        row("runs that failed", format!("{count}: {error}"));
    }
    row("hash of all messages", format!("{digest:016x}"));
    text.trim_end().to_owned()
}

/// Median, 95 % and longest, in seconds.
fn quantiles(waits: &[Duration]) -> [u64; 3] {
    let mut sorted = waits.to_vec();
    sorted.sort_unstable();
    [50, 95, 100].map(|percent| {
        let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
        sorted.get(place).map_or(0, Duration::as_secs)
    })
}

fn parse_hours(text: &str) -> Result<(u32, u32), String> {
    let known =
        text.split_once('-').and_then(|(from, to)| Some((from.parse().ok()?, to.parse().ok()?)));
    known
        .filter(|(from, to)| from < to && *to <= 24)
        .ok_or_else(|| "write two hours of a day, the earlier first, such as 8-18".to_owned())
}

fn parse_press(text: &str) -> Result<(Duration, String), String> {
    let known = text.split_once(':').and_then(|(seconds, keys)| {
        let keys = Some(keys).filter(|keys| is_keys(keys))?;
        Some((Duration::from_secs(seconds.parse().ok()?), keys.to_owned()))
    });
    known.ok_or_else(|| "write seconds and keys, such as 12:1 or 3:101#".to_owned())
}

fn parse_callback(text: &str) -> Result<(String, u8), String> {
    let known = text.split_once(':').and_then(|(key, percent)| {
        let key = Some(key).filter(|key| is_keys(key))?;
        Some((key.to_owned(), percent.parse::<u8>().ok().filter(|percent| *percent <= 100)?))
    });
    known.ok_or_else(|| "write a key and a percentage, such as 1:50".to_owned())
}

fn is_keys(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|key| matches!(key, '0'..='9' | '*' | '#' | 'A'..='D'))
}
