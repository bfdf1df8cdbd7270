//! FA19: transactions that each break one rule, and are refused for it.

use serde_json::{Value, json};
use solana_address::Address;
use tollway_devnet::svm::{PYUSD_DEVNET, SECOND_MINT, USDC_DEVNET};
use tollway_protocol::Refusal;
use tollway_protocol::wire::PaymentRequest;
use tollway_svm::programs::{
    ASSOCIATED_TOKEN, COMPUTE_BUDGET, LIGHTHOUSE, MEMO, TOKEN, TOKEN_2022, associated_token_account,
};

use crate::common::{AMOUNT, World, key, request, world};
use crate::draft::{Call, Draft, base64, length, limit, price};

const SYSTEM: Address = Address::new_from_array([0; 32]);
const P: &str = "invalid_exact_svm_payload_";
const I: &str = "invalid_exact_svm_payload_transaction_instructions_";

/// A bad payment, what it is, and the code that it is refused with.
pub(crate) struct Case {
    pub(crate) what: String,
    pub(crate) request: PaymentRequest,
    pub(crate) code: String,
}

struct Cases<'a> {
    world: &'a World,
    all: Vec<Case>,
}

impl Cases<'_> {
    fn push(&mut self, what: &str, code: impl Into<String>, offer: &Value, payload: &Value) {
        let request = request(offer, payload);
        self.all.push(Case { what: what.to_owned(), request, code: code.into() });
    }

    /// A transaction that differs from a good one.
    fn draft(&mut self, what: &str, code: impl Into<String>, change: impl FnOnce(&mut Draft)) {
        self.memo_draft(what, code, None, change);
    }

    fn memo_draft(
        &mut self,
        what: &str,
        code: impl Into<String>,
        memo: Option<&str>,
        change: impl FnOnce(&mut Draft),
    ) {
        let mut draft = memo.map_or_else(|| self.world.draft(), |memo| self.world.draft_with(memo));
        change(&mut draft);
        let mut offer = self.world.offer();
        if let Some(memo) = memo {
            offer["extra"]["memo"] = json!(memo);
        }
        let bytes = draft.signed(&[&self.world.payer, &key(9)]);
        self.push(what, code, &offer, &json!({"transaction": base64(&bytes)}));
    }

    /// Bytes that differ from a good transaction's.
    fn bytes(&mut self, what: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.world.draft().signed(&[&self.world.payer]);
        change(&mut bytes);
        let code = format!("{P}transaction_could_not_be_decoded");
        self.push(what, code, &self.world.offer(), &json!({"transaction": base64(&bytes)}));
    }

    /// An offer that differs from a good one.
    fn offer(&mut self, what: &str, code: &str, change: impl FnOnce(&mut Value)) {
        let bytes = self.world.draft().signed(&[&self.world.payer]);
        let mut offer = self.world.offer();
        change(&mut offer);
        self.push(what, code, &offer, &json!({"transaction": base64(&bytes)}));
    }
}

/// Where the message begins in a transaction of two signatures.
const MESSAGE: usize = 1 + 2 * 64;
/// Where its number of accounts is.
const COUNT: usize = MESSAGE + 4;

fn form(cases: &mut Cases<'_>) {
    let offer = cases.world.offer();
    let undecodable = format!("{P}transaction_could_not_be_decoded");
    cases.push("no transaction", format!("{P}transaction"), &offer, &json!({}));
    cases.push("a number", format!("{P}transaction"), &offer, &json!({"transaction": 1}));
    cases.push("not base64", undecodable.clone(), &offer, &json!({"transaction": "?"}));
    cases.push("nothing", undecodable, &offer, &json!({"transaction": ""}));
    cases.bytes("longer than a packet", |bytes| bytes.resize(1_233, 0));
    cases.bytes("far longer than a packet", |bytes| bytes.resize(100_000, 0));
    cases.bytes("a byte more", |bytes| bytes.push(0));
    cases.bytes("a byte less", |bytes| bytes.truncate(bytes.len() - 1));
    cases.bytes("signatures alone", |bytes| bytes.truncate(MESSAGE));
    cases.bytes("version 1", |bytes| bytes[MESSAGE] = 0x81);
    cases.bytes("version 127", |bytes| bytes[MESSAGE] = 0xff);
    cases.bytes("fewer signatures than signers", |bytes| {
        bytes[0] = 1;
        bytes.drain(1..65);
    });
    cases.bytes("more signatures than signers", |bytes| {
        bytes[0] = 3;
        bytes.splice(1..1, [0; 64]);
    });
    cases.bytes("a length that is not in its shortest form", |bytes| {
        let count = bytes[COUNT];
        bytes.splice(COUNT..=COUNT, [count | 0x80, 0]);
    });
    cases.bytes("a length beyond 16 bits", |bytes| {
        bytes.splice(COUNT..=COUNT, [0xff, 0xff, 0x7f]);
    });
    cases.bytes("more accounts than bytes", |bytes| bytes[COUNT] = 0x7f);
    cases.bytes("no accounts", |bytes| bytes[COUNT] = 0);
    cases.bytes("all signers are read only", |bytes| bytes[MESSAGE + 2] = 2);
    cases.bytes("more read only accounts than accounts", |bytes| bytes[MESSAGE + 3] = 9);
    cases.bytes("an account twice", |bytes| bytes.copy_within(COUNT + 1..COUNT + 33, COUNT + 33));
    let keys = cases.world.draft().keys().len();
    let first_call = COUNT + 1 + keys * 32 + 32 + 1;
    cases.bytes("a program that is not there", |bytes| bytes[first_call] = 200);
    cases.bytes("the fee payer as a program", |bytes| bytes[first_call] = 0);
    cases.bytes("an account that is not there", |bytes| {
        let at = bytes.len() - 1 - 33 - 1;
        bytes.splice(at..=at, [1, 99]);
    });
    cases.bytes("a look-up table that gives nothing", |bytes| {
        bytes.pop();
        length(bytes, 1);
        bytes.extend([7; 32]);
        bytes.extend([0, 0]);
    });
}

