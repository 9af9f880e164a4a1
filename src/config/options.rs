//! Every option of `ringback.toml` as a table: what it holds and what it is when nobody writes it.
//! Against it a file is read, so that each problem has its line, and its effective values are shown.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::ops::Range;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Problem, Raw};
use crate::flow::nearest;

/// One option.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    /// Its path; `*` stands for a name that the author chooses.
    pub path: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What it is when nobody writes it, as TOML or, behind `#`, in words.
    pub default: &'static str,
}

/// What an option holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text.
    Text,
    /// A text that is shown to nobody.
    Secret,
    /// A whole number.
    Number,
    /// true or false.
    Flag,
    /// A list of texts.
    Texts,
    /// A list of whole numbers.
    Numbers,
}

const fn known(path: &'static str, kind: Kind, default: &'static str) -> Known {
    Known { path, kind, default }
}

/// All of them, in the order in which they are shown.
pub(super) const OPTIONS: &[Known] = &[
    known("data", Kind::Text, "\"data\""),
    known("prompts", Kind::Text, "\"prompts\""),
    known("recordings", Kind::Text, "\"recordings\""),
    known("tones", Kind::Text, "\"us\""),
    known("sip.listen", Kind::Text, "\"127.0.0.1:5060\""),
    known("sip.advertised", Kind::Text, "# the local address"),
    known("sip.realm", Kind::Text, "# what a flow names, or \"ringback\""),
    known("sip.digest", Kind::Texts, "[\"MD5\"]"),
    known("sip.digest_integrity", Kind::Flag, "false"),
    known("sip.session_timer_s", Kind::Number, "1800"),
    known("rtp.listen", Kind::Text, "\"127.0.0.1:20000-29999\""),
    known("rtp.realtime", Kind::Flag, "true"),
    known("http.listen", Kind::Text, "\"127.0.0.1:8080\""),
    known("outbound.allow", Kind::Texts, "[]"),
    known("limits.legs", Kind::Number, "2000"),
    known("limits.drain_s", Kind::Number, "30"),
    known("journal.keep_days", Kind::Number, "30"),
    known("journal.max_mb", Kind::Number, "256"),
    known("numbers.blocked", Kind::Texts, "[]"),
    known("numbers.premium", Kind::Texts, PREMIUM),
    known("trunk.*.peers", Kind::Texts, "[]"),
    known("trunk.*.server", Kind::Text, "# the first peer"),
    known("trunk.*.backup", Kind::Text, "# none"),
    known("trunk.*.transport", Kind::Text, "# \"udp\""),
    known("trunk.*.domain", Kind::Text, "# the address of its server"),
    known("trunk.*.username", Kind::Text, "# none"),
    known("trunk.*.password", Kind::Secret, "# none"),
    known("trunk.*.realm", Kind::Text, "# any"),
    known("trunk.*.allow", Kind::Texts, "[]"),
    known("trunk.*.deny", Kind::Texts, "[]"),
    known("trunk.*.premium", Kind::Flag, "false"),
    known("trunk.*.calls_per_s", Kind::Number, "10"),
    known("trunk.*.channels", Kind::Number, "# limits.legs"),
    known("trunk.*.codecs", Kind::Texts, "# what the flow names"),
    known("extensions.*.codecs", Kind::Texts, "# what the flow names"),
    known("extension.*.contact", Kind::Text, "# required"),
    known("queue.*.callbacks", Kind::Flag, "true"),
    known("queue.*.attempts", Kind::Number, "3"),
    known("queue.*.pauses_s", Kind::Numbers, "# [300, 900, 3600]"),
    known("queue.*.busy_s", Kind::Numbers, "# pauses_s"),
    known("queue.*.no_answer_s", Kind::Numbers, "# pauses_s"),
    known("queue.*.network_s", Kind::Numbers, "# pauses_s"),
    known("queue.*.unconnected_s", Kind::Numbers, "# pauses_s if written, else [60, 300, 900]"),
    known("queue.*.unknown_s", Kind::Numbers, "# pauses_s"),
    known("queue.*.unknown", Kind::Text, "\"rather-miss\""),
    known("queue.*.rest_s", Kind::Number, "152"),
    known("queue.*.hours", Kind::Texts, "# any"),
    known("queue.*.zone", Kind::Text, "\"UTC\""),
    known("queue.*.expiry_s", Kind::Number, "86400"),
    known("queue.*.number_day", Kind::Number, "6"),
    known("queue.*.queue_day", Kind::Number, "500"),
    known("queue.*.allow", Kind::Texts, "[]"),
    known("queue.*.deny", Kind::Texts, PREMIUM),
];

