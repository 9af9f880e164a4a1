//! What runs and the visits of their nodes come to.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use crate::flow::{Branches, NodeIndex};

/// Why an operation failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Stable: of this room `E-FLOW-…`, of the world what its contract says, such as `not_found`.
    pub code: Cow<'static, str>,
    /// For people.
    pub message: String,
}

impl Fault {
    /// A fault with this code and message.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.message, self.code)
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finished {
    /// Nothing was left to do.
    Success,
    /// A node failed, or a limit was reached.
    Failed {
        /// The node, unless the run never got to one.
        node: Option<Arc<str>>,
        /// Why.
        fault: Fault,
    },
    /// It was told to end.
    Cancelled,
}

/// What one visit of a node came to.
#[derive(Clone, Debug, PartialEq)]
pub struct Visited {
    /// The node.
    pub node: NodeIndex,
    /// Its name.
    pub name: Arc<str>,
    /// The workflow that it is of, where that is one that the run's own executes.
    pub workflow: Option<Arc<str>>,
    /// Which of its visits this was, from 0.
    pub pass: u64,
    /// What it gave, by output.
    pub outputs: Arc<Branches>,
    /// Why it failed, also where the run went on.
    pub fault: Option<Fault>,
    /// When it began and when it was over, in milliseconds since the Unix epoch.
    pub lasted_ms: (i64, i64),
}
