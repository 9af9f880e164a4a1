//! The command line: what can be said, and what each word does.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::call::node;
use crate::config::{self, RtpRange, Settings};
use crate::flow::{self, Severity};
use crate::shell::check::{Checked, check_with_credentials};
use crate::shell::client::ServerArgs;
use crate::shell::serve::Origin;
use crate::shell::{calls, credentials, demo, log, owed, reload, run, runs, serve, sim};

/// A softswitch that runs call flows: imports an n8n workflow export and executes it as a SIP and
/// RTP media server.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Examples:
  ringback demo                          calls, a queue and callbacks on loopback, with proof
  ringback check flows/hello.json        is this flow sound?
  ringback serve                         answer calls on 127.0.0.1:5060, and say how to try it"
)]
struct Cli {
    #[command(subcommand)]
    command: Word,
}

#[derive(Debug, Subcommand)]
enum Word {
    /// Answers calls with flows until SIGTERM or Ctrl-C.
    #[command(after_help = "Everything listens on loopback unless told otherwise.
On SIGTERM no new calls are taken; those that are there may go on for limits.drain_s seconds
(30), then they get a BYE. A second signal ends them at once. On SIGHUP the files of the flows
are read again, as `ringback reload` does it.

Examples:
  ringback serve                                        flows/queue-callback.json
  ringback serve flows/hello.json --sip 127.0.0.1:5070
  ringback serve my.json --config ringback.toml --data /var/lib/ringback")]
    Serve(ServeArgs),
    /// Finds everything that is wrong with flows; exit code 1 when there is an error.
    #[command(after_help = "Examples:
  ringback check flows/*.json
  ringback check export.json --format json | jq '.[].code'")]
    Check(CheckArgs),
    /// Runs a flow from its manual trigger without telephony, and prints what each node gave.
    #[command(after_help = "Waits are over at once, by a clock of the run's own. The output is
{\"status\", \"order\": [names], \"runs\": {name: [{\"outputs\": [[item, …], …]}, …]}, \"error\"?};
the exit code is 1 when the run failed.

Examples:
  ringback run flow.json
  ringback run flow.json --items items.json --node Start --trace
  ringback run main.json helper.json                    helper.json may be executed by main.json")]
    Run(RunArgs),
    /// Evaluates an expression, and prints its type and value as JSON.
    #[command(after_help = "Examples:
  ringback eval '{{ $json.name.toUpperCase() }}' --items items.json
  ringback eval '$now.plus({ days: 1 }).toISODate()' --zone Europe/Berlin
  echo '{\"expr\": \"{{ $json.a + 1 }}\", \"items\": [{\"a\": 1}], \"item\": 0}' | ringback eval --batch")]
    Eval(EvalArgs),
    /// Keeps, lists and forgets the credentials of flows, encrypted in the data directory.
    #[command(after_help = "Examples:
  echo '{\"token\": \"…\"}' | ringback credentials set 'My API' --type httpBearerAuth
  echo '{\"value\": 7}' | ringback credentials set limit --type variable      $vars.limit
  ringback credentials list")]
    Credentials(CredentialsArgs),
    /// Checks the settings file, or shows the settings that hold.
    #[command(
        after_help = "`show` prints what the file says, and the defaults of all else as remarks; passwords
are not shown. `check` names every problem with its line; exit code 1 when there is one.

Examples:
  ringback config check --config ringback.toml
  ringback config show"
    )]
    Config(ConfigArgs),
    /// Lists calls, and shows one with its ladder and its path through the flow.
    #[command(after_help = "Examples:
  ringback calls                                 those that go on, and the last that are over
  ringback calls show 19a9c0b1f00-17
  ringback calls --json | jq '.[].errors'")]
    Calls(CallsArgs),
    /// Shows the last runs of a running server, and each step of one.
    #[command(after_help = "Examples:
  ringback runs list                     id, flow, how long, where it waits or failed
  ringback runs show 17                  each step: node, when, what left by which branch
  ringback runs show 17 --json | jq '.trace[].node'")]
    Runs(RunsArgs),
    /// Shows the queues of a running server: agents, who waits, and what each entry is doing.
    #[command(after_help = "Examples:
  ringback queues
  ringback queues why entry-7-1        why that entry was or was not offered, in order
  ringback queues --data /var/lib/ringback --json | jq '.[].entries[].number'")]
    Queues(owed::QueuesArgs),
    /// Lists callbacks that were promised and not yet kept, shows one, makes one, and takes one back.
    #[command(
        after_help = "While no server runs, list and show read the journal in the data directory.

Examples:
  ringback promises                  the same as `ringback promises list`
  ringback promises show 17
  ringback promises add support +4930123456
  ringback promises cancel 17        on disk before the command ends"
    )]
    Promises(owed::PromisesArgs),
    /// Has a running server read the files of its flows again; calls go on under the old ones.
    #[command(
        after_help = "A file that fails its check leaves the active flows in force, and the command says why; exit
code 1. SIGHUP does the same. ringback.toml is read at the start only.

Examples:
  ringback reload
  ringback reload --data /var/lib/ringback --json"
    )]
    Reload(ServerArgs),
    /// Draws a flow as its author laid it out.
    #[command(after_help = "Example:
  ringback draw flows/queue-callback.json -o flow.svg")]
    Draw(DrawArgs),
    /// Plays a call, a queue and its callbacks with servers and phones on loopback, with proof.
    #[command(
        after_help = "It takes about a minute: the acts run at the same time, on servers of their own. Each shows what
was measured and its ladder. Exit code 0 only if every claim held.

Example:
  ringback demo --prompts prompts"
    )]
    Demo(DemoArgs),
    /// Plays days of calls to a flow in a simulated world, and says what came of them.
    #[command(
        after_help = "Customers call, press keys, wait, ask for a callback, hang up, and answer or not when they are
called back; agents come, answer, refuse and leave. Nothing is sent; no sound is made. The same
seed, flow and options give the same hash, on every machine of one kind.

Examples:
  ringback sim                                     a month of the shipped flow
  ringback sim --days 365 --calls 30 --seed 7
  ringback sim --flow my.json --press 8:2 --press 5:104# --callback 9:30"
    )]
    Sim(sim::SimArgs),
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Workflow exports; flows/queue-callback.json when none is given.
    flows: Vec<PathBuf>,
    /// Address and port for SIP over UDP and TCP.
    #[arg(long, value_name = "ADDRESS:PORT")]
    sip: Option<SocketAddr>,
    /// Address and ports for audio.
    #[arg(long, value_name = "ADDRESS:FIRST-LAST")]
    rtp: Option<RtpRange>,
    /// Address and port for health and metrics.
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    /// Directory for what must outlive the server.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Directory of the sound files that flows name.
    #[arg(long, value_name = "DIR")]
    prompts: Option<PathBuf>,
    /// Settings file; options given here win over it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct CheckArgs {
    /// Workflow exports.
    #[arg(required = true)]
    flows: Vec<PathBuf>,
    /// How problems are shown.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Directory of the sound files that flows name.
    #[arg(long, value_name = "DIR", default_value = "prompts")]
    prompts: PathBuf,
    /// Directory of the credentials that flows name.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
}

#[derive(Debug, Args)]
struct RunArgs {
    /// A workflow export, and those of workflows that it executes.
    #[arg(required = true)]
    flows: Vec<PathBuf>,
    /// What the trigger gives: a JSON list of items, or of plain objects.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// The node that the run begins with; the manual trigger when not given.
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    /// Tells each visit of a node on standard error.
    #[arg(long)]
    trace: bool,
    /// Directory of the credentials.
    #[arg(long, value_name = "DIR", default_value = "data")]
    data: PathBuf,
    /// A host, with or without port, that requests may reach at a private address other than this
    /// machine's own; may be repeated.
    #[arg(long, value_name = "HOST")]
    allow: Vec<String>,
}

#[derive(Debug, Args)]
struct CredentialsArgs {
    #[command(subcommand)]
    word: CredentialsWord,
    /// Directory for what must outlive the server.
    #[arg(long, value_name = "DIR", default_value = "data", global = true)]
    data: PathBuf,
}

#[derive(Debug, Subcommand)]
enum CredentialsWord {
    /// Keeps the JSON object on standard input under the name that flows use.
    Set {
        /// The name, as the export has it.
        name: String,
        /// n8n's name of its type; `variable` for a value of $vars.
        #[arg(long = "type", value_name = "TYPE")]
        kind: String,
    },
    /// Shows names and types, and nothing of what they hold.
    List,
    /// Forgets one.
    Remove {
        /// The name.
        name: String,
    },
}

#[derive(Debug, Args)]
struct RunsArgs {
    #[command(subcommand)]
    word: RunsWord,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum RunsWord {
    /// The last runs, the latest first.
    List,
    /// One run with its steps.
    Show {
        /// Its id, as the list has it.
        id: String,
    },
}

#[derive(Debug, Args)]
struct EvalArgs {
    /// The expression: text with {{ code }}, or code alone.
    #[arg(required_unless_present = "batch", conflicts_with = "batch")]
    expression: Option<String>,
    /// The items of the input: a JSON list of items, or of plain objects.
    #[arg(long, value_name = "FILE")]
    items: Option<PathBuf>,
    /// The item that is the current one, from 0.
    #[arg(long, value_name = "N", default_value_t = 0)]
    item: usize,
    /// Reads {"expr", "items", "item"} from each line of standard input, and answers each.
    #[arg(long)]
    batch: bool,
    /// The time zone of the workflow, an IANA name.
    #[arg(long, value_name = "ZONE")]
    zone: Option<String>,
}

#[derive(Debug, Args)]
struct ConfigArgs {
    #[command(subcommand)]
    word: ConfigWord,
    /// Settings file; without it `show` tells the defaults.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Subcommand)]
enum ConfigWord {
    /// Names everything that is wrong with the file, with line and remedy.
    Check,
    /// Prints the settings that hold.
    Show,
}

#[derive(Debug, Args)]
struct CallsArgs {
    #[command(subcommand)]
    word: Option<CallsWord>,
    /// How many are listed, the newest first.
    #[arg(short = 'n', long, default_value_t = 50)]
    count: usize,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum CallsWord {
    /// Shows one call: its legs, its messages as a ladder, and the nodes that its runs visited.
    Show {
        /// Its name in the list.
        call: String,
    },
}

#[derive(Debug, Args)]
struct DrawArgs {
    /// A workflow export.
    flow: PathBuf,
    /// The SVG file; standard output when not given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// Like a compiler's, for people.
    Text,
    /// A JSON array, for programs.
    Json,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// Directory of the sound files that flows name.
    #[arg(long, value_name = "DIR", default_value = "prompts")]
    prompts: PathBuf,
    /// The flow of the first act: one call.
    #[arg(long, value_name = "FILE", default_value = "flows/hello.json")]
    flow: PathBuf,
    /// The flow of the other acts: queue and callbacks.
    #[arg(long, value_name = "FILE", default_value = "flows/queue-callback.json")]
    queue_flow: PathBuf,
}

/// Runs the program with the arguments it was given.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        Word::Serve(arguments) => {
            log::start("info");
            match settings(&arguments) {
                Ok(settings) => run_serve(&arguments.flows, &settings),
                Err(problem) => complain(&problem),
            }
        }
        Word::Check(arguments) => run_check(&arguments),
        Word::Run(RunArgs { flows, items, node, trace, data, allow }) => {
            let (is_traced, allowed) = (trace, allow);
            run::run(&run::Order { flows, items, node, is_traced, data, allowed })
        }
        Word::Credentials(CredentialsArgs { word, data }) => {
            let order = match word {
                CredentialsWord::Set { name, kind } => credentials::Order::Set { name, kind },
                CredentialsWord::List => credentials::Order::List,
                CredentialsWord::Remove { name } => credentials::Order::Remove { name },
            };
            credentials::run(order, &data)
        }
        Word::Config(ConfigArgs { word, config }) => run_config(word, config.as_deref()),
        Word::Calls(CallsArgs { word: None, count, server }) => calls::run_list(count, &server),
        Word::Calls(CallsArgs { word: Some(CallsWord::Show { call }), server, .. }) => {
            calls::run_show(&call, &server)
        }
        Word::Queues(arguments) => owed::run_queues(&arguments),
        Word::Promises(arguments) => owed::run_promises(&arguments),
        Word::Eval(EvalArgs { expression, items, item, zone, .. }) => {
            run::eval(expression.as_deref(), items.as_deref(), item, zone.as_deref())
        }
        Word::Runs(RunsArgs { word, server }) => {
            let id = match &word {
                RunsWord::List => None,
                RunsWord::Show { id } => Some(id.as_str()),
            };
            runs::run(id, &server)
        }
        Word::Reload(server) => reload::run(&server),
        Word::Draw(DrawArgs { flow, output }) => run_draw(&flow, output.as_deref()),
        Word::Sim(arguments) => {
            log::start("warn");
            sim::run(&arguments)
        }
        Word::Demo(arguments) => {
            log::start("warn");
            demo::run(&arguments.flow, &arguments.queue_flow, &arguments.prompts)
        }
    }
}

fn run_serve(flows: &[PathBuf], settings: &Settings) -> ExitCode {
    let standard = [PathBuf::from("flows/queue-callback.json")];
    let (flows, origin) = match flows {
        [] => (&standard[..], Origin::Shipped),
        given => (given, Origin::Given),
    };
    let checked = match check_with_credentials(flows, &settings.prompts, &settings.data) {
        Ok(checked) => checked,
        Err(error) => return complain(&error),
    };
    for problem in &checked.problems {
        say(&format!("{problem}\n"));
    }
    if checked.has_errors() {
        return complain(&summary(&checked));
    }
    serve::run(settings, checked.graphs, origin)
}

fn run_check(arguments: &CheckArgs) -> ExitCode {
    let CheckArgs { flows, prompts, data, .. } = arguments;
    let checked = match check_with_credentials(flows, prompts, data) {
        Ok(checked) => checked,
        Err(error) => return complain(&error),
    };
    match arguments.format {
        Format::Text => {
            for problem in &checked.problems {
                say(&format!("{problem}\n"));
            }
            say(&summary(&checked));
        }
        Format::Json => {
            let text = serde_json::to_string_pretty(&checked.problems);
            say(&text.expect("problems are plain values"));
        }
    }
    if checked.has_errors() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn run_config(word: ConfigWord, path: Option<&Path>) -> ExitCode {
    let (name, text) = match path.map(|path| (path, std::fs::read_to_string(path))) {
        None => ("no file".to_owned(), String::new()),
        Some((path, Ok(text))) => (path.display().to_string(), text),
        Some((path, Err(error))) => {
            return complain(&format!("cannot read {}: {error}", path.display()));
        }
    };
    match (config::shown(&text), word) {
        (Ok(_), ConfigWord::Check) => say(&format!("{name}: sound")),
        (Ok(shown), ConfigWord::Show) => say(shown.trim_end()),
        (Err(problems), _) => return complain(&told(&name, &problems)),
    }
    ExitCode::SUCCESS
}

/// Every problem of a settings file.
fn told(name: &str, problems: &[config::Problem]) -> String {
    let lines = problems.iter().map(|problem| format!("{name}: {problem}"));
    lines.collect::<Vec<_>>().join("\nerror: ")
}

fn run_draw(path: &Path, output: Option<&Path>) -> ExitCode {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return complain(&format!("cannot read {}: {error}", path.display())),
    };
    let documents = match flow::read(&text, &path.display().to_string()) {
        Ok(documents) => documents,
        Err(problem) => return complain(&problem.to_string()),
    };
    let drawing = flow::draw(&documents[0], &node::catalogue());
    let Some(output) = output else {
        say(&drawing);
        return ExitCode::SUCCESS;
    };
    match std::fs::write(output, drawing) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => complain(&format!("cannot write {}: {error}", output.display())),
    }
}

fn summary(checked: &Checked) -> String {
    let errors = checked.count(Severity::Error);
    let warnings = checked.count(Severity::Warning);
    let flows = checked.graphs.len();
    match errors {
        0 => format!("{flows} flow(s) sound, {warnings} warning(s)"),
        _ => format!("{errors} error(s), {warnings} warning(s)"),
    }
}

fn settings(arguments: &ServeArgs) -> Result<Settings, String> {
    let mut settings = match &arguments.config {
        None => Settings::default(),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
            let name = path.display().to_string();
            config::read(&text).map_err(|problems| told(&name, &problems))?
        }
    };
    if let Some(sip) = arguments.sip {
        settings.sip = sip;
    }
    if let Some(rtp) = &arguments.rtp {
        settings.rtp = rtp.clone();
    }
    if let Some(http) = arguments.http {
        settings.http = http;
    }
    if let Some(data) = &arguments.data {
        settings.data.clone_from(data);
    }
    if let Some(prompts) = &arguments.prompts {
        settings.prompts.clone_from(prompts);
    }
    Ok(settings)
}

/// Says something on standard output; a reader that went away is no error of ours.
pub(super) fn say(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

/// Says what is wrong on standard error.
pub(super) fn complain(text: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr().lock(), "error: {text}");
    ExitCode::FAILURE
}
