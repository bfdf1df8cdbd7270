// A buyer built on @x402/fetch. With URL it pays that COUNT times, with PRIVATE_KEY: one JSON line per payment on
// stdout. Without, it is a server that does the same for each POST of {url, key, count}, and answers with those lines.
// With RPC_URL it signs what gas sponsoring asks for; SPENDS is a token that it pays with besides the known ones.
import express from "express";
import { decodePaymentResponseHeader, wrapFetchWithPaymentFromConfig } from "@x402/fetch";
import { ExactEvmScheme, UptoEvmScheme } from "@x402/evm";
import { privateKeyToAccount } from "viem/accounts";

const { URL: url, PRIVATE_KEY, RPC_URL, SPENDS, COUNT = "1", PORT = "0" } = process.env;
const network = "eip155:*";

function buyer(key) {
  const account = privateKeyToAccount(key);
  const options = RPC_URL && { rpcUrl: RPC_URL };
  return wrapFetchWithPaymentFromConfig(fetch, {
    schemes: [
      { network, client: new ExactEvmScheme(account, options) },
      { network, client: new UptoEvmScheme(account, options) },
    ],
    spendControls: SPENDS && { allowedAssets: [{ network: "eip155:84532", asset: SPENDS }] },
  });
}

async function* buy({ url, key, count }) {
  const fetchWithPayment = buyer(key);
  for (let i = 0; i < count; i++) {
    const response = await fetchWithPayment(url, { method: "GET" });
    const receipt = response.headers.get("PAYMENT-RESPONSE");
    yield {
      status: response.status,
      body: await response.text(),
      challenge: response.headers.get("PAYMENT-REQUIRED") ?? undefined,
      settlement: receipt && decodePaymentResponseHeader(receipt),
    };
  }
}

if (url) {
  for await (const line of buy({ url, key: PRIVATE_KEY, count: Number(COUNT) })) console.log(JSON.stringify(line));
} else {
  const app = express();
  app.use(express.json());
  app.post("/", async (req, res) => {
    try {
      const lines = [];
      for await (const line of buy(req.body)) lines.push(line);
      res.json(lines);
    } catch (error) {
      res.status(500).send(error.stack);
    }
  });
  const listener = app.listen(Number(PORT), "127.0.0.1", () => {
    console.log(JSON.stringify({ ready: true, url: `http://127.0.0.1:${listener.address().port}` }));
  });
}
