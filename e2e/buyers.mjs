// Who buys: a peer's client, or `tollway pay`. Each buys `url` with `key` so many times and returns a line for each
// payment: {status, body, settlement}.
import assert from "node:assert/strict";
import { NETWORK } from "./chain.mjs";
import { jsonLines, pay, run, tollway } from "./processes.mjs";

/** A peer's client, a process for each purchase. */
export const theirs = (client) => (url, key, count) =>
  pay(client, { URL: url, PRIVATE_KEY: key, COUNT: `${count}` });

/** A peer's client that runs as a server. */
export const served = ({ url: client }) => async (url, key, count) => {
  const body = JSON.stringify({ url, key, count });
  const response = await fetch(client, { method: "POST", headers: { "content-type": "application/json" }, body });
  assert.equal(response.status, 200, await response.clone().text());
  return response.json();
};

const evmKey = (key) => ({ TOLLWAY_PRIVATE_KEY: key });

/** `tollway pay`: the body on stdout, the receipt among the JSON lines on stderr. */
export const ours = (options = [], keyed = evmKey) => async (url, key, count) => {
  const lines = [];
  for (let i = 0; i < count; i++) {
    const { code, stdout, stderr } = await run(tollway("pay", url, "--json", ...options), keyed(key));
    assert.equal(code, 0, `tollway pay exited with ${code}\n${stdout}\n${stderr}`);
    const settlement = jsonLines(stderr).map(receiptIn).find(Boolean);
    lines.push({ status: 200, body: stdout, settlement });
  }
  return lines;
};

/** The receipt in one JSON line, at whatever depth: the object that has both `success` and `transaction`. */
function receiptIn(value) {
  if (value === null || typeof value !== "object") return undefined;
  if ("success" in value && "transaction" in value) return value;
  return Object.values(value).map(receiptIn).find(Boolean);
}

/** What `url` asks for, by `scheme`: {payTo, amount}. */
export async function offered(url, scheme = "exact", network = NETWORK) {
  const response = await fetch(url);
  assert.equal(response.status, 402, `${url} answered ${response.status}`);
  const header = response.headers.get("PAYMENT-REQUIRED");
  assert.ok(header, "the 402 carries PAYMENT-REQUIRED");
  const { accepts } = JSON.parse(Buffer.from(header, "base64").toString());
  const offer = accepts.find((offer) => offer.scheme === scheme && offer.network === network);
  assert.ok(offer, `${url} has no offer of ${scheme}`);
  return offer;
}
