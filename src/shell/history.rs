//! The last runs and their steps, as `ringback runs` shows them: bounded in number and in bytes.
//!
//! The threads that make runs write, the HTTP thread reads. Nothing waits for a reader longer than it
//! takes to copy one run. What has ended some time ago is packed, a run into one place, deflated: its many
//! small parts would keep the memory of all that was there beside them when they were made.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;
use serde_json::{Value, json};

use crate::flow::{
    Branches, Finished, Gauges, Graph, Json, NodeIndex, Object, Output, RunId, Visited,
};

/// Runs that are kept; of one more, the oldest that has ended is forgotten, else the oldest.
pub(super) const RUNS_MAX: usize = 1000;
/// Steps of one run that are kept; its oldest are forgotten, and counted.
pub(super) const STEPS_MAX: usize = 500;
/// Bytes that the items of all kept steps may take; the oldest runs are forgotten for more.
pub(super) const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Items of one output of a step that are kept; all are counted.
pub(super) const ITEMS_MAX: usize = 10;
/// Bytes of one item that is kept.
pub(super) const ITEM_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an item that is kept as text; to write larger ones takes longer than the step.
const TEXT_MAX: usize = 1024;
/// Bytes of what is kept of a step beside its items.
const STEP_BYTES: usize = 200;
/// Milliseconds from the end of a run until it is packed; at more than 28 runs a second it is forgotten
/// by then. The transactions of its call are gone then (32 s), and what is packed fills their places
/// instead of keeping the memory between them.
const PACKED_AFTER_MS: i64 = 36_000;
/// Runs that are packed at a time.
const PACKED_MAX: usize = 200;
/// How hard is tried to pack small, of 10; with 6 a run takes a twelfth less.
const PACKED_LEVEL: u8 = 1;

/// Where runs are made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// On the thread of flows.
    Worker,
    /// Where calls are handled.
    Signalling,
}

/// The last runs of a server.
#[derive(Debug, Default)]
pub(super) struct History {
    held: Mutex<Held>,
    /// Figures of runs of all times, by where they are made.
    gauges: Mutex<[Gauges; 2]>,
}

#[derive(Debug, Default)]
struct Held {
    runs: BTreeMap<RunId, Kept>,
    /// Every kept run, the one that began first at the front.
    order: VecDeque<RunId>,
    /// Runs that have ended and are not packed, and when; the first to end at the front.
    unpacked: VecDeque<(RunId, i64)>,
    bytes: usize,
}

/// One run.
#[derive(Clone, Debug)]
struct Kept {
    graph: Arc<Graph>,
    trigger: NodeIndex,
    began_ms: i64,
    trace: Trace,
    steps_forgotten: u64,
    /// The node that waits for something, and since when.
    waits: Option<(Arc<str>, i64)>,
    ended: Option<(i64, Finished)>,
    bytes: usize,
}

/// What is kept of a run's steps.
#[derive(Clone, Debug)]
enum Trace {
    Steps(VecDeque<Step>),
    /// So many, as the JSON that is shown of them, deflated.
    Packed(usize, Box<[u8]>),
}

/// One visit of a node.
#[derive(Clone, Debug)]
struct Step {
    visited: Visited,
    outputs: Vec<Given>,
    bytes: usize,
}

/// What left by one output.
#[derive(Clone, Debug)]
struct Given {
    count: usize,
    /// The first items.
    items: Box<[GivenItem]>,
}

/// One item.
#[derive(Clone, Debug)]
enum GivenItem {
    /// As JSON: its values would take several times the room.
    Text(Box<str>),
    /// Shared with the run: it is large, or not made yet.
    Shared(Arc<Json>),
    LeftOut,
}