fn offers(cases: &mut Cases<'_>) {
    let missing = format!("{P}missing_fee_payer");
    cases.offer("no fee payer offered", &missing, |offer| offer["extra"] = json!({}));
    cases.offer("a fee payer that is none", &missing, |offer| offer["extra"]["feePayer"] = json!("0OIl"));
    cases.offer("another fee payer offered", "invalid_exact_svm_fee_payer_mismatch", |offer| {
        offer["extra"]["feePayer"] = json!(key(9).address().to_string());
    });
    let wrong = "invalid_payment_requirements";
    cases.offer("a memo too long", wrong, |offer| offer["extra"]["memo"] = json!("m".repeat(257)));
    cases.offer("a memo that is no text", wrong, |offer| offer["extra"]["memo"] = json!(7));
    cases.offer("an asset that is none", wrong, |offer| offer["asset"] = json!("1".repeat(44)));
    cases.offer("a payee that is none", wrong, |offer| offer["payTo"] = json!("z".repeat(44)));
    cases.offer("another amount", &format!("{P}amount_mismatch"), |offer| offer["amount"] = json!("10001"));
    cases.offer("an amount beyond 64 bits", &format!("{P}amount_mismatch"), |offer| {
        offer["amount"] = json!("18446744073709561616");
    });
    cases.offer("another asset", &format!("{P}mint_mismatch"), |offer| {
        offer["asset"] = json!(PYUSD_DEVNET.to_string());
    });
    cases.offer("another payee", &format!("{P}recipient_mismatch"), |offer| {
        offer["payTo"] = json!(key(8).address().to_string());
    });
}

fn signers(cases: &mut Cases<'_>) {
    let fee_payer = cases.world.fee_payer.address();
    cases.draft("another fee payer", "invalid_exact_svm_fee_payer_mismatch", |draft| {
        draft.signers[0] = key(9).address();
    });
    cases.draft("a third signer", format!("{P}excessive_signers"), |draft| {
        draft.signers.push(key(9).address());
    });
    cases.draft("the fee payer alone", format!("{P}transaction_fee_payer_transferring_funds"), |draft| {
        draft.signers.truncate(1);
        draft.calls[2].accounts[3] = fee_payer;
    });
    cases.draft("the authority does not sign", format!("{P}signature_invalid"), |draft| {
        draft.signers[1] = key(9).address();
    });
    cases.draft(
        "accounts from a look-up table",
        "invalid_exact_svm_smart_wallet_alt_resolution_not_available",
        |draft| {
            draft.tables.push((key(7).address(), vec![0], vec![1]));
        },
    );
    let offer = cases.world.offer();
    let code = format!("{P}signature_invalid");
    let draft = cases.world.draft();
    cases.push("unsigned", code.clone(), &offer, &json!({"transaction": base64(&draft.signed(&[]))}));
    let mut flipped = draft.signed(&[&cases.world.payer]);
    flipped[65] ^= 1;
    cases.push("a bit of the signature", code.clone(), &offer, &json!({"transaction": base64(&flipped)}));
    let mut other = draft.signed(&[&cases.world.payer]);
    let blockhash = COUNT + 1 + draft.keys().len() * 32;
    other[blockhash] ^= 1;
    cases.push("signed for another blockhash", code, &offer, &json!({"transaction": base64(&other)}));
}

