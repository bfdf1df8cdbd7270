"""A facilitator built on x402's facilitator class (v2 and v1), served by FastAPI.

It settles on RPC_URL with PRIVATE_KEY, and does both kinds of gas sponsoring.
"""

import os

from eth_account import Account
from eth_account.typed_transactions import TypedTransaction
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from hexbytes import HexBytes
from x402 import x402Facilitator
from x402.extensions.eip2612_gas_sponsoring import EIP2612_GAS_SPONSORING
from x402.extensions.erc20_approval_gas_sponsoring import Erc20ApprovalFacilitatorExtension
from x402.mechanisms.evm import FacilitatorWeb3Signer
from x402.mechanisms.evm.exact import register_exact_evm_facilitator
from x402.mechanisms.evm.upto import UptoEvmFacilitatorScheme
from x402.schemas import parse_payment_payload, parse_payment_requirements
from web3 import Web3

from serving import serve

NETWORK = "eip155:84532"


class SponsoringSigner(FacilitatorWeb3Signer):
    """The published package leaves to its operator how the transactions are sent: here one by one."""

    def __init__(self, key: str, rpc: str) -> None:
        super().__init__(key, rpc)
        self._node = Web3(Web3.HTTPProvider(rpc))

    def send_transactions(self, transactions: list) -> list[str]:
        hashes = []
        for transaction in transactions:
            if isinstance(transaction, str):
                sent = self._relay(HexBytes(transaction))
            else:
                call = transaction
                sent = self.write_contract(call.address, call.abi, call.function, *call.args)
            if self.wait_for_transaction_receipt(sent).status != 1:
                raise RuntimeError(f"{sent} failed")
            hashes.append(sent)
        return hashes

    def _relay(self, raw: HexBytes) -> str:
        """Sends a payer's transaction, with the gas money that it lacks."""
        payer = Account.recover_transaction(raw)
        fields = TypedTransaction.from_bytes(raw).as_dict()
        most = fields["gas"] * fields["maxFeePerGas"]
        if (missing := most - self._node.eth.get_balance(payer)) > 0:
            self._give(payer, missing)
        return self._node.eth.send_raw_transaction(raw).to_0x_hex()

    def _give(self, payer: str, wei: int) -> None:
        given = {
            "to": payer,
            "value": wei,
            "nonce": self._reserve_nonce(),
            "gas": 21_000,
            "maxFeePerGas": self._node.eth.gas_price * 2,
            "maxPriorityFeePerGas": 0,
            "chainId": self._node.eth.chain_id,
        }
        signed = self._account.sign_transaction(given)
        sent = self._node.eth.send_raw_transaction(signed.raw_transaction)
        self.wait_for_transaction_receipt(sent.to_0x_hex())


signer = SponsoringSigner(os.environ["PRIVATE_KEY"], os.environ["RPC_URL"])
facilitator = register_exact_evm_facilitator(x402Facilitator(), signer, networks=NETWORK)
facilitator.register([NETWORK], UptoEvmFacilitatorScheme(signer))
facilitator.register_extension(EIP2612_GAS_SPONSORING)
facilitator.register_extension(Erc20ApprovalFacilitatorExtension(signer))

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
