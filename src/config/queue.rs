//! `[queue.REF]` and lists of numbers, checked.

use std::time::Duration;

use super::{Checker, raw};
use crate::call::{Guard, QueueSettings};
use crate::promise::{Hours, Pauses, Policy, REST_MAX};

/// Pauses that one list may hold.
const PAUSES_MAX: usize = 20;
/// Numbers that one list may hold.
const NUMBERS_MAX: usize = 10_000;

impl Checker<'_> {
    /// The settings of a queue.
    pub(super) fn queue(&mut self, name: String, queue: raw::Queue) -> (String, QueueSettings) {
        let path = |option: &str| format!("queue.{name}.{option}");
        let standard = QueueSettings::default();
        let Policy { attempts_max, pauses, number_day_max, queue_day_max, .. } = standard.policy;
        let attempts = self.within(&path("attempts"), queue.attempts, 1..=20, attempts_max.into());
        let all = self.pauses(&path("pauses_s"), queue.pauses_s);
        let mut of = |option, given, standard: Vec<Duration>| {
            let own = self.pauses(&path(option), given);
            own.or_else(|| all.clone()).unwrap_or(standard)
        };
        let pauses = Pauses {
            busy: of("busy_s", queue.busy_s, pauses.busy),
            no_answer: of("no_answer_s", queue.no_answer_s, pauses.no_answer),
            network: of("network_s", queue.network_s, pauses.network),
            unconnected: of("unconnected_s", queue.unconnected_s, pauses.unconnected),
            unknown: of("unknown_s", queue.unknown_s, pauses.unknown),
        };
        let is_unknown_counted = match queue.unknown.as_deref() {
            None | Some("rather-miss") => true,
            Some("rather-twice") => false,
            Some(other) => {
                let message = format!("`{other}` is neither rather-miss nor rather-twice");
                self.problem(&path("unknown"), message);
                true
            }
        };
        let seconds = |duration: Duration| duration.as_secs();
        let rest = seconds(standard.policy.rest);
        let rest = self.within(&path("rest_s"), queue.rest_s, 0..=seconds(REST_MAX), rest);
        let hours = self.hours(&path("hours"), queue.hours, &path("zone"), queue.zone);
        let expiry = seconds(standard.policy.expiry);
        let expiry = self.within(&path("expiry_s"), queue.expiry_s, 60..=2_592_000, expiry);
        let number_day =
            self.within(&path("number_day"), queue.number_day, 1..=1000, number_day_max.into());
        let queue_day =
            self.within(&path("queue_day"), queue.queue_day, 1..=200_000, queue_day_max.into());
        let policy = Policy {
            is_offered: queue.callbacks.unwrap_or(standard.policy.is_offered),
            attempts_max: attempts as u32,
            pauses,
            is_unknown_counted,
            rest: Duration::from_secs(rest),
            hours,
            expiry: Duration::from_secs(expiry),
            number_day_max: number_day as u32,
            queue_day_max: queue_day as u32,
        };
        let allow = self.numbers(&path("allow"), queue.allow);
        let deny = queue.deny.map(|deny| self.numbers(&path("deny"), deny));
        let guard = Guard { allow, deny: deny.unwrap_or(standard.guard.deny) };
        (name, QueueSettings { policy, guard })
    }

    fn hours(
        &mut self,
        path: &str,
        windows: Option<Vec<String>>,
        zone_path: &str,
        zone: Option<String>,
    ) -> Hours {
        let zone = zone.as_deref().unwrap_or("UTC");
        let mut hours = Hours::in_zone(zone).unwrap_or_else(|| {
            let message =
                format!("`{zone}` is no time zone: write its IANA name, as Europe/Berlin");
            self.problem(zone_path, message);
            Hours::default()
        });
        if windows.as_ref().is_some_and(Vec::is_empty) {
            let message = "nobody would ever be called: leave `hours` out for any hour, or write \
                           `callbacks = false`";
            self.problem(path, message.to_owned());
        }
        for (index, window) in windows.into_iter().flatten().enumerate() {
            if let Err(wrong) = hours.add(&window) {
                self.problem(&format!("{path}[{index}]"), format!("`{window}`: {wrong}"));
            }
        }
        hours
    }

    fn pauses(&mut self, path: &str, seconds: Option<Vec<u64>>) -> Option<Vec<Duration>> {
        let seconds = seconds?;
        if seconds.is_empty() || seconds.len() > PAUSES_MAX {
            self.problem(path, format!("write 1 to {PAUSES_MAX} numbers of seconds"));
        }
        if let Some(wrong) = seconds.iter().find(|pause| **pause > 86_400) {
            self.problem(path, format!("{wrong} is not within 0 to 86400"));
        }
        Some(seconds.into_iter().map(Duration::from_secs).collect())
    }

    /// Numbers, or beginnings of numbers.
    pub(super) fn numbers(&mut self, path: &str, numbers: Vec<String>) -> Vec<String> {
        let is_sound = |number: &String| {
            let digits = number.strip_prefix('+').unwrap_or(number);
            let is_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
            (1..=32).contains(&digits.len()) && is_digits
                || (number == "*" && path.ends_with(".allow"))
        };
        for (index, number) in numbers.iter().enumerate().filter(|(_, number)| !is_sound(number)) {
            let message = format!("`{number}`: write digits, with or without + before them");
            self.problem(&format!("{path}[{index}]"), message);
        }
        if numbers.len() > NUMBERS_MAX {
            self.problem(path, format!("write {NUMBERS_MAX} numbers at most"));
        }
        numbers
    }
}

