/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/overhead.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "hook/tool/units.h"

#include <stdlib.h>

static const struct overhead_figures unknown = {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN};

/* ---- readings ---- */

/* What is in files is page cache, but for shmem, which has no file to go back to. */
uint64_t overhead_held(const struct cg_stat *st)
{
    uint64_t cache;

    if (!(st->has & CG_CTL_BIT(CG_CTL_MEMORY)) || st->memory_bytes == CG_UNKNOWN)
        return CG_UNKNOWN;
    if (st->file_bytes == CG_UNKNOWN || st->shmem_bytes == CG_UNKNOWN)
        return st->memory_bytes;
    cache = st->file_bytes > st->shmem_bytes ? st->file_bytes - st->shmem_bytes : 0;
    return st->memory_bytes > cache ? st->memory_bytes - cache : 0;
}

void overhead_add(struct overhead_sandbox *s, uint64_t at_us, const struct sample *before,
                  const struct sample *after, struct arena *a)
{
    struct sample_use use;

    sample_between(before, after, &use);
    ARENA_APPEND(a, s->points, s->count) = (struct overhead_point){
        .at_us = at_us,
        .vcpu = use.vcpu,
        .overhead = use.overhead,
        .throttled = use.throttled,
        .held = overhead_held(&after->usage.whole),
    };
    if (use.overhead == CG_UNKNOWN)
        return;
    s->source = after->usage.source;
    s->us += use.usage.overhead.us;
    s->took_us += use.took_us;
}

void overhead_accumulate(struct overhead_sandbox *s, const struct sample *now)
{
    const struct cg_stat *st = &now->usage.whole;
    uint64_t peak = (st->has & CG_CTL_BIT(CG_CTL_MEMORY)) ? st->memory_peak_bytes : CG_UNKNOWN;

    s->source = now->usage.source;
    s->cpu = s->held = unknown;
    s->cpu.mean = units_share(now->usage.overhead.us, now->age_us);
    s->held.max = peak == CG_UNKNOWN ? overhead_held(st) : peak;
}

/* ---- figures ---- */

static int by_size(const void *one, const void *other)
{
    const uint64_t *a = one, *b = other;

    return (*a > *b) - (*a < *b);
}

static uint64_t percentile(const uint64_t *sorted, size_t count, size_t percent)
{
    return sorted[(count * percent + 99) / 100 - 1];
}

struct overhead_figures overhead_figures(uint64_t *values, size_t count)
{
    size_t known = 0;

    if (count > 0)
        qsort(values, count, sizeof *values, by_size);
    while (known < count && values[known] != CG_UNKNOWN)
        known++;
    if (known == 0)
        return unknown;
    return (struct overhead_figures){CG_UNKNOWN, percentile(values, known, 50),
                                     percentile(values, known, 95), values[known - 1]};
}

uint64_t overhead_less(uint64_t held, const struct json_u64 *guest)
{
    return held == CG_UNKNOWN || !guest->set || held < guest->value ? CG_UNKNOWN
                                                                    : held - guest->value;
}

static void conclude_one(struct overhead_sandbox *s, const struct overhead_terms *terms)
{
    autoarena a = ARENA_INIT;
    uint64_t *cpu = arena_alloc(&a, (s->count + 1) * sizeof *cpu);
    uint64_t *held = arena_alloc(&a, (s->count + 1) * sizeof *held);

    for (size_t i = 0; i < s->count; i++) {
        cpu[i] = s->points[i].overhead;
        held[i] = s->points[i].held;
    }
    if (terms->interval_ms > 0) {
        s->cpu = overhead_figures(cpu, s->count);
        s->cpu.mean = units_share(s->took_us > 0 ? s->us : CG_UNKNOWN, s->took_us);
        s->held = overhead_figures(held, s->count);
    }
    s->memory = (struct overhead_figures){
        CG_UNKNOWN,
        overhead_less(s->held.p50, &terms->guest_bytes),
        overhead_less(s->held.p95, &terms->guest_bytes),
        overhead_less(s->held.max, &terms->guest_bytes),
    };
}

/* ---- for all ---- */

/* @value and @margin per cent of it, in @unit, rounded up. */
static uint64_t with_margin(uint64_t value, uint64_t margin, uint64_t unit)
{
    uint64_t more = value / 100 * (100 + margin) + (value % 100 * (100 + margin) + 99) / 100;
    uint64_t units = (more + unit - 1) / unit;

    return units > 0 ? units : 1;
}

void overhead_conclude(struct overhead *o)
{
    uint64_t cpu = 0, memory = 0;

    o->cpu_of = o->memory_of = NULL;
    o->cpu_unknown = o->memory_unknown = 0;
    for (size_t i = 0; i < o->count; i++) {
        struct overhead_sandbox *s = &o->items[i];
        uint64_t own;

        conclude_one(s, &o->terms);
        own = o->terms.interval_ms > 0 ? s->cpu.p95 : s->cpu.mean;
        o->cpu_unknown += own == CG_UNKNOWN;
        o->memory_unknown += s->memory.max == CG_UNKNOWN;
        if (own != CG_UNKNOWN && (!o->cpu_of || own > cpu)) {
            o->cpu_of = s;
            cpu = own;
        }
        if (s->memory.max != CG_UNKNOWN && (!o->memory_of || s->memory.max > memory)) {
            o->memory_of = s;
            memory = s->memory.max;
        }
    }
    o->cpu_millis = o->cpu_of ? with_margin(cpu, o->terms.margin, 10) : CG_UNKNOWN;
    o->memory_mib = o->memory_of ? with_margin(memory, o->terms.margin, 1 << 20) : CG_UNKNOWN;
}
