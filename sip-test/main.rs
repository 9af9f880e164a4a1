//! Calls, ladders and house rules: one binary, so that it links once.
#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod calls;
mod documents;
mod house;
mod links;
mod phones;
mod story;
mod torture;
