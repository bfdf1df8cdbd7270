// `exact` on Solana: the published SDKs against our binary, on the embedded chain, each as payer, seller and
// facilitator. TOLLWAY_BIN says which binary.
import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { offered } from "./buyers.mjs";
import { js, py, serve, tollway } from "./processes.mjs";
import {
  assertPaidOnSolana,
  memosOf,
  ourFacilitator,
  SOLANA,
  SOLANA_V1,
  startSolana,
  theirFacilitator,
  theirs,
  weBuy,
} from "./svm.mjs";

const COUNT = 5;
const MEMO = "invoice 2026-11/4711 – Lisbon";

let chain;
const running = []; // what is stopped at the end
const buyers = {}; // by name
const facilitators = {}; // by name
const sellers = {}; // by "seller through facilitator"

const start = async (command, env) => {
  const started = await serve(command, env);
  running.push(started);
  return started;
};

before(async () => {
  chain = await startSolana();
  [facilitators.tollway, facilitators.npm, facilitators.PyPI] = await Promise.all([
    ourFacilitator(chain),
    theirFacilitator(chain, js("svm-facilitator")),
    theirFacilitator(chain, py("svm_facilitator")),
  ]);
  running.push(...Object.values(facilitators));
  Object.assign(buyers, {
    npm: theirs(chain, js("svm-client")),
    "npm v1": theirs(chain, js("svm-v1-client")),
    PyPI: theirs(chain, py("svm_client")),
    tollway: weBuy(chain),
  });
  const pairs = [
    ["npm", "tollway"],
    ["npm", "npm"],
    ["npm v1", "tollway"],
    ["npm v1", "npm"],
    ["npm v1", "PyPI"],
    ["PyPI", "tollway"],
    ["PyPI", "PyPI"],
    ["tollway", "tollway"],
    ["tollway", "npm"],
    ["tollway", "PyPI"],
  ];
  await Promise.all(
    pairs.map(async ([seller, through]) => {
      sellers[`${seller} through ${through}`] = await open(seller, facilitators[through].url);
    }),
  );
});
after(async () => {
  await Promise.all(running.map(({ stop }) => stop()));
  await chain?.stop();
});

const SERVERS = { npm: js("svm-server"), "npm v1": js("svm-v1-server"), PyPI: py("svm_server") };

/** A seller: its URL by path, and what it delivers. */
async function open(name, facilitator) {
  if (name === "tollway") {
    const { paid } = await start(tollway("dev", "--json", "--facilitator", facilitator));
    const { payTo } = await offered(paid[0], "exact", SOLANA);
    await chain.ask("tollway_mint", chain.usdc, payTo, 0);
    return { at: () => paid[0], body: /Lisbon/ };
  }
  const { address } = await chain.payee();
  const env = { FACILITATOR_URL: facilitator, PAY_TO: address, MEMO, RPC_URL: chain.url };
  const { url } = await start(SERVERS[name], env);
  return { at: (path) => url + path, body: /paid content/ };
}

/** Buys COUNT times, checks the chain, and returns the transactions. */
async function pays({ client, seller, through, version = 2, path = "/paid" }) {
  const { at, body } = sellers[`${seller} through ${through}`];
  const { payTo, price } = await (version === 1 ? offeredV1 : offeredV2)(at(path));
  const { key } = await chain.payer();
  const { feePayer } = facilitators[through];
  const pay = () => buyers[client](at(path), key, COUNT);
  return assertPaidOnSolana({ chain, payTo, feePayer, price, count: COUNT, body, pay });
}

async function offeredV2(url) {
  const { payTo, amount } = await offered(url, "exact", SOLANA);
  return { payTo, price: BigInt(amount) };
}

async function offeredV1(url) {
  const response = await fetch(url);
  assert.equal(response.status, 402);
  const { x402Version, accepts } = await response.json();
  assert.equal(x402Version, 1, "the 402's body is a v1 offer");
  const { payTo, maxAmountRequired } = accepts.find(
    ({ scheme, network }) => scheme === "exact" && network === SOLANA_V1,
  );
  return { payTo, price: BigInt(maxAmountRequired) };
}

const buyerOf = {
  npm: "an npm @x402/svm client",
  "npm v1": "an npm x402-fetch 1.2.0 client",
  PyPI: "a PyPI x402 client",
  tollway: "tollway pay",
};
const sellerOf = {
  npm: "an npm @x402/express server",
  "npm v1": "an npm x402-express 1.2.0 server",
  PyPI: "a PyPI x402 FastAPI server",
  tollway: "a tollway seller",
};
const facilitatorOf = {
  npm: "the npm @x402/svm facilitator",
  PyPI: "the PyPI x402 facilitator",
  tollway: "the tollway facilitator",
};
const title = ({ client, seller, through }) =>
  `${buyerOf[client]} buys of ${sellerOf[seller]} through ${facilitatorOf[through]} (${COUNT} of ${COUNT})`;
const facing = (client, seller, through) => ({ client, seller, through });

describe("exact on Solana", () => {
  for (const direction of [
    facing("npm", "npm", "tollway"),
    facing("npm", "tollway", "tollway"),
    facing("npm", "tollway", "npm"),
    facing("tollway", "npm", "npm"),
    facing("tollway", "npm", "tollway"),
    facing("tollway", "tollway", "npm"),
    facing("tollway", "tollway", "tollway"),
    facing("PyPI", "PyPI", "tollway"),
    facing("PyPI", "tollway", "tollway"),
    facing("PyPI", "tollway", "PyPI"),
    facing("tollway", "PyPI", "PyPI"),
    facing("tollway", "PyPI", "tollway"),
    facing("tollway", "tollway", "PyPI"),
    facing("PyPI", "npm", "tollway"),
    facing("npm", "PyPI", "tollway"),
  ]) {
    test(title(direction), () => pays(direction));
  }
});

describe("exact on Solana, version 1", () => {
  for (const direction of [
    facing("npm v1", "tollway", "tollway"),
    facing("npm v1", "tollway", "npm"),
    facing("npm v1", "npm v1", "tollway"),
    facing("npm", "npm v1", "tollway"),
    facing("PyPI", "npm v1", "tollway"),
    facing("tollway", "npm v1", "npm"),
    facing("tollway", "npm v1", "PyPI"),
    facing("tollway", "npm v1", "tollway"),
  ]) {
    test(title(direction), () => pays({ ...direction, version: 1 }));
  }
});

describe("an offer with extra.memo is paid by a transaction that carries it", () => {
  for (const direction of [
    facing("npm", "npm", "tollway"),
    facing("tollway", "npm", "npm"),
    facing("tollway", "npm", "tollway"),
    facing("PyPI", "PyPI", "tollway"),
    facing("tollway", "PyPI", "PyPI"),
  ]) {
    test(title(direction), async () => {
      for (const transaction of await pays({ ...direction, path: "/memo" })) {
        assert.deepEqual(memosOf(transaction), [MEMO]);
      }
    });
  }
});

describe("an offer with extra.recentBlockhash, which changes with every answer, is paid", () => {
  for (const direction of [
    facing("npm", "npm", "tollway"),
    facing("tollway", "npm", "npm"),
    facing("tollway", "npm", "tollway"),
  ]) {
    test(title(direction), () => pays({ ...direction, path: "/hinted" }));
  }
});
