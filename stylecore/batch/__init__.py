"""Many results: every photo in every style in every variant, made here, by several processes, or by a Ray cluster."""

from stylecore.batch.plan import Task, find_pictures, plan_pairs, plan_products, read_pairs
from stylecore.batch.runners import run_here, run_on_ray, run_processes
from stylecore.batch.sheet import FAILURES, PAGE, RECORDS, write_sheet
from stylecore.batch.task import Outcome, make_result

__all__ = [
    "FAILURES",
    "PAGE",
    "RECORDS",
    "Outcome",
    "Task",
    "find_pictures",
    "make_result",
    "plan_pairs",
    "plan_products",
    "read_pairs",
    "run_here",
    "run_on_ray",
    "run_processes",
    "write_sheet",
]
