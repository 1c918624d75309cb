"""The Stylize tab: live frames of one job, its result beside the photo, and what can be made of it."""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from stylecore import StylizeConfig, make_config
from stylecore.errors import OptionError
from stylecore.film import Film
from stylecore.images import image_size, load_image, resize_image
from stylecore.job import Job, SavedSettings, Source

from .. import examples
from ..components import progress
from ..components.history import AS_PHOTO, AS_STYLE, COMPARE, History, values_of
from ..components.job_button import JobButton
from ..components.result_view import ResultView
from ..components.share_panel import SharePanel
from ..components.tiles import Tile, on_click, tile_row, tile_uri
from ..components.url_state import UrlState, encoded
from ..finished import WALL, Finished
from ..live import Frame
from ..server.folders import new_file
from ..server.gradio_internals import host_of
from ..server.messages import message_of
from ..server.queue import AT_ONCE
from ..server.results import Result
from ..server.uploads import publish, save_frame, save_png, uploaded
from ..sharing import result_to_share
from ..stops import STOPS, finer, larger
from .base import Tab

Updates = Generator[dict[Any, Any], None, None]
LEAVING_S = 5.0  # within which the server notices that a page has gone
WALL_PX = 120
ROUGH = (STOPS["Sketch"], STOPS["Preview"])  # presets whose picture can be painted finer


class StoppedError(Exception):
    """Thrown into a job that its visitor stops."""


