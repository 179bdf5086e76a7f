/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/metrics.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/utf8.h"

#include <inttypes.h>

enum unit { NUMBER, MICROSECONDS };

/* A family: what it is called, and its value for each sandbox, or for each of some variants of it. */
struct family {
    const char *name, *type, *help;
    uint64_t (*get)(const struct sample *s, size_t variant);
    const char *const *variants; /* labels, NULL behind the last; NULL: there is one, without */
    enum unit unit;
};

static const char *const one[] = {"", NULL};
static const char *const parts[] = {"part=\"vcpu\"", "part=\"overhead\"", "part=\"unsplit\"", NULL};
static const char *const kinds[] = {"kind=\"anon\"",   "kind=\"file\"", "kind=\"shmem\"",
                                    "kind=\"kernel\"", "kind=\"swap\"", NULL};
static const char *const stalls[] = {"resource=\"cpu\",stall=\"some\"",
                                     "resource=\"cpu\",stall=\"full\"",
                                     "resource=\"memory\",stall=\"some\"",
                                     "resource=\"memory\",stall=\"full\"",
                                     "resource=\"io\",stall=\"some\"",
                                     "resource=\"io\",stall=\"full\"",
                                     NULL};
enum { PART_VCPU, PART_OVERHEAD, PART_UNSPLIT };

/* The parts, or all where these are not known. */
static uint64_t cpu_time(const struct sample *s, size_t part)
{
    const struct usage *u = &s->usage;

    if (part == PART_UNSPLIT)
        return u->source == USAGE_UNKNOWN ? u->all.us : CG_UNKNOWN;
    return part == PART_VCPU ? u->vcpus.us : u->overhead.us;
}

/* Whose quota it is: once the parts are apart there is none for both that throttles. */
static const struct usage_cpu *quota_of(const struct sample *s, size_t part)
{
    static const struct usage_cpu none = {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN,
                                          CG_UNKNOWN};

    if (part == PART_UNSPLIT)
        return s->split ? &none : &s->usage.all;
    return part == PART_VCPU ? &s->usage.vcpus : &s->usage.overhead;
}

static uint64_t periods(const struct sample *s, size_t part)
{
    return quota_of(s, part)->periods;
}

static uint64_t throttled_periods(const struct sample *s, size_t part)
{
    return quota_of(s, part)->throttled_periods;
}

static uint64_t throttled_time(const struct sample *s, size_t part)
{
    return quota_of(s, part)->throttled_us;
}

static uint64_t cpu_limit(const struct sample *s, size_t part)
{
    return quota_of(s, part)->limit_us;
}

static uint64_t of(const struct sample *s, enum cg_ctl ctl, uint64_t value)
{
    return (s->usage.whole.has & CG_CTL_BIT(ctl)) ? value : CG_UNKNOWN;
}

static uint64_t memory(const struct sample *s, size_t v)
{
    (void)v;
    return of(s, CG_CTL_MEMORY, s->usage.whole.memory_bytes);
}

static uint64_t memory_peak(const struct sample *s, size_t v)
{
    (void)v;
    return of(s, CG_CTL_MEMORY, s->usage.whole.memory_peak_bytes);
}

static uint64_t memory_limit(const struct sample *s, size_t v)
{
    (void)v;
    return of(s, CG_CTL_MEMORY, s->usage.whole.memory_limit_bytes);
}

static uint64_t memory_kind(const struct sample *s, size_t kind)
{
    const struct cg_stat *st = &s->usage.whole;
    const uint64_t all[] = {st->anon_bytes, st->file_bytes, st->shmem_bytes, st->kernel_bytes,
                            st->swap_bytes};

    return of(s, CG_CTL_MEMORY, all[kind]);
}

static uint64_t oom_kills(const struct sample *s, size_t v)
{
    (void)v;
    return of(s, CG_CTL_MEMORY, s->usage.whole.oom_kills);
}

static uint64_t tasks(const struct sample *s, size_t v)
{
    (void)v;
    return of(s, CG_CTL_PIDS, s->usage.whole.pids);
}

static uint64_t tasks_limit(const struct sample *s, size_t v)
{
    (void)v;
    return of(s, CG_CTL_PIDS, s->usage.whole.pids_limit);
}

static uint64_t io_read(const struct sample *s, size_t v)
{
    (void)v;
    return of(s, CG_CTL_BLKIO, s->usage.whole.io_read_bytes);
}

static uint64_t io_written(const struct sample *s, size_t v)
{
    (void)v;
    return of(s, CG_CTL_BLKIO, s->usage.whole.io_write_bytes);
}

static uint64_t stalled(const struct sample *s, size_t which)
{
    const struct cg_stat *st = &s->usage.whole;
    const uint64_t all[] = {st->cpu.some_us,    st->cpu.full_us, st->memory.some_us,
                            st->memory.full_us, st->io.some_us,  st->io.full_us};

    return all[which];
}

static uint64_t vcpus(const struct sample *s, size_t v)
{
    (void)v;
    return s->usage.vcpu_count;
}

static uint64_t vcpus_expected(const struct sample *s, size_t v)
{
    (void)v;
    return s->expected.set ? s->expected.value : CG_UNKNOWN;
}

static uint64_t is_split(const struct sample *s, size_t v)
{
    (void)v;
    return s->split;
}

static uint64_t is_complete(const struct sample *s, size_t v)
{
    (void)v;
    return s->only ? CG_UNKNOWN : str_eq(s->placement, "complete");
}

