"""docs/reference/grpc.md forgets nothing."""

from __future__ import annotations

from raven.fanout import FILTERS
from raven.proto import control_pb2, market_data_pb2, subscription_pb2
from raven.serve.reference import parse, reference


def test_every_field_call_and_value_of_the_compiled_proto_is_on_the_page() -> None:
    page = reference()

    for module in (control_pb2, market_data_pb2, subscription_pb2):
        for message in module.DESCRIPTOR.message_types_by_name.values():
            assert f"## message `{message.name}`" in page
            for field in message.fields:
                assert f"| `{field.name}` | `" in page, field.full_name
                assert f"= {field.number}`" in page
        for service in module.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                assert f"| `{method.name}` |" in page
        for enum in module.DESCRIPTOR.enum_types_by_name.values():
            for value in enum.values:
                assert f"| `{value.name}` | `{value.number}` |" in page


def test_every_filter_is_on_the_page() -> None:
    page = reference()

    assert all(f"| `{rule.key}` | {rule.values} |" in page for rule in FILTERS)


def test_comments_before_and_behind_a_field_explain_it() -> None:
    (block,) = parse("// A thing.\nmessage Thing {\n  // first\n  string one = 1; // and more\n\n  int32 two = 2;\n}\n")

    assert (block.kind, block.name, block.comment) == ("message", "Thing", "A thing.")
    assert block.rows == [("one", "string = 1", "first and more"), ("two", "int32 = 2", "")]
