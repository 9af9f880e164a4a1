//! The message ladder: one picture of a call for tests, for `ringback demo` and for operations.
//!
//! The same messages at the same ticks give the same bytes: tags, branches and Call-IDs, which are
//! drawn at random, are shown by the order in which they appear.

use std::fmt::Write;

use super::message::{Message, Start};
use super::name::Name;
use super::reason::reason_phrase;
use super::text::Split;
use crate::base::Tick;

/// Rows one ladder holds; what comes later is counted, and the last line says so.
pub const ROWS_MAX: usize = 10_000;

/// Messages between two to six parties, and notes.
#[derive(Clone, Debug)]
pub struct Ladder {
    parties: Vec<String>,
    shown: Vec<Name>,
    rows: Vec<Row>,
    left_out: usize,
}

#[derive(Clone, Debug)]
struct Row {
    at: Tick,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Message { arrived: Option<Tick>, from: usize, to: usize, label: String, headers: Vec<Header> },
    Note(String),
}

/// A header to show, as it was sent.
#[derive(Clone, Debug)]
struct Header {
    name: Name,
    value: String,
}

impl Ladder {
    /// An empty ladder between these parties, left to right.
    ///
    /// # Panics
    /// When there are fewer than two or more than six.
    pub fn new(parties: &[&str]) -> Self {
        assert!((2..=6).contains(&parties.len()), "a ladder stands between two to six parties");
        let parties = parties.iter().map(|party| (*party).to_owned()).collect();
        Self { parties, shown: Vec::new(), rows: Vec::new(), left_out: 0 }
    }

    /// Shows these headers of every message at the end of its line.
    pub fn showing(mut self, headers: &[Name]) -> Self {
        self.shown = headers.to_vec();
        self
    }

    /// A message on its way; `arrived` is `None` when it was lost.
    ///
    /// # Panics
    /// When `from` and `to` are not two of the parties.
    pub fn message(
        &mut self,
        sent: Tick,
        arrived: Option<Tick>,
        from: usize,
        to: usize,
        bytes: &[u8],
    ) {
        let is_between = from != to && from.max(to) < self.parties.len();
        assert!(is_between, "a message goes from one party to another");
        let (label, headers) = match Message::parse(bytes) {
            Ok(message) => (label_of(&message), self.headers_of(&message)),
            Err(_) => (format!("{} bytes", bytes.len()), Vec::new()),
        };
        self.push(Row { at: sent, what: What::Message { arrived, from, to, label, headers } });
    }

    /// Something that happened besides messages.
    pub fn note(&mut self, at: Tick, text: impl Into<String>) {
        self.push(Row { at, what: What::Note(text.into()) });
    }

    /// The picture, a line each, by time sent.
    pub fn render(&self) -> String {
        let mut rows: Vec<_> = self.rows.iter().collect();
        rows.sort_by_key(|row| row.at);
        let mut aliases = Aliases::default();
        let mut picture = self.head();
        for row in rows {
            let line = match &row.what {
                What::Message { arrived, from, to, label, headers } => {
                    let mut line = self.arrow(*from, *to, arrived.is_some(), label);
                    line.push_str(&delay(row.at, *arrived));
                    for Header { name, value } in headers {
                        append(
                            &mut line,
                            format_args!("  {name}: {}", aliases.in_place(*name, value)),
                        );
                    }
                    line
                }
                What::Note(text) => format!("* {text}"),
            };
            append(&mut picture, format_args!("{:>12} {}\n", row.at.to_string(), line.trim_end()));
        }
        if self.left_out > 0 {
            append(&mut picture, format_args!("{:>12} * and {} more\n", "", self.left_out));
        }
        picture
    }

    fn push(&mut self, row: Row) {
        if self.rows.len() < ROWS_MAX { self.rows.push(row) } else { self.left_out += 1 }
    }

    fn headers_of(&self, message: &Message<'_>) -> Vec<Header> {
        let shown = self.shown.iter().flat_map(|name| message.fields_of(*name));
        let header = |value: &[u8]| String::from_utf8_lossy(value).escape_debug().to_string();
        shown
            .map(|field| Header {
                name: field.name,
                value: header(&field.value).replace("\\\"", "\""),
            })
            .collect()
    }

