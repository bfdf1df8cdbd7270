//! Running programs.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, bail};

/// The workspace's folder: that of the run, as a build folder may serve several checkouts.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let here =
            std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("xtask"), PathBuf::from);
        here.parent().map_or_else(|| PathBuf::from("."), Path::to_path_buf)
    })
}

/// Where cargo builds, as it was told or by default.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A command that finds the tools we installed before others, and never reads the terminal.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    let path = std::env::var_os("PATH").unwrap_or_default();
    if let Ok(path) = std::env::join_paths(crate::tools::bins().chain(std::env::split_paths(&path))) {
        command.env("PATH", path);
    }
    command.stdin(Stdio::null());
    if std::env::var_os("CI").is_some() {
        command.env("CARGO_INCREMENTAL", "0"); // one build, no edits: less disk and time
    }
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let name = shown(command);
    println!("$ {name}");
    let status = command.status().with_context(|| format!("can't run {name}"))?;
    if !status.success() {
        bail!("`{name}` failed: {status}");
    }
    Ok(())
}

/// Runs a command and gives what it printed.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = shown(command);
    let output = command.stderr(Stdio::inherit()).output().with_context(|| format!("can't run {name}"))?;
    if !output.status.success() {
        bail!("`{name}` failed: {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed no text"))
}

/// Runs cargo.
pub(crate) fn cargo(arguments: &[&str]) -> Result<()> {
    run(command("cargo").args(arguments))
}

/// Whether a program answers when asked for its version.
pub(crate) fn works(program: &str, arguments: &[&str]) -> bool {
    let mut command = command(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
}
