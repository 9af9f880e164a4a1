//! Promises that are asked for over HTTP (A6).

use std::thread;

use super::*;

/// Asks for a promise: status and answer.
fn post(server: &Server, data: &Path, key: Option<&str>, body: &str) -> (u16, Value) {
    let token = fs::read_to_string(data.join("admin-token")).unwrap();
    let config = ureq::Agent::config_builder().http_status_as_error(false).build();
    let url = format!("http://{}/api/promises", server.http());
    let mut request = ureq::Agent::new_with_config(config).post(&url);
    request = request.header("authorization", format!("Bearer {}", token.trim()));
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    let mut response = request.send(body).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    (response.status().as_u16(), serde_json::from_str(&text).unwrap())
}

const AL: &str = r#"{"queue": "support", "number": "+4930111"}"#;
const BO: &str = r#"{"queue": "support", "number": "+4930222"}"#;

/// A6, SM-30: the same key is the same promise, while it is open, after it has ended, and after a
/// restart; with other arguments it is a conflict.
#[test]
fn a_request_that_comes_again_is_answered_alike() {
    let data = fresh("request");
    let server = start(&data);
    let (status, made) = post(&server, &data, Some("order-1"), AL);
    assert_eq!(status, 201, "{made}");
    let shown = ["promise", "queue", "number", "trunk", "merged"].map(|name| made[name].clone());
    let expected = [json!(1), json!("support"), json!("+4930111"), json!("external"), json!(false)];
    assert_eq!(shown, expected);
    let again = |server: &Server| {
        let (status, again) = post(server, &data, Some("\"order-1\""), AL);
        assert_eq!((status, &again["promise"], &again["merged"]), (200, &json!(1), &json!(false)));
        let (status, other) = post(server, &data, Some("order-1"), BO);
        assert!(status == 409 && other["error"].as_str().unwrap().contains("other arguments"));
        again
    };
    again(&server);
    let (status, merged) = post(&server, &data, Some("order-2"), AL);
    assert_eq!((status, &merged["promise"], &merged["merged"]), (200, &json!(1), &json!(true)));
    let client = Client::of(&data, None).map_err(Refusal::text).unwrap();
    assert_eq!(numbers(&client.ask("GET", "/api/promises").ok().unwrap()), ["+4930111"]);
    client.ask("DELETE", "/api/promises/1").map_err(Refusal::text).unwrap();
    assert_eq!(again(&server)["state"], "ended");
    server.stop(|| false);

    let server = start(&data);
    assert_eq!(again(&server)["state"], "ended");
    // The command's way: the promise that follows has the next number.
    let body: Value = serde_json::from_str(BO).unwrap();
    let client = Client::of(&data, None).map_err(Refusal::text).unwrap();
    let made = client.post("/api/promises", "order-3", &body).map_err(Refusal::text).unwrap();
    assert_eq!(made["promise"], 2);
    server.stop(|| false);
    let _ = fs::remove_dir_all(data);
}

/// A6, SM-30: the process dies between the effect and the answer; the journal has the promise, and
/// whoever asks again gets it.
#[test]
fn a_request_whose_answer_was_lost_finds_its_promise() {
    let data = fresh("request-kill");
    let server = start(&data);
    assert_eq!(post(&server, &data, Some("order-1"), AL).0, 201);
    // What a kill leaves behind: the files as they are, with nothing closed.
    let after = fresh("request-after-kill");
    for file in ["ringback.db", "ringback.db-wal"] {
        fs::copy(data.join(file), after.join(file)).unwrap();
    }
    server.stop(|| false);
    let server = start(&after);
    let (status, again) = post(&server, &after, Some("order-1"), AL);
    assert_eq!((status, &again["promise"]), (200, &json!(1)), "{again}");
    let client = Client::of(&after, None).map_err(Refusal::text).unwrap();
    assert_eq!(numbers(&client.ask("GET", "/api/promises").ok().unwrap()), ["+4930111"]);
    server.stop(|| false);
    for directory in [data, after] {
        let _ = fs::remove_dir_all(directory);
    }
}

