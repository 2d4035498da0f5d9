# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
# make kernel-test: the driver on real kernels, in User-Mode Linux (see docs/hardware-usb.md).
# make run: a simulated scope, streaming. make test: the tests. Both build what is missing.
PYTHON ?= python3

run:
	@$(PYTHON) tools/bootstrap.py run
	@tools/env python3 tools/watch.py

test:
	@$(PYTHON) tools/bootstrap.py test
	@tools/env python3 -m pytest -n 2 --dist loadfile test

bench:
	@$(PYTHON) tools/bootstrap.py test
	@tools/env python3 -m benchmark $(ARGS)

soak:
	@$(PYTHON) tools/bootstrap.py test
	@tools/env python3 -m pytest test --soak -o faulthandler_timeout=0

kernel-test:
	@$(PYTHON) tools/bootstrap.py test
	@PYTHONPATH=test:test/support tools/env python3 -m kernel $(ARGS)

.PHONY: run test bench soak kernel-test
