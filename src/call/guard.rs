//! Which numbers may be dialled: the guard against toll fraud, of queues and of trunks.

use std::collections::BTreeSet;

use crate::promise::Policy;

/// What `ringback.toml` says about a queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueSettings {
    /// How its promises are kept.
    pub policy: Policy,
    /// Which numbers it calls back.
    pub guard: Guard,
}

/// Beginnings of numbers, allowed and denied. `00` at the beginning is the same as `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// A number begins with one of these; none: with anything.
    pub allow: Vec<String>,
    /// A number begins with none of these.
    pub deny: Vec<String>,
}

/// Numbers that are never dialled, whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blocked(BTreeSet<String>);

/// Beginnings that no customer calls from, and that cost most: satellites, international networks
/// and shared-cost or premium services (ITU-T E.164.1, list of assigned codes).
pub const DENIED: [&str; 8] = ["+808", "+870", "+878", "+881", "+882", "+883", "+888", "+979"];

impl Default for Guard {
    fn default() -> Self {
        Self { allow: Vec::new(), deny: DENIED.map(str::to_owned).to_vec() }
    }
}

impl Guard {
    /// Lets everything pass.
    pub const OPEN: Self = Self { allow: Vec::new(), deny: Vec::new() };

    /// Whether the number may be dialled.
    pub fn permits(&self, number: &str) -> bool {
        let number = canonical(number);
        let begins = |prefix: &String| number.starts_with(&canonical(prefix));
        (self.allow.is_empty() || self.allow.iter().any(begins)) && !self.deny.iter().any(begins)
    }
}

impl Blocked {
    /// These numbers.
    pub fn new<'a>(numbers: impl IntoIterator<Item = &'a String>) -> Self {
        Self(numbers.into_iter().map(|number| canonical(number)).collect())
    }

    /// Whether this is one of them.
    pub fn has(&self, number: &str) -> bool {
        self.0.contains(&canonical(number))
    }
}

/// Whether a caller's number is one that can be called back: 2 to 32 digits, with or without `+`.
/// A withheld one is not.
pub fn is_dialable(number: &str) -> bool {
    let digits = number.strip_prefix('+').unwrap_or(number);
    (2..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn canonical(number: &str) -> String {
    number.strip_prefix("00").map_or_else(|| number.to_owned(), |rest| format!("+{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(allow: &[&str], deny: &[&str]) -> Guard {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        Guard { allow: owned(allow), deny: owned(deny) }
    }

    #[test]
    fn a_number_begins_as_allowed_and_not_as_denied() {
        let guard = guard(&["+49", "0"], &["+49900", "0900"]);
        for permitted in ["+4930123", "004930123", "030123"] {
            assert!(guard.permits(permitted), "{permitted}");
        }
        for refused in ["+49900123", "0049900123", "0900123", "+1555", "0015551", "30123"] {
            assert!(!guard.permits(refused), "{refused}");
        }
    }

    #[test]
    fn satellites_and_premium_services_are_denied_unless_told_otherwise() {
        let standard = Guard::default();
        assert!(standard.permits("+4930123456") && standard.permits("030123456"));
        assert!(!standard.permits("+881612345") && !standard.permits("00979123456"));
        assert!(Guard::OPEN.permits("+881612345"));
    }

    #[test]
    fn a_blocked_number_is_blocked_in_both_spellings() {
        let blocked = Blocked::new(&["+4930123".to_owned()]);
        assert!(blocked.has("004930123") && blocked.has("+4930123") && !blocked.has("+49301234"));
    }

    #[test]
    fn withheld_and_malformed_numbers_are_not_dialable() {
        assert!(["+4930123456", "200"].iter().all(|number| is_dialable(number)));
        let long = "1".repeat(33);
        for wrong in ["anonymous", "", "+", "1", "+49 30", "12a", long.as_str()] {
            assert!(!is_dialable(wrong), "{wrong}");
        }
    }
}
