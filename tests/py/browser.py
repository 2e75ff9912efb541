"""A real headless Chromium, driven through its DevTools protocol over a pipe: what a page does, not what it says."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
MISSING = "needs a Chromium (on Debian: apt-get install chromium-headless-shell), and none is installed here"


class Page:
    """A page that is open; `said` has what its console and its exceptions said."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers = requests, answers
        self._number, self._read = 0, b""
        self._session: str | None = None
        self.said: list[str] = []

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol and return its result; fail the test with the browser's words."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while (answer := self._receive()).get("id") != self._number:
            self._note(answer)
        if "error" in answer:
            pytest.fail(f"{method}: {answer['error']}")
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, path: Path, width: int, *, dark: bool = False) -> None:
        """Open a file in a window of that many pixels."""
        self._session = None
        self.said.clear()
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Page"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        self.wait("document.readyState === 'complete' && location.protocol === 'file:'")

    def wait(self, condition: str) -> None:
        """Wait for a condition of the page."""
        promise = (
            f"new Promise(done => {{ const look = () => ({condition}) ? done(1) : setTimeout(look, 10); look(); }})"
        )
        self.call("Runtime.evaluate", expression=promise, awaitPromise=True, timeout=10_000)

    def ask(self, expression: str) -> Any:  # noqa: ANN401 - a value of the page
        """Return the value of an expression of JavaScript."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            pytest.fail(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let it go."""
        code = {"Enter": 13, "Escape": 27, "ArrowDown": 40, "ArrowRight": 39}[key]
        text = {"text": "\r"} if key == "Enter" else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code, **text)

    def click(self, element: str) -> None:
        """Click in the middle of the element that an expression returns, as a mouse does."""
        place = self.ask(
            f"(e => {{ e.scrollIntoView({{block: 'center', inline: 'center'}}); const r = e.getBoundingClientRect();"
            f" return [r.x + r.width / 2, r.y + r.height / 2]; }})({element})"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            got = os.read(self._answers, 1 << 20)
            if not got:
                pytest.fail("the browser went away")
            self._read += got
        message, _, self._read = self._read.partition(b"\0")
        answer: dict[str, Any] = json.loads(message)
        return answer

    def _note(self, event: dict[str, Any]) -> None:
        if event.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.said.append(json.dumps(event["params"]))


@contextmanager
def browser(profile: Path) -> Iterator[Page]:
    """Start a browser with a profile of its own; it is gone at the end of the block."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail(MISSING, pytrace=False)
        pytest.skip(MISSING)
    theirs, requests = os.pipe()
    answers, ours = os.pipe()
    # The protocol is spoken on the descriptors 3 and 4. As root there is no sandbox to be had, and the page is ours.
    shell = ["bash", "-c", f'exec "$@" 3<&{theirs} 4>&{ours}', "browser"]
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [*shell, program, *options, "about:blank"], pass_fds=(theirs, ours), stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    os.close(ours)
    try:
        yield Page(requests, answers)
    finally:
        os.close(requests)
        os.close(answers)
        process.kill()
        process.wait()
