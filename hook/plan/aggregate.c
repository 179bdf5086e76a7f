/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/aggregate.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroup/limits/cpulist.h"
#include "cgroup/limits/table.h"

#define SHARES_MIN     2
#define SHARES_MAX     262144
#define SHARES_DEFAULT 1024
#define PERIOD_DEFAULT 100000
#define QUOTA_MIN      1000                     /* the kernel refuses less */
#define QUOTA_MAX      ((INT64_C(1) << 44) - 1) /* and more, too */
#define PIDS_MAX       4194304                  /* the kernel's PID_MAX_LIMIT */

static struct cg_value from_i64(struct json_i64 v)
{
    return (struct cg_value){v.set, v.value};
}

static struct cg_value from_u64(struct json_u64 v)
{
    return (struct cg_value){v.set, v.value > INT64_MAX ? INT64_MAX : (int64_t)v.value};
}

/* As runc has it; taken literally, no process could live, or its real-time limits be set. */
static struct cg_value zero_is_unset(struct cg_value v)
{
    v.set = v.set && v.value != 0;
    return v;
}

static int64_t clamp_shares(int64_t shares)
{
    return shares < SHARES_MIN ? SHARES_MIN : shares > SHARES_MAX ? SHARES_MAX : shares;
}

static void convert_cpu(const struct oci_cpu *cpu, struct cg_limits *ret)
{
    ret->cpu_shares = from_u64(cpu->shares);
    if (ret->cpu_shares.set && ret->cpu_shares.value != 0)
        ret->cpu_shares.value = clamp_shares(ret->cpu_shares.value);
    ret->cpu_quota_us = from_i64(cpu->quota);
    ret->cpu_period_us = from_u64(cpu->period);
    ret->cpu_burst_us = from_u64(cpu->burst);
    ret->cpu_rt_runtime_us = zero_is_unset(from_i64(cpu->rt_runtime));
    ret->cpu_rt_period_us = zero_is_unset(from_u64(cpu->rt_period));
    ret->cpu_idle = from_i64(cpu->idle);
    ret->cpuset_cpus = cpu->cpus;
    ret->cpuset_mems = cpu->mems;
}

static void convert_memory(const struct oci_memory *memory, struct cg_limits *ret)
{
    ret->memory_limit = zero_is_unset(from_i64(memory->limit));
    ret->memory_reservation = zero_is_unset(from_i64(memory->reservation));
    ret->memory_swap = from_i64(memory->swap);
    ret->memory_kernel_tcp = from_i64(memory->kernel_tcp);
    ret->memory_swappiness = from_u64(memory->swappiness);
    ret->memory_no_oom_kill =
        (struct cg_value){memory->disable_oom_killer.set, memory->disable_oom_killer.value};
}

static void convert_throttles(const struct json_list *list, enum cg_throttle what, struct arena *a,
                              struct cg_limits *ret)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct oci_throttle_device *d = &JSON_AT(*list, struct oci_throttle_device, i);
        struct cg_blkio_throttle *t = &ARENA_APPEND(a, ret->throttles, ret->throttle_count);

        *t = (struct cg_blkio_throttle){what, d->major.value, d->minor.value, d->rate.value};
    }
}

static void convert_block_io(const struct oci_block_io *io, struct arena *a, struct cg_limits *ret)
{
    ret->blkio_weight = from_u64(io->weight);
    ret->blkio_leaf_weight = from_u64(io->leaf_weight);
    for (size_t i = 0; i < io->weight_device.count; i++) {
        const struct oci_weight_device *d =
            &JSON_AT(io->weight_device, struct oci_weight_device, i);
        struct cg_blkio_weight *w = &ARENA_APPEND(a, ret->blkio_weights, ret->blkio_weight_count);

        *w = (struct cg_blkio_weight){d->major.value, d->minor.value, from_u64(d->weight),
                                      from_u64(d->leaf_weight)};
    }
    convert_throttles(&io->read_bps, CG_READ_BPS, a, ret);
    convert_throttles(&io->write_bps, CG_WRITE_BPS, a, ret);
    convert_throttles(&io->read_iops, CG_READ_IOPS, a, ret);
    convert_throttles(&io->write_iops, CG_WRITE_IOPS, a, ret);
}

