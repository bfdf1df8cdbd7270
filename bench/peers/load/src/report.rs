//! The figures as Markdown, ours first, the others also as ratios to ours.

use std::fmt::Write as _;

use crate::figures::{Each, Figures, Phase, per};
use crate::flood::Flood;
use crate::measure::{Sample, median};
use crate::pairs::Pairs;
use crate::peer::Kind;
use crate::targets::targets;

pub fn markdown(figures: &Figures, about: &str) -> String {
    let mut text = String::from(
        "# What verifying and settling cost\n\n\
         Written by `bench/run --write`; [README.md](README.md) says what is measured and how.\n\n",
    );
    text.push_str(about);
    text.push_str("\n\n## Targets\n\n");
    for target in targets(figures) {
        let met = if target.met { "met" } else { "**missed**" };
        let _ = writeln!(text, "- {met}: {}: {}", target.name, target.found);
    }
    instant(&mut text, figures);
    floor(&mut text, figures);
    calls(&mut text, figures);
    floods(&mut text, figures);
    pairs(&mut text, figures);
    many(&mut text, figures);
    every_round(&mut text, figures);
    text
}

/// A table with a column for each facilitator, and one for each ratio to ours.
struct Table<'a> {
    text: &'a mut String,
    columns: Vec<(Kind, &'a Each)>,
    ours: Option<&'a Each>,
}

impl<'a> Table<'a> {
    fn new(text: &'a mut String, figures: &'a Figures, has: impl Fn(&Each) -> bool) -> Option<Self> {
        let columns: Vec<_> =
            figures.of.iter().filter(|(_, each)| has(each)).map(|(kind, each)| (*kind, each)).collect();
        if columns.is_empty() {
            return None;
        }
        let ours = columns.iter().find(|(kind, _)| *kind == Kind::Tollway).map(|(_, each)| *each);
        let mut table = Self { text, columns, ours };
        let names = table.columns.iter().map(|(kind, _)| kind.name().to_owned());
        let ratios = table.others().map(|(kind, _)| format!("{} ÷ tollway", kind.name()));
        let header: Vec<_> = [String::new()].into_iter().chain(names).chain(ratios).collect();
        table.line(&header);
        table.line(&header.iter().map(|_| "---".to_owned()).collect::<Vec<_>>());
        Some(table)
    }

    fn others(&self) -> impl Iterator<Item = (Kind, &'a Each)> {
        let any = self.ours.is_some();
        self.columns.iter().copied().filter(move |(kind, _)| any && *kind != Kind::Tollway)
    }

    fn line(&mut self, cells: &[String]) {
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    fn row(&mut self, name: &str, digits: usize, value: impl Fn(&Each) -> f64) {
        let value = &value;
        self.row_with(name, digits, value, |theirs, ours| value(theirs) / value(ours));
    }

    fn row_with(
        &mut self,
        name: &str,
        digits: usize,
        value: impl Fn(&Each) -> f64,
        ratio: impl Fn(&Each, &Each) -> f64,
    ) {
        let show = |number: f64, digits: usize| {
            if number.is_finite() { format!("{number:.digits$}") } else { "-".to_owned() }
        };
        let mut cells = vec![name.to_owned()];
        cells.extend(self.columns.iter().map(|(_, each)| show(value(each), digits)));
        cells.extend(
            self.others()
                .map(|(_, theirs)| self.ours.map_or("-".into(), |ours| show(ratio(theirs, ours), 2))),
        );
        self.line(&cells);
    }

    /// Without ratios.
    fn texts(&mut self, name: &str, value: impl Fn(&Each) -> String) {
        let mut cells = vec![name.to_owned()];
        cells.extend(self.columns.iter().map(|(_, each)| value(each)));
        cells.extend(self.others().map(|_| String::new()));
        self.line(&cells);
    }
}

fn instant(text: &mut String, figures: &Figures) {
    text.push_str("\n## A block for each transaction\n\n");
    let Some(mut table) = Table::new(text, figures, |_| true) else { return };
    let measured = |phase| figures.of.values().any(|each| each.samples(phase).next().is_some());
    let latencies = |table: &mut Table<'_>, name: &str, at, digits| {
        table.row(&format!("{name}: p50, ms"), digits, |f| f.median(at, |s| s.quantile(0.5)));
        table.row(&format!("{name}: p99, ms"), digits, |f| f.median(at, |s| s.quantile(0.99)));
    };
    let cpu = |table: &mut Table<'_>, name: &str, at| {
        table.row_with(&format!("{name}: CPU, µs"), 0, |f| f.cpu(at), |f, ours| f.cpu_ratio(ours, at));
    };
    for c in [1, 16, 64].into_iter().filter(|c| measured(Phase::Verify(*c))) {
        let (at, name) = (Phase::Verify(c), format!("verify, c={c}"));
        cpu(&mut table, &name, at);
        table.row(&format!("{name}: requests/s"), 0, |f| f.median(at, Sample::per_second));
        latencies(&mut table, &name, at, 2);
        table.row(&format!("{name}: RPC round trips"), 3, |f| f.trips(at));
    }
    if measured(Phase::Refuse) {
        cpu(&mut table, "refused locally", Phase::Refuse);
        table.row("refused locally: RPC round trips", 3, |f| f.trips(Phase::Refuse));
    }
    for c in [1, 8].into_iter().filter(|c| measured(Phase::Settle(*c))) {
        let (at, name) = (Phase::Settle(c), format!("settle, c={c}"));
        cpu(&mut table, &name, at);
        table.row(&format!("{name}: RPC round trips"), 2, |f| f.trips(at));
        latencies(&mut table, &name, at, 1);
    }
    for (chain, name) in [(0, "a single payment, idle"), (1, "the same on one-second blocks")] {
        if figures.of.values().any(|each| !each.idle[chain].is_empty()) {
            table.row(&format!("{name}: p50, ms"), 1, |f| f.idle_ms(chain, 0.5));
            table.row(&format!("{name}: p99, ms"), 1, |f| f.idle_ms(chain, 0.99));
        }
    }
    if measured(Phase::Settle(1)) {
        table.row("gas per payment", 0, Each::gas_each);
        table.row("memory at most, MiB", 1, |f| f.peak as f64 / 1024.0);
    }
    table.row("memory after warm-up, MiB", 1, |f| f.resident as f64 / 1024.0);
    if measured(Phase::Settle(1)) {
        table.texts("settled and on chain", |f| format!("{} of {}", f.paid, f.settled()));
    }
    if let Some(alone) = figures.alone {
        let _ = writeln!(
            text,
            "\nA payment in a transaction of its own, sent by an account of anvil's, takes {alone:.0} gas."
        );
    }
    text.push_str(
        "\nCPU is the facilitator's process, user and system. CPU, rates and latencies of verify and settle are medians \
         of the rounds, and the ratio of CPU is the median of the rounds' ratios; round trips, calls and gas are means \
         over all.\n",
    );
}

