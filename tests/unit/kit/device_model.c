/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/unit/kit/device_model.h"

#include "base/cleanup.h"

#include <stdlib.h>

bool dev_table_allows(const struct cg_dev_table *t, char type, uint32_t major, uint32_t minor,
                      uint8_t access)
{
    const struct cg_dev_entry classes[] = {
        {type, major, minor, 0},
        {type, major, CG_DEV_ANY, 0},
        {type, CG_DEV_ANY, minor, 0},
        {type, CG_DEV_ANY, CG_DEV_ANY, 0},
    };
    const struct cg_dev_entry *found = NULL;

    for (size_t i = 0; t->count > 0 && !found && i < ARRAY_SIZE(classes); i++)
        found = bsearch(&classes[i], t->items, t->count, sizeof *found, cg_dev_entry_compare);
    return found && (access & ~found->access) == 0;
}

bool dev_v1_allows(const struct cg_dev_exceptions *v1, char type, uint32_t major, uint32_t minor,
                   uint8_t access)
{
    for (size_t i = 0; i < v1->count; i++) {
        const struct cg_dev_entry *ex = &v1->exceptions[i];

        if (ex->type != type || (ex->major != CG_DEV_ANY && ex->major != major) ||
            (ex->minor != CG_DEV_ANY && ex->minor != minor))
            continue;
        if (v1->allow_all ? (access & ex->access) != 0 : (access & ~ex->access) == 0)
            return !v1->allow_all;
    }
    return v1->allow_all;
}

int dev_program_run(const struct cg_bpf_program *p, char type, uint32_t major, uint32_t minor,
                    uint8_t access, struct bpf_verdict *ret)
{
    const uint32_t acc = (access & CG_DEV_R ? (uint32_t)BPF_DEVCG_ACC_READ : 0) |
                         (access & CG_DEV_W ? (uint32_t)BPF_DEVCG_ACC_WRITE : 0) |
                         (access & CG_DEV_M ? (uint32_t)BPF_DEVCG_ACC_MKNOD : 0);
    const struct bpf_cgroup_dev_ctx ctx = {
        .access_type =
            acc << 16 | (uint32_t)(type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR),
        .major = major,
        .minor = minor};

    return bpf_interp_run(p->insns, p->count, &ctx, ret);
}
