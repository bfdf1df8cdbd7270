// A seller built on @x402/express: GET /paid for PRICE, settled through FACILITATOR_URL.
import express from "express";
import { paymentMiddleware, x402ResourceServer } from "@x402/express";
import { ExactEvmScheme } from "@x402/evm/exact/server";
import { HTTPFacilitatorClient } from "@x402/core/server";

const { FACILITATOR_URL, PAY_TO, PRICE = "$0.01", PORT = "0" } = process.env;

const facilitatorClient = new HTTPFacilitatorClient({ url: FACILITATOR_URL });
const resourceServer = new x402ResourceServer(facilitatorClient).register(
  "eip155:84532",
  new ExactEvmScheme(),
);

const app = express();
app.use(
  paymentMiddleware(
    {
      "GET /paid": {
        accepts: { scheme: "exact", price: PRICE, network: "eip155:84532", payTo: PAY_TO },
        description: "One paid answer",
        mimeType: "application/json",
      },
    },
    resourceServer,
  ),
);
app.get("/paid", (_req, res) => res.json({ message: "paid content from @x402/express" }));

const listener = app.listen(Number(PORT), "127.0.0.1", () => {
  console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${listener.address().port}` }));
});
