//! What a payer signs so that Permit2 may move its money, and what it doesn't.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy_primitives::{Address, U256, address};
use async_trait::async_trait;
use serde_json::{Value, json};
use tollway_devnet::evm::{Chain as DevChain, Genesis};
use tollway_evm::exact::Domain;
use tollway_evm::permit2::{
    APPROVAL_EXTENSION, APPROVAL_GAS, Approval, ChainReader, Fees, PERMIT_EXTENSION, PERMIT2, Permit2Payment,
    Permit2612, ReadError, RpcReader, Sponsoring, declaration,
};
use tollway_evm::{ExactPayer, UptoPayer};
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{PayerScheme, Signed};
use tollway_protocol::{Network, Offer, Payment, Reason};

use crate::samples::{NOW, altered, exact, key, payment, upto};

/// A chain that says what it is told to.
#[derive(Clone)]
struct Says {
    allowance: Result<u64, ReadError>,
    permits: Result<u64, ReadError>,
    gwei: u128,
    asked: Arc<AtomicUsize>,
}

impl Says {
    fn new() -> Self {
        Self { allowance: Ok(0), permits: Ok(5), gwei: 1, asked: Arc::default() }
    }
}

const DOWN: ReadError = ReadError::Unreachable("down");

#[async_trait]
impl ChainReader for Says {
    async fn allowance(
        &self,
        _: &Network,
        _: Address,
        _: Address,
        spender: Address,
    ) -> Result<U256, ReadError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert_eq!(spender, PERMIT2);
        self.allowance.clone().map(U256::from)
    }
    async fn permit_nonce(&self, _: &Network, _: Address, _: Address) -> Result<U256, ReadError> {
        self.permits.clone().map(U256::from)
    }
    async fn account_nonce(&self, _: &Network, _: Address) -> Result<u64, ReadError> {
        Ok(3)
    }
    async fn fees(&self, _: &Network) -> Result<Fees, ReadError> {
        let gwei = self.gwei * 1_000_000_000;
        Ok(Fees { max_fee_per_gas: gwei, max_priority_fee_per_gas: gwei / 10 })
    }
}

fn advertised(keys: &[&str]) -> Object {
    Object(keys.iter().map(|key| ((*key).to_owned(), declaration(key).unwrap())).collect())
}

async fn extended(offer: &Offer, sponsoring: Sponsoring, advertised: &Object) -> (Signed, Object) {
    let payer: Box<dyn PayerScheme> = match offer.scheme.as_str() {
        "upto" => Box::new(UptoPayer::new(key()).sponsored(sponsoring)),
        _ => Box::new(ExactPayer::new(key()).sponsored(sponsoring)),
    };
    let signed = payer.sign(offer, NOW, [4; 32]).await.unwrap();
    let added = payer.extend(offer, &signed, advertised).await.unwrap();
    (signed, added)
}

/// The payment with what the payer added to the extensions.
fn paid(offer: &Offer, signed: Signed, added: &Object) -> Payment {
    let info = |(key, members): (&String, &Value)| (key.clone(), json!({ "info": members }));
    let extensions = Object(added.0.iter().map(info).collect());
    Payment { extensions, ..payment(offer, signed.payload) }
}

const BOTH: [&str; 2] = [PERMIT_EXTENSION, APPROVAL_EXTENSION];
const ETHER: u128 = 1_000_000_000_000_000_000;

#[tokio::test]
async fn a_permit_is_for_exactly_the_payment_and_no_longer() {
    for offer in [exact(), upto()] {
        let (signed, added) =
            extended(&offer, Sponsoring::new(Arc::new(Says::new())), &advertised(&BOTH)).await;
        assert_eq!(added.0.keys().collect::<Vec<_>>(), [PERMIT_EXTENSION], "never both");
        let payment = paid(&offer, signed, &added);
        let permit = Permit2612::of(&payment).unwrap().unwrap();
        let decoded = Permit2Payment::decode(&offer, &payment.payload).unwrap();
        assert_eq!(permit.value, decoded.permit.amount);
        assert_eq!((permit.nonce, permit.deadline), (U256::from(5), decoded.permit.deadline));
        permit.check(&decoded.permit, NOW).unwrap();
        let digest = permit.digest(Domain::new(
            "USDC",
            "2",
            84532,
            address!("036CbD53842c5426634e7929541eC2318f3dCF7e"),
        ));
        assert_eq!(permit.signature.recover(&digest), Some(key().address()));
    }
}

