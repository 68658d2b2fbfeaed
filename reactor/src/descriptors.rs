//! How many connections the process's limit of open files allows.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::Options;

/// The most connections at once: what `options` wants, or what the limit leaves.
pub(crate) fn connections_max(options: &Options) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if options.raise_descriptor_limit && limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        match setrlimit(Resource::Nofile, raised) {
            Ok(()) => limit = raised,
            Err(error) => log::debug!("soft limit of open files not raised error={error}"),
        }
    }
    let files = limit.current.and_then(|current| usize::try_from(current).ok());
    let max = capped(options, files.unwrap_or(usize::MAX));
    if max < options.max_connections {
        log::debug!("connections capped at {max} by the limit of open files");
    }
    max
}

fn capped(options: &Options, files: usize) -> usize {
    options.max_connections.min(files - options.reserved_descriptors.min(files / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_their_share() {
        let options =
            Options { max_connections: 1000, reserved_descriptors: 100, ..Options::default() };
        for (files, max) in [(0, 0), (1, 1), (64, 32), (300, 200), (1100, 1000), (usize::MAX, 1000)]
        {
            assert_eq!(capped(&options, files), max, "{files} files");
        }
    }
}