static void convert_network(const struct oci_network *network, struct arena *a,
                            struct cg_limits *ret)
{
    ret->net_class_id = from_u64(network->class_id);
    for (size_t i = 0; i < network->priorities.count; i++) {
        const struct oci_priority *p = &JSON_AT(network->priorities, struct oci_priority, i);
        struct cg_net_priority *n = &ARENA_APPEND(a, ret->net_priorities, ret->net_priority_count);

        *n = (struct cg_net_priority){p->name, (uint32_t)p->priority.value};
    }
}

void aggregate_container(const struct oci_resources *r, struct arena *a, struct cg_limits *ret)
{
    *ret = (struct cg_limits){0};
    if (!r)
        return;
    if (r->cpu)
        convert_cpu(r->cpu, ret);
    if (r->memory)
        convert_memory(r->memory, ret);
    if (r->pids)
        ret->pids = from_i64(r->pids->limit);
    for (size_t i = 0; i < r->hugepages.count; i++) {
        const struct oci_hugepage_limit *h = &JSON_AT(r->hugepages, struct oci_hugepage_limit, i);
        struct cg_hugetlb_limit *limit = &ARENA_APPEND(a, ret->hugetlb, ret->hugetlb_count);

        *limit =
            (struct cg_hugetlb_limit){h->page_size ? h->page_size : "", from_u64(h->limit).value};
    }
    if (r->block_io)
        convert_block_io(r->block_io, a, ret);
    if (r->network)
        convert_network(r->network, a, ret);
    for (size_t i = 0; i < r->unified.count; i++) {
        const struct json_pair *p = &JSON_AT(r->unified, struct json_pair, i);
        struct cg_unified *u = &ARENA_APPEND(a, ret->unified, ret->unified_count);

        *u = (struct cg_unified){p->key, p->value};
    }
}

/* A container of a sandbox, while it is added up. */
struct part {
    struct cg_limits limits;
    const struct aggregate_member *member;
    bool begins_pod;
};

/* Runtimes take 0 for "not set" where the kernel would not accept it. */
static bool limited(struct cg_value v)
{
    return v.set && v.value > 0;
}

static int64_t add_saturating(int64_t a, int64_t b)
{
    int64_t both;

    return __builtin_add_overflow(a, b, &both) ? INT64_MAX : both;
}

/* A sum, while it grows. */
struct total {
    int64_t value;
    bool any;
    const struct part *lacking; /* who has no limit; NULL: all have one */
};

static void add_limit(struct total *t, int64_t value)
{
    t->value = add_saturating(t->value, value);
    t->any = true;
}

static void add_lack(struct total *t, const struct part *part)
{
    if (!t->lacking)
        t->lacking = part;
}

/* No limit at all, or none for one of them, or more than the kernel takes: no limit. */
static int64_t total_value(const struct total *t, int64_t max, struct aggregate_note *note)
{
    *note = (struct aggregate_note){t->lacking         ? AGGREGATE_LACKING
                                    : !t->any          ? AGGREGATE_UNLIMITED
                                    : (t->value > max) ? AGGREGATE_TOO_MUCH
                                                       : AGGREGATE_SUM,
                                    t->lacking ? t->lacking->member : NULL};
    return note->fate == AGGREGATE_SUM ? t->value : CG_UNLIMITED;
}

/*
 * The sum of one plain limit. If only some containers have it, the sandbox has none, and says so
 * explicitly, because an earlier, smaller set of containers may have left one in the file.
 */
static struct cg_value sum(const struct part *parts, size_t count, size_t offset, int64_t max,
                           struct aggregate_note *note)
{
    struct total total = {0};
    bool set = false;

    for (size_t i = 0; i < count; i++) {
        const struct cg_value *v = cg_limit_value(&parts[i].limits, offset);

        set = set || v->set;
        if (limited(*v))
            add_limit(&total, v->value);
        else if (!parts[i].begins_pod)
            add_lack(&total, &parts[i]);
    }
    return set ? (struct cg_value){true, total_value(&total, max, note)} : (struct cg_value){0};
}

/* Memory and swap together. A container that limits memory alone may have any amount of swap. */
static struct cg_value sum_swap(const struct part *parts, size_t count, struct aggregate_note *note)
{
    struct total total = {0};
    bool set = false;

