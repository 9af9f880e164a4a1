//! The last runs and their steps, as `ringback runs` shows them: bounded in number and in bytes.
//!
//! The threads that make runs write, the HTTP thread reads. Nothing waits for a reader longer than it
//! takes to copy one run. What has ended some time ago is packed, some runs into one place, deflated: the
//! many small parts of a run would keep the memory of all that was there beside them when they were made,
//! and runs are so alike that together they take a third.

mod step;

use std::cmp::Reverse;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use miniz_oxide::deflate::compress_to_vec;
use miniz_oxide::inflate::decompress_to_vec;
use serde_json::{Value, json};

use crate::base::BoxMap;
use crate::flow::{Finished, Gauges, Graph, NodeIndex, Output, RunId, Visited};
use step::Step;

/// Runs that are kept; of one more, the first block is forgotten, else the first that has ended, else the
/// oldest.
pub(super) const RUNS_MAX: usize = 1000;
/// Steps of one run that are kept; its oldest are forgotten, and counted.
pub(super) const STEPS_MAX: usize = 500;
/// Bytes that all kept steps may take; the first runs that ended are forgotten for more.
pub(super) const BYTES_MAX: usize = 32 * 1024 * 1024;
/// Milliseconds from the end of a run until it is packed; at more than 28 runs a second it is forgotten
/// by then. The transactions of its call are gone then (32 s), and what is packed fills their places
/// instead of keeping the memory between them.
const PACKED_AFTER_MS: i64 = 36_000;
/// Milliseconds for which a run waits for others to be packed together with.
const TOGETHER_MS: i64 = 5000;
/// Runs that are packed together; fewer if they have more than so many bytes, or are packed in more.
const BLOCK_RUNS: usize = 16;
const BLOCK_BYTES: usize = 256 * 1024;
const PACKED_BYTES: usize = 32 * 1024;
/// Blocks that are packed at a time.
const BLOCKS_MAX: usize = 12;
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
    /// Those that are not packed.
    runs: BoxMap<RunId, Kept>,
    /// Which of these have ended, and when; the first to end at the front.
    ended: VecDeque<(RunId, i64)>,
    /// Those that are packed, the first to end at the front.
    blocks: VecDeque<Arc<Block>>,
    /// How many these are.
    packed: usize,
    bytes: usize,
}

/// One run.
#[derive(Clone, Debug)]
struct Kept {
    graph: Arc<Graph>,
    trigger: NodeIndex,
    began_ms: i64,
    steps: VecDeque<Step>,
    steps_forgotten: u64,
    /// The node that waits for something, and since when.
    waits: Option<(Arc<str>, i64)>,
    ended: Option<(i64, Finished)>,
    bytes: usize,
}

/// Some runs that have ended.
#[derive(Debug)]
struct Block {
    /// Which, and when they began.
    runs: Box<[(RunId, i64)]>,
    /// As they are shown, in a JSON array, deflated.
    packed: Box<[u8]>,
}

impl History {
    /// A run begins.
    pub(super) fn begin(&self, run: RunId, graph: &Arc<Graph>, trigger: NodeIndex, now_ms: i64) {
        let graph = graph.clone();
        let (steps, steps_forgotten) = (VecDeque::new(), 0);
        let (began_ms, waits, ended, bytes) = (now_ms, None, None, 0);
        let kept = Kept { graph, trigger, began_ms, steps, steps_forgotten, waits, ended, bytes };
        self.change(|held| {
            held.runs.insert(run, kept);
            held.trim();
        });
    }

