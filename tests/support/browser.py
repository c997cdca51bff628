"""A browser without a window, for tests of pages: DevTools over a pipe, so that it takes no package and no port.

It may ask nobody but who is named in the address: `Tab.requests` has every address that was asked.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

VARIABLE = "ONELOOK_TEST_BROWSER"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--no-default-browser-check",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions",
    "--disable-default-apps", "--disable-dev-shm-usage", "--hide-scrollbars", "--mute-audio", "--no-proxy-server",
    "--force-color-profile=srgb", "--remote-debugging-pipe",
)  # fmt: skip
# The browser reads commands from descriptor 3 and writes answers to 4; this puts them there and becomes the browser.
LAUNCHER = (
    "import os, sys; commands, answers, *browser = sys.argv[1:];"
    "os.dup2(int(commands), 3); os.dup2(int(answers), 4); os.execv(browser[0], browser)"
)
SECONDS = 20.0


def find_browser() -> str:
    """The program; skips the test if there is none."""
    named = os.environ.get(VARIABLE)
    found = named or next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None or shutil.which(found) is None:
        pytest.skip(
            f"no browser: {f'`{VARIABLE}` names `{named}`, which is no program' if named else 'none is installed'}; "
            f"`apt-get install chromium`, or name one in the variable {VARIABLE}"
        )
    return found


class Browser:
    """A running browser with a fresh profile; `close` ends it."""

    def __init__(self, program: str) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="onelook-browser-", ignore_cleanup_errors=True)
        theirs_in, ours_out = os.pipe()
        ours_in, theirs_out = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (theirs_in, theirs_out)]
        launcher = [sys.executable, "-I", "-S", "-c", LAUNCHER]
        self._process = subprocess.Popen(
            [*launcher, *map(str, high), program, *FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=high,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._profile.name},
        )
        for end in (theirs_in, theirs_out, *high):
            os.close(end)
        self._out, self._in = ours_out, ours_in
        self._received = b""
        self._number = 0
        self._tabs: dict[str, Tab] = {}

    def open(self, url: str | Path, *, width: int = 1280, height: int = 800, mobile: bool = False) -> Tab:
        """A new tab of this size (CSS pixels) that shows an address or a file, loaded."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        tab = self._tabs[session] = Tab(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log", "DOM"):
            tab.call(f"{domain}.enable")
        tab.resize(width, height, mobile=mobile)
        tab.go(url.resolve().as_uri() if isinstance(url, Path) else url)
        return tab

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of the protocol; events that come before it are noted."""
        self._number += 1
        number = self._number
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + SECONDS
        while True:
            answer = self.next_message(until, method)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                result: dict[str, Any] = answer["result"]
                return result

    def next_message(self, until: float, what: str) -> dict[str, Any]:
        """The next answer or event that its tab is sent; fails if none comes before the time `until`."""
        while b"\0" not in self._received:
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"the browser does not answer to {what}"
            part = os.read(self._in, 1 << 20)
            assert part, f"the browser ended at {what}"
            self._received += part
        text, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        tab = self._tabs.get(message.get("sessionId", ""))
        if tab is not None and "method" in message:
            tab.note(message["method"], message["params"])
        return message

    def close(self) -> None:
        """End the browser and remove its profile."""
        os.close(self._out)  # which ends it
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)
        self._profile.cleanup()


class Tab:
    """A page in the browser.

    Attributes:
        errors: what the console reports as errors or warnings, uncaught exceptions included.
        requests: addresses that were asked, `data:` and `blob:` left out.
    """

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self._browser, self._session, self._target = browser, session, target
        self._loaded = False
        self._failure = ""
        self.errors: list[str] = []
        self.requests: list[str] = []

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """As `Browser.call`, in this tab."""
        return self._browser.call(method, self._session, **parameters)

    def go(self, url: str) -> None:
        """Load an address and wait for its end."""
        self._loaded = False
        problem = self.call("Page.navigate", url=url).get("errorText")
        assert not problem, f"{url}: {problem}"
        until = time.monotonic() + SECONDS
        while not self._loaded:
            self._browser.next_message(until, f"loading {url}")

    def resize(self, width: int, height: int, *, mobile: bool = False) -> None:
        """Give the page another size, CSS pixels; a phone has two dots per pixel and a finger for a mouse."""
        scale = 2 if mobile else 1
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile
        )
        self.call("Emulation.setTouchEmulationEnabled", enabled=mobile)

    def prefer(self, **features: str) -> None:
        """Set media features, such as `prefers_color_scheme="dark"`."""
        pairs = [{"name": name.replace("_", "-"), "value": value} for name, value in features.items()]
        self.call("Emulation.setEmulatedMedia", features=pairs)

    def evaluate(self, javascript: str) -> Any:
        """The value of an expression, awaited if it is a promise; fails if it throws."""
        answer = self.call("Runtime.evaluate", expression=javascript, returnByValue=True, awaitPromise=True)
        problem = answer.get("exceptionDetails")
        assert problem is None, f"{javascript}: {problem}"
        return answer["result"].get("value")

    def wait_for(self, javascript: str, *, seconds: float = SECONDS) -> Any:
        """The value of an expression as soon as it is true; polls at every frame that is drawn."""
        look = (
            "new Promise((done, fail) => { const end = performance.now() + %d;"
            "const look = () => { const value = (%s); if (value) done(value);"
            "else if (performance.now() > end) fail(new Error('never true')); else setTimeout(look, 15); }; look(); })"
        )
        return self.evaluate(look % (1000 * min(seconds, SECONDS - 1), javascript))

    def screenshot(self, path: Path, *, whole: bool = False) -> Path:
        """Write a PNG of what is seen, or of the whole page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
        return path

    def drop(self, path: Path, selector: str) -> None:
        """Drop a file from outside onto the middle of an element."""
        x, y = self._middle(selector)
        data = {"items": [], "files": [str(path.resolve())], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def choose(self, path: Path, selector: str) -> None:
        """Choose a file in a file input."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path.resolve())])

    def click(self, selector: str) -> None:
        """Press the mouse on the middle of an element."""
        x, y = self._middle(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def _middle(self, selector: str) -> tuple[float, float]:
        """Of an element, scrolled into view; pixels of the window."""
        x, y = self.evaluate(
            "(element => { element.scrollIntoView({block: 'center', behavior: 'instant'});"
            "const box = element.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; })"
            f"(document.querySelector({json.dumps(selector)}))"
        )
        return x, y

    def close(self) -> None:
        """Close the tab."""
        self._browser.call("Target.closeTarget", targetId=self._target)

    def note(self, event: str, parameters: dict[str, Any]) -> None:
        """Take an event of the protocol into account."""
        if event == "Page.loadEventFired":
            self._loaded = True
        elif event == "Network.requestWillBeSent":
            url = parameters["request"]["url"]
            if not url.startswith(("data:", "blob:")):
                self.requests.append(url)
        elif event == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif event == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning", "assert"):
            self.errors.append(" ".join(str(value.get("value")) for value in parameters["args"]))
        elif event == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