static uint64_t watcher_missing(const struct sample *s, size_t v)
{
    (void)v;
    return s->watcher_missing;
}

static const struct family families[] = {
    {"cpu_seconds_total", "counter", "CPU time of the vCPU threads and of all other threads.",
     cpu_time, parts, MICROSECONDS},
    {"cpu_periods_total", "counter", "Periods of the CPU quota that a part has for itself.",
     periods, parts, NUMBER},
    {"cpu_throttled_periods_total", "counter", "Those of them in which it was throttled.",
     throttled_periods, parts, NUMBER},
    {"cpu_throttled_seconds_total", "counter", "How long it was throttled.", throttled_time, parts,
     MICROSECONDS},
    {"cpu_limit_cores", "gauge", "How many CPUs its quota lets a part use.", cpu_limit, parts,
     MICROSECONDS},
    {"memory_bytes", "gauge", "Memory of the whole sandbox.", memory, one, NUMBER},
    {"memory_peak_bytes", "gauge", "The most that it had.", memory_peak, one, NUMBER},
    {"memory_limit_bytes", "gauge", "The most that it may have.", memory_limit, one, NUMBER},
    {"memory_kind_bytes", "gauge", "Its memory by kind; shmem is part of file on cgroup v2.",
     memory_kind, kinds, NUMBER},
    {"oom_kills_total", "counter", "Processes that were killed for want of memory.", oom_kills, one,
     NUMBER},
    {"tasks", "gauge", "Threads of the whole sandbox.", tasks, one, NUMBER},
    {"tasks_limit", "gauge", "As many as there may be.", tasks_limit, one, NUMBER},
    {"io_read_bytes_total", "counter", "Bytes read from block devices.", io_read, one, NUMBER},
    {"io_written_bytes_total", "counter", "Bytes written to block devices.", io_written, one,
     NUMBER},
    {"pressure_seconds_total", "counter", "How long some or all threads waited for a resource.",
     stalled, stalls, MICROSECONDS},
    {"vcpus", "gauge", "vCPU threads that were found.", vcpus, one, NUMBER},
    {"vcpus_expected", "gauge", "vCPUs that the kernel knows of.", vcpus_expected, one, NUMBER},
    {"split", "gauge", "1 if the vCPUs are apart from the overhead.", is_split, one, NUMBER},
    {"placement_complete", "gauge",
     "1 if all vCPUs are in their place; none with sandbox_cgroup_only.", is_complete, one, NUMBER},
    {"watcher_missing", "gauge", "1 if the watcher was killed.", watcher_missing, one, NUMBER},
};

/* What is no UTF-8 is said by its number; of control characters ids and names have none. */
static void add_label(struct sbuf *out, const char *key, const char *value)
{
    const char *end = value + strlen(value);

    sbuf_addf(out, "%s=\"", key);
    while (value < end) {
        size_t plain = strcspn(value, "\\\"\n");
        size_t good = utf8_text_span((const unsigned char *)value, plain);

        sbuf_add(out, value, good);
        value += good;
        if (good < plain)
            sbuf_addf(out, "\\\\x%02x", (unsigned char)*value++);
        else if (value < end)
            sbuf_addf(out, "\\%c", *value == '\n' ? 'n' : *value), value++;
    }
    sbuf_add(out, "\"", 1);
}

static void add_sample(struct sbuf *out, const struct family *f, const struct sample *s,
                       size_t variant)
{
    uint64_t value = f->get(s, variant);
    const char *more = f->variants[variant];

    if (value == CG_UNKNOWN)
        return;
    sbuf_addf(out, "sandbox_cgroup_%s{", f->name);
    add_label(out, "sandbox", s->sandbox_id);
    add_label(out, ",container", s->names.container ? s->names.container : "");
    add_label(out, ",pod", s->names.pod ? s->names.pod : "");
    add_label(out, ",namespace", s->names.pod_namespace ? s->names.pod_namespace : "");
    sbuf_addf(out, "%s%s} ", *more ? "," : "", more);
    if (f->unit == MICROSECONDS)
        sbuf_addf(out, "%" PRIu64 ".%06" PRIu64 "\n", value / 1000000, value % 1000000);
    else
        sbuf_addf(out, "%" PRIu64 "\n", value);
}

static void add_head(struct sbuf *out, const char *name, const char *type, const char *help)
{
    sbuf_addf(out, "# HELP sandbox_cgroup_%s %s\n# TYPE sandbox_cgroup_%s %s\n", name, help, name,
              type);
}

void metrics_write(const struct samples *samples, struct sbuf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(families) && samples->count > 0; i++) {
        const struct family *f = &families[i];

        add_head(out, f->name, f->type, f->help);
        for (size_t k = 0; k < samples->count; k++) {
            for (size_t variant = 0; f->variants[variant]; variant++)
                add_sample(out, f, &samples->items[k], variant);
        }
    }
    add_head(out, "sandboxes", "gauge", "Sandboxes whose containers run, or have ended.");
    sbuf_addf(out,
              "sandbox_cgroup_sandboxes{state=\"running\"} %zu\n"
              "sandbox_cgroup_sandboxes{state=\"dead\"} %zu\n",
              samples->count, samples->dead);
    add_head(out, "scrape_errors", "gauge", "Sandboxes that could not be read, and are left out.");
    sbuf_addf(out, "sandbox_cgroup_scrape_errors %zu\n", samples->error_count);
}
