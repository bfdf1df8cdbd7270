// Proves the harness: the published SDKs against each other, without our binary.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { hashDomain } from "viem";
import { PERMIT2, USDC, startChain } from "./chain.mjs";
import { COUNT, PRICE, addressOf, assertPaid, freshKey, fundedBuyer, fundedFacilitator } from "./payments.mjs";
import { js, pay, py, serve } from "./processes.mjs";

let chain;
before(async () => (chain = await startChain()));
after(() => chain?.stop());

test("the chain carries the originals: USDC's and Permit2's domains are Base Sepolia's", async () => {
  const field = (name, type) => ({ name, type });
  const domainType = [
    field("name", "string"),
    field("version", "string"),
    field("chainId", "uint256"),
    field("verifyingContract", "address"),
  ];
  const separator = (address) =>
    chain.reader.readContract({
      address,
      abi: [{ type: "function", name: "DOMAIN_SEPARATOR", inputs: [], outputs: [field("", "bytes32")], stateMutability: "view" }],
      functionName: "DOMAIN_SEPARATOR",
    });
  const usdc = { name: "USDC", version: "2", chainId: 84532n, verifyingContract: USDC };
  const permit2 = { name: "Permit2", chainId: 84532n, verifyingContract: PERMIT2 };
  assert.equal(await separator(USDC), hashDomain({ domain: usdc, types: { EIP712Domain: domainType } }));
  assert.equal(
    await separator(PERMIT2),
    hashDomain({ domain: permit2, types: { EIP712Domain: domainType.filter(({ name }) => name !== "version") } }),
  );
});

const peers = {
  "npm @x402/fetch": js("client"),
  "npm @x402/express": js("server"),
  "npm @x402/core facilitator": js("facilitator"),
  "PyPI x402 httpx": py("client"),
  "PyPI x402 FastAPI": py("server"),
  "PyPI x402 facilitator": py("facilitator"),
  "npm x402-fetch (v1)": js("v1-client"),
  "npm x402-express (v1)": js("v1-server"),
};

for (const [buyer, seller, facilitator] of [
  ["npm @x402/fetch", "npm @x402/express", "npm @x402/core facilitator"],
  ["PyPI x402 httpx", "PyPI x402 FastAPI", "PyPI x402 facilitator"],
  ["npm @x402/fetch", "PyPI x402 FastAPI", "npm @x402/core facilitator"],
  ["PyPI x402 httpx", "npm @x402/express", "PyPI x402 facilitator"],
  ["npm x402-fetch (v1)", "npm x402-express (v1)", "npm @x402/core facilitator"],
  ["npm x402-fetch (v1)", "npm x402-express (v1)", "PyPI x402 facilitator"],
  ["PyPI x402 httpx", "npm x402-express (v1)", "PyPI x402 facilitator"],
]) {
  test(`${buyer} pays ${seller} through ${facilitator} (${COUNT} of ${COUNT})`, async (t) => {
    const payTo = addressOf(freshKey());
    const [buyerKey, facilitatorKey] = [await fundedBuyer(chain), await fundedFacilitator(chain)];
    const running = await serve(peers[facilitator], { RPC_URL: chain.url, PRIVATE_KEY: facilitatorKey });
    t.after(running.stop);
    const shop = await serve(peers[seller], { FACILITATOR_URL: running.url, PAY_TO: payTo, PRICE });
    t.after(shop.stop);
    await assertPaid({
      chain,
      payTo,
      body: /paid content/,
      pay: () => pay(peers[buyer], { URL: `${shop.url}/paid`, PRIVATE_KEY: buyerKey, COUNT: `${COUNT}` }),
    });
  });
}
