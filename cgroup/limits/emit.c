/* SPDX-License-Identifier: Apache-2.0 */
#include "cgroup/limits/emit.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"

#include <inttypes.h>

static void add_file(struct arena *a, struct cg_files *out, const struct cg_limit_row *row,
                     const char *file, const char *text)
{
    ARENA_APPEND(a, out->items, out->count) =
        (struct cg_file){.ctl = row->ctl, .file = file, .text = text, .flags = row->flags};
}

static const char *row_file(const struct cg_limit_row *row, bool v2)
{
    return v2 ? row->v2_file : row->v1_file;
}

/* A number, or how the version writes "no limit". */
static const char *limit_text(struct arena *a, int64_t value, bool v2)
{
    if (value == CG_UNLIMITED)
        return v2 ? "max" : "-1";
    return arena_printf(a, "%" PRId64, value);
}

int cg_emit_number(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                   struct arena *a, struct cg_files *out, struct err *e)
{
    int64_t value = cg_limit_value(l, row->offset)->value;

    if (value < row->min || value > row->max)
        return err_input(e, "linux.resources.%s: %" PRId64 " is out of range %" PRId64 "..%" PRId64,
                         row->name, value, row->min, row->max);
    add_file(a, out, row, row_file(row, v2), limit_text(a, value, v2));
    return 0;
}

int cg_emit_shares(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                   struct arena *a, struct cg_files *out, struct err *e)
{
    int64_t shares = l->cpu_shares.value;

    (void)e;
    if (shares == 0) /* runtimes take 0 for "not set" */
        return 0;
    /* An idle group has the least weight there is, and the kernel refuses to give it another. */
    if (l->cpu_idle.set && l->cpu_idle.value == 1)
        return 0;
    if (v2)
        shares = (int64_t)cg_shares_to_weight((uint64_t)shares);
    add_file(a, out, row, row_file(row, v2), arena_printf(a, "%" PRId64, shares));
    return 0;
}

/* A quota of 0 means "not set" to every runtime; any negative one means no limit. */
static bool quota_is_set(const struct cg_limits *l)
{
    return l->cpu_quota_us.set && l->cpu_quota_us.value != 0;
}

static bool period_is_set(const struct cg_limits *l)
{
    return l->cpu_period_us.set && l->cpu_period_us.value != 0;
}

bool cg_bandwidth_is_set(const struct cg_limits *l)
{
    return quota_is_set(l) || period_is_set(l);
}

int cg_emit_bandwidth(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                      struct arena *a, struct cg_files *out, struct err *e)
{
    int64_t period = period_is_set(l) ? l->cpu_period_us.value : CG_DEFAULT_PERIOD_US;
    int64_t quota =
        quota_is_set(l) && l->cpu_quota_us.value > 0 ? l->cpu_quota_us.value : CG_UNLIMITED;

    (void)e;
    if (v2) {
        add_file(a, out, row, row->v2_file,
                 arena_printf(a, "%s %" PRId64, limit_text(a, quota, true), period));
        return 0;
    }
    if (period_is_set(l))
        add_file(a, out, row, "cpu.cfs_period_us", arena_printf(a, "%" PRId64, period));
    if (quota_is_set(l))
        add_file(a, out, row, row->v1_file, limit_text(a, quota, false));
    if (quota_is_set(l))
        out->items[out->count - 1].flags |= CG_FILE_BOUNDED;
    return 0;
}

bool cg_cpus_is_set(const struct cg_limits *l)
{
    return !str_empty(l->cpuset_cpus);
}

bool cg_mems_is_set(const struct cg_limits *l)
{
    return !str_empty(l->cpuset_mems);
}

int cg_emit_cpus(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                 struct arena *a, struct cg_files *out, struct err *e)
{
    (void)e;
    add_file(a, out, row, row_file(row, v2), l->cpuset_cpus);
    return 0;
}