#[tokio::test]
async fn nothing_is_signed_that_is_not_needed_not_declared_or_not_allowed() {
    let none = Object::new();
    let plain = || Sponsoring::new(Arc::new(Says::new()));
    let enough = Sponsoring::new(Arc::new(Says { allowance: Ok(10_000), ..Says::new() }));
    let down = Sponsoring::new(Arc::new(Says { allowance: Err(DOWN), ..Says::new() }));
    let cut = Sponsoring::new(Arc::new(Says { permits: Err(DOWN), ..Says::new() }))
        .allow_unlimited_approvals(ETHER);
    for (case, sponsoring, keys) in [
        ("the allowance suffices", enough.clone().allow_unlimited_approvals(ETHER), &BOTH[..]),
        ("nothing is declared", plain().allow_unlimited_approvals(ETHER), &[]),
        ("only an approval would do, and none is allowed", plain(), &BOTH[1..]),
        ("the allowance is not known", down.allow_unlimited_approvals(ETHER), &BOTH),
        ("whether the token has permits is not known", cut, &BOTH),
    ] {
        assert_eq!(extended(&exact(), sponsoring, &advertised(keys)).await.1, none, "{case}");
    }
    let asked = Says::new();
    let unasked = Sponsoring::new(Arc::new(asked.clone()));
    assert_eq!(extended(&exact(), unasked, &advertised(&[])).await.1, none);
    assert_eq!(asked.asked.load(Ordering::SeqCst), 0, "no question where nothing could be signed");
    // Without sponsoring, and for EIP-3009, nothing ever is.
    let mut by_3009 = exact();
    by_3009.extra = by_3009.extra.with("assetTransferMethod", "eip3009");
    assert_eq!(extended(&by_3009, plain(), &advertised(&BOTH)).await.1, none);
    let payer = ExactPayer::new(key());
    let signed = payer.sign(&exact(), NOW, [4; 32]).await.unwrap();
    assert_eq!(payer.extend(&exact(), &signed, &advertised(&BOTH)).await.unwrap(), none);
}

#[tokio::test]
async fn an_unlimited_approval_is_signed_only_by_consent_and_within_its_fee() {
    let no_permits = || Arc::new(Says { permits: Err(ReadError::Refused), ..Says::new() });
    let fee = u128::from(APPROVAL_GAS) * 1_000_000_000;
    let refused =
        [Sponsoring::new(no_permits()), Sponsoring::new(no_permits()).allow_unlimited_approvals(fee - 1)];
    for sponsoring in refused {
        assert_eq!(extended(&exact(), sponsoring, &advertised(&BOTH)).await.1, Object::new());
    }
    let consent = Sponsoring::new(no_permits()).allow_unlimited_approvals(fee);
    let (signed, added) = extended(&exact(), consent, &advertised(&BOTH)).await;
    let payment = paid(&exact(), signed, &added);
    assert_eq!(Permit2612::of(&payment), Ok(None));
    let approval = Approval::of(&payment).unwrap().unwrap();
    assert_eq!(approval.amount, U256::MAX);
    let permit = Permit2Payment::decode(&exact(), &payment.payload).unwrap().permit;
    let transaction = approval.check(&permit, 84532).unwrap();
    assert_eq!((transaction.nonce, transaction.gas_limit), (3, APPROVAL_GAS));
    assert_eq!(u128::from(transaction.gas_limit) * transaction.max_fee_per_gas, fee);
}

