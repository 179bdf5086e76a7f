/* SPDX-License-Identifier: Apache-2.0 */
#include "hook/stages/stages.h"

#include "base/err.h"
#include "hook/log/log.h"
#include "hook/stages/run.h"

int stages_run(const struct request *request, const struct oci_input *input, struct arena *a,
               struct err *e)
{
    struct run run = {
        .request = request,
        .input = input,
        .stage = request->stage,
        .a = a,
        .state = STATE_DIR_INIT,
        .lock = STATE_LOCK_INIT,
    };
    int r = cg_host_open(a, &run.host, e);

    run.facts.foreign = r == 0 && cg_host_is_foreign(&run.host);
    if (run.facts.foreign) {
        /* Once in the life of a container. */
        if (stage_action(run.stage) != ACTION_TEARDOWN)
            log_msg(LEVEL_WARNING, "%s", PLAN_FOREIGN);
    } else if (r == 0) {
        if (stage_action(run.stage) == ACTION_TEARDOWN) {
            run.facts.mode = run.host.mode;
            r = run_tear_down(&run, e);
        } else {
            facts_gather(run.host.mode, request->settings, a, &run.facts);
            r = run_set_up(&run, e);
        }
    }
    state_unlock(&run.lock);
    state_dir_close(&run.state);
    cg_host_close(&run.host);
    return r;
}
