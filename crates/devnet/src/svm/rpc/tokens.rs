//! Balances and accounts of tokens.

use serde::Deserialize;
use serde_json::{Value, json};
use solana_account::ReadableAccount as _;
use solana_address::Address;

use super::{
    super::{
        node::Node,
        tokens::{is_token_program, mint, token_account},
    },
    Answer, RpcError, in_context,
    params::{Encoding, Params, text},
    shape,
};

pub(super) fn balance(node: &Node, params: Params<'_>) -> Answer {
    let address = params.address(0)?;
    let options = params.options(1)?;
    let bank = options.bank(node)?;
    if bank.account(&address).is_none() {
        return Err(RpcError::params("Invalid param: could not find account"));
    }
    let held = bank.token_balance(&address);
    let held = held.ok_or_else(|| RpcError::params("Invalid param: not a Token account"))?;
    Ok(in_context(bank, shape::amount(held.amount, held.decimals)))
}

pub(super) fn supply(node: &Node, params: Params<'_>) -> Answer {
    let address = params.address(0)?;
    let options = params.options(1)?;
    let bank = options.bank(node)?;
    let account =
        bank.account(&address).ok_or_else(|| RpcError::params("Invalid param: could not find account"))?;
    let mint = mint(account).ok_or_else(|| RpcError::params("Invalid param: not a Token mint"))?;
    Ok(in_context(bank, shape::amount(mint.supply, mint.decimals)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Filter {
    Mint(String),
    ProgramId(String),
}

pub(super) fn by_owner(node: &Node, params: Params<'_>) -> Answer {
    let owner = params.address(0)?;
    let filter: Filter = params.required(1, "filter")?;
    let options = params.options(2)?;
    let bank = options.bank(node)?;
    let (wanted_mint, wanted_program) = wanted(&filter)?;
    if let Some(wanted) = &wanted_mint
        && bank.account(wanted).and_then(mint).is_none()
    {
        return Err(RpcError::params("Invalid param: could not find mint"));
    }
    let mut found: Vec<(&Address, Value)> = Vec::new();
    for (address, account) in bank.accounts() {
        let Some(held) = token_account(account).filter(|held| held.owner == owner) else { continue };
        let of_mint = wanted_mint.is_none_or(|mint| mint == held.mint);
        if of_mint && wanted_program.is_none_or(|program| program == *account.owner()) {
            let encoding = options.encoding.unwrap_or(Encoding::Binary);
            found.push((address, shape::account(account, encoding, options.data_slice)?));
        }
    }
    found.sort_by_key(|(address, _)| **address);
    let shaped = found.into_iter();
    let shaped =
        shaped.map(|(address, account)| json!({ "pubkey": address.to_string(), "account": account }));
    Ok(in_context(bank, shaped.collect::<Vec<_>>()))
}

fn wanted(filter: &Filter) -> Result<(Option<Address>, Option<Address>), RpcError> {
    match filter {
        Filter::Mint(mint) => Ok((Some(text(mint)?), None)),
        Filter::ProgramId(program) => {
            let program = text(program)?;
            match is_token_program(&program) {
                true => Ok((None, Some(program))),
                false => Err(RpcError::params("Invalid param: unrecognized Token program id")),
            }
        }
    }
}
