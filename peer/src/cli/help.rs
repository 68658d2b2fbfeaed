//! The texts of `--help`, made from the same tables that are parsed.

use std::fmt::Write as _;

use super::Command;
use super::args::Flag;
use super::exit::Exit;

/// Columns that flags take before their description.
const FLAG_COLUMN: usize = 26;

/// The help of the program.
pub(crate) fn program(commands: &[&Command]) -> String {
    let mut text = String::from(
        "peer: seeds and fetches files by name.\n\n\
         Three commands move files from one machine to many:\n  \
         tracker --listen 0.0.0.0:9000              on one machine\n  \
         peer seed ./models -T tracker-host         where the files are\n  \
         peer fetch llama-70b -T tracker-host       where they are wanted\n\n\
         Commands:\n",
    );
    for command in commands {
        let names = match command.alias {
            Some(alias) => format!("{} ({alias})", command.name),
            None => command.name.to_owned(),
        };
        let _ = writeln!(text, "  {names:<14}{}", command.about);
    }
    text.push_str(
        "\nFlags and examples of a command: peer COMMAND --help\n\
         A flag given wins over its variable (PEER_TRACKER for --tracker), which wins over the \
         default.\nData goes to stdout, everything else to stderr.\n\nExit codes:\n",
    );
    for exit in Exit::ALL {
        let _ = writeln!(text, "  {:>3}  {}", exit.status, exit.meaning);
    }
    text
}

/// The help of one command.
pub(crate) fn command(command: &Command) -> String {
    let mut text = format!("{}\n\n", command.about_sentence());
    for (i, usage) in command.usage.iter().enumerate() {
        let head = if i == 0 { "Usage:" } else { "      " };
        let _ = writeln!(text, "{head} peer {usage}");
    }
    if !command.details.is_empty() {
        text.push('\n');
    }
    for detail in command.details {
        let _ = writeln!(text, "{detail}");
    }
    text.push_str("\nExamples:\n");
    for (example, meaning) in command.examples {
        let _ = writeln!(text, "  {example:<46} {meaning}");
    }
    for (title, flags) in command.flags {
        let _ = writeln!(text, "\n{title}:");
        flags.iter().for_each(|flag| push_flag(&mut text, flag));
    }
    text
}

fn push_flag(text: &mut String, flag: &Flag) {
    let short = flag.short.map_or_else(|| "    ".to_owned(), |letter| format!("-{letter}, "));
    let value = flag.value_name().map_or_else(String::new, |name| format!(" {name}"));
    let head = format!("{short}{}{value}", flag.long);
    let default = match flag.default {
        "" => String::new(),
        default => format!("default {default}; "),
    };
    if head.len() < FLAG_COLUMN {
        let _ = write!(text, "  {head:<FLAG_COLUMN$}{}", flag.help);
    } else {
        let _ = write!(text, "  {head}\n  {:FLAG_COLUMN$}{}", "", flag.help);
    }
    let _ = writeln!(text, " [{default}{}]", flag.env);
}

/// `peer 1.2.3`.
pub(crate) fn version() -> String {
    format!("peer {}", env!("CARGO_PKG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::super::{COMMANDS, find};
    use super::*;

    #[test]
    fn every_flag_has_its_own_name_letter_and_variable() {
        for command in COMMANDS {
            let flags: Vec<_> = command.flags.iter().flat_map(|(_, flags)| flags.iter()).collect();
            for (i, flag) in flags.iter().enumerate() {
                assert!(flag.long.starts_with("--"), "{flag:?}");
                assert!(flag.env.starts_with("PEER_"), "{flag:?}");
                for other in &flags[i + 1..] {
                    assert_ne!(flag.long, other.long, "{}", command.name);
                    assert_ne!(flag.env, other.env, "{}", command.name);
                    assert!(
                        flag.short.is_none() || flag.short != other.short,
                        "{flag:?} {other:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_texts_show_flags_with_default_and_variable() {
        let text = command(find("fetch").unwrap());
        assert!(text.starts_with("Download "), "{text}");
        assert!(text.contains("Usage: peer fetch NAME"), "{text}");
        let line = "      --stall-timeout TIME";
        let flag = text.lines().find(|l| l.starts_with(line)).unwrap();
        assert!(flag.ends_with("[default 60s; PEER_STALL_TIMEOUT]"), "{flag}");
        let all = program(COMMANDS);
        for command in COMMANDS {
            assert!(all.contains(&format!("  {}", command.name)), "{}", command.name);
        }
        assert!(all.contains("  130  stopped by SIGINT"), "{all}");
    }
}
