/* SPDX-License-Identifier: Apache-2.0 */
#ifndef HOOK_PLAN_LAYOUT_H
#define HOOK_PLAN_LAYOUT_H

/*
 * Which layout a sandbox gets, and why. Pure: what has to be known of the runtime is a fact that is
 * handed in, where layout_asks() says that it matters.
 */

#include "cgroup/ctl.h"
#include "hook/plan/runtime.h"

enum layout { LAYOUT_SIBLING, LAYOUT_NESTED };

/* What somebody says of it. */
enum layout_word { LAYOUT_UNSAID, LAYOUT_SAY_SIBLING, LAYOUT_SAY_NESTED, LAYOUT_SAY_AUTO };

const char *layout_name(enum layout layout);

/* "sibling", "nested", "auto"; NULL for LAYOUT_UNSAID. */
const char *layout_word(enum layout_word word);

/* 0; -EINVAL another word. */
int layout_word_parse(const char *text, enum layout_word *ret);

struct layout_input {
    enum layout_word settings; /* `layout` of the configuration */
    enum layout_word argument; /* --layout */
    /* Of the record of this container; LAYOUT_UNSAID: there is none. Only auto is bound by it: who
     * names a layout is told when the sandbox has another one. */
    enum layout_word recorded;
    enum cg_mode mode;
    const struct runtime *runtime; /* NULL: nobody has looked */
};

struct layout_choice {
    enum layout layout;
    const char *reason;  /* the rest of a sentence that begins with the layout */
    const char *source;  /* who names the layout, or asks for auto; constant */
    const char *warning; /* a whole one, or NULL */
};

/* Whether it is asked for auto, and no layout is named. */
bool layout_is_auto(const struct layout_input *in);

/* Whether the answer depends on the runtime. Looking for it is not for nothing. */
bool layout_asks(const struct layout_input *in);

/*
 * The default is sibling, for a hook entry of old; the configuration comes after it, and then the
 * command line, whose auto leaves a layout that the configuration names in place. What auto is
 * stands in the function.
 */
struct layout_choice layout_decide(const struct layout_input *in, struct arena *a);

#endif
