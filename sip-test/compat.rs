//! Workflows and expressions as n8n users write them, through the real program, with what they
//! should come to. Expected values are those of the documentation; those of plain JavaScript are
//! Node.js's.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::story::root;

/// Runs the program with this on its standard input; its standard output.
fn ringback(words: &[&str], input: &str) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    command.args(words).current_dir(root()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::Builder::new().spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.unwrap().join();
    String::from_utf8(output.stdout).unwrap()
}

fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("sip-test/compat").join(folder)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.to_str().unwrap().ends_with(ending)).collect();
    paths.sort();
    paths
}

fn read(path: &PathBuf) -> Value {
    let text = std::fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each file is a list of cases; a case is `[expression, expected]` or
/// `[expression, expected, items]`. Expected is the value, or `{"error": part of the message}`.
#[test]
fn expressions_come_to_what_is_documented() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for path in files("", ".json") {
        let file = read(&path);
        let zone = file["zone"].as_str().unwrap_or("UTC");
        let standard = &file["items"];
        let cases = file["cases"].as_array().unwrap();
        let lines = cases.iter().map(|case| {
            let items = case.get(2).unwrap_or(standard);
            format!("{}\n", json!({ "expr": case[0], "items": items, "item": 0 }))
        });
        let answers = ringback(&["eval", "--batch", "--zone", zone], &lines.collect::<String>());
        let answers: Vec<Value> =
            answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), cases.len(), "{}", path.display());
        for (case, answer) in cases.iter().zip(answers) {
            count += 1;
            let is_right = match case[1].get("error") {
                Some(part) => answer["error"]
                    .as_str()
                    .is_some_and(|error| error.contains(part.as_str().unwrap_or_default())),
                None => match case[1].get("$type") {
                    Some(kind) => answer["type"] == *kind,
                    None => answer.get("error").is_none() && answer["value"] == case[1],
                },
            };
            if !is_right {
                let name = path.file_name().unwrap().display();
                wrong.push(format!("{name}: {}\n  is     {answer}\n  not    {}", case[0], case[1]));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 10, "only {count} cases were found");
}

/// Each file is `{"workflow", "items"?, "expected": {"order"?, "status"?, "json": {node: [[[…]]]}}}`:
/// of each node that is named, the JSON of each item of each output of each run.
#[test]
fn workflows_run_as_documented() {
    let mut wrong = Vec::new();
    for path in files("flows", ".json") {
        let case = read(&path);
        let folder = std::env::temp_dir().join(format!("ringback-compat-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let flow = folder.join("flow.json");
        std::fs::write(&flow, case["workflow"].to_string()).unwrap();
        let items = folder.join("items.json");
        std::fs::write(&items, case["items"].to_string()).unwrap();
        let mut words = vec!["run", flow.to_str().unwrap()];
        if !case["items"].is_null() {
            words.extend(["--items", items.to_str().unwrap()]);
        }
        let told = ringback(&words, "");
        let report: Value = serde_json::from_str(&told).unwrap_or_default();
        std::fs::remove_dir_all(&folder).unwrap();
        let name = path.file_name().unwrap().display().to_string();
        let expected = &case["expected"];
        let mut compare = |what: &str, is: &Value, should: &Value| {
            if is != should {
                wrong.push(format!("{name}: {what}\n  is     {is}\n  not    {should}"));
            }
        };
        compare("status", &report["status"], expected.get("status").unwrap_or(&json!("success")));
        for (key, should) in expected.as_object().unwrap() {
            match key.as_str() {
                "status" => {}
                "json" => {
                    for (node, should) in should.as_object().unwrap() {
                        compare(node, &plain(&report["runs"][node]), should);
                    }
                }
                "paired" => {
                    for (node, should) in should.as_object().unwrap() {
                        compare(node, &paired(&report["runs"][node]), should);
                    }
                }
                "error" => compare("error", &report["error"]["message"], should),
                key => compare(key, &report[key], should),
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Runs a flow of one HTTP node; what the node gave, and its error.
fn request(parameters: &Value) -> (Value, Value) {
    let node = |name: &str, kind: &str, version: f64, parameters: &Value| {
        json!({ "name": name, "type": format!("n8n-nodes-base.{kind}"), "typeVersion": version,
                "position": [0, 0], "parameters": parameters })
    };
    let workflow = json!({
        "name": "http", "settings": { "executionOrder": "v1" },
        "nodes": [
            node("T", "manualTrigger", 1.0, &json!({})),
            node("H", "httpRequest", 4.2, parameters),
        ],
        "connections": { "T": { "main": [[{ "node": "H", "type": "main", "index": 0 }]] } },
    });
    let name = format!("ringback-http-{}-{:p}.json", std::process::id(), &raw const workflow);
    let file = std::env::temp_dir().join(name);
    std::fs::write(&file, workflow.to_string()).unwrap();
    let report: Value =
        serde_json::from_str(&ringback(&["run", file.to_str().unwrap()], "")).unwrap();
    std::fs::remove_file(&file).unwrap();
    (plain(&report["runs"]["H"]), report["error"]["message"].clone())
}

#[test]
fn a_request_reaches_its_server_and_a_private_address_is_refused() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::Builder::new().spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"{\"n\":1}") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let body = "[{\"a\":1},{\"a\":2}]";
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).unwrap();
        String::from_utf8(head).unwrap()
    });
    let sent = json!({ "method": "POST", "url": format!("http://{address}/x"), "sendBody": true,
        "bodyParameters": { "parameters": [{ "name": "n", "value": "={{ 1 }}" }] } });
    assert_eq!(request(&sent).0, json!([[[{ "a": 1 }, { "a": 2 }]]]));
    let head = server.unwrap().join().unwrap().to_lowercase();
    assert!(head.starts_with("post /x http/1.1") && head.contains("application/json"), "{head}");

    for private in ["http://10.0.0.1/", "http://169.254.169.254/latest", "http://[fd00::1]/"] {
        let error = request(&json!({ "url": private })).1;
        assert!(error.as_str().is_some_and(|error| error.contains("private address")), "{error}");
    }
}

/// Answers requests one after the other with `(status, headers, body)`, and gives their heads.
fn serve(
    answers: Vec<(u16, &'static str, &'static str)>,
) -> (std::net::SocketAddr, std::thread::JoinHandle<Vec<String>>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::Builder::new().spawn(move || {
        let answer = |(status, headers, body): (u16, &str, &str)| {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.push(byte[0]);
            }
            let length = body.len();
            write!(
                stream,
                "HTTP/1.1 {status} x\r\nContent-Length: {length}\r\nConnection: close\r\n\
                {headers}\r\n\r\n{body}"
            )
            .unwrap();
            String::from_utf8(head).unwrap()
        };
        answers.into_iter().map(answer).collect()
    });
    (address, server.unwrap())
}

