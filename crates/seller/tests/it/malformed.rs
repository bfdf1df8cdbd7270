use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use serde_json::{Value, json};
use tollway_protocol::{Offer, header, v1};

use crate::common::*;

fn with(headers: &[(&str, Vec<u8>)]) -> Request<Body> {
    let mut request = get("/weather");
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
        if let Ok(value) = HeaderValue::from_bytes(value) {
            request.headers_mut().append(name, value);
        }
    }
    request
}

#[tokio::test]
async fn rs20_a_payment_that_cannot_be_read_is_400_with_a_reason() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    let base64 = |text: &str| STANDARD.encode(text).into_bytes();
    let long = "a".repeat(16 * 1024 + 1).into_bytes();
    for value in
        [b"".to_vec(), b"%%%".to_vec(), b"a,b".to_vec(), base64("{"), base64("[]"), base64("{}"), long]
    {
        for name in [header::PAYMENT_SIGNATURE, header::X_PAYMENT] {
            let got = client.send(with(&[(name, value.clone())])).await;
            assert_eq!(got.status, StatusCode::BAD_REQUEST, "{name}: {value:?}");
            let json = got.json();
            assert_eq!(json["code"], "invalid_payload");
            for member in ["error", "message", "help", "id"] {
                assert!(json[member].is_string(), "{member}");
            }
            assert_eq!(got.headers["cache-control"], "no-store");
        }
    }
    let other = client.send(with(&[(header::PAYMENT_SIGNATURE, base64("{\"x402Version\":3}"))])).await;
    assert_eq!(
        (other.status, &other.json()["code"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_x402_version"))
    );
}

#[tokio::test]
async fn rs20_two_payments_are_400_and_version_1_rescues_nothing() {
    let shop = Shop::open().await;
    let client = shop.selling(|| async { "sunny" });
    let good = payment(&client.offer("/weather").await, "0x01");
    let v2 = header::encode(&good).into_bytes();
    let v1 = header::encode(&v1::Payment::of(&good).unwrap()).into_bytes();
    for pair in [
        [(header::PAYMENT_SIGNATURE, v2.clone()), (header::PAYMENT_SIGNATURE, v2.clone())],
        [(header::PAYMENT_SIGNATURE, v2.clone()), (header::X_PAYMENT, v1.clone())],
        [(header::PAYMENT_SIGNATURE, b"junk".to_vec()), (header::X_PAYMENT, v1.clone())],
        [(header::X_PAYMENT, v1.clone()), (header::X_PAYMENT, v1.clone())],
    ] {
        assert_eq!(client.send(with(&pair)).await.status, StatusCode::BAD_REQUEST);
    }
    let swapped = client.send(with(&[(header::PAYMENT_SIGNATURE, v1)])).await;
    assert_eq!(swapped.json()["code"], "invalid_x402_version");
    assert_eq!(shop.settles(), 0);
}

/// SplitMix64: small, seeded, the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }
    fn of<T: Clone>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())].clone()
    }
}

/// Values that some field of a payment must not have (threats 4.4).
fn bad_values() -> Vec<Value> {
    let mut values: Vec<Value> = [
        "",
        " 10000 ",
        "+10000",
        "10_000",
        "010000",
        "-1",
        "10000\n",
        "10000.0",
        "1e4",
        "0x2710",
        "\u{ff11}\u{ff10}",
        "\u{0}",
        "\u{feff}10000",
        "\u{202e}0x",
        "0x",
        "0x0",
        "0xzz",
        "NaN",
        "eip155:84532\n",
        "base-sepolia",
        "eip155:084532",
        "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
        "eip155:*",
        "ICAP",
        "https://evil.example/",
        "115792089237316195423570985008687907853269984665640564039457584007913129639935",
        "115792089237316195423570985008687907853269984665640564039457584007913129639936",
    ]
    .iter()
    .map(|text| json!(text))
    .collect();
    values.extend(
        ["9".repeat(78), "x".repeat(4000), format!("0x{}", "0".repeat(39)), format!("0x{}", "0".repeat(42))]
            .map(Value::from),
    );
    values.extend([
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(60.5),
        json!(1e300),
        json!(u64::MAX),
        json!([]),
        json!({}),
        json!({"a": [1]}),
    ]);
    values
}

/// Every path to a leaf or branch of `value`.
fn paths(value: &Value, at: &str, found: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, inner) in map {
            let path = format!("{at}/{key}");
            paths(inner, &path, found);
            found.push(path);
        }
    }
}

