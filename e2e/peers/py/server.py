"""A seller built on x402's FastAPI middleware: GET /paid for PRICE through FACILITATOR_URL."""

import os

from fastapi import FastAPI
from x402 import x402ResourceServer
from x402.http import HTTPFacilitatorClient
from x402.http.middleware.fastapi import PaymentMiddlewareASGI
from x402.mechanisms.evm.exact import register_exact_evm_server

from serving import serve

facilitator = HTTPFacilitatorClient({"url": os.environ["FACILITATOR_URL"]})
server = register_exact_evm_server(x402ResourceServer(facilitator), "eip155:84532")

routes = {
    "GET /paid": {
        "accepts": {
            "scheme": "exact",
            "price": os.environ.get("PRICE", "$0.01"),
            "network": "eip155:84532",
            "payTo": os.environ["PAY_TO"],
        },
        "description": "One paid answer",
        "mimeType": "application/json",
    }
}

app = FastAPI()
app.add_middleware(PaymentMiddlewareASGI, routes=routes, server=server)


@app.get("/paid")
async def paid() -> dict:
    return {"message": "paid content from x402 FastAPI"}


serve(app)
