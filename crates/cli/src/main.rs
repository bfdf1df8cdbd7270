//! The binary `tollway`: payments for HTTP 402.

mod args;
mod demo;
mod dev;
mod exit;
mod facilitator;
mod home;
mod ledger;
mod log;
mod nearby;
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
use tokio::runtime::Runtime;

use crate::args::{Cli, Command};

/// It was faster than the system's while a verification allocated more than it does now.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Half of the cores work for a facilitator, unless `TOKIO_WORKER_THREADS` says how many: handing its short requests
/// from core to core costs more than the others would bring, and its ledger and nodes want theirs.
fn runtime(command: &Command) -> std::io::Result<Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if command.is_facilitator_server() && std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        builder.worker_threads((cores / 2).max(1));
    }
    builder.enable_all().build()
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match runtime(&cli.command) {
        Ok(runtime) => runtime,
        Err(error) => return exit::Failure::from(error).tell(),
    };
    let traced = cli.command.is_facilitator_server().then(|| runtime.handle());
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
