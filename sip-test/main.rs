//! Calls, ladders and house rules: one binary, so that it links once.

mod house;
mod register;
mod torture;
