//! The flow worker: owns the runs, answers the switch's inputs, and keeps their timers.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::base::Tick;
use crate::flow::{self, Runner};
use crate::shell::Clock;
use crate::shell::signalling::Input;
use crate::shell::wake::Sender;

/// How long one expression may take; what takes longer fails its own run and nobody else's.
const SCRIPT_MAX: Duration = Duration::from_millis(50);
/// How long the worker sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// The deadline of a script, by the clock of this thread.
#[derive(Debug)]
pub(super) struct ClockDeadline {
    clock: Clock,
    limit: Duration,
    until: Cell<Tick>,
}

impl ClockDeadline {
    /// At most so long for one evaluation.
    pub(super) fn new(clock: Clock, limit: Duration) -> Self {
        Self { clock, limit, until: Cell::new(Tick::ZERO) }
    }
}

impl flow::Deadline for ClockDeadline {
    fn arm(&self, times: u32) {
        self.until.set(self.clock.now() + self.limit * times);
    }

    fn is_past(&self) -> bool {
        self.clock.now() >= self.until.get()
    }
}

/// Runs until the channel closes.
pub(super) fn run(
    inputs: &Receiver<flow::Input>,
    outputs: &Sender<Input>,
    runner: Runner,
    clock: Clock,
) {
    let deadline = ClockDeadline::new(clock, SCRIPT_MAX);
    let mut runner = runner.with_deadline(Rc::new(deadline));
    loop {
        let wait = runner.poll_timeout().map_or(IDLE, |due| clock.until(due));
        match inputs.recv_timeout(wait) {
            Ok(input) => runner.handle_input(input, clock.now()),
            Err(RecvTimeoutError::Timeout) => runner.handle_timeout(clock.now()),
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Some(output) = runner.poll_output() {
            outputs.send(Input::Flow(output));
        }
    }
}
