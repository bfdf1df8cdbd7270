// Records what the published client signs by Permit2 into vectors/permit2.json, with viem's digests and the calldata
// for the published proxies' ABI. Needs no chain. Run by hand: `node record-permit2.mjs`.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  ExactEvmScheme,
  PERMIT2_ADDRESS,
  UptoEvmScheme,
  permit2WitnessTypes,
  uptoPermit2WitnessTypes,
  x402ExactPermit2ProxyABI,
  x402UptoPermit2ProxyABI,
} from "@x402/evm";
import { encodeErrorResult, encodeFunctionData, hashTypedData, parseAbi, parseSignature } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { KEYS, NETWORK, USDC } from "./chain.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const locked = JSON.parse(readFileSync(join(here, "package-lock.json"), "utf8")).packages;
const npm = (name) => `npm ${name} ${locked[`node_modules/${name}`].version}`;

const PAY_TO = "0x209693Bc6afc0C5328bA36FaF03C514EF312287C";
const FACILITATOR = "0x857b06519E91e3A54538791bDbb0E22373e36b66";
const buyerKey = KEYS[2];
const account = privateKeyToAccount(buyerKey);
const extensions = {
  eip2612GasSponsoring: { info: { description: "permit", version: "1" } },
  erc20ApprovalGasSponsoring: { info: { description: "approval", version: "1" } },
};
/** A wallet with an empty allowance whose next nonces are 7. */
const signer = {
  address: account.address,
  signTypedData: (data) => account.signTypedData(data),
  signTransaction: (transaction) => account.signTransaction(transaction),
  readContract: async ({ functionName }) => (functionName === "nonces" ? 7n : 0n),
  getTransactionCount: async () => 7,
  estimateFeesPerGas: async () => ({ maxFeePerGas: 1_000_000_000n, maxPriorityFeePerGas: 100_000_000n }),
};

const requirements = (scheme, network, asset, amount, extra) => ({
  scheme,
  network,
  amount,
  asset,
  payTo: PAY_TO,
  maxTimeoutSeconds: 300,
  extra: { name: "USDC", version: "2", assetTransferMethod: "permit2", ...extra },
});
const BASE_USDC = "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913";
const upto = { facilitatorAddress: FACILITATOR };
const cases = [
  requirements("exact", NETWORK, USDC, "10000", {}),
  requirements("exact", "eip155:8453", BASE_USDC, "1", { name: "USD Coin" }),
  requirements("exact", NETWORK, USDC, (2n ** 256n - 1n).toString(), {}),
  requirements("upto", NETWORK, USDC, "5000000", upto),
  requirements("upto", "eip155:8453", BASE_USDC, "20000", { name: "USD Coin", ...upto }),
];

const payments = [];
for (const offer of cases) payments.push(await payment(offer, { eip2612GasSponsoring: extensions.eip2612GasSponsoring }));
payments.push(await payment(cases[0], { erc20ApprovalGasSponsoring: extensions.erc20ApprovalGasSponsoring }));
payments.push(await payment(cases[3], {}));

async function payment(accepted, advertised) {
  const isUpto = accepted.scheme === "upto";
  const scheme = isUpto ? new UptoEvmScheme(signer) : new ExactEvmScheme(signer);
  const made = await scheme.createPaymentPayload(2, accepted, { extensions: advertised });
  const { permit2Authorization: authorization, signature } = made.payload;
  const chainId = Number(accepted.network.split(":")[1]);
  const number = BigInt;
  const message = {
    permitted: { token: authorization.permitted.token, amount: number(authorization.permitted.amount) },
    spender: authorization.spender,
    nonce: number(authorization.nonce),
    deadline: number(authorization.deadline),
    witness: { ...authorization.witness, validAfter: number(authorization.witness.validAfter) },
  };
  const digest = hashTypedData({
    domain: { name: "Permit2", chainId, verifyingContract: PERMIT2_ADDRESS },
    types: isUpto ? uptoPermit2WitnessTypes : permit2WitnessTypes,
    primaryType: "PermitWitnessTransferFrom",
    message,
  });
  const info = made.extensions?.eip2612GasSponsoring?.info;
  const charged = isUpto ? 1858n : message.permitted.amount;
  const { permitted, nonce, deadline, witness } = message;
  const args = [{ permitted, nonce, deadline }, ...(isUpto ? [charged] : []), authorization.from, witness, signature];
  const abi = isUpto ? x402UptoPermit2ProxyABI : x402ExactPermit2ProxyABI;
  return {
    accepted,
    payload: made.payload,
    extensions: merged(advertised, made.extensions ?? {}),
    digest,
    charged: charged.toString(),
    settle: encodeFunctionData({ abi, functionName: "settle", args }),
    settleWithPermit: info && encodeFunctionData({ abi, functionName: "settleWithPermit", args: [permit2612(info), ...args] }),
    permitDigest: info && permitDigest(accepted, info, chainId),
  };
}

