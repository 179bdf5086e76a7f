/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/usage.h"

#include "base/cleanup.h"
#include "base/proc.h"

#include <errno.h>

const char *usage_source_name(enum usage_source source)
{
    static const char *const names[] = {
        [USAGE_CGROUP] = "cgroup",
        [USAGE_THREADS] = "threads",
    };

    return names[source];
}

static const struct usage_cpu unknown = {CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN, CG_UNKNOWN,
                                         CG_UNKNOWN};

static bool has(const struct cg_stat *st, enum cg_ctl ctl)
{
    return st->has & CG_CTL_BIT(ctl);
}

static uint64_t cpu_us(const struct cg_stat *st)
{
    return has(st, CG_CTL_CPUACCT) ? st->cpu_usage_us : CG_UNKNOWN;
}

/* One of two numbers may be from a moment later. */
static uint64_t less(uint64_t all, uint64_t part)
{
    return all == CG_UNKNOWN || part == CG_UNKNOWN ? CG_UNKNOWN : all > part ? all - part : 0;
}

static uint64_t plus(uint64_t a, uint64_t b)
{
    return a == CG_UNKNOWN || b == CG_UNKNOWN ? CG_UNKNOWN : a + b;
}

static void take_quota(struct usage_cpu *ret, const struct cg_stat *st)
{
    if (!has(st, CG_CTL_CPU))
        return;
    ret->periods = st->periods;
    ret->throttled_periods = st->throttled_periods;
    ret->throttled_us = st->throttled_us;
    ret->limit_us = st->cpu_limit_us;
}

static void divide_by_threads(const struct usage_facts *f, struct usage *ret)
{
    if (f->vcpu_count == 0 || f->thread_us == CG_UNKNOWN)
        return;
    ret->source = USAGE_THREADS;
    ret->vcpus.us = f->thread_us;
    ret->overhead.us = less(ret->all.us, f->thread_us);
}

/* The quota of the cgroup around, which is lifted or both parts' together, is that of all. */
static void divide_v2(const struct usage_facts *f, struct usage *ret)
{
    take_quota(&ret->all, &f->home);
    take_quota(&ret->vcpus, &f->vcpu);
    ret->source = cpu_us(&f->vcpu) == CG_UNKNOWN ? USAGE_UNKNOWN : USAGE_CGROUP;
    ret->vcpus.us = cpu_us(&f->vcpu);
    ret->overhead.us = less(ret->all.us, ret->vcpus.us);
}

/* In layout nested the overhead is apart in the hierarchy of cpu only: where cpuacct is another one, that
 * counts both together. */
static void divide_v1(const struct usage_facts *f, struct usage *ret)
{
    take_quota(&ret->vcpus, &f->home);
    take_quota(&ret->overhead, &f->overhead);
    if (cpu_us(&f->overhead) == CG_UNKNOWN) {
        divide_by_threads(f, ret);
        return;
    }
    ret->source = ret->all.us == CG_UNKNOWN ? USAGE_UNKNOWN : USAGE_CGROUP;
    ret->vcpus.us = ret->all.us;
    ret->overhead.us = cpu_us(&f->overhead);
    ret->all.us = plus(ret->vcpus.us, ret->overhead.us);
}

void usage_divide(const struct usage_facts *f, struct usage *ret)
{
    *ret = (struct usage){
        .all = unknown,
        .vcpus = unknown,
        .overhead = unknown,
        .vcpu_count = f->vcpu_count,
        .whole = f->home,
    };
    ret->all.us = cpu_us(&f->home);
    if (f->split && f->v2) {
        divide_v2(f, ret);
    } else if (f->split) {
        divide_v1(f, ret);
    } else {
        take_quota(&ret->all, &f->home);
        divide_by_threads(f, ret);
    }
}

/* Of those that live; CG_UNKNOWN where one cannot be read. */
static uint64_t thread_time(const struct placement_report *report)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < report->vcpus.count; i++) {
        const struct placement_vcpu *vcpu = &JSON_AT(report->vcpus, struct placement_vcpu, i);
        uint64_t us = 0;
        int r = proc_cpu_us((pid_t)vcpu->tid.value, &us);

        if (r < 0 && r != -ESRCH)
            return CG_UNKNOWN;
        sum += us;
    }
    return sum;
}

void usage_read(const struct sandbox *s, const struct record *r,
                const struct placement_report *report, struct usage *ret)
{
    struct usage_facts facts = {
        .v2 = s->home.host->mode == CG_MODE_V2,
        .split = s->has_overhead && r->cpu_enabled.set,
        .vcpu_count = report->vcpus.count,
        .thread_us = CG_UNKNOWN,
    };

    /* The part first: the whole must not be the smaller one. */
    if (facts.split) {
        cg_stat(&s->vcpu, &facts.vcpu);
        cg_stat(&s->overhead, &facts.overhead);
    }
    facts.thread_us = thread_time(report);
    cg_stat(&s->home, &facts.home);
    usage_divide(&facts, ret);
}

static struct usage_cpu cpu_between(const struct usage_cpu *before, const struct usage_cpu *after)
{
    return (struct usage_cpu){
        .us = less(after->us, before->us),
        .periods = less(after->periods, before->periods),
        .throttled_periods = less(after->throttled_periods, before->throttled_periods),
        .throttled_us = less(after->throttled_us, before->throttled_us),
        .limit_us = after->limit_us,
    };
}

/* One vCPU's thread has ended: its time is the overhead's by now, all of it. */
static bool has_lost_thread(const struct usage *before, const struct usage *after)
{
    return after->source == USAGE_THREADS &&
           (after->vcpu_count < before->vcpu_count || after->vcpus.us < before->vcpus.us);
}

struct usage usage_between(const struct usage *before, const struct usage *after)
{
    struct usage ret = *after;

    ret.all = cpu_between(&before->all, &after->all);
    ret.vcpus = ret.overhead = unknown;
    /* A split between the two: the cgroups have counted only since then. */
    if (before->source != after->source || has_lost_thread(before, after)) {
        ret.source = USAGE_UNKNOWN;
    } else {
        ret.vcpus = cpu_between(&before->vcpus, &after->vcpus);
        ret.overhead = cpu_between(&before->overhead, &after->overhead);
    }
    ret.whole.io_read_bytes = less(after->whole.io_read_bytes, before->whole.io_read_bytes);
    ret.whole.io_write_bytes = less(after->whole.io_write_bytes, before->whole.io_write_bytes);
    return ret;
}
