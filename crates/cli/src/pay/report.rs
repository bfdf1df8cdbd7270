//! What was paid, or would be: for people on stderr, and as JSON lines.

use http::StatusCode;
use serde_json::{Value, json};
use tollway_payer::journal::Live;
use tollway_payer::{Plan, Preview, Purchased, Receipt};

use super::accounts::Accounts;
use crate::exit::{Exit, Failure};
use crate::screen;

/// Tells what an answer cost. Nothing is said of a free one, but in JSON.
pub(super) fn paid(purchased: Option<&Purchased>, status: StatusCode, json: bool) {
    match (purchased, json) {
        (None, false) => {}
        (None, true) => {
            screen::note(&json!({ "paid": false, "status": status.as_u16() }).to_string());
        }
        (Some(purchased), true) => screen::note(&receipt_json(purchased, status).to_string()),
        (Some(purchased), false) => screen::note(&receipt_text(purchased)),
    }
    if let Some(why) = purchased.and_then(|purchased| purchased.unrecorded.as_ref()) {
        tracing::error!(why, "the payment's end is not in the journal: the next call sends it again");
    }
}

fn receipt_json(purchased: &Purchased, status: StatusCode) -> Value {
    let Purchased { payment, receipt, resent, sends, .. } = purchased;
    let settlement = receipt.settlement();
    let amount = settlement.and_then(|settlement| settlement.amount.map(|amount| amount.to_string()));
    json!({
        "success": settlement.map(|settlement| settlement.success),
        "transaction": settlement.and_then(|settlement| settlement.transaction.clone()),
        "network": payment.network.as_str(),
        "payer": payment.payer,
        "amount": amount,
        "price": format!("{} {}", payment.amount, payment.asset),
        "payTo": payment.pay_to,
        "status": status.as_u16(),
        "id": payment.id,
        "resent": resent,
        "sends": sends,
    })
}

fn receipt_text(purchased: &Purchased) -> String {
    let Purchased { payment, receipt, resent, .. } = purchased;
    let verb = if *resent { "paid (as signed before)" } else { "paid" };
    let proof = match receipt {
        Receipt::Told(settlement) => match &settlement.transaction {
            Some(transaction) => format!("transaction {transaction}"),
            None => "the seller named no transaction".to_owned(),
        },
        Receipt::Unreadable(why) => format!("the seller's receipt can't be read: {why}"),
        _ => "the seller gave no receipt".to_owned(),
    };
    format!(
        "tollway: {verb} {} {} on {} to {} from {}\n  {proof}",
        payment.amount, payment.asset, payment.network, payment.pay_to, payment.payer
    )
}

/// Shows a dry run's finding, on stdout.
pub(super) fn preview(preview: &Preview, accounts: &Accounts, json: bool) -> Result<Exit, Failure> {
    match preview {
        Preview::Free(status) => show(
            json,
            &json!({ "would": "nothing", "status": status.as_u16() }),
            &format!("nothing to pay: the answer is {status}"),
        ),
        Preview::Pay(plan) => {
            let payer = accounts.name(&plan.payer);
            show(json, &plan_json(plan, payer.as_deref()), &plan_text(plan, payer.as_deref()))
        }
        Preview::Resend(live) => show(json, &resend_json(live), &resend_text(live)),
        _ => Err(Failure::general("this dry run's finding is not known here")),
    }
}

fn show(as_json: bool, json: &Value, text: &str) -> Result<Exit, Failure> {
    let said = if as_json { json.to_string() } else { text.to_owned() };
    screen::line(&said)?;
    Ok(Exit::Ok)
}

fn rejections(plan: &Plan) -> Vec<String> {
    plan.rejected.iter().map(ToString::to_string).collect()
}

fn plan_json(plan: &Plan, payer: Option<&str>) -> Value {
    let offer = &plan.offer;
    json!({
        "would": "pay",
        "price": plan.worth.to_string(),
        "amount": offer.amount.to_string(),
        "asset": offer.asset,
        "network": offer.network.as_str(),
        "scheme": offer.scheme,
        "payTo": offer.pay_to,
        "payer": payer,
        "offer": plan.index.saturating_add(1),
        "rejected": rejections(plan),
    })
}

fn plan_text(plan: &Plan, payer: Option<&str>) -> String {
    let offer = &plan.offer;
    let mut text = format!("would pay {} on {} to {}", plan.worth, offer.network, offer.pay_to);
    match payer {
        Some(payer) => text.push_str(&format!("\n  from {payer}")),
        None => text.push_str("\n  from a key that is not opened in a dry run"),
    }
    let chosen = plan.index.saturating_add(1);
    text.push_str(&format!("\n  offer {chosen} is the cheapest that the policy allows"));
    for other in rejections(plan) {
        text.push_str(&format!("\n  not {other}"));
    }
    text.push_str("\n  nothing was signed");
    text
}

fn resend_json(live: &Live) -> Value {
    json!({
        "would": "resend",
        "price": format!("{} {}", live.amount, live.asset),
        "network": live.network.as_str(),
        "amount": live.atomic.to_string(),
        "payer": live.payer,
        "payTo": live.pay_to,
        "id": live.id,
        "transaction": live.transaction,
        "until": live.valid_before.0,
    })
}

fn resend_text(live: &Live) -> String {
    format!(
        "would send again the payment {} of {} {} on {} to {}\n  an earlier call signed it, and its outcome is not known; nothing new would be signed",
        live.id, live.amount, live.asset, live.network, live.pay_to
    )
}
