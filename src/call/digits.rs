//! Collects the digits of one wait and says which rule they meet: the digit algorithm of the node.
//!
//! ```text
//!            digit: prefix of a rule            digit: nothing starts so
//!   Empty ───────────────────────────▶ Some ───────────────────────────▶ fallback, or forgotten
//!     │ overall deadline                │ last digit + interdigit
//!     ▼                                 ▼
//!  Timeout                    rule, else fallback, else Timeout
//! ```

use std::time::Duration;

use crate::base::Tick;

/// Digits that one wait collects at most; what goes beyond counts as complete.
pub const DIGITS_MAX: usize = 64;

/// Whether a character is a DTMF digit: `0`–`9`, `*`, `#`, `A`–`D` (RFC 4733 §3.2).
pub const fn is_digit(character: char) -> bool {
    matches!(character, '0'..='9' | '*' | '#' | 'A'..='D')
}

/// What becomes of digits that meet no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// They are forgotten and the wait goes on.
    Forget,
    /// They leave by the fallback branch at once.
    AtOnce,
    /// They are collected until this digit, or until the caller pauses.
    Until(char),
}

/// What a wait listens for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Patterns in the order of their branches.
    pub patterns: Vec<String>,
    /// What happens to everything else.
    pub fallback: Fallback,
    /// How long the caller may pause between digits; zero decides without waiting.
    pub interdigit: Duration,
}

/// How the digits of a wait ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Collected {
    /// The pattern with this index was dialled.
    Rule(usize),
    /// Something else was dialled; without the terminator.
    Fallback(String),
    /// Nothing that counts was dialled in time.
    Timeout,
}

/// The digits of one wait so far.
#[derive(Clone, Debug)]
pub struct Collector {
    rules: Rules,
    digits: String,
    overall: Tick,
    deadline: Tick,
}

impl Collector {
    /// Starts to collect; `deadline` is when the whole wait ends.
    pub const fn new(rules: Rules, deadline: Tick) -> Self {
        Self { rules, digits: String::new(), overall: deadline, deadline }
    }

    /// When [`Self::expire`] is to be asked; it moves with every digit that wants another.
    pub const fn deadline(&self) -> Tick {
        self.deadline
    }

    /// Takes a digit; says so when it decides the wait.
    pub fn push(&mut self, digit: char, now: Tick) -> Option<Collected> {
        self.digits.push(digit);
        let exact = self.exact(&self.digits);
        let is_prefix = self.has_longer();
        let decides_now = !is_prefix || self.rules.interdigit.is_zero();
        if let Some(rule) = exact.filter(|_| decides_now) {
            return Some(Collected::Rule(rule));
        }
        if let (Fallback::Until(terminator), true) = (self.rules.fallback, exact.is_none())
            && digit == terminator
        {
            self.digits.pop();
            return Some(self.rule_or_fallback());
        }
        if exact.is_some() || is_prefix {
            return self.wait_for_more(now);
        }
        match self.rules.fallback {
            Fallback::Forget => {
                self.digits.clear();
                self.deadline = self.overall;
                None
            }
            Fallback::AtOnce => Some(Collected::Fallback(std::mem::take(&mut self.digits))),
            Fallback::Until(_) if self.rules.interdigit.is_zero() => Some(self.rule_or_fallback()),
            Fallback::Until(_) => self.wait_for_more(now),
        }
    }

    /// The deadline has passed.
    pub fn expire(&mut self) -> Collected {
        if let Some(rule) = self.exact(&self.digits) {
            return Collected::Rule(rule);
        }
        match self.rules.fallback {
            Fallback::AtOnce | Fallback::Until(_) if !self.digits.is_empty() => {
                Collected::Fallback(std::mem::take(&mut self.digits))
            }
            Fallback::AtOnce | Fallback::Until(_) | Fallback::Forget => Collected::Timeout,
        }
    }

