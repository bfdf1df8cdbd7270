// A facilitator built on @x402/core and @x402/evm (v2 and v1), settling on RPC_URL with PRIVATE_KEY.
import express from "express";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorEvmSigner } from "@x402/evm";
import { registerExactEvmScheme } from "@x402/evm/exact/facilitator";
import { createWalletClient, http, publicActions } from "viem";
import { privateKeyToAccount } from "viem/accounts";
import { baseSepolia } from "viem/chains";

const { RPC_URL, PRIVATE_KEY, PORT = "0" } = process.env;

const account = privateKeyToAccount(PRIVATE_KEY);
const wallet = createWalletClient({
  account,
  chain: baseSepolia,
  transport: http(RPC_URL),
  pollingInterval: 50,
}).extend(publicActions);
const signer = toFacilitatorEvmSigner({ ...wallet, address: account.address });

const facilitator = registerExactEvmScheme(new x402Facilitator(), {
  signer,
  networks: "eip155:84532",
});

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
