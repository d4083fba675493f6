"""How a role hears its upstream: one file per kind of hop, each a `raven.ports.Link`."""
