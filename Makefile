# SPDX-License-Identifier: GPL-2.0-only
#
# The whole build: one Makefile, no recursion, sources found by wildcard. A new file in a known
# folder needs no edit here.
#
# Each component has its own include path (INC_*), so that an include against the direction of the
# design (hooks, source, target, cli -> check -> lib -> proto, images) does not compile. The paths
# are -iquote: our "poll.h" can never answer a <poll.h>.

VERSION  = 0.1.0
SANITIZE =
BUILD    = $(if $(SANITIZE),build/$(BUILD_$(SANITIZE)),build)
PREFIX   = /usr/local
DESTDIR  =

# Libraries of criu-multifd. contrib/setup installs their Debian packages: change both together.
PKGS = $(PLUGIN_PKGS) gnutls
# Of the plugin: CRIU has a GnuTLS of its own, and the plugin makes no connection.
PLUGIN_PKGS = libprotobuf-c libnl-3.0 libnl-route-3.0 libxxhash libsystemd json-c libzstd liblz4

BUILD_address = asan
BUILD_thread  = tsan
BUILD_fuzzer  = fuzz
SANFLAGS_address = -fsanitize=address,undefined -fno-sanitize-recover=all
SANFLAGS_thread  = -fsanitize=thread
SANFLAGS_fuzzer  = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
ifneq ($(SANITIZE),)
ifeq ($(SANFLAGS_$(SANITIZE)),)
$(error SANITIZE must be address, thread or fuzzer, not "$(SANITIZE)")
endif
endif

ifeq ($(origin CC),default)
CC = $(if $(filter fuzzer,$(SANITIZE)),clang,gcc)
endif
AR = ar
CFLAGS  ?= -O2 -g
LDFLAGS ?=
# Instrumented code draws false alarms from the optimiser's warnings: only plain builds stop at
# them.
WERROR = $(if $(SANITIZE),,-Werror)

GEN     := $(BUILD)/gen
OBJ     := $(BUILD)/obj
SAN     := $(SANFLAGS_$(SANITIZE))
FORTIFY := $(if $(SAN),,$(if $(filter -O1 -O2 -O3 -Os,$(CFLAGS)),-D_FORTIFY_SOURCE=2))
WARN    := -Wall -Wextra $(WERROR) -Wshadow -Wstrict-prototypes -Wmissing-prototypes
COMMON  := -std=gnu11 -D_GNU_SOURCE -DMFD_VERSION='"$(VERSION)"' -pthread \
	   -fPIC -fvisibility=hidden \
	   -fno-omit-frame-pointer -fstack-protector-strong $(FORTIFY) $(SAN)
LINK    := -pthread -Wl,--as-needed -Wl,-z,relro,-z,now $(SAN)

PKG_OK     := $(shell pkg-config --exists $(PKGS) 2>/dev/null && echo yes)
PKG_CFLAGS := $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
PKG_LIBS   := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
PLUGIN_LIBS := $(shell pkg-config --libs $(PLUGIN_PKGS) 2>/dev/null)

Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(2)')

# ---- sources -------------------------------------------------------------------------------------

objs = $(patsubst %.c,$(OBJ)/%.o,$(1))

