//! Cells: each is one fault and the judgement over it. The quick ones run with all other tests; `cargo xtask faults`
//! runs all of them and writes down what came out.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

type Cell = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The cells of one row of the matrix.
pub(crate) struct Row {
    name: &'static str,
    cells: Vec<(String, Cell)>,
}

/// Whether every cell is to be run.
pub(crate) fn is_full() -> bool {
    std::env::var_os("TOLLWAY_FAULTS").is_some_and(|wanted| wanted == "full")
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, cells: Vec::new() }
    }

    /// A cell that always runs.
    pub(crate) fn cell(
        mut self,
        name: impl Into<String>,
        cell: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        self.cells.push((name.into(), Box::pin(cell)));
        self
    }

    /// A cell that takes long, and runs when all do.
    pub(crate) fn long(
        self,
        name: impl Into<String>,
        cell: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        if is_full() { self.cell(name, cell) } else { self }
    }

    /// Runs its cells, so many at a time, each to its end whatever becomes of the others.
    pub(crate) async fn run(self, at_once: usize) {
        Self::all(vec![self], at_once).await;
    }

    /// As [`Row::run`], of several.
    pub(crate) async fn all(rows: Vec<Self>, at_once: usize) {
        let places = Arc::new(Semaphore::new(at_once));
        let mut running = JoinSet::new();
        for Self { name, cells } in rows {
            for (cell, work) in cells {
                let places = places.clone();
                running.spawn(async move {
                    let _place = places.acquire_owned().await.unwrap();
                    let failure = tokio::spawn(work).await.err().map(said);
                    report(name, &cell, failure.as_deref());
                    failure.map(|failure| format!("{name} {cell}: {failure}"))
                });
            }
        }
        let failed: Vec<String> = running.join_all().await.into_iter().flatten().collect();
        assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n\n"));
    }
}

fn said(error: tokio::task::JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

/// A line for each cell, where results are collected: the row, the cell, and what failed.
fn report(row: &str, cell: &str, failure: Option<&str>) {
    let Some(folder) = std::env::var_os("TOLLWAY_FAULTS_RESULTS") else { return };
    let path = std::path::Path::new(&folder).join(format!("{row}.tsv"));
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    // Without the logs that follow it.
    let failure: String = failure.unwrap_or_default().lines().take(3).collect::<Vec<_>>().join(" ");
    let failure: String = failure.replace('\t', " ").chars().take(300).collect();
    writeln!(file, "{row}\t{cell}\t{failure}").unwrap();
}
