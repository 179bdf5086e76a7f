/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/confine.h"

#include "base/cleanup.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef HAVE_SECCOMP
#include "hook/sandbox/filter_table.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#endif

#define BIT(cap) (UINT64_C(1) << (cap))

uint64_t confine_watcher_caps(void)
{
    return BIT(CAP_DAC_OVERRIDE) | BIT(CAP_KILL) | BIT(CAP_SYS_NICE) | BIT(CAP_SYS_PTRACE);
}

/* Effective and permitted become those of @caps that were permitted. */
static void set_caps(uint64_t caps)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

    if (syscall(SYS_capget, &header, data) < 0)
        return;
    for (unsigned i = 0; i < ARRAY_SIZE(data); i++) {
        data[i].permitted &= (uint32_t)(caps >> (32 * i));
        data[i].effective = data[i].permitted;
        data[i].inheritable = 0;
    }
    (void)syscall(SYS_capset, &header, data);
}

static void drop_caps(uint64_t caps)
{
    /* Dropping from the bounding set takes CAP_SETPCAP, which goes with the others. */
    for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
        (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    set_caps(caps);
}

#ifdef HAVE_SECCOMP

bool confine_has_filter(void)
{
    return true;
}

static void filter_calls(void)
{
    const struct sock_fprog program = {
        .len = ARRAY_SIZE(filter_table),
        .filter = (struct sock_filter *)(uintptr_t)filter_table,
    };

    /* We run no code of others, so there is nothing to slow us down for. */
    (void)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &program);
}

#else

bool confine_has_filter(void)
{
    return false;
}

static void filter_calls(void)
{
}

#endif

void confine(uint64_t caps)
{
    drop_caps(caps);
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    filter_calls();
}
