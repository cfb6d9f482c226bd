//! Parses the values of options: durations, tickets and process numbers.

use std::time::Duration;

/// Parses a duration: a number of seconds, as timeout(1) and flock(1) accept it, or numbers with
/// units.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let is_number = text.chars().all(|c| c.is_ascii_digit() || c == '.');
    if is_number && let Ok(seconds) = text.parse() {
        // A time too long to represent is as good as no limit.
        return Ok(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    let mut units = text.split(|c: char| !c.is_alphabetic());
    if units.any(|unit| unit == "M") {
        return Err("`M` might be months or minutes; write `m` for minutes".into());
    }
    humantime::parse_duration(text).map_err(|error| error.to_string())
}

/// Parses the duration of a lease that etcd can grant.
pub(super) fn lease(text: &str) -> Result<Duration, String> {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let lease = duration(text)?;
    match lease.subsec_nanos() == 0 && (Duration::from_secs(2)..=DAY).contains(&lease) {
        true => Ok(lease),
        false => Err("a lease lasts a whole number of seconds, from 2 seconds to one day".into()),
    }
}

/// Parses a ticket, as in `7` or `#7`.
pub(super) fn ticket(text: &str) -> Result<u64, String> {
    let number = text.strip_prefix('#').unwrap_or(text).parse();
    number.map_err(|_| "a ticket is a number, as `treelock ls` shows it".into())
}

/// Parses the number of a process.
pub(super) fn pid(text: &str) -> Result<i32, String> {
    match text.parse() {
        Ok(pid @ 1..) => Ok(pid),
        _ => Err("a process has a positive number; in a shell script its own is `$$`".into()),
    }
}

/// Parses how long something lasts.
pub(super) fn lifetime(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it would be over at once".into()),
        lifetime => Ok(lifetime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        for (text, milliseconds) in [
            ("30", 30_000),
            ("0.5", 500),
            ("0", 0),
            ("500ms", 500),
            ("5m", 300_000),
            ("1h 1s", 3_601_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        assert_eq!(duration(&"9".repeat(400)), Ok(Duration::MAX));
        assert_eq!(
            duration("2months"),
            humantime::parse_duration("2months").map_err(|e| e.to_string())
        );
        assert_eq!(lease("2"), Ok(Duration::from_secs(2)));
        assert_eq!(lease("1m"), Ok(Duration::from_secs(60)));
        for text in ["1", "0", "2500ms", "25h", "soon"] {
            assert!(lease(text).is_err(), "{text}");
        }
        for text in ["5M", "1h 5M", "", ".", "1.2.3", "-1", "1e3", "inf", "NaN"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }
}
