import re

import pytest

from raven import errors
from raven.errors import RavenError


def tree() -> list[type[RavenError]]:
    return [value for name in errors.__all__ if isinstance(value := getattr(errors, name), type)]


def test_every_kind_of_the_contract_exists() -> None:
    kinds = {error.kind for error in tree()}

    assert kinds == {"DataValidation", "DatabaseConnection", "NetworkTimeout", "ConfigurationError", "InternalError"}


@pytest.mark.parametrize("error", tree())
def test_the_drawing_at_the_top_shows_each_class_with_its_kind_and_retryable(error: type[RavenError]) -> None:
    if error is RavenError:
        return
    line = next(line for line in (errors.__doc__ or "").splitlines() if re.search(rf"── {error.__name__}\b", line))

    assert error.kind in line.split("── ")[1].split(None, 1)[1]
    assert (" yes " in line) == error.retryable
