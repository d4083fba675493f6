"""From an exchange to the engine: connections, streams, snapshots, and who wants them."""
