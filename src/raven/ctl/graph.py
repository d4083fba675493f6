"""The picture of `ravenctl graph`: nodes and edges, as a tree for people and in the language of Graphviz."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.tree import Tree

from raven.app.services import SERVICES, Role
from raven.config import Settings
from raven.ctl.chain import databases, hears
from raven.ctl.reach import State

__all__ = ["Graph", "Node", "dot", "graph", "tree"]

_SHAPES = {"exchange": "ellipse", "service": "box", "database": "cylinder", "clients": "plaintext"}


@dataclass(frozen=True, slots=True)
class Node:
    """An exchange, a service, a database, or the clients of a service."""

    name: str
    what: str
    label: str
    is_up: bool = True


@dataclass(slots=True)
class Graph:
    """Who feeds whom."""

    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    """`(from, to)`, in the direction of the data."""

    def add(self, node: Node, fed_by: str = "") -> None:
        """Add a node if it is new, and who feeds it."""
        self.nodes.setdefault(node.name, node)
        if fed_by:
            self.edges.append((fed_by, node.name))


def graph(states: Sequence[State], settings: Settings) -> Graph:
    """Return what feeds what."""
    made = Graph()
    for state in states:
        made.add(_service(state))
    for state in states:
        service = SERVICES.get(state.name)
        if service is None:
            continue
        for venue in _venues(state, settings):
            made.add(Node(f"exchange {venue}", "exchange", f"exchange of {venue}"))
            made.edges.append((f"exchange {venue}", state.name))
        if heard := hears(state, settings):
            made.add(Node(heard, "service", heard, is_up=False))
            made.edges.append((heard, state.name))
        for database in databases(service, settings):
            made.add(Node(database, "database", database), state.name)
        if count := _clients(state, states):
            made.add(
                Node(f"clients of {state.name}", "clients", f"{count} client{'' if count == 1 else 's'}"), state.name
            )
    return made


def _service(state: State) -> Node:
    symbols = sorted({row["symbol"] for row in state.status.get("collections", ())})
    told = f": {', '.join(symbols[:4])}{'…' if len(symbols) > 4 else ''}" if symbols else ""
    return Node(state.name, "service", f"{state.name} ({state.target.address}){told}", state.is_up)


def _venues(state: State, settings: Settings) -> list[str]:
    match SERVICES[state.name].role:
        case Role.SOURCE:
            return [state.name]
        case Role.SERVER:
            return settings.feeds.venues
    return []


def _clients(state: State, states: Sequence[State]) -> int:
    """Count the clients that are no services of ours: these are drawn themselves."""
    ours = {other.name for other in states}
    # A link has a number behind its service's name, another one on every connection.
    names = (client["client_id"] for client in state.status.get("clients", ()))
    return sum(1 for name in names if name not in ours and name.rpartition("-")[0] not in ours)


def tree(made: Graph) -> Tree:
    """Return it for a terminal: who feeds nobody's ear stands at the edge; a service that does not run is dim."""
    fed = {to for _, to in made.edges}
    root = Tree("[bold]who feeds whom[/]", guide_style="dim")
    for name in made.nodes:
        if name not in fed:
            _grow(root, made, name, set())
    return root


def _grow(parent: Tree, made: Graph, name: str, above: set[str]) -> None:
    node = made.nodes[name]
    label = node.label if node.is_up else f"[dim]{node.label} (down)[/]"
    branch = parent.add(label)
    for source, to in made.edges:
        # A circle in a configuration is drawn once around.
        if source == name and to not in above:
            _grow(branch, made, to, above | {name})


def dot(made: Graph) -> str:
    """Return it for Graphviz."""
    lines = ["digraph raven {", "  rankdir=LR;"]
    for node in made.nodes.values():
        style = "" if node.is_up else ", style=dashed"
        lines.append(f'  "{node.name}" [label="{node.label}", shape={_SHAPES[node.what]}{style}];')
    lines += [f'  "{source}" -> "{to}";' for source, to in made.edges]
    return "\n".join([*lines, "}"])
