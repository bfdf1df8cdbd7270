"""A seller built on x402's FastAPI middleware that is paid through Permit2.

GET /permit2 for PRICE by scheme exact, GET /upto for CHARGE of at most CEILING, GET /nothing for none
of it; each alone, with /permit (declares eip2612GasSponsoring) and with /approval (declares
erc20ApprovalGasSponsoring); with /plain too in PLAIN_TOKEN, which takes no permits.
"""

import os

from fastapi import FastAPI, Response
from x402 import x402ResourceServer
from x402.extensions.eip2612_gas_sponsoring import declare_eip2612_gas_sponsoring_extension
from x402.extensions.erc20_approval_gas_sponsoring import (
    declare_erc20_approval_gas_sponsoring_extension,
)
from x402.http import HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI
from x402.mechanisms.evm.exact import register_exact_evm_server
from x402.mechanisms.evm.upto import UptoEvmServerScheme

from serving import serve

NETWORK = "eip155:84532"
USDC = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
PERMIT2 = {"assetTransferMethod": "permit2"}
SCHEMES = {
    "/permit2": ("exact", os.environ["PRICE"], None),
    "/upto": ("upto", os.environ["CEILING"], os.environ["CHARGE"]),
    "/nothing": ("upto", os.environ["CEILING"], "0"),
}
WAYS = {
    "": {},
    "/permit": declare_eip2612_gas_sponsoring_extension(),
    "/approval": declare_erc20_approval_gas_sponsoring_extension(),
    "/plain": declare_erc20_approval_gas_sponsoring_extension(),
}

facilitator = HTTPFacilitatorClient({"url": os.environ["FACILITATOR_URL"]})
server = register_exact_evm_server(x402ResourceServer(facilitator), NETWORK)
server.register(NETWORK, UptoEvmServerScheme())


def price(way: str, amount: str) -> dict:
    if way == "/plain":
        return {"amount": amount, "asset": os.environ["PLAIN_TOKEN"], "extra": dict(PERMIT2)}
    return {"amount": amount, "asset": USDC, "extra": {"name": "USDC", "version": "2", **PERMIT2}}


def route(scheme: str, amount: str, way: str) -> dict:
    return {
        "accepts": {
            "scheme": scheme,
            "price": price(way, amount),
            "network": NETWORK,
            "payTo": os.environ["PAY_TO"],
        },
        "description": "One paid answer",
        "mimeType": "application/json",
        "extensions": WAYS[way],
    }


routes = {
    f"GET {path}{way}": route(scheme, amount, way)
    for path, (scheme, amount, _) in SCHEMES.items()
    for way in WAYS
}

app = FastAPI()
app.add_middleware(PaymentMiddlewareASGI, routes=routes, server=server)


@app.get("/{path}")
@app.get("/{path}/{way}")
async def paid(path: str, response: Response) -> dict:
    charge = SCHEMES[f"/{path}"][2]
    if charge is not None:
        response.headers["Settlement-Overrides"] = f'{{"amount":"{charge}"}}'
    return {"message": "paid content from x402 FastAPI"}


serve(app)
