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
mod expr;
mod graph;
mod item;
mod memory;
mod node;
mod problem;
mod run;
mod runner;
#[cfg(test)]
mod tests;

pub use check::check;
pub use document::{DEPTH_MAX, DOCUMENT_BYTES_MAX, Document, WORKFLOWS_MAX, read};
pub use expr::Deadline;
pub use graph::{Edge, Graph, Node, NodeIndex, OnError, Order, Retry};
pub use item::{Item, Lineage, Object};
pub use memory::KEPT_RUNS_MAX;
pub use node::{Branches, Catalogue, NodeType, Role, Work};
pub use problem::{Finding, Findings, Problem, Severity, nearest};
pub use run::{Fault, Finished, ITEMS_MAX, STEPS_MAX, WAITING_MAX};
pub use runner::{AskId, Config, Gauges, Input, Output, RunId, Runner};
