# Short names for scripts/; `make test` needs nothing but Python 3.11.
.PHONY: setup lint test demo

setup:
	scripts/setup

lint: setup
	scripts/lint

test:
	scripts/test

demo: setup
	.venv/bin/ovsam demo
