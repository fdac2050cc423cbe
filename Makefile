# SPDX-License-Identifier: GPL-2.0-only
#
# Goals for users; `make help` lists them. The kernel build reads Kbuild, not this file.

# The kernel to build for: a release, `newest` for Debian's newest one, or the name of
# another kernel in tools/build/kernels, such as 7.3-rt-amd64.
KVER ?= $(shell uname -r)

build := tools/build

# The same where the kernel that runs here does not matter.
named := $(if $(filter file,$(origin KVER)),newest,$(KVER))

# The command line, for messages.
export RNBD_GOAL := $(strip make $(MAKECMDGOALS) $(if $(filter command,$(origin KVER)),KVER=$(KVER)))
unexport MAKEFLAGS

.PHONY: all modules install rnbdctl deb doc demo picture check check-long check-kernels check-packages soak bench format \
	sanitize c-drivers root update clean distclean help

all: modules

##@ Use

modules: ## Build rtrs.ko, rnbd_client.ko, rnbd_server.ko for KVER (the default goal)
	@$(build)/for-release "$(KVER)" $(build)/prepare modules

install: ## Install the modules below /lib/modules/KVER/updates (below DESTDIR, if set)
	@$(build)/for-release "$(KVER)" $(build)/install.sh "$(DESTDIR)"

rnbdctl: ## Build the command-line program rnbdctl, in build/rnbdctl
	@$(build)/prepare root
	@$(build)/enter $(build)/rnbdctl.sh

deb: ## Make Debian packages in build/deb: modules for KVER, their source for DKMS, tools
	@$(build)/for-release "$(KVER)" $(build)/deb.sh

doc: ## Make the documentation of the crates, in build/doc
	@$(build)/prepare modules root
	@$(build)/enter $(build)/rustdoc.sh

demo: ## Show a disk of one machine on another, in two guests
	@$(build)/memory.sh 3100 "two guests"
	@$(build)/prepare modules root
	@$(build)/enter tools/testing/demo

picture: ## Draw rnbdctl top at work again, in Documentation/images/top.svg
	@$(build)/memory.sh 3100 "two guests"
	@$(build)/prepare modules root
	@$(build)/enter tools/testing/picture

##@ Test

# The sanitizing kernel takes long to build, and tests on it ten times as long as others.
sanitizing := $(if $(findstring sanitize,$(TESTS)),sanitize-modules)

# Tests on Debian machines need their disk and the packages.
debian := $(if $(TESTS),$(if $(or $(findstring debian,$(TESTS)),$(filter pair pair/,$(TESTS))),debian),debian)

# Other kernels that the tests try, unless some tests are named.
others := newest-rt-amd64 newest-arm64
check: export RNBD_KERNELS := $(if $(TESTS),,$(others))
check-long: export RNBD_KERNELS := $(if $(TESTS),,$(others) newest-arm64-16k)

check: ## Run the tests, except the long ones (TESTS="pair -k ...")
	@$(build)/memory.sh $(if $(sanitizing),6200,3100) "two guests"
	@$(build)/prepare modules $(sanitizing) c-drivers kernels
	@$(build)/enter tools/testing/check $(TESTS)

check-long: ## Run every test, on the stock and on the sanitizing kernel (takes TESTS)
	@$(build)/memory.sh 6200 "two guests with the sanitizing kernel"
	@$(build)/prepare modules sanitize-modules c-drivers kernels $(debian)
	@$(if $(debian),$(build)/deb.sh)
	@$(build)/enter tools/testing/check --long $(TESTS)

check-kernels: export RNBD_KERNELS := $(or $(KERNELS),all)
check-kernels: ## Try the modules on each kernel of tools/build/kernels (KERNELS="7.3-arm64 ...")
	@$(build)/memory.sh 1600 "a guest"
	@$(build)/prepare root kernels
	@$(build)/enter tools/testing/check static/test_modules.py loopback/test_kernels.py -k "not stock"

MINUTES ?= 60
soak: ## Fuzz both ends on the sanitizing kernel (MINUTES=60; RNBD_SEED=... repeats a run)
	@$(build)/memory.sh 3100 "a guest with the sanitizing kernel"
	@$(build)/prepare modules sanitize-modules
	@export RNBD_SEED="$${RNBD_SEED:-$$(shuf -i 1-999999999 -n 1)}" \
		RNBD_FUZZ_SECONDS=$$(($(MINUTES) * 60 / 3)); \
	echo "to repeat this run: make soak MINUTES=$(MINUTES) RNBD_SEED=$$RNBD_SEED"; \
	$(build)/enter tools/testing/check --long loopback/test_fuzz.py --kernel sanitize -n 0

check-packages: ## Make the packages, and install and remove them in a fresh Debian
	@$(build)/for-release "$(KVER)" $(build)/deb.sh
	@$(build)/for-release "$(KVER)" tools/testing/packages/check

bench: ## Measure instructions per I/O against the C drivers and NVMe (OPTIONS="--help")
	@$(build)/prepare modules c-drivers
	@RNBD_COMMIT="$$(git -c safe.directory=* describe --always --dirty --exclude='*')" \
		$(build)/enter tools/testing/bench $(OPTIONS)

format: ## Format the Rust sources
	@$(build)/prepare root
	@$(build)/enter sh -c 'rustfmt $$(git -c safe.directory=* ls-files "*.rs")'

##@ Prepare (the goals above do so by themselves)

root: ## Make the build root, a Debian trixie with the compilers
	@$(build)/prepare root

sanitize: ## Build the sanitizing kernel, and our modules for it
	@$(build)/prepare sanitize-modules

c-drivers: ## Build the C drivers of the kernel, the peers of some tests
	@$(build)/prepare c-drivers

update: ## Look up Debian's newest release (of KVER), and build the modules for it
	@$(build)/for-release "$(named)" $(build)/kernel-release.sh newest
	@$(build)/for-release "$(named)" $(build)/prepare modules

##@ Clean

clean: ## Remove everything that was built in this tree
	rm -rf build proto/target proto/fuzz/target tools/rnbdctl/target

distclean: clean ## Also remove the cache
	@$(build)/distclean.sh

help: ## Show this list
	@awk 'BEGIN { FS = ":.*## " } \
		/^##@/ { printf "\n%s\n", substr($$0, 5) } \
		/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
