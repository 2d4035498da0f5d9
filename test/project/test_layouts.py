# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The layouts for other programs name topics and diagnostics that exist."""
import ast
from collections.abc import Iterator
import json
from pathlib import Path
import re
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from listening import diagnosis, KEPT, Listener, RELIABLE, STREAMS
from node_process import scope_node
import pytest
import yaml

CONFIG = Path(__file__).parents[2] / 'config'


@pytest.mark.parametrize('name', ['foxglove_layout.json', 'scope.perspective'])
def test_layout_names_topics_that_exist(name: str) -> None:
    text = (CONFIG / name).read_text()
    assert json.loads(text)
    named = set(re.findall(r'/miniscope/([a-z_/]+)', text))
    assert named and named <= {*STREAMS, *KEPT}


def test_foxglove_plots_fields_that_exist() -> None:
    text = (CONFIG / 'foxglove_layout.json').read_text()
    fields = re.findall(r'/miniscope/([a-z_/]+)\.([a-z_]+)', text)
    assert fields
    for topic, field in fields:
        assert field in STREAMS[topic].get_fields_and_field_types(), (topic, field)


def halves(node: Any) -> Iterator[str]:
    """Yield the panels of a layout, of which each part is a panel or is divided in two."""
    if isinstance(node, str):
        yield node
        return
    assert set(node) <= {'direction', 'first', 'second', 'splitPercentage'}
    assert node['direction'] in ('row', 'column')
    yield from (*halves(node['first']), *halves(node['second']))


def test_foxglove_layout_has_the_parts_that_an_import_needs() -> None:
    layout = json.loads((CONFIG / 'foxglove_layout.json').read_text())
    assert set(layout) == {
        'configById', 'globalVariables', 'layout', 'playbackConfig', 'userNodes'}
    kinds = {name.partition('!')[0] for name in halves(layout['layout'])}
    assert kinds == {'Image', 'Plot', 'DiagnosticSummary', 'Parameters'}
    paths = [path for panel in layout['configById'].values() for path in panel.get('paths', ())]
    assert paths
    for path in paths:
        assert path['enabled'] and path['timestampMethod'] == 'headerStamp'
        # The stamp of a header places the point, so the message needs one.
        topic = re.match(r'/miniscope/([a-z_/]+)', path['value'])
        assert topic and 'header' in STREAMS[topic[1]].get_fields_and_field_types()


def test_foxglove_layout_shows_each_panel_once() -> None:
    layout = json.loads((CONFIG / 'foxglove_layout.json').read_text())
    shown = re.findall(r'"([A-Za-z]+![a-z]+)"', json.dumps(layout['layout']))
    assert sorted(shown) == sorted(layout['configById'])


def test_perspective_names_its_plugins() -> None:
    manager = json.loads((CONFIG / 'scope.perspective').read_text())['groups']['pluginmanager']
    plugins = ast.literal_eval(manager['keys']['running-plugins']['repr'])
    known = {f'plugin__{name.replace("/", "__")}__1' for name in plugins}
    assert set(manager['groups']) <= known


def test_groups_of_diagnostics_take_every_part() -> None:
    groups = yaml.safe_load((CONFIG / 'diagnostics.yaml').read_text())['/**']['ros__parameters']
    words = {word for group in groups.values() if isinstance(group, dict)
             for word in group['contains']}
    with scope_node({'source': 'simulated'}), Listener() as ear:
        heard = ear.listen('/diagnostics', DiagnosticArray, RELIABLE)
        ear.wait_for_state('active')
        parts = {f': {part}' for part in diagnosis(ear, heard)}
    assert words == parts


def test_rviz_layout_shows_picture_and_head() -> None:
    layout = yaml.safe_load((CONFIG / 'scope.rviz').read_text())
    displays = {one['Name']: one for one in layout['Visualization Manager']['Displays']}
    assert displays['Scope']['Topic']['Value'] == '/image_display'
    assert displays['Head']['Class'] == 'rviz_default_plugins/TF'
    # The docks that the window's state places are those that are there.
    state = bytes.fromhex(layout['Window Geometry']['QMainWindow State'])
    for dock in ('Scope', 'Displays'):
        assert dock.encode('utf-16-be') in state
