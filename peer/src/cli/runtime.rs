//! Runs the machine on the real network and the real disk until its jobs are over.
//!
//! The only place where the parts meet: configuration and keys become a machine and its storage, the
//! reactor drives both, and what the machine tells is handed to a report.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use protocol::{NodeId, PublisherKey};
use reactor::clock::Clock;
use reactor::{Options, Reactor, seed};

use super::common::{Tracking, Transfer};
use super::console::Console;
use super::errors::{CliError, Context};
use super::exit::Exit;
use super::report::{Moment, Report};
use super::values::Listen;
use crate::Peer;
use crate::job::{Config, Job};
use crate::notice::{Failure, Notice};
use crate::storage::{HashCache, OsFs, Storage, keys};

/// Connections to other peers, unless told otherwise.
const MAX_PEERS: usize = 50;
/// Bytes of pieces on their way from the network to the disk: some tens of pieces of the usual size,
/// which keeps a fast link busy, within the 32 MiB of memory that a peer promises to need at most.
const BUFFER_BYTES: usize = 24 << 20;
/// Its name in the folder for state.
const HASH_CACHE: &str = "hashes.db";
/// Between two looks at the figures.
const STATUS_INTERVAL: Duration = Duration::from_millis(100);

/// What to run.
pub(crate) struct Plan {
    /// What to do.
    pub jobs: Vec<Job>,
    /// Whom to ask, in order of preference.
    pub trackers: Vec<String>,
    /// Rights and keys.
    pub tracking: Tracking,
    /// How data is moved.
    pub transfer: Transfer,
    /// Whether others may connect to us.
    pub listens: bool,
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// When.
    pub at: Moment,
    /// Why jobs ended without success, in order.
    pub failures: Vec<Failure>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Ended {
    /// The error of the first failure, or of the signal.
    ///
    /// # Errors
    /// Exactly then.
    pub(crate) fn conclude(&self, context: &Context) -> Result<(), CliError> {
        if let Some(failure) = self.failures.first() {
            return Err(context.describe(failure));
        }
        match self.signal {
            Some(signal) => Err(interrupted(context.command, signal)),
            None => Ok(()),
        }
    }

    /// The error of a job that ended without success, failure or signal.
    pub(crate) fn nothing_happened(&self) -> CliError {
        CliError::internal("the job ended without a result", format!("after {:?}", self.at.run))
    }
}

fn interrupted(command: &str, signal: i32) -> CliError {
    let exit = Exit::of_signal(signal);
    let name = if exit == Exit::TERMINATED { "SIGTERM" } else { "SIGINT" };
    let detail = match command {
        "fetch" => "what was fetched is kept; the same command goes on from here",
        "seed" => "hashes are remembered for the next time, unless --no-cache-hash was given",
        _ => "",
    };
    CliError::new(exit, format!("stopped by {name}"), detail.to_owned(), String::new())
}

/// As many workers as asked for, or one per core.
pub(crate) fn workers(transfer: &Transfer) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    transfer.threads.unwrap_or(cores)
}

