// Solana for the tests: the embedded chain that stands for devnet, its accounts, who buys on it, and what a purchase
// must show there.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import {
  createKeyPairSignerFromPrivateKeyBytes,
  createSolanaRpc,
  getBase58Decoder,
  getBase58Encoder,
} from "@solana/kit";
import { findAssociatedTokenPda, TOKEN_PROGRAM_ADDRESS } from "@solana-program/token";
import { TOKEN_2022_PROGRAM_ADDRESS } from "@solana-program/token-2022";
import { ours } from "./buyers.mjs";
import { assertServed } from "./payments.mjs";
import { pay, scratch, serve, tollway } from "./processes.mjs";

export const SOLANA = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";
/** Its name in version 1. */
export const SOLANA_V1 = "solana-devnet";
const SOL = 1_000_000_000;
const PURSE = 5_000_000;
// Four times as fast as devnet. A blockhash then lives 15 seconds.
const TIMES = { SLOT_MS: "100", FINALITY: "8" };

/** Starts the chain, with what the tests do on it. */
export async function startSolana() {
  // Built next to our binary: cargo build -p tollway-devnet --example svm
  const binary = process.env.TOLLWAY_SVM_CHAIN ?? join(dirname(tollway()[0]), "examples/svm");
  const chain = await serve([binary], TIMES);
  const rpc = createSolanaRpc(chain.url);

  /** What only this chain has: methods that its tests use. */
  async function ask(method, ...params) {
    const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
    const response = await fetch(chain.url, { method: "POST", headers: { "content-type": "application/json" }, body });
    const { result, error } = await response.json();
    if (error) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  /** The account of `owner` for a token: for USDC, or for PYUSD, which is one of Token-2022's. */
  async function account(owner, mint = chain.usdc) {
    const tokenProgram = mint === chain.pyusd ? TOKEN_2022_PROGRAM_ADDRESS : TOKEN_PROGRAM_ADDRESS;
    return (await findAssociatedTokenPda({ owner, mint, tokenProgram }))[0];
  }

  /** What `owner` has of a token, where it has an account. */
  async function balance(owner, mint) {
    const held = await rpc.getTokenAccountBalance(await account(owner, mint), { commitment: "confirmed" }).send();
    return BigInt(held.value.amount);
  }

  /** Someone new, with so much of a token (and an account for it) and so many lamports: {signer, address, key}. */
  async function person({ units, mint = chain.usdc, sol = 0 } = {}) {
    const seed = randomBytes(32);
    const signer = await createKeyPairSignerFromPrivateKeyBytes(seed);
    const key = getBase58Decoder().decode(Buffer.concat([seed, getBase58Encoder().encode(signer.address)]));
    if (sol > 0) await ask("tollway_fund", signer.address, sol);
    if (units !== undefined) await ask("tollway_mint", mint, signer.address, units);
    return { signer, address: signer.address, key };
  }

  const payer = (mint) => person({ units: PURSE, mint });
  const payee = (mint) => person({ units: 0, mint });
  const feePayer = () => person({ sol: SOL });

  /** The transaction of `signature`; an error if there is none. */
  const transaction = (signature) =>
    rpc
      .getTransaction(signature, { commitment: "confirmed", encoding: "json", maxSupportedTransactionVersion: 0 })
      .send();

  return { ...chain, rpc, ask, account, balance, person, payer, payee, feePayer, transaction };
}

/** `tollway facilitator` on the chain: {url, feePayer, stop}. */
export async function ourFacilitator(chain) {
  const { key, address } = await chain.feePayer();
  const config = join(scratch, `${address}.toml`);
  const network = `[[network]]
id = "${SOLANA_V1}"
rpc = "${chain.url}"
ws = "${chain.websocket}"
poll_interval_ms = 50
`;
  writeFileSync(config, `listen = "127.0.0.1:0"\nledger = "${join(scratch, `${address}.db`)}"\n${network}`);
  const { url, stop } = await serve(tollway("facilitator", "--config", config), { TOLLWAY_SOLANA_KEY: key });
  return { url, stop, feePayer: address };
}

/** A facilitator of a peer's: {url, feePayer, stop}. */
export async function theirFacilitator(chain, command) {
  const { key, address } = await chain.feePayer();
  const { url, stop } = await serve(command, { RPC_URL: chain.url, PRIVATE_KEY: key });
  return { url, stop, feePayer: address };
}

/** A peer's client on the chain, a process for each purchase. */
export const theirs = (chain, client) => (url, key, count) =>
  pay(client, { URL: url, PRIVATE_KEY: key, RPC_URL: chain.url, COUNT: `${count}` });

/** `tollway pay` on the chain. */
export const weBuy = (chain) =>
  ours(["--rpc", `${SOLANA_V1}=${chain.url}`, "--network", SOLANA], (key) => ({ TOLLWAY_SOLANA_KEY: key }));

/**
 * Runs `pay`, which returns `count` lines {status, body, settlement}, and checks them against the chain: every line has
 * its own transaction of `feePayer`'s, and `payTo` grew by `price` for each. Returns the transactions.
 */
export async function assertPaidOnSolana({ chain, payTo, feePayer, price, count, body, pay }) {
  const before = await chain.balance(payTo);
  const lines = await pay();
  const after = await chain.balance(payTo);

  assert.equal(lines.length, count, `${lines.length} payments were reported, not ${count}`);
  const found = [];
  for (const line of lines) {
    assertServed(line, body);
    const transaction = await chain.transaction(line.settlement.transaction);
    assert.equal(transaction.meta.err, null);
    assert.equal(transaction.transaction.message.accountKeys[0], feePayer, "the facilitator paid the fee");
    found.push(transaction);
  }
  const seen = new Set(lines.map(({ settlement }) => settlement.transaction));
  assert.equal(seen.size, count, "every payment has its own transaction");
  assert.equal(after - before, price * BigInt(count), "payTo grew by exactly the prices");
  return found;
}

const MEMO_PROGRAM = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr";

/** The memos of a transaction that the chain has. */
export function memosOf({ transaction: { message } }) {
  const isMemo = ({ programIdIndex }) => message.accountKeys[programIdIndex] === MEMO_PROGRAM;
  const calls = message.instructions.filter(isMemo);
  return calls.map(({ data }) => Buffer.from(getBase58Encoder().encode(data)).toString());
}
