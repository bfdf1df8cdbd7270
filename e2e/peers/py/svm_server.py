"""A seller on Solana, built on x402's FastAPI middleware: GET /paid for PRICE through FACILITATOR_URL.

GET /memo asks for MEMO in the payment.
"""

import os

from fastapi import FastAPI
from x402 import x402ResourceServer
from x402.http import HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI
from x402.mechanisms.svm.exact import register_exact_svm_server

from serving import serve

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"

facilitator = HTTPFacilitatorClient({"url": os.environ["FACILITATOR_URL"]})
server = register_exact_svm_server(x402ResourceServer(facilitator), NETWORK)


def route(extra: dict | None = None) -> dict:
    accepts = {
        "scheme": "exact",
        "price": os.environ.get("PRICE", "$0.01"),
        "network": NETWORK,
        "payTo": os.environ["PAY_TO"],
        "extra": extra,
    }
    return {
        "accepts": accepts,
        "description": "One paid answer",
        "mimeType": "application/json",
    }


routes = {"GET /paid": route(), "GET /memo": route({"memo": os.environ.get("MEMO", "")})}

app = FastAPI()
app.add_middleware(PaymentMiddlewareASGI, routes=routes, server=server)


@app.get("/paid")
@app.get("/memo")
async def paid() -> dict:
    return {"message": "paid content from x402 FastAPI"}


serve(app)
