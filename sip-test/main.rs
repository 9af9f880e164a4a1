//! Calls, ladders and house rules: one binary, so that it links once.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod auth;
mod bad_input;
mod callbacks;
mod calls;
mod codes;
mod compat;
mod contract;
mod crash;
mod crowd;
mod decisions;
mod dials;
mod documents;
mod fuzz;
mod flows;
mod guard;
mod hours;
mod house;
mod keys;
mod lifecycle;
mod links;
mod own_runs;
mod payloads;
mod phones;
mod queue;
mod recordings;
mod records;
mod register;
mod registration;
mod reload;
mod sessions;
mod silence;
mod story;
mod texts;
mod torture;
mod trunks;
mod webhooks;
mod worlds;

/// The program's.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;
