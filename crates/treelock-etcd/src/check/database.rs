//! How full the members' databases are.

use etcd_client::StatusResponse;
use treelock::engine::Finding;

use super::member::Seen;

/// etcd's quota unless it was configured otherwise.
const DEFAULT_QUOTA_BYTES: i64 = 2 << 30;

/// How much of its quota a database may take before somebody should look.
const FILLED_SHARE_MAX: f64 = 0.8;

/// Judges the database that is closest to its quota.
pub(super) fn size(answers: &[(&Seen, &StatusResponse)]) -> Finding {
    let sizes = answers.iter().map(|(member, status)| {
        let told =
            Some(status.db_size_quota()).filter(|quota| *quota != 0).or(member.metrics.quota);
        (status.db_size(), told)
    });
    let share = |(size, quota): &(i64, Option<i64>)| match quota.unwrap_or(DEFAULT_QUOTA_BYTES) {
        ..=0 => 0.0,
        quota => *size as f64 / quota as f64,
    };
    let fullest = sizes.max_by(|one, two| share(one).total_cmp(&share(two)));
    let (size, quota) = fullest.expect("somebody answered");
    let what = match quota {
        Some(..=0) => format!("the database takes {} and has no quota", bytes(size)),
        Some(quota) => format!("the database takes {} of {}", bytes(size), bytes(quota)),
        None => format!(
            "the database takes {}; its quota cannot be seen from here ({} if nobody changed it)",
            bytes(size),
            bytes(DEFAULT_QUOTA_BYTES)
        ),
    };
    match share(&(size, quota)) > FILLED_SHARE_MAX {
        true => Finding::odd(
            format!("{what}; once it is full, nobody gets a lock"),
            "compact and defragment it, or raise its quota",
        ),
        false => Finding::good(what),
    }
}

fn bytes(number: i64) -> String {
    const UNITS: [&str; 3] = ["kB", "MB", "GB"];
    let mut amount = number as f64 / 1000.0;
    let mut unit = 0;
    while amount >= 999.95 && unit + 1 < UNITS.len() {
        amount /= 1000.0;
        unit += 1;
    }
    format!("{amount:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (number, text) in [
            (0, "0.0 kB"),
            (20_480, "20.5 kB"),
            (999_999, "1.0 MB"),
            (DEFAULT_QUOTA_BYTES, "2.1 GB"),
        ] {
            assert_eq!(bytes(number), text);
        }
    }
}
