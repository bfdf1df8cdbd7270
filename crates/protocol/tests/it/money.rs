//! Prices: exact, never rounded, and one way to write a decimal point.

use std::str::FromStr;
use std::sync::LazyLock;

use num_bigint::BigUint;
use proptest::prelude::*;
use regex::Regex;
use serde_json::json;
use tollway_protocol::Network;
use tollway_protocol::assets::{self, Asset};
use tollway_protocol::door::Amount;
use tollway_protocol::json::Object;
use tollway_protocol::money::{Money, MoneyError, Price};
use tollway_protocol::scheme::AskError;

use crate::samples::{USDC, amount, base, object};

static FORM: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\A(?:\$(0|[1-9][0-9]*)(?:\.([0-9]+))?|(0|[1-9][0-9]*)(?:\.([0-9]+))?(?: ([A-Za-z][A-Za-z0-9.]{0,15}))?)\z")
        .unwrap()
});

/// The atomic amount by big integers: `None` when it can't be paid exactly or does not fit.
fn oracle(text: &str, decimals: u8) -> Option<String> {
    let found = FORM.captures(text.trim())?;
    let part = |a: usize, b: usize| found.get(a).or(found.get(b)).map_or("", |m| m.as_str());
    let (whole, fraction) = (part(1, 3), part(2, 4));
    let scaled =
        BigUint::from_str(&format!("{whole}{fraction}")).unwrap() * BigUint::from(10u8).pow(decimals.into());
    let unit = BigUint::from(10u8).pow(u32::try_from(fraction.len()).unwrap());
    let exact = &scaled % &unit == BigUint::default();
    (exact && (&scaled / &unit).bits() <= 256).then(|| (scaled / unit).to_string())
}

#[test]
fn x402rs_12_a_comma_is_never_dropped() {
    for text in ["1,50", "$1,50", "1,000", "1,000.00", "1.000,00", "1'000", "1 000", "1_000", "1,", ",5"] {
        assert!(matches!(Money::new(text), Err(MoneyError::Form(_))), "{text}");
    }
}

#[test]
fn scientific_notation_and_floats_are_refused() {
    for text in
        ["1e3", "1E3", "1e-7", "1.5e2", "$1e3", "NaN", "inf", "Infinity", "0x10", "1/2", "١", "１.５", "½"]
    {
        assert!(matches!(Money::new(text), Err(MoneyError::Form(_))), "{text}");
    }
}

#[test]
fn signs_bare_points_and_stray_characters_are_refused() {
    for text in [
        "-1",
        "+1",
        "$-1",
        "-$1",
        ".5",
        "5.",
        "1.2.3",
        "$",
        "",
        " ",
        "$$1",
        "1$",
        "€1",
        "USDC",
        "USDC 1",
        "1  USDC",
        "1 USDC USDC",
        "1 1USDC",
        "$1 USDC",
        "01",
        "00.5",
        "1. 5",
        "1 .5",
        "1\u{a0}USDC",
        "1 U$D",
        "1 ABCDEFGHIJKLMNOPQ",
        "1\0",
        "1\n2",
    ] {
        assert!(matches!(Money::new(text), Err(MoneyError::Form(_))), "{text:?}");
    }
}

