//! The hours in which customers are called back: windows of a week, on the clock of a time zone.
//!
//! Whether a moment is within them is said by what that clock shows then. So a window that the
//! clock skips when it is set forward does not exist that day, and one that it shows twice when it
//! is set back is open twice (A14).

use std::fmt;
use std::time::Duration;

use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};

/// Windows of one queue; one more is refused.
pub const WINDOWS_MAX: usize = 100;

/// How far is looked for an opening or a closing: every weekday comes twice, also where a calendar
/// leaves a day out.
const DAYS_AHEAD: i64 = 15;

/// The longest that a promise may stand when the time outside hours is not counted.
pub(super) const STANDS_MAX: Duration = Duration::from_secs(90 * 86_400);

/// When a queue calls back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// No window: any hour.
    windows: Vec<Window>,
    zone: TimeZone,
}

/// Minutes of a day of the week, 0 for Monday; the last one is not within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    day: u8,
    from: u16,
    to: u16,
}

/// Why a text is no window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WindowError {
    /// It is not days and times.
    Shape,
    /// This is no day.
    Day(String),
    /// This is no time of the day.
    Time(String),
    /// It ends before it begins, or at once.
    Backwards,
    /// [`WINDOWS_MAX`] is reached.
    TooMany,
}

impl fmt::Display for WindowError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape => f.write_str("write days and times, as `Mon-Fri 08:00-20:00`"),
            Self::Day(day) => {
                write!(f, "`{day}` is no day: write Mon, Tue, Wed, Thu, Fri, Sat or Sun")
            }
            Self::Time(time) => {
                write!(f, "`{time}` is no time of the day: write it from 00:00 to 24:00")
            }
            Self::Backwards => f.write_str(
                "it ends before it begins: write what goes past midnight as two, as \
                 `Mon 22:00-24:00` and `Tue 00:00-06:00`",
            ),
            Self::TooMany => write!(f, "write {WINDOWS_MAX} windows at most, a day of each counts"),
        }
    }
}

impl std::error::Error for WindowError {}

impl Default for Hours {
    fn default() -> Self {
        Self { windows: Vec::new(), zone: TimeZone::UTC }
    }
}

impl Hours {
    /// Any hour, in the zone of this IANA name; `None` when there is no such zone.
    pub fn in_zone(name: &str) -> Option<Self> {
        let is_utc = name.eq_ignore_ascii_case("utc");
        let zone = if is_utc { Some(TimeZone::UTC) } else { TimeZone::get(name).ok() };
        Some(Self { windows: Vec::new(), zone: zone? })
    }

    /// Adds windows such as `Mon-Fri 08:00-20:00`: a day, or the first and the last of several,
    /// and the times at which it begins and ends.
    pub fn add(&mut self, text: &str) -> Result<(), WindowError> {
        let mut words = text.split_whitespace();
        let (Some(days), Some(times), None) = (words.next(), words.next(), words.next()) else {
            return Err(WindowError::Shape);
        };
        let (first, last) = days.split_once('-').unwrap_or((days, days));
        let (first, last) = (day(first)?, day(last)?);
        let (from, to) = times.split_once('-').ok_or(WindowError::Shape)?;
        let (from, to) = (minute(from)?, minute(to)?);
        if from >= to {
            return Err(WindowError::Backwards);
        }
        let count = (last + 7 - first) % 7 + 1;
        if self.windows.len() + usize::from(count) > WINDOWS_MAX {
            return Err(WindowError::TooMany);
        }
        let days = (0..count).map(|nth| (first + nth) % 7);
        self.windows.extend(days.map(|day| Window { day, from, to }));
        Ok(())
    }

    /// Whether a customer may be called at this moment. Times are milliseconds since the Unix epoch.
    pub fn is_open(&self, at_ms: u64) -> bool {
        self.windows.is_empty() || self.is_open_at(moment(at_ms))
    }

    /// The first moment from this one on at which a customer may be called.
    pub fn opening(&self, at_ms: u64) -> u64 {
        if self.is_open(at_ms) {
            return at_ms;
        }
        let at = moment(at_ms);
        // Windows that no week of this calendar shows are looked for again later.
        let opens = self.turn(at, true).unwrap_or_else(|| ahead(at));
        u64::try_from(opens.as_millisecond()).unwrap_or(at_ms)
    }

