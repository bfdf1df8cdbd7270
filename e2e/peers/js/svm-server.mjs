// A seller on Solana, built on @x402/express and @x402/svm: GET /paid for PRICE, settled through FACILITATOR_URL.
// GET /memo asks for MEMO in the payment; GET /hinted names a recent blockhash of the node at RPC_URL.
import express from "express";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import { HTTPFacilitatorClient } from "@x402/core/server";
import { ExactSvmScheme } from "@x402/svm/exact/server";

const { FACILITATOR_URL, RPC_URL, PAY_TO, MEMO, PRICE = "$0.01", PORT = "0" } = process.env;
const network = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1";

const serverOf = (options) =>
  new x402ResourceServer(new HTTPFacilitatorClient({ url: FACILITATOR_URL })).register(
    network,
    new ExactSvmScheme(options),
  );
const route = (extra) => ({
  accepts: { scheme: "exact", price: PRICE, network, payTo: PAY_TO, extra },
  description: "One paid answer",
  mimeType: "application/json",
});

const app = express();
app.use(paymentMiddleware({ "GET /paid": route(), "GET /memo": route({ memo: MEMO }) }, serverOf()));
app.use(paymentMiddleware({ "GET /hinted": route() }, serverOf({ rpcUrl: RPC_URL })));
app.get(["/paid", "/memo", "/hinted"], (_req, res) => res.json({ message: "paid content from @x402/express" }));

const listener = app.listen(Number(PORT), "127.0.0.1", () => {
  console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${listener.address().port}` }));
});
