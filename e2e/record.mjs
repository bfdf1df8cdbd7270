// Records what the real peers put on the wire into vectors/. Run by hand: `node record.mjs`.
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { hashTypedData } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { KEYS, USDC, startChain } from "./chain.mjs";
import { js, pay, py, serve } from "./processes.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const locked = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8")).packages;
const npm = (name) => `npm ${name} ${locked[`node_modules/${name}`].version}`;
const pypi = (name) =>
  `PyPI ${name} ${new RegExp(`^${name}==(.+)$`, "mi").exec(readFileSync(join(here, "requirements.txt"), "utf8"))[1]}`;

const PAY_TO = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
const write = (name, value) => {
  mkdirSync(join(here, "vectors"), { recursive: true });
  writeFileSync(join(here, "vectors", `${name}.json`), `${JSON.stringify(value, null, 2)}\n`);
};

const chain = await startChain();
const [, facilitatorKey, buyerKey] = KEYS;
await chain.mint(privateKeyToAccount(buyerKey).address, 1_000_000_000n);
try {
  const npmPeers = {
    client: [npm("@x402/fetch"), js("client")],
    server: [npm("@x402/express"), js("server")],
    facilitator: [`${npm("@x402/core")}, ${npm("@x402/evm")}`, js("facilitator")],
  };
  const pypiPeers = {
    client: [pypi("x402"), py("client")],
    server: [pypi("x402"), py("server")],
    facilitator: [pypi("x402"), py("facilitator")],
  };
  const v1Client = [npm("x402-fetch"), js("v1-client")];
  const v1Server = [npm("x402-express"), js("v1-server")];

  await recordPayment("v2-js", npmPeers);
  await recordPayment("v2-py", pypiPeers);
  await recordPayment("v1-js", { ...npmPeers, client: v1Client, server: v1Server });
  await recordPayment("v1-py", { ...pypiPeers, server: v1Server });
  write("eip712-transfer-with-authorization", await eip712());
} finally {
  chain.stop();
}

/** One payment through recording proxies in front of the seller and the facilitator; then the refusals. */
async function recordPayment(name, { client, server, facilitator }) {
  const settling = await serve(facilitator[1], { RPC_URL: chain.url, PRIVATE_KEY: facilitatorKey });
  const toFacilitator = await proxy(settling.url);
  const shop = await serve(server[1], { FACILITATOR_URL: toFacilitator.url, PAY_TO });
  const toShop = await proxy(shop.url);
  try {
    await fetch(`${shop.url}/paid`); // makes lazy sellers read /supported
    const [line] = await pay(client[1], { URL: `${toShop.url}/paid`, PRIVATE_KEY: buyerKey });
    if (line.status !== 200) throw new Error(`${name}: ${JSON.stringify(line)}`);
    const supported = await (await fetch(`${toFacilitator.url}/supported`)).text();
    const [unpaid, paid] = toShop.seen.filter(({ path }) => path === "/paid");
    const step = (path) => toFacilitator.seen.find((exchange) => exchange.path === path);
    write(name, {
      madeBy: { client: client[0], server: server[0], facilitator: facilitator[0] },
      unpaid: withDecodedHeaders(unpaid),
      paid: withDecodedHeaders(paid),
      supported: body(supported),
      verify: { request: body(step("/verify").request.body), response: answer(step("/verify")) },
      settle: { request: body(step("/settle").request.body), response: answer(step("/settle")) },
      refusals: await refusals(toFacilitator.url, JSON.parse(step("/verify").request.body)),
    });
    console.log(`${name}: recorded`);
  } finally {
    toShop.close();
    toFacilitator.close();
    await shop.stop();
    await settling.stop();
  }
}

/** What the facilitator says to the same payment again, and to payments that were tampered with. */
async function refusals(url, paid) {
  const edited = (edit) => {
    const copy = structuredClone(paid);
    edit(copy.paymentPayload.payload.authorization, copy.paymentPayload.payload, copy.paymentRequirements);
    return copy;
  };
  const amount = (requirements) => ("amount" in requirements ? "amount" : "maxAmountRequired");
  const cases = {
    "the same payment again": paid,
    "another recipient than signed": edited((authorization) => (authorization.to = USDC)),
    "a higher price than signed": edited((_, __, requirements) => (requirements[amount(requirements)] = "10001")),
    "an expired authorization": edited((authorization) => (authorization.validBefore = "1")),
    "not yet valid": edited((authorization) => (authorization.validAfter = "99999999999")),
    "another nonce than signed": edited((authorization) => (authorization.nonce = `0x${"11".repeat(32)}`)),
    "a signature of zeros": edited((_, payload) => (payload.signature = `0x${"00".repeat(65)}`)),
    "an unknown network": edited((_, __, requirements) => (requirements.network = "eip155:424242")),
  };
  const answers = {};
  for (const [name, request] of Object.entries(cases)) {
    answers[name] = {};
    for (const path of ["verify", "settle"]) {
      const response = await fetch(`${url}/${path}`, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify(request),
      });
      answers[name][path] = { status: response.status, ...body(await response.text()) };
    }
  }
  return answers;
}

