"""Did a change of the code make a preset slower? Two checkouts, in turns, on a quiet machine.

python -m tools.compare_speed OTHER_CHECKOUT

Each checkout has a process of its own; they take turns, preset by preset, and the ratio of each turn counts, so that a
machine that slows down slows both. Other than 1 is a median whose quartiles lie on one side of 1.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path
from statistics import quantiles

TURNS = 10
SIZE_PX, NUM_STEPS = 256, 20
# A process that stylizes a random picture whenever it is told a preset, and answers with the engine's seconds.
SERVE = f"""
import sys, torch, stylecore
from torch.nn.functional import interpolate
noise = torch.rand(2, 3, 12, 12, generator=torch.Generator().manual_seed(0))
content, style = interpolate(noise, ({SIZE_PX}, {SIZE_PX}), mode="bicubic").clamp(0, 1).split(1)
for line in sys.stdin:
    result = stylecore.stylize(content, style, preset=line.strip(), size={SIZE_PX}, num_steps={NUM_STEPS})
    print(result.seconds, flush=True)
"""


def serve(checkout: Path) -> subprocess.Popen[str]:
    """A process that runs the code of a checkout."""
    return subprocess.Popen(
        [sys.executable, "-c", SERVE],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def seconds(process: subprocess.Popen[str], preset: str) -> float:
    """Of one job."""
    stdin, stdout = process.stdin, process.stdout
    assert stdin is not None
    assert stdout is not None
    stdin.write(f"{preset}\n")
    stdin.flush()
    return float(stdout.readline())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.compare_speed", description=__doc__)
    parser.add_argument("other", type=Path, help="a checkout of the commit before")
    parser.add_argument("--turns", type=int, default=TURNS)
    options = parser.parse_args()
    from stylecore.presets import PRESETS

    here, other = serve(Path.cwd()), serve(options.other.resolve())
    for preset in PRESETS:
        for process in (here, other):  # loads encoders and kernels
            seconds(process, preset)
        ratios = [seconds(here, preset) / seconds(other, preset) for _ in range(options.turns)]
        low, middle, high = quantiles(ratios, n=4)
        print(f"{preset}: {middle:.3f} times the seconds ({low:.3f} to {high:.3f})", flush=True)


if __name__ == "__main__":
    main()
