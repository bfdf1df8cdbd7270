// The embedded Solana chain under the published clients: @solana/kit, and @x402/svm as payer and facilitator.
import assert from "node:assert/strict";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import {
  airdropFactory,
  appendTransactionMessageInstructions,
  createSolanaRpc,
  createSolanaRpcSubscriptions,
  createTransactionMessage,
  generateKeyPairSigner,
  getBase64EncodedWireTransaction,
  getSignatureFromTransaction,
  isSolanaError,
  lamports,
  pipe,
  sendAndConfirmTransactionFactory,
  setTransactionMessageFeePayerSigner,
  setTransactionMessageLifetimeUsingBlockhash,
  signTransactionMessageWithSigners,
  SOLANA_ERROR__JSON_RPC__SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE,
} from "@solana/kit";
import {
  fetchMint,
  findAssociatedTokenPda,
  getCreateAssociatedTokenInstructionAsync,
  getTransferCheckedInstruction,
  TOKEN_PROGRAM_ADDRESS,
} from "@solana-program/token";
import { x402Client } from "@x402/core/client";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorSvmSigner } from "@x402/svm";
import { ExactSvmScheme as Payer } from "@x402/svm/exact/client";
import { ExactSvmScheme as Facilitator } from "@x402/svm/exact/facilitator";
import { serve, tollway } from "./processes.mjs";

const PRICE = 1_234n;
const PURSE = 5_000_000;
// A slot of 50 ms: what takes a second on devnet takes 0.1 s here.
const SLOT_MS = "50";

let chain, rpc, subscriptions;
before(async () => {
  // Built next to our binary: cargo build -p tollway-devnet --example svm
  const binary = process.env.TOLLWAY_SVM_CHAIN ?? join(dirname(tollway()[0]), "examples/svm");
  chain = await serve([binary], { SLOT_MS });
  rpc = createSolanaRpc(chain.url);
  subscriptions = createSolanaRpcSubscriptions(chain.websocket);
});
after(() => chain?.stop());

/** What only this chain has: methods that its tests use. */
async function ask(method, ...params) {
  const body = JSON.stringify({ jsonrpc: "2.0", id: 1, method, params });
  const response = await fetch(chain.url, { method: "POST", headers: { "content-type": "application/json" }, body });
  const { result, error } = await response.json();
  if (error) throw new Error(`${method}: ${error.message}`);
  return result;
}

const accountOf = async (owner, mint) =>
  (await findAssociatedTokenPda({ owner, mint, tokenProgram: TOKEN_PROGRAM_ADDRESS }))[0];

async function balance(owner, commitment = "confirmed") {
  const account = await accountOf(owner, chain.usdc);
  return BigInt((await rpc.getTokenAccountBalance(account, { commitment }).send()).value.amount);
}

/** Someone with USDC, and with lamports if asked for. */
async function person({ usdc, sol = 0 } = {}) {
  const signer = await generateKeyPairSigner();
  if (sol > 0) await ask("tollway_fund", signer.address, sol);
  if (usdc !== undefined) await ask("tollway_mint", chain.usdc, signer.address, usdc);
  return signer;
}

async function signed(payer, instructions, commitment = "confirmed") {
  const { value: blockhash } = await rpc.getLatestBlockhash({ commitment }).send();
  return signTransactionMessageWithSigners(
    pipe(
      createTransactionMessage({ version: 0 }),
      (message) => setTransactionMessageFeePayerSigner(payer, message),
      (message) => setTransactionMessageLifetimeUsingBlockhash(blockhash, message),
      (message) => appendTransactionMessageInstructions(instructions, message),
    ),
  );
}

async function transfer(from, to, amount) {
  return getTransferCheckedInstruction({
    source: await accountOf(from.address, chain.usdc),
    mint: chain.usdc,
    destination: await accountOf(to, chain.usdc),
    authority: from,
    amount,
    decimals: 6,
  });
}

test("kit reads USDC's mint, and takes the chain for devnet", async () => {
  const mint = await fetchMint(rpc, chain.usdc);
  assert.equal(mint.data.decimals, 6);
  assert.equal(chain.network, `solana:${(await rpc.getGenesisHash().send()).slice(0, 32)}`);
  assert.equal(chain.network, "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1");
});

