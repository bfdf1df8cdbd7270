//! The whole fault matrix, and its table in `docs/reliability.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{shell, tools};

const DOCUMENT: &str = "docs/reliability.md";
const BEGIN: &str = "<!-- results: written by `cargo xtask faults` -->";
const END: &str = "<!-- end of results -->";

/// A cell's name, and what failed in it.
type Cell = (String, Option<String>);

/// Runs every cell, and writes down what came out before it says whether all passed.
pub(crate) fn run(filter: &[&str]) -> Result<()> {
    tools::install(&["cargo-nextest"])?;
    tools::system()?;
    let results = shell::target().join("faults");
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&results);
    std::fs::create_dir_all(&results).with_context(|| results.display().to_string())?;
    let start = Instant::now();
    let mut cargo = shell::command("cargo");
    cargo.args(["nextest", "run", "--package", "tollway", "--features", "fault-injection"]);
    cargo.args(["--test", "faults", "--profile", "faults", "--no-fail-fast"]).args(filter);
    cargo.env("TOLLWAY_FAULTS", "full").env("TOLLWAY_FAULTS_RESULTS", &results);
    let ran = shell::run(&mut cargo);
    let rows = read(&results)?;
    if rows.is_empty() {
        ran?;
        bail!("no cell was run");
    }
    let minutes = start.elapsed().as_secs().div_ceil(60);
    let is_part = !filter.is_empty() || std::env::var_os("TOLLWAY_FAULTS_CELL").is_some();
    if is_part {
        println!("{}", table(&rows, minutes)?);
    } else {
        write(&rows, minutes)?;
    }
    ran
}

/// The rows with their cells, as the tests left them.
fn read(results: &Path) -> Result<BTreeMap<String, Vec<Cell>>> {
    let mut rows: BTreeMap<String, Vec<Cell>> = BTreeMap::new();
    for entry in std::fs::read_dir(results)? {
        let text = std::fs::read_to_string(entry?.path())?;
        for line in text.lines() {
            let mut fields = line.splitn(3, '\t');
            let (Some(row), Some(cell)) = (fields.next(), fields.next()) else { continue };
            let failure = fields.next().filter(|text| !text.is_empty()).map(str::to_owned);
            rows.entry(row.to_owned()).or_default().push((cell.to_owned(), failure));
        }
    }
    for cells in rows.values_mut() {
        cells.sort();
    }
    Ok(rows)
}

fn write(rows: &BTreeMap<String, Vec<Cell>>, minutes: u64) -> Result<()> {
    let path = shell::root().join(DOCUMENT);
    let text = std::fs::read_to_string(&path).with_context(|| DOCUMENT.to_owned())?;
    let ends = text.split_once(BEGIN).and_then(|(head, rest)| Some((head, rest.split_once(END)?.1)));
    let Some((head, tail)) = ends else { bail!("{DOCUMENT} has no place for results") };
    std::fs::write(&path, format!("{head}{BEGIN}\n{}{END}{tail}", table(rows, minutes)?))?;
    println!("{DOCUMENT} written");
    Ok(())
}

fn table(rows: &BTreeMap<String, Vec<Cell>>, minutes: u64) -> Result<String> {
    let commit = shell::output(shell::command("git").args(["rev-parse", "--short", "HEAD"]));
    let commit = commit.unwrap_or_else(|_| "unknown".to_owned());
    let all: Vec<&Cell> = rows.values().flatten().collect();
    let failed = all.iter().filter(|(_, failure)| failure.is_some()).count();
    let mut text = format!(
        "Commit {}: {} cells in {minutes} min, {} passed, {failed} failed.\n\n| row | cells | passed | failed |\n|---|---|---|---|\n",
        commit.trim(),
        all.len(),
        all.len().saturating_sub(failed),
    );
    for (row, cells) in rows {
        let failed = cells.iter().filter(|(_, failure)| failure.is_some()).count();
        writeln!(text, "| {row} | {} | {} | {failed} |", cells.len(), cells.len().saturating_sub(failed))?;
    }
    text.push_str("\nWhat failed:\n\n");
    if failed == 0 {
        text.push_str("Nothing.\n");
    }
    for (row, cells) in rows {
        for (cell, failure) in cells {
            if let Some(failure) = failure {
                writeln!(text, "- {row}, {cell}: `{}`", failure.replace('`', "'"))?;
            }
        }
    }
    Ok(text)
}