#[test]
fn decimals_that_can_not_be_paid_are_refused_and_not_cut() {
    let money = Money::new("$0.0000001").unwrap();
    assert_eq!(money.atomic(6), Err(MoneyError::TooPrecise { value: "0.0000001".into(), decimals: 6 }));
    assert_eq!(money.atomic(7).unwrap(), Amount::from(1));
    assert_eq!(
        Money::new("1.5").unwrap().atomic(0),
        Err(MoneyError::TooPrecise { value: "1.5".into(), decimals: 0 })
    );
    assert_eq!(
        Money::new("1.50000000000").unwrap().atomic(1).unwrap(),
        Amount::from(15),
        "zeros are no decimals"
    );
    assert!(Money::new(&format!("0.{}", "1".repeat(77))).unwrap().atomic(77).is_ok());
    assert!(Money::new(&format!("0.{}", "1".repeat(78))).is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let most = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
    assert_eq!(Money::new(most).unwrap().atomic(0).unwrap(), amount(most));
    assert_eq!(Money::new(most).unwrap().atomic(1), Err(MoneyError::OutOfRange));
    assert!(Money::new(&format!("{most}0")).is_err());
    assert_eq!(Money::new("1").unwrap().atomic(77).unwrap().to_string(), format!("1{}", "0".repeat(77)));
    assert_eq!(Money::new("2").unwrap().atomic(77), Err(MoneyError::OutOfRange));
    assert_eq!(Money::new("1").unwrap().atomic(78), Err(MoneyError::OutOfRange));
    assert_eq!(Money::new("1").unwrap().atomic(255), Err(MoneyError::OutOfRange));
}

#[test]
fn usd_means_the_default_asset_and_other_symbols_are_kept() {
    assert_eq!(Money::new("1 USD").unwrap(), Money::new("$1").unwrap());
    assert_eq!(Money::new("1.50 USDC.e").unwrap().symbol(), Some("USDC.e"));
    assert_eq!(Money::new(" 1.50 USDC\n").unwrap().to_string(), "1.5 USDC");
}

#[test]
fn a_price_resolves_to_the_networks_default_or_named_asset() {
    let celo = Network::eip155(42220);
    let resolve =
        |text: &str, network: &Network| Price::from(Money::new(text).unwrap()).resolve(network, &[]);
    assert_eq!(resolve("$0.01", &base()).unwrap().1, Amount::from(10_000));
    assert_eq!(resolve("1", &celo).unwrap().0.symbol, "USDC");
    assert_eq!(resolve("1 USDT", &celo).unwrap().0.symbol, "USDT");
    let eighteen = resolve("1", &Network::eip155(4326)).unwrap();
    assert_eq!((eighteen.0.symbol.as_str(), eighteen.1.to_string().len()), ("MegaUSD", 19));
    assert!(matches!(resolve("1 DAI", &base()), Err(AskError::UnknownAsset { .. })));
    assert!(matches!(resolve("1", &Network::eip155(31337)), Err(AskError::UnknownAsset { .. })));
    assert!(matches!(resolve("0.0000001", &base()), Err(AskError::Price(MoneyError::TooPrecise { .. }))));
}

#[test]
fn a_callers_own_asset_comes_before_the_table() {
    let own = Asset { symbol: "TEST".into(), decimals: 2, ..assets::find(&base(), None, &[]).unwrap() };
    let (asset, atomic) =
        Price::from(Money::new("1.23").unwrap()).resolve(&base(), std::slice::from_ref(&own)).unwrap();
    assert_eq!((asset, atomic), (own, Amount::from(123)));
}

#[test]
fn an_atomic_price_needs_a_known_or_a_described_asset() {
    let token = "0x00000000000000000000000000000000000000aa";
    let price =
        |asset: &str, extra: Object| Price::Atomic { asset: asset.into(), amount: Amount::from(5), extra };
    let described = object(json!({ "name": "Token", "version": "1" }));
    assert!(price(token, Object::new()).resolve(&base(), &[]).is_err());
    assert_eq!(price(token, described).resolve(&base(), &[]).unwrap().1, Amount::from(5));
    let sepolia = Network::eip155(84532);
    assert_eq!(price(&USDC.to_lowercase(), Object::new()).resolve(&sepolia, &[]).unwrap().0.symbol, "USDC");
}

#[test]
fn every_asset_in_the_table_is_found_by_its_address_in_any_case() {
    for chain in [8453, 84532, 1, 43114, 4326, 143, 988, 137, 42161, 14, 42220, 1329, 5042, 5042002] {
        let network = Network::eip155(chain);
        for asset in assets::on(&network, &[]) {
            assert_eq!(assets::at(&network, &asset.address.to_lowercase(), &[]), Some(asset.clone()));
            assert!(
                asset.domain.as_ref().is_some_and(|(name, version)| !name.is_empty() && !version.is_empty())
            );
        }
        assert!(assets::find(&network, None, &[]).is_some(), "{network} has a default asset");
    }
    for name in ["solana", "solana-devnet", "solana-testnet"] {
        let network = Network::named(name).unwrap();
        assert_eq!(assets::find(&network, None, &[]).unwrap().symbol, "USDC");
    }
}

fn nearly_prices() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\$?[0-9]{1,12}(\\.[0-9]{0,20})?( [A-Za-z.0-9]{0,18})?",
        "(0|[1-9][0-9]{0,77})(\\.[0-9]{1,77})?",
        "[-+$ _.,eE0-9]{0,16}",
        any::<String>(),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn money_is_what_the_oracle_says(text in nearly_prices(), decimals in 0u8..=77) {
        let read = Money::new(&text).ok().and_then(|money| money.atomic(decimals).ok());
        prop_assert_eq!(read.map(|a| a.to_string()), oracle(&text, decimals), "{:?} at {}", text, decimals);
    }

    #[test]
    fn printed_units_read_back_as_the_same_amount(words in any::<[u64; 4]>(), decimals in 0u8..=77) {
        let text = words.iter().fold(BigUint::default(), |n, w| (n << 64u32) + w).to_string();
        let units = amount(&text).in_units(decimals);
        prop_assert_eq!(Money::new(&units).unwrap().atomic(decimals).unwrap().to_string(), text);
    }

    #[test]
    fn printed_money_reads_as_itself(text in nearly_prices()) {
        if let Ok(money) = Money::new(&text) {
            prop_assert_eq!(Money::new(&money.to_string()), Ok(money));
        }
    }
}
