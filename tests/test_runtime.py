"""Instruction sets, threads, and what decides their defaults."""

import contextvars
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from checks import bits, reals
from subprocesses import check, python

from fastconv import _native, ops, runtime

# ---------------------------------------------------------------------------------------------------------- options


def test_options_nest_and_restore():
    before = runtime.context()
    with runtime.options(isa="baseline", num_threads=3):
        assert (runtime.isa(), runtime.num_threads()) == ("baseline", 3)
        with runtime.options(num_threads=2):
            assert (runtime.isa(), runtime.num_threads()) == ("baseline", 2)
            with runtime.options(isa=_native.ISAS_DETECTED[0]):
                assert (runtime.isa(), runtime.num_threads()) == (_native.ISAS_DETECTED[0], 2)
        assert (runtime.isa(), runtime.num_threads()) == ("baseline", 3)
    assert runtime.context() is before


def test_options_restore_after_an_error():
    before = runtime.context()
    with pytest.raises(KeyError), runtime.options(num_threads=5):
        raise KeyError
    assert runtime.context() is before
    with pytest.raises(ValueError, match="num_threads=0"), runtime.options(num_threads=0):
        pass
    assert runtime.context() is before


def test_options_belong_to_the_thread_that_enters_them():
    with runtime.options(num_threads=7):
        with ThreadPoolExecutor(1) as pool:
            inside = pool.submit(runtime.num_threads).result()
            carried = pool.submit(contextvars.copy_context().run, runtime.num_threads).result()
        assert inside != 7
        assert carried == 7
    entered, leave = threading.Event(), threading.Event()

    def other():
        with runtime.options(num_threads=9):
            entered.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    thread.start()
    try:
        assert entered.wait(10)
        assert runtime.num_threads() != 9
    finally:
        leave.set()
        thread.join()


def test_set_num_threads_and_set_isa():
    before = runtime.context()
    try:
        runtime.set_num_threads(6)
        assert (runtime.isa(), runtime.num_threads()) == (before.isa, 6)
        runtime.set_isa("baseline")
        assert (runtime.isa(), runtime.num_threads()) == ("baseline", 6)
        with runtime.options(num_threads=2):
            assert runtime.num_threads() == 2
        with ThreadPoolExecutor(1) as pool:  # unlike options, it is for every thread
            assert pool.submit(runtime.num_threads).result() == 6
    finally:
        runtime.set_num_threads(before.num_threads)
        runtime.set_isa(before.isa)


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True, 10**6, 2**62, 2**70])
def test_wrong_thread_counts(value):
    before = runtime.num_threads()
    for call in (runtime.set_num_threads, lambda value: runtime.options(num_threads=value).__enter__()):
        with pytest.raises((ValueError, TypeError), match="options: num_threads="):
            call(value)
    assert runtime.num_threads() == before


@pytest.mark.parametrize("value", ["sse9", "", "AVX2", 3])
def test_wrong_instruction_sets(value):
    for call in (runtime.set_isa, lambda value: runtime.options(isa=value).__enter__()):
        with pytest.raises((ValueError, TypeError)):
            call(value)


def test_the_instruction_set_in_use_is_the_one_asked_for():
    """Different tiles sum in different groups, so results differ in the last bits: proof that the setting works."""
    if len(_native.ISAS_DETECTED) < 2:
        pytest.skip("this CPU runs one instruction set")
    rng = np.random.default_rng(1)
    a, b = reals(rng, (64, 700)), reals(rng, (700, 64))
    results = set()
    for name in _native.ISAS_DETECTED:
        with runtime.options(isa=name):
            results.add(bits(ops.matmul(a, b)))
    assert len(results) > 1


# ------------------------------------------------------------------------------------------------------ environment

SHOW = "import fastconv; print(fastconv.runtime.isa(), fastconv.runtime.num_threads())"
CLEAN = {"FASTCONV_ISA": None, "FASTCONV_NUM_THREADS": None, "OMP_NUM_THREADS": None}


def shown(**environment):
    isa, threads = check(python("-c", SHOW, **{**CLEAN, **environment})).split()
    return isa, int(threads)


