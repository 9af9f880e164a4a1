//! See `ringback_fuzz::sdp`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringback_fuzz::sdp(bytes));
