//! `bind` against an oracle on indices: every field is chosen from a small table whose entries are
//! known to be equal or not, so the verdict must be the equality of the choices, and nothing else.
#![no_main]

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use tollway_protocol::bind::{Effects, MIN_REMAINING_SECONDS, Move, PaymentKey, Presented, Window};
use tollway_protocol::door::{Address, Amount, UnixTime};
use tollway_protocol::json::Object;
use tollway_protocol::{Network, Offer, Payment, wire};

const SCHEMES: [&str; 3] = ["exact", "upto", "Exact"];
const CHAINS: [u64; 3] = [8453, 84532, 1];
/// Entries 2n and 2n+1 are two spellings of one address.
const ADDRESSES: [&str; 6] = [
    "0x036CbD53842c5426634e7929541eC2318f3dCF7e",
    "0x036cbd53842c5426634e7929541ec2318f3dcf7e",
    "0x209693Bc6afc0C5328bA36FaF03C514EF312287C",
    "0x209693bc6afc0c5328ba36faf03c514ef312287c",
    "0x0000000000000000000000000000000000000000",
    "0x0000000000000000000000000000000000000000",
];
const AMOUNTS: [&str; 4] = ["0", "10000", "10001", "100000"];

#[derive(Arbitrary, Debug, Clone, Copy)]
struct Terms {
    scheme: u8,
    chain: u8,
    amount: u8,
    asset: u8,
    pay_to: u8,
    timeout: u8,
    extra: u8,
}

#[derive(Arbitrary, Debug)]
struct Case {
    offer: Terms,
    accepted: Option<Terms>,
    scheme: u8,
    chain: u8,
    payer: u8,
    moves: Vec<(u8, u8, u8, u8)>,
    opens: i8,
    closes: i8,
    now: u64,
}

fn pick<T: Copy>(table: &[T], index: u8) -> T {
    table[usize::from(index) % table.len()]
}

fn same(index: u8, other: u8, len: usize) -> bool {
    usize::from(index) % len == usize::from(other) % len
}

fn same_address(index: u8, other: u8) -> bool {
    usize::from(index) % ADDRESSES.len() / 2 == usize::from(other) % ADDRESSES.len() / 2
}

/// Bits are members; the whole of `part`'s bits must be among `all`'s.
fn extra(bits: u8) -> Value {
    let mut map = serde_json::Map::new();
    for bit in 0..4u8 {
        if bits & 1 << bit != 0 {
            let nested = json!({ "value": bit, "deep": { "er": true } });
            map.insert(format!("k{bit}"), if bit == 3 { nested } else { json!(format!("v{bit}")) });
        }
    }
    Value::Object(map)
}

impl Terms {
    fn offer(self) -> Offer {
        Offer {
            scheme: pick(&SCHEMES, self.scheme).to_owned(),
            network: Network::eip155(pick(&CHAINS, self.chain)),
            amount: Amount::atomic(pick(&AMOUNTS, self.amount)).expect("the table's"),
            asset: pick(&ADDRESSES, self.asset).to_owned(),
            pay_to: pick(&ADDRESSES, self.pay_to).to_owned(),
            max_timeout_seconds: u64::from(self.timeout % 3),
            extra: serde_json::from_value(extra(self.extra)).expect("an object"),
            unknown: Object::new(),
        }
    }

    fn accepted_by(self, other: Self) -> bool {
        same(self.scheme, other.scheme, 3)
            && same(self.chain, other.chain, 3)
            && same(self.amount, other.amount, 4)
            && same_address(self.asset, other.asset)
            && same_address(self.pay_to, other.pay_to)
            && self.timeout % 3 == other.timeout % 3
            && (self.extra & 15) & !(other.extra & 15) == 0
    }
}

fuzz_target!(|case: Case| {
    let offer = case.offer.offer();
    let accepted = case.accepted.unwrap_or(case.offer);
    let payment = Payment {
        x402_version: wire::Version,
        resource: None,
        accepted: accepted.offer(),
        payload: Object::new(),
        extensions: Object::new(),
        unknown: Object::new(),
    };
    let presented = Presented::new(offer, payment);
    assert_eq!(presented.is_ok(), case.offer.accepted_by(accepted));
    let Ok(presented) = presented else { return };

    let network = Network::eip155(pick(&CHAINS, case.chain));
    let address = |index| Address::on(&network, pick(&ADDRESSES, index)).expect("the table's");
    let opens = UnixTime(case.now.saturating_add_signed(i64::from(case.opens)));
    let closes = UnixTime(case.now.saturating_add_signed(i64::from(case.closes)));
    let effects = Effects {
        scheme: pick(&SCHEMES, case.scheme).to_owned(),
        network: network.clone(),
        payer: address(case.payer),
        moves: case
            .moves
            .iter()
            .map(|&(asset, from, to, amount)| Move {
                asset: address(asset),
                from: address(from),
                to: address(to),
                amount: Amount::atomic(pick(&AMOUNTS, amount)).expect("the table's"),
            })
            .collect(),
        window: Window { opens, closes },
        key: PaymentKey::new(&network, &["key"]),
    };
    let good = same(case.scheme, case.offer.scheme, 3)
        && same(case.chain, case.offer.chain, 3)
        && matches!(case.moves.as_slice(), [(asset, from, to, amount)]
            if same_address(*asset, case.offer.asset)
                && same_address(*from, case.payer)
                && same_address(*to, case.offer.pay_to)
                && same(*amount, case.offer.amount, 4));
    let bound = presented.bind(effects);
    assert_eq!(bound.is_ok(), good);
    let Ok(bound) = bound else { return };

    let in_time = opens.0 <= case.now && closes.0 >= case.now.saturating_add(MIN_REMAINING_SECONDS);
    assert_eq!(bound.at(UnixTime(case.now)).is_ok(), in_time);
});