impl History {
    /// A run begins.
    pub(super) fn begin(&self, run: RunId, graph: &Arc<Graph>, trigger: NodeIndex, now_ms: i64) {
        let graph = graph.clone();
        let (trace, steps_forgotten) = (Trace::Steps(VecDeque::new()), 0);
        let (began_ms, waits, ended, bytes) = (now_ms, None, None, 0);
        let kept = Kept { graph, trigger, began_ms, trace, steps_forgotten, waits, ended, bytes };
        self.change(|held| {
            if held.runs.insert(run, kept).is_none() {
                held.order.push_back(run);
            }
            held.trim();
        });
    }

    /// A node was visited.
    pub(super) fn visited(&self, run: RunId, mut visited: Visited) {
        // What the items came from is not kept with them: it may be everything before.
        let outputs = std::mem::take(&mut visited.outputs);
        let outputs: Vec<Given> = given(&outputs);
        let items = outputs.iter().flat_map(|given| given.items.iter());
        let bytes = STEP_BYTES + items.map(GivenItem::size).sum::<usize>();
        self.change(|held| {
            let Some(kept) = held.runs.get_mut(&run) else { return };
            kept.waits = None;
            let Trace::Steps(steps) = &mut kept.trace else { return };
            steps.push_back(Step { visited, outputs, bytes });
            kept.bytes += bytes;
            held.bytes += bytes;
            if steps.len() > STEPS_MAX
                && let Some(forgotten) = steps.pop_front()
            {
                kept.steps_forgotten += 1;
                kept.bytes -= forgotten.bytes;
                held.bytes -= forgotten.bytes;
            }
            held.trim();
        });
    }

    /// A node waits for the world, or for its time.
    pub(super) fn waits(&self, run: RunId, node: Arc<str>, now_ms: i64) {
        self.change(|held| {
            if let Some(kept) = held.runs.get_mut(&run) {
                kept.waits = Some((node, now_ms));
            }
        });
    }

    /// A run is over.
    pub(super) fn end(&self, run: RunId, outcome: &Finished, now_ms: i64) {
        self.change(|held| {
            if let Some(kept) = held.runs.get_mut(&run) {
                kept.waits = None;
                kept.ended = Some((now_ms, outcome.clone()));
                held.unpacked.push_back((run, now_ms));
                // Of more than are kept, the first are forgotten.
                if held.unpacked.len() > RUNS_MAX {
                    held.unpacked.pop_front();
                }
            }
        });
    }

    /// Packs some of the runs that ended long enough ago; to be called every second or so.
    pub(super) fn pack(&self, now_ms: i64) {
        for _ in 0..PACKED_MAX {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let Some((run, ended_ms)) = held.unpacked.front().copied() else { return };
            if ended_ms + PACKED_AFTER_MS > now_ms {
                return;
            }
            held.unpacked.pop_front();
            let Some(kept) = held.runs.get(&run).cloned() else { continue };
            drop(held);
            let shown = kept.trace.shown(&kept.graph).to_string();
            let packed = compress_to_vec(shown.as_bytes(), PACKED_LEVEL).into_boxed_slice();
            self.change(|held| held.pack(run, packed));
        }
    }

