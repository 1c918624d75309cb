"""What the parts of the page share; made once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gradio.utils import get_upload_folder

from stylecore.errors import OptionError
from stylecore.images import ImageTensor, image_size
from stylecore.job import Job
from stylecore.presets import make_config
from stylecore.sample_images import load_photo, load_style

from ..live import Frame, run_job
from .folders import delete_new_files, writable_folder
from .models import Models
from .painters import LostError, Painter, ProcessPainter
from .queue import JobQueue
from .results import Results
from .settings import Settings
from .shared_results import SharedResults
from .timings import Timings
from .votes import Votes
from .workers import Workers

WARM_UP_PX = 192  # a second or two


class Services:
    """The server's settings, its queue of jobs, and its stores of files.

    Raises:
        OptionError: a folder that cannot be written.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        writable_folder(Path(get_upload_folder()), "the environment variable GRADIO_TEMP_DIR")
        self.timings = Timings(settings.workers)
        self.jobs = JobQueue(settings, self.timings)
        self.workers = _workers(settings)
        self.results = Results()
        self.shared_results = SharedResults(settings)
        self.votes = Votes(settings)
        self.models = Models(settings.models)

    def warm_up(self) -> None:
        """Have each worker paint a sketch before anybody asks for one: the page can say then what its stops take."""
        for _ in range(self.settings.workers):
            self.jobs.before_all(self._time_a_sketch)

    def _time_a_sketch(self) -> None:
        config = make_config("draft", size=WARM_UP_PX)
        job = Job(load_photo("rocket"), (load_style("flow_strokes"),), config)
        for _ in range(2):  # the first loads what every later job finds loaded
            *_, last = self.frames(job)
        self.timings.note(config, image_size(job.content), last.seconds)

    def frames(self, job: Job, image: ImageTensor | None = None) -> Iterator[Frame]:
        """`live.run_job`, in a worker where there are any."""
        return run_job(job, image) if self.workers is None else self.workers.frames(job, image)

    def close(self) -> None:
        """End the jobs, and delete what they have made for visitors; what was shared stays."""
        if self.workers is not None:
            self.workers.close()
        self.jobs.close()
        delete_new_files()


def _workers(settings: Settings) -> Workers | None:
    """None: the server paints itself."""
    if not settings.ray:
        number = settings.workers
        return Workers(number, lambda index: ProcessPainter(index, number)) if number > 1 else None
    from .actors import NOT_THERE, ActorPainter  # needs an extra

    def start(_: int) -> Painter:
        return ActorPainter(settings.ray, settings.ray_cpus, settings.ray_gpus)

    workers = Workers(settings.workers, start)
    try:
        workers.wait()
    except LostError as error:
        raise OptionError(NOT_THERE) from error
    return workers
