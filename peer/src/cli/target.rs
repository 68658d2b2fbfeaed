//! What to fetch, as people write it: `NAME`, `NAME@3`, `NAME@sha256:...`, or a `.swarm` file.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use protocol::{Metafile, ObjectId, SafePath};

use super::args::Args;
use super::errors::{CliError, too_large};
use super::exit::Exit;
use crate::job::Target;

/// A target, with what came along in a metafile.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    /// What the machine is told.
    pub target: Target,
    /// As typed, for messages.
    pub typed: String,
    /// Trackers named by a metafile.
    pub trackers: Vec<String>,
}

/// Room for the manifest, the name and the trackers of the largest metafile.
const MAX_METAFILE: u64 = protocol::limits::MAX_MANIFEST as u64 + 65_536;

/// Reads the next argument as a target: a file that exists and is called `*.swarm`, or a name.
///
/// # Errors
/// When it is missing, no name, or no metafile.
pub(crate) fn read(args: &mut Args) -> Result<Wanted, CliError> {
    let command = args.command();
    let word = args.required("NAME or FILE.swarm")?;
    if is_metafile(&word) {
        return open(command, Path::new(&word));
    }
    let typed = word.into_string().map_err(|raw| {
        let what = format!("'{}' is not valid UTF-8", raw.to_string_lossy());
        CliError::usage(command, what, "names are UTF-8 text".to_owned())
    })?;
    let target = parse_name(command, &typed)?;
    Ok(Wanted { target, typed, trackers: Vec::new() })
}

fn is_metafile(word: &OsString) -> bool {
    let path = Path::new(word);
    path.extension().is_some_and(|extension| extension == "swarm") && path.is_file()
}

fn open(command: &'static str, path: &Path) -> Result<Wanted, CliError> {
    let failed = |error| CliError::file("read", path, &error);
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    file.take(MAX_METAFILE + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX_METAFILE {
        return Err(too_large(command, &path.display().to_string(), MAX_METAFILE));
    }
    let damaged = |problem: String| {
        CliError::new(
            Exit::INTEGRITY,
            format!("{} is not a usable .swarm file", path.display()),
            problem,
            "make it again: peer create PATH".to_owned(),
        )
    };
    let metafile = Metafile::parse(&bytes).map_err(|error| damaged(error.to_string()))?;
    let name = SafePath::new(&metafile.name).map_err(|error| damaged(error.to_string()))?;
    Ok(Wanted {
        typed: metafile.name,
        trackers: metafile.trackers,
        target: Target::Manifest { name, manifest: metafile.manifest },
    })
}

/// Reads `NAME`, `NAME@VERSION` or `NAME@sha256:HEX`. An `@` before anything else belongs to the name.
///
/// # Errors
/// When the name breaks the rules for names, or the digest is cut short.
pub(crate) fn parse_name(command: &str, typed: &str) -> Result<Target, CliError> {
    let name = |text: &str| {
        SafePath::new(text).map_err(|error| {
            CliError::usage(command, format!("'{text}' can't be a name"), error.to_string())
        })
    };
    let Some((head, tail)) = typed.rsplit_once('@') else {
        return Ok(Target::Name { name: name(typed)?, version: 0 });
    };
    if let Some(hex) = tail.strip_prefix("sha256:") {
        let object = ObjectId::from_hex(hex).ok_or_else(|| {
            let what = format!("'{typed}' has no whole digest");
            let detail = "sha256: takes all 64 hexadecimal digits; see: peer info NAME";
            CliError::usage(command, what, detail.to_owned())
        })?;
        return Ok(Target::Exact { name: name(head)?, object });
    }
    if !tail.is_empty() && tail.bytes().all(|byte| byte.is_ascii_digit()) {
        let version = tail.parse().ok().filter(|version| *version > 0).ok_or_else(|| {
            let what = format!("'{typed}' names no version");
            CliError::usage(command, what, "versions count from 1".to_owned())
        })?;
        return Ok(Target::Name { name: name(head)?, version });
    }
    Ok(Target::Name { name: name(typed)?, version: 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(typed: &str) -> Result<String, String> {
        match parse_name("fetch", typed) {
            Ok(Target::Name { name, version }) => Ok(format!("{name} {version}")),
            Ok(Target::Exact { name, object }) => Ok(format!("{name} {object:?}")),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => Err(error.what),
        }
    }

    #[test]
    fn names_versions_and_digests() {
        let hex = "9f2c".repeat(16);
        let table = [
            ("llama", "llama 0"),
            ("llama@3", "llama 3"),
            ("a/b c@12", "a/b c 12"),
            ("user@host", "user@host 0"),
            ("user@host@2", "user@host 2"),
            ("v@", "v@ 0"),
        ];
        for (typed, expected) in table {
            assert_eq!(shape(typed).as_deref(), Ok(expected), "{typed}");
        }
        assert_eq!(shape(&format!("llama@sha256:{hex}")).as_deref(), Ok("llama 9f2c9f2c"));
        for typed in ["", "@3", "../x", "/abs", "a//b", "a@0", "a@99999999999", "a@sha256:9f2c"] {
            assert!(shape(typed).is_err(), "{typed}");
        }
    }
}