    /// Runs have been served there; their figures are these now.
    pub(super) fn count(&self, place: Place, gauges: Gauges) {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)[place as usize] = gauges;
    }

    /// The figures of both places.
    pub(super) fn gauges(&self) -> Gauges {
        let [worker, signalling] = *self.gauges.lock().unwrap_or_else(PoisonError::into_inner);
        Gauges {
            runs: worker.runs + signalling.runs,
            timers: worker.timers + signalling.timers,
            started: worker.started + signalling.started,
            failed: worker.failed + signalling.failed,
            late: worker.late + signalling.late,
            panics: worker.panics + signalling.panics,
        }
    }

    /// Notes where a run waits, and how it ended.
    pub(super) fn note(&self, output: &Output, now_ms: i64) {
        match output {
            Output::Ask { run, name, .. } | Output::Paused { run, name } => {
                self.waits(*run, name.clone(), now_ms);
            }
            Output::Finished { run, outcome, .. } => self.end(*run, outcome, now_ms),
            Output::Visited { .. } | Output::Withdraw { .. } => {}
        }
    }

    /// A line for each run, the latest first.
    pub(super) fn list(&self, now_ms: i64) -> Value {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let runs = held.order.iter().rev().filter_map(|id| Some((id, held.runs.get(id)?)));
        runs.map(|(id, kept)| kept.line(*id, now_ms)).collect()
    }

    /// Everything that is kept of a run.
    pub(super) fn show(&self, run: RunId, now_ms: i64) -> Option<Value> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing is done after the lock is given back: the copy shares its items.
        let kept = held.runs.get(&run)?.clone();
        drop(held);
        let mut shown = kept.line(run, now_ms);
        shown["stepsForgotten"] = kept.steps_forgotten.into();
        shown["trace"] = kept.trace.shown(&kept.graph);
        Some(shown)
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Held {
    /// Keeps the steps of a run in this form from now on.
    fn pack(&mut self, run: RunId, packed: Box<[u8]>) {
        let Some(kept) = self.runs.get_mut(&run) else { return };
        self.bytes = self.bytes - kept.bytes + packed.len();
        kept.bytes = packed.len();
        kept.trace = Trace::Packed(kept.trace.len(), packed);
        self.trim();
    }

    /// Forgets what is too much.
    fn trim(&mut self) {
        while self.order.len() > RUNS_MAX || (self.bytes > BYTES_MAX && self.order.len() > 1) {
            let is_over = |id: &RunId| self.runs.get(id).is_none_or(|kept| kept.ended.is_some());
            let place = self.order.iter().position(is_over).unwrap_or(0);
            let Some(id) = self.order.remove(place) else { return };
            if let Some(kept) = self.runs.remove(&id) {
                self.bytes -= kept.bytes;
            }
        }
    }
}

impl Kept {
    fn line(&self, id: RunId, now_ms: i64) -> Value {
        let (status, until_ms) = match &self.ended {
            None => ("running", now_ms),
            Some((at, Finished::Success)) => ("success", *at),
            Some((at, Finished::Failed { .. })) => ("error", *at),
            Some((at, Finished::Cancelled)) => ("cancelled", *at),
        };
        let mut line = json!({
            // As text, as `$execution.id` is.
            "id": id.0.to_string(),
            "workflow": self.graph.name(),
            "trigger": &*self.graph.node(self.trigger).name,
            "status": status,
            "began": moment(self.began_ms),
            "lastedMs": until_ms - self.began_ms,
            "steps": self.steps_forgotten + self.trace.len() as u64,
        });
        if let Some((node, since_ms)) = &self.waits {
            line["waits"] = json!({ "node": &**node, "sinceMs": since_ms - self.began_ms });
        }
        if let Some((_, Finished::Failed { node, fault })) = &self.ended {
            line["error"] =
                json!({ "node": node.as_deref(), "message": fault.message, "code": fault.code });
        }
        line
    }
}

impl Trace {
    fn len(&self) -> usize {
        match self {
            Self::Steps(steps) => steps.len(),
            Self::Packed(steps, _) => *steps,
        }
    }

    fn shown(&self, graph: &Graph) -> Value {
        match self {
            Self::Steps(steps) => steps.iter().map(|step| step.shown(graph)).collect(),
            Self::Packed(_, packed) => decompress_to_vec(packed)
                .ok()
                .and_then(|text| serde_json::from_slice(&text).ok())
                .unwrap_or_default(),
        }
    }
}

