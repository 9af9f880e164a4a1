//! Manual Trigger: starts a run by hand, from the console or a test.

use crate::flow::{NodeType, Role};

pub(super) struct ManualTrigger;

impl NodeType for ManualTrigger {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.manualTrigger"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn role(&self) -> Role {
        Role::Trigger
    }
}
