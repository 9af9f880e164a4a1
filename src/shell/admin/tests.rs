//! The API over a real socket, against a real server with a journal of its own.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use super::*;
use crate::config::Retention;
use crate::config::Settings;
use crate::promise::{Place, PromiseId, Record};
use crate::shell::check::check_files;
use crate::shell::client::{Client, Refusal, ServerArgs};
use crate::shell::credentials::Credentials;
use crate::shell::owed;
use crate::shell::{Server, Store};

mod requests;

#[test]
fn only_who_has_the_token_is_heard() {
    let data = fresh("token");
    let server = start(&data);
    let mode = fs::metadata(data.join("admin-token")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let url = format!("http://{}/api/queues", server.http());
    let with = |token: Option<&str>| {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let mut request = ureq::Agent::new_with_config(config).get(&url);
        if let Some(token) = token {
            request = request.header("authorization", token);
        }
        let mut response = request.call().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
    };
    let token = format!("Bearer {}", fs::read_to_string(data.join("admin-token")).unwrap().trim());
    let (status, text) = with(None);
    assert!(status == 401 && text.contains("admin-token"), "{status} {text}");
    assert_eq!(with(Some("Bearer nonsense")).0, 401);
    assert_eq!(with(Some(&token[..token.len() - 1])).0, 401);
    assert_eq!(with(Some(&token.replace("Bearer", "Basic"))).0, 401);
    let refused = (0..40).map(|_| with(None).0).collect::<Vec<_>>();
    assert!(refused.contains(&429), "{refused:?}");
    let (status, text) = with(Some(&token));
    assert_eq!(status, 200, "{text}");
    let queues: Value = serde_json::from_str(&text).unwrap();
    let names = queues.as_array().unwrap().iter().map(|queue| queue["queue"].as_str().unwrap());
    assert_eq!(names.collect::<Vec<_>>(), ["support", "sales"]);
    assert_eq!(queues[1]["agents"], json!([{ "extension": "103", "state": "offline" }]));
    server.stop(|| false);
    let _ = fs::remove_dir_all(data);
}

#[test]
fn a_token_that_others_can_read_is_refused_and_one_that_is_right_is_kept() {
    let data = fresh("mode");
    let first = Token::open(&data).unwrap();
    assert!(Token::open(&data).unwrap().is(first.text()));
    let path = data.join("admin-token");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let error = Token::open(&data).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "{error}");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&path, "short\n").unwrap();
    let error = Token::open(&data).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("holds no token"), "{error}");
    let _ = fs::remove_dir_all(data);
}

/// What the description says and what is served are one list; this holds that the list is whole.
#[test]
fn the_description_lists_every_route() {
    let described = description(&routes());
    let mut listed = Vec::new();
    for (path, operations) in described["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let in_path = path.matches('{').count();
            let parameters = operation["parameters"].as_array().unwrap();
            let named = parameters.iter().filter(|parameter| parameter["in"] == "path").count();
            assert_eq!(in_path, named, "{method} {path}");
            listed.push(format!("{method} {path}"));
        }
    }
    let routes = routes();
    assert_eq!(listed.len(), routes.len(), "a path and method stands twice: {listed:?}");
    for route in routes {
        assert!(listed.contains(&format!("{} {}", route.method, route.path)));
    }
}