/// Runs the jobs until they are over, a signal ends them, or nobody reads the report any more.
///
/// # Errors
/// When keys, addresses or the loop itself can't be had. What happens to the jobs is in [`Ended`].
pub(crate) fn run(
    plan: Plan,
    report: &mut dyn Report,
    console: &mut dyn Console,
) -> Result<Ended, CliError> {
    let clock = Clock::start();
    let state = State::of(&plan)?;
    let workers = workers(&plan.transfer);
    let listen = plan.listens.then(|| plan.transfer.listen.clone());
    let storage = Storage::new(Arc::new(OsFs), state.cache);
    let machine = Peer::new(config(&plan, state.publisher, workers)?, plan.jobs);
    let options = Options { workers, ..Options::default() };
    let mut reactor = Reactor::new(machine, storage, options).map_err(|e| loop_failed(&e))?;
    reactor.handle_signals().map_err(|e| loop_failed(&e))?;
    if let Some(addresses) = listen {
        let mut bind = |address| reactor.listen(address);
        open_listeners(&addresses, &mut bind)?;
    }

    let now = || Moment {
        run: clock.now().since(reactor::Time::ZERO),
        unix: reactor::clock::unix_time(),
    };
    let mut failures = Vec::new();
    let mut next_status = Duration::ZERO;
    while !reactor.exited() && !report.is_reader_gone(console) {
        reactor.turn(Some(STATUS_INTERVAL)).map_err(|e| loop_failed(&e))?;
        let at = now();
        for notice in reactor.machine_mut().take_notices() {
            log_skipped(&notice);
            report.notice(at, &notice, console);
            if let Notice::Failed(failure) = notice {
                failures.push(failure);
            }
        }
        if at.run >= next_status && !reactor.exited() {
            next_status = at.run + STATUS_INTERVAL;
            report.status(at, &reactor.machine().status(), console);
        }
    }
    console.live(None);
    log_lag(reactor.stats());
    Ok(Ended { at: now(), failures, signal: reactor.signal() })
}

/// How long the loop kept events waiting, all in all.
fn log_lag(stats: &reactor::Stats) {
    let (half, most) = (stats.lag.percentile(50), stats.lag.percentile(99));
    log::info!(
        "event loop: turns={} lag_p50_us={} lag_p99_us={} lag_max_us={}",
        stats.turns,
        half.as_micros(),
        most.as_micros(),
        stats.lag.max().as_micros(),
    );
}

/// Reports print only the first of them.
fn log_skipped(notice: &Notice) {
    if let Notice::Scanned { skipped, .. } = notice {
        for (path, why) in skipped {
            log::info!("left out {}: {why}", path.display());
        }
    }
}

fn config(plan: &Plan, publisher: PublisherKey, workers: usize) -> Result<Config, CliError> {
    let entropy = |error| no_entropy(&error);
    let transfer = &plan.transfer;
    Ok(Config {
        node: NodeId(seed::random_bytes().map_err(entropy)?),
        trackers: plan.trackers.clone(),
        token: plan.tracking.token.clone(),
        publisher,
        advertise: transfer.advertise,
        up_limit: transfer.up,
        down_limit: transfer.down,
        max_peers: transfer.max_peers.unwrap_or(MAX_PEERS),
        piece_log2: None,
        buffer_bytes: BUFFER_BYTES,
        workers,
        seed: seed::random_seed().map_err(entropy)?,
    })
}

fn no_entropy(error: &std::io::Error) -> CliError {
    let what = "the system gives no random numbers".to_owned();
    CliError::new(Exit::INTERNAL, what, error.to_string(), String::new())
}

fn loop_failed(error: &std::io::Error) -> CliError {
    let advice = "see whether this machine is short of memory or open files: ulimit -n".to_owned();
    CliError::new(Exit::INTERNAL, "the event loop failed".to_owned(), error.to_string(), advice)
}