int cg_emit_mems(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                 struct arena *a, struct cg_files *out, struct err *e)
{
    (void)e;
    add_file(a, out, row, row_file(row, v2), l->cpuset_mems);
    return 0;
}

bool cg_swap_is_set(const struct cg_limits *l)
{
    /* Memory without a limit and swap not named: v1 would keep an old swap limit below it. */
    return (l->memory_swap.set && l->memory_swap.value != 0) ||
           (l->memory_limit.set && l->memory_limit.value == CG_UNLIMITED);
}

/*
 * OCI and v1 count memory and swap together, v2 counts swap alone: the difference to the memory
 * limit. Without one there is nothing to take away, and swap alone cannot be more than both.
 */
int cg_emit_swap(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                 struct arena *a, struct cg_files *out, struct err *e)
{
    int64_t swap =
        l->memory_swap.set && l->memory_swap.value != 0 ? l->memory_swap.value : CG_UNLIMITED;
    bool limited = l->memory_limit.set && l->memory_limit.value > 0;

    if (swap < CG_UNLIMITED)
        return err_input(e, "linux.resources.memory.swap: %" PRId64 " is out of range -1..%" PRId64,
                         swap, INT64_MAX);
    if (swap != CG_UNLIMITED && limited && swap < l->memory_limit.value)
        return err_input(e,
                         "linux.resources.memory.swap: %" PRId64
                         " is less than memory.limit (%" PRId64
                         "); it counts memory and swap together",
                         swap, l->memory_limit.value);
    if (swap != CG_UNLIMITED && v2 && limited)
        swap -= l->memory_limit.value;
    add_file(a, out, row, row_file(row, v2), limit_text(a, swap, v2));
    /* A kernel without swap accounting is fine, as for runc, where nothing is limited, and where it
     * would be a limit on what there is none of. */
    if (swap == CG_UNLIMITED || (v2 && swap == 0))
        out->items[out->count - 1].flags |= CG_FILE_OPTIONAL;
    return 0;
}

bool cg_no_oom_kill_is_set(const struct cg_limits *l)
{
    return l->memory_no_oom_kill.set && l->memory_no_oom_kill.value == 1;
}

int cg_emit_pids(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                 struct arena *a, struct cg_files *out, struct err *e)
{
    (void)e;
    /* Both versions write "max" here; 0 and below mean no limit. */
    add_file(a, out, row, row_file(row, v2),
             limit_text(a, l->pids.value > 0 ? l->pids.value : CG_UNLIMITED, true));
    return 0;
}

bool cg_hugetlb_is_set(const struct cg_limits *l)
{
    return l->hugetlb_count > 0;
}

static int check_page_size(const char *size, struct err *e)
{
    const char *unit = size + strspn(size, "0123456789");
    char shown[64];

    if (unit == size || strspn(unit, "KMG") != 1 || !str_eq(unit + 1, "B"))
        return err_input(e,
                         "linux.resources.hugepageLimits: page size \"%s\" is not of the form "
                         "2MB, 1GB",
                         str_escape(size, shown, sizeof shown));
    return 0;
}

/* Of a size that is there twice the last one counts, as each is written over the one before. A file is named
 * once: a record that names one twice cannot be read. */
static bool comes_again(const struct cg_limits *l, size_t index)
{
    for (size_t i = index + 1; i < l->hugetlb_count; i++) {
        if (str_eq(l->hugetlb[i].page_size, l->hugetlb[index].page_size))
            return true;
    }
    return false;
}

