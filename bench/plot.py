"""Pictures of a saved run: bars against the other libraries, and a roofline.

python -m bench.plot docs/bench/x.json                two PNG files beside it: x_bars.png and x_roofline.png
python -m bench.plot run.json --into docs/bench --isa avx2
Needs matplotlib (the extra "plot").
"""

import argparse
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot, ticker  # noqa: E402

from bench import records, report, workloads  # noqa: E402
from bench.records import speed  # noqa: E402

# Okabe and Ito's colours, which colour-blind readers tell apart.
COLOURS = {
    "fastconv": "#0072B2",
    "torch": "#E69F00",
    "onnxruntime": "#009E73",
    "openvino": "#CC79A7",
    "ncnn": "#D55E00",
    "numpy": "#999999",
}
LOSS = "#B00000"
HOLLOW = {"marker": "o", "linestyle": "", "markerfacecolor": "white", "markersize": 7, "markeredgewidth": 2}
OVER_LINES = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.9}
PASSES = {"forward": "forward", "backward_input": "gradient in the input", "backward_weight": "gradient in the weights"}


def convolutions(found, isa):
    """{pass: {place: row}} with one thread and the instruction set asked for, or else the first of the run.

    A layer has the same place in every pass.
    """
    rows = [row for row in records.rows(found) if row.own and row.key[0] == "conv2d" and row.key[4] == 1]
    isas = list(dict.fromkeys(row.key[3] for row in rows))
    chosen = isa if isa in isas else isas[0]
    names = list(dict.fromkeys(row.key[1] for row in rows))
    return {
        pass_: {names.index(row.key[1]): row for row in rows if row.key[2] == pass_ and row.key[3] == chosen}
        for pass_ in PASSES
    }


def _bar(axes, place, record, height):
    library = record["library"]
    value = speed(record)
    axes.barh(place, value, height, color=COLOURS[library], zorder=2)
    return value


