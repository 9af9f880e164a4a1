//! Helpers of the stories: phones, flows and prompts, the drawn ladder, and proof that nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use ringback::base::Tick;
use ringback::call::{Config, node};
use ringback::flow::{self, Graph};
use ringback::media::{Clip, ear};
use ringback::sim::{
    Meddling, Party, PartyIndex, Phone, PhoneEvent, Server, World, standard_config,
};
use ringback::sip::{Cause, Gauges};
use serde_json::{Value, json};

/// The caller, in every story.
pub(crate) const CALLER: PartyIndex = 0;
/// Whom it calls: the server, or another phone.
pub(crate) const CALLED: PartyIndex = 1;
/// After this long nothing of a call that is over may be left (64·T1 and what a BYE needs).
const REST: Duration = Duration::from_secs(40);

/// One golden scenario: a world, and the trace that its ladder is compared with.
pub(crate) struct Story {
    trace: &'static str,
    pub(crate) world: World,
}

impl Story {
    /// A phone calls the server, which runs this flow.
    pub(crate) fn with_server(trace: &'static str, flow: Graph) -> Self {
        Self::of(trace, vec![Party::Phone(Box::new(phone("phone", 2))), server(flow, |_| {})])
    }

    /// Two phones; the server has no part in it.
    pub(crate) fn with_phones(trace: &'static str, caller: Phone, called: Phone) -> Self {
        Self::of(trace, vec![Party::Phone(Box::new(caller)), Party::Phone(Box::new(called))])
    }

    /// Any parties.
    pub(crate) fn of(trace: &'static str, parties: Vec<Party>) -> Self {
        Self { trace, world: World::new(7, parties) }
    }

    /// The next messages of this name that a party sends are lost.
    pub(crate) fn lose(mut self, from: PartyIndex, what: &str, times: u32) -> Self {
        self.world.meddle(from, what, times, Meddling::Lose);
        self
    }

    /// The next message of this name that a party sends arrives twice, so much later.
    pub(crate) fn double(mut self, from: PartyIndex, what: &str, later_ms: u64) -> Self {
        let later = Duration::from_millis(later_ms);
        self.world.meddle(from, what, 1, Meddling::Double(later));
        self
    }

    /// The caller dials; it is the first to do so.
    pub(crate) fn dial(self) -> Self {
        self.dial_from(CALLER)
    }

    /// One of the phones dials.
    pub(crate) fn dial_from(mut self, from: PartyIndex) -> Self {
        self.world.with_phone(from, |phone, now| phone.call("hello", address(9), now));
        self
    }

    /// Lets time pass until so many milliseconds since the beginning.
    pub(crate) fn at(mut self, millis: u64) -> Self {
        let at = Tick::from_millis(millis);
        self.world.run_for(at - self.world.now());
        self
    }

    /// Lets time pass until the caller talks.
    pub(crate) fn talking(self) -> Self {
        self.until("both sides talk", |world| world.phone(CALLER).is_talking())
    }

    /// Lets time pass until the caller's call is over.
    pub(crate) fn ended(self, cause: Cause) -> Self {
        let expected = PhoneEvent::Ended(cause);
        self.until(&format!("the caller hears {cause:?}"), |world| {
            world.phone(CALLER).events().iter().any(|(_, event)| *event == expected)
        })
    }

    /// Lets time pass until something is so.
    pub(crate) fn until(mut self, what: &str, done: impl FnMut(&World) -> bool) -> Self {
        let deadline = self.world.now() + Duration::from_secs(100);
        let is_done = self.world.run_until(deadline, done);
        assert!(is_done, "it never came to this: {what}\n{}", self.world.ladder());
        self
    }

    /// A phone hangs up.
    pub(crate) fn hangup(self, index: PartyIndex) -> Self {
        self.note_of(index, "hangs up").act(index, Phone::hangup)
    }

    /// A phone does something.
    pub(crate) fn act(mut self, index: PartyIndex, act: impl FnOnce(&mut Phone, Tick)) -> Self {
        self.world.with_phone(index, act);
        self
    }

