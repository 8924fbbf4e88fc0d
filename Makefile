# lore: `make help` lists the targets. BUILD=dir builds elsewhere, so several builds can stand side by side.
# On all processors; several goals one after the other, since some of them install or build the same.
ifeq ($(MAKELEVEL),0)
ifeq ($(word 2,$(MAKECMDGOALS)),)
MAKEFLAGS += -j$(shell nproc)
endif
endif
BUILD    ?= build
PREFIX   ?= /usr/local
CC       ?= gcc
OPT      ?= -O2 -g
SANITIZE ?=
CFLAGS   += -std=c11 -D_GNU_SOURCE $(OPT) $(SANITIZE) -Wall -Wextra -Wshadow -Wconversion -Wno-unused-parameter \
            -fno-omit-frame-pointer -pthread -MMD -MP -Icore -I/usr/include/lua5.4
LDFLAGS  += -pthread $(SANITIZE) -Wl,-E
LUA_LIB   = -Wl,--whole-archive -l:liblua5.4.a -Wl,--no-whole-archive
LIBS      = -ledit -lcurl-gnutls -luv -llmdb -l:libbidgcc000.a $(LUA_LIB) -lsodium -lz -lm -ldl

# Debian packages: to build and test; to check as well; to measure as well.
DEPS       = gcc libc6-dev xxd python3 libuv1-dev libcurl4-gnutls-dev liblua5.4-dev liblmdb-dev \
             libsodium-dev zlib1g-dev libedit-dev libintelrdfpmath-dev tzdata ca-certificates lua-busted libcmocka-dev \
             graphviz
DEPS_CHECK = clang-format cppcheck lua-check
DEPS_FUZZ  = clang libclang-rt-14-dev libjansson-dev
DEPS_BENCH = wrk redis-server redis-tools tarantool postgresql-15

