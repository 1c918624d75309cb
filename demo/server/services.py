"""What the parts of the page share; made once."""

from __future__ import annotations

from .models import Models
from .queue import JobQueue
from .settings import Settings
from .shared_results import SharedResults


class Services:
    """The server's settings, its queue of jobs, and its stores of files."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.jobs = JobQueue(settings)
        self.shared_results = SharedResults(settings)
        self.models = Models(settings.models)