/// A12: whoever takes a promise back is told so when it is on disk. SC-16, SC-27, SC-33 by the API;
/// SC-32 without who it was.
#[test]
fn a_promise_is_listed_taken_back_and_gone() {
    let data = fresh("promise");
    promised(&data, &[(1, "+4930111"), (2, "+4930222")]);
    let offline = ServerArgs { data: data.clone(), url: None, is_json: true };
    let listed = owed::list(&offline).map_err(Refusal::text);
    // No server was ever started here; the journal speaks.
    assert_eq!(numbers(&listed.unwrap()), ["+4930111", "+4930222"]);

    let server = start(&data);
    let client = Client::of(&data, None).map_err(Refusal::text).unwrap();
    let get = |path: &str| client.ask("GET", path).map_err(Refusal::text);
    let list = get("/api/promises").unwrap();
    assert_eq!(numbers(&list), ["+4930111", "+4930222"]);
    assert_eq!((&list[0]["queue"], &list[0]["state"]), (&json!("support"), &json!("queued")));
    assert_eq!(numbers(&get("/api/promises?after=1").unwrap()), ["+4930222"]);
    assert_eq!(numbers(&get("/api/promises?limit=1").unwrap()), ["+4930111"]);
    assert!(get("/api/promises?limit=x").unwrap_err().contains("no whole number"));
    let queues = get("/api/queues").unwrap();
    assert_eq!(queues[0]["entries"][1]["promise"], 2);
    assert_eq!(queues[0]["callbacks"], 2);

    let taken = client.ask("DELETE", "/api/promises/1").map_err(Refusal::text).unwrap();
    assert_eq!(taken, json!({ "promise": 1, "end": "cancelled" }));
    assert!(matches!(client.ask("DELETE", "/api/promises/1"), Err(Refusal::Said(404, _))));
    assert!(matches!(client.ask("GET", "/api/promises/1"), Err(Refusal::Said(404, _))));
    assert!(matches!(client.ask("GET", "/api/promises/nonsense"), Err(Refusal::Said(404, _))));
    assert!(matches!(client.ask("GET", "/api/nonsense"), Err(Refusal::Said(404, _))));
    assert_eq!(numbers(&get("/api/promises").unwrap()), ["+4930222"]);
    assert_eq!(get("/api/queues").unwrap()[0]["callbacks"], 1, "its place is given up");
    let described = get("/api/openapi.json").unwrap();
    assert!(described["paths"]["/api/promises/{promise}"]["delete"].is_object());
    server.stop(|| false);

    assert_eq!(numbers(&owed::list(&offline).ok().unwrap()), ["+4930222"]);
    let shown = owed::show(1, &offline).ok().unwrap();
    assert_eq!(
        (&shown["state"], &shown["records"][1]["end"]),
        (&json!("ended"), &json!("cancelled"))
    );
    let refused = offline.ask("DELETE", "/api/promises/2").map_err(Refusal::text).unwrap_err();
    assert!(
        refused.contains("no server answers") && refused.contains("ringback serve"),
        "{refused}"
    );
    let _ = fs::remove_dir_all(data);
}

/// QC-01: the files are read again; one that is not sound changes nothing, and is named.
#[test]
fn flows_are_exchanged_and_unsound_ones_refused() {
    let data = fresh("reload");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = fs::read_to_string(root.join("flows/queue-callback.json")).unwrap();
    let file = data.join("flow.json");
    fs::write(&file, &shipped).unwrap();
    let server = start_file(&data, &file, |_| {});
    let client = Client::of(&data, None).map_err(Refusal::text).unwrap();
    let reload = || client.ask("POST", "/api/reload").map_err(Refusal::text);
    let queues = || {
        let queues = client.ask("GET", "/api/queues").map_err(Refusal::text).unwrap();
        let names = queues.as_array().unwrap().iter().map(|queue| queue["queue"].clone());
        names.collect::<Vec<_>>()
    };
    let version = |graph: &crate::flow::Graph| graph.version().to_string();
    let version_of = || {
        let checked = check_files(std::slice::from_ref(&file), &root.join("prompts"));
        checked.graphs.iter().map(version).collect::<Vec<_>>()
    };
    let (workflows, versions) = (["queue-callback"], version_of());
    let same = json!({ "workflows": workflows, "versions": versions, "came": [], "went": [] });
    assert_eq!(reload().unwrap(), same);
    let shown = client.ask("GET", "/api/queues").map_err(Refusal::text).unwrap();
    assert_eq!(shown[0]["flowVersion"], versions[0].as_str());

    fs::write(&file, shipped.replace("\"queueExtensions\": \"103\"", "\"queueExtensions\": \"\""))
        .unwrap();
    let refused = reload().unwrap_err();
    for words in ["(422)", "stay in force", "flow.json", "node `sales`", "`queueExtensions`"] {
        assert!(refused.contains(words), "{words} in {refused}");
    }
    assert_eq!(queues(), ["support", "sales"]);

    let other = shipped.replace("\"sales\"", "\"orders\"").replace("$('sales')", "$('orders')");
    fs::write(&file, other).unwrap();
    let exchanged = reload().unwrap();
    assert_eq!(exchanged["came"], json!(["queue orders of queue-callback"]));
    assert_eq!(exchanged["versions"], json!(version_of()));
    assert_ne!(version_of(), versions, "another flow, another version");
    assert!(exchanged["went"][0].as_str().unwrap().starts_with("queue sales of queue-callback"));
    assert_eq!(queues(), ["support", "orders"]);
    fs::remove_file(&file).unwrap();
    assert!(reload().unwrap_err().contains("flow.json"), "a file that is gone");
    assert_eq!(queues(), ["support", "orders"]);
    server.stop(|| false);
    let _ = fs::remove_dir_all(data);
}