PROTOS    := $(wildcard proto/*.proto images/*.proto)
GEN_H     := $(PROTOS:%.proto=$(GEN)/%.pb-c.h)
GEN_O     := $(PROTOS:%.proto=$(OBJ)/gen/%.pb-c.o)
PROTO_O   := $(call objs,$(wildcard proto/*.c)) $(filter $(OBJ)/gen/proto/%,$(GEN_O))
IMAGES_O  := $(call objs,$(wildcard images/*.c)) $(filter $(OBJ)/gen/images/%,$(GEN_O))
LIB_O     := $(call objs,$(wildcard lib/*.c))
SOURCE_O  := $(call objs,$(wildcard plugin/source/*.c))
TARGET_O  := $(call objs,$(wildcard plugin/target/*.c plugin/target/*/*.c))
CHECK_O   := $(call objs,$(wildcard plugin/check/*.c))
CLI_O     := $(call objs,$(wildcard plugin/cli/*.c))
HOOKS_O   := $(call objs,$(wildcard plugin/hooks/*.c))
# These two include CRIU's headers; unit tests link the others.
CRIU_O    := $(filter %/plugin.o %/host.o,$(HOOKS_O))
UNIT_O    := $(call objs,$(wildcard test/unit/test_*.c))
UNITLIB_O := $(filter-out $(UNIT_O),$(call objs,$(wildcard test/unit/*.c test/unit/players/*.c)))
FUZZ_O    := $(call objs,$(wildcard test/fuzz/fuzz_*.c))
DRIVER_O  := $(call objs,$(wildcard test/fuzz/driver.c))
# cpr alone needs GLib, to compare with: built by bench-cpr only.
BENCH_O   := $(call objs,$(filter-out test/bench/cpr.c,$(wildcard test/bench/*.c)))
BENCH_CPR := $(BUILD)/test/bench/cpr
# One program of several files. io_uring is a candidate there and nowhere else: without liburing it
# is built without.
BENCH_MULTIFD   := $(BUILD)/test/bench/multifd
BENCH_MULTIFD_O := $(call objs,$(wildcard test/bench/multifd/*.c))
URING_OK   := $(shell pkg-config --exists liburing 2>/dev/null && echo yes)
URING_LIBS := $(if $(URING_OK),$(shell pkg-config --libs liburing 2>/dev/null))
TOOLS_C   := $(wildcard test/tools/*.c)
PRELOAD_O := $(call objs,$(filter test/tools/preload_%,$(TOOLS_C)))
TOOLS_O   := $(call objs,$(filter-out test/tools/preload_%,$(TOOLS_C)))
# A folder there is one program.
TOOL_DIRS := $(patsubst %/,%,$(wildcard test/tools/*/))
TOOL_DIR_O := $(call objs,$(foreach d,$(TOOL_DIRS),$(wildcard $(d)/*.c)))

MAIN_O := $(OBJ)/plugin/cli/main.o
C_OBJS := $(filter-out $(GEN_O),$(PROTO_O) $(IMAGES_O)) $(LIB_O) $(SOURCE_O) $(TARGET_O) \
	  $(CHECK_O) $(CLI_O) $(HOOKS_O) \
	  $(UNIT_O) $(UNITLIB_O) $(FUZZ_O) $(DRIVER_O) $(BENCH_O) $(OBJ)/test/bench/cpr.o \
	  $(BENCH_MULTIFD_O) $(TOOLS_O) $(TOOL_DIR_O) \
	  $(PRELOAD_O)

PROGRAM := $(if $(filter $(MAIN_O),$(CLI_O)),$(BUILD)/criu-multifd)
# CRIU itself is not instrumented and could not load an instrumented plugin; nor could it dump such
# a test tool.
PLUGIN  := $(if $(HOOKS_O),$(if $(SANITIZE),,$(BUILD)/plugins/multifd_plugin.so))
TOOLS   := $(if $(SANITIZE),,$(TOOLS_O:$(OBJ)/%.o=$(BUILD)/%) $(TOOL_DIRS:%=$(BUILD)/%) \
	   $(PRELOAD_O:$(OBJ)/%.o=$(BUILD)/%.so))
UNIT    := $(UNIT_O:$(OBJ)/%.o=$(BUILD)/%)
FUZZ    := $(FUZZ_O:$(OBJ)/%.o=$(BUILD)/%)
BENCH   := $(BENCH_O:$(OBJ)/%.o=$(BUILD)/%)

BASE_A := $(BUILD)/libmfd.a $(BUILD)/libimages.a $(BUILD)/libproto.a
TEST_A := $(BUILD)/libunit.a $(BUILD)/libhooks.a $(BUILD)/libsource.a $(BUILD)/libtarget.a \
	  $(BUILD)/libcli.a $(BUILD)/libcheck.a $(BASE_A)

# ---- include paths: the arrows -------------------------------------------------------------------

INC_proto  := -iquote proto -iquote $(GEN)
INC_images := -iquote images -iquote $(GEN)
INC_lib    := -iquote lib -iquote proto -iquote images -iquote $(GEN)
# The rooms of the target, each with those to its right: a room sees itself and what lies below it.
TARGET     := plugin/target
INC_pager   = -iquote $(TARGET)/pager
INC_keeper  = -iquote $(TARGET)/keeper
INC_survive = -iquote $(TARGET)/survive $(INC_pager) $(INC_keeper)
INC_restore = -iquote $(TARGET)/restore $(INC_survive)
INC_peers   = -iquote $(TARGET)/peers $(INC_restore)
INC_session = -iquote $(TARGET)/session $(INC_peers)
INC_target  = -iquote $(TARGET) $(INC_session)
INC_test   := -iquote plugin/source $(INC_target) -iquote plugin/cli -iquote plugin/check \
	      $(INC_lib)

$(OBJ)/proto/%.o:         INC = $(INC_proto)
$(OBJ)/images/%.o:        INC = $(INC_images)
$(OBJ)/lib/%.o:           INC = $(INC_lib)
$(OBJ)/plugin/source/%.o: INC = -iquote plugin/source $(INC_lib)
$(OBJ)/plugin/target/%.o: INC = $(INC_target) $(INC_lib)
$(foreach r,session peers restore survive pager keeper,\
	$(eval $(OBJ)/$(TARGET)/$(r)/%.o: INC = $(INC_$(r)) $(INC_lib)))
$(OBJ)/plugin/check/%.o:  INC = -iquote plugin/check $(INC_lib)
$(OBJ)/plugin/cli/%.o:    INC = -iquote plugin/cli -iquote plugin/check $(INC_lib)
$(OBJ)/test/%.o:          INC = $(INC_test) -Wno-unused-parameter

# The only folder that sees CRIU's headers. -idirafter: that root may hold other headers, the
# machine's own come first. CRIU finds CR_PLUGIN_DESC by name, so hidden visibility is left to the
# version script here.
ifneq ($(PLUGIN),)
CRIU_INCLUDE ?= $(shell contrib/setup --print-include 2>/dev/null)
CRIU_INC := $(CRIU_INCLUDE)
endif
$(OBJ)/plugin/hooks/%.o:  INC = -iquote plugin/hooks $(INC_lib) $(CRIU_INC:%=-idirafter %) \
	-fvisibility=default

# ---- targets -------------------------------------------------------------------------------------

# What `make bench` runs; bench-cpr is not among them: it needs GLib.
BENCHES := bench-run bench-flows bench-multifd bench-scale
.PHONY: all tests check check-cluster check-slurm check-tls deb
.PHONY: demo bench $(BENCHES) bench-plots bench-cpr
.PHONY: bench-drain soak soak-faults model
.PHONY: fuzz fuzz-programs
.PHONY: install uninstall check-installed format check-format
.PHONY: clean help
.PHONY: deps criu-headers FORCE
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

all: $(PROGRAM) $(PLUGIN) $(if $(PROGRAM)$(PLUGIN),,$(BASE_A))

# What test/run needs: every test program of this build.
tests: $(PROGRAM) $(PLUGIN) $(UNIT) $(TOOLS) $(FUZZ) $(if $(SANITIZE),,$(BENCH) $(BENCH_MULTIFD))

help:
	@echo 'make [all]       $$(BUILD)/criu-multifd and $$(BUILD)/plugins/multifd_plugin.so'
	@echo 'make check       install what is missing (contrib/setup), build, run every test (test/run; see test/run -h)'
	@echo 'make check-tls   every test of modes and faults again, with TLS on every connection; half an hour'
	@echo 'make check-cluster  contrib/pacemaker with the real corosync and pacemaker (installs them); minutes'
	@echo 'make check-slurm  contrib/slurm with the real slurmctld, slurmd and munge (installs them); minutes'
	@echo 'make demo        install what is missing, build, migrate a process and show what happened'
	@echo 'make bench       $(BENCHES), one after the other; BENCH_ARGS=--quick: in some minutes'
	@echo 'make bench-run   beside CRIU and QEMU (BENCH_ARGS=--continue, ...: test/bench/run -h); build/bench/results.json'
	@echo 'make bench-plots the pictures of that again, and the one that the README shows'
	@echo 'make soak        the same migration for hours (test/bench/soak -h)'
	@echo 'make soak-faults  rounds with random faults, ROUNDS=100 SEED=any (test/soak/run -h)'
	@echo 'make model       the commit protocol with MODEL_FAULTS=3 faults at once, in some minutes (test/model/README.md)'
	@echo 'make bench-cpr   the CPR table beside a list, GLib and CRIU (installs libglib2.0-dev); build/bench/cpr.json'
	@echo 'make bench-multifd  dispatch and sends by themselves, io_uring as a candidate (installs liburing-dev); build/bench/multifd.json'
	@echo 'make bench-scale memory, tasks, channels and sessions: does anything grow faster than it should? build/bench/scale.json'
	@echo 'make bench-drain 50 processes of 100 MiB, several at once (test/bench/drain -h); build/bench/drain.json'
	@echo 'make bench-flows channels, compression, max-bandwidth on slow links (BENCH_ARGS=--quick); build/bench/flows.json'
	@echo 'make fuzz        libFuzzer (clang) on every decoder, FUZZ_SECONDS=60 each; the plain driver without clang'
	@echo 'make tests       test programs only; with SANITIZE=address or =thread in build/asan or build/tsan'
	@echo 'make deb         a Debian package, in build/deb (installs debhelper); contrib/debian'
	@echo 'make install     DESTDIR, PREFIX=/usr/local; check-installed looks at it, uninstall takes it away again'
	@echo 'make format      clang-format everything; check-format looks, at columns and prose, too'
	@echo 'make clean'
	@echo 'Variables: SANITIZE BUILD CC CFLAGS LDFLAGS WERROR= V=1 CRIU (the criu to test with) CRIU_INCLUDE'

# Every CRIU that is tested, beside the one that is used.
CRIUS = 4.1.1 4.2.1 4.3

# pkg-config and the headers may be missing when this file is parsed, so the build proper is a
# second make.
check:
	@contrib/setup
	@# Those that cannot be had here are named by the tests that want them.
	@for v in $(CRIUS); do contrib/setup --no-apps --criu $$v || :; done
	@BUILD='$(BUILD)' test/run

# make check runs some of them: one for each mode, and for each kind of fault.
check-tls:
	@contrib/setup
	@BUILD='$(BUILD)' test/run tls-all

# Two nodes with the real corosync and pacemaker, which are installed and not started.
check-cluster:
	@contrib/setup --no-apps --with corosync --with pacemaker --with pacemaker-cli-utils \
		--with resource-agents --with libxml2-utils
	@$(MAKE) --no-print-directory all $(TOOLS)
	@BUILD='$(BUILD)' test/run test/cluster/agent.bats test/cluster/pacemaker.bats

# The same with Slurm, and MariaDB for what sacct asks.
check-slurm:
	@contrib/setup --no-apps --with slurmctld --with slurmd --with slurm-client --with munge \
		--with slurmdbd --with mariadb-server
	@$(MAKE) --no-print-directory all $(TOOLS)
	@BUILD='$(BUILD)' test/run test/cluster/slurm.bats

demo:
	@contrib/setup
	@$(MAKE) --no-print-directory all $(TOOLS)
	@BUILD='$(BUILD)' test/demo/run
	@BUILD='$(BUILD)' test/demo/redis.sh || [ $$? = 77 ]

bench:
	@rc=0; for b in $(BENCHES); do \
		echo "== $$b"; $(MAKE) --no-print-directory $$b || rc=1; done; exit $$rc

bench-run:
	@contrib/setup --no-apps --bench
	@$(MAKE) --no-print-directory all $(TOOLS) $(BENCH)
	@BUILD='$(BUILD)' test/bench/run $(BENCH_ARGS)

bench-plots:
	@BUILD='$(BUILD)' test/bench/plots

bench-flows bench-scale bench-drain:
	@contrib/setup --no-apps --bench
	@$(MAKE) --no-print-directory all $(TOOLS) $(BENCH)
	@BUILD='$(BUILD)' test/bench/$(@:bench-%=%) $(BENCH_ARGS)

soak:
	@contrib/setup
	@$(MAKE) --no-print-directory all $(TOOLS) $(BENCH)
	@BUILD='$(BUILD)' test/bench/soak

ROUNDS ?= 100
soak-faults:
	@contrib/setup
	@$(MAKE) --no-print-directory all $(TOOLS)
	@BUILD='$(BUILD)' test/soak/run --rounds $(ROUNDS) $(SEED:%=--seed %)

# make check explores two faults at once (test/run model), which takes a minute.
MODEL_FAULTS ?= 3
model:
	@contrib/setup --no-apps
	@test/model/run $(MODEL_FAULTS)

bench-cpr:
	@contrib/setup --no-apps --with libglib2.0-dev
	@$(MAKE) --no-print-directory $(BENCH_CPR)
	@mkdir -p $(BUILD)/bench
	@$(BENCH_CPR) --json $(BUILD)/bench/cpr.json $(BENCH_ARGS)

bench-multifd:
	@contrib/setup --no-apps --with liburing-dev --with gnuplot-nox
	@$(MAKE) --no-print-directory $(BENCH_MULTIFD)
	@BUILD='$(BUILD)' test/bench/multifd/run $(BENCH_ARGS)

deps:
ifneq ($(PKG_OK),yes)
	@echo 'Libraries are missing (pkg-config: $(PKGS)). Run contrib/setup as root.' >&2; \
	pkg-config --print-errors --exists $(PKGS); exit 1
endif

criu-headers:
	@test -e '$(CRIU_INC)/criu/criu-plugin.h' || { \
		echo 'CRIU plugin headers (>= 4.1.1) not found. Run contrib/setup as root, or set CRIU_INCLUDE.' >&2; exit 1; }

# ---- rules ---------------------------------------------------------------------------------------

# $(call stamp,FILE,TEXT): FILE changes only when TEXT does, so whatever depends on it is rebuilt
# just then.
define stamp
$(1): FORCE
	@mkdir -p $$(@D); echo '$(subst ','\'',$(2))' | cmp -s - $$@ || \
		echo '$(subst ','\'',$(2))' >$$@
endef
$(eval $(call stamp,$(BUILD)/flags,$(CC) $(COMMON) $(WARN) $(CFLAGS) $(PKG_CFLAGS) $(LINK) \
	$(LDFLAGS) $(CRIU_INC)))

$(GEN)/%.pb-c.c $(GEN)/%.pb-c.h: %.proto | deps
	@mkdir -p $(@D)
	$(call say,PROTOC,$<)
	@# Some releases warn of their own name at each call.
	$(Q)protoc-c --proto_path=. --c_out=$(GEN) $< 2>$@.err || { cat $@.err >&2; exit 1; }
	@grep -v deprecated $@.err >&2 || :; rm -f $@.err

$(GEN_O): $(OBJ)/gen/%.o: $(GEN)/%.c $(BUILD)/flags | $(GEN_H)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(COMMON) -Wall $(CFLAGS) $(PKG_CFLAGS) -iquote $(GEN) -MMD -MP -c -o $@ $<

$(C_OBJS): $(OBJ)/%.o: %.c $(BUILD)/flags | $(GEN_H) deps
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(COMMON) $(WARN) $(CFLAGS) $(PKG_CFLAGS) $(INC) -MMD -MP -c -o $@ $<

$(CRIU_O): | criu-headers

# $(call archive,NAME,OBJECTS): made from nothing each time; the list notices files that went away.
define archive
$(call stamp,$(BUILD)/$(1).list,$(2))
$(BUILD)/$(1).a: $(2) $(BUILD)/$(1).list
	@mkdir -p $$(@D); rm -f $$@
	$$(call say,AR,$$@)
	$$(Q)$$(AR) rcs $$@ $(2)
endef
$(eval $(call archive,libproto,$(PROTO_O)))
$(eval $(call archive,libimages,$(IMAGES_O)))
$(eval $(call archive,libmfd,$(LIB_O)))
$(eval $(call archive,libsource,$(SOURCE_O)))
$(eval $(call archive,libtarget,$(TARGET_O)))
$(eval $(call archive,libcheck,$(CHECK_O)))
$(eval $(call archive,libcli,$(filter-out $(MAIN_O),$(CLI_O))))
$(eval $(call archive,libhooks,$(filter-out $(CRIU_O),$(HOOKS_O))))
$(eval $(call archive,libunit,$(UNITLIB_O)))
$(eval $(call stamp,$(BUILD)/program.list,$(SOURCE_O) $(TARGET_O) $(CHECK_O) $(CLI_O)))
$(eval $(call stamp,$(BUILD)/plugin.list,$(HOOKS_O)))

group = -Wl,--start-group $(1) -Wl,--end-group

$(BUILD)/criu-multifd: $(SOURCE_O) $(TARGET_O) $(CHECK_O) $(CLI_O) $(BASE_A) $(BUILD)/program.list
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK) $(LDFLAGS) -o $@ $(SOURCE_O) $(TARGET_O) $(CHECK_O) $(CLI_O) \
		$(call group,$(BASE_A)) $(PKG_LIBS)

# CRIU's own symbols are resolved when it loads the plugin, so undefined ones are allowed (no -z
# defs).  Those of GnuTLS are not: they would be answered by CRIU's, or by none.
$(BUILD)/plugins/multifd_plugin.so: $(HOOKS_O) $(BASE_A) $(BUILD)/plugin.list \
		plugin/hooks/multifd_plugin.map
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(LINK) $(LDFLAGS) -Wl,-z,nodelete \
		-Wl,--version-script=plugin/hooks/multifd_plugin.map \
		-Wl,--exclude-libs,ALL -o $@ $(HOOKS_O) $(call group,$(BASE_A)) $(PLUGIN_LIBS)
	$(Q)! nm -D $@ | grep ' gnutls_' || { echo 'the plugin must not use GnuTLS' >&2; exit 1; }

# A unit test may ask for linker flags of its own in a comment: /* LDFLAGS: -Wl,--wrap=send */
$(UNIT): $(BUILD)/%: $(OBJ)/%.o $(TEST_A)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK) $(LDFLAGS) \
		$(shell sed -n 's,^/\* LDFLAGS: \(.*\) \*/$$,\1,p' $*.c) -o $@ $< \
		$(call group,$(TEST_A)) $(PKG_LIBS) -lcmocka

$(TOOLS_O:$(OBJ)/%.o=$(BUILD)/%) $(BENCH): $(BUILD)/%: $(OBJ)/%.o $(TEST_A)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK) $(LDFLAGS) -o $@ $< $(call group,$(TEST_A)) $(PKG_LIBS)

# $(call tool,FOLDER)
define tool
$(BUILD)/$(1): $(call objs,$(wildcard $(1)/*.c)) $(TEST_A)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$(Q)$$(CC) $$(LINK) $$(LDFLAGS) -o $$@ $(call objs,$(wildcard $(1)/*.c)) \
		$$(call group,$(TEST_A)) $$(PKG_LIBS)
endef
$(foreach d,$(TOOL_DIRS),$(eval $(call tool,$(d))))

$(OBJ)/test/bench/cpr.o: PKG_CFLAGS += $(shell pkg-config --cflags glib-2.0 2>/dev/null)
$(BENCH_CPR): $(OBJ)/test/bench/cpr.o $(BASE_A)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK) $(LDFLAGS) -o $@ $< $(call group,$(BASE_A)) $(PKG_LIBS) \
		$(shell pkg-config --libs glib-2.0)

# The calls that are timed go through wrappers (wrap.c), so that what is measured is the library as
# it is.
WRAPPED := send sendmsg recvmsg poll mfd_zerocopy_init mfd_zerocopy_send \
	   mfd_zerocopy_wait mfd_zerocopy_flush
$(eval $(call stamp,$(BUILD)/uring,$(URING_LIBS)))
$(BENCH_MULTIFD_O): PKG_CFLAGS += \
	$(if $(URING_OK),-DHAVE_LIBURING $(shell pkg-config --cflags liburing))
$(BENCH_MULTIFD_O): $(BUILD)/uring
$(BENCH_MULTIFD): $(BENCH_MULTIFD_O) $(BASE_A)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK) $(LDFLAGS) $(WRAPPED:%=-Wl,--wrap=%) -o $@ $(BENCH_MULTIFD_O) \
		$(call group,$(BASE_A)) \
		$(PKG_LIBS) $(URING_LIBS)

$(PRELOAD_O:$(OBJ)/%.o=$(BUILD)/%.so): $(BUILD)/%.so: $(OBJ)/%.o
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) -shared $(LINK) $(LDFLAGS) -o $@ $< -ldl
$(PRELOAD_O): COMMON += -fvisibility=default

# With SANITIZE=fuzzer libFuzzer brings main(), else test/fuzz/driver.c does.
FUZZ_MAIN := $(if $(filter fuzzer,$(SANITIZE)),-fsanitize=fuzzer,$(DRIVER_O))
$(FUZZ): $(BUILD)/%: $(OBJ)/%.o $(DRIVER_O) $(TEST_A)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(LINK) $(LDFLAGS) -o $@ $< $(FUZZ_MAIN) $(call group,$(TEST_A)) $(PKG_LIBS)

-include $(C_OBJS:.o=.d) $(GEN_O:.o=.d)

# ---- fuzzing -------------------------------------------------------------------------------------

FUZZ_SECONDS = 60
fuzz-programs: $(FUZZ)

# New inputs that reach new code stay in build/fuzz/corpus/NAME; a crashing one is named by
# libFuzzer.
fuzz:
	@if echo 'int LLVMFuzzerTestOneInput(const char *d, long n); int LLVMFuzzerTestOneInput(const char *d, long n) { return !d && n; }' | \
	    clang -fsanitize=fuzzer,address -x c -o /dev/null - 2>/dev/null; then \
		$(MAKE) --no-print-directory SANITIZE=fuzzer fuzz-programs && \
		for f in $(notdir $(FUZZ)); do \
			mkdir -p build/fuzz/corpus/$${f#fuzz_}; echo "== $$f"; \
			build/fuzz/test/fuzz/$$f -max_total_time=$(FUZZ_SECONDS) \
				-artifact_prefix=build/fuzz/$$f- \
				build/fuzz/corpus/$${f#fuzz_} \
				$$(ls -d test/fuzz/corpus/$${f#fuzz_} 2>/dev/null) || exit 1; \
		done; \
	else \
		echo 'clang has no libFuzzer here: using test/fuzz/driver.c'; \
		$(MAKE) --no-print-directory SANITIZE=address fuzz-programs && \
		for f in $(notdir $(FUZZ)); do \
			build/asan/test/fuzz/$$f -s $$RANDOM -n 0 -t $(FUZZ_SECONDS) \
				-o build/asan/$$f.last \
				$$(ls test/fuzz/corpus/$${f#fuzz_}/* 2>/dev/null) || exit 1; \
		done; \
	fi

# ---- installing ----------------------------------------------------------------------------------

# The program writes its own manual pages, from the tables it parses with.
man: $(BUILD)/man/criu-multifd.8
$(BUILD)/man/criu-multifd.8: $(BUILD)/criu-multifd
	@mkdir -p $(@D)
	@set -e; for v in $$($< --help=verbs); do $< $$v --help=man >$(@D)/criu-multifd-$$v.8; done
	@$< --help=peers >$(@D)/criu-multifd-peers.5
	@$< --help=conf >$(@D)/criu-multifd.conf.5
	@$< --help=services >$(@D)/criu-multifd-services.7
	@$< --help=man >$@
.PHONY: man

UNITS := $(wildcard contrib/systemd/*.service contrib/systemd/*.socket contrib/systemd/*.slice)
# Pairs SOURCE:DESTINATION, relative to PREFIX; install and uninstall walk the same list.
FILES := $(foreach u,$(UNITS),$(u):lib/systemd/system/$(notdir $(u))) \
	 contrib/criu-multifd.conf:share/doc/criu-multifd/criu-multifd.conf \
	 contrib/criu-multifd.pc:lib/pkgconfig/criu-multifd.pc \
	 $(foreach d,COPYING README.md CHANGELOG.md,$(d):share/doc/criu-multifd/$(d)) \
	 contrib/runtimes/README.md:share/doc/criu-multifd/runtimes.md \
	 contrib/runtimes/runc.conf:share/doc/criu-multifd/runc.conf \
	 contrib/runtimes/move-container:sbin/criu-multifd-move-container \
	 contrib/completions/criu-multifd.bash:share/bash-completion/completions/criu-multifd \
	 contrib/completions/_criu-multifd:share/zsh/site-functions/_criu-multifd \
	 contrib/completions/criu-multifd.fish:share/fish/vendor_completions.d/criu-multifd.fish

install: all man
	install -D -m 755 $(BUILD)/criu-multifd '$(DESTDIR)$(PREFIX)/sbin/criu-multifd'
	install -D -m 755 $(BUILD)/plugins/multifd_plugin.so \
		'$(DESTDIR)$(PREFIX)/lib/criu-multifd/plugins/multifd_plugin.so'
	@set -e; for f in $(FILES); do \
		install -D -m 644 "$${f%%:*}" '$(DESTDIR)$(PREFIX)'/"$${f#*:}"; done
	chmod 755 '$(DESTDIR)$(PREFIX)/sbin/criu-multifd-move-container'
	sed -i 's|/usr/local/|$(PREFIX)/|' '$(DESTDIR)$(PREFIX)/lib/systemd/system/criu-multifd.service'
	sed -i 's|^prefix=.*|prefix=$(PREFIX)|; s|@VERSION@|$(VERSION)|' \
		'$(DESTDIR)$(PREFIX)/lib/pkgconfig/criu-multifd.pc'
	install -d '$(DESTDIR)$(PREFIX)/share/man/man8'
	install -m 644 $(BUILD)/man/*.8 '$(DESTDIR)$(PREFIX)/share/man/man8/'
	install -d '$(DESTDIR)$(PREFIX)/share/man/man5'
	install -m 644 $(BUILD)/man/*.5 '$(DESTDIR)$(PREFIX)/share/man/man5/'
	install -D -m 644 $(BUILD)/man/criu-multifd-services.7 \
		'$(DESTDIR)$(PREFIX)/share/man/man7/criu-multifd-services.7'

# Not part of check: it installs debhelper and lintian, and builds everything anew.
deb:
	@contrib/setup --no-apps --with dpkg-dev --with debhelper --with lintian
	@contrib/debian/build '$(BUILD)/deb'

# What was installed, with the same DESTDIR and PREFIX.
check-installed:
	@test/installed '$(DESTDIR)' '$(PREFIX)'

uninstall:
	rm -f '$(DESTDIR)$(PREFIX)/sbin/criu-multifd' '$(DESTDIR)$(PREFIX)/lib/criu-multifd/plugins/multifd_plugin.so'
	-rmdir '$(DESTDIR)$(PREFIX)/lib/criu-multifd/plugins' '$(DESTDIR)$(PREFIX)/lib/criu-multifd'
	rm -f '$(DESTDIR)$(PREFIX)'/share/man/man8/criu-multifd.8 \
		'$(DESTDIR)$(PREFIX)'/share/man/man8/criu-multifd-*.8 \
		'$(DESTDIR)$(PREFIX)'/share/man/man5/criu-multifd-peers.5 \
		'$(DESTDIR)$(PREFIX)'/share/man/man5/criu-multifd.conf.5 \
		'$(DESTDIR)$(PREFIX)'/share/man/man7/criu-multifd-services.7
	@for f in $(FILES); do rm -f '$(DESTDIR)$(PREFIX)'/"$${f#*:}"; done
	-rmdir '$(DESTDIR)$(PREFIX)/share/doc/criu-multifd'

# ---- housekeeping --------------------------------------------------------------------------------

C_FILES = $(shell find plugin proto images lib test -name '*.[ch]' 2>/dev/null | sort)

format:
	clang-format -i $(C_FILES)

check-format:
	@$(if $(C_FILES),clang-format --dry-run -Werror $(C_FILES),true)
	@test/checks/columns
	@test/checks/prose

clean:
	rm -rf build
