"""A real headless Chromium, driven over the DevTools protocol. Only what the page's tests need."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

import websocket

BINARIES = ("chromium", "chromium-browser", "google-chrome")


def binary() -> str | None:
    """The path of a Chromium on this machine, if there is one."""
    return next((path for name in BINARIES if (path := shutil.which(name))), None)


class Browser:
    """One tab. Every wait has a deadline and names what it waited for."""

    def __init__(self, deadline_s: float = 20.0) -> None:
        self.deadline_s = deadline_s
        self.folder = tempfile.mkdtemp(prefix="everfold-chromium-")
        path = binary()
        assert path, "no Chromium on this machine"
        self.process = subprocess.Popen(
            [
                path,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--remote-debugging-port=0",
                "--remote-allow-origins=*",
                "--window-size=1400,1200",
                f"--user-data-dir={self.folder}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.serial = 0
        self.problems: list[str] = []
        self.socket = websocket.create_connection(self._tab(), timeout=self.deadline_s)
        self.call("Runtime.enable")
        self.call("Page.enable")
        self.call("Log.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()
        self.process.terminate()
        self.process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _tab(self) -> str:
        port_file = Path(self.folder, "DevToolsActivePort")
        self._until(lambda: port_file.exists() and port_file.read_text().count("\n") >= 1, "Chromium to start")
        port = port_file.read_text().splitlines()[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=self.deadline_s) as answer:
            tabs = json.load(answer)
        return str(next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page"))

    def _until(self, holds: Any, what: str) -> Any:
        pause, end = threading.Event(), time.monotonic() + self.deadline_s
        while time.monotonic() < end:
            if value := holds():
                return value
            pause.wait(0.03)
        raise AssertionError(f"waited {self.deadline_s:.0f} s in vain for {what}; page problems: {self.problems}")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools command and its result; what the page complained of meanwhile is kept in ``problems``."""
        self.serial += 1
        self.socket.send(json.dumps({"id": self.serial, "method": method, "params": params}))
        while True:
            message = json.loads(self.socket.recv())
            if message.get("id") == self.serial:
                assert "error" not in message, message
                return dict(message["result"])
            if message.get("method") == "Runtime.exceptionThrown":
                self.problems.append(str(message["params"]["exceptionDetails"]))
            if message.get("method") == "Log.entryAdded" and message["params"]["entry"]["level"] == "error":
                self.problems.append(str(message["params"]["entry"]))

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.until("document.readyState === 'complete'")

    def until(self, expression: str) -> Any:
        """Wait until a JavaScript expression is truthy, and return it."""
        return self._until(lambda: self.evaluate(expression), expression)

    def click(self, selector: str) -> None:
        self.until(f"!!document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def press(self, key: str) -> None:
        """A real key press (keyDown and keyUp), as a keyboard user makes it."""
        codes = {"Tab": 9, "Enter": 13, "Home": 36, "End": 35, "ArrowLeft": 37, "ArrowRight": 39, " ": 32}
        text = {"Enter": "\r", " ": " "}.get(key, "")
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=codes[key],
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    def type(self, text: str) -> None:
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        import base64

        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
