//! A registration of ours: kept up, moved to another server when one is silent, backed off when
//! nobody wants it.
//!
//! It decides when a REGISTER leaves, and to which server; who prints and sends it says how it went.
//!
//! ```text
//!  Resting ──start──▶ Asking ──2xx──▶ Holding ──half of its life──▶ Asking (still bound)
//!                      ▲  │ ├─423──▶ Asking, for longer
//!                      │  │ ├─silence, 5xx──▶ Asking the next server
//!                      │  └─no server is left, or 4xx, 6xx──▶ Waiting ──back-off──▶ Asking
//!                      └────────────────────────────────────────────────┘
//!  Asking ──stop──▶ Stopping ──any answer──▶ Leaving, if there is a binding, ──any answer──▶ Resting
//!  Holding ──stop──▶ Leaving
//! ```
//!
//! *Absent:* messages, addresses, passwords. A challenge is answered before its outcome gets here.

use std::collections::VecDeque;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::digest::to_hex;
use crate::base::{Rng, Tick};

/// The wait after the first round that failed, doubled for each that follows (RFC 5626 §4.5).
pub const BACK_OFF_BASE: Duration = Duration::from_secs(30);
/// The longest wait after rounds that failed (RFC 5626 §4.5), and the one after a refusal: who
/// repeats a wrong password often is locked out.
pub const BACK_OFF_MAX: Duration = Duration::from_secs(1800);
/// The longest life that is asked for when a registrar wants more than was wished.
pub const EXPIRES_MAX: Duration = Duration::from_secs(86_400);
/// The shortest life that a registrar can grant; less would have us ask all the time.
pub const GRANTED_MIN: Duration = Duration::from_secs(20);

/// A name that only whoever was told knows: who calls under it has it from our REGISTER. The same
/// secret and name give the same token.
pub fn token(secret: [u64; 2], name: &str) -> String {
    let key = secret.map(u64::to_be_bytes).concat();
    let mut mac: Hmac<Sha256> =
        Hmac::new_from_slice(&key).expect("an HMAC takes keys of any length");
    mac.update(name.as_bytes());
    to_hex(&mac.finalize().into_bytes()[..16])
}

/// A place among the servers of a registration.
pub type Server = usize;

/// What is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How many servers there are, the preferred one first; at least one.
    pub servers: usize,
    /// The life that is asked for.
    pub expires: Duration,
}

/// How a REGISTER went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx: bound for this long; zero when our contact is not among the bindings.
    Bound(Duration),
    /// 423 with its Min-Expires.
    TooBrief(Duration),
    /// Nobody answered (408), or the server cannot serve now (5xx), perhaps with its Retry-After.
    Unavailable {
        /// The status.
        status: u16,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// It was understood and refused: password, address, or policy.
    Refused {
        /// The status.
        status: u16,
    },
}

/// What the owner has to do or to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Send a REGISTER to this server; zero takes the binding back.
    Send {
        /// The server.
        server: Server,
        /// The life to be asked for.
        expires: Duration,
    },
    /// There is a binding at this server now.
    Up {
        /// The server.
        server: Server,
        /// Its life.
        expires: Duration,
    },
    /// A round of all servers failed, or one refused.
    Failed {
        /// The last status; 0 when our contact was not among the bindings.
        status: u16,
        /// When the next round begins.
        retry_in: Duration,
    },
    /// The last binding has ended, and there is no new one.
    Down,
}

/// One registration.
#[derive(Debug)]
pub struct Registration {
    wanted: Wanted,
    state: State,
    /// Where we are bound, and until when.
    bound: Option<(Server, Tick)>,
    /// Rounds that failed one after another.
    failures: u32,
    events: VecDeque<Event>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is wanted.
    Resting,
    /// A REGISTER is out; `tried` servers of this round have had their turn before.
    Asking { server: Server, tried: usize, is_longer: bool },
    /// Bound, and asks again at this time.
    Holding { refresh: Tick },
    /// A round failed, and the next begins at this time.
    Waiting { until: Tick },
    /// Stopped while a REGISTER is out: one at a time (RFC 3261 §10.2), so its outcome comes first.
    Stopping { server: Server },
    /// The binding is being taken back.
    Leaving,
}

impl Registration {
    /// A registration that nobody has started.
    pub const fn new(wanted: Wanted) -> Self {
        Self { wanted, state: State::Resting, bound: None, failures: 0, events: VecDeque::new() }
    }

    /// Begins to ask.
    pub fn start(&mut self) {
        if self.state == State::Resting {
            self.ask(self.bound.map_or(0, |(server, _)| server), 0);
        }
    }

    /// Takes the binding back, if there is one.
    pub fn stop(&mut self) {
        match self.state {
            State::Asking { server, .. } => self.state = State::Stopping { server },
            State::Holding { .. } | State::Waiting { .. } => self.leave(),
            State::Resting | State::Stopping { .. } | State::Leaving => {}
        }
    }

    /// The life that is asked for from the next REGISTER on.
    pub const fn set_expires(&mut self, expires: Duration) {
        self.wanted.expires = expires;
    }

    /// Whether nothing is wanted, and nothing is out.
    pub fn is_resting(&self) -> bool {
        self.state == State::Resting
    }

