/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/plan/input.h"

#include "base/err.h"
#include "base/str.h"

int input_read(int fd, enum stage *stage, struct arena *a, struct oci_input *ret, struct err *e)
{
    const struct oci_state *state = &ret->state;
    struct err config_error = ERR_INIT;
    int r = oci_input_read(fd, a, ret, e);

    if (r == 0 && *stage == STAGE_NONE)
        r = stage_from_state(state, stage, e);
    if (r < 0 || ret->has_config)
        return r;
    if (!str_empty(state->bundle) && state->bundle[0] == '/')
        r = oci_config_read_bundle(state->bundle, a, &ret->config, &config_error);
    else
        r = err_input(&config_error,
                      "state.bundle: missing or not an absolute path, and there is no "
                      "config document behind the state on standard input");
    if (r == 0) {
        ret->has_config = true;
        return 0;
    }
    /* The bundle may be gone by then, or be "/" (a crun defect): the record is enough. */
    if (stage_action(*stage) == ACTION_TEARDOWN)
        return 0;
    if (e)
        *e = config_error;
    return r;
}
