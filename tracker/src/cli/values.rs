//! Values of flags, each checked once.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tracker::Secret;

use super::failure::Failure;

/// The port of a tracker that is named without one.
pub(crate) const DEFAULT_PORT: u16 = 9_000;

/// `10s`, `5m`, `2h`, or a bare number of seconds: whole seconds from `min` to `max`.
pub(crate) fn seconds(text: &str, min: u16, max: u16) -> Result<u16, String> {
    let expected = || format!("expected a time from {min}s to {max}s, such as 20s or 2m");
    let (digits, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) => (digits, &text[digits.len()..]),
        None => (text, "s"),
    };
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        _ => 3_600,
    };
    let number: u32 = digits.parse().map_err(|_| expected())?;
    let total = number.checked_mul(factor).and_then(|total| u16::try_from(total).ok());
    total.filter(|total| (min..=max).contains(total)).ok_or_else(expected)
}

/// A number from 1 to `max`.
pub(crate) fn count(text: &str, max: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("expected a number from 1 to {max}"))
}

/// An address to listen on. Names are not looked up: which address they mean is no good surprise.
pub(crate) fn listen_addr(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "expected ADDRESS:PORT, such as 0.0.0.0:9000 or [::1]:9000".to_owned())
}

/// Yes or no.
pub(crate) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "1" | "yes" | "true" | "on" => Ok(true),
        "0" | "no" | "false" | "off" => Ok(false),
        _ => Err("expected yes or no".to_owned()),
    }
}

/// The secret in a file. One newline at its end does not count.
pub(crate) fn secret(path: &Path) -> Result<Secret, Failure> {
    let shown = path.display();
    let unreadable = |error: io::Error| {
        let advice = "check the path, and who may read it";
        Failure::file(format_args!("can't read token file {shown}"), error, advice)
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o007 != 0 {
        let what = format_args!("token file {shown} is open to everybody on this host");
        let advice = format_args!("chmod o-rwx {shown}");
        return Err(Failure::file(what, "a secret that all can read is none", advice));
    }
    let mut bytes = Vec::new();
    let limit = u64::try_from(Secret::MAX_LEN).expect("a few hundred") + 2;
    file.take(limit).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Secret::new(bytes).ok_or_else(|| {
        let detail = format_args!("expected 1 to {} bytes", Secret::MAX_LEN);
        let advice = "make one: head -c 32 /dev/urandom | base64 > FILE";
        Failure::file(format_args!("token file {shown} holds no token"), detail, advice)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_numbers_are_checked() {
        assert_eq!(seconds("15", 1, 300), Ok(15));
        assert_eq!(seconds("15s", 15, 300), Ok(15));
        assert_eq!(seconds("5m", 1, 300), Ok(300));
        assert_eq!(seconds("2h", 1, u16::MAX), Ok(7_200));
        for bad in ["0s", "6m", "", "s", "-1s", "1.5s", "15x", "99999999999s", "20h", "1sm"] {
            assert!(seconds(bad, 1, 300).is_err(), "{bad}");
        }
        assert_eq!(count("7", 10), Ok(7));
        for bad in ["0", "11", "x", "-1", "4294967296"] {
            assert!(count(bad, 10).is_err(), "{bad}");
        }
        assert!(listen_addr("0.0.0.0:9000").is_ok() && listen_addr("[::]:0").is_ok());
        assert!(listen_addr("localhost:9000").is_err() && listen_addr("9000").is_err());
    }
}
