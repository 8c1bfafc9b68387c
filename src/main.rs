//! argv -> cli -> exit code.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lwt: {error:#}");
            ExitCode::FAILURE
        }
    }
}
