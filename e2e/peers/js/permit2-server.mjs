// A seller built on @x402/express that is paid through Permit2, settled through FACILITATOR_URL:
//   GET /permit2 for PRICE by scheme exact, GET /upto for CHARGE of at most CEILING, GET /nothing for none of it;
//   each alone, with /permit (declares eip2612GasSponsoring) and with /approval (declares erc20ApprovalGasSponsoring);
//   with /plain too in PLAIN_TOKEN, which takes no permits.
import express from "express";
import { paymentMiddleware, setSettlementOverrides, x402ResourceServer } from "@x402/express";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { UptoEvmScheme } from "@x402/evm/upto/server";
import { HTTPFacilitatorClient } from "@x402/core/server";
import { declareEip2612GasSponsoringExtension, declareErc20ApprovalGasSponsoringExtension } from "@x402/extensions";

const { FACILITATOR_URL, PAY_TO, PLAIN_TOKEN, PRICE, CEILING, CHARGE, PORT = "0" } = process.env;
const NETWORK = "eip155:84532";
const USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e";

const schemes = {
  "/permit2": { scheme: "exact", amount: PRICE },
  "/upto": { scheme: "upto", amount: CEILING, charge: CHARGE },
  "/nothing": { scheme: "upto", amount: CEILING, charge: "0" },
};
const declared = {
  "": {},
  "/permit": declareEip2612GasSponsoringExtension(),
  "/approval": declareErc20ApprovalGasSponsoringExtension(),
  "/plain": declareErc20ApprovalGasSponsoringExtension(),
};

const server = new x402ResourceServer(new HTTPFacilitatorClient({ url: FACILITATOR_URL }))
  .register(NETWORK, new ExactEvmScheme())
  .register(NETWORK, new UptoEvmScheme());
const usdc = { asset: USDC, extra: { name: "USDC", version: "2", assetTransferMethod: "permit2" } };
const plain = { asset: PLAIN_TOKEN, extra: { assetTransferMethod: "permit2" } };

const routes = {};
const charges = {};
for (const [path, { scheme, amount, charge }] of Object.entries(schemes)) {
  for (const [way, extensions] of Object.entries(declared)) {
    const price = { amount, ...(way === "/plain" ? plain : usdc) };
    const accepts = { scheme, network: NETWORK, payTo: PAY_TO, price };
    routes[`GET ${path}${way}`] = { accepts, extensions, description: "One paid answer", mimeType: "application/json" };
    charges[`${path}${way}`] = charge;
  }
}

const app = express();
app.use(paymentMiddleware(routes, server));
app.get(Object.keys(charges), (req, res) => {
  const amount = charges[req.path];
  if (amount !== undefined) setSettlementOverrides(res, { amount });
  res.json({ message: "paid content from @x402/express" });
});

const listener = app.listen(Number(PORT), "127.0.0.1", () => {
  console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${listener.address().port}` }));
});
