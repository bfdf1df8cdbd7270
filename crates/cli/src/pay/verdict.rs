//! Why there is no answer: the exit code, what became of the money, and what to do.

use serde_json::json;
use tollway_payer::{JournalError, Kept, PayError, PolicyError, Unfit};
use tollway_protocol::Reason;

use super::accounts::Accounts;
use super::{PayArgs, body};
use crate::exit::{Exit, Failure, chain};
use crate::screen;

/// What to do when Permit2 may not take the coin: the payment that was sent is good for it, but carries no allowance.
const ALLOWANCE_TODO: &str = "Permit2 may not take this coin from the account: approve it there once, or give --rpc \
                              NETWORK=URL, by which the next payment brings its allowance where the seller takes one";

/// Ends a call that returned no answer.
pub(super) fn failed(error: &PayError, args: &PayArgs, accounts: &Accounts) -> Result<Exit, Failure> {
    let failure = Failure::new(exit(error), said(error));
    let failure = match todo(error, accounts) {
        Some(todo) => failure.todo(todo),
        None => failure,
    };
    // What is not x402 passes through, also with the status 402.
    if let PayError::NotAsked { answer, .. } = error {
        body::write_answer(answer, args)?;
    }
    if !args.json {
        return Err(failure);
    }
    let kept = error.kept();
    let line = json!({
        "success": if matches!(failure.exit, Exit::Unknown) { None } else { Some(false) },
        "transaction": kept.and_then(|kept| kept.transaction.clone()),
        "payer": accounts.only(),
        "id": kept.map(|kept| kept.id.clone()),
        "code": kept.and_then(|kept| kept.code.as_ref().map(ToString::to_string)),
        "until": kept.map(|kept| kept.until.0),
        "exit": failure.exit as u8,
        "error": failure.what,
        "help": failure.todo,
    });
    screen::note(&line.to_string());
    Err(Failure::said(failure.exit))
}

fn exit(error: &PayError) -> Exit {
    match error {
        PayError::Send { .. } | PayError::TimedOut => Exit::Unreachable,
        PayError::NotAsked { .. } | PayError::Declined(_) | PayError::Policy(_) | PayError::Withheld(_) => {
            Exit::Declined
        }
        PayError::AlreadyPaying => Exit::Usage,
        PayError::Refused(_) | PayError::Spent(_) => Exit::Refused,
        PayError::Pending(_) | PayError::Undelivered(_) | PayError::Unknown(_) => Exit::Unknown,
        _ => Exit::General,
    }
}

fn said(error: &PayError) -> String {
    match error {
        PayError::Send { error, origin } => {
            format!("no answer from {origin}; nothing was paid: {}", chain(error))
        }
        PayError::Declined(declined) => {
            let mut text = "nothing was paid: ".to_owned();
            match declined.rejected.as_slice() {
                [] => text.push_str("the challenge has no offers"),
                all => {
                    text.push_str("no offer can be paid");
                    for one in all {
                        text.push_str(&format!("\n  offer {}: {}", one.index.saturating_add(1), one.why));
                    }
                }
            }
            // Every seller says this first: no news.
            let said = declined.said.as_ref().filter(|said| !said.eq_ignore_ascii_case("payment required"));
            for more in [said, declined.hint.as_ref()].into_iter().flatten() {
                text.push_str(&format!("\n  {more}"));
            }
            text
        }
        PayError::Policy(policy) => format!("nothing was paid: {policy}"),
        PayError::Withheld(withheld) => format!(
            "nothing was sent: an earlier call signed payment {} of {} {} for this request, and it is outside the policy now: {}",
            withheld.payment.id, withheld.payment.amount, withheld.payment.asset, withheld.why
        ),
        other => chain(other),
    }
}

fn todo(error: &PayError, accounts: &Accounts) -> Option<String> {
    match error {
        PayError::Declined(declined) => {
            let whys = || declined.rejected.iter().map(|one| &one.why);
            let mut all: Vec<String> = whys().filter_map(unfit_todo).collect();
            if all.is_empty() {
                all.extend(whys().filter_map(|why| account_todo(why, accounts)));
            }
            all.dedup();
            (!all.is_empty()).then(|| all.join("\n"))
        }
        PayError::Policy(policy) => policy_todo(policy),
        PayError::Refused(kept) => {
            let kept_todo = kept_todo(kept, "it could still be used by who has it");
            let lacks = kept.code.as_ref().is_some_and(|code| code.reason() == Reason::AllowanceRequired);
            Some(if lacks { format!("{ALLOWANCE_TODO}\n{kept_todo}") } else { kept_todo })
        }
        PayError::Spent(_) => Some("run the command again to pay anew".to_owned()),
        PayError::Pending(_) | PayError::Unknown(_) => {
            Some("run the same command again: it sends this payment again, never a second one".to_owned())
        }
        PayError::Undelivered(_) => Some(
            "run the same command again: it asks for what this payment bought, and does not pay twice"
                .to_owned(),
        ),
        PayError::Withheld(withheld) => Some(match policy_todo(&withheld.why) {
            Some(todo) => format!("{todo}\nor wait until {} (Unix time)", withheld.payment.valid_before),
            None => format!("wait until {} (Unix time)", withheld.payment.valid_before),
        }),
        PayError::NotAsked { .. } => Some("it asks for payment in a way that is not x402".to_owned()),
        PayError::Send { .. } | PayError::TimedOut => {
            Some("check the URL and the network, or raise --timeout".to_owned())
        }
        PayError::Journal(JournalError::NotWritten { .. }) => {
            Some("nothing is paid that can't be written down: ask the seller".to_owned())
        }
        PayError::Journal(_) => Some(
            "nothing is paid without a journal: repair or remove what it names, or use --journal DIR"
                .to_owned(),
        ),
        _ => None,
    }
}

fn kept_todo(kept: &Kept, why: &str) -> String {
    format!("until {} (Unix time) the same command sends this payment and no other, as {why}", kept.until.0)
}

fn unfit_todo(why: &Unfit) -> Option<String> {
    match why {
        Unfit::Policy(policy) => policy_todo(policy),
        _ => None,
    }
}

/// What to do when an account is all that is missing.
fn account_todo(why: &Unfit, accounts: &Accounts) -> Option<String> {
    let Unfit::NoAccount { network, .. } = why else { return None };
    let how = match network.namespace() {
        _ if accounts.has(network) => return None,
        "solana" => "set TOLLWAY_SOLANA_KEY, or make one with `tollway wallet new --solana`",
        _ => "set TOLLWAY_PRIVATE_KEY, or make one with `tollway wallet new`",
    };
    Some(format!("there is no key to pay with on {network}: {how}"))
}

fn policy_todo(policy: &PolicyError) -> Option<String> {
    let text = match policy {
        PolicyError::Network { network } => format!("allow it with --network {network}"),
        PolicyError::Cap { asked, .. } => format!("if it is worth that to you: --max {asked}"),
        PolicyError::Budget(_) => "raise --budget, or wait".to_owned(),
        PolicyError::Recipient { asked, .. } => {
            format!("if the seller confirms the new account: --pay-to {asked}")
        }
        PolicyError::Insecure { .. } => {
            "request it with https://, or pay all the same with --allow-http".to_owned()
        }
        _ => return None,
    };
    Some(text)
}
