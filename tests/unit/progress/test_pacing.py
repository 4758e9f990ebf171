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
    assert pacer.wait("a", 0) == 0
    pacer.written("a")
    clock.now = 4
    assert pacer.wait("a", 0) == 6
    assert pacer.wait("b", 0) == 0
    clock.now = 10
    assert pacer.wait("a", 0) == 0


def test_many_running_jobs_share_the_budget():
    pacer: Pacer[str] = Pacer(minimum=10, writes_per_second=25)
    pacer.running = 1000
    assert pacer.period(0) == 40


def test_a_forgotten_job_starts_anew():
    pacer: Pacer[str] = Pacer(clock=Clock())
    pacer.written("a")
    pacer.forget("a")
    assert pacer.wait("a", 0) == 0


def test_an_older_job_is_written_when_its_age_has_grown_by_a_quarter_and_every_minute_at_least():
    pacer: Pacer[str] = Pacer(minimum=10, writes_per_second=25)
    assert pacer.period(age=30) == 10
    assert pacer.period(age=120) == 30
    assert pacer.period(age=7200) == 60


def test_a_job_of_four_minutes_costs_twelve_progress_writes():
    clock = Clock()
    pacer: Pacer[str] = Pacer(minimum=10, writes_per_second=25, clock=clock)
    writes = 0
    pacer.written("a")  # that it runs
    while clock.now < 240:
        clock.now += 1
        if pacer.wait("a", clock.now) == 0:
            pacer.written("a")
            writes += 1
    assert writes <= 12
