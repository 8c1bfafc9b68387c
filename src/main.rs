//! argv and the environment -> `cli` -> exit code. The only place that reads either.

use std::process::ExitCode;

fn main() -> ExitCode {
    let report = std::panic::take_hook();
    // A panic in one worker would leave the others waiting for it for ever: end them all.
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(1);
    }));
    lwt::cli::main(std::env::args_os(), std::env::vars())
}
