//! Flows that HTTP requests and schedules start, served by the real program over real sockets.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::story::root;

/// A running server with one flow and a data directory of its own.
pub(super) struct Served {
    child: Child,
    pub(super) http: SocketAddr,
    pub(super) data: PathBuf,
}

/// What a request was answered with.
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }
}

impl Served {
    /// Serves a flow; `name` is of the data directory, which no other test has.
    pub(super) fn start(name: &str, flow: &Value, credentials: &[(&str, &str, Value)]) -> Self {
        Self::start_with(name, flow, credentials, "")
    }

    pub(super) fn start_with(
        name: &str,
        flow: &Value,
        credentials: &[(&str, &str, Value)],
        settings: &str,
    ) -> Self {
        let data = std::env::temp_dir().join(format!("ringback-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&data);
        std::fs::create_dir_all(&data).unwrap();
        Self::start_in(data, flow, credentials, settings)
    }

    fn start_in(
        data: PathBuf,
        flow: &Value,
        credentials: &[(&str, &str, Value)],
        settings: &str,
    ) -> Self {
        for (name, kind, held) in credentials {
            let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
            command.args(["credentials", "set", name, "--type", kind, "--data"]).arg(&data);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            child.stdin.take().unwrap().write_all(held.to_string().as_bytes()).unwrap();
            assert!(child.wait().unwrap().success());
        }
        let (file, config) = (data.join("flow.json"), data.join("ringback.toml"));
        std::fs::write(&file, flow.to_string()).unwrap();
        std::fs::write(&config, settings).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ringback"))
            .arg("serve")
            .arg(&file)
            .args([
                "--sip",
                "127.0.0.1:0",
                "--http",
                "127.0.0.1:0",
                "--rtp",
                "127.0.0.1:50000-58000",
            ])
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(&data)
            .current_dir(root())
            .env("RINGBACK_LOG", "off")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (mut http, mut told) = (None, String::new());
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(rest) = line.strip_prefix("http    http://") {
                http = rest.split(' ').next().and_then(|address| address.parse().ok());
            }
            if line == "ready" {
                break;
            }
            told.push_str(&line);
        }
        let http = http.unwrap_or_else(|| panic!("the server did not start: {told}"));
        Self { child, http, data }
    }

    /// Ends the server as an operator does, and starts it again.
    fn restart(mut self, flow: &Value) -> Self {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").arg(id).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        let data = std::mem::take(&mut self.data);
        Self::start_in(data, flow, &[], "")
    }

    /// Sends a request: a line such as `POST /webhook/a`, headers, a body.
    pub(super) fn ask(&self, line: &str, headers: &[&str], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(self.http).unwrap();
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let length = body.len();
        write!(
            stream,
            "{line} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        )
        .unwrap();
        // Who refuses a body may have stopped reading it.
        let _ = stream.write_all(body);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("an answer");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: bytes[end + 4..].to_vec() }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if !self.data.as_os_str().is_empty() {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

pub(super) fn node(name: &str, kind: &str, version: f64, parameters: Value) -> Value {
    json!({ "name": name, "type": format!("n8n-nodes-base.{kind}"), "typeVersion": version,
            "position": [0, 0], "parameters": parameters })
}

/// A flow of chains, each written as the names of its nodes.
pub(super) fn flow(nodes: &[Value], chains: &[&[&str]]) -> Value {
    let mut connections = json!({});
    for chain in chains {
        for pair in chain.windows(2) {
            connections[pair[0]] =
                json!({ "main": [[{ "node": pair[1], "type": "main", "index": 0 }]] });
        }
    }
    json!({ "name": "served", "id": "self", "nodes": nodes, "connections": connections,
            "settings": { "executionOrder": "v1" } })
}

fn with_credential(mut node: Value, kind: &str, name: &str) -> Value {
    node["credentials"] = json!({ kind: { "id": "1", "name": name } });
    node
}

#[test]
fn a_request_starts_a_run_and_is_answered_as_its_author_said() {
    let webhook = |name: &str, parameters: Value| node(name, "webhook", 2.0, parameters);
    let served = Served::start(
        "webhooks",
        &flow(
            &[
                webhook("Plain", json!({ "path": "plain" })),
                webhook(
                    "Last",
                    json!({ "path": "last/:id", "httpMethod": "POST", "responseMode": "lastNode" }),
                ),
                webhook(
                    "Asked",
                    json!({ "path": "asked", "httpMethod": ["GET", "POST"], "responseMode": "responseNode" }),
                ),
                webhook("Fails", json!({ "path": "fails", "responseMode": "lastNode" })),
                webhook("Mute", json!({ "path": "mute", "responseMode": "responseNode" })),
                node(
                    "Greet",
                    "set",
                    3.4,
                    json!({ "assignments": { "assignments": [
                    { "name": "said", "type": "string", "value": "={{ $json.body.name }} {{ $json.params.id }} {{ $json.query.q }}" },
                    { "name": "file", "type": "string", "value": "={{ $binary.sound?.fileName }}" },
                ] } }),
                ),
                node(
                    "Answer",
                    "respondToWebhook",
                    1.1,
                    json!({ "respondWith": "text", "responseBody": "={{ $json.query.a }}!",
                    "options": { "responseCode": 202 } }),
                ),
                node("Stop", "stopAndError", 1.0, json!({ "errorMessage": "no" })),
                node("Nothing", "respondToWebhook", 1.1, json!({ "respondWith": "binary" })),
            ],
            &[
                &["Plain", "Greet"],
                &["Last", "Greet"],
                &["Asked", "Answer"],
                &["Fails", "Stop"],
                &["Mute", "Nothing"],
            ],
        ),
        &[],
    );
    let plain = served.ask("GET /webhook/plain", &[], b"");
    assert_eq!((plain.status, plain.json()), (200, json!({ "message": "Workflow was started" })));
    assert_eq!(served.ask("POST /webhook/plain", &[], b"").status, 404);
    assert_eq!(served.ask("GET /webhook/nowhere", &[], b"").status, 404);

    let kind = "Content-Type: application/json";
    let last = served.ask("POST /webhook/last/7?q=x%20y", &[kind], b"{\"name\": \"Ada\"}");
    assert_eq!((last.status, last.json()["said"].as_str()), (200, Some("Ada 7 x y")));
    assert_eq!(served.ask("POST /webhook/last/7", &[kind], b"{\"name\": ").status, 422);
    let form = "Content-Type: multipart/form-data; boundary=cut";
    let parts = b"--cut\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nBob\r\n--cut\r\n\
        Content-Disposition: form-data; name=\"sound\"; filename=\"a.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF\r\n--cut--\r\n";
    let last = served.ask("POST /webhook/last/8", &[form], parts).json();
    assert_eq!((last["said"].as_str(), last["file"].as_str()), (Some("Bob 8 "), Some("a.wav")));
    assert_eq!(served.ask("POST /webhook/last/8", &[form], b"--cut\r\nbroken").status, 422);
    let large = vec![b'x'; 16 * 1024 * 1024 + 1];
    assert_eq!(served.ask("POST /webhook/last/8", &[], &large).status, 413);

    let asked = served.ask("GET /webhook/asked?a=hi", &[], b"");
    assert_eq!((asked.status, asked.text()), (202, "hi!"));
    assert_eq!(served.ask("GET /webhook/fails", &[], b"").status, 500);
    assert_eq!(served.ask("GET /webhook/mute", &[], b"").status, 500);
}

#[test]
fn the_steps_of_a_run_are_shown_to_the_operator_alone() {
    let wait = json!({ "amount": 1, "unit": "hours" });
    let served = Served::start(
        "runs",
        &flow(
            &[
                node(
                    "Hook",
                    "webhook",
                    2.0,
                    json!({ "path": "a", "responseMode": "responseNode" }),
                ),
                node("Answer", "respondToWebhook", 1.1, json!({ "respondWith": "noData" })),
                node("Sleep", "wait", 1.1, wait),
                node("Broken", "webhook", 2.0, json!({ "path": "b", "responseMode": "lastNode" })),
                node("Stop", "stopAndError", 1.0, json!({ "errorMessage": "no way" })),
                node(
                    "Call",
                    "executeWorkflow",
                    1.2,
                    json!({ "workflowId": { "__rl": true, "value": "self" } }),
                ),
                node(
                    "Called",
                    "executeWorkflowTrigger",
                    1.1,
                    json!({ "inputSource": "passthrough" }),
                ),
                node("Inner", "noOp", 1.0, json!({})),
            ],
            &[&["Hook", "Answer", "Call", "Sleep"], &["Broken", "Stop"], &["Called", "Inner"]],
        ),
        &[],
    );
    assert_eq!(served.ask("GET /webhook/a?n=1", &[], b"").status, 200);
    assert_eq!(served.ask("GET /webhook/b", &[], b"").status, 500);
    assert_eq!(served.ask("GET /api/runs", &[], b"").status, 401);
    assert_eq!(served.ask("GET /api/runs", &["Authorization: Bearer 0"], b"").status, 401);

    let runs = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringback"));
        let url = format!("http://{}", served.http);
        command.arg("runs").args(words).args(["--url", &url, "--data"]);
        let output = command.arg(&served.data).output().unwrap();
        let told = String::from_utf8(output.stdout).unwrap();
        (output.status.success(), told + &String::from_utf8(output.stderr).unwrap())
    };
    let (_, listed) = runs(&["list", "--json"]);
    let listed: Value = serde_json::from_str(&listed).unwrap();
    let (failed, waits) = (&listed[0], &listed[1]);
    assert_eq!((&failed["status"], &failed["error"]["node"]), (&json!("error"), &json!("Stop")));
    assert_eq!((&waits["status"], &waits["waits"]["node"]), (&json!("running"), &json!("Sleep")));
    let (is_shown, shown) = runs(&["show", waits["id"].as_str().unwrap()]);
    assert!(is_shown, "{shown}");
    for part in [
        "Inner of served, run 0",
        "begun by Hook",
        "Answer, run 0",
        "\"query\":{\"n\":\"1\"}",
        "waits at Sleep for",
    ] {
        assert!(shown.contains(part), "{part}:\n{shown}");
    }
    let (_, list) = runs(&["list"]);
    assert!(list.contains("served, Broken, failed at Stop: no way"), "{list}");
    for (id, told) in [("77", "no run with this id is kept"), ("x", "is no id of a run")] {
        let (is_shown, said) = runs(&["show", id]);
        assert!(!is_shown && said.contains(told), "{said}");
    }
}

#[test]
fn what_a_workflow_keeps_outlives_the_server() {
    let count =
        "const s = $getWorkflowStaticData('global'); s.n = (s.n ?? 0) + 1; return [{ n: s.n }]";
    let mut flow = flow(
        &[
            node("Hook", "webhook", 2.0, json!({ "path": "n", "responseMode": "lastNode" })),
            node("Count", "code", 2.0, json!({ "jsCode": count })),
        ],
        &[&["Hook", "Count"]],
    );
    flow["staticData"] = json!({ "global": { "n": 40 } });
    let served = Served::start("static", &flow, &[]);
    let next = |served: &Served| served.ask("GET /webhook/n", &[], b"").json()["n"].as_u64();
    assert_eq!((next(&served), next(&served)), (Some(41), Some(42)));
    let served = served.restart(&flow);
    assert_eq!(next(&served), Some(43));
}

#[test]
fn requests_of_several_items_are_under_way_together() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = listener.local_addr().unwrap();
    let made = "return [1, 2, 3].map((n) => ({ n }))";
    let hook = json!({ "path": "three", "responseMode": "lastNode", "responseData": "allEntries" });
    let served = Served::start_with(
        "together",
        &flow(
            &[
                node("Hook", "webhook", 2.0, hook),
                node("Three", "code", 2.0, json!({ "jsCode": made })),
                node(
                    "Ask",
                    "httpRequest",
                    4.2,
                    json!({ "url": format!("=http://{there}/{{{{ $json.n }}}}") }),
                ),
            ],
            &[&["Hook", "Three", "Ask"]],
        ),
        &[],
        &format!("[outbound]\nallow = [\"{there}\"]\n"),
    );
    let server = std::thread::Builder::new().spawn(move || {
        // Nobody is answered before all have asked, and the last is answered first.
        let mut asked: Vec<(String, TcpStream)> = (0..3)
            .map(|_| {
                let (stream, _) = listener.accept().unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
                (line[5..6].to_owned(), stream)
            })
            .collect();
        asked.sort_by(|one, other| other.0.cmp(&one.0));
        for (number, mut stream) in asked {
            write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\n{number}"
            )
            .unwrap();
        }
    });
    let all = served.ask("GET /webhook/three", &[], b"").json();
    assert_eq!(all, json!([{ "data": "1" }, { "data": "2" }, { "data": "3" }]));
    server.unwrap().join().unwrap();
}

#[test]
fn a_browser_of_another_site_asks_before_it_sends() {
    let only = json!({ "path": "only", "options": { "allowedOrigins": "https://a.test" } });
    let served = Served::start(
        "cors",
        &flow(
            &[
                node("All", "webhook", 2.0, json!({ "path": "all", "httpMethod": "POST" })),
                node("Only", "webhook", 2.0, only),
                node("End", "noOp", 1.0, json!({})),
            ],
            &[&["All", "End"], &["Only", "End"]],
        ),
        &[],
    );
    let asks = ["Origin: https://a.test", "Access-Control-Request-Headers: content-type"];
    let told = served.ask("OPTIONS /webhook/all", &asks, b"");
    assert_eq!(told.status, 204);
    assert_eq!(told.header("access-control-allow-origin"), Some("*"));
    assert_eq!(told.header("access-control-allow-methods"), Some("POST"));
    assert_eq!(told.header("access-control-allow-headers"), Some("content-type"));
    let sent = served.ask("GET /webhook/only", &asks[..1], b"");
    assert_eq!(sent.header("access-control-allow-origin"), Some("https://a.test"));
    let other = served.ask("GET /webhook/only", &["Origin: https://b.test"], b"");
    assert_eq!(other.header("access-control-allow-origin"), None);
}

#[test]
fn who_shows_no_credential_is_not_let_in() {
    let webhook = |name: &str, path: &str, authentication: &str, kind: &str, credential: &str| {
        let parameters = json!({ "path": path, "authentication": authentication, "responseMode": "responseNode" });
        with_credential(node(name, "webhook", 2.0, parameters), kind, credential)
    };
    let token = json!({ "respondWith": "jwt", "payload": "{\"sub\": \"={{ 1 }}\"}" });
    let listed = json!({ "path": "far", "options": { "ipWhitelist": "192.0.2.1" } });
    let served = Served::start(
        "webhook-auth",
        &flow(
            &[
                webhook("Basic", "basic", "basicAuth", "httpBasicAuth", "door"),
                webhook("Header", "header", "headerAuth", "httpHeaderAuth", "key"),
                webhook("Token", "token", "jwtAuth", "jwtAuth", "seal"),
                webhook("Closed", "closed", "basicAuth", "httpBasicAuth", "nobody"),
                node("Far", "webhook", 2.0, listed),
                with_credential(node("Sign", "respondToWebhook", 1.4, token), "jwtAuth", "seal"),
                node(
                    "Who",
                    "respondToWebhook",
                    1.1,
                    json!({ "respondWith": "text", "responseBody": "={{ $json.jwtPayload.sub }}" }),
                ),
            ],
            &[
                &["Basic", "Sign"],
                &["Header", "Sign"],
                &["Token", "Who"],
                &["Closed", "Who"],
                &["Far", "Who"],
            ],
        ),
        &[
            ("door", "httpBasicAuth", json!({ "user": "a", "password": "b" })),
            ("key", "httpHeaderAuth", json!({ "name": "X-Key", "value": "k" })),
            (
                "seal",
                "jwtAuth",
                json!({ "keyType": "passphrase", "secret": "s", "algorithm": "HS384" }),
            ),
        ],
    );
    let status = |path: &str, headers: &[&str]| {
        served.ask(&format!("GET /webhook/{path}"), headers, b"").status
    };
    let asked = served.ask("GET /webhook/basic", &[], b"");
    assert_eq!(
        (asked.status, asked.header("www-authenticate")),
        (401, Some("Basic realm=\"Webhook\""))
    );
    assert_eq!(status("basic", &["Authorization: Basic YTpj"]), 403);
    assert_eq!(status("header", &["X-Key: other"]), 403);
    assert_eq!(status("closed", &["Authorization: Basic YTpi"]), 500);
    assert_eq!(status("far", &[]), 403);
    assert_eq!(status("token", &[]), 401);
    assert_eq!(status("token", &["Authorization: Bearer a.b.c"]), 403);

    assert_eq!(status("header", &["X-Key: k"]), 200);
    let signed = served.ask("GET /webhook/basic", &["Authorization: Basic YTpi"], b"").json();
    let bearer = format!("Authorization: Bearer {}", signed["token"].as_str().unwrap());
    let let_in = served.ask("GET /webhook/token", &[&bearer], b"");
    assert_eq!((let_in.status, let_in.text()), (200, "={{ 1 }}"));
}

#[test]
fn a_schedule_starts_runs_and_requests_go_where_they_are_allowed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = listener.local_addr().unwrap();
    let rule = json!({ "interval": [{ "field": "seconds", "secondsInterval": 1 }] });
    let url = format!("=http://{there}/{{{{ $json.timestamp ? 'tick' : '' }}}}");
    let served = Served::start_with(
        "schedule",
        &flow(
            &[
                node("Every second", "scheduleTrigger", 1.2, json!({ "rule": rule })),
                node("Tell", "httpRequest", 4.2, json!({ "url": url })),
            ],
            &[&["Every second", "Tell"]],
        ),
        &[],
        &format!("[outbound]\nallow = [\"{there}\"]\n"),
    );
    for _ in 0..2 {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "GET /tick HTTP/1.1\r\n");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    }
    drop(served);
}

