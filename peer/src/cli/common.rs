//! The flags that several commands share, and what they mean.

use std::ffi::OsString;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{Args, Env, Flag, Kind};
use super::errors::{CliError, too_large};
use super::values::{self, Listen};

const fn flag(
    long: &'static str,
    short: Option<char>,
    kind: Kind,
    env: &'static str,
    default: &'static str,
    help: &'static str,
) -> Flag {
    Flag { long, short, kind, env, default, help }
}

/// What is printed, for every command.
pub(crate) const OUTPUT_FLAGS: &[Flag] = &[
    flag(
        "--quiet",
        Some('q'),
        Kind::Count,
        "PEER_QUIET",
        "",
        "only errors, and data on stdout; -qq: no data either",
    ),
    flag(
        "--verbose",
        Some('v'),
        Kind::Count,
        "PEER_VERBOSE",
        "",
        "log what happens; -vv: in detail (or PEER_LOG=FILTER)",
    ),
    flag(
        "--json",
        None,
        Kind::Switch,
        "PEER_JSON",
        "",
        "one JSON object per line on stdout, no text",
    ),
    flag(
        "--progress",
        None,
        Kind::Value("MODE"),
        "PEER_PROGRESS",
        "auto",
        "auto|bar|lines|json|none; json: events on stderr",
    ),
    flag(
        "--interval",
        None,
        Kind::Value("TIME"),
        "PEER_INTERVAL",
        "10s, JSON 1s",
        "time between progress lines",
    ),
    flag("--no-color", None, Kind::Switch, "PEER_NO_COLOR", "", "no colours (NO_COLOR works, too)"),
];

/// Who is asked, and with which rights.
pub(crate) const TRACKER_FLAGS: &[Flag] = &[
    flag(
        "--tracker",
        Some('T'),
        Kind::List("ADDR"),
        "PEER_TRACKER",
        values::DEFAULT_TRACKER,
        "trackers in order of preference: HOST[:PORT],...",
    ),
    flag(
        "--token-file",
        None,
        Kind::Value("FILE"),
        "PEER_TOKEN_FILE",
        "",
        "file with the cluster's secret (or PEER_TOKEN=SECRET)",
    ),
    flag(
        "--state-dir",
        None,
        Kind::Value("DIR"),
        "PEER_STATE_DIR",
        "~/.local/state/starling",
        "keys of your names, remembered hashes",
    ),
];

/// How data is moved.
pub(crate) const TRANSFER_FLAGS: &[Flag] = &[
    flag(
        "--listen",
        Some('l'),
        Kind::List("ADDR"),
        "PEER_LISTEN",
        "any free port",
        "accept peers on IP:PORT, or PORT of all addresses",
    ),
    flag(
        "--advertise",
        None,
        Kind::Value("ADDR"),
        "PEER_ADVERTISE",
        "as seen by the tracker",
        "IP:PORT to hand to others",
    ),
    flag(
        "--up",
        None,
        Kind::Value("RATE"),
        "PEER_UP",
        "no limit",
        "bytes per second to send at most: 80M (1024-based), 80MB (1000-based)",
    ),
    flag(
        "--down",
        None,
        Kind::Value("RATE"),
        "PEER_DOWN",
        "no limit",
        "bytes per second to receive at most",
    ),
    flag(
        "--max-peers",
        None,
        Kind::Value("N"),
        "PEER_MAX_PEERS",
        "50",
        "connections to other peers at most",
    ),
    flag(
        "--threads",
        None,
        Kind::Value("N"),
        "PEER_THREADS",
        "one per core",
        "threads for hashing and files",
    ),
];

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Progress {
    /// A bar on a terminal, else lines.
    #[default]
    Auto,
    /// A bar, if stderr is a terminal at all.
    Bar,
    /// A line now and then.
    Lines,
    /// JSON on stderr.
    Json,
    /// Not at all.
    None,
}

/// What is printed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    /// 1: only errors and data; 2: only errors.
    pub quiet: usize,
    /// 1: info; 2: debug.
    pub verbose: usize,
    /// All output is JSON on stdout.
    pub json: bool,
    /// How progress is shown.
    pub progress: Progress,
    /// Time between progress lines, if given.
    pub interval: Option<Duration>,
    /// Colours are not wanted.
    pub no_color: bool,
}

