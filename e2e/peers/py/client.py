"""A buyer built on x402's httpx client. Pays URL COUNT times; one JSON line per payment.

With RPC_URL it signs what gas sponsoring asks for.
"""

import asyncio
import json
import os

from eth_account import Account
from x402 import x402Client
from x402.http import x402HTTPClient
from x402.http.clients import x402HttpxClient
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner, EthAccountSignerWithRPC
from x402.mechanisms.evm.upto import UptoEvmClientScheme


def settlement(client: x402Client, response) -> dict | None:
    try:
        receipt = x402HTTPClient(client).get_payment_settle_response(response.headers.get)
    except ValueError:  # no receipt
        return None
    return receipt.model_dump(by_alias=True, exclude_none=True)


async def main() -> None:
    client = x402Client()
    account = Account.from_key(os.environ["PRIVATE_KEY"])
    rpc = os.environ.get("RPC_URL")
    signer = EthAccountSignerWithRPC(account, rpc) if rpc else EthAccountSigner(account)
    register_exact_evm_client(client, signer)
    client.register("eip155:*", UptoEvmClientScheme(signer))

    async with x402HttpxClient(client) as http:
        for _ in range(int(os.environ.get("COUNT", "1"))):
            response = await http.get(os.environ["URL"])
            line = {
                "status": response.status_code,
                "body": response.text,
                "challenge": response.headers.get("PAYMENT-REQUIRED"),
                "settlement": settlement(client, response),
            }
            print(json.dumps(line), flush=True)


asyncio.run(main())
