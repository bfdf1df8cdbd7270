//! Who may send from an account, and who takes over what is left.

use tollway_ledger::{Lease, Record};
use tollway_protocol::Network;

use super::tables::{Me, Tables};

impl Tables {
    pub(super) fn lease(&mut self, network: &Network, signer: &str, me: Me) -> Option<Lease> {
        let place = (network.as_str().to_owned(), signer.to_lowercase());
        let of = |turn| Some(Lease::new(network.clone(), signer.to_owned(), turn));
        let last = match self.leases.get(&place) {
            Some((Some(holder), turn)) if *holder == me.instance => return of(*turn),
            Some((Some(holder), _)) if self.is_alive(*holder, me) => return None,
            Some((_, turn)) => *turn,
            None => 0,
        };
        self.leases.insert(place, (Some(me.instance), last + 1));
        of(last + 1)
    }

    pub(super) fn has_lease(&self, lease: &Lease, me: Me) -> bool {
        let place = (lease.network().as_str().to_owned(), lease.signer().to_lowercase());
        self.leases.get(&place) == Some(&(Some(me.instance), lease.turn()))
    }

    pub(super) fn give_back(&mut self, lease: &Lease, me: Me) {
        if self.has_lease(lease, me) {
            let place = (lease.network().as_str().to_owned(), lease.signer().to_lowercase());
            self.leases.insert(place, (None, lease.turn()));
        }
    }

    pub(super) fn take_over(&mut self, network: &Network, limit: u32, me: Me) -> Vec<Record> {
        let leased_by_other = |signer: &str| {
            let place = (network.as_str().to_owned(), signer.to_lowercase());
            let holder = self.leases.get(&place).and_then(|(holder, _)| *holder);
            holder.is_some_and(|holder| holder != me.instance && self.is_alive(holder, me))
        };
        let mut free: Vec<_> = self
            .rows
            .iter()
            .filter(|(_, row)| !row.is_finished() && row.network == *network)
            .filter(|(_, row)| row.holder.is_none_or(|holder| !self.is_alive(holder, me)))
            .filter(|(_, row)| row.latest.is_none_or(|at| !leased_by_other(&self.txs[at].signed.signer)))
            .map(|(key, row)| (row.id, key.clone()))
            .collect();
        free.sort_unstable();
        free.truncate(usize::try_from(limit).unwrap());
        let mut taken = Vec::new();
        for (_, key) in free {
            if let Some(row) = self.rows.get_mut(&key) {
                row.holder = Some(me.instance);
            }
            taken.push(self.record(&key, &self.rows[&key], me));
        }
        taken
    }
}
