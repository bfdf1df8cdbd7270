//! What the published client and viem made (`e2e/record-permit2.mjs`).

use std::path::Path;

use alloy_primitives::{Address, Bytes, U256};
use serde::Deserialize;
use tollway_evm::delegation::Delegation;
use tollway_evm::exact::{Domain, ExactPayload};
use tollway_evm::permit2::{Approval, Permit2Payment, Permit2612, reason_of_revert};
use tollway_protocol::bind::Presented;
use tollway_protocol::door::{Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::{Offer, Payment, Reason};

use crate::samples::payment;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vectors {
    payments: Vec<Vector>,
    reverts: std::collections::BTreeMap<String, Bytes>,
    delegation: Delegated,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Vector {
    accepted: Offer,
    payload: Object,
    extensions: Object,
    digest: String,
    charged: Amount,
    settle: Bytes,
    settle_with_permit: Option<Bytes>,
    permit_digest: Option<String>,
}

#[derive(Deserialize)]
struct Delegated {
    payload: Object,
    token: Address,
    to: Address,
    amount: Amount,
    redeemed: Bytes,
}

fn vectors() -> Vectors {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../e2e/vectors/permit2.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn read(vector: &Vector) -> (Permit2Payment, Payment) {
    let payment = Payment {
        extensions: vector.extensions.clone(),
        ..payment(&vector.accepted, vector.payload.clone())
    };
    let decoded = Permit2Payment::decode(&vector.accepted, &vector.payload).unwrap();
    (decoded, payment)
}

fn chain(vector: &Vector) -> u64 {
    vector.accepted.network.chain_id().unwrap()
}

#[test]
fn what_the_published_client_signs_has_viem_s_digest_and_is_its_signature() {
    for vector in vectors().payments {
        let (Permit2Payment { permit, signature }, _) = read(&vector);
        let digest = permit.digest(chain(&vector));
        assert_eq!(digest.to_string(), vector.digest);
        assert_eq!(signature.recover(&digest), Some(permit.owner));
        assert_ne!(
            signature.recover(&permit.digest(1)),
            Some(permit.owner),
            "on another chain it is nobody's"
        );
    }
}

#[test]
fn what_the_published_client_signs_binds_to_its_offer() {
    for vector in vectors().payments {
        let (decoded, payment) = read(&vector);
        let presented = Presented::new(vector.accepted.clone(), payment).unwrap();
        let (again, effects) = match vector.accepted.scheme.as_str() {
            "exact" => match ExactPayload::effects(&presented).unwrap() {
                (ExactPayload::Permit2(payment), effects) => (payment, effects),
                (other, _) => panic!("{other:?}"),
            },
            _ => Permit2Payment::effects(&presented).unwrap(),
        };
        assert_eq!(again, decoded);
        let signed_at = decoded.permit.deadline - U256::from(vector.accepted.max_timeout_seconds);
        presented.bind(effects).unwrap().at(UnixTime(signed_at.to())).unwrap();
    }
}

#[test]
fn calls_are_those_of_the_published_proxies_abi() {
    for vector in vectors().payments {
        let (decoded, payment) = read(&vector);
        let charged = vector.charged.get();
        let (target, call) = decoded.settle_call(None, charged);
        assert_eq!((target, &call), (decoded.permit.spender(), &vector.settle));
        let permit = Permit2612::of(&payment).unwrap();
        let call = permit.map(|permit| decoded.settle_call(Some(&permit), charged).1);
        assert_eq!(call, vector.settle_with_permit);
    }
}

#[test]
fn a_payload_and_an_extension_are_written_as_the_published_client_writes_them() {
    for vector in vectors().payments {
        let (decoded, payment) = read(&vector);
        let signature = decoded.signature.to_bytes();
        assert_eq!(Permit2Payment::payload(&decoded.permit, &signature).unwrap(), vector.payload);
        for (key, info) in [
            ("eip2612GasSponsoring", Permit2612::of(&payment).unwrap().map(|permit| permit.info().unwrap())),
            ("erc20ApprovalGasSponsoring", Approval::of(&payment).unwrap().map(|a| a.info().unwrap())),
        ] {
            let theirs = vector.extensions.get(key).and_then(|entry| entry.get("info")).cloned();
            let theirs = theirs.map(|info| Object(info.as_object().unwrap().clone()).with("description", ()));
            assert_eq!(info, theirs, "{key}");
        }
    }
}

#[test]
fn permits_of_the_published_client_are_good_for_their_payments() {
    let mut seen = 0;
    for vector in vectors().payments {
        let (decoded, payment) = read(&vector);
        let Some(permit) = Permit2612::of(&payment).unwrap() else { continue };
        let extra = |member| vector.accepted.extra.str(member).unwrap();
        let domain = Domain::new(extra("name"), extra("version"), chain(&vector), permit.token);
        let digest = permit.digest(domain);
        assert_eq!(Some(digest.to_string()), vector.permit_digest);
        assert_eq!(permit.signature.recover(&digest), Some(permit.owner));
        let deadline: u64 = permit.deadline.to();
        assert_eq!(permit.check(&decoded.permit, UnixTime(deadline - 6)), Ok(()));
        let late = permit.check(&decoded.permit, UnixTime(deadline - 5)).unwrap_err();
        assert_eq!(late.0, Reason::PermitExpired);
        seen += 1;
    }
    assert_eq!(seen, 5);
}

#[test]
fn approvals_of_the_published_client_are_good_for_their_payments() {
    let vectors = vectors().payments;
    let vector = vectors.iter().find(|v| v.extensions.get("erc20ApprovalGasSponsoring").is_some()).unwrap();
    let (decoded, payment) = read(vector);
    let approval = Approval::of(&payment).unwrap().unwrap();
    let transaction = approval.check(&decoded.permit, chain(vector)).unwrap();
    assert_eq!((transaction.signer, transaction.nonce), (decoded.permit.owner, 7));
    assert_eq!(transaction.gas_limit, tollway_evm::permit2::APPROVAL_GAS);
    assert_eq!(transaction.max_fee_per_gas, 1_000_000_000);
    assert_eq!(transaction.max_priority_fee_per_gas, 100_000_000);
    assert_eq!(transaction.hash, alloy_primitives::keccak256(&transaction.raw));
}

#[test]
fn a_revert_of_the_contracts_has_its_reason() {
    let reverts = vectors().reverts;
    let meant = [
        ("Permit2.InvalidNonce", Reason::AlreadyUsed),
        ("Permit2.SignatureExpired", Reason::Expired),
        ("Permit2.InvalidAmount", Reason::ExceedsPermitted),
        ("Permit2.InvalidSigner", Reason::BadSignature),
        ("Permit2.InvalidSignature", Reason::BadSignature),
        ("Permit2.InvalidSignatureLength", Reason::BadSignature),
        ("Permit2.InvalidContractSignature", Reason::BadSignature),
        ("Proxy.InvalidAmount", Reason::AmountMismatch),
        ("Proxy.InvalidDestination", Reason::RecipientMismatch),
        ("Proxy.InvalidOwner", Reason::BadSignature),
        ("Proxy.PaymentTooEarly", Reason::NotYetValid),
        ("Proxy.Permit2612AmountMismatch", Reason::PermitAmount),
        ("Proxy.AmountExceedsPermitted", Reason::ExceedsPermitted),
        ("Proxy.UnauthorizedFacilitator", Reason::FacilitatorMismatch),
    ];
    for (name, reason) in &meant {
        assert_eq!(reason_of_revert(&reverts[*name]).as_ref(), Some(reason), "{name}");
    }
    for (name, data) in reverts.iter().filter(|(name, _)| !meant.iter().any(|(known, _)| known == name)) {
        assert_eq!(reason_of_revert(data), None, "{name} says nothing of the payment");
    }
    for other in [&b""[..], &[1, 2, 3], &[0; 4], &[0x08, 0xc3, 0x79, 0xa0]] {
        assert_eq!(reason_of_revert(other), None);
    }
}

#[test]
fn a_delegation_is_redeemed_for_one_transfer_to_the_offer_s_recipient() {
    let Delegated { payload, token, to, amount, redeemed } = vectors().delegation;
    let delegation = Delegation::decode(&payload).unwrap();
    let written: Object = delegation.payload().unwrap();
    assert_eq!(written, payload);
    assert_eq!(delegation.redeem_call(token, to, amount.get()), (delegation.manager, redeemed));
}
