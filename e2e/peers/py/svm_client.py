"""A buyer on Solana, built on x402's httpx client.

It pays URL COUNT times with PRIVATE_KEY (base58), on the node at RPC_URL: one JSON line per payment.
It pays offers of version 2, and of version 1 where a seller has no others.
"""

import asyncio
import json
import os

from x402 import x402Client
from x402.http import x402HTTPClient
from x402.http.clients import x402HttpxClient
from x402.mechanisms.svm import KeypairSigner
from x402.mechanisms.svm.exact import register_exact_svm_client


def settlement(client: x402Client, response) -> dict | None:
    try:
        receipt = x402HTTPClient(client).get_payment_settle_response(response.headers.get)
    except ValueError:  # no receipt
        return None
    return receipt.model_dump(by_alias=True, exclude_none=True)


async def main() -> None:
    signer = KeypairSigner.from_base58(os.environ["PRIVATE_KEY"])
    client = register_exact_svm_client(x402Client(), signer, rpc_url=os.environ["RPC_URL"])
    async with x402HttpxClient(client) as http:
        for _ in range(int(os.environ.get("COUNT", "1"))):
            response = await http.get(os.environ["URL"])
            line = {
                "status": response.status_code,
                "body": response.text,
                "settlement": settlement(client, response),
            }
            print(json.dumps(line), flush=True)


asyncio.run(main())
