# Sail Volumes: the one Makefile.  GNU make, Debian 12.
#
#	make			build the programs, each at PROG/PROG
#	make deps		install the Debian packages that all of this needs
#	make check [T=name]	deps, build, all tests (or those whose name has T)
#	make check-long		the tests that take minutes
#	make soak		random tests with new seeds; the model, and kills, each
#				for SOAK_SECONDS
#	make valgrind [T=name]	the unit tests under valgrind(1)
#	make fuzz [T=name] [FUZZ_SECONDS=60]
#				each fuzzer so long; what it finds: obj/fuzz
#	make bench [SCALE=0.1] [ROW=name] [RUNS=5] [JSON=file] [BENCHDIR=folder]
#				measures side by side with others; 1 is full size
#	make format		clang-format of all C files
#	make lint		style, length, banned calls, manual pages, scripts
#	make install		DESTDIR= PREFIX= HELPERDIR=
#	make quickstart		a running example under ./run; quickstart-down ends it
#
# SAN=1 builds with the address and undefined behaviour sanitizers into a
# folder of its own.  SANDBOX_DEBUG=1 likewise builds programs that log the name
# of a system call that broke the filter of its role.

PREFIX ?=	/usr/local
BINDIR ?=	$(PREFIX)/bin
SBINDIR ?=	$(PREFIX)/sbin
LIBEXECDIR ?=	$(PREFIX)/libexec
MANDIR ?=	$(PREFIX)/share/man
SYSCONFDIR ?=	/etc
BASHDIR ?=	$(PREFIX)/share/bash-completion/completions
FISHDIR ?=	$(PREFIX)/share/fish/vendor_completions.d
ZSHDIR ?=	$(PREFIX)/share/zsh/site-functions
EXAMPLEDIR ?=	$(PREFIX)/share/examples/sailvol
# Where mount(8) and umount(8) look for those of a type of file system.
HELPERDIR ?=	/sbin
UNITDIR ?=	$(PREFIX)/lib/systemd/system
SYSUSERSDIR ?=	$(PREFIX)/lib/sysusers.d
# Where Debian's python3 looks: below /usr one folder for all versions.
PYTHONDIR ?=	$(if $(filter /usr,$(PREFIX)),/usr/lib/python3,$(PREFIX)/lib/python$(shell \
		/usr/bin/python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])'))/dist-packages

CC =		gcc
YACC =		bison
AR =		ar

PROGS =		sailvold sailvol-fetch sailvolctl sailapid
# Tests that run at a time: many wait more than they work.
JOBS ?=		$(shell expr $$(nproc) + 2)
AREAS =		imsg lib $(PROGS)

ifeq ($(FUZZ),1)
# What regress/fuzz links: make fuzz and make check build it.
OBJ =		obj-fuzz
CC =		clang
CFLAGS ?=	-O1 -g
SANFLAGS =	-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
else ifeq ($(SAN),1)
OBJ =		obj-san
SANFLAGS =	-fsanitize=address,undefined -fno-sanitize-recover=all
else ifeq ($(SANDBOX_DEBUG),1)
OBJ =		obj-debug
CPPFLAGS +=	-DSAIL_SANDBOX_DEBUG
else
OBJ =		obj
endif

WARN =		-Wall -Wextra -Werror -Wshadow -Wpointer-arith -Wcast-qual \
		-Wstrict-prototypes -Wmissing-prototypes -Wmissing-declarations \
		-Wsign-compare -Wvla -Wformat=2 -Wundef -Wwrite-strings
ifeq ($(FUZZ),1)
# clang does not see that the caller's format was checked.
WARN +=		-Wno-format-nonliteral
endif
PKGS =		fuse3 libevent libcurl expat libtls libcrypto sqlite3 libseccomp jansson \
		libmicrohttpd libbsd-overlay
PKG_CFLAGS :=	$(shell pkg-config --cflags $(PKGS) 2>/dev/null)
CPPFLAGS +=	-D_GNU_SOURCE -DFUSE_USE_VERSION=312 -DLIBBSD_OPENBSD_VIS -I. $(PKG_CFLAGS) \
		-DSAIL_LIBEXECDIR='"$(LIBEXECDIR)"' \
		-DSAIL_SYSCONFDIR='"$(SYSCONFDIR)"'
CFLAGS ?=	-O2 -g
CFLAGS +=	-std=c11 -fstack-protector-strong -fno-strict-aliasing \
		-ffunction-sections -pthread $(WARN) $(SANFLAGS)
LDFLAGS +=	-Wl,--as-needed -Wl,-z,relro,-z,now -pthread $(SANFLAGS)

