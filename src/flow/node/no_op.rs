//! No Operation: items in, the same items out; a place to join branches and hang names on.

use crate::flow::{NodeType, Object, Role};

pub(super) struct NoOp;

impl NodeType for NoOp {
    fn name(&self) -> &'static str {
        "n8n-nodes-base.noOp"
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0]
    }

    fn role(&self) -> Role {
        Role::Core
    }

    fn is_quick(&self, _parameters: &Object) -> bool {
        true
    }
}
