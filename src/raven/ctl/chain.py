"""Who hears whom: the services between an exchange and a database, as they run or as they are configured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from raven.app.services import SERVICES, Role, Service, find, upstream_of
from raven.config import Settings
from raven.ctl.reach import Reach, State

__all__ = ["Step", "databases", "hears", "steps", "without_the_unmissed"]


@dataclass(slots=True)
class Step:
    """One thing that a start brings about."""

    service: str
    address: str
    does: str
    is_up: bool
    notes: list[str] = field(default_factory=list)


def hears(state: State, settings: Settings) -> str:
    """Return the name of the service that one hears, or its address when it is none of the table; empty for none."""
    said = state.status.get("upstream") if state.is_up else None
    if said:
        return str(said.get("service") or said.get("address")).removeprefix("grpc://")
    service = SERVICES.get(state.name)
    if service is None or service.upstream is None:
        return ""
    address = settings.service(service.name).upstream
    heard = upstream_of(service, settings)
    return address.removeprefix("grpc://") if address else heard.name if heard else ""


def databases(service: Service, settings: Settings) -> list[str]:
    """Return the databases that a service writes to."""
    return [name for name in service.databases if getattr(settings, name).url]


async def steps(reach: Reach, name: str, symbol: str) -> list[Step]:
    """Return what starting a symbol at a service would bring about, from that service up to the exchange.

    Raises: ConfigurationError for a service that does not exist.
    """
    made: list[Step] = []
    seen: set[str] = set()
    wanted = name
    asks = "`ravenctl start`"
    while wanted in SERVICES and wanted not in seen:
        seen.add(wanted)
        service = find(wanted)
        (state,) = await reach.look([reach.target(wanted)])
        made.append(_step(service, state, symbol, asks))
        asks, wanted = service.name, hears(state, reach.settings)
    return made


def _step(service: Service, state: State, symbol: str, asks: str) -> Step:
    what = {
        Role.SERVER: "collects trades and book of",
        Role.SOURCE: "collects trades and book of" if asks.startswith("`") else "collects trades of",
        Role.AGGREGATOR: "makes bars of",
        Role.PERSISTENCE: "writes what it hears of",
    }[service.role]
    step = Step(service.name, state.target.address, f"{what} {symbol}, because {asks} asks for it", state.is_up)
    if not state.is_up:
        step.notes.append(f"does not run: start it with `{service.name}`")
    rows = [row for row in state.status.get("collections", ()) if row["symbol"] == symbol]
    step.notes += [f"has {', '.join(row['types'])} of it already, {row['status']}" for row in rows]
    return step


def without_the_unmissed(states: Sequence[State]) -> list[State]:
    """Leave out what nobody misses: `raven` while services of their own run, and these while only `raven` does."""
    up = {state.name for state in states if state.is_up}
    if not up:
        return list(states)
    only_server = up == {"raven"}
    return [state for state in states if state.is_up or (state.name != "raven" and not only_server)]