/// Whom a webhook lets in is said by the credential of now.
#[test]
fn credentials_are_read_again_with_the_flows() {
    let data = fresh("credentials");
    let keep = |password: &str| {
        let credentials = Credentials::open(&data).unwrap();
        let login = json!({ "user": "me", "password": password });
        credentials.keep("door", "httpBasicAuth", &login);
        credentials.save(&data).unwrap();
    };
    keep("old");
    let file = data.join("flow.json");
    let hook = json!({
        "name": "Door", "type": "n8n-nodes-base.webhook", "typeVersion": 2,
        "parameters": { "path": "door", "authentication": "basicAuth" },
        "credentials": { "httpBasicAuth": { "id": "1", "name": "door" } },
    });
    let flow = json!({ "name": "doors", "nodes": [hook], "connections": {} });
    fs::write(&file, flow.to_string()).unwrap();
    let server = start_file(&data, &file, |_| {});
    let url = format!("http://{}/webhook/door", server.http());
    let status = |login: &str| {
        let config = ureq::Agent::config_builder().http_status_as_error(false).build();
        let request = ureq::Agent::new_with_config(config).get(&url);
        request.header("authorization", format!("Basic {login}")).call().unwrap().status().as_u16()
    };
    let (old, new) = ("bWU6b2xk", "bWU6bmV3");
    assert_eq!((status(old), status(new)), (200, 403));
    keep("new");
    assert_eq!((status(old), status(new)), (200, 403), "not before it is told");
    let client = Client::of(&data, None).map_err(Refusal::text).unwrap();
    client.ask("POST", "/api/reload").map_err(Refusal::text).unwrap();
    // The flows thread hears of it after signalling has answered.
    assert!((0..1000).any(|_| status(new) == 200), "the new password lets in");
    assert_eq!(status(old), 403);
    server.stop(|| false);
    let _ = fs::remove_dir_all(data);
}

/// A5: a number that was blocked after its callback was promised is not dialled any more.
#[test]
fn a_number_that_is_blocked_later_is_not_called_back() {
    let data = fresh("blocked");
    promised(&data, &[(1, "+4930111"), (2, "+4930222")]);
    let read = crate::config::read("[numbers]\nblocked = [\"+4930111\"]\n").unwrap();
    let server = start_with(&data, |settings| settings.blocked = read.blocked);
    let client = Client::of(&data, None).map_err(Refusal::text).unwrap();
    // The end is told when it is on disk.
    let clock = Clock::start();
    let open = loop {
        let open = client.ask("GET", "/api/promises").map_err(Refusal::text).unwrap();
        if numbers(&open).len() < 2 || clock.now() > Tick::from_millis(10_000) {
            break open;
        }
    };
    assert_eq!(numbers(&open), ["+4930222"]);
    let metrics = ureq::get(format!("http://{}/metrics", server.http())).call().unwrap();
    let metrics = metrics.into_body().read_to_string().unwrap();
    for line in [
        "ringback_promises_ended_total{end=\"cancelled\"} 1",
        "ringback_queue_waiting{queue=\"support\",flow=\"queue-callback\"} 1",
        "ringback_queue_offered_total{queue=\"support\",flow=\"queue-callback\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let why = client.ask("GET", "/api/entries/2/why").map_err(Refusal::text).unwrap();
    assert_eq!(why["steps"][0]["why"], "its promise is due: back at its place, as a callback");
    server.stop(|| false);
    let _ = fs::remove_dir_all(data);
}

fn numbers(promises: &Value) -> Vec<&str> {
    promises.as_array().unwrap().iter().map(|one| one["number"].as_str().unwrap()).collect()
}

/// A journal with these promises to callers of `support`.
fn promised(data: &Path, promises: &[(u64, &str)]) {
    let now_ms = u64::try_from(Clock::start().epoch_ms()).unwrap();
    let (store, _) = Store::open(data, Retention::STANDARD, now_ms, |_| {}).unwrap();
    for (promise, number) in promises {
        let record = Record::Promised {
            promise: PromiseId(*promise),
            queue: crate::call::queue_key("queue-callback", "support"),
            number: (*number).to_owned(),
            name: None,
            trunk: "external".to_owned(),
            place: Place { class: 1, enqueued_us: now_ms * 1000 + promise, sequence: *promise },
            made_ms: now_ms,
            expires_ms: now_ms + 86_400_000,
            request: None,
            override_hours: None,
        };
        store.write(*promise, record).unwrap();
    }
}

fn start(data: &Path) -> Server {
    start_with(data, |_| {})
}

fn start_with(data: &Path, change: impl FnOnce(&mut Settings)) -> Server {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    start_file(data, &root.join("flows/queue-callback.json"), change)
}

fn start_file(data: &Path, flow: &Path, change: impl FnOnce(&mut Settings)) -> Server {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut settings = Settings {
        sip: "127.0.0.1:0".parse().unwrap(),
        http: "127.0.0.1:0".parse().unwrap(),
        rtp: "127.0.0.1:39000-39099".parse().unwrap(),
        data: data.to_owned(),
        prompts: root.join("prompts"),
        ..Settings::default()
    };
    change(&mut settings);
    let checked = check_files(&[flow.to_owned()], &settings.prompts);
    Server::start(&settings, checked.graphs).unwrap()
}

fn fresh(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("ringback-admin-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).unwrap();
    path
}