/// A6, SM-30: of many that come at once with one key, one makes the promise, and all are told of
/// it.
#[test]
fn requests_at_once_make_one_promise() {
    let data = fresh("request-once");
    let server = start(&data);
    let mut told = thread::scope(|scope| {
        let ask = || post(&server, &data, Some("order-1"), AL);
        let asking = (0..8).map(|_| scope.spawn(ask)).collect::<Vec<_>>();
        asking.into_iter().map(|one| one.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(told.iter().all(|(_, promise)| promise["promise"] == 1), "{told:?}");
    told.sort_by_key(|(status, _)| *status);
    let statuses = told.iter().map(|(status, _)| *status).collect::<Vec<_>>();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 201]);
    server.stop(|| false);
    let _ = fs::remove_dir_all(data);
}

/// What cannot be promised is refused with its reason, and leaves no key behind. A5: a blocked
/// number. SC-25: a trunk that is not there. SM-28: arguments that are wrong or unknown.
#[test]
fn a_request_that_cannot_be_kept_is_refused_with_its_reason() {
    let data = fresh("request-refused");
    let text = "
        [numbers]
        blocked = ['+4930999']
        [queue.support]
        number_day = 1
        [queue.sales]
        callbacks = false
        [trunk.external]
        deny = ['+4940']
    ";
    let read = crate::config::read(text).unwrap();
    let server = start_with(&data, |settings| {
        (settings.blocked, settings.queues, settings.trunks) =
            (read.blocked, read.queues, read.trunks);
    });
    let check = |key: Option<&str>, body: &str, status: u16, says: &str| {
        let (given, answer) = post(&server, &data, key, body);
        let error = answer["error"].as_str().unwrap();
        assert!(given == status && error.contains(says), "{body}: {given} {error}");
    };
    let long = "x".repeat(65);
    for key in [None, Some(""), Some("two words"), Some(long.as_str())] {
        check(key, AL, 400, "Idempotency-Key");
    }
    let key = Some("k");
    check(key, "{", 400, "send a JSON object");
    check(key, r#"{"queue": "support"}"#, 400, "missing field `number`");
    check(key, r#"{"queue": "support", "number": "1", "when": "now"}"#, 400, "`when`");
    check(key, r#"{"queue": "suport", "number": "+4930111"}"#, 404, "support, sales");
    check(key, r#"{"queue": "support", "number": "+49 30"}"#, 422, "2 to 32 digits");
    check(key, r#"{"queue": "support", "number": "+4930999"}"#, 403, "numbers.blocked");
    check(key, r#"{"queue": "support", "number": "+881612345"}"#, 403, "[queue.REF]");
    check(key, r#"{"queue": "support", "number": "+4940123"}"#, 403, "[trunk.REF]");
    check(key, r#"{"queue": "sales", "number": "+4930111"}"#, 403, "promises no callbacks");
    let other = r#"{"queue": "support", "number": "+4930111", "trunk": "other"}"#;
    check(key, other, 422, "there are external");
    let whole = r#"{"queue": "queue-callback/support", "number": "+4930111", "trunk": "external"}"#;
    assert_eq!(post(&server, &data, key, whole).0, 201, "the key was never used");
    let client = Client::of(&data, None).map_err(Refusal::text).unwrap();
    client.ask("DELETE", "/api/promises/1").map_err(Refusal::text).unwrap();
    check(Some("l"), AL, 429, "for today");
    server.stop(|| false);
    let _ = fs::remove_dir_all(data);
}

/// A5, SM-33: what is asked for outside the hours waits for them, and says until when; an exception
/// with its reason does not wait, and stands in the journal. SM-29: so does the key.
#[test]
fn hours_hold_for_requests_and_exceptions_are_written_down() {
    let data = fresh("request-hours");
    // Open on one day of the week, which is neither today nor tomorrow.
    let days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    let today = (Clock::start().epoch_ms() / 86_400_000 + 3) as usize;
    let day = days[(today + 3) % 7];
    let text = format!("[queue.support]\nhours = ['{day} 08:00-20:00']\nzone = 'Europe/Berlin'\n");
    let read = crate::config::read(&text).unwrap();
    let server = start_with(&data, |settings| settings.queues = read.queues);
    assert_eq!(post(&server, &data, Some("a"), AL).0, 201);
    let client = Client::of(&data, None).map_err(Refusal::text).unwrap();
    let shown = |path: &str| client.ask("GET", path).map_err(Refusal::text).unwrap();
    // Made, and then looked at: it is due at once, and the hours say no.
    let clock = Clock::start();
    while shown("/api/promises/1")["state"] != "closed" {
        assert!(clock.now() < Tick::from_millis(10_000), "{}", shown("/api/promises/1"));
    }
    let promise = shown("/api/promises/1");
    let until = promise["outsideHoursUntil"].as_str().unwrap();
    assert!(until.starts_with(day) && until.ends_with("08:00 Europe/Berlin"), "{until}");
    let why = shown("/api/entries/1/why");
    let said = why["steps"][0]["why"].as_str().unwrap();
    assert_eq!(said, format!("now not offered: outside hours until {until}"));
    let asked = r#"{"queue": "support", "number": "+4930222", "override_hours": "asked by mail"}"#;
    assert_eq!(post(&server, &data, Some("b"), asked).0, 201);
    while shown("/api/promises/2")["state"] != "queued" {
        assert!(clock.now() < Tick::from_millis(10_000), "{}", shown("/api/promises/2"));
    }
    assert_eq!(shown("/api/promises/2")["overrideHours"], "asked by mail");
    server.stop(|| false);
    let offline = ServerArgs { data: data.clone(), url: None, is_json: true };
    let records = owed::show(2, &offline).ok().unwrap()["records"].clone();
    assert_eq!(records[0]["override_hours"], "asked by mail");
    assert_eq!(records[0]["request"]["key"], "b");
    let _ = fs::remove_dir_all(data);
}