    for (size_t i = 0; i < count; i++) {
        const struct part *part = &parts[i];
        const struct cg_limits *c = &part->limits;

        set = set || c->memory_swap.set;
        if (limited(c->memory_swap))
            add_limit(&total, c->memory_swap.value);
        else if (!part->begins_pod || limited(c->memory_limit))
            add_lack(&total, part);
    }
    return set ? (struct cg_value){true, total_value(&total, INT64_MAX, note)}
               : (struct cg_value){0};
}

/* CPU time per second adds up; periods need not be equal, so everything is put on the usual one. */
static void sum_bandwidth(const struct part *parts, size_t count, struct cg_limits *ret,
                          struct aggregate_note *note)
{
    struct total total = {0};
    bool set = false;

    for (size_t i = 0; i < count; i++) {
        const struct part *part = &parts[i];
        const struct cg_limits *c = &part->limits;
        int64_t period = limited(c->cpu_period_us) ? c->cpu_period_us.value : PERIOD_DEFAULT;

        set = set || c->cpu_quota_us.set || c->cpu_period_us.set;
        if (limited(c->cpu_quota_us)) {
            __int128 own = (__int128)c->cpu_quota_us.value * PERIOD_DEFAULT / period;

            add_limit(&total, own > INT64_MAX ? INT64_MAX : (int64_t)own);
        } else if (!part->begins_pod) {
            add_lack(&total, part);
        }
    }
    if (!set)
        return;
    if (total.value < QUOTA_MIN)
        total.value = QUOTA_MIN;
    ret->cpu_period_us = (struct cg_value){true, PERIOD_DEFAULT};
    ret->cpu_quota_us = (struct cg_value){true, total_value(&total, QUOTA_MAX, note)};
}

/* A container without shares counts with what the kernel gives it. */
static void sum_shares(const struct part *parts, size_t count, struct cg_limits *ret,
                       struct aggregate_note *note)
{
    int64_t total = 0;
    bool any = false;

    for (size_t i = 0; i < count; i++) {
        bool own = limited(parts[i].limits.cpu_shares);

        any = any || own;
        if (own || !parts[i].begins_pod)
            total = add_saturating(total, own ? parts[i].limits.cpu_shares.value : SHARES_DEFAULT);
    }
    if (!any)
        return;
    ret->cpu_shares = (struct cg_value){true, clamp_shares(total)};
    note->fate = AGGREGATE_SUM;
}

static int add_cpus(const char *text, const char *member, struct cg_cpulist *set, struct err *e)
{
    char shown[64];

    if (cg_cpulist_parse(text, set) < 0)
        return err_input(e, "linux.resources.cpu.%s: \"%s\" is not a list such as \"0-3,8\"",
                         member, str_escape(text, shown, sizeof shown));
    return 0;
}

/* A container without a list may use every CPU, and so must the sandbox: no list then. */
static int unite(const struct part *parts, size_t count, bool mems, struct arena *a,
                 const char **ret, struct aggregate_note *note, struct err *e)
{
    struct cg_cpulist set = {0};
    autosbuf text = SBUF_INIT;

    for (size_t i = 0; i < count; i++) {
        const char *own = mems ? parts[i].limits.cpuset_mems : parts[i].limits.cpuset_cpus;
        int r;

        if (str_empty(own) && parts[i].begins_pod)
            continue;
        if (str_empty(own)) {
            *note = (struct aggregate_note){AGGREGATE_LACKING, parts[i].member};
            return 0;
        }
        r = add_cpus(own, mems ? "mems" : "cpus", &set, e);
        if (r < 0)
            return r;
        note->fate = AGGREGATE_SUM;
    }
    cg_cpulist_format(&set, &text);
    *ret = arena_strdup(a, sbuf_text(&text));
    return 0;
}

static const struct cg_hugetlb_limit *find_hugetlb(const struct cg_limits *c, const char *page_size)
{
    /* Of a size that is there twice the last one is what the files are left with. */
    for (size_t i = c->hugetlb_count; i > 0; i--) {
        if (str_eq(c->hugetlb[i - 1].page_size, page_size))
            return &c->hugetlb[i - 1];
    }
    return NULL;
}

/* No limit is the largest number: the kernel counts it so. */
static int64_t hugetlb_of(const struct part *part, const char *page_size)
{
    const struct cg_hugetlb_limit *h = find_hugetlb(&part->limits, page_size);

    return h ? h->limit_bytes : part->begins_pod ? 0 : INT64_MAX;
}