#[cfg(test)]
mod tests {
    use crate::config::read;

    #[test]
    fn a_queue_is_read_option_by_option() {
        let text = "
            [queue.support]
            attempts = 5
            pauses_s = [1, 2]
            busy_s = [7]
            unknown = 'rather-twice'
            rest_s = 0
            hours = ['Mon-Fri 08:00-20:00', 'Sat 09:00-13:00']
            zone = 'Europe/Berlin'
            expiry_s = 3600
            number_day = 1
            queue_day = 2
            allow = ['+49']
            [numbers]
            blocked = ['+4930']
            [trunk.main]
            deny = ['+1900']
        ";
        let settings = read(text).unwrap();
        let support = &settings.queues["support"];
        let policy = &support.policy;
        let seconds = |list: &[std::time::Duration]| {
            list.iter().map(std::time::Duration::as_secs).collect::<Vec<_>>()
        };
        assert_eq!(
            (seconds(&policy.pauses.busy), seconds(&policy.pauses.unknown)),
            (vec![7], vec![1, 2])
        );
        assert_eq!(
            (policy.attempts_max, policy.is_unknown_counted, policy.rest.as_secs()),
            (5, false, 0)
        );
        assert_eq!(
            (policy.expiry.as_secs(), policy.number_day_max, policy.queue_day_max),
            (3600, 1, 2)
        );
        // 2026-11-28 was a Saturday, and clocks in Berlin show an hour more.
        let opens = policy.hours.opening(1_795_867_200_000);
        assert_eq!(policy.hours.say(opens), "Mon 2026-11-30 08:00 Europe/Berlin");
        assert!(support.guard.permits("+4930") && !support.guard.permits("+33"));
        assert!(settings.blocked.has("+4930"));
        let lists = settings.trunks["main"].guard.lists.as_ref();
        assert!(!lists.unwrap().permits("+19001"));
    }

    #[test]
    fn every_wrong_value_of_a_queue_is_named() {
        let text = "
            [queue.support]
            attempts = 0
            pauses_s = []
            busy_s = [100000]
            unknown = 'maybe'
            hours = ['Mon-Fri 08:00-20:00', 'Fri 22:00-06:00']
            zone = 'Berlin'
            expiry_s = 5
            [queue.sales]
            hours = []
            [queue.other]
            allow = ['x', '+']
            [numbers]
            blocked = ['anonymous']
        ";
        let paths = read(text).unwrap_err().into_iter().map(|problem| problem.path);
        let expected = [
            "queue.other.allow[0]",
            "queue.other.allow[1]",
            "queue.sales.hours",
            "queue.support.attempts",
            "queue.support.pauses_s",
            "queue.support.busy_s",
            "queue.support.unknown",
            "queue.support.zone",
            "queue.support.hours[1]",
            "queue.support.expiry_s",
            "numbers.blocked[0]",
        ];
        assert_eq!(paths.collect::<Vec<_>>(), expected);
    }
}
