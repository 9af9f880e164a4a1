//! From a document to a graph: every problem of a workflow is found at once, before a call depends on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::base::Rng;
use crate::flow::expr::{Compiled, Refusal, Scripts};
use crate::flow::graph::{Graph, Node};
use crate::flow::problem::nearest;
use crate::flow::version::version;
use crate::flow::{
    Catalogue, Document, Edge, Findings, Item, NodeIndex, NodeType, Object, OnError, Order,
    Problem, Retry, Role, Severity, Shown,
};

/// Nodes one workflow may have.
const NODES_MAX: usize = 2000;
/// The time zone that means "that of the server".
const TIMEZONE_DEFAULT: &str = "DEFAULT";

/// Checks a workflow against the known node types. Without an error among the problems there is a
/// graph; warnings and notes do not prevent it.
pub fn check(document: &Document, catalogue: &Catalogue) -> (Option<Graph>, Vec<Problem>) {
    let body = &document.body;
    let text = |key| body.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let mut checker = Checker {
        file: &document.file,
        workflow: text("name"),
        catalogue,
        nodes: Vec::new(),
        by_name: HashMap::new(),
        problems: Vec::new(),
        asked_for: BTreeSet::new(),
        findings: Vec::new(),
        scripts: Scripts::new(Rng::new(0), None),
    };
    checker.read_nodes(body.get("nodes"));
    checker.read_connections(body.get("connections"));
    checker.compile();
    checker.judge();
    let settings = body.get("settings").and_then(Value::as_object);
    let (order, timezone, timeout) = read_settings(settings);
    let error_workflow = settings.and_then(|settings| settings.get("errorWorkflow"));
    let error_workflow = error_workflow.and_then(Value::as_str).map(str::to_owned);
    let Checker { workflow, nodes, by_name, problems, asked_for, .. } = checker;
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return (None, problems);
    }
    let pinned = body.get("pinData").and_then(Value::as_object).into_iter().flatten();
    let pinned = pinned.filter_map(|(name, items)| {
        let items = items.as_array()?.iter().cloned().filter_map(Item::from_value).collect();
        Some((*by_name.get(name.as_str())?, items))
    });
    let statics = match body.get("staticData") {
        Some(Value::Object(statics)) => statics.clone(),
        // The command line of n8n writes it as a text.
        Some(Value::String(text)) => serde_json::from_str(text).unwrap_or_default(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_)) | None => {
            Object::new()
        }
    };
    let (id, pinned) = (text("id"), pinned.collect());
    let name: Arc<str> = workflow.into();
    let owner = if id.is_empty() { name.clone() } else { id.as_str().into() };
    let mut graph = Graph {
        file: document.file.clone(),
        id,
        name,
        version: version(body).into(),
        owner,
        order,
        timezone,
        timeout,
        error_workflow,
        statics,
        pinned,
        nodes,
        by_name,
        quick: BTreeSet::new(),
        asked_for: None,
    };
    graph.find_quick();
    graph.note_asked_for(asked_for);
    (Some(graph), problems)
}

fn read_settings(settings: Option<&Object>) -> (Order, Option<String>, Option<Duration>) {
    let setting = |key| settings.and_then(|settings| settings.get(key));
    // Exports of editors older than 1.0 have no `executionOrder` and mean breadth first.
    let is_v1 = setting("executionOrder").is_some_and(|order| order == "v1");
    let timezone = setting("timezone").and_then(Value::as_str);
    let timeout = setting("executionTimeout").and_then(Value::as_u64).filter(|limit| *limit > 0);
    (
        if is_v1 { Order::V1 } else { Order::V0 },
        timezone.filter(|zone| *zone != TIMEZONE_DEFAULT).map(str::to_owned),
        timeout.map(Duration::from_secs),
    )
}

struct Checker<'a> {
    file: &'a str,
    workflow: String,
    catalogue: &'a Catalogue,
    nodes: Vec<Node>,
    by_name: HashMap<Arc<str>, NodeIndex>,
    problems: Vec<Problem>,
    /// Nodes that expressions name.
    asked_for: BTreeSet<NodeIndex>,
    /// What types say about nodes: an error only where a run can get to.
    findings: Vec<(NodeIndex, Findings)>,
    scripts: Scripts,
}

