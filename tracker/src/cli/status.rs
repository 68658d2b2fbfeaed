//! `tracker status`: one tracker's totals.

use std::net::{SocketAddr, ToSocketAddrs as _};

use protocol::NodeId;
use protocol::message::Summary;
use reactor::{Options, Reactor, seed};
use tracker::{NoRunner, StatusClient};

use super::args::Args;
use super::failure::Failure;
use super::print;
use super::values::{self, DEFAULT_PORT};

/// Asks and prints.
pub(crate) fn run(args: Args) -> Result<(), Failure> {
    let address = args.one("--tracker", |text| Ok(text.to_owned()))?;
    let address = address.unwrap_or_else(|| format!("127.0.0.1:{DEFAULT_PORT}"));
    let token = args.path("--token-file").map(|path| values::secret(&path)).transpose()?;
    let json = args.times("--json")? > 0;
    let targets = resolve(&address)?;
    let entropy = |error| Failure::internal("can't get random numbers from the system", error);
    let node = NodeId(seed::random_bytes().map_err(entropy)?);
    let client = StatusClient::new(targets, node, token)
        .ok_or_else(|| Failure::resolve(&address, "it has no address"))?;
    let unexpected = |error| Failure::internal("the event loop failed", error);
    let options = Options { workers: 1, ..Options::default() };
    let mut reactor = Reactor::new(client, NoRunner, options).map_err(unexpected)?;
    reactor.handle_signals().map_err(unexpected)?;
    reactor.run().map_err(unexpected)?;
    match reactor.machine().outcome() {
        Some(Ok(summary)) => {
            print(&if json { to_json(&address, summary) } else { to_text(&address, summary) })
        }
        Some(Err(error)) => Err(Failure::status(error)),
        None => Err(Failure::internal("the question ended without an answer", address)),
    }
}

/// `HOST:PORT`, or `HOST` for the default port.
fn resolve(address: &str) -> Result<Vec<SocketAddr>, Failure> {
    let with_port = address.to_socket_addrs();
    let found = with_port.or_else(|error| {
        let bare = address.trim_start_matches('[').trim_end_matches(']');
        (bare, DEFAULT_PORT).to_socket_addrs().map_err(|_| error)
    });
    found.map(Iterator::collect).map_err(|error| Failure::resolve(address, error))
}

fn to_json(address: &str, s: &Summary) -> String {
    let object = serde_json::json!({
        "v": 1,
        "tracker": address,
        "uptime_s": s.uptime_s,
        "connections": s.connections,
        "peers": s.peers,
        "names": s.names,
        "versions": s.versions,
        "objects": s.objects,
        "holdings": s.holdings,
        "bytes": s.bytes,
    });
    format!("{object}\n")
}

fn to_text(address: &str, s: &Summary) -> String {
    format!(
        "tracker  {address}  up {}\n\
         peers    {} in {} connections\n\
         names    {} in {} versions, {} in the newest\n\
         objects  {} held, {} copies in whole or part\n",
        duration(s.uptime_s),
        s.peers,
        s.connections,
        s.names,
        s.versions,
        bytes(s.bytes),
        s.objects,
        s.holdings,
    )
}

fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {minutes}m"),
        _ => format!("{days}d {hours}h"),
    }
}

/// One decimal, powers of 1024.
fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut tenths = u128::from(count) * 10;
    let mut unit = "B";
    for next in units {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1_024;
        unit = next;
    }
    if unit == "B" {
        format!("{count} B")
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short() {
        assert_eq!([bytes(0), bytes(1_023), bytes(1_536)], ["0 B", "1023 B", "1.5 KiB"]);
        assert_eq!(bytes(141_087_789_056), "131.3 GiB");
        assert_eq!(bytes(u64::MAX), "15.9 EiB");
        assert_eq!([duration(59), duration(3_599), duration(90_000)], ["59s", "59m 59s", "1d 1h"]);
    }

    #[test]
    fn a_host_without_port_gets_the_default() {
        let addr = |text: &str| resolve(text).ok().map(|found| found[0].to_string());
        assert_eq!(addr("127.0.0.1").as_deref(), Some("127.0.0.1:9000"));
        assert_eq!(addr("127.0.0.1:7").as_deref(), Some("127.0.0.1:7"));
        assert_eq!(addr("[::1]").as_deref(), Some("[::1]:9000"));
        assert_eq!(addr("::1").as_deref(), Some("[::1]:9000"));
    }
}
