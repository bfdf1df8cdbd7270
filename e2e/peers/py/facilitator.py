"""A facilitator built on x402's facilitator class (v2 and v1), served by FastAPI."""

import os

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from x402 import x402Facilitator
from x402.mechanisms.evm import FacilitatorWeb3Signer
from x402.mechanisms.evm.exact import register_exact_evm_facilitator
from x402.schemas import parse_payment_payload, parse_payment_requirements

from serving import serve

facilitator = register_exact_evm_facilitator(
    x402Facilitator(),
    FacilitatorWeb3Signer(os.environ["PRIVATE_KEY"], os.environ["RPC_URL"]),
    networks="eip155:84532",
)

app = FastAPI()


async def answer(step, body: dict):
    try:
        payload = parse_payment_payload(body["paymentPayload"])
        requirements = parse_payment_requirements(
            payload.x402_version, body["paymentRequirements"]
        )
        # The model itself, as FastAPI likes it: absent fields go out as null, which peers must bear.
        return await step(payload, requirements)
    except Exception as error:
        return JSONResponse({"error": str(error)}, status_code=500)


@app.post("/verify")
async def verify(body: dict):
    return await answer(facilitator.verify, body)


@app.post("/settle")
async def settle(body: dict):
    return await answer(facilitator.settle, body)


@app.get("/supported")
async def supported():
    return facilitator.get_supported()


serve(app)
