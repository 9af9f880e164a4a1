//! Flow: a workflow file read, checked and run; it asks the world by effects and knows no SIP, RTP or clock.
//!
//! ```text
//!  text ─▶ read ─▶ Document ─▶ check(Catalogue) ─▶ Graph ─▶ Runner ─▶ Ask …  Answer ─▶ Runner ─▶ Finished
//! ```
//!
//! A node type is one value of [`NodeType`]: the types of this room are in `node`, those of the
//! world are handed in from outside. Order of execution, retries and branches are those of n8n.

mod check;
mod document;
mod draw;
mod evaluate;
mod expr;
mod frames;
mod graph;
mod item;
mod json;
mod memory;
mod node;
mod outcome;
mod problem;
mod repair;
mod resume;
mod run;
mod runner;
mod version;
mod zone;
#[cfg(test)]
mod tests;

pub use check::check;
pub use document::{DEPTH_MAX, DOCUMENT_BYTES_MAX, Document, WORKFLOWS_MAX, read};
pub use draw::draw;
pub use evaluate::{Evaluated, Evaluator};
pub use expr::{Deadline, base64, unbase64};
pub use graph::{Edge, Graph, Node, NodeIndex, OnError, Order, Retry};
pub use item::{Ancestor, Item, Lineage, Object, Origin, Paired, member};
pub use json::{Json, LateMembers};
pub use memory::{KEPT_RUNS_MAX, Mode};
pub use node::{
    Branches, Catalogue, HTTP_REQUEST, HttpRequest, HttpResponse, NodeType, Page, Pause, RESPOND,
    Role, Schedules, Shown, WAIT, WEBHOOK, Work,
};
pub use outcome::{Fault, Finished, Visited};
pub use problem::{Finding, Findings, Problem, Severity, nearest};
pub use resume::Resume;
pub use run::{HANDLED_MAX, ITEMS_MAX, STEPS_MAX, WAITING_MAX};
pub use runner::{
    AskId, Config, Errand, Errands, Gauges, Input, Output, PANICKED, RunId, Runner, Statics,
};