    /// A remark in the ladder.
    pub(crate) fn note(mut self, text: &str) -> Self {
        self.world.note(text);
        self
    }

    fn note_of(self, index: PartyIndex, does: &str) -> Self {
        let name = self.world.phone(index).name().to_owned();
        self.note(&format!("{name} {does}"))
    }

    /// The caller hears this prompt in what came since `from`, an index into what it has heard.
    pub(crate) fn hears(self, prompt: &str, from: usize) -> Self {
        let (clip, heard) = (clip(prompt), self.world.phone(CALLER).heard());
        // Four fifths of a second into the prompt, where somebody certainly speaks.
        let reference = &clip.samples()[4000..5600];
        let heard = &heard[from..heard.len().min(from + 9000)];
        let likeness = ear::find(heard, reference).map_or(0.0, |found| found.coefficient);
        assert!(likeness > 0.9, "{prompt} is heard, likeness {likeness}");
        self.note(&format!("phone hears {prompt}"))
    }

    /// The last message of this name that a party sent has this line.
    pub(crate) fn said(self, from: PartyIndex, what: &str, line: &str) -> Self {
        let message = self.world.last_message(from, what).unwrap_or_default();
        let has_line = message.lines().any(|said| said.starts_with(line));
        assert!(has_line, "`{line}` in the {what}:\n{message}");
        self.note(&format!("that {what} said {line}"))
    }

    /// The end of the story: time passes, nothing is left anywhere, the ladder is the golden one.
    pub(crate) fn end(mut self, phones: &[PartyIndex]) {
        self.world.run_for(REST);
        for index in phones {
            let gauges = self.world.phone(*index).gauges();
            assert_eq!(gauges, Gauges::default(), "left in phone:\n{}", self.world.ladder());
        }
        golden(self.trace, &self.world.ladder());
    }

    /// [`Self::end`] of a story with one phone and the server.
    pub(crate) fn end_with_server(self) {
        self.rest_of_server().end(&[CALLER]);
    }

    /// [`Self::end`] of a story of two phones.
    pub(crate) fn end_of_phones(self) {
        self.end(&[CALLER, CALLED]);
    }

    /// Time passes, and nothing is left in the server.
    pub(crate) fn rest_of_server(mut self) -> Self {
        self.world.run_for(REST);
        assert_server_at_rest(&mut self.world);
        self
    }
}

/// Nothing is left in the server of a world.
#[track_caller]
pub(crate) fn assert_server_at_rest(world: &mut World) {
    let ladder = world.ladder();
    assert_at_rest(world.server(), &ladder);
}

/// Nothing is left in a server: the one place that says what that means (A9, I10).
#[track_caller]
pub(crate) fn assert_at_rest(server: &Server, ladder: &str) {
    let (gauges, media, flows) = (server.gauges(), server.media_gauges(), server.flow_gauges());
    assert!(gauges.is_idle(), "left in the server: {gauges:?}\n{ladder}");
    let held = [media.legs, media.legs_bridged, media.players, media.reports];
    assert_eq!(held, [0; 4], "left in the media shard: {media:?}\n{ladder}");
    assert_eq!(media.reports_dropped, 0);
    assert_eq!((flows.runs, flows.timers), (0, 0), "left in the runner: {flows:?}\n{ladder}");
}

/// The SIP address of a host of the simulated loopback network.
pub(crate) fn address(host: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, host], 5060))
}

/// A phone at `127.0.0.HOST`.
pub(crate) fn phone(name: &str, host: u8) -> Phone {
    let audio = SocketAddr::new(address(host).ip(), 4000);
    Phone::new(name, address(host), audio, u64::from(host))
}

/// The server, at `127.0.0.9`, with one flow and the prompts of this repository.
pub(crate) fn server(flow: Graph, configure: impl FnOnce(&mut Config)) -> Party {
    let mut config = standard_config(address(9));
    configure(&mut config);
    let clips = ["hello.wav", "goodbye.wav"].map(|name| (name.to_owned(), clip(name)));
    let server = Server::new(address(9), config, vec![flow], BTreeMap::from(clips), 1);
    Party::Server(Box::new(server))
}

