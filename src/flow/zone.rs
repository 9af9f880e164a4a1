//! Time zones of the IANA database, compiled in: what a clock shows where.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A zone by its IANA name, `UTC`, or an offset such as `+02:00`.
pub(super) fn find(name: &str) -> Option<TimeZone> {
    if name.eq_ignore_ascii_case("utc") || name.eq_ignore_ascii_case("etc/utc") {
        return Some(TimeZone::UTC);
    }
    TimeZone::get(name).ok()
}

/// Minutes that clocks of a zone are ahead of UTC at a moment.
pub(super) fn offset_minutes(zone: &str, ms: f64) -> Option<f64> {
    let at = moment(ms)?;
    Some(f64::from(find(zone)?.to_offset(at).seconds()) / 60.0)
}

/// What a zone is called at a moment, such as `CEST`.
pub(super) fn abbreviation(zone: &str, ms: f64) -> Option<String> {
    let (at, zone) = (moment(ms)?, find(zone)?);
    Some(zone.to_offset_info(at).abbreviation().to_owned())
}

/// Moments beyond the years that the calendar knows are its ends.
fn moment(ms: f64) -> Option<Timestamp> {
    if !ms.is_finite() {
        return None;
    }
    let (first, last) = (Timestamp::MIN.as_millisecond(), Timestamp::MAX.as_millisecond());
    Timestamp::from_millisecond((ms as i64).clamp(first, last)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summer_and_winter() {
        let check = |zone, ms, minutes, name: &str| {
            assert_eq!(offset_minutes(zone, ms), Some(minutes));
            assert_eq!(abbreviation(zone, ms).as_deref(), Some(name));
        };
        check("Europe/Berlin", 1_700_000_000_000.0, 60.0, "CET");
        check("Europe/Berlin", 1_720_000_000_000.0, 120.0, "CEST");
        check("America/New_York", 1_720_000_000_000.0, -240.0, "EDT");
        check("UTC", 0.0, 0.0, "UTC");
        assert_eq!(offset_minutes("Nowhere/City", 0.0), None);
        assert_eq!(offset_minutes("UTC", f64::NAN), None);
    }
}
