//! A copy of the shipped flow in which only numbers of seconds are smaller, so that nobody has to
//! watch music play.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What is shortened: key and value by which a node is known, the number's place, its seconds.
const SHORTER: [(&str, &str, &str, u32); 3] = [
    ("/name", "wait_music_loop", "/parameters/timeoutSeconds", 5),
    ("/name", "wait_customer", "/parameters/dialTimeoutSeconds", 6),
    ("/parameters/operation", "queue.putLeg", "/parameters/options/retryPauseSeconds", 3),
];

/// What the copy differs in, for people.
pub(super) const IN_WORDS: &str = "music loop 30 -> 5 s (wait_music_loop), \
     customer rings 25 -> 6 s (wait_customer), pause before a retry 30 -> 3 s (queue.putLeg)";

/// Writes the shorter copy into a directory.
pub(super) fn write(flow: &Path, directory: &Path) -> Result<PathBuf, String> {
    let text = fs::read_to_string(flow).map_err(|error| format!("{}: {error}", flow.display()))?;
    let copy = shorten(&text).map_err(|why| format!("{}: {why}", flow.display()))?;
    let path = directory.join("queue-callback.json");
    fs::create_dir_all(directory)
        .and_then(|()| fs::write(&path, copy))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn shorten(text: &str) -> Result<String, String> {
    let mut document: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let nodes = document.get_mut("nodes").and_then(Value::as_array_mut);
    let nodes = nodes.ok_or("no list of nodes")?;
    for (key, value, place, seconds) in SHORTER {
        let is_meant = |node: &&mut Value| node.pointer(key).and_then(Value::as_str) == Some(value);
        let mut count = 0;
        for node in nodes.iter_mut().filter(is_meant) {
            let (parent, last) = place.rsplit_once('/').expect("a place has a parent");
            let parent = node.pointer_mut(parent).and_then(Value::as_object_mut);
            let parent = parent.ok_or_else(|| format!("{value}: nothing at {place}"))?;
            parent.insert(last.to_owned(), seconds.into());
            count += 1;
        }
        if count == 0 {
            return Err(format!("no node with {key} = {value}"));
        }
    }
    Ok(document.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_seconds_differ_from_the_shipped_flow() {
        let shipped = include_str!("../../../flows/queue-callback.json");
        let mut copy: Value = serde_json::from_str(&shorten(shipped).unwrap()).unwrap();
        let shipped: Value = serde_json::from_str(shipped).unwrap();
        let nodes = shipped["nodes"].as_array().unwrap().iter();
        let pairs = nodes.zip(copy["nodes"].as_array_mut().unwrap());
        let mut changed = 0;
        for (before, after) in pairs.filter(|(before, after)| before != after) {
            changed += 1;
            for (_, _, place, _) in SHORTER {
                let (parent, last) = place.rsplit_once('/').unwrap();
                let Some(place) = after.pointer_mut(parent).and_then(Value::as_object_mut) else {
                    continue;
                };
                match before.pointer(parent).and_then(|parent| parent.get(last)) {
                    Some(seconds) => drop(place.insert(last.to_owned(), seconds.clone())),
                    None => drop(place.shift_remove(last)),
                }
            }
            assert_eq!(before, after);
        }
        assert_eq!(changed, 4, "two waits and the two ways into a queue");
        assert_eq!(copy, shipped);
    }

    #[test]
    fn a_flow_without_these_nodes_is_refused() {
        for text in ["", "{}", r#"{"nodes": []}"#, r#"{"nodes": [{"name": "wait_music_loop"}]}"#] {
            assert!(shorten(text).is_err(), "{text}");
        }
    }
}
