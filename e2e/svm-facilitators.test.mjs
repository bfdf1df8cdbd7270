// Our facilitator and npm's on Solana, asked directly: what npm's client and our payer make is verified and settled by
// the other, once; and a bad payment is refused by both for the same reason, but for what is listed.
// TOLLWAY_BIN says which binary.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { x402Client } from "@x402/core/client";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/client";
import { js, py } from "./processes.mjs";
import { draft } from "./svm-draft.mjs";
import { ourFacilitator, SOLANA, SOLANA_V1, startSolana, theirFacilitator, weBuy } from "./svm.mjs";

const PRICE = 10_000n;
const VERSIONS = [2, 1];
const RESOURCE = { url: "http://localhost/paid", description: "One paid answer", mimeType: "application/json" };

let chain;
const facilitators = {}; // by name
before(async () => {
  chain = await startSolana();
  [facilitators.tollway, facilitators.npm, facilitators.PyPI] = await Promise.all([
    ourFacilitator(chain),
    theirFacilitator(chain, js("svm-facilitator")),
    theirFacilitator(chain, py("svm_facilitator")),
  ]);
});
after(async () => {
  await Promise.all(Object.values(facilitators).map(({ stop }) => stop()));
  await chain?.stop();
});

/** What `payTo` asks for through `facilitator`, in the members of version 2. */
const offer = ({ payTo, facilitator, extra = {}, ...rest }) => ({
  scheme: "exact",
  network: SOLANA,
  asset: chain.usdc,
  amount: `${PRICE}`,
  payTo,
  maxTimeoutSeconds: 60,
  extra: { feePayer: facilitator.feePayer, ...extra },
  ...rest,
});

const MAINNET = "solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp";
const networkV1 = (network) => ({ [SOLANA]: SOLANA_V1, [MAINNET]: "solana" })[network];

/** An offer of version 2 as version 1 has it. */
function offerV1({ amount, network, ...same }) {
  const { url: resource, description, mimeType } = RESOURCE;
  return { ...same, network: networkV1(network), maxAmountRequired: amount, resource, description, mimeType };
}

/** What a facilitator is asked: `payload` for `offer`, where the payer accepted `accepted`. */
function asked(version, offer, payload, accepted = offer) {
  if (version === 1) {
    const { scheme, network } = offerV1(accepted);
    const paymentPayload = { x402Version: 1, scheme, network, payload };
    return { x402Version: 1, paymentPayload, paymentRequirements: offerV1(offer) };
  }
  const paymentPayload = { x402Version: 2, resource: RESOURCE, accepted, payload };
  return { x402Version: 2, paymentPayload, paymentRequirements: offer };
}

