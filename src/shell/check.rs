//! `ringback check`: every problem of every flow, shown like a compiler's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::call::node::{self, ACTION, TRIGGER};
use crate::flow::{self, Catalogue, Graph, Problem, Severity, WEBHOOK};
use crate::shell::credentials::Credentials;
use crate::shell::files;

/// A checked file: its flows if it can be run, and all its problems.
#[derive(Debug, Default)]
pub struct Checked {
    /// The flows; none when there is an error.
    pub graphs: Vec<Graph>,
    /// Errors, warnings and notes.
    pub problems: Vec<Problem>,
}

impl Checked {
    /// Whether something prevents the flows from running.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// How many problems of this severity there are.
    pub fn count(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }
}

/// Reads and checks flow files against the prompts that they name.
pub fn check_files(paths: &[PathBuf], prompts: &Path) -> Checked {
    let catalogue = node::catalogue();
    let mut checked = Checked::default();
    for path in paths {
        check_file(path, prompts, &catalogue, &mut checked);
    }
    check_references(&mut checked);
    check_webhooks(&mut checked);
    if checked.has_errors() {
        checked.graphs.clear();
    }
    checked
}

/// A ref belongs to its workflow and kind; that of extensions is the whole server's (contract §2).
fn check_references(checked: &mut Checked) {
    let mut taken = BTreeSet::new();
    for graph in &checked.graphs {
        for (_, trigger) in graph.triggers().filter(|(_, node)| node.kind.name() == TRIGGER) {
            let text = |key: &str| trigger.parameters.get(key).and_then(Value::as_str);
            let (kind, reference) = (text("triggerOn").unwrap_or("trunk"), text("ref"));
            let reference = reference.unwrap_or_default();
            let scope = if kind == "extensions" { "" } else { graph.name() };
            if taken.insert((scope, kind, reference)) {
                continue;
            }
            let message = format!("Active {kind} trigger for ref {reference} already exists");
            let remedy = match kind {
                "extensions" => "give each group of extensions of this server its own ref",
                _ => "give each trigger of a workflow its own ref",
            };
            checked.problems.push(Problem {
                workflow: Some(graph.name().to_owned()),
                node: Some(trigger.name.to_string()),
                parameter: Some("ref".to_owned()),
                ..problem(Path::new(graph.file()), "E-SIP-REF", message, remedy)
            });
        }
    }
}

/// [`check_files`], with what is to be said of the credentials that the flows name and the data
/// directory does not hold.
///
/// # Errors
///
/// The credentials cannot be read.
pub fn check_with_credentials(
    paths: &[PathBuf],
    prompts: &Path,
    data: &Path,
) -> Result<Checked, String> {
    let mut checked = check_files(paths, prompts);
    let held = Credentials::open(data)?;
    let missing = checked.graphs.iter().flat_map(|graph| held.missing(graph)).collect::<Vec<_>>();
    checked.problems.extend(missing);
    Ok(checked)
}

/// Of two webhooks with the same path and method, one would never be reached.
fn check_webhooks(checked: &mut Checked) {
    let mut taken = BTreeMap::new();
    for graph in &checked.graphs {
        for (_, node) in graph.triggers().filter(|(_, node)| node.kind.name() == WEBHOOK) {
            let path = node.parameters.get("path").and_then(Value::as_str).unwrap_or_default();
            let methods = match node.parameters.get("httpMethod") {
                Some(Value::Array(methods)) => methods.clone(),
                Some(method) => vec![method.clone()],
                None => vec!["GET".into()],
            };
            for method in methods.iter().filter_map(Value::as_str) {
                let place = format!("{method} /webhook/{}", path.trim_matches('/'));
                let own = format!("`{}` of `{}`", node.name, graph.name());
                let Some(other) = taken.insert(place.clone(), own) else { continue };
                let message = format!("{other} listens to {place} already");
                let remedy = "give one of them another path or method, or disable it";
                checked.problems.push(Problem {
                    workflow: Some(graph.name().to_owned()),
                    node: Some(node.name.to_string()),
                    parameter: Some("path".to_owned()),
                    ..problem(Path::new(graph.file()), "E-FLOW-WEBHOOK", message, remedy)
                });
            }
        }
    }
}

fn check_file(path: &Path, prompts: &Path, catalogue: &Catalogue, checked: &mut Checked) {
    let file = path.display().to_string();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => {
            let remedy = "name a workflow file that n8n has exported";
            checked.problems.push(problem(path, "E-FLOW-FILE", error.to_string(), remedy));
            return;
        }
    };
    let documents = match flow::read(&text, &file) {
        Ok(documents) => documents,
        Err(problem) => return checked.problems.push(*problem),
    };
    for document in documents {
        let (graph, problems) = flow::check(&document, catalogue);
        checked.problems.extend(problems);
        if let Some(graph) = graph {
            check_prompts(path, &graph, prompts, &mut checked.problems);
            for dangling in node::dangling_references(&graph) {
                checked.problems.push(Problem {
                    workflow: Some(graph.name().to_owned()),
                    node: Some(dangling.node),
                    parameter: Some("ref".to_owned()),
                    ..problem(path, "E-SIP-REF", dangling.message, &dangling.remedy)
                });
            }
            for habit in node::habits(&graph) {
                checked.problems.push(Problem {
                    severity: Severity::Warning,
                    workflow: Some(graph.name().to_owned()),
                    node: Some(habit.node),
                    ..problem(path, habit.code, habit.message, habit.remedy)
                });
            }
            checked.graphs.push(graph);
        }
    }
}

/// A sound file that a flow names in so many words has to be there and be playable.
fn check_prompts(path: &Path, graph: &Graph, prompts: &Path, problems: &mut Vec<Problem>) {
    for (_, node) in graph.nodes().filter(|(_, node)| node.kind.name() == ACTION) {
        let text = |key: &str| node.parameters.get(key).and_then(Value::as_str).unwrap_or_default();
        let (operation, name) = (text("operation"), text("filePath"));
        if operation != "media.playAudio" || text("sourceType") != "file" || name.starts_with('=') {
            continue;
        }
        if let Err(why) = files::load(prompts, name) {
            let remedy = format!("put the file into {}, or name another", prompts.display());
            problems.push(Problem {
                workflow: Some(graph.name().to_owned()),
                node: Some(node.name.to_string()),
                parameter: Some("filePath".to_owned()),
                ..problem(path, "E-SIP-PROMPT", why, &remedy)
            });
        }
    }
}

fn problem(path: &Path, code: &'static str, message: String, remedy: &str) -> Problem {
    Problem::error(&path.display().to_string(), code, message, remedy)
}
