//! Version 1 translated at the edge, both ways.

use proptest::prelude::*;
use serde_json::json;
use tollway_protocol::network::V1_NAMES;
use tollway_protocol::{Challenge, Network, Offer, Payment, Resource, Settlement, v1};

use crate::samples::{offer, offer_json, payment_json, read, resource_json, v1_offer_json, v1_payment_json};

fn known() -> impl Strategy<Value = &'static str> {
    (0..V1_NAMES.len()).prop_map(|i| V1_NAMES[i].0)
}

#[test]
fn a_v1_offer_becomes_a_v2_offer_with_amount_and_caip_2_network() {
    let v1: v1::Offer = read(v1_offer_json());
    let v2 = serde_json::to_value(v1.to_v2().unwrap()).unwrap();
    assert_eq!((&v2["amount"], &v2["network"]), (&json!("10000"), &json!("eip155:84532")));
    assert!(v2.get("maxAmountRequired").is_none());
    assert!(v2.get("resource").is_none() && v2.get("description").is_none() && v2.get("mimeType").is_none());
}

#[test]
fn networks_without_a_v1_name_are_left_out_of_a_v1_challenge() {
    let mut elsewhere = offer_json();
    elsewhere["network"] = json!("eip155:31337");
    let challenge: Challenge =
        read(json!({ "x402Version": 2, "resource": resource_json(), "accepts": [elsewhere, offer_json()] }));
    let v1 = v1::Challenge::of(&challenge);
    assert_eq!(v1.accepts.iter().map(|o| o.network.as_str()).collect::<Vec<_>>(), ["base-sepolia"]);
    assert_eq!(
        v1::Payment::of(&Payment { accepted: read(offer_json()), ..read(payment_json()) }).unwrap().network,
        "base-sepolia"
    );
}

#[test]
fn networks_nobody_knows_are_refused_and_left_out() {
    let mut value = v1_offer_json();
    value["network"] = json!("dogechain");
    let unknown: v1::Offer = read(value);
    assert!(unknown.to_v2().is_err());
    let challenge: v1::Challenge = read(json!({ "x402Version": 1, "accepts": [v1_offer_json()] }));
    let challenge = v1::Challenge { accepts: vec![unknown, challenge.accepts[0].clone()], ..challenge };
    assert_eq!(challenge.to_v2("https://shop.example/").accepts.len(), 1);
}

#[test]
fn x402rs_31_a_v1_payment_fits_every_offer_of_its_scheme_and_network() {
    let payment: v1::Payment = read(v1_payment_json());
    let cheap = offer();
    let dear = Offer { amount: 20_000.into(), ..offer() };
    let elsewhere = Offer { network: Network::eip155(8453), ..offer() };
    let other = Offer { scheme: "upto".into(), ..offer() };
    assert_eq!(
        [&cheap, &dear, &elsewhere, &other].map(|o| payment.may_accept(o)),
        [true, true, false, false]
    );
    assert_eq!(payment.to_v2(&dear).unwrap().accepted, dear);
    let twisted = payment.to_v2(&elsewhere).unwrap();
    assert_eq!(twisted.accepted.network, Network::eip155(84532), "the payment's own network stays");
}

#[test]
fn a_v1_request_becomes_the_v2_request_for_its_offer() {
    let request: v1::PaymentRequest = read(
        json!({ "x402Version": 1, "paymentPayload": v1_payment_json(), "paymentRequirements": v1_offer_json() }),
    );
    let v2 = request.to_v2().unwrap();
    assert_eq!(v2.payment_payload.accepted, v2.payment_requirements);
    assert_eq!(v2.payment_payload.payload, request.payment_payload.payload);
}

#[test]
fn codes_are_spelt_as_v1_spells_them() {
    let mut settlement = Settlement::new(false, Network::eip155(84532));
    let code = "invalid_exact_evm_payload_authorization_value_mismatch";
    settlement.error_reason = Some(tollway_protocol::Code::new(code));
    let v1 = v1::Settlement::of(&settlement);
    assert_eq!(v1.error_reason.unwrap().as_str(), "invalid_exact_evm_authorization_value");
    assert_eq!(v1.network, "base-sepolia");
    settlement.error_reason = Some(tollway_protocol::Code::new("brand_new"));
    assert_eq!(v1::Settlement::of(&settlement).error_reason.unwrap().as_str(), "brand_new");
}

#[test]
fn a_v1_settlement_names_its_network_either_way_or_not_at_all() {
    let asked = Network::eip155(84532);
    for (name, id) in [("base-sepolia", "eip155:84532"), ("eip155:1", "eip155:1"), ("", "eip155:84532")] {
        let v1: v1::Settlement = read(json!({ "success": true, "transaction": "0x1", "network": name }));
        assert_eq!(v1.to_v2(&asked).unwrap().network.as_str(), id);
    }
    let v1: v1::Settlement = read(json!({ "success": true, "transaction": "0x1", "network": "dogechain" }));
    assert!(v1.to_v2(&asked).is_err());
}

