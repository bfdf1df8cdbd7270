use tollway_evm::keys::Key;
use tollway_evm::{ExactPayer, ExactSeller};
use tollway_protocol::bind::Presented;
use tollway_protocol::json::Object;
use tollway_protocol::money::Money;
use tollway_protocol::scheme::{Ask, PayerScheme as _, SellerScheme as _};
use tollway_protocol::wire::Kind;
use tollway_protocol::{Network, Secret};

use crate::common::{SELLER, key, now, offer_of, payment};

fn kind() -> Kind {
    Kind {
        x402_version: 2,
        scheme: "exact".into(),
        network: "eip155:84532".into(),
        extra: Object::new(),
        unknown: Object::new(),
    }
}

fn ask(price: &str) -> Ask {
    Ask {
        network: Network::eip155(84532),
        price: Money::new(price).unwrap().into(),
        pay_to: SELLER.into(),
        max_timeout_seconds: 60,
        extra: Object::new(),
    }
}

#[tokio::test]
async fn what_a_payer_signs_does_what_the_seller_s_offer_asks() {
    let offer = ExactSeller::new().offer(&ask("$0.01"), &kind()).unwrap();
    let signed = ExactPayer::new(key(7)).sign(&offer, now(), [1; 32]).await.unwrap();
    let presented = Presented::new(offer.clone(), payment(&offer, signed.payload)).unwrap();
    let seen = ExactSeller::new().effects(&presented).unwrap();
    assert_eq!(seen, signed.effects);
    presented.bind(seen).unwrap().at(now()).unwrap();
}

#[tokio::test]
async fn a_wallet_does_not_sign_for_a_domain_that_is_not_the_token_s() {
    let mut offer = offer_of(alloy_primitives::address!("036CbD53842c5426634e7929541eC2318f3dCF7e"));
    offer.extra = Object::new().with("name", "Free Money").with("version", "2");
    let payer = ExactPayer::new(key(7));
    assert!(payer.check(&offer).is_err());
    assert!(payer.sign(&offer, now(), [1; 32]).await.is_err());
}

#[tokio::test]
async fn x402rs_10_an_unknown_transfer_method_is_not_signed_as_eip3009() {
    let mut offer = offer_of(alloy_primitives::address!("036CbD53842c5426634e7929541eC2318f3dCF7e"));
    offer.extra = offer.extra.with("assetTransferMethod", "erc7710");
    assert!(ExactPayer::new(key(7)).check(&offer).is_err());
}

#[test]
fn a_price_that_the_asset_can_t_express_makes_no_offer() {
    assert!(ExactSeller::new().offer(&ask("$0.0000001"), &kind()).is_err());
    let mut nowhere = ask("$1");
    nowhere.network = Network::eip155(999_999);
    assert!(ExactSeller::new().offer(&nowhere, &kind()).is_err());
    let mut nobody = ask("$1");
    nobody.pay_to = "0x12".into();
    assert!(ExactSeller::new().offer(&nobody, &kind()).is_err());
}

#[test]
fn i16_x402rs_18_a_key_prints_its_address_only() {
    let text = format!("{:?}", key(7));
    assert!(!text.contains(&"07".repeat(8)), "{text}");
    assert!(text.starts_with("Key(0x"));
}

#[test]
fn i16_a_keystore_opens_with_its_passphrase_only() {
    let dir = tempfile::tempdir().unwrap();
    let pass = |text: &str| Secret::new(text.to_owned());
    key(7).save(dir.path(), "wallet", &pass("correct")).unwrap();
    let file = dir.path().join("wallet");
    assert_eq!(Key::open(&file, &pass("correct")).unwrap().address(), key(7).address());
    assert!(Key::open(&file, &pass("wrong")).is_err());
    assert!(!std::fs::read_to_string(&file).unwrap().contains(&"07".repeat(8)));
}
