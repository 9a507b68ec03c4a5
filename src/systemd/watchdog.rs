//! How often a supervisor wants to hear that we live.

use std::time::Duration;

/// The shortest pause between two signs of life.
const SHORTEST: Duration = Duration::from_millis(1);

/// The pause between two signs of life: half of `WATCHDOG_USEC`, unless it is meant for another process than `pid`
/// (sd_watchdog_enabled(3)).
pub(super) fn pause(usec: Option<&str>, meant_for: Option<&str>, pid: u32) -> Option<Duration> {
    if meant_for.is_some_and(|meant_for| meant_for.parse() != Ok(pid)) {
        return None;
    }
    let usec: u64 = usec?.parse().ok()?;
    let pause = Duration::from_micros(usec) / 2;
    (usec > 0).then(|| pause.max(SHORTEST))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_asked_of_us_and_nothing_of_what_is_asked_of_others() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(pause(Some("2000000"), Some("7"), 7), second);
        assert_eq!(pause(Some("2000000"), None, 7), second);
        assert_eq!(pause(Some("1"), None, 7), Some(SHORTEST));
        for (usec, meant_for) in [
            (Some("2000000"), Some("8")),
            (Some("2000000"), Some("")),
            (None, Some("7")),
            (Some("0"), None),
            (Some("-1"), None),
            (Some("2 s"), None),
        ] {
            assert_eq!(pause(usec, meant_for, 7), None, "{usec:?} {meant_for:?}");
        }
    }
}
