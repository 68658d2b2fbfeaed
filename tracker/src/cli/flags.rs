//! Every flag, once: its variable, its default, its help.

/// One flag of a command.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flag {
    /// With its dashes.
    pub(crate) long: &'static str,
    /// With its dash, or empty.
    pub(crate) short: &'static str,
    /// What its value is called in the help; empty for one without a value.
    pub(crate) value: &'static str,
    /// The environment variable that stands in for it.
    pub(crate) env: &'static str,
    /// One line for the help.
    help: &'static str,
}

const fn flag(
    long: &'static str,
    short: &'static str,
    value: &'static str,
    env: &'static str,
    help: &'static str,
) -> Flag {
    Flag { long, short, value, env, help }
}

const VERBOSE: Flag =
    flag("--verbose", "-v", "", "TRACKER_VERBOSE", "log more; -vv logs every frame's effect");
const QUIET: Flag = flag("--quiet", "-q", "", "TRACKER_QUIET", "log errors only");
const TOKEN: Flag = flag(
    "--token-file",
    "",
    "FILE",
    "TRACKER_TOKEN_FILE",
    "secret of the cluster: only who shows it is served [none]",
);

/// Flags of `tracker`.
pub(crate) const SERVE: &[Flag] = &[
    flag(
        "--listen",
        "-l",
        "ADDR",
        "TRACKER_LISTEN",
        "address to serve on; may be given more than once [0.0.0.0:9000 and [::]:9000]",
    ),
    flag(
        "--data-dir",
        "-d",
        "DIR",
        "TRACKER_DATA_DIR",
        "where names are kept, or :memory: [$STATE_DIRECTORY, or ~/.local/state/tracker]",
    ),
    flag(
        "--heartbeat",
        "",
        "TIME",
        "TRACKER_HEARTBEAT",
        "shortest interval between a peer's beats, 15s to 5m; grows with the swarm [15s]",
    ),
    flag(
        "--expire",
        "",
        "TIME",
        "TRACKER_EXPIRE",
        "believe a silent peer so long; three beats and 10s at least [that]",
    ),
    flag("--max-conns", "", "N", "TRACKER_MAX_CONNS", "connections at once [65536]"),
    flag(
        "--max-per-ip",
        "",
        "N",
        "TRACKER_MAX_PER_IP",
        "connections from one address, or one IPv6 /64, at once [512]",
    ),
    flag("--max-names", "", "N", "TRACKER_MAX_NAMES", "names ever used [1000000]"),
    TOKEN,
    flag("--log-format", "", "FORMAT", "TRACKER_LOG_FORMAT", "text or json [text]"),
    VERBOSE,
    QUIET,
];

/// Flags of `tracker status`.
pub(crate) const STATUS: &[Flag] = &[
    flag(
        "--tracker",
        "-T",
        "ADDR",
        "TRACKER_ADDRESS",
        "the tracker to ask, HOST or HOST:PORT [127.0.0.1:9000]",
    ),
    flag("--json", "", "", "TRACKER_JSON", "print one JSON object"),
    TOKEN,
];

/// The help of a command, "" for `tracker` itself.
pub(crate) fn help(command: &str) -> String {
    let (head, table, tail) = if command == "status" {
        (STATUS_HEAD, STATUS, STATUS_TAIL)
    } else {
        (SERVE_HEAD, SERVE, SERVE_TAIL)
    };
    let mut text =
        format!("{head}\nOptions (in brackets: without it; behind: environment variable):\n");
    for flag in table.iter().chain(EVERYWHERE) {
        let short = if flag.short.is_empty() { String::new() } else { format!("{}, ", flag.short) };
        let name = format!("{short:>4}{} {}", flag.long, flag.value);
        let env = if flag.env.is_empty() { String::new() } else { format!("  {}", flag.env) };
        text.push_str(&format!("  {name:<24} {}{env}\n", flag.help));
    }
    text.push_str(tail);
    text
}

const EVERYWHERE: &[Flag] = &[
    flag("--help", "-h", "", "", "this text"),
    flag("--version", "-V", "", "", "version of program and protocol"),
];

const SERVE_HEAD: &str = "\
Keeps names and knows which peers hold what. Peers move the data among themselves.

Usage: tracker [--listen ADDR]... [OPTIONS]
       tracker status [-T ADDR] [--json]
";

const SERVE_TAIL: &str = "
Examples:
  tracker                                   serve everybody on port 9000
  tracker --listen 10.0.0.5:9000 --token-file /etc/swarm.token
  tracker --listen 127.0.0.1:0 --data-dir :memory:      for a try; prints its port

Times: 10s, 5m, 2h. SIGINT and SIGTERM end it cleanly. TRACKER_LOG sets log levels as in RUST_LOG.
Exit codes: 0 ended as asked, 1 bug, 2 bad usage, 6 can't listen, 11 data folder in use,
17 data folder unusable or disk failed.
";

const STATUS_HEAD: &str = "\
Prints the totals of a running tracker.

Usage: tracker status [-T ADDR] [--json] [--token-file FILE]
";

const STATUS_TAIL: &str = "
Exit codes: 0 printed, 2 bad usage, 6 not reachable, 10 wrong token, 12 no protocol version in common.
";
