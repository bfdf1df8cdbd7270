//! What CI runs, step by step; the first failure stops.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::{depends, docs, fuzz, shell, tools};

struct Step {
    name: &'static str,
    what: &'static str,
    tools: &'static [&'static str],
    /// Whether it needs the packages of e2e/.
    peers: bool,
    run: fn() -> Result<()>,
}

const STEPS: &[Step] = &[
    step("fmt", "formatting", || shell::cargo(&["fmt", "--all", "--check"])),
    step("lint", "clippy, all targets and features, warnings denied", lint),
    Step { tools: &["cargo-deny"], ..step("deny", "licences, bans and sources of what we depend on", deny) },
    step("doc", "rustdoc, warnings denied", doc),
    Step {
        peers: true,
        ..step("contracts", "contract artefacts are what their sources give", || contracts(true))
    },
    step("docs", "generated documents are current", docs::check),
    step("depends", "crates stay free of what they must not know", depends::check),
    Step {
        tools: &["cargo-nextest"],
        peers: true,
        ..step("unit", "unit and integration tests, all features", unit)
    },
    step("doctest", "examples in the documentation", doctest),
    Step { tools: &["cargo-hack"], ..step("features", "each feature builds alone", features) },
    Step { tools: &["cargo-fuzz"], ..step("fuzz", "fuzz targets, ten seconds each", || fuzz::run(10, None)) },
    Step { peers: true, ..step("e2e", "the published SDKs against our binary", e2e) },
];

const fn step(name: &'static str, what: &'static str, run: fn() -> Result<()>) -> Step {
    Step { name, what, tools: &[], peers: false, run }
}

/// Every step's name, in order.
pub(crate) fn names() -> Vec<&'static str> {
    STEPS.iter().map(|step| step.name).collect()
}

/// Runs the named steps in CI's order, after installing what they need.
pub(crate) fn run(wanted: &[&str]) -> Result<()> {
    if let Some(unknown) = wanted.iter().find(|name| !names().contains(name)) {
        bail!("no step `{unknown}`; there are {}", names().join(", "));
    }
    let chosen: Vec<&Step> = STEPS.iter().filter(|step| wanted.contains(&step.name)).collect();
    let start = Instant::now();
    println!("steps: {}", chosen.iter().map(|step| step.name).collect::<Vec<_>>().join(", "));
    install(&chosen)?;
    let mut times = Vec::new();
    for (n, step) in chosen.iter().enumerate() {
        println!("\n━━ {}/{} {}: {}", n.saturating_add(1), chosen.len(), step.name, step.what);
        let start = Instant::now();
        (step.run)().with_context(|| {
            format!("step `{}` failed (again alone: cargo xtask test --only {0})", step.name)
        })?;
        println!("━━ {} ok in {}", step.name, shown(start.elapsed()));
        times.push(format!("{} {}", step.name, shown(start.elapsed())));
    }
    println!("\nall {} steps ok in {}: {}", chosen.len(), shown(start.elapsed()), times.join(", "));
    Ok(())
}

/// Says what the steps need and installs what is missing of it.
fn install(chosen: &[&Step]) -> Result<()> {
    let wanted: Vec<&str> = chosen.iter().flat_map(|step| step.tools).copied().collect();
    let peers = chosen.iter().any(|step| step.peers);
    if !wanted.is_empty() {
        println!(
            "needs {} (used where installed, else put under {})",
            wanted.join(", "),
            tools::folder().display()
        );
    }
    tools::install(&wanted)?;
    if chosen.iter().any(|step| step.name == "unit") {
        println!("needs Postgres' server binaries and strace (Debian's packages postgresql and strace)");
        tools::system()?;
    }
    if peers {
        println!(
            "needs Node.js with the packages of e2e/package-lock.json, and Python with e2e/requirements.txt (in e2e/.venv)"
        );
        shell::run(shell::command("node").arg("e2e/setup.mjs"))?;
    }
    Ok(())
}

fn shown(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 60.. => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{:.1} s", time.as_secs_f32()),
    }
}

fn lint() -> Result<()> {
    let mut cargo = shell::command("cargo");
    cargo.args(["clippy", "--workspace", "--all-targets", "--all-features"]);
    if std::env::var_os("CI").is_some() {
        cargo.arg("--locked"); // the committed Cargo.lock is what is tested
    }
    shell::run(cargo.args(["--", "-D", "warnings"]))
}

fn deny() -> Result<()> {
    shell::cargo(&["deny", "--log-level", "error", "check", "bans", "licenses", "sources"])
}

fn doc() -> Result<()> {
    let mut cargo = shell::command("cargo");
    cargo.args(["doc", "--workspace", "--all-features", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    shell::run(&mut cargo)
}

fn unit() -> Result<()> {
    shell::cargo(&["nextest", "run", "--workspace", "--all-features", "--no-fail-fast"])
}

fn doctest() -> Result<()> {
    shell::cargo(&["test", "--workspace", "--all-features", "--doc"])
}

fn features() -> Result<()> {
    shell::cargo(&["hack", "check", "--workspace", "--exclude", "xtask", "--each-feature"])
}

fn e2e() -> Result<()> {
    shell::cargo(&["build", "--package", "tollway"])?;
    shell::cargo(&["build", "--package", "tollway-devnet", "--example", "svm"])?;
    let binary = shell::target().join("debug").join(format!("tollway{}", std::env::consts::EXE_SUFFIX));
    let mut node = shell::command("node");
    node.args(["--test", "--test-concurrency=2"]);
    let suites = ["peers", "permit2", "svm-chain", "svm-peers", "svm-facilitators"];
    node.args(suites.map(|suite| format!("e2e/{suite}.test.mjs")));
    node.env("TOLLWAY_BIN", binary);
    shell::run(&mut node)
}

/// Compiles the contracts, or checks their artefacts.
pub(crate) fn contracts(check: bool) -> Result<()> {
    let mut node = shell::command("node");
    node.arg("contracts/build.mjs").args(check.then_some("--check"));
    shell::run(&mut node)
}
