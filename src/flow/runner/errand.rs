//! Visits that are made elsewhere: those whose scripts may take long, so that no other run waits.
//!
//! ```text
//!  Runner ── poll_errand ─▶ Errand ─▶ Errands::perform, on another thread ── Input::Return ─▶ Runner
//!                                └── it does not come back ── Input::Lost ─▶ the visit fails
//! ```
//!
//! A copy of the run goes; the run itself stays, and goes on where the copy is lost.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::base::{Rng, Tick, caught};
use crate::flow::expr::{Place, Scripts};
use crate::flow::run::{Run, Step};
use crate::flow::runner::Runner;
use crate::flow::{Deadline, Fault, Object, Resume, RunId};

/// What workflows keep from run to run: by workflow and by `global` or `node:NAME`, as JSON.
pub type Statics = BTreeMap<String, BTreeMap<String, String>>;

/// One visit of one node, to be made elsewhere; afterwards, what came of it.
#[derive(Debug)]
pub struct Errand {
    id: RunId,
    run: Run,
    now_ms: i64,
    /// What the visit came to, or the bug that it met.
    outcome: Option<Result<Step, String>>,
    /// What the workflow keeps now, where that has changed.
    kept: Option<BTreeMap<String, String>>,
}

impl Errand {
    /// The run that waits for it.
    pub const fn run(&self) -> RunId {
        self.id
    }

    /// The workflow: whatever it keeps from run to run, one after another may change.
    pub fn workflow(&self) -> &str {
        self.run.graph().owner()
    }
}

/// Who makes errands, with scripts of its own. It is built on the thread that uses it.
#[derive(Debug)]
pub struct Errands {
    scripts: Scripts,
}

impl Errands {
    /// With what the runner's own scripts have: a deadline, `$vars`, what workflows keep, and where
    /// runs are reached that wait.
    pub fn new(
        rng: Rng,
        deadline: Rc<dyn Deadline>,
        variables: Object,
        kept: Statics,
        resume: Option<Resume>,
    ) -> Self {
        let mut scripts = Scripts::new(rng, Some(deadline));
        scripts.set_place(Place::Away);
        scripts.set_variables(variables);
        scripts.set_resume(resume);
        scripts.statics().borrow_mut().held = kept;
        Self { scripts }
    }

    /// Makes a visit.
    pub fn perform(&mut self, mut errand: Errand) -> Errand {
        let (run, scripts, now_ms) = (&mut errand.run, &mut self.scripts, errand.now_ms);
        errand.outcome = Some(caught(|| run.advance(scripts, now_ms)));
        let mut statics = self.scripts.statics().borrow_mut();
        if std::mem::take(&mut statics.has_changed) {
            errand.kept = statics.held.get(errand.workflow()).cloned();
        }
        drop(statics);
        errand
    }
}

impl Runner {
    /// The next visit that is to be made elsewhere, by a runner that was told that there are
    /// others for it.
    pub fn poll_errand(&mut self) -> Option<Errand> {
        self.errands.pop_front()
    }

    /// What workflows keep, for those who make errands.
    pub fn statics(&self) -> Statics {
        self.scripts.statics().borrow().held.clone()
    }

    pub(super) fn lend(&mut self, id: RunId, now: Tick) {
        let now_ms = self.wall_ms(now);
        let running = self.runs.get_mut(&id).expect("only a live run has errands");
        running.is_away = true;
        let run = running.run.clone();
        self.errands.push_back(Errand { id, run, now_ms, outcome: None, kept: None });
    }

    /// A visit was made; that of a run that is over is no error.
    pub(super) fn on_return(&mut self, errand: Errand, now: Tick) {
        let Errand { id, run, outcome, kept, .. } = errand;
        if let Some(kept) = kept {
            let mut statics = self.scripts.statics().borrow_mut();
            statics.held.insert(run.graph().owner().to_string(), kept);
            statics.has_changed = true;
        }
        let running = self.runs.get_mut(&id).filter(|running| running.is_away);
        let (Some(running), Some(outcome)) = (running, outcome) else {
            self.gauges.late += 1;
            return;
        };
        running.is_away = false;
        match outcome {
            Ok(step) => {
                running.run = run;
                self.on_step(id, step, now);
            }
            Err(why) => {
                self.gauges.panics += 1;
                self.bury(id, why, now);
            }
        }
    }

