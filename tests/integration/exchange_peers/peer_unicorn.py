"""unicorn-binance-local-depth-cache, spot and USD-M."""

import time

import requests
import unicorn_binance_websocket_api.connection_settings as settings
from report import LEVELS, answer_in_background, arguments

where = arguments()
venue = "binance.com" if where.market == "spot" else "binance.com-futures"
# Its REST address is fixed in a constructor that already sends a request, so requests are sent elsewhere.
send = requests.sessions.Session.request


def redirect(self: requests.Session, method: str, url: str, *rest: object, **options: object) -> requests.Response:
    url = url.replace("https://api.binance.com", where.spot_rest).replace("https://fapi.binance.com", where.rest)
    return send(self, method, url, *rest, **options)


requests.sessions.Session.request = redirect
key = next(one for one in settings.CONNECTION_SETTINGS if one.value == venue)
settings.CONNECTION_SETTINGS[key] = (settings.CONNECTION_SETTINGS[key][0], f"{where.ws}/", None)

from unicorn_binance_local_depth_cache import BinanceLocalDepthCacheManager  # noqa: E402
from unicorn_binance_rest_api.manager import BinanceRestApiManager  # noqa: E402

cache = BinanceLocalDepthCacheManager(
    exchange=venue,
    ubra_manager=BinanceRestApiManager(exchange=venue, warn_on_update=False),
    warn_on_update=False,
    init_interval=0.5,
    init_time_window=1,
    depth_cache_update_interval=100,
)
cache.create_depthcache(markets=[where.symbol])
answer_in_background(
    lambda: (
        cache.get_bids(market=where.symbol, limit_count=LEVELS),
        cache.get_asks(market=where.symbol, limit_count=LEVELS),
    )
)
while True:
    time.sleep(1)
