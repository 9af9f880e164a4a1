//! Items: what travels along the edges of a flow, and where each one came from.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::flow::{Json, NodeIndex};

/// A JSON object; keys keep the author's order.
pub type Object = Map<String, Value>;

/// Members from which on a key is hashed; among fewer it takes less to compare them all.
const HASHED_FROM: usize = 16;

/// A member of an object.
pub fn member<'v>(object: &'v Object, key: &str) -> Option<&'v Value> {
    if object.len() >= HASHED_FROM {
        return object.get(key);
    }
    object.iter().find(|(name, _)| *name == key).map(|(_, value)| value)
}

/// An input item that another item was made from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// Its index among the items of its input.
    pub item: usize,
    /// The input it came by.
    pub input: usize,
}

/// What an item was made from: n8n's `pairedItem`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Paired {
    /// Nobody said; a node that leaves it out gets the obvious answer, if there is one.
    #[default]
    Unknown,
    /// Exactly one input item.
    One(Origin),
    /// Several, as of an aggregate.
    Many(Arc<[Origin]>),
}

impl Paired {
    /// Made from the item at `item` of the first input.
    pub const fn with(item: usize) -> Self {
        Self::One(Origin { item, input: 0 })
    }

    /// Every input item that is named.
    pub fn origins(&self) -> &[Origin] {
        match self {
            Self::Unknown => &[],
            Self::One(origin) => std::slice::from_ref(origin),
            Self::Many(origins) => origins,
        }
    }

    pub(super) fn to_json(&self) -> Option<Value> {
        let one = |origin: &Origin| match origin.input {
            0 => json!({ "item": origin.item }),
            input => json!({ "item": origin.item, "input": input }),
        };
        match self {
            Self::Unknown => None,
            Self::One(origin) => Some(one(origin)),
            Self::Many(origins) => Some(origins.iter().map(one).collect()),
        }
    }
}

/// One item. Copies share their contents; a writer gets an own copy through [`Item::json_mut`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Item {
    /// What expressions read as `$json`.
    pub json: Arc<Json>,
    /// Attachments by key, as n8n describes them.
    pub binary: Option<Arc<Object>>,
    /// The input items that this one was made from.
    pub paired: Paired,
    /// Keys beside `json`, such as `_sipPbxResponseHandle`: opaque, and kept by nodes that pass
    /// an item through.
    pub extra: Option<Arc<Object>>,
    /// The items that this one was made from, as far as `$('node').item` may ask for them.
    pub lineage: Option<Arc<Lineage>>,
}

impl Item {
    /// An item with this JSON and nothing else.
    pub fn new(json: Object) -> Self {
        Self::of(Arc::new(json.into()), Paired::Unknown)
    }

    /// An item with this JSON, made from the input item at `index`.
    pub fn made_from(json: Object, index: usize) -> Self {
        Self::of(Arc::new(json.into()), Paired::with(index))
    }

    /// Not of the default: that would make JSON to throw it away.
    const fn of(json: Arc<Json>, paired: Paired) -> Self {
        Self { json, binary: None, paired, extra: None, lineage: None }
    }

    /// An item as n8n writes it, `{"json": …, "binary": …}`, or a bare object that is the JSON.
    /// What is neither is none.
    pub fn from_value(value: Value) -> Option<Self> {
        let Value::Object(mut fields) = value else { return None };
        if !fields.get("json").is_some_and(Value::is_object) {
            return Some(Self::new(fields));
        }
        let mut object = |key: &str| match fields.shift_remove(key) {
            Some(Value::Object(object)) => Some(object),
            Some(_) | None => None,
        };
        let json = object("json").unwrap_or_default();
        let binary = object("binary").map(Arc::new);
        fields.shift_remove("pairedItem");
        let extra = (!fields.is_empty()).then(|| Arc::new(fields));
        Some(Self { binary, extra, ..Self::new(json) })
    }

    /// The item as n8n writes it.
    pub fn to_value(&self) -> Value {
        let mut fields = Object::new();
        fields.insert("json".to_owned(), Value::Object(Object::clone(&self.json)));
        if let Some(binary) = &self.binary {
            fields.insert("binary".to_owned(), Value::Object(Object::clone(binary)));
        }
        if let Some(paired) = self.paired.to_json() {
            fields.insert("pairedItem".to_owned(), paired);
        }
        for (key, value) in self.extra.iter().flat_map(|extra| extra.iter()) {
            fields.entry(key.clone()).or_insert_with(|| value.clone());
        }
        Value::Object(fields)
    }