/* Usage and, from Linux 5.7 on, reservation: a reserved page is as gone as a used one. */
int cg_emit_hugetlb(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                    struct arena *a, struct cg_files *out, struct err *e)
{
    if (l->hugetlb_count > CG_HUGETLB_MAX)
        return err_input(e,
                         "linux.resources.hugepageLimits: there are more than %d page sizes, which "
                         "no kernel has; leave out those that this host does not have",
                         CG_HUGETLB_MAX);
    for (size_t i = 0; i < l->hugetlb_count; i++) {
        const struct cg_hugetlb_limit *h = &l->hugetlb[i];
        const char *text = arena_printf(a, "%" PRId64, h->limit_bytes);
        const char *end = v2 ? "max" : "limit_in_bytes";
        int r = check_page_size(h->page_size, e);

        if (r < 0)
            return r;
        if (comes_again(l, i))
            continue;
        add_file(a, out, row, arena_printf(a, "hugetlb.%s.%s", h->page_size, end), text);
        add_file(a, out, row, arena_printf(a, "hugetlb.%s.rsvd.%s", h->page_size, end), text);
        out->items[out->count - 1].flags |= CG_FILE_OPTIONAL;
    }
    return 0;
}

bool cg_blkio_weight_is_set(const struct cg_limits *l)
{
    if (l->blkio_weight.set && l->blkio_weight.value != 0)
        return true;
    for (size_t i = 0; i < l->blkio_weight_count; i++) {
        if (l->blkio_weights[i].weight.set)
            return true;
    }
    return false;
}

static int check_weight(int64_t weight, struct err *e)
{
    if (weight < 10 || weight > 1000)
        return err_input(e, "linux.resources.blockIO: weight %" PRId64 " is out of range 10..1000",
                         weight);
    return 0;
}

/*
 * Two schedulers read weights: BFQ its own file in the v1 unit, io.cost the generic one, which v2
 * counts to 10000. A kernel has one of them or both; both files are right to set. v1 keeps
 * per-device weights in a file of their own, v2 puts them into the same one.
 */
int cg_emit_blkio_weight(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                         struct arena *a, struct cg_files *out, struct err *e)
{
    bool generic_v2 = v2 && str_eq(row->v2_file, "io.weight");
    autosbuf lines = SBUF_INIT, devices = SBUF_INIT;
    struct sbuf *device_lines = v2 ? &lines : &devices;

    if (l->blkio_weight.set && l->blkio_weight.value != 0) {
        uint64_t weight = (uint64_t)l->blkio_weight.value;
        int r = check_weight(l->blkio_weight.value, e);

        if (r < 0)
            return r;
        sbuf_addf(&lines, "%" PRIu64, generic_v2 ? cg_blkio_to_io_weight(weight) : weight);
    }
    for (size_t i = 0; i < l->blkio_weight_count; i++) {
        const struct cg_blkio_weight *w = &l->blkio_weights[i];
        int r;

        if (!w->weight.set)
            continue;
        r = check_weight(w->weight.value, e);
        if (r < 0)
            return r;
        sbuf_addf(device_lines, "%s%" PRId64 ":%" PRId64 " %" PRIu64, device_lines->len ? "\n" : "",
                  w->major, w->minor,
                  generic_v2 ? cg_blkio_to_io_weight((uint64_t)w->weight.value)
                             : (uint64_t)w->weight.value);
    }
    if (lines.len)
        add_file(a, out, row, row_file(row, v2), arena_strdup(a, sbuf_text(&lines)));
    if (devices.len)
        add_file(a, out, row, arena_printf(a, "%s_device", row->v1_file),
                 arena_strdup(a, sbuf_text(&devices)));
    return 0;
}

bool cg_leaf_weight_is_set(const struct cg_limits *l)
{
    for (size_t i = 0; i < l->blkio_weight_count; i++) {
        if (l->blkio_weights[i].leaf_weight.set)
            return true;
    }
    return l->blkio_leaf_weight.set && l->blkio_leaf_weight.value != 0;
}

