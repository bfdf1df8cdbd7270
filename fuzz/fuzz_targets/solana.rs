//! Solana transactions from strangers: never a panic, what is read is what Solana's own crates read, and what keeps the
//! rules has two signers, named accounts only, and the fee payer in no instruction.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use solana_transaction::versioned::VersionedTransaction;
use tollway_protocol::door::UnixTime;
use tollway_protocol::scheme::PayerScheme as _;
use tollway_protocol::{Offer, Secret};
use tollway_svm::ExactPayer;
use tollway_svm::keys::Key;
use tollway_svm::layout::{Limits, Transfer};
use tollway_svm::transaction::Transaction;

/// A payment of ours.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let offer: Offer = serde_json::from_value(serde_json::json!({
        "scheme": "exact", "network": "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1", "amount": "10000",
        "asset": "4zMMC9srt5Ri5X14GAgXhaHii3GnPAEERYPJgZJDncDU", "maxTimeoutSeconds": 60,
        "payTo": "2wKupLR9q6wXYppw8Gr2NvWxKBUqm4PPJKkQfoxHDBg4",
        "extra": {
            "feePayer": "EwWqGE4ZFKLofuestmU4LDdK7XM1N4ALgdZccwYugwGd",
            "recentBlockhash": "EkSnNWid2cvwEVnVx9aBqawnmiCNiDgp3gUdkDPTKN1N",
        },
    }))
    .expect("an offer");
    let payer = ExactPayer::new(Key::from_seed(&Secret::new([2; 32])));
    let mut signing = std::pin::pin!(payer.sign(&offer, UnixTime(1_795_251_000), [7; 32]));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    let std::task::Poll::Ready(signed) = signing.as_mut().poll(&mut context) else { panic!("it asks nobody") };
    let payload = signed.expect("it can be signed").payload;
    decode(payload.str("transaction").expect("a transaction"))
});

fn decode(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.decode(text).expect("base64")
}

#[derive(Arbitrary, Debug)]
enum Input {
    Raw(Vec<u8>),
    /// Changes of a good one: where, how many bytes go, and what comes.
    Patched(Vec<(u16, u8, Vec<u8>)>),
}

impl Input {
    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Raw(bytes) => bytes,
            Self::Patched(patches) => {
                let mut bytes = GOOD.clone();
                for (at, less, more) in patches {
                    let at = usize::from(at) % (bytes.len() + 1);
                    let end = (at + usize::from(less)).min(bytes.len());
                    bytes.splice(at..end, more);
                }
                bytes
            }
        }
    }
}

fuzz_target!(|input: Input| {
    let bytes = input.bytes();
    let oracle = wincode::deserialize_exact::<VersionedTransaction>(&bytes).ok();
    let oracle = oracle.filter(|transaction| transaction.sanitize().is_ok());
    let Ok(read) = Transaction::read(bytes) else { return };
    let oracle = oracle.expect("only what Solana's crates read is read");
    assert_eq!(read.message(), oracle.message.serialize());
    assert_eq!(read.keys, oracle.message.static_account_keys());
    let limits = Limits::NONE;
    let Ok(transfer) = Transfer::read(&read, &limits) else { return };
    assert_eq!(oracle.message.header().num_required_signatures, 2);
    assert!(oracle.message.address_table_lookups().is_none_or(<[_]>::is_empty));
    assert!((3..=6).contains(&oracle.message.instructions().len()));
    assert!(oracle.message.instructions().iter().all(|call| !call.accounts.contains(&0)));
    assert_eq!(oracle.message.static_account_keys().first(), Some(&transfer.fee_payer));
    assert_eq!(oracle.message.static_account_keys().get(1), Some(&transfer.payer));
});
