//! What was promised, and whether it was found. A target whose phase was not measured is not listed.

use crate::figures::{Each, Figures, Phase};
use crate::peer::Kind;

pub struct Target {
    pub name: String,
    pub met: bool,
    pub found: String,
}

pub fn missed(figures: &Figures) -> Vec<String> {
    let missed = targets(figures).into_iter().filter(|target| !target.met);
    missed.map(|target| format!("missed: {}: {}", target.name, target.found)).collect()
}

pub fn targets(figures: &Figures) -> Vec<Target> {
    let mut list = Vec::new();
    if let Some(ours) = figures.of.get(&Kind::Tollway) {
        verify(&mut list, figures, ours);
        idle(&mut list, figures, ours);
        floods(&mut list, figures, ours);
        pairs(&mut list, ours);
        many(&mut list, ours);
    }
    list
}

fn add(list: &mut Vec<Target>, name: &str, met: bool, found: impl Into<String>) {
    list.push(Target { name: name.to_owned(), met, found: found.into() });
}

fn verify(list: &mut Vec<Target>, figures: &Figures, ours: &Each) {
    let at = Phase::Verify(64);
    if ours.samples(at).next().is_some() {
        let trips = ours.trips(at);
        add(list, "at most 0.2 RPC round trips per verify, c=64", trips <= 0.2, format!("{trips:.3}"));
        for (kind, most, name) in [
            (Kind::X402Rs, 0.30, "verify CPU at most 30 % of x402-rs's, c=64"),
            (Kind::TypeScript, 1.0 / 15.0, "verify CPU at most 1/15 of the TypeScript one's, c=64"),
        ] {
            if let Some(theirs) = figures.of.get(&kind) {
                let part = 1.0 / theirs.cpu_ratio(ours, at);
                add(list, name, part <= most, format!("{:.1} %", part * 100.0));
            }
        }
        let over = ours.over_floor(&figures.floor, 64);
        add(
            list,
            "verify CPU at most twice the offline floor, c=64 (an aim)",
            over <= 2.0,
            format!("{over:.2}"),
        );
        let trips = [1, 16].map(|c| ours.trips(Phase::Verify(c)));
        let once = trips.iter().all(|trips| *trips <= 1.0);
        add(list, "at most one RPC round trip per verify, c=1 and c=16", once, format!("{trips:.3?}"));
    }
    if ours.samples(Phase::Refuse).next().is_some() {
        let trips = ours.trips(Phase::Refuse);
        add(list, "no RPC round trip for what fails local checks", trips == 0.0, format!("{trips:.3}"));
    }
    if ours.settled() > 0 {
        let all = ours.paid == ours.settled();
        add(list, "every settlement on chain", all, format!("{} of {}", ours.paid, ours.settled()));
    }
}

fn idle(list: &mut Vec<Target>, figures: &Figures, ours: &Each) {
    let Some(before) = figures.of.get(&Kind::Baseline) else { return };
    for (chain, name) in [(0, "instant"), (1, "one-second")] {
        if ours.idle[chain].is_empty() || before.idle[chain].is_empty() {
            continue;
        }
        let (now, before) = (ours.idle_ms(chain, 0.5), before.idle_ms(chain, 0.5));
        let name = format!("an idle payment's p50 within 5 % of the build before, {name} blocks");
        add(list, &name, now <= before * 1.05, format!("{now:.1} ms, before {before:.1} ms"));
    }
}

fn floods(list: &mut Vec<Target>, figures: &Figures, ours: &Each) {
    if let Some(flood) = ours.floods.get(&512) {
        let rate = flood.steady.unwrap_or(0.0);
        add(list, "at least 400 payments/s, 512 in flight", rate >= 400.0, format!("{rate:.0}"));
        let p99 = flood.blocks(0.99);
        add(list, "p99 within 3 blocks, 512 in flight", p99 <= 3.0, format!("{p99:.0}"));
    }
    if let Some(flood) = ours.floods.get(&2000) {
        let full = flood.fullness.unwrap_or(0.0) * 100.0;
        add(list, "at least 70 % of the blocks' gas, 2000 in flight", full >= 70.0, format!("{full:.1} %"));
    }
    for (in_flight, flood) in &ours.floods {
        if let Some(alone) = figures.alone
            && *in_flight >= 512
        {
            let less = (1.0 - flood.each(flood.gas as f64) / alone) * 100.0;
            let name = format!(
                "gas per payment at least 33 % below a transaction each ({alone:.0}), {in_flight} in flight"
            );
            add(list, &name, less >= 33.0, format!("{less:.1} %"));
        }
        let found = format!("{} of {}", flood.failures(), flood.sent);
        add(list, &format!("no failures, {in_flight} in flight"), flood.failures() == 0, found);
    }
}

fn pairs(list: &mut Vec<Target>, ours: &Each) {
    let Some(pairs) = &ours.pairs else { return };
    let good = pairs.transfers == pairs.posted && pairs.reverted == 0 && pairs.alike == pairs.posted;
    let found = format!(
        "{} transfers, {} reverted transactions, {} pairs alike",
        pairs.transfers, pairs.reverted, pairs.alike
    );
    let name =
        format!("{} payments posted twice: as many transfers, none reverted, pairs alike", pairs.posted);
    add(list, &name, good, found);
}

fn many(list: &mut Vec<Target>, ours: &Each) {
    let Some(many) = &ours.many else { return };
    let (sent, failures) = (many.flood.sent, many.flood.failures());
    add(list, &format!("no failures over {sent} payments"), failures == 0, failures.to_string());
    let found = format!(
        "{} answered, {} on chain, {} earned, ledger {:?}",
        many.flood.told, many.flood.settled, many.earned, many.rows
    );
    add(list, "conservation: answers, logs, balance and ledger agree", many.conserved(), found);
}
