//! Loop Over Items: batches of the first input, one by one, until none is left.

use std::collections::VecDeque;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::flow::{Branches, Fault, Findings, Item, NodeType, Object, Role, Work};

pub(super) struct SplitInBatches;

/// What a loop keeps between two visits.
#[derive(Clone, Debug, Default)]
pub(in crate::flow) struct Batches {
    left: VecDeque<Item>,
    processed: Vec<Item>,
    pass: u64,
    last_pass: u64,
    is_done: bool,
}

impl Batches {
    /// What `$('Loop').context` tells.
    pub(super) fn context(&self) -> Object {
        let fields = [
            ("currentRunIndex", json!(self.pass)),
            ("maxRunIndex", json!(self.last_pass)),
            ("noItemsLeft", json!(self.left.is_empty())),
            ("done", json!(self.is_done)),
        ];
        fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl NodeType for SplitInBatches {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.splitInBatches"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 2.0, 3.0]
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn keeps_lineage(&self) -> bool {
        true
    }

    fn keys(&self) -> &'static [&'static str] {
        &["batchSize", "options", "splitInBatchesNotice"]
    }

    fn fill(&self, version: f64, parameters: &mut Object, _report: &mut Findings) {
        let size = if version < 3.0 { 10 } else { 1 };
        parameters.entry("batchSize").or_insert_with(|| size.into());
    }

    fn outputs(&self, version: f64, _parameters: &Object) -> Vec<String> {
        let labels: &[&str] = match version {
            _ if version < 2.0 => &["main"],
            _ if version < 3.0 => &["loop", "done"],
            _ => &["done", "loop"],
        };
        labels.iter().map(ToString::to_string).collect()
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        let parameters = work.parameters(0)?;
        let size = parameters.get("batchSize").and_then(Value::as_u64).unwrap_or(1).max(1);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        let resets = parameters.get("options").is_some_and(|options| options["reset"] == true);
        let version = work.version();
        let (items, key) = (work.items().to_vec(), work.scope.index);
        let is_new = resets || !work.loops.batches.contains_key(&key);
        let loop_ = Arc::make_mut(work.loops.batches.entry(key).or_default());
        if is_new {
            let batches = items.len().div_ceil(size) as u64;
            *loop_ = Batches { left: items.into(), last_pass: batches, ..Batches::default() };
        } else {
            loop_.pass += 1;
            loop_.processed.extend(items);
        }
        let batch: Vec<Item> = loop_.left.drain(..size.min(loop_.left.len())).collect();
        if batch.is_empty() {
            loop_.is_done = true;
            let processed = std::mem::take(&mut loop_.processed);
            return Ok(match version {
                _ if version < 2.0 => Vec::new(),
                _ if version < 3.0 => vec![Vec::new(), processed],
                _ => vec![processed, Vec::new()],
            });
        }
        Ok(match version {
            _ if version < 2.0 => vec![batch],
            _ if version < 3.0 => vec![batch, Vec::new()],
            _ => vec![Vec::new(), batch],
        })
    }
}