fn floor(text: &mut String, figures: &Figures) {
    if figures.floor.is_empty() {
        return;
    }
    let floor = median(figures.floor.iter().copied());
    let _ = write!(text, "\nThe offline floor is {floor:.1} µs of CPU per verification. At 64 connections,");
    let each = figures.of.iter().map(|(kind, each)| {
        format!(" {} takes {:.1} times that", kind.name(), each.over_floor(&figures.floor, 64))
    });
    let _ = writeln!(text, "{}.", each.collect::<Vec<_>>().join(","));
}

fn calls(text: &mut String, figures: &Figures) {
    text.push_str("\n## JSON-RPC calls per payment\n\n");
    for (kind, each) in &figures.of {
        for (name, phase) in [("verify, c=64", Phase::Verify(64)), ("settle, c=1", Phase::Settle(1))] {
            if each.samples(phase).next().is_some() {
                let _ = writeln!(text, "- {}, {name}: {}", kind.name(), each.calls(phase));
            }
        }
        for (in_flight, flood) in &each.floods {
            let calls = per(&flood.rpc.calls, flood.settled as f64);
            let _ = writeln!(text, "- {}, {in_flight} in flight: {calls}", kind.name());
        }
    }
}

fn floods(text: &mut String, figures: &Figures) {
    let levels: std::collections::BTreeSet<_> =
        figures.of.values().flat_map(|each| each.floods.keys().copied()).collect();
    for level in levels {
        let _ = writeln!(text, "\n## One-second blocks of 30 M gas, one signer, {level} in flight\n");
        let at = |each: &Each, of: &dyn Fn(&Flood) -> f64| each.floods.get(&level).map_or(f64::NAN, of);
        let Some(mut table) = Table::new(text, figures, |each| each.floods.contains_key(&level)) else {
            continue;
        };
        flood_rows(&mut table, &at);
        table.texts("settled of sent", |each| {
            each.floods.get(&level).map_or(String::new(), |f| format!("{} of {}", f.settled, f.sent))
        });
        for (kind, each) in &figures.of {
            for (why, count) in each.floods.get(&level).into_iter().flat_map(|flood| &flood.refusals) {
                let _ =
                    writeln!(text, "\n{}, refused {count} times: `{}`", kind.name(), why.replace('`', "'"));
            }
        }
    }
}

type At<'a> = dyn Fn(&Each, &dyn Fn(&Flood) -> f64) -> f64 + 'a;