fn layout(cases: &mut Cases<'_>) {
    let memo = |cases: &Cases<'_>| cases.world.draft().calls[3].clone();
    let extra = memo(cases);
    cases.draft("no instructions", format!("{I}length"), |draft| draft.calls.clear());
    cases.draft("two instructions", format!("{I}length"), |draft| draft.calls.truncate(2));
    cases.draft("seven instructions", format!("{I}length"), |draft| {
        draft.calls.extend([extra.clone(), extra.clone(), extra.clone()]);
    });
    let code = format!("{I}compute_limit_instruction");
    cases.draft("no limit first", &*code, |draft| draft.calls[0] = extra.clone());
    cases.draft("the limit of another program", &*code, |draft| draft.calls[0].program = MEMO);
    cases.draft("a price first", &*code, |draft| draft.calls[0].data = price(1));
    cases.draft("limit and price the other way round", &*code, |draft| draft.calls.swap(0, 1));
    cases.draft("a limit of three bytes", &*code, |draft| draft.calls[0].data.truncate(4));
    cases.draft("a limit of five bytes", &*code, |draft| draft.calls[0].data.push(0));
    cases.draft("a limit without data", &*code, |draft| draft.calls[0].data.clear());
    cases.draft("a heap frame first", &*code, |draft| draft.calls[0].data[0] = 1);
    cases.draft("a nonce advanced first", &*code, |draft| {
        let accounts = vec![key(7).address(), key(2).address()];
        draft.calls[0] = Call { program: SYSTEM, accounts, data: vec![4, 0, 0, 0] };
    });
    cases.draft("more compute units than are paid", format!("{code}_too_high"), |draft| {
        draft.calls[0].data = limit(400_001);
    });
    let code = format!("{I}compute_price_instruction");
    cases.draft("no price second", &*code, |draft| draft.calls[1] = extra.clone());
    cases.draft("a limit second", &*code, |draft| draft.calls[1].data = limit(1));
    cases.draft("the price of another program", &*code, |draft| draft.calls[1].program = LIGHTHOUSE);
    cases.draft("a price of seven bytes", &*code, |draft| draft.calls[1].data.truncate(8));
    cases.draft("a price of nine bytes", &*code, |draft| draft.calls[1].data.push(0));
    cases.draft("a price above the bound", format!("{code}_too_high"), |draft| {
        draft.calls[1].data = price(5_000_001);
    });
    for (place, name) in ["fourth", "fifth", "sixth"].iter().enumerate() {
        for (what, program) in
            [("system", SYSTEM), ("compute budget", COMPUTE_BUDGET), ("associated token", ASSOCIATED_TOKEN)]
        {
            cases.draft(
                &format!("a {what} instruction as the {name}"),
                format!("{P}unknown_{name}_instruction"),
                |draft| {
                    draft.calls.truncate(3);
                    draft.calls.extend(std::iter::repeat_n(extra.clone(), place));
                    draft.calls.push(Call { program, accounts: vec![], data: vec![0] });
                },
            );
        }
    }
    cases.draft("a second transfer", format!("{P}unknown_fourth_instruction"), |draft| {
        draft.calls[3] = draft.calls[2].clone();
    });
    cases.draft("the first memo program", format!("{P}unknown_fourth_instruction"), |draft| {
        draft.calls[3].program =
            tollway_svm::programs::address("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo").unwrap();
    });
}