/// [`crate::call::guard::DENIED`] as it is written.
const PREMIUM: &str =
    "[\"+808\", \"+870\", \"+878\", \"+881\", \"+882\", \"+883\", \"+888\", \"+979\"]";

/// A file that could be read.
#[derive(Debug)]
pub(super) struct Looked {
    /// What of it is known and of the right kind.
    pub(super) raw: Raw,
    /// Where each option stands, by its path.
    lines: BTreeMap<String, usize>,
    /// How each option is written.
    texts: BTreeMap<String, String>,
    /// What is unknown or of the wrong kind.
    pub(super) problems: Vec<Problem>,
}

impl Looked {
    /// The line that a problem is about.
    pub(super) fn line_of(&self, path: &str) -> Option<usize> {
        let path = path.split('[').next().unwrap_or_default();
        let own = self.lines.get(path).copied();
        own.or_else(|| {
            let within = |(known, _): &(&String, &usize)| known.starts_with(&format!("{path}."));
            self.lines.iter().find(within).map(|(_, line)| *line)
        })
    }
}

/// Reads a file against the table.
pub(super) fn look(text: &str) -> Result<Looked, Problem> {
    let table = DeTable::parse(text).map_err(|error| Problem {
        line: error.span().map(|span| line_at(text, &span)),
        path: String::new(),
        message: error.message().to_owned(),
        help: "write it as TOML: https://toml.io".to_owned(),
    })?;
    let span = table.span();
    let mut reader =
        Reader { text, lines: BTreeMap::new(), texts: BTreeMap::new(), problems: Vec::new() };
    let mut root = table.into_inner();
    reader.walk(&mut root, "", "");
    let Reader { lines, texts, problems, .. } = reader;
    let sound = toml::de::Deserializer::from(Spanned::new(span, root));
    let raw = Raw::deserialize(sound).map_err(|error| Problem {
        line: error.span().map(|span| line_at(text, &span)),
        path: String::new(),
        message: error.message().to_owned(),
        help: String::new(),
    })?;
    Ok(Looked { raw, lines, texts, problems })
}

struct Reader<'a> {
    text: &'a str,
    lines: BTreeMap<String, usize>,
    texts: BTreeMap<String, String>,
    problems: Vec<Problem>,
}

impl Reader<'_> {
    /// Keeps what is known and of the right kind; `pattern` is the path with `*` for chosen names.
    fn walk(&mut self, table: &mut DeTable<'_>, path: &str, pattern: &str) {
        let mut kept = DeTable::new();
        for (key, mut value) in std::mem::take(table) {
            let name = key.get_ref().to_string();
            let line = line_at(self.text, &key.span());
            let here = joined(path, &name);
            let names = known_below(pattern);
            let word = if names.contains("*") { "*" } else { &name };
            if !names.contains(word) {
                let near = nearest(&name, names.iter().copied());
                let help = near.map_or_else(
                    || {
                        format!(
                            "known here: {}",
                            names.iter().copied().collect::<Vec<_>>().join(", ")
                        )
                    },
                    |near| format!("did you mean `{near}`?"),
                );
                self.problem(line, here, "there is no such option".to_owned(), help);
                continue;
            }
            let below = joined(pattern, word);
            match OPTIONS.iter().find(|known| known.path == below) {
                Some(known) if known.kind.is(value.get_ref()) => {
                    let written = self.text.get(value.span()).unwrap_or_default();
                    self.texts.insert(here.clone(), written.to_owned());
                    self.lines.insert(here, line);
                    kept.insert(key, value);
                }
                Some(known) => {
                    let message = format!("this is {}", kind_of(value.get_ref()));
                    self.problem(line, here, message, format!("write {}", known.kind.words()));
                }
                None => {
                    self.lines.insert(here.clone(), line);
                    if let DeValue::Table(inner) = value.get_mut() {
                        self.walk(inner, &here, &below);
                        kept.insert(key, value);
                    } else {
                        let message = format!("this is {}", kind_of(value.get_ref()));
                        let help = format!("write a section: [{here}]");
                        self.problem(line, here, message, help);
                    }
                }
            }
        }
        *table = kept;
    }

    fn problem(&mut self, line: usize, path: String, message: String, help: String) {
        self.problems.push(Problem { line: Some(line), path, message, help });
    }
}

