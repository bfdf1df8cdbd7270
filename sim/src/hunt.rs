//! Every rule is proven by a mistake that breaks it: the simulation has to find each.

use crate::run::run;
use crate::side::Side;

/// A mistake of the engine's, and the rule that it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mistake {
    /// Its name in the `bug` module of the engine's crate.
    pub name: &'static str,
    /// The rule by which it is to be found.
    pub rule: &'static str,
    /// What it does.
    pub what: &'static str,
}

pub(crate) const fn mistake(name: &'static str, rule: &'static str, what: &'static str) -> Mistake {
    Mistake { name, rule, what }
}

/// What came of a hunt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Catch {
    /// The seed that broke the rule.
    pub seed: u64,
    /// How many were run for it.
    pub seeds: u64,
    /// How many of them broke another rule by it.
    pub others: u64,
}

/// Runs seeds with the mistake until its rule is broken; None after `most` seeds.
#[must_use]
pub fn hunt<S: Side>(mistake: Mistake, from: u64, most: u64) -> Option<Catch> {
    S::set_bug(Some(mistake.name));
    let mut others = 0;
    let mut found = None;
    for n in 0..most {
        match run::<S>(from.wrapping_add(n), false).broken {
            Some(broken) if broken.rule == mistake.rule => {
                found = Some(Catch { seed: from.wrapping_add(n), seeds: n + 1, others });
                break;
            }
            Some(_) => others += 1,
            None => {}
        }
    }
    S::set_bug(None);
    found
}