test("kit gets an airdrop, makes an account, transfers, and hears of each over its subscription", async () => {
  const [payer, seller] = [await person({ usdc: PURSE }), (await generateKeyPairSigner()).address];
  await airdropFactory({ rpc, rpcSubscriptions: subscriptions })({
    recipientAddress: payer.address,
    lamports: lamports(1_000_000_000n),
    commitment: "confirmed",
  });
  const send = sendAndConfirmTransactionFactory({ rpc, rpcSubscriptions: subscriptions });
  const make = await getCreateAssociatedTokenInstructionAsync({ payer, owner: seller, mint: chain.usdc });
  const transaction = await signed(payer, [make, await transfer(payer, seller, PRICE)]);
  await send(transaction, { commitment: "confirmed" });
  assert.equal(await balance(seller), PRICE);

  const found = await rpc
    .getTransaction(getSignatureFromTransaction(transaction), {
      commitment: "confirmed",
      encoding: "json",
      maxSupportedTransactionVersion: 0,
    })
    .send();
  assert.equal(found.meta.err, null);
  assert.equal(found.transaction.message.accountKeys[0], payer.address);
});

test("kit is told what a preflight refuses: a replay, a bad signature, too much", async () => {
  const payer = await person({ usdc: PURSE, sol: 1_000_000_000 });
  const { address: seller } = await person({ usdc: 0 });
  const send = (transaction) =>
    rpc
      .sendTransaction(getBase64EncodedWireTransaction(transaction), {
        encoding: "base64",
        preflightCommitment: "processed",
      })
      .send();
  const preflight = (error) =>
    isSolanaError(error, SOLANA_ERROR__JSON_RPC__SERVER_ERROR_SEND_TRANSACTION_PREFLIGHT_FAILURE);

  const transaction = await signed(payer, [await transfer(payer, seller, PRICE)]);
  await send(transaction);
  await assert.rejects(send(transaction), preflight);
  const more = await signed(payer, [await transfer(payer, seller, BigInt(PURSE))]);
  await assert.rejects(send(more), preflight);
  const forged = { ...more, signatures: { [payer.address]: new Uint8Array(64) } };
  await assert.rejects(send(forged), /signature verification failure/i);
  assert.equal(await balance(seller, "processed"), PRICE);
});

test("@x402/svm pays and settles once: a second settlement is refused, by another facilitator too", async () => {
  const [payer, feePayer] = [await person({ usdc: PURSE }), await person({ sol: 1_000_000_000 })];
  const { address: payTo } = await person({ usdc: 0 });
  const requirements = {
    scheme: "exact",
    network: chain.network,
    asset: chain.usdc,
    amount: `${PRICE}`,
    payTo,
    maxTimeoutSeconds: 60,
    extra: { feePayer: feePayer.address },
  };
  const client = new x402Client().register(chain.network, new Payer(payer, { rpcUrl: chain.url }));
  const resource = { url: "http://localhost/paid", description: "", mimeType: "application/json" };
  const payload = await client.createPaymentPayload({ x402Version: 2, resource, accepts: [requirements] });

  const signer = toFacilitatorSvmSigner(feePayer, { defaultRpcUrl: chain.url });
  const facilitator = () => new x402Facilitator().register(chain.network, new Facilitator(signer));
  const first = facilitator();
  const verified = await first.verify(payload, requirements);
  assert.deepEqual([verified.isValid, verified.payer], [true, payer.address], verified.invalidReason);
  const settled = await first.settle(payload, requirements);
  assert.equal(settled.success, true, settled.errorReason);
  assert.equal(await balance(payTo), PRICE);

  const again = await first.settle(payload, requirements);
  assert.deepEqual([again.success, again.errorReason], [false, "duplicate_settlement"]);
  // Another one remembers nothing: here it is the chain that refuses.
  const other = await facilitator().verify(payload, requirements);
  assert.deepEqual([other.isValid, other.invalidReason], [false, "invalid_exact_svm_transaction_simulation_failed"]);
  assert.equal((await facilitator().settle(payload, requirements)).success, false);
  assert.equal(await balance(payTo), PRICE);
});
