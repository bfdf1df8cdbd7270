//! The binary `tollway`: payments for HTTP 402.

mod args;
mod demo;
mod dev;
mod exit;
mod facilitator;
mod home;
mod ledger;
mod log;
mod pay;
mod rpc;
mod screen;
mod secrets;
mod signals;
mod stack;
mod traces;
mod wallet;

use std::process::ExitCode;

use clap::Parser as _;

use crate::args::Cli;

/// Allocation is a tenth of a verification's time with the system's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return exit::Failure::from(error).tell(),
    };
    let traced = cli.command.is_traced().then(|| runtime.handle());
    let spans = match log::start(cli.log.as_deref(), cli.command.log_level(), traced) {
        Ok(spans) => spans,
        Err(failure) => return failure.tell(),
    };
    let done = runtime.block_on(cli.command.run());
    if let Some(spans) = spans {
        spans.flush();
    }
    // What still reads a terminal or a socket on a blocking thread is not waited for.
    runtime.shutdown_background();
    match done {
        Ok(exit) => exit.into(),
        Err(failure) => failure.tell(),
    }
}
