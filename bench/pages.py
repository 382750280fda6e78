#!/usr/bin/env python3
"""How long the pages of the dashboard take on a large log, and what readers do to the latency of calls.

    cargo run --release --example fill -- year.db --events 10000000
    cargo build --release && bench/pages.py year.db

Starts the gateway on the file (which gets some events more), asks each page several times, one after the other, and prints
the first, the median and the slowest answer in milliseconds with the size as it came over the wire. Then calls a
tool with and without twenty readers beside it. Everything stays on the loopback interface and ends by itself.
"""

import argparse
import gzip
import hashlib
import json
import multiprocessing
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import threading
import time
import http.client

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOKEN = "hwd_bench_" + "a" * 40
ROUNDS = 7
CALLS = 1000
READERS = 20

PAGES = [
    "/audit", "/audit?range=7d", "/audit?range=30d", "/audit?range=365d",
    "/audit/calls", "/audit/calls?range=30d", "/audit/calls?agent=agent-007",
    "/audit/calls?agent=agent-093&tool=tool_250", "/audit/calls?decision=denied",
    "/audit/calls?decision=failed&agent=agent-050", "/audit/calls?values=on", "/audit/calls?values=on&range=365d",
    "/audit/agents", "/audit/agents?range=365d", "/audit/agents/agent-000", "/audit/agents/agent-000?range=365d",
    "/audit/servers", "/audit/servers?range=365d", "/audit/servers/server-00", "/audit/servers/server-00?range=365d",
    "/audit/servers/server-00/tools/tool_000", "/audit/servers/server-00/tools/tool_000?range=365d",
    "/audit/budgets", "/audit/budgets/1", "/audit/denials", "/audit/denials?range=365d", "/audit/policy",
    "/audit/integrity", "/audit/report", "/audit/access", "/audit/connect", "/audit/help",
    "/audit/agents.csv?range=365d", "/audit/denials.csv",
]


class Gateway:
    def __init__(self, binary, db):
        self.folder = tempfile.TemporaryDirectory()
        rules = pathlib.Path(self.folder.name) / "permissions.yaml"
        digest = hashlib.sha256(TOKEN.encode()).hexdigest()
        agents = "".join(
            f'  agent-{n:03}: {{token_hash: "sha256:{hashlib.sha256(b"%d" % n).hexdigest()}", servers: [server-00, server-01, server-02]}}\n'
            for n in range(100)
        )
        servers = "".join(f"  server-{n:02}: {{url: http://localhost:9/mcp}}\n" for n in range(30))
        rules.write_text(
            f"servers:\n{servers}  notes: {{command: {json.dumps(str(binary))}, args: [example-server, notes]}}\n"
            f'agents:\n  bench: {{token_hash: "sha256:{digest}", servers: [notes]}}\n{agents}'
        )
        self.process = subprocess.Popen(
            [binary, "serve", "--policy", rules, "--db", db, "--listen", "127.0.0.1:0", "--open-dashboard"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for line in self.process.stdout:
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.folder.cleanup()


def ask(connection, path):
    began = time.perf_counter()
    connection.request("GET", path, headers={"Accept-Encoding": "gzip"})
    answer = connection.getresponse()
    body = answer.read()
    took = (time.perf_counter() - began) * 1000
    if answer.status == 303:
        return ask(connection, answer.headers["Location"])
    return answer.status, took, len(body), body


def pages(gateway):
    print(f"{'page':64} {'first':>8} {'median':>8} {'slowest':>8} {'kB':>7}")
    for path in PAGES:
        connection = gateway.connect()
        times = []
        for _ in range(ROUNDS):
            status, took, size, body = ask(connection, path)
            times.append(took)
        said = "" if status == 200 else f"  {status}"
        text = gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body
        if b"not all counted" in text:
            said += "  not all counted"
        print(f"{path:64} {times[0]:8.1f} {statistics.median(times):8.1f} {max(times):8.1f} {size / 1000:7.1f}{said}")


def call(connection):
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "search", "arguments": {"query": "x"}}}
    began = time.perf_counter()
    connection.request("POST", "/mcp/notes", json.dumps(body),
                       {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200 and b'"result"' in text, text
    return (time.perf_counter() - began) * 1000


def calls(gateway):
    connection = gateway.connect()
    times = sorted(call(connection) for _ in range(CALLS))
    return times[CALLS // 2], times[CALLS * 99 // 100]


def read_on(port, going, read):
    """Twenty readers in a process of their own that gives way: they sit at other machines, and take no time from calls."""
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))

    def reads(me):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        turn = me
        while going.is_set():
            ask(connection, PAGES[turn % len(PAGES)])
            turn += 1
            with read.get_lock():
                read.value += 1
            time.sleep(1)

    readers = [threading.Thread(target=reads, args=(n,)) for n in range(READERS)]
    [reader.start() for reader in readers]
    [reader.join() for reader in readers]


def beside(gateway):
    calls(gateway)
    for _ in range(5):
        alone = calls(gateway)
        going, read = multiprocessing.Event(), multiprocessing.Value("i", 0)
        going.set()
        readers = multiprocessing.Process(target=read_on, args=(gateway.port, going, read))
        readers.start()
        time.sleep(2)
        began, before = time.perf_counter(), read.value
        watched = calls(gateway)
        rate = (read.value - before) / (time.perf_counter() - began)
        going.clear()
        readers.join()
        print(f"calls alone: p50 {alone[0]:.2f} ms, p99 {alone[1]:.2f} ms; beside {READERS} readers "
              f"({rate:.0f} pages/s): p50 {watched[0]:.2f} ms, p99 {watched[1]:.2f} ms")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("db", type=pathlib.Path, help="a log that fill made")
    parser.add_argument("--gateway", type=pathlib.Path, default=ROOT / "target/release/hayward", help="the program")
    parser.add_argument("--pages", action="store_true", help="only ask for each page")
    parser.add_argument("--calls", action="store_true", help="only call beside readers")
    return parser.parse_args()


given = arguments()
gateway = Gateway(given.gateway.resolve(), given.db)
try:
    if not given.calls:
        pages(gateway)
    if not given.pages:
        beside(gateway)
finally:
    gateway.stop()