impl Output {
    /// Reads [`OUTPUT_FLAGS`].
    ///
    /// # Errors
    /// When a value is no such value.
    pub(crate) fn read(args: &mut Args, env: Env<'_>) -> Result<Self, CliError> {
        let progress = |text: &str| match text {
            "auto" => Ok(Progress::Auto),
            "bar" => Ok(Progress::Bar),
            "lines" => Ok(Progress::Lines),
            "json" => Ok(Progress::Json),
            "none" => Ok(Progress::None),
            _ => Err("expected auto, bar, lines, json or none".to_owned()),
        };
        let interval = |text: &str| match values::duration(text)? {
            span if span < Duration::from_millis(100) => Err("at least 100ms".to_owned()),
            span => Ok(span),
        };
        let no_color_env = env("NO_COLOR").is_some_and(|value| !value.is_empty());
        Ok(Self {
            quiet: args.count("--quiet")?,
            verbose: args.count("--verbose")?,
            json: args.switch("--json")?,
            progress: args.value("--progress", progress)?.unwrap_or_default(),
            interval: args.value("--interval", interval)?,
            no_color: args.switch("--no-color")? || no_color_env,
        })
    }
}

/// Who is asked, and with which rights.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Tracking {
    /// As given, if any were.
    pub given: Vec<String>,
    /// Secret of the cluster.
    pub token: Option<Vec<u8>>,
    /// Where keys and caches are, if not in the default place.
    pub state_dir: Option<PathBuf>,
}

/// Bytes of a cluster's secret: what a HELLO has room for.
const MAX_TOKEN: u64 = 512;

impl Tracking {
    /// Reads [`TRACKER_FLAGS`].
    ///
    /// # Errors
    /// When an address is none, or the token file can't be read.
    pub(crate) fn read(args: &mut Args, env: Env<'_>) -> Result<Self, CliError> {
        let given: Vec<_> =
            args.list("--tracker", values::trackers)?.into_iter().flatten().collect();
        let token = match args.path("--token-file") {
            Some(path) => Some(read_token(args.command(), &path)?),
            None => env("PEER_TOKEN").filter(|t| !t.is_empty()).map(OsString::into_encoded_bytes),
        };
        if token.as_ref().is_some_and(|token| token.len() as u64 > MAX_TOKEN) {
            return Err(too_large(args.command(), "the cluster's secret", MAX_TOKEN));
        }
        Ok(Self { given, token, state_dir: args.path("--state-dir") })
    }

    /// The trackers to use when `others` (of a metafile) are known, too.
    pub(crate) fn trackers(&self, others: &[String]) -> Vec<String> {
        match (self.given.as_slice(), others) {
            ([], []) => vec![values::DEFAULT_TRACKER.to_owned()],
            ([], others) => others.to_vec(),
            (given, _) => given.to_vec(),
        }
    }
}

fn read_token(command: &str, path: &Path) -> Result<Vec<u8>, CliError> {
    let failed = |error| CliError::file("read the token file", path, &error);
    let mut token = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_TOKEN + 2).read_to_end(&mut token).map_err(failed)?;
    while token.last().is_some_and(u8::is_ascii_whitespace) {
        token.pop();
    }
    if token.is_empty() {
        let what = format!("the token file {} is empty", path.display());
        return Err(CliError::usage(command, what, "it must hold the secret".to_owned()));
    }
    Ok(token)
}

/// How data is moved.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Transfer {
    /// Where to accept peers; empty = any free port.
    pub listen: Vec<Listen>,
    /// Address to hand to others.
    pub advertise: Option<SocketAddr>,
    /// Bytes per second to send at most.
    pub up: Option<u64>,
    /// Bytes per second to receive at most.
    pub down: Option<u64>,
    /// Connections to other peers, if given.
    pub max_peers: Option<usize>,
    /// Workers, if given.
    pub threads: Option<usize>,
}

