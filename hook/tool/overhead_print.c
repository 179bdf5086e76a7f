/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/tool/overhead_print.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "hook/tool/called.h"
#include "hook/tool/usage_print.h"

#include <inttypes.h>

#define NAME_WIDTH 22

const char *overhead_cpu_text(uint64_t tenths, char buf[static UNITS_SIZE])
{
    if (tenths == CG_UNKNOWN)
        return strcpy(buf, "-");
    snprintf(buf, UNITS_SIZE, "%" PRIu64 ".%" PRIu64, tenths / 10, tenths % 10);
    return buf;
}

/* Of one whose name says which it is, as long as that may be. */
static const char *shown_id(const struct overhead_sandbox *s, char buf[static 300])
{
    return str_escape(s->id, buf, 300);
}

/* ---- reasons ---- */

static void add_of(const struct overhead *o, size_t unknown, const char *prefix, struct sbuf *out)
{
    if (unknown > 0)
        sbuf_addf(out, "%sOf %zu of %zu sandboxes it is not known.\n", prefix, unknown, o->count);
}

void overhead_explain_cpu(const struct overhead *o, const char *prefix, struct sbuf *out)
{
    bool sampled = o->terms.interval_ms > 0;
    char cpu[UNITS_SIZE], shown[300];

    if (!o->cpu_of) {
        sbuf_addf(out, "%scpu: not known, as no vCPU is known%s.\n", prefix,
                  o->count > 0 ? "; `show` says why" : "");
        return;
    }
    overhead_cpu_text(sampled ? o->cpu_of->cpu.p95 : o->cpu_of->cpu.mean, cpu);
    sbuf_addf(out, "%scpu: %s of %s, %sm, and %" PRIu64 " %% on top.\n", prefix,
              sampled ? "the p95" : "the mean", shown_id(o->cpu_of, shown), cpu, o->terms.margin);
    if (!sampled)
        sbuf_addf(out, "%sA mean has no bursts in it; --for 60s samples.\n", prefix);
    add_of(o, o->cpu_unknown, prefix, out);
}

static void explain_no_memory(const struct overhead *o, const char *prefix, struct sbuf *out)
{
    char guest[UNITS_SIZE];

    if (o->terms.guest_bytes.set)
        sbuf_addf(
            out,
            "%smemory: not known, as no sandbox holds the %s of its guest: the guest has not\n"
            "%stouched all of it yet.\n",
            prefix, units_bytes(o->terms.guest_bytes.value, guest), prefix);
    else
        sbuf_addf(
            out,
            "%smemory: not known. The kernel counts it for processes, so the guest's is in it;\n"
            "%s--guest-memory SIZE says how much that is.\n",
            prefix, prefix);
}

void overhead_explain_memory(const struct overhead *o, const char *prefix, struct sbuf *out)
{
    char memory[UNITS_SIZE], guest[UNITS_SIZE], shown[300];

    if (!o->memory_of) {
        explain_no_memory(o, prefix, out);
        return;
    }
    sbuf_addf(out,
              "%smemory: the most that %s %s\n"
              "%spage cache, less %s of the guest: %s, and %" PRIu64 " %% on top.\n",
              prefix, shown_id(o->memory_of, shown),
              o->terms.interval_ms > 0 ? "held without" : "had, with", prefix,
              units_bytes(o->terms.guest_bytes.value, guest),
              units_bytes(o->memory_of->memory.max, memory), o->terms.margin);
    if (o->terms.guest_bytes.value > 0)
        sbuf_addf(out,
                  "%sThat is right once the guest has touched all of its memory, and too little "
                  "before.\n",
                  prefix);
    add_of(o, o->memory_unknown, prefix, out);
}

/* ---- YAML ---- */

void overhead_write_fixed(const struct overhead *o, struct sbuf *out)
{
    if (!o->cpu_of && !o->memory_of)
        return;
    sbuf_addf(out, "overhead:\n  podFixed:\n");
    if (o->cpu_of)
        sbuf_addf(out, "    cpu: %" PRIu64 "m\n", o->cpu_millis);
    if (o->memory_of)
        sbuf_addf(out, "    memory: %" PRIu64 "Mi\n", o->memory_mib);
}

static void add_title(const struct overhead *o, struct sbuf *out)
{
    char every[UNITS_SIZE];
    const char *plural = o->count == 1 ? "" : "es";

    if (o->terms.interval_ms > 0)
        sbuf_addf(out, "# The overhead of %zu sandbox%s, read every %s", o->count, plural,
                  units_seconds(o->terms.interval_ms * 1000, every));
    else
        sbuf_addf(out, "# The overhead of %zu sandbox%s since it began, not sampled", o->count,
                  plural);
    sbuf_addf(out, ".\n# CPU is in thousandths of one; memory is %s.\n", overhead_memory_words(o));
}

const char *overhead_memory_words(const struct overhead *o)
{
    return o->terms.guest_bytes.set ? "what is not the guest's"
                                    : "the whole sandbox's, the guest's in it";
}

const struct overhead_figures *overhead_shown_memory(const struct overhead *o,
                                                     const struct overhead_sandbox *s)
{
    return o->terms.guest_bytes.set ? &s->memory : &s->held;
}

