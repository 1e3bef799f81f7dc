"""A port on loopback at which the ranks of one machine meet."""

import random
import socket

BELOW_EPHEMERAL = range(20_000, 30_000)  # Linux hands out 32768 and above to whoever connects: such a port may be
# taken between looking and listening


def free_port() -> int:
    draw = random.SystemRandom()
    while True:
        port = draw.choice(BELOW_EPHEMERAL)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
