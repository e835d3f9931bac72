"""Has each client push the same awkward lines, then compares what the mock Loki at URL stored with them.

    clients.py URL
"""

import asyncio
import json
import logging
import pathlib
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from datetime import datetime, timedelta, timezone
from importlib.metadata import version

import logging_loki
import smoloki
from loki_logger_handler.formatters.logger_formatter import LoggerFormatter
from loki_logger_handler.loki_logger_handler import LokiLoggerHandler

LINES = [
    "plain",
    "",
    '  "quoted", \'twice\' and \\"escaped\\" \\n \\u0041 \\',
    "two\nlines, and\r\na third\n",
    "\ttab, bell \x07, escape \x1b[31mred\x1b[0m, nought \x00, separators \u2028\u2029",
    "Grüße, 日本語, עברית, e\u0301, 👩‍👩‍👧, 𝄞, \ufffd, \ufeff",
    '{"level":"error","msg":"JSON in a line","nested":{"a":[1,null]}}',
    "level=warn a=b {c=\"d\"} %s %d {} 100%",
    "</script><b>&amp;</b> '; DROP TABLE logs; --",
    "long " + "ü\"\\" * 30_000 + " end",
]
LABELS = {"quoted": 'say "ä", {b="c"}'}
EPOCH = datetime.fromtimestamp(0, timezone.utc)
# Longer than any of them holds lines back.
PATIENCE_S = 30


def logger(name, handler):
    """A logger with this handler alone, and the records that it is given."""
    made, records = logging.getLogger(name), []
    made.setLevel(logging.INFO)
    made.propagate = False
    made.addFilter(lambda record: records.append(record) or True)
    made.addHandler(handler)
    return made, records


# Each of these pushes LINES and returns the entries (nanoseconds or None, line, labels) that must be stored.


def json_v1(url, name):
    """Plain JSON; the time is taken inside the client."""
    tags = {"client": name, **LABELS}
    log, _ = logger(name, logging_loki.LokiHandler(f"{url}/loki/api/v1/push", tags, version="1"))
    for line in LINES:
        log.info(line)
    return [(None, line, {**tags, "logger": name, "severity": "info"}) for line in LINES]


