//! When to do what about a certificate; pure, but for the one sleep.

use std::time::{Duration, SystemTime};

use super::validity::Validity;

/// How long to wait after the first refusal. With two challenges tried at first and one each time after, this keeps below
/// five failed validations an hour, which is what Let's Encrypt allows.
const REFUSED: Duration = Duration::from_secs(4 * 60);

/// And after however many.
const REFUSED_LONGEST: Duration = Duration::from_secs(6 * 60 * 60);

/// How long to wait when a directory is not there, at first; nobody counts that.
const UNREACHABLE: Duration = Duration::from_secs(2);

/// And after however many times.
const UNREACHABLE_LONGEST: Duration = Duration::from_secs(10 * 60);

/// The longest sleep at once: clocks are set, and machines sleep.
const NAP: Duration = Duration::from_secs(60 * 60);

/// When a certificate is to be renewed: when the CA says so (RFC 9773), else with a third of its life left, a little later
/// by `chance`, which is from 0 to 1. A CA's word is taken only as far as it leaves time to try again.
pub(super) fn renew_at(
    validity: &Validity,
    suggested: Option<SystemTime>,
    chance: f64,
) -> SystemTime {
    let third = validity.lifetime() / 3;
    match suggested {
        Some(at) => at.min(validity.until - third / 4),
        None => validity.until - third + third.mul_f64(chance / 10.0),
    }
}

/// A point within the window that a CA suggests; RFC 9773 section 4.2.
pub(super) fn within(start: SystemTime, end: SystemTime, chance: f64) -> SystemTime {
    start
        + end
            .duration_since(start)
            .unwrap_or_default()
            .mul_f64(chance)
}

/// How long to wait after the CA has said no `failures` times in a row.
pub(super) fn after_refusals(failures: u32, chance: f64) -> Duration {
    backoff(REFUSED, REFUSED_LONGEST, failures, chance)
}

/// How long to wait after the directory was not there `failures` times in a row.
pub(super) fn after_silences(failures: u32, chance: f64) -> Duration {
    backoff(UNREACHABLE, UNREACHABLE_LONGEST, failures, chance)
}

/// Doubles with each failure; up to a quarter more by chance, and never less: nothing is asked too early.
fn backoff(first: Duration, longest: Duration, failures: u32, chance: f64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else {
        return Duration::ZERO;
    };
    let wait = first.saturating_mul(2_u32.saturating_pow(doublings));
    wait.min(longest).mul_f64(1.0 + chance / 4.0)
}

/// Sleeps until the wall clock says `at`.
pub(super) async fn sleep_until(at: SystemTime) {
    while let Ok(left) = at.duration_since(SystemTime::now()) {
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(NAP)).await;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    fn validity(days: u32) -> Validity {
        Validity {
            from: SystemTime::UNIX_EPOCH,
            until: SystemTime::UNIX_EPOCH + DAY * days,
        }
    }

    fn days(at: SystemTime) -> f64 {
        at.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap()
            .as_secs_f64()
            / DAY.as_secs_f64()
    }

    #[test]
    fn a_third_of_the_life_is_left_however_long_it_is() {
        for (lifetime, expected) in [(90, 60.0), (45, 30.0), (6, 4.0)] {
            assert_eq!(days(renew_at(&validity(lifetime), None, 0.0)), expected);
        }
        assert!((days(renew_at(&validity(90), None, 0.5)) - 61.5).abs() < 1e-6);
    }

    #[test]
    fn the_cas_word_comes_first_but_for_the_last_moment() {
        let at = |day: u32| SystemTime::UNIX_EPOCH + DAY * day;
        assert_eq!(renew_at(&validity(90), Some(at(1)), 0.0), at(1));
        assert_eq!(renew_at(&validity(90), Some(at(80)), 0.0), at(80));
        assert_eq!(days(renew_at(&validity(90), Some(at(1000)), 0.0)), 82.5);
        assert_eq!(within(at(2), at(4), 0.5), at(3));
        assert_eq!(
            within(at(4), at(2), 0.5),
            at(4),
            "a window the wrong way round"
        );
    }

    #[test]
    fn a_ca_is_never_asked_five_times_an_hour() {
        // Two challenges are tried at first, one each time after.
        let mut attempts = vec![0.0, 0.0];
        let mut now = 0.0;
        for failures in 1..20 {
            now += after_refusals(failures, 0.0).as_secs_f64() / 60.0;
            attempts.push(now);
        }
        for (index, at) in attempts.iter().enumerate() {
            let hour = attempts[index..].iter().filter(|other| **other - at < 60.0);
            assert!(hour.count() <= 5, "from minute {at}: {attempts:?}");
        }
        assert_eq!(after_refusals(1, 0.0), REFUSED);
        assert_eq!(after_refusals(u32::MAX, 0.0), REFUSED_LONGEST);
        assert_eq!(after_refusals(0, 1.0), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn it_is_renewed_while_it_is_good(
            seconds in 1u64..1 << 33, suggested in proptest::option::of(0u64..1 << 34), chance in 0.0..1.0,
        ) {
            let until = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let validity = Validity { from: SystemTime::UNIX_EPOCH, until };
            let suggested = suggested.map(|at| SystemTime::UNIX_EPOCH + Duration::from_secs(at));
            prop_assert!(renew_at(&validity, suggested, chance) < until);
        }

        #[test]
        fn more_failures_never_wait_less(failures in 1u32..100, chance in 0.0..1.0) {
            for wait in [after_refusals, after_silences] {
                prop_assert!(wait(failures, 0.0) <= wait(failures + 1, 0.0));
                prop_assert!(wait(failures, 0.0) <= wait(failures, chance));
            }
        }
    }
}
