"""The venue's protocol: frames, streams, sockets, REST and their limits; whatever the events come from."""