def json_v0(url, name):
    """The form and the path that were first; times as text, in microseconds."""
    tags = {"client": name, **LABELS}
    log, records = logger(name, logging_loki.LokiHandler(f"{url}/api/prom/push", tags, version="0"))
    for line in LINES:
        log.warning(line)
    created = [datetime.fromtimestamp(record.created, timezone.utc) - EPOCH for record in records]
    times = [time // timedelta(microseconds=1) * 1000 for time in created]
    return [(ns, line, {**tags, "logger": name, "severity": "warning"}) for ns, line in zip(times, LINES)]


def json_gzip(url, name):
    """Gzip, several entries a push, structured metadata of the push and of the entry."""
    formatted = []

    class Remembering(LoggerFormatter):
        def format(self, record):
            formatted.append(super().format(record)[0])
            return formatted[-1], dict(record.loki_metadata)

    handler = LokiLoggerHandler(
        f"{url}/loki/api/v1/push",
        {"client": name, **LABELS},
        timeout=PATIENCE_S,
        compressed=True,
        default_formatter=Remembering(),
        enable_self_errors=True,
        enable_structured_loki_metadata=True,
        loki_metadata={"host.name": "ä \"b\""},
    )
    log, _ = logger(name, handler)
    for number, line in enumerate(LINES):
        log.info(line, extra={"loki_metadata": {"trace-id": number}})
    handler.flush_event.set()
    lines = [json.dumps(fields, ensure_ascii=False) for fields in formatted]
    assert [json.loads(line)["message"] for line in lines] == LINES
    return [
        (
            int(fields["timestamp"] * 1e9),
            line,
            {"client": name, **LABELS, "host_name": "ä \"b\"", "trace_id": str(number)},
        )
        for number, (fields, line) in enumerate(zip(formatted, lines))
    ]


def json_aiohttp(url, name):
    """Another HTTP client, and a push for each line, all under way at once."""

    async def push():
        async with smoloki.SmolokiAsyncClient(url) as client:
            for line in LINES:
                await client.push_in_background({"client": name, **LABELS}, {"message": line})

    asyncio.run(push())
    return [(None, smoloki.logfmt_dump({"message": line}), {"client": name, **LABELS}) for line in LINES]


def protobuf(url, name):
    """Snappy protobuf. Its lines are JSON documents, read here for what they say."""
    manifest = pathlib.Path(__file__).parent / "rust" / "Cargo.toml"
    command = ["cargo", "run", "--quiet", "--locked", "--manifest-path", manifest, "--", url]
    lines = "\n".join(json.dumps(line) for line in LINES)
    subprocess.run(command, input=lines, text=True, check=True, timeout=2 * PATIENCE_S)
    return [(None, line, {"client": name, **LABELS, "level": "info"}) for line in LINES]


def message(line):
    """What a line of `protobuf` says, and that it says it as the client was asked to."""
    fields = json.loads(line)
    assert fields["field"] == 'ä "b"' and fields["_target"] == "with_tracing_loki", fields
    return fields["message"]


def stored(url, name):
    """All that is stored of a client: (nanoseconds, line, labels)."""
    now = time.time_ns()
    asked = {
        "query": f'{{client="{name}"}}',
        "start": now - 3600 * 10**9,
        "end": now + 60 * 10**9,
        "limit": 1000,
        "direction": "forward",
    }
    with urllib.request.urlopen(f"{url}/loki/api/v1/query_range?{urllib.parse.urlencode(asked)}") as answer:
        streams = json.load(answer)["data"]["result"]
    return [(int(ns), line, stream["stream"]) for stream in streams for ns, line in stream["values"]]


def differences(expected, found, began_ns):
    """In words, what is not as it was pushed."""
    # Loki adds both; what level a line is of is no matter of the client.
    added = {"detected_level": None, "service_name": "unknown_service"}

    def comparable(ns, line, labels):
        return (line, json.dumps({**labels, **added}, sort_keys=True), ns)

    known = all(ns is not None for ns, _, _ in expected)
    want = sorted(comparable(ns if known else None, line, labels) for ns, line, labels in expected)
    have = sorted(comparable(ns if known else None, line, labels) for ns, line, labels in found)
    words = [f"missing: {one!r:.300}" for one in want if one not in have]
    words += [f"not pushed: {one!r:.300}" for one in have if one not in want]
    if len(want) != len(have):
        words.append(f"{len(want)} pushed, {len(have)} stored")
    # A microsecond for clients that count in floats.
    times = [ns for ns, _, _ in found if not began_ns - 1000 <= ns <= time.time_ns() + 1000]
    return words + [f"stored with a time at which nothing was pushed: {ns}" for ns in times]


def check(url, name, push, read=lambda line: line):
    """Pushes, waits for what is under way, compares, and prints one line. True when all is well."""
    began_ns = time.time_ns()
    expected = push(url, name)
    deadline = time.monotonic() + PATIENCE_S
    while len(found := stored(url, name)) < len(expected) and time.monotonic() < deadline:
        time.sleep(0.05)
    found = [(ns, read(line), labels) for ns, line, labels in found]
    words = differences(expected, found, began_ns)
    verdict = "; ".join(words) if words else "the same is stored"
    print(f"{'DIFFERS' if words else 'ok'}  {name}: {len(expected)} lines pushed, {verdict}", flush=True)
    return not words


def main():
    """All clients, one after the other."""
    [url] = sys.argv[1:]
    python_logging_loki = f"python-logging-loki {version('python-logging-loki')}"
    results = [
        check(url, f"{python_logging_loki}, JSON", json_v1),
        check(url, f"{python_logging_loki}, JSON on /api/prom/push", json_v0),
        check(url, f"loki-logger-handler {version('loki-logger-handler')}, gzip JSON with metadata", json_gzip),
        check(url, f"smoloki {version('smoloki')}, JSON over aiohttp", json_aiohttp),
        check(url, "tracing-loki, snappy protobuf", protobuf, message),
    ]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
