//! `tracker`: serve until told to stop.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use protocol::NodeId;
use protocol::limits::{MAX_BEAT_S, MIN_BEAT_S};
use reactor::{Options, Reactor, clock, seed};
use tracker::store::{Committer, MemoryStore, SqliteStore};
use tracker::{Config, Snapshot, Tracker};

use super::args::Args;
use super::failure::Failure;
use super::logging::{self, Format};
use super::say;
use super::values::{self, DEFAULT_PORT};

/// Connections beyond the tracker's own limit that the loop accepts, so that the tracker can say why it
/// refuses them.
const REFUSED_CONNS: usize = 512;

/// What `--data-dir` takes for "nowhere".
const MEMORY: &str = ":memory:";

struct Setup {
    /// Empty: the default ones.
    listen: Vec<SocketAddr>,
    data_dir: PathBuf,
    config: Config,
    format: Format,
    quiet: bool,
}

/// Serves until told to stop.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let setup = read(&args)?;
    logging::start(setup.format, args.times("--verbose")?, setup.quiet);
    let (committer, names) = open(&setup.data_dir)?;
    let known = names.iter().filter(|(_, entry)| !entry.versions.is_empty()).count();
    let node = NodeId(seed::random_bytes().map_err(no_entropy)?);
    let seed = seed::random_seed().map_err(no_entropy)?;
    let options = Options {
        workers: 1,
        max_connections: setup.config.max_conns.saturating_add(REFUSED_CONNS),
        ..Options::default()
    };
    let secured = setup.config.token.is_some();
    let tracker = Tracker::new(setup.config, node, seed, names);
    let unexpected = |error| Failure::internal("can't set up the event loop", error);
    let mut reactor = Reactor::new(tracker, committer, options).map_err(unexpected)?;
    // Before anybody is told that we serve, so that a stop right after that is a clean one.
    reactor.handle_signals().map_err(unexpected)?;
    let bound = bind(&setup.listen, |addr| reactor.listen(addr))?;
    let notes = Notes { bound: &bound, data_dir: &setup.data_dir, known, secured };
    match setup.format {
        _ if setup.quiet => {}
        Format::Text => notes.text(setup.listen.iter().any(|addr| addr.port() == 0)),
        Format::Json => notes.json(),
    }
    reactor.run().map_err(|error| Failure::internal("the event loop failed", error))?;
    match reactor.machine().failure() {
        Some(error) => Err(Failure::store_lost(error)),
        None => Ok(()),
    }
}

fn no_entropy(error: std::io::Error) -> Failure {
    Failure::internal("can't get random numbers from the system", error)
}

fn read(args: &Args) -> Result<Setup, Failure> {
    let mut config = Config::default();
    if let Some(beat) =
        args.one("--heartbeat", |text| values::seconds(text, MIN_BEAT_S, MAX_BEAT_S))?
    {
        config.beat_min_s = beat;
    }
    config.expire_s = args.one("--expire", |text| values::seconds(text, 1, u16::MAX))?;
    let count = |long, max| args.one(long, |text| values::count(text, max));
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    config.max_conns = count("--max-conns", 1 << 24)?.map_or(config.max_conns, size);
    config.max_per_ip = count("--max-per-ip", 1 << 24)?.unwrap_or(config.max_per_ip);
    config.max_names = count("--max-names", 1 << 30)?.map_or(config.max_names, size);
    if let Some(path) = args.path("--token-file") {
        config.token = Some(values::secret(&path)?);
    }
    let data_dir = match args.path("--data-dir") {
        Some(path) => path,
        None => default_data_dir().ok_or_else(|| {
            let detail = "neither STATE_DIRECTORY nor HOME says where names could be kept";
            Failure::usage("", "no data folder: give one with --data-dir", detail)
        })?,
    };
    Ok(Setup {
        listen: args.all("--listen", values::listen_addr)?,
        data_dir,
        config,
        format: args.one("--log-format", Format::parse)?.unwrap_or(Format::Text),
        quiet: args.times("--quiet")? > 0,
    })
}

fn default_data_dir() -> Option<PathBuf> {
    let var = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    var("STATE_DIRECTORY")
        .or_else(|| Some(var("XDG_STATE_HOME")?.join("tracker")))
        .or_else(|| Some(var("HOME")?.join(".local/state/tracker")))
}

fn open(data_dir: &Path) -> Result<(Committer, Snapshot), Failure> {
    if data_dir == Path::new(MEMORY) {
        let store = MemoryStore::new(|| clock::unix_time().as_secs());
        return Ok((Committer::new(store), Snapshot::new()));
    }
    let (store, names) = SqliteStore::open(data_dir).map_err(|error| Failure::store(&error))?;
    Ok((Committer::new(store), names))
}

/// Listens on all of `asked`, or else on the default port of both families, one of which a host may
/// lack.
fn bind(
    asked: &[SocketAddr],
    mut listen: impl FnMut(SocketAddr) -> std::io::Result<SocketAddr>,
) -> Result<Vec<SocketAddr>, Failure> {
    if !asked.is_empty() {
        let one = |addr: &SocketAddr| listen(*addr).map_err(|error| Failure::listen(*addr, &error));
        return asked.iter().map(one).collect();
    }
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT));
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, DEFAULT_PORT));
    let mut bound = Vec::new();
    let mut lacking = None;
    for addr in [v4, v6] {
        match listen(addr) {
            Ok(local) => bound.push(local),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                return Err(Failure::listen(addr, &error));
            }
            Err(error) => {
                log::debug!("not listening on {addr}: {error}");
                lacking = Some(Failure::listen(addr, &error));
            }
        }
    }
    match lacking {
        Some(failure) if bound.is_empty() => Err(failure),
        _ => Ok(bound),
    }
}

/// What is said once everything stands.
struct Notes<'a> {
    bound: &'a [SocketAddr],
    data_dir: &'a Path,
    known: usize,
    secured: bool,
}

impl Notes<'_> {
    fn text(&self, chosen_ports: bool) {
        let list: Vec<_> = self.bound.iter().map(SocketAddr::to_string).collect();
        say(&format!(
            concat!("tracker ", env!("CARGO_PKG_VERSION"), " listening on {}"),
            list.join(" and ")
        ));
        if chosen_ports {
            // Whoever asked for any port has to learn which; scripts read these lines.
            list.iter().for_each(|addr| say(&format!("listening on {addr}")));
        }
        let names = if self.known == 1 { "name" } else { "names" };
        say(&format!("state  {}  {} {names}", self.data_dir.display(), self.known));
        if self.open_to_others() {
            say("no token configured: anyone who can reach this port can publish and fetch");
        }
    }

    fn json(&self) {
        let list: Vec<_> = self.bound.iter().map(SocketAddr::to_string).collect();
        let note = serde_json::json!({
            "v": 1,
            "event": "listening",
            "version": env!("CARGO_PKG_VERSION"),
            "addresses": list,
            "state": self.data_dir.display().to_string(),
            "names": self.known,
            "open": self.open_to_others(),
        });
        say(&note.to_string());
    }

    fn open_to_others(&self) -> bool {
        !self.secured && self.bound.iter().any(|addr| !addr.ip().is_loopback())
    }
}
