# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A recording by the buttons of the page, with the real session node, and the bag it made."""
import json
from pathlib import Path

from browser import browser, needs_browser
from node_process import NodeProcess, scope_node
from panel_process import panel
import pytest

pytestmark = needs_browser
ENTRY_POINT = 'from miniscope_ros.commands.session_node import main; main()'


def test_recording_by_its_buttons(tmp_path: Path) -> None:
    pytest.importorskip('miniscope_ros.session.session_node')
    rosbags = pytest.importorskip('rosbags.highlevel')
    file = tmp_path / 'session.yaml'
    file.write_text(
        'session: {animal: M7}\nscopes:\n- name: miniscope\n'
        f"record: {{folder: '{tmp_path}/unnamed', min_free_gb: 0.2, stop_free_gb: 0.1}}\n")
    with scope_node({'source': 'simulated', 'led': 20.0}), panel(tmp_path) as served:
        session = NodeProcess(arguments=[str(file)], python=['-c', ENTRY_POINT])
        try:
            with browser(served.address) as page:
                page.wait_until_live()
                page.press('4')
                page.wait_for_text('#record-state', 'idle')
                page.find('#field-researcher').send_keys('Ada')
                page.find('#record-name').send_keys('by hand')
                page.click('#record-start')
                page.wait_for_text('#record-badge', 'REC')
                page.press('n')
                page.find('#note').send_keys('it turned left\n')
                page.wait_for_text('#notice', 'noted')
                page.wait_until_live()
                page.click('#record-stop')
                page.wait_for_text('#finished', 'complete, 0 messages lost')
            assert session.stop() == 0, session.output
        finally:
            if session.alive:
                session.kill()
    bag = tmp_path / 'by hand'
    assert json.loads((bag / 'certificate.json').read_text())['verdict'] == 'complete'
    with rosbags.AnyReader([bag]) as reader:
        messages = [(connection.topic, reader.deserialize(data, connection.msgtype))
                    for connection, _, data in reader.messages()
                    if connection.topic in ('/miniscope/frame_info', '/session/notes')]
    indices = [message.frame_index for topic, message in messages if 'frame_info' in topic]
    notes = [message.text for topic, message in messages if 'notes' in topic]
    assert indices == list(range(len(indices))) and indices
    assert 'it turned left' in notes
    assert any('researcher: Ada' in note for note in notes)
