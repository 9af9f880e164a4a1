//! Limit: at most so many items, from the beginning or from the end.

use serde_json::Value;

use crate::flow::{Branches, Fault, NodeType, Role, Work};

pub(super) struct Limit;

impl NodeType for Limit {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.limit"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn keys(&self) -> &'static [&'static str] {
        &["maxItems", "keep"]
    }

    fn perform(&self, work: &mut Work<'_>) -> Result<Branches, Fault> {
        let parameters = work.parameters(0)?;
        let count = parameters.get("maxItems").and_then(Value::as_u64).unwrap_or(1);
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(work.items().len());
        let is_last = parameters.get("keep").is_some_and(|keep| keep == "lastItems");
        let from = if is_last { work.items().len() - count } else { 0 };
        Ok(vec![work.items()[from..from + count].to_vec()])
    }
}
