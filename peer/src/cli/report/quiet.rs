//! `-q`: nothing but the final path on stdout; `-qq`: not even that. Errors are the caller's.

use super::{About, FinalPath, Moment, Report};
use crate::cli::console::Console;
use crate::cli::errors::CliError;
use crate::notice::{Notice, Status};

/// The report of `-q`.
#[derive(Debug)]
pub(super) struct Quiet {
    about: About,
    path: FinalPath,
}

impl Quiet {
    pub(super) fn new(about: About) -> Self {
        Self { about, path: FinalPath::default() }
    }
}

impl Report for Quiet {
    fn notice(&mut self, _at: Moment, notice: &Notice, console: &mut dyn Console) {
        self.path.notice(&self.about, notice, console);
    }

    fn status(&mut self, _at: Moment, _status: &Status, _console: &mut dyn Console) {}

    fn end(&mut self, _: Moment, _: Result<(), &CliError>, _: &mut dyn Console) {}
}

#[cfg(test)]
mod tests {
    use super::super::script_tests as script;
    use super::*;

    #[test]
    fn only_the_path() {
        let fetch = |about| script::fetch(&mut Quiet::new(about));
        assert_eq!(fetch(script::about("fetch")), ["out  /models/phi\u{1b}.gguf"]);
        let nothing = About { print_path: false, ..script::about("fetch") };
        assert!(fetch(nothing).is_empty());
    }

    #[test]
    fn a_checked_fetch_tells_its_path_after_the_check() {
        let about = About { checks: true, ..script::about("fetch") };
        assert!(script::fetch(&mut Quiet::new(about)).is_empty());
    }
}
