//! Schedule Trigger: starts runs at times that its rules name, by the clock of its workflow's zone.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::{Value, json};

use crate::flow::{Findings, Graph, Input, Item, NodeIndex, NodeType, Object, Role, RunId, zone};

/// The type's name in exports.
const SCHEDULE: &str = "n8n-nodes-base.scheduleTrigger";

/// How far ahead the next time is looked for.
const DAYS_MAX: usize = 366 * 5;

pub(super) struct ScheduleTrigger;

impl NodeType for ScheduleTrigger {
    fn name(&self) -> &'static str {
        SCHEDULE
    }

    fn versions(&self) -> &'static [f64] {
        &[1.0, 1.1, 1.2, 1.3]
    }

    fn role(&self) -> Role {
        Role::Trigger
    }

    fn keys(&self) -> &'static [&'static str] {
        &["rule", "notice"]
    }

    fn check(&self, _version: f64, parameters: &Object, report: &mut Findings) {
        for (place, rule) in rules(parameters).iter().enumerate() {
            if let Err(message) = Rule::read(rule) {
                let path = format!("rule.interval[{place}]");
                let remedy = "choose an interval, or write minute hour day month weekday";
                report.error("E-FLOW-SCHEDULE", &path, &message, remedy);
            }
        }
    }
}

/// The schedule triggers of some workflows, each with the moment that it is due next, in
/// milliseconds since the epoch.
#[derive(Debug)]
pub struct Schedules {
    due: Vec<(Arc<Graph>, NodeIndex, Option<i64>)>,
}

impl Schedules {
    /// Every enabled schedule trigger of these workflows.
    pub fn new<'a>(graphs: impl Iterator<Item = &'a Arc<Graph>>, now_ms: i64) -> Self {
        let triggers = graphs.flat_map(|graph| {
            let own = graph.triggers().filter(|(_, node)| node.kind.name() == SCHEDULE);
            own.map(move |(index, node)| {
                (graph.clone(), index, next_due(&node.parameters, graph.timezone(), now_ms))
            })
        });
        Self { due: triggers.collect() }
    }

    /// The same of other workflows; a trigger that has not changed keeps its moment.
    #[must_use]
    pub fn exchanged(&self, graphs: &[Arc<Graph>], now_ms: i64) -> Self {
        let mut exchanged = Self::new(graphs.iter(), now_ms);
        for (graph, index, due) in &mut exchanged.due {
            let node = graph.node(*index);
            let same = self.due.iter().find(|(old, index, _)| {
                let (name, parameters) = (&old.node(*index).name, &old.node(*index).parameters);
                (old.name(), name, parameters) == (graph.name(), &node.name, &node.parameters)
            });
            *due = same.map_or(*due, |(.., kept)| *kept);
        }
        exchanged
    }

    /// When the next of them is due.
    pub fn next(&self) -> Option<i64> {
        self.due.iter().filter_map(|(_, _, due)| *due).min()
    }

    /// The run of one that is due. Who comes late starts one run, whatever was missed.
    pub fn take_due(&mut self, now_ms: i64, new_run: impl FnOnce() -> RunId) -> Option<Input> {
        let is_due = |due: &Option<i64>| due.is_some_and(|due| due <= now_ms);
        let (graph, trigger, due) = self.due.iter_mut().find(|(_, _, due)| is_due(due))?;
        *due = next_due(&graph.node(*trigger).parameters, graph.timezone(), now_ms);
        let item = Item::new(payload(graph.timezone(), now_ms));
        let (run, graph, trigger) = (new_run(), graph.clone(), *trigger);
        Some(Input::Start { run, graph, trigger, outputs: vec![vec![item]] })
    }
}

/// When a schedule trigger is due next after a moment, both in milliseconds since the epoch.
fn next_due(parameters: &Object, zone: Option<&str>, after_ms: i64) -> Option<i64> {
    let zone = zone::find(zone.unwrap_or("UTC")).unwrap_or(TimeZone::UTC);
    let after = Timestamp::from_millisecond(after_ms).ok()?;
    let rules = rules(parameters).into_iter();
    let due = rules.filter_map(|rule| Rule::read(&rule).ok()?.next(&zone, after));
    due.min().map(Timestamp::as_millisecond)
}

