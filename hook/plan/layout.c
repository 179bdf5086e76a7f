/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/layout.h"

#include "base/arena.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "cgroup/host.h"

#include <errno.h>

static const char *const words[] = {
    [LAYOUT_SAY_SIBLING] = "sibling",
    [LAYOUT_SAY_NESTED] = "nested",
    [LAYOUT_SAY_AUTO] = "auto",
};

const char *layout_name(enum layout layout)
{
    return layout == LAYOUT_NESTED ? "nested" : "sibling";
}

const char *layout_word(enum layout_word word)
{
    return words[word];
}

int layout_word_parse(const char *text, enum layout_word *ret)
{
    for (size_t i = LAYOUT_SAY_SIBLING; i < ARRAY_SIZE(words); i++) {
        if (str_eq(text, words[i])) {
            *ret = (enum layout_word)i;
            return 0;
        }
    }
    return -EINVAL;
}

static bool settings_name_one(const struct layout_input *in)
{
    return in->settings == LAYOUT_SAY_SIBLING || in->settings == LAYOUT_SAY_NESTED;
}

/* What is asked for, and by whom. */
static enum layout_word asked(const struct layout_input *in, struct layout_choice *ret)
{
    bool yields = in->argument == LAYOUT_SAY_AUTO && settings_name_one(in);

    if (in->argument != LAYOUT_UNSAID && !yields) {
        ret->reason = "--layout names it";
        ret->source = "--layout";
        return in->argument;
    }
    if (in->settings != LAYOUT_UNSAID) {
        ret->reason = "the configuration names it";
        ret->source = "configuration: layout";
        return in->settings;
    }
    ret->reason = "nobody names a layout, and this is the default";
    ret->source = "default";
    return LAYOUT_SAY_SIBLING;
}

bool layout_is_auto(const struct layout_input *in)
{
    struct layout_choice ignored;

    return asked(in, &ignored) == LAYOUT_SAY_AUTO;
}

bool layout_asks(const struct layout_input *in)
{
    struct layout_choice ignored;
    enum layout_word word = asked(in, &ignored);

    return in->mode == CG_MODE_V2 && (word == LAYOUT_SAY_NESTED ||
                                      (word == LAYOUT_SAY_AUTO && in->recorded == LAYOUT_UNSAID));
}

/*
 * On v2 the vCPU threads of layout nested are in a threaded child of the runtime's cgroup, whose
 * cgroup.procs cannot be read. When containerd starts it asks its runtimes for the processes of
 * each container, and forgets those of which it gets an error. Which releases of it do so is not
 * looked at: it is upgraded while containers run.
 */
static struct layout_choice decide_auto(const struct layout_input *in, const struct runtime *r,
                                        const char *source, struct arena *a)
{
    struct layout_choice ret = {.layout = LAYOUT_NESTED, .source = source};

    if (in->recorded != LAYOUT_UNSAID) {
        ret.layout = in->recorded == LAYOUT_SAY_NESTED ? LAYOUT_NESTED : LAYOUT_SIBLING;
        ret.reason = "auto: the sandbox was made with it";
    } else if (in->mode != CG_MODE_V2) {
        ret.reason = arena_printf(a, "auto: cgroups are %s, where every runtime can work with it",
                                  cg_mode_name(in->mode));
    } else if (r->engine == ENGINE_UNKNOWN) {
        ret.layout = LAYOUT_SIBLING;
        ret.reason =
            arena_printf(a, "auto: it is not known whether containerd or Docker is the engine: %s",
                         r->why_unknown ? r->why_unknown : "nobody has looked");
    } else if (r->engine == ENGINE_OTHER) {
        ret.reason = "auto: neither containerd nor Docker is the engine";
    } else if (runtime_reads_threaded(r)) {
        ret.reason =
            arena_printf(a, "auto: under containerd or Docker, with %s", runtime_text(r, a));
    } else {
        ret.layout = LAYOUT_SIBLING;
        ret.reason = arena_printf(a,
                                  "auto: under containerd or Docker, with %s, which is not known "
                                  "to be runc 1.2 or later",
                                  runtime_text(r, a));
    }
    return ret;
}

static bool loses_it(const struct layout_input *in, const struct runtime *r)
{
    return in->mode == CG_MODE_V2 && r->engine == ENGINE_CONTAINERD && !runtime_reads_threaded(r);
}

struct layout_choice layout_decide(const struct layout_input *in, struct arena *a)
{
    static const struct runtime nobody_looked = {0};
    const struct runtime *r = in->runtime ? in->runtime : &nobody_looked;
    struct layout_choice ret = {0};
    enum layout_word word = asked(in, &ret);

    if (word == LAYOUT_SAY_AUTO)
        return decide_auto(in, r, ret.source, a);
    if (word == LAYOUT_SAY_SIBLING)
        return ret;
    ret.layout = LAYOUT_NESTED;
    if (loses_it(in, r))
        ret.warning = arena_printf(a,
                                   "a restart of containerd loses this container, as layout nested "
                                   "needs a runtime that is known to be runc 1.2 or later, and "
                                   "this one is %s",
                                   runtime_text(r, a));
    return ret;
}
