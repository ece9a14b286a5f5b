"""A page in headless Chromium, driven through Chrome's DevTools protocol."""

import base64
import io
import itertools
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from websockets.sync.client import connect

from polyseme.checks.core.figures.graph import uses_graph
from polyseme.checks.core.figures.margins import measured_against_allowed
from polyseme.checks.core.figures.style import style
from polyseme.checks.core.report.run import Run, save_run
from polyseme.checks.core.theory import Equation, FigureEntry
from polyseme.checks.multi_concept.theory import THEORY
from polyseme.files import save_json, write_atomic
from polyseme.theory.multi_concept.regime import Regime

if TYPE_CHECKING:
    import matplotlib.figure

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


class Browser:
    """A tab of a headless browser. `log` holds what it complained about, `requests` the addresses that it asked for."""

    def __init__(self, program: str, folder: Path) -> None:
        options = ["--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-dev-shm-usage"]
        options += ["--disable-background-networking", "--remote-debugging-port=0", f"--user-data-dir={folder}"]
        if os.name == "posix" and os.geteuid() == 0:
            options.append("--no-sandbox")  # Chromium refuses to start as root with it
        self.process = subprocess.Popen(
            [program, *options, "about:blank"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.stack = ExitStack()
        self.stack.callback(self.process.wait, timeout=30)
        self.stack.callback(self.process.terminate)
        try:
            port, path = self._address(folder / "DevToolsActivePort")
            self.socket = self.stack.enter_context(
                connect(f"ws://127.0.0.1:{port}{path}", max_size=None, compression=None, proxy=None)
            )
            self._attach()
        except BaseException:
            self.stack.close()
            raise

    def _attach(self) -> None:
        self.numbers = itertools.count(1)
        self.session = ""
        self.log: list[str] = []
        self.requests: list[str] = []
        self.loaded = False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            self.call(f"{domain}.enable")

    @staticmethod
    def _address(file: Path) -> tuple[str, str]:
        for _ in range(600):
            if file.exists() and len(lines := file.read_text().split()) == 2:
                return lines[0], lines[1]
            time.sleep(0.05)
        raise TimeoutError("the browser did not open its DevTools port within half a minute")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The answer to one command of the protocol; events that come before it are noted."""
        number = next(self.numbers)
        message = {"id": number, "method": method, "params": parameters}
        self.socket.send(json.dumps(message | ({"sessionId": self.session} if self.session else {})))
        while True:
            answer = json.loads(self.socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer.get('error')}"
                return answer["result"]
            self._note(answer)

    def _note(self, event: dict[str, Any]) -> None:
        method, what = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.log.append(json.dumps(what["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and what["type"] in ("error", "warning", "assert"):
            self.log.append(json.dumps(what["args"]))
        elif method == "Log.entryAdded" and what["entry"]["level"] in ("error", "warning"):
            self.log.append(what["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(what["request"]["url"])
        elif method == "Page.loadEventFired":
            self.loaded = True

    def open(self, address: str, *, scripts: bool = True) -> None:
        """Go to an address, and wait until it is loaded. A new place in the same page needs no waiting."""
        self.loaded = False
        moved = "loaderId" not in self.call("Page.navigate", url=address)
        while not self.loaded and not moved:
            self._note(json.loads(self.socket.recv(timeout=60)))
        if scripts:
            self.settle()

    def js(self, code: str) -> Any:
        """The value of an expression in the page; a promise is waited for."""
        answer = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, f"{code}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def settle(self) -> None:
        """Wait until what was asked for is drawn."""
        self.js("new Promise(done => setTimeout(() => requestAnimationFrame(done), 10))")

    def size(self, width: int, height: int = 900, *, zoom: float = 1.0) -> None:
        """A window of so many pixels; zoom 2 leaves the page half of them."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=round(width / zoom),
            height=round(height / zoom),
            deviceScaleFactor=zoom,
            mobile=False,
        )
        self.settle()

    def media(self, **features: str) -> None:
        """Emulate media features, for example prefers_color_scheme="dark"; `medium` is screen or print."""
        medium = features.pop("medium", "")
        pairs = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", media=medium, features=pairs)
        self.settle()

    def type(self, text: str) -> None:
        """Keys as a person presses them, one after the other."""
        for letter in text:
            self.call("Input.dispatchKeyEvent", type="keyDown", text=letter, key=letter, unmodifiedText=letter)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=letter)
        self.settle()

    def press(self, key: str) -> None:
        """A key that writes nothing, such as Escape."""
        code = {"Escape": 27, "Tab": 9}[key]
        for kind in ("rawKeyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)
        self.settle()

    def click(self, selector: str) -> None:
        """Click on the first element that fits."""
        self.js(f"document.querySelector({json.dumps(selector)}).click()")
        self.settle()

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """A picture of the window, or of the whole page."""
        data = self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def pdf(self) -> bytes:
        """The page on paper."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])

    def close(self) -> None:
        """End the browser that this opened."""
        self.session = ""
        self.call("Browser.close")
        self.stack.close()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip("no Chromium on the PATH; install one, on Debian with: apt-get install chromium")
    opened = Browser(program, tmp_path_factory.mktemp("browser"))
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def made_up() -> Run:
    """A verification with every verdict, of the default regime, with two figures that are really drawn from it."""
    records = json.loads((Path(__file__).parents[1] / "example_results.json").read_text(encoding="utf-8"))
    return Run(
        records=records,
        equations=[Equation(caption="value", latex=r"v = c_k + \bar{e} d_k")],
        notation=((r"\bar{e}", "the mean sign"),),
        blocks=(("W_Q", "bb", "yes", "it has a witness"),),
        figures=[
            FigureEntry(
                title="Measured against allowed",
                caption="Margins.",
                svg=_svg(measured_against_allowed(records)),
                stem="margins",
            ),
            FigureEntry(
                title="What rests on what",
                caption="Uses.",
                svg=_svg(uses_graph(records)),
                stem="uses",
                claims=("exponential/*",),
            ),
        ],
        regime_tables=Regime().model_dump(mode="json"),
        provenance={"regime": "default", "seconds": 192.4, "versions": {"numpy": "2.3"}, "seeds": [0, 1]},
        replay="polyseme verify regimes/default.toml",
        partial=True,
        total=100,
        steps=THEORY.steps,
        meanings={key.name: key.meaning for key in Regime.keys().values()},
        sections=THEORY.sections(),
    )


def _svg(figure: "matplotlib.figure.Figure") -> str:
    with style(), io.StringIO() as file:
        figure.savefig(file, format="svg", metadata={"Date": None})
        return file.getvalue()


@pytest.fixture
def stored(made_up: Run, tmp_path: Path) -> Path:
    """The folder of such a verification, as `verify` leaves it."""
    folder = tmp_path / "runs" / "default"
    _store(made_up, folder)
    return folder


@pytest.fixture(scope="session")
def store() -> Callable[[Run, Path], None]:
    """Writes the files of a run into a folder."""
    return _store


def _store(run: Run, folder: Path) -> None:
    save_json(folder / "results.json", run.records)
    for entry in run.figures:
        write_atomic(folder / "figures" / f"{entry.stem}.svg", entry.svg)
    save_run(folder, run)