fn mutated(good: &Value, dice: &mut Dice, values: &[Value]) -> Vec<u8> {
    let mut found = Vec::new();
    paths(good, "", &mut found);
    // `resource`, `extensions` and a nonce may be anything without harm; those aren't malformed.
    found.retain(|path| !path.ends_with("/nonce"));
    let path = dice.of(&found);
    let mut bad = good.clone();
    let (parent, key) = path.rsplit_once('/').unwrap();
    let map = bad.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    let original = map[key].clone();
    match dice.below(4) {
        0 => drop(map.remove(key)),
        1 => {
            // Twice the same key.
            let text = serde_json::to_string(good).unwrap();
            let member = format!("\"{key}\":");
            return text
                .replacen(&member, &format!("\"{key}\":{},\"{key}\":", dice.of(values)), 1)
                .into_bytes();
        }
        _ => {
            let value = dice.of(values);
            if value == original {
                map.remove(key);
            } else {
                map.insert(key.to_owned(), value);
            }
        }
    }
    serde_json::to_vec(&bad).unwrap()
}

fn malformed(good: &[u8], tree: &Value, dice: &mut Dice, values: &[Value]) -> Vec<u8> {
    let mut json = good.to_vec();
    match dice.below(12) {
        0 => json.truncate(dice.below(good.len())),
        1 => {
            let at = dice.below(json.len());
            json.insert(at, dice.of(&[0u8, 0xff, 0xc0, b'{', b'"', b'\\', b',', b'\n']));
        }
        2 => json = dice.of(values).to_string().into_bytes(),
        3 => json = [b"\xef\xbb\xbf", good].concat(),
        4 => json = good.iter().flat_map(|b| [*b, 0]).collect(),
        5 => json = vec![b'['; dice.of(&[10usize, 33, 200, 9000])],
        6 => json = (0..dice.below(600)).map(|_| dice.next().to_le_bytes()[0]).collect(),
        7 => json = b"{\"x402Version\":2,\"accepted\":\"\\ud800\"}".to_vec(),
        _ => json = mutated(tree, dice, values),
    }
    match dice.below(9) {
        0 => json,
        1 => STANDARD.encode(STANDARD.encode(&json)).into_bytes(),
        2 => {
            let mut text = STANDARD.encode(&json).into_bytes();
            let at = dice.below(text.len() + 1);
            text.insert(at, dice.of(&[b' ', b'\t', b'=', b'!', b',', b'-', 0x80, 0xff]));
            text
        }
        3 => STANDARD_NO_PAD.encode(&json).into_bytes(),
        4 => URL_SAFE.encode(&json).into_bytes(),
        5 => "A".repeat(dice.of(&[1usize, 2, 3, 5, 16_383, 16_385, 65_536])).into_bytes(),
        _ => STANDARD.encode(&json).into_bytes(),
    }
}

/// Resident memory of this process, in pages of 4 KiB.
fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    tollway_protocol::door::decimal_u64(statm.split(' ').nth(1).unwrap()).unwrap() * 4
}

#[tokio::test]
async fn i15_rs20_rs21_ten_thousand_malformed_payments_never_break_the_gate_or_get_through() {
    let shop = Shop::open().await;
    let ran = Arc::new(AtomicU64::new(0));
    let client = shop.selling(counting(&ran));
    let offer: Offer = client.offer("/weather").await;
    let good = payment(&offer, "0x01");
    let v2 = serde_json::to_vec(&good).unwrap();
    let v1 = serde_json::to_vec(&v1::Payment::of(&good).unwrap()).unwrap();
    let trees: [Value; 2] = [serde_json::from_slice(&v2).unwrap(), serde_json::from_slice(&v1).unwrap()];
    let (values, mut dice) = (bad_values(), Dice(0x402));
    let (mut refused, mut challenged, mut warm) = (0, 0, 0);
    for round in 0..10_000 {
        if round == 3_000 {
            warm = resident_kib();
        }
        let old = dice.below(4) == 0;
        let (name, json, tree) = if old {
            (header::X_PAYMENT, &v1, &trees[1])
        } else {
            (header::PAYMENT_SIGNATURE, &v2, &trees[0])
        };
        let value = malformed(json, tree, &mut dice, &values);
        let mut headers = vec![(name, value.clone())];
        match dice.below(40) {
            0 => headers.push((header::PAYMENT_SIGNATURE, value.clone())),
            1 => headers.push((header::X_PAYMENT, value.clone())),
            2 => headers.extend((0..1000).map(|_| (name, value.clone()))),
            _ => {}
        }
        let got = client.send(with(&headers)).await;
        match got.status.as_u16() {
            400 => refused += 1,
            402 => challenged += 1,
            // Altered, but not in what makes it a payment: say, an unknown member or `resource`. It is
            // one payment, and spent after that.
            200 | 409 => {}
            other => panic!("round {round}: {other}: {:?}", String::from_utf8_lossy(&value)),
        }
        if got.status != StatusCode::OK {
            assert!(!got.text().contains("sunny"), "round {round}");
        }
    }
    let grown = resident_kib().saturating_sub(warm);
    assert!(grown < 16 * 1024, "{grown} KiB more than after the first 3,000");
    assert!(refused > 5_000 && challenged > 250, "{refused} refused, {challenged} challenged");
    assert!(ran.load(SeqCst) <= 1 && shop.charged() <= 1);
}
