# make demo     sets this machine up and shows one package from a server's Write to dpkg
# make gateway  boots a gateway with wharfd's package, and a Leshan server outside, to try wharfd
# make test     sets this machine up and runs every test
# make deb      builds the Debian package
# make rpm      builds the rpm package of the same programs, and make ipk the package for opkg
# make cross    builds the Debian package for arm64 and armhf, and runs their unit tests and the pure crates' tests under qemu-user
# CONTRIBUTING.md has the others, which take longer.

.DEFAULT_GOAL := build
.PHONY: build setup demo gateway test lint deb rpm ipk recipe cross reproducible soak installs packages powercut dnf5 fuzz mutants audit bench

CARGO ?= cargo
SECONDS_EACH ?= 60

build: setup
	$(CARGO) build --workspace --bins

# Needs root only if something is missing.
setup:
	@tests/setup

demo: setup
	@$(CARGO) build --quiet --workspace --bins
	@$(CARGO) run --quiet -p wharf-tests --bin demo

# Ctrl-C ends a command on the gateway, not the gateway itself.
gateway: setup
	@trap '' INT; $(CARGO) run --quiet -p wharf-tests --bin gateway

# The packages that the tests install are those that ship.
PACKAGES_OF_WHARFD = WHARF_PACKAGE=$$(ls $(TARGET)/deb/wharfd_*.deb) WHARF_RPM=$$(ls $(TARGET)/rpm/wharfd-*.rpm) \
	WHARF_IPK=$$(ls $(TARGET)/ipk/wharfd_*.ipk)

test: TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
test: setup lint rpm ipk
	$(PACKAGES_OF_WHARFD) $(CARGO) test --workspace --no-fail-fast

deb: TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
deb: setup
	CARGO_TARGET_DIR=$(TARGET)/shipped packaging/build-deb $(TARGET)/deb

# Of the programs in the .deb.
rpm: TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
rpm: deb
	packaging/build-rpm $(TARGET)/shipped/release $(TARGET)/rpm

ipk: TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
ipk: deb
	packaging/build-ipk $(TARGET)/shipped/release $(TARGET)/ipk

OELINT := oelint-adv==9.11.2 oelint-data==1.5.26 oelint-parser==8.13.2

# A layer for Yocto with the recipe, checked by oelint-adv. The page of wharfd does not exist yet, and it runs on a target
# alone.
recipe: TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
recipe: setup
	packaging/build-recipe $(TARGET)/yocto/meta-wharfd
	@python3 -c 'import ensurepip' 2>/dev/null || apt-get install -qq -y python3-venv </dev/null >/dev/null
	@python3 -m venv $(TARGET)/yocto/oelint && $(TARGET)/yocto/oelint/bin/pip install --quiet $(OELINT)
	$(TARGET)/yocto/oelint/bin/oelint-adv --quiet --release whinlatter --mode all \
		--suppress oelint.vars.homepageping --suppress oelint.var.bbclassextend \
		$$(find $(TARGET)/yocto/meta-wharfd -type f)

# Skipped: sandbox, since qemu-user has no seccomp filters, and tests that take minutes there.
cross: TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
cross: setup
	@for architecture in arm64 armhf; do \
		export CARGO_TARGET_DIR=$(TARGET)/cross/$$architecture; \
		packaging/build-deb $(TARGET)/deb/$$architecture $$architecture && \
		packaging/cross-root $$architecture cargo test --locked --workspace --exclude wharf-tests \
			--lib --bins --test engine --test machine --test job_socket -- \
			--skip sandbox:: --skip random_histories --skip lossy_link --skip block_65535 || exit 1; \
	done

reproducible: setup
	packaging/reproducible $(abspath $(or $(CARGO_TARGET_DIR),target))/reproducible

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --quiet -- -D warnings

# Random crashes of every program, for SECONDS_EACH seconds.
soak: setup
	SOAK_SECONDS=$(SECONDS_EACH) $(CARGO) test -p wharf-tests --test soak -- --ignored --nocapture

# INSTALLS of `wharfctl install` with restarts of wharfd in between; INSTALLS_SEED repeats an earlier run.
installs: setup
	$(CARGO) test -p wharf-tests --test scenarios each_exit_code -- --ignored --nocapture

# Real packages of Debian on a booted gateway, each compared with apt on a twin. PACKAGES="cron chrony" selects packages.
packages: setup
	$(CARGO) test -p wharf-tests --test packages -- --ignored --nocapture

# The tests of dnf, with dnf 5 and rpm 6 of Debian's unstable suite.
dnf5: TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
dnf5: export WHARF_DNF5 = 1
dnf5: setup rpm ipk
	$(CARGO) test -p wharf-installers --features simulated,faults --test service -- contract:: dnf of_an_rpm
	$(PACKAGES_OF_WHARFD) $(CARGO) test -p wharf-tests --test gateway -- with_dnf rpm::
	CUTS=$(or $(CUTS),10) $(CARGO) test -p wharf-tests --test powercut -- --ignored --nocapture with_dnf

# Power cuts of a gateway's disk, replayed from its log: CUTS of each story. SEED repeats an earlier run; WITH (apt, dnf),
# STORY and CUT select one cut. Needs /dev/fuse and loop devices.
powercut: setup
	$(CARGO) test -p wharf-tests --test powercut -- --ignored --nocapture --test-threads=1 $(if $(WITH),with_$(WITH))

# Every fuzz target in turn. cargo-fuzz works on stable with RUSTC_BOOTSTRAP.
fuzz: setup
	@$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz
	@for target in $$(sed -n 's/^name = "\(.*\)"$$/\1/p' fuzz/Cargo.toml | tail -n +2); do \
		RUSTC_BOOTSTRAP=1 $(CARGO) fuzz run $$target -- -max_total_time=$(SECONDS_EACH) || exit 1; \
	done

# The files that decide as root: which packages and signers are allowed, and which units are never touched.
DECIDES := $(addprefix src/,device permission ledger policy verdict) \
	$(addprefix managers/src/apt/,plan consent programs) \
	$(addprefix services/src/systemd/,gate names triggers unit_name units hold)

# Checks that each mutant of the machine, and of the files above, fails a unit test. Decision 9 names the survivors.
# Exit code 3: a test exceeded the time limit, which also detects the mutant.
mutants: setup
	@$(CARGO) mutants --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-mutants
	@mkdir -p target/mutants
	$(CARGO) mutants --package wharf-software --output target/mutants/machine -- -- --skip random_histories
	$(CARGO) mutants --package wharf-installers --package wharf-managers --package wharf-services \
		$(DECIDES:%=--file installers/%.rs) --timeout 120 --output target/mutants/root -- --lib || [ $$? -eq 3 ]

audit:
	@$(CARGO) deny --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-deny
	$(CARGO) deny check licenses bans sources

# Each figure of the shipped package and programs, with its peer in the same run; dnf 5 if WHARF_DNF5=1, opkg if one is on
# PATH. With the usual limit of open files: without /proc, apt closes every possible one before it starts a program.
bench: TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
bench: deb
	@command -v strace >/dev/null || apt-get install -qq -y --no-install-recommends strace </dev/null >/dev/null
	@WHARF_PROGRAMS=$(TARGET)/shipped/release WHARF_PACKAGE=$$(ls $(TARGET)/deb/wharfd_*.deb) \
		prlimit --nofile=1024: $(CARGO) run --quiet --release -p wharf-tests --bin bench