impl Transfer {
    /// Reads [`TRANSFER_FLAGS`].
    ///
    /// # Errors
    /// When a value is no such value.
    pub(crate) fn read(args: &mut Args) -> Result<Self, CliError> {
        let listen = |text: &str| -> Result<Vec<Listen>, String> {
            text.split(',').map(|one| values::listen(one.trim())).collect()
        };
        Ok(Self {
            listen: args.list("--listen", listen)?.into_iter().flatten().collect(),
            advertise: args.value("--advertise", values::advertise)?,
            up: args.value("--up", values::rate)?,
            down: args.value("--down", values::rate)?,
            max_peers: args.value("--max-peers", |text| values::count(text, 10_000))?,
            threads: args.value("--threads", |text| values::count(text, 256))?,
        })
    }
}

/// Two flags that contradict each other.
pub(crate) fn conflict(command: &str, one: &str, other: &str) -> CliError {
    let what = format!("{one} and {other} contradict each other");
    CliError::usage(command, what, "give one of them".to_owned())
}

/// Checks a name that is to be published.
///
/// # Errors
/// When it breaks the rules for names.
pub(crate) fn check_name(command: &str, name: &str) -> Result<(), CliError> {
    protocol::check_name(name).map(drop).map_err(|error| {
        CliError::usage(command, format!("'{name}' can't be a name"), error.to_string())
    })
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::*;

    fn args(words: &[&str]) -> Args {
        let words = words.iter().map(OsString::from).collect();
        let groups = [OUTPUT_FLAGS, TRACKER_FLAGS, TRANSFER_FLAGS];
        Args::parse("test", &groups, words, &|_| None).unwrap()
    }

    #[test]
    fn transfer_flags() {
        let words = ["-l", "7000,127.0.0.1:1", "--up=80M", "--down", "1MB/s", "--threads", "3"];
        let transfer = Transfer::read(&mut args(&words)).unwrap();
        let here = SocketAddr::from(([127, 0, 0, 1], 1));
        assert_eq!(transfer.listen, [Listen::AllAddresses(7000), Listen::At(here)]);
        assert_eq!((transfer.up, transfer.down), (Some(80 << 20), Some(1_000_000)));
        assert_eq!((transfer.threads, transfer.max_peers), (Some(3), None));
        assert!(Transfer::read(&mut args(&["--up", "fast"])).is_err());
    }

    #[test]
    fn trackers_given_found_and_default() {
        let read = |words: &[&str]| Tracking::read(&mut args(words), &|_| None).unwrap();
        let others = ["m:1".to_owned()];
        assert_eq!(read(&["-T", "a", "-Tb:2,c"]).trackers(&others), ["a:9000", "b:2", "c:9000"]);
        assert_eq!(read(&[]).trackers(&others), ["m:1"]);
        assert_eq!(read(&[]).trackers(&[]), ["127.0.0.1:9000"]);
    }

    #[test]
    fn tokens_come_from_file_or_environment() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let flag = format!("--token-file={}", path.display());
        let env = |name: &str| (name == "PEER_TOKEN").then(|| OsString::from("from-env"));
        let read = |words: &[&str]| Tracking::read(&mut args(words), &env).map(|t| t.token);
        assert_eq!(read(&[]).unwrap().unwrap(), b"from-env");
        assert_eq!(read(&[&flag]).unwrap_err().exit, Exit::NOT_FOUND);
        std::fs::write(&path, "s3cret\n").unwrap();
        assert_eq!(read(&[&flag]).unwrap().unwrap(), b"s3cret");
        std::fs::write(&path, "\n").unwrap();
        assert_eq!(read(&[&flag]).unwrap_err().exit, Exit::USAGE);
        std::fs::write(&path, vec![b'x'; 10_000]).unwrap();
        assert_eq!(read(&[&flag]).unwrap_err().exit, Exit::USAGE);
    }

    #[test]
    fn output_flags() {
        let read = |words: &[&str]| Output::read(&mut args(words), &|_| None);
        let output = read(&["-qv", "--progress=lines", "--interval", "2s", "--json"]).unwrap();
        assert_eq!((output.quiet, output.verbose, output.json), (1, 1, true));
        assert_eq!(
            (output.progress, output.interval),
            (Progress::Lines, Some(Duration::from_secs(2)))
        );
        assert!(read(&["--progress", "loud"]).is_err());
        assert!(read(&["--interval", "1ms"]).is_err());
    }
}
