# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The page in a real browser, steering a real scope node with a simulated scope."""
import base64
from collections.abc import Iterator
import contextlib
from pathlib import Path
from typing import NamedTuple

from browser import browser, DESKTOP, needs_browser, Page, TELEPHONE
import cv2
from listening import Listener, stamp_ns
from node_process import NodeProcess, scope_node
import numpy as np
from panel_process import Panel, panel
import pytest

pytestmark = needs_browser

NEVER_MOVED = {'auto_start', 'source', 'device_type', 'device_catalog', 'transport'}
"""Read-only, so the page has no control that moves."""


class Bench(NamedTuple):
    """What a test has before it."""

    page: Page
    ear: Listener
    scope: NodeProcess
    panel: Panel


@contextlib.contextmanager
def bench(folder: Path, **parameters: object) -> Iterator[Bench]:
    """Run scope, panel and browser until the page shows live pictures."""
    with scope_node({'source': 'simulated', **parameters}) as scope, Listener() as ear, \
            panel(folder) as served, browser(served.address) as page:
        page.wait_until_live()
        page.wait(lambda: page.all(page.control('led')), 'controls are there')
        yield Bench(page, ear, scope, served)


@pytest.fixture(scope='module')
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    with bench(tmp_path_factory.mktemp('shared'), led=20.0) as made:
        yield made


@pytest.fixture
def desk(shared: Bench) -> Bench:
    """Return the shared bench as it was at first."""
    page, ear = shared.page, shared.ear
    page.resize(DESKTOP)
    page.press('1')
    if ear.state != 'active':
        assert ear.change_state(*(['activate'] if ear.state == 'inactive'
                                  else ['configure', 'activate']))
    assert ear.set_each(led=20.0)[0].successful
    page.wait_until_live()
    return shared


def move(page: Page, name: str) -> str:
    """Move one control to another value, as a hand does; return what it shows then."""
    return str(page.run("""
        const inputs = [...document.querySelectorAll(
          `[data-parameter="${arguments[0]}"] :is(input, select)`)];
        const input = inputs[0];
        const change = (kind) => input.dispatchEvent(new Event(kind, { bubbles: true }));
        if (input.type === 'checkbox') { input.click(); return String(input.checked); }
        if (input.tagName === 'SELECT') {
          input.selectedIndex = (input.selectedIndex + 1) % input.options.length;
          change('change');
        } else if (input.type === 'range') {
          const middle = (Number(input.min) + Number(input.max)) / 2;
          input.value = Number(input.value) === middle ? input.max : middle;
          change('input');
        } else if (input.type === 'number') {
          input.value = Number(input.value) / 2 + 1;
          change('change');
        } else {
          input.value = arguments[0] === 'table_header' ? 't, a, b, c, d' : `${input.value}_x`;
          change('change');
        }
        return input.value;""", name))


def test_every_control_moves_its_parameter(desk: Bench) -> None:
    page, ear = desk.page, desk.ear
    assert ear.change_state('deactivate', 'cleanup')
    page.wait_for_text('.tile .badge.stale', 'unconfigured')
    page.run('document.querySelectorAll("details").forEach((one) => { one.open = true; })')
    names = page.run('return [...document.querySelectorAll("[data-parameter]")]'
                     '.map((one) => one.dataset.parameter)')
    hidden = {name for name in ear.parameters()
              if name.startswith(('use_sim_time', 'start_type', 'qos_overrides'))}
    assert set(names) == ear.parameters() - hidden, 'the page shows every parameter'
    steered = []
    for name in names:
        if name == 'trigger.action':
            continue  # the simulated scope has no input, and refuses it
        [descriptor] = ear.describe(name)
        if descriptor.read_only:
            assert not page.all(f'{page.control(name)} :is(input, select)')
            continue
        assert descriptor.description in page.find(page.control(name)).get_attribute('title')
        before = ear.get(name)
        moved = move(page, name)

        def settled(name: str = name, before: object = before) -> bool:
            return ear.get(name) != before or bool(
                page.text(f'{page.control(name)} .refusal'))

        page.wait(settled, f'{name} was moved')
        assert ear.get(name) != before, (
            f'{name} was not moved to {moved}: ' + page.text(f'{page.control(name)} .refusal'))
        steered.append(name)
        assert ear.set_each(**{name.replace('.', '__'): before})[0].successful
    assert {'led', 'gain', 'focus', 'frame_rate', 'display.mode', 'display.minimum'} <= {*steered}
    assert not NEVER_MOVED & {*steered}
    assert ear.change_state('configure', 'activate')