    /// The first moment behind this one at which nobody may be called any more, if there is one
    /// soon.
    pub fn closing(&self, at_ms: u64) -> Option<u64> {
        if self.windows.is_empty() {
            return None;
        }
        let closes = self.turn(moment(at_ms), false)?;
        u64::try_from(closes.as_millisecond()).ok()
    }

    /// When so much time will have passed within the hours, but 90 days later at the latest.
    pub fn after(&self, at_ms: u64, open: Duration) -> u64 {
        let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        let mut left = millis(open);
        if self.windows.is_empty() {
            return at_ms.saturating_add(left);
        }
        let last = at_ms.saturating_add(millis(STANDS_MAX));
        let mut at = at_ms;
        while at < last {
            let opens = self.opening(at);
            let closes = self.closing(opens).unwrap_or(u64::MAX);
            let Some(rest) = left.checked_sub(closes - opens).filter(|rest| *rest > 0) else {
                return opens.saturating_add(left).min(last);
            };
            (left, at) = (rest, closes);
        }
        last
    }

    /// Whether there are hours in which nobody is called.
    pub(super) const fn is_restricted(&self) -> bool {
        !self.windows.is_empty()
    }

    /// A moment as people of the zone say it, such as `Mon 2026-11-30 08:00 Europe/Berlin`.
    pub fn say(&self, at_ms: u64) -> String {
        let shown = moment(at_ms).to_zoned(self.zone.clone());
        let zone = self.zone.iana_name().unwrap_or("UTC");
        format!("{} {zone}", shown.strftime("%a %Y-%m-%d %H:%M"))
    }

    fn is_open_at(&self, at: Timestamp) -> bool {
        let shown = self.zone.to_datetime(at);
        let day = shown.weekday().to_monday_zero_offset().unsigned_abs();
        let minute =
            u16::from(shown.hour().unsigned_abs()) * 60 + u16::from(shown.minute().unsigned_abs());
        let holds =
            |window: &Window| window.day == day && (window.from..window.to).contains(&minute);
        self.windows.iter().any(holds)
    }

    /// The first moment behind this one that is open, or closed. It is where a window begins or
    /// ends, or where the clock is set.
    fn turn(&self, at: Timestamp, is_open: bool) -> Option<Timestamp> {
        let until = ahead(at);
        let is_it = |moment: &Timestamp| {
            *moment > at && *moment <= until && self.is_open_at(*moment) == is_open
        };
        let set = self.zone.following(at).map(|transition| transition.timestamp());
        let mut found = set.take_while(|moment| *moment <= until).find(|moment| is_it(moment));
        let today = self.zone.to_datetime(at).date();
        // Yesterday ends today, and where a clock is set back at midnight it comes again.
        for ahead in -1..=DAYS_AHEAD {
            let Ok(date) = today.checked_add(ahead.days()) else { break };
            if found.is_some_and(|found| self.zone.to_datetime(found).date() < date) {
                break;
            }
            let edges = self.edges(date, is_open).filter(is_it);
            found = edges.chain(found).min();
        }
        found
    }

    /// The moments at which the windows of a date begin, or end.
    fn edges(&self, date: Date, is_open: bool) -> impl Iterator<Item = Timestamp> {
        let day = date.weekday().to_monday_zero_offset().unsigned_abs();
        let windows = self.windows.iter().filter(move |window| window.day == day);
        let minutes = windows.map(move |window| if is_open { window.from } else { window.to });
        minutes.flat_map(move |minute| self.moments(date, minute)).flatten()
    }

    /// When the clock shows this minute of a date: once, twice, or not at all.
    fn moments(&self, date: Date, minute: u16) -> [Option<Timestamp>; 2] {
        let midnight = date.to_datetime(Time::midnight());
        let Ok(shown) = midnight.checked_add(i64::from(minute).minutes()) else {
            return [None; 2];
        };
        match self.zone.to_ambiguous_timestamp(shown).offset() {
            AmbiguousOffset::Unambiguous { offset } => [offset.to_timestamp(shown).ok(), None],
            AmbiguousOffset::Gap { .. } => [None; 2],
            AmbiguousOffset::Fold { before, after } => {
                [before, after].map(|offset| offset.to_timestamp(shown).ok())
            }
        }
    }
}

fn day(text: &str) -> Result<u8, WindowError> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let word = text.to_ascii_lowercase();
    let place = DAYS.iter().position(|day| *day == word);
    place.map(|place| place as u8).ok_or_else(|| WindowError::Day(text.to_owned()))
}

