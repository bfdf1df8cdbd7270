//! Cells: each is one fault and the judgement over it. The quick ones run with all other tests; `cargo xtask faults`
//! runs all of them and writes down what came out.

use std::io::Write as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::world::lock;

type Cell = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The cells of one row of the matrix.
pub(crate) struct Row {
    name: &'static str,
    cells: Vec<(String, Cell)>,
}

/// What the facilitators of a cell that fails have said last.
pub(crate) type Said = Arc<Mutex<String>>;

tokio::task_local! {
    /// Where the worlds of a cell leave it.
    static SAID: Said;
}

/// Where the world of this cell leaves what its facilitators have said; None outside of cells.
pub(crate) fn said_in_this_cell() -> Option<Said> {
    SAID.try_with(Clone::clone).ok()
}

/// Whether every cell is to be run.
fn is_full() -> bool {
    std::env::var_os("TOLLWAY_FAULTS").is_some_and(|wanted| wanted == "full")
}

/// What the names of the cells that are to be run contain: a row's name and a cell's, with a space between them.
fn only() -> String {
    std::env::var("TOLLWAY_FAULTS_CELL").unwrap_or_default()
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
        let only = only();
        let mut running = JoinSet::new();
        for Self { name, cells } in rows {
            for (cell, work) in cells.into_iter().filter(|(cell, _)| format!("{name} {cell}").contains(&only))
            {
                let places = places.clone();
                running.spawn(async move {
                    let _place = places.acquire_owned().await.unwrap();
                    let (said, start) = (Said::default(), std::time::Instant::now());
                    let failure = tokio::spawn(SAID.scope(said.clone(), work)).await.err();
                    let failure = failure.map(|error| format!("{}\n{}", message(error), lock(&said)));
                    eprintln!("{name} {cell}: {:.1} s", start.elapsed().as_secs_f64());
                    report(name, &cell, failure.as_deref());
                    failure.map(|failure| format!("{name} {cell}: {failure}"))
                });
            }
        }
        let failed: Vec<String> = running.join_all().await.into_iter().flatten().collect();
        assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n\n"));
    }
}

fn message(error: tokio::task::JoinError) -> String {
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