/// What a schedule trigger gives at a moment.
fn payload(zone_name: Option<&str>, now_ms: i64) -> Object {
    let name = zone_name.unwrap_or("UTC");
    let zone = zone::find(name).unwrap_or(TimeZone::UTC);
    let now = Timestamp::from_millisecond(now_ms).unwrap_or_default().to_zoned(zone);
    let text = |format: &str| Value::from(now.strftime(format).to_string());
    let fields = [
        ("timestamp", text("%Y-%m-%dT%H:%M:%S%.3f%:z")),
        ("Readable date", text("%B %-d, %Y, %-I:%M:%S %p")),
        ("Readable time", text("%-I:%M:%S %p")),
        ("Day of week", text("%A")),
        ("Year", text("%Y")),
        ("Month", text("%B")),
        ("Day of month", text("%d")),
        ("Hour", text("%H")),
        ("Minute", text("%M")),
        ("Second", text("%S")),
        ("Timezone", json!(format!("{name} (UTC{})", now.strftime("%:z")))),
    ];
    fields.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// The rules; none stands for once a day at midnight.
fn rules(parameters: &Object) -> Vec<Value> {
    let rules = parameters.get("rule").and_then(|rule| rule["interval"].as_array());
    rules.cloned().unwrap_or_else(|| vec![json!({})])
}

/// The times of a day and the days that a rule names.
#[derive(Debug)]
struct Rule {
    seconds: BTreeSet<i8>,
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    days: BTreeSet<i8>,
    months: BTreeSet<i8>,
    weekdays: BTreeSet<i8>,
    /// Every so many days, weeks or months.
    every: (u64, Unit),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Days,
    Weeks,
    Months,
}

impl Rule {
    fn read(rule: &Value) -> Result<Self, String> {
        let field = rule["field"].as_str().unwrap_or("days");
        let number = |key: &str, default: u64| rule[key].as_u64().unwrap_or(default);
        let at = |key: &str, max: u64| BTreeSet::from([number(key, 0).min(max) as i8]);
        let all = |from: i8, to: i8| (from..=to).collect::<BTreeSet<i8>>();
        let steps = |key: &str, default: u64, to: i8| {
            let step = usize::try_from(number(key, default).max(1)).unwrap_or(usize::MAX);
            (0..=to).step_by(step).collect::<BTreeSet<i8>>()
        };
        let mut read = Self {
            seconds: BTreeSet::from([0]),
            minutes: at("triggerAtMinute", 59),
            hours: at("triggerAtHour", 23),
            days: all(1, 31),
            months: all(1, 12),
            weekdays: all(0, 6),
            every: (1, Unit::Days),
        };
        match field {
            "seconds" => {
                read.seconds = steps("secondsInterval", 30, 59);
                (read.minutes, read.hours) = (all(0, 59), all(0, 23));
            }
            "minutes" => {
                (read.minutes, read.hours) = (steps("minutesInterval", 5, 59), all(0, 23));
            }
            "hours" => read.hours = steps("hoursInterval", 1, 23),
            "days" => read.every = (number("daysInterval", 1).max(1), Unit::Days),
            "weeks" => {
                let days = rule["triggerAtDay"].as_array().map(|days| {
                    days.iter().filter_map(Value::as_u64).map(|day| (day % 7) as i8).collect()
                });
                read.weekdays = days.unwrap_or_else(|| BTreeSet::from([0]));
                read.every = (number("weeksInterval", 1).max(1), Unit::Weeks);
            }
            "months" => {
                read.days = BTreeSet::from([number("triggerAtDayOfMonth", 1).clamp(1, 31) as i8]);
                read.every = (number("monthsInterval", 1).max(1), Unit::Months);
            }
            "cronExpression" => read.set_cron(rule["expression"].as_str().unwrap_or_default())?,
            other => return Err(format!("`{other}` is no interval that is known")),
        }
        Ok(read)
    }

    /// `second minute hour day month weekday`, the second optional.
    fn set_cron(&mut self, text: &str) -> Result<(), String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (second, rest) = match fields.as_slice() {
            [second, rest @ ..] if rest.len() == 5 => (*second, rest),
            rest if rest.len() == 5 => ("0", rest),
            _ => return Err(format!("`{text}` has {} fields, and cron has 5 or 6", fields.len())),
        };
        self.seconds = cron_field(second, 0, 59)?;
        self.minutes = cron_field(rest[0], 0, 59)?;
        self.hours = cron_field(rest[1], 0, 23)?;
        self.days = cron_field(rest[2], 1, 31)?;
        self.months = cron_field(rest[3], 1, 12)?;
        self.weekdays = cron_field(rest[4], 0, 7)?.into_iter().map(|day| day % 7).collect();
        Ok(())
    }

    fn next(&self, zone: &TimeZone, after: Timestamp) -> Option<Timestamp> {
        let local = after.to_zoned(zone.clone()).datetime();
        let mut day = local.date();
        for _ in 0..DAYS_MAX {
            if self.is_day(day) {
                let from = if day == local.date() { local.time() } else { Time::midnight() };
                for hour in self.hours.range(from.hour()..) {
                    for minute in &self.minutes {
                        for second in &self.seconds {
                            let at = DateTime::from_parts(
                                day,
                                Time::constant(*hour, *minute, *second, 0),
                            );
                            let at = zone.to_timestamp(at).ok()?;
                            if at > after {
                                return Some(at);
                            }
                        }
                    }
                }
            }
            day = day.checked_add(1.day()).ok()?;
        }
        None
    }

    fn is_day(&self, day: Date) -> bool {
        let weekday = day.weekday().to_sunday_zero_offset();
        let (by_date, by_weekday) =
            (self.days.contains(&day.day()), self.weekdays.contains(&weekday));
        // Cron: where both are narrowed, either will do.
        let is_named = match (self.days.len() < 31, self.weekdays.len() < 7) {
            (true, true) => by_date || by_weekday,
            _ => by_date && by_weekday,
        };
        let epoch = Date::constant(1970, 1, 4);
        let days = i64::from((day - epoch).get_days()).unsigned_abs();
        let (every, unit) = self.every;
        let count = match unit {
            Unit::Days => days,
            Unit::Weeks => days / 7,
            Unit::Months => u64::from(day.year().unsigned_abs()) * 12 + day.month() as u64 - 1,
        };
        is_named && self.months.contains(&day.month()) && count % every == 0
    }
}

