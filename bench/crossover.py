"""Where one convolution algorithm overtakes another: the measurements behind the rule table of csrc/conv2d.c.

    python -m bench.crossover [--isa avx2] [--threads 1] [--pass forward] [--save crossover.json]
    python -m bench.crossover --fit crossover.json [more.json]      # the table of csrc/conv2d_choose.c

Times direct and Winograd (F(6x6) apart, which is on request only) on 3x3 stride-1 layers over a grid of
channels, map sizes and batches, interleaved, best of many. Prints GFLOP/s by the direct algorithm's flop count, what
"auto" chose and how much it lost against the best.
"""

import argparse
import itertools
import json
import time

import numpy as np

from fastconv import ops, runtime

CANDIDATES = ("direct", "winograd", "winograd_2x2")
CHANNELS = (
    (3, 64),
    (8, 8),
    (16, 16),
    (32, 32),
    (64, 64),
    (64, 128),
    (128, 64),
    (128, 128),
    (256, 256),
    (512, 512),
    (24, 96),
    (1024, 1024),
)
MAPS = (4, 7, 8, 14, 28, 56, 112)
BATCHES = (1, 4, 16)
PASSES = ("forward", "forward_packed", "backward_input", "backward_weight")
FEWEST_CHANNELS = 12  # on either side that leave a choice
NEAR_WEIGHTS = 1 << 21  # floats; more of them come from memory
MOST_FLOPS = 4e9  # larger layers behave as those of half their size


def call(which, x, dy, weight, algorithm):
    """What is timed: one pass of a padded 3x3 layer."""
    geometry = {"padding": 1, "algorithm": algorithm}
    if which == "forward":
        return lambda: ops.conv2d(x, weight, **geometry)
    if which == "forward_packed":
        packed = ops.conv2d_pack(weight, x.shape, **geometry)
        return lambda: ops.conv2d(x, packed, **geometry)
    if which == "backward_input":
        return lambda: ops.conv2d_backward_input(dy, weight, x.shape, **geometry)
    return lambda: ops.conv2d_backward_weight(dy, x, weight.shape, **geometry)


def images(rng, *shape):
    n, c, h, w = shape
    return rng.standard_normal((n, h, w, c), np.float32).transpose(0, 3, 1, 2)


def best_times(calls, seconds):
    """The fastest time of each call, taken in turns for about `seconds` each."""
    best = dict.fromkeys(calls, float("inf"))
    for function in calls.values():
        function()
    end, rounds = time.perf_counter() + seconds * len(calls), 0
    while rounds < 4 or time.perf_counter() < end:
        for name, function in calls.items():
            start = time.perf_counter()
            function()
            best[name] = min(best[name], time.perf_counter() - start)
        rounds += 1
    return best


def measure(which, n, c, k, size, seconds):
    """A row: the layer, the time of each candidate, and what "auto" chose."""
    rng = np.random.default_rng(0)
    x, dy = images(rng, n, c, size, size), images(rng, n, k, size, size)
    weight = rng.standard_normal((k, c, 3, 3), np.float32)
    best = best_times({name: call(which, x, dy, weight, name) for name in CANDIDATES}, seconds)
    plan = ops.conv2d_plan(x.shape, weight.shape, padding=1, constant_weights=which == "forward_packed")
    chosen = plan.algorithms[0 if which.startswith("forward") else PASSES.index(which) - 1]
    return {
        "pass": which,
        "n": n,
        "c": c,
        "k": k,
        "size": size,
        "flops": 2 * plan.multiply_adds,
        "best": best,
        "auto": chosen,
    }


def show(row):
    speeds = " ".join(f"{row['flops'] / row['best'][name] / 1e9:8.1f}" for name in CANDIDATES)
    loss = row["best"][row["auto"]] / min(row["best"].values())
    layer = f"{row['n']:3d} x ({row['c']:3d}x{row['size']:3d}x{row['size']:3d} -> {row['k']:3d})"
    print(f"{row['pass']:16s} {layer} {speeds}  {row['auto']:12s} {loss:5.2f}{' *' if loss > 1.05 else ''}", flush=True)


def counts(row, algorithm):
    """What csrc/conv2d_choose.c counts of a layer: its unknowns are the nanoseconds of each."""
    m = {"direct": 0, "winograd": 4, "winograd_2x2": 2}[algorithm]
    back = row["pass"] == "backward_input"
    depth, columns = (row["k"], row["c"]) if back else (row["c"], row["k"])
    elements = (m + 2) ** 2 if m else 9
    places = row["n"] * (-(-row["size"] // (m or 1))) ** 2
    moved = elements * places if m else places
    rounded = -(-columns // 16) * 16
    weights = elements * depth * columns
    return [
        weights / columns * rounded * places,
        moved * depth,
        moved * columns,
        weights,
        max(0, weights - NEAR_WEIGHTS),
        1,
    ]


def fit(paths):
    """Print the table that fits saved rows best, in relative error, with no time below zero."""
    from scipy.optimize import nnls

    rows = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            rows += json.load(file)
    names = {"forward": "PACKING_FORWARD", "forward_packed": "FORWARD"}
    for which in PASSES:
        fitted = []
        for algorithm in CANDIDATES:
            chosen = [row for row in rows if row["pass"] == which and min(row["c"], row["k"]) >= FEWEST_CHANNELS]
            times = np.array([row["best"][algorithm] * 1e9 for row in chosen])
            relative = np.array([counts(row, algorithm) for row in chosen]) / times[:, None]
            scale = np.maximum(relative.max(axis=0), 1e-30)
            solution = nnls(relative / scale, np.ones(len(chosen)))[0] / scale
            error = np.abs(relative @ solution - 1)
            print(f"/* {which} {algorithm}: mean error {error.mean():.2f}, most {error.max():.2f} */")
            fitted.append("{" + ", ".join(f"{value:.3g}" for value in solution) + "}")
        print(f"    [{names.get(which, which.upper())}] = {{{', '.join(fitted)}}},")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--pass", dest="passes", action="append", choices=PASSES)
    parser.add_argument("--seconds", type=float, default=0.05, help="time spent on each algorithm of each layer")
    parser.add_argument("--save", help="a JSON file for the rows")
    parser.add_argument("--fit", nargs="+", metavar="FILE", help="fit the table of estimates to saved rows")
    options = parser.parse_args()
    if options.fit:
        fit(options.fit)
        return
    print(
        f"{'pass':16s} {'layer':29s} {' '.join(f'{name:>8.8s}' for name in CANDIDATES)}  auto, slower than the best by"
    )
    rows = []
    with runtime.options(isa=options.isa, num_threads=options.threads):
        for which, n, (c, k), size in itertools.product(options.passes or PASSES, BATCHES, CHANNELS, MAPS):
            if 18 * n * c * k * size * size <= MOST_FLOPS:
                rows.append(measure(which, n, c, k, size, options.seconds))
                show(rows[-1])
    if options.save:
        with open(options.save, "w", encoding="utf-8") as file:
            json.dump(rows, file)


if __name__ == "__main__":
    main()
