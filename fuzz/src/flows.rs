//! What must hold for any workflow file and any expression.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use ringback::base::{Rng, Tick};
use ringback::call::node::catalogue;
use ringback::flow::{
    self, Config, Deadline, Evaluator, Fault, Input, Item, Output, RunId, Runner, Severity,
};

/// Answers that one run gets.
const ANSWERS_MAX: usize = 50;

/// A workflow file: it is refused with a place, or read; each workflow is drawn, and checked: a
/// graph there is if and only if there is no error. A run of it ends or waits, whatever the world
/// answers.
pub fn document(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let documents = match flow::read(&text, "fuzz.json") {
        Ok(documents) => documents,
        Err(problem) => {
            assert!(problem.to_string().starts_with("error[E-FLOW-"));
            return;
        }
    };
    let types = catalogue();
    for document in &documents {
        let drawn = flow::draw(document, &types);
        assert!(drawn.starts_with("<svg ") && drawn.ends_with("</svg>\n"));
        let (graph, problems) = flow::check(document, &types);
        let has_errors = problems.iter().any(|problem| problem.severity == Severity::Error);
        assert_eq!(graph.is_none(), has_errors);
        if let Some(graph) = graph {
            run(&Arc::new(graph));
        }
    }
}

fn run(graph: &Arc<flow::Graph>) {
    let config = Config { runs_max: 4, epoch_ms: 1_700_000_000_000 };
    let deadline = Rc::new(Polls::default());
    let runner = Runner::new(config, Rng::new(1)).with_workflows(std::iter::once(graph));
    let mut runner = runner.with_deadline(deadline).traced();
    for (number, (trigger, _)) in graph.triggers().enumerate().take(3) {
        let run = RunId(number as u64);
        let outputs = vec![vec![Item::default(), Item::default()]];
        runner
            .handle_input(Input::Start { run, graph: graph.clone(), trigger, outputs }, Tick::ZERO);
        let (mut asks, mut is_over, mut now) = (0, false, Tick::ZERO);
        let mut answers = VecDeque::new();
        while !is_over && asks < ANSWERS_MAX {
            asks += 1;
            while let Some(output) = runner.poll_output() {
                match output {
                    Output::Ask { ask, item, .. } => {
                        let given = match asks % 3 {
                            0 => Err(Fault::new("not_found", "it is not there")),
                            _ => Ok(vec![(0, item)]),
                        };
                        answers.push_back(Input::Answer { run, ask, answer: given });
                    }
                    Output::Finished { .. } => is_over = true,
                    Output::Withdraw { .. } | Output::Visited { .. } | Output::Paused { .. } => {}
                }
            }
            match (answers.pop_front(), runner.poll_timeout()) {
                (Some(answer), _) => runner.handle_input(answer, now),
                (None, Some(due)) => {
                    now = due;
                    runner.handle_timeout(due);
                }
                (None, None) => assert!(is_over, "a run that waits for nothing is over"),
            }
        }
        if !is_over {
            runner.handle_input(Input::Cancel { run }, now);
        }
        while runner.poll_output().is_some() {}
        assert_eq!(runner.gauges().runs, 0, "nothing is left behind");
    }
}

/// An expression: it comes to a value or to an error that says something, and the next one is
/// answered as if there had been nothing before.
pub fn expression(bytes: &[u8]) {
    thread_local! {
        static KEPT: RefCell<Option<Evaluator>> = const { RefCell::new(None) };
    }
    let text = String::from_utf8_lossy(bytes);
    KEPT.with_borrow_mut(|kept| {
        let evaluator = kept.get_or_insert_with(|| {
            let deadline = Rc::new(Polls::default());
            Evaluator::new(1_700_000_000_000, Rng::new(1), Some("Europe/Berlin"), deadline)
        });
        let payload =
            r#"{"a": 1, "b": {"c": ["x", 2.5, null]}, "d": "2024-01-31T10:00:00.000Z", "e": ""}"#;
        let items: Vec<Item> = [payload, r#"{"a": 2}"#]
            .iter()
            .filter_map(|text| Item::from_value(serde_json::from_str(text).ok()?))
            .collect();
        if let Err(fault) = evaluator.evaluate(&text, &items, 0) {
            assert!(!fault.message.is_empty() && fault.code.starts_with("E-FLOW-"));
        }
        let next = evaluator.evaluate("={{ $json.a + [1].concat(2).length }}", &items, 0);
        assert_eq!(next.expect("it is sound").value, 3);
    });
}

/// Stops a script when it has been asked often enough: the same on every machine.
#[derive(Default)]
struct Polls(Cell<u32>);

impl Deadline for Polls {
    fn arm(&self, _times: u32) {
        self.0.set(0);
    }

    fn is_past(&self) -> bool {
        self.0.set(self.0.get() + 1);
        self.0.get() > 10
    }
}
