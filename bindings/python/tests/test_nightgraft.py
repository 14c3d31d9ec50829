"""The scenario that all languages play, and what is special to Python: asyncio, exceptions, no leak.

The environment names the models: NIGHTGRAFT_SMOLLM2, NIGHTGRAFT_TINY; the scenario's folder: NIGHTGRAFT_SCENARIO.
"""

import asyncio
import json
import os
import tempfile
import unittest
from pathlib import Path
from typing import Any

from nightgraft import (
    AdapterStore,
    BaseModel,
    BytesListener,
    Cancelled,
    ChatOptions,
    DeviceState,
    Example,
    Generator,
    GraftFormat,
    InvalidData,
    InvalidModel,
    LogLevel,
    LogSink,
    Message,
    Interruption,
    NightEnd,
    NightRules,
    NothingToDoReason,
    PersonalizationSession,
    Phase,
    Platform,
    Progress,
    ProgressListener,
    SessionSettings,
    SliceOutcome,
    StoreLocked,
    StoreSettings,
    TextListener,
    Thermal,
    Unsupported,
    WaitKind,
    WrongKey,
    destroy_store,
    examples,
    published_models,
    rules_while_used,
    set_log_sink,
    verify_model,
)

# What bindings/README.md shows: `cargo xtask python` writes it beside this file.
from .bindings_README import first_personalized_answer

KEY = b"a made-up key of thirty-two byte"


def scenario() -> Any:
    return json.loads((Path(os.environ["NIGHTGRAFT_SCENARIO"]) / "scenario.json").read_text())


def notes() -> list[Example]:
    lines = (Path(os.environ["NIGHTGRAFT_SCENARIO"]) / "notes.jsonl").read_text().splitlines()
    turns = [json.loads(line)["messages"] for line in lines]
    return [examples.chat([Message(role=t["role"], content=t["content"]) for t in chat]) for chat in turns]


class StopAfterStep(ProgressListener):
    """Stops its session once so many steps are made."""

    def __init__(self, session: PersonalizationSession, after: int) -> None:
        self.session = session
        self.after = after
        self.seen: list[Progress] = []

    def on_progress(self, progress: Progress) -> None:
        self.seen.append(progress)
        if progress.step >= self.after:
            self.session.stop()


class StepSignal(ProgressListener):
    """Tells the loop that it was made in once so many steps are made."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.loop = asyncio.get_running_loop()
        self.reached = asyncio.Event()

    def on_progress(self, progress: Progress) -> None:
        if progress.step >= self.after:
            self.loop.call_soon_threadsafe(self.reached.set)


class ThrowingListener(ProgressListener):
    """Fails in a way that nobody has declared."""

    def on_progress(self, progress: Progress) -> None:
        raise ValueError("made to")


class Counter(BytesListener):
    """Keeps how many bytes were read."""

    def __init__(self) -> None:
        self.read = 0

    def on_bytes(self, read: int) -> None:
        self.read = read


class Collector(TextListener):
    """Keeps an answer's pieces, and fails after so many."""

    def __init__(self, limit: int | None = None) -> None:
        self.pieces: list[str] = []
        self.limit = limit

    def on_text(self, piece: str) -> None:
        self.pieces.append(piece)
        if self.limit is not None and len(self.pieces) >= self.limit:
            raise ValueError("enough")


class Unplugged(Platform):
    """A phone that lies on a table, a quarter past one on a night in November."""

    def state(self) -> DeviceState:
        return DeviceState(
            charging=False,
            battery=0.9,
            thermal=Thermal.NOMINAL,
            temperature=25.0,
            low_power_mode=False,
            idle=True,
            memory_available=4 << 30,
            storage_free=64 << 30,
            unix_seconds=1_795_569_300,
            utc_offset_seconds=0,
        )


class StopWhenWaiting(ProgressListener):
    """Stops its session as soon as it waits."""

    def __init__(self, session: PersonalizationSession) -> None:
        self.session = session

    def on_progress(self, progress: Progress) -> None:
        if progress.phase == Phase.WAITING:
            self.session.stop()