    /// Every name over its line: the first begins there, the last ends there.
    fn head(&self) -> String {
        let gaps = self.parties.len() - 1;
        let mut head = String::new();
        for (number, party) in self.parties.iter().enumerate() {
            let length = party.chars().count();
            let start = (MARGIN + number * (GAP + 1)).saturating_sub(length * number / gaps);
            let used = head.chars().count();
            let blanks = start.saturating_sub(used).max(usize::from(number > 0));
            append(&mut head, format_args!("{:blanks$}{party}", ""));
        }
        head.push('\n');
        head
    }

    fn arrow(&self, from: usize, to: usize, has_arrived: bool, label: &str) -> String {
        let (left, right) = (from.min(to), from.max(to));
        let width = (right - left) * (GAP + 1) - 1;
        let direction = if from < to { Direction::Right } else { Direction::Left };
        let label = shorten(label, GAP - 3);
        let shaft = if has_arrived {
            arrived_shaft(&label, direction, width)
        } else {
            lost_shaft(&label, direction, width)
        };
        let mut line = "|".to_owned();
        for gap in 0..self.parties.len() - 1 {
            if gap == left {
                append(&mut line, format_args!("{shaft}|"));
            } else if !(left..right).contains(&gap) {
                append(&mut line, format_args!("{:GAP$}|", ""));
            }
        }
        line
    }
}

/// Columns before the first line: the time and a blank.
const MARGIN: usize = 13;

/// Columns between two lines.
const GAP: usize = 25;

#[derive(Clone, Copy)]
enum Direction {
    Right,
    Left,
}

fn arrived_shaft(label: &str, direction: Direction, width: usize) -> String {
    let shaft = format!("{label:─^0$}", width - 1);
    match direction {
        Direction::Right => format!("{shaft}▶"),
        Direction::Left => format!("◀{shaft}"),
    }
}

/// A lost message has no head: it starts at its sender and ends on the way.
fn lost_shaft(label: &str, direction: Direction, width: usize) -> String {
    let length = (width * 3 / 5 - 1).max(label.chars().count() + 1);
    match direction {
        Direction::Right => format!("{:<width$}", format!("{label:─<length$}✕")),
        Direction::Left => format!("{:>width$}", format!("✕{label:─>length$}")),
    }
}

fn label_of(message: &Message<'_>) -> String {
    match &message.start {
        Start::Request { method, .. } => method.as_str().to_owned(),
        Start::Response { status, reason: b"" } => format!("{status} {}", reason_phrase(*status)),
        Start::Response { status, reason } => {
            let reason = String::from_utf8_lossy(reason);
            format!("{status} {}", reason.replace(char::is_control, " "))
        }
    }
}

fn shorten(label: &str, length_max: usize) -> String {
    if label.chars().count() <= length_max {
        return label.to_owned();
    }
    label.chars().take(length_max - 1).chain(['…']).collect()
}

/// How long a message was under way, when it is worth saying.
fn delay(sent: Tick, arrived: Option<Tick>) -> String {
    match arrived.map(|arrived| (arrived - sent).as_millis()) {
        Some(millis) if millis >= 1 => format!(" +{millis}ms"),
        Some(_) | None => String::new(),
    }
}

/// Random values in order of appearance.
#[derive(Default)]
struct Aliases {
    tags: Vec<String>,
    branches: Vec<String>,
    call_ids: Vec<String>,
}

impl Aliases {
    /// A header value with its random parts named.
    fn in_place(&mut self, name: Name, value: &str) -> String {
        if name == Name::CallId {
            return number_of(&mut self.call_ids, "call", value);
        }
        let values = Split::list(value).map(|one| self.in_params(one)).collect::<Vec<_>>();
        values.join(", ")
    }

