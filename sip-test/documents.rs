//! Flow documents as people break them, and what the program says to that.

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ringback::shell::check::{Checked, check_files};
use serde_json::Value;

use crate::story::{golden_file, root};

#[test]
fn every_broken_flow_is_told_what_is_wrong_with_it() {
    for path in broken() {
        let checked = check(std::slice::from_ref(&path));
        let problems = checked.problems.iter().map(|problem| format!("{problem}\n"));
        let told = problems.collect::<String>();
        golden_file(&root().join(path.with_extension("txt")), &told);
        let name = path.display();
        assert!(!checked.problems.is_empty(), "{name}: nothing is found");
        // A rule without a label is dropped, and the flow runs without it.
        let is_warned = name.to_string().contains("rule_without_label");
        assert_eq!(checked.has_errors(), !is_warned, "{name}:\n{told}");
        assert_eq!(checked.graphs.is_empty(), !is_warned, "{name}");
    }
}

#[test]
fn every_expected_text_has_its_document() {
    let folder = root().join("sip-test/broken");
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.filter(|path| path.extension().is_some_and(|extension| extension == "txt"));
    let orphans = texts.filter(|text| !text.with_extension("json").exists()).collect::<Vec<_>>();
    assert!(orphans.is_empty(), "{orphans:?}");
}

#[test]
fn all_files_are_checked_even_after_a_broken_one() {
    let checked = check(&broken());
    let alone = broken().into_iter().map(|path| check(&[path]).problems.len()).sum::<usize>();
    assert!(checked.problems.len() >= alone && checked.graphs.is_empty());
}

#[test]
fn the_same_ref_twice_is_refused() {
    let hello = PathBuf::from("flows/hello.json");
    let checked = check(&[hello.clone(), hello]);
    let codes = checked.problems.iter().map(|problem| problem.code).collect::<Vec<_>>();
    assert!(codes.contains(&"E-SIP-REF") && checked.has_errors(), "{codes:?}");
}

/// Contract §2: a ref belongs to its workflow and kind; that of extensions is the whole server's.
#[test]
fn refs_belong_to_their_workflow_and_kind() {
    let folder = std::env::temp_dir().join(format!("ringback-refs-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let trigger = |name: &str, more: &str| {
        format!(
            r#"{{"name": "{name}", "type": "n8n-nodes-sip-pbx.sipPbxTrigger", "typeVersion": 1,
               "parameters": {{"ref": "main", {more} }} }}"#
        )
    };
    let line = trigger("line", r#""triggerOn": "trunk", "trunkUseRegistration": false"#);
    let queue = trigger("queue", r#""triggerOn": "queue", "queueExtensions": "1""#);
    let phones = trigger(
        "phones",
        r#""triggerOn": "extensions", "staticCredentials": {"item":
           [{"username": "u", "password": "p", "extension": "1"}]}"#,
    );
    let file = |name: &str, nodes: &[&String]| {
        let nodes = nodes.iter().map(|node| node.as_str()).collect::<Vec<_>>().join(",");
        let text = format!(r#"{{"name": "{name}", "connections": {{}}, "nodes": [{nodes}]}}"#);
        let path = folder.join(format!("{name}.json"));
        std::fs::write(&path, text).unwrap();
        path
    };
    let told = |paths: &[PathBuf]| {
        let problems = check(paths).problems.into_iter();
        let errors = problems.filter(|problem| problem.code == "E-SIP-REF");
        errors.map(|problem| problem.message).collect::<Vec<_>>()
    };
    let one = file("one", &[&line, &queue, &phones]);
    assert_eq!(told(std::slice::from_ref(&one)), Vec::<String>::new());
    let two = file("two", &[&line, &queue]);
    assert_eq!(told(&[one.clone(), two]), Vec::<String>::new());
    let three = file("three", &[&phones]);
    let taken = "Active extensions trigger for ref main already exists";
    assert_eq!(told(&[one, three]), [taken]);
    let _ = std::fs::remove_dir_all(folder);
}

#[test]
fn the_program_checks_a_sound_flow() {
    let output = ringback(&["check", "flows/hello.json"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stdout(&output), "1 flow(s) sound, 0 warning(s)\n");
}

#[test]
fn the_program_refuses_a_broken_flow_with_exit_code_1() {
    let file = "sip-test/broken/several_at_once.json";
    let output = ringback(&["check", file]);
    assert_eq!(output.status.code(), Some(1));
    let told = stdout(&output);
    assert!(told.contains(&format!("--> {file}")) && told.contains("= help: "), "{told}");
    let last = told.lines().last().unwrap();
    assert!(last.contains("error(s)") && last.contains("warning(s)"), "{last}");
}

#[test]
fn problems_for_programs_are_a_json_array() {
    let output = ringback(&["check", "--format", "json", "sip-test/broken/unknown_operation.json"]);
    assert_eq!(output.status.code(), Some(1));
    let problems = serde_json::from_str::<Vec<Value>>(&stdout(&output)).unwrap();
    let [problem] = problems.as_slice() else { panic!("{problems:?}") };
    for (key, value) in [
        ("severity", "error"),
        ("code", "E-SIP-OPERATION"),
        ("file", "sip-test/broken/unknown_operation.json"),
        ("workflow", "unknown operation"),
        ("node", "answer"),
        ("parameter", "operation"),
        ("remedy", "did you mean `call.answer`?"),
    ] {
        assert_eq!(problem[key], value, "{key}");
    }
    let sound = ringback(&["check", "--format", "json", "flows/hello.json"]);
    assert_eq!((sound.status.code(), stdout(&sound).trim()), (Some(0), "[]"));
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let output = ringback(&["check", "flows/missing.json"]);
    assert_eq!(output.status.code(), Some(1));
    let told = stdout(&output);
    assert!(told.contains("E-FLOW-FILE") && told.contains("flows/missing.json"), "{told}");
}

#[test]
fn every_help_has_an_example() {
    for words in [&["--help"][..], &["serve", "--help"], &["check", "--help"], &["demo", "--help"]]
    {
        let output = ringback(words);
        let told = stdout(&output);
        assert_eq!(output.status.code(), Some(0), "{words:?}");
        assert!(told.contains("Example") && told.contains("  ringback "), "{words:?}:\n{told}");
    }
}

#[test]
fn a_mistyped_word_gets_a_suggestion_and_exit_code_2() {
    let output = ringback(&["chek", "flows/hello.json"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("'check'"), "{}", stderr(&output));
}

#[test]
fn a_taken_sip_port_is_named_with_its_remedy() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let data = std::env::temp_dir().join(format!("ringback-taken-{}", std::process::id()));
    let data = data.display().to_string();
    let sip = address.to_string();
    let output = ringback(&["serve", "--sip", &sip, "--http", "127.0.0.1:0", "--data", &data]);
    let _ = std::fs::remove_dir_all(&data);
    assert_eq!(output.status.code(), Some(1));
    let told = stderr(&output);
    for words in [&format!("cannot listen for SIP on {sip}"), "= help: ", "--sip"] {
        assert!(told.contains(words), "{words}:\n{told}");
    }
}

/// Runs the real program in the package's directory.
fn ringback(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    command.args(words).current_dir(root()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Tests run in the package's directory, so that relative paths are the same everywhere.
fn check(paths: &[PathBuf]) -> Checked {
    check_files(paths, Path::new("prompts"))
}

fn broken() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("sip-test/broken")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let documents = names.filter(|name| name.ends_with(".json"));
    let paths = documents.map(|name| Path::new("sip-test/broken").join(name));
    let mut paths = paths.collect::<Vec<_>>();
    paths.sort();
    paths
}