/// One field of cron: lists of numbers and ranges, with steps.
fn cron_field(text: &str, first: i8, last: i8) -> Result<BTreeSet<i8>, String> {
    let wrong = || format!("`{text}` is no field of cron from {first} to {last}");
    let number = |text: &str| {
        let number = text.parse::<i8>().ok();
        number.filter(|number| (first..=last).contains(number)).ok_or_else(wrong)
    };
    let mut set = BTreeSet::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => {
                (range, step.parse::<usize>().ok().filter(|step| *step > 0).ok_or_else(wrong)?)
            }
            None => (part, 1),
        };
        let (from, to) = match (range, range.split_once('-')) {
            ("*" | "?", _) => (first, last),
            (_, Some((from, to))) => (number(from)?, number(to)?),
            (one, None) if part.contains('/') => (number(one)?, last),
            (one, None) => (number(one)?, number(one)?),
        };
        set.extend((from..=to).step_by(step));
    }
    if set.is_empty() { Err(wrong()) } else { Ok(set) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: Value, zone: &str, after: &str, expected: &str) {
        let parameters = json!({ "rule": { "interval": [rule] } });
        let ms = |text: &str| text.parse::<Timestamp>().unwrap().as_millisecond();
        let due = next_due(parameters.as_object().unwrap(), Some(zone), ms(after));
        let due = due.map(|due| Timestamp::from_millisecond(due).unwrap().to_string());
        assert_eq!(due.as_deref(), Some(expected), "{rule}");
    }

    #[test]
    fn each_interval_finds_its_next_time() {
        let after = "2024-02-28T10:07:20Z";
        check(
            json!({"field": "seconds", "secondsInterval": 15}),
            "UTC",
            after,
            "2024-02-28T10:07:30Z",
        );
        check(
            json!({"field": "minutes", "minutesInterval": 10}),
            "UTC",
            after,
            "2024-02-28T10:10:00Z",
        );
        check(
            json!({"field": "hours", "hoursInterval": 6, "triggerAtMinute": 5}),
            "UTC",
            after,
            "2024-02-28T12:05:00Z",
        );
        check(json!({}), "UTC", after, "2024-02-29T00:00:00Z");
        check(
            json!({"field": "days", "triggerAtHour": 9}),
            "Europe/Berlin",
            after,
            "2024-02-29T08:00:00Z",
        );
        check(
            json!({"field": "weeks", "triggerAtDay": [1], "triggerAtHour": 8}),
            "UTC",
            after,
            "2024-03-04T08:00:00Z",
        );
        check(
            json!({"field": "months", "triggerAtDayOfMonth": 29}),
            "UTC",
            after,
            "2024-02-29T00:00:00Z",
        );
        let cron = |expression: &str| json!({"field": "cronExpression", "expression": expression});
        check(cron("*/5 9-17 * * 1-5"), "UTC", after, "2024-02-28T10:10:00Z");
        check(cron("0 30 8 1 * *"), "UTC", after, "2024-03-01T08:30:00Z");
        // The clock jumps over this time in spring: it is kept an hour later.
        check(cron("30 2 * * *"), "Europe/Berlin", "2024-03-30T12:00:00Z", "2024-03-31T01:30:00Z");
    }

    #[test]
    fn cron_that_is_none_is_refused() {
        for wrong in ["", "1 2 3", "60 * * * *", "a * * * *", "*/0 * * * *"] {
            assert!(
                Rule::read(&json!({"field": "cronExpression", "expression": wrong})).is_err(),
                "{wrong}"
            );
        }
    }
}
