/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/stage.h"

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "oci/state.h"

#include <errno.h>

static const char *const names[] = {
    [STAGE_NONE] = "none",
    [STAGE_PRESTART] = "prestart",
    [STAGE_CREATE_RUNTIME] = "createRuntime",
    [STAGE_POSTSTART] = "poststart",
    [STAGE_POSTSTOP] = "poststop",
};

const char *stage_name(enum stage stage)
{
    return names[stage];
}

int stage_parse(const char *name, enum stage *ret)
{
    for (size_t i = STAGE_PRESTART; i < ARRAY_SIZE(names); i++) {
        if (str_eq(name, names[i])) {
            *ret = (enum stage)i;
            return 0;
        }
    }
    return -EINVAL;
}

enum action stage_action(enum stage stage)
{
    return stage == STAGE_POSTSTOP    ? ACTION_TEARDOWN
           : stage == STAGE_POSTSTART ? ACTION_UPDATE
                                      : ACTION_SETUP;
}

int stage_from_state(const struct oci_state *state, enum stage *ret, struct err *e)
{
    const char *status = state->status;
    char shown[64];

    if (str_empty(status))
        *ret = state->pid.value > 0 ? STAGE_PRESTART : STAGE_POSTSTOP;
    else if (str_eq(status, "creating") || str_eq(status, "created"))
        *ret = STAGE_PRESTART;
    else if (str_eq(status, "running"))
        *ret = STAGE_POSTSTART;
    else if (str_eq(status, "stopped"))
        *ret = STAGE_POSTSTOP;
    else
        return err_input(e,
                         "state.status: \"%s\" is none of creating, created, running, stopped; "
                         "name the stage on the command line",
                         str_escape(status, shown, sizeof shown));
    return 0;
}
