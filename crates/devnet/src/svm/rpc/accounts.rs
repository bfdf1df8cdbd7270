//! Accounts, as they are in a bank.

use serde_json::{Value, json};
use solana_account::ReadableAccount;

use super::{
    super::node::Node,
    Answer, RpcError, in_context,
    params::{Encoding, Params},
    shape,
};

/// `getMultipleAccounts` takes so many.
const MANY: usize = 100;
/// No account is larger.
const LARGEST: usize = 10 << 20;

pub(super) fn rent(node: &Node, params: Params<'_>) -> Answer {
    let size: usize = params.required(0, "data length")?;
    if size > LARGEST {
        return Err(RpcError::params(format!("Invalid param: {size} bytes are more than an account has")));
    }
    Ok(json!(node.finalized().vm.minimum_balance_for_rent_exemption(size)))
}

pub(super) fn balance(node: &Node, params: Params<'_>) -> Answer {
    let address = params.address(0)?;
    let options = params.options(1)?;
    let bank = options.bank(node)?;
    Ok(in_context(bank, bank.account(&address).map_or(0, ReadableAccount::lamports)))
}

pub(super) fn one(node: &Node, params: Params<'_>) -> Answer {
    let address = params.address(0)?;
    let options = params.options(1)?;
    let bank = options.bank(node)?;
    let encoding = options.encoding.unwrap_or(Encoding::Binary);
    let account = bank.account(&address).map(|account| shape::account(account, encoding, options.data_slice));
    Ok(in_context(bank, account.transpose()?))
}

pub(super) fn many(node: &Node, params: Params<'_>) -> Answer {
    let addresses = params.texts(0, MANY)?;
    let options = params.options(1)?;
    let bank = options.bank(node)?;
    let encoding = options.encoding.unwrap_or(Encoding::Base64);
    let shaped = addresses.iter().map(|address| match bank.account(address) {
        Some(account) => shape::account(account, encoding, options.data_slice),
        None => Ok(Value::Null),
    });
    Ok(in_context(bank, shaped.collect::<Result<Vec<_>, _>>()?))
}