impl Step {
    fn shown(&self, graph: &Graph) -> Value {
        let Visited { node, name, workflow, pass, lasted_ms: (since_ms, until_ms), fault, .. } =
            &self.visited;
        // Of another workflow only the counts are known here.
        let labels = match workflow {
            None => graph.node(*node).outputs.as_slice(),
            Some(_) => &[],
        };
        let outputs = self.outputs.iter().enumerate().map(|(output, given)| {
            let item = |item: &GivenItem| match item {
                GivenItem::Text(text) => {
                    json!({ "json": serde_json::from_str::<Value>(text).ok() })
                }
                GivenItem::Shared(json) => json!({ "json": ***json }),
                GivenItem::LeftOut => {
                    json!({ "leftOut": format!("more than {ITEM_BYTES_MAX} bytes") })
                }
            };
            json!({
                "branch": labels.get(output).map_or("main", String::as_str),
                "count": given.count,
                "items": given.items.iter().map(item).collect::<Value>(),
            })
        });
        let mut shown = json!({
            "node": &**name, "run": pass, "at": moment(*since_ms),
            "lastedMs": until_ms - since_ms, "outputs": outputs.collect::<Value>(),
        });
        if let Some(workflow) = workflow {
            shown["workflow"] = (**workflow).into();
        }
        if let Some(fault) = fault {
            shown["error"] = json!({ "message": fault.message, "code": fault.code });
        }
        shown
    }
}

fn given(outputs: &Branches) -> Vec<Given> {
    let given = outputs.iter().map(|items| Given {
        count: items.len(),
        items: items.iter().take(ITEMS_MAX).map(|item| GivenItem::of(&item.json)).collect(),
    });
    given.collect()
}

impl GivenItem {
    fn of(json: &Arc<Json>) -> Self {
        let (made, late) = json.made();
        let size = size(made);
        if size + late > ITEM_BYTES_MAX {
            return Self::LeftOut;
        }
        let is_small = size <= TEXT_MAX && late == 0;
        let text = is_small.then(|| serde_json::to_string(made).ok()).flatten();
        text.map_or_else(|| Self::Shared(json.clone()), |text| Self::Text(text.into()))
    }

    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Shared(json) => {
                let (made, late) = json.made();
                size(made) + late
            }
            Self::LeftOut => 0,
        }
    }
}

/// About how many bytes an object takes.
fn size(object: &Object) -> usize {
    const ENTRY: usize = 64;
    let fields = object.iter().map(|(key, value)| ENTRY + key.len() + value_size(value));
    fields.sum()
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.len(),
        Value::Array(values) => {
            values.iter().map(|value| size_of::<Value>() + value_size(value)).sum()
        }
        Value::Object(fields) => size(fields),
    }
}

