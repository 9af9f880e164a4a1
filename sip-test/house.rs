//! The walls of the house, held as a test: which room may name which, and how every file begins.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use ringback::shell::check::check_files;

/// Room, and the rooms it may name besides itself. `shell` may name all.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("sip", &["base"]),
    ("sdp", &["base"]),
    ("media", &["base"]),
    ("flow", &["base"]),
    ("dispatch", &["base"]),
    ("promise", &["base"]),
    ("call", &["base", "sip", "sdp", "media", "flow", "dispatch", "promise"]),
    ("config", &["base", "sip", "sdp", "media", "flow", "dispatch", "promise", "call"]),
    ("sim", &["base", "sip", "sdp", "media", "flow", "dispatch", "promise", "call", "config"]),
];

/// Lines a source file may have, its tests apart.
const FILE_LINES_MAX: usize = 600;

#[test]
fn no_room_names_one_above_it() {
    let mut fallen = Vec::new();
    for (room, allowed) in MAY_NAME {
        for file in rust_files(&source().join(room)) {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate() {
                for named in rooms_named(line) {
                    if named != *room && !allowed.contains(&named.as_str()) {
                        let at = number + 1;
                        fallen.push(format!("{}:{at}: `{room}` names `{named}`", file.display()));
                    }
                }
            }
        }
    }
    assert!(fallen.is_empty(), "walls that fell:\n{}", fallen.join("\n"));
}

