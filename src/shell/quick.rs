//! Quick runs, on the signalling thread: what a node asks of telephony and what it is answered goes
//! no way to another thread and back, which costs more than both.
//!
//! Quick is a run that only asks telephony and compares plainly, as its graph knows beforehand
//! ([`Graph::is_quick`](crate::flow::Graph::is_quick)). All others are the flow worker's.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::base::Tick;
use crate::flow::{Input, Output, Runner};
use crate::shell::flows::Parts;
use crate::shell::history::{History, Place};

/// The quick runs.
#[derive(Debug)]
pub(super) struct Quick {
    runner: Runner,
    /// What runs are told, as soon as it is their turn.
    inputs: VecDeque<Input>,
    epoch_ms: i64,
    history: Arc<History>,
}

impl Quick {
    pub(super) fn new(parts: Parts) -> Self {
        let (epoch_ms, history) = (parts.clock.epoch_ms(), parts.history.clone());
        Self { runner: parts.runner(), inputs: VecDeque::new(), epoch_ms, history }
    }

    /// Takes an input for a quick run; any other is given back.
    pub(super) fn take(&mut self, input: Input) -> Option<Input> {
        let is_ours = match (&input, input.run()) {
            (Input::Start { graph, trigger, .. }, _) => graph.is_quick(*trigger),
            (_, Some(run)) => {
                // One that is to begin may be told of its end already.
                let is_told = |input: &Input| input.run() == Some(run);
                self.runner.holds(run) || self.inputs.iter().any(is_told)
            }
            (_, None) => false,
        };
        if !is_ours {
            return Some(input);
        }
        self.inputs.push_back(input);
        None
    }

    /// Whether a run waits for its turn.
    pub(super) fn is_behind(&self) -> bool {
        !self.inputs.is_empty()
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn poll_timeout(&self) -> Option<Tick> {
        self.runner.poll_timeout()
    }

    /// Fires what is due.
    pub(super) fn handle_timeout(&mut self, now: Tick) {
        self.runner.guarded(now, |runner| runner.handle_timeout(now));
        self.history.count(Place::Signalling, self.runner.gauges());
    }

    /// Tells a run the next thing; `false` when there is none.
    pub(super) fn serve(&mut self, now: Tick) -> bool {
        let Some(input) = self.inputs.pop_front() else { return false };
        if let Input::Start { run, graph, trigger, .. } = &input {
            self.history.begin(*run, graph, *trigger, self.wall_ms(now));
        }
        self.runner.guarded(now, |runner| runner.handle_input(input, now));
        self.history.count(Place::Signalling, self.runner.gauges());
        true
    }

    /// What runs want of the switch.
    pub(super) fn poll_output(&mut self, now: Tick) -> Option<Output> {
        loop {
            let output = self.runner.poll_output()?;
            self.history.note(&output, self.wall_ms(now));
            match output {
                Output::Paused { .. } => {}
                Output::Visited { run, visited } => {
                    self.history.visited(run, &visited);
                    return Some(Output::Visited { run, visited });
                }
                output @ (Output::Ask { .. }
                | Output::Withdraw { .. }
                | Output::Finished { .. }) => return Some(output),
            }
        }
    }

    fn wall_ms(&self, now: Tick) -> i64 {
        self.epoch_ms.saturating_add_unsigned(now.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Rng;
    use crate::flow::{self, Catalogue, Finished, Graph, NodeIndex, Object, RunId, check, read};
    use crate::shell::Clock;

    fn graph(kind: &str) -> Arc<Graph> {
        let node = |name: &str, kind: &str| format!(r#"{{"name": "{name}", "type": "{kind}"}}"#);
        let nodes = [node("start", "n8n-nodes-base.manualTrigger"), node("it", kind)].join(",");
        let connections = r#"{"start": {"main": [[{"node": "it"}]]}}"#;
        let text = format!(r#"{{"name": "f", "nodes": [{nodes}], "connections": {connections}}}"#);
        Arc::new(check(&read(&text, "f").unwrap()[0], &Catalogue::core()).0.unwrap())
    }

    fn start(run: u64, graph: &Arc<Graph>) -> Input {
        let (run, graph) = (RunId(run), graph.clone());
        Input::Start { run, graph, trigger: NodeIndex(0), outputs: vec![vec![]] }
    }

    fn quick() -> Quick {
        let clock = Clock::start();
        let config = flow::Config { runs_max: 10, epoch_ms: clock.epoch_ms() };
        let resume = flow::Resume::new("http://127.0.0.1".to_owned(), "secret".to_owned());
        let (rng, variables, history) = (Rng::new(1), Object::new(), Arc::default());
        Quick::new(Parts { config, rng, variables, resume, clock, history })
    }

    #[test]
    fn quick_runs_are_made_here_with_their_history_and_no_others() {
        let mut quick = quick();
        let heavy = start(1, &graph("n8n-nodes-base.wait"));
        assert!(quick.take(heavy).is_some() && !quick.is_behind());
        assert!(quick.take(Input::Cancel { run: RunId(1) }).is_some(), "nor what comes later");
        assert!(quick.take(start(2, &graph("n8n-nodes-base.noOp"))).is_none());
        let cancel = Input::Cancel { run: RunId(2) };
        assert!(quick.take(cancel).is_none(), "it waits for its turn behind the beginning");
        let now = Tick::ZERO;
        assert!(quick.serve(now) && quick.is_behind() && quick.serve(now) && !quick.serve(now));
        let outputs: Vec<Output> = std::iter::from_fn(|| quick.poll_output(now)).collect();
        let [.., Output::Visited { .. }, Output::Finished { run: RunId(2), outcome, .. }] =
            &*outputs
        else {
            panic!("{outputs:?}")
        };
        assert_eq!(*outcome, Finished::Success);
        assert!(quick.take(Input::Cancel { run: RunId(2) }).is_some(), "it is over");
        assert_eq!(quick.history.gauges().started, 1);
        assert!(quick.history.show(RunId(2), 0).is_some());
    }
}