const JSON: &str = "Content-Type: application/json";

#[test]
fn pages_are_asked_for_until_there_are_no_more() {
    let pages = |address, pagination: Value| {
        json!({ "url": format!("http://{address}/x"), "sendQuery": true,
            "queryParameters": { "parameters": [{ "name": "q", "value": "a" }] },
            "options": { "pagination": { "pagination": pagination } } })
    };
    let first_line = |head: &String| head.lines().next().unwrap().to_owned();

    // A number in each request, until nothing comes.
    let (address, server) = serve(vec![
        (200, JSON, "[{\"a\":1}]"),
        (200, JSON, "[{\"a\":2},{\"a\":3}]"),
        (200, JSON, "[]"),
    ]);
    let number = json!({ "paginationMode": "updateAParameterInEachRequest", "requestInterval": 1,
        "parameters": { "parameters": [{ "type": "qs", "name": "page", "value": "={{ $pageCount + 1 }}" }] } });
    assert_eq!(
        request(&pages(address, number)),
        (json!([[[{ "a": 1 }, { "a": 2 }, { "a": 3 }]]]), Value::Null)
    );
    let lines: Vec<String> = server.join().unwrap().iter().map(first_line).collect();
    assert_eq!(
        lines,
        ["GET /x?q=a&page=1 HTTP/1.1", "GET /x?q=a&page=2 HTTP/1.1", "GET /x?q=a&page=3 HTTP/1.1"]
    );

    // The answer names the next, until an expression says that it does not.
    let (address, server) = serve(vec![
        (200, JSON, "{\"next\":\"y?n=2\",\"n\":1}"),
        (200, JSON, "{\"next\":null,\"n\":2}"),
    ]);
    let named = json!({ "paginationMode": "responseContainsNextURL", "paginationCompleteWhen": "other",
        "nextURL": format!("=http://{address}/{{{{ $response.body.next }}}}"),
        "completeExpression": "={{ !$response.body.next }}" });
    assert_eq!(request(&pages(address, named)).0[0][0][1], json!({ "next": null, "n": 2 }));
    let lines: Vec<String> = server.join().unwrap().iter().map(first_line).collect();
    assert_eq!(lines, ["GET /x?q=a HTTP/1.1", "GET /y?n=2 HTTP/1.1"]);

    // A status ends them, and what comes with it is no page.
    let (address, server) = serve(vec![(200, JSON, "[{\"a\":1}]"), (404, JSON, "{}")]);
    let status = json!({ "paginationMode": "updateAParameterInEachRequest",
        "paginationCompleteWhen": "receiveSpecificStatusCodes", "statusCodesWhenComplete": "404, 410" });
    assert_eq!(request(&pages(address, status)).0, json!([[[{ "a": 1 }]]]));
    assert_eq!(server.join().unwrap().len(), 2);

    // A limit, and an error on the way.
    let (address, server) = serve(vec![(200, JSON, "[{\"a\":1}]"), (200, JSON, "[{\"a\":2}]")]);
    let limited = json!({ "paginationMode": "updateAParameterInEachRequest",
        "limitPagesFetched": true, "maxRequests": 2 });
    assert_eq!(request(&pages(address, limited)).0, json!([[[{ "a": 1 }, { "a": 2 }]]]));
    server.join().unwrap();
    let (address, server) = serve(vec![(200, JSON, "[{\"a\":1}]"), (500, JSON, "{}")]);
    let broken = json!({ "paginationMode": "updateAParameterInEachRequest" });
    let error = request(&pages(address, broken)).1;
    assert!(error.as_str().is_some_and(|error| error.contains("status code 500")), "{error}");
    server.join().unwrap();
}

