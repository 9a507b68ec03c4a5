//! The time of a line: RFC 3339 in UTC with microseconds.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Formats times; remembers the second it formatted last, since most lines share it with the one before.
#[derive(Clone, Debug)]
pub struct Timestamp {
    second: u64,
    text: [u8; 27],
}

impl Default for Timestamp {
    fn default() -> Self {
        Self {
            second: u64::MAX,
            text: *b"1970-01-01T00:00:00.000000Z",
        }
    }
}

impl Timestamp {
    /// `at` as `2026-11-20T18:21:06.123456Z`; times before 1970 are shown as 1970.
    pub fn of(&mut self, at: SystemTime) -> &[u8] {
        let since = at.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        if since.as_secs() != self.second {
            self.second = since.as_secs();
            self.write_second();
        }
        put(&mut self.text[20..26], u64::from(since.subsec_micros()));
        &self.text
    }

    /// The second that was formatted last as `21/Nov/2026:18:21:06 +0000`, the Common Log Format's way.
    pub fn common(&self) -> [u8; 26] {
        const MONTHS: &[u8] = b"JanFebMarAprMayJunJulAugSepOctNovDec";
        let mut common = *b"01/Jan/1970:00:00:00 +0000";
        let month = usize::from(self.text[5] - b'0') * 10 + usize::from(self.text[6] - b'0');
        common[..2].copy_from_slice(&self.text[8..10]);
        common[3..6].copy_from_slice(&MONTHS[3 * (month - 1)..3 * month]);
        common[7..11].copy_from_slice(&self.text[..4]);
        common[12..20].copy_from_slice(&self.text[11..19]);
        common
    }

    fn write_second(&mut self) {
        let (days, rest) = (self.second / 86_400, self.second % 86_400);
        let (year, month, day) = civil(days);
        let parts = [(0..4, year), (5..7, month), (8..10, day)];
        let clock = [
            (11..13, rest / 3_600),
            (14..16, rest / 60 % 60),
            (17..19, rest % 60),
        ];
        for (place, value) in parts.into_iter().chain(clock) {
            put(&mut self.text[place], value);
        }
    }
}

fn put(place: &mut [u8], mut value: u64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
    }
}

/// Year, month and day of a day since 1970-01-01, in the proleptic Gregorian calendar; years are counted from March, so
/// that the leap day is a year's last.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_are_formatted() {
        let mut timestamp = Timestamp::default();
        for (seconds, micros, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_400, 7, "2000-02-29T00:00:00.000007Z"),
            (951_868_799, 999_999, "2000-02-29T23:59:59.999999Z"),
            (1_709_251_199, 0, "2024-02-29T23:59:59.000000Z"),
            (1_795_285_266, 123_456, "2026-11-21T18:21:06.123456Z"),
            (4_102_444_800, 0, "2100-01-01T00:00:00.000000Z"),
        ] {
            let at = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_micros(micros);
            assert_eq!(std::str::from_utf8(timestamp.of(at)).unwrap(), expected);
        }
    }

    #[test]
    fn the_common_log_format_has_months_by_name() {
        let mut timestamp = Timestamp::default();
        timestamp.of(UNIX_EPOCH + Duration::from_secs(1_795_285_266));
        assert_eq!(timestamp.common(), *b"21/Nov/2026:18:21:06 +0000");
        timestamp.of(UNIX_EPOCH + Duration::from_secs(1_798_761_599));
        assert_eq!(timestamp.common(), *b"31/Dec/2026:23:59:59 +0000");
        timestamp.of(UNIX_EPOCH);
        assert_eq!(timestamp.common(), *b"01/Jan/1970:00:00:00 +0000");
    }
}