def test_defaults():
    isa, threads = shown()
    assert isa == _native.ISAS_DETECTED[0]
    limits = runtime.thread_limits()
    assert 1 <= threads <= limits["CPU affinity"]
    if limits["cgroup quota"] is not None:
        assert threads <= limits["cgroup quota"]


@pytest.mark.parametrize("name", _native.ISAS_DETECTED)
def test_the_environment_sets_the_instruction_set(name):
    assert shown(FASTCONV_ISA=name)[0] == name


def test_an_unknown_instruction_set_in_the_environment_is_an_error():
    process = python("-c", SHOW, FASTCONV_ISA="mmx")
    assert process.returncode == 1
    assert "FASTCONV_ISA=mmx" in process.stderr
    assert _native.ISAS_DETECTED[0] in process.stderr


@pytest.mark.skipif(not _native.HAS_OPENMP, reason="built without OpenMP")
def test_the_environment_sets_the_threads():
    most = shown()[1]
    assert shown(FASTCONV_NUM_THREADS="1")[1] == 1
    assert shown(FASTCONV_NUM_THREADS="5")[1] == 5  # also more than there are CPUs: it is explicit
    assert shown(FASTCONV_NUM_THREADS="5", OMP_NUM_THREADS="1")[1] == 5
    assert shown(OMP_NUM_THREADS="1")[1] == 1
    assert shown(OMP_NUM_THREADS="1,4")[1] == 1
    assert shown(OMP_NUM_THREADS="1000")[1] == most
    for nonsense in ("", "0", "-3", "many", "1.5"):
        assert shown(FASTCONV_NUM_THREADS=nonsense)[1] == most
        assert shown(OMP_NUM_THREADS=nonsense)[1] == most


def test_affinity_bounds_the_threads():
    code = f"import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))]); {SHOW}"
    if not hasattr(__import__("os"), "sched_setaffinity"):
        pytest.skip("this system has no CPU affinity")
    assert check(python("-c", code, **CLEAN)).split()[1] == "1"


# ---------------------------------------------------------------------------------------------------------- cgroups


