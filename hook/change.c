/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/change.h"

#include "base/arena.h"
#include "base/err.h"
#include "hook/log.h"

#include <errno.h>

static const struct oci_resources *const *resources_of(const struct json_list *containers,
                                                       struct arena *a)
{
    const struct oci_resources **all =
        arena_alloc(a, (containers->count + 1) * sizeof(const struct oci_resources *));

    for (size_t i = 0; i < containers->count; i++)
        all[i] = JSON_AT(*containers, struct record_container, i).resources;
    return all;
}

/* What some container alone would set. Several together set no other files, but to "no limit". */
static struct cg_files may_be_set(const struct change_input *in, struct arena *a)
{
    const struct oci_resources *const *all = resources_of(in->before, a);
    struct cg_files files = {0};

    for (size_t i = 0; i < in->before->count; i++) {
        struct plan alone = {.mode = in->facts->mode, .systemd = in->systemd};

        if (plan_limits(&all[i], 1, in->hook, in->facts, in->sandbox_cgroup_only, a, &alone,
                        NULL) == 0)
            cg_files_append(a, &files, &alone.sandbox_files);
    }
    return files;
}

void change_make(const struct change_input *in, struct plan *after, struct arena *a,
                 struct change *ret)
{
    bool v2 = in->facts->mode == CG_MODE_V2;
    struct plan back = {.mode = in->facts->mode, .systemd = in->systemd};
    const struct cg_files before = may_be_set(in, a);

    *ret = (struct change){.devices = after->device_table};
    cg_files_change(&before, &after->sandbox_files, v2, a, &ret->files, &after->warnings,
                    &after->warning_count);
    if (in->before->count == 0 ||
        plan_sandbox(resources_of(in->before, a), in->before->count, in->hook, in->facts,
                     in->sandbox_cgroup_only, a, &back, NULL) < 0)
        return;
    cg_files_change(&after->sandbox_files, &back.sandbox_files, v2, a, &ret->files_back,
                    &back.warnings, &back.warning_count);
    ret->devices_back = back.device_table;
    ret->can_go_back = true;
}

/* On v2 the overhead is in the same domain. */
static int set_devices(struct sandbox *s, const struct cg_dev_table *devices, struct err *e)
{
    int r = cg_set_devices(&s->vcpu, devices, e);

    if (r == 0 && s->has_overhead && s->overhead.host->mode != CG_MODE_V2)
        r = cg_set_devices(&s->overhead, devices, e);
    return r;
}

int change_apply(const struct change *c, struct sandbox *s, struct err *e)
{
    struct err why = ERR_INIT;
    int r = cg_update(&s->vcpu, &c->files, e);

    if (r < 0 || c->keeps_devices)
        return r;
    r = set_devices(s, &c->devices, &why);
    if (r == -ENOTSUP) {
        log_msg(LEVEL_WARNING, CHANGE_KEPT_DEVICES, why.text);
        return 0;
    }
    return r < 0 ? err_set(e, r, "%s", why.text) : 0;
}

void change_revert(const struct change *c, struct sandbox *s)
{
    if (!c->can_go_back)
        return;
    (void)cg_revert(&s->vcpu, &c->files_back, NULL);
    if (!c->keeps_devices)
        (void)set_devices(s, &c->devices_back, NULL);
}
