//! Sizes, rates, durations and addresses as people type them.
//!
//! Strict: what is not clearly one value is refused with a message that shows a right one. Each function
//! returns the reason only; who calls it knows the flag.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Port of a tracker whose address names none.
pub(crate) const TRACKER_PORT: u16 = 9000;
/// Tracker of somebody who names none.
pub(crate) const DEFAULT_TRACKER: &str = "127.0.0.1:9000";

/// Bytes: `1500`, `64K`, `1.5G` (1024-based), `64KB` (1000-based), `64KiB`.
///
/// # Errors
/// When it is not a number with one of these units, or needs more than 64 bits.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_number(text);
    let factor = unit_factor(unit).ok_or_else(|| size_unit_error(unit))?;
    scaled(number, factor).ok_or_else(|| {
        "expected a size such as 500M (1024-based), 500MB (1000-based) or 1.5G".to_owned()
    })
}

/// Bytes per second: a size, with or without `/s`; at least 1.
///
/// # Errors
/// As [`size`], and when it is zero.
pub(crate) fn rate(text: &str) -> Result<u64, String> {
    let bytes = size(text.strip_suffix("/s").unwrap_or(text))?;
    if bytes == 0 {
        return Err("a rate of 0 would move nothing; leave the flag out for no limit".to_owned());
    }
    Ok(bytes)
}

/// A span of time: `500ms`, `90s`, `5m`, `2h`, `1d`, or several: `1h30m`. `0` needs no unit.
///
/// # Errors
/// When a unit is missing or unknown, or it is longer than a century.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    const EXPECTED: &str = "expected a duration such as 30s, 5m, 2h or 1h30m";
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut total_ms = 0u64;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, tail) = split_number(rest);
        let unit_len = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, after) = tail.split_at(unit_len);
        let unit_ms = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "" => return Err(format!("no unit; {EXPECTED}")),
            _ => return Err(format!("unknown unit {unit:?}; {EXPECTED}")),
        };
        let part = scaled(number, unit_ms).ok_or_else(|| EXPECTED.to_owned())?;
        total_ms = total_ms.checked_add(part).ok_or_else(|| EXPECTED.to_owned())?;
        rest = after;
    }
    const CENTURY_MS: u64 = 100 * 366 * 86_400_000;
    if text.is_empty() || total_ms > CENTURY_MS {
        return Err(EXPECTED.to_owned());
    }
    Ok(Duration::from_millis(total_ms))
}

/// A duration where `0` and `off` mean never.
///
/// # Errors
/// As [`duration`].
pub(crate) fn optional_duration(text: &str) -> Result<Option<Duration>, String> {
    if text == "off" {
        return Ok(None);
    }
    Ok(Some(duration(text)?).filter(|span| !span.is_zero()))
}

/// `yes` or `no` and what is commonly written for them, as in environment variables.
///
/// # Errors
/// When it is neither.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err("expected yes or no".to_owned()),
    }
}

/// A whole number from 1 to `max`.
///
/// # Errors
/// When it is not.
pub(crate) fn count(text: &str, max: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|n| (1..=max).contains(n));
    number.ok_or_else(|| format!("expected a whole number from 1 to {max}"))
}

/// Trackers, separated by commas, each made to the form `host:port`.
///
/// # Errors
/// When one is not an address; see [`tracker`].
pub(crate) fn trackers(text: &str) -> Result<Vec<String>, String> {
    text.split(',').map(|one| tracker(one.trim())).collect()
}

/// `HOST`, `HOST:PORT`, `IPv6` or `[IPv6]:PORT`, made to the form `host:port`.
///
/// # Errors
/// When it is none of these.
pub(crate) fn tracker(text: &str) -> Result<String, String> {
    let expected = || "expected HOST:PORT, such as 10.0.0.5:9000 or [fd00::5]:9000".to_owned();
    if text.contains("://") {
        return Err("expected HOST:PORT, without a scheme such as http://".to_owned());
    }
    if let Ok(addr) = text.parse::<SocketAddr>() {
        return if addr.port() == 0 { Err(expected()) } else { Ok(addr.to_string()) };
    }
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, TRACKER_PORT).to_string());
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port_number(port).ok_or_else(expected)?),
        None => (text, TRACKER_PORT),
    };
    let host_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    if host.is_empty() || host.len() > 253 || !host.chars().all(host_char) {
        return Err(expected());
    }
    Ok(format!("{host}:{port}"))
}

/// Where to accept connections: `IP:PORT`, or `PORT` on all addresses of this machine. Port 0 lets the
/// system choose.
///
/// # Errors
/// When it is neither.
pub(crate) fn listen(text: &str) -> Result<Listen, String> {
    if let Ok(port) = text.strip_prefix(':').unwrap_or(text).parse() {
        return Ok(Listen::AllAddresses(port));
    }
    text.parse().map(Listen::At).map_err(|_| {
        "expected IP:PORT, such as 0.0.0.0:7000 or [::]:7000, or only a port".to_owned()
    })
}

/// Where to accept connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listen {
    /// On this port of every address, IPv4 and IPv6.
    AllAddresses(u16),
    /// Here.
    At(SocketAddr),
}

