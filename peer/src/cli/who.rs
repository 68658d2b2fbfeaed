//! `peer who`: which peers hold an object.

use protocol::Holding;
use protocol::limits::MAX_FIND_WANT;
use protocol::message::Swarm;

use super::args::Args;
use super::common::{OUTPUT_FLAGS, TRACKER_FLAGS, Tracking, Transfer};
use super::console::Console;
use super::errors::{CliError, Context};
use super::escape::escape;
use super::exit::Exit;
use super::report::{Moment, Object, Report};
use super::runtime::{Plan, run};
use super::table::columns;
use super::target::{self, Wanted};
use super::{Command, Shell};
use crate::job::Job;
use crate::notice::Notice;

/// `peer who`.
pub(crate) const COMMAND: Command = Command {
    name: "who",
    alias: None,
    about: "show which peers hold an object",
    usage: &["who NAME[@VERSION] [flags]", "who FILE.swarm [flags]"],
    details: &["Of a large swarm the tracker tells a random sample of 200."],
    examples: &[
        ("peer who llama-70b", "addresses, and how much each holds"),
        ("peer who llama-70b --json", "for programs"),
    ],
    flags: &[("Tracker", TRACKER_FLAGS), ("Output", OUTPUT_FLAGS)],
    run: who,
};

fn who(mut args: Args, shell: &mut Shell<'_>) -> Result<Exit, CliError> {
    let command = args.command();
    let Wanted { target, typed, trackers } = target::read(&mut args)?;
    let tracking = Tracking::read(&mut args, shell.env)?;
    args.finish()?;

    let trackers = tracking.trackers(&trackers);
    let context = Context { command, subject: typed, trackers: trackers.clone() };
    let jobs = vec![Job::Find { target, want: MAX_FIND_WANT }];
    let transfer = Transfer::default();
    let mut found = Found::default();
    let plan = Plan { jobs, trackers, tracking, transfer, listens: false };
    let ended = run(plan, &mut found, &mut shell.console)?;
    ended.conclude(&context)?;
    let Some((at, swarm)) = found.0 else {
        return Err(ended.nothing_happened());
    };
    if shell.output.quiet < 2 {
        print(at, &swarm, &context.subject, shell.output.json, &mut shell.console);
    }
    Ok(Exit::DONE)
}

#[derive(Debug, Default)]
struct Found(Option<(Moment, Swarm)>);

impl Report for Found {
    fn notice(&mut self, at: Moment, notice: &Notice, _console: &mut dyn Console) {
        if let Notice::Found { swarm } = notice {
            self.0 = Some((at, swarm.clone()));
        }
    }
}

fn print(at: Moment, swarm: &Swarm, subject: &str, json: bool, console: &mut dyn Console) {
    if json {
        let peer = |peer: &protocol::PeerAddr| {
            let (address, has) = (peer.addr.to_string(), holding(peer.holding));
            Object::plain().text("address", &address).text("has", has)
        };
        let object = super::info::record_object(Object::event(at, "who"), &swarm.record)
            .number("peers_full", u64::from(swarm.complete))
            .number("peers_part", u64::from(swarm.partial))
            .list("peers", swarm.peers.iter().map(peer));
        return console.data(object.finish().as_bytes());
    }
    let record = &swarm.record;
    let name = escape(if record.name.is_empty() { subject } else { &record.name });
    let version = match record.version {
        0 => String::new(),
        version => format!("@{version}"),
    };
    let known = u64::from(swarm.complete) + u64::from(swarm.partial);
    let shown = swarm.peers.len() as u64;
    let sample = if shown < known { format!("; {shown} shown") } else { String::new() };
    let (full, part) = (swarm.complete, swarm.partial);
    console.data(format!("{name}{version}  {full} full, {part} part{sample}").as_bytes());
    if swarm.peers.is_empty() {
        return;
    }
    let mut rows = vec![vec!["PEER".to_owned(), "HAS".to_owned()]];
    let row =
        |peer: &protocol::PeerAddr| vec![peer.addr.to_string(), holding(peer.holding).to_owned()];
    rows.extend(swarm.peers.iter().map(row));
    columns(&rows, &[]).iter().for_each(|line| console.data(line.as_bytes()));
}

fn holding(holding: Holding) -> &'static str {
    match holding {
        Holding::Complete => "all",
        Holding::Partial => "part",
        Holding::Dropped => "nothing",
    }
}

#[cfg(test)]
mod tests {
    use protocol::{Digest, ObjectId, PeerAddr, Record, RequestId};

    use super::*;
    use crate::cli::console::Recorder;

    #[test]
    fn a_swarm() {
        let peer = |holding, addr: &str| PeerAddr { holding, addr: addr.parse().unwrap() };
        let swarm = Swarm {
            rid: RequestId(1),
            complete: 18,
            partial: 6,
            record: Record {
                object: ObjectId([9; 32]),
                content: Digest::ZERO,
                length: 5,
                published_at: 7,
                version: 3,
                manifest_len: 1,
                piece_count: 1,
                file_count: 1,
                piece_log2: 20,
                name: "llama".to_owned(),
            },
            peers: vec![
                peer(Holding::Complete, "10.0.0.31:41022"),
                peer(Holding::Partial, "[fd00::5]:7"),
            ],
        };
        let mut console = Recorder::default();
        print(Moment::default(), &swarm, "llama", false, &mut console);
        let expected = [
            "out  llama@3  18 full, 6 part; 2 shown",
            "out  PEER             HAS",
            "out  10.0.0.31:41022  all",
            "out  [fd00::5]:7      part",
        ];
        assert_eq!(console.lines, expected);
        let mut console = Recorder::default();
        print(Moment::default(), &swarm, "llama", true, &mut console);
        let object: serde_json::Value =
            serde_json::from_str(console.lines[0].strip_prefix("out  ").unwrap()).unwrap();
        assert_eq!(object["peers"][1]["has"], "part");
    }
}
