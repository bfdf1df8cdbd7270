//! The fuzz targets, on the stable toolchain.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::shell;

const TARGETS: [&str; 5] = ["headers", "bodies", "money", "bind", "solana"];

/// Reads a number of seconds.
pub(crate) fn seconds(text: &str) -> Result<u64> {
    tollway_protocol::door::decimal_u64(text).with_context(|| format!("`{text}` is no number of seconds"))
}

/// Builds the targets and runs each for so long. What the fuzzer finds goes into the target folder;
/// the seeds in `fuzz/corpus` are only read.
pub(crate) fn run(seconds: u64, only: Option<&str>) -> Result<()> {
    if let Some(unknown) = only.filter(|name| !TARGETS.contains(name)) {
        bail!("no fuzz target `{unknown}`; there are {}", TARGETS.join(", "));
    }
    // The address sanitizer where the toolchain has it; our code forbids `unsafe`, so that the
    // assertions of the targets are what counts, and they work without it.
    let sanitizer = if build("address").is_ok() {
        "address"
    } else {
        println!("the address sanitizer can't be built here: fuzzing without it");
        build("none")?;
        "none"
    };
    for name in TARGETS.iter().filter(|name| only.is_none_or(|only| only == **name)) {
        let found = shell::target().join("fuzz-corpus").join(name);
        std::fs::create_dir_all(&found)?;
        let mut cargo = fuzz("run", sanitizer);
        cargo.arg(name).arg(&found).arg(shell::root().join("fuzz/corpus").join(name));
        cargo.args([
            "--",
            "-max_len=20000",
            "-timeout=10",
            "-rss_limit_mb=2048",
            "-verbosity=0",
            "-print_funcs=0",
            "-print_final_stats=1",
        ]);
        shell::run(cargo.arg(format!("-max_total_time={seconds}")))?;
    }
    Ok(())
}

fn build(sanitizer: &str) -> Result<()> {
    shell::run(&mut fuzz("build", sanitizer))
}

fn fuzz(verb: &str, sanitizer: &str) -> std::process::Command {
    let built: PathBuf = shell::target().join("fuzz");
    let mut cargo = shell::command("cargo");
    cargo.args(["fuzz", verb, "--fuzz-dir", "fuzz", "--sanitizer", sanitizer, "--target-dir"]).arg(built);
    // libFuzzer's instrumentation wants unstable flags; our own code has no need of a nightly toolchain.
    cargo.env("RUSTC_BOOTSTRAP", "1").env_remove("RUSTFLAGS");
    cargo
}
