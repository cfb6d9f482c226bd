//! Which versions of etcd are fit for locks.

/// What is known of a version.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Grade {
    Supported,
    /// Older than this one, the oldest that is supported.
    Old(&'static str),
    /// It has a bug that breaks locks.
    Broken(&'static str),
    Unknown,
}

/// Grades a version. The numbers are those of etcd's issues.
pub(super) fn grade(version: &str) -> Grade {
    const REVOKED: &str = "a leader that was paused revokes leases that were renewed, so two may \
                           hold one lock, and only tokens keep them apart (etcd#15247)";
    const CRASH: &str = "a read that is cancelled can crash the member (etcd#14110)";
    const CORRUPT: &str = "a member that is killed can lose what it wrote (etcd#13766)";
    let number = version.split(['-', '+']).next().unwrap_or_default();
    let parts: Option<Vec<u32>> = number.split('.').map(|part| part.parse().ok()).collect();
    match parts.as_deref() {
        Some([3, 5, 0..=2]) => Grade::Broken(CORRUPT),
        Some([3, 5, 3..=4]) => Grade::Broken(CRASH),
        Some([3, 4, 0..=30] | [3, 5, 5..=12]) => Grade::Broken(REVOKED),
        Some([3, 4, 31..=37]) => Grade::Old("3.4.38"),
        Some([3, 5, 13..=22]) => Grade::Old("3.5.23"),
        Some([3, 6, 0..=4]) => Grade::Old("3.6.5"),
        Some([3, 4..=6, _]) => Grade::Supported,
        _ => Grade::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for version in ["3.4.38", "3.5.23", "3.6.5", "3.5.30", "3.6.10", "3.6.5+git"] {
            assert_eq!(grade(version), Grade::Supported, "{version}");
        }
        for (version, oldest) in [
            ("3.4.31", "3.4.38"),
            ("3.4.37", "3.4.38"),
            ("3.5.13", "3.5.23"),
            ("3.5.22", "3.5.23"),
            ("3.6.0", "3.6.5"),
            ("3.6.0-rc.1", "3.6.5"),
            ("3.6.4", "3.6.5"),
        ] {
            assert_eq!(grade(version), Grade::Old(oldest), "{version}");
        }
        for (version, number) in [
            ("3.4.0", "15247"),
            ("3.4.23", "15247"),
            ("3.4.30", "15247"),
            ("3.5.0", "13766"),
            ("3.5.2", "13766"),
            ("3.5.4", "14110"),
            ("3.5.12", "15247"),
        ] {
            let Grade::Broken(why) = grade(version) else { panic!("{version}") };
            assert!(why.contains(number), "{version}: {why}");
        }
        for version in ["3.3.27", "4.0.0", "3.7.0", "3.5", "", "x.y.z", "3.4.38.1"] {
            assert_eq!(grade(version), Grade::Unknown, "{version}");
        }
    }
}
