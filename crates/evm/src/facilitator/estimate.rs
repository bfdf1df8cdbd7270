//! What a transaction calls, how much gas it may use, and what is bid for that.

use alloy_primitives::{U64, U256};
use tollway_protocol::Reason;
use tollway_protocol::scheme::Outcome;

use crate::facilitator::engine::Engine;
use crate::facilitator::envelope::{Plan, together};
use crate::facilitator::fees::Fees;
use crate::facilitator::job::Job;
use crate::facilitator::lane::{Lane, Ticket, Word};
use crate::facilitator::rpc::{Call, RpcError};
use crate::facilitator::send::tell_all;

/// The most gas of one transaction: chains refuse more since EIP-7825.
const MOST_GAS: u64 = 16_000_000;

impl Engine {
    /// Tries and prices a transaction of the group; tells those for which there can't be one.
    pub(super) async fn plan(&self, lane: &Lane, mut group: Vec<Ticket>) -> Option<(Plan, Vec<Ticket>)> {
        if let [only] = group.as_slice()
            && !only.gift.is_zero()
        {
            let gift = Plan::gift(only.job.payment.payer(), only.gift, Fees::NONE);
            return self.priced(lane, gift, group).await;
        }
        while let Some(unlearned) = self.unlearned(&group) {
            let ticket = group.swap_remove(unlearned);
            match self.estimate(lane, &ticket.job).await {
                Ok(plan) if group.is_empty() || !ticket.job.payment.is_safe() => {
                    // Code was found at the payer's since they were put together.
                    lane.state.lock().queue.extend(group);
                    return Some((plan, vec![ticket]));
                }
                Ok(_) => group.push(ticket),
                Err(refused) => ticket.tell(Word::Refused(refused)),
            }
        }
        if group.is_empty() {
            return None;
        }
        let payments = || group.iter().map(|ticket| &ticket.job.payment);
        let (to, input) = match group.as_slice() {
            [only] => only.job.payment.submission(true),
            _ => together(payments()),
        };
        let gas = self.gas.limit(payments(), &input).min(MOST_GAS);
        self.priced(lane, Plan { to, value: U256::ZERO, input, gas, fees: Fees::NONE }, group).await
    }

    async fn priced(&self, lane: &Lane, plan: Plan, group: Vec<Ticket>) -> Option<(Plan, Vec<Ticket>)> {
        match self.fees(lane, plan.gas).await {
            Ok(fees) => Some((Plan { fees, ..plan }, group)),
            Err((reason, message)) => {
                tell_all(group, |job| Word::Refused(job.refuse(reason.clone(), message.clone())));
                None
            }
        }
    }

    /// A payment of the group whose gas is not known: a token's first, or one that calls other code.
    fn unlearned(&self, group: &[Ticket]) -> Option<usize> {
        group.iter().position(|ticket| {
            let payment = &ticket.job.payment;
            !payment.is_safe() || !self.gas.knows(payment)
        })
    }

    /// Tries the payment alone, as it would be sent.
    async fn estimate(&self, lane: &Lane, job: &Job) -> Result<Plan, Outcome> {
        let deployed = self.chain.is_wallet_deployed(&job.payment).await;
        let deployed = deployed.map_err(|error| job.unreachable(&error))?;
        let (to, input) = job.payment.submission(deployed);
        // A payer's code is not to keep the node busy with more than we would pay for.
        let most = U64::from(self.chain.config.gas_cap);
        let call = Call { from: Some(lane.address()), to: Some(to), input: input.clone(), gas: Some(most) };
        let estimate = match self.chain.rpc.estimate(&call).await {
            Ok(gas) => gas,
            Err(RpcError::Refused { message, .. }) => {
                return Err(job.refuse(Reason::SimulationFailed, message));
            }
            Err(error) => return Err(job.unreachable(&error)),
        };
        let (gas, cap) = (estimate.saturating_add(estimate / 5), self.chain.config.gas_cap);
        if gas > cap {
            let message = format!("it would use {gas} gas, at most {cap} is spent");
            return Err(job.refuse(Reason::SimulationFailed, message));
        }
        if job.payment.is_safe() {
            self.gas.learn(&job.payment, &input, estimate);
        }
        let fees = self.fees(lane, gas).await.map_err(|(reason, message)| job.refuse(reason, message))?;
        Ok(Plan { to, value: U256::ZERO, input, gas, fees })
    }

    /// What to bid for the transaction's gas, or why it can't be paid for.
    async fn fees(&self, lane: &Lane, gas: u64) -> Result<Fees, (Reason, String)> {
        let unavailable = |message: &str| Err((Reason::FacilitatorUnavailable, message.to_owned()));
        match lane.purse.fees(&self.chain, gas.max(self.chain.config.gas_cap)).await {
            Ok(Some(fees)) if fees.base > self.chain.config.max_fee_per_gas => {
                unavailable("gas costs more than the facilitator's operator allows")
            }
            Ok(Some(fees)) => Ok(fees),
            Ok(None) => unavailable("the facilitator's account can't pay for gas"),
            Err(error) => Err((Reason::ChainUnreachable, error.to_string())),
        }
    }
}
