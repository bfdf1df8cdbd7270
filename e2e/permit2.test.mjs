// Payments through Permit2, by the schemes exact and upto, with and without gas sponsoring: the published SDKs against
// our binary, each as payer, seller and facilitator. TOLLWAY_BIN says which binary. (The third transfer method, erc7710,
// is in no published SDK.)
import { after, before, describe, test } from "node:test";
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { NETWORK, PLAIN_TOKEN, startChain } from "./chain.mjs";
import { addressOf, assertPaid, assertServed, freshKey, fundedBuyer, fundedFacilitator } from "./payments.mjs";
import { offered, ours, served } from "./buyers.mjs";
import { js, jsonLines, py, run, scratch, serve, tollway } from "./processes.mjs";

const COUNT = 2;
const PEERS = {
  npm: { client: js("client"), seller: js("permit2-server"), facilitator: js("facilitator") },
  PyPI: { client: py("client"), seller: py("permit2_server"), facilitator: py("facilitator") },
};
const TERMS = { PRICE: "10000", CEILING: "50000", CHARGE: "30000" };
const EXTENSIONS = ["eip2612GasSponsoring", "erc20ApprovalGasSponsoring"];

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
  tollway();
  chain = await startChain();
  const [own, npm, approving, pypi] = await Promise.all([
    ourFacilitator(),
    theirFacilitator(PEERS.npm.facilitator),
    theirFacilitator(PEERS.npm.facilitator, { EXTENSIONS: "erc20ApprovalGasSponsoring" }),
    theirFacilitator(PEERS.PyPI.facilitator),
  ]);
  Object.assign(facilitators, { tollway: own, npm, "npm approvals-only": approving, PyPI: pypi });
  const pairs = [
    ["npm", "tollway"],
    ["npm", "npm"],
    ["PyPI", "tollway"],
    ["PyPI", "PyPI"],
    ["tollway", "tollway"],
    ["tollway", "npm"],
    ["tollway", "npm approvals-only"],
    ["tollway", "PyPI"],
  ];
  const env = { RPC_URL: chain.url, SPENDS: PLAIN_TOKEN };
  await Promise.all([
    ...pairs.map(async ([seller, through]) => {
      sellers[`${seller} through ${through}`] = await open(seller, facilitators[through]);
    }),
    ...Object.entries(PEERS).map(async ([name, { client }]) => {
      buyers[name] = served(await start(client, env));
    }),
    // Without a node it signs for nothing but the payment.
    start(PEERS.npm.client).then((started) => (buyers["npm unsponsored"] = served(started))),
  ]);
  buyers.tollway = ours(["--rpc", `${NETWORK}=${chain.url}`, "--allow-unlimited-approval", "0.01"]);
});
after(async () => {
  await Promise.all(running.map(({ stop }) => stop()));
  chain?.stop();
});

async function ourFacilitator() {
  const config = join(scratch, "permit2.toml");
  const network = `[[network]]
id = "${NETWORK}"
rpc = "${chain.url}"
poll_interval_ms = 20
signer = { key_env = "FACILITATOR_KEY" }
[[network.assets]]
address = "${PLAIN_TOKEN}"
symbol = "PLAIN"
decimals = 6
`;
  writeFileSync(config, `listen = "127.0.0.1:0"\nledger = "${join(scratch, "permit2.db")}"\n${network}`);
  return start(tollway("facilitator", "--config", config), { FACILITATOR_KEY: await fundedFacilitator(chain) });
}

const theirFacilitator = async (command, env = {}) =>
  start(command, { RPC_URL: chain.url, PRIVATE_KEY: await fundedFacilitator(chain), ...env });

