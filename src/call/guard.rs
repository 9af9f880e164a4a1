//! Which numbers may be dialled: the guard against toll fraud, of queues and of trunks.

use std::collections::BTreeSet;
use std::fmt;

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

/// What may be dialled by a trunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrunkGuard {
    /// Which numbers, when somebody has said so.
    pub lists: Option<Guard>,
    /// Whether numbers that cost more than others may be.
    pub is_premium: bool,
    /// Calls that may leave within a second.
    pub calls_per_s: u32,
    /// Calls that may be up, in both directions, before no more leave.
    pub channels: u32,
}

impl Default for TrunkGuard {
    fn default() -> Self {
        Self { lists: None, is_premium: false, calls_per_s: 10, channels: 100_000 }
    }
}

/// Why a number is not dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// It is among the blocked ones.
    Blocked,
    /// It costs more than others, and the trunk is not for such.
    Premium,
    /// The trunk's lists do not let it pass, or there are none.
    NotAllowed,
    /// Too many calls have left by the trunk within a second.
    Rate,
    /// As many calls are up by the trunk as may be.
    Channels,
}

impl Denied {
    /// The word for metrics and records.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Blocked => "blocked",
            Self::Premium => "premium",
            Self::NotAllowed => "not_allowed",
            Self::Rate => "rate",
            Self::Channels => "channels",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Blocked => "the number is blocked: see numbers.blocked in ringback.toml",
            Self::Premium => {
                "the number costs more than others: see numbers.premium and trunk.REF.premium in \
                 ringback.toml"
            }
            Self::NotAllowed => {
                "ringback.toml does not let the number leave by this trunk: see allow and deny under \
                 [trunk.REF]"
            }
            Self::Rate => {
                "too many calls left by this trunk within a second: see calls_per_s under [trunk.REF]"
            }
            Self::Channels => {
                "as many calls are up by this trunk as may be: see channels under [trunk.REF]"
            }
        })
    }
}

impl TrunkGuard {
    /// Whether this number may leave by the trunk. Without lists only callbacks leave, whose numbers
    /// their queue has judged, and calls to a trunk of this machine, which cost nothing.
    pub fn judge(
        &self,
        number: &str,
        premium: &[String],
        is_promised: bool,
        is_local: bool,
    ) -> Result<(), Denied> {
        if !self.is_premium && premium.iter().any(|prefix| begins(number, prefix)) {
            return Err(Denied::Premium);
        }
        let is_free = is_promised || is_local;
        let passes = match &self.lists {
            Some(lists) if !lists.allow.is_empty() => lists.permits(number),
            Some(lists) => is_free && lists.permits(number),
            None => is_free,
        };
        if passes { Ok(()) } else { Err(Denied::NotAllowed) }
    }
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
        let begins = |prefix: &String| begins(number, prefix);
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

/// `*` is the beginning of every number.
fn begins(number: &str, prefix: &str) -> bool {
    prefix == "*" || canonical(number).starts_with(&canonical(prefix))
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
    fn a_trunk_without_lists_dials_nothing_but_callbacks_and_this_machine() {
        let premium = DENIED.map(str::to_owned);
        let judge = |guard: &TrunkGuard, number, is_promised, is_local| {
            guard.judge(number, &premium, is_promised, is_local)
        };
        let none = TrunkGuard::default();
        assert_eq!(judge(&none, "+4930123", false, false), Err(Denied::NotAllowed));
        assert_eq!(judge(&none, "+4930123", true, false), Ok(()));
        assert_eq!(judge(&none, "+4930123", false, true), Ok(()));
        assert_eq!(judge(&none, "00881612345", true, true), Err(Denied::Premium));
        let deny = TrunkGuard { lists: Some(guard(&[], &["+49900"])), ..none.clone() };
        assert_eq!(judge(&deny, "+4930123", false, false), Err(Denied::NotAllowed));
        assert_eq!(judge(&deny, "+4930123", true, false), Ok(()));
        assert_eq!(judge(&deny, "0049900123", true, true), Err(Denied::NotAllowed));
        let all = TrunkGuard { lists: Some(guard(&["*"], &["+1"])), is_premium: true, ..none };
        for (number, may) in [("+4930123", true), ("+881612345", true), ("+1555", false)] {
            assert_eq!(judge(&all, number, false, false).is_ok(), may, "{number}");
        }
    }

    /// A5: however it is written.
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
