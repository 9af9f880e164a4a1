//! The torture messages of RFC 4475 and RFC 5118: each is accepted or refused as its manifest wants.

use std::fs;
use std::path::Path;

use ringback::sip::Message;
use serde_json::Value;

#[test]
fn every_message_gets_the_verdict_it_wants() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/conformance/torture");
    let Ok(manifest) = fs::read(folder.join("manifest.json")) else {
        return println!("skipped: {} is absent", folder.display());
    };
    let manifest: Vec<Value> = serde_json::from_slice(&manifest).unwrap();
    let mut wrong = Vec::new();
    for entry in &manifest {
        let file = entry["file"].as_str().unwrap();
        let bytes = fs::read(folder.join(file)).unwrap();
        let verdict = Message::parse(&bytes).map(|message| message.validate());
        let wanted = entry["uas_expect"].as_array().unwrap();
        let wants = |status: u16| wanted.iter().any(|one| *one == status);
        let drops = wanted.iter().any(|one| one == "drop");
        // Statuses that only the one who is asked can give, by dial plan, user or extension.
        let is_sound_enough = wanted.iter().any(|one| one != 400 && one != 505);
        let is_right = match verdict {
            Ok(Ok(())) => is_sound_enough,
            Ok(Err(flaw)) => drops || wants(flaw.status()),
            Err(_) => drops,
        };
        if !is_right {
            wrong.push(format!("{file}: {verdict:?}, wanted {wanted:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), manifest.len(), wrong.join("\n"));
}