class ThrowingSink(LogSink):
    """Keeps the lines of nights, and fails in a way that nobody has declared."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.lines: asyncio.Queue[tuple[LogLevel, str]] = asyncio.Queue()

    def log(self, level: LogLevel, target: str, message: str) -> None:
        if target.startswith("nightgraft") and message.startswith("the night"):
            self.loop.call_soon_threadsafe(self.lines.put_nowait, (level, message))
        raise ValueError("made to")


class ScenarioTest(unittest.IsolatedAsyncioTestCase):
    async def test_from_the_first_note_to_the_export(self) -> None:
        told = scenario()
        settings = SessionSettings(**told["settings"])
        with tempfile.TemporaryDirectory() as folder:
            store_path = str(Path(folder) / "store")
            keys = StoreSettings(key=KEY, seed=told["store_seed"])
            model = await BaseModel.open(os.environ["NIGHTGRAFT_SMOLLM2"])
            store = await AdapterStore.open(store_path, keys)
            self.assertEqual(await store.add(notes()), list(range(1, 41)))
            session = await PersonalizationSession.open(model, store, settings)
            stopper = StopAfterStep(session, told["stop_after_step"])
            outcome = await session.run_slice(None, stopper)
            self.assertIsInstance(outcome, SliceOutcome.PAUSED)
            self.assertEqual(stopper.seen[-1].phase, Phase.PAUSED)
            self.assertLess(stopper.seen[-1].step, stopper.seen[-1].total_steps)
            await session.release()
            await store.release()

            with self.assertRaises(WrongKey):
                await AdapterStore.open(store_path, StoreSettings(key=bytes(32)))

            store = await AdapterStore.open(store_path, keys)
            session = await PersonalizationSession.open(model, store, settings)
            self.assertIsInstance(await session.run_slice(None, None), SliceOutcome.FINISHED)
            report = session.report()
            assert report is not None and report.graft is not None
            self.assertTrue(report.promoted, report.verdict.text)

            generator = await Generator.open(model, 2)
            options = ChatOptions(max_tokens=told["max_tokens"])
            question = [Message(role="user", content=told["question"])]
            before = await generator.chat(question, options, None)
            self.assertEqual(await generator.use_current(store), report.graft)
            collector = Collector()
            after = await generator.chat(question, options, collector)
            self.assertEqual("".join(collector.pieces), after.text)
            self.assertTrue(after.text.startswith("Keeper's note."), after.text)
            self.assertNotEqual(before.text, after.text)
            with self.assertRaises(Cancelled):
                await generator.chat(question, options, Collector(limit=2))

            out = Path(os.environ.get("NIGHTGRAFT_SCENARIO_OUT", folder)) / "python"
            out.parent.mkdir(parents=True, exist_ok=True)
            await store.export(report.graft, GraftFormat.PEFT, model, str(out))
            deleted = await store.delete([told["delete"]])
            self.assertEqual((deleted.deleted, deleted.marked_grafts), ([told["delete"]], [report.graft]))


class TinyModelTest(unittest.IsolatedAsyncioTestCase):
    """On a model of random numbers."""

    async def asyncSetUp(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.store_path = str(Path(self.folder.name) / "store")
        self.model = await BaseModel.open(os.environ["NIGHTGRAFT_TINY"])
        self.settings = SessionSettings(context=64, batch_tokens=64, epochs=50, threads=2)

    async def store_with_examples(self) -> AdapterStore:
        store = await AdapterStore.open(self.store_path, StoreSettings(key=None, seed=3))
        await store.add([examples.text(f"a made-up line, number {i}: boats, {i * 7} of them") for i in range(40)])
        return store

    async def test_errors_are_exceptions_of_their_own(self) -> None:
        broken = Path(self.folder.name) / "broken.gguf"
        broken.write_bytes(b"GGUF" + bytes(100))
        with self.assertRaises(InvalidModel):
            await BaseModel.open(str(broken))
        store = await self.store_with_examples()
        with self.assertRaises(StoreLocked):
            await AdapterStore.open(self.store_path, StoreSettings(key=None))
        with self.assertRaises(InvalidData):
            await store.add([examples.text("")])
        with self.assertRaises(Unsupported):
            await PersonalizationSession.open(self.model, store, SessionSettings(rank=0))

    async def test_too_few_examples_are_told_in_numbers_before_anything_is_trained(self) -> None:
        store = await AdapterStore.open(self.store_path, StoreSettings(key=None))
        await store.add([examples.text(f"The boat number {i} is red.") for i in range(5)])
        session = await PersonalizationSession.open(self.model, store, SessionSettings())
        outcome = await session.run_slice(None, None)
        assert isinstance(outcome, SliceOutcome.NOTHING_TO_DO)
        self.assertEqual(outcome.reason, NothingToDoReason.TOO_FEW(5, 16))
        self.assertEqual(session.progress().nothing_to_do, outcome.reason)

    async def test_the_rules_from_a_screen_are_the_defaults_but_for_the_device_in_use(self) -> None:
        self.assertEqual(rules_while_used(), NightRules(idle_only=False))

    async def test_the_readme_leads_from_twenty_notes_to_an_answer(self) -> None:
        notes = [(f"What is in box {i}?", f"In box {i} there are {i} ropes.") for i in range(20)]
        answer = await first_personalized_answer(
            os.environ["NIGHTGRAFT_TINY"], self.store_path, KEY, notes, "What is in box 3?"
        )
        self.assertNotEqual(answer, "")
        store = await AdapterStore.open(self.store_path, StoreSettings(key=KEY))
        self.assertEqual(len(await store.grafts()), 1)

    async def test_a_store_without_a_key_has_to_be_asked_for(self) -> None:
        with self.assertRaises(TypeError):
            StoreSettings()  # type: ignore[call-arg]

    async def test_what_is_forgotten_is_in_no_graft_and_what_is_left_goes_out(self) -> None:
        store = await self.store_with_examples()
        session = await PersonalizationSession.open(self.model, store, SessionSettings(context=64, epochs=1))
        self.assertIsInstance(await session.run_slice(None, None), SliceOutcome.FINISHED)
        await store.promote_anyway(1)
        before = self.listing()
        self.assertIn("grafts/00000001.ngs", before)
        # Four are held out at most, so that one of these was learned.
        report = await store.forget([1, 2, 3, 4, 5])
        self.assertEqual((report.deleted, report.deleted_grafts, report.current), ([1, 2, 3, 4, 5], [1], None))
        self.assertEqual(before - self.listing(), {"grafts/00000001.ngs"})
        out = Path(self.folder.name) / "mine.jsonl"
        self.assertEqual(await store.export_examples(str(out)), 35)
        stored = await store.examples()
        self.assertEqual(out.read_text().splitlines(), [example.json for example in stored])
        self.assertEqual(stored[0].example, examples.text("a made-up line, number 5: boats, 35 of them"))

    async def test_a_destroyed_store_leaves_nothing(self) -> None:
        store = await self.store_with_examples()
        with self.assertRaises(StoreLocked):
            await destroy_store(self.store_path)
        await store.release()
        before = self.listing()
        report = await destroy_store(self.store_path)
        self.assertEqual((set(report.removed), report.left), (before, []))
        self.assertFalse(Path(self.store_path).exists())
        (Path(self.folder.name) / "thesis.tex").write_text("years of work")
        with self.assertRaises(Unsupported):
            await destroy_store(self.folder.name)

    async def test_a_change_of_the_key_that_was_interrupted_is_finished_by_opening_with_both_keys(self) -> None:
        await (await AdapterStore.open(self.store_path, StoreSettings(key=KEY))).release()
        for _ in range(2):
            store = await AdapterStore.open(self.store_path, StoreSettings(key=bytes(32), former_key=KEY))
            await store.release()
        with self.assertRaises(WrongKey):
            await AdapterStore.open(self.store_path, StoreSettings(key=KEY))

    async def test_a_download_is_the_model_of_the_catalogue_or_is_to_be_fetched_again(self) -> None:
        published = next(model for model in published_models() if model.name == "smollm2-135m")
        counter = Counter()
        model = os.environ["NIGHTGRAFT_SMOLLM2"]
        await verify_model(model, published.bytes, published.sha256, counter)
        self.assertEqual(counter.read, published.bytes)
        with self.assertRaisesRegex(InvalidModel, "fetch it again"):
            await verify_model(os.environ["NIGHTGRAFT_TINY"], published.bytes, published.sha256, None)

    def listing(self) -> set[str]:
        """The files below the store's folder."""
        store = Path(self.store_path)
        return {str(path.relative_to(store)) for path in store.rglob("*") if path.is_file()}

    async def test_what_became_of_a_night_is_kept(self) -> None:
        store = await self.store_with_examples()
        session = await PersonalizationSession.open(self.model, store, self.settings)
        self.assertEqual(await store.nights(), [])
        await session.run_night(Unplugged(), NightRules(), None, True, StopWhenWaiting(session))
        [night] = await store.nights()
        self.assertEqual((night.began, night.steps), (1_795_569_300, 0))
        self.assertEqual([wait.kind for wait in night.waits], [WaitKind.NOT_CHARGING])
        assert isinstance(night.end, NightEnd.STOPPED)
        self.assertIsNone(night.end.by)
        await store.note_interruption(Interruption.TIME_UP)
        [night] = await store.nights()
        assert isinstance(night.end, NightEnd.STOPPED)
        self.assertEqual(night.end.by, Interruption.TIME_UP)
        progress = session.progress()
        assert progress.estimate is not None
        self.assertEqual((progress.estimate.steps_left, progress.estimate.nights_left), (progress.total_steps, None))

    async def test_changes_of_a_store_are_told_until_it_is_closed(self) -> None:
        store = await AdapterStore.open(self.store_path, StoreSettings(key=None))
        changes = store.changes()
        self.assertTrue(await changes.next())
        waiting = asyncio.create_task(changes.next())
        await store.add([examples.text("The ferry leaves at seven.")])
        self.assertTrue(await waiting)
        waiting = asyncio.create_task(changes.next())
        await store.release()
        self.assertFalse(await waiting)

    async def test_a_log_sink_gets_what_a_night_waits_for_and_may_throw(self) -> None:
        sink = ThrowingSink()
        set_log_sink(sink, LogLevel.INFO)
        self.addCleanup(set_log_sink, None, LogLevel.INFO)
        store = await self.store_with_examples()
        session = await PersonalizationSession.open(self.model, store, self.settings)
        await session.run_night(Unplugged(), NightRules(), None, True, StopWhenWaiting(session))
        expected = ["the night waits: waiting for the charger", "the night ended: stopped on request"]
        self.assertEqual([await sink.lines.get() for _ in expected], [(LogLevel.INFO, line) for line in expected])

    async def test_a_listener_that_throws_ends_the_slice(self) -> None:
        store = await self.store_with_examples()
        session = await PersonalizationSession.open(self.model, store, self.settings)
        with self.assertRaises(Cancelled):
            await session.run_slice(None, ThrowingListener())
        outcome = await session.run_slice(0.0, None)
        self.assertIsInstance(outcome, SliceOutcome.PAUSED)

    async def test_a_cancelled_task_stops_the_slice(self) -> None:
        store = await self.store_with_examples()
        session = await PersonalizationSession.open(self.model, store, self.settings)
        signal = StepSignal(after=2)
        task = asyncio.create_task(session.run_slice(None, signal))
        await signal.reached.wait()
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        # The store is free again at once, and the session goes on from where it was.
        step = session.progress().step
        await session.release()
        await store.release()
        store = await AdapterStore.open(self.store_path, StoreSettings(key=None))
        session = await PersonalizationSession.open(self.model, store, self.settings)
        await session.run_slice(0.0, None)
        self.assertGreaterEqual(session.progress().step, step)


if __name__ == "__main__":
    unittest.main()