fn transfers(cases: &mut Cases<'_>) {
    let code = format!("{P}no_transfer_instruction");
    let fee_payer = cases.world.fee_payer.address();
    let (payer, seller) = (cases.world.payer.address(), cases.world.seller);
    cases.draft("a transfer of the system program", &*code, |draft| draft.calls[2].program = SYSTEM);
    cases.draft("an unchecked transfer", &*code, |draft| draft.calls[2].data[0] = 3);
    cases.draft("a burn", &*code, |draft| draft.calls[2].data[0] = 15);
    cases.draft("an approval", &*code, |draft| draft.calls[2].data[0] = 13);
    cases.draft("an amount of seven bytes", &*code, |draft| {
        draft.calls[2].data.remove(1);
    });
    cases.draft("an amount of nine bytes", &*code, |draft| draft.calls[2].data.insert(1, 0));
    cases.draft("no owner", &*code, |draft| {
        draft.calls[2].accounts.pop();
    });
    cases.draft("a signer of a multisig", &*code, |draft| draft.calls[2].accounts.push(payer));
    cases.draft("the transfer after the memo", &*code, |draft| draft.calls.swap(2, 3));
    let theirs = format!("{P}transaction_fee_payer_transferring_funds");
    cases.draft("the fee payer as owner", &*theirs, |draft| draft.calls[2].accounts[3] = fee_payer);
    cases.draft("the fee payer as source", &*theirs, |draft| draft.calls[2].accounts[0] = fee_payer);
    cases.draft("the fee payer as mint", &*theirs, |draft| draft.calls[2].accounts[1] = fee_payer);
    cases.draft("the fee payer as destination", &*theirs, |draft| draft.calls[2].accounts[2] = fee_payer);
    let isolated = "invalid_exact_svm_smart_wallet_fee_payer_not_isolated";
    cases.draft("the fee payer signs the memo", isolated, |draft| draft.calls[3].accounts.push(fee_payer));
    cases.draft("the fee payer in a Lighthouse assertion", isolated, |draft| {
        draft.calls.push(Call { program: LIGHTHOUSE, accounts: vec![fee_payer], data: vec![] });
    });
    cases.draft("the fee payer in the compute limit", isolated, |draft| {
        draft.calls[0].accounts.push(fee_payer);
    });
    cases.draft("the source as destination", "unexpected_effect", |draft| {
        draft.calls[2].accounts[2] = draft.calls[2].accounts[0];
    });
    let recipient = format!("{P}recipient_mismatch");
    let mut to = |what: &str, account: Address| {
        cases.draft(what, &*recipient, |draft| {
            draft.written[1] = account;
            draft.calls[2].accounts[2] = account;
        });
    };
    to("to the payee's account itself", seller);
    to("to another's token account", associated_token_account(&key(8).address(), &USDC_DEVNET, &TOKEN));
    to("to the payee's account of another token", associated_token_account(&seller, &SECOND_MINT, &TOKEN));
    to(
        "to the payee's account of the other program",
        associated_token_account(&seller, &USDC_DEVNET, &TOKEN_2022),
    );
    cases.draft("another token", format!("{P}mint_mismatch"), |draft| {
        draft.calls[2].accounts[1] = SECOND_MINT;
    });
    for (what, amount) in
        [("one less", AMOUNT - 1), ("one more", AMOUNT + 1), ("nothing", 0), ("all there is", u64::MAX)]
    {
        cases.draft(what, format!("{P}amount_mismatch"), |draft| {
            draft.calls[2].data[1..9].copy_from_slice(&amount.to_le_bytes());
        });
    }
}

fn memos(cases: &mut Cases<'_>) {
    let asked = Some("invoice 7");
    cases.memo_draft("no memo", format!("{P}memo_count"), asked, |draft| {
        draft.calls.pop();
    });
    cases.memo_draft("two memos", format!("{P}memo_count"), asked, |draft| {
        draft.calls.push(draft.calls[3].clone());
    });
    cases.memo_draft("another memo", format!("{P}memo_mismatch"), asked, |draft| {
        draft.calls[3].data = b"invoice 8".to_vec();
    });
    cases.memo_draft("a longer memo", format!("{P}memo_mismatch"), asked, |draft| {
        draft.calls[3].data.push(b' ');
    });
    cases
        .memo_draft("an empty memo", format!("{P}memo_mismatch"), asked, |draft| draft.calls[3].data.clear());
    cases.memo_draft("Lighthouse for a memo", format!("{P}memo_count"), asked, |draft| {
        draft.calls[3].program = LIGHTHOUSE;
    });
}

/// Why a payment is refused.
pub(crate) async fn refused(world: &World, what: &str, request: &PaymentRequest) -> Refusal {
    match world.verify(request).await {
        Err(refusal) => refusal,
        Ok(()) => panic!("{what} is accepted"),
    }
}

/// All that is refused without a round trip.
pub(crate) fn local(world: &World) -> Vec<Case> {
    let mut cases = Cases { world, all: Vec::new() };
    for part in [form, offers, signers, layout, transfers, memos] {
        part(&mut cases);
    }
    cases.all
}

#[tokio::test]
async fn fa19_each_crafted_transaction_is_refused_for_its_own_reason_without_a_round_trip() {
    let world = world();
    // The cluster's identity and its mints are asked for once.
    world.verify(&world.request(&world.draft())).await.unwrap();
    let before = world.facilitator.round_trips();
    let cases = local(&world);
    assert!(cases.len() >= 60, "{}", cases.len());
    for Case { what, request, code } in &cases {
        let refusal = refused(&world, what, request).await;
        assert_eq!(refusal.code().as_str(), code, "{what}: {refusal}");
    }
    assert_eq!(world.facilitator.round_trips(), before);
}

#[tokio::test]
async fn fa19_no_crafted_transaction_is_settled() {
    let world = world();
    for Case { what, request, .. } in local(&world) {
        let outcome = world.settle(&request).await;
        assert!(
            matches!(outcome, tollway_protocol::scheme::Outcome::NotSettled { transaction: None, .. }),
            "{what}: {outcome:?}"
        );
    }
    assert_eq!(world.earned(), 0);
}
