// The published SDKs against our binary, on a real anvil. TOLLWAY_BIN says which binary.
import { after, before, test } from "node:test";
import assert from "node:assert/strict";
import { NETWORK, startChain } from "./chain.mjs";
import { COUNT, PRICE, addressOf, assertPaid, freshKey, fundedBuyer, fundedFacilitator } from "./payments.mjs";
import { offered, ours as tollwayPay, theirs } from "./buyers.mjs";
import { js, py, serve, tollway } from "./processes.mjs";

let chain;
let ours; // one `tollway dev`: its seller settles through its facilitator
before(async () => {
  tollway();
  chain = await startChain();
  ours = await serve(tollway("dev", "--json", ...onChain()));
});
after(async () => {
  await ours?.stop();
  chain?.stop();
});

const onChain = () => ["--rpc", `${NETWORK}=${chain.url}`];
const npm = { name: "npm @x402", client: js("client"), server: js("server"), facilitator: js("facilitator") };
const pypi = { name: "PyPI x402", client: py("client"), server: py("server"), facilitator: py("facilitator") };

test(`npm @x402/fetch client pays a tollway seller through the tollway facilitator (${COUNT} of ${COUNT})`, () =>
  aPeerBuysFromUs(npm.client));

test(`tollway pay buys from an npm @x402/express server through the tollway facilitator (${COUNT} of ${COUNT})`, (t) =>
  weBuyFromAPeer(t, npm.server));

test(`a tollway seller settles tollway pay through a facilitator built on npm @x402/core (${COUNT} of ${COUNT})`, (t) =>
  weSettleThroughAPeer(t, npm.facilitator, weBuy));

test(`a tollway seller settles an npm @x402/fetch client through a facilitator built on npm @x402/core (${COUNT} of ${COUNT})`, (t) =>
  weSettleThroughAPeer(t, npm.facilitator, theyBuy(npm.client)));

test(`PyPI x402 httpx client pays a tollway seller through the tollway facilitator (${COUNT} of ${COUNT})`, () =>
  aPeerBuysFromUs(pypi.client));

test(`tollway pay buys from a PyPI x402 FastAPI server through the tollway facilitator (${COUNT} of ${COUNT})`, (t) =>
  weBuyFromAPeer(t, pypi.server));

test(`a tollway seller settles tollway pay through a facilitator built on PyPI x402 (${COUNT} of ${COUNT})`, (t) =>
  weSettleThroughAPeer(t, pypi.facilitator, weBuy));

test(`a tollway seller settles a PyPI x402 httpx client through a facilitator built on PyPI x402 (${COUNT} of ${COUNT})`, (t) =>
  weSettleThroughAPeer(t, pypi.facilitator, theyBuy(pypi.client)));

test(`v1: npm x402-fetch 1.2.0 client pays a tollway seller through the tollway facilitator (${COUNT} of ${COUNT})`, () =>
  aPeerBuysFromUs(js("v1-client"), offerV1));

test(`v1: tollway pay buys from an npm x402-express 1.2.0 server through the tollway facilitator (${COUNT} of ${COUNT})`, (t) =>
  weBuyFromAPeer(t, js("v1-server")));

async function aPeerBuysFromUs(client, offer = offerV2) {
  await assertSold(ours.paid[0], theyBuy(client), offer);
}

async function weBuyFromAPeer(t, server) {
  const payTo = addressOf(freshKey());
  const shop = await serve(server, { FACILITATOR_URL: ours.facilitator, PAY_TO: payTo, PRICE });
  t.after(shop.stop);
  const key = await fundedBuyer(chain);
  await assertPaid({ chain, payTo, body: /paid content/, pay: () => weBuy(`${shop.url}/paid`, key) });
}

async function weSettleThroughAPeer(t, facilitator, buy) {
  const running = await serve(facilitator, { RPC_URL: chain.url, PRIVATE_KEY: await fundedFacilitator(chain) });
  t.after(running.stop);
  const seller = await serve(tollway("dev", "--json", ...onChain(), "--facilitator", running.url));
  t.after(seller.stop);
  await assertSold(seller.paid[0], buy, offerV2);
}

/** Buys `url` of a tollway seller; whom it pays and how much is read from its own offer. */
async function assertSold(url, buy, offer) {
  const { payTo, price } = await offer(url);
  const key = await fundedBuyer(chain);
  await assertPaid({ chain, payTo, price, body: /\S/, pay: () => buy(url, key) });
}

async function offerV2(url) {
  const { payTo, amount } = await offered(url);
  return { payTo, price: BigInt(amount) };
}

async function offerV1(url) {
  const response = await fetch(url);
  assert.equal(response.status, 402);
  const { x402Version, accepts } = await response.json();
  assert.equal(x402Version, 1, "the 402's body is a v1 offer");
  const { payTo, maxAmountRequired } = accepts.find(
    ({ scheme, network }) => scheme === "exact" && network === "base-sepolia",
  );
  return { payTo, price: BigInt(maxAmountRequired) };
}

const theyBuy = (client) => (url, key) => theirs(client)(url, key, COUNT);
const weBuy = (url, key) => tollwayPay()(url, key, COUNT);
