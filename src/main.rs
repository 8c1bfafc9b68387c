//! argv, the environment and the clock -> `cli` -> exit code. The only place that reads them.

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let report = std::panic::take_hook();
    // A panic in one worker would leave the others waiting for it for ever: end them all.
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::exit(1);
    }));
    lwt::cli::main(std::env::args_os(), std::env::vars(), now_ms, now_ns, boot_ms)
}

/// Milliseconds since this machine started, sleep included: a clock that nobody can set.
fn boot_ms() -> i64 {
    let since = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    since.tv_sec * 1000 + since.tv_nsec / 1_000_000
}

fn now_ms() -> i64 {
    now_ns() / 1_000_000
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
