//! The telephony node types, as the flow engine knows them: `sipPbxTrigger` and `sipPbx`.
//!
//! What an operation takes and which branches it has stands in one table, [`operation`]; what it
//! does stands in `call::switch`.

mod action;
mod habits;
mod lint;
pub mod operation;
mod trigger;

use serde_json::Value;

use crate::flow::{Catalogue, Findings, NodeType, Object};

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
fn is_expression(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.starts_with('='))
}

/// Collections of older exports are `options` now; what stands in both is what `options` says.
fn adopt_options(parameters: &mut Object, old: &[&str], report: &mut Findings) {
    for old in old {
        let Some(given) = parameters.remove(*old) else { continue };
        report.note("N-SIP-RENAMED", old, "read as `options`", "");
        for (key, value) in given.as_object().cloned().unwrap_or_default() {
            options_of(parameters).entry(key).or_insert(value);
        }
    }
}

/// A key of older exports, at the top or among the options, is the option `new` now.
fn rename_option(parameters: &mut Object, old: &str, new: &str, report: &mut Findings) {
    let options = parameters.get_mut("options").and_then(Value::as_object_mut);
    let among = options.and_then(|options| options.remove(old));
    let Some(value) = parameters.remove(old).or(among) else { return };
    report.note("N-SIP-RENAMED", old, &format!("read as `options.{new}`"), "");
    options_of(parameters).entry(new).or_insert(value);
}

/// The collection `options`; what is there and no collection is put aside.
fn options_of(parameters: &mut Object) -> &mut Object {
    let options = parameters.entry("options").or_insert_with(|| Value::Object(Object::new()));
    if !options.is_object() {
        *options = Value::Object(Object::new());
    }
    options.as_object_mut().expect("it was made an object")
}