    /// A visit will not come to its end, and has failed.
    pub(super) fn on_lost(&mut self, id: RunId, fault: Fault, now: Tick) {
        let now_ms = self.wall_ms(now);
        let Some(running) = self.runs.get_mut(&id).filter(|running| running.is_away) else {
            self.gauges.late += 1;
            return;
        };
        running.is_away = false;
        match running.run.give_up(fault, &mut self.scripts, now_ms) {
            Some(step) => self.on_step(id, step, now),
            None => self.drive(id, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::flow::tests::{graph, item};
    use crate::flow::{Config, Finished, Graph, Input, Output};

    struct Never;

    impl Deadline for Never {
        fn arm(&self, _times: u32) {}
        fn is_past(&self) -> bool {
            false
        }
    }

    const NOW: Tick = Tick::ZERO;
    const SET: &str = "n8n-nodes-base.set";
    const CODE: &str = "n8n-nodes-base.code";

    fn runner() -> Runner {
        Runner::new(Config { runs_max: 9, epoch_ms: 0 }, Rng::new(1)).with_errands().traced()
    }

    fn errands() -> Errands {
        Errands::new(Rng::new(2), Rc::new(Never), Object::new(), Statics::new(), None)
    }

    fn start(runner: &mut Runner, run: u64, graph: &Arc<Graph>) {
        let (graph, trigger) = (graph.clone(), graph.find("start").unwrap());
        let outputs = vec![vec![item(json!({ "n": 1 })), item(json!({ "n": 2 }))]];
        runner.handle_input(Input::Start { run: RunId(run), graph, trigger, outputs }, NOW);
    }

    fn set(value: &str) -> Value {
        json!({ "typeVersion": 3.4, "parameters": { "assignments": { "assignments": [
            { "name": "a", "type": "string", "value": value } ] } } })
    }

    /// What the node that was visited last gave, or why the run failed.
    fn end(runner: &mut Runner) -> Option<Result<Value, String>> {
        let mut end = None;
        while let Some(output) = runner.poll_output() {
            let Output::Finished { outcome, last, .. } = output else { continue };
            end = Some(match outcome {
                Finished::Failed { node, fault } => {
                    Err(format!("{} at {}", fault.code, node.unwrap_or_default()))
                }
                Finished::Success | Finished::Cancelled => Ok(last
                    .iter()
                    .map(|items| items.iter().map(|item| Value::Object(Object::clone(&item.json))))
                    .map(Iterator::collect::<Value>)
                    .collect()),
            });
        }
        end
    }

    /// Lets all errands be made at once.
    fn settle(runner: &mut Runner, errands: &mut Errands) -> Option<Result<Value, String>> {
        while let Some(errand) = runner.poll_errand() {
            let errand = Box::new(errands.perform(errand));
            runner.handle_input(Input::Return { errand }, NOW);
        }
        end(runner)
    }

    #[test]
    fn plain_expressions_stay_and_others_go() {
        let mut runner = runner();
        let light = graph(&[("set", SET, 0, set("={{ $json.n + '!' }}"))], &[("start", 0, "set")]);
        start(&mut runner, 1, &light);
        assert!(runner.poll_errand().is_none());
        assert_eq!(end(&mut runner), Some(Ok(json!([[{ "a": "1!" }, { "a": "2!" }]]))));

        let heavy = set("={{ [1, 2].map(n => n + $json.n).join() }}");
        let heavy = graph(&[("set", SET, 0, heavy)], &[("start", 0, "set")]);
        start(&mut runner, 2, &heavy);
        assert_eq!(end(&mut runner), None);
        // Meanwhile others run.
        start(&mut runner, 3, &light);
        assert!(end(&mut runner).is_some());
        let said = settle(&mut runner, &mut errands());
        assert_eq!(said, Some(Ok(json!([[{ "a": "2,3" }, { "a": "3,4" }]]))));
        assert_eq!(runner.gauges().runs, 0);
    }

    #[test]
    fn a_visit_that_is_lost_fails_as_its_author_said() {
        let bad = "={{ (() => { for (;;) {} })() }}";
        let mut told = Vec::new();
        for on_error in ["stopWorkflow", "continueRegularOutput", "continueErrorOutput"] {
            let mut node = set(bad);
            node["onError"] = on_error.into();
            let nodes = [("set", SET, 0, node), ("next", "n8n-nodes-base.noOp", 0, json!({}))];
            let output = usize::from(on_error == "continueErrorOutput");
            let graph = graph(&nodes, &[("start", 0, "set"), ("set", output, "next")]);
            let mut runner = runner();
            start(&mut runner, 1, &graph);
            let errand = runner.poll_errand().unwrap();
            let fault = Fault::new("E-FLOW-SCRIPT-LIMIT", "gone");
            runner.handle_input(Input::Lost { run: errand.run(), fault }, NOW);
            told.push(end(&mut runner).unwrap());
            // It comes back all the same: nobody waits for it.
            runner.handle_input(Input::Return { errand: Box::new(errand) }, NOW);
            assert_eq!((runner.gauges().late, end(&mut runner)), (1, None));
        }
        assert_eq!(
            told,
            [
                Err("E-FLOW-SCRIPT-LIMIT at set".to_owned()),
                Ok(json!([[{ "error": "gone" }]])),
                Ok(json!([[{ "n": 1, "error": "gone" }]])),
            ]
        );
    }

    #[test]
    fn a_run_that_ends_meanwhile_leaves_nothing() {
        let graph = graph(
            &[("code", CODE, 0, json!({ "parameters": { "jsCode": "return items" } }))],
            &[("start", 0, "code")],
        );
        let (mut runner, mut errands) = (runner(), errands());
        start(&mut runner, 1, &graph);
        runner.handle_input(Input::Cancel { run: RunId(1) }, NOW);
        assert!(end(&mut runner).is_some());
        assert_eq!(settle(&mut runner, &mut errands), None);
        assert_eq!((runner.gauges().runs, runner.gauges().late), (0, 1));
    }

    #[test]
    fn what_code_keeps_and_says_comes_home() {
        let code = "const kept = $getWorkflowStaticData('global'); kept.n = (kept.n ?? 0) + 1; \
            $execution.customData.set('n', kept.n); return [{ json: {} }]";
        let nodes = [
            ("code", CODE, 0, json!({ "parameters": { "jsCode": code } })),
            ("set", SET, 0, set("={{ $execution.customData.get('n') + '!' }}")),
        ];
        let graph = graph(&nodes, &[("start", 0, "code"), ("code", 0, "set")]);
        let (mut runner, mut errands) = (runner(), errands());
        for (run, said) in [(1, "1!"), (2, "2!")] {
            start(&mut runner, run, &graph);
            let said = Ok(json!([[{ "a": said }]]));
            assert_eq!(settle(&mut runner, &mut errands), Some(said));
        }
        let kept = runner.take_statics().unwrap();
        assert_eq!(kept.values().next().unwrap()["global"], "{\"n\":2}");
    }

    /// What a node of the world is asked is resolved with the first of its items.
    #[test]
    fn parameters_of_requests_that_start_together_are_prepared_together() {
        let url = "=http://x.test/{{ [$json.n].map(n => n).join() }}";
        let node = json!({ "typeVersion": 4.2, "parameters": { "url": url } });
        let node = [("ask", "n8n-nodes-base.httpRequest", 0, node)];
        let graph = graph(&node, &[("start", 0, "ask")]);
        let (mut runner, mut errands) = (runner(), errands());
        start(&mut runner, 1, &graph);
        let errand = errands.perform(runner.poll_errand().unwrap());
        runner.handle_input(Input::Return { errand: Box::new(errand) }, NOW);
        let mut urls = Vec::new();
        while let Some(output) = runner.poll_output() {
            let Output::Ask { parameters, .. } = output else { continue };
            urls.push(parameters["url"].as_str().unwrap().to_owned());
        }
        assert_eq!(urls, ["http://x.test/1", "http://x.test/2"]);
        assert!(runner.poll_errand().is_none());
    }
}