impl Checker<'_> {
    fn read_nodes(&mut self, nodes: Option<&Value>) {
        let Some(nodes) = nodes.and_then(Value::as_array) else {
            return self.error("E-FLOW-SHAPE", None, "`nodes` is no list", "export it again");
        };
        if nodes.len() > NODES_MAX {
            let message = format!("{} nodes, and at most {NODES_MAX} are read", nodes.len());
            return self.error("E-FLOW-SIZE", None, &message, "split the workflow");
        }
        for (place, node) in nodes.iter().enumerate() {
            self.read_node(place, node);
        }
    }

    fn read_node(&mut self, place: usize, node: &Value) {
        let name = node.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
        let kind = node.get("type").and_then(Value::as_str);
        let (Some(name), Some(kind)) = (name, kind) else {
            let message = format!("node {place} has no name or no type");
            return self.error("E-FLOW-NODE", name, &message, "every node needs both");
        };
        let parameters = match node.get("parameters") {
            None | Some(Value::Null) => Object::new(),
            Some(Value::Object(parameters)) => parameters.clone(),
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                return self.error("E-FLOW-NODE", Some(name), "`parameters` is no object", "");
            }
        };
        let name: Arc<str> = name.into();
        let index = NodeIndex(self.nodes.len());
        if self.by_name.insert(name.clone(), index).is_some() {
            self.error(
                "E-FLOW-DUPLICATE",
                Some(&name),
                "two nodes have this name",
                "connections and expressions go by name: rename one of them",
            );
        }
        let flag = |key| node.get(key).and_then(Value::as_bool).unwrap_or_default();
        let version = node.get("typeVersion").and_then(Value::as_f64).unwrap_or(1.0);
        let mut node = Node {
            id: node.get("id").and_then(Value::as_str).unwrap_or_default().to_owned(),
            webhook_id: node
                .get("webhookId")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned(),
            name,
            kind: Arc::new(Unknown),
            version,
            parameters: Arc::new(Object::new()),
            plan: None,
            late: None,
            is_heavy: false,
            is_quick: false,
            credentials: Arc::new(credentials(node)),
            position: position(node.get("position")),
            disabled: flag("disabled"),
            execute_once: flag("executeOnce"),
            always_output: flag("alwaysOutputData"),
            retry: retry(node),
            on_error: on_error(node),
            inputs: 1,
            outputs: Vec::new(),
            edges: Vec::new(),
        };
        let findings = self.fit(&mut node, kind, parameters);
        self.nodes.push(node);
        self.findings.push((index, findings));
    }

    /// Finds the type of a node and lets it fill in and judge the parameters.
    fn fit(&self, node: &mut Node, kind: &str, mut parameters: Object) -> Findings {
        let mut report = Findings::new();
        let Some(known) = self.catalogue.find(kind) else {
            let remedy = self.catalogue.nearest(kind).map(|near| format!("did you mean `{near}`?"));
            let remedy = remedy.unwrap_or_else(|| "remove the node or disable it".to_owned());
            report.error("E-FLOW-TYPE", "", &format!("the node type `{kind}` is unknown"), &remedy);
            return report;
        };
        node.kind = known.clone();
        let version = node.version;
        if !known.versions().contains(&version) {
            let near = known
                .versions()
                .iter()
                .copied()
                .min_by(|one, other| (one - version).abs().total_cmp(&(other - version).abs()));
            let remedy = near.map(|near| format!("the nearest known version is {near}"));
            let message = format!("version {version} of `{kind}` is unknown");
            report.error("E-FLOW-VERSION", "", &message, &remedy.unwrap_or_default());
        }
        let given: Vec<String> = parameters.keys().cloned().collect();
        known.fill(version, &mut parameters, &mut report);
        drop_hidden(known.shown_while(version), &given, &mut parameters, &mut report);
        report_unknown_keys(known.as_ref(), &parameters, &mut report);
        known.check(version, &parameters, &mut report);
        node.outputs = known.outputs(version, &parameters);
        if node.on_error == OnError::ContinueError {
            node.outputs.push("error".to_owned());
        }
        node.edges = vec![Vec::new(); node.outputs.len()];
        node.parameters = Arc::new(parameters);
        report
    }

    /// Compiles every expression, once all names are known.
    fn compile(&mut self) {
        for (index, report) in &mut self.findings {
            let mut compiled = Compiled::default();
            let node = &mut self.nodes[index.0];
            let mut parameters = Object::clone(&node.parameters);
            if let Some((option, key)) = node.kind.late()
                && let Some(Value::Object(options)) = parameters.get_mut(option)
                && let Some(late) = options.shift_remove(key)
            {
                let late = Object::from_iter([(key.to_owned(), late)]);
                node.late = Some(self.scripts.compile_late(&late, option, &mut compiled));
            }
            node.plan = self.scripts.compile(&parameters, &mut compiled);
            let is_heavy = node.plan.as_ref().is_some_and(|plan| !plan.is_light());
            node.is_heavy = is_heavy || !node.kind.code_keys().is_empty();
            let is_quick = node.plan.as_ref().is_none_or(|plan| plan.is_quick());
            node.is_quick = is_quick && node.late.is_none() && node.kind.is_quick(&parameters);
            for key in node.kind.code_keys() {
                let code = node.parameters.get(*key).and_then(Value::as_str).unwrap_or_default();
                if let Some((column, message)) = self.scripts.check_code(code) {
                    let message = format!("the code is no valid script: {message}");
                    report.error_at(column, "E-FLOW-CODE", key, &message);
                }
            }
            for Refusal { parameter, column, message } in compiled.refusals {
                let message = format!("the expression is no valid script: {message}");
                report.error_at(column, "E-FLOW-EXPRESSION", &parameter, &message);
            }
            for (parameter, name) in compiled.references {
                self.asked_for.extend(self.by_name.get(name.as_str()));
                if !self.by_name.contains_key(name.as_str()) {
                    let near = nearest(&name, self.nodes.iter().map(|node| node.name.as_ref()));
                    let remedy = near.map(|near| format!("did you mean `{near}`?"));
                    let message =
                        format!("the expression refers to `{name}`, and no node has that name");
                    let remedy = remedy.unwrap_or_default();
                    report.error("E-FLOW-REFERENCE", &parameter, &message, &remedy);
                }
            }
        }
    }

    fn read_connections(&mut self, connections: Option<&Value>) {
        let Some(connections) = connections.and_then(Value::as_object) else {
            return self.error("E-FLOW-SHAPE", None, "`connections` is no object", "");
        };
        for (source, by_type) in connections {
            let Some(&from) = self.by_name.get(source.as_str()) else {
                self.dangling(source, "leads away from");
                continue;
            };
            for (kind, outputs) in by_type.as_object().into_iter().flatten() {
                if kind != "main" {
                    let message = format!("connections of the kind `{kind}` are not followed");
                    self.report(Severity::Warning, "W-FLOW-KIND", Some(source), &message, "");
                    continue;
                }
                for (output, edges) in outputs.as_array().into_iter().flatten().enumerate() {
                    for edge in edges.as_array().into_iter().flatten() {
                        self.read_edge(from, output, edge);
                    }
                }
            }
        }
    }

    fn read_edge(&mut self, from: NodeIndex, output: usize, edge: &Value) {
        let source = self.nodes[from.0].name.clone();
        let Some(to) = edge.get("node").and_then(Value::as_str) else {
            let message = format!("a connection of output {output} names no node");
            return self.error("E-FLOW-DANGLING", Some(&source), &message, "draw it again");
        };
        let Some(&to) = self.by_name.get(to) else {
            return self.dangling(to, &format!("leads from `{source}` to"));
        };
        let input = edge.get("index").map_or(Some(0), Value::as_u64);
        let target = &mut self.nodes[to.0];
        let is_unknown = target.kind.name() == Unknown.name();
        let inputs = target.kind.inputs(target.version, &target.parameters);
        let inputs = if is_unknown { OUTPUTS_MAX } else { inputs };
        let input = input.and_then(|input| usize::try_from(input).ok());
        let Some(input) = input.filter(|input| *input < inputs) else {
            let message =
                format!("a connection leads to input {} of `{}`", edge["index"], target.name);
            let remedy = match inputs {
                0 => "nothing leads to it: it starts runs".to_owned(),
                1 => "it has one input, 0".to_owned(),
                _ => format!("it has {inputs} inputs, from 0 on"),
            };
            return self.error("E-FLOW-INPUT", Some(&source), &message, &remedy);
        };
        target.inputs = target.inputs.max(input + 1);
        let node = &mut self.nodes[from.0];
        // What an unknown type or operation gives cannot be known; it is reported once, as unknown.
        let is_refused = node.outputs.iter().all(|label| label == "error")
            && self.findings.iter().any(|(of, found)| *of == from && found.has_errors());
        if (node.kind.name() == Unknown.name() || is_refused) && output < OUTPUTS_MAX {
            let outputs = node.edges.len().max(output + 1);
            node.edges.resize(outputs, Vec::new());
        }
        match node.edges.get_mut(output) {
            Some(edges) => edges.push(Edge { to, input }),
            None => {
                let last = node.outputs.len();
                let message =
                    format!("a connection leaves by output {output}, and there are {last}");
                let labels = node.outputs.join("`, `");
                let remedy =
                    if last == 0 { String::new() } else { format!("the outputs are `{labels}`") };
                self.error("E-FLOW-OUTPUT", Some(&source), &message, &remedy);
            }
        }
    }

    /// Says what the types found, with regard to what a run can get to.
    fn judge(&mut self) {
        let reached = self.reached();
        let has_trigger = reached.iter().any(|reached| *reached);
        if !has_trigger {
            let remedy = "add a trigger, or enable the one that is disabled";
            self.error("E-FLOW-NO-TRIGGER", None, "nothing starts this workflow", remedy);
        }
        for (index, findings) in std::mem::take(&mut self.findings) {
            let node = &self.nodes[index.0];
            let (name, role) = (node.name.clone(), node.kind.role());
            if node.disabled || role == Role::Note {
                continue;
            }
            let is_reached = reached[index.0];
            if has_trigger && !is_reached {
                let remedy = "connect it, disable it or remove it";
                let message = "no enabled trigger leads here";
                self.report(Severity::Warning, "W-FLOW-UNREACHABLE", Some(&name), message, remedy);
            }
            for finding in findings.into_vec() {
                let worst = if is_reached { Severity::Error } else { Severity::Warning };
                let severity = finding.severity.min(worst);
                self.report(severity, finding.code, Some(&name), &finding.message, &finding.remedy);
                let parameter = Some(finding.parameter).filter(|path| !path.is_empty());
                let last = self.problems.last_mut().expect("it was reported just now");
                last.parameter = parameter;
                last.column = finding.column;
            }
        }
    }

    /// For each node, whether a run can get there from an enabled trigger.
    fn reached(&self) -> Vec<bool> {
        let mut reached = vec![false; self.nodes.len()];
        let mut next: Vec<usize> = (0..self.nodes.len())
            .filter(|index| {
                let node = &self.nodes[*index];
                node.kind.role() == Role::Trigger && !node.disabled
            })
            .collect();
        while let Some(index) = next.pop() {
            if std::mem::replace(&mut reached[index], true) {
                continue;
            }
            let node = &self.nodes[index];
            // A disabled node passes its input on by the first output only.
            let outputs = if node.disabled { 1 } else { node.edges.len() };
            next.extend(node.edges.iter().take(outputs).flatten().map(|edge| edge.to.0));
        }
        reached
    }

    fn dangling(&mut self, name: &str, direction: &str) {
        let near = nearest(name, self.nodes.iter().map(|node| node.name.as_ref()));
        let remedy = near.map(|near| format!("did you mean `{near}`?")).unwrap_or_default();
        let message = format!("a connection {direction} `{name}`, and no node has that name");
        self.error("E-FLOW-DANGLING", None, &message, &remedy);
    }

    fn error(&mut self, code: &'static str, node: Option<&str>, message: &str, remedy: &str) {
        self.report(Severity::Error, code, node, message, remedy);
    }

    fn report(
        &mut self,
        severity: Severity,
        code: &'static str,
        node: Option<&str>,
        message: &str,
        remedy: &str,
    ) {
        self.problems.push(Problem {
            severity,
            workflow: Some(self.workflow.clone()),
            node: node.map(str::to_owned),
            ..Problem::error(self.file, code, message.to_owned(), remedy)
        });
    }
}