def test_refusal_is_shown_with_its_reason(desk: Bench) -> None:
    page, ear = desk.page, desk.ear
    before = page.value('frame_rate')
    move(page, 'frame_rate')
    refusal = f'{page.control("frame_rate")} .refusal'
    page.wait_for_text(refusal, 'deactivate it first')
    assert page.find(refusal).is_displayed()
    page.wait(lambda: page.value('frame_rate') == before, 'the value in force is shown again')
    assert float(before) == ear.get('frame_rate')


def test_changes_made_elsewhere_are_followed(desk: Bench) -> None:
    page, ear = desk.page, desk.ear
    assert ear.set_each(led=35.0)[0].successful
    page.wait(lambda: page.value('led') == '35', 'the slider follows')
    assert ear.set_each(display__color_map='inferno')[0].successful
    page.wait(lambda: page.value('display.color_map') == 'inferno', 'the choice follows')
    assert ear.set_each(display__color_map='none')[0].successful


def test_light_off_in_every_state(desk: Bench) -> None:
    page, ear = desk.page, desk.ear
    controls = ear.listen('controls')
    for state, transitions in (('active', ()), ('inactive', ('deactivate',)),
                               ('unconfigured', ('cleanup',))):
        assert ear.change_state(*transitions)
        assert ear.set_each(led=20.0)[0].successful
        if state == 'active':
            page.wait_for_text('#light-state', 'LIT')
        page.click('#lights-out')
        page.wait_for_text('#notice', '/miniscope: set to 0')
        assert ear.get('led') == 0.0
        assert not page.find('#notice').get_attribute('class').endswith('failed')
        if state == 'active':
            page.wait_for_text('#light-state', 'DARK')
            assert dict(zip(controls[-1].names, controls[-1].values, strict=True))['led'] == 0
        page.click('#notice button')
    assert page.text('#light-state').endswith(('DARK', 'no device open'))
    assert ear.change_state('configure', 'activate')


def test_key_switches_the_light_off(desk: Bench) -> None:
    page, ear = desk.page, desk.ear
    page.press('l')
    page.wait_for_text('#notice', 'set to 0, dark')
    assert ear.get('led') == 0.0


def test_help_leaves_light_off_within_reach(desk: Bench) -> None:
    page, ear = desk.page, desk.ear
    page.press('?')
    page.wait(lambda: page.find('#help').is_displayed(), 'help is shown')
    page.click('#lights-out')
    page.wait_for_text('#notice', 'set to 0, dark')
    assert ear.get('led') == 0.0
    page.press('\ue00c')  # Esc
    page.wait(lambda: not page.find('#help').is_displayed(), 'help is gone')


def test_life_cycle_by_buttons(desk: Bench) -> None:
    page, ear = desk.page, desk.ear
    for transition, state in (('deactivate', 'inactive'), ('cleanup', 'unconfigured'),
                              ('configure', 'inactive'), ('activate', 'active')):
        page.click(f'[data-transition={transition}]')
        page.wait_for_text('.tile .head', state)
        assert ear.state == state
        if state != 'active':
            page.wait(lambda: not page.is_live(), 'the picture is not shown as live')
    page.wait_until_live()


def test_picture_is_the_one_of_image_display(desk: Bench) -> None:
    page, ear = desk.page, desk.ear
    # From this quality on the noise of the sensor is kept; see docs/panel.md.
    assert ear.set_each(display__jpeg_quality=97)[0].successful
    shown = ear.listen('image_display')
    ear.wait_for_match(shown)
    ear.wait_for(shown, 10)
    assert ear.change_state('deactivate')
    page.wait(lambda: not page.is_live(), 'the picture stands still')
    url, stamp = page.run("""
        const tile = document.querySelector('.tile');
        return [tile.querySelector('canvas.image').toDataURL('image/png'),
                window.panelTimes.at(-1)[1]];""")
    image = cv2.imdecode(
        np.frombuffer(base64.b64decode(url.partition(',')[2]), np.uint8), cv2.IMREAD_GRAYSCALE)
    [message] = [message for message in shown if abs(stamp_ns(message) / 1e6 - stamp) < 0.5]
    wanted = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width)
    metrics = pytest.importorskip('skimage.metrics')
    assert metrics.structural_similarity(image, wanted) > 0.98
    assert ear.set_each(display__jpeg_quality=85)[0].successful
    assert ear.change_state('activate')
    ear.hush(shown)


