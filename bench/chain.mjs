// The bench's chain: the one of the end-to-end tests, with what x402-rs asks for at boot, and with money.
// Configured by environment, prints {"ready":true,"url":…}, ends when its standard input does.
import { createTestClient, http } from "../e2e/node_modules/viem/_esm/index.js";
import { startChain } from "../e2e/chain.mjs";

const { PAYER, SIGNERS, RECEIVERS } = process.env;
const addresses = (list) => list.split(",").filter(Boolean);

// x402-rs does not start unless these have code (REQUIRED_CONTRACT_ADDRESSES in its chain/provider.rs; the third,
// Permit2, is the original). Neither is called for a payment by EIP-3009 from an externally owned account.
const REQUIRED = [
  "0xdAcD51A54883eb67D95FAEb2BBfdC4a9a6BD2a3B", // EIP-6492 validator
  "0x402085c248EeA27D92E8b30b2C58ed07f9E20001", // exact Permit2 proxy
];
const REVERT = "0x60006000fd"; // so that a call, should there be one, is seen

const chain = await startChain();
const cheats = createTestClient({ mode: "anvil", transport: http(chain.url) });
for (const address of REQUIRED) await cheats.setCode({ address, bytecode: REVERT });
for (const signer of addresses(SIGNERS)) await chain.fund(signer, 1000n * 10n ** 18n);
await chain.mint(PAYER, 10n ** 15n);
// A first payment to an empty account costs more gas than all later ones.
for (const receiver of addresses(RECEIVERS)) await chain.mint(receiver, 1n);

process.stdin.resume();
process.stdin.once("close", () => process.exit(0));
console.log(JSON.stringify({ ready: true, url: chain.url }));