static void sum_hugetlb(const struct part *parts, size_t count, struct arena *a,
                        struct cg_limits *ret, struct aggregate_note *note)
{
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < parts[i].limits.hugetlb_count; k++) {
            const char *size = parts[i].limits.hugetlb[k].page_size;
            int64_t total = 0;

            if (find_hugetlb(ret, size))
                continue;
            /* It is refused, so no time is spent on more. */
            if (ret->hugetlb_count > CG_HUGETLB_MAX)
                return;
            for (size_t n = 0; n < count; n++)
                total = add_saturating(total, hugetlb_of(&parts[n], size));
            note->fate = AGGREGATE_SUM;
            ARENA_APPEND(a, ret->hugetlb, ret->hugetlb_count) =
                (struct cg_hugetlb_limit){size, total};
        }
    }
}

static int check_lone(const struct cg_limits *c, struct err *e)
{
    struct cg_cpulist set = {0};
    int r = str_empty(c->cpuset_cpus) ? 0 : add_cpus(c->cpuset_cpus, "cpus", &set, e);

    if (r == 0 && !str_empty(c->cpuset_mems))
        r = add_cpus(c->cpuset_mems, "mems", &set, e);
    return r;
}

static void add_overhead(struct cg_limits *limits, int64_t bytes, struct aggregate_notes *notes)
{
    if (limited(limits->memory_limit))
        limits->memory_limit.value = add_saturating(limits->memory_limit.value, bytes);
    if (limited(limits->memory_swap))
        limits->memory_swap.value = add_saturating(limits->memory_swap.value, bytes);
    notes->has_overhead[AGGREGATE_MEMORY] = bytes > 0 && limited(limits->memory_limit);
    notes->has_overhead[AGGREGATE_SWAP] = bytes > 0 && limited(limits->memory_swap);
}

static int add_up(const struct part *parts, size_t count, int64_t memory_overhead_bytes,
                  struct arena *a, struct cg_limits *ret, struct aggregate_notes *notes,
                  struct err *e)
{
    struct aggregate_note *of = notes->kinds;
    int r;

    sum_bandwidth(parts, count, ret, &of[AGGREGATE_BANDWIDTH]);
    sum_shares(parts, count, ret, &of[AGGREGATE_SHARES]);
    ret->memory_limit = sum(parts, count, offsetof(struct cg_limits, memory_limit), INT64_MAX,
                            &of[AGGREGATE_MEMORY]);
    ret->memory_swap = sum_swap(parts, count, &of[AGGREGATE_SWAP]);
    ret->pids = sum(parts, count, offsetof(struct cg_limits, pids), PIDS_MAX, &of[AGGREGATE_PIDS]);
    sum_hugetlb(parts, count, a, ret, &of[AGGREGATE_HUGETLB]);
    add_overhead(ret, memory_overhead_bytes, notes);
    r = unite(parts, count, false, a, &ret->cpuset_cpus, &of[AGGREGATE_CPUS], e);
    return r < 0 ? r : unite(parts, count, true, a, &ret->cpuset_mems, &of[AGGREGATE_MEMS], e);
}

int aggregate_limits(const struct aggregate_member *members, size_t count,
                     int64_t memory_overhead_bytes, struct arena *a, struct cg_limits *ret,
                     struct aggregate_notes *notes, struct err *e)
{
    struct part *parts = arena_alloc(a, (count + 1) * sizeof *parts);
    struct aggregate_notes unread;

    if (!notes)
        notes = &unread;
    *ret = (struct cg_limits){0};
    *notes = (struct aggregate_notes){.alone = count == 1};
    for (size_t i = 0; i < count; i++) {
        parts[i].member = &members[i];
        parts[i].begins_pod = members[i].begins_pod;
        aggregate_container(members[i].resources, a, &parts[i].limits);
    }
    if (count != 1)
        return count == 0 ? 0 : add_up(parts, count, memory_overhead_bytes, a, ret, notes, e);
    *ret = parts[0].limits;
    add_overhead(ret, memory_overhead_bytes, notes);
    return check_lone(ret, e);
}

void aggregate_keep_cpuset(struct cg_limits *limits)
{
    *limits = (struct cg_limits){
        .cpuset_cpus = limits->cpuset_cpus,
        .cpuset_mems = limits->cpuset_mems,
    };
}
