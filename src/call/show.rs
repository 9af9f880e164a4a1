//! Call records as text, for people: a list of calls, and one call with its ladder and its path.

use std::fmt::Write as _;

use serde_json::Value;

use crate::base::Tick;
use crate::sip::Ladder;

/// Characters of a number or name in a list.
const NUMBER_WIDTH: usize = 20;

/// A line for each call, in the order given.
pub fn list(calls: &[Value]) -> String {
    let mut text = format!(
        "{:<18} {:<24} {:<NUMBER_WIDTH$} {:<NUMBER_WIDTH$} {:>9} {:>4}  {}\n",
        "call", "began", "from", "to", "lasted", "legs", "flow"
    );
    for call in calls {
        let lasted = match (call.get("ended"), call["lastedMs"].as_u64()) {
            (Some(_), Some(lasted)) => seconds(lasted),
            _ if call.get("answered").is_some() => "talking".to_owned(),
            _ => "ringing".to_owned(),
        };
        let _ = writeln!(
            text,
            "{:<18} {:<24} {:<NUMBER_WIDTH$} {:<NUMBER_WIDTH$} {lasted:>9} {:>4}  {}{}",
            plain(&call["call"]),
            plain(&call["began"]),
            shortened(&plain(&call["from"])),
            shortened(&plain(&call["to"])),
            call["legs"].as_array().map_or(0, Vec::len),
            plain(&call["flow"]),
            errors(call),
        );
    }
    text
}

/// Everything about one call: its record, then those of its legs.
pub fn show(records: &[Value]) -> String {
    let (calls, mut legs): (Vec<&Value>, Vec<&Value>) =
        records.iter().partition(|record| record["record"] == "call");
    // They were written down as they ended.
    legs.sort_by_key(|leg| (plain(&leg["began"]), plain(&leg["leg"])));
    let began = calls.first().or(legs.first()).map(|record| &record["began"]);
    let began = began.and_then(millis_of).unwrap_or_default();
    let mut text = String::new();
    for call in &calls {
        let _ = writeln!(text, "call {}, flow {}", plain(&call["call"]), plain(&call["flow"]));
        let _ = writeln!(text, "  began {}", plain(&call["began"]));
        for word in ["answered", "ended"] {
            if let Some(at) = call.get(word).and_then(millis_of) {
                let _ = writeln!(text, "  {word} after {}", seconds(at.saturating_sub(began)));
            }
        }
        if let Some(continues) = call.get("continues") {
            let _ = writeln!(text, "  continues call {}", plain(continues));
        }
        if call.get("errors").is_some() {
            let _ = writeln!(text, "  errors{}", errors(call));
        }
    }
    for leg in &legs {
        text.push_str(&leg_text(leg));
    }
    text.push('\n');
    text.push_str(&ladder(&legs, began));
    for call in &calls {
        text.push('\n');
        text.push_str(&path(call, began));
    }
    text
}

fn leg_text(leg: &Value) -> String {
    let mut text = format!(
        "{}, {} {} {}from {} to {}\n  {} {}",
        plain(&leg["leg"]),
        plain(&leg["direction"]),
        plain(&leg["kind"]),
        leg["ref"]
            .as_str()
            .filter(|one| !one.is_empty())
            .map_or_else(String::new, |_| { format!("{} ", plain(&leg["ref"])) }),
        named(&leg["from"]),
        named(&leg["to"]),
        plain(&leg["transport"]),
        plain(&leg["peer"]),
    );
    for (key, word) in [("codec", ""), ("reason", "ended: "), ("status", "status ")] {
        if let Some(value) = leg.get(key) {
            let _ = write!(text, ", {word}{}", plain(value));
        }
    }
    if let Some(talked) = leg["talkedMs"].as_u64() {
        let _ = write!(text, ", talked {}", seconds(talked));
    }
    text.push('\n');
    if let Some(audio) = leg.get("audio") {
        let _ = write!(
            text,
            "  heard {} packets, lost {} ({} %), jitter {} ms",
            audio["received"], audio["lost"], audio["lossPercent"], audio["jitterMs"]
        );
        for (key, word) in
            [("mos", "MOS"), ("remoteMos", "MOS there"), ("roundTripMs", "ms around")]
        {
            if let Some(value) = audio.get(key) {
                let _ = write!(text, ", {word} {value}");
            }
        }
        text.push('\n');
    }
    text
}

