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
    let Some(files) = limit.current.and_then(|current| usize::try_from(current).ok()) else {
        return options.max_connections;
    };
    let room = files - options.reserved_descriptors.min(files / 2);
    if room < options.max_connections {
        log::debug!("connections capped at {room} by the limit of {files} open files");
    }
    options.max_connections.min(room)
}
