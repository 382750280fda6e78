"""An official Python SDK (`mcp` 2.x or 1.x), or `fastmcp`, whichever is installed, against MCP endpoints.

Lists every page of tools, calls one tool, looks for a text in the result, prints one line of JSON.
Exit status 0 when all of it worked, else 1. The bearer token comes from HAYWARD_TOKEN; without it none is sent.

    smoke.py [--transport http|sse] [--mode auto|legacy] [--seconds 30]
        URL TOOL --expect hello [--arguments '{"message": "hello"}'] [--input '{"name": "Ada"}']

Without URL and TOOL it reads them from standard input, one JSON object a line with the keys `url`, `tool`, `expect`,
`arguments` and `input`, and does all of it for each, on a connection of its own.

With an input the tool has to ask for input (elicitation), however the revision carries that, and gets this answer.
When a server refuses, the report has the `code` of its error, or `tool_error`.
"""

import argparse
import asyncio
import functools
import json
import os
import sys
import time
from argparse import Namespace
from importlib.metadata import PackageNotFoundError, version

MAX_PAGES = 100


def read_arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("url", nargs="?")
    parser.add_argument("tool", nargs="?")
    parser.add_argument("--expect", default="")
    parser.add_argument("--arguments", type=json.loads, default={})
    parser.add_argument("--input", type=json.loads)
    parser.add_argument("--transport", choices=["http", "sse"], default="http")
    parser.add_argument("--mode", choices=["auto", "legacy"], default="auto")
    parser.add_argument("--seconds", type=float, default=30)
    return parser.parse_args()


def headers():
    token = os.environ.get("HAYWARD_TOKEN")
    return {"Authorization": f"Bearer {token}"} if token else {}


class ToolError(Exception):
    """The tool itself says that it failed."""


class Person:
    """Whoever answers when a tool asks for input; stands for nobody without an answer."""

    def __init__(self, answer, result_type):
        self.answer, self.result_type, self.asked = answer, result_type, 0

    async def elicited(self, _context, _params):
        self.asked += 1
        return self.result_type(action="accept", content=self.answer)

    @property
    def callback(self):
        return None if self.answer is None else self.elicited


async def exercise(wanted, person, list_page, call):
    """The part that is the same for both SDKs; returns what there is to report."""
    names, cursor = [], None
    for _ in range(MAX_PAGES):
        page = await list_page(cursor)
        names += [tool.name for tool in page.tools]
        cursor = getattr(page, "next_cursor", None) or getattr(page, "nextCursor", None)
        if cursor is None:
            break
    if wanted.tool not in names:
        raise LookupError(f"`{wanted.tool}` is not among the {len(names)} tools: {', '.join(names)}")
    result = await call(wanted.tool, wanted.arguments)
    text = "\n".join(block.text for block in result.content if block.type == "text")
    if getattr(result, "is_error", False) or getattr(result, "isError", False):
        raise ToolError(f"`{wanted.tool}` failed: {text}")
    if wanted.expect not in text:
        raise ValueError(f"`{wanted.expect}` is not in the result: {text}")
    if person.callback and person.asked == 0:
        raise ValueError(f"`{wanted.tool}` asked for nothing")
    return {"tools": len(names)}


async def with_sdk_2(wanted):
    import httpx2
    from mcp.client import Client
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp_types import ElicitResult

    person = Person(wanted.input, ElicitResult)
    timeout = httpx2.Timeout(wanted.seconds)
    async with httpx2.AsyncClient(headers=headers(), timeout=timeout) as http:
        if wanted.transport == "sse":
            # No later revision knows this transport.
            transport, mode = sse_client(wanted.url, headers=headers()), "legacy"
        else:
            transport, mode = streamable_http_client(wanted.url, http_client=http), wanted.mode
        async with Client(transport, mode=mode, elicitation_callback=person.callback) as client:
            report = await exercise(wanted, person, lambda cursor: client.list_tools(cursor=cursor), client.call_tool)
            return report | {"protocol": client.protocol_version}


async def with_sdk_1(wanted):
    from mcp import ClientSession
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamablehttp_client
    from mcp.types import ElicitResult

    person = Person(wanted.input, ElicitResult)
    connect = sse_client if wanted.transport == "sse" else streamablehttp_client
    async with connect(wanted.url, headers=headers()) as (receive, send, *_):
        async with ClientSession(receive, send, elicitation_callback=person.callback) as client:
            opened = await client.initialize()
            report = await exercise(wanted, person, client.list_tools, client.call_tool)
            return report | {"protocol": opened.protocolVersion}


async def with_fastmcp(wanted):
    from fastmcp import Client
    from fastmcp.client.elicitation import ElicitResult
    from fastmcp.client.transports import SSETransport, StreamableHttpTransport

    person = Person(wanted.input, ElicitResult)
    if wanted.transport == "sse":
        # No later revision knows this transport.
        transport, mode = SSETransport(wanted.url, headers=headers()), "legacy"
    else:
        transport, mode = StreamableHttpTransport(wanted.url, headers=headers()), wanted.mode

    async def all_tools(_cursor):
        return Namespace(tools=await client.list_tools())

    async def answer(_message, _response_type, params, context):
        return await person.elicited(context, params)

    async with Client(transport, mode=mode, elicitation_handler=person.callback and answer) as client:
        call = functools.partial(client.call_tool, raise_on_error=False)
        report = await exercise(wanted, person, all_tools, call)
        return report | {"protocol": client.session.protocol_version}


def innermost(error):
    """Task groups wrap what went wrong; this is the first thing that did."""
    while getattr(error, "exceptions", None):
        error = error.exceptions[0]
    return error


def installed_client():
    """What is installed, and how it is driven."""
    try:
        return f"fastmcp {version('fastmcp')}", with_fastmcp
    except PackageNotFoundError:
        sdk = version("mcp")
        return f"mcp {sdk}", with_sdk_1 if sdk.startswith("1.") else with_sdk_2


def report_on(wanted, client, run):
    report = {"client": client, "mode": wanted.mode, "url": wanted.url, "tool": wanted.tool, "ok": False}
    started = time.monotonic()
    try:
        report |= asyncio.run(asyncio.wait_for(run(wanted), wanted.seconds))
        report["ok"] = True
    except Exception as error:
        error = innermost(error)
        report["error"] = f"{type(error).__name__}: {error}"[:500]
        if isinstance(error, ToolError):
            report["code"] = "tool_error"
        elif isinstance(code := getattr(getattr(error, "error", None), "code", None), int):
            report["code"] = code
    report["ms"] = round((time.monotonic() - started) * 1000)
    print(json.dumps(report), flush=True)
    return report["ok"]


def main():
    given = read_arguments()
    each = [given] if given.url else [Namespace(**(vars(given) | json.loads(line))) for line in sys.stdin]
    client, run = installed_client()
    went_well = [report_on(wanted, client, run) for wanted in each]
    return 0 if all(went_well) else 1


sys.exit(main())
