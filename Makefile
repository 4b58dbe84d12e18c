# SPDX-License-Identifier: Apache-2.0
#
# The front door. Meson builds; this only knows what is typed often. Each target first looks whether
# the Debian packages it needs are there (tools/setup does nothing where they are).
#
#   make            builds build/heed and build/src/libheed.so
#   make demo       the whole path on a simulated town: import, train, evaluate, feed, explain
#   make test       every test;  make test SUITE=kernel  one suite
#   make bench      heed's own benchmarks, as JSON under build/bench/
#   make bench-peers  the same work in heed and in PyTorch, side by side
#   make asan tsan  the tests under the address+undefined and the thread sanitizer; CC=clang too
#   make fuzz       each fuzz target for FUZZ_SECONDS (60), with clang
#   make install    PREFIX=/usr/local, DESTDIR for packages

BUILD ?= build
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 60
NINJA ?= ninja
# Warnings stop the build in CI, not for somebody who builds a release with a newer compiler.
MESON_FLAGS ?= $(if $(CI),-Dwerror=true)
# The thread sanitizer of these compilers cannot map its shadow where the kernel spreads addresses
# over more bits than it knows; without that spreading it can.
TSAN_RUN := $(shell setarch -R true 2>/dev/null && echo setarch -R)

.PHONY: all build setup demo test bench bench-peers asan tsan fuzz install clean

all: build

setup:
	@tools/setup

$(BUILD)/build.ninja: | setup
	meson setup $(BUILD) --prefix=$(PREFIX) $(MESON_FLAGS)

build: setup $(BUILD)/build.ninja
	$(NINJA) -C $(BUILD)

demo: build
	$(BUILD)/heed demo -o demo

test: build
	meson test -C $(BUILD) --print-errorlogs --timeout-multiplier 4 $(if $(SUITE),--suite $(SUITE))

bench: build
	@mkdir -p $(BUILD)/bench
	for what in gemm attention train feed; do \
	  $(BUILD)/heed bench $$what --json >$(BUILD)/bench/$$what.json && \
	  echo "$(BUILD)/bench/$$what.json" || exit 1; done

bench-peers: build
	tools/setup bench-peers
	tools/bench-peers $(BUILD)/heed

# A sanitizer's build has a folder of its own for each compiler. gcc 12 keeps what it watches after a
# return at 32 bytes, where vectors of 64 need 64 and fault (its bug 110027), so only clang watches that.
SANITIZED_BY := $(if $(findstring clang,$(CC)),-clang)
ASAN_BUILD := build-asan$(SANITIZED_BY)
TSAN_BUILD := build-tsan$(SANITIZED_BY)
ASAN_RETURN := $(if $(SANITIZED_BY),1,0)
asan: setup
	[ -f $(ASAN_BUILD)/build.ninja ] || meson setup $(ASAN_BUILD) -Db_sanitize=address,undefined \
	  -Db_lundef=false -Dbuildtype=debugoptimized
	$(NINJA) -C $(ASAN_BUILD)
	ASAN_OPTIONS=detect_stack_use_after_return=$(ASAN_RETURN) UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
	  meson test -C $(ASAN_BUILD) --print-errorlogs --timeout-multiplier 5 --no-suite house

tsan: setup
	[ -f $(TSAN_BUILD)/build.ninja ] || meson setup $(TSAN_BUILD) -Db_sanitize=thread -Db_lundef=false
	$(NINJA) -C $(TSAN_BUILD)
	TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 \
	  $(TSAN_RUN) meson test -C $(TSAN_BUILD) --print-errorlogs --timeout-multiplier 10 --no-suite house

fuzz:
	tools/setup fuzz
	[ -f build-fuzz/build.ninja ] || CC=clang meson setup build-fuzz -Dfuzz=enabled \
	  -Db_sanitize=address,undefined -Db_lundef=false
	$(NINJA) -C build-fuzz $$($(NINJA) -C build-fuzz -t targets all | sed -n "s/^\(fuzz\/fuzz_[a-z_]*\): .*/\1/p")
	tools/fuzz build-fuzz $(FUZZ_SECONDS)

install: build
	meson configure $(BUILD) -Dprefix=$(PREFIX) && $(NINJA) -C $(BUILD)
	meson install -C $(BUILD) --no-rebuild $(if $(DESTDIR),--destdir $(DESTDIR))
	[ -n "$(DESTDIR)" ] || ldconfig || true # so that the library is found at once

clean:
	rm -rf build build-asan* build-tsan* build-fuzz demo