async function post(facilitator, step, body) {
  const response = await fetch(`${facilitator.url}/${step}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  const text = await response.text();
  assert.ok(response.headers.get("content-type")?.includes("json"), `${response.status}: ${text}`);
  return JSON.parse(text);
}

/** What npm's client makes of an offer. */
async function theyPay(version, offer, { signer }) {
  const options = { rpcUrl: chain.url };
  const client = new x402Client()
    .register(SOLANA, new ExactSvmScheme(signer, options))
    .registerV1(SOLANA_V1, new ExactSvmSchemeV1(signer, options));
  const accepts = version === 1 ? [offerV1(offer)] : [offer];
  const paymentPayload = await client.createPaymentPayload({ x402Version: version, resource: RESOURCE, accepts });
  return { x402Version: version, paymentPayload, paymentRequirements: accepts[0] };
}

/** What `tollway pay` makes of an offer: it buys of a seller here, that delivers and settles nothing. */
async function wePay(version, offer, { key }) {
  let paid;
  const seller = createServer((request, response) => {
    const header = request.headers[version === 1 ? "x-payment" : "payment-signature"];
    const accepts = version === 1 ? [{ ...offerV1(offer), resource: url }] : [offer];
    if (header === undefined) {
      const required = { x402Version: version, error: "Payment required", accepts };
      if (version === 2) {
        required.resource = { ...RESOURCE, url };
        response.setHeader("PAYMENT-REQUIRED", Buffer.from(JSON.stringify(required)).toString("base64"));
      }
      return response.writeHead(402, { "content-type": "application/json" }).end(JSON.stringify(required));
    }
    const paymentPayload = JSON.parse(Buffer.from(header, "base64").toString());
    paid = { x402Version: version, paymentPayload, paymentRequirements: accepts[0] };
    response.end("delivered");
  });
  await new Promise((listening) => seller.listen(0, "127.0.0.1", listening));
  const url = `http://127.0.0.1:${seller.address().port}/paid`;
  try {
    await weBuy(chain)(url, key, 1);
  } finally {
    seller.closeAllConnections();
    seller.close();
  }
  assert.ok(paid, "tollway pay has paid");
  return paid;
}

// PyPI's facilitator has it simulated before it looks among its own settlements, and the chain says no.
const AGAIN = { PyPI: "transaction_simulation_failed" };
const PAYERS = { "npm @x402/svm's client": theyPay, "tollway pay": wePay };
const DIRECTIONS = [
  ["npm @x402/svm's client", "tollway"],
  ["tollway pay", "npm"],
  ["tollway pay", "PyPI"],
  ["tollway pay", "tollway"],
];

for (const version of VERSIONS) {
  describe(`version ${version}, asked directly`, () => {
    for (const [payer, name] of DIRECTIONS) {
      test(`what ${payer} makes is verified and settled by the ${name} facilitator, once`, async () => {
        const facilitator = facilitators[name];
        const [from, { address: payTo }] = [await chain.payer(), await chain.payee()];
        const body = await PAYERS[payer](version, offer({ payTo, facilitator }), from);
        const verified = await post(facilitator, "verify", body);
        assert.deepEqual([verified.isValid, verified.payer], [true, from.address], verified.invalidReason);
        assert.equal(await chain.balance(payTo), 0n);

        const settled = await post(facilitator, "settle", body);
        assert.deepEqual([settled.success, settled.payer], [true, from.address], settled.errorReason);
        assert.equal(settled.network, version === 1 ? SOLANA_V1 : SOLANA);
        assert.equal((await chain.transaction(settled.transaction)).meta.err, null);
        assert.equal(await chain.balance(payTo), PRICE);

        const again = await post(facilitator, "settle", body);
        assert.equal(again.success, false);
        assert.equal(again.errorReason, AGAIN[name] ?? "duplicate_settlement");
        assert.equal(await chain.balance(payTo), PRICE);
      });
    }
  });
}

for (const [payer, name] of [DIRECTIONS[0], DIRECTIONS[1]]) {
  test(`PYUSD, a token of Token-2022's, that ${payer} pays is settled by the ${name} facilitator`, async () => {
    const [facilitator, asset] = [facilitators[name], chain.pyusd];
    const [from, { address: payTo }] = [await chain.payer(asset), await chain.payee(asset)];
    const body = await PAYERS[payer](2, offer({ payTo, facilitator, asset }), from);
    const settled = await post(facilitator, "settle", body);
    assert.equal(settled.success, true, settled.errorReason);
    assert.equal(await chain.balance(payTo, asset), PRICE);
  });
}

test("of eight settlements of one payment at once one succeeds, and the others are duplicates to both", async () => {
  for (const name of ["tollway", "npm"]) {
    const facilitator = facilitators[name];
    const { address: payTo } = await chain.payee();
    const body = await theyPay(2, offer({ payTo, facilitator }), await chain.payer());
    const answers = await Promise.all(Array.from({ length: 8 }, () => post(facilitator, "settle", body)));
    const reasons = answers.map(({ success, errorReason }) => (success ? "settled" : errorReason)).sort();
    assert.deepEqual(reasons, [...Array(7).fill("duplicate_settlement"), "settled"], name);
    assert.equal(await chain.balance(payTo), PRICE);
  }
});

// Each differs from a good payment in one thing. `code` is what both facilitators answer; `v1` what they answer in
// version 1, where that is another.
const P = "invalid_exact_svm_payload_";
const I = `${P}transaction_instructions_`;
const FAILED = { code: "invalid_exact_svm_transaction_simulation_failed", v1: "transaction_simulation_failed" };
const BAD = [
  { what: "another mint", code: `${P}mint_mismatch`, offer: (it) => ({ ...it, asset: chain.pyusd }) },
  { what: "one unit less", code: `${P}amount_mismatch`, change: (it) => (it.amount -= 1n) },
  { what: "one unit more", code: `${P}amount_mismatch`, change: (it) => (it.amount += 1n) },
  {
    what: "another's token account",
    code: `${P}recipient_mismatch`,
    change: async (it) => (it.payTo = (await chain.payee()).address),
  },
  { what: "another memo than asked for", code: `${P}memo_mismatch`, memo: "7", change: (it) => (it.memos = ["8"]) },
  { what: "no memo where one is asked for", code: `${P}memo_count`, memo: "7", change: (it) => (it.memos = []) },
  { what: "the memo asked for twice", code: `${P}memo_count`, memo: "7", change: (it) => (it.memos = ["7", "7"]) },
  { what: "no fee payer in the offer", code: `${P}missing_fee_payer`, offer: (it) => ({ ...it, extra: {} }) },
  {
    what: "a fee payer of nobody's",
    code: "invalid_exact_svm_fee_payer_not_managed_by_facilitator",
    v1: "fee_payer_not_managed_by_facilitator",
    offer: async (it) => ({ ...it, extra: { feePayer: (await chain.feePayer()).address } }),
    change: (it, { offer }) => (it.feePayer = offer.extra.feePayer),
  },
  {
    what: "another fee payer than the offer's",
    code: "invalid_exact_svm_fee_payer_mismatch",
    change: async (it) => (it.feePayer = (await chain.feePayer()).address),
  },
  {
    what: "the fee payer's own tokens",
    code: `${P}transaction_fee_payer_transferring_funds`,
    change: (it) => it.owner(it.feePayer),
  },
  {
    what: "price before limit",
    code: `${I}compute_limit_instruction`,
    finish: (calls) => calls.splice(0, 2, calls[1], calls[0]),
  },
  { what: "no price", code: `${I}compute_price_instruction`, finish: (calls) => calls.splice(1, 1) },
  {
    what: "memo before transfer",
    code: `${P}no_transfer_instruction`,
    finish: (calls) => calls.splice(2, 2, calls[3], calls[2]),
  },
  { what: "an unchecked transfer", code: `${P}no_transfer_instruction`, finish: (calls) => (calls[2].data[0] = 3) },
  { what: "two instructions", code: `${I}length`, finish: (calls) => calls.splice(0, 2) },
  {
    what: "a system instruction as the fourth",
    code: `${P}unknown_fourth_instruction`,
    finish: (calls, { system }) => calls.splice(3, 0, system),
  },
  {
    what: "a system instruction as the fifth",
    code: `${P}unknown_fifth_instruction`,
    finish: (calls, { system }) => calls.push(system),
  },
  { what: "another's signature", code: `${P}signature_invalid`, sign: (bytes) => (bytes[65] ^= 1) },
  { what: "no signature", code: `${P}signature_invalid`, sign: (bytes) => bytes.fill(0, 65, 129) },
  {
    what: "too high a price",
    code: `${I}compute_price_instruction_too_high`,
    change: (it) => (it.price = 5_000_001n),
  },
  { what: "a blockhash that is not known", ...FAILED, change: (it) => (it.blockhash = "1".repeat(32)) },
  { what: "more than the payer has", ...FAILED, offer: (it) => ({ ...it, amount: "999999999" }) },
  {
    what: "an account that is not there",
    ...FAILED,
    offer: async (it) => ({ ...it, payTo: (await chain.person()).address }),
  },
  { what: "no transaction", code: `${P}transaction_could_not_be_decoded`, payload: () => ({ transaction: "AAAA" }) },
  {
    what: "another network accepted",
    code: "invalid_exact_svm_network_mismatch",
    v1: "network_mismatch",
    accepted: (it) => ({ ...it, network: MAINNET }),
  },
  {
    what: "another scheme accepted",
    code: "invalid_exact_svm_unsupported_scheme",
    accepted: (it) => ({ ...it, scheme: "upto" }),
    versions: [2],
  },
];
// Where they differ: `ours` is what ours answers, and `why`. npm's takes the payment, unless `npm` says what it answers
// by version. All but the first are rules that npm's does not enforce unless it is told to.
const DIFFERENT = [
  {
    what: "another scheme accepted",
    why: "unsupported_scheme is to us a scheme that is not served at all: one code has one meaning",
    ours: "invalid_exact_svm_unsupported_scheme",
    npm: { 1: /^unsupported_scheme$/ },
    versions: [1],
    accepted: (it) => ({ ...it, scheme: "upto" }),
  },
  {
    what: "seven instructions",
    why: "the scheme allows six",
    ours: `${I}length`,
    versions: [2], // npm's of version 1 allows six
    change: (it) => (it.memos = ["a", "b", "c", "d"]),
  },
  {
    what: "the fee payer in the memo's accounts",
    why: "the scheme wants the fee payer in no instruction; npm's looks for it with smart wallets only",
    ours: "invalid_exact_svm_smart_wallet_fee_payer_not_isolated",
    finish: (calls, { feePayer }) => (calls[3].accounts = [{ address: feePayer, role: 2 }]),
  },
  {
    what: "a third signer",
    why: "each signature costs the fee payer; npm's has maxRequiredSignatures, unset",
    ours: `${P}excessive_signers`,
    finish: (calls, { third }) => (calls[3].accounts = [{ address: third.address, role: 2, signer: third }]),
  },
  {
    what: "400,001 compute units",
    why: "the limit is what the fee payer pays for; npm's has maxComputeUnits, unset",
    ours: `${I}compute_limit_instruction_too_high`,
    change: (it) => (it.units = 400_001),
  },
  {
    what: "a payer that pays itself",
    why: "nobody is paid",
    ours: "unexpected_effect",
    offer: (it, { payer }) => ({ ...it, payTo: payer.address }),
  },
  {
    what: "an account from a look-up table",
    why: "accounts are static by the scheme; npm's asks the chain for the table in version 2, and there is none",
    ours: "invalid_exact_svm_smart_wallet_alt_resolution_not_available",
    npm: {
      2: /^invalid_exact_svm_smart_wallet_alt_resolution_failed/,
      1: /^invalid_exact_svm_payload_transaction_could_not_be_decoded$/,
    },
    lookup: (it) => it.mint,
  },
];

/** What `facilitator` answers to a payment that differs from a good one as `bad` says. */
async function judged(facilitator, version, bad) {
  const [payer, { address: payTo }] = [await chain.payer(), await chain.payee()];
  const extra = bad.memo === undefined ? {} : { memo: bad.memo };
  const good = offer({ payTo, facilitator, extra });
  const wanted = (await bad.offer?.(good, { payer })) ?? good;
  const made = () => draft(chain, { payer, facilitator, offer: wanted, bad });
  const payload = bad.payload?.() ?? { transaction: await made() };
  const body = asked(version, wanted, payload, bad.accepted?.(wanted));
  const answer = await post(facilitator, "verify", body);
  const settled = answer.isValid ? undefined : await post(facilitator, "settle", body);
  if (settled) assert.equal(settled.success, false, `${bad.what} was settled`);
  return { ...answer, settled };
}

const GOOD = [
  { what: "a good one" },
  { what: "a legacy transaction", legacy: true },
  { what: "no memo", change: (it) => (it.memos = []) },
  { what: "two memos of which none was asked for", change: (it) => (it.memos = ["a", "b"]) },
  { what: "the offer's memo", memo: "invoice 7", change: (it) => (it.memos = ["invoice 7"]) },
  { what: "the highest price", change: (it) => (it.price = 5_000_000n) },
];

for (const version of VERSIONS) {
  const served = ({ versions = VERSIONS }) => versions.includes(version);

  describe(`version ${version}: both facilitators take`, () => {
    for (const good of GOOD) {
      test(good.what, async () => {
        for (const name of ["npm", "tollway"]) {
          const { isValid, invalidReason } = await judged(facilitators[name], version, good);
          assert.deepEqual([isValid, invalidReason ?? undefined], [true, undefined], name);
        }
      });
    }
  });

  describe(`version ${version}: both facilitators refuse, with one code`, () => {
    for (const bad of BAD.filter(served)) {
      const code = (version === 1 && bad.v1) || bad.code;
      test(`${bad.what}: ${code}`, async () => {
        for (const name of ["npm", "tollway"]) {
          const { isValid, invalidReason, settled } = await judged(facilitators[name], version, bad);
          assert.deepEqual([name, isValid, invalidReason], [name, false, code]);
          assert.equal(settled.errorReason, code, name);
        }
      });
    }
  });

  describe(`version ${version}: the facilitators differ`, () => {
    for (const bad of DIFFERENT.filter(served)) {
      test(`${bad.what} is ${bad.ours}: ${bad.why}`, async () => {
        const npm = await judged(facilitators.npm, version, bad);
        assert.equal(npm.isValid, bad.npm === undefined, npm.invalidReason);
        if (bad.npm) assert.match(npm.invalidReason, bad.npm[version]);
        const ours = await judged(facilitators.tollway, version, bad);
        assert.deepEqual([ours.isValid, ours.invalidReason], [false, bad.ours]);
      });
    }
  });
}
