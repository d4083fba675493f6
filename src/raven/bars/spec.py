"""From the words a user writes (`kind="tick_imbalance", initial_size=1000`) to a checked native spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from raven._core import BarSpec
from raven.errors import DataValidation

__all__ = ["BAR_KINDS", "bar_spec", "parameters_of"]

_ADAPTIVE: dict[str, Any] = {
    "initial_size": None,
    "initial_p_buy": 0.7,
    "alpha_size": 0.1,
    "alpha_imbl": 0.1,
    "size_min": None,
    "size_max": None,
    "rule": "bounded",
    "direction": "aggressor",
}
REQUIRED = object()
"""In the place of a default: the parameter must be given."""
BAR_KINDS: Mapping[str, Mapping[str, Any]] = {
    "time": {"seconds": REQUIRED, "empty": False},
    "tick": {"ticks": REQUIRED},
    "volume": {"volume": REQUIRED, "split": False},
    "quote_volume": {"quote_volume": REQUIRED, "split": False},
    "tick_imbalance": _ADAPTIVE | {"initial_size": 1000.0},
    "volume_imbalance": _ADAPTIVE | {"initial_size": REQUIRED},
    "tick_run": _ADAPTIVE | {"initial_size": 1000.0},
    "volume_run": _ADAPTIVE | {"initial_size": REQUIRED},
    "vpin": {"bucket_volume": REQUIRED, "buckets": 50},
}
"""The kinds with their parameters and defaults; `REQUIRED` stands where there is none."""

# The bounded rule: how far sizes go from the initial one, and floor and cap. See docs/reference/bars.md.
BOUNDED_SIZES = (0.5, 2.0)
BOUNDED_FLOOR = 1.0
BOUNDED_CAP = 10.0


def parameters_of(kind: str) -> Mapping[str, Any]:
    """Return the parameters of a kind with their defaults. Raises: DataValidation when there is no such kind."""
    known = BAR_KINDS.get(kind)
    if known is None:
        near = get_close_matches(str(kind), BAR_KINDS, 1)
        meant = f"did you mean {near[0]}? " if near else ""
        raise DataValidation(f"there is no kind of bar {kind!r}; {meant}expected one of {', '.join(BAR_KINDS)}")
    return known


def bar_spec(kind: str, **parameters: Any) -> BarSpec:
    """Return the checked spec of a kind of bar.

    - `time`: `seconds` (whole milliseconds), `empty` (also bars of intervals without a trade)
    - `tick`: `ticks` · `volume`: `volume`, `split` · `quote_volume`: `quote_volume`, `split` (a print larger than what
      is left of a bar is split)
    - `tick_imbalance`, `volume_imbalance`, `tick_run`, `volume_run`: `initial_size` (expected trades, or base volume,
      of the first bar), `initial_p_buy`, `alpha_size`, `alpha_imbl`, `size_min` and `size_max` (numbers, or percent of
      the initial size as in `"90%"`), `rule` (`bounded` or `literal`), `direction` (`aggressor` or `tick_rule`)
    - `vpin`: `bucket_volume`, `buckets`

    Raises: DataValidation naming what is wrong and what is allowed.
    """
    known = parameters_of(kind)
    for name in parameters:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]}?" if near else f"; they take {', '.join(known)}"
            raise DataValidation(f"{kind} bars take no {name!r}{meant}")
    values = dict(known) | parameters
    missing = [name for name, value in values.items() if value is REQUIRED]
    if missing:
        raise DataValidation(f"{kind} bars need {missing[0]}, as in {missing[0]}={EXAMPLES.get(missing[0], 1000)}")
    return _SPECS.get(kind, _adaptive)(kind, values)


# Of parameters that must be given.
EXAMPLES = {"seconds": 60, "ticks": 500, "volume": 100.0, "quote_volume": 1e6, "bucket_volume": 50.0}


def _time(kind: str, values: dict[str, Any]) -> BarSpec:
    seconds = _positive(kind, values, "seconds")
    if not math.isclose(seconds * 1000, round(seconds * 1000), abs_tol=1e-6) or round(seconds * 1000) < 1:
        raise DataValidation(f"seconds={seconds} is not a whole number of milliseconds")
    return BarSpec(kind, [seconds], keeps_empty=_flag(values, "empty"))


def _tick(kind: str, values: dict[str, Any]) -> BarSpec:
    ticks = _positive(kind, values, "ticks")
    if ticks != int(ticks):
        raise DataValidation(f"ticks={ticks} is not a whole number")
    return BarSpec(kind, [ticks])


def _amount(kind: str, values: dict[str, Any]) -> BarSpec:
    return BarSpec(kind, [_positive(kind, values, kind)], is_split=_flag(values, "split"))


def _vpin(kind: str, values: dict[str, Any]) -> BarSpec:
    buckets = _positive(kind, values, "buckets")
    if buckets != int(buckets) or buckets > 100_000:
        raise DataValidation(f"buckets={buckets} is not a whole number up to 100000")
    return BarSpec(kind, [_positive(kind, values, "bucket_volume"), buckets])


def _adaptive(kind: str, values: dict[str, Any]) -> BarSpec:
    size = _positive(kind, values, "initial_size")
    shares = [_share(values, name) for name in ("initial_p_buy", "alpha_size", "alpha_imbl")]
    rule, direction = values["rule"], values["direction"]
    if rule not in ("bounded", "literal"):
        raise DataValidation(f"rule={rule!r} is not known; expected bounded or literal")
    if direction not in ("aggressor", "tick_rule"):
        raise DataValidation(f"direction={direction!r} is not known; expected aggressor or tick_rule")
    is_bounded = rule == "bounded"
    least, most = (size * factor for factor in BOUNDED_SIZES) if is_bounded else (0.0, 0.0)
    low = _bound(values, "size_min", size, least)
    high = _bound(values, "size_max", size, most)
    if high and low > high:
        raise DataValidation(f"size_min {low:g} is above size_max {high:g}")
    floor, cap = (BOUNDED_FLOOR, BOUNDED_CAP) if is_bounded else (0.0, 0.0)
    return BarSpec(kind, [size, *shares, low, high, floor, cap], uses_tick_rule=direction == "tick_rule")


_SPECS: dict[str, Callable[[str, dict[str, Any]], BarSpec]] = {
    "time": _time,
    "tick": _tick,
    "volume": _amount,
    "quote_volume": _amount,
    "vpin": _vpin,
}


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise DataValidation(f"{name}={value!r} is not a number") from None
    if not math.isfinite(number):
        raise DataValidation(f"{name}={value!r} is not finite")
    return number


def _positive(kind: str, values: dict[str, Any], name: str) -> float:
    number = _number(name, values[name])
    if number <= 0:
        raise DataValidation(f"{name}={values[name]!r} makes no {kind} bars; it must be above 0")
    return number


def _share(values: dict[str, Any], name: str) -> float:
    number = _number(name, values[name])
    if not 0 <= number <= 1:
        raise DataValidation(f"{name}={values[name]!r} must lie between 0 and 1")
    return number


def _bound(values: dict[str, Any], name: str, size: float, default: float) -> float:
    value = values[name]
    if value is None:
        return default
    if isinstance(value, str) and value.strip().endswith("%"):
        return size * _number(name, value.strip()[:-1]) / 100
    number = _number(name, value)
    if number < 0:
        raise DataValidation(f"{name}={value!r} must not be below 0")
    return number


def _flag(values: dict[str, Any], name: str) -> bool:
    if not isinstance(values[name], bool):
        raise DataValidation(f"{name}={values[name]!r} must be True or False")
    return bool(values[name])
