"""The gateway in memory, for `python -m unittest`.

The plugin's imports of `wit_world` lead to the types in `build/bindings`; each test makes a `Host` with what it
needs, which stands behind them, and looks at what came of it.
"""

import json
import sys
from pathlib import Path

PROJECT = Path(__file__).parent.parent
BINDINGS = PROJECT / "build" / "bindings"
if not BINDINGS.is_dir():
    sys.exit("the types of the contract are not there: run `hookweir plugin build` first")
sys.path[:0] = [str(PROJECT), str(BINDINGS)]

from componentize_py_types import Err, Ok  # noqa: E402
from wit_world.imports import clock, config, http, log, random, secrets, state  # noqa: E402
from wit_world.imports.types import Event  # noqa: E402


class Host:
    """What the plugin is lent: a config, a state, a clock, and answers to its requests, by `POST https://…`."""

    def __init__(self, *, config=None, state=None, answers=None, now_ms=1_700_000_000_000):
        self.logs, self.requests = [], []
        self.config, self.answers = config or {}, answers or {}
        self.kept = {key: value.encode() for key, value in (state or {}).items()}
        self.now_ms = now_ms
        self._lend()

    def text(self, key):
        """What the state holds under a key."""
        return self.kept[key].decode() if key in self.kept else None

    def _lend(self):
        log.write = lambda level, message, fields: self.logs.append((level.name, message, dict(fields)))
        config.get = self._setting
        config.all = lambda: json.dumps(self.config)
        secrets.get = lambda name: f"secret {name}"
        clock.now_ms = lambda: self.now_ms
        clock.monotonic_ns = lambda: self.now_ms * 1_000_000
        random.bytes = lambda length: bytes([7]) * length
        state.get = self.kept.get
        state.set = lambda key, value, ttl_ms: self.kept.update({key: value})
        state.set_if_absent = self._set_if_absent
        state.increment = self._increment
        state.delete = lambda key: self.kept.pop(key, None) is not None
        state.list_keys = lambda prefix, after, limit: sorted(
            key for key in self.kept if key.startswith(prefix) and key > (after or "")
        )[:limit]
        http.send = self._send
        http.send_all = self._send_all

    def _setting(self, key):
        value = self.config.get(key)
        return value if value is None or isinstance(value, str) else json.dumps(value)

    def _set_if_absent(self, key, value, ttl_ms):
        absent = key not in self.kept
        self.kept.setdefault(key, value)
        return absent

    def _increment(self, key, by, ttl_ms):
        value = int(self.kept.get(key, 0)) + by
        self.kept[key] = str(value).encode()
        return value

    def _send(self, request):
        self.requests.append(request)
        answer = self.answers.get(f"{request.method} {request.url}")
        if answer is None:
            message = f"no answer for {request.method} {request.url}"
            raise Err(http.HttpError("denied", message, False, []))
        status, headers, body = answer
        listed = [(name, value.encode()) for name, value in headers.items()]
        return http.IncomingResponse(status, listed, body.encode(), [])

    def _send_all(self, requests):
        def one(request):
            try:
                return Ok(self._send(request))
            except Err as error:
                return error

        return [one(request) for request in requests]


def event(source, event_type, body, **more):
    """An event as a source sends it. A body that is no text is written as JSON."""
    text = body if isinstance(body, str) else json.dumps(body)
    fields = {
        "id": "0190c2f0-0000-7000-8000-000000000001", "source": source, "event_type": event_type, "attempt": 1,
        "received_at_ms": 1_700_000_000_000, "method": "POST", "path": f"/webhooks/{source}", "query": None,
        "headers": [], "body": text.encode(), "attributes": [],
    }
    return Event(**fields | more)
