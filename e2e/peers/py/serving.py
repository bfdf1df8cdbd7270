"""Runs an app with uvicorn on a free port and prints the ready line once it answers."""

import json
import os
import socket

import uvicorn


def serve(app) -> None:
    listener = socket.create_server(("127.0.0.1", int(os.environ.get("PORT", "0"))))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"

    class Server(uvicorn.Server):
        async def startup(self, sockets=None) -> None:
            await super().startup(sockets)
            print(json.dumps({"ready": True, "url": url}), flush=True)

    Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
