//! Numbers, times and colours as people read them. Pure.

use std::fmt::Display;
use std::time::Duration;

const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/// Bytes with one decimal in the largest fitting unit: `131.4 GiB`.
pub(crate) fn bytes(value: u64) -> String {
    let unit = unit_of(value);
    if unit == 0 {
        format!("{value} B")
    } else {
        format!("{} {}", in_unit(value, unit), UNITS[unit])
    }
}

/// [`bytes`] without the space, for words in a log line.
pub(crate) fn bytes_tight(value: u64) -> String {
    bytes(value).replace(' ', "")
}

/// Bytes per second.
pub(crate) fn rate(value: u64) -> String {
    format!("{}/s", bytes(value))
}

/// `done` and `total` in the unit of `total`: `82.9/131.4 GiB`.
pub(crate) fn progress(done: u64, total: u64) -> String {
    let unit = unit_of(total);
    if unit == 0 {
        return format!("{done}/{total} B");
    }
    format!("{}/{} {}", in_unit(done, unit), in_unit(total, unit), UNITS[unit])
}

/// Whole percents, 100 only when all is done; 100 of nothing.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    if total == 0 {
        return 100;
    }
    let percent = u128::from(done) * 100 / u128::from(total);
    u64::try_from(percent).unwrap_or(100).min(100)
}

