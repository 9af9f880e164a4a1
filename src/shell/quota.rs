//! How often something may be said: so many times a second, and what was left out is counted.

use std::time::Duration;

use crate::base::Tick;

/// The span that a quota is for.
const SPAN: Duration = Duration::from_secs(1);

/// Allows `max` things a second; whoever floods the server does not flood its log.
#[derive(Debug)]
pub(super) struct Quota {
    max: u32,
    began: Tick,
    said: u32,
    left_out: u64,
}

impl Quota {
    pub(super) const fn new(max: u32) -> Self {
        Self { max, began: Tick::ZERO, said: 0, left_out: 0 }
    }

    /// Whether one more may be said; then with how many were left out before it.
    pub(super) fn take(&mut self, now: Tick) -> Option<u64> {
        if now.since(self.began) >= SPAN {
            (self.began, self.said) = (now, 0);
        }
        if self.said >= self.max {
            self.left_out += 1;
            return None;
        }
        self.said += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_number() {
        let mut quota = Quota::new(2);
        let at = |millis| Tick::ZERO + Duration::from_millis(millis);
        let taken = [0, 1, 2, 999, 1000, 1001, 1002].map(|millis| quota.take(at(millis)));
        assert_eq!(taken, [Some(0), Some(0), None, None, Some(2), Some(0), None]);
    }
}