static void add_sampled(const struct overhead *o, const struct overhead_sandbox *s,
                        const char *name, struct sbuf *out)
{
    const struct overhead_figures *m = overhead_shown_memory(o, s);
    char cpu[3][UNITS_SIZE], memory[3][UNITS_SIZE];

    sbuf_addf(out, "# %-*s %7s %7s %7s %9s %9s %9s\n", NAME_WIDTH, name,
              overhead_cpu_text(s->cpu.p50, cpu[0]), overhead_cpu_text(s->cpu.p95, cpu[1]),
              overhead_cpu_text(s->cpu.max, cpu[2]), units_bytes(m->p50, memory[0]),
              units_bytes(m->p95, memory[1]), units_bytes(m->max, memory[2]));
}

static void add_table(const struct overhead *o, struct sbuf *out)
{
    bool sampled = o->terms.interval_ms > 0;

    if (sampled)
        sbuf_addf(out, "#\n# %-*s %7s %7s %7s %9s %9s %9s\n", NAME_WIDTH, "SANDBOX", "CPU p50",
                  "p95", "max", "MEM. p50", "p95", "max");
    else
        sbuf_addf(out, "#\n# %-*s %9s %12s\n", NAME_WIDTH, "SANDBOX", "CPU mean", "MEMORY peak");
    for (size_t i = 0; i < o->count; i++) {
        const struct overhead_sandbox *s = &o->items[i];
        char name[NAME_WIDTH + 1], cpu[UNITS_SIZE], memory[UNITS_SIZE];
        autoarena a = ARENA_INIT;

        str_cut(called_or_id(&s->names, s->id, &a), name, sizeof name);
        if (sampled)
            add_sampled(o, s, name, out);
        else
            sbuf_addf(out, "# %-*s %9s %12s\n", NAME_WIDTH, name,
                      overhead_cpu_text(s->cpu.mean, cpu),
                      units_bytes(overhead_shown_memory(o, s)->max, memory));
    }
}

static void add_ended(const struct overhead *o, struct sbuf *out)
{
    char shown[300];

    for (size_t i = 0; i < o->count; i++) {
        const struct overhead_sandbox *s = &o->items[i];

        if (s->ended)
            sbuf_addf(out, "# %s has ended meanwhile, after %zu readings.\n", shown_id(s, shown),
                      s->count);
    }
}

void overhead_write_yaml(const struct overhead *o, struct sbuf *out)
{
    if (o->count == 0) {
        sbuf_addf(out, "# no sandbox runs\n");
        return;
    }
    add_title(o, out);
    add_table(o, out);
    add_ended(o, out);
    sbuf_addf(out, "#\n# For the RuntimeClass:\n");
    overhead_explain_cpu(o, "# ", out);
    overhead_explain_memory(o, "# ", out);
    overhead_write_fixed(o, out);
}

/* ---- JSON ---- */

static void millis(struct json_writer *w, const char *key, uint64_t tenths)
{
    if (tenths == CG_UNKNOWN)
        json_null(w, key);
    else
        json_hundredths(w, key, tenths * 10);
}

static void memory_json(struct json_writer *w, const char *key, const struct overhead_figures *f)
{
    json_open_object(w, key);
    usage_json_number(w, "p50", f->p50);
    usage_json_number(w, "p95", f->p95);
    usage_json_number(w, "max", f->max);
    json_close_object(w);
}

static void sandbox_json(struct json_writer *w, const struct overhead_sandbox *s)
{
    json_open_object(w, NULL);
    json_string(w, "sandbox_id", s->id);
    called_write_json(w, &s->names);
    json_bool(w, "ended", s->ended);
    json_u64(w, "readings", s->count);
    json_string(w, "source", usage_source_name(s->source));
    json_open_object(w, "cpu_millis");
    millis(w, "mean", s->cpu.mean);
    millis(w, "p50", s->cpu.p50);
    millis(w, "p95", s->cpu.p95);
    millis(w, "max", s->cpu.max);
    json_close_object(w);
    memory_json(w, "memory_bytes", &s->memory);
    memory_json(w, "sandbox_memory_bytes", &s->held);
    json_close_object(w);
}

static void fixed_json(struct json_writer *w, const struct overhead *o)
{
    autoarena a = ARENA_INIT;

    json_open_object(w, "pod_fixed");
    json_string(w, "cpu", o->cpu_of ? arena_printf(&a, "%" PRIu64 "m", o->cpu_millis) : NULL);
    json_string(w, "cpu_of", o->cpu_of ? o->cpu_of->id : NULL);
    json_string(w, "memory",
                o->memory_of ? arena_printf(&a, "%" PRIu64 "Mi", o->memory_mib) : NULL);
    json_string(w, "memory_of", o->memory_of ? o->memory_of->id : NULL);
    json_close_object(w);
}

void overhead_write_json(const struct overhead *o, struct json_writer *w)
{
    json_open_object(w, NULL);
    json_bool(w, "sampled", o->terms.interval_ms > 0);
    usage_json_number(w, "interval_ms",
                      o->terms.interval_ms > 0 ? o->terms.interval_ms : CG_UNKNOWN);
    json_u64(w, "margin_percent", o->terms.margin);
    usage_json_number(w, "guest_memory_bytes",
                      o->terms.guest_bytes.set ? o->terms.guest_bytes.value : CG_UNKNOWN);
    json_open_list(w, "sandboxes");
    for (size_t i = 0; i < o->count; i++)
        sandbox_json(w, &o->items[i]);
    json_close_list(w);
    fixed_json(w, o);
    json_close_object(w);
}
