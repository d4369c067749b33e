"""A server on loopback that answers as the Hugging Face Hub does, for its own client: resolve, redirects, LFS, logins.

As on the Hub, a large file is redirected to another server, which takes no login; a small one to another path.
"""

import hashlib
import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

LARGE = 4096  # bytes from which a file is in LFS
COMMIT = "c0ffee00" * 5


class Asked(NamedTuple):
    """One request: method, path, its header Range, and whether it carried a login."""

    method: str
    path: str
    range: str | None
    login: bool


@dataclass
class Hub:
    """What the server has and how it behaves. repositories: name -> file -> bytes, all at COMMIT.

    gated: names; tokens: token -> the gated repositories that it may read. cuts: after how many bytes of each coming
    download the connection ends; forever: after the last of them, too. changed: whether what is sent is not what was
    stated. status: answer with this to everything.
    """

    repositories: dict[str, dict[str, bytes]]
    gated: set[str] = field(default_factory=set)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    forever: bool = False
    changed: bool = False
    status: int | None = None
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> "Hub":
        hub = self

        class Handler(_Handler):
            pass

        Handler.hub = hub
        self.servers = [ThreadingHTTPServer(("127.0.0.1", 0), Handler) for _ in range(2)]
        self.site, self.storage = (f"http://127.0.0.1:{each.server_port}" for each in self.servers)
        for each in self.servers:
            each.daemon_threads = True
            threading.Thread(target=each.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Be gone from the network."""
        for each in self.servers:
            each.shutdown()
            each.server_close()
        self.servers = []

    def of(self, path: str) -> list[Asked]:
        """Return the requests whose path ends so."""
        return [each for each in self.asked if each.path.endswith(path)]


class _Handler(BaseHTTPRequestHandler):
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        hub, login = self.hub, self.headers.get("Authorization", "").removeprefix("Bearer ")
        hub.asked.append(Asked(self.command, self.path, self.headers.get("Range"), bool(login)))
        if hub.status:
            return self._send(hub.status, {})
        _, *parts = self.path.split("/")
        if len(parts) < 2:  # the page of the site
            return self._send(200, {})
        if parts[0] == "storage":
            return self._content(parts[1])
        if parts[0] == "cache":
            return self._send(
                200, {"ETag": '"1234"', "X-Repo-Commit": COMMIT}, hub.repositories["/".join(parts[1:3])][parts[3]]
            )
        repository, revision, name = "/".join(parts[:2]), parts[3], parts[4]
        if refused := self._refused(repository, revision, name, login):
            return self._send(*refused)
        content = hub.repositories[repository][name]
        if len(content) < LARGE:
            to = {"Location": f"/cache/{repository}/{name}", "X-Repo-Commit": COMMIT, "ETag": '"1234"'}
            return self._send(307, to)
        sha256 = hashlib.sha256(content).hexdigest()
        stated = {"X-Linked-Etag": f'"{sha256}"', "X-Linked-Size": str(len(content)), "X-Repo-Commit": COMMIT}
        self._send(302, stated | {"Location": f"{hub.storage}/storage/{sha256}", "ETag": '"of the redirect"'})

    def _refused(self, repository: str, revision: str, name: str, login: str) -> tuple[int, dict[str, str]] | None:
        hub = self.hub
        if login and login not in hub.tokens:
            return 401, {"X-Error-Message": "Invalid credentials in Authorization header"}
        if repository not in hub.repositories:
            return 404 if login else 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}
        if repository in hub.gated and repository not in hub.tokens.get(login, ()):
            message = "Access to it is restricted."
            return 403 if login else 401, {"X-Error-Code": "GatedRepo", "X-Error-Message": message}
        if revision not in ("main", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Invalid rev id"}
        if name not in hub.repositories[repository]:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"}
        return None

    def _content(self, sha256: str) -> None:
        """Send what has this hash, from the byte that is asked for, until the connection is to be cut."""
        every = [each for repository in self.hub.repositories.values() for each in repository.values()]
        content = next(each for each in every if hashlib.sha256(each).hexdigest() == sha256)
        content = bytes(len(content)) if self.hub.changed else content
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
        part = content[first:]
        cuts = self.hub.cuts
        most = cuts.pop(0) if len(cuts) > self.hub.forever else cuts[0] if cuts else len(part)
        ranged = {"Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}"} if first else {}
        self._send(206 if first else 200, ranged, part, most)
        if most < len(part):
            self.close_connection = True

    def _send(self, status: int, headers: dict[str, str], content: bytes = b"", most: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content[:most])


def described(architecture: str, **settings: object) -> bytes:
    """Return a config.json as timm writes it."""
    return json.dumps({"architecture": architecture, **settings}).encode()
