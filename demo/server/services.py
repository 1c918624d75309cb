"""What the parts of the page share; made once."""

from __future__ import annotations

from pathlib import Path

from gradio.utils import get_upload_folder

from .folders import delete_new_files, writable_folder
from .models import Models
from .queue import JobQueue
from .settings import Settings
from .shared_results import SharedResults


class Services:
    """The server's settings, its queue of jobs, and its stores of files.

    Raises:
        OptionError: a folder that cannot be written.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        writable_folder(Path(get_upload_folder()), "the environment variable GRADIO_TEMP_DIR")
        self.jobs = JobQueue(settings)
        self.shared_results = SharedResults(settings)
        self.models = Models(settings.models)

    def close(self) -> None:
        """End the jobs, and delete what they have made for visitors; what was shared stays."""
        self.jobs.close()
        delete_new_files()
