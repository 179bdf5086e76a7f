/* SPDX-License-Identifier: Apache-2.0 */

/* Of drift.h what is about a record: whose limits are looked at, and which they were at a time. */

#include "hook/watch/drift.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "hook/log/log.h"
#include "hook/sandbox/record.h"

#include <errno.h>
#include <inttypes.h>

void drift_follow(struct drift *d, const struct record *r)
{
    autoarena a = ARENA_INIT;
    size_t count = record_is_nested(r) ? 0 : r->containers.count;
    struct drift_source *sources = arena_alloc(&a, (count + 1) * sizeof *sources);
    size_t known = 0;

    for (size_t i = 0; i < count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);

        if (c->runtime_path)
            sources[known++] = (struct drift_source){c->id, c->runtime_path};
    }
    drift_set(d, sources, known);
}

static void add(struct sbuf *text, const char *value)
{
    sbuf_addf(text, "%s%s\n", value ? "=" : "", value ? value : "");
}

static uint64_t print_of(const struct drift_container *c)
{
    const struct drift_values *now = &c->now;
    autosbuf text = SBUF_INIT;

    add(&text, now->cpus);
    add(&text, now->mems);
    if (now->cpu_known)
        sbuf_addf(&text, "%" PRId64 " %" PRIu64 "\n", now->cpu.us, now->cpu.period_us);
    for (unsigned i = 0; i < DRIFT_TEXTS; i++)
        add(&text, c->texts[i]);
    return str_hash(sbuf_text(&text));
}

uint64_t drift_print(const struct drift *d, const char *id)
{
    for (size_t i = 0; i < d->count; i++) {
        if (str_eq(d->items[i].id, id))
            return print_of(&d->items[i]);
    }
    return 0;
}

void drift_say_devices(struct drift *d, const struct record *r)
{
    for (size_t i = 0; i < r->containers.count; i++) {
        const struct record_container *c = &JSON_AT(r->containers, struct record_container, i);
        struct err e = ERR_INIT;

        if (drift_devices(d, c->id))
            log_once(&d->device_error,
                     err_set(&e, -EPERM,
                             "the device rules of %s have changed, which the next stage of "
                             "container %s carries over, and a watcher may not",
                             c->runtime_path, c->id),
                     &e);
    }
}