#[tokio::test]
async fn every_field_of_an_approval_is_checked() {
    let consent = Sponsoring::new(Arc::new(Says { permits: Err(ReadError::Refused), ..Says::new() }))
        .allow_unlimited_approvals(ETHER);
    let (signed, added) = extended(&exact(), consent, &advertised(&BOTH)).await;
    let payment = paid(&exact(), signed, &added);
    let good = Approval::of(&payment).unwrap().unwrap();
    let permit = Permit2Payment::decode(&exact(), &payment.payload).unwrap().permit;
    let reason = |approval: &Approval, chain| approval.check(&permit, chain).unwrap_err().0;
    let other = Address::repeat_byte(1);
    assert_eq!(reason(&Approval { owner: other, ..good.clone() }, 84532), Reason::ApprovalOwner);
    assert_eq!(reason(&Approval { token: other, ..good.clone() }, 84532), Reason::ApprovalAsset);
    assert_eq!(reason(&Approval { spender: other, ..good.clone() }, 84532), Reason::ApprovalSpender);
    assert_eq!(reason(&Approval { amount: U256::ONE, ..good.clone() }, 84532), Reason::ApprovalCalldata);
    assert_eq!(reason(&good, 1), Reason::ApprovalUnreadable);
    let longer = [&good.raw[..], &[0]].concat().into();
    assert_eq!(reason(&Approval { raw: longer, ..good.clone() }, 84532), Reason::ApprovalUnreadable);
    assert_eq!(
        reason(&Approval { raw: vec![2, 0xc0].into(), ..good.clone() }, 84532),
        Reason::ApprovalUnreadable
    );
    // Wherever a byte is flipped, the transaction is another: nothing of it passes as the payer's.
    for at in 0..good.raw.len() {
        let mut raw = good.raw.to_vec();
        raw[at] ^= 1;
        assert!(Approval { raw: raw.into(), ..good.clone() }.check(&permit, 84532).is_err(), "byte {at}");
    }
}

#[tokio::test]
async fn an_echo_is_no_permit_and_half_a_permit_is_refused() {
    let offer = exact();
    let (signed, added) = extended(&offer, Sponsoring::new(Arc::new(Says::new())), &advertised(&BOTH)).await;
    let mut payment = paid(&offer, signed, &added);
    let good = Permit2612::of(&payment).unwrap().unwrap();
    let whole = payment.extensions.clone();
    for member in ["from", "asset", "spender", "amount", "nonce", "deadline", "signature"] {
        for value in [None, Some(json!("0x")), Some(json!(1)), Some(json!("-1"))] {
            payment.extensions = altered(&whole, &format!("/{PERMIT_EXTENSION}/info/{member}"), value);
            assert_eq!(Permit2612::of(&payment).unwrap_err().reason, Reason::PermitForm, "{member}");
        }
    }
    payment.extensions = advertised(&BOTH);
    assert_eq!(Permit2612::of(&payment), Ok(None));
    assert_eq!(Approval::of(&payment), Ok(None));
    let permit = Permit2Payment::decode(&offer, &payment.payload).unwrap().permit;
    let reason = |altered: Permit2612| altered.check(&permit, NOW).unwrap_err().0;
    let other = Address::repeat_byte(1);
    assert_eq!(reason(Permit2612 { owner: other, ..good.clone() }), Reason::PermitOwner);
    assert_eq!(reason(Permit2612 { token: other, ..good.clone() }), Reason::PermitAsset);
    assert_eq!(reason(Permit2612 { spender: other, ..good.clone() }), Reason::PermitSpender);
    assert_eq!(reason(Permit2612 { value: U256::MAX, ..good.clone() }), Reason::PermitAmount);
    assert_eq!(reason(Permit2612 { deadline: U256::from(NOW.0), ..good }), Reason::PermitExpired);
}

#[tokio::test]
async fn a_reader_asks_a_real_chain() {
    let chain = DevChain::builder().chain_id(84532).build().unwrap();
    let usdc = Genesis::base_sepolia().deploy(&chain).unwrap().usdc;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = tollway_devnet::evm::serve(chain, listener).unwrap();
    let network = Network::eip155(84532);
    let reader = RpcReader::new([(network.clone(), url::Url::parse(&server.url()).unwrap())]).unwrap();
    let owner = key().address();
    assert_eq!(reader.allowance(&network, usdc, owner, PERMIT2).await, Ok(U256::ZERO));
    assert_eq!(reader.permit_nonce(&network, usdc, owner).await, Ok(U256::ZERO));
    assert_eq!(
        reader.permit_nonce(&network, PERMIT2, owner).await,
        Err(ReadError::Refused),
        "no such function"
    );
    assert_eq!(reader.permit_nonce(&network, owner, owner).await, Err(ReadError::Refused), "no code");
    assert_eq!(reader.account_nonce(&network, owner).await, Ok(0));
    let fees = reader.fees(&network).await.unwrap();
    assert!(fees.max_fee_per_gas >= fees.max_priority_fee_per_gas);
    let elsewhere = reader.account_nonce(&Network::eip155(1), owner).await;
    assert!(matches!(elsewhere, Err(ReadError::Unreachable(_))));
}
