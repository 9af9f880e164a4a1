//! What becomes of what a node gave: its links to what it was made from, and errors among it.

use std::sync::Arc;

use crate::flow::memory::Scope;
use crate::flow::{Branches, Item, Lineage, Object, Origin, Paired};

/// Whether a node says that it failed by what it gave: an `error` in the first item.
pub(super) fn gives_error(outputs: &Branches) -> bool {
    let first = outputs.first().and_then(|items| items.first());
    let error = first.and_then(|item| item.json.get("error"));
    error.is_some_and(|error| !error.is_null() && *error != false)
}

/// Items that hold nothing but an error leave by the output for those, with what they were made
/// from.
pub(super) fn divert(scope: &Scope, outputs: &mut Branches) {
    let last = scope.node().outputs.len() - 1;
    outputs.resize(outputs.len().max(last + 1), Vec::new());
    let is_error = |item: &Item| {
        let json = &item.json;
        json.contains_key("error")
            && (json.len() == 1 || (json.len() == 2 && json.contains_key("message")))
    };
    let mut diverted = Vec::new();
    for items in &mut outputs[..last] {
        diverted.extend(items.extract_if(.., |item| is_error(item)));
    }
    for item in &mut diverted {
        if let [Origin { item: place, input }] = item.paired.origins()
            && let Some(from) = scope.input(*input).get(*place)
        {
            let mut json = Object::clone(&from.json);
            json.extend(Object::clone(&item.json));
            item.json = Arc::new(json.into());
        }
    }
    outputs[last].append(&mut diverted);
}

/// Links what a node gave to what it was made from, where that is plain or the node said so.
pub(super) fn link(scope: &Scope, outputs: &mut Branches) {
    let inputs = &scope.items;
    let keeps = scope.node().kind.keeps_lineage();
    let is_one_to_one = outputs.len() == 1 && outputs[0].len() == inputs.len();
    for items in outputs {
        for (place, item) in items.iter_mut().enumerate() {
            if item.paired == Paired::Unknown && scope.inputs.is_empty() {
                match inputs.len() {
                    1 => item.paired = Paired::with(0),
                    _ if is_one_to_one => item.paired = Paired::with(place),
                    _ => {}
                }
            }
            let lineage =
                |origin: &Origin| scope.input(origin.input).get(origin.item)?.lineage.clone();
            let parents: Vec<Arc<Lineage>> = match keeps {
                true => item.lineage.take().into_iter().collect(),
                false => item.paired.origins().iter().filter_map(lineage).collect(),
            };
            if scope.graph.is_asked_for(scope.index) || parents.len() > 1 {
                item.descend(scope.index, parents);
            } else {
                item.lineage = parents.into_iter().next();
            }
        }
    }
}