# The layers, highest first: to the linker this order is the direction of dependencies.
LAYERS    = cli net run vm store codec base
layer_c   = $(sort $(wildcard core/$(1)/*.c))
layer_o   = $(patsubst core/%.c,$(BUILD)/%.o,$(call layer_c,$(1)))
ARCHIVES  = $(patsubst %,$(BUILD)/lib%.a,$(LAYERS))
PRELUDE   = $(sort $(wildcard lua/*.lua))

.PHONY: all
all: | libraries ## build ./lore
	@$(MAKE) --no-print-directory lore

.PHONY: libraries
libraries:
	@sh tests/support/deps.sh have $(DEPS) || { echo "make: some libraries are missing: run make deps" >&2; exit 1; }

lore: $(BUILD)/lore
	@cp $< $@.new && mv $@.new $@

$(BUILD)/lore: $(BUILD)/cli/main.o $(ARCHIVES)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

define layer_rules
$(BUILD)/lib$(1).a: $(filter-out $(BUILD)/cli/main.o,$(call layer_o,$(1))) $(if $(filter vm,$(1)),$(BUILD)/prelude.o)
	@mkdir -p $$(@D) && rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach layer,$(LAYERS),$(eval $(call layer_rules,$(layer))))

$(BUILD)/%.o: core/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

# The Lua prelude inside the binary: each lua/NAME.lua as (name, text, size).
$(BUILD)/prelude.c: $(PRELUDE) Makefile
	@mkdir -p $(@D)
	@{ echo '#include "vm/prelude.h"'; n=0; for f in $(PRELUDE); do \
	   echo "static const unsigned char text_$$n[] = {"; xxd -i < $$f; echo ", 0};"; n=$$((n+1)); done; \
	   echo 'const struct prelude_file prelude_files[] = {'; n=0; for f in $(PRELUDE); do \
	   echo "{\"$$(basename $$f .lua)\", (const char *)text_$$n, sizeof text_$$n - 1},"; n=$$((n+1)); done; \
	   echo '{0, 0, 0}};'; } > $@
$(BUILD)/prelude.o: $(BUILD)/prelude.c
	$(CC) $(CFLAGS) -c -o $@ $<

# Unit tests: tests/unit/LAYER/test_*.c, tests/contract/test_*.c and tests/sim/test_*.c, each a cmocka program, found by pattern and linked with
# its layer and those below it only.
below_base     = base
below_codec    = codec base
below_store    = store codec base
below_contract = store codec base
below_sim      = run vm store codec base
below_vm       = vm codec base
below_run      = run vm store codec base
below_net      = net run vm store codec base
below_cli      = cli net run vm store codec base
UNIT_C    = $(sort $(wildcard tests/unit/*/test_*.c) $(wildcard tests/contract/test_*.c) $(wildcard tests/sim/test_*.c))
UNIT_BIN  = $(patsubst tests/%.c,$(BUILD)/tests/%,$(UNIT_C))
SUPPORT_O = $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(sort $(wildcard tests/support/*.c)))
folder_of = $(notdir $(patsubst %/,%,$(dir $(1))))

$(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Wno-conversion -Itests -c -o $@ $<

define unit_rule
$(1): $(1).o $(SUPPORT_O) $(patsubst %,$(BUILD)/lib%.a,$(below_$(call folder_of,$(1))))
	$(CC) $(LDFLAGS) -o $$@ $$^ -lcmocka $(LIBS)
endef
$(foreach test,$(UNIT_BIN),$(eval $(call unit_rule,$(test))))

.PHONY: units unit-%
units: $(UNIT_BIN)
unit-%: ## the unit tests of one layer: make unit-codec
	@$(MAKE) --no-print-directory $(filter $(BUILD)/tests/unit/$*/%,$(UNIT_BIN))
	@for t in $(filter $(BUILD)/tests/unit/$*/%,$(UNIT_BIN)); do $$t || exit 1; done

# --- what people type ---

.PHONY: help deps run test check tidy asan tsan bench fuzz docs install clean test-built
help: ## this list
	@sed -n 's/^\([a-z%-]*\):[^#]*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 20

deps: ## install what is missing (Debian packages; says what it does)
	@sh tests/support/deps.sh install $(DEPS)

run: deps ## build and serve scripts/ on http://127.0.0.1:7070, data in ./data
	@$(MAKE) --no-print-directory -s lore
	@sh tests/support/run.sh

docs: deps ## what lore docs says of the example: docs/example/index.html; begin with docs/first-steps.md
	@$(MAKE) --no-print-directory -s lore
	@./lore docs scripts --out docs/example

test: deps ## build and pass all tests; the last line is "N passed, N failed"
	@$(MAKE) --no-print-directory -s test-built

test-built: lore units
	@python3 tests/run.py --build $(BUILD) $(TESTS)

check: ## formatters, linters, tidy
	@sh tests/support/deps.sh install $(DEPS) $(DEPS_CHECK)
	@$(MAKE) --no-print-directory -s tidy
	clang-format --dry-run -Werror $$(git ls-files 'core/*.[ch]' 'tests/*.[ch]')
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability --inline-suppr \
	  --suppress=missingIncludeSystem --suppress=nullPointerOutOfMemory -Icore $$(git ls-files 'core/*.c')
	luacheck --quiet lua scripts specs
	@echo "check: all clean"

tidy: lore ## the rules of style that a program can check
	@python3 tests/tidy/tidy.py --build $(BUILD)

SMALL = LORE_TEST_SMALL=1
asan: deps ## all tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@$(SMALL) ASAN_OPTIONS=detect_leaks=1:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
	  $(MAKE) --no-print-directory -s BUILD=build-asan OPT="-O1 -g" \
	  SANITIZE="-fsanitize=address,undefined -fno-sanitize-recover=undefined" build-asan/lore test-sanitized

tsan: deps ## all tests under ThreadSanitizer
	@$(SMALL) TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1 $(MAKE) --no-print-directory -s BUILD=build-tsan \
	  OPT="-O1 -g" SANITIZE="-fsanitize=thread" build-tsan/lore test-sanitized

.PHONY: test-sanitized
test-sanitized: $(BUILD)/lore units
	@python3 tests/run.py --build $(BUILD) --lore $(BUILD)/lore $(TESTS)

# What CI has time for: no test begins after UNTIL (seconds since 1970). Under ThreadSanitizer those in which threads meet, but for a few that
# take minutes there.
TSAN_BUT = unit/vm,unit/codec,unit/base,unit/cli,specs,test_views,test_shadow_parts,test_bad_input,test_import,test_hostile,test_rollback,test_past
.PHONY: asan-until tsan-until
asan-until:
	@$(MAKE) --no-print-directory -s asan TESTS="--until $(UNTIL)"
tsan-until:
	@$(MAKE) --no-print-directory -s tsan TESTS="--until $(UNTIL) --but $(TSAN_BUT)"

bench: deps ## measure, each figure beside its limit and beside Redis, Tarantool, PostgreSQL, SQLite (installs them; 20 min)
	@sh tests/support/deps.sh install $(DEPS) $(DEPS_BENCH)
	@$(MAKE) --no-print-directory -s lore $(BUILD)/tests/bench/bare
	@python3 tests/bench/bench.py --bare $(BUILD)/tests/bench/bare

$(BUILD)/tests/bench/shadow: $(BUILD)/tests/bench/shadow.o $(patsubst %,$(BUILD)/lib%.a,run vm store codec base)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

$(BUILD)/tests/bench/bare: $(BUILD)/tests/bench/bare.o
	$(CC) $(LDFLAGS) -o $@ $^ $(LUA_LIB) -lm -ldl

.PHONY: soak
soak: deps ## a thousand kills, ten thousand flipped bytes; SOAK_SEED=N plays them again
	@$(MAKE) --no-print-directory -s lore
	@python3 tests/soak/soak.py

FUZZ_SECONDS ?= 30
FUZZ_C   = $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_BIN = $(patsubst tests/fuzz/%.c,build-fuzz/%,$(FUZZ_C))
fuzz: ## run each fuzzer for FUZZ_SECONDS
	@sh tests/support/deps.sh install $(DEPS) $(DEPS_FUZZ)
	@$(MAKE) --no-print-directory -s BUILD=build-fuzz CC=clang OPT="-O1 -g" \
	  SANITIZE="-fsanitize=address,undefined,fuzzer-no-link" $(FUZZ_BIN)
	@for f in $(FUZZ_BIN); do n=$$(basename $$f); mkdir -p build-fuzz/corpus/$$n; echo "$$n: $(FUZZ_SECONDS) s"; \
	  $$f -max_total_time=$(FUZZ_SECONDS) -verbosity=0 build-fuzz/corpus/$$n tests/fuzz/corpus/$$n || exit 1; done

build-fuzz/fuzz_%: build-fuzz/tests/fuzz/fuzz_%.o $(patsubst %,build-fuzz/lib%.a,$(LAYERS))
	clang $(LDFLAGS) -fsanitize=fuzzer -o $@ $^ -ljansson $(LIBS)

install: lore ## PREFIX=/usr/local
	install -D -m 755 lore $(DESTDIR)$(PREFIX)/bin/lore

clean: ## remove what was built
	rm -rf build build-* lore

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
