"""Interleaved rounds and what is concluded from them. Only ratios within a run are trusted."""

import statistics
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass


@dataclass
class Row:
    """One line of the table. `ratio` is ours over the peer's where higher is better."""

    cell: str
    figure: str
    bar: str = ""
    ok: bool | None = None
    ours: str = ""
    peer: str = ""
    spread: str = ""
    cpu: str = ""


def interleave(rounds, sides):
    """Measures A B B A …; `sides` maps a name to a function that gives one sample."""
    samples = {name: [] for name in sides}
    order = list(sides)
    for _ in range(rounds):
        for name in order:
            samples[name].append(sides[name]())
        order.reverse()
    return samples


def together(rounds, sides):
    """Measures all sides at the same time, on the same core: whatever disturbs one disturbs the others,
    and the kernel gives each as much of the core."""
    samples = {name: [] for name in sides}
    with ThreadPoolExecutor(len(sides)) as pool:
        for _ in range(rounds):
            running = {name: pool.submit(measure) for name, measure in sides.items()}
            for name, sample in running.items():
                samples[name].append(sample.result())
    return samples


def median(values):
    return statistics.median(values)


def paired_row(cell, ours, theirs, names, bar):
    """For sides measured together: the median of the rounds' own ratios, to a tenth of a percent."""
    row = rate_row(cell, ours, theirs, names, bar)
    rounds = sorted(a.rate / b.rate for a, b in zip(ours, theirs))
    quarter = len(rounds) // 4
    row.spread += f", middle half {rounds[quarter]:.3f}–{rounds[-1 - quarter]:.3f}"
    ratio = median(rounds)
    row.figure, row.ok = f"**{ratio:.3f}**", ratio >= bar and not sum(s.errors for s in ours)
    return row


def rate_row(cell, ours, theirs, names, bar, aim=None, unit="/s"):
    """Ratio of median rates, the span of the rounds' own ratios, and the ratio of CPU per request."""
    ratio = median([s.rate for s in ours]) / median([s.rate for s in theirs])
    rounds = [a.rate / b.rate for a, b in zip(ours, theirs)]
    errors = sum(s.errors for s in ours), sum(s.errors for s in theirs)
    figure = f"**{ratio:.2f}**"
    if bar is None:
        text, ok = "", None
    else:
        text = f"≥ {bar:g}" + (f" (aim {aim:g})" if aim else "")
        ok = ratio >= bar and not errors[0]
    return Row(
        cell=f"{cell}: {names[0]} / {names[1]}",
        figure=figure,
        bar=text,
        ok=ok,
        spread=f"{min(rounds):.2f}–{max(rounds):.2f}",
        ours=side(ours, unit),
        peer=side(theirs, unit),
        cpu=cpu_ratio(ours, theirs),
    )


def side(samples, unit):
    text = f"{rounded(median([s.rate for s in samples]))}{unit}"
    p99 = median([s.p99_us for s in samples])
    if p99:
        text += f", p99 {p99 / 1000:.2f} ms"
    errors = sum(s.errors for s in samples)
    return text + (f", {errors} errors" if errors else "")


def cpu_ratio(ours, theirs):
    a, b = median([s.cpu_us for s in ours]), median([s.cpu_us for s in theirs])
    return f"{b / a:.2f} ({a:.1f} : {b:.1f} µs)" if a and b else ""


def rounded(value):
    return f"{value / 1000:.1f} k" if value >= 1000 else f"{value:.0f}"


def at_most(cell, value, bar, unit, peer="", spread=""):
    """A row whose own figure has the bar; `bar` None only informs."""
    ok = None if bar is None else value <= bar
    text = "" if bar is None else f"≤ {bar:g} {unit}"
    figure = f"**{value:.2f} {unit}**" if value < 10 else f"**{value:.1f} {unit}**"
    return Row(cell=cell, figure=figure, bar=text, ok=ok, peer=peer, spread=spread)


HEADER = "| cell | ratio or figure | rounds | bar | met | ours | peer | CPU per item, peer / ours |"


def table(rows):
    lines = [HEADER, "|" + "---|" * 8]
    for row in rows:
        met = {True: "yes", False: "**no**", None: "–"}[row.ok]
        cells = [row.cell, row.figure, row.spread, row.bar, met, row.ours, row.peer, row.cpu]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)