def tree(folder, files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def quota(folder, proc, files):
    tree(folder, {"proc": proc, **{f"sys/{name}": text for name, text in files.items()}})
    return runtime._cgroup_quota(str(folder / "proc"), str(folder / "sys"))


@pytest.mark.parametrize(
    ("proc", "files", "expected"),
    [
        # version 2: the group itself, its ancestors, the least of them
        ("0::/\n", {"cpu.max": "200000 100000\n"}, 2),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/b/cpu.max": "300000 100000\n"}, 3),
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "100000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 1),
        ("0::/a\n", {"a/cpu.max": "50000 100000\n"}, 1),  # half a CPU is one thread
        ("0::/a\n", {"a/cpu.max": "250000\n"}, None),
        ("0::/a\n", {"a/cpu.max": ""}, None),
        ("0::/a\n", {}, None),
        ("0::/../../a\n", {"a/cpu.max": "200000 100000\n"}, 2),
        # version 1
        ("4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "300000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, 3),
        ("4:cpu,cpuacct:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, None),
        ("4:cpu:/x\n", {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2),
        ("4:memory:/x\n", {"cpu/x/cpu.cfs_quota_us": "300000\n", "cpu/x/cpu.cfs_period_us": "100000\n"}, None),
        ("4:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "100000\n", "cpu/x/cpu.cfs_period_us": "0\n"}, None),
        # both, and nonsense
        (
            "5:cpu:/x\n0::/y\n",
            {
                "cpu/x/cpu.cfs_quota_us": "400000\n",
                "cpu/x/cpu.cfs_period_us": "100000\n",
                "y/cpu.max": "200000 100000\n",
            },
            2,
        ),
        ("", {"cpu.max": "100000 100000\n"}, None),
        ("nonsense\n::\n", {}, None),
    ],
)
def test_cgroup_quota(proc, files, expected, tmp_path):
    assert quota(tmp_path, proc, files) == expected


def test_no_cgroups_at_all(tmp_path):
    assert runtime._cgroup_quota(str(tmp_path / "none"), str(tmp_path / "nowhere")) is None


# ------------------------------------------------------------------------------------------------------ the binding


def test_the_binding_checks_every_buffer():
    """Packages in Cython may sit below ops: there too nothing is touched before shape, type and order are right."""
    context, plan = _native.Context("baseline", 1), ops.conv2d_plan((1, 3, 6, 7), (4, 3, 3, 3))
    x, weight, bias = (np.ones(shape, np.float32) for shape in ((1, 6, 7, 3), (4, 3, 3, 3), (4,)))
    y = np.full((1, 4, 5, 4), 7, np.float32)
    plan.forward(x, weight, bias, None, y.copy(), context)
    frozen = y.copy()
    frozen.flags.writeable = False
    wrong_inputs = [
        x[:, :5],
        x[..., :2],
        x[0],
        x[:, ::2],
        x.transpose(0, 2, 1, 3),
        x.astype(np.float64),
        x.view(np.int32),
    ]
    wrong_inputs += [x.astype(">f4"), None, 3, x.tolist(), np.zeros((1, 6, 7, 3), "i4,")]
    errors = (ValueError, TypeError, BufferError)
    for wrong in wrong_inputs:
        with pytest.raises(errors):
            plan.forward(wrong, weight, bias, None, y, context)
    for wrong in (weight[:3], weight.reshape(4, 27), weight[..., ::2], None):
        with pytest.raises(errors):
            plan.forward(x, wrong, bias, None, y, context)
    for wrong in (bias[:3], bias[None], weight):
        with pytest.raises(errors):
            plan.forward(x, weight, wrong, None, y, context)
    for wrong in (y[:, :3], frozen, y.astype(np.float64), None, y.transpose(0, 2, 1, 3)):
        with pytest.raises(errors):
            plan.forward(x, weight, bias, None, wrong, context)
    with pytest.raises(TypeError):
        plan.forward(x, weight, bias, None, y, None)
    for pass_ in (-1, 3):
        with pytest.raises(ValueError, match="pass"):
            plan.workspace_bytes(pass_, context)
    with pytest.raises(errors):
        _native.gemm(x[0, 0], bias[None], None, y, False, False, 1.0, 0.0, 0, 0.0, 0.0, context)
    assert (y == 7).all()


def test_large_results_lie_at_whole_cache_lines_and_apart_in_their_pages(rng):
    x, weight = reals(rng, (1, 16, 40, 40)), reals(rng, (16, 16, 3, 3))
    results = [ops.conv2d(x, weight, padding=1), ops.relu(x), ops.matmul(x[0, 0], x[0, 1]), ops.relu(x)]
    large = [y.ctypes.data for y in results if y.nbytes >= 16 * 1024]
    assert len(large) == 3
    assert all(address % 64 == 0 for address in large)
    assert len({address % 4096 for address in large}) == 3
    assert all(y.flags.writeable for y in results)
    for size in (-1, -(2**62)):
        with pytest.raises(ValueError, match="Block: size"):
            _native.Block(size)
    assert memoryview(_native.Block(0)).nbytes == 0
    for size in (32 * 2**20 - 1, 32 * 2**20, 37 * 2**20 + 5):  # from 32 MB on they come from another allocator
        memory = np.frombuffer(_native.Block(size), np.uint8)
        assert memory.size == size and memory.ctypes.data % 64 == 0
        memory[0] = memory[-1] = 7


def test_freed_results_are_kept_for_the_next_up_to_a_limit():
    """The next block of a size takes the one freed last; the kept bytes are bounded, and the oldest make room."""
    _native.give_back_blocks()
    assert _native.kept_block_bytes() == 0
    size, limit = 2**20, 64 * 2**20
    first, second = _native.Block(size), _native.Block(size)
    pages = {np.frombuffer(block, np.uint8).ctypes.data // 2**16 for block in (first, second)}
    del first, second
    assert _native.kept_block_bytes() == 2 * size
    again = np.frombuffer(_native.Block(size - size // 16), np.uint8)  # up to an eighth smaller takes it too
    assert again.ctypes.data // 2**16 in pages and again.size == size - size // 16
    assert _native.kept_block_bytes() == size
    with_both = np.frombuffer(_native.Block(size), np.uint8)  # never memory that is in use
    again[:], with_both[:] = 1, 2
    assert (again == 1).all() and (with_both == 2).all() and _native.kept_block_bytes() == 0
    del again, with_both
    assert _native.kept_block_bytes() == 2 * size
    _native.Block(size // 2)  # too small for either: a block of its own, which is kept as well
    assert _native.kept_block_bytes() == 2 * size + size // 2
    _native.Block(2**12), _native.Block(limit + 1)
    assert _native.kept_block_bytes() == 2 * size + size // 2  # neither small nor too large ones are kept
    _native.Block(limit)
    assert _native.kept_block_bytes() == limit  # instead of all others
    for count in range(40):
        _native.Block(2**16 + 2**15 * count)
        assert _native.kept_block_bytes() <= limit
    _native.give_back_blocks()
    assert _native.kept_block_bytes() == 0


def test_a_view_keeps_its_block(rng):
    x = reals(rng, (1, 16, 64, 64))
    part = ops.relu(x)[:, 3:5]
    expected = part.copy()
    for _ in range(20):
        ops.relu(reals(rng, x.shape))
    assert np.array_equal(part, expected)


# ---------------------------------------------------------------------------------------------------------- threads


def test_python_threads_share_the_ops():
    """Eight Python threads, each its own problems, OpenMP under all of them: the results of one after the other."""
    rng = np.random.default_rng(2)
    problems = [
        (reals(rng, (1, 8 + i, 20, 20 + i)), reals(rng, (16 + i, 8 + i, 3, 3)), reals(rng, (64, 100 + i)))
        for i in range(8)
    ]

    def solve(problem):
        x, weight, a = problem
        y = ops.conv2d(x, weight, padding=1)
        dx = ops.conv2d_backward_input(y, weight, x.shape, padding=1)
        dweight, dbias = ops.conv2d_backward_weight(y, x, weight.shape, padding=1)
        return [bits(array) for array in (y, dx, dweight, dbias, ops.matmul(a, a.T))]

    with runtime.options(num_threads=2):
        expected = [solve(problem) for problem in problems]

        def work(i):
            with runtime.options(num_threads=1 + i % 3):
                return [solve(problems[(i + j) % 8]) for j in range(8)]

        with ThreadPoolExecutor(8) as pool:
            for i, results in enumerate(pool.map(work, range(8))):
                assert results == [expected[(i + j) % 8] for j in range(8)]


def test_one_packed_weight_serves_many_threads():
    rng = np.random.default_rng(3)
    x, weight = reals(rng, (1, 16, 20, 20)), reals(rng, (16, 16, 3, 3))
    packed = ops.conv2d_pack(weight, x.shape)
    expected = bits(ops.conv2d(x, weight, algorithm=packed.algorithm))
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: bits(ops.conv2d(x, packed)), range(64))) == {expected}


def test_the_gil_is_released():
    """While a call runs, another thread goes on: it must wake up many times during a call of a tenth of a second."""
    rng = np.random.default_rng(4)
    x, weight = reals(rng, (8, 64, 64, 64)), reals(rng, (64, 64, 3, 3))
    running, ticks, wakes = threading.Event(), [], 0

    def tick():
        while running.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.001)

    with runtime.options(isa="baseline", num_threads=1):
        running.set()
        thread = threading.Thread(target=tick)
        thread.start()
        try:
            for _ in range(20):  # a machine may be busy: one good run is proof
                begin = time.perf_counter()
                ops.conv2d_backward_weight(x[:, :, :62, :62], x, weight.shape)
                end = time.perf_counter()
                wakes = max(wakes, sum(begin < at < end for at in ticks))
                if wakes >= 3:
                    break
        finally:
            running.clear()
            thread.join()
    assert wakes >= 3


def test_loading_leaves_the_environment_as_it_was():
    script = "import os; before = dict(os.environ); import fastconv; print(before == dict(os.environ))"
    assert check(python("-c", script)).strip() == "True"
