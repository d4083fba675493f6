from hypothesis import given
from hypothesis import strategies as st

from raven.exchange.generated.matching import ASK, BID, BookSide, Fill, MatchingBook


def test_the_best_price_is_the_highest_bid_and_the_lowest_ask():
    book = MatchingBook()
    for price in (100, 98, 99):
        book.bids.place(price, 5)
    for price in (103, 101, 102):
        book.asks.place(price, 7)

    assert book.top() == (100, 5, 101, 7)
    assert book.spread_ticks == 1
    assert book.asks.levels(2) == [(101, 7), (102, 7)]


def test_a_taker_meets_the_best_price_and_the_oldest_order_first():
    side = BookSide(ASK)
    side.place(101, 3)
    side.place(101, 4)
    side.place(102, 5)

    fills = side.take(9)

    assert fills == [Fill(101, 3), Fill(101, 4), Fill(102, 2)]
    assert side.quantity(101) == 0
    assert side.quantity(102) == 3


def test_the_last_order_of_a_side_is_never_taken():
    side = BookSide(BID)
    side.place(100, 3)

    assert side.take(10) == []
    assert side.best == 100


def test_cancelling_the_last_order_of_a_level_removes_the_level():
    side = BookSide(BID)
    side.place(100, 3)
    side.place(99, 2)

    assert side.cancel(99, 0) == 2

    assert side.levels(5) == [(100, 3)]


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 40), st.integers(1, 9)), max_size=120),
    st.sampled_from([BID, ASK]),
)
def test_totals_are_the_sums_of_the_queues_after_any_orders(orders, which):
    side = BookSide(which)
    side.place(20, 5)

    for action, price, quantity in orders:
        if action < 2:
            side.place(price, quantity)
        elif action == 2:
            side.take(quantity)
        elif len(side.ranks) > 1 and side.quantity(price):
            side.cancel(price, 0)

    assert side.ranks == sorted(side.queues)
    assert {rank: sum(queue) for rank, queue in side.queues.items()} == side.totals
    assert all(total > 0 for total in side.totals.values())