/// The smallest flow that is shipped.
pub(crate) fn hello() -> Graph {
    let text = fs::read_to_string(root().join("flows/hello.json")).unwrap();
    flow_text(&text)
}

/// A flow of a trunk trigger and these operations, one after the other by their first outputs.
pub(crate) fn chain(operations: &[(&str, Value)]) -> Graph {
    let mut nodes = vec![json!({
        "name": "line", "type": "n8n-nodes-sip-pbx.sipPbxTrigger", "typeVersion": 1,
        "parameters": { "triggerOn": "trunk", "ref": "line", "trunkUseRegistration": false },
    })];
    let mut connections = serde_json::Map::new();
    let mut last = "line".to_owned();
    for (operation, more) in operations {
        let resource = operation.split('.').next().unwrap();
        let mut parameters = json!({ "resource": resource, "operation": operation });
        parameters.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        let name = format!("{operation} {}", nodes.len());
        nodes.push(json!({
            "name": name, "type": "n8n-nodes-sip-pbx.sipPbx", "typeVersion": 1,
            "parameters": parameters,
        }));
        let edge = json!({ "node": name, "type": "main", "index": 0 });
        connections.insert(last, json!({ "main": [[edge]] }));
        last = name;
    }
    let settings = json!({ "executionOrder": "v1" });
    let document = json!({
        "name": "story", "nodes": nodes, "connections": connections, "settings": settings,
    });
    flow_text(&document.to_string())
}

/// A flow that answers and waits for so many seconds, whatever happens.
pub(crate) fn answer_and_wait(seconds: u32) -> Graph {
    chain(&[("call.answer", json!({})), ("call.wait", json!({ "timeoutSeconds": seconds }))])
}

/// The flow that a text describes.
pub(crate) fn flow_text(text: &str) -> Graph {
    let document = flow::read(text, "story.json").unwrap().remove(0);
    let (graph, problems) = flow::check(&document, &node::catalogue());
    graph.unwrap_or_else(|| panic!("{problems:?}"))
}

/// A prompt of this repository.
pub(crate) fn clip(name: &str) -> Arc<Clip> {
    PROMPTS[name].clone()
}

/// Every prompt by the name that flows give it.
pub(crate) fn prompts() -> BTreeMap<String, Arc<Clip>> {
    PROMPTS.clone()
}

/// Read once for all stories: to encode them takes longer than to play most.
static PROMPTS: LazyLock<BTreeMap<String, Arc<Clip>>> = LazyLock::new(|| {
    let files = fs::read_dir(root().join("prompts")).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: PathBuf| {
        let clip = Clip::from_wav(&fs::read(&path).unwrap()).unwrap();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), Arc::new(clip))
    };
    files.filter(|path| path.extension().is_some_and(|kind| kind == "wav")).map(read).collect()
});

/// A flow as it is shipped; it is checked once for all stories.
pub(crate) fn flow_file(name: &str) -> Graph {
    static CHECKED: Mutex<BTreeMap<String, Graph>> = Mutex::new(BTreeMap::new());
    let mut checked = CHECKED.lock().unwrap();
    let check = || {
        let text = fs::read_to_string(root().join("flows").join(name)).unwrap();
        let documents = flow::read(&text, name).unwrap();
        let (graph, problems) = flow::check(&documents[0], &node::catalogue());
        graph.unwrap_or_else(|| panic!("{problems:?}"))
    };
    checked.entry(name.to_owned()).or_insert_with(check).clone()
}

/// Compares a text with `sip-test/traces/NAME.txt`; with `BLESS=1` it is written there instead.
pub(crate) fn golden(name: &str, text: &str) {
    golden_file(&root().join("sip-test/traces").join(format!("{name}.txt")), text);
}

/// Compares a text with a file; with `BLESS=1` it is written there instead.
pub(crate) fn golden_file(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        return fs::write(path, text).unwrap();
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let file = path.display();
    assert!(
        text == expected,
        "{file}\n-- expected:\n{expected}\n-- it was (BLESS=1 writes this):\n{text}"
    );
}

/// Where the package lies.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