def bars_of_pass(axes, rows, count, widest):
    """A pass: for each layer fastconv above the best of the other libraries, and the ratio of the two."""
    for place, row in rows.items():
        own = _bar(axes, place - 0.2, row.own, 0.36)
        rival = _bar(axes, place + 0.2, row.rival, 0.36) if row.rival else 0
        label = report.name(row.rival).replace("_", " ") if row.rival else ""
        after = widest * 0.012
        axes.text(
            rival + after, place + 0.21, label, va="center", fontsize=7, color="#444444", bbox=OVER_LINES, zorder=4
        )
        if row.ratio:
            lost = round(row.ratio, 2) < 1
            axes.text(
                own + after,
                place - 0.2,
                f"{row.ratio:.2f} x" + (" (behind)" if lost else ""),
                va="center",
                fontsize=8,
                fontweight="bold",
                color=LOSS if lost else COLOURS["fastconv"],
                bbox=OVER_LINES,
                zorder=4,
            )
    axes.set_ylim(count - 0.4, -0.6)
    axes.set_xlim(0, widest * 1.28)
    axes.grid(axis="x", color="#DDDDDD", zorder=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(axis="y", length=0)


def bars(found, isa, path):
    """Three panels, a pass each."""
    passes = convolutions(found, isa)
    layers = {place: row.key[1] for rows in passes.values() for place, row in rows.items()}
    count = len(layers)
    figure, panels = pyplot.subplots(1, len(passes), figsize=(15, 1.6 + 0.47 * count), sharey=False)
    peak = max(row.own["peak"] for rows in passes.values() for row in rows.values()) / 1e9
    used = {"fastconv"}
    for axes, (pass_, rows) in zip(panels, passes.items(), strict=True):
        widest = max(speed(record) for row in rows.values() for record in (row.own, row.rival) if record)
        bars_of_pass(axes, rows, count, max(widest, peak))
        used |= {row.rival["library"] for row in rows.values() if row.rival}
        axes.axvline(peak, color="#333333", linewidth=1, linestyle="--", zorder=1)
        axes.set_title(PASSES[pass_], fontsize=12, pad=18)
        axes.text(peak, -0.65, "FMA peak", ha="center", va="bottom", fontsize=8, color="#333333")
        axes.set_xlabel("GFLOP/s (operations of the direct algorithm)", fontsize=9)
        first = axes is panels[0]
        labels = [workloads.describe("conv2d", layers[place]) if first else "" for place in range(count)]
        axes.set_yticks(range(count), labels, fontsize=9)
    handles = [pyplot.Rectangle((0, 0), 1, 1, color=COLOURS[library]) for library in COLOURS if library in used]
    names = [report.NAMES.get(library, library) for library in COLOURS if library in used]
    figure.legend(handles, names, loc="upper center", ncols=len(names), frameon=False, fontsize=10)
    chosen = next(row.key[3] for rows in passes.values() for row in rows.values())
    chosen = report.ISAS.get(chosen, chosen)
    figure.text(
        0.5,
        0.005,
        f"One thread, {chosen}. Upper bar: fastconv's own choice of algorithm; lower bar: the fastest other library.",
        ha="center",
        fontsize=9,
        color="#444444",
    )
    figure.tight_layout(rect=(0, 0.02, 1, 0.96))
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _ceilings(axes, described, peak, low, high):
    """The roofs: the FMA peak, what Winograd's F(4x4) makes of it, and bandwidths of copies in the run."""
    axes.plot([low, high], [peak, peak], color="#333333", linewidth=1.5)
    axes.text(high / 1.05, peak * 1.04, f"FMA peak {peak:.0f} GFLOP/s", ha="right", va="bottom", fontsize=9)
    axes.plot([low, high], [4 * peak, 4 * peak], color="#333333", linewidth=1, linestyle="--")
    axes.text(high / 1.05, 3.85 * peak, "4 x peak: products of Winograd F(4x4) alone", ha="right", va="top", fontsize=9)
    labels = {"64 MB": "memory", "256 KB": "L2 cache"}
    for size, bandwidth in described.get("bandwidth", {}).items():
        ends = [(low, low * bandwidth / 1e9), (peak * 1e9 / bandwidth, peak)]
        axes.plot(*zip(*ends, strict=True), color="#333333", linewidth=1, linestyle=":")
        (left, bottom), (right, top) = axes.transData.transform(ends)
        text = f"{labels.get(size, size)}, copy: {bandwidth / 1e9:.0f} GB/s"
        angle = math.degrees(math.atan2(top - bottom, right - left))
        place = (low * 1.12, low * 1.17 * bandwidth / 1e9)
        axes.text(*place, text, rotation=angle, rotation_mode="anchor", fontsize=8, color="#333333")


def _points(axes, rows, intensities):
    """fastconv and the best other library at each layer, joined by a line, with the layer's number."""
    order = sorted(range(len(rows)), key=intensities.__getitem__)
    for place in order:
        row, x = rows[place], intensities[place]
        if row.rival:
            axes.plot([x, x], [speed(row.own), speed(row.rival)], color="#BBBBBB", linewidth=1, zorder=1)
            axes.plot(x, speed(row.rival), color=COLOURS[row.rival["library"]], **HOLLOW)
        axes.plot(x, speed(row.own), "o", color=COLOURS["fastconv"], markersize=8)
        shift = [(-9, -15), (9, -15), (0, -27)][order.index(place) % 3]  # neighbours' numbers side by side
        settings = {"textcoords": "offset points", "fontsize": 8, "ha": "center"}
        axes.annotate(str(place + 1), (x, speed(row.own)), xytext=shift, **settings)


def roofline(described, found, isa, path):
    """Forward passes: speed over operations a byte of x, weights and y, each moved once."""
    rows = list(convolutions(found, isa)["forward"].values())
    intensities = [row.own["work"] / row.own["bytes"] for row in rows]
    peak = max(row.own["peak"] for row in rows) / 1e9
    low, high = min(1.0, min(intensities) / 2), max(intensities) * 2
    speeds = [speed(record) for row in rows for record in (row.own, row.rival) if record]
    figure, axes = pyplot.subplots(figsize=(10, 6.5))
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(low, high)
    axes.set_ylim(min(speeds) / 1.6, max([5 * peak, *speeds]) * 1.1)
    figure.canvas.draw()  # angles of the roofs follow from the limits
    _ceilings(axes, described, peak, low, high)
    _points(axes, rows, intensities)
    key = "\n".join(f"{i + 1:2d}  {workloads.describe('conv2d', row.key[1])}" for i, row in enumerate(rows))
    axes.text(1.02, 1.0, key, transform=axes.transAxes, va="top", fontsize=8.5, family="monospace", linespacing=1.5)
    used = [library for library in COLOURS if library in {row.rival["library"] for row in rows if row.rival}]
    handles = [pyplot.Line2D([], [], marker="o", linestyle="", color=COLOURS["fastconv"], markersize=8)]
    handles += [pyplot.Line2D([], [], color=COLOURS[name], **HOLLOW) for name in used]
    names = ["fastconv", *(f"best other: {report.NAMES.get(name, name)}" for name in used)]
    axes.legend(handles, names, loc="lower right", fontsize=9, frameon=False)
    axes.xaxis.set_major_formatter(ticker.ScalarFormatter())
    for which in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
        which(ticker.FuncFormatter(lambda value, _: f"{value:g}" if str(value)[0] in "125" else ""))
    axes.set_xlabel("operations a byte (input, weights and output moved once)")
    axes.set_ylabel("GFLOP/s (operations of the direct algorithm)")
    axes.set_title(f"Convolution layers, forward, one thread, {report.ISAS.get(rows[0].key[3], rows[0].key[3])}")
    axes.grid(color="#EEEEEE", which="both")
    axes.set_axisbelow(True)
    figure.savefig(path, dpi=110, bbox_inches="tight")
    pyplot.close(figure)


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m bench.plot", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", help="digests, or what pytest bench --benchmark-json wrote")
    parser.add_argument("--into", type=Path, default=None, help="folder (default: that of the first file)")
    parser.add_argument("--isa", default=None, help="fastconv's (default: the first of the run)")
    options = parser.parse_args(arguments)
    described, found = records.load_all(options.files)
    first = Path(options.files[0])
    folder = options.into or first.parent
    bars(found, options.isa, folder / f"{first.stem}_bars.png")
    roofline(described, found, options.isa, folder / f"{first.stem}_roofline.png")


if __name__ == "__main__":
    main()
