//! The `peer` program; everything is in [`peer::cli`].

fn main() -> std::process::ExitCode {
    peer::cli::main()
}
