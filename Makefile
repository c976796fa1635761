# Names for commands. `make help` lists them.
#
# One build cache for every checkout on this machine; `export CARGO_TARGET_DIR=…` to have another. Plain cargo
# uses ./target unless that variable is set. rustc links with lld on x86-64 by itself: no linker to choose.

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/portolan
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PORTOLAN_BIN ?= $(CARGO_TARGET_DIR)/debug/portolan
export PORTOLAN_SCANNER_BIN ?= $(CARGO_TARGET_DIR)/debug/portolan-scanner

# Asked when a recipe runs, after `duckdb` did: without the prebuilt library DuckDB is compiled from source.
FEATURES = $(shell test -e "$${DUCKDB_LIB_DIR:-.duckdb}/libduckdb.so" || echo --features portolan/bundled)
# The scanner is built and tested alone, so that its features are its own and no other crate's.
APPLIANCE = -p portolan -p portolan-tests -p portolan-bench $(FEATURES)
SCANNER = -p portolan-scanner

.DEFAULT_GOAL := build
.PHONY: help build demo test check fmt lint unit e2e scanner scanner-all scanner-reproducible fuzz release release-scanner dist test-packages image image-of-tests test-image image-sizes image-reproducible duckdb setup bench-scan bench-ingest bench-audit bench-sign-in screenshots pages

help: ## list these names
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

build: duckdb ## the appliance and the scanner, for development
	cargo build -p portolan $(FEATURES)
	cargo build $(SCANNER)

demo: build ## show it: two scans of listeners on loopback, what changed, and the web page (DEMO_ARGS=--exit ends by itself)
	cargo run -q -p portolan-tests --bin portolan-demo -- $(DEMO_ARGS)

check: duckdb ## the fast loop: format, clippy, unit tests
	cargo fmt --check
	cargo clippy -q $(APPLIANCE) --all-targets -- -D warnings
	cargo clippy -q $(SCANNER) --all-targets -- -D warnings
	cargo test -q -p portolan --lib $(FEATURES)
	cargo test -q $(SCANNER) --lib

test: setup lint build unit e2e ## everything but virtual machines: format, lints, licences, unit, end-to-end and browser tests

