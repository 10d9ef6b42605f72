"""Ask the simulator as a program would, without the client under test."""

from typing import Any

import httpx

from watchkey.simulator import READ_TOKEN, Simulator

ACCEPT = "application/vnd.pagerduty+json;version=2"


async def ask(sim: Simulator, path: str, token: str = READ_TOKEN, **options: Any) -> httpx.Response:
    """One GET with the headers that the contract asks for."""
    headers = {"Accept": ACCEPT, "Authorization": f"Token token={token}", **options.pop("headers", {})}
    async with httpx.AsyncClient(base_url=sim.base_url, trust_env=False) as client:
        return await client.request(options.pop("method", "GET"), path, headers=headers, **options)


async def rows(sim: Simulator, name: str, path: str, **params: Any) -> list[Any]:
    """The rows of one page."""
    reply = await ask(sim, path, params=params)
    assert reply.status_code == 200, reply.text
    found: list[Any] = reply.json()[name]
    return found
