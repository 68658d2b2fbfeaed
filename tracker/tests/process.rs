//! The program itself: start, second instance, status, stop, and what survives a kill.

#![allow(clippy::unwrap_used, reason = "a failed test shall end here")]

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use protocol::message::{Find, FindKey, Hello, Publish, Role};
use protocol::{
    Code, Digest, FrameReader, Incoming, Message, NodeId, ObjectId, PublisherKey, Record, RequestId,
};

const TRACKER: &str = env!("CARGO_BIN_EXE_tracker");

fn command() -> Command {
    let mut command = Command::new(TRACKER);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("TRACKER_") {
            command.env_remove(name);
        }
    }
    command
}

/// A tracker on a free port; killed when dropped.
struct Running {
    child: Child,
    addr: String,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    fn start(dir: &Path, more: &[&str]) -> Self {
        let mut child = command()
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(dir)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut addr = None;
        while addr.is_none() {
            let mut line = String::new();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "ended before it listened");
            addr = line.strip_prefix("listening on ").map(|addr| addr.trim().to_owned());
        }
        Self { child, addr: addr.unwrap(), stderr }
    }

    fn signal(&mut self, name: &str) -> Option<i32> {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }

    fn rest(&mut self) -> String {
        let mut text = String::new();
        self.stderr.read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A blocking client.
struct Client {
    stream: TcpStream,
    reader: FrameReader,
    inbox: Vec<Message>,
}

impl Client {
    fn connect(addr: &str) -> Self {
        let (client, hello) = Self::greet(addr);
        assert_eq!(hello.role, Role::Tracker);
        client
    }

    /// Who the tracker at `addr` says it is.
    fn node_at(addr: &str) -> NodeId {
        Self::greet(addr).1.node
    }

    /// Says HELLO, and hears what comes first.
    fn greet(addr: &str) -> (Self, Hello) {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut client = Self { stream, reader: FrameReader::new(), inbox: Vec::new() };
        client.say(&Message::Hello(Hello {
            version_min: 1,
            version_max: 1,
            role: Role::Peer,
            node: NodeId([1; 16]),
            listen: 0,
            window: 0,
            tlvs: Vec::new(),
        }));
        match client.next() {
            Some(Message::Hello(hello)) => (client, hello),
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, message: &Message) {
        self.stream.write_all(&message.to_frame()).unwrap();
    }

    /// The next message, or `None` at the end.
    fn next(&mut self) -> Option<Message> {
        let mut buffer = [0; 4_096];
        while self.inbox.is_empty() {
            let count = match self.stream.read(&mut buffer) {
                // A read with a time limit is not resumed by itself after a signal.
                Err(cause) if cause.kind() == ErrorKind::Interrupted => continue,
                other => other.unwrap(),
            };
            let mut input = &buffer[..count];
            while let Some(incoming) = self.reader.next(&mut input).unwrap() {
                if let Incoming::Message(message) = incoming {
                    self.inbox.push(message);
                }
            }
            if count == 0 {
                return None;
            }
        }
        Some(self.inbox.remove(0))
    }

    fn publish(&mut self, name: &str, content: u8) -> (Code, String) {
        let record = Record {
            object: ObjectId([content; 32]),
            content: Digest::ZERO,
            length: 1,
            published_at: 0,
            version: 0,
            manifest_len: 100,
            piece_count: 1,
            file_count: 1,
            piece_log2: 18,
            name: name.to_owned(),
        };
        let (rid, key) = (RequestId(1), PublisherKey([9; 16]));
        self.say(&Message::Publish(Publish { rid, key, copies: 0, record }));
        match self.next() {
            Some(Message::Status(status)) => (status.code, status.text),
            other => panic!("{other:?}"),
        }
    }

    fn version(&mut self, name: &str) -> Option<u32> {
        let key = FindKey::Name { version: 0, name: name.to_owned() };
        self.say(&Message::Find(Find { rid: RequestId(2), want: 0, key }));
        match self.next() {
            Some(Message::Swarm(swarm)) => Some(swarm.record.version),
            Some(Message::Status(_)) => None,
            other => panic!("{other:?}"),
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn exits(output: &Output, code: i32, words: &[&str]) {
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.lines().count() == 3, "{stderr}");
    words.iter().for_each(|word| assert!(stderr.contains(word), "'{word}' not in: {stderr}"));
}

#[test]
fn serves_answers_status_and_stops_cleanly() {
    let home = tempfile::tempdir().unwrap();
    let mut tracker = Running::start(&home.path().join("state"), &[]);
    let mut client = Client::connect(&tracker.addr);
    assert_eq!(client.publish("a", 1), (Code::OK, "1".to_owned()));

    let status = command().args(["status", "-T", &tracker.addr]).output().unwrap();
    assert!(status.status.success() && text(&status.stdout).contains("1 in 1 versions"));
    let json = command().args(["status", "--json", "-T", &tracker.addr]).output().unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["v"], &json["names"], &json["connections"]),
        (&1.into(), &1.into(), &2.into())
    );

    // A second one: the folder first, then, with its own folder, the port.
    let mut second = command();
    second.args(["--listen", "127.0.0.1:0", "-d"]).arg(home.path().join("state"));
    exits(&second.output().unwrap(), 11, &["in use", &tracker.child.id().to_string()]);
    let same_port =
        command().args(["--listen", &tracker.addr, "--data-dir", ":memory:"]).output().unwrap();
    exits(&same_port, 6, &["can't listen on", &tracker.addr]);

    assert_eq!(tracker.signal("-TERM"), Some(0), "a service that was told to end");
    assert!(matches!(client.next(), Some(Message::Bye(bye)) if bye.code == Code::SHUTDOWN));
    assert_eq!(client.next(), None);
    assert!(!tracker.rest().contains("error"));

    let gone = command().args(["status", "--tracker", &tracker.addr]).output().unwrap();
    exits(&gone, 6, &["refused the connection"]);
}

#[test]
fn acknowledged_names_survive_a_kill() {
    let home = tempfile::tempdir().unwrap();
    let mut tracker = Running::start(home.path(), &["-v"]);
    let mut client = Client::connect(&tracker.addr);
    for content in 1..=20 {
        assert_eq!(client.publish("a", content), (Code::OK, content.to_string()));
    }
    assert_eq!(tracker.signal("-KILL"), None);
    let mut tracker = Running::start(home.path(), &[]);
    assert_eq!(Client::connect(&tracker.addr).version("a"), Some(20));
    assert_eq!(tracker.signal("-INT"), Some(0));
}

#[test]
fn each_run_is_another_node() {
    let dir = tempfile::tempdir().unwrap();
    let run = || {
        let mut tracker = Running::start(dir.path(), &[]);
        let nodes = [Client::node_at(&tracker.addr), Client::node_at(&tracker.addr)];
        assert_eq!(nodes[0], nodes[1], "one run, one node");
        tracker.signal("-TERM");
        nodes[0]
    };
    let nodes = [run(), run()];
    assert_ne!(nodes[0], nodes[1], "[H-15]");
    assert!(nodes.iter().all(|node| node.0 != [node.0[0]; 16]), "[H-15]: {nodes:?}");
}

#[test]
fn a_token_keeps_others_out() {
    use std::os::unix::fs::OpenOptionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("token");
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.create(true).truncate(true).write(true).mode(0o600).open(&path).unwrap();
    writeln!(file, "sesame").unwrap();
    let token = path.to_str().unwrap();
    let tracker = Running::start(&home.path().join("state"), &["--token-file", token]);
    let denied = command().args(["status", "-T", &tracker.addr]).output().unwrap();
    exits(&denied, 10, &["DENIED", "--token-file"]);
    let mut status = command();
    status.args(["status", "-T", &tracker.addr]).env("TRACKER_TOKEN_FILE", token);
    assert!(status.output().unwrap().status.success());
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    exits(&status.output().unwrap(), 17, &["chmod o-rwx"]);
}

#[test]
fn usage_errors_and_help() {
    for words in [&["--lisen", "127.0.0.1:0"][..], &["seed"], &["--listen", "x"], &["status", "-x"]]
    {
        exits(&command().args(words).output().unwrap(), 2, &["--help"]);
    }
    for words in [&["--help"][..], &["-h"], &["status", "--help"], &["--version"]] {
        let output = command().args(words).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(text(&output.stdout).contains("racker"));
        assert!(text(&output.stdout).lines().all(|line| line.len() <= 140));
    }
}