    fn wait_for_more(&mut self, now: Tick) -> Option<Collected> {
        if self.digits.len() >= DIGITS_MAX {
            return Some(self.expire());
        }
        if !self.rules.interdigit.is_zero() {
            self.deadline = now + self.rules.interdigit;
        }
        None
    }

    fn rule_or_fallback(&mut self) -> Collected {
        match self.exact(&self.digits) {
            Some(rule) => Collected::Rule(rule),
            None => Collected::Fallback(std::mem::take(&mut self.digits)),
        }
    }

    fn exact(&self, digits: &str) -> Option<usize> {
        self.rules.patterns.iter().position(|pattern| pattern == digits)
    }

    fn has_longer(&self) -> bool {
        let longer = |pattern: &String| {
            pattern.len() > self.digits.len() && pattern.starts_with(self.digits.as_str())
        };
        self.rules.patterns.iter().any(longer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dials `typed` with 300 ms between digits; a space is a pause of three seconds.
    fn dial(patterns: &[&str], fallback: Fallback, interdigit: u64, typed: &str) -> String {
        let rules = Rules {
            patterns: patterns.iter().map(ToString::to_string).collect(),
            fallback,
            interdigit: Duration::from_secs(interdigit),
        };
        let mut collector = Collector::new(rules, Tick::from_millis(30_000));
        let mut now = Tick::ZERO;
        for character in typed.chars() {
            let pause = if character == ' ' { 3000 } else { 300 };
            now += Duration::from_millis(pause);
            if collector.deadline() <= now {
                return said(&collector.expire(), collector.deadline());
            }
            if let Some(end) = (character != ' ').then(|| collector.push(character, now)).flatten()
            {
                return said(&end, now);
            }
        }
        let end = collector.expire();
        said(&end, collector.deadline())
    }

    fn said(end: &Collected, at: Tick) -> String {
        match end {
            Collected::Rule(index) => format!("rule {index} at {at}"),
            Collected::Fallback(digits) => format!("fallback {digits} at {at}"),
            Collected::Timeout => format!("timeout at {at}"),
        }
    }

    #[test]
    fn an_exact_rule_without_a_longer_one_matches_at_once() {
        assert_eq!(dial(&["1", "2"], Fallback::Forget, 1, "2"), "rule 1 at 0.300s");
    }

    #[test]
    fn a_rule_with_a_longer_one_waits_for_the_pause() {
        assert_eq!(dial(&["1", "12"], Fallback::Forget, 1, "1 "), "rule 0 at 1.300s");
        assert_eq!(dial(&["1", "12"], Fallback::Forget, 1, "12"), "rule 1 at 0.600s");
        assert_eq!(dial(&["1", "12"], Fallback::Forget, 0, "12"), "rule 0 at 0.300s");
    }

    #[test]
    fn digits_that_nothing_starts_with_are_forgotten_or_fall_back() {
        assert_eq!(dial(&["1"], Fallback::Forget, 1, "991"), "rule 0 at 0.900s");
        assert_eq!(dial(&["1"], Fallback::Forget, 1, "99"), "timeout at 30.000s");
        assert_eq!(dial(&["1"], Fallback::AtOnce, 1, "9"), "fallback 9 at 0.300s");
        assert_eq!(dial(&["12"], Fallback::AtOnce, 1, "13"), "fallback 13 at 0.600s");
    }

    #[test]
    fn several_digits_are_collected_until_the_terminator_or_the_pause() {
        let until = Fallback::Until('#');
        assert_eq!(dial(&["0"], until, 2, "101#"), "fallback 101 at 1.200s");
        assert_eq!(dial(&["0"], until, 2, "101 "), "fallback 101 at 2.900s");
        assert_eq!(dial(&["0", "01"], until, 2, "0#"), "rule 0 at 0.600s");
        assert_eq!(dial(&["0"], until, 0, "1"), "fallback 1 at 0.300s");
    }

    #[test]
    fn a_prefix_that_stays_one_times_out_at_the_pause() {
        assert_eq!(dial(&["12"], Fallback::Forget, 1, "1 "), "timeout at 1.300s");
    }
}
