//! What payers, strangers, nodes, machines and the chain do in a step.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::life::Life;
use crate::plan::Trouble;
use crate::run::Run;
use crate::side::Side;
use crate::weather::{Mood, Sea};
use crate::wish::Wish;

/// What is to be done later.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Later {
    /// A payer sees to it that its payment can't be made.
    Spoil(usize),
    /// A dead replica comes back.
    Restart(usize),
    /// A standing replica goes on.
    GoOn(usize),
    /// A node is as it should be.
    Heal(usize, usize),
    /// The store is as it should be.
    Calm,
    /// A payment is sent again.
    Resend(usize),
    /// A payer signs another payment in the place of an earlier one.
    Twin(usize),
}

/// The payments so far, and what is to come.
pub(crate) struct Deeds<S: Side> {
    /// Each with its payer's place.
    wishes: Vec<(usize, Wish<S>)>,
    later: Vec<(u64, Later)>,
}

impl<S: Side> Default for Deeds<S> {
    fn default() -> Self {
        Self { wishes: Vec::new(), later: Vec::new() }
    }
}

impl<S: Side> Deeds<S> {
    /// One step.
    pub(crate) fn act(&mut self, run: &mut Run<S>) {
        self.catch_up(run);
        let chance = &run.world.chance;
        match chance.below(100) {
            0..30 => self.pay(run),
            30..38 => self.burst(run),
            38..48 => self.resend(run),
            48..56 => self.duplicate(run),
            56..60 => self.only_verify(run),
            _ => match run.plan.troubles.as_slice() {
                [] => self.pay(run),
                troubles => {
                    let trouble = *chance.pick(troubles);
                    self.trouble(run, trouble);
                }
            },
        }
    }

    fn catch_up(&mut self, run: &mut Run<S>) {
        let now = run.world.millis();
        let (due, rest) = std::mem::take(&mut self.later).into_iter().partition(|(at, _)| *at <= now);
        self.later = rest;
        let due: Vec<(u64, Later)> = due;
        for (_, deed) in due {
            match deed {
                Later::Spoil(at) => self.spoil(run, at),
                Later::Restart(number) if run.replicas[number].life() == Life::Dead => run.restart(number),
                Later::GoOn(number) if run.replicas[number].life() == Life::Stands => {
                    run.replicas[number].set_life(Life::Runs);
                }
                Later::Heal(replica, node) => {
                    run.world.weather.set_mood(replica, node, Mood { slow: 20, ..Mood::default() });
                }
                Later::Calm => run.world.weather.set_sea(Sea { slow: 3, ..Sea::default() }),
                Later::Resend(at) => self.send(run, at),
                Later::Twin(at) => {
                    self.twin(run, at);
                    self.send(run, self.wishes.len() - 1);
                }
                Later::Restart(_) | Later::GoOn(_) => {}
            }
        }
    }

    fn plan(&mut self, run: &Run<S>, low: u64, high: u64, deed: Later) {
        self.later.push((run.world.millis() + run.world.chance.between(low, high), deed));
    }

    fn fresh(&mut self, run: &Run<S>) -> usize {
        let chance = &run.world.chance;
        let payer = chance.index(run.plan.payers);
        let wish = run.wish(&run.purses[payer], chance.index(2));
        self.wishes.push((payer, wish));
        self.wishes.len() - 1
    }

    /// Sends a payment to some replica that takes requests.
    fn send(&self, run: &Run<S>, at: usize) {
        let chance = &run.world.chance;
        let replica = &run.replicas[chance.index(run.replicas.len())];
        if replica.serves() {
            drop(replica.settle(&self.wishes[at].1, Duration::from_secs(chance.between(3, 25))));
        }
    }

    /// Some payment that is to be settled, a late one as a rule.
    fn some(&self, run: &Run<S>) -> Option<usize> {
        let recent = self.wishes.len().min(8);
        let at = self.wishes.len().checked_sub(1 + run.world.chance.index(recent.max(1)))?;
        (!self.wishes[at].1.only_verified).then_some(at)
    }

    fn pay(&mut self, run: &Run<S>) {
        let at = self.fresh(run);
        if run.world.chance.permille(400) {
            run.replicas[run.world.chance.index(run.replicas.len())].verify(&self.wishes[at].1);
        }
        self.send(run, at);
        if run.world.chance.permille(300) {
            self.plan(run, 3_000, 20_000, Later::Resend(at));
        }
        if run.plan.has(Trouble::Payers) && run.world.chance.permille(200) {
            self.plan(run, 0, 6_000, Later::Twin(at));
        } else if run.plan.has(Trouble::Payers) && run.world.chance.permille(400) {
            self.plan(run, 50, 3_000, Later::Spoil(at));
        }
    }

    fn burst(&mut self, run: &Run<S>) {
        for _ in 0..run.world.chance.between(2, 6) {
            self.pay(run);
        }
    }

    fn resend(&mut self, run: &Run<S>) {
        if let Some(at) = self.some(run) {
            self.send(run, at);
        }
    }

    fn duplicate(&mut self, run: &Run<S>) {
        let at = self.fresh(run);
        for _ in 0..run.world.chance.between(2, 4) {
            self.send(run, at);
        }
    }

    fn only_verify(&mut self, run: &Run<S>) {
        let at = self.fresh(run);
        let wish = &mut self.wishes[at].1;
        wish.only_verified = true;
        run.world.oracle.lock().only_verified(&wish.key);
        for replica in &run.replicas {
            replica.verify(wish);
        }
    }

