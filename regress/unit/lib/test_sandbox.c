/* Copyright (c) 2026 The Sail Volumes developers; ISC licence, see LICENSE. */
/*
 * The table of system calls is sorted, names only calls that exist, and gives
 * no role what its place in the design denies it.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "lib/proc.h"
#include "lib/sandbox.h"
#include "lib/sandbox_calls.h"

static int
has(uint8_t role, const char *name)
{
	const char *const *calls;
	size_t i, n;

	calls = sandbox_calls(role, &n);
	for (i = 0; i < n; i++)
		if (strcmp(calls[i], name) == 0)
			return 1;
	return 0;
}

static void
test_groups_sorted(void **state)
{
	const struct sandbox_group *g;
	size_t i, k;

	(void)state;
	for (i = 0; i < sandbox_ngroups(); i++) {
		g = sandbox_group(i);
		for (k = 0; k < g->n; k++) {
			if (seccomp_syscall_resolve_name(g->names[k]) ==
			    __NR_SCMP_ERROR)
				fail_msg("%s: no call %s", g->who, g->names[k]);
			if (k > 0 && strcmp(g->names[k - 1], g->names[k]) >= 0)
				fail_msg("%s: %s is not behind %s", g->who,
				    g->names[k], g->names[k - 1]);
		}
	}
}

static void
test_merged_sorted(void **state)
{
	const char *const *calls;
	uint8_t role;
	size_t i, n;

	(void)state;
	for (role = ROLE_FUSE; role <= ROLE_STORE; role++) {
		calls = sandbox_calls(role, &n);
		assert_true(n > 50);
		for (i = 1; i < n; i++)
			assert_true(strcmp(calls[i - 1], calls[i]) < 0);
	}
	(void)sandbox_calls(ROLE_PARENT, &n);
	assert_int_equal(n, 0);
	(void)sandbox_calls(ROLE_CTL, &n);
	assert_int_equal(n, 0);
	(void)sandbox_calls(255, &n);
	assert_int_equal(n, 0);
}

static void
test_denied(void **state)
{
	static const char *const never[] = { "acct", "add_key", "adjtimex",
		"bpf", "capset", "chroot", "clock_adjtime", "clock_settime",
		"clone", "clone3", "delete_module", "execve", "execveat",
		"fanotify_init", "finit_module", "fork", "fsconfig", "fsmount",
		"fsopen", "fspick", "init_module", "io_uring_enter",
		"io_uring_register", "io_uring_setup", "ioprio_set", "kcmp",
		"kexec_file_load", "kexec_load", "keyctl", "kill", "listen",
		"mbind", "memfd_secret", "migrate_pages", "mknod", "mknodat",
		"mount", "mount_setattr", "move_mount", "move_pages", "mq_open",
		"msgget", "name_to_handle_at", "open_by_handle_at", "open_tree",
		"perf_event_open", "personality", "pidfd_getfd", "pidfd_open",
		"pidfd_send_signal", "pivot_root", "pkey_mprotect",
		"process_madvise", "process_mrelease", "process_vm_readv",
		"process_vm_writev", "ptrace", "quotactl", "reboot", "recvmmsg",
		"remap_file_pages", "request_key", "rt_sigqueueinfo",
		"rt_tgsigqueueinfo", "sched_setscheduler", "seccomp", "semget",
		"sendmmsg", "setfsgid", "setfsuid", "setgid", "setgroups",
		"setns", "setpriority", "setregid", "setresgid", "setresuid",
		"setreuid", "setrlimit", "settimeofday", "setuid", "shmat",
		"shmget", "splice", "swapoff", "swapon", "syslog", "tee",
		"tkill", "umount2", "unshare", "userfaultfd", "vfork",
		"vhangup", "vmsplice" };
	static const uint8_t files[] = { ROLE_FUSE, ROLE_MANIFEST, ROLE_CACHE,
		ROLE_META, ROLE_STORE };
	uint8_t role;
	size_t i;
	int want;

	(void)state;
	for (role = ROLE_FUSE; role <= ROLE_STORE; role++) {
		for (i = 0; i < sizeof(never) / sizeof(never[0]); i++)
			if (has(role, never[i]))
				fail_msg("%s has %s", role_name(role),
				    never[i]);
		assert_int_equal(has(role, "socket"), role == ROLE_FETCH);
		assert_int_equal(has(role, "connect"), role == ROLE_FETCH);
		want = 0;
		for (i = 0; i < sizeof(files); i++)
			want |= files[i] == role;
		assert_int_equal(has(role, "openat"), want);
		assert_int_equal(has(role, "unlink"), want);
		assert_int_equal(sandbox_has_files(role), want);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_groups_sorted),
		cmocka_unit_test(test_merged_sorted),
		cmocka_unit_test(test_denied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
