//! The only place that reads the system's entropy.

use std::io;

use rustix::rand::{GetRandomFlags, getrandom};

/// `N` bytes from the system's generator, fit for keys and identities.
///
/// # Errors
/// When the system has no entropy source, which on Linux means a kernel older than 3.17.
pub fn random_bytes<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// A seed for [`crate::Rng`].
///
/// # Errors
/// As [`random_bytes`].
pub fn random_seed() -> io::Result<u64> {
    Ok(u64::from_le_bytes(random_bytes()?))
}
