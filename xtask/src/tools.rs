//! Tools beside Rust's own: used where they are, installed under the target folder where not.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::shell;

const WHEELS: &str = include_str!("../tools.txt");

/// Where tools are installed; kept as long as the target folder.
pub(crate) fn folder() -> PathBuf {
    shell::target().join("tools")
}

/// The folders with the programs of the tools. Each tool has its own: pip replaces a whole `bin`.
pub(crate) fn bins() -> impl Iterator<Item = PathBuf> {
    WHEELS.lines().filter_map(|line| {
        let (tool, _) = line.strip_prefix("astral-dev-toolchain-")?.split_once("==")?;
        Some(folder().join(tool).join("bin"))
    })
}

/// Installs those of `tools` that are missing, and says so.
pub(crate) fn install(tools: &[&str]) -> Result<()> {
    for tool in tools {
        // `cargo nextest --version`: every one of them is a cargo subcommand.
        let verb = tool.trim_start_matches("cargo-");
        if shell::works(tool, &[verb, "--version"]) {
            continue;
        }
        let start = Instant::now();
        println!("{tool} is missing: installing it into {}", folder().display());
        from_wheel(tool).or_else(|error| {
            println!("no wheel of {tool} for this machine ({error:#}): building it, which takes minutes");
            from_source(tool)
        })?;
        println!("{tool} installed in {:.0?}", start.elapsed());
    }
    Ok(())
}

fn from_wheel(tool: &str) -> Result<()> {
    let line = line_of(tool)?;
    let home = folder().join(tool);
    let wanted = home.join("wanted.txt");
    std::fs::create_dir_all(&home)?;
    std::fs::write(&wanted, line)?;
    let mut pip = shell::command("python3");
    pip.args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        "--upgrade",
        "--root-user-action",
        "ignore",
    ]);
    pip.args(["--only-binary", ":all:", "--require-hashes", "--target"]).arg(home);
    shell::run(pip.arg("--requirement").arg(&wanted))
}

fn from_source(tool: &str) -> Result<()> {
    let version = line_of(tool)?
        .split_once("==")
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .context("tools.txt pins no version")?;
    let mut cargo = shell::command("cargo");
    cargo.args(["install", "--locked", tool, "--version", version, "--root"]).arg(folder().join(tool));
    shell::run(&mut cargo)
}

fn line_of(tool: &str) -> Result<&'static str> {
    let named = |line: &&str| line.starts_with(&format!("astral-dev-toolchain-{tool}=="));
    WHEELS.lines().find(named).with_context(|| format!("{tool} is not in tools.txt"))
}

/// Programs of the system that tests run, and the Debian packages that have them.
const SYSTEM: &[(&str, &str)] = &[("initdb", "postgresql"), ("strace", "strace")];

/// What only cells of the fault matrix run that are no part of the tests.
const CELLS: &[(&str, &str)] = &[("faketime", "faketime")];

/// Installs what of the programs that tests run is missing where that is possible, else says what to do.
pub(crate) fn system() -> Result<()> {
    there(SYSTEM)
}

/// As [`system`], for the whole fault matrix.
pub(crate) fn system_for_cells() -> Result<()> {
    system()?;
    there(CELLS)
}

fn there(programs: &[(&str, &str)]) -> Result<()> {
    let missing: Vec<&str> =
        programs.iter().filter(|(program, _)| !is_there(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut apt = shell::command("apt-get");
    apt.args(["install", "--yes", "--no-install-recommends"]).args(&missing);
    shell::run(&mut apt).with_context(|| {
        format!(
            "tests need {}: install it, such as by `apt-get install {}`",
            missing.join(", "),
            missing.join(" ")
        )
    })
}

/// Whether the program is on the path, or where Debian puts Postgres's.
fn is_there(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = std::env::split_paths(&path).chain(debian.map(|version| version.path().join("bin")));
    folders.map(|folder| folder.join(program)).any(|file| file.is_file())
}