/// `part` of `whole` in percent with one decimal: `0.2%`.
pub(crate) fn share(part: u64, whole: u64) -> String {
    let tenths = u128::from(part) * 1_000 / u128::from(whole.max(1));
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// `part` divided by `whole` with two decimals: `0.09`.
pub(crate) fn ratio(part: u64, whole: u64) -> String {
    let hundredths = u128::from(part) * 100 / u128::from(whole.max(1));
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

/// A span of time with its two largest units: `2m04s`, `1h05m`, `12d03h`; below ten seconds with a
/// decimal: `1.2s`.
pub(crate) fn span(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0..10 => format!("{s}.{}s", duration.subsec_millis() / 100),
        10..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        _ => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
    }
}

/// A span of time in whole units: `45s`, `2m04s`.
pub(crate) fn whole_span(duration: Duration) -> String {
    match duration.as_secs() {
        s @ 0..10 => format!("{s}s"),
        _ => span(duration),
    }
}

/// How long something takes at `rate` bytes per second; `None` if that says nothing.
pub(crate) fn eta(left: u64, rate: u64) -> Option<Duration> {
    // More than a year is not an estimate.
    const LONGEST_S: u64 = 366 * 86_400;
    let seconds = left.checked_div(rate)?;
    (seconds <= LONGEST_S).then(|| Duration::from_secs(seconds))
}

/// Bytes per second over a span, 0 if it is too short to say.
pub(crate) fn average(bytes: u64, over: Duration) -> u64 {
    let ms = over.as_millis().max(1);
    u64::try_from(u128::from(bytes) * 1_000 / ms).unwrap_or(u64::MAX)
}

/// How long ago a moment was, roughly: `2h ago`.
pub(crate) fn ago(then_s: u64, now_s: u64) -> String {
    if then_s == 0 {
        return "-".to_owned();
    }
    match now_s.saturating_sub(then_s) {
        0..60 => "just now".to_owned(),
        s @ 60..3_600 => format!("{}m ago", s / 60),
        s @ 3_600..86_400 => format!("{}h ago", s / 3_600),
        s @ 86_400..63_072_000 => format!("{}d ago", s / 86_400),
        s => format!("{}y ago", s / 31_536_000),
    }
}

/// A number with separators between thousands: `33,639`.
pub(crate) fn thousands(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.char_indices() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with the right form of a noun: `1 file`, `41 files`.
pub(crate) fn counted(count: usize, one: &str, many: &str) -> String {
    let number = thousands(count as u64);
    format!("{number} {}", if count == 1 { one } else { many })
}

/// The first and last digits of something in hexadecimal: `9f2c…e1d4`.
pub(crate) fn short_hex(id: impl Display) -> String {
    let hex = id.to_string();
    match (hex.get(..4), hex.get(hex.len().saturating_sub(4)..)) {
        (Some(head), Some(tail)) if hex.len() > 8 => format!("{head}…{tail}"),
        _ => hex,
    }
}

/// The last seconds before year 10000, which RFC 3339 can't write.
const LAST_TIMESTAMP_S: u64 = 253_402_300_799;

/// A time since 1970 as RFC 3339 in UTC, to the second: `2026-11-21T09:00:10Z`.
pub(crate) fn timestamp(unix: Duration) -> String {
    let s = unix.as_secs().min(LAST_TIMESTAMP_S);
    let (year, month, day) = civil(s / 86_400);
    let (hour, minute, second) = (s / 3_600 % 24, s / 60 % 60, s % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// [`timestamp`] to the millisecond.
pub(crate) fn timestamp_ms(unix: Duration) -> String {
    let to_second = timestamp(unix);
    format!("{}.{:03}Z", to_second.trim_end_matches('Z'), unix.subsec_millis())
}

/// Year, month and day of the `days`th day after 1970-01-01 (H. Hinnant, "chrono-compatible low-level
/// date algorithms").
fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let day_of_era = z % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

fn unit_of(value: u64) -> usize {
    let mut unit = 0;
    // Rounded up to a whole number of the unit, it would read `1024.0 KiB`: use the next one.
    while unit + 1 < UNITS.len() && tenths(value, unit) >= 10_240 {
        unit += 1;
    }
    unit
}

fn tenths(value: u64, unit: usize) -> u128 {
    let size = 1u128 << (10 * unit);
    (u128::from(value) * 10 + size / 2) / size
}

fn in_unit(value: u64, unit: usize) -> String {
    let tenths = tenths(value, unit);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Colours, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// No colours.
    #[cfg(test)]
    pub(crate) const fn off() -> Self {
        Self { on: false }
    }

    /// Colours if `on`.
    pub(crate) const fn new(on: bool) -> Self {
        Self { on }
    }

    /// For errors.
    pub(crate) fn red(self, text: &str) -> String {
        self.wrap("31;1", text)
    }

    /// For warnings.
    pub(crate) fn yellow(self, text: &str) -> String {
        self.wrap("33;1", text)
    }

    /// For success.
    pub(crate) fn green(self, text: &str) -> String {
        self.wrap("32;1", text)
    }

    fn wrap(self, code: &str, text: &str) -> String {
        if self.on { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_rates() {
        let table = [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_024, "1.0 KiB"),
            (1_048_575, "1.0 MiB"),
            (141_087_789_056, "131.4 GiB"),
            (u64::MAX, "16384.0 PiB"),
        ];
        for (value, text) in table {
            assert_eq!(bytes(value), text);
        }
        assert_eq!(progress(88_986_353_664, 141_087_789_056), "82.9/131.4 GiB");
        assert_eq!(progress(5, 10), "5/10 B");
        assert_eq!(percent(999, 1_000), 99);
        assert_eq!(percent(0, 0), 100);
        assert_eq!(share(2, 1_000), "0.2%");
        assert_eq!(ratio(9, 100), "0.09");
        assert_eq!(average(10, Duration::ZERO), 10_000);
        assert_eq!(eta(90, 2), Some(Duration::from_secs(45)));
        assert_eq!(eta(90, 0), None);
        assert_eq!(eta(u64::MAX, 1), None);
    }

    #[test]
    fn times() {
        let s = Duration::from_secs;
        assert_eq!(span(Duration::from_millis(1_250)), "1.2s");
        assert_eq!(span(s(124)), "2m04s");
        assert_eq!(span(s(3_900)), "1h05m");
        assert_eq!(span(s(90_000)), "1d01h");
        assert_eq!(whole_span(Duration::from_millis(5_900)), "5s");
        assert_eq!(ago(1_000, 1_010), "just now");
        assert_eq!(ago(1_000, 8_300), "2h ago");
        assert_eq!(ago(2_000, 1_000), "just now");
        assert_eq!(ago(0, 1_000), "-");
        let moment = Duration::from_millis(1_795_251_610_004);
        assert_eq!(timestamp(moment), "2026-11-21T09:00:10Z");
        assert_eq!(timestamp_ms(moment), "2026-11-21T09:00:10.004Z");
        assert_eq!(timestamp(s(951_782_400)), "2000-02-29T00:00:00Z");
        assert_eq!(timestamp(s(u64::MAX)), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn words() {
        assert_eq!(thousands(33_639), "33,639");
        assert_eq!(thousands(999), "999");
        assert_eq!(counted(1, "file", "files"), "1 file");
        assert_eq!(short_hex("9f2c00000000e1d4"), "9f2c…e1d4");
        assert_eq!(Paint::off().red("x"), "x");
        assert_eq!(Paint::new(true).red("x"), "\x1b[31;1mx\x1b[0m");
    }
}