# What each program is allowed to link: what is not named here, it has not.
LIBS_sailvold =		fuse3 libmicrohttpd libevent sqlite3 libseccomp libcrypto jansson libbsd
LIBS_sailvol-fetch =	libcurl expat libevent libseccomp libcrypto libbsd
LIBS_sailvolctl =	libevent libseccomp libcrypto jansson libbsd
LIBS_sailapid =		libmicrohttpd libevent sqlite3 libseccomp libtls libcrypto jansson libbsd
LIBS_unit =		$(PKGS) libssl cmocka

all: $(foreach p,$(PROGS),$(p)/$(p))

# ---- archives: all of a folder but the main file of a program -------------
define area
SRCS_$(1) :=	$$(filter-out $(foreach p,$(PROGS),$(p)/$(p).c),$$(wildcard $(1)/*.c))
YACC_$(1) :=	$$(wildcard $(1)/*.y)
OBJS_$(1) :=	$$(SRCS_$(1):%.c=$(OBJ)/%.o) $$(YACC_$(1):%.y=$(OBJ)/%.o)
$(OBJ)/$(1).a: $$(OBJS_$(1))
	@rm -f $$@
	$(AR) rcs $$@ $$(OBJS_$(1))
endef
$(foreach a,$(AREAS),$(eval $(call area,$(a))))

define prog
$(1)/$(1): $(OBJ)/$(1)/$(1).o $(OBJ)/$(1).a $(OBJ)/lib.a $(OBJ)/imsg.a $(OBJ)/.variant
	$(CC) $(CFLAGS) $(LDFLAGS) -o $$@ $(OBJ)/$(1)/$(1).o $(OBJ)/$(1).a \
	    $(OBJ)/lib.a $(OBJ)/imsg.a $$$$(pkg-config --libs $(LIBS_$(1)))
endef
# A program without a main file yet is not built.
$(foreach p,$(PROGS),$(if $(wildcard $(p)/$(p).c),$(eval $(call prog,$(p))),$(eval $(p)/$(p):;)))

# The programs are relinked when the variant (SAN=) changes.
$(OBJ)/.variant: FORCE
	@mkdir -p $(OBJ)
	@[ "$$(cat .variant 2>/dev/null)" = "$(OBJ)" ] || { echo $(OBJ) >.variant; touch $@; }
	@[ -e $@ ] || touch $@
FORCE:

# Those that have paths of the installation in them are built anew when these
# change.
$(OBJ)/.paths: FORCE
	@mkdir -p $(OBJ)
	@[ "$$(cat $@ 2>/dev/null)" = "$(LIBEXECDIR) $(SYSCONFDIR)" ] || \
	    echo "$(LIBEXECDIR) $(SYSCONFDIR)" >$@
$(OBJ)/lib/program.o $(foreach p,$(PROGS),$(OBJ)/$(p)/$(p).o): $(OBJ)/.paths

$(OBJ)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# make's own rule would put parse.c beside parse.y.
%.c: %.y

.PRECIOUS: $(OBJ)/%.c
$(OBJ)/%.c: %.y
	@mkdir -p $(@D)
	$(YACC) -o $@ $<
$(OBJ)/%.o: $(OBJ)/%.c
	$(CC) $(CPPFLAGS) -I$(dir $*) $(CFLAGS) -MMD -MP -c -o $@ $<

# ---- unit tests: regress/unit/AREA/test_*.c, linked with the area's archive
# and with what they share: the other .c of the same folder.
UNIT_SRCS :=	$(wildcard regress/unit/*/test_*.c)
UNIT_TESTS :=	$(UNIT_SRCS:%.c=$(OBJ)/%)
define shared
SHARED_$(1) :=	$$(patsubst %.c,$(OBJ)/%.o,$$(filter-out $$(UNIT_SRCS),$$(wildcard regress/unit/$(1)/*.c)))
endef
$(foreach a,$(AREAS),$(eval $(call shared,$(a))))
unit: $(UNIT_TESTS)
.SECONDEXPANSION:
$(UNIT_TESTS): $(OBJ)/regress/unit/%: $(OBJ)/regress/unit/%.o \
    $$(SHARED_$$(firstword $$(subst /, ,$$*))) \
    $(OBJ)/$$(firstword $$(subst /, ,$$*)).a $(OBJ)/lib.a $(OBJ)/imsg.a
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $$(pkg-config --libs $(LIBS_unit))

# Memory fails where it is told to.
$(OBJ)/regress/unit/lib/test_chan: LDFLAGS += \
    -Wl,--wrap=event_add,--wrap=imsgbuf_read
$(OBJ)/regress/unit/sailvold/test_journal_read: LDFLAGS += \
    -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc \
    -Wl,--wrap=db_begin_durable
$(OBJ)/regress/unit/sailvol-fetch/test_stream: LDFLAGS += -Wl,--wrap=malloc
# So does the database.
$(OBJ)/regress/unit/sailvold/test_mount_start: LDFLAGS += \
    -Wl,--wrap=db_mount_find
# Time goes on when it is told to.
$(OBJ)/regress/unit/sailvold/test_cache_job: LDFLAGS += \
    -Wl,--wrap=monotime_now
# Of fuse there is the switch alone.
$(OBJ)/regress/unit/sailvold/test_switch: LDFLAGS += \
    -Wl,--wrap=frontend_manifest,--wrap=origins_ask,--wrap=journal_end \
    -Wl,--wrap=chan_send_ibuf,--wrap=change_hold,--wrap=writer_settle_all
# A filter is looked at, and not put in force.
$(OBJ)/regress/unit/lib/test_sandbox_walls: LDFLAGS += -Wl,--wrap=seccomp_load

# ---- what POSIX promises of a mount, tried: libc only.
POSIX_OBJS :=	$(patsubst %.c,$(OBJ)/%.o,$(wildcard regress/posix/*.c))
POSIX =		$(OBJ)/regress/posix/posix
unit: $(POSIX)
$(POSIX_OBJS): CPPFLAGS := -D_GNU_SOURCE -I.
$(POSIX): $(POSIX_OBJS)
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# ---- the programs with a role that is hostile: regress/hostile/role.c in place of
# what it wraps.
HOSTILE =	$(foreach p,sailvold sailvol-fetch sailapid,$(OBJ)/regress/hostile/$(p))
unit: $(HOSTILE)
$(HOSTILE): $(OBJ)/regress/hostile/%: $(OBJ)/regress/hostile/role.o \
    $(OBJ)/$$*/$$*.o $(OBJ)/$$*.a $(OBJ)/lib.a $(OBJ)/imsg.a
	$(CC) $(CFLAGS) $(LDFLAGS) -Wl,--wrap=role_main,--wrap=chan_new \
	    -Wl,--wrap=chan_send,--wrap=chan_send_ibuf -o $@ $^ \
	    $$(pkg-config --libs $(LIBS_$*))

INJECT =	$(OBJ)/regress/hostile/call $(OBJ)/regress/hostile/journal_kill
unit: $(INJECT)
$(INJECT): %: %.o
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

# ---- fuzzers: regress/fuzz/PROG_name.c or lib_name.c, each a program with
# libFuzzer, linked with the archive of its area.
FUZZ_SRCS :=	$(wildcard $(foreach a,$(AREAS),regress/fuzz/$(a)_*.c))
FUZZERS :=	$(FUZZ_SRCS:%.c=$(OBJ)/%)
fuzzers: $(FUZZERS)
$(FUZZERS): $(OBJ)/regress/fuzz/%: $(OBJ)/regress/fuzz/%.o \
    $(OBJ)/$$(firstword $$(subst _, ,$$*)).a $(OBJ)/lib.a $(OBJ)/imsg.a
	$(CC) $(CFLAGS) $(LDFLAGS) -fsanitize=fuzzer -Wl,--wrap=exit,--wrap=_exit \
	    -Wl,--wrap=__sanitizer_cov_8bit_counters_init -o $@ $^ $$(pkg-config --libs $(LIBS_unit))

fuzz: deps
	@$(MAKE) --no-print-directory FUZZ=1 fuzzers
	@/usr/bin/python3 regress/fuzz/main.py --obj obj-fuzz --out obj/fuzz \
	    --seconds $(or $(FUZZ_SECONDS),60) $(if $(T),-t '$(T)')

deps:
	@sh regress/deps.sh

check: deps
	@$(MAKE) --no-print-directory check-nodeps

# Without installing: what a developer types in between.
check-nodeps: all unit
	@$(if $(and $(T),$(if $(findstring fuzz,$(T)),,no)),:,$(MAKE) --no-print-directory FUZZ=1 fuzzers)
	@/usr/bin/python3 regress/run.py -j $(JOBS) --obj $(OBJ) \
	    $(if $(T),-t '$(T)',--floors)

# Tests that take minutes, each.
check-long: all
	@/usr/bin/python3 regress/run.py --long --obj $(OBJ) $(if $(T),-t '$(T)')

# Unit tests with each access to memory looked at.
valgrind: deps
	@$(MAKE) --no-print-directory all unit
	@SAIL_VALGRIND=yes /usr/bin/python3 regress/run.py -j $(JOBS) --obj $(OBJ) \
	    -t 'unit/$(T)'

# New seeds: once of each random test; of histories next to the model, and memory
# over them; and of kills, beside these.
RANDOM_TESTS =	unit/ test_same_as_native test_histories test_passthrough \
		test_lazy test_small_files test_several_servers test_hostile \
		test_bad_line test_fetch test_cache test_power_work
soak: all unit
	@for t in $(RANDOM_TESTS); do \
		echo "$$t" && SAIL_SEED=random SAIL_WAYS=9 SAIL_LOSSES=8 \
		    /usr/bin/python3 \
		    regress/run.py --obj $(OBJ) -j 2 -t $$t || exit 1; \
	done
	@SAIL_SEED=random SOAK_SECONDS=$(or $(SOAK_SECONDS),3600) \
	    /usr/bin/python3 regress/run.py --long --obj $(OBJ) -j 2 -t test_soak

# ---- measurements
BENCH_WORK =	$(OBJ)/regress/bench/workload
unit: $(BENCH_WORK)
$(BENCH_WORK).o: CPPFLAGS := -D_GNU_SOURCE
$(BENCH_WORK): $(BENCH_WORK).o
	$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^

bench-deps: deps
	@sh regress/deps.sh bench

bench: bench-deps
	@$(MAKE) --no-print-directory all $(BENCH_WORK)
	@/usr/bin/python3 regress/bench/main.py --obj $(OBJ) \
	    --scale $(or $(SCALE),1) --runs $(or $(RUNS),5) \
	    $(foreach r,$(ROW),--row $(r)) $(if $(JSON),--json '$(JSON)') \
	    $(if $(BENCHDIR),--dir '$(BENCHDIR)')

quickstart: deps
	@$(MAKE) --no-print-directory all
	@sh etc/quickstart.sh up

quickstart-down:
	@sh etc/quickstart.sh down

# A script, a unit or a configuration that names our folders.
PLACED =	sed -e 's|@SBINDIR@|$(SBINDIR)|g' -e 's|@BINDIR@|$(BINDIR)|g' \
		-e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g'
TO =		$(DESTDIR)
install: all
	install -d $(TO)$(SBINDIR) $(TO)$(BINDIR) $(TO)$(LIBEXECDIR) \
	    $(TO)$(EXAMPLEDIR) $(TO)$(UNITDIR) $(TO)$(SYSUSERSDIR) \
	    $(TO)$(PYTHONDIR)/sail $(TO)$(BASHDIR) $(TO)$(FISHDIR) \
	    $(TO)$(ZSHDIR) $(TO)$(HELPERDIR)
	install -m 755 sailvold/sailvold sailapid/sailapid $(TO)$(SBINDIR)
	install -m 755 sailvolctl/sailvolctl $(TO)$(BINDIR)
	for f in mount.sailvol umount.fuse.sailvol; do \
	    ln -sf $(BINDIR)/sailvolctl $(TO)$(HELPERDIR)/$$f || exit 1; done
	install -m 755 sailvol-fetch/sailvol-fetch $(TO)$(LIBEXECDIR)
	for f in man/*.[1-9] imsg/*.3; do \
	    install -d $(TO)$(MANDIR)/man$${f##*.} && \
	    install -m 644 $$f $(TO)$(MANDIR)/man$${f##*.} || exit 1; done
	install -m 644 etc/*.conf $(TO)$(EXAMPLEDIR)
	for f in etc/rc.*; do $(PLACED) $$f >$(TO)$(EXAMPLEDIR)/$${f##*/} && \
	    chmod 755 $(TO)$(EXAMPLEDIR)/$${f##*/} || exit 1; done
	for f in etc/*.service; do \
	    $(PLACED) $$f >$(TO)$(UNITDIR)/$${f##*/} && \
	    chmod 644 $(TO)$(UNITDIR)/$${f##*/} || exit 1; done
	install -m 644 etc/sysusers.d/sailvol.conf $(TO)$(SYSUSERSDIR)
	sailvolctl/sailvolctl completion bash >$(TO)$(BASHDIR)/sailvolctl
	sailvolctl/sailvolctl completion fish >$(TO)$(FISHDIR)/sailvolctl.fish
	sailvolctl/sailvolctl completion zsh >$(TO)$(ZSHDIR)/_sailvolctl
	chmod 644 $(TO)$(BASHDIR)/sailvolctl \
	    $(TO)$(FISHDIR)/sailvolctl.fish $(TO)$(ZSHDIR)/_sailvolctl
	install -m 644 python/sail/*.py python/sail/py.typed $(TO)$(PYTHONDIR)/sail

lint:
	@sh regress/lint.sh

# What lint says of the format, done.
format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf obj obj-san obj-debug obj-fuzz .variant $(foreach p,$(PROGS),$(p)/$(p))

-include $(wildcard $(OBJ)/*/*.d $(OBJ)/regress/unit/*/*.d $(OBJ)/regress/posix/*.d \
    $(OBJ)/regress/bench/*.d $(OBJ)/regress/fuzz/*.d $(OBJ)/regress/hostile/*.d)

.PHONY: all unit fuzzers fuzz deps check check-nodeps check-long valgrind soak bench bench-deps quickstart quickstart-down install lint format clean FORCE
