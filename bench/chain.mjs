// The bench's chain: the one of the end-to-end tests, with what x402-rs asks for at boot, and with money.
// Configured by environment, prints {"ready":true,"url":…}, ends when its standard input does.
import { createTestClient, http } from "../e2e/node_modules/viem/_esm/index.js";
import { startChain } from "../e2e/chain.mjs";

const { SIGNERS, GAS_LIMIT } = process.env;

// x402-rs does not start unless these have code (REQUIRED_CONTRACT_ADDRESSES in its chain/provider.rs): its Permit2
// proxy and Permit2 are there, the EIP-6492 validator is not. It isn't called for a payment by EIP-3009 from an
// externally owned account.
const VALIDATOR = "0xdAcD51A54883eb67D95FAEb2BBfdC4a9a6BD2a3B";
const REVERT = "0x60006000fd"; // so that a call, should there be one, is seen

// Without a bound anvil keeps a copy of the whole state for each of 500 blocks, and nobody here reads old ones.
const chain = await startChain(["--gas-limit", GAS_LIMIT, "--prune-history", "32"]);
const cheats = createTestClient({ mode: "anvil", transport: http(chain.url) });
await cheats.setLoggingEnabled(false); // a line for each call, read by this process
await cheats.setCode({ address: VALIDATOR, bytecode: REVERT });
for (const signer of SIGNERS.split(",")) await chain.fund(signer, 1_000_000n * 10n ** 18n);

process.stdin.resume();
process.stdin.once("close", () => process.exit(0));
console.log(JSON.stringify({ ready: true, url: chain.url }));
