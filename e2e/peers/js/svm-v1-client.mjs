// A v1 buyer on Solana, built on x402-fetch 1.2.0. Pays URL COUNT times with PRIVATE_KEY (base58), on the node at
// RPC_URL; one JSON line per payment on stdout.
import { createSigner, decodeXPaymentResponse, wrapFetchWithPayment } from "x402-fetch";

const { URL: url, PRIVATE_KEY, RPC_URL, COUNT = "1" } = process.env;

const signer = await createSigner("solana-devnet", PRIVATE_KEY);
const config = { svmConfig: { rpcUrl: RPC_URL } };
const fetchWithPayment = wrapFetchWithPayment(fetch, signer, undefined, undefined, config);

for (let i = 0; i < Number(COUNT); i++) {
  const response = await fetchWithPayment(url, { method: "GET" });
  const receipt = response.headers.get("X-PAYMENT-RESPONSE");
  const body = await response.text();
  const settlement = receipt && decodeXPaymentResponse(receipt);
  console.log(JSON.stringify({ status: response.status, body, settlement }));
}
