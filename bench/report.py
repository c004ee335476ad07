"""Tables of saved runs.

python -m bench.report run.json                                   what the terminal showed
python -m bench.report a.json b.json --save docs/bench/x.json     the numbers of several runs in one small file
python -m bench.report docs/bench/x.json --readme                 README.md's tables, between its two markers
"""

import argparse
import textwrap
from pathlib import Path

from bench import records, tables, workloads
from bench.peers import MODES
from bench.records import of_peak, speed

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- speed: made by python -m bench.report, not by hand -->", "<!-- end of speed -->"
NAMES = {"torch": "PyTorch", "numpy": "NumPy", "openvino": "OpenVINO"}
ISAS = {"avx512": "AVX-512", "avx2": "AVX2"}


def name(record):
    """Library and mode: "torch channels_last"."""
    return f"{record['library']} {record['mode']}"


def share(record):
    found = of_peak(record)
    return "" if found is None else f"{found:.3f}"


def text(found):
    """The terminal's summary: a line a task, fastconv beside the best of the other libraries."""
    peak = max(record["peak"] for record in found) / 1e9
    threads = ", ".join(map(str, sorted({record["threads"] for record in found})))
    lines = [
        f"FMA peak measured in this run: {peak:.1f} GFLOP/s; threads: {threads}; best of the calls",
        f"{'workload':32s} {'pass':17s} {'isa':7s} {'fastconv':>8s} {'':7s} {'of peak':>7s} {'fastest algorithm':>22s} "
        f"{'best peer':>32s} {'ratio':>6s}",
    ]
    for row in records.rows(found):
        _, workload, pass_, isa, _ = row.key
        if row.own is None:
            continue
        fastest = f"{row.fastest['mode']} {speed(row.fastest):.1f}" if row.fastest["mode"] != "default" else ""
        rival = f"{name(row.rival)} {speed(row.rival):.1f}" if row.rival else ""
        ratio = f"{row.ratio:.2f}" if row.rival else ""
        lines.append(
            f"{workload:32s} {pass_:17s} {isa:7s} {speed(row.own):8.1f} {row.own['unit']:7s} {share(row.own):>7s} "
            f"{fastest:>22s} {rival:>32s} {ratio:>6s}"
        )
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------------- Markdown


def _cells(values, fastest, digits):
    """Speeds as text, the fastest in bold; - where there is none."""
    texts = []
    for value in values:
        cell = "-" if value is None else f"{value:.{digits}f}"
        texts.append(f"**{cell}**" if value is not None and value == fastest else cell)
    return texts


def _line(group, isas, libraries, digits):
    """One workload: fastconv on each instruction set, the other libraries, the ratio to the best of them."""
    by_isa = {row.key[3]: row for row in group}
    row = group[0]
    own = [speed(by_isa[isa].own) if isa in by_isa else None for isa in isas]
    others = [speed(row.others[library]) if library in row.others else None for library in libraries]
    cells = _cells([*own, *others], max(value for value in [*own, *others] if value is not None), digits)
    line = [workloads.describe(row.key[0], row.key[1])]
    for i, isa in enumerate(isas):
        line.append(cells[i])
        if row.own["unit"] == "GFLOP/s":
            line.append(f"{of_peak(by_isa[isa].own):.2f}" if isa in by_isa else "-")
    ratio = f"{row.ratio:.2f}" if row.rival else "-"
    return [*line, *cells[len(isas) :], ratio]


def table(rows, heading, digits=0):
    """Rows of one op, pass and number of threads as a Markdown table."""
    isas = list(dict.fromkeys(row.key[3] for row in rows))
    libraries = [library for library in MODES if any(library in row.others for row in rows)]
    heads = [heading]
    for isa in isas:
        heads.append(f"fastconv, {ISAS.get(isa, isa)}")
        if rows[0].own["unit"] == "GFLOP/s":
            heads.append("of peak")
    heads += [NAMES.get(library, library) for library in libraries] + ["fastconv / best other"]
    groups = {}
    for row in rows:
        groups.setdefault(row.key[1], []).append(row)
    lines = [_line(group, isas, libraries, digits) for group in groups.values()]
    return "\n".join("| " + " | ".join(line) + " |" for line in [heads, ["---"] * len(heads), *lines])


def _microseconds(record):
    return None if record is None else record["seconds"] * 1e6


def _time_cells(values):
    """Three digits, the shortest time in bold."""
    least = min(value for value in values if value is not None)
    texts = []
    for value in values:
        digits = 2 if value is not None and value < 10 else 1 if value is not None and value < 100 else 0
        cell = "-" if value is None else f"{value:.{digits}f}"
        texts.append(f"**{cell}**" if value == least else cell)
    return texts