/// An address to hand to others: `IP:PORT` with a port.
///
/// # Errors
/// When it is anything else.
pub(crate) fn advertise(text: &str) -> Result<SocketAddr, String> {
    let usable = |addr: &SocketAddr| addr.port() != 0 && !addr.ip().is_unspecified();
    text.parse().ok().filter(usable).ok_or_else(|| {
        "expected an address that others can reach, such as 203.0.113.7:7000".to_owned()
    })
}

fn port_number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port != 0 && text.bytes().all(|b| b.is_ascii_digit()))
}

/// Cuts `12.5GB` into `12.5` and `GB`.
fn split_number(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.split_at(end)
}

fn unit_factor(unit: &str) -> Option<u64> {
    let lower = unit.to_ascii_lowercase();
    // `Mb` is how people write megabits; nobody here means those.
    if lower.len() == 2 && unit.ends_with('b') && !unit.starts_with(|c: char| c.is_lowercase()) {
        return None;
    }
    Some(match lower.as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    })
}

fn size_unit_error(unit: &str) -> String {
    if unit.to_ascii_lowercase().contains("bit") || (unit.len() == 2 && unit.ends_with('b')) {
        format!("{unit:?} reads as bits; sizes and rates are in bytes: 500M, or 500MB")
    } else {
        format!("unknown unit {unit:?}; use K, M, G, T (1024-based) or KB, MB, GB, TB (1000-based)")
    }
}

/// `number` times `factor`, exactly down to one unit; at most nine digits after the point.
fn scaled(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.len() > 9 || (number.contains('.') && fraction.is_empty()) {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    let mut part = 0;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).ok()?;
        let numerator = u128::from(fraction.parse::<u64>().ok()?) * u128::from(factor);
        part = u64::try_from(numerator / 10u128.pow(digits)).ok()?;
    }
    whole.checked_add(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        let good = [
            ("0", 0),
            ("1500", 1_500),
            ("64K", 65_536),
            ("64k", 65_536),
            ("64KiB", 65_536),
            ("64KB", 64_000),
            ("64kb", 64_000),
            ("1.5G", 1_610_612_736),
            ("2.5MB", 2_500_000),
            ("7b", 7),
            ("16777215T", 16_777_215 << 40),
        ];
        for (text, bytes) in good {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "-1", "1 M", "1.M", ".5M", "1.2.3", "5Mb", "8Mbit", "1X", "16777216T"]
        {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(size("5Mb").unwrap_err().contains("bits"));
        assert_eq!(rate("80M/s"), Ok(80 << 20));
        assert!(rate("0").is_err());
    }

    #[test]
    fn durations() {
        let good = [
            ("0", 0),
            ("500ms", 500),
            ("90s", 90_000),
            ("1.5s", 1_500),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("2d", 172_800_000),
        ];
        for (text, ms) in good {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "5", "s", "5x", "1h30", "-5s", "5 s", "1e9s", "99999999d", "5m m"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert_eq!(optional_duration("off"), Ok(None));
        assert_eq!(optional_duration("0s"), Ok(None));
        assert_eq!(optional_duration("1s"), Ok(Some(Duration::from_secs(1))));
    }

    #[test]
    fn tracker_addresses() {
        let good = [
            ("10.0.0.5", "10.0.0.5:9000"),
            ("10.0.0.5:80", "10.0.0.5:80"),
            ("tracker.example", "tracker.example:9000"),
            ("tracker.example:1", "tracker.example:1"),
            ("::1", "[::1]:9000"),
            ("[::1]", "[::1]:9000"),
            ("[fd00::5]:77", "[fd00::5]:77"),
        ];
        for (text, address) in good {
            assert_eq!(tracker(text).as_deref(), Ok(address), "{text}");
        }
        for text in ["", ":9000", "a:0", "a:70000", "a:+1", "http://a:1", "a b", "a/b", "1.2.3.4:0"]
        {
            assert!(tracker(text).is_err(), "{text}");
        }
        assert_eq!(trackers("a, b:1"), Ok(vec!["a:9000".to_owned(), "b:1".to_owned()]));
        assert!(trackers("a,,b").is_err());
    }

    #[test]
    fn own_addresses() {
        assert_eq!(listen("7000"), Ok(Listen::AllAddresses(7000)));
        assert_eq!(listen(":0"), Ok(Listen::AllAddresses(0)));
        assert_eq!(listen("127.0.0.1:0"), Ok(Listen::At(([127, 0, 0, 1], 0).into())));
        assert!(listen("localhost").is_err());
        assert!(advertise("203.0.113.7:7000").is_ok());
        assert!(advertise("203.0.113.7:0").is_err());
        assert!(advertise("0.0.0.0:7000").is_err());
    }

    #[test]
    fn switches_and_counts() {
        assert_eq!(switch("Yes"), Ok(true));
        assert_eq!(switch("0"), Ok(false));
        assert!(switch("maybe").is_err());
        assert_eq!(count("50", 100), Ok(50));
        assert!(count("0", 100).is_err());
        assert!(count("101", 100).is_err());
    }
}
