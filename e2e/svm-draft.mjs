// Transactions of payments on Solana, good or bad: built step by step, with a place for a mistake in each.
import {
  appendTransactionMessageInstructions,
  compressTransactionMessageUsingAddressLookupTables,
  createTransactionMessage,
  generateKeyPairSigner,
  getBase64EncodedWireTransaction,
  partiallySignTransactionMessageWithSigners,
  pipe,
  setTransactionMessageFeePayer,
  setTransactionMessageLifetimeUsingBlockhash,
} from "@solana/kit";
import {
  getSetComputeUnitLimitInstruction,
  getSetComputeUnitPriceInstruction,
} from "@solana-program/compute-budget";
import { getTransferCheckedInstruction } from "@solana-program/token";

const MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr";
const SYSTEM = "11111111111111111111111111111111";

/**
 * The transaction, in base64, with which `payer` pays `offer`, signed by all but the fee payer. `bad` may
 * - `change` what is to be paid, before instructions are made of it,
 * - `finish` the instructions,
 * - name an account to `lookup` in a table,
 * - make it `legacy`,
 * - `sign`: change the bytes at the end.
 */
export async function draft(chain, { payer, facilitator, offer, bad }) {
  const { value: latest } = await chain.rpc.getLatestBlockhash({ commitment: "confirmed" }).send();
  const it = {
    feePayer: facilitator.feePayer,
    authority: payer.signer,
    source: payer.address,
    payTo: offer.payTo,
    mint: chain.usdc,
    amount: BigInt(offer.amount),
    units: 40_000,
    price: 1n,
    memos: [crypto.randomUUID().replaceAll("-", "")],
    blockhash: latest.blockhash,
    /** Takes the tokens of `address`, by its authority. */
    owner(address) {
      this.authority = this.source = address;
    },
  };
  await bad.change?.(it, { offer });
  const calls = await instructions(chain, it);
  const third = await generateKeyPairSigner();
  bad.finish?.(calls, { system: system(payer), feePayer: it.feePayer, third });
  const message = pipe(
    createTransactionMessage({ version: bad.legacy ? "legacy" : 0 }),
    (message) => setTransactionMessageFeePayer(it.feePayer, message),
    (message) => setTransactionMessageLifetimeUsingBlockhash({ ...latest, blockhash: it.blockhash }, message),
    (message) => appendTransactionMessageInstructions(calls, message),
    (message) => lookedUp(message, bad.lookup?.(it), third.address),
  );
  const signed = await partiallySignTransactionMessageWithSigners(message);
  const bytes = Buffer.from(getBase64EncodedWireTransaction(signed), "base64");
  bad.sign?.(bytes);
  return bytes.toString("base64");
}

async function instructions(chain, { authority, source, payTo, mint, amount, units, price, memos }) {
  const transfer = getTransferCheckedInstruction({
    source: await chain.account(source, mint),
    mint,
    destination: await chain.account(payTo, mint),
    authority,
    amount,
    decimals: 6,
  });
  const all = [
    getSetComputeUnitLimitInstruction({ units }),
    getSetComputeUnitPriceInstruction({ microLamports: price }),
    transfer,
    ...memos.map((memo) => ({ programAddress: MEMO, accounts: [], data: Buffer.from(memo) })),
  ];
  // Copies that can be changed.
  return all.map(({ programAddress, accounts, data }) => ({
    programAddress,
    accounts: accounts?.map((account) => ({ ...account })) ?? [],
    data: Buffer.from(data),
  }));
}

/** A transfer of no lamports, from the payer to itself. */
function system({ signer, address }) {
  const accounts = [
    { address, role: 3, signer },
    { address, role: 1 },
  ];
  return { programAddress: SYSTEM, accounts, data: Buffer.from([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) };
}

const lookedUp = (message, account, table) =>
  account ? compressTransactionMessageUsingAddressLookupTables(message, { [table]: [account] }) : message;
