//! The offline floor of a verification, as a process whose processor time can be read like a facilitator's.
//!
//! A request's JSON becomes a payment bound to its offer, and the payer's key is recovered from the EIP-712 digest,
//! with the token's domain at hand. No network, no HTTP, no chain: a facilitator can't do less.
//!
//! Input, by lines: how many requests, the requests' bodies; then each line is a number of verifications to do, and
//! answered by `done` when it is over.

use std::io::{self, BufRead as _, Write as _};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy_primitives::{Address, address};
use tollway_evm::exact::{Authorization, Domain};
use tollway_protocol::bind::Presented;
use tollway_protocol::door::UnixTime;
use tollway_protocol::json;
use tollway_protocol::wire::PaymentRequest;

// As the facilitator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const USDC: Address = address!("0x036CbD53842c5426634e7929541eC2318f3dCF7e");

fn verified(body: &[u8], domain: Domain, now: UnixTime) -> bool {
    let Ok(request) = json::decode::<PaymentRequest>(body, 65_536) else { return false };
    let Ok(presented) = Presented::new(request.payment_requirements, request.payment_payload) else {
        return false;
    };
    let Ok((authorization, effects)) = Authorization::effects(&presented) else { return false };
    let Ok(_verified) = presented.bind(effects).and_then(|bound| bound.at(now)) else { return false };
    let digest = Authorization::digest(&authorization.transfer, domain);
    authorization.signature.recover(&digest) == Some(authorization.transfer.from)
}

fn main() -> io::Result<()> {
    let mut lines = io::stdin().lock().lines();
    let mut next = || lines.next().transpose();
    let number = |line: &str| line.trim().parse::<usize>().map_err(io::Error::other);
    let count = next()?.map_or(Ok(0), |line| number(&line))?;
    let mut bodies = Vec::with_capacity(count);
    while bodies.len() < count {
        bodies.push(next()?.ok_or(io::ErrorKind::UnexpectedEof)?);
    }
    let domain = Domain::new("USDC", "2", 84_532, USDC);
    let now = UnixTime(SystemTime::now().duration_since(UNIX_EPOCH).map_err(io::Error::other)?.as_secs());
    let mut bodies = bodies.iter().cycle();
    while let Some(line) = next()? {
        for body in bodies.by_ref().take(number(&line)?) {
            if !verified(body.as_bytes(), domain, now) {
                return Err(io::Error::other("not a good payment"));
            }
        }
        println!("done");
        io::stdout().flush()?;
    }
    Ok(())
}
