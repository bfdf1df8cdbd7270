// What every direction must show: ten answers, ten receipts, and exactly ten prices on the chain.
import assert from "node:assert/strict";
import { generatePrivateKey, privateKeyToAccount } from "viem/accounts";

export const COUNT = 10;
export const PRICE = "$0.01";
export const PRICE_ATOMIC = 10_000n;

/** A key nobody has used, so that its balance is only what this test did. */
export const freshKey = () => generatePrivateKey();
export const addressOf = (key) => privateKeyToAccount(key).address;

/** A new buyer with a hundred dollars, or a hundred of another token. */
export async function fundedBuyer(chain, token) {
  const key = freshKey();
  await chain.mint(addressOf(key), 100_000_000n, token);
  return key;
}

/** A new facilitator account with gas. */
export async function fundedFacilitator(chain) {
  const key = freshKey();
  await chain.fund(addressOf(key));
  return key;
}

/**
 * Runs `pay`, which returns `count` lines {status, body, settlement}, and checks them against the chain: `payTo` grew
 * by `price` for each, in `token`.
 */
export async function assertPaid({ chain, payTo, price = PRICE_ATOMIC, count = COUNT, token, body, pay }) {
  const before = await chain.usdcBalance(payTo, token);
  const lines = await pay();
  const after = await chain.usdcBalance(payTo, token);

  assert.equal(lines.length, count, `${lines.length} payments were reported, not ${count}`);
  const seen = new Set();
  for (const line of lines) {
    const { settlement } = line;
    assertServed(line, body);
    assert.match(settlement.transaction, /^0x[0-9a-f]{64}$/i);
    const receipt = await chain.reader.getTransactionReceipt({ hash: settlement.transaction });
    assert.equal(receipt.status, "success");
    seen.add(settlement.transaction);
  }
  assert.equal(seen.size, count, "every payment has its own transaction");
  assert.equal(after - before, price * BigInt(count), "payTo grew by exactly the prices");
}

/** The content came, with a receipt that says it is paid. */
export function assertServed({ status, body: got, settlement }, body) {
  assert.equal(status, 200, `answered ${status}: ${got}`);
  assert.match(got, body);
  assert.equal(settlement?.success, true, `settlement: ${JSON.stringify(settlement)}`);
}
