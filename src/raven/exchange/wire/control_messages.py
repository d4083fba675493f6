"""What a client may say on a socket: SUBSCRIBE and its four companions, and the venue's answers to mistakes.

The documentation shows errors as `{"code":…,"msg":…}`; on the wire they come inside `{"error":…}`, with the request's
id when it could be read. Clients are known to look for either key, so the wire's form is the one served.
"""

import json
import re
from dataclasses import dataclass

METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")
"""Every method of the stream protocol."""
_TEXT_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")


class RequestRefused(Exception):
    """The message is not a valid request. Carries the answer to send."""

    def __init__(self, code: int, message: str, request_id: int | str | None = None) -> None:
        super().__init__(message)
        self.answer = error_answer(code, message, request_id)


@dataclass(frozen=True, slots=True)
class Request:
    """A valid request."""

    method: str
    params: list[object]
    request_id: int | str | None


def error_answer(code: int, message: str, request_id: int | str | None = None) -> bytes:
    """Write an error as the venue does."""
    body: dict[str, object] = {"error": {"code": code, "msg": message}}
    if request_id is not None:
        body["id"] = request_id
    return json.dumps(body, separators=(",", ":")).encode()


def result_answer(result: object, request_id: int | str | None) -> bytes:
    """Write a result as the venue does."""
    return json.dumps({"result": result, "id": request_id}, separators=(",", ":")).encode()


def parse_request(payload: bytes, *, text_ids: bool) -> Request:
    """Read a request. Spot accepts texts and null as id (`text_ids`), futures only unsigned integers.

    Raises: RequestRefused with the answer to send.
    """
    try:
        message = json.loads(payload)
    except (ValueError, RecursionError) as error:
        line, column = getattr(error, "lineno", 1), getattr(error, "colno", 1)
        raise RequestRefused(3, f"Invalid JSON: expected value at line {line} column {column}") from None
    where = f"at line 1 column {len(payload)}"
    if not isinstance(message, dict):
        raise RequestRefused(2, f"Invalid request: expected struct Request {where}")
    request_id = message.get("id")
    if not _is_valid_id(request_id, text_ids=text_ids):
        raise RequestRefused(2, "Invalid request: request ID must be an unsigned integer")
    method = message.get("method")
    if method is None:
        raise RequestRefused(2, f"Invalid request: missing field `method` {where}", request_id)
    if method not in METHODS:
        expected = ", ".join(f"`{one}`" for one in METHODS)
        raise RequestRefused(
            2, f"Invalid request: unknown variant `{method}`, expected one of {expected} {where}", request_id
        )
    params = message.get("params", [])
    if not isinstance(params, list):
        raise RequestRefused(2, f"Invalid request: invalid type for `params`, expected a sequence {where}", request_id)
    _check_params(method, params, request_id)
    return Request(method, params, request_id)


def _is_valid_id(request_id: object, *, text_ids: bool) -> bool:
    if isinstance(request_id, int) and not isinstance(request_id, bool):
        return -(2**63) <= request_id < 2**63 if text_ids else 0 <= request_id < 2**63
    return text_ids and (request_id is None or (isinstance(request_id, str) and bool(_TEXT_ID.fullmatch(request_id))))


def _check_params(method: str, params: list[object], request_id: int | str | None) -> None:
    if method in ("SUBSCRIBE", "UNSUBSCRIBE"):
        if not params or not all(isinstance(name, str) for name in params):
            raise RequestRefused(2, "Invalid request: params must be a list of stream names", request_id)
        return
    expected = {"LIST_SUBSCRIPTIONS": 0, "GET_PROPERTY": 1, "SET_PROPERTY": 2}[method]
    if len(params) > expected:
        raise RequestRefused(2, "Invalid request: too many parameters", request_id)
    if expected and (not params or not isinstance(params[0], str)):
        raise RequestRefused(2, "Invalid request: property name must be a string", request_id)
    if expected and params[0] != "combined":
        raise RequestRefused(0, "Unknown property", request_id)
    if method == "SET_PROPERTY" and (len(params) < 2 or not isinstance(params[1], bool)):
        raise RequestRefused(1, "Invalid value type: expected Boolean", request_id)
