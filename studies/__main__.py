"""Run the experiments that are missing, draw the figures, render the document."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable

from studies import costs, kernels, layers, matching, shuffle, sweep, weights
from studies.claims import broken
from studies.findings import Study
from studies.render import TEMPLATE, render
from studies.settings import FULL, QUICK, ROOT, recipe
from studies.store import Store, read
from stylecore.encoders import load_encoder
from stylecore.files import write_file
from stylecore.profiling import warm_up

EXPERIMENTS = {module.NAME: module for module in (costs, sweep, shuffle, kernels, layers, weights, matching)}
DOCUMENT = ROOT / "docs" / "study.md"
RECORDS = ROOT / "docs" / "study" / "records.json"
WORK = ROOT / "results"  # ignored by git: the images that figures are made of


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m studies", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, into results/study-quick")
    parser.add_argument("--only", choices=EXPERIMENTS, action="append", help="run this experiment (may be repeated)")
    parser.add_argument("--render", action="store_true", help="render the document from the records and do no more")
    options = parser.parse_args(arguments)
    folder = WORK / "study-quick" if options.quick else WORK / "study"
    records = folder / "study" / "records.json" if options.quick else RECORDS
    target = folder / "study.md" if options.quick else DOCUMENT
    if not options.render:
        store = Store(records, folder / "images", QUICK if options.quick else FULL, load_encoder("vgg16"))
        experiments(store, options.only or EXPERIMENTS)
    study = Study(read(records))
    write_file(target, render(study).encode())
    print(f"wrote {target.relative_to(ROOT)}", flush=True)
    for sentence in () if options.quick else broken(study):
        print(f"The records no longer bear this out, so {TEMPLATE.name} has to say something else: {sentence}")


def experiments(store: Store, names: Iterable[str]) -> None:
    """Run and draw the experiments of these names."""
    warm_up(store.encoder, recipe(store.settings))
    for name in names:
        started = time.perf_counter()
        print(name, flush=True)
        EXPERIMENTS[name].run(store)
        EXPERIMENTS[name].draw(store)
        print(f"  {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
