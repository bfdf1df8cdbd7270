// A buyer on Solana, built on @x402/fetch and @x402/svm. Pays URL COUNT times with PRIVATE_KEY (base58), on the node at
// RPC_URL; one JSON line per payment on stdout. It pays offers of version 2, and those of version 1 if there are no
// others.
import { createKeyPairSignerFromBytes, getBase58Encoder } from "@solana/kit";
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import { ExactSvmScheme } from "@x402/svm/exact/client";
import { ExactSvmSchemeV1 } from "@x402/svm/exact/v1/client";

const { URL: url, PRIVATE_KEY, RPC_URL, COUNT = "1" } = process.env;

const signer = await createKeyPairSignerFromBytes(getBase58Encoder().encode(PRIVATE_KEY));
const options = { rpcUrl: RPC_URL };
const fetchWithPayment = wrapFetchWithPaymentFromConfig(fetch, {
  schemes: [
    { network: "solana:*", client: new ExactSvmScheme(signer, options) },
    { network: "solana-devnet", x402Version: 1, client: new ExactSvmSchemeV1(signer, options) },
  ],
});

for (let i = 0; i < Number(COUNT); i++) {
  const response = await fetchWithPayment(url, { method: "GET" });
  const receipt = response.headers.get("PAYMENT-RESPONSE") ?? response.headers.get("X-PAYMENT-RESPONSE");
  const body = await response.text();
  const settlement = receipt && decodePaymentResponseHeader(receipt);
  console.log(JSON.stringify({ status: response.status, body, settlement }));
}