/// The second expression is stuck within single steps of the engine, which asks nobody meanwhile:
/// other runs go on, and its own goes the way of its errors.
#[test]
fn a_script_that_does_not_come_back_holds_up_nobody() {
    let set = |name: &str, value: &str| {
        let assigned = json!([{ "name": "said", "type": "string", "value": value }]);
        node(name, "set", 3.4, json!({ "assignments": { "assignments": assigned } }))
    };
    let stuck = "={{ (() => { const a = 2n ** 500000n; \
        for (let i = 0; i < 2000; i += 1) a * a; return 'done' })() }}";
    let mut stuck = set("Stuck", stuck);
    stuck["onError"] = "continueErrorOutput".into();
    let hook = |name: &str, path: &str| {
        node(name, "webhook", 2.0, json!({ "path": path, "responseMode": "lastNode" }))
    };
    let mut flow = flow(
        &[
            hook("A", "plain"),
            set("Plain", "={{ $json.query.q + '!' }}"),
            hook("B", "long"),
            set("Long", "={{ [1, 2].map(n => n * 2).join() }}"),
            hook("C", "stuck"),
            stuck,
            node("Sorry", "noOp", 1.0, json!({})),
        ],
        &[&["A", "Plain"], &["B", "Long"], &["C", "Stuck"]],
    );
    let sorry = json!([{ "node": "Sorry", "type": "main", "index": 0 }]);
    flow["connections"]["Stuck"] = json!({ "main": [[], sorry] });
    let served = Served::start("stuck", &flow, &[]);
    let said = |path: &str| served.ask(&format!("GET /webhook/{path}"), &[], b"").json();
    assert_eq!(said("long")["said"], "2,4");
    std::thread::scope(|scope| {
        let stuck = scope.spawn(|| said("stuck"));
        let mut answered = 0;
        while !stuck.is_finished() {
            assert_eq!(said("plain?q=a")["said"], "a!");
            answered += 1;
        }
        assert!(answered > 10, "{answered} requests were answered meanwhile");
        let error = stuck.join().unwrap()["error"].clone();
        assert_eq!(error, "the script was given up: one of its steps took too long");
    });
    assert_eq!(said("long")["said"], "2,4");
}

