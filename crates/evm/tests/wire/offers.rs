//! What sellers offer.

use serde_json::json;
use tollway_evm::{ExactSeller, UptoSeller};
use tollway_protocol::json::Object;
use tollway_protocol::money::Money;
use tollway_protocol::scheme::{Ask, AskError, PayerScheme as _, SellerScheme};
use tollway_protocol::wire::Kind;
use tollway_protocol::{Network, Offer, extensions};

use crate::samples::{FACILITATOR, SELLER, object, upto};

fn ask(chain: u64, extra: Object) -> Ask {
    Ask {
        network: Network::eip155(chain),
        price: Money::new("$0.01").unwrap().into(),
        pay_to: SELLER.into(),
        max_timeout_seconds: 60,
        extra,
    }
}

fn kind(scheme: &str, extra: Object) -> Kind {
    Kind { x402_version: 2, scheme: scheme.into(), network: "eip155:*".into(), extra, unknown: Object::new() }
}

fn exact(ask: &Ask) -> Result<Offer, AskError> {
    ExactSeller::new().offer(ask, &kind("exact", Object::new()))
}

#[test]
fn an_offer_is_by_permit2_when_it_is_asked_for_or_the_token_has_nothing_better() {
    let method = |offer: Offer| offer.extra.str("assetTransferMethod").map(str::to_owned);
    let permit2 = || Object::new().with("assetTransferMethod", "permit2");
    assert_eq!(method(exact(&ask(84532, Object::new())).unwrap()), None, "eip3009 needs no name");
    assert_eq!(method(exact(&ask(84532, permit2())).unwrap()).as_deref(), Some("permit2"));
    let mezo = exact(&ask(31612, Object::new())).unwrap();
    assert_eq!(mezo.extra.str("name"), Some("Mezo USD"), "for the token's permits");
    assert_eq!(method(mezo).as_deref(), Some("permit2"));
    let by = |method: &str| Object::new().with("assetTransferMethod", method);
    assert_eq!(method(exact(&ask(84532, by("erc7710"))).unwrap()).as_deref(), Some("erc7710"));
    assert!(matches!(exact(&ask(31612, by("eip3009"))), Err(AskError::Incomplete(_))));
    assert!(matches!(exact(&ask(84532, by("carrier pigeon"))), Err(AskError::Incomplete(_))));
}

#[test]
fn an_offer_of_upto_names_the_facilitator_that_may_settle_it() {
    let offer = |extra| UptoSeller::new().offer(&ask(84532, Object::new()), &kind("upto", extra));
    let named = offer(Object::new().with("facilitatorAddress", FACILITATOR)).unwrap();
    let mut expected = upto();
    expected.extra = expected.extra.clone();
    assert_eq!(named, expected);
    for silent in [Object::new(), Object::new().with("facilitatorAddress", "0x12")] {
        assert!(matches!(offer(silent), Err(AskError::Incomplete(_))));
    }
}

#[test]
fn a_payer_of_upto_needs_a_facilitator_that_can_settle() {
    let payer = tollway_evm::UptoPayer::new(crate::samples::key());
    assert!(payer.check(&upto()).is_ok());
    let zero = format!("0x{}", "00".repeat(20));
    for wrong in [json!(null), json!("0x12"), json!(zero), json!(7)] {
        let mut offer = upto();
        offer.extra = offer.extra.with("facilitatorAddress", wrong);
        assert!(payer.check(&offer).is_err());
    }
    let mut other = upto();
    other.extra = other.extra.with("assetTransferMethod", "eip3009");
    assert!(payer.check(&other).is_err());
    assert!(payer.check(&crate::samples::exact()).is_err());
}

#[test]
fn the_extensions_of_the_facilitator_are_declared_for_offers_by_permit2_alone() {
    let supported = ["eip2612GasSponsoring", "erc20ApprovalGasSponsoring", "bazaar"].map(str::to_owned);
    let by_permit2 = crate::samples::exact();
    let declared = ExactSeller::new().extensions(&by_permit2, &supported);
    assert_eq!(declared.0.keys().collect::<Vec<_>>(), ["eip2612GasSponsoring", "erc20ApprovalGasSponsoring"]);
    assert_eq!(declared, UptoSeller::new().extensions(&upto(), &supported));
    let one = ExactSeller::new().extensions(&by_permit2, &supported[1..]);
    assert_eq!(one.0.keys().collect::<Vec<_>>(), ["erc20ApprovalGasSponsoring"]);
    let plain = exact(&ask(84532, Object::new())).unwrap();
    assert!(ExactSeller::new().extensions(&plain, &supported).is_empty());
    for (key, entry) in &declared.0 {
        assert_eq!(entry["info"]["version"], "1", "{key}");
        let required = entry["schema"]["required"].as_array().unwrap();
        assert!(
            required.iter().all(|member| entry["schema"]["properties"][member.as_str().unwrap()].is_object())
        );
    }
    // A payer adds to the declaration, and that is an unaltered echo.
    let mut echo = declared.clone();
    echo.0["eip2612GasSponsoring"]["info"]["from"] = json!(SELLER);
    extensions::check_echo(&declared, &echo, &[]).unwrap();
    let altered = object(json!({"eip2612GasSponsoring": {"info": {"version": "2"}}}));
    assert!(extensions::check_echo(&declared, &altered, &[]).is_err());
}