impl Kind {
    fn is(self, value: &DeValue<'_>) -> bool {
        // TOML's integers are signed; none of ours is negative.
        fn is_number(value: &DeValue<'_>) -> bool {
            let number = value.as_integer();
            number.is_some_and(|one| u64::from_str_radix(one.as_str(), one.radix()).is_ok())
        }
        let all = |is: fn(&DeValue<'_>) -> bool| {
            value.as_array().is_some_and(|list| list.iter().all(|item| is(item.get_ref())))
        };
        match self {
            Self::Text | Self::Secret => value.is_str(),
            Self::Number => is_number(value),
            Self::Flag => value.is_bool(),
            Self::Texts => all(|value| value.is_str()),
            Self::Numbers => all(is_number),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Text | Self::Secret => "a text between quotes",
            Self::Number => "a whole number that is not negative",
            Self::Flag => "true or false",
            Self::Texts => "a list of texts, as [\"one\", \"two\"]",
            Self::Numbers => "a list of whole numbers, as [60, 300]",
        }
    }
}

fn kind_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

/// The names that may stand right below this pattern.
fn known_below(pattern: &str) -> BTreeSet<&'static str> {
    let below = |known: &Known| {
        let rest = match pattern {
            "" => known.path,
            _ => known.path.strip_prefix(pattern)?.strip_prefix('.')?,
        };
        rest.split('.').next()
    };
    OPTIONS.iter().filter_map(below).collect()
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn line_at(text: &str, span: &Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
}

/// The settings that hold, as TOML: what the file says, and the defaults of all else as remarks.
/// No password is shown.
pub(super) fn effective(looked: &Looked) -> String {
    let mut text = String::new();
    let mut section = String::new();
    for known in OPTIONS {
        let (group, option) = known.path.rsplit_once('.').unwrap_or(("", known.path));
        if group == section && !group.contains('*') {
            line(&mut text, looked, known, known.path, option);
        } else if let Some(kind) = group.strip_suffix(".*") {
            // The whole group at once, for each name that the file has.
            if group != section {
                named_sections(&mut text, looked, kind);
            }
        } else {
            let _ = writeln!(text, "\n[{group}]");
            line(&mut text, looked, known, known.path, option);
        }
        group.clone_into(&mut section);
    }
    text
}

fn named_sections(text: &mut String, looked: &Looked, kind: &str) {
    let prefix = format!("{kind}.");
    let below = |path: &String| {
        let name = path.strip_prefix(&prefix)?;
        let is_section = !looked.texts.contains_key(path);
        is_section.then(|| name.to_owned())
    };
    let names = looked.lines.keys().filter_map(below).collect::<BTreeSet<_>>();
    for name in names {
        let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        let quoted = if name.bytes().all(is_bare) { name.clone() } else { format!("{name:?}") };
        let _ = writeln!(text, "\n[{kind}.{quoted}]");
        let pattern = format!("{kind}.*.");
        for known in OPTIONS {
            if let Some(option) = known.path.strip_prefix(&pattern) {
                line(text, looked, known, &format!("{kind}.{name}.{option}"), option);
            }
        }
    }
}