/** A seller: where it sells, by path and way of sponsoring; what it charges of upto's ceiling; what it delivers. */
async function open(name, { url: facilitator }) {
  if (name === "tollway") {
    const node = ["--rpc", `${NETWORK}=${chain.url}`];
    const { paid } = await start(tollway("dev", "--json", ...node, "--facilitator", facilitator));
    // What it declares is what its facilitator has, at one path.
    return { at: { exact: () => paid[2], upto: () => paid[3] }, charge: 30_000n, body: /Lisbon/ };
  }
  const payTo = addressOf(freshKey());
  const { url } = await start(PEERS[name].seller, {
    FACILITATOR_URL: facilitator,
    PAY_TO: payTo,
    PLAIN_TOKEN,
    ...TERMS,
  });
  const at = (path) => (way) => `${url}${path}${way}`;
  return {
    at: { exact: at("/permit2"), upto: at("/upto"), nothing: at("/nothing") },
    charge: BigInt(TERMS.CHARGE),
    body: /paid content/,
  };
}

/** Buys COUNT times of `seller` and checks the chain; returns the payer, and what an offer leaves. */
async function pays({ client, seller, through, scheme, way = "", token, prepare = () => {} }) {
  const { at, charge, body } = sellers[`${seller} through ${through}`];
  const url = at[scheme](way);
  const { payTo, amount } = await offered(url, scheme);
  const key = await fundedBuyer(chain, token);
  await prepare(key);
  const price = scheme === "upto" ? charge : BigInt(amount);
  assert.ok(price <= BigInt(amount));
  const pay = () => buyers[client](url, key, COUNT);
  await assertPaid({ chain, payTo, price, count: COUNT, token, body, pay });
  return { payer: addressOf(key), left: BigInt(amount) - price };
}

const allow = (key) => chain.allow(key);
const buyerOf = { npm: "the npm client", PyPI: "the PyPI client", tollway: "tollway pay" };
const sellerOf = { npm: "an npm server", PyPI: "a PyPI server", tollway: "a tollway seller" };
const title = ({ client, seller, through }) =>
  `${buyerOf[client]} buys of ${sellerOf[seller]} through the ${through} facilitator`;
const facing = (client, seller, through) => ({ client, seller, through });

// Both directions with npm, and with its server between; then the same with PyPI.
const DIRECTIONS = [
  facing("npm", "npm", "tollway"),
  facing("npm", "tollway", "tollway"),
  facing("npm", "tollway", "npm"),
  facing("tollway", "npm", "npm"),
  facing("tollway", "npm", "tollway"),
  facing("tollway", "tollway", "npm"),
  facing("PyPI", "PyPI", "tollway"),
  facing("PyPI", "tollway", "tollway"),
  facing("tollway", "PyPI", "PyPI"),
  facing("tollway", "tollway", "PyPI"),
];

for (const scheme of ["exact", "upto"]) {
  describe(`${scheme} by permit2`, () => {
    for (const direction of DIRECTIONS) {
      test(title(direction), () => pays({ ...direction, scheme, prepare: allow }));
    }
  });

  describe(`${scheme} by permit2 with eip2612GasSponsoring, of a payer without allowance and without gas`, () => {
    for (const direction of DIRECTIONS) {
      test(title(direction), async () => {
        const { payer, left } = await pays({ ...direction, scheme, way: "/permit" });
        assert.equal(await chain.allowance(payer), left, "a permit is for one payment's amount");
        assert.equal(await chain.reader.getBalance({ address: payer }), 0n);
      });
    }
  });

  describe(`${scheme} by permit2 with erc20ApprovalGasSponsoring, of a payer without allowance and without gas`, () => {
    const approved = async (direction, more) => {
      const { payer } = await pays({ ...direction, scheme, ...more });
      assert.ok((await chain.allowance(payer, more.token)) > 0n, "the approval was sent");
      assert.equal(await chain.reader.getTransactionCount({ address: payer }), 1, "once, by the payer's own account");
      return payer;
    };
    for (const direction of DIRECTIONS.filter(({ seller }) => seller !== "tollway")) {
      test(title(direction), () => approved(direction, { way: "/approval" }));
    }
    const alone = "npm approvals-only";
    for (const client of ["npm", "tollway"]) {
      const direction = facing(client, "tollway", alone);
      test(title(direction), () => approved(direction, {}));
    }
    for (const direction of [facing("npm", "npm", "tollway"), facing("PyPI", "PyPI", "tollway")]) {
      const plain = { way: "/plain", token: PLAIN_TOKEN };
      test(`a token without permits: ${title(direction)}`, () => approved(direction, plain));
    }
    const GAS = 10n ** 18n;
    const rich = (key) => chain.fund(addressOf(key), GAS);
    for (const direction of [facing("npm", "npm", "tollway"), facing("tollway", "npm", "npm")]) {
      test(`a payer with gas: ${title(direction)}`, async () => {
        const payer = await approved(direction, { way: "/approval", prepare: rich });
        assert.ok((await chain.reader.getBalance({ address: payer })) < GAS, "it paid for its approval itself");
      });
    }
  });
}

