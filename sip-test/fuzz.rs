//! The seeds of the fuzz targets, and every prefix of them, hold what the targets demand.

use std::fs;
use std::path::PathBuf;

#[path = "../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is the library of the fuzz targets too")]
mod targets;

#[track_caller]
fn check(target: &str, hold: fn(&[u8])) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(target);
    let mut seeds = 0;
    for seed in fs::read_dir(folder).unwrap() {
        let bytes = fs::read(seed.unwrap().path()).unwrap();
        (0..=bytes.len()).for_each(|end| hold(&bytes[..end]));
        seeds += 1;
    }
    assert!(seeds > 2, "{target} has only {seeds} seeds");
}

#[test]
fn messages() {
    check("message", targets::message);
}

#[test]
fn streams() {
    check("framing", targets::framing);
}

#[test]
fn workflows() {
    check("flow", targets::flows::document);
}

#[test]
fn expressions() {
    check("expression", targets::flows::expression);
}

#[test]
fn descriptions() {
    check("sdp", targets::sdp);
}
