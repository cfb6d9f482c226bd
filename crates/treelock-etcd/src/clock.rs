//! Clocks: one that goes on while the machine sleeps, as leases do, and the one that people see.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Returns the time since the machine was started, including suspension.
#[cfg(target_os = "linux")]
pub(crate) fn now() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// Returns the time since the first call. On some systems `Instant` goes on during suspension, on
/// some it does not.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

/// Returns the time since 1970, by the clock that people see. It may jump.
pub(crate) fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
