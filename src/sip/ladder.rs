//! The ladder: messages between parties as a drawing, the same in tests, the demo and operations.
//!
//! ```text
//!              phone                  ringback
//!       0.000s |──────────INVITE─────────▶|
//!       0.041s |◀───────────200───────────|
//!       0.041s |─────────ACK────✕         |
//!       0.541s * the phone hangs up
//! ```

use std::fmt::{self, Write as _};

use super::message::{Start, find};
use super::name::Method;
use crate::base::Tick;

/// Rows that a ladder keeps; a longer story loses its end, and says so.
pub const ROWS_MAX: usize = 10_000;
/// Characters between the lines of two neighbours.
const GAP: usize = 26;
/// Characters of the time column.
const MARGIN: usize = 13;

/// Messages and remarks, in the order in which they were sent and made.
#[derive(Clone, Debug)]
pub struct Ladder {
    parties: Vec<String>,
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
    Message { from: usize, to: usize, label: String, arrived: Option<Tick> },
    Note(String),
}

impl Ladder {
    /// An empty ladder for these parties, from left to right.
    pub fn new<T: AsRef<str>>(parties: &[T]) -> Self {
        let parties = parties.iter().map(|party| party.as_ref().to_owned()).collect();
        Self { parties, rows: Vec::new(), left_out: 0 }
    }

    /// A message was sent, and arrived or was lost.
    pub fn message(
        &mut self,
        sent: Tick,
        arrived: Option<Tick>,
        from: usize,
        to: usize,
        bytes: &[u8],
    ) {
        self.labelled(sent, arrived, from, to, &Label::of(bytes).to_string());
    }

    /// The same for a message of which only its name is kept.
    pub fn labelled(
        &mut self,
        sent: Tick,
        arrived: Option<Tick>,
        from: usize,
        to: usize,
        label: &str,
    ) {
        let label = label.to_owned();
        self.push(Row { at: sent, what: What::Message { from, to, label, arrived } });
    }

    /// Something else happened.
    pub fn note(&mut self, at: Tick, text: &str) {
        self.push(Row { at, what: What::Note(text.to_owned()) });
    }

    /// The drawing: a line for the parties, then a line for each row.
    pub fn render(&self) -> String {
        let mut text = self.head();
        let mut rows = self.rows.iter().collect::<Vec<_>>();
        rows.sort_by_key(|row| row.at);
        for row in rows {
            let _ = write!(text, "{:>MARGIN$} ", row.at.to_string());
            match &row.what {
                What::Note(note) => {
                    let _ = writeln!(text, "* {note}");
                }
                What::Message { from, to, label, arrived } => {
                    text.push_str(&self.arrow(*from, *to, label, arrived.is_some()));
                    text.push('\n');
                }
            }
        }
        if self.left_out > 0 {
            let _ = writeln!(text, "{:MARGIN$} … and {} more", "", self.left_out);
        }
        text
    }

    fn push(&mut self, row: Row) {
        if self.rows.len() >= ROWS_MAX {
            self.left_out += 1;
        } else {
            self.rows.push(row);
        }
    }

    fn head(&self) -> String {
        let mut line = " ".repeat(MARGIN + 1);
        for (index, party) in self.parties.iter().enumerate() {
            let column = MARGIN + 1 + index * (GAP + 1);
            let begin = column.saturating_sub(party.chars().count() / 2);
            let missing = begin.saturating_sub(line.chars().count());
            line.extend(std::iter::repeat_n(' ', missing));
            line.push_str(party);
        }
        line.push('\n');
        line
    }

    /// The lines of all parties, with an arrow between two of them.
    fn arrow(&self, from: usize, to: usize, label: &str, has_arrived: bool) -> String {
        let (left, right) = (from.min(to), from.max(to));
        let is_rightward = from < to;
        let span = (right - left) * (GAP + 1) - 1;
        let mut line = String::new();
        for column in 0..self.parties.len() {
            line.push('|');
            if column == left && span > 0 {
                line.push_str(&shaft(span, label, is_rightward, has_arrived));
            } else if column + 1 < self.parties.len() && !(left..right).contains(&column) {
                line.extend(std::iter::repeat_n(' ', GAP));
            }
            if column == left && right > left {
                line.push('|');
                let rest = self.parties.len() - right - 1;
                for _ in 0..rest {
                    line.extend(std::iter::repeat_n(' ', GAP));
                    line.push('|');
                }
                break;
            }
        }
        line.trim_end().to_owned()
    }
}

/// The arrow between two lines: the label in its middle, its head where it arrived, a cross where
/// it was lost.
fn shaft(span: usize, label: &str, is_rightward: bool, has_arrived: bool) -> String {
    let mut cells = vec!['─'; span];
    let label = label.chars().take(span - 2).collect::<Vec<_>>();
    let begin = (span - label.len()) / 2;
    cells[begin..begin + label.len()].copy_from_slice(&label);
    match (is_rightward, has_arrived) {
        (true, true) => cells[span - 1] = '▶',
        (false, true) => cells[0] = '◀',
        (true, false) => {
            let cross = (begin + label.len() + 2).min(span - 1);
            cells[cross] = '✕';
            cells[cross + 1..].fill(' ');
        }
        (false, false) => {
            let cross = begin.saturating_sub(3);
            cells[cross] = '✕';
            cells[..cross].fill(' ');
        }
    }
    cells.into_iter().collect()
}

