"""A real Chromium without a window, for what only a browser can tell."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
MISSING = "no Chromium with chromedriver here: apt-get install chromium chromium-driver"
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
)  # fmt: skip


def is_there() -> bool:
    """Whether a browser can be driven here."""
    return CHROMIUM is not None and DRIVER is not None


class Browser:
    """One browser with a profile of its own.

    Args:
        patience: seconds to wait for a page.
    """

    def __init__(self, patience: float = 120.0) -> None:
        self._patience = patience
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self._driver: Any = None

    def __enter__(self) -> Self:
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service

        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*_FLAGS, f"--user-data-dir={self._profile.name}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        # The driver's place is given, so that none is looked for on the network.
        self._driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self._driver.set_page_load_timeout(self._patience)
        self._driver.set_script_timeout(self._patience)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._driver.quit()
        self._profile.cleanup()

    def open(
        self, address: str, *, width: int = 1280, height: int = 800, is_dark: bool = False
    ) -> None:
        """Open a page in a window of so many pixels, light or dark."""
        command = self._driver.execute_cdp_cmd
        command(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        command("Emulation.setEmulatedMedia", {"features": [scheme]})
        self._driver.get("about:blank")  # or another part of the same page would not load anew
        self._driver.get(address)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self._driver.execute_script(f"return {script}")

    def wait(self, script: str, until: Callable[[Any], bool] = bool) -> Any:
        """The value of an expression once it is as wanted.

        Raises:
            TimeoutError: it never was; the message holds what the page says.
        """
        deadline = time.monotonic() + self._patience
        while True:
            value = self.run(script)
            if until(value):
                return value
            if time.monotonic() > deadline:
                words = self.run("document.body.innerText")[:500]
                raise TimeoutError(f"{script}: {value!r}; the page says: {words}")
            time.sleep(0.2)

    def picture(self, file: Path, *, height: int | None = None) -> None:
        """The page as PNG: what the window shows, or from the top down to a height."""
        asked: dict[str, Any] = {"format": "png"}
        if height is not None:
            size = {"x": 0, "y": 0, "width": self.run("innerWidth"), "height": height, "scale": 1}
            asked |= {"captureBeyondViewport": True, "clip": size}
        taken = self._driver.execute_cdp_cmd("Page.captureScreenshot", asked)
        file.write_bytes(base64.b64decode(taken["data"]))

    def pointed_at(self, selector: str) -> None:
        """Move the pointer onto an element."""
        from selenium.webdriver import ActionChains
        from selenium.webdriver.common.by import By

        found = self._driver.find_element(By.CSS_SELECTOR, selector)
        self._driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
        ActionChains(self._driver).move_to_element(found).perform()

    def choose_file(self, selector: str, file: Path) -> None:
        """Give a file to an input of files."""
        from selenium.webdriver.common.by import By

        self._driver.find_element(By.CSS_SELECTOR, selector).send_keys(str(file))

    def complaints(self) -> list[str]:
        """Errors of the page since they were asked for last."""
        return [
            json.dumps(entry["message"])
            for entry in self._driver.get_log("browser")
            if entry["level"] == "SEVERE"
        ]
