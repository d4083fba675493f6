from raven.exchange.timeline import SECOND, RealTimeline, Timeline, Timer


def test_timers_fire_in_order_of_time_and_then_of_setting():
    timeline = Timeline(start_ns=0)
    fired = []
    timeline.call_at(20, lambda: fired.append("late"))
    timeline.call_at(10, lambda: fired.append("first"))
    timeline.call_at(10, lambda: fired.append("second"))

    assert timeline.run_until(15)

    assert fired == ["first", "second"]
    assert timeline.now_ns == 15


def test_time_stands_at_the_timer_that_fires():
    timeline = Timeline(start_ns=0)
    seen = []
    timeline.call_at(7, lambda: seen.append(timeline.now_ns))

    timeline.run_until(100)

    assert seen == [7]


def test_a_cancelled_timer_does_not_fire_and_setting_again_replaces():
    timeline = Timeline(start_ns=0)
    fired = []
    cancelled = timeline.call_at(5, lambda: fired.append("cancelled"))
    moved = Timer(lambda: fired.append(timeline.now_ns))
    timeline.set(moved, 6)
    timeline.set(moved, 8)
    cancelled.cancel()

    timeline.run_until(10)

    assert fired == [8]
    assert not moved.armed


def test_a_limit_leaves_the_rest_for_the_next_turn():
    timeline = Timeline(start_ns=0)
    fired = []
    for when in (1, 2, 3):
        timeline.call_at(when, lambda when=when: fired.append(when))

    assert not timeline.run_until(10, limit=2)
    assert fired == [1, 2]
    assert timeline.run_until(10, limit=2)
    assert fired == [1, 2, 3]


def test_the_next_due_time_skips_cancelled_timers():
    timeline = Timeline(start_ns=0)
    timeline.call_at(3, lambda: None).cancel()
    timeline.call_at(9, lambda: None)

    assert timeline.next_due_ns() == 9
    assert Timeline().next_due_ns() is None


def test_the_real_timeline_never_goes_back():
    timeline = RealTimeline()

    times = [timeline.wall_ns() for _ in range(100)]

    assert times == sorted(times)
    assert abs(times[-1] - times[0]) < 10 * SECOND
