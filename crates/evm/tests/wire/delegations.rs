//! Delegations (ERC-7710) are opaque: what they pay is the offer's own transfer.

use alloy_primitives::Address;
use serde_json::{Value, json};
use tollway_evm::ExactPayer;
use tollway_evm::delegation::{DelegatedPayer, Delegation, Granted, MAX_CONTEXT};
use tollway_evm::exact::ExactPayload;
use tollway_protocol::bind::Window;
use tollway_protocol::json::Object;
use tollway_protocol::scheme::{PayerScheme as _, SignError};
use tollway_protocol::{Network, Offer, Reason};

use crate::samples::{FACILITATOR, NOW, SELLER, altered, exact, key, object, presented};

fn offer() -> Offer {
    let mut offer = exact();
    offer.extra = Object::new().with("assetTransferMethod", "erc7710");
    offer
}

fn payload() -> Object {
    object(json!({"delegationManager": FACILITATOR, "permissionContext": "0x0badc0de", "delegator": SELLER}))
}

#[test]
fn a_delegation_moves_what_the_offer_says_and_has_no_end_of_its_own() {
    let mut offer = offer();
    offer.pay_to = FACILITATOR.into();
    let presented = presented(&offer, payload());
    let (decoded, effects) = ExactPayload::effects(&presented).unwrap();
    assert!(matches!(decoded, ExactPayload::Erc7710(_)));
    assert_eq!(effects.payer.as_str(), SELLER.to_lowercase());
    assert_eq!(effects.window, Window::ALWAYS);
    presented.bind(effects).unwrap().at(NOW).unwrap();
}

#[test]
fn only_an_offer_that_names_delegations_takes_one() {
    for method in [Value::Null, json!("permit2"), json!("eip3009")] {
        let mut offer = offer();
        offer.extra = offer.extra.with("assetTransferMethod", method);
        let refusal = ExactPayload::effects(&presented(&offer, payload())).unwrap_err();
        assert_eq!(refusal.reason, Reason::TransferNotSupported);
    }
}

#[test]
fn a_delegation_s_key_is_all_that_an_answer_about_it_says() {
    let key_of =
        |offer: &Offer, payload: Object| ExactPayload::effects(&presented(offer, payload)).unwrap().1.key;
    let key = key_of(&offer(), payload());
    assert_eq!(key, key_of(&Offer { pay_to: SELLER.to_lowercase(), ..offer() }, payload()));
    for other in [
        Offer { pay_to: FACILITATOR.into(), ..offer() },
        Offer { asset: FACILITATOR.into(), ..offer() },
        Offer { amount: 10_001.into(), ..offer() },
        Offer { network: Network::eip155(1), ..offer() },
    ] {
        assert_ne!(key_of(&other, payload()), key, "another seller's payment is another payment");
    }
    for (member, value) in [
        ("/delegationManager", json!(SELLER)),
        ("/delegator", json!(FACILITATOR)),
        ("/permissionContext", json!("0x0badc0df")),
    ] {
        assert_ne!(key_of(&offer(), altered(&payload(), member, Some(value))), key, "{member}");
    }
}

#[test]
fn rs20_a_delegation_is_read_strictly_and_bounded() {
    let reason = |payload| Delegation::decode(&payload).map(|_| ()).map_err(|refusal| refusal.reason);
    assert_eq!(reason(payload()), Ok(()));
    for member in ["/delegationManager", "/permissionContext", "/delegator"] {
        for value in [None, Some(json!("12")), Some(json!("0x1")), Some(json!(7)), Some(json!("0xzz"))] {
            assert_eq!(reason(altered(&payload(), member, value)), Err(Reason::InvalidPayload), "{member}");
        }
    }
    let context = |bytes: usize| json!(format!("0x{}", "ab".repeat(bytes)));
    assert_eq!(reason(altered(&payload(), "/permissionContext", Some(context(MAX_CONTEXT)))), Ok(()));
    let longer = altered(&payload(), "/permissionContext", Some(context(MAX_CONTEXT + 1)));
    assert_eq!(reason(longer), Err(Reason::InvalidPayload));
}

#[tokio::test]
async fn a_payer_shows_the_delegation_that_it_was_given_for_the_offer() {
    let delegation = Delegation::decode(&payload()).unwrap();
    let delegator: Address = delegation.delegator;
    let grant = {
        let delegation = delegation.clone();
        move |offer: &Offer| {
            (offer.amount == 10_000.into())
                .then(|| Granted { delegation: delegation.clone(), ends: NOW.plus(60) })
        }
    };
    let payer = DelegatedPayer::new(Network::eip155(84532), delegator, grant);
    let signed = payer.sign(&offer(), NOW, [0; 32]).await.unwrap();
    assert_eq!(signed.payload, payload());
    let presented = presented(&offer(), signed.payload);
    presented.bind(signed.effects).unwrap().at(NOW).unwrap();
    let dearer = Offer { amount: 10_001.into(), ..offer() };
    assert!(matches!(payer.sign(&dearer, NOW, [0; 32]).await, Err(SignError::Signer(_))));
    assert!(payer.check(&exact()).is_err(), "it pays by delegation alone");
    assert!(ExactPayer::new(key()).check(&offer()).is_err(), "a key signs no delegation");
}