/// A run tells where it is reached, waits there for one call, and goes on with it; or without one,
/// when its time is over.
#[test]
fn a_run_waits_for_a_call() {
    let tell = json!({ "respondWith": "text", "responseBody": "={{ $execution.resumeUrl }}" });
    let wait = json!({ "resume": "webhook", "httpMethod": "POST", "responseMode": "lastNode",
        "options": { "webhookSuffix": "yes" } });
    let short = json!({ "resume": "webhook", "limitWaitTime": true, "resumeAmount": 0.2, "resumeUnit": "seconds" });
    let hook = |name: &str, path: &str, mode: &str| {
        node(name, "webhook", 2.0, json!({ "path": path, "responseMode": mode }))
    };
    let said = json!([{ "name": "said", "type": "string", "value": "={{ $json.body.a }} after {{ $('A').item.json.query.q }}" }]);
    let served = Served::start(
        "waits",
        &flow(
            &[
                hook("A", "long", "responseNode"),
                node("Tell", "respondToWebhook", 1.1, tell),
                node("Wait", "wait", 1.1, wait),
                node("Said", "set", 3.4, json!({ "assignments": { "assignments": said } })),
                hook("B", "short", "lastNode"),
                node("Short", "wait", 1.1, short),
                node("Over", "noOp", 1.0, json!({})),
            ],
            &[&["A", "Tell", "Wait", "Said"], &["B", "Short", "Over"]],
        ),
        &[],
    );
    let url = served.ask("GET /webhook/long?q=x", &[], b"").text().to_owned();
    let path = url.strip_prefix(&format!("http://{}", served.http)).expect(&url).to_owned();
    let kind = "Content-Type: application/json";
    let call = |line: &str| served.ask(line, &[kind], b"{\"a\": 7}");
    // Another method, without the suffix, and a name that was guessed.
    assert_eq!(call(&format!("GET {path}/yes")).status, 404);
    assert_eq!(call(&format!("POST {path}")).status, 404);
    let (run, _) = path.rsplit_once('-').unwrap();
    assert_eq!(call(&format!("POST {run}-00000000000000000000000000000000/yes")).status, 404);
    // The run told its address before it waits there.
    let answers = (0..10_000).map(|_| call(&format!("POST {path}/yes")));
    let answer = answers.into_iter().find(|answer| answer.status != 404).expect("it waits");
    assert_eq!((answer.status, answer.json()["said"].as_str()), (200, Some("7 after x")));
    assert_eq!(call(&format!("POST {path}/yes")).status, 404);
    // Nobody calls: what came in goes on.
    let over = served.ask("GET /webhook/short?q=y", &[], b"").json();
    assert_eq!(over["query"]["q"], "y");
}