lint: duckdb ## format, clippy, licences and sources of all crates, shell scripts
	cargo fmt --all --check
	cargo clippy $(APPLIANCE) --all-targets -- -D warnings
	cargo clippy $(SCANNER) --all-targets -- -D warnings
	cargo clippy $(SCANNER) --no-default-features --all-targets -- -D warnings
	cargo clippy $(SCANNER) --no-default-features --features usb --all-targets -- -D warnings
	cargo clippy $(SCANNER) --no-default-features --features pq --all-targets -- -D warnings
	tools/cargo-deny.sh check licenses bans sources
	shellcheck tools/*.sh scanner/install.sh packaging/*.sh packaging/deb/preinst packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm .ci/run image/*.sh image/mkosi.finalize image/mkosi.profiles/test/mkosi.finalize $(addprefix image/mkosi.extra/usr/lib/portolan-image/,check disk factory-reset install recovery recovery-prompt reset-wanted unlock var)

unit: duckdb ## unit tests of the scanner and the appliance, and the benchmarks' own
	cargo test $(SCANNER)
	cargo test -p portolan -p portolan-bench $(FEATURES)
	cd fuzz && cargo test -q --locked

e2e: build scanner-all ## end-to-end and browser tests against the real binaries
	cargo test -p portolan-tests

scanner: ## the scanner as one static binary, for any Linux of this CPU
	@tools/scanner.sh link

scanner-all: ## the same in all its flavours: by stick, with a post-quantum key exchange, by hand alone
	@tools/scanner.sh link usb pq none

scanner-reproducible: ## build the static scanner in two folders and compare
	@tools/scanner-reproducible.sh link

fuzz: ## run each fuzz target for ten minutes (FUZZ_SECONDS=600)
	@tools/fuzz.sh

release: ## the appliance with DuckDB compiled in (first time: about 46 CPU-minutes), and the static scanner
	cargo build --release -p portolan --features bundled
	@$(MAKE) --no-print-directory scanner

.PHONY: signing-key
signing-key: # asked for before anything is built
	@test -f "$(SIGNING_KEY)" || { echo "say which key is yours, SIGNING_KEY=FILE; 'portolan sign keygen --secret FILE' makes one" >&2; exit 1; }

release-scanner: signing-key scanner build ## sign it with SIGNING_KEY=FILE: dist/scanner, for the appliance to hand out and for a stick
	tools/release-scanner.sh $(CARGO_TARGET_DIR)/static/portolan-scanner $(PORTOLAN_BIN) $(CARGO_TARGET_DIR)/static/portolan-scanner.cdx.json

dist: signing-key duckdb release-scanner ## packages, signed with SIGNING_KEY=FILE, whose key the program then asks for: tarball, .deb, SBOM, checksums
	FEATURES="$(FEATURES)" tools/dist.sh

test-packages: ## try what `make dist` packed in a clean Debian 13 and in a Debian 12 that boot in a container (as root; some minutes)
	@tools/test-setup.sh packages
	lintian --fail-on error dist/portolan_*.deb
	packaging/try.sh dist
	SUITE=bookworm packaging/try.sh dist

image: dist ## the operating system's image, signed with SIGNING_KEY=FILE and IMAGE_KEYS=FOLDER: raw, qcow2, OVA, installer (as root)
	@tools/test-setup.sh image
	image/build.sh release dist
	SIGNING_KEY=$(abspath $(SIGNING_KEY)) image/pack.sh $(CACHE)/image/release/out dist/image

# What cannot be made here is said, and is no failure: the tests that need it say so too.
image-of-tests: build
	@tools/test-setup.sh image
	@image/build.sh test $(PORTOLAN_BIN) $(PORTOLAN_SCANNER_BIN) || { code=$$?; \
		[ $$code -eq 77 ] || exit $$code; rm -f $(CACHE)/image/test/out/version; \
		echo "NOT TESTED: the image, as it cannot be made on this machine (the reason stands above)"; }

.PHONY: boot
# Once, without a TPM; apart from `make test` until it has held often. What else there is to try is in `make test-image`.
boot: image-of-tests ## boot the image of the tests once, to a page and a scan (as root, with a mirror of Debian; about four minutes)
	cargo test -p portolan-tests --test image -- --ignored --nocapture --exact the_image_boots_to_its_page_and_a_scanner_scans

# What a test updates to.
.PHONY: image-updates-of-tests
image-updates-of-tests: image-of-tests
	@test ! -e $(CACHE)/image/test/out/version || image/updates.sh $(PORTOLAN_BIN) $(PORTOLAN_SCANNER_BIN)

test-image: image-updates-of-tests ## boot the image in virtual machines in every way that it is tested (as root; half an hour)
	cargo test -p portolan-tests --test image -- --include-ignored --test-threads=1 --nocapture

image-sizes: ## what each package takes in the image last made for release: image/SIZE.md
	tools/image-sizes.sh >image/SIZE.md.new && mv image/SIZE.md.new image/SIZE.md

image-reproducible: ## make the image of the tests twice, once from empty caches, and compare (as root; some minutes)
	tools/image-reproducible.sh $(PORTOLAN_BIN) $(PORTOLAN_SCANNER_BIN)

duckdb: ## the prebuilt DuckDB library, where cargo looks for it
	@tools/duckdb.sh

setup: ## install what the tests need (a browser, network tools, cargo-deny, axe-core)
	@tools/test-setup.sh

BENCH_SCAN = PATH=$$PATH:/usr/sbin:/sbin:$(CACHE)/tools/bin \
	PORTOLAN_SCANNER_BIN=$(CARGO_TARGET_DIR)/static/portolan-scanner \
	$(CARGO_TARGET_DIR)/release/portolan-bench scan
bench-scan: scanner ## the scanner beside nmap, masscan, zmap, rustscan; BENCH_ARGS="--write docs/benchmarks.md" (as root: makes network namespaces)
	@tools/test-setup.sh bench
	cargo build --release -q -p portolan-bench --no-default-features
	$(BENCH_SCAN) $(BENCH_ARGS)
	$(BENCH_SCAN) $(BENCH_ARGS) --scenario subnet,far --same 20

bench-ingest: duckdb ## open ports per second from spool to committed, beside DuckDB's own appender
	cargo run --release -q -p portolan-bench $(FEATURES) -- ingest

bench-audit: duckdb ## appends to the audit per second and verification beside openssl; BENCH_ARGS="--write docs/benchmarks.md"
	cargo run --release -q -p portolan-bench $(FEATURES) -- audit $(BENCH_ARGS)

bench-sign-in: duckdb ## a sign-in beside its bare Argon2, and whether its time tells who has an account; BENCH_ARGS="--write docs/benchmarks.md"
	cargo build --release -q -p portolan -p portolan-bench $(FEATURES)
	PORTOLAN_BIN=$(CARGO_TARGET_DIR)/release/portolan $(CARGO_TARGET_DIR)/release/portolan-bench sign-in $(BENCH_ARGS)

screenshots: build setup ## the pictures in docs/screenshots, taken of a running appliance
	cargo run -q -p portolan-tests --bin portolan-demo -- --screenshots docs/screenshots

PAGES ?= $(CARGO_TARGET_DIR)/pages
pages: build setup ## a picture of every page (PAGES=FOLDER), wide and narrow, light and dark, with scripts and without
	cargo run -q -p portolan-tests --bin portolan-demo -- --pages $(PAGES)
