//! What is wrong with a workflow file: where, why, and what to do about it.

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know, such as an old key that was read under its new name.
    Note,
    /// The flow runs, and probably not as its author meant.
    Warning,
    /// The flow is not taken.
    Error,
}

/// One thing that a node type says about the parameters of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code such as `E-FLOW-REQUIRED`.
    pub code: &'static str,
    /// Path of the parameter, such as `rules.item[0].value`; empty for the node itself.
    pub parameter: String,
    /// Character in the parameter's text, from 1; only for expressions.
    pub column: Option<usize>,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to do about it; empty when the message says it.
    pub remedy: String,
}

/// Findings about one node, in the order they were made.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    found: Vec<Finding>,
}

impl Findings {
    /// No findings.
    pub const fn new() -> Self {
        Self { found: Vec::new() }
    }

    /// Whether something was found for which the flow cannot be taken.
    pub(super) fn has_errors(&self) -> bool {
        self.found.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The flow cannot be taken because of this.
    pub fn error(&mut self, code: &'static str, parameter: &str, message: &str, remedy: &str) {
        self.push(Severity::Error, code, parameter, message, remedy);
    }

    /// An expression cannot be read, from this character on.
    pub(super) fn error_at(
        &mut self,
        column: usize,
        code: &'static str,
        parameter: &str,
        message: &str,
    ) {
        self.error(code, parameter, message, "");
        if let Some(finding) = self.found.last_mut() {
            finding.column = Some(column);
        }
    }

    /// The flow runs, and probably not as meant.
    pub fn warning(&mut self, code: &'static str, parameter: &str, message: &str, remedy: &str) {
        self.push(Severity::Warning, code, parameter, message, remedy);
    }

    /// Good to know.
    pub fn note(&mut self, code: &'static str, parameter: &str, message: &str, remedy: &str) {
        self.push(Severity::Note, code, parameter, message, remedy);
    }

    /// Every finding, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Finding> {
        self.found.iter()
    }

    /// Takes every finding out, oldest first.
    pub fn into_vec(self) -> Vec<Finding> {
        self.found
    }

    fn push(
        &mut self,
        severity: Severity,
        code: &'static str,
        parameter: &str,
        message: &str,
        remedy: &str,
    ) {
        let (parameter, message, remedy) = (parameter.into(), message.into(), remedy.into());
        self.found.push(Finding { severity, code, parameter, column: None, message, remedy });
    }
}

/// One problem of a workflow file. Prints like a compiler's; serialises for `--format json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// How bad it is.
    pub severity: Severity,
    /// A stable code such as `E-FLOW-DANGLING`.
    pub code: &'static str,
    /// The file, as it was named to `read`.
    pub file: String,
    /// Line of the file, from 1; only for text that is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<usize>,
    /// Column in the line, from 1; in an expression, the character of the parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<usize>,
    /// Name of the workflow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Name of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// Path of the parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameter: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do about it; may be empty.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Problem {
    /// An error in a file; its fields say where, as far as that is known.
    pub fn error(file: &str, code: &'static str, message: String, remedy: &str) -> Self {
        Self {
            severity: Severity::Error,
            code,
            file: file.to_owned(),
            line: None,
            column: None,
            workflow: None,
            node: None,
            parameter: None,
            message,
            remedy: remedy.to_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        writeln!(f, "{severity}[{}]: {}", self.code, self.message)?;
        write!(f, "  --> {}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if let (Some(column), Some(_)) = (self.column, self.line) {
            write!(f, ":{column}")?;
        }
        for (what, name) in
            [("workflow", &self.workflow), ("node", &self.node), ("parameter", &self.parameter)]
        {
            if let Some(name) = name {
                write!(f, ", {what} `{name}`")?;
            }
        }
        if let (Some(column), None) = (self.column, self.line) {
            write!(f, ", column {column}")?;
        }
        if !self.remedy.is_empty() {
            write!(f, "\n   = help: {}", self.remedy)?;
        }
        Ok(())
    }
}

/// The name among `known` that is most like `name`, if any is like it at all.
pub fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let reach = name.chars().count() / 3 + 1;
    known
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= reach)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein distance without regard to case.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.to_lowercase().chars().take(NAME_CHARS_MAX).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

/// Characters of a mistyped name that are compared.
const NAME_CHARS_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_name_finds_its_neighbour() {
        let known = ["n8n-nodes-base.if", "n8n-nodes-base.noOp"];
        let check = |name, expected| assert_eq!(nearest(name, known.into_iter()), expected);
        check("n8n-nodes-base.noop", Some("n8n-nodes-base.noOp"));
        check("n8n-nodes-base.iff", Some("n8n-nodes-base.if"));
        check("zzz", None);
    }
}