#[test]
fn an_answer_that_is_a_file_is_attached() {
    let (address, server) = serve(vec![(200, "Content-Type: audio/wav", "RIFF")]);
    let node = |name: &str, kind: &str, version: f64, parameters: Value| {
        json!({ "name": name, "type": format!("n8n-nodes-base.{kind}"), "typeVersion": version,
                "position": [0, 0], "parameters": parameters })
    };
    let edge = |to: &str| json!({ "main": [[{ "node": to, "type": "main", "index": 0 }]] });
    let show =
        "={{ $binary.data.fileName + ' ' + $binary.data.mimeType + ' ' + $binary.data.fileSize }}";
    let workflow = json!({
        "name": "file", "settings": { "executionOrder": "v1" },
        "nodes": [
            node("T", "manualTrigger", 1.0, json!({})),
            node("H", "httpRequest", 4.2, json!({ "url": format!("http://{address}/a/b.wav?c") })),
            node("S", "set", 3.4, json!({ "assignments": { "assignments": [
                { "name": "file", "type": "string", "value": show } ] } })),
        ],
        "connections": { "T": edge("H"), "H": edge("S") },
    });
    let file = std::env::temp_dir().join(format!("ringback-file-{}.json", std::process::id()));
    std::fs::write(&file, workflow.to_string()).unwrap();
    let told = ringback(&["run", file.to_str().unwrap()], "");
    std::fs::remove_file(&file).unwrap();
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        plain(&report["runs"]["S"]),
        json!([[[{ "file": "b.wav audio/wav 4 B" }]]]),
        "{told}"
    );
    assert_eq!(report["runs"]["H"][0]["outputs"][0][0]["binary"]["data"]["data"], "UklGRg==");
    server.join().unwrap();
}

fn plain(runs: &Value) -> Value {
    each_item(runs, "json")
}

fn paired(runs: &Value) -> Value {
    each_item(runs, "pairedItem")
}

fn each_item(runs: &Value, key: &str) -> Value {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let outputs = |run: &Value| list(&run["outputs"]);
    let items = |items: &Value| list(items).iter().map(|item| item[key].clone()).collect::<Value>();
    let runs = list(runs);
    runs.iter().map(|run| outputs(run).iter().map(items).collect::<Value>()).collect()
}

/// The engine would ask after ten thousand of these products whether time is up: minutes later.
#[test]
fn a_script_that_does_not_come_back_ends_the_command() {
    let endless = "{{ (() => { const a = (1n << 500000n) - 1n; for (;;) a * a; })() }}";
    let line = json!({ "expr": endless });
    let answers = ringback(&["eval", "--batch"], &format!("{line}\n{line}\n"));
    let error = "a script did not come back, long after its time was over";
    assert_eq!(answers.lines().collect::<Vec<_>>(), [json!({ "error": error }).to_string()]);
}

#[test]
fn a_script_that_does_not_come_back_ends_the_simulation() {
    let flow = std::fs::read_to_string(root().join("flows/hello.json")).unwrap();
    let endless = "={{ (() => { const a = (1n << 500000n) - 1n; for (;;) a * a; })() }}";
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("endless.json");
    std::fs::write(&path, flow.replacen("hello.wav", endless, 1)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
    let ended = command.args(["sim", "--days", "1", "--flow"]).arg(&path).current_dir(root());
    let ended = ended.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(ended.status.code() == Some(1) && said.contains("did not come back"), "{said}");
}
