//! The figures as a table for people.

use std::fmt::Write as _;
use std::path::Path;
use std::{fs, io};

use super::{Figures, plot};

/// What stands before and after the figures in a text that shows them.
const MARKS: (&str, &str) = ("<!-- swarms -->", "<!-- /swarms -->");

/// A table, one line for each run.
fn table(all: &[Figures]) -> String {
    let mut text = String::from(
        "| fetchers | they send, beside the seeder | last one done, s | bound, s | ratio | seeder's copies until all had \
         left | in all | waste |\n|--:|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for figures in all {
        let shape = figures.shape;
        writeln!(
            text,
            "| {} | {} | {:.2} | {:.2} | {:.3} | {:.2} | {:.2} | {:.2} % |",
            shape.fetchers,
            shape.links.name(),
            figures.took.as_secs_f64(),
            figures.bound.as_secs_f64(),
            figures.ratio(),
            figures.first_copies,
            figures.copies,
            figures.waste * 100.0
        )
        .expect("a string takes everything");
    }
    text
}

/// Renews the picture and the README's part, from the workspace's folder.
///
/// # Errors
/// When a file can't be read or written, or the README has no place for it.
pub fn publish(all: &[Figures]) -> io::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    fs::create_dir_all(root.join("docs"))?;
    fs::write(root.join("docs/swarms.svg"), plot::plot(all))?;
    let path = root.join("README.md");
    let no_place = || io::Error::other(format!("README.md has no {} ... {}", MARKS.0, MARKS.1));
    let part = format!(
        "![Completion time against swarm size](docs/swarms.svg)\n\n{}\nFrom `cargo sim --swarms {}`, in virtual time.",
        table(all),
        all.iter().map(|figures| figures.shape.fetchers).max().unwrap_or(0)
    );
    let text = between_marks(&fs::read_to_string(&path)?, &part).ok_or_else(no_place)?;
    fs::write(path, text)
}

/// `text` with `part` between the marks; `None` if they are not there.
fn between_marks(text: &str, part: &str) -> Option<String> {
    let (before, rest) = text.split_once(MARKS.0)?;
    let (_, after) = rest.split_once(MARKS.1)?;
    Some(format!("{before}{}\n{part}\n{}{after}", MARKS.0, MARKS.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = "a\n<!-- swarms -->\nold\n<!-- /swarms -->\nb\n";
        let new = between_marks(text, "new").expect("both marks");
        assert_eq!(new, "a\n<!-- swarms -->\nnew\n<!-- /swarms -->\nb\n");
        assert_eq!(between_marks(&new, "new").as_deref(), Some(new.as_str()));
        assert_eq!(between_marks("a <!-- swarms --> b", "new"), None);
    }
}