    /// The outcome of the last REGISTER that was sent.
    pub fn handle_outcome(&mut self, outcome: Outcome, rng: &mut Rng, now: Tick) {
        match self.state {
            State::Asking { server, tried, is_longer } => match outcome {
                Outcome::Bound(life) if life >= GRANTED_MIN => self.hold(server, life, rng, now),
                Outcome::Bound(_) => self.next(server, tried, 0, None, rng, now),
                // Once a round: a registrar that always wants more is none.
                Outcome::TooBrief(wish) if !is_longer && wish > self.wanted.expires => {
                    self.wanted.expires = wish.min(EXPIRES_MAX);
                    self.state = State::Asking { server, tried, is_longer: true };
                    self.say_send(server);
                }
                Outcome::TooBrief(_) => self.wait(423, BACK_OFF_MAX, None, rng, now),
                Outcome::Unavailable { status, retry_after } => {
                    self.next(server, tried, status, retry_after, rng, now);
                }
                Outcome::Refused { status } => self.wait(status, BACK_OFF_MAX, None, rng, now),
            },
            State::Stopping { server } => {
                if let Outcome::Bound(life) = outcome {
                    self.bound = Some((server, now + life));
                }
                self.leave();
            }
            State::Leaving => {
                self.state = State::Resting;
                self.lose();
            }
            // Nobody was asked.
            State::Resting | State::Holding { .. } | State::Waiting { .. } => {}
        }
    }

    /// The connection to the server is gone, and with it the way to us: what is bound is bound anew.
    pub fn handle_flow_closed(&mut self) {
        if let (State::Holding { .. }, Some((server, _))) = (self.state, self.bound) {
            self.ask(server, 0);
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Tick) {
        if self.bound.is_some_and(|(_, until)| until <= now) {
            self.lose();
        }
        match self.state {
            State::Holding { refresh: due } | State::Waiting { until: due } if due <= now => {
                self.ask(self.bound.map_or(0, |(server, _)| server), 0);
            }
            State::Resting
            | State::Asking { .. }
            | State::Holding { .. }
            | State::Waiting { .. }
            | State::Stopping { .. }
            | State::Leaving => {}
        }
    }

    /// When [`Self::handle_timeout`] is due. An answer that is waited for comes, or its timeout does.
    pub fn poll_timeout(&self) -> Option<Tick> {
        let due = match self.state {
            State::Holding { refresh: due } | State::Waiting { until: due } => Some(due),
            State::Resting | State::Asking { .. } | State::Stopping { .. } | State::Leaving => None,
        };
        due.into_iter().chain(self.bound.map(|(_, until)| until)).min()
    }

    /// The next thing to do or to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// The server that has our binding now.
    pub fn server(&self) -> Option<Server> {
        self.bound.map(|(server, _)| server)
    }

    fn ask(&mut self, server: Server, tried: usize) {
        self.state = State::Asking { server, tried, is_longer: false };
        self.say_send(server);
    }

    fn say_send(&mut self, server: Server) {
        self.events.push_back(Event::Send { server, expires: self.wanted.expires });
    }

    /// Bound. The next REGISTER leaves when half to three quarters of the life are over: enough is
    /// left to try every server, and those who began together do not come back together.
    fn hold(&mut self, server: Server, life: Duration, rng: &mut Rng, now: Tick) {
        self.failures = 0;
        self.state = State::Holding { refresh: now + rng.between(life / 2, life * 3 / 4) };
        let is_news = self.server() != Some(server);
        self.bound = Some((server, now + life));
        if is_news {
            self.events.push_back(Event::Up { server, expires: life });
        }
    }

    /// The next server of this round has its turn; when all had, the round has failed.
    fn next(
        &mut self,
        server: Server,
        tried: usize,
        status: u16,
        retry_after: Option<Duration>,
        rng: &mut Rng,
        now: Tick,
    ) {
        if tried + 1 < self.wanted.servers {
            return self.ask((server + 1) % self.wanted.servers, tried + 1);
        }
        let doubled = BACK_OFF_BASE.saturating_mul(1 << self.failures.min(16));
        self.wait(status, doubled.min(BACK_OFF_MAX), retry_after, rng, now);
    }

    /// Between half of the wait and all of it, so that those who failed together do not come back
    /// together (RFC 5626 §4.5); longer for a Retry-After, but never without end.
    fn wait(
        &mut self,
        status: u16,
        wait: Duration,
        retry_after: Option<Duration>,
        rng: &mut Rng,
        now: Tick,
    ) {
        self.failures = self.failures.saturating_add(1);
        let wished = retry_after.unwrap_or_default().min(BACK_OFF_MAX);
        let retry_in = rng.between(wait / 2, wait).max(wished);
        self.state = State::Waiting { until: now + retry_in };
        self.events.push_back(Event::Failed { status, retry_in });
    }

    fn leave(&mut self) {
        let Some((server, _)) = self.bound else {
            self.state = State::Resting;
            return;
        };
        self.state = State::Leaving;
        self.events.push_back(Event::Send { server, expires: Duration::ZERO });
    }

    fn lose(&mut self) {
        if self.bound.take().is_some() {
            self.events.push_back(Event::Down);
        }
    }
}

#[cfg(test)]
mod tests;
