"""The shortest way to an API server: JSON over one pool of connections, for benchmarks that must not cost much."""

import base64
import json
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import urllib3
import yaml


class Wire:
    """A client of the cluster that a kubeconfig names; certificates stand in it."""

    def __init__(self, kubeconfig: Path, *, connections: int = 16) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        context = ssl.create_default_context(cadata=_decoded(cluster["certificate-authority-data"]))
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as pair:
            pair.write(_decoded(user["client-certificate-data"]) + _decoded(user["client-key-data"]))
            pair.flush()
            context.load_cert_chain(pair.name)
        self._url = cluster["server"]
        self._pool = urllib3.PoolManager(maxsize=connections, block=True, ssl_context=context, retries=False)

    def get(self, path: str) -> dict[str, Any]:
        """Answer what is at the path."""
        return self._call("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Create an object."""
        return self._call("POST", path, body)

    def delete(self, path: str) -> dict[str, Any]:
        """Delete an object, or a collection of them."""
        return self._call("DELETE", path, None)

    def watch(self, path: str, version: str) -> Iterator[dict[str, Any]]:
        """Answer the events of a collection from a version on, as they come."""
        url = f"{self._url}{path}?watch=true&resourceVersion={version}"
        answer = self._pool.request("GET", url, preload_content=False, timeout=urllib3.Timeout(connect=5, read=120))
        rest = b""
        for chunk in answer.stream(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from (json.loads(line) for line in lines if line)

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        data = json.dumps(body).encode() if body is not None else None
        headers = {"Content-Type": "application/json"}
        answer = self._pool.request(method, self._url + path, body=data, headers=headers, timeout=60)
        if answer.status >= 300 and answer.status != 404:
            raise RuntimeError(f"{method} {path}: {answer.status} {answer.data[:300]!r}")
        value: dict[str, Any] = json.loads(answer.data)
        return value


def _decoded(text: str) -> str:
    return base64.b64decode(text).decode()
