"""The button of a tab: it starts the tab's job, and while one waits or runs, stops it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr
from gradio.components import Component

from ..server.gradio_internals import num_before
from ..server.queue import AT_ONCE, JobQueue
from . import progress

LOOK_S = 1.5  # between two looks at the place in the queue


class JobButton:
    """Start and Stop of one kind of job; made inside a `gr.Blocks`.

    Stop is two buttons that look like one: a waiting job leaves the queue, a running one ends itself. Gradio's
    `cancels` would do for both, but shows an error whenever a frame is on its way at that moment.
    """

    def __init__(self, label: str, jobs: JobQueue) -> None:
        self.jobs = jobs
        with gr.Row(elem_classes="job-button"):
            self.start = gr.Button(label, variant="primary", size="lg")
            self.stop_waiting = gr.Button("Stop", variant="stop", size="lg", visible=False)
            self.stop_running = gr.Button("Stop", variant="stop", size="lg", visible=False)
        self.clock = gr.Timer(LOOK_S, active=False)
        self._all = [self.start, self.stop_waiting, self.stop_running, self.clock]
        self._stopped: set[str] = set()  # sessions whose running job shall end
        self.stop_running.click(self._stop, None, None, **AT_ONCE)

    def runs(
        self,
        job: Callable[..., Any],
        inputs: set[Component],
        outputs: Sequence[Component],
        *,
        status: Component,
        listen: Callable[..., Any] | None = None,
    ) -> None:
        """Wire a generator of `{component: value}` to the button, or to another event's listener.

        The job yields `running()` first, and ends early but well when `is_stopped`; until its turn has come, what the
        last one has left stays. Whatever ends a job, the status says it in one sentence.
        """

        def say(sentence: str) -> dict[Any, Any]:
            return {status: progress.failure(sentence)}

        def begin(request: gr.Request) -> dict[Any, Any]:
            self._stopped.discard(str(request.session_hash))
            return self._show(self.stop_waiting) | {status: progress.message(progress.WAITING)}

        def stop_waiting(request: gr.Request) -> dict[Any, Any]:
            self._stop(request)
            return self._show(self.start) | {status: progress.message(progress.NOT_BEGUN)}

        def fail(request: gr.Request) -> dict[Any, Any]:
            """Gradio has not run the job, or has lost it. It says so too where the visitor took it out of the queue."""
            stopped = self.is_stopped(request)
            words = progress.message(progress.NOT_BEGUN) if stopped else progress.failure(progress.NOT_TAKEN)
            return self._show(self.start) | {status: words}

        def look(request: gr.Request) -> str | dict[str, Any]:
            before = num_before(str(request.session_hash))
            return gr.skip() if before is None else progress.waiting(before, self.jobs.timings.wait(before))

        # On a phone the result is far below the button. Braces, for what a function returns would become an input.
        scroll = f"() => {{ document.getElementById('{status.elem_id}').scrollIntoView({{block: 'nearest'}}); }}"
        begun = (listen or self.start.click)(begin, None, [status, *self._all], js=scroll, **AT_ONCE)
        running = self.jobs.wire(
            begun.then,
            job,
            inputs,
            [*outputs, *self._all],
            say=say,
            preprocess=False,  # Gradio would open uploads with Pillow before stylecore has looked at their size
            show_progress="hidden",  # `look` says the place in the queue
            api_visibility="private",
        )
        running.success(lambda: self._show(self.start), None, self._all, **AT_ONCE)
        running.failure(fail, None, [*self._all, status], **AT_ONCE)  # which `then` would not follow
        self.stop_waiting.click(stop_waiting, None, [*self._all, status], cancels=[running], **AT_ONCE)
        if listen is None:
            self.clock.tick(look, None, status, **AT_ONCE)

    def running(self) -> dict[Any, Any]:
        """For the job's first yield: its turn has come."""
        return self._show(self.stop_running)

    def is_stopped(self, request: gr.Request) -> bool:
        """The job looks for this before it shows a frame."""
        return str(request.session_hash) in self._stopped

    def _stop(self, request: gr.Request) -> None:
        self._stopped.add(str(request.session_hash))

    def _show(self, button: gr.Button) -> dict[Any, Any]:
        """`button`, and not the other two; the clock goes while a job waits."""
        buttons = {each: gr.Button(visible=each is button) for each in self._all[:3]}
        return buttons | {self.clock: gr.Timer(active=button is self.stop_waiting)}
