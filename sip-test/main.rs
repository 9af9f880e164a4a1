//! Calls, ladders and house rules: one binary, so that it links once.

mod calls;
mod house;
mod phones;
mod story;
