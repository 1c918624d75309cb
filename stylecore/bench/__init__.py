"""Where the time goes, and the time to a given style distance: records first, tables and figures are views of them."""

from stylecore.bench.measure import Bench, BenchOptions, read_bench, write_bench
from stylecore.bench.pairs import Pair, default_pairs, parse_pair
from stylecore.bench.report import bench_figure, bench_markdown

__all__ = [
    "Bench",
    "BenchOptions",
    "Pair",
    "bench_figure",
    "bench_markdown",
    "default_pairs",
    "parse_pair",
    "read_bench",
    "write_bench",
]