def test_cross_hair_and_rectangle(desk: Bench) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    page = desk.page
    picture = page.find('.picture')
    ActionChains(page.driver).move_to_element(picture).perform()
    page.wait_for_text('.readout', 'grey')
    x, y, level = (int(word) for word in page.text('.readout').split()[1::2])
    assert abs(x - 304) < 3 and abs(y - 304) < 3 and 0 < level < 256
    page.press('r')
    ActionChains(page.driver).move_to_element_with_offset(picture, -60, -60).click_and_hold() \
        .move_to_element_with_offset(picture, 40, 40).release().perform()
    page.press('3')
    page.wait(lambda: page.all('canvas[aria-label^="dF/F"]:not([hidden])'),
              'the rectangle is plotted')
    page.press('r')
    page.wait(lambda: not page.all('canvas[aria-label^="dF/F"]:not([hidden])'),
              'the rectangle is gone')


def test_zoom_and_click_enlarge(desk: Bench) -> None:
    page = desk.page
    page.click('.picture')
    page.wait(lambda: page.all('.tile.enlarged'), 'a click enlarges')
    width = page.run('return document.querySelector("canvas.image").getBoundingClientRect().width')
    page.find('.picture').send_keys('+')
    zoomed = page.run(
        'return document.querySelector("canvas.image").getBoundingClientRect().width')
    assert zoomed == pytest.approx(width * 1.25, rel=0.01)
    page.press('e')
    page.wait(lambda: not page.all('.tile.enlarged'), 'the key goes back')


def test_trust_names_losses_transport_and_orientation(desk: Bench) -> None:
    page = desk.page
    page.press('2')
    for text in ('lost', 'received damaged', 'transport', 'firmware', 'orientation', 'Frames'):
        page.wait_for_text('#panes', text)
    page.wait_for_text('#panes', 'Miniscope_V4_BNO')


@pytest.mark.parametrize('size', [DESKTOP, TELEPHONE], ids=['desktop', 'telephone'])
def test_page_is_legible(desk: Bench, size: tuple[int, int]) -> None:
    page = desk.page
    page.resize(size)
    for key in '1234':
        page.press(key)
        page.wait(lambda: page.run('return innerWidth') == size[0], 'the size is taken')
        problems = page.run("""
            const found = [];
            if (document.documentElement.scrollWidth > innerWidth) {
              found.push(`wider than the screen: ${document.documentElement.scrollWidth}`);
            }
            for (const one of document.querySelectorAll('body *')) {
              const texts = [...one.childNodes].some((node) => node.nodeType === 3
                && node.textContent.trim());
              if (texts && one.offsetParent && parseFloat(getComputedStyle(one).fontSize) < 12) {
                found.push(`too small: ${one.outerHTML.slice(0, 80)}`);
              }
            }
            const box = document.getElementById('lights-out').getBoundingClientRect();
            if (box.width < 100 || box.height < 40 || box.bottom > innerHeight || box.top < 0) {
              found.push('light off is not in sight');
            }
            return found;""")
        assert problems == []
    page.run('window.scrollTo(0, document.body.scrollHeight)')
    assert page.run("""
        const box = document.getElementById('lights-out').getBoundingClientRect();
        return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2)
          .closest('#lights-out') !== null;"""), 'light off stays in sight'


def test_browser_has_nothing_to_complain_of(desk: Bench) -> None:
    assert desk.page.errors() == []


def test_nobody_looks_no_subscription(desk: Bench) -> None:
    page, ear = desk.page, desk.ear
    topic = '/miniscope/image_display/compressed'
    page.wait(lambda: ear.node.count_subscribers(topic) == 1, 'the panel subscribes once')
    page.driver.switch_to.new_window('tab')
    other = page.driver.window_handles
    page.open('about:blank')
    page.driver.switch_to.window(other[0])
    page.open('about:blank')
    page.wait(lambda: ear.node.count_subscribers(topic) == 0, 'the panel subscribes no more')
    page.open(desk.panel.address)
    page.wait_until_live()
    page.wait(lambda: page.all(page.control('led')), 'controls are there')
    page.errors()
