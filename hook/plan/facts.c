/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/facts.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/devices/bpf.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

const char *const facts_default_devices[] = {
    "/dev/null", "/dev/random",  "/dev/full",    "/dev/tty",
    "/dev/zero", "/dev/urandom", "/dev/console",
};
const size_t facts_default_device_count = ARRAY_SIZE(facts_default_devices);

const char *const facts_hypervisor_devices[] = {"/dev/kvm", "/dev/mshv"};
const size_t facts_hypervisor_device_count = ARRAY_SIZE(facts_hypervisor_devices);

const char *const facts_virtualization_devices[] = {
    "/dev/vhost-net",
    "/dev/vfio/vfio",
    "/dev/vhost-vsock",
    "/dev/iommu",
};
const size_t facts_virtualization_device_count = ARRAY_SIZE(facts_virtualization_devices);

/* The path leads nowhere, whoever looks. */
static bool is_missing(int error)
{
    return error == ENOENT || error == ENOTDIR || error == ELOOP || error == ENAMETOOLONG;
}

int facts_look(const char *path, struct device_node *ret)
{
    struct stat st;

    *ret = (struct device_node){.path = path};
    if (stat(path, &st) < 0)
        return -errno;
    if (!S_ISCHR(st.st_mode) && !S_ISBLK(st.st_mode))
        return -ENODEV;
    ret->exists = true;
    ret->type = S_ISCHR(st.st_mode) ? 'c' : 'b';
    ret->major = major(st.st_rdev);
    ret->minor = minor(st.st_rdev);
    return 0;
}

static void look_at(const char *path, struct arena *a, struct facts *ret)
{
    int r = facts_look(path, &ARENA_APPEND(a, ret->nodes, ret->node_count));

    if (r < 0 && r != -ENODEV && !is_missing(-r) && !ret->unseen) {
        ret->unseen_error = r;
        ret->unseen = path;
    }
}

bool facts_refuse_devices(enum cg_mode mode)
{
    /* Where that is not known they are tried: an error leaves nothing out. */
    return cg_host_in_userns(NULL) > 0 && (mode != CG_MODE_V2 || cg_bpf_device_probe() == -EPERM);
}

void facts_gather(enum cg_mode mode, const struct settings *settings, bool own, struct arena *a,
                  struct facts *ret)
{
    *ret = (struct facts){.mode = mode, .no_device_rules = facts_refuse_devices(mode)};
    for (size_t i = 0; own && i < facts_default_device_count; i++)
        look_at(facts_default_devices[i], a, ret);
    for (size_t i = 0; settings->virtualization_devices && i < facts_hypervisor_device_count; i++)
        look_at(facts_hypervisor_devices[i], a, ret);
    for (size_t i = 0; settings->virtualization_devices && i < facts_virtualization_device_count;
         i++)
        look_at(facts_virtualization_devices[i], a, ret);
    for (size_t i = 0; i < settings->extra_devices.count; i++) {
        const char *path = JSON_AT(settings->extra_devices, char *, i);

        if (path[0] == '/')
            look_at(path, a, ret);
    }
}

void facts_add_host(struct facts *facts, const struct cg_host *host)
{
    const struct cg_hierarchy *h = cg_host_find(host, CG_CTL_CPU);

    facts->cpuacct_with_cpu = h && !h->v2 && h->controllers & CG_CTL_BIT(CG_CTL_CPUACCT);
}

const struct device_node *facts_device(const struct facts *facts, const char *path)
{
    for (size_t i = 0; i < facts->node_count; i++) {
        if (facts->nodes[i].exists && str_eq(facts->nodes[i].path, path))
            return &facts->nodes[i];
    }
    return NULL;
}

bool facts_has_hypervisor(const struct facts *facts)
{
    for (size_t i = 0; i < facts_hypervisor_device_count; i++) {
        if (facts_device(facts, facts_hypervisor_devices[i]))
            return true;
    }
    return false;
}