int cg_emit_leaf_weight(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                        struct arena *a, struct cg_files *out, struct err *e)
{
    autosbuf lines = SBUF_INIT;

    (void)v2;
    if (l->blkio_leaf_weight.set && l->blkio_leaf_weight.value != 0) {
        int r = check_weight(l->blkio_leaf_weight.value, e);

        if (r < 0)
            return r;
        add_file(a, out, row, row->v1_file,
                 arena_printf(a, "%" PRId64, l->blkio_leaf_weight.value));
    }
    for (size_t i = 0; i < l->blkio_weight_count; i++) {
        const struct cg_blkio_weight *w = &l->blkio_weights[i];
        int r = w->leaf_weight.set ? check_weight(w->leaf_weight.value, e) : 0;

        if (r < 0)
            return r;
        if (w->leaf_weight.set)
            sbuf_addf(&lines, "%s%" PRId64 ":%" PRId64 " %" PRId64, lines.len ? "\n" : "", w->major,
                      w->minor, w->leaf_weight.value);
    }
    if (lines.len)
        add_file(a, out, row, "blkio.leaf_weight_device", arena_strdup(a, sbuf_text(&lines)));
    return 0;
}

bool cg_throttle_is_set(const struct cg_limits *l)
{
    return l->throttle_count > 0;
}

int cg_emit_throttles(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                      struct arena *a, struct cg_files *out, struct err *e)
{
    static const char *const v1_files[CG_THROTTLE_COUNT] = {
        [CG_READ_BPS] = "blkio.throttle.read_bps_device",
        [CG_WRITE_BPS] = "blkio.throttle.write_bps_device",
        [CG_READ_IOPS] = "blkio.throttle.read_iops_device",
        [CG_WRITE_IOPS] = "blkio.throttle.write_iops_device",
    };
    static const char *const v2_keys[CG_THROTTLE_COUNT] = {
        [CG_READ_BPS] = "rbps",
        [CG_WRITE_BPS] = "wbps",
        [CG_READ_IOPS] = "riops",
        [CG_WRITE_IOPS] = "wiops",
    };
    autosbuf all = SBUF_INIT;

    (void)e;
    for (unsigned what = 0; what < CG_THROTTLE_COUNT; what++) {
        autosbuf own = SBUF_INIT;
        struct sbuf *lines = v2 ? &all : &own;

        for (size_t i = 0; i < l->throttle_count; i++) {
            const struct cg_blkio_throttle *t = &l->throttles[i];

            if (t->what == what)
                sbuf_addf(lines, "%s%" PRId64 ":%" PRId64 " %s%s%" PRIu64, lines->len ? "\n" : "",
                          t->major, t->minor, v2 ? v2_keys[what] : "", v2 ? "=" : "", t->rate);
        }
        if (own.len)
            add_file(a, out, row, v1_files[what], arena_strdup(a, sbuf_text(&own)));
    }
    if (all.len)
        add_file(a, out, row, row->v2_file, arena_strdup(a, sbuf_text(&all)));
    return 0;
}

bool cg_priorities_are_set(const struct cg_limits *l)
{
    return l->net_priority_count > 0;
}

/* A blank would end the name in its line, and a newline begin another line. */
static int check_interface(const struct cg_limits *l, size_t index, struct err *e)
{
    const char *name = l->net_priorities[index].interface;
    char shown[64];

    if (!str_empty(name) && !name[strcspn(name, " \t\r\n")])
        return 0;
    return err_input(e,
                     "linux.resources.network.priorities[%zu].name: \"%s\" is not the name of a "
                     "network interface",
                     index, str_escape(name ? name : "", shown, sizeof shown));
}

int cg_emit_priorities(const struct cg_limit_row *row, const struct cg_limits *l, bool v2,
                       struct arena *a, struct cg_files *out, struct err *e)
{
    autosbuf lines = SBUF_INIT;

    (void)v2;
    for (size_t i = 0; i < l->net_priority_count; i++) {
        int r = check_interface(l, i, e);

        if (r < 0)
            return r;
        sbuf_addf(&lines, "%s%s %" PRIu32, i ? "\n" : "", l->net_priorities[i].interface,
                  l->net_priorities[i].priority);
    }
    add_file(a, out, row, row->v1_file, arena_strdup(a, sbuf_text(&lines)));
    return 0;
}
