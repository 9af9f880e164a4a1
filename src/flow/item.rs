//! Items: what travels along the edges of a flow, and where each one came from.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::flow::NodeIndex;

/// A JSON object; keys keep the author's order.
pub type Object = Map<String, Value>;

/// One item. Copies share their contents; a writer gets an own copy through [`Item::json_mut`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// What expressions read as `$json`.
    pub json: Arc<Object>,
    /// Attachments by key, as n8n describes them.
    pub binary: Option<Arc<Object>>,
    /// Index of the input item that this one was made from. A node that leaves it out gets the
    /// obvious answer, if there is one.
    pub paired: Option<usize>,
    /// Keys beside `json`, such as `_sipPbxResponseHandle`: opaque, and kept by nodes that pass
    /// an item through.
    pub extra: Option<Arc<Object>>,
    /// The items that this one was made from, as far as `$('node').item` may ask for them.
    pub lineage: Option<Arc<Lineage>>,
}

impl Item {
    /// An item with this JSON and nothing else.
    pub fn new(json: Object) -> Self {
        Self { json: Arc::new(json), ..Self::default() }
    }

    /// An item with this JSON, made from the input item at `index`.
    pub fn made_from(json: Object, index: usize) -> Self {
        Self { json: Arc::new(json), paired: Some(index), ..Self::default() }
    }

    /// The JSON, to change.
    pub fn json_mut(&mut self) -> &mut Object {
        Arc::make_mut(&mut self.json)
    }

    /// The item that `node` gave last on the way to this one.
    pub fn ancestor(&self, node: NodeIndex) -> Option<&Arc<Object>> {
        self.lineage.iter().flat_map(|lineage| lineage.steps()).find_map(|step| {
            let Lineage { node: of, json, .. } = step;
            (*of == node).then_some(json)
        })
    }

    /// Notes that `node` made this item from `parent`.
    pub(super) fn descend(&mut self, node: NodeIndex, parent: Option<&Arc<Lineage>>) {
        self.lineage = Some(Lineage::push(node, self.json.clone(), parent));
    }
}

/// One step of the way that an item came: which node gave what, and what that was made from.
///
/// n8n finds `$('node').item` by walking the stored runs of each node backwards. Runs of a loop
/// that lasts for hours are not stored, so the way travels with the item, and is thinned to the
/// last step of each node when it grows long.
#[derive(Debug, PartialEq)]
pub struct Lineage {
    node: NodeIndex,
    json: Arc<Object>,
    parent: Option<Arc<Self>>,
    length: usize,
}

/// Steps after which the way of an item is thinned to one per node.
const LINEAGE_STEPS_MAX: usize = 128;

impl Lineage {
    fn push(node: NodeIndex, json: Arc<Object>, parent: Option<&Arc<Self>>) -> Arc<Self> {
        let mut parent = parent.cloned();
        if let Some(long) = parent.as_ref().filter(|parent| parent.length % LINEAGE_STEPS_MAX == 0)
        {
            parent = Self::thinned(long);
        }
        let length = parent.as_ref().map_or(1, |parent| parent.length + 1);
        Arc::new(Self { node, json, parent, length })
    }

    fn steps(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |step| step.parent.as_deref())
    }

    /// The same way with only the last step of each node. Only those can be asked for.
    fn thinned(long: &Self) -> Option<Arc<Self>> {
        let mut last: Vec<&Self> = Vec::new();
        for step in long.steps() {
            if !last.iter().any(|kept| kept.node == step.node) {
                last.push(step);
            }
        }
        last.into_iter().rev().fold(None, |parent, step| {
            let length = parent.as_ref().map_or(1, |parent: &Arc<Self>| parent.length + 1);
            Some(Arc::new(Self { node: step.node, json: step.json.clone(), parent, length }))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_of_loop_keeps_a_short_way_and_finds_the_trigger() {
        let (trigger, wait, play) = (NodeIndex(0), NodeIndex(1), NodeIndex(2));
        let mut item = Item::new(Object::from_iter([("n".into(), Value::from(0))]));
        item.descend(trigger, None);
        for n in 1..10_000 {
            let before = item.lineage.take();
            item = Item::new(Object::from_iter([("n".into(), Value::from(n))]));
            item.descend(if n % 2 == 0 { wait } else { play }, before.as_ref());
        }

        assert!(item.lineage.as_ref().unwrap().steps().count() <= LINEAGE_STEPS_MAX);
        let check = |node, n: Option<u64>| {
            assert_eq!(item.ancestor(node).and_then(|json| json["n"].as_u64()), n);
        };
        check(trigger, Some(0));
        check(wait, Some(9998));
        check(NodeIndex(9), None);
    }
}