    fn trouble(&mut self, run: &mut Run<S>, trouble: Trouble) {
        match trouble {
            Trouble::FrontRuns => self.front_run(run),
            Trouble::Payers => self.cheat(run),
            Trouble::Reorgs | Trouble::Drops | Trouble::Fees => S::trouble(run, trouble),
            Trouble::Stalls => {
                let until = run.world.millis() + run.world.chance.between(2_000, 25_000);
                run.world.trace.note(&format!("no blocks until {until}"));
                run.world.stalled_until.store(until, Ordering::Relaxed);
            }
            Trouble::Clocks => {
                let skew = *run.world.chance.pick(&[0, 0, 5, -5, 40, -40, 600, -600, 86_400, -86_400]);
                let replica = run.world.chance.index(run.replicas.len());
                run.world.trace.note(&format!("r{replica}'s clock is {skew} s ahead"));
                run.skews[replica].store(skew, Ordering::Relaxed);
                run.world.hurts(replica);
            }
            Trouble::Crashes => self.crash(run),
            Trouble::Pauses => self.pause(run),
            Trouble::Store => self.roughen(run),
            Trouble::Network | Trouble::Lies => self.upset(run, trouble),
        }
    }

    fn front_run(&self, run: &Run<S>) {
        let Some(at) = self.some(run) else { return };
        let wish = &self.wishes[at].1;
        let done = S::front_run(run, wish);
        run.world.trace.note(&format!("a stranger submits {}: {done}", S::name(&wish.transfer)));
    }

    fn cheat(&mut self, run: &Run<S>) {
        let chance = &run.world.chance;
        match chance.below(4) {
            0 => {
                let Some(at) = self.some(run) else { return };
                self.spoil(run, at);
            }
            1 => S::drain(&run.world, &run.purses[chance.index(run.plan.payers)]),
            2 => S::refill(&run.world, &run.purses[chance.index(run.plan.payers)]),
            _ => {
                let Some(at) = self.some(run) else { return };
                self.twin(run, at);
                if chance.permille(500) {
                    self.send(run, at);
                }
                self.send(run, self.wishes.len() - 1);
            }
        }
    }

    fn spoil(&self, run: &Run<S>, at: usize) {
        let (payer, wish) = &self.wishes[at];
        S::spoil(&run.world, &run.purses[*payer], wish);
    }

    /// Another payment in the place of the one at `at`.
    fn twin(&mut self, run: &Run<S>, at: usize) {
        let (payer, old) = &self.wishes[at];
        let wish = run.keyed(S::twin(&run.world, &run.purses[*payer], old));
        self.wishes.push((*payer, wish));
    }

    fn crash(&mut self, run: &mut Run<S>) {
        let number = run.world.chance.index(run.replicas.len());
        match run.replicas[number].life() {
            Life::Dead => run.restart(number),
            _ => {
                run.replicas[number].set_life(Life::Dead);
                self.plan(run, 0, 15_000, Later::Restart(number));
            }
        }
    }

    fn pause(&mut self, run: &mut Run<S>) {
        let number = run.world.chance.index(run.replicas.len());
        if run.replicas[number].life() != Life::Runs {
            return;
        }
        if run.world.chance.permille(300) {
            return run.replicas[number].lapses();
        }
        run.replicas[number].set_life(Life::Stands);
        self.plan(run, 500, 15_000, Later::GoOn(number));
    }

    fn roughen(&mut self, run: &Run<S>) {
        let chance = &run.world.chance;
        let sea = match chance.below(4) {
            0 => Sea { is_down: true, ..Sea::default() },
            1 => Sea { fails: 150, slow: 10, ..Sea::default() },
            2 => Sea { lost_answers: 150, slow: 10, ..Sea::default() },
            _ => Sea { slow: 3_000, ..Sea::default() },
        };
        run.world.trace.note(&format!("the store is {sea:?}"));
        run.world.weather.set_sea(sea);
        self.plan(run, 500, 12_000, Later::Calm);
    }

    fn upset(&mut self, run: &Run<S>, trouble: Trouble) {
        let chance = &run.world.chance;
        let (replica, node) = (chance.index(run.replicas.len()), chance.index(run.plan.nodes));
        let base = Mood { slow: 20, ..Mood::default() };
        let mood = match (trouble, chance.below(6)) {
            (Trouble::Network, 0) => Mood { is_down: true, ..base },
            (Trouble::Network, 1) => Mood { hangs: true, ..base },
            (Trouble::Network, 2) => Mood { slow: 4_000, ..base },
            (Trouble::Network, 3) => Mood { lost_calls: 300, ..base },
            (Trouble::Network, 4) => Mood { lost_answers: 300, ..base },
            (Trouble::Network, _) => Mood { doubles: 500, ..base },
            (_, 0) => Mood { lag: chance.between(1, 4), ..base },
            (_, 1) => Mood { denies: *chance.pick(&[200, 1000]), ..base },
            (_, 2) => Mood { garbles: 300, ..base },
            (_, 3) => Mood { low_nonces: 400, ..base },
            (_, 4) => Mood { bad_sends: 600, ..base },
            _ => Mood { is_elsewhere: true, ..base },
        };
        run.world.trace.note(&format!("r{replica}'s node{node} is {mood:?}"));
        run.world.hurts(replica);
        run.world.weather.set_mood(replica, node, mood);
        self.plan(run, 1_000, 20_000, Later::Heal(replica, node));
    }
}
