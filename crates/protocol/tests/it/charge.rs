//! What a handler may charge of an offer.

use proptest::prelude::*;
use ruint::aliases::U256;
use tollway_protocol::charge::{Charge, ChargeError};
use tollway_protocol::door::Amount;
use tollway_protocol::{Offer, v1};

use crate::samples::{offer, read, resource_json};

fn upto(amount: Amount) -> Offer {
    Offer { scheme: "upto".into(), amount, ..offer() }
}

#[test]
fn a_charge_is_atomic_units_a_share_or_money() {
    let of = |text: &str| Charge::new(text).and_then(|charge| charge.of(&upto(10_000.into())));
    for (text, charged) in [
        ("0", 0),
        ("10000", 10_000),
        ("0%", 0),
        ("100%", 10_000),
        ("100.00%", 10_000),
        ("33.33%", 3_333),
        ("0.09%", 9),
        ("7.5%", 750),
        ("$0", 0),
        ("$0.005", 5_000),
        (" 12 ", 12),
    ] {
        assert_eq!(of(text), Ok(charged.into()), "{text}");
    }
    for text in [
        "",
        "%",
        "-1",
        "+1",
        "01",
        "1.0",
        "1e2",
        "0x1",
        "100.01%",
        "1.%",
        ".5%",
        "1.234%",
        "1,5%",
        "5 %",
        "1 USDC",
        "99999999999999999999%",
    ] {
        assert!(matches!(Charge::new(text), Err(ChargeError::Form(_))), "{text}");
    }
    assert!(matches!(of("10001"), Err(ChargeError::TooMuch { .. })));
    assert!(matches!(of("$0.010001"), Err(ChargeError::TooMuch { .. })));
    assert!(matches!(of("$0.0000001"), Err(ChargeError::Money(_))), "nothing is rounded");
}

#[test]
fn money_needs_an_asset_whose_decimals_are_known() {
    let stranger = Offer { asset: format!("0x{}", "77".repeat(20)), ..upto(10_000.into()) };
    assert!(matches!(Charge::new("$0.001").unwrap().of(&stranger), Err(ChargeError::Asset(_))));
    assert_eq!(Charge::new("50%").unwrap().of(&stranger), Ok(5_000.into()));
}

#[test]
fn version_1_knows_neither_upto_nor_other_transfer_methods() {
    let resource = read(resource_json());
    assert!(v1::Offer::of(&offer(), &resource).is_some());
    assert!(v1::Offer::of(&upto(1.into()), &resource).is_none());
    for (method, known) in [("eip3009", true), ("permit2", false), ("erc7710", false)] {
        let mut offer = offer();
        offer.extra = offer.extra.with("assetTransferMethod", method);
        assert_eq!(v1::Offer::of(&offer, &resource).is_some(), known, "{method}");
    }
}

proptest! {
    #[test]
    fn a_share_is_what_the_oracle_says_and_never_more_than_the_amount(
        amount in any::<u128>(), hundredths in 0u16..=10_000
    ) {
        let charge = Charge::new(&format!("{}.{:02}%", hundredths / 100, hundredths % 100)).unwrap();
        let oracle = U256::from(amount) * U256::from(hundredths) / U256::from(10_000);
        prop_assert_eq!(charge.of(&upto(U256::from(amount).into())).unwrap().get(), oracle);
    }

    #[test]
    fn a_share_of_any_amount_does_not_overflow(limbs in any::<[u64; 4]>(), hundredths in 0u16..=10_000) {
        let amount = Amount::from(U256::from_limbs(limbs));
        let charged = Charge::Share { hundredths }.of(&upto(amount)).unwrap();
        prop_assert!(charged <= amount);
        let whole = Charge::Share { hundredths: 10_000 }.of(&upto(amount)).unwrap();
        prop_assert_eq!(whole, amount);
    }

    #[test]
    fn a_charge_of_any_text_is_refused_or_at_most_the_amount(text in "[0-9$%. ]{0,12}", amount in any::<u64>()) {
        if let Ok(charged) = Charge::new(&text).and_then(|charge| charge.of(&upto(amount.into()))) {
            prop_assert!(charged <= amount.into());
        }
    }
}