def _times_line(group, isas, libraries):
    """One (op, pass, workload) of a family."""
    op, workload, pass_, _, _ = group[0].key
    by_isa, others = {row.key[3]: row.own for row in group}, group[0].others
    values = [by_isa.get(isa) for isa in isas] + [others.get(library) for library in libraries]
    label = f"{tables.pass_name(op, pass_)}: {workloads.describe(op, workload)}"
    ratio = f"{group[0].ratio:.2f}" if group[0].rival else "-"
    return [label, *_time_cells(list(map(_microseconds, values))), ratio]


def times_table(rows, family, threads):
    """A family's table: microseconds of each library at (op, pass, workload), and fastconv's speed over the best of
    the others, on its first instruction set."""
    groups = {}
    for row in rows:
        op, workload, pass_, _, _ = row.key
        groups.setdefault((op, pass_, workload), []).append(row)
    isas = list(dict.fromkeys(row.key[3] for row in rows))
    libraries = [library for library in MODES if any(library in row.others for row in rows)]
    plural = f", {threads} threads" if threads > 1 else ""
    heads = [f"{family}{plural}, microseconds", *(f"fastconv, {ISAS.get(isa, isa)}" for isa in isas)]
    heads += [NAMES.get(library, library) for library in libraries] + ["fastconv / best other"]
    order = [key for key in tables.rows_of(family) if key in groups]
    lines = [heads, ["---"] * len(heads), *(_times_line(groups[key], isas, libraries) for key in order)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def readme_tables(found):
    """The tables of what the README shows (bench/tables.py), as far as there are records of it."""
    found = [record for record in found if tables.shows(record["op"], record["pass"], record["workload"])]
    made, rows = [markdown(found, tables.PRODUCTS)], [row for row in records.rows(found) if row.own]
    for family in tables.FAMILIES:
        own = [row for row in rows if (row.key[0], row.key[2], row.key[1]) in tables.rows_of(family)]
        for threads in sorted({row.key[4] for row in own}):
            made.append(times_table([row for row in own if row.key[4] == threads], family, threads))
    return "\n\n".join(filter(None, made))


def markdown(found, sections=None):
    """The tables of records: of the sections, or of everything there is."""
    rows = [row for row in records.rows(found) if row.own]
    groups = {}
    for row in rows:
        groups.setdefault((row.key[0], row.key[2], row.key[4]), []).append(row)
    wanted = sections or {(op, pass_): f"{op} {pass_}" for op, pass_, _ in groups}
    made = []
    for (op, pass_), heading in wanted.items():
        for (found_op, found_pass, threads), group in groups.items():
            if (found_op, found_pass) == (op, pass_):
                plural = f", {threads} threads" if threads > 1 else ""
                made.append(table(group, f"{heading}{plural}, {group[0].own['unit']}"))
    return "\n\n".join(made)


def _peaks(found):
    """The FMA peak of a core, of each of fastconv's instruction sets where they differ."""
    peaks = {}
    for record in found:
        if record["library"] == "fastconv":
            peak = round(record["peak"] / 1e9 / record["threads"])
            peaks[record["isa"]] = max(peak, peaks.get(record["isa"], 0))
    if len(set(peaks.values())) == 1:
        return f"{next(iter(peaks.values()))} GFLOP/s"
    return ", ".join(f"{peak} GFLOP/s with {ISAS.get(isa, isa)}" for isa, peak in peaks.items())


def readme_block(described, found):
    """What stands between the README's markers."""
    versions = {record["library"]: record["version"] for record in found}
    libraries = ", ".join(f"{NAMES.get(key, key)} {value}" for key, value in versions.items() if key != "fastconv")
    intro = (
        f"Measured on: {described.get('cpu', 'an unnamed CPU')}. FMA peak of a core in the same run: {_peaks(found)}. "
        f"{libraries}. One thread unless a table says otherwise; the fastest in bold."
    )
    intro = textwrap.fill(intro, 120)
    return f"{BEGIN}\n\n{intro}\n\n{readme_tables(found)}\n\n{END}"


def with_block(readme, block):
    """The README's text with the block between its markers."""
    before, rest = readme.split(BEGIN)
    return before + block + rest.split(END)[1]


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__.split("\n")[0])
    parser.add_argument("files", nargs="+", help="digests, or what pytest bench --benchmark-json wrote")
    parser.add_argument("--save", help="write the numbers of all files to this digest")
    parser.add_argument("--markdown", action="store_true", help="all tables, as Markdown")
    parser.add_argument("--readme", nargs="?", const=README, type=Path, help="put the tables into this README")
    options = parser.parse_args(arguments)
    described, found = records.load_all(options.files)
    if options.save:
        records.save(options.save, described, found)
        found = records.load(options.save)[1]  # as rounded there
    if options.readme:
        changed = with_block(options.readme.read_text(encoding="utf-8"), readme_block(described, found))
        options.readme.write_text(changed, encoding="utf-8")
    print(markdown(found) if options.markdown else text(found))


if __name__ == "__main__":
    main()