fn flood_rows(table: &mut Table<'_>, at: &At<'_>) {
    let mut row =
        |name: &str, digits, of: &dyn Fn(&Flood) -> f64| table.row(name, digits, |each| at(each, of));
    row("payments/s, steady", 0, &|f| f.steady.unwrap_or(f64::NAN));
    row("payments/s, from the first request to the last answer", 0, &Flood::per_second);
    row("of the blocks' gas, %", 1, &|f| f.fullness.map_or(f64::NAN, |part| part * 100.0));
    row("seconds per block", 2, &|f| f.block_time.unwrap_or(f64::NAN));
    row("gas per payment", 0, &|f| f.each(f.gas as f64));
    row("transactions per payment", 3, &|f| f.each(f.transactions as f64));
    row("p50, ms", 0, &|f| f.milliseconds(0.5));
    row("p99, ms", 0, &|f| f.milliseconds(0.99));
    row("p50, blocks", 0, &|f| f.blocks(0.5));
    row("p99, blocks", 0, &|f| f.blocks(0.99));
    row("CPU per payment, µs", 0, &|f| f.each(f.cpu.as_secs_f64() * 1e6));
    row("RPC round trips per payment", 3, &|f| f.each(f.rpc.trips as f64));
    row("RPC calls per payment", 3, &|f| f.each(f.rpc.calls.values().sum::<u64>() as f64));
    row("failures", 0, &|f| f.failures() as f64);
    row("reverted transactions", 0, &|f| f.reverted as f64);
    row("gas burned by them", 0, &|f| f.gas_reverted as f64);
    row("memory at most, MiB", 1, &|f| f.peak as f64 / 1024.0);
    let busy = |f: &Flood, time: std::time::Duration| 100.0 * time.as_secs_f64() / f.whole.as_secs_f64();
    row("busy, % of a core: the facilitator", 0, &|f| busy(f, f.cpu));
    row("busy: the generator with its proxy", 0, &|f| busy(f, f.cpu_others.0));
    row("busy: anvil", 0, &|f| busy(f, f.cpu_others.1));
}

fn pairs(text: &mut String, figures: &Figures) {
    if !figures.of.values().any(|each| each.pairs.is_some()) {
        return;
    }
    text.push_str("\n## Payments each posted twice at the same moment\n\n");
    let Some(mut table) = Table::new(text, figures, |each| each.pairs.is_some()) else { return };
    let mut row = |name: &str, of: &dyn Fn(&Pairs) -> usize| {
        table.row(name, 0, |each| each.pairs.as_ref().map_or(f64::NAN, |pairs| of(pairs) as f64));
    };
    row("payments, each posted twice", &|p| p.posted);
    row("transfers", &|p| p.transfers);
    row("transactions", &|p| p.transactions);
    row("reverted", &|p| p.reverted);
    row("gas burned by them", &|p| p.gas_burned as usize);
    row("pairs with at least one success", &|p| p.served);
    row("pairs answered alike, both success with one transaction", &|p| p.alike);
}

fn many(text: &mut String, figures: &Figures) {
    for each in figures.of.values() {
        let Some(many) = &each.many else { continue };
        let flood = &many.flood;
        let _ =
            writeln!(text, "\n## {} payments, 512 in flight, tollway\n\n| | |\n| --- | --- |", flood.sent);
        let mut row = |name: &str, value: String| writeln!(text, "| {name} | {value} |");
        let rows = many.rows.as_ref().map_or_else(Clone::clone, |rows| format!("{rows:?}"));
        let _ = row("answered with success", flood.told.to_string());
        let _ = row("on chain (Transfer logs)", flood.settled.to_string());
        let _ = row("success for what is not on chain", flood.lies.to_string());
        let _ = row("the receiver's balance grew by, payments", format!("{}", many.earned as f64 / 10_000.0));
        let _ = row("new rows of the ledger, by state", rows);
        let _ = row("seconds", format!("{:.1}", flood.whole.as_secs_f64()));
        let steady = flood.steady.map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}"));
        let _ = row("payments/s, steady", steady);
        let _ = row(
            "payments/s, from the first request to the last answer",
            format!("{:.0}", flood.per_second()),
        );
        let _ = row("gas per payment", format!("{:.0}", flood.each(flood.gas as f64)));
        let _ = row("transactions, reverted", format!("{}, {}", flood.transactions, flood.reverted));
        let quantiles = [0.5, 0.99, 1.0].map(|part| format!("{:.0}", flood.milliseconds(part)));
        let _ = row("p50, p99, longest, ms", quantiles.join(", "));
        let quantiles = [0.5, 0.99, 1.0].map(|part| format!("{:.0}", flood.blocks(part)));
        let _ = row("p50, p99, longest, blocks", quantiles.join(", "));
        let _ = row("memory at most, MiB", format!("{:.1}", flood.peak as f64 / 1024.0));
        for (why, count) in &flood.refusals {
            let _ = row(&format!("refused: {}", why.replace('|', "/")), count.to_string());
        }
    }
}

fn every_round(text: &mut String, figures: &Figures) {
    if !figures.of.values().any(|each| each.samples(Phase::Verify(64)).next().is_some()) {
        return;
    }
    text.push_str("\n## CPU per verification, every round, µs\n\n");
    let list =
        |values: Vec<f64>| values.iter().map(|value| format!("{value:.0}")).collect::<Vec<_>>().join(", ");
    for (kind, each) in &figures.of {
        for c in [1, 16, 64] {
            let values = each.samples(Phase::Verify(c)).map(Sample::cpu_each).collect();
            let _ = writeln!(text, "- {}, c={c}: {}", kind.name(), list(values));
        }
    }
    let _ = writeln!(text, "- offline floor: {}", list(figures.floor.clone()));
}
