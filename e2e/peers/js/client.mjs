// A buyer built on @x402/fetch. Pays URL COUNT times; one JSON line per payment on stdout.
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import { ExactEvmScheme } from "@x402/evm";
import { privateKeyToAccount } from "viem/accounts";

const { URL: url, PRIVATE_KEY, COUNT = "1" } = process.env;

const fetchWithPayment = wrapFetchWithPaymentFromConfig(fetch, {
  schemes: [
    { network: "eip155:*", client: new ExactEvmScheme(privateKeyToAccount(PRIVATE_KEY)) },
  ],
});

for (let i = 0; i < Number(COUNT); i++) {
  const response = await fetchWithPayment(url, { method: "GET" });
  const receipt = response.headers.get("PAYMENT-RESPONSE");
  console.log(
    JSON.stringify({
      status: response.status,
      body: await response.text(),
      settlement: receipt && decodePaymentResponseHeader(receipt),
    }),
  );
}
