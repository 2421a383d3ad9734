"""Places on other file systems: that of this process, and a bucket of an S3 server of its own."""

import uuid
from contextlib import contextmanager

import pytest

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
}


def memory():
    """Name a folder of memory that nobody else has."""
    return f"memory://{uuid.uuid4().hex}/a run"


@contextmanager
def bucket(monkeypatch):
    """Name a place in a bucket of a server that is there while the body runs."""
    pytest.importorskip("s3fs")
    server_module = pytest.importorskip("moto.server")
    s3fs = pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    for name, value in {**VARIABLES, "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}.items():
        monkeypatch.setenv(name, value)
    forget_connections()
    name = f"bucket-{uuid.uuid4().hex[:8]}"
    s3fs.S3FileSystem(use_listings_cache=False).mkdir(name)
    try:
        yield f"s3://{name}/runs/a run"
    finally:
        forget_connections()
        server.stop()


def forget_connections():
    """Have the next place in a bucket be opened anew."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
