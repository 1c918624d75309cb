"""Many results: every photo in every style in every variant, made here, by several processes, or by a Ray cluster."""

from stylecore.batch.plan import Task, find_pictures, plan_pairs, plan_products, read_pairs
from stylecore.batch.runners import Outcome, run_here, run_on_ray, run_processes
from stylecore.batch.task import make_result

__all__ = [
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
]
