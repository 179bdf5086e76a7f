/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/asked.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/io.h"
#include "base/str.h"
#include "cgroup/limits/cpulist.h"
#include "hook/plan/override.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#define DOCUMENT_MAX_BYTES ((size_t)1 << 20)
#define PERIOD_DEFAULT     100000

/* ---- what is not set here ---- */

static int check_list(const char *text, const char *member, struct err *e)
{
    char shown[64];

    if (str_empty(text) || cg_cpulist_is_list(text))
        return 0;
    return err_input(e, "cpu.%s: \"%s\" is not a list such as \"0-3,8\"", member,
                     str_escape(text, shown, sizeof shown));
}

/* Templates of all members with 0 in them are usual, and say nothing. */
int asked_check(const struct oci_resources *r, struct err *e)
{
    static const struct oci_cpu no_cpu;
    static const struct oci_memory no_memory;
    const struct oci_cpu *cpu = r->cpu ? r->cpu : &no_cpu;
    const struct oci_memory *memory = r->memory ? r->memory : &no_memory;
    const struct {
        const char *name;
        bool is_there;
    } others[] = {
        {"devices", r->devices.count > 0},
        {"hugepageLimits", r->hugepages.count > 0},
        {"blockIO", r->block_io && (r->block_io->weight.value || r->block_io->leaf_weight.value ||
                                    r->block_io->weight_device.count ||
                                    r->block_io->read_bps.count || r->block_io->write_bps.count ||
                                    r->block_io->read_iops.count || r->block_io->write_iops.count)},
        {"network", r->network != NULL},
        {"rdma", r->rdma != NULL},
        {"unified", r->unified.count > 0},
        {"cpu.realtimeRuntime", cpu->rt_runtime.value != 0},
        {"cpu.realtimePeriod", cpu->rt_period.value != 0},
        {"memory.kernel", memory->kernel.value != 0},
        {"memory.kernelTCP", memory->kernel_tcp.value != 0},
        {"memory.swappiness", memory->swappiness.value != 0},
        {"memory.disableOOMKiller", memory->disable_oom_killer.value},
    };
    int ret;

    for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
        if (others[i].is_there)
            return err_input(
                e,
                "%s: update does not set this, but shares, quota, period, burst, idle, "
                "cpus and mems of cpu, limit, swap and reservation of memory, and "
                "pids.limit",
                others[i].name);
    }
    ret = check_list(cpu->cpus, "cpus", e);
    return ret < 0 ? ret : check_list(cpu->mems, "mems", e);
}

/* ---- reading ---- */

static int read_document(const char *path, struct arena *a, struct oci_resources *ret,
                         struct err *e)
{
    struct json_table table = oci_resources_table;
    const struct json_doc doc = {.table = &table, .dest = ret};
    bool is_stdin = str_eq(path, "-");
    const char *where = is_stdin ? "standard input" : path;
    autofd fd =
        is_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0) : open(path, O_RDONLY | O_CLOEXEC);
    int r;

    table.strict = true; /* a word that is misspelt would leave a limit as it is */
    if (fd < 0)
        return err_sys(e, -errno, "cannot open %s", where);
    r = json_read_fd(fd, &doc, 1, DOCUMENT_MAX_BYTES, 0, where, a, e);
    if (r < 0)
        return r;
    if (r == 0)
        return err_input(e, "%s: is empty; a linux.resources object is wanted", where);
    r = asked_check(ret, e);
    return r < 0 ? err_wrap(e, "%s", where), r : 0;
}

static int take_list(const char *option, const char *text, char **member, struct arena *a,
                     struct err *e)
{
    if (!text)
        return 0;
    if (!str_empty(*member))
        return err_input(e, "--%s and the document's cpu.%s say the same thing twice", option,
                         option);
    *member = arena_strdup(a, text);
    return 0;
}

int asked_read(const struct options *o, struct arena *a, struct oci_resources **ret, struct err *e)
{
    struct oci_resources *r = arena_alloc(a, sizeof *r);
    int ret_value = o->resources ? read_document(o->resources, a, r, e) : 0;

    *ret = NULL;
    if (!r->cpu)
        r->cpu = arena_alloc(a, sizeof *r->cpu);
    if (ret_value == 0)
        ret_value = take_list("cpus", o->cpus, &r->cpu->cpus, a, e);
    if (ret_value == 0)
        ret_value = take_list("mems", o->mems, &r->cpu->mems, a, e);
    if (ret_value == 0 && (o->resources || o->cpus || o->mems))
        *ret = r;
    return ret_value;
}

/* ---- pairs ---- */

static bool is_said(const struct json_i64 *v)
{
    return v->set && v->value != 0;
}

static int64_t value_or(const struct cg_value *v, int64_t otherwise)
{
    return v->set && v->value != 0 ? v->value : otherwise;
}

static void complete_bandwidth(const struct cg_limits *now, struct oci_cpu *cpu)
{
    bool quota = is_said(&cpu->quota), period = cpu->period.set && cpu->period.value != 0;

    if (quota && !period)
        cpu->period =
            (struct json_u64){true, (uint64_t)value_or(&now->cpu_period_us, PERIOD_DEFAULT)};
    if (period && !quota)
        cpu->quota = (struct json_i64){true, value_or(&now->cpu_quota_us, CG_UNLIMITED)};
}

static int complete_memory(const struct cg_limits *now, struct oci_memory *memory, struct err *e)
{
    bool limit = is_said(&memory->limit), swap = is_said(&memory->swap);

    if (limit && !swap)
        memory->swap = (struct json_i64){true, value_or(&now->memory_swap, CG_UNLIMITED)};
    if (!swap || limit || memory->swap.value < 0)
        return 0;
    if (value_or(&now->memory_limit, CG_UNLIMITED) < 0)
        return err_input(e, "memory.swap: the sandbox has no limit of memory; name memory.limit, "
                            "too");
    memory->limit = (struct json_i64){true, now->memory_limit.value};
    return 0;
}

/* The other way round: as it is swap has no place for the memory that is asked for. */
static int check_swap(const struct oci_memory *asked, const struct oci_memory *set, struct err *e)
{
    if (!asked || !is_said(&asked->limit) || is_said(&asked->swap) || !is_said(&set->swap) ||
        set->swap.value < 0 || set->limit.value <= set->swap.value)
        return 0;
    return err_input(e,
                     "memory.limit: is more than the sandbox's limit of memory and swap together, "
                     "%" PRId64 "; name memory.swap, too",
                     set->swap.value);
}

/* As runc has it, no limit of memory is none of both together either. */
static bool frees_swap(const struct oci_memory *asked)
{
    return asked && is_said(&asked->limit) && asked->limit.value < 0 && !is_said(&asked->swap);
}

int asked_add(const struct oci_resources *before, const struct oci_resources *asked,
              const struct cg_limits *now, struct arena *a, struct oci_resources **ret,
              struct err *e)
{
    struct oci_resources *set = override_merge(before, asked, a);
    int r;

    *ret = set;
    complete_bandwidth(now, set->cpu);
    if (frees_swap(asked->memory))
        set->memory->swap = (struct json_i64){true, CG_UNLIMITED};
    r = complete_memory(now, set->memory, e);
    return r < 0 ? r : check_swap(asked->memory, set->memory, e);
}