    /// A node was visited.
    pub(super) fn visited(&self, run: RunId, visited: &Visited) {
        let step = Step::new(visited);
        self.change(|held| {
            let Some(kept) = held.runs.get_mut(&run) else { return };
            kept.waits = None;
            kept.bytes += step.bytes;
            held.bytes += step.bytes;
            kept.steps.push_back(step);
            if kept.steps.len() > STEPS_MAX
                && let Some(forgotten) = kept.steps.pop_front()
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
                if kept.ended.replace((now_ms, outcome.clone())).is_none() {
                    held.ended.push_back((run, now_ms));
                }
            }
        });
    }

    /// Packs some of the runs that ended long enough ago, and says whether there were any; to be called
    /// every second or so.
    pub(super) fn pack(&self, now_ms: i64) -> bool {
        for count in 0..BLOCKS_MAX {
            let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            let open = held.blocks.back().filter(|last| last.is_open()).cloned();
            let due = held.due(open.as_ref().map_or(0, |open| open.runs.len()), now_ms);
            drop(held);
            if due.is_empty() {
                return count > 0;
            }
            let (mut runs, mut shown) = open
                .as_ref()
                .map_or_else(Default::default, |open| (open.runs.to_vec(), open.shown()));
            for (run, kept) in &due {
                runs.push((*run, kept.began_ms));
                shown.push(kept.shown(*run, now_ms));
            }
            let text = Value::from(shown).to_string();
            let packed = compress_to_vec(text.as_bytes(), PACKED_LEVEL).into();
            self.change(|held| held.pack(open, Block { runs: runs.into(), packed }));
        }
        true
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
        let line = |(id, kept): (&RunId, &Kept)| (kept.began_ms, *id, kept.line(*id, now_ms));
        let mut lines: Vec<_> = held.runs.iter().map(line).collect();
        let blocks = held.blocks.clone();
        drop(held);
        for block in blocks {
            for ((id, began_ms), mut shown) in block.runs.iter().zip(block.shown()) {
                if let Some(members) = shown.as_object_mut() {
                    members.retain(|key, _| !["stepsForgotten", "trace"].contains(&key.as_str()));
                }
                lines.push((*began_ms, *id, shown));
            }
        }
        lines.sort_by_key(|(began_ms, id, _)| Reverse((*began_ms, *id)));
        lines.into_iter().map(|(_, _, line)| line).collect()
    }

    /// Everything that is kept of a run.
    pub(super) fn show(&self, run: RunId, now_ms: i64) -> Option<Value> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing is done after the lock is given back: the copy shares its items.
        if let Some(kept) = held.runs.get(&run).cloned() {
            drop(held);
            return Some(kept.shown(run, now_ms));
        }
        let place = |block: &Arc<Block>| block.runs.iter().position(|(id, _)| *id == run);
        let find = |block: &Arc<Block>| Some((block.clone(), place(block)?));
        let (block, place) = held.blocks.iter().find_map(find)?;
        drop(held);
        block.shown().into_iter().nth(place)
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        change(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Held {
    /// The runs that come into a block of which so many are; none before enough ended long enough ago.
    fn due(&self, begun: usize, now_ms: i64) -> Vec<(RunId, Kept)> {
        let (mut due, mut bytes) = (Vec::new(), 0);
        for (run, ended_ms) in &self.ended {
            let Some(kept) = self.runs.get(run) else { continue };
            if ended_ms + PACKED_AFTER_MS > now_ms {
                break;
            }
            bytes += kept.bytes;
            due.push((*run, kept.clone()));
            if begun + due.len() == BLOCK_RUNS || bytes > BLOCK_BYTES {
                return due;
            }
        }
        let first = self.ended.front().map(|(_, ended_ms)| ended_ms + PACKED_AFTER_MS);
        if first.is_some_and(|first| first + TOGETHER_MS <= now_ms) { due } else { Vec::new() }
    }

    /// Keeps the runs that were taken from [`Self::due`], and those of the block that was open, in this
    /// form from now on; unless one was forgotten meanwhile.
    fn pack(&mut self, open: Option<Arc<Block>>, block: Block) {
        let begun = open.as_ref().map_or(0, |open| open.runs.len());
        let due = block.runs[begun..].iter().map(|(run, _)| run);
        let is_open = match (&open, self.blocks.back()) {
            (Some(open), Some(last)) => Arc::ptr_eq(open, last),
            (open, _) => open.is_none(),
        };
        if !is_open || !self.ended.iter().map(|(run, _)| run).take(due.len()).eq(due.clone()) {
            return;
        }
        for (run, _) in self.ended.drain(..due.len()) {
            self.bytes -= self.runs.remove(&run).map_or(0, |kept| kept.bytes);
        }
        if let Some(open) = open {
            self.blocks.pop_back();
            self.packed -= begun;
            self.bytes -= open.packed.len();
        }
        self.bytes += block.packed.len();
        self.packed += block.runs.len();
        self.blocks.push_back(Arc::new(block));
        self.trim();
    }

    /// Forgets what is too much: the runs that ended first, a block of them at once.
    fn trim(&mut self) {
        loop {
            let (is_large, count) = (self.bytes > BYTES_MAX, self.runs.len() + self.packed);
            let oldest = self.blocks.front().map(|block| (block.runs.len(), block.packed.len()));
            if let Some((runs, bytes)) = oldest {
                if !is_large && count <= RUNS_MAX {
                    return;
                }
                self.blocks.pop_front();
                self.packed -= runs;
                self.bytes -= bytes;
            } else {
                if count <= RUNS_MAX && (!is_large || count == 1) {
                    return;
                }
                let first_ended = self.ended.pop_front().map(|(run, _)| run);
                let Some(run) = first_ended.or_else(|| Some(*self.runs.first()?.0)) else { return };
                self.bytes -= self.runs.remove(&run).map_or(0, |kept| kept.bytes);
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
            "steps": self.steps_forgotten + self.steps.len() as u64,
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
    /// The line, and every step.
    fn shown(&self, id: RunId, now_ms: i64) -> Value {
        let mut shown = self.line(id, now_ms);
        shown["stepsForgotten"] = self.steps_forgotten.into();
        shown["trace"] = self.steps.iter().map(|step| step.shown(&self.graph)).collect();
        shown
    }
}

impl Block {
    /// Whether there is room for more.
    fn is_open(&self) -> bool {
        self.runs.len() < BLOCK_RUNS && self.packed.len() < PACKED_BYTES
    }

    /// Its runs as they are shown.
    fn shown(&self) -> Vec<Value> {
        let text = decompress_to_vec(&self.packed).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }
}

/// A moment as RFC 3339 writes it.
fn moment(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).map(|moment| moment.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::step::{ITEM_BYTES_MAX, ITEMS_MAX, LEVELS_MAX, TEXT_MAX};
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
        history.visited(run, &visit(json!({ "a": 1 }), 12));
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

    /// What the bytes are that are said to be held.
    fn assert_bytes(held: &Held) {
        let runs = held.runs.iter().map(|(_, kept)| kept.bytes);
        let blocks = held.blocks.iter().map(|block| block.packed.len());
        assert_eq!(held.bytes, runs.chain(blocks).sum::<usize>());
        assert_eq!(held.packed, held.blocks.iter().map(|block| block.runs.len()).sum::<usize>());
    }

    #[test]
    fn runs_that_ended_are_packed_and_shown_as_before() {
        let (history, graph) = (History::default(), graph());
        let last = BLOCK_RUNS as u64;
        for run in (0..=last + 1).map(RunId) {
            history.begin(run, &graph, NodeIndex(0), 1000);
            history.visited(run, &visit(json!({ "a": "ü", "b": [1, null] }), 12));
            history.visited(run, &visit(json!({ "a": "x".repeat(TEXT_MAX) }), 1));
        }
        // The first goes on, and one more than fit into a block ends.
        for run in (1..=last + 1).map(RunId) {
            history.end(run, &Finished::Success, 9000);
        }
        let (list, before) = (history.list(9000), history.show(RunId(1), 9000).unwrap());
        let size = history.held.lock().unwrap().bytes;
        let counts = || {
            let held = history.held.lock().unwrap();
            assert_bytes(&held);
            (held.runs.len(), held.packed)
        };
        history.pack(9000 + PACKED_AFTER_MS - 1);
        assert_eq!(counts(), (BLOCK_RUNS + 2, 0));
        history.pack(9000 + PACKED_AFTER_MS);
        assert_eq!(counts(), (2, BLOCK_RUNS));
        let packed = history.held.lock().unwrap().bytes;
        assert!(4 * packed < size, "{packed} of {size}");
        // The one that is left begins a block, and the first goes into it.
        history.pack(9000 + PACKED_AFTER_MS + TOGETHER_MS);
        assert_eq!(counts(), (1, BLOCK_RUNS + 1));
        assert_eq!((history.list(9000), history.show(RunId(1), 99_000)), (list, Some(before)));
        history.end(RunId(0), &Finished::Cancelled, 10_000);
        history.pack(10_000 + PACKED_AFTER_MS + TOGETHER_MS);
        assert_eq!((counts(), history.held.lock().unwrap().blocks.len()), ((0, BLOCK_RUNS + 2), 2));
        for (run, status) in [(0, "cancelled"), (last + 1, "success")] {
            assert_eq!(history.show(RunId(run), 99_000).unwrap()["status"], status);
        }
        assert!(history.show(RunId(last + 2), 99_000).is_none());
    }

    /// A reader of JSON refuses what nests too deep: one such item would take the whole block with it.
    #[test]
    fn an_item_that_nests_deep_harms_no_other_run() {
        let (history, graph) = (History::default(), graph());
        let deep = |levels| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        for (run, levels) in [(1, 1), (2, 125), (3, 400), (4, LEVELS_MAX - 1), (5, LEVELS_MAX)] {
            history.begin(RunId(run), &graph, NodeIndex(0), 0);
            history.visited(RunId(run), &visit(json!({ "a": deep(levels) }), 1));
            history.end(RunId(run), &Finished::Success, 0);
        }
        let list = history.list(0);
        let shown = [1, 2, 3, 4, 5].map(|run| history.show(RunId(run), 0));
        let item =
            |run: usize| &shown[run - 1].as_ref().unwrap()["trace"][0]["outputs"][0]["items"][0];
        assert_eq!(item(1)["json"]["a"], json!([1]));
        assert_eq!((item(2), item(3)["leftOut"].is_string()), (item(3), true));
        assert_eq!((item(4)["json"].is_object(), item(5)), (true, item(3)));
        assert!(history.pack(PACKED_AFTER_MS + TOGETHER_MS));
        assert_eq!(history.held.lock().unwrap().packed, 5);
        assert_eq!(
            (history.list(0), [1, 2, 3, 4, 5].map(|run| history.show(RunId(run), 0))),
            (list, shown)
        );
    }

    /// Blocks are forgotten whole, so that a few runs less may be left than there is room for.
    #[test]
    fn the_last_runs_are_there_packed_or_not() {
        let (history, graph) = (History::default(), graph());
        for run in 0..3000 {
            history.begin(RunId(run), &graph, NodeIndex(0), 0);
            history.end(RunId(run), &Finished::Success, 0);
            if run % 100 == 0 {
                history.pack(PACKED_AFTER_MS);
            }
            let held = history.held.lock().unwrap();
            assert_bytes(&held);
            let (all, count) = (run as usize + 1, held.runs.len() + held.packed);
            assert!(
                (RUNS_MAX.min(all) - BLOCK_RUNS.min(all)..=RUNS_MAX).contains(&count),
                "{count}"
            );
        }
        let list = history.list(0);
        let ids = list.as_array().unwrap().iter().map(|line| line["id"].as_str().unwrap());
        let ids: Vec<u64> = ids.map(|id| id.parse().unwrap()).collect();
        let expected: Vec<u64> = (3000 - ids.len() as u64..3000).rev().collect();
        assert_eq!(ids, expected);
        assert!(ids.iter().all(|id| history.show(RunId(*id), 0).is_some()));
    }

    #[test]
    fn runs_steps_and_bytes_have_their_limits() {
        let (history, graph) = (History::default(), graph());
        let large = "x".repeat(ITEM_BYTES_MAX - 200);
        for run in 0..2000 {
            history.begin(RunId(run), &graph, NodeIndex(0), 0);
            // The first run never ends, and is kept before those that have.
            for _ in 0..5 {
                history.visited(RunId(run), &visit(json!({ "a": large }), 1));
            }
            if run > 0 {
                history.end(RunId(run), &Finished::Success, 1);
            }
        }
        let held = history.held.lock().unwrap();
        assert!(held.bytes <= BYTES_MAX && held.runs.len() == held.ended.len() + 1);
        assert!(held.runs.len() < RUNS_MAX && held.runs.contains_key(&RunId(0)));
        assert_bytes(&held);
        drop(held);
        for _ in 0..STEPS_MAX {
            history.visited(RunId(0), &visit(json!({}), 1));
        }
        history.visited(RunId(0), &visit(json!({ "a": "x".repeat(ITEM_BYTES_MAX) }), 1));
        let shown = history.show(RunId(0), 0).unwrap();
        assert_eq!(shown["trace"].as_array().unwrap().len(), STEPS_MAX);
        assert_eq!(shown["stepsForgotten"], 6);
        let last = shown["trace"].as_array().unwrap().last().unwrap();
        assert!(last["outputs"][0]["items"][0]["leftOut"].is_string());
    }
}