/// Listens where asked; by default on one free port of all addresses, of both families if there are
/// two.
fn open_listeners(
    addresses: &[Listen],
    bind: &mut dyn FnMut(SocketAddr) -> std::io::Result<SocketAddr>,
) -> Result<(), CliError> {
    let default = [Listen::AllAddresses(0)];
    let addresses = if addresses.is_empty() { &default[..] } else { addresses };
    for address in addresses {
        match *address {
            Listen::At(address) => {
                bind(address).map_err(|error| cannot_listen(address, &error))?;
            }
            Listen::AllAddresses(port) => {
                let four = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
                let bound = bind(four);
                let port = bound.as_ref().map_or(port, SocketAddr::port);
                let six = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
                // One family is enough: many machines have only one.
                if let (Err(error), Err(_)) = (bound, bind(six)) {
                    return Err(cannot_listen(four, &error));
                }
            }
        }
    }
    Ok(())
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> CliError {
    CliError::new(
        Exit::NETWORK,
        format!("can't accept connections on {address}"),
        error.to_string(),
        "choose another address or port with --listen; 0 takes a free one".to_owned(),
    )
}

/// What is kept between runs.
struct State {
    publisher: PublisherKey,
    cache: Option<HashCache>,
}

impl State {
    /// Opens what the jobs need of it. Only publishing needs any: who only fetches or asks leaves no
    /// trace, and needs no home.
    fn of(plan: &Plan) -> Result<Self, CliError> {
        let uses_cache = |job: &Job| matches!(job, Job::Seed(seed) if seed.use_cache);
        let publishes = |job: &Job| matches!(job, Job::Seed(_) | Job::Unpublish { .. });
        if !plan.jobs.iter().any(publishes) {
            let publisher = seed::random_bytes().map(PublisherKey).map_err(|e| no_entropy(&e))?;
            return Ok(Self { publisher, cache: None });
        }
        let context = Context::default();
        let refused = |error| context.storage(&error);
        let folder = keys::state_dir(plan.tracking.state_dir.as_deref()).map_err(refused)?;
        let publisher = keys::publisher_key(&folder).map_err(refused)?;
        let cache = plan
            .jobs
            .iter()
            .any(uses_cache)
            .then(|| HashCache::open(&folder.join(HASH_CACHE), reactor::clock::unix_time()));
        // It only saves time: without it everything is hashed again.
        let cache = cache.and_then(|opened| match opened {
            Ok(cache) => Some(cache),
            Err(error) => {
                log::warn!("hashes are not remembered: {error}");
                None
            }
        });
        Ok(Self { publisher, cache })
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::notice::Missing;

    /// The addresses that are asked for, when those in `refused` fail and port 0 becomes 7.
    fn asked(addresses: &[Listen], refused: &[&str]) -> (Vec<String>, bool) {
        let mut asked = Vec::new();
        let mut bind = |mut address: SocketAddr| {
            asked.push(address.to_string());
            if refused.contains(&address.to_string().as_str()) {
                return Err(io::Error::from(io::ErrorKind::AddrInUse));
            }
            address.set_port(if address.port() == 0 { 7 } else { address.port() });
            Ok(address)
        };
        let fine = open_listeners(addresses, &mut bind).is_ok();
        (asked, fine)
    }

    #[test]
    fn both_families_share_a_port_and_one_is_enough() {
        let both =
            |ports: [u16; 2]| vec![format!("0.0.0.0:{}", ports[0]), format!("[::]:{}", ports[1])];
        assert_eq!(asked(&[], &[]), (both([0, 7]), true));
        assert_eq!(asked(&[Listen::AllAddresses(9)], &["[::]:9"]), (both([9, 9]), true));
        assert_eq!(asked(&[], &["0.0.0.0:0"]), (both([0, 0]), true));
        assert!(!asked(&[], &["0.0.0.0:0", "[::]:0"]).1);
        let one = Listen::At("127.0.0.1:5".parse().unwrap());
        assert_eq!(asked(&[one], &[]), (vec!["127.0.0.1:5".to_owned()], true));
        assert!(!asked(&[one], &["127.0.0.1:5"]).1);
    }

    #[test]
    fn a_failure_counts_more_than_a_signal() {
        let context = Context::default();
        let at = Moment::default();
        let exit = |failures, signal| {
            Ended { at, failures, signal }.conclude(&context).map_err(|error| error.exit.status)
        };
        assert_eq!(exit(vec![], None), Ok(()));
        assert_eq!(exit(vec![], Some(2)), Err(130));
        assert_eq!(exit(vec![], Some(15)), Err(143));
        assert_eq!(
            exit(
                vec![Failure::MissingPieces { missing: Missing { count: 1, pieces: None } }],
                Some(2)
            ),
            Err(4)
        );
    }
}
