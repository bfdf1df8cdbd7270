// A facilitator on Solana, built on @x402/core and @x402/svm (v2 and v1), settling on the node at RPC_URL with
// PRIVATE_KEY (base58) as the fee payer.
import express from "express";
import { createKeyPairSignerFromBytes, getBase58Encoder } from "@solana/kit";
import { x402Facilitator } from "@x402/core/facilitator";
import { toFacilitatorSvmSigner } from "@x402/svm";
import { registerExactSvmScheme } from "@x402/svm/exact/facilitator";

const { RPC_URL, PRIVATE_KEY, PORT = "0" } = process.env;

const account = await createKeyPairSignerFromBytes(getBase58Encoder().encode(PRIVATE_KEY));
const signer = toFacilitatorSvmSigner(account, { defaultRpcUrl: RPC_URL });
const facilitator = registerExactSvmScheme(new x402Facilitator(), {
  signer,
  networks: "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1",
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
