//! Sticky notes: remarks on the canvas, which a run never sees.

use crate::flow::{NodeType, Object, Role};

pub(super) struct StickyNote;

impl NodeType for StickyNote {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.stickyNote"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn role(&self) -> Role {
        Role::Note
    }

    fn outputs(&self, _version: f64, _parameters: &Object) -> Vec<String> {
        Vec::new()
    }
}
