"""Progress writes are spaced by the write budget."""

from lepton_operator.progress.pacing import Pacer


class Clock:
    """Time that moves by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_write_may_go_out_at_once_and_the_next_waits_for_its_turn():
    clock = Clock()
    pacer: Pacer[str] = Pacer(minimum=10, writes_per_second=25, clock=clock)
    assert pacer.wait("a") == 0
    pacer.written("a")
    clock.now = 4
    assert pacer.wait("a") == 6
    assert pacer.wait("b") == 0
    clock.now = 10
    assert pacer.wait("a") == 0


def test_after_a_write_of_old_progress_the_next_is_due_sooner():
    clock = Clock()
    pacer: Pacer[str] = Pacer(minimum=10, writes_per_second=25, clock=clock)
    pacer.running = 1000
    pacer.written("a", 12.0)
    assert pacer.wait("a") == 28
    pacer.written("a", 3600.0)
    assert pacer.wait("a") == 10


def test_many_running_jobs_share_the_budget():
    pacer: Pacer[str] = Pacer(minimum=10, writes_per_second=25)
    assert pacer.period == 10
    pacer.running = 1000
    assert pacer.period == 40


def test_how_far_one_of_many_has_come_waits_for_what_makes_the_others_start():
    pacer: Pacer[str] = Pacer(
        minimum=10, writes_per_second=40, unfinished=lambda: 1000, clock=Clock()
    )
    pacer.written("a")
    assert pacer.wait("a") == 10
    assert pacer.wait("a", starting=True) == 200
    alone: Pacer[str] = Pacer(minimum=10, unfinished=lambda: 1, clock=Clock())
    alone.written("a")
    assert alone.wait("a", starting=True) == 10


def test_a_forgotten_job_starts_anew():
    pacer: Pacer[str] = Pacer(clock=Clock())
    pacer.written("a")
    pacer.forget("a")
    assert pacer.wait("a") == 0