class StylizeTab(Tab):
    """One job, what goes on from its picture, and the link under which that is shared."""

    name, label = "stylize", "Stylize"

    def lay_out(self) -> None:
        """The button, the picture, the status, what can be done with a result, and pictures to go back to."""
        self.button = JobButton("Stylize", self.services.jobs)
        self.view = ResultView(_pair(WALL[0]) if WALL else None)
        self.status = gr.HTML(progress.message(_words_of(WALL[0]) if WALL else progress.READY), elem_id="status")
        with gr.Row(elem_classes="actions"):
            self.fine = gr.Button("Paint it fine", size="md", visible=False, min_width=250)
            self.large = gr.Button("Make it large", size="md", visible=False, min_width=250)
            self.download = gr.DownloadButton("Download PNG", size="md", interactive=False, min_width=250)
            self.film = gr.DownloadButton("Download film", size="md", visible=False, min_width=250)
            self.share = SharePanel(self.services.settings.shared_days)
        self.share.link.render()
        self.history = History(self.services.results)
        gr.Markdown("**Painted beforehand.** A click loads the pair and its settings.", elem_classes="heading")
        self.wall = tile_row([_wall_tile(each) for each in WALL], "Finished examples", elem_id="wall")
        self.curves = gr.HTML(visible=False, label="Curves", show_label=True, container=True, padding=True)
        self.shown = gr.State("")  # token of the picture that is shown
        self.newest = gr.Textbox("", visible=False)  # token of the picture that was painted last
        self.made_of = gr.State("")  # fingerprint of the settings that the picture shown was made with
        self.job_id = gr.BrowserState("")  # of the job that runs for this browser
        self.rejoined = gr.Textbox("", visible=False)  # id of a job to go on with

    def wire(self) -> None:
        """Every way to begin a job, and what is done with pictures."""
        self.view.wire(self.download)
        self.share.shares(self._share, [self.download, self.shown], self.status, "share_result")
        inputs, shown = self.inputs.components, {self.shown}
        ways = [(self.run, inputs, None), (self.run_finer, shown, self.fine.click)]
        ways += [(self.run_larger, shown, self.large.click), (self.rejoin, {self.rejoined}, self.rejoined.change)]
        for job, read, listen in ways:
            self.button.runs(job, read, self._shown_outputs, status=self.status, listen=listen)
        size, seconds = self.inputs.fields["size"], [self.inputs.detail, self.inputs.fields["preset"]]
        self.newest.change(self.history.add, [self.newest, self.history.tokens], self.history.outputs, **AT_ONCE)
        self.newest.change(self.inputs.show_seconds, size, seconds, **AT_ONCE)
        changes = [each.change for each in (*self.inputs.components, self.made_of)]
        gr.on(
            changes, self._say_stale, {*self.inputs.components, self.made_of}, self.view.stale,
            preprocess=False, trigger_mode="multiple", **AT_ONCE,
        )  # fmt: skip
        everything = list(dict.fromkeys([*self._shown_outputs, *self.inputs.by_name.values()]))
        on_click(self.wall, self._show_finished, None, everything)
        on_click(self.history.strip, self._act, [self.history.action, self.shown], everything)

    def connect(self, url_state: UrlState) -> None:
        """A loaded page shows what it did when it was left."""
        remembered = {self.history.tokens, self.inputs.own_pictures, url_state.own}
        self.named_own = url_state.own
        outputs = [*self._shown_outputs, *self.history.outputs, *self.inputs.pictures.values()]
        outputs += [self.inputs.detail, self.view.stale]
        read = {*remembered, *self.inputs.components}
        restored = url_state.restored.then(self._restore, read, outputs, preprocess=False, **AT_ONCE)
        restored.then(self._look_for_job, self.job_id, self.rejoined, **AT_ONCE)

    @property
    def _shown_outputs(self) -> list[Any]:
        outputs = [*self.view.outputs, self.status, self.fine, self.large, self.download]
        outputs += [self.film, *self.share.outputs]
        outputs += [self.curves, self.shown, self.newest, self.made_of, self.job_id]
        return [*outputs, *(self.inputs.fields[name] for name in ("preset", "size"))]

    # ---- jobs

    def run(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Paint with the settings at the left."""
        named = {name: values[component] for name, component in self.inputs.by_name.items()}
        yield from self._attend(self._paint(self.inputs.read_job(values), named), request)

    def run_finer(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Go on from a rough picture, with its own settings."""
        result = self.services.results.find(values[self.shown])
        yield from self._attend(self._go_on(result, finer(result.config)), request)

    def run_larger(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Go on from a picture at twice its size, or as far as this server allows."""
        result = self.services.results.find(values[self.shown])
        yield from self._attend(self._go_on(result, larger(result.config, self._larger_size(result.config))), request)

    def rejoin(self, values: dict[Any, Any], request: gr.Request) -> Iterator[dict[Any, Any]]:
        """Go on with a job whose page was loaded anew."""
        frames = self.services.jobs.unpark(values[self.rejoined])
        if frames is None:
            raise OptionError(progress.GIVEN_UP)
        yield self._show_beginning() | {self.status: progress.message(progress.REJOINED)}
        yield from self._attend(frames, request, values[self.rejoined])

    def _attend(self, frames: Updates, request: gr.Request, job_id: str = "") -> Updates:
        """A job's frames as long as the visitor is there. A page that goes leaves the job for its next load."""
        job_id = job_id or secrets.token_urlsafe(16)
        frame, thrown, is_told = self.button.running() | {self.job_id: job_id}, None, False
        self.services.jobs.attend(job_id)
        try:
            while True:
                try:
                    yield frame
                except Exception as error:  # the visitor's time is spent
                    thrown = error
                frame = next(frames) if thrown is None else frames.throw(thrown)
                thrown = StoppedError() if self.button.is_stopped(request) and not is_told else None
                is_told = thrown is not None or is_told
        except StopIteration:
            return
        except GeneratorExit:
            self.services.jobs.park(job_id, frames)
            raise
        finally:
            self.services.jobs.leave(job_id)

    def _paint(self, job: Job, named: Mapping[str, Any], start: Any = None) -> Updates:
        """Live frames, then the result: of a job that was stopped, or in which something went wrong, its last frame."""
        frames = self.services.frames(job, start)
        frame, ending, begins = next(frames), "Done", self._show_beginning()
        film = Film(new_file(f"{job.name}.webp"), job.size)
        made_of = {self.made_of: self.inputs.fingerprint(self._by_component(named))}  # always: a page may come later
        try:
            yield self._show_frame(frame) | made_of
            for frame in frames:
                film.see(frame.image)
                yield self._show_frame(frame) | made_of | begins
                begins = {}
        except StoppedError:
            ending = "Stopped"
        except Exception as error:
            frame = replace(frame, trouble=message_of(error))
        if frame.trouble and not frame.step:
            yield {self.status: progress.failure(frame.trouble), self.job_id: ""}
            return
        if ending == "Done" and not frame.trouble:
            self.services.timings.note(job.config, image_size(job.content), frame.seconds)
        yield begins | self._show_result(frame, film, "Ended early" if frame.trouble else ending, named)

    def _go_on(self, result: Result, config: StylizeConfig) -> Updates:
        """From a finished picture, with its own pictures and settings but for those of the config."""
        named = result.values | {"preset": config.preset, "size": config.size}
        job = self.inputs.read_job(self._by_component(named), config)
        yield from self._paint(job, named, load_image(result.path))
        yield {self.inputs.fields[name]: named[name] for name in ("preset", "size")}

    def _by_component(self, named: Mapping[str, Any]) -> dict[Any, Any]:
        return {component: named[name] for name, component in self.inputs.by_name.items()}

    def _larger_size(self, config: StylizeConfig) -> int:
        return int(min(2 * config.size, self.services.settings.range("size")[1]))

    # ---- what is shown

    def _show_beginning(self) -> dict[Any, Any]:
        """With the first step, the live picture takes the place of the last result."""
        hidden = {each: gr.Button(visible=False) for each in (self.fine, self.large)}
        return self.view.show_beginning() | hidden | self._without_file()

    def _without_file(self) -> dict[Any, Any]:
        """Nothing to download or share."""
        no_film = gr.DownloadButton(visible=False)
        return {self.download: gr.DownloadButton(interactive=False), self.film: no_film} | self.share.nothing()

    def _show_frame(self, frame: Frame) -> dict[Any, Any]:
        return self.view.show_frame(frame) | {
            self.status: progress.status(frame),
            self.curves: gr.HTML(progress.curves(frame), visible=True) if frame.losses else gr.skip(),
        }

    def _show_result(self, frame: Frame, film: Film, ending: str, named: Mapping[str, Any]) -> dict[Any, Any]:
        job = frame.job
        before = save_png(resize_image(job.content, *job.size), "photo.png")
        after = save_png(frame.image, f"{job.name}.png", job.settings())
        words = progress.status(frame, ending)
        result = Result(
            Path(after), Path(before), dict(named), job.config, words, frame.seconds, film.write(frame.image)
        )
        token = self.services.results.add(result)
        curves = gr.HTML(progress.curves(frame), visible=bool(frame.losses))
        return self._show(token, result) | {self.curves: curves, self.newest: token, self.job_id: ""}

    def _show(self, token: str, result: Result) -> dict[Any, Any]:
        """A result of this browser, and what goes on from it."""
        config, size = result.config, self._larger_size(result.config)
        stop = self._seconds(finer(config), result)
        more = self._seconds(larger(config, size), result) if size > config.size else ""
        return (
            self.view.show_pair(str(result.photo), str(result.path), str(result.path))
            | {
                self.status: result.words,
                self.fine: gr.Button(f"Paint it fine{stop}", visible=config.preset in ROUGH),
                self.large: gr.Button(f"Make it large: {size} px{more}", visible=size > config.size),
                self.download: gr.DownloadButton(value=str(result.path), interactive=True),
                self.film: gr.DownloadButton(value=str(result.film), visible=True),
                self.shown: token,
                self.made_of: self.inputs.fingerprint(self._by_component(result.values)),
            }
            | self.share.offer(not examples.is_one(result.values["photo"]))
        )

    def _seconds(self, config: StylizeConfig, result: Result) -> str:
        seconds = self.services.timings.estimate(config, image_size(load_image(result.photo)))
        return "" if seconds is None else f" · about {progress.duration(seconds)}"

    def _show_finished(self, event: gr.EventData) -> dict[Any, Any]:
        """A picture of the wall with its pair and settings."""
        return self._finished(next(each for each in WALL if each.file == event.name))

    def _finished(self, finished: Finished) -> dict[Any, Any]:
        values = self._values_of(finished)
        hidden = {each: gr.Button(visible=False) for each in (self.fine, self.large)}
        return values | self.view.show_pair(*_pair(finished)) | hidden | self._without_file() | {
            self.status: progress.message(_words_of(finished), 1.0),
            self.curves: gr.HTML(visible=False),
            self.made_of: self.inputs.fingerprint(values),
            self.shown: "",
        }  # fmt: skip

    def _values_of(self, finished: Finished) -> dict[Any, Any]:
        """All controls as they were: the visitor's other settings would make another picture."""
        options = {name: finished.settings[name] for name in ("preset", "size", "strength")}
        sources = tuple(Source(finished.settings[name], "") for name in ("photo", "style"))
        saved = SavedSettings(finished.path, make_config(**options).to_dict(), sources, {})
        controls = self.inputs.controls
        return {
            controls[name].component: controls[name].read(text)
            for name, text in self.inputs.saved_settings(saved).items()
        }

    def _act(self, action: str, shown: str, event: gr.EventData) -> dict[Any, Any]:
        """What a click on a picture of the strip is to do."""
        try:
            result = self.services.results.find(event.name)
            if action == AS_PHOTO:
                return {self.inputs.photo: str(result.path)}
            if action == AS_STYLE:
                return {self.inputs.styles[0]: str(result.path)}
            if action == COMPARE and shown and shown != event.name:
                return self.view.compare(str(result.path), str(self.services.results.find(shown).path))
        except OptionError as error:
            return {self.status: progress.failure(str(error))}
        back = values_of(result, self.inputs.by_name)
        return back | self._show(event.name, result) | {self.curves: gr.HTML(visible=False)}

    def _say_stale(self, values: dict[Any, Any]) -> str:
        made_of = values[self.made_of]
        return progress.stale(bool(made_of) and made_of != self.inputs.fingerprint(values))

    # ---- a page that is loaded

    def _restore(self, values: dict[Any, Any]) -> dict[Any, Any]:
        """The last picture of this browser, or the first of the wall."""
        own = self.inputs.restore(values[self.inputs.own_pictures] or {}, values[self.named_own])
        tokens = values[self.history.tokens] if isinstance(values[self.history.tokens], list) else []
        detail, preset = self.inputs.show_seconds(values[self.inputs.fields["size"]])
        back = own | self.history.show(tokens) | {self.inputs.detail: detail, self.inputs.fields["preset"]: preset}
        newest = self.history.newest(tokens)
        now = self.inputs.fingerprint(values | own)
        if newest is not None:
            token = next(iter(self.services.results.found(tokens)))
            back |= self._show(token, newest)
        elif WALL:
            back |= {self.made_of: self.inputs.fingerprint(self._values_of(WALL[0]))}
        made_of = back.get(self.made_of, "")
        return back | {self.view.stale: progress.stale(bool(made_of) and made_of != now)}

    def _look_for_job(self, job_id: str) -> str:
        """The id of a job that this page has left behind; one that another page of this browser watches is its own."""
        end = time.monotonic() + LEAVING_S
        while job_id and self.services.jobs.is_attended(job_id) and time.monotonic() < end:
            time.sleep(0.1)
        return job_id if job_id and self.services.jobs.is_parked(job_id) else gr.skip()

    def _share(self, download: Any, shown: str, agreed: bool, request: gr.Request) -> tuple[str, str, str, str]:
        """What the download is now, with its own settings, wherever the controls are by now."""
        path, result = uploaded(download, "result"), self.services.results.found([shown]).get(shown)
        saved = SavedSettings.read(path)
        may_show = result is not None and (agreed or examples.is_one(result.values["photo"]))
        record, files = result_to_share(
            path,
            result.photo if result is not None and may_show else None,
            StylizeConfig.from_dict(saved.config),
            saved.sources,
            result.seconds if result is not None else None,
            encoded(self.inputs.saved_settings(saved) | {"photo": ""}),
        )
        token, key = self.services.shared_results.add(record, files, host_of(request.client))
        return record.kind, token, key, record.title


def _pair(finished: Finished) -> tuple[str, str]:
    """Photo and picture, both of the picture's size."""
    photo = load_image(examples.PHOTOS[finished.settings["photo"]])
    height, width = image_size(load_image(finished.path))
    return save_frame(resize_image(photo, height, width)), publish(finished.path)


def _words_of(finished: Finished) -> str:
    settings = finished.settings
    stop = next(stop for stop, preset in STOPS.items() if preset == settings["preset"])
    return (
        f"{finished.title}, strength {settings['strength']}, detail {stop}: painted beforehand. Press Stylize to watch "
        "it grow, or choose pictures of your own."
    )


def _wall_tile(finished: Finished) -> Tile:
    return Tile(finished.file, finished.title, tile_uri(finished.path, WALL_PX))