#[test]
fn a_v2_challenge_survives_v1_but_for_what_v1_can_not_say() {
    let resource = json!({ "url": "https://shop.example/", "description": "d", "mimeType": "text/plain" });
    let challenge: Challenge =
        read(json!({ "x402Version": 2, "error": "why", "resource": resource, "accepts": [offer_json()] }));
    assert_eq!(v1::Challenge::of(&challenge).to_v2("unused"), challenge);
}

proptest! {
    #[test]
    fn v1_to_v2_to_v1_is_the_same_offer(name in known(), amount in any::<u64>(), seconds in any::<u64>(),
        description in ".{0,12}")
    {
        let mut value = v1_offer_json();
        value["network"] = json!(name);
        value["maxAmountRequired"] = json!(amount.to_string());
        value["maxTimeoutSeconds"] = json!(seconds);
        value["description"] = json!(description);
        value["x-unknown"] = json!({ "kept": true });
        value.as_object_mut().unwrap().remove("outputSchema"); // version 2 has no place for it
        let v1: v1::Offer = read(value);
        let challenge = v1::Challenge {
            x402_version: tollway_protocol::wire::Version,
            error: Some("why".into()),
            accepts: vec![v1],
            unknown: crate::samples::object(json!({ "x-unknown": 1 })),
        };
        let v2 = challenge.to_v2("unused");
        prop_assert!(v2.resource.description.is_some() != description.is_empty());
        let back = v1::Challenge::of(&v2);
        prop_assert_eq!(serde_json::to_value(back).unwrap(), serde_json::to_value(challenge).unwrap());
    }

    #[test]
    fn v1_to_v2_to_v1_is_the_same_payment_and_settlement(name in known(), success in any::<bool>()) {
        let mut value = v1_payment_json();
        value["network"] = json!(name);
        value["x-unknown"] = json!({ "kept": true });
        let v1: v1::Payment = read(value);
        let accepted = Offer { network: Network::named(name).unwrap(), ..offer() };
        prop_assert_eq!(v1::Payment::of(&v1.to_v2(&accepted).unwrap()), Some(v1));

        let v1: v1::Settlement = read(json!({ "success": success, "errorReason": "invalid_exact_evm_authorization_value",
            "transaction": "0x1", "network": name, "payer": "0x2", "x-unknown": 1 }));
        prop_assert_eq!(v1::Settlement::of(&v1.to_v2(&accepted.network).unwrap()), v1);
    }
}

#[test]
fn an_offer_without_resource_details_is_still_complete_in_v1() {
    let resource = Resource { url: "https://shop.example/".into(), ..Resource::default() };
    let v1 = serde_json::to_value(v1::Offer::of(&offer(), &resource).unwrap()).unwrap();
    assert_eq!((&v1["description"], &v1["mimeType"]), (&json!(""), &json!("")));
}

#[test]
fn rs20_a_member_of_the_other_version_never_stands_beside_the_typed_one() {
    let offer: v1::Offer = serde_json::from_value(serde_json::json!({
        "scheme": "exact", "network": "base", "maxAmountRequired": "1", "resource": "https://a.example/", "description": "",
        "mimeType": "", "payTo": "0x209693Bc6afc0C5328bA36FaF03C514EF312287C", "maxTimeoutSeconds": 60,
        "asset": "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "amount": "999", "Extra": {}, "colour": "red",
    }))
    .unwrap();
    let text = serde_json::to_string(&offer.to_v2().unwrap()).unwrap();
    assert_eq!(text.matches("\"amount\"").count(), 1, "{text}");
    assert!(text.contains("colour") && !text.contains("999") && !text.contains("\"Extra\""), "{text}");
    let payment: v1::Payment = serde_json::from_value(serde_json::json!({
        "x402Version": 1, "scheme": "exact", "network": "base", "payload": {}, "accepted": {"amount": "1"}, "Payload": 1,
    }))
    .unwrap();
    let text = serde_json::to_string(&payment.to_v2(&offer.to_v2().unwrap()).unwrap()).unwrap();
    assert_eq!((text.matches("\"accepted\"").count(), text.matches("\"Payload\"").count()), (1, 0), "{text}");
    let settlement: v1::Settlement = serde_json::from_value(serde_json::json!({
        "success": true, "transaction": "0xaa", "network": "base", "amount": 1, "errorMessage": 2,
    }))
    .unwrap();
    let v2 = settlement.to_v2(&Network::eip155(8453)).unwrap();
    let back: tollway_protocol::Settlement =
        serde_json::from_str(&serde_json::to_string(&v2).unwrap()).unwrap();
    assert_eq!(back, v2);
}
