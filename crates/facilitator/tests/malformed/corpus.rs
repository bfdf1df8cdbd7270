//! The generators: bytes, JSON, numbers, addresses, networks, signatures, versions, headers, sizes.

use http::{HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use crate::common::{v1, v2};

/// xorshift64*.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        usize::try_from(high).unwrap() % n
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap()
    }
}

/// Every member of `value`, as pointers.
fn members(value: &Value, at: &str, out: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, inner) in map {
            let path = format!("{at}/{key}");
            members(inner, &path, out);
            out.push(path);
        }
    }
}

fn odd(random: &mut Random) -> Value {
    let long = "9".repeat(random.below(3000));
    let texts = [
        "",
        "0",
        "-1",
        "+1",
        " 1",
        "01",
        "1_000",
        "1e3",
        "0x1",
        "1.0",
        "NaN",
        "١٢٣",
        "１",
        "10000\n",
        "\u{0}",
        "\u{feff}10000",
        "115792089237316195423570985008687907853269984665640564039457584007913129639935",
        "115792089237316195423570985008687907853269984665640564039457584007913129639936",
        "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616",
        "0x",
        "0X00",
        "0xzz",
        "0x0000000000000000000000000000000000000000",
        "0x00000000000000000000000000000000000000",
        "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
        "0x000000000000000000000000000000000000000000aa",
        "XE00",
        "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
        "eip155:",
        "eip155:01",
        "eip155:0",
        "eip155:8453\n",
        "EIP155:8453",
        "base",
        "solana",
        "a:b",
        "eip155:123456789012345678901234567890123",
        "eip155:18446744073709551616",
        "exact",
        "upto",
        "EXACT",
        "</script>",
        "\u{202e}",
        "../..",
        "${jndi:x}",
    ];
    match random.below(14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!([]),
        3 => json!({}),
        4 => json!(-1),
        5 => json!(60.5),
        6 => json!(u64::MAX),
        7 => json!(long),
        8 => json!(format!("0x{}", "ab".repeat(random.below(2000)))),
        9 => json!([[[[{"a": [null]}]]]]),
        _ => json!(random.of(&texts)),
    }
}

fn whole(random: &mut Random) -> Value {
    if random.below(3) == 0 { v1("") } else { v2("") }
}

fn body(random: &mut Random) -> Vec<u8> {
    let mut document = whole(random);
    let mut paths = Vec::new();
    members(&document, "", &mut paths);
    match random.below(20) {
        0 => {
            let text = document.to_string();
            text.as_bytes()[..random.below(text.len())].to_vec()
        }
        1 => {
            let mut bytes = document.to_string().into_bytes();
            for _ in 0..=random.below(8) {
                let at = random.below(bytes.len());
                bytes[at] = random.byte();
            }
            bytes
        }
        2 => (0..random.below(2000)).map(|_| random.byte()).collect(),
        3 => {
            let depth = *random.of(&[10, 31, 32, 33, 200, 60_000]);
            let (open, close) = *random.of(&[("[", "]"), ("{\"x402Version\":", "}")]);
            let depth = depth.min(60_000 / open.len());
            format!("{}1{}", open.repeat(depth), close.repeat(depth.min(1000))).into_bytes()
        }
        4 => {
            let roots = [
                "",
                " ",
                "null",
                "true",
                "0",
                "\"x\"",
                "[]",
                "{}",
                "{}{}",
                "1e999",
                "-0",
                "NaN",
                "{\"x402Version\":1e999}",
                "{\"x402Version\":99999999999999999999999}",
            ];
            random.of(&roots).as_bytes().to_vec()
        }
        5 => vec![*random.of(b" {[\"0a\0"); *random.of(&[65_535usize, 65_536, 65_537, 200_000, 1_000_000])],
        6 => {
            let text = document.to_string();
            let mut bytes = random
                .of(&[&b"\xef\xbb\xbf"[..], b"\xff\xfe", b"\xc0\xaf", b"\0", b"\xed\xa0\x80", b"\r\n"])
                .to_vec();
            bytes.extend(text.into_bytes());
            bytes
        }
        7 => document.to_string().encode_utf16().flat_map(u16::to_le_bytes).collect(),
        8 => {
            let text = document.to_string();
            let twice =
                random.of(&["\"x402Version\":1,", "\"paymentPayload\":{},", "\"paymentRequirements\":null,"]);
            text.replacen('{', &format!("{{{twice}"), 1 + random.below(3)).into_bytes()
        }
        9 => {
            document["x402Version"] = random
                .of(&[
                    json!(0),
                    json!(1),
                    json!(2),
                    json!(3),
                    json!("2"),
                    json!(2.0),
                    json!(-2),
                    json!([2]),
                    Value::Null,
                ])
                .clone();
            document.to_string().into_bytes()
        }
        10 => {
            let path = random.of(&paths);
            let (parent, key) = path.rsplit_once('/').unwrap();
            document.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key);
            document.to_string().into_bytes()
        }
        11 => document.to_string().replace("\\u", "\\ud800").replace('a', "\\ud800").into_bytes(),
        _ => {
            for _ in 0..=random.below(3) {
                let (path, value) = (random.of(&paths).clone(), odd(random));
                if let Some(place) = document.pointer_mut(&path) {
                    *place = value;
                }
            }
            document.to_string().into_bytes()
        }
    }
}

pub(crate) fn request(random: &mut Random) -> (&'static str, Method, Vec<u8>) {
    let body = body(random);
    match random.below(40) {
        0 => (
            *random.of(&["/", "/nothing", "/verify/", "//", "/settle/%00", "/supported?x=1"]),
            Method::POST,
            body,
        ),
        1 => {
            ("/settle", random.of(&[Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS]).clone(), body)
        }
        n if n % 2 == 0 => ("/verify", Method::POST, body),
        _ => ("/settle", Method::POST, body),
    }
}

pub(crate) fn headers(random: &mut Random) -> Vec<(HeaderName, HeaderValue)> {
    let names = [
        "content-type",
        "x-request-id",
        "accept",
        "payment-signature",
        "x-payment",
        "content-encoding",
        "expect",
        "traceparent",
    ];
    let count = *random.of(&[0, 1, 2, 5, 90]);
    let mut out = Vec::new();
    for _ in 0..count {
        let value: Vec<u8> = (0..random.below(40)).map(|_| random.byte()).collect();
        let value = HeaderValue::from_bytes(&value).unwrap_or(HeaderValue::from_static("gzip, deflate"));
        out.push((HeaderName::from_static(names[random.below(names.len())]), value));
    }
    out
}
