# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
# make run: a simulated scope and the panel. make test: the tests. Both build what is missing.
#   make run ARGS='source:=daq led:=15'   any source, any parameter of the scope
#   make run SESSION=file.yaml            all that a session file names
# make kernel-test: the driver on real kernels, in User-Mode Linux (see docs/hardware-usb.md).
# make test DISTRO=kilted          with another ROS 2 than Jazzy, where none is sourced
PYTHON ?= python3
export DISTRO

run:
	@$(PYTHON) tools/bootstrap.py run
	@tools/env python3 tools/run.py $(if $(SESSION),--session '$(SESSION)') $(ARGS)

test:
	@$(PYTHON) tools/bootstrap.py test
	@tools/env python3 -m pytest -n 4 --dist loadfile --reruns 1 -raR test

bench:
	@$(PYTHON) tools/bootstrap.py test
	@tools/env python3 -m benchmark $(ARGS)

docs:
	@$(PYTHON) tools/bootstrap.py test
	@tools/env python3 -m sphinx -W --keep-going -b html docs build/docs

soak:
	@$(PYTHON) tools/bootstrap.py test
	@tools/env python3 -m pytest test --soak -o faulthandler_timeout=0

kernel-test:
	@$(PYTHON) tools/bootstrap.py test
	@PYTHONPATH=test:test/support tools/env python3 -m kernel $(ARGS)

.PHONY: run test bench docs soak kernel-test