    fn in_params(&mut self, value: &str) -> String {
        let parts = Split::params(value).map(|part| match part.split_once('=') {
            Some((name, tag)) if name.trim().eq_ignore_ascii_case("tag") => {
                format!("tag={}", number_of(&mut self.tags, "tag", tag.trim()))
            }
            Some((name, branch)) if name.trim().eq_ignore_ascii_case("branch") => {
                format!("branch={}", number_of(&mut self.branches, "branch", branch.trim()))
            }
            Some(_) | None => part.to_owned(),
        });
        parts.collect::<Vec<_>>().join(";")
    }
}

fn number_of(known: &mut Vec<String>, kind: &str, value: &str) -> String {
    let place = known.iter().position(|one| one == value).unwrap_or_else(|| {
        known.push(value.to_owned());
        known.len() - 1
    });
    format!("{kind}-{}", place + 1)
}

fn append(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes all text");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Tick {
        Tick::from_millis(millis)
    }

    fn check(ladder: &Ladder, expected: &str) {
        let picture = ladder.render();
        assert_eq!(picture.trim_end(), expected.trim_matches('\n').trim_end(), "\n{picture}");
    }

    #[test]
    fn lost_late_and_answered() {
        let mut ladder = Ladder::new(&["us", "peer"]);
        ladder.message(at(1600), Some(at(1600)), 1, 0, b"SIP/2.0 100 Trying\r\n\r\n");
        ladder.message(at(0), None, 0, 1, b"INVITE sip:a SIP/2.0\r\n\r\n");
        ladder.message(at(500), Some(at(512)), 0, 1, b"INVITE sip:a SIP/2.0\r\n\r\n");
        ladder.message(
            at(1700),
            None,
            1,
            0,
            b"SIP/2.0 481 Call/Transaction Does Not Exist\r\n\r\n",
        );
        ladder.message(at(1800), Some(at(1800)), 1, 0, b"\r\n");
        ladder.note(at(1600), "Response(100)");
        check(
            &ladder,
            "
             us                    peer
      0.000s |INVITE────────✕          |
      0.500s |─────────INVITE─────────▶| +12ms
      1.600s |◀───────100 Trying───────|
      1.600s * Response(100)
      1.700s | ✕─481 Call/Transaction …|
      1.800s |◀────────2 bytes─────────|
",
        );
    }

    #[test]
    fn three_parties_and_chosen_headers() {
        let mut ladder = Ladder::new(&["phone", "ringback", "trunk"]).showing(&[
            Name::Via,
            Name::From,
            Name::CallId,
        ]);
        let bytes = |branch: &str, call: &str| {
            format!(
                "BYE sip:a SIP/2.0\r\nv: SIP/2.0/UDP h;branch={branch}\r\n\
                 From: \"a;tag=b\" <sip:a@b;tag=c>;tag=x1;z\r\ni: {call}\r\n\r\n"
            )
        };
        ladder.message(at(1), Some(at(1)), 0, 1, bytes("z9hG4bKa", "i1").as_bytes());
        ladder.message(at(2), Some(at(2)), 1, 2, bytes("z9hG4bKb", "i2").as_bytes());
        ladder.message(at(3), Some(at(3)), 2, 0, bytes("z9hG4bKa", "i1").as_bytes());
        let shown = |branch, call| {
            format!(
                "  Via: SIP/2.0/UDP h;branch=branch-{branch}  \
                 From: \"a;tag=b\" <sip:a@b;tag=c>;tag=tag-1;z  Call-ID: call-{call}"
            )
        };
        let bars = "                         |";
        let head = "             phone                 ringback                 trunk";
        let expected = format!(
            "{head}\n      0.001s |──────────BYE───────────▶|{bars}{}\n      \
             0.002s |{bars}──────────BYE───────────▶|{}\n      \
             0.003s |◀───────────────────────BYE────────────────────────|{}",
            shown(1, 1),
            shown(2, 2),
            shown(1, 1)
        );
        check(&ladder, &expected);
    }

    #[test]
    fn a_ladder_has_an_end() {
        let mut ladder = Ladder::new(&["a", "b"]);
        (0..ROWS_MAX + 2).for_each(|_| ladder.note(Tick::ZERO, "x"));
        assert!(ladder.render().ends_with("* and 2 more\n"));
    }
}
