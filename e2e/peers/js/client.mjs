// A buyer built on @x402/fetch. Pays URL COUNT times; one JSON line per payment on stdout. With RPC_URL it signs what
// gas sponsoring asks for.
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import { ExactEvmScheme, UptoEvmScheme } from "@x402/evm";
import { privateKeyToAccount } from "viem/accounts";

const { URL: url, PRIVATE_KEY, RPC_URL, COUNT = "1" } = process.env;

const account = privateKeyToAccount(PRIVATE_KEY);
const options = RPC_URL && { rpcUrl: RPC_URL };
const fetchWithPayment = wrapFetchWithPaymentFromConfig(fetch, {
  schemes: [
    { network: "eip155:*", client: new ExactEvmScheme(account, options) },
    { network: "eip155:*", client: new UptoEvmScheme(account, options) },
  ],
});

for (let i = 0; i < Number(COUNT); i++) {
  const response = await fetchWithPayment(url, { method: "GET" });
  const receipt = response.headers.get("PAYMENT-RESPONSE");
  console.log(
    JSON.stringify({
      status: response.status,
      body: await response.text(),
      challenge: response.headers.get("PAYMENT-REQUIRED") ?? undefined,
      settlement: receipt && decodePaymentResponseHeader(receipt),
    }),
  );
}
