# SPDX-License-Identifier: GPL-2.0
# The verbs. Each is one script; `make help` says what they do.
# Variables given on the command line reach the scripts as environment.

.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory
export KDIR BASE DROP PART FROM TO JOBS

T ?=

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | column -t -s@
	@echo 'README.md says what this is, Documentation/workflow.md how to work here.'

boot: ## the main job: tree, kernels, the matrix of machines, verified I/O, a table
	@scripts/boot

test: ## everything that CI runs; T=group or T=group/name for a part of it
	@test-scripts/run $(T)

test-all: ## the long tests too
	@test-scripts/run -a $(T)

list: ## all tests, a line each
	@test-scripts/run -l $(T)

tree: ## base and series as commits in linux/; KDIR=git-tree-or-tarball BASE=commit, DROP=1
	@scripts/tree

export: ## linux/ back to patches/ and series; PART=01-phyr for new commits
	@scripts/export

check: ## what a maintainer's scripts would say of every patch
	@scripts/check

bisect: ## build and boot every patch; FROM= and TO= are patches or commits
	@scripts/bisect

bench: ## instructions per I/O, patched against base: table and chart
	@scripts/bench

post: ## PART=01-phyr: one part as mails in out/, sends nothing
	@scripts/post $(PART)

clean: ## drops build/ and results/; linux/, patches/ and the cache stay
	rm -rf build results out

.PHONY: help boot test test-all list tree export check bisect bench post clean