/// Outputs that a node of unknown type is believed to have.
const OUTPUTS_MAX: usize = 64;

/// Stands in for a type that is not in the catalogue; no run ever gets to it.
struct Unknown;

impl NodeType for Unknown {
    fn name(&self) -> &'static str {
        "unknown"
    }

    fn versions(&self) -> &'static [f64] {
        &[]
    }

    fn role(&self) -> Role {
        Role::Core
    }
}

/// Takes out what the editor does not show, so that an expression left behind there is no matter.
fn drop_hidden(rules: &[Shown], given: &[String], parameters: &mut Object, report: &mut Findings) {
    for Shown { key, by, standard, values } in rules {
        let value = match parameters.get(*by) {
            Some(Value::String(text)) => text.clone(),
            Some(value) => value.to_string(),
            None => (*standard).to_owned(),
        };
        // What an expression comes to, nobody knows yet.
        let is_shown = value.starts_with('=') || values.contains(&value.as_str());
        let is_removed = !is_shown && parameters.shift_remove(*key).is_some();
        if is_removed && given.iter().any(|given| given == key) {
            let message = match by.is_empty() {
                true => "the parameter has no effect in this version of the node".to_owned(),
                false => format!("the parameter has no effect while `{by}` is `{value}`"),
            };
            report.note("N-FLOW-HIDDEN", key, &message, "");
        }
    }
}