/// The minute of the day that a time such as `08:00` is, `24:00` among them.
fn minute(text: &str) -> Result<u16, WindowError> {
    let wrong = || WindowError::Time(text.to_owned());
    let (hour, minute) = text.split_once(':').ok_or_else(wrong)?;
    let number = |digits: &str| {
        let is_two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_two { digits.parse::<u16>().ok() } else { None }
    };
    match (number(hour), number(minute)) {
        (Some(24), Some(0)) => Ok(24 * 60),
        (Some(hour @ 0..24), Some(minute @ 0..60)) => Ok(hour * 60 + minute),
        (Some(_) | None, Some(_) | None) => Err(wrong()),
    }
}

/// Moments beyond the years that the calendar knows are its end.
fn moment(ms: u64) -> Timestamp {
    let moment = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    moment.unwrap_or(Timestamp::MAX)
}

fn ahead(at: Timestamp) -> Timestamp {
    let span = SignedDuration::from_hours(24 * DAYS_AHEAD);
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use jiff::civil::DateTime;
    use proptest::prelude::*;

    use super::*;

    fn hours(zone: &str, windows: &[&str]) -> Hours {
        let mut hours = Hours::in_zone(zone).unwrap();
        for window in windows {
            hours.add(window).unwrap();
        }
        hours
    }

    /// What a clock of UTC shows, such as `2026-11-27 19:59`, in milliseconds.
    fn utc(text: &str) -> u64 {
        let at: DateTime = text.parse().unwrap();
        at.to_zoned(TimeZone::UTC).unwrap().timestamp().as_millisecond().unsigned_abs()
    }

    /// A5: the opening after a Friday evening is on Monday, and a moment within is its own.
    #[test]
    fn a_week_opens_and_closes() {
        let hours = hours("Europe/Berlin", &["Mon-Fri 08:00-20:00", "sat 09:00-13:00"]);
        let check = |at, opens| assert_eq!(hours.opening(utc(at)), utc(opens), "{at}");
        check("2026-11-27 18:59:59.999", "2026-11-27 18:59:59.999");
        check("2026-11-27 19:00", "2026-11-28 08:00");
        check("2026-11-28 12:00", "2026-11-30 07:00");
        assert_eq!(hours.closing(utc("2026-11-27 18:59")), Some(utc("2026-11-27 19:00")));
        assert_eq!(hours.closing(utc("2026-11-30 07:00")), Some(utc("2026-11-30 19:00")));
        assert_eq!(hours.say(utc("2026-11-30 07:00")), "Mon 2026-11-30 08:00 Europe/Berlin");
        assert_eq!(Hours::default().opening(17), 17);
        assert_eq!(Hours::default().closing(17), None);
    }

    /// A5: what ends at midnight goes on when the next day begins with it; days may go past Sunday.
    #[test]
    fn midnight_is_no_closing() {
        let nights = hours("UTC", &["Sat-Mon 00:00-24:00"]);
        assert_eq!(nights.opening(utc("2026-11-27 12:00")), utc("2026-11-28 00:00"));
        assert_eq!(nights.closing(utc("2026-11-28 12:00")), Some(utc("2026-12-01 00:00")));
        let always = hours("UTC", &["Mon-Sun 00:00-24:00"]);
        assert_eq!(always.closing(utc("2026-11-28 12:00")), None);
    }

    /// A14: in the night of 2026-03-29 the clocks of Berlin go from 2:00 to 3:00, and in that of
    /// 2026-10-25 from 3:00 to 2:00.
    #[test]
    fn clocks_that_are_set() {
        let day = hours("Europe/Berlin", &["Mon-Sun 08:00-20:00"]);
        assert_eq!(day.opening(utc("2026-03-28 20:00")), utc("2026-03-29 06:00"));
        assert_eq!(day.opening(utc("2026-10-24 20:00")), utc("2026-10-25 07:00"));
        // What begins in the hour that is left out begins when it is over.
        let early = hours("Europe/Berlin", &["Mon-Sun 02:30-05:00"]);
        assert_eq!(early.opening(utc("2026-03-29 00:00")), utc("2026-03-29 01:00"));
        // What lies in it does not exist that day.
        let gap = hours("Europe/Berlin", &["Mon-Sun 02:10-02:50"]);
        assert_eq!(gap.opening(utc("2026-03-29 00:00")), utc("2026-03-30 00:10"));
        // And what lies in the hour that comes twice is there twice.
        assert_eq!(gap.opening(utc("2026-10-25 00:00")), utc("2026-10-25 00:10"));
        assert_eq!(gap.closing(utc("2026-10-25 00:10")), Some(utc("2026-10-25 00:50")));
        assert_eq!(gap.opening(utc("2026-10-25 00:50")), utc("2026-10-25 01:10"));
        // Where one of them ends when the clock is set back, it is open again at once.
        let late = hours("Europe/Berlin", &["Mon-Sun 02:00-03:00"]);
        assert_eq!(late.closing(utc("2026-10-25 00:30")), Some(utc("2026-10-25 02:00")));
    }

    /// The time outside hours is not counted: a day of 12 hours each is two days.
    #[test]
    fn only_time_within_hours_passes() {
        let working = hours("UTC", &["Mon-Fri 08:00-20:00"]);
        let day = Duration::from_secs(86_400);
        assert_eq!(working.after(utc("2026-11-27 19:59"), day), utc("2026-12-01 19:59"));
        assert_eq!(working.after(utc("2026-11-28 12:00"), day), utc("2026-12-01 20:00"));
        assert_eq!(Hours::default().after(5, day), 86_400_005);
        let rare = hours("UTC", &["Mon 08:00-08:01"]);
        assert_eq!(rare.after(utc("2026-11-27 19:59"), day), utc("2027-02-25 19:59"));
    }

    #[test]
    fn what_is_no_window_is_told() {
        let check = |text: &str, says: &str| {
            let error = Hours::default().add(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        };
        for text in ["", "Mon", "08:00-20:00", "Mon-Fri 08:00", "Mon-Fri 08:00 - 20:00"] {
            check(text, "Mon-Fri 08:00-20:00");
        }
        check("Mo 08:00-20:00", "`Mo` is no day");
        check("Mon- 08:00-20:00", "`` is no day");
        for time in ["8:00", "08:60", "24:01", "0800", "+8:00", "08:00:00"] {
            check(&format!("Mon {time}-23:00"), &format!("`{time}` is no time of the day"));
        }
        check("Fri 22:00-06:00", "write what goes past midnight as two");
        check("Fri 08:00-08:00", "ends before it begins");
        assert_eq!(Hours::in_zone("Europe/Atlantis"), None);
        let mut many = Hours::default();
        for _ in 0..14 {
            many.add("Mon-Sun 08:00-09:00").unwrap();
        }
        assert_eq!(many.add("Mon-Wed 08:00-09:00"), Err(WindowError::TooMany));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// A5, A14: an opening and a closing are the first minutes at which the clock says so, on
        /// days when it is set too; a minute after minute search finds none before.
        #[test]
        fn nothing_is_missed_and_nothing_comes_early(
            zone in prop::sample::select(vec![
                "Europe/Berlin", "America/Sao_Paulo", "Australia/Lord_Howe", "Asia/Beirut", "UTC",
            ]),
            spans in prop::collection::vec((0..7_u8, 0..1440_u16, 1..600_u16), 1..5),
            start in 0..9_u64,
            minutes in 0..2880_u64,
        ) {
            let mut hours = Hours::in_zone(zone).unwrap();
            for (day, from, length) in spans {
                hours.windows.push(Window { day, from, to: (from + length).min(1440) });
            }
            // Around days when clocks are set in one of the zones, and midnight is left out.
            let starts = [
                "2026-03-28 00:00", "2026-10-24 00:00", "2018-11-03 00:00", "2019-02-16 00:00",
                "2026-04-04 00:00", "2026-10-03 00:00", "2026-03-28 12:00", "2026-06-01 00:00",
                "2024-02-28 12:00",
            ];
            let at = utc(starts[start as usize]) + minutes * 60_000;
            let first = |is_open| {
                (0..15 * 1440).map(|nth| at + nth * 60_000).find(|ms| hours.is_open(*ms) == is_open)
            };
            let opens = hours.opening(at);
            prop_assert_eq!(Some(opens), first(true));
            if hours.is_open(at) {
                prop_assert_eq!(hours.closing(at), first(false));
            }
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,24}") {
            let mut hours = Hours::default();
            if hours.add(&text).is_ok() {
                prop_assert!(hours.is_open(hours.opening(0)));
            }
        }
    }
}
