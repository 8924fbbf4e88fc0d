# lore: make help lists the targets. BUILD=dir builds elsewhere (several builds side by side).
BUILD   ?= build
PREFIX  ?= /usr/local
CC      ?= gcc
OPT     ?= -O2 -g
SANITIZE ?=
CFLAGS  += -std=c11 -D_GNU_SOURCE $(OPT) $(SANITIZE) -Wall -Wextra -Wshadow -Wconversion -Wno-unused-parameter \
           -fno-omit-frame-pointer -pthread -MMD -MP -Icore -I/usr/include/lua5.4
LDFLAGS += -pthread $(SANITIZE) -Wl,-E

LAYERS   = cli net run vm store codec base
layer_c  = $(sort $(wildcard core/$(1)/*.c))
layer_o  = $(patsubst core/%.c,$(BUILD)/%.o,$(call layer_c,$(1)))
ARCHIVES = $(patsubst %,$(BUILD)/lib%.a,$(LAYERS))
LUA_LIB  = -Wl,--whole-archive -l:liblua5.4.a -Wl,--no-whole-archive
LIBS     = -lmicrohttpd -lcurl-gnutls -luv -llmdb -l:libbidgcc000.a $(LUA_LIB) -lsodium -lz -lm -ldl

.PHONY: all
all: lore

lore: $(BUILD)/lore
	cp $< $@.new && mv $@.new $@

# Order matters to the linker and is the dependency direction: a lower layer cannot use a higher one.
$(BUILD)/lore: $(BUILD)/cli/main.o $(ARCHIVES)
	$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

define layer_rules
$(BUILD)/lib$(1).a: $(filter-out $(BUILD)/cli/main.o,$(call layer_o,$(1))) $$(if $$(filter vm,$(1)),$(BUILD)/prelude.o)
	@mkdir -p $$(@D) && rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach layer,$(LAYERS),$(eval $(call layer_rules,$(layer))))

$(BUILD)/%.o: core/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -c -o $@ $<

# The Lua prelude inside the binary: every lua/*.lua as one table of (name, text, size).
$(BUILD)/prelude.c: $(sort $(wildcard lua/*.lua)) Makefile
	@mkdir -p $(@D)
	@{ echo '#include "vm/prelude.h"'; n=0; for f in $(sort $(wildcard lua/*.lua)); do \
	   echo "static const unsigned char text_$$n[] = {"; xxd -i < $$f; echo ", 0};"; n=$$((n+1)); done; \
	   echo 'const struct prelude_file prelude_files[] = {'; n=0; for f in $(sort $(wildcard lua/*.lua)); do \
	   echo "{\"$$(basename $$f .lua)\", (const char *)text_$$n, sizeof text_$$n - 1},"; n=$$((n+1)); done; \
	   echo '{0, 0, 0}};'; } > $@
$(BUILD)/prelude.o: $(BUILD)/prelude.c
	$(CC) $(CFLAGS) -c -o $@ $<

# Unit tests: tests/unit/<layer>/test_*.c, each a cmocka program linked with its layer and those below it.
above_base  = base
above_codec = codec base
above_store = store codec base
above_vm    = vm codec base
above_run   = run vm store codec base
above_net   = net run vm store codec base
UNIT_C   = $(sort $(wildcard tests/unit/*/test_*.c) $(wildcard tests/contract/test_*.c))
UNIT_BIN = $(patsubst tests/%.c,$(BUILD)/tests/%,$(UNIT_C))
layer_of = $(patsubst contract,store,$(word 1,$(filter $(LAYERS) contract,$(subst /, ,$(1)))))
SUPPORT_O = $(patsubst tests/%.c,$(BUILD)/tests/%.o,$(sort $(wildcard tests/support/*.c)))

$(BUILD)/tests/%.o: tests/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS) -Wno-conversion -Itests -c -o $@ $<

define unit_rule
$(1): $(1).o $(SUPPORT_O) $(patsubst %,$(BUILD)/lib%.a,$(above_$(call layer_of,$(1))))
	$(CC) $(LDFLAGS) -o $$@ $$^ -lcmocka $(LIBS)
endef
$(foreach test,$(UNIT_BIN),$(eval $(call unit_rule,$(test))))

.PHONY: unit unit-%
unit: $(UNIT_BIN)
	@for t in $^; do $$t || exit 1; done
# make unit-codec: the tests of one layer
unit-%:
	@$(MAKE) --no-print-directory $(filter $(BUILD)/tests/unit/$*/%,$(UNIT_BIN))
	@for t in $(filter $(BUILD)/tests/unit/$*/%,$(UNIT_BIN)); do $$t || exit 1; done

.PHONY: clean
clean:
	rm -rf $(BUILD) lore

-include $(shell find $(BUILD) -name '*.d' 2>/dev/null)
