// A v1 seller on Solana, built on x402-express 1.2.0: GET /paid for PRICE, settled through FACILITATOR_URL.
import express from "express";
import { paymentMiddleware } from "x402-express";

const { FACILITATOR_URL, PAY_TO, PRICE = "$0.01", PORT = "0" } = process.env;

const config = { description: "One paid answer", mimeType: "application/json" };
const routes = { "GET /paid": { price: PRICE, network: "solana-devnet", config } };

const app = express();
app.use(paymentMiddleware(PAY_TO, routes, { url: FACILITATOR_URL }));
app.get("/paid", (_req, res) => res.json({ message: "paid content from x402-express" }));

const listener = app.listen(Number(PORT), "127.0.0.1", () => {
  console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${listener.address().port}` }));
});
