/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/sandbox/change.h"

#include "base/arena.h"
#include "base/err.h"
#include "hook/log/log.h"

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

/* What they together have set, and what any of them alone would: some limits are a lone container's
 * only, and there is one that others of its own hide. */
static struct cg_files may_be_set(const struct change_input *in, const struct cg_files *together,
                                  struct arena *a)
{
    const struct oci_resources *const *all = resources_of(in->before, a);
    struct settings settings = *in->settings;
    struct cg_files files = {0};

    cg_files_append(a, &files, together);
    /* It may have said so when they were set. */
    settings.resources = RESOURCES_AGGREGATE;
    for (size_t i = 0; i < in->before->count; i++) {
        struct plan alone = {.mode = in->facts->mode, .systemd = in->systemd};

        if (plan_limits(&all[i], 1, &settings, in->facts, in->sandbox_cgroup_only, a, &alone,
                        NULL) == 0)
            cg_files_append(a, &files, &alone.sandbox_files);
    }
    return files;
}

void change_make(const struct change_input *in, struct plan *after, struct arena *a,
                 struct change *ret)
{
    const struct oci_resources *const *all = resources_of(in->before, a);
    bool v2 = in->facts->mode == CG_MODE_V2;
    struct plan back = {.mode = in->facts->mode, .systemd = in->systemd};
    struct cg_files before;

    *ret = (struct change){.devices = after->device_table};
    if (in->before->count > 0) {
        ret->can_go_back = plan_limits(all, in->before->count, in->settings, in->facts,
                                       in->sandbox_cgroup_only, a, &back, NULL) == 0;
        ret->devices_can_go_back =
            plan_devices(all, in->before->count, in->settings, in->facts, in->sandbox_cgroup_only,
                         a, &ret->devices_back, NULL) == 0;
    }
    before = may_be_set(in, &back.sandbox_files, a);
    cg_files_change(&before, &after->sandbox_files, v2, a, &ret->files, &after->warnings,
                    &after->warning_count);
    if (ret->can_go_back)
        cg_files_change(&after->sandbox_files, &back.sandbox_files, v2, a, &ret->files_back,
                        &back.warnings, &back.warning_count);
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
    if (c->can_go_back)
        (void)cg_revert(&s->vcpu, &c->files_back, NULL);
    if (c->devices_can_go_back && !c->keeps_devices)
        (void)set_devices(s, &c->devices_back, NULL);
}