/// What a message is called: its method, or its status and the method it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Label {
    /// `INVITE`.
    Request(Method),
    /// `180 INVITE`; without a method when its CSeq names none.
    Response(u16, Option<Method>),
    /// No message at all.
    Malformed,
}

impl Label {
    /// Only its first line and its CSeq are read: this is asked of every message that comes and goes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut lines = Lines(bytes.trim_ascii_start());
        match lines.next().map(Start::parse) {
            Some(Ok((Start::Request { method, .. }, _))) => Self::Request(method),
            Some(Ok((Start::Response { status, .. }, _))) => {
                let cseq = lines.value(b"Cc", |name| name.eq_ignore_ascii_case(b"cseq"));
                let method = cseq.and_then(|cseq| cseq.split_ascii_whitespace().nth(1));
                // Only a token: what is shown in a terminal is the peer's text.
                Self::Response(status, method.and_then(|method| Method::parse(method.as_bytes())))
            }
            Some(Err(_)) | None => Self::Malformed,
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(method) => f.write_str(method.as_str()),
            Self::Response(status, Some(method)) => write!(f, "{status} {}", method.as_str()),
            Self::Response(status, None) => write!(f, "{status}"),
            Self::Malformed => f.write_str("malformed"),
        }
    }
}

/// The Call-ID of a message, found without reading the rest of it; `None` where there is none in a
/// line of its own.
pub fn call_id(bytes: &[u8]) -> Option<&str> {
    let is_call_id =
        |name: &[u8]| matches!(name, b"i" | b"I") || name.eq_ignore_ascii_case(b"call-id");
    Lines(bytes).value(b"CcIi", is_call_id)
}

/// The lines of a head that are left, as they stand there: folds are not undone.
struct Lines<'a>(&'a [u8]);

impl<'a> Lines<'a> {
    /// The value of the first field whose name is wanted; it begins with one of these letters.
    fn value(&mut self, initials: &[u8], is_wanted: impl Fn(&[u8]) -> bool) -> Option<&'a str> {
        let value = self.filter(|line| initials.contains(&line[0])).find_map(|line| {
            let colon = find(line, b':')?;
            is_wanted(line[..colon].trim_ascii()).then_some(&line[colon + 1..])
        });
        std::str::from_utf8(value?.trim_ascii()).ok()
    }
}

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<Self::Item> {
        let end = find(self.0, b'\n').unwrap_or(self.0.len());
        let line = self.0[..end].strip_suffix(b"\r").unwrap_or(&self.0[..end]);
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        (!line.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_id_is_found_where_the_parser_finds_it() {
        let of = |field: &str| {
            let text =
                format!("BYE sip:a@b:1 SIP/2.0\r\nVia: x;i: 1\r\n{field}\r\nl: 0\r\n\r\ni: body");
            call_id(text.as_bytes()).map(str::to_owned)
        };
        assert_eq!(of("Call-ID: a@b"), Some("a@b".to_owned()));
        assert_eq!(of("i:a"), Some("a".to_owned()));
        assert_eq!(of("CALL-id \t:  x:y "), Some("x:y".to_owned()));
        assert_eq!(of("X-Call-ID: a"), None);
        assert_eq!(call_id(b""), None);
    }

    #[test]
    fn a_message_is_called_by_its_first_line_and_its_cseq() {
        let of = |text: &str| Label::of(text.as_bytes()).to_string();
        assert_eq!(of("\r\nBYE sip:a@b SIP/2.0\r\nCSeq: 2 BYE\r\n\r\n"), "BYE");
        assert_eq!(of("SIP/2.0 180 Ringing\r\nVia: x\r\ncseq:  7  INVITE \r\n\r\n"), "180 INVITE");
        assert_eq!(of("SIP/2.0 200 OK\r\nVia: x\r\n\r\nCSeq: 1 BYE"), "200");
        assert_eq!(of("SIP/2.0 200 OK\r\nCSeq: 1 \u{1b}[2J\r\n\r\n"), "200");
        assert_eq!(of("SIP/2.0 99 x\r\nCSeq: 2 BYE\r\n\r\n"), "malformed");
        assert_eq!(of(""), "malformed");
    }

    #[test]
    fn three_parties_arrows_both_ways_and_a_loss() {
        let mut ladder = Ladder::new(&["a", "b", "c"]);
        let bytes = |start: &str| {
            format!(
                "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
                Call-ID: 1\r\nCSeq: 1 BYE\r\nContent-Length: 0\r\n\r\n"
            )
        };
        let arrived = Some(Tick::from_millis(20));
        ladder.message(Tick::ZERO, arrived, 0, 1, bytes("BYE sip:a@b SIP/2.0").as_bytes());
        ladder.message(Tick::from_millis(20), arrived, 1, 0, bytes("SIP/2.0 200 OK").as_bytes());
        ladder.message(Tick::from_millis(30), None, 1, 2, bytes("BYE sip:a@b SIP/2.0").as_bytes());
        ladder.message(
            Tick::from_millis(40),
            arrived,
            2,
            0,
            bytes("BYE sip:a@b SIP/2.0").as_bytes(),
        );
        ladder.note(Tick::from_millis(50), "the end");
        let expected = "              a                          b                          c
       0.000s |───────────BYE───────────▶|                          |
       0.020s |◀────────200 BYE──────────|                          |
       0.030s |                          |───────────BYE──✕         |
       0.040s |◀────────────────────────BYE─────────────────────────|
       0.050s * the end
";
        assert_eq!(ladder.render(), expected);
    }
}