fn line(text: &mut String, looked: &Looked, known: &Known, path: &str, option: &str) {
    let _ = match (looked.texts.get(path), known.kind, known.default.strip_prefix("# ")) {
        (Some(_), Kind::Secret, _) => writeln!(text, "{option} = \"***\""),
        (Some(written), ..) => writeln!(text, "{option} = {written}"),
        (None, _, Some(words)) => writeln!(text, "# {option}: {words}"),
        (None, _, None) => writeln!(text, "# {option} = {}", known.default),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Settings, read, shown};

    const FILE: &str = "
data = '/var/lib/ringback'
[sip]
listen = '192.0.2.20:5060'
digest = ['MD5',
  'SHA-256']
[trunk.main]
peers = ['198.51.100.7']
username = '4930123'
password = 'hush'
[trunk.\"a b\"]
channels = 3
[queue.support]
attempts = 5
";

    #[test]
    fn the_table_has_exactly_the_options_of_the_file_s_shape() {
        let source = include_str!("raw.rs");
        let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut name = String::new();
        for line in source.lines().map(str::trim) {
            if let Some(rest) = line.strip_prefix("pub struct ") {
                rest.trim_end_matches(" {").clone_into(&mut name);
            } else if let Some(field) = line.strip_prefix("pub ").and_then(|f| f.split_once(": ")) {
                let kind = field.1.trim_end_matches(',').to_owned();
                sections.entry(name.clone()).or_default().push(format!("{} {kind}", field.0));
            }
        }
        let mut paths = BTreeSet::new();
        for field in &sections["Raw"] {
            let (field, kind) = field.split_once(' ').unwrap();
            let named = kind.strip_prefix("BTreeMap<String, ").map(|k| k.trim_end_matches('>'));
            let prefix = if named.is_some() { format!("{field}.*") } else { field.to_owned() };
            match sections.get(named.unwrap_or(kind)) {
                Some(inner) => paths.extend(
                    inner
                        .iter()
                        .map(|inner| format!("{prefix}.{}", inner.split(' ').next().unwrap())),
                ),
                None => {
                    paths.insert(field.to_owned());
                }
            }
        }
        let table = OPTIONS.iter().map(|known| known.path.to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(table, paths);
    }

    #[test]
    fn what_is_shown_is_read_back_as_the_same_but_for_passwords() {
        let text = shown(FILE).unwrap();
        assert!(text.contains("password = \"***\"") && !text.contains("hush"), "{text}");
        assert!(text.contains("[trunk.\"a b\"]") && text.contains("# session_timer_s = 1800"));
        let (mut again, file) = (read(&text).unwrap(), read(FILE).unwrap());
        let main = again.trunks.get_mut("main").unwrap();
        main.credentials.clone_from(&file.trunks["main"].credentials);
        assert_eq!(again, file);
    }

    #[test]
    fn every_default_that_is_shown_is_the_one_that_holds() {
        // What is shown as a remark changes nothing when it is written.
        let text = shown("[trunk.x]\n[queue.x]\n").unwrap();
        let is_value = |line: &&str| line.starts_with("# ") && line.contains(" = ");
        let with = text.lines().map(|line| if is_value(&line) { &line[2..] } else { line });
        let with = with.collect::<Vec<_>>().join("\n");
        let plain = read("[trunk.x]\n[queue.x]\n").unwrap();
        assert_eq!(read(&with).unwrap(), plain, "{with}");
        assert_eq!(read(&shown("").unwrap()).unwrap(), Settings::default());
    }

    #[test]
    fn unknown_options_and_wrong_kinds_are_told_all_at_once_with_line_and_remedy() {
        let text = "
[sip]
listn = 'x'
digest = 'MD5'
[limits]
legs = '5'
drain_s = -1
[trunks.main]
peers = []
[trunk.main]
pears = ['192.0.2.1']
server = 'nonsense'
data = 5
[extension]
200 = 'x'
[queue.q]
pauses_s = [1, 'x']
";
        let problems = read(text).unwrap_err();
        let told = problems.iter().map(ToString::to_string).collect::<Vec<_>>();
        let expected = [
            "line 3: sip.listn: there is no such option\n   = help: did you mean `listen`?",
            "line 4: sip.digest: this is a text\n   = help: write a list of texts, as [\"one\", \"two\"]",
            "line 6: limits.legs: this is a text\n   = help: write a whole number that is not negative",
            "line 7: limits.drain_s: this is a number\n   = help: write a whole number that is not negative",
            "line 8: trunks: there is no such option\n   = help: did you mean `trunk`?",
            "line 11: trunk.main.pears: there is no such option\n   = help: did you mean `peers`?",
            "line 13: trunk.main.data: there is no such option\n   = help: known here: ",
            "line 15: extension.200: this is a text\n   = help: write a section: [extension.200]",
            "line 17: queue.q.pauses_s: this is a list\n   = help: write a list of whole numbers, as [60, 300]",
            "line 12: trunk.main.server: `nonsense`: ",
        ];
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for expected in expected {
            assert!(told.iter().any(|told| told.starts_with(expected)), "{expected}: {told:#?}");
        }
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let problem = read("[sip]\nlisten = \n").unwrap_err().remove(0);
        assert_eq!(problem.line, Some(2));
        let twice = read("[sip]\nlisten = 'a'\nlisten = 'b'\n").unwrap_err().remove(0);
        assert_eq!((twice.line, twice.message.contains("duplicate")), (Some(3), true), "{twice}");
    }
}
