"""A buyer built on x402's httpx client.

With URL it pays that COUNT times, with PRIVATE_KEY: one JSON line per payment. Without, it is a server
that does the same for each POST of {url, key, count}, and answers with those lines. With RPC_URL it
signs what gas sponsoring asks for; SPENDS is a token that it pays with besides the known ones.
"""

import asyncio
import json
import os
import traceback
from collections.abc import AsyncIterator

from eth_account import Account
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from x402 import x402Client
from x402.http import x402HTTPClient
from x402.http.clients import x402HttpxClient
from x402.mechanisms.evm.exact import register_exact_evm_client
from x402.mechanisms.evm.signers import EthAccountSigner, EthAccountSignerWithRPC
from x402.mechanisms.evm.upto import UptoEvmClientScheme

from serving import serve


def settlement(client: x402Client, response) -> dict | None:
    try:
        receipt = x402HTTPClient(client).get_payment_settle_response(response.headers.get)
    except ValueError:  # no receipt
        return None
    return receipt.model_dump(by_alias=True, exclude_none=True)


def buyer(key: str) -> x402Client:
    client = x402Client()
    if token := os.environ.get("SPENDS"):
        allowed = [{"network": "eip155:84532", "asset": token}]
        client.set_spend_controls({"allowed_assets": allowed})
    account = Account.from_key(key)
    rpc = os.environ.get("RPC_URL")
    signer = EthAccountSignerWithRPC(account, rpc) if rpc else EthAccountSigner(account)
    register_exact_evm_client(client, signer)
    client.register("eip155:*", UptoEvmClientScheme(signer))
    return client


async def buy(url: str, key: str, count: int) -> AsyncIterator[dict]:
    client = buyer(key)
    async with x402HttpxClient(client) as http:
        for _ in range(count):
            response = await http.get(url)
            yield {
                "status": response.status_code,
                "body": response.text,
                "challenge": response.headers.get("PAYMENT-REQUIRED"),
                "settlement": settlement(client, response),
            }


async def main(url: str) -> None:
    count = int(os.environ.get("COUNT", "1"))
    async for line in buy(url, os.environ["PRIVATE_KEY"], count):
        print(json.dumps(line), flush=True)


if url := os.environ.get("URL"):
    asyncio.run(main(url))
else:
    app = FastAPI()

    @app.post("/")
    async def bought(asked: dict):
        try:
            return [line async for line in buy(asked["url"], asked["key"], asked["count"])]
        except Exception:
            return PlainTextResponse(traceback.format_exc(), status_code=500)

    serve(app)
