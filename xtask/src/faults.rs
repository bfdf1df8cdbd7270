//! The whole fault matrix, and its table in `docs/reliability.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{shell, tools};

const DOCUMENT: &str = "docs/reliability.md";

/// Rows, with their cells.
type Rows = BTreeMap<String, Vec<Cell>>;

/// The chains of one kind: what they are called here, and the test program with their cells.
struct Chains {
    name: &'static str,
    program: &'static str,
}

const ALL: [Chains; 2] =
    [Chains { name: "evm", program: "faults" }, Chains { name: "solana", program: "svm_faults" }];

impl Chains {
    /// Between which lines of the document their table is.
    fn marks(&self) -> (String, String) {
        let name = self.name;
        (
            format!("<!-- {name} results: written by `cargo xtask faults` -->"),
            format!("<!-- end of {name} results -->"),
        )
    }
}

/// A cell's name, and what failed in it.
type Cell = (String, Option<String>);

/// Runs every cell, or with the name of a kind of chains every cell of theirs, and writes down what came out before it says
/// whether all passed. With another filter the tests with that in their names run, and their table is only printed.
pub(crate) fn run(filter: &[&str]) -> Result<()> {
    tools::install(&["cargo-nextest"])?;
    tools::system_for_cells()?;
    let named: Vec<&Chains> = match filter {
        [] => ALL.iter().collect(),
        [name] => ALL.iter().filter(|chains| chains.name == *name).collect(),
        _ => Vec::new(),
    };
    if named.is_empty() || std::env::var_os("TOLLWAY_FAULTS_CELL").is_some() {
        let filter = if named.is_empty() { filter } else { &[] };
        let all: Vec<&Chains> = if named.is_empty() { ALL.iter().collect() } else { named };
        let (ran, rows, minutes) = cells(&all, filter)?;
        println!("{}", table(&rows, minutes)?);
        return ran;
    }
    let mut failed = Ok(());
    for chains in named {
        let (ran, rows, minutes) = cells(&[chains], &[])?;
        write(chains, &rows, minutes)?;
        failed = failed.and(ran);
    }
    failed
}

/// Runs cells of these chains: whether all passed, the rows, and how many minutes it took.
fn cells(chains: &[&Chains], filter: &[&str]) -> Result<(Result<()>, Rows, u64)> {
    let results = shell::target().join("faults");
    // What an earlier run left.
    let _ = std::fs::remove_dir_all(&results);
    std::fs::create_dir_all(&results).with_context(|| results.display().to_string())?;
    let start = Instant::now();
    let mut cargo = shell::command("cargo");
    cargo.args(["nextest", "run", "--package", "tollway", "--features", "fault-injection"]);
    cargo.args(chains.iter().flat_map(|chains| ["--test", chains.program]));
    cargo.args(["--profile", "faults", "--no-fail-fast"]).args(filter);
    cargo.env("TOLLWAY_FAULTS", "full").env("TOLLWAY_FAULTS_RESULTS", &results);
    let ran = shell::run(&mut cargo);
    let rows = read(&results)?;
    if rows.is_empty() {
        ran?;
        bail!("no cell was run");
    }
    Ok((ran, rows, start.elapsed().as_secs().div_ceil(60)))
}

/// The rows with their cells, as the tests left them.
fn read(results: &Path) -> Result<Rows> {
    let mut rows = Rows::new();
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

fn write(chains: &Chains, rows: &Rows, minutes: u64) -> Result<()> {
    let (begin, end) = chains.marks();
    let path = shell::root().join(DOCUMENT);
    let text = std::fs::read_to_string(&path).with_context(|| DOCUMENT.to_owned())?;
    let ends = text.split_once(&begin).and_then(|(head, rest)| Some((head, rest.split_once(&end)?.1)));
    let Some((head, tail)) = ends else {
        bail!("{DOCUMENT} has no place for the results of {}", chains.name)
    };
    std::fs::write(&path, format!("{head}{begin}\n{}{end}{tail}", table(rows, minutes)?))?;
    println!("{DOCUMENT} written: {}", chains.name);
    Ok(())
}

fn table(rows: &Rows, minutes: u64) -> Result<String> {
    let commit = shell::output(shell::command("git").args(["rev-parse", "--short", "HEAD"]));
    let commit = commit.unwrap_or_else(|_| "unknown".to_owned());
    let changed = shell::output(shell::command("git").args(["status", "--porcelain", "--", "crates"]));
    let after =
        if changed.is_ok_and(|changed| changed.trim().is_empty()) { "" } else { " and changes to it" };
    let all: Vec<&Cell> = rows.values().flatten().collect();
    let failed = all.iter().filter(|(_, failure)| failure.is_some()).count();
    let mut text = format!(
        "Commit {}{after}: {} cells in {minutes} min, {} passed, {failed} failed.\n\n| row | cells | passed | failed |\n|---|---|---|---|\n",
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
