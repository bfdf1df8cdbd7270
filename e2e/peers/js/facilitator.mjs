// A facilitator built on @x402/core and @x402/evm (v2 and v1), settling on RPC_URL with PRIVATE_KEY. EXTENSIONS names
// the gas sponsoring that it does, with a comma between; all of it unless set.
import express from "express";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { registerExactEvmScheme } from "@x402/evm/exact/facilitator";
import { UptoEvmScheme } from "@x402/evm/upto/facilitator";
import {
  EIP2612_GAS_SPONSORING,
  ERC20_APPROVAL_GAS_SPONSORING,
  createErc20ApprovalGasSponsoringExtension,
} from "@x402/extensions";
import { createWalletClient, http, parseTransaction, publicActions, recoverTransactionAddress } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";

const NETWORK = "eip155:84532";
const SPONSORING = [EIP2612_GAS_SPONSORING.key, ERC20_APPROVAL_GAS_SPONSORING.key];
const { RPC_URL, PRIVATE_KEY, PORT = "0", EXTENSIONS = SPONSORING.join() } = process.env;

const account = privateKeyToAccount(PRIVATE_KEY);
const wallet = createWalletClient({
  account,
  chain: baseSepolia,
  transport: http(RPC_URL),
  pollingInterval: 50,
}).extend(publicActions);
const signer = toFacilitatorEvmSigner({ ...wallet, address: account.address });

/** The published facilitator leaves to its operator how the approval and the settlement are sent: here one by one. */
async function sendTransactions(transactions) {
  const hashes = [];
  for (const transaction of transactions) {
    const hash = typeof transaction === "string" ? await relay(transaction) : await wallet.sendTransaction(transaction);
    const { status } = await wallet.waitForTransactionReceipt({ hash });
    if (status !== "success") throw new Error(`transaction_failed: ${hash}`);
    hashes.push(hash);
  }
  return hashes;
}

/** Sends a payer's transaction, with the gas money that it lacks. */
async function relay(serializedTransaction) {
  const { gas, maxFeePerGas } = parseTransaction(serializedTransaction);
  const to = await recoverTransactionAddress({ serializedTransaction });
  const missing = gas * maxFeePerGas - (await wallet.getBalance({ address: to }));
  if (missing > 0n) {
    await wallet.waitForTransactionReceipt({ hash: await wallet.sendTransaction({ to, value: missing }) });
  }
  return wallet.sendRawTransaction({ serializedTransaction });
}

const facilitator = registerExactEvmScheme(new x402Facilitator(), { signer, networks: NETWORK });
facilitator.register(NETWORK, new UptoEvmScheme(signer));
const extensions = {
  [EIP2612_GAS_SPONSORING.key]: EIP2612_GAS_SPONSORING,
  [ERC20_APPROVAL_GAS_SPONSORING.key]: createErc20ApprovalGasSponsoringExtension({ ...signer, sendTransactions }),
};
for (const key of EXTENSIONS.split(",").filter(Boolean)) facilitator.registerExtension(extensions[key]);

const app = express();
app.use(express.json());
const answer = (step) => async (req, res) => {
  try {
    const { paymentPayload, paymentRequirements } = req.body;
    res.json(await facilitator[step](paymentPayload, paymentRequirements));
  } catch (error) {
    res.status(500).json({ error: error.message });
  }
};
app.post("/verify", answer("verify"));
app.post("/settle", answer("settle"));
app.get("/supported", (_req, res) => res.json(facilitator.getSupported()));

const listener = app.listen(Number(PORT), "127.0.0.1", () => {
  console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${listener.address().port}` }));
});