describe("upto that charges nothing needs no transaction", () => {
  for (const direction of DIRECTIONS.filter(({ seller }) => seller !== "tollway")) {
    const { client, seller, through } = direction;
    test(title(direction), async () => {
      const { at, body } = sellers[`${seller} through ${through}`];
      const url = at.nothing("");
      const { payTo } = await offered(url, "upto");
      const key = await fundedBuyer(chain);
      await allow(key);
      const earned = await chain.usdcBalance(payTo);
      const [line] = await buyers[client](url, key, 1);
      assertServed(line, body);
      assert.equal(line.settlement.transaction ?? "", "");
      assert.equal(line.settlement.amount, "0");
      assert.equal(await chain.usdcBalance(payTo), earned);
    });
  }
});

describe("a payer without allowance, unsponsored, is told permit2_allowance_required", () => {
  const refused = async (client, url, status) => {
    const key = await fundedBuyer(chain);
    const [line] = await buyers[client](url, key, 1);
    assert.equal(line.status, status, line.body);
    const { error } = JSON.parse(Buffer.from(line.challenge, "base64").toString());
    assert.match(error, /^permit2_allowance_required/);
    assert.equal(await chain.usdcBalance(addressOf(key)), 100_000_000n);
  };
  const at = (seller, scheme) => sellers[seller].at[scheme]("");
  for (const scheme of ["exact", "upto"]) {
    test(`${scheme}: an npm server answers 412 when the tollway facilitator refuses`, () =>
      refused("npm unsponsored", at("npm through tollway", scheme), 412));
    test(`${scheme}: a tollway seller answers 412 when the tollway facilitator refuses`, () =>
      refused("npm unsponsored", at("tollway through tollway", scheme), 412));
    test(`${scheme}: a tollway seller answers 412 when the npm facilitator refuses`, () =>
      refused("npm unsponsored", at("tollway through npm", scheme), 412));
    test(`${scheme}: tollway pay says so and points at --rpc when an npm server answers 412`, async () => {
      const key = await fundedBuyer(chain);
      const command = tollway("pay", at("npm through npm", scheme), "--json");
      const { code, stderr } = await run(command, { TOLLWAY_PRIVATE_KEY: key });
      assert.equal(code, 4, stderr);
      const [told] = jsonLines(stderr);
      assert.equal(told.code, "permit2_allowance_required");
      assert.match(told.help, /--rpc/);
    });
    test(`${scheme}: a PyPI server, which has no 412, passes on why the tollway facilitator refuses`, () =>
      refused("PyPI", at("PyPI through tollway", scheme), 402));
  }
});

test("the tollway facilitator tells whom upto binds to, and what it sponsors", async () => {
  const response = await fetch(`${facilitators.tollway.url}/supported`);
  const { kinds, extensions, signers } = await response.json();
  assert.deepEqual(extensions.toSorted(), EXTENSIONS);
  const upto = kinds.find(({ scheme, x402Version }) => scheme === "upto" && x402Version === 2);
  assert.equal(upto.network, NETWORK);
  const known = Object.values(signers).flat().map((address) => address.toLowerCase());
  assert.ok(known.includes(upto.extra.facilitatorAddress.toLowerCase()), JSON.stringify({ kinds, signers }));
});