function permit2612({ amount, deadline, signature }) {
  const { r, s, v } = parseSignature(signature);
  return { value: BigInt(amount), deadline: BigInt(deadline), r, s, v: Number(v) };
}

function permitDigest({ extra, asset }, info, chainId) {
  const field = (name, type) => ({ name, type });
  const Permit = [
    field("owner", "address"),
    field("spender", "address"),
    field("value", "uint256"),
    field("nonce", "uint256"),
    field("deadline", "uint256"),
  ];
  return hashTypedData({
    domain: { name: extra.name, version: extra.version, chainId, verifyingContract: asset },
    types: { Permit },
    primaryType: "Permit",
    message: {
      owner: info.from,
      spender: info.spender,
      value: BigInt(info.amount),
      nonce: BigInt(info.nonce),
      deadline: BigInt(info.deadline),
    },
  });
}

/** As the published core does: what the server declared stays, what the client adds is added. */
function merged(declared, added) {
  return Object.fromEntries(
    Object.entries(declared).map(([key, entry]) => [key, { ...entry, info: { ...added[key]?.info, ...entry.info } }]),
  );
}

/** What the contracts revert with. */
const permit2Errors = parseAbi([
  "error InvalidNonce()",
  "error SignatureExpired(uint256 signatureDeadline)",
  "error InvalidAmount(uint256 maxAmount)",
  "error InvalidSigner()",
  "error InvalidSignature()",
  "error InvalidSignatureLength()",
  "error InvalidContractSignature()",
]);
const reverts = {};
for (const { name, inputs } of permit2Errors) {
  reverts[`Permit2.${name}`] = encodeErrorResult({ abi: permit2Errors, errorName: name, args: inputs.map(() => 1n) });
}
for (const abi of [x402ExactPermit2ProxyABI, x402UptoPermit2ProxyABI]) {
  for (const { type, name } of abi) {
    if (type === "error") reverts[`Proxy.${name}`] = encodeErrorResult({ abi, errorName: name });
  }
}

const redeem = parseAbi(["function redeemDelegations(bytes[] contexts, bytes32[] modes, bytes[] executions)"]);
const transfer = parseAbi(["function transfer(address to, uint256 amount)"]);
const delegation = { delegationManager: FACILITATOR, permissionContext: "0x0badc0de", delegator: account.address };
const moved = encodeFunctionData({ abi: transfer, functionName: "transfer", args: [PAY_TO, 10_000n] });
const execution = `${USDC.toLowerCase()}${"00".repeat(32)}${moved.slice(2)}`;
const redeemed = encodeFunctionData({
  abi: redeem,
  functionName: "redeemDelegations",
  args: [[delegation.permissionContext], [`0x${"00".repeat(32)}`], [execution]],
});

writeFileSync(
  join(here, "vectors", "permit2.json"),
  `${JSON.stringify(
    {
      madeBy: `${npm("@x402/evm")}, ${npm("viem")}`,
      privateKey: buyerKey,
      payments,
      reverts,
      delegation: { payload: delegation, token: USDC, to: PAY_TO, amount: "10000", redeemed },
    },
    null,
    2,
  )}\n`,
);