function body(raw) {
  try {
    return { raw, json: JSON.parse(raw) };
  } catch {
    return { raw };
  }
}

function answer({ response }) {
  return { status: response.status, headers: response.headers, ...body(response.body) };
}

/** The exchange with each of x402's base64 headers beside its JSON. */
function withDecodedHeaders({ method, path, request, response }) {
  const decoded = {};
  for (const [name, value] of [...request.headers, ...response.headers]) {
    if (/^(x-)?payment/i.test(name)) decoded[name] = JSON.parse(Buffer.from(value, "base64").toString());
  }
  return {
    request: { method, path, headers: request.headers, ...(request.body && body(request.body)) },
    response: { status: response.status, headers: response.headers, ...body(response.body) },
    decoded,
  };
}

/** Forwards everything to `target` and keeps each exchange, header names as they were sent. */
async function proxy(target) {
  const seen = [];
  const pairs = (raw) => raw.flatMap((name, i) => (i % 2 ? [] : [[name, raw[i + 1]]]));
  const server = createServer(async (req, res) => {
    const sent = Buffer.concat(await req.toArray());
    const onward = request(`${target}${req.url}`, { method: req.method, headers: req.headers, agent: false }, async (back) => {
      const got = Buffer.concat(await back.toArray());
      seen.push({
        method: req.method,
        path: req.url,
        request: { headers: pairs(req.rawHeaders), body: sent.toString() },
        response: { status: back.statusCode, headers: pairs(back.rawHeaders), body: got.toString() },
      });
      res.writeHead(back.statusCode, back.rawHeaders).end(got);
    });
    onward.on("error", (error) => res.writeHead(502).end(error.message));
    onward.end(sent);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    seen,
    close: () => (server.close(), server.closeAllConnections()),
  };
}

/** Digests and signatures of TransferWithAuthorization from viem, for exact reproduction. */
async function eip712() {
  const field = (name, type) => ({ name, type });
  const types = {
    TransferWithAuthorization: [
      field("from", "address"),
      field("to", "address"),
      field("value", "uint256"),
      field("validAfter", "uint256"),
      field("validBefore", "uint256"),
      field("nonce", "bytes32"),
    ],
  };
  const sepolia = { name: "USDC", version: "2", chainId: 84532, verifyingContract: USDC };
  const base = { name: "USD Coin", version: "2", chainId: 8453, verifyingContract: "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913" };
  const flare = { name: "USD₮0", version: "1", chainId: 14, verifyingContract: "0xe7cd86e13AC4309349F30B3435a9d337750fC82D" };
  const cases = [
    [sepolia, buyerKey, { value: "10000", validAfter: "0", validBefore: "1795251430", nonce: `0x${"ab".repeat(32)}` }],
    [sepolia, facilitatorKey, { value: "1", validAfter: "1795250530", validBefore: "1795251430", nonce: `0x${"00".repeat(31)}01` }],
    [base, buyerKey, { value: "1000000", validAfter: "0", validBefore: (2n ** 256n - 1n).toString(), nonce: `0x${"ff".repeat(32)}` }],
    [base, buyerKey, { value: (2n ** 256n - 1n).toString(), validAfter: "0", validBefore: "1", nonce: `0x${"00".repeat(32)}` }],
    [flare, buyerKey, { value: "1234567", validAfter: "0", validBefore: "1795251430", nonce: `0x${"5a".repeat(32)}` }],
  ];
  const vectors = [];
  for (const [domain, privateKey, rest] of cases) {
    const account = privateKeyToAccount(privateKey);
    const typedData = {
      domain,
      types,
      primaryType: "TransferWithAuthorization",
      message: { from: account.address, to: PAY_TO, ...rest },
    };
    vectors.push({
      privateKey,
      address: account.address,
      typedData,
      digest: hashTypedData(typedData),
      signature: await account.signTypedData(typedData),
    });
  }
  return { madeBy: npm("viem"), vectors };
}