/// The messages of all legs: who called first stands on the left of the server.
fn ladder(legs: &[&Value], began: u64) -> String {
    let far_side = |leg: &&Value| {
        let (key, unknown) =
            if leg["direction"] == "inbound" { ("from", "caller") } else { ("to", "called") };
        let name = plain(&leg[key]);
        shortened(if name.is_empty() { unknown } else { &name })
    };
    let has_caller = legs.first().is_some_and(|leg| leg["direction"] == "inbound");
    let ours = usize::from(has_caller);
    let mut parties = legs.iter().map(far_side).collect::<Vec<_>>();
    parties.insert(ours, "ringback".to_owned());
    let mut ladder = Ladder::new(&parties);
    for (place, leg) in legs.iter().enumerate() {
        let column = if place < ours { place } else { place + 1 };
        for row in leg["messages"].as_array().map_or(&[][..], Vec::as_slice) {
            let at = Tick::from_millis(row[0].as_u64().unwrap_or_default().saturating_sub(began));
            let (from, to) = if row[1] == "in" { (column, ours) } else { (ours, column) };
            ladder.labelled(at, Some(at), from, to, &plain(&row[2]));
        }
        if let Some(count) = leg["messagesLeftOut"].as_u64() {
            let at = leg.get("ended").and_then(millis_of).unwrap_or(began);
            let at = Tick::from_millis(at.saturating_sub(began));
            ladder.note(at, &format!("{count} more messages of {}", plain(&leg["leg"])));
        }
    }
    ladder.render()
}

fn path(call: &Value, began: u64) -> String {
    let mut text = "              run  node\n".to_owned();
    for visit in call["path"].as_array().map_or(&[][..], Vec::as_slice) {
        let at = Tick::from_millis(visit["at"].as_u64().unwrap_or_default().saturating_sub(began));
        let (at, run) = (at.to_string(), visit["run"].to_string());
        let _ = write!(text, "{at:>13} {run:>3}  {}", plain(&visit["node"]));
        let outputs = visit["outputs"].as_array().map_or(&[][..], Vec::as_slice);
        if !outputs.is_empty() {
            let labels = outputs.iter().map(plain).collect::<Vec<_>>().join(", ");
            let _ = write!(text, " → {labels}");
        }
        if let Some(error) = visit.get("error") {
            let _ = write!(text, " ✕ {}", plain(error));
        }
        text.push('\n');
    }
    if let Some(count) = call["visitsLeftOut"].as_u64() {
        let _ = writeln!(text, "              … {count} visits in the middle are not kept");
    }
    text
}

fn errors(call: &Value) -> String {
    let codes = call["errors"].as_array().map_or(&[][..], Vec::as_slice);
    codes.iter().map(|code| format!(" ✕ {}", plain(code))).collect()
}

/// A text without what could move the cursor of a terminal; nothing for what is no text.
/// A value as a terminal may show it: without control characters.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.chars().filter(|c| !c.is_control()).collect(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

fn named(number: &Value) -> String {
    Some(plain(number)).filter(|one| !one.is_empty()).unwrap_or_else(|| "nobody named".to_owned())
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= NUMBER_WIDTH {
        return text.to_owned();
    }
    text.chars().take(NUMBER_WIDTH - 1).chain(['…']).collect()
}

fn seconds(millis: u64) -> String {
    format!("{}.{} s", millis / 1000, millis % 1000 / 100)
}

fn millis_of(time: &Value) -> Option<u64> {
    let time = time.as_str()?.parse::<jiff::Timestamp>().ok()?;
    u64::try_from(time.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_with_holes_and_control_characters_are_shown_all_the_same() {
        let odd = json!({ "record": "leg", "from": "\u{1b}[31mevil\r\n", "messages": [[1], 7] });
        let text = show(&[odd, json!({ "record": "call" }), json!(null)]);
        assert!(text.contains("[31mevil") && !text.contains('\u{1b}'), "{text}");
        assert_eq!(list(&[json!({}), json!({ "call": 7 })]).lines().count(), 3);
        assert_eq!(show(&[]).lines().count(), 2);
    }
}
