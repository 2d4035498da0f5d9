# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A real browser with the panel's page in it."""
from collections.abc import Callable, Iterator
import contextlib
import os
import shutil
from typing import Any

from node_process import PATIENCE
import pytest

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
DRIVER = shutil.which('chromedriver')
DESKTOP = (1280, 720)
TELEPHONE = (390, 844)

needs_browser = pytest.mark.skipif(
    not CHROMIUM or not DRIVER, reason='no browser: apt install chromium chromium-driver')


class Page:
    """The page; all waits are bounded."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        """Go to the panel."""
        self.driver.get(address)

    def resize(self, size: tuple[int, int]) -> None:
        """Give the page this many pixels, as a device with such a screen does."""
        width, height = size
        self.driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', {
            'width': width, 'height': height, 'deviceScaleFactor': 1,
            'mobile': size == TELEPHONE})

    def run(self, script: str, *given: Any) -> Any:
        """Return what a script returns."""
        return self.driver.execute_script(script, *given)

    def find(self, selector: str) -> Any:
        """Return the first element of a CSS selector."""
        return self.driver.find_element('css selector', selector)

    def all(self, selector: str) -> list[Any]:
        """Return all elements of a CSS selector."""
        return list(self.driver.find_elements('css selector', selector))

    def text(self, selector: str) -> str:
        """Return the text of an element; empty where there is none."""
        return str(self.run(
            'return document.querySelector(arguments[0])?.textContent ?? ""', selector))

    def wait(self, condition: Callable[[], Any], what: str, patience: float = PATIENCE) -> Any:
        """Return what the condition returns once that is true."""
        from selenium.common.exceptions import (
            NoSuchElementException,
            StaleElementReferenceException,
            TimeoutException,
        )
        from selenium.webdriver.support.ui import WebDriverWait
        try:
            return WebDriverWait(self.driver, patience, 0.05, [
                NoSuchElementException, StaleElementReferenceException,
            ]).until(lambda _: condition())
        except TimeoutException:
            raise AssertionError(
                f'it never came about that {what}; the page shows:\n'
                f'{self.run("return document.body.innerText")}') from None

    def wait_for_text(self, selector: str, text: str) -> None:
        """Return when an element contains a text."""
        self.wait(lambda: text in self.text(selector), f'{selector} shows {text!r}')

    def click(self, selector: str) -> None:
        """Click on an element once that is possible."""
        from selenium.common.exceptions import WebDriverException

        def click() -> bool:
            try:
                element = self.find(selector)
                if not element.is_enabled():
                    return False
                element.click()
            except WebDriverException:
                return False
            return True

        self.wait(click, f'{selector} can be clicked')

    def press(self, *keys: str) -> None:
        """Press keys, with no field of the page focused."""
        self.run('document.activeElement.blur()')
        self.find('body').send_keys(*keys)

    def is_live(self, scope: str = '/miniscope') -> bool:
        """Whether the page shows a live picture of a scope."""
        return bool(self.run(
            'const tile = document.querySelector(`[data-scope="${arguments[0]}"]`);'
            'return tile !== null && tile.querySelector(".curtain").hidden', scope))

    def wait_until_live(self, scope: str = '/miniscope') -> None:
        """Return when the page shows a live picture of a scope."""
        self.wait(lambda: self.is_live(scope), f'{scope} is shown live')

    def control(self, name: str) -> str:
        """Return the selector of a parameter's control."""
        return f'[data-parameter="{name}"]'

    def value(self, name: str) -> str:
        """Return what a parameter's control shows; empty where there is none."""
        return str(self.run(
            'const all = document.querySelectorAll(arguments[0]);'
            'const input = all[all.length - 1];'
            'return input?.type === "checkbox" ? String(input.checked) : input?.value ?? ""',
            f'{self.control(name)} :is(input, select)'))

    def errors(self) -> list[str]:
        """Return what the browser complained of."""
        return [entry['message'] for entry in self.driver.get_log('browser')
                if entry['level'] == 'SEVERE']


@contextlib.contextmanager
def browser(address: str, size: tuple[int, int] = DESKTOP) -> Iterator[Page]:
    """Open the page in a browser of its own."""
    from selenium import webdriver
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ('--headless=new', '--no-sandbox', '--disable-gpu', '--no-first-run',
                     '--disable-dev-shm-usage', '--disable-background-networking'):
        options.add_argument(argument)
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    # The virtual DAQ box that is preloaded into the tests is none of the browser's business.
    environment = {name: value for name, value in os.environ.items() if name != 'LD_PRELOAD'}
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(str(DRIVER), env=environment))
    try:
        page = Page(driver)
        page.resize(size)
        page.open(address)
        yield page
    finally:
        driver.quit()
