//! The door and money against a naive oracle that works on digit strings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollway_protocol::door::{self, Amount};
use tollway_protocol::money::{Money, MoneyError};

const MAX_U256: &str = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
const MAX_U64: &str = "18446744073709551615";

/// `0|[1-9][0-9]*`, no larger than `max`.
fn canonical(text: &str, max: &str) -> bool {
    let digits = !text.is_empty() && text.chars().all(|c| ('0'..='9').contains(&c));
    let plain = digits && (text == "0" || !text.starts_with('0'));
    plain && (text.len() < max.len() || text.len() == max.len() && text <= max)
}

/// The atomic amount of `whole.fraction`, by moving the point in the text.
fn shift(whole: &str, fraction: &str, decimals: u8) -> Option<String> {
    let fraction = fraction.trim_end_matches('0');
    let missing = usize::from(decimals).checked_sub(fraction.len())?;
    let text = format!("{whole}{fraction}{}", "0".repeat(missing));
    let text = text.trim_start_matches('0');
    Some(if text.is_empty() { "0".to_owned() } else { text.to_owned() })
}

fuzz_target!(|data: &[u8]| {
    let Some((&decimals, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let decimals = decimals % 80;

    let amount = Amount::atomic(text);
    assert_eq!(amount.is_ok(), canonical(text, MAX_U256), "{text:?}");
    assert_eq!(door::decimal_u64(text).is_ok(), canonical(text, MAX_U64), "{text:?}");
    if let Ok(amount) = amount {
        assert_eq!(amount.to_string(), text);
        let whole_units = amount.in_units(decimals);
        if decimals <= 77 {
            let read = Money::new(&whole_units).and_then(|money| money.atomic(decimals));
            assert_eq!(read, Ok(amount), "{whole_units} with {decimals} decimals");
        }
    }
    if let Ok(bytes) = door::hex_bytes(text, 64) {
        assert!(bytes.len() <= 64 && text.len() == 2 + 2 * bytes.len() && text.starts_with("0x"));
    }

    let Ok(money) = Money::new(text) else { return };
    assert_eq!(Money::new(&money.to_string()), Ok(money.clone()), "printed money reads as itself");
    let number = text.trim().trim_start_matches('$');
    let number = number.split_once(' ').map_or(number, |(number, _)| number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    match (money.atomic(decimals), shift(whole, fraction, decimals)) {
        (Ok(amount), Some(expected)) => assert_eq!(amount.to_string(), expected),
        (Err(MoneyError::TooPrecise { .. }), None) => {}
        (Err(MoneyError::OutOfRange), expected) => {
            assert!(decimals > 77 || expected.is_some_and(|text| !canonical(&text, MAX_U256)));
        }
        (found, expected) => panic!("{text:?} with {decimals} decimals: {found:?}, expected {expected:?}"),
    }
});
