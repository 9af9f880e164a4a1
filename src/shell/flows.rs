//! The flow worker: owns the runs, answers the switch's inputs, and keeps their timers.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::flow::{self, Runner};
use crate::shell::Clock;
use crate::shell::signalling::Input;
use crate::shell::wake::Sender;

/// How long the worker sleeps when nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Runs until the channel closes.
pub(super) fn run(
    inputs: &Receiver<flow::Input>,
    outputs: &Sender<Input>,
    mut runner: Runner,
    clock: Clock,
) {
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
