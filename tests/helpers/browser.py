"""A headless Chromium from Debian's packages, and the MLflow UI that `make ui` serves to it."""

from __future__ import annotations

import io
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from PIL import Image
from running import ROOT, environment
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

PATIENCE = int(os.environ.get("DROPOUT_STUDY_PATIENCE", "400"))
"""Seconds that a page may take on a machine with other work."""
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1400,1000",
)


@contextmanager
def served(uri: str, log: Path) -> Iterator[str]:
    """The address of a UI that `make ui` serves from a store, for as long as the block runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # -o: the environment that runs the tests is the one that serves; make is not to set up another.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with log.open("w") as output:
        server = subprocess.Popen(
            ["make", "ui", "-o", ".venv/installed", f"PORT={port}"],
            cwd=ROOT, env=environment(uri, PATH=path), stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", server, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(timeout=PATIENCE)


def _wait_for(address: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        assert server.poll() is None, f"make ui ended: {log.read_text()}"
        try:
            with urllib.request.urlopen(address, timeout=10):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(f"make ui served nothing within {PATIENCE} s: {log.read_text()}")


class Browser:
    """What a reader does: opens, sees, clicks."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Opens an address, anew even where only its part after # differs, and shuts what MLflow
        opens beside it."""
        self.driver.get("about:blank")
        self.driver.get(address)
        self.see("//*[text()[contains(., 'dropout-study')]]")
        for button in self.driver.find_elements(
            By.XPATH, "//button[@data-component-id='mlflow.assistant.chat_panel.close']"
        ):
            button.click()

    def see(self, xpath: str) -> WebElement:
        """The first element of this kind that is shown."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            with suppress(StaleElementReferenceException):
                for found in self.driver.find_elements(By.XPATH, xpath):
                    if found.is_displayed():
                        return found
            time.sleep(0.5)
        pytest.fail(
            f"not seen: {xpath}; what is: "
            f"{self.driver.find_element(By.TAG_NAME, 'body').text[:2000]!r}"
        )

    def see_text(self, text: str) -> WebElement:
        """The first element that holds this text."""
        return self.see(f"//*[text()[contains(., '{text}')]]")

    def click(self, xpath: str) -> None:
        """Clicks what is there, also where something is drawn over it for a moment."""
        self.driver.execute_script("arguments[0].click()", self.see(xpath))

    def hide(self, xpath: str) -> None:
        """Leaves an element out of a picture."""
        self.driver.execute_script("arguments[0].style.visibility = 'hidden'", self.see(xpath))

    def count(self, xpath: str) -> int:
        """How many elements of this kind the page has."""
        return len(self.driver.find_elements(By.XPATH, xpath))

    def settle(self) -> None:
        """Waits until the page has stopped changing."""
        before = ""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and before != (now := self.driver.page_source):
            before = now
            time.sleep(2)

    def picture(self, path: Path) -> None:
        """What is shown, as a PNG, once the page is at rest."""
        self.settle()
        picture = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        picture.quantize(96).save(path, optimize=True)


@contextmanager
def chromium(profile: Path) -> Iterator[Browser]:
    """A browser with a profile of its own; the test is skipped where Debian's packages are not
    installed."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not binary or not driver:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    running = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        running.set_page_load_timeout(PATIENCE)
        yield Browser(running)
    finally:
        running.quit()