    /// The JSON, to change.
    pub fn json_mut(&mut self) -> &mut Object {
        Arc::make_mut(&mut self.json).whole_mut()
    }

    /// The item that `node` gave last on the way to this one.
    pub fn ancestor(&self, node: NodeIndex) -> Ancestor<'_> {
        let mut found = Ancestor::None;
        let mut seen: Vec<*const Lineage> = Vec::new();
        let mut next: Vec<&Lineage> = self.lineage.as_deref().into_iter().collect();
        while let Some(step) = next.pop() {
            if step.node == node {
                if matches!(found, Ancestor::One(other) if !Arc::ptr_eq(other, &step.json)) {
                    return Ancestor::Several;
                }
                found = Ancestor::One(&step.json);
                continue;
            }
            if !step.others.is_empty() {
                if seen.contains(&std::ptr::from_ref(step)) {
                    continue;
                }
                seen.push(step);
            }
            next.extend(step.parents());
        }
        found
    }

    /// Notes that `node` made this item from these.
    pub(super) fn descend(&mut self, node: NodeIndex, parents: Vec<Arc<Lineage>>) {
        self.lineage = Some(Lineage::push(node, self.json.clone(), parents));
    }
}

impl From<Json> for Item {
    fn from(json: Json) -> Self {
        Self::of(Arc::new(json), Paired::Unknown)
    }
}

/// What is found on the way back to a node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ancestor<'a> {
    /// No way leads there.
    None,
    /// The item.
    One(&'a Arc<Json>),
    /// More than one item, and nobody knows which is meant.
    Several,
}

/// One step of the way that an item came: which node gave what, and what that was made from.
///
/// n8n finds `$('node').item` by walking the stored runs of each node backwards. Runs of a loop
/// that lasts for hours are not stored, so the way travels with the item, and is thinned to the
/// last step of each node when it grows long.
#[derive(Debug, PartialEq)]
pub struct Lineage {
    node: NodeIndex,
    json: Arc<Json>,
    parent: Option<Arc<Self>>,
    /// Further parents, where an item was made from several.
    others: Vec<Arc<Self>>,
    length: usize,
}

/// Steps after which the way of an item is thinned to one per node.
const LINEAGE_STEPS_MAX: usize = 128;

impl Lineage {
    fn push(node: NodeIndex, json: Arc<Json>, parents: Vec<Arc<Self>>) -> Arc<Self> {
        let mut parents = parents.into_iter().filter_map(|parent| {
            if parent.length % LINEAGE_STEPS_MAX == 0 {
                Self::thinned(&parent)
            } else {
                Some(parent)
            }
        });
        let parent = parents.next();
        let others: Vec<Arc<Self>> = parents.collect();
        let longest = parent.iter().chain(&others).map(|parent| parent.length).max();
        Arc::new(Self { node, json, parent, others, length: longest.unwrap_or(0) + 1 })
    }

    fn parents(&self) -> impl Iterator<Item = &Self> {
        self.parent.iter().chain(&self.others).map(Arc::as_ref)
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
            let (node, json, others) = (step.node, step.json.clone(), Vec::new());
            Some(Arc::new(Self { node, json, parent, others, length }))
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
        item.descend(trigger, Vec::new());
        for n in 1..10_000 {
            let before = item.lineage.take();
            item = Item::new(Object::from_iter([("n".into(), Value::from(n))]));
            item.descend(if n % 2 == 0 { wait } else { play }, before.into_iter().collect());
        }

        assert!(item.lineage.as_ref().unwrap().steps().count() <= LINEAGE_STEPS_MAX);
        let check = |node, n: Option<u64>| {
            let found = match item.ancestor(node) {
                Ancestor::One(json) => json["n"].as_u64(),
                Ancestor::None | Ancestor::Several => None,
            };
            assert_eq!(found, n);
        };
        check(trigger, Some(0));
        check(wait, Some(9998));
        check(NodeIndex(9), None);
    }
}