#[test]
fn no_room_below_shell_touches_the_world() {
    let banned = [
        "std::net::UdpSocket",
        "std::net::Tcp",
        "std::thread",
        "std::fs",
        "Instant::",
        "tokio::",
        "rustix::",
    ];
    let mut found = Vec::new();
    for (room, _) in MAY_NAME {
        // Tests may read what they are tested with.
        let files = rust_files(&source().join(room)).into_iter().filter(|file| !is_test(file));
        for file in files {
            let text = fs::read_to_string(&file).unwrap();
            for (number, line) in text.lines().enumerate().filter(|(_, line)| !is_comment(line)) {
                found.extend(banned.iter().filter(|word| line.contains(**word)).map(|word| {
                    format!("{}:{}: `{word}` belongs to shell", file.display(), number + 1)
                }));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for_on_line_one_and_stays_short() {
    let mut wrong = Vec::new();
    for file in rust_files(&source()) {
        let text = fs::read_to_string(&file).unwrap();
        if !text.starts_with("//! ") {
            wrong.push(format!("{}: line one is not a `//!` sentence", file.display()));
        }
        let shipped = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = shipped.lines().count();
        if lines > FILE_LINES_MAX {
            wrong.push(format!("{}: {lines} lines, at most {FILE_LINES_MAX}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_trace_has_its_story() {
    // The other way round needs no test of its own: a story without a trace fails.
    let folder = package().join("sip-test");
    let sources = rust_files(&folder).into_iter().map(|file| fs::read_to_string(file).unwrap());
    let stories = sources.collect::<String>();
    let traces = fs::read_dir(folder.join("traces")).unwrap();
    let names = traces.map(|trace| trace.unwrap().path().file_stem().unwrap().to_owned());
    let names = names.map(|name| name.into_string().unwrap());
    let orphans = names.filter(|name| !stories.contains(&format!("\"{name}\"")));
    let orphans = orphans.collect::<Vec<_>>();
    assert!(orphans.is_empty(), "traces without a story: {orphans:?}");
}

#[test]
fn nothing_is_left_to_be_fixed_and_nobody_manages() {
    let banned = ["FIXME", "TODO", "Manager", "Utils"];
    let mut found = Vec::new();
    for file in rust_files(&source()) {
        let text = fs::read_to_string(&file).unwrap();
        for (number, line) in text.lines().enumerate() {
            let named = banned.iter().filter(|word| line.contains(**word));
            let at = format!("{}:{}", file.display(), number + 1);
            found.extend(named.map(|word| format!("{at}: `{word}`")));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// QC-23: what is shipped is imported without an error.
#[test]
fn every_flow_of_this_repository_is_sound() {
    let flows = fs::read_dir(package().join("flows")).unwrap().map(|entry| entry.unwrap().path());
    let is_flow = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "json");
    let flows = flows.filter(is_flow).collect::<Vec<_>>();
    assert!(!flows.is_empty());
    for flow in flows {
        // One by one: two of them may well have the same name and ref.
        let checked = check_files(std::slice::from_ref(&flow), &package().join("prompts"));
        let problems = checked.problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let problems = problems.join("\n");
        assert!(!checked.has_errors(), "{problems}");
    }
}

/// Every rule of the contract has its row in the list, and each test that a row names is there.
#[test]
fn every_clause_names_tests_that_are_there() {
    let text = fs::read_to_string(package().join("sip-test/clauses.md")).unwrap();
    let mut tests = BTreeSet::new();
    for folder in ["src", "sip-test"] {
        collect_tests(&package().join(folder), &mut tests);
    }
    let mut rows = 0;
    let mut wrong = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let cells = line.split('|').map(str::trim).collect::<Vec<_>>();
        let [_, clause, _, shown, _] = cells[..] else { continue };
        if clause == "§" || clause.starts_with("--") {
            continue;
        }
        rows += 1;
        let named = shown.split('`').skip(1).step_by(2).collect::<Vec<_>>();
        let is_excused = shown.starts_with("not here: ");
        if named.is_empty() && !is_excused {
            wrong.push(format!("line {}: no test and no reason", number + 1));
        }
        let lost = named.into_iter().filter(|name| !is_excused && !tests.contains(*name));
        wrong.extend(lost.map(|name| format!("line {}: no test `{name}`", number + 1)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(rows > 100, "only {rows} rows were seen: is this still how they are written?");
}

/// What is left over is judged in one place, `story::assert_at_rest`, and every file of stories asks
/// for it, by itself or by what ends its stories.
#[test]
fn every_file_of_stories_ends_with_nothing_left_over() {
    // Crowds and random worlds are asked all the time whether they are at rest, by other means.
    let own_means = ["crowd.rs", "worlds.rs", "story.rs", "house.rs", "kill.rs"];
    let asks =
        ["assert_server_at_rest(", "assert_at_rest(", "rest_of_server()", "end_with_server()"];
    let ends = ["close()", "end_of_phones()"];
    let mut wrong = Vec::new();
    for file in rust_files(&package().join("sip-test")) {
        let text = fs::read_to_string(&file).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        if own_means.contains(&name.as_str()) {
            continue;
        }
        let has = |words: &[&str]| words.iter().any(|word| text.contains(word));
        let makes_worlds = has(&["World::new(", "Story::of(", "Story::with_", "Centre::"]);
        if makes_worlds && !has(&asks) && !has(&ends) {
            wrong.push(format!("{name}: nobody asks what is left over"));
        }
        if text.contains(".is_idle()") && name != "register.rs" {
            wrong.push(format!("{name}: it has its own idea of what is left over"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_option_of_the_settings_file_is_documented() {
    let file = source().join("config/raw.rs");
    let text = fs::read_to_string(&file).unwrap();
    let lines = text.lines().map(str::trim).collect::<Vec<_>>();
    let mut options = 0;
    for (number, line) in lines.iter().enumerate() {
        let is_field = line.starts_with("pub ") && line.ends_with(',') && line.contains(": ");
        if !is_field {
            continue;
        }
        options += 1;
        let above = lines[..number].iter().rev().find(|line| !line.starts_with("#["));
        let is_documented = above.is_some_and(|line| line.starts_with("/// "));
        assert!(is_documented, "{}:{}: {line}", file.display(), number + 1);
    }
    assert!(options > 5, "only {options} options were seen: is this still how they are written?");
}

fn collect_tests(folder: &Path, tests: &mut BTreeSet<String>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect_tests(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                if let Some(name) = line.strip_prefix("fn ").filter(|_| is_test) {
                    tests.extend(name.split('(').next().map(str::to_owned));
                }
                is_test = line == "#[test]" || is_test && line.starts_with("#[");
            }
        }
    }
}

fn package() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn source() -> PathBuf {
    package().join("src")
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut files = Vec::new();
    for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Whether a file is `x/tests.rs`, or lies in `x/tests`.
fn is_test(file: &Path) -> bool {
    file.ends_with("tests.rs") || file.iter().any(|part| part == "tests")
}

fn rooms_named(line: &str) -> Vec<String> {
    if is_comment(line) {
        return Vec::new();
    }
    let after = line.split("crate::").skip(1);
    after
        .map(|rest| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
        .collect()
}

fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with("//")
}
