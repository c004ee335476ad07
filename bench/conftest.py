"""pytest bench: every benchmark is one contender at one task. README.md says how to choose them.

The contenders of a task are raced against each other (bench/race.py) when the first of them is asked for; the benchmark
fixture is then handed the times of each, with a clock that shows the time the contender's own process measured.
"""

import sys
from pathlib import Path

import pytest

ROOT = str(Path(__file__).resolve().parent.parent)
if ROOT not in sys.path:
    sys.path.append(ROOT)  # last: an installed fastconv comes before the clone's

from bench import compare, race, records, report, tables  # noqa: E402
from bench.peers import MODES  # noqa: E402


def pytest_addoption(parser):
    group = parser.getgroup("fastconv's benchmarks")
    group.addoption("--layers", default="named", help="sets of convolutions or layers, comma-separated")
    group.addoption("--passes", default=None, help="passes of convolutions, comma-separated (default: all)")
    group.addoption("--peers", default=",".join(MODES), help="libraries beside fastconv, comma-separated; none")
    group.addoption("--quick", action="store_true", help="four layers, two rounds: half a minute")
    group.addoption("--readme", action="store_true", help="only what README.md's tables show (bench/tables.py)")
    group.addoption("--threads", type=int, default=1, help="threads every library may use (default 1)")
    group.addoption(
        "--isa", default=None, help="fastconv's, comma-separated: baseline, avx2, avx512 (default: the best there is)"
    )
    group.addoption("--rounds", type=int, default=6, help="turns of every contender at a task")
    group.addoption("--seconds", type=float, default=0.04, help="length of a turn")


class Clock:
    """Shows the time that contenders' processes have measured."""

    now = 0.0

    def __call__(self):
        return self.now


class Races:
    """The races of a session, each run when its first contender is asked for."""

    def __init__(self, config):
        self.config, self.clock = config, Clock()
        self.workers, self.results, self.selected = race.Workers(), {}, {}

    def result(self, task, checking):
        """The result of the race among the contenders selected at a task; checking: results are checked, once."""
        if task not in self.results:
            option = self.config.getoption
            rounds, seconds = (2 if option("quick") else option("rounds")), option("seconds")
            if checking:
                rounds, seconds = 1, 0.0
            self.results[task] = race.race(self.workers, task, self.selected[task], option("threads"), rounds, seconds)
        return self.results[task]


RACES = pytest.StashKey[Races]()


def pytest_configure(config):
    config.stash[RACES] = Races(config)


def pytest_unconfigure(config):
    config.stash[RACES].workers.close()


def pytest_generate_tests(metafunc):
    if "contender" not in metafunc.fixturenames:
        return
    config = metafunc.config
    peers, isas = config.getoption("peers").split(","), (config.getoption("isa") or "").split(",")
    isas = [isa or None for isa in isas]
    pairs = [
        (task, contender)
        for task in metafunc.module.tasks(config)
        if not config.getoption("readme") or tables.shows(task.op, task.pass_, task.size.name)
        for contender in compare.contenders(task.op, task.pass_, isas)
        if contender.library in ("fastconv", *peers)
    ]
    ids = [f"{task.size.name}-{task.pass_}-{contender}" for task, contender in pairs]
    metafunc.parametrize(("task", "contender"), pairs, ids=ids)


def pytest_collection_modifyitems(config, items):
    for item in items:
        if "contender" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.benchmark(timer=config.stash[RACES].clock))


def pytest_collection_finish(session):
    races = session.config.stash[RACES]
    for item in session.items:
        if "contender" in getattr(item, "fixturenames", ()):
            params = item.callspec.params
            races.selected.setdefault(params["task"], []).append(params["contender"])


@pytest.fixture
def timed(benchmark, request):
    """timed(task, contender): the contender's times in the race at the task, and what they mean, in the benchmark."""
    races = request.config.stash[RACES]

    def run(task, contender):
        result = races.result(task, benchmark.disabled)
        if reason := result.skipped.get(contender):
            if contender.library == "fastconv" and reason.startswith(race.FAILED):
                pytest.fail(f"{contender} at {task.name}: {reason}", pytrace=False)
            pytest.skip(reason)
        record = records.of(result, contender)
        benchmark.group = task.name
        benchmark.extra_info.update(record, speed=records.speed(record), of_peak=records.of_peak(record))
        times = iter(result.times[contender])

        def call():
            races.clock.now += next(times)

        benchmark.pedantic(call, rounds=len(result.times[contender]))

    return run


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["fastconv"] = records.machine()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter, config):
    results = config.stash[RACES].results.values()
    found = [records.of(result, contender) for result in results for contender in result.times]
    if found:
        terminalreporter.write_line("")
        terminalreporter.write_line(report.text(found))
