"""A facilitator on Solana, built on x402's facilitator class (v2 and v1), served by FastAPI.

It settles on the node at RPC_URL with PRIVATE_KEY (base58) as the fee payer.
"""

import os

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from x402 import x402Facilitator
from x402.mechanisms.svm import FacilitatorKeypairSigner
from x402.mechanisms.svm.exact import register_exact_svm_facilitator
from x402.schemas import parse_payment_payload, parse_payment_requirements

from serving import serve

NETWORK = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"

signer = FacilitatorKeypairSigner.from_base58(
    os.environ["PRIVATE_KEY"], rpc_url=os.environ["RPC_URL"]
)
facilitator = register_exact_svm_facilitator(x402Facilitator(), signer, networks=NETWORK)

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