fn report_unknown_keys(kind: &dyn NodeType, parameters: &Object, report: &mut Findings) {
    let known = kind.keys();
    if known.is_empty() {
        return;
    }
    for key in parameters.keys().filter(|key| !known.contains(&key.as_str())) {
        let remedy =
            nearest(key, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
        report.warning(
            "W-FLOW-PARAMETER",
            key,
            "the parameter is unknown, and has no effect",
            &remedy.unwrap_or_default(),
        );
    }
}

/// Type and name of each credential; very old exports have the name alone.
fn credentials(node: &Value) -> BTreeMap<String, String> {
    let credentials = node.get("credentials").and_then(Value::as_object).into_iter().flatten();
    let named = credentials.filter_map(|(kind, credential)| {
        let name = credential.as_str().or_else(|| credential["name"].as_str())?;
        Some((kind.clone(), name.to_owned()))
    });
    named.collect()
}

fn position(position: Option<&Value>) -> (f64, f64) {
    let at = |axis| position.and_then(|at| at.get(axis)).and_then(Value::as_f64).unwrap_or(0.0);
    (at(0), at(1))
}

/// Tries and pause are kept within 2 to 5 and 0 to 5 s, as n8n keeps them.
fn retry(node: &Value) -> Option<Retry> {
    let number = |key| node.get(key).and_then(Value::as_u64).filter(|number| *number > 0);
    let tries = number("maxTries").unwrap_or(3).clamp(2, 5) as u32;
    let pause = node.get("waitBetweenTries").and_then(Value::as_u64).unwrap_or(1000).min(5000);
    let retries = node.get("retryOnFail").and_then(Value::as_bool).unwrap_or_default();
    retries.then_some(Retry { tries, pause: Duration::from_millis(pause) })
}

/// The flag `continueOnFail` of old exports counts only where `onError` is not set.
fn on_error(node: &Value) -> OnError {
    let continues = node.get("continueOnFail").and_then(Value::as_bool).unwrap_or_default();
    match node.get("onError").and_then(Value::as_str) {
        Some("continueRegularOutput") => OnError::ContinueRegular,
        Some("continueErrorOutput") => OnError::ContinueError,
        None if continues => OnError::ContinueRegular,
        Some(_) | None => OnError::Stop,
    }
}
