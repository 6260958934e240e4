"""The summary counts what is there."""

from __future__ import annotations

from bpfunc.keys import Key
from bpfunc.layers import batch_norm, dense, dropout, relu
from bpfunc.layers.combinators import named, parallel, residual, serial
from bpfunc.layers.summary import summary, summary_rows
from bpfunc.tree import tree_size


def test_rows_follow_the_nest() -> None:
    """Paths, shapes and counts of a nest; the totals are those of the parameters."""
    net = named(
        ("body", serial(dense(4), residual(serial(batch_norm(), relu())))),
        ("wide", parallel(dense(2), serial(dropout(0.5), dense(3, use_bias=False)))),
    )
    rows = summary_rows(net, (6,))
    assert [row.path for row in rows] == [
        "parts['body'].layers[0]",
        "parts['body'].layers[1].inner.layers[0]",
        "parts['body'].layers[1].inner.layers[1]",
        "parts['wide'].branches[0]",
        "parts['wide'].branches[1].layers[0]",
        "parts['wide'].branches[1].layers[1]",
    ]
    assert [row.out_shape for row in rows] == [(4,), (4,), (4,), (2,), (4,), (3,)]
    assert [row.flops for row in rows] == [52, 32, 4, 18, 4, 24]
    assert sum(row.parameters for row in rows) == tree_size(net.init(Key(0), (6,))[0])
    assert summary(net, (6,)).splitlines()[-1].split() == ["total", "58", "134"]


def test_operations_of_a_combinator_are_its_parts() -> None:
    """What a network says of itself is the total of its table, however deep it nests."""
    model = serial(
        dense(4),
        residual(serial(dense(4), relu())),
        parallel(dense(2), dense(3)),
        named(("head", dense(3))),
    )
    rows = summary_rows(model, (5,))
    assert model.flops((5,), (3,)) == sum(row.flops for row in rows) == 44 + 40 + (18 + 27) + 33