/// A moment as RFC 3339 writes it.
fn moment(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|moment| moment.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Catalogue, Fault, Item, check, read};

    fn graph() -> Arc<Graph> {
        let text = r#"{"name": "a flow", "connections": {}, "nodes": [
            {"name": "start", "type": "n8n-nodes-base.manualTrigger"}]}"#;
        Arc::new(check(&read(text, "a").unwrap()[0], &Catalogue::core()).0.unwrap())
    }

    fn visit(json: Value, count: usize) -> Visited {
        let item = Item::new(json.as_object().unwrap().clone());
        let outputs = Arc::new(vec![vec![item; count]]);
        let (node, name, workflow, fault) = (NodeIndex(0), "start".into(), None, None);
        Visited { node, name, workflow, pass: 0, outputs, fault, lasted_ms: (1500, 1750) }
    }

    #[test]
    fn a_run_is_shown_with_its_steps_and_how_it_ended() {
        let (history, run) = (History::default(), RunId(7));
        history.begin(run, &graph(), NodeIndex(0), 1000);
        history.visited(run, visit(json!({ "a": 1 }), 12));
        history.waits(run, "Wait".into(), 2000);
        let line = &history.list(3000)[0];
        assert_eq!((&line["status"], &line["lastedMs"]), (&json!("running"), &json!(2000)));
        assert_eq!(line["waits"], json!({ "node": "Wait", "sinceMs": 1000 }));

        let fault = Fault::new("E-FLOW-X", "why");
        history.end(run, &Finished::Failed { node: Some("Wait".into()), fault }, 4000);
        let shown = history.show(run, 9000).unwrap();
        assert_eq!(shown["error"]["message"], "why");
        assert_eq!(shown["began"], "1970-01-01T00:00:01Z");
        assert_eq!((&shown["lastedMs"], &shown["waits"]), (&json!(3000), &Value::Null));
        let step = &shown["trace"][0];
        assert_eq!((&step["node"], &step["lastedMs"]), (&json!("start"), &json!(250)));
        let output = &step["outputs"][0];
        assert_eq!((&output["branch"], &output["count"]), (&json!("main"), &json!(12)));
        assert_eq!(output["items"].as_array().unwrap().len(), ITEMS_MAX);
        assert!(history.show(RunId(8), 0).is_none());
    }

    #[test]
    fn a_run_that_ended_is_packed_and_shown_as_before() {
        let (history, graph) = (History::default(), graph());
        for run in [1, 2].map(RunId) {
            history.begin(run, &graph, NodeIndex(0), 1000);
            history.visited(run, visit(json!({ "a": "ü", "b": [1, null] }), 12));
            history.visited(run, visit(json!({ "a": "x".repeat(TEXT_MAX) }), 1));
        }
        let before = history.show(RunId(1), 9000).unwrap();
        history.end(RunId(1), &Finished::Success, 9000);
        let is_packed = |run: u64| {
            let held = history.held.lock().unwrap();
            assert_eq!(held.bytes, held.runs.values().map(|kept| kept.bytes).sum::<usize>());
            matches!(held.runs[&RunId(run)].trace, Trace::Packed(2, _))
        };
        history.pack(9000 + PACKED_AFTER_MS - 1);
        assert!(!is_packed(1));
        history.pack(9000 + PACKED_AFTER_MS);
        assert!(is_packed(1) && !is_packed(2));
        let bytes = |run| history.held.lock().unwrap().runs[&RunId(run)].bytes;
        assert!(2 * bytes(1) < bytes(2), "{} of {}", bytes(1), bytes(2));
        let after = history.show(RunId(1), 99_000).unwrap();
        assert_eq!((&after["trace"], &after["steps"]), (&before["trace"], &json!(2)));
        assert_eq!((&after["status"], &after["lastedMs"]), (&json!("success"), &json!(8000)));
    }

    #[test]
    fn runs_steps_and_bytes_have_their_limits() {
        let (history, graph) = (History::default(), graph());
        let large = "x".repeat(ITEM_BYTES_MAX - 200);
        for run in 0..2000 {
            history.begin(RunId(run), &graph, NodeIndex(0), 0);
            // The first run never ends, and is kept before those that have.
            for _ in 0..5 {
                history.visited(RunId(run), visit(json!({ "a": large }), 1));
            }
            if run > 0 {
                history.end(RunId(run), &Finished::Success, 1);
            }
        }
        let held = history.held.lock().unwrap();
        assert!(held.bytes <= BYTES_MAX && held.runs.len() == held.order.len());
        assert!(held.order.len() < RUNS_MAX && held.order.front() == Some(&RunId(0)));
        let bytes: usize = held.runs.values().map(|kept| kept.bytes).sum();
        assert_eq!(bytes, held.bytes);
        drop(held);
        for _ in 0..STEPS_MAX {
            history.visited(RunId(0), visit(json!({}), 1));
        }
        history.visited(RunId(0), visit(json!({ "a": "x".repeat(ITEM_BYTES_MAX) }), 1));
        let shown = history.show(RunId(0), 0).unwrap();
        assert_eq!(shown["trace"].as_array().unwrap().len(), STEPS_MAX);
        assert_eq!(shown["stepsForgotten"], 6);
        let last = shown["trace"].as_array().unwrap().last().unwrap();
        assert!(last["outputs"][0]["items"][0]["leftOut"].is_string());
    }
}
