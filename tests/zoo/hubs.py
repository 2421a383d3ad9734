"""A hub of this machine: it says the same to everybody, or nothing at all."""

import socket
import threading
from contextlib import contextmanager

import huggingface_hub

SIGN_OF_LIFE = "HEAD / HTTP/1.1"


@contextmanager
def hub(monkeypatch, answer):
    """Be the hub while the body runs, and list what was asked, but for what it asks of all.

    Args:
        monkeypatch: Of pytest.
        answer: What every caller is told before the line is cut; None to leave them waiting.
    """
    server, callers, asked = socket.create_server(("127.0.0.1", 0)), [], []
    address = f"http://127.0.0.1:{server.getsockname()[1]}"
    for name, value in {"ENDPOINT": address, "HF_HUB_OFFLINE": False}.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)

    def serve():
        while True:
            try:
                caller, _ = server.accept()
            except OSError:
                return
            callers.append(caller)
            if answer is not None:
                asked.append(caller.recv(4096).decode().partition("\r\n")[0])
                caller.sendall(answer)
                caller.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield asked
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join()
        for caller in callers:
            caller.close()
        getattr(huggingface_hub, "close_session", bool)()  # older ones keep none over threads
