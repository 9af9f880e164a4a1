//! The telephony node types, as the flow engine knows them: `sipPbxTrigger` and `sipPbx`.
//!
//! What an operation takes and which branches it has stands in one table, [`operation`]; what it
//! does stands in `call::switch`.

mod action;
mod habits;
mod lint;
pub mod operation;
mod trigger;

use crate::flow::{Catalogue, NodeType};

pub use action::ACTION;
pub use habits::{Habit, habits};
pub use lint::{Dangling, dangling_references};
pub use trigger::TRIGGER;

/// The core's node types and the telephony ones.
pub fn catalogue() -> Catalogue {
    let types: Vec<Box<dyn NodeType>> = vec![Box::new(trigger::Trigger), Box::new(action::Action)];
    Catalogue::core().with(types)
}

/// Whether a text is an expression, whose value is only known when the node runs.
fn is_expression(value: &serde_json::Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with('='))
}
