"""A buyer built on x402's httpx client. Pays URL COUNT times; one JSON line per payment."""

import asyncio
import json
import os

from eth_account import Account
from x402 import x402Client
from x402.http import x402HTTPClient
from x402.http.clients import x402HttpxClient
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner


def settlement(client: x402Client, response) -> dict | None:
    try:
        receipt = x402HTTPClient(client).get_payment_settle_response(response.headers.get)
    except ValueError:  # no receipt
        return None
    return receipt.model_dump(by_alias=True, exclude_none=True)


async def main() -> None:
    client = x402Client()
    signer = EthAccountSigner(Account.from_key(os.environ["PRIVATE_KEY"]))
    register_exact_evm_client(client, signer)

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
