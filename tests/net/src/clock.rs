//! A clock that all processes of a machine share, in whichever network namespace.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let (seconds, rest) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    let time = "the monotonic clock counts up from the machine's start";
    seconds.expect(time) * 1_000_000_000 + rest.expect(time)
}

/// Sleeps until the clock shows `at`; not at all if it has.
pub(crate) fn sleep_until(at: u64) {
    std::thread::sleep(Duration::from_nanos(at.saturating_sub(now_ns())));
}
