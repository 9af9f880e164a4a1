//! See `ringback_fuzz::flows`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ringback_fuzz::flows::expression(bytes));
