/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/usage_print.h"

#include "base/cleanup.h"
#include "hook/tool/units.h"

#include <stdio.h>

void usage_json_number(struct json_writer *w, const char *key, uint64_t value)
{
    if (value == CG_UNKNOWN)
        json_null(w, key);
    else
        json_u64(w, key, value);
}

static void percent(struct json_writer *w, const char *key, uint64_t hundredths)
{
    if (hundredths == CG_UNKNOWN)
        json_null(w, key);
    else
        json_hundredths(w, key, hundredths);
}

static bool has(const struct usage *u, enum cg_ctl ctl)
{
    return u->whole.has & CG_CTL_BIT(ctl);
}

static void json_cpu(struct json_writer *w, const char *key, const struct usage_cpu *cpu,
                     uint64_t took_us)
{
    json_open_object(w, key);
    usage_json_number(w, "usage_us", cpu->us);
    if (took_us > 0)
        percent(w, "percent", units_share(cpu->us, took_us));
    usage_json_number(w, "periods", cpu->periods);
    usage_json_number(w, "throttled_periods", cpu->throttled_periods);
    usage_json_number(w, "throttled_us", cpu->throttled_us);
    json_close_object(w);
}

static void json_memory(struct json_writer *w, const struct cg_stat *st)
{
    json_open_object(w, "memory");
    usage_json_number(w, "bytes", st->memory_bytes);
    usage_json_number(w, "peak_bytes", st->memory_peak_bytes);
    usage_json_number(w, "limit_bytes", st->memory_limit_bytes);
    usage_json_number(w, "anon_bytes", st->anon_bytes);
    usage_json_number(w, "file_bytes", st->file_bytes);
    usage_json_number(w, "shmem_bytes", st->shmem_bytes);
    usage_json_number(w, "kernel_bytes", st->kernel_bytes);
    usage_json_number(w, "swap_bytes", st->swap_bytes);
    usage_json_number(w, "oom_kills", st->oom_kills);
    json_close_object(w);
}

static void json_pressure(struct json_writer *w, const char *key, const struct cg_pressure *p)
{
    json_open_object(w, key);
    usage_json_number(w, "some_us", p->some_us);
    usage_json_number(w, "full_us", p->full_us);
    percent(w, "some_10s_percent", p->some_10s);
    percent(w, "full_10s_percent", p->full_10s);
    json_close_object(w);
}

void usage_print_json(struct json_writer *w, const struct usage *u, uint64_t took_us)
{
    json_open_object(w, "cpu");
    json_cpu(w, "all", &u->all, took_us);
    json_cpu(w, "vcpus", &u->vcpus, took_us);
    json_cpu(w, "overhead", &u->overhead, took_us);
    json_string(w, "source", usage_source_name(u->source));
    json_u64(w, "vcpu_count", u->vcpu_count);
    json_close_object(w);
    if (has(u, CG_CTL_MEMORY))
        json_memory(w, &u->whole);
    else
        json_null(w, "memory");
    json_open_object(w, "pids");
    usage_json_number(w, "current", has(u, CG_CTL_PIDS) ? u->whole.pids : CG_UNKNOWN);
    usage_json_number(w, "limit", u->whole.pids_limit);
    json_close_object(w);
    json_open_object(w, "io");
    usage_json_number(w, "read_bytes", has(u, CG_CTL_BLKIO) ? u->whole.io_read_bytes : CG_UNKNOWN);
    usage_json_number(w, "write_bytes",
                      has(u, CG_CTL_BLKIO) ? u->whole.io_write_bytes : CG_UNKNOWN);
    json_close_object(w);
    json_open_object(w, "pressure");
    json_pressure(w, "cpu", &u->whole.cpu);
    json_pressure(w, "memory", &u->whole.memory);
    json_pressure(w, "io", &u->whole.io);
    json_close_object(w);
}

static void text_cpu(const char *name, const struct usage_cpu *cpu, uint64_t took_us)
{
    char time[UNITS_SIZE], share[UNITS_SIZE], throttled[UNITS_SIZE], lost[UNITS_SIZE];

    printf("  %-10s %10s", name, units_seconds(cpu->us, time));
    if (took_us > 0)
        printf(" %10s", units_percent(units_share(cpu->us, took_us), share));
    if (cpu->periods == CG_UNKNOWN)
        printf("  no quota is counted for it alone\n");
    else if (cpu->periods == 0)
        printf("  not throttled: no quota, or idle\n");
    else
        printf("  throttled in %s of its periods, for %s\n",
               units_percent(units_share(cpu->throttled_periods, cpu->periods), throttled),
               units_seconds(cpu->throttled_us, lost));
}

static void text_memory(const struct cg_stat *st)
{
    const struct {
        const char *name;
        uint64_t bytes;
    } kinds[] = {{"anon", st->anon_bytes},
                 {"file", st->file_bytes},
                 {"shmem", st->shmem_bytes},
                 {"kernel", st->kernel_bytes},
                 {"swap", st->swap_bytes}};
    char now[UNITS_SIZE], most[UNITS_SIZE], kind[UNITS_SIZE];

    printf("  %-10s %10s", "memory", units_bytes(st->memory_bytes, now));
    if (st->memory_limit_bytes != CG_UNKNOWN)
        printf(" of %s", units_bytes(st->memory_limit_bytes, most));
    printf(", peak %s:", units_bytes(st->memory_peak_bytes, most));
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        printf("%s %s %s", i > 0 ? "," : "", kinds[i].name, units_bytes(kinds[i].bytes, kind));
    putchar('\n');
    if (st->oom_kills != CG_UNKNOWN && st->oom_kills > 0)
        printf("  %-10s %10s processes were killed\n", "", units_count(st->oom_kills, now));
}

static void text_pressure(const char *name, const struct cg_pressure *p)
{
    char some[UNITS_SIZE], full[UNITS_SIZE];

    if (p->some_10s != CG_UNKNOWN)
        printf("  %-10s %10s of the last 10 s some waited for %s, all %s\n", "pressure",
               units_percent(p->some_10s, some), name, units_percent(p->full_10s, full));
}

void usage_print_text(const struct usage *u, uint64_t took_us)
{
    const struct cg_stat *st = &u->whole;
    char now[UNITS_SIZE], more[UNITS_SIZE];

    text_cpu("vCPUs", &u->vcpus, took_us);
    text_cpu("overhead", &u->overhead, took_us);
    text_cpu("together", &u->all, took_us);
    if (u->source == USAGE_UNKNOWN)
        printf("  %-10s %10s that is known: all is counted together\n", "", "no vCPU");
    if (has(u, CG_CTL_MEMORY))
        text_memory(st);
    if (has(u, CG_CTL_PIDS))
        printf("  %-10s %10s%s%s\n", "tasks", units_count(st->pids, now),
               st->pids_limit == CG_UNKNOWN ? "" : " of ",
               st->pids_limit == CG_UNKNOWN ? "" : units_count(st->pids_limit, more));
    if (has(u, CG_CTL_BLKIO))
        printf("  %-10s %10s read, %s written\n", "I/O", units_bytes(st->io_read_bytes, now),
               units_bytes(st->io_write_bytes, more));
    text_pressure("a CPU", &st->cpu);
    text_pressure("memory", &st->memory);
    text_pressure("I/O", &st->io);
}
