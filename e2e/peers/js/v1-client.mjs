// A v1 buyer built on x402-fetch 1.2.0. Pays URL COUNT times; one JSON line per payment on stdout.
import { createSigner, decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";

const { URL: url, PRIVATE_KEY, COUNT = "1" } = process.env;

const fetchWithPayment = wrapFetchWithPayment(fetch, await createSigner("base-sepolia", PRIVATE_KEY));

for (let i = 0; i < Number(COUNT); i++) {
  const response = await fetchWithPayment(url, { method: "GET" });
  const receipt = response.headers.get("X-PAYMENT-RESPONSE");
  console.log(
    JSON.stringify({
      status: response.status,
      body: await response.text(),
      settlement: receipt && decodeXPaymentResponse(receipt),
    }),
  );
}
